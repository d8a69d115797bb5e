package awsdouble

import (
	"maps"
	"strings"
)

// EntryInput is an access entry as a test wants it, also one that only EKS can make.
type EntryInput struct {
	PrincipalARN string `json:"principal_arn"`
	// PrincipalID is the unique ID of the principal when the entry was made. Null:
	// the one that it has now.
	PrincipalID *string           `json:"principal_id"`
	Type        string            `json:"type"`
	Username    *string           `json:"username"`
	Groups      *[]string         `json:"groups"`
	Tags        map[string]string `json:"tags"`
	Policies    []struct {
		// Policy is the name of an access policy, or an ARN.
		Policy     string   `json:"policy"`
		Namespaces []string `json:"namespaces"`
	} `json:"policies"`
	Deleted bool `json:"deleted"`
}

// SetEntries writes access entries of the default cluster without the checks of the
// API, and registers their principals.
func (d *Double) SetEntries(inputs []EntryInput) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owner := d.clusters[d.defaultKey()]
	for _, input := range inputs {
		if input.Deleted {
			delete(owner.entries, input.PrincipalARN)
			continue
		}
		id, exists := d.principalID(input.PrincipalARN)
		if !exists {
			ids, err := d.iam.set([]PrincipalInput{{ARN: input.PrincipalARN}})
			if err != nil {
				return nil, err
			}
			id = ids[input.PrincipalARN]
		}
		setIfGiven(&id, input.PrincipalID)
		kind := standard
		if input.Type != "" {
			kind = input.Type
		}
		e := d.newEntry(owner, input.PrincipalARN, id, kind)
		setIfGiven(&e.username, input.Username)
		setIfGiven(&e.groups, input.Groups)
		maps.Copy(e.tags, input.Tags)
		for _, given := range input.Policies {
			policy, scope := given.Policy, "namespace"
			if !strings.HasPrefix(policy, "arn:") {
				policy = d.policyARN(policy)
			}
			if given.Namespaces == nil {
				scope, given.Namespaces = "cluster", []string{}
			}
			e.associations[policy] = e.associate(policy, scope, given.Namespaces, d.now())
		}
		owner.entries[e.principalARN] = e
	}
	d.publish(owner)
	return struct{}{}, nil
}
