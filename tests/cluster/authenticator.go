// The aws-iam-authenticator server as EKS runs it, as the token webhook of the
// API server: its token verifier, its ConfigMap backend and its templates,
// unchanged. Its list of backends has access entries in addition.
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

	"test-cluster/awsdouble"
)

type authenticator struct {
	config  config.Config
	handler http.Handler
	mapper  *configmap.ConfigMapMapper
	mappers []mapper.Mapper
}

// prepareAuthenticator writes the certificate and the kubeconfig of the
// webhook. The API server reads them when it starts, which is before the
// authenticator can start.
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

// start must be called after the API server is ready: if the first watch
// fails, the mapper waits for five seconds.
func (a *authenticator) start(api *rest.Config, double *awsdouble.Double) error {
	if err := writeKubeconfig(a.config.Kubeconfig, api); err != nil {
		return err
	}
	// The mapper panics if the metrics are not initialized.
	metrics.InitMetrics(prometheus.NewRegistry())
	instance := reflect.ValueOf(server.New(context.Background(), a.config)).Elem()
	httpServer := unexportedField[http.Server](instance, "httpServer")
	listener := unexportedField[net.Listener](instance, "listener")
	a.handler = httpServer.Handler
	backend := reflect.ValueOf(httpServer.Handler).Elem().FieldByName("backendMapper")
	mappers := unexportedField[[]mapper.Mapper](backend, "mappers")
	a.mapper = (*mappers)[0].(*configmap.ConfigMapMapper)
	*mappers = []mapper.Mapper{accessEntryMapper{double}, configMapGate{a.mapper, double}}
	a.mappers = *mappers
	// The server's own Run would also listen on a fixed port of every interface.
	go httpServer.Serve(*listener)
	return nil
}

func writeKubeconfig(path string, api *rest.Config) error {
	k := clientcmdapi.NewConfig()
	k.Clusters[programName] = &clientcmdapi.Cluster{Server: api.Host, CertificateAuthority: api.CAFile}
	k.AuthInfos[programName] = &clientcmdapi.AuthInfo{Token: api.BearerToken}
	k.Contexts[programName] = &clientcmdapi.Context{Cluster: programName, AuthInfo: programName}
	k.CurrentContext = programName
	return clientcmd.WriteToFile(*k, path)
}
