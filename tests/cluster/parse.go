// What the authenticator's parser makes of the data of an aws-auth. It needs
// no server, so tests that ask by the thousand run it alone: a question on
// each line of stdin, its answer on each line of stdout.
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
	questions := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := json.NewEncoder(os.Stdout)
	for {
		var question configMapData
		if err := questions.Decode(&question); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "bed parse: %v\n", err)
			os.Exit(1)
		}
		if err := answers.Encode(parsed(question.Data)); err != nil {
			os.Exit(1)
		}
	}
}

// parsed also tells when the parser panics, which would be the end of a real
// authenticator.
func parsed(data map[string]string) (answer map[string]any) {
	defer func() {
		if reason := recover(); reason != nil {
			answer = map[string]any{"panic": fmt.Sprint(reason)}
		}
	}()
	users, roles, accounts, err := configmap.ParseMap(data)
	return map[string]any{"roles": roles, "users": users, "accounts": accounts, "errors": parseErrors(err)}
}
