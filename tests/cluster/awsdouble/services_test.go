package awsdouble

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

func TestClusters(t *testing.T) {
	f := start(t)
	answer, err := f.eks().DescribeCluster(f.ctx, &eks.DescribeClusterInput{Name: aws.String("test")})
	f.ok(err)
	c := answer.Cluster
	equal(f, *c.Arn, "arn:aws:eks:eu-west-1:111122223333:cluster/test")
	equal(f, *c.Endpoint, "https://127.0.0.1:1")
	equal(f, *c.CertificateAuthority.Data, "UEVN")
	equal(f, *c.Version, "1.36")
	equal(f, string(c.Status), "ACTIVE")
	equal(f, string(c.AccessConfig.AuthenticationMode), "CONFIG_MAP")
	for i := range 5 {
		name := fmt.Sprintf("more-%d", i)
		_, err := f.SetCluster(ClusterInput{Name: &name, Status: aws.String("CREATING"), Details: map[string]any{"accessConfig": nil}})
		f.ok(err)
	}
	answer, err = f.eks().DescribeCluster(f.ctx, &eks.DescribeClusterInput{Name: aws.String("more-1")})
	f.ok(err)
	if answer.Cluster.Endpoint != nil || answer.Cluster.CertificateAuthority.Data != nil || answer.Cluster.AccessConfig != nil {
		f.Fatalf("%+v", answer.Cluster)
	}
	_, err = f.SetSettings(Settings{PageSize: 2})
	f.ok(err)
	pages := eks.NewListClustersPaginator(f.eks(), &eks.ListClustersInput{})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
		f.ok(err)
		names = append(names, strings.Join(page.Clusters, " "))
	}
	equal(f, strings.Join(names, ", "), "more-0 more-1, more-2 more-3, more-4 test")
	_, err = f.eks().ListClusters(f.ctx, &eks.ListClustersInput{NextToken: aws.String("x")})
	f.wantError(err, "InvalidParameterException", "nextToken")
	for _, change := range []func(){
		func() { f.config.Region = "us-east-1" },
		func() {
			f.config.Region = "eu-west-1"
			f.as(CredentialsInput{ARN: "arn:aws:iam::444455556666:user/bob"})
		},
	} {
		change()
		f.wantError(f.describeCluster(), "ResourceNotFoundException", "No cluster found for name: test.")
	}
	_, err = f.SetCluster(ClusterInput{Details: map[string]any{"nmae": "x"}})
	if err == nil {
		f.Fatal("an unknown member is accepted")
	}
}

func TestNodegroupsAndFargateProfiles(t *testing.T) {
	f := start(t)
	role := "arn:aws:iam::111122223333:role/nodes"
	_, err := f.SetCluster(ClusterInput{
		Nodegroups:      &[]map[string]any{{"nodegroupName": "a", "nodeRole": role}},
		FargateProfiles: &[]map[string]any{{"fargateProfileName": "b", "podExecutionRoleArn": role}},
	})
	f.ok(err)
	name := aws.String("test")
	groups, err := f.eks().ListNodegroups(f.ctx, &eks.ListNodegroupsInput{ClusterName: name})
	f.ok(err)
	equal(f, strings.Join(groups.Nodegroups, " "), "a")
	group, err := f.eks().DescribeNodegroup(f.ctx, &eks.DescribeNodegroupInput{ClusterName: name, NodegroupName: aws.String("a")})
	f.ok(err)
	equal(f, *group.Nodegroup.NodeRole, role)
	_, err = f.eks().DescribeNodegroup(f.ctx, &eks.DescribeNodegroupInput{ClusterName: name, NodegroupName: aws.String("b")})
	f.wantError(err, "ResourceNotFoundException", "No node group found for name: b.")
	profiles, err := f.eks().ListFargateProfiles(f.ctx, &eks.ListFargateProfilesInput{ClusterName: name})
	f.ok(err)
	equal(f, strings.Join(profiles.FargateProfileNames, " "), "b")
	profile, err := f.eks().DescribeFargateProfile(f.ctx, &eks.DescribeFargateProfileInput{ClusterName: name, FargateProfileName: aws.String("b")})
	f.ok(err)
	equal(f, *profile.FargateProfile.PodExecutionRoleArn, role)
}

