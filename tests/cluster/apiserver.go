// The real kube-apiserver, run through its own command so that it is set up
// by the same flags as any other.
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
	died   chan error
}

func startAPIServer(o options, k keys, etcd string, port int, webhook, adminToken string) (*apiServer, error) {
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
		"--authorization-mode=RBAC",
		"--token-auth-file=" + tokens,
		"--authentication-token-webhook-config-file=" + webhook,
		"--authentication-token-webhook-cache-ttl=" + o.webhookCacheTTL.String(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + k.serviceAccount,
		"--service-account-signing-key-file=" + k.serviceAccount,
		"--service-cluster-ip-range=10.0.0.0/24",
		// Nothing reaches the cluster through its service address; asking the
		// machine for a routable one fails where there is no network.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
		// Without controllers no namespace ever gets its default account.
		"--disable-admission-plugins=ServiceAccount",
		// Benchmarks write with many hands at once; 429 would measure the limit.
		"--max-requests-inflight=4000",
		"--max-mutating-requests-inflight=2000",
		"--profiling=false",
	})
	server := &apiServer{
		url:  "https://" + loopback(port),
		died: make(chan error, 1),
		config: &rest.Config{
			Host:            "https://" + loopback(port),
			BearerToken:     adminToken,
			TLSClientConfig: rest.TLSClientConfig{CAFile: k.ca},
			QPS:             -1,
		},
	}
	go func() {
		if err := command.Execute(); err != nil {
			server.died <- fmt.Errorf("API server: %w", err)
			return
		}
		server.died <- errors.New("API server ended")
	}()
	return server, nil
}

// ready returns when the bootstrap roles and kube-system are there, which is
// what tests start from.
func (s *apiServer) ready(client kubernetes.Interface) error {
	deadline := time.After(60 * time.Second)
	for {
		if s.healthy(client) {
			return nil
		}
		select {
		case err := <-s.died:
			return err
		case <-deadline:
			return errors.New("API server was not ready after 60 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *apiServer) healthy(client kubernetes.Interface) bool {
	ctx, cancel := shortly()
	defer cancel()
	status := 0
	client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
	if status != http.StatusOK {
		return false
	}
	_, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	return err == nil
}
