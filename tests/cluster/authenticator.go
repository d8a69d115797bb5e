// The aws-iam-authenticator server as EKS runs it: its token verifier, its
// ConfigMap backend and its templates, unchanged, behind the API server's
// token webhook.
package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/metrics"
	"sigs.k8s.io/aws-iam-authenticator/pkg/server"
)

type authenticator struct {
	config  config.Config
	handler http.Handler
	mapper  *configmap.ConfigMapMapper
}

// prepareAuthenticator writes the webhook's certificate and kubeconfig, which
// the API server wants to read before the webhook can run.
func prepareAuthenticator(o options, port int) (*authenticator, error) {
	config.SSORoleMatchEnabled = o.ssoRoleMatch
	dir := filepath.Join(o.dir, "authenticator")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authenticator{config: config.Config{
		PartitionID:               o.partition,
		ClusterID:                 o.clusterName,
		Hostname:                  "127.0.0.1",
		Address:                   "127.0.0.1",
		HostPort:                  port,
		StateDir:                  dir,
		GenerateKubeconfigPath:    filepath.Join(dir, "webhook.kubeconfig"),
		KubeconfigPregenerated:    true,
		Kubeconfig:                filepath.Join(dir, "client.kubeconfig"),
		BackendMode:               []string{mapper.ModeEKSConfigMap},
		EC2DescribeInstancesQps:   15,
		EC2DescribeInstancesBurst: 5,
	}}
	return a, a.config.GenerateFiles()
}

// start must come after the API server is ready: a watch that fails once makes
// the mapper sleep for five seconds.
func (a *authenticator) start(api *rest.Config) error {
	if err := writeKubeconfig(a.config.Kubeconfig, api); err != nil {
		return err
	}
	// The mapper panics without.
	metrics.InitMetrics(prometheus.NewRegistry())
	inner := reflect.ValueOf(server.New(context.Background(), a.config)).Elem()
	web := field[http.Server](inner, "httpServer")
	listener := field[net.Listener](inner, "listener")
	a.handler = web.Handler
	chain := reflect.ValueOf(web.Handler).Elem().FieldByName("backendMapper")
	a.mapper = (*field[[]mapper.Mapper](chain, "mappers"))[0].(*configmap.ConfigMapMapper)
	// Its own Run would also open a fixed port on every interface.
	go web.Serve(*listener)
	return nil
}

func writeKubeconfig(path string, api *rest.Config) error {
	k := clientcmdapi.NewConfig()
	k.Clusters["bed"] = &clientcmdapi.Cluster{Server: api.Host, CertificateAuthority: api.CAFile}
	k.AuthInfos["bed"] = &clientcmdapi.AuthInfo{Token: api.BearerToken}
	k.Contexts["bed"] = &clientcmdapi.Context{Cluster: "bed", AuthInfo: "bed"}
	k.CurrentContext = "bed"
	return clientcmd.WriteToFile(*k, path)
}
