// Credentials for IAM identities that only exist in tests. The session token
// contains the ARN of the identity, so the fake STS recognizes every client that
// signs with such credentials, and no identity has to be registered first.
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

const secretKey = "secret-key-shared-by-all-test-identities"

type identity struct {
	ARN     string
	Account string
	UserID  string
}

type sessionToken struct {
	ARN string `json:"arn"`
	// Makes every token different, because the API server caches an accepted
	// token for ten seconds.
	Serial int64 `json:"serial"`
}

var serials atomic.Int64

func credentialsFor(arn string) (aws.Credentials, error) {
	if _, err := identityForARN(arn); err != nil {
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

func identityFromSessionToken(token string) (identity, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return identity{}, err
	}
	var session sessionToken
	if err := json.Unmarshal(text, &session); err != nil {
		return identity{}, err
	}
	return identityForARN(session.ARN)
}

// identityForARN returns the ARN with the account and the user ID that STS
// returns for it.
func identityForARN(arn string) (identity, error) {
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
