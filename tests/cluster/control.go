// The control server for tests: how the authenticator parses a ConfigMap, which
// user it maps an identity to, and credentials and tokens for identities.
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
)

type control struct {
	options       options
	authenticator *authenticator
	client        kubernetes.Interface
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("POST /parse", endpoint(c.parse))
	mux.HandleFunc("POST /map", endpoint(c.mapARN))
	mux.HandleFunc("POST /token", endpoint(c.token))
	mux.HandleFunc("POST /credentials", endpoint(c.credentials))
	mux.HandleFunc("POST /synced", endpoint(c.synced))
	mux.HandleFunc("POST /ec2", describeInstances)
	return mux
}

// endpoint makes a handler from a function whose input and output are JSON.
func endpoint[Input any](handle func(Input) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var input Input
		if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		output, err := handle(input)
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			output = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(output)
	}
}

type arnInput struct {
	ARN string `json:"arn"`
}

func (c *control) parse(input configMapData) (any, error) {
	return parseConfigMap(input.Data), nil
}

func (c *control) mapARN(input arnInput) (any, error) {
	return c.authenticator.mapARN(c.options, input.ARN)
}

func (c *control) token(input arnInput) (any, error) {
	token, err := tokenFor(c.options, input.ARN)
	return map[string]string{"token": token}, err
}

func (c *control) credentials(input arnInput) (any, error) {
	keys, err := credentialsFor(input.ARN)
	return map[string]string{
		"access_key_id":     keys.AccessKeyID,
		"secret_access_key": keys.SecretAccessKey,
		"session_token":     keys.SessionToken,
	}, err
}

func (c *control) synced(struct{}) (any, error) {
	ctx, cancel := requestContext()
	defer cancel()
	stored, err := storedMappings(ctx, c.client)
	if err != nil {
		return nil, err
	}
	return map[string]bool{"synced": currentMappings(c.authenticator.mapper).equal(stored)}, nil
}

// requestContext limits one request to the API server.
func requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}
