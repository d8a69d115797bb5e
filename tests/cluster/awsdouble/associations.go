package awsdouble

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// The names of the access policies, and their rules where AWS publishes them. The
// file names its source and date.
//
//go:embed access-policies.yaml
var accessPolicyFile []byte

var (
	accessPolicies   = loadAccessPolicies()
	accessPolicyForm = regexp.MustCompile(`^arn:aws[a-z-]*:eks::aws:cluster-access-policy/[\w-]+$`)
)

type accessPolicy struct {
	// Rules are null if they are not known. Such a policy allows nothing here.
	Rules json.RawMessage `json:"rules"`
}

func loadAccessPolicies() map[string]accessPolicy {
	var file struct {
		Policies map[string]accessPolicy `json:"policies"`
	}
	if err := yaml.Unmarshal(accessPolicyFile, &file); err != nil {
		panic(fmt.Sprintf("access-policies.yaml: %v", err))
	}
	return file.Policies
}

// association gives the rules of an access policy to the principal of an entry.
type association struct {
	policyARN  string
	scope      string
	namespaces []string
	associated time.Time
	modified   time.Time
}

func (a association) describe() map[string]any {
	return map[string]any{
		"policyArn":    a.policyARN,
		"accessScope":  map[string]any{"type": a.scope, "namespaces": a.namespaces},
		"associatedAt": a.associated,
		"modifiedAt":   a.modified,
	}
}

func (d *Double) policyARN(name string) string {
	return "arn:" + d.config.Partition + ":eks::aws:cluster-access-policy/" + name
}

// associateAccessPolicy replaces the scope of a policy that is already associated.
func (d *Double) associateAccessPolicy(c *call) (map[string]any, *apiError) {
	policy := c.input["policyArn"].(string)
	if !accessPolicyForm.MatchString(policy) {
		return nil, invalidParameter("The policyArn parameter format is not valid")
	}
	scope := c.input["accessScope"].(map[string]any)
	kind, _ := scope["type"].(string)
	namespaces := texts(scope["namespaces"])
	if kind == "namespace" && len(namespaces) == 0 {
		return nil, invalidParameter("At least 1 namespace must be provided if the type is set as namespace")
	}
	if kind != "namespace" && len(namespaces) > 0 {
		return nil, invalidParameter("accessScope should not include namespaces if the type is not set as namespace")
	}
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	if e.kind != standard && e.kind != "EC2" {
		return nil, invalidParameter("This operation can only be performed on Access Entries with a type of \"STANDARD\"")
	}
	name, ours := strings.CutPrefix(policy, d.policyARN(""))
	if _, known := accessPolicies[name]; !known || !ours {
		return nil, notFound("The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'")
	}
	a := e.associate(policy, kind, namespaces, d.now())
	e = e.clone()
	e.associations[policy] = a
	d.store(owner, e)
	return map[string]any{
		"clusterName":            owner.name,
		"principalArn":           e.principalARN,
		"associatedAccessPolicy": a.describe(),
	}, nil
}

func (e *accessEntry) associate(policy, scope string, namespaces []string, now time.Time) association {
	a := association{policyARN: policy, scope: scope, namespaces: namespaces, associated: now, modified: now}
	if before, ok := e.associations[policy]; ok {
		a.associated = before.associated
	}
	return a
}

func (d *Double) disassociateAccessPolicy(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	policy := c.input["policyArn"].(string)
	if _, ok := e.associations[policy]; !ok {
		return nil, notFound("The specified policyArn is not associated with the access entry.")
	}
	e = e.clone()
	delete(e.associations, policy)
	d.store(owner, e)
	return map[string]any{}, nil
}

func (d *Double) listAssociatedAccessPolicies(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	policies, token, failed := d.page(c, sortedKeys(e.associations), "maxResults", "nextToken")
	if failed != nil {
		return nil, failed
	}
	described := make([]any, len(policies))
	for i, policy := range policies {
		described[i] = e.associations[policy].describe()
	}
	output := map[string]any{
		"clusterName":              owner.name,
		"principalArn":             e.principalARN,
		"associatedAccessPolicies": described,
	}
	if token != "" {
		output["nextToken"] = token
	}
	return output, nil
}

func (d *Double) listAccessPolicies(c *call) (map[string]any, *apiError) {
	names, token, failed := d.page(c, sortedKeys(accessPolicies), "maxResults", "nextToken")
	if failed != nil {
		return nil, failed
	}
	policies := make([]any, len(names))
	for i, name := range names {
		policies[i] = map[string]any{"name": name, "arn": d.policyARN(name)}
	}
	output := map[string]any{"accessPolicies": policies}
	if token != "" {
		output["nextToken"] = token
	}
	return output, nil
}
