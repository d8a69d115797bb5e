// The order in which the parts come up, and the one way they all go down:
// with the caller's end of stdin, so that nothing outlives a dead test.
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
)

type announcement struct {
	Server     string `json:"server"`
	CA         string `json:"ca"`
	AdminToken string `json:"admin_token"`
	Control    string `json:"control"`
	Cluster    string `json:"cluster"`
	Log        string `json:"log"`
}

func serve(o options) {
	if err := makeDir(&o); err != nil {
		fmt.Fprintf(os.Stderr, "bed: %v\n", err)
		os.Exit(1)
	}
	console, err := takeConsole(filepath.Join(o.dir, "log"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "bed: %v\n", err)
		os.Exit(1)
	}
	go endWithStdin(o.dir)
	ready, died, err := startAll(o)
	if err != nil {
		console.fail(err)
	}
	ready.Log = console.log
	if err := json.NewEncoder(console.out).Encode(ready); err != nil {
		console.fail(err)
	}
	console.fail(<-died)
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
	// It is removed whole at the end, so it must not be somebody's.
	return os.Mkdir(o.dir, 0o700)
}

func endWithStdin(dir string) {
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
	// The servers still write while the files go; a second round gets those.
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
	installSTS()
	if err := useEC2Double(address); err != nil {
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
	adminToken := rand.Text()
	api, err := startAPIServer(o, keys, etcd, ports[2], authenticator.config.GenerateKubeconfigPath, adminToken)
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(api.config)
	if err != nil {
		return nil, nil, err
	}
	if err := api.ready(client); err != nil {
		return nil, nil, err
	}
	if err := authenticator.start(api.config); err != nil {
		return nil, nil, err
	}
	if o.aggregation {
		startAggregation(context.Background(), client)
	}
	c := &control{options: o, authenticator: authenticator, client: client}
	go http.Serve(listener, c.handler())
	return &announcement{
		Server:     api.url,
		CA:         keys.ca,
		AdminToken: adminToken,
		Control:    address,
		Cluster:    o.clusterName,
	}, api.died, nil
}
