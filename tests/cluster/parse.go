// The parser of the authenticator for the data of an aws-auth ConfigMap. It needs
// no server, so tests with thousands of inputs run only the parser: it reads one
// JSON input per line from stdin and writes one JSON result per line to stdout.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
)

type configMapData struct {
	Data map[string]string `json:"data"`
}

func parseLines() {
	inputs := json.NewDecoder(bufio.NewReader(os.Stdin))
	results := json.NewEncoder(os.Stdout)
	for {
		var input configMapData
		if err := inputs.Decode(&input); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "%s parse: %v\n", programName, err)
			os.Exit(1)
		}
		if err := results.Encode(parseConfigMap(input.Data)); err != nil {
			os.Exit(1)
		}
	}
}

// parseConfigMap also reports a panic of the parser, which would crash a real
// authenticator.
func parseConfigMap(data map[string]string) (result map[string]any) {
	defer func() {
		if reason := recover(); reason != nil {
			result = map[string]any{"panic": fmt.Sprint(reason)}
		}
	}()
	users, roles, accounts, err := configmap.ParseMap(data)
	return map[string]any{"roles": roles, "users": users, "accounts": accounts, "errors": parseErrors(err)}
}
