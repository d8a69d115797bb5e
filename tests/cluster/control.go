// What tests ask of the cluster besides its API: how the authenticator reads a
// ConfigMap, whom it maps, and tokens of identities.
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

// endpoint turns a function into a handler that takes and gives JSON.
func endpoint[Q any](answer func(Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var question Q
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		body, err := answer(question)
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			body = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(body)
	}
}

type arnQuestion struct {
	ARN string `json:"arn"`
}

func (c *control) parse(question configMapData) (any, error) {
	return parsed(question.Data), nil
}

func (c *control) mapARN(question arnQuestion) (any, error) {
	return c.authenticator.mapARN(c.options, question.ARN)
}

func (c *control) token(question arnQuestion) (any, error) {
	token, err := tokenFor(c.options, question.ARN)
	return map[string]string{"token": token}, err
}

func (c *control) credentials(question arnQuestion) (any, error) {
	keys, err := credentialsFor(question.ARN)
	return map[string]string{
		"access_key_id":     keys.AccessKeyID,
		"secret_access_key": keys.SecretAccessKey,
		"session_token":     keys.SessionToken,
	}, err
}

func (c *control) synced(struct{}) (any, error) {
	ctx, cancel := shortly()
	defer cancel()
	stored, err := storedMappings(ctx, c.client)
	if err != nil {
		return nil, err
	}
	return map[string]bool{"synced": runningMappings(c.authenticator.mapper).equal(stored)}, nil
}

func shortly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}
