package awsdouble

import (
	"net/http"
	"strings"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

func (d *Double) iamHandlers() map[string]handler {
	return map[string]handler{"GetRole": d.getRole, "ListRoles": d.listRoles, "GetUser": d.getUser}
}

func (d *Double) getRole(c *call) (map[string]any, *apiError) {
	name := c.input["RoleName"].(string)
	role := d.iam.get(c.principal.Account, "role", name)
	if role == nil {
		return nil, failure(http.StatusNotFound, "NoSuchEntity", "The role with name %s cannot be found.", name)
	}
	output := roleOutput(role)
	// ListRoles returns no tags and no last use.
	output["RoleLastUsed"] = map[string]any{}
	return map[string]any{"Role": output}, nil
}

func (d *Double) listRoles(c *call) (map[string]any, *apiError) {
	prefix, _ := c.input["PathPrefix"].(string)
	found := d.iam.list(c.principal.Account, "role", prefix)
	names := make([]string, len(found))
	byName := map[string]*principal{}
	for i, role := range found {
		names[i] = role.Name
		byName[role.Name] = role
	}
	names, marker, failed := d.page(c, names, "MaxItems", "Marker")
	if failed != nil {
		return nil, failed
	}
	roles := make([]any, len(names))
	for i, name := range names {
		roles[i] = roleOutput(byName[name])
	}
	output := map[string]any{"Roles": roles, "IsTruncated": marker != ""}
	if marker != "" {
		output["Marker"] = marker
	}
	return output, nil
}

func roleOutput(role *principal) map[string]any {
	return map[string]any{
		"Arn":        role.ARN,
		"RoleName":   role.Name,
		"RoleId":     role.ID,
		"Path":       role.Path,
		"CreateDate": role.Created,
		// AWS returns the document percent-encoded.
		"AssumeRolePolicyDocument": encodeURI(`{"Version":"2012-10-17","Statement":[]}`, false),
		"MaxSessionDuration":       3600,
	}
}

// getUser returns the caller if no name is given.
func (d *Double) getUser(c *call) (map[string]any, *apiError) {
	name, given := c.input["UserName"].(string)
	if !given {
		parsed, _ := awsarn.Parse(c.principal.ARN)
		if !strings.HasPrefix(parsed.Resource, "user/") {
			return nil, failure(http.StatusBadRequest, "ValidationError",
				"Must specify userName when calling with non-User credentials")
		}
		name = parsed.Resource[strings.LastIndex(parsed.Resource, "/")+1:]
	}
	user := d.iam.get(c.principal.Account, "user", name)
	if user == nil {
		return nil, failure(http.StatusNotFound, "NoSuchEntity", "The user with name %s cannot be found.", name)
	}
	return map[string]any{"User": map[string]any{
		"Arn":        user.ARN,
		"UserName":   user.Name,
		"UserId":     user.ID,
		"Path":       user.Path,
		"CreateDate": user.Created,
	}}, nil
}
