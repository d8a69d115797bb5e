// Starts all servers in order, and exits when the caller closes stdin, so that no
// process remains after a test has crashed.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/client-go/kubernetes"

	"test-cluster/awsdouble"
)

type announcement struct {
	Server     string `json:"server"`
	CA         string `json:"ca"`
	AdminToken string `json:"admin_token"`
	Control    string `json:"control"`
	AWS        string `json:"aws"`
	Cluster    string `json:"cluster"`
	Log        string `json:"log"`
}

func serve(o options) {
	if err := makeDir(&o); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", programName, err)
		os.Exit(1)
	}
	console, err := redirectOutput(filepath.Join(o.dir, "log"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", programName, err)
		os.Exit(1)
	}
	go exitWithStdin(o.dir)
	ready, stopped, err := startAll(o)
	if err != nil {
		console.fail(err)
	}
	ready.Log = console.log
	if err := json.NewEncoder(console.out).Encode(ready); err != nil {
		console.fail(err)
	}
	console.fail(<-stopped)
}

func makeDir(o *options) error {
	if o.dir == "" {
		return errors.New("--dir is missing")
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	o.dir = dir
	// The directory is removed at the end, so it must not exist before.
	return os.Mkdir(o.dir, 0o700)
}

func exitWithStdin(dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case <-signals:
	case <-closed:
	}
	// The servers still write files while the directory is removed, so the
	// removal may have to be repeated.
	for range 5 {
		if os.RemoveAll(dir) == nil {
			break
		}
	}
	os.Exit(0)
}

func startAll(o options) (*announcement, <-chan error, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, nil, err
	}
	keys, err := makeKeys(o.dir)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := "http://" + listener.Addr().String()
	double, err := awsdouble.New(awsdouble.Config{
		ClusterName: o.clusterName,
		Partition:   o.partition,
		Region:      regions[o.partition],
	})
	if err != nil {
		return nil, nil, err
	}
	awsListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	installFakeSTS(double)
	if err := useFakeEC2(address); err != nil {
		return nil, nil, err
	}
	authenticator, err := prepareAuthenticator(o, ports[3])
	if err != nil {
		return nil, nil, err
	}
	etcd, err := startEtcd(filepath.Join(o.dir, "etcd"), ports[0], ports[1])
	if err != nil {
		return nil, nil, err
	}
	authorization, err := serveAccessPolicies(o.dir, double)
	if err != nil {
		return nil, nil, err
	}
	adminToken := rand.Text()
	api, err := startAPIServer(o, keys, etcd, ports[2], webhooks{
		authentication: authenticator.config.GenerateKubeconfigPath,
		authorization:  authorization,
	}, adminToken)
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(api.config)
	if err != nil {
		return nil, nil, err
	}
	if err := api.waitUntilReady(client); err != nil {
		return nil, nil, err
	}
	if err := authenticator.start(api.config, double); err != nil {
		return nil, nil, err
	}
	if o.aggregation {
		startAggregation(context.Background(), client)
	}
	authority, err := os.ReadFile(keys.ca)
	if err != nil {
		return nil, nil, err
	}
	double.UseServer(api.url, authority)
	go http.Serve(awsListener, double)
	c := &control{options: o, authenticator: authenticator, client: client, aws: double}
	go http.Serve(listener, c.handler())
	return &announcement{
		Server:     api.url,
		CA:         keys.ca,
		AdminToken: adminToken,
		Control:    address,
		AWS:        "http://" + awsListener.Addr().String(),
		Cluster:    o.clusterName,
	}, api.stopped, nil
}