func TestAssumedRoles(t *testing.T) {
	f := start(t)
	_, err := f.SetPrincipals([]PrincipalInput{
		{ARN: "arn:aws:iam::444455556666:role/team/deploy", ExternalID: "secret", TrustedARNs: []string{dev}},
		{ARN: "arn:aws:iam::111122223333:role/web", WebIdentityToken: "a.b.c"},
		{ARN: role},
		{ARN: "arn:aws:iam::111122223333:role/by-role", TrustedARNs: []string{role}},
		{ARN: "arn:aws:iam::111122223333:role/by-account", TrustedARNs: []string{"arn:aws:iam::111122223333:root"}},
		{ARN: "arn:aws:iam::111122223333:role/by-other", TrustedARNs: []string{remote}},
	})
	f.ok(err)
	input := sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::444455556666:role/team/deploy"),
		RoleSessionName: aws.String("ci"),
		Tags:            []ststypes.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
	}
	_, err = f.sts().AssumeRole(f.ctx, &input)
	f.wantError(err, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/team/deploy")
	input.ExternalId = aws.String("secret")
	answer, err := f.sts().AssumeRole(f.ctx, &input)
	f.ok(err)
	input.RoleSessionName = aws.String("not allowed")
	_, err = f.sts().AssumeRole(f.ctx, &input)
	f.wantError(err, "ValidationError", "1 validation error detected: Value 'not allowed' at 'RoleSessionName'")
	input.RoleSessionName = aws.String("ci")
	for name, trusted := range map[string]bool{"by-role": true, "by-account": true, "by-other": false} {
		input.RoleArn = aws.String("arn:aws:iam::111122223333:role/" + name)
		_, err = f.sts().AssumeRole(f.ctx, &input)
		equal(f, err == nil, trusted)
	}
	f.config.Credentials = aws.AnonymousCredentials{}
	web, err := f.sts().AssumeRoleWithWebIdentity(f.ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String("arn:aws:iam::111122223333:role/web"),
		RoleSessionName:  aws.String("job"),
		WebIdentityToken: aws.String("a.b.c"),
	})
	f.ok(err)
	for arn, keys := range map[string]*ststypes.Credentials{
		"arn:aws:sts::444455556666:assumed-role/deploy/ci": answer.Credentials,
		"arn:aws:sts::111122223333:assumed-role/web/job":   web.Credentials,
	} {
		f.config.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: *keys.AccessKeyId, SecretAccessKey: *keys.SecretAccessKey, SessionToken: *keys.SessionToken}, nil
		})
		caller, err := f.sts().GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
		f.ok(err)
		equal(f, *caller.Arn, arn)
	}
}

func TestRolesAndUsers(t *testing.T) {
	f := start(t)
	sso := "/aws-reserved/sso.amazonaws.com/eu-west-1/"
	_, err := f.SetPrincipals([]PrincipalInput{
		{ARN: "arn:aws:iam::111122223333:role" + sso + "AWSReservedSSO_Admin_0123456789abcdef"},
		{ARN: "arn:aws:iam::111122223333:role" + sso + "AWSReservedSSO_View_0123456789abcdef"},
		{ARN: "arn:aws:iam::111122223333:role/dev"},
		{ARN: "arn:aws:iam::111122223333:user/team/bob"},
	})
	f.ok(err)
	_, err = f.SetSettings(Settings{PageSize: 1})
	f.ok(err)
	pages := iam.NewListRolesPaginator(f.iam(), &iam.ListRolesInput{PathPrefix: aws.String("/aws-reserved/sso.amazonaws.com/")})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
		f.ok(err)
		for _, role := range page.Roles {
			names = append(names, *role.RoleName)
		}
	}
	equal(f, strings.Join(names, " "), "AWSReservedSSO_Admin_0123456789abcdef AWSReservedSSO_View_0123456789abcdef")
	role := func() string {
		answer, err := f.iam().GetRole(f.ctx, &iam.GetRoleInput{RoleName: aws.String("dev")})
		f.ok(err)
		return *answer.Role.RoleId
	}
	first := role()
	caller, err := f.sts().GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
	f.ok(err)
	equal(f, *caller.UserId, first+":alice")
	_, err = f.SetPrincipals([]PrincipalInput{{ARN: "arn:aws:iam::111122223333:role/dev", Recreated: true}})
	f.ok(err)
	if role() == first {
		f.Fatal("the role that was created again has the ID of the first one")
	}
	_, err = f.iam().GetRole(f.ctx, &iam.GetRoleInput{RoleName: aws.String("missing")})
	f.wantError(err, "NoSuchEntity", "The role with name missing cannot be found.")
	_, err = f.iam().GetUser(f.ctx, &iam.GetUserInput{})
	f.wantError(err, "ValidationError", "Must specify userName")
	f.as(CredentialsInput{ARN: "arn:aws:iam::111122223333:user/team/bob"})
	user, err := f.iam().GetUser(f.ctx, &iam.GetUserInput{})
	f.ok(err)
	equal(f, *user.User.Path, "/team/")
}
