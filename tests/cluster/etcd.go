// etcd in this process, so that tests need no installation and leave no process
// running.
package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

func startEtcd(dir string, clientPort, peerPort int) (string, error) {
	client := url.URL{Scheme: "http", Host: loopback(clientPort)}
	peer := url.URL{Scheme: "http", Host: loopback(peerPort)}
	config := embed.NewConfig()
	config.Dir = dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	// The data does not have to survive a power failure.
	config.UnsafeNoFsync = true
	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", fmt.Errorf("etcd did not start: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return client.String(), nil
	case err := <-server.Err():
		return "", fmt.Errorf("etcd stopped: %w", err)
	case <-time.After(30 * time.Second):
		return "", errors.New("etcd was not ready after 30 s")
	}
}
