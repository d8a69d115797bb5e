package awsdouble

import (
	"fmt"
	"strings"
	"sync"
	"time"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// principal is a role or a user that is registered in IAM.
type principal struct {
	ARN     string
	Account string
	// Kind is `role` or `user`.
	Kind    string
	Path    string
	Name    string
	ID      string
	Created time.Time
	// ExternalID is required by the trust policy of the role, if it is not empty.
	ExternalID string
	// TrustedARNs may assume the role: users, roles, sessions, or `root` of an account.
	// Empty: every principal may.
	TrustedARNs []string
	// WebIdentityToken may assume the role with a web identity.
	WebIdentityToken string
}

// iamStore has the roles and users of all accounts. Identities that only sign
// requests need not be registered; their IDs are derived from their ARNs.
type iamStore struct {
	mu         sync.Mutex
	principals map[string]*principal
	recreated  int
	now        func() time.Time
}

// PrincipalInput registers, re-creates or deletes a role or a user.
type PrincipalInput struct {
	// ARN with the path, such as arn:aws:iam::111122223333:role/team/dev.
	ARN              string   `json:"arn"`
	UniqueID         string   `json:"unique_id"`
	ExternalID       string   `json:"external_id"`
	TrustedARNs      []string `json:"trusted_arns"`
	WebIdentityToken string   `json:"web_identity_token"`
	// Recreated gives the principal another unique ID.
	Recreated bool `json:"recreated"`
	Deleted   bool `json:"deleted"`
}

// set registers principals. It returns their unique IDs by their ARNs.
func (s *iamStore) set(inputs []PrincipalInput) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[string]string{}
	for _, input := range inputs {
		p, err := newPrincipal(input)
		if err != nil {
			return nil, err
		}
		p.Created = s.now()
		key := principalKey(p.Account, p.Kind, p.Name)
		if input.Deleted {
			delete(s.principals, key)
			continue
		}
		if known, ok := s.principals[key]; ok && !input.Recreated {
			p.Created = known.Created
			if input.UniqueID == "" {
				p.ID = known.ID
			}
		}
		if input.Recreated && input.UniqueID == "" {
			s.recreated++
			p.ID = p.ID[:4] + uniqueID(fmt.Sprintf("%s %d", p.ARN, s.recreated))
		}
		s.principals[key] = p
		ids[p.ARN] = p.ID
	}
	return ids, nil
}

func newPrincipal(input PrincipalInput) (*principal, error) {
	parsed, err := awsarn.Parse(input.ARN)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", input.ARN, err)
	}
	kind, rest, ok := strings.Cut(parsed.Resource, "/")
	if parsed.Service != "iam" || !ok || kind != "role" && kind != "user" {
		return nil, fmt.Errorf("%q is not the ARN of an IAM role or user", input.ARN)
	}
	slash := strings.LastIndex(rest, "/")
	p := &principal{
		ARN:              input.ARN,
		Account:          parsed.AccountID,
		Kind:             kind,
		Path:             "/" + rest[:slash+1],
		Name:             rest[slash+1:],
		ID:               input.UniqueID,
		ExternalID:       input.ExternalID,
		TrustedARNs:      input.TrustedARNs,
		WebIdentityToken: input.WebIdentityToken,
	}
	if p.ID == "" && kind == "role" {
		session := awsarn.ARN{Partition: parsed.Partition, Service: "sts", AccountID: p.Account, Resource: "assumed-role/" + p.Name}
		p.ID = "AROA" + uniqueID(session.String())
	} else if p.ID == "" {
		p.ID = "AIDA" + uniqueID(input.ARN)
	}
	return p, nil
}

// principalKey is the same for all paths and spellings: names are unique in an
// account, and AWS does not distinguish their case.
func principalKey(account, kind, name string) string {
	return account + " " + kind + " " + strings.ToLower(name)
}

func (s *iamStore) get(account, kind, name string) *principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.principals[principalKey(account, kind, name)]
}

// roleID returns the unique ID of a role, whose sessions have this ARN without the
// session name.
func (s *iamStore) roleID(account, name, sessionARN string) string {
	if role := s.get(account, "role", name); role != nil {
		return role.ID
	}
	return "AROA" + uniqueID(sessionARN)
}

func (s *iamStore) userID(arn string) string {
	if parsed, err := awsarn.Parse(arn); err == nil {
		parts := strings.Split(parsed.Resource, "/")
		if user := s.get(parsed.AccountID, "user", parts[len(parts)-1]); user != nil {
			return user.ID
		}
	}
	return "AIDA" + uniqueID(arn)
}

// list returns copies of the principals of an account, in the order of their names.
func (s *iamStore) list(account, kind, pathPrefix string) []*principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*principal
	for _, key := range sortedKeys(s.principals) {
		p := s.principals[key]
		if p.Account == account && p.Kind == kind && strings.HasPrefix(p.Path, pathPrefix) {
			found = append(found, p)
		}
	}
	return found
}

func (s *iamStore) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.principals = map[string]*principal{}
}
