// Access entries as a backend of the authenticator, before its ConfigMap backend, as
// on EKS. The authentication mode decides which of the two is asked.
package main

import (
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/errutil"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"test-cluster/awsdouble"
)

// accessEntryMapper finds the entry of a principal by its unique ID and its ARN. EKS
// does the same, so the entry of a role that was created again matches nothing.
type accessEntryMapper struct {
	double *awsdouble.Double
}

var _ mapper.Mapper = accessEntryMapper{}

func (accessEntryMapper) Name() string                           { return "AccessEntries" }
func (accessEntryMapper) Start(<-chan struct{}) error            { return nil }
func (accessEntryMapper) IsAccountAllowed(accountID string) bool { return false }
func (accessEntryMapper) UsernamePrefixReserveList() []string    { return nil }

func (m accessEntryMapper) Map(identity *token.Identity) (*config.IdentityMapping, error) {
	username, groups, ok := m.double.EntryIdentity(awsdouble.Principal{ID: identity.UserID, CanonicalARN: identity.CanonicalARN})
	if !ok {
		return nil, errutil.ErrNotMapped
	}
	return &config.IdentityMapping{IdentityARN: identity.CanonicalARN, Username: username, Groups: groups}, nil
}

// configMapGate hides aws-auth in the mode API.
type configMapGate struct {
	mapper.Mapper
	double *awsdouble.Double
}

func (g configMapGate) Map(identity *token.Identity) (*config.IdentityMapping, error) {
	if !g.double.ReadsConfigMap() {
		return nil, errutil.ErrNotMapped
	}
	return g.Mapper.Map(identity)
}

func (g configMapGate) IsAccountAllowed(accountID string) bool {
	return g.double.ReadsConfigMap() && g.Mapper.IsAccountAllowed(accountID)
}
