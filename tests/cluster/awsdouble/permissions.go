package awsdouble

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// PermissionInput gives a principal an IAM policy. A principal without one may make
// every call.
type PermissionInput struct {
	// ARN of a role, a user or a session.
	ARN string `json:"arn"`
	// Policy is a policy document. Null: the principal may make every call again.
	Policy *policyDocument `json:"policy"`
}

type policyDocument struct {
	Statement []statement `json:"Statement"`
}

type statement struct {
	Effect    string          `json:"Effect"`
	Action    oneOrMore       `json:"Action"`
	Resource  oneOrMore       `json:"Resource"`
	Condition json.RawMessage `json:"Condition"`
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

// SetPermissions replaces the policies of principals.
func (d *Double) SetPermissions(inputs []PermissionInput) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, input := range inputs {
		id, err := d.idOf(input.ARN)
		if err != nil {
			return nil, err
		}
		delete(d.permissions, id)
		if input.Policy == nil {
			continue
		}
		for _, s := range input.Policy.Statement {
			if s.Condition != nil || s.Effect != "Allow" && s.Effect != "Deny" || s.Action == nil || s.Resource == nil {
				return nil, fmt.Errorf("the double cannot evaluate the statement %+v", s)
			}
		}
		d.permissions[id] = *input.Policy
	}
	return struct{}{}, nil
}

// idOf returns the unique ID of the principal of a session, a role or a user.
func (d *Double) idOf(arn string) (string, error) {
	if parsed, err := awsarn.Parse(arn); err != nil || parsed.Service == "sts" {
		return d.PrincipalID(arn)
	}
	id, _ := d.principalID(arn)
	return id, nil
}

// refuse returns the error of a call that the policy of its principal does not allow.
func (d *Double) refuse(c *call) *apiError {
	id, _, _ := strings.Cut(c.principal.UserID, ":")
	policy, limited := d.permissions[id]
	if !limited || c.operation.Name == "GetCallerIdentity" {
		return nil
	}
	action, resource := c.service.name+":"+c.operation.Name, d.resourceOf(c)
	if failed := policy.refuse(c, action, resource); failed != nil {
		return failed
	}
	if kind, _ := c.input["type"].(string); c.operation.Name == "CreateAccessEntry" && strings.HasPrefix(kind, "EC2") {
		return policy.refuse(c, "iam:PassRole", c.input["principalArn"].(string))
	}
	return nil
}

func (p policyDocument) refuse(c *call, action, resource string) *apiError {
	reason := "no identity-based policy allows the " + action + " action"
	for _, s := range p.Statement {
		if !anyMatches(s.Action, strings.ToLower(action), strings.ToLower) || !anyMatches(s.Resource, resource, strings.Clone) {
			continue
		}
		if s.Effect == "Deny" {
			reason = "of an explicit deny in an identity-based policy"
			break
		}
		reason = ""
	}
	if reason == "" {
		return nil
	}
	failed := accessDenied(c, action, resource)
	failed.message += " because " + reason
	return failed
}

func anyMatches(patterns []string, text string, fold func(string) string) bool {
	// Slashes have no meaning in the patterns of IAM.
	flat := strings.NewReplacer("/", "\x00", "[", `\[`)
	for _, pattern := range patterns {
		if matched, err := path.Match(flat.Replace(fold(pattern)), strings.ReplaceAll(text, "/", "\x00")); err == nil && matched {
			return true
		}
	}
	return false
}

// resourceOf returns the ARN that AWS compares with the policy of the caller, as the
// Service Authorization Reference says.
func (d *Double) resourceOf(c *call) string {
	text := func(member string) string {
		value, _ := c.input[member].(string)
		return value
	}
	inAccount := func(service, region, resource string) string {
		return strings.Join([]string{"arn", d.config.Partition, service, region, c.principal.Account, resource}, ":")
	}
	cluster := text("clusterName") + text("name")
	switch c.operation.Name {
	case "ListClusters", "ListAccessPolicies":
		return "*"
	case "AssumeRole":
		return text("RoleArn")
	case "GetRole":
		if role := d.iam.get(c.principal.Account, "role", text("RoleName")); role != nil {
			return role.ARN
		}
		return inAccount("iam", "", "role/"+text("RoleName"))
	case "ListRoles":
		return inAccount("iam", "", "role/"+strings.TrimPrefix(text("PathPrefix"), "/"))
	case "GetUser":
		return inAccount("iam", "", "user/"+text("UserName"))
	case "TagResource", "UntagResource", "ListTagsForResource":
		return text("resourceArn")
	case "DescribeNodegroup":
		return inAccount("eks", c.region, "nodegroup/"+cluster+"/"+text("nodegroupName")+"/0")
	case "DescribeFargateProfile":
		return inAccount("eks", c.region, "fargateprofile/"+cluster+"/"+text("fargateProfileName")+"/0")
	case "DescribeAccessEntry", "UpdateAccessEntry", "DeleteAccessEntry", "AssociateAccessPolicy",
		"DisassociateAccessPolicy", "ListAssociatedAccessPolicies":
		if owner := d.clusters[clusterKey(c.principal.Account, c.region, cluster)]; owner != nil {
			if e := owner.entries[text("principalArn")]; e != nil {
				return e.arn
			}
		}
		parsed, _ := awsarn.Parse(text("principalArn"))
		kind, name, _ := strings.Cut(parsed.Resource, "/")
		return inAccount("eks", c.region, strings.Join([]string{"access-entry", cluster, kind, parsed.AccountID,
			name[strings.LastIndex(name, "/")+1:], "0"}, "/"))
	}
	return inAccount("eks", c.region, "cluster/"+cluster)
}
