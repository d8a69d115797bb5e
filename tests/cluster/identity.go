// Credentials of identities that exist in tests only. The session token says
// who they stand for, as a real one does to AWS, so that any client that signs
// with them is recognised and nothing has to be registered first.
package main

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

const secretKey = "the-one-secret-key-of-every-test-identity"

type identity struct {
	ARN     string
	Account string
	UserID  string
}

type sessionToken struct {
	ARN string `json:"arn"`
	// Makes every token another one: the API server remembers a token that
	// it accepted for ten seconds.
	Serial int64 `json:"serial"`
}

var serials atomic.Int64

func credentialsFor(arn string) (aws.Credentials, error) {
	if _, err := identityOf(arn); err != nil {
		return aws.Credentials{}, err
	}
	text, err := json.Marshal(sessionToken{ARN: arn, Serial: serials.Add(1)})
	if err != nil {
		return aws.Credentials{}, err
	}
	return aws.Credentials{
		AccessKeyID:     "ASIA" + uniqueID(arn),
		SecretAccessKey: secretKey,
		SessionToken:    base64.RawURLEncoding.EncodeToString(text),
	}, nil
}

func identityOfSession(token string) (identity, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return identity{}, err
	}
	var session sessionToken
	if err := json.Unmarshal(text, &session); err != nil {
		return identity{}, err
	}
	return identityOf(session.ARN)
}

// identityOf adds what STS tells about an ARN besides the ARN.
func identityOf(arn string) (identity, error) {
	parsed, err := awsarn.Parse(arn)
	if err != nil {
		return identity{}, fmt.Errorf("%q: %w", arn, err)
	}
	id := identity{ARN: arn, Account: parsed.AccountID}
	parts := strings.Split(parsed.Resource, "/")
	last := parts[len(parts)-1]
	switch parts[0] {
	case "assumed-role":
		id.UserID = "AROA" + uniqueID(strings.TrimSuffix(arn, "/"+last)) + ":" + last
	case "federated-user":
		id.UserID = parsed.AccountID + ":" + last
	case "root":
		id.UserID = parsed.AccountID
	default:
		id.UserID = "AIDA" + uniqueID(arn)
	}
	return id, nil
}

func uniqueID(arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}
