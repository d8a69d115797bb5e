// The control server for tests: how the authenticator parses a ConfigMap, which
// user it maps an identity to, credentials and tokens for identities, and the state
// of the double of AWS.
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"test-cluster/awsdouble"
)

type control struct {
	options       options
	authenticator *authenticator
	client        kubernetes.Interface
	aws           *awsdouble.Double
	watchMutex    sync.Mutex
	watch         *watch
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
	mux.HandleFunc("POST /answers", endpoint(c.answers))
	mux.HandleFunc("POST /watch/start", endpoint(c.startWatch))
	mux.HandleFunc("POST /watch/round", endpoint(c.watchRound))
	mux.HandleFunc("POST /watch/stop", endpoint(c.stopWatch))
	mux.HandleFunc("POST /aws/reset", endpoint(c.resetAWS))
	mux.HandleFunc("POST /aws/cluster", endpoint(c.aws.SetCluster))
	mux.HandleFunc("POST /aws/call", endpoint(c.aws.Call))
	mux.HandleFunc("POST /aws/entries", endpoint(c.aws.SetEntries))
	mux.HandleFunc("POST /aws/permissions", endpoint(c.aws.SetPermissions))
	mux.HandleFunc("POST /aws/principals", endpoint(c.aws.SetPrincipals))
	mux.HandleFunc("POST /aws/settings", endpoint(c.aws.SetSettings))
	mux.HandleFunc("POST /aws/faults", endpoint(c.aws.AddFaults))
	mux.HandleFunc("POST /aws/calls", endpoint(c.aws.Calls))
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
	return c.authenticator.mapARN(c.options, c.aws, input.ARN)
}

func (c *control) token(input arnInput) (any, error) {
	token, err := tokenFor(c.options, c.aws, input.ARN)
	return map[string]string{"token": token}, err
}

func (c *control) credentials(input awsdouble.CredentialsInput) (any, error) {
	keys, err := c.aws.Credentials(input)
	return map[string]string{
		"access_key_id":     keys.AccessKeyID,
		"secret_access_key": keys.SecretAccessKey,
		"session_token":     keys.SessionToken,
	}, err
}

func (c *control) resetAWS(struct{}) (any, error) {
	// A test that failed has not stopped its watch.
	_, _ = c.stopWatch(struct{}{})
	c.aws.Reset()
	return struct{}{}, nil
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
