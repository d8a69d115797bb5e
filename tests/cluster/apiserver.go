// The real kube-apiserver, started through its own command, so that it is
// configured by the same flags as in any other cluster.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

type apiServer struct {
	url    string
	config *rest.Config
	// Receives the reason when the server has stopped.
	stopped chan error
}

// webhooks are the kubeconfigs by which the server reaches them.
type webhooks struct {
	authentication, authorization string
}

func startAPIServer(o options, k keys, etcd string, port int, w webhooks, adminToken string) (*apiServer, error) {
	tokens := filepath.Join(o.dir, "tokens.csv")
	line := adminToken + ",admin,admin,system:masters\n"
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		return nil, err
	}
	command := app.NewAPIServerCommand()
	command.SetArgs([]string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + k.serverCert,
		"--tls-private-key-file=" + k.serverKey,
		"--cert-dir=" + o.dir,
		"--authorization-mode=" + authorizationModes(o),
		"--authorization-webhook-config-file=" + w.authorization,
		"--authorization-webhook-version=v1",
		"--authorization-webhook-cache-authorized-ttl=0s",
		"--authorization-webhook-cache-unauthorized-ttl=0s",
		"--token-auth-file=" + tokens,
		"--authentication-token-webhook-config-file=" + w.authentication,
		"--authentication-token-webhook-cache-ttl=" + o.webhookCacheTTL.String(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + k.serviceAccount,
		"--service-account-signing-key-file=" + k.serviceAccount,
		"--service-cluster-ip-range=10.0.0.0/24",
		// Nothing connects through the service address. Without this flag the
		// server looks for a routable address, and fails on a machine without
		// a network.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
		// No controller creates the default service account of a namespace.
		"--disable-admission-plugins=ServiceAccount",
		// Benchmarks write concurrently and would otherwise measure the limit.
		"--max-requests-inflight=4000",
		"--max-mutating-requests-inflight=2000",
		"--profiling=false",
	})
	server := &apiServer{
		url:     "https://" + loopback(port),
		stopped: make(chan error, 1),
		config: &rest.Config{
			Host:            "https://" + loopback(port),
			BearerToken:     adminToken,
			TLSClientConfig: rest.TLSClientConfig{CAFile: k.ca},
			QPS:             -1,
		},
	}
	go func() {
		if err := command.Execute(); err != nil {
			server.stopped <- fmt.Errorf("the API server failed: %w", err)
			return
		}
		server.stopped <- errors.New("the API server stopped")
	}()
	return server, nil
}

// authorizationModes returns the authorizers in the order of EKS.
func authorizationModes(o options) string {
	if o.nodeAuthorizer {
		return "Node,Webhook,RBAC"
	}
	return "Webhook,RBAC"
}

// waitUntilReady returns when the server is healthy, has created the bootstrap
// roles, and has created the namespace kube-system.
func (s *apiServer) waitUntilReady(client kubernetes.Interface) error {
	deadline := time.After(60 * time.Second)
	for {
		if s.isReady(client) {
			return nil
		}
		select {
		case err := <-s.stopped:
			return err
		case <-deadline:
			return errors.New("the API server was not ready after 60 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *apiServer) isReady(client kubernetes.Interface) bool {
	ctx, cancel := requestContext()
	defer cancel()
	status := 0
	client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
	if status != http.StatusOK {
		return false
	}
	_, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	return err == nil
}
