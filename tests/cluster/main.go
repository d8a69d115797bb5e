// Command test-cluster runs etcd, a real API server and the real
// aws-iam-authenticator in one process, so that tests need neither a container
// engine nor AWS. This file selects the subcommand.
package main

import (
	"fmt"
	"os"
)

const programName = "test-cluster"

const usage = "usage: test-cluster serve --dir DIR [flags] | test-cluster kubectl ARGS... | test-cluster parse"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	switch os.Args[1] {
	case "serve":
		serve(parseOptions(os.Args[2:]))
	case "kubectl":
		kubectl(os.Args[2:])
	case "parse":
		parseLines()
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}
