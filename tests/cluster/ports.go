// Ports are wanted before the servers that listen on them exist, since each
// is configured with the others' addresses.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Below the range that kernels hand to outgoing connections: a port probed
// there would now and then be taken again before its server starts.
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
		// Kept until all are found, so that none is found twice.
		defer listener.Close()
		ports = append(ports, port)
	}
	return nil, errors.New("no free port on the loopback interface")
}

func loopback(port int) string {
	return fmt.Sprintf("127.0.0.1:%d", port)
}
