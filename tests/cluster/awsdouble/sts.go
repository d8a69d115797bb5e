package awsdouble

import (
	"net/http"
	"slices"
	"strings"
	"time"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

func (d *Double) stsHandlers() map[string]handler {
	return map[string]handler{
		"GetCallerIdentity":         d.getCallerIdentity,
		"AssumeRole":                d.assumeRole,
		"AssumeRoleWithWebIdentity": d.assumeRoleWithWebIdentity,
	}
}

func (d *Double) getCallerIdentity(c *call) (map[string]any, *apiError) {
	return map[string]any{"Account": c.principal.Account, "Arn": c.principal.ARN, "UserId": c.principal.UserID}, nil
}

// assumeRole requires a registered role, since its trust policy decides.
func (d *Double) assumeRole(c *call) (map[string]any, *apiError) {
	arn := c.input["RoleArn"].(string)
	role := d.registeredRole(arn)
	if role == nil || !d.trusts(role, c.principal) || role.ExternalID != "" && c.input["ExternalId"] != role.ExternalID {
		return nil, accessDenied(c, "sts:AssumeRole", arn)
	}
	return d.session(c, role)
}

// trusts tells whether the trust policy of a role names the caller, its role or its
// account.
func (d *Double) trusts(role *principal, caller Identity) bool {
	if len(role.TrustedARNs) == 0 {
		return true
	}
	parsed, err := awsarn.Parse(caller.ARN)
	if err != nil {
		return false
	}
	account := awsarn.ARN{Partition: parsed.Partition, Service: "iam", AccountID: parsed.AccountID, Resource: "root"}
	names := []string{caller.ARN, account.String()}
	if parts := strings.Split(parsed.Resource, "/"); parts[0] == "assumed-role" && len(parts) == 3 {
		if known := d.iam.get(parsed.AccountID, "role", parts[1]); known != nil {
			names = append(names, known.ARN)
		}
	}
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(role.TrustedARNs, name) })
}

// assumeRoleWithWebIdentity is not signed: the token is the proof of the identity.
func (d *Double) assumeRoleWithWebIdentity(c *call) (map[string]any, *apiError) {
	role := d.registeredRole(c.input["RoleArn"].(string))
	if role == nil || role.WebIdentityToken == "" {
		return nil, failure(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if c.input["WebIdentityToken"] != role.WebIdentityToken {
		return nil, failure(http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
	}
	return d.session(c, role)
}

// registeredRole returns the role with exactly this ARN, including its path.
func (d *Double) registeredRole(arn string) *principal {
	parsed, err := awsarn.Parse(arn)
	if err != nil {
		return nil
	}
	role := d.iam.get(parsed.AccountID, "role", arn[strings.LastIndex(arn, "/")+1:])
	if role == nil || role.ARN != arn {
		return nil
	}
	return role
}

func (d *Double) session(c *call, role *principal) (map[string]any, *apiError) {
	seconds := int64(3600)
	if given, ok := c.input["DurationSeconds"].(int64); ok {
		seconds = given
	}
	parsed, _ := awsarn.Parse(role.ARN)
	session := awsarn.ARN{
		Partition: parsed.Partition,
		Service:   "sts",
		AccountID: role.Account,
		Resource:  "assumed-role/" + role.Name + "/" + c.input["RoleSessionName"].(string),
	}
	keys, err := d.Credentials(CredentialsInput{ARN: session.String(), ValidFor: &seconds})
	if err != nil {
		return nil, failure(http.StatusInternalServerError, "InternalFailure", "%v", err)
	}
	return map[string]any{
		"AssumedRoleUser": map[string]any{
			"Arn":           session.String(),
			"AssumedRoleId": role.ID + ":" + c.input["RoleSessionName"].(string),
		},
		"Credentials": map[string]any{
			"AccessKeyId":     keys.AccessKeyID,
			"SecretAccessKey": keys.SecretAccessKey,
			"SessionToken":    keys.SessionToken,
			"Expiration":      time.Now().Add(time.Duration(seconds) * time.Second).Truncate(time.Second),
		},
	}, nil
}
