// Credentials for IAM identities that only exist in tests. The session token
// contains the ARN of the identity, so every client that signs with such
// credentials is recognized, and no identity has to be registered first.
package awsdouble

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// SecretKey is the secret of all credentials.
const SecretKey = "secret-key-shared-by-all-test-identities"

// Identity is what STS knows of the caller.
type Identity struct {
	ARN     string
	Account string
	// UserID is the unique ID of the user, or that of the role with the session name.
	UserID string
}

// CredentialsInput is what a test asks credentials for.
type CredentialsInput struct {
	ARN string `json:"arn"`
	// ValidFor is negative for credentials that have expired. Null: they never do.
	ValidFor *int64 `json:"valid_for_seconds"`
	// Padding makes the session token longer by this number of characters.
	Padding int `json:"padding"`
	// Permanent asks for the access key of an IAM user, which has no session token.
	Permanent bool `json:"permanent"`
}

type sessionToken struct {
	ARN string `json:"arn"`
	// Makes every token different, because the API server caches an accepted
	// token for ten seconds.
	Serial  int64  `json:"serial"`
	Expires int64  `json:"expires,omitempty"`
	Padding string `json:"padding,omitempty"`
}

var (
	errUnknownToken = errors.New("the security token included in the request is invalid")
	errExpiredToken = errors.New("the security token included in the request is expired")
)

var serials atomic.Int64

// Credentials makes credentials of an identity.
func (d *Double) Credentials(input CredentialsInput) (aws.Credentials, error) {
	id, err := d.identity(input.ARN)
	if err != nil {
		return aws.Credentials{}, err
	}
	keys := aws.Credentials{AccessKeyID: accessKeyID("ASIA", id.ARN), SecretAccessKey: SecretKey}
	if input.Permanent {
		keys.AccessKeyID = accessKeyID("AKIA", id.ARN)
		d.permanent.Store(keys.AccessKeyID, id.ARN)
		return keys, nil
	}
	session := sessionToken{ARN: input.ARN, Serial: serials.Add(1), Padding: strings.Repeat("x", input.Padding)}
	if input.ValidFor != nil {
		session.Expires = time.Now().Unix() + *input.ValidFor
	}
	text, err := json.Marshal(session)
	keys.SessionToken = base64.RawURLEncoding.EncodeToString(text)
	return keys, err
}

// Authenticate returns the identity of an access key and a session token, or one of
// errUnknownToken and errExpiredToken. The caller checks the signature.
func (d *Double) Authenticate(accessKey, token string) (Identity, error) {
	if token == "" {
		arn, ok := d.permanent.Load(accessKey)
		if !ok {
			return Identity{}, errUnknownToken
		}
		return d.identity(arn.(string))
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return Identity{}, errUnknownToken
	}
	var session sessionToken
	if json.Unmarshal(text, &session) != nil || accessKey != accessKeyID("ASIA", session.ARN) {
		return Identity{}, errUnknownToken
	}
	if session.Expires != 0 && time.Now().Unix() >= session.Expires {
		return Identity{}, errExpiredToken
	}
	return d.identity(session.ARN)
}

// PrincipalID returns the unique ID of the user or role of an identity, without the
// name of its session.
func (d *Double) PrincipalID(arn string) (string, error) {
	id, err := d.identity(arn)
	principal, _, _ := strings.Cut(id.UserID, ":")
	return principal, err
}

// identity returns the ARN with the account and the user ID that STS returns for it.
func (d *Double) identity(arn string) (Identity, error) {
	parsed, err := awsarn.Parse(arn)
	if err != nil {
		return Identity{}, fmt.Errorf("%q: %w", arn, err)
	}
	id := Identity{ARN: arn, Account: parsed.AccountID}
	parts := strings.Split(parsed.Resource, "/")
	last := parts[len(parts)-1]
	switch {
	case parts[0] == "assumed-role" && len(parts) == 3:
		id.UserID = d.iam.roleID(parsed.AccountID, parts[1], strings.TrimSuffix(arn, "/"+last)) + ":" + last
	case parts[0] == "federated-user":
		id.UserID = parsed.AccountID + ":" + last
	case parts[0] == "root":
		id.UserID = parsed.AccountID
	default:
		id.UserID = d.iam.userID(arn)
	}
	return id, nil
}

func accessKeyID(prefix, arn string) string {
	return prefix + uniqueID(arn)
}

// uniqueID returns 16 characters that are always the same for a text.
func uniqueID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base32.StdEncoding.EncodeToString(sum[:])[:16]
}
