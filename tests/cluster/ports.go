// Free ports for the servers. They are chosen before the servers start, because
// each server is configured with the addresses of the others.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// These ports are below the range that kernels use for outgoing connections. A
// port of that range could be taken between the probe and the start of its
// server.
const lowestPort, highestPort = 20000, 32000

func freePorts(count int) ([]int, error) {
	var ports []int
	for range 1000 {
		if len(ports) == count {
			return ports, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		// Kept open until all ports are found, so that no port is found twice.
		defer listener.Close()
		ports = append(ports, port)
	}
	return nil, errors.New("no free port on the loopback interface")
}

func loopback(port int) string {
	return fmt.Sprintf("127.0.0.1:%d", port)
}
