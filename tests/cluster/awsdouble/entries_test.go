package awsdouble

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

const (
	role   = "arn:aws:iam::111122223333:role/team/dev"
	user   = "arn:aws:iam::111122223333:user/bob"
	view   = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	nodes  = "arn:aws:iam::111122223333:role/nodes"
	remote = "arn:aws:iam::444455556666:role/remote"
)

var testCluster = aws.String("test")

// startWithEntries starts a double whose cluster has both stores, and registers the
// principals.
func startWithEntries(t *testing.T) *fixture {
	t.Helper()
	f := start(t)
	f.setCluster(ClusterInput{AuthenticationMode: aws.String("API_AND_CONFIG_MAP")})
	_, err := f.SetPrincipals([]PrincipalInput{{ARN: role}, {ARN: user}, {ARN: nodes}, {ARN: remote}})
	f.ok(err)
	return f
}

func (f *fixture) setCluster(input ClusterInput) {
	f.Helper()
	_, err := f.SetCluster(input)
	f.ok(err)
}

func (f *fixture) create(input eks.CreateAccessEntryInput) (*types.AccessEntry, error) {
	f.Helper()
	input.ClusterName = testCluster
	output, err := f.eks().CreateAccessEntry(f.ctx, &input)
	if err != nil {
		return nil, err
	}
	return output.AccessEntry, nil
}

func (f *fixture) associate(principal, policy string, scope types.AccessScope) (*types.AssociatedAccessPolicy, error) {
	f.Helper()
	output, err := f.eks().AssociateAccessPolicy(f.ctx, &eks.AssociateAccessPolicyInput{
		ClusterName: testCluster, PrincipalArn: &principal, PolicyArn: &policy, AccessScope: &scope,
	})
	if err != nil {
		return nil, err
	}
	return output.AssociatedAccessPolicy, nil
}

func TestEntriesAreRefusedAsOnAWS(t *testing.T) {
	f := startWithEntries(t)
	_, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(user)})
	f.ok(err)
	for _, test := range []struct {
		input      eks.CreateAccessEntryInput
		code, text string
	}{
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(user)}, "ResourceInUseException", "The specified access entry resource is already in use on this cluster."},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String("arn:aws:iam::111122223333:role/dev")}, "InvalidParameterException", "The specified principalArn is invalid: invalid principal."},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(dev)}, "InvalidParameterException", "The principalArn parameter format is not valid"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String("arn:aws:iam::444455556666:role/aws-service-role/x.amazonaws.com/X")}, "InvalidParameterException", "Service Linked Role"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Username: aws.String("aws:x")}, "InvalidParameterException", "The username must not begin with aws:"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), KubernetesGroups: []string{"system:masters"}}, "InvalidParameterException", "The kubernetes group name system:masters is invalid, it cannot start with system:"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Username: aws.String("{{SessionName}}")}, "InvalidParameterException", "colon"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(user), Type: aws.String("EC2_LINUX")}, "InvalidParameterException", "AccessEntry principalArn must be IAM role when using types"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(remote), Type: aws.String("EC2_LINUX")}, "InvalidParameterException", "must be from the same account as the cluster"},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(nodes), Type: aws.String("EC2_LINUX"), KubernetesGroups: []string{"x"}}, "InvalidParameterException", `setting kubernetesGroups is not allowed when the type is "EC2_LINUX"`},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(nodes), Type: aws.String("EC2_LINUX"), Username: aws.String("x")}, "InvalidParameterException", `setting username is not allowed when the type is "EC2_LINUX"`},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Type: aws.String("Standard")}, "InvalidParameterException", "AccessEntry type must be one of [STANDARD, "},
		{eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Tags: map[string]string{"k": strings.Repeat("v", 257)}}, "ValidationException", "Member must have length less than or equal to 256"},
	} {
		_, err := f.create(test.input)
		f.wantError(err, test.code, test.text)
	}
	// These checks come before the lookup of the cluster.
	f.setCluster(ClusterInput{AuthenticationMode: aws.String("CONFIG_MAP")})
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Username: aws.String("eks:x")})
	f.wantError(err, "InvalidParameterException", "The username must not begin with eks:")
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role)})
	mode := "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP]"
	f.wantError(err, "InvalidRequestException", mode)
	_, err = f.eks().ListAccessEntries(f.ctx, &eks.ListAccessEntriesInput{ClusterName: testCluster})
	f.wantError(err, "InvalidRequestException", mode)
}

func TestEntriesHaveDefaultsAndUpdatesResetThem(t *testing.T) {
	f := startWithEntries(t)
	token := aws.String("once")
	first, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), ClientRequestToken: token, KubernetesGroups: []string{"a"}})
	f.ok(err)
	equal(f, *first.Username, "arn:aws:sts::111122223333:assumed-role/dev/{{SessionName}}")
	equal(f, *first.Type, "STANDARD")
	if !strings.HasPrefix(*first.AccessEntryArn, "arn:aws:eks:eu-west-1:111122223333:access-entry/test/role/111122223333/dev/") {
		f.Fatal(*first.AccessEntryArn)
	}
	again, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), ClientRequestToken: token, KubernetesGroups: []string{"a"}})
	f.ok(err)
	equal(f, *again.AccessEntryArn, *first.AccessEntryArn)
	updated, err := f.eks().UpdateAccessEntry(f.ctx, &eks.UpdateAccessEntryInput{
		ClusterName: testCluster, PrincipalArn: aws.String(role), Username: aws.String("dev:{{SessionName}}")})
	f.ok(err)
	equal(f, len(updated.AccessEntry.KubernetesGroups), 0)
	direct, err := f.Call(DirectCall{Operation: "DescribeAccessEntry", Input: json.RawMessage(`{"clusterName":"test","principalArn":"` + role + `"}`)})
	f.ok(err)
	equal(f, direct.(map[string]any)["accessEntry"].(map[string]any)["username"], any("dev:{{SessionName}}"))
	updated, err = f.eks().UpdateAccessEntry(f.ctx, &eks.UpdateAccessEntryInput{
		ClusterName: testCluster, PrincipalArn: aws.String(role), KubernetesGroups: []string{"b"}})
	f.ok(err)
	equal(f, *updated.AccessEntry.Username, *first.Username)
	node, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(nodes), Type: aws.String("EC2_LINUX")})
	f.ok(err)
	equal(f, *node.Username+" "+strings.Join(node.KubernetesGroups, " "), "system:node:{{EC2PrivateDNSName}} system:nodes")
	_, err = f.eks().UpdateAccessEntry(f.ctx, &eks.UpdateAccessEntryInput{
		ClusterName: testCluster, PrincipalArn: aws.String(nodes), Username: node.Username})
	f.wantError(err, "InvalidParameterException", "setting username is not allowed")
	_, err = f.eks().DeleteAccessEntry(f.ctx, &eks.DeleteAccessEntryInput{ClusterName: testCluster, PrincipalArn: aws.String(nodes)})
	f.ok(err)
	_, err = f.eks().DescribeAccessEntry(f.ctx, &eks.DescribeAccessEntryInput{ClusterName: testCluster, PrincipalArn: aws.String(nodes)})
	f.wantError(err, "ResourceNotFoundException", "The specified principalArn could not be found.")
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(remote)})
	f.ok(err)
}

func TestAssociationsAreRefusedAndReplacedAsOnAWS(t *testing.T) {
	f := startWithEntries(t)
	cluster := types.AccessScope{Type: types.AccessScopeTypeCluster}
	_, err := f.associate(role, view, cluster)
	f.wantError(err, "ResourceNotFoundException", "The specified principalArn could not be found.")
	for _, input := range []eks.CreateAccessEntryInput{
		{PrincipalArn: aws.String(role)},
		{PrincipalArn: aws.String(nodes), Type: aws.String("EC2_LINUX")},
		{PrincipalArn: aws.String(user)},
	} {
		_, err := f.create(input)
		f.ok(err)
	}
	first, err := f.associate(role, view, cluster)
	f.ok(err)
	equal(f, first.AccessScope.Namespaces != nil, true)
	second, err := f.associate(role, view, types.AccessScope{Type: types.AccessScopeTypeNamespace, Namespaces: []string{"team-*"}})
	f.ok(err)
	equal(f, second.AssociatedAt.Equal(*first.AssociatedAt) && !second.ModifiedAt.Before(*first.ModifiedAt), true)
	for _, test := range []struct {
		principal, policy string
		scope             types.AccessScope
		code, text        string
	}{
		{nodes, view, cluster, "InvalidParameterException", `This operation can only be performed on Access Entries with a type of "STANDARD"`},
		{role, "arn:aws:iam::aws:policy/AdministratorAccess", cluster, "InvalidParameterException", "The policyArn parameter format is not valid"},
		{role, view + "X", cluster, "ResourceNotFoundException", "The specified policyArn could not be found."},
		{role, strings.Replace(view, "arn:aws:", "arn:aws-cn:", 1), cluster, "ResourceNotFoundException", "The specified policyArn could not be found."},
		{role, view, types.AccessScope{Type: types.AccessScopeTypeNamespace}, "InvalidParameterException", "At least 1 namespace must be provided"},
		{role, view, types.AccessScope{Type: types.AccessScopeTypeCluster, Namespaces: []string{"a"}}, "InvalidParameterException", "accessScope should not include namespaces"},
		{role, view, types.AccessScope{Type: "Cluster"}, "ValidationException", "Member must satisfy enum value set: [cluster, namespace]"},
	} {
		_, err := f.associate(test.principal, test.policy, test.scope)
		f.wantError(err, test.code, test.text)
	}
	listed, err := f.eks().ListAssociatedAccessPolicies(f.ctx, &eks.ListAssociatedAccessPoliciesInput{ClusterName: testCluster, PrincipalArn: aws.String(role)})
	f.ok(err)
	equal(f, fmt.Sprint(len(listed.AssociatedAccessPolicies), listed.AssociatedAccessPolicies[0].AccessScope.Namespaces), "1 [team-*]")
	filtered, err := f.eks().ListAccessEntries(f.ctx, &eks.ListAccessEntriesInput{ClusterName: testCluster, AssociatedPolicyArn: aws.String(view)})
	f.ok(err)
	equal(f, strings.Join(filtered.AccessEntries, " "), role)
	disassociate := eks.DisassociateAccessPolicyInput{ClusterName: testCluster, PrincipalArn: aws.String(role), PolicyArn: aws.String(view)}
	_, err = f.eks().DisassociateAccessPolicy(f.ctx, &disassociate)
	f.ok(err)
	_, err = f.eks().DisassociateAccessPolicy(f.ctx, &disassociate)
	f.wantError(err, "ResourceNotFoundException", "The specified policyArn is not associated")
	pages := eks.NewListAccessPoliciesPaginator(f.eks(), &eks.ListAccessPoliciesInput{})
	count, names := 0, 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
		f.ok(err)
		count++
		names += len(page.AccessPolicies)
	}
	equal(f, fmt.Sprint(count, names), "11 33")
}

func TestTagsOfEntries(t *testing.T) {
	f := startWithEntries(t)
	entry, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role), Tags: map[string]string{"a": "1"}})
	f.ok(err)
	arn := entry.AccessEntryArn
	_, err = f.eks().TagResource(f.ctx, &eks.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"b": "2"}})
	f.ok(err)
	_, err = f.eks().UntagResource(f.ctx, &eks.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a", "missing"}})
	f.ok(err)
	tags, err := f.eks().ListTagsForResource(f.ctx, &eks.ListTagsForResourceInput{ResourceArn: arn})
	f.ok(err)
	equal(f, fmt.Sprint(tags.Tags), "map[b:2]")
	_, err = f.eks().TagResource(f.ctx, &eks.TagResourceInput{ResourceArn: aws.String(*arn + "x"), Tags: map[string]string{"b": "2"}})
	f.wantError(err, "NotFoundException", "could not be found")
	_, err = f.eks().TagResource(f.ctx, &eks.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"aws:x": "2"}})
	f.wantError(err, "BadRequestException", "aws:")
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	_, err = f.eks().TagResource(f.ctx, &eks.TagResourceInput{ResourceArn: arn, Tags: many})
	f.wantError(err, "BadRequestException", "limit")
}

func TestModeChangesLater(t *testing.T) {
	f := start(t)
	f.setCluster(ClusterInput{
		Creator:    aws.String(user),
		Nodegroups: &[]map[string]any{{"nodegroupName": "a", "nodeRole": nodes}},
	})
	_, err := f.SetSettings(Settings{UpdateMS: 50})
	f.ok(err)
	change := func(mode types.AuthenticationMode) (*types.Update, error) {
		output, err := f.eks().UpdateClusterConfig(f.ctx, &eks.UpdateClusterConfigInput{
			Name: testCluster, AccessConfig: &types.UpdateAccessConfigRequest{AuthenticationMode: mode}})
		if err != nil {
			return nil, err
		}
		return output.Update, nil
	}
	finished := func(u *types.Update) string {
		for {
			output, err := f.eks().DescribeUpdate(f.ctx, &eks.DescribeUpdateInput{Name: testCluster, UpdateId: u.Id})
			f.ok(err)
			if output.Update.Status != types.UpdateStatusInProgress {
				return string(output.Update.Status)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, mode := range []types.AuthenticationMode{types.AuthenticationModeApi, types.AuthenticationModeConfigMap} {
		_, err := change(mode)
		f.wantError(err, "InvalidParameterException", "Unsupported authentication mode update from CONFIG_MAP to "+string(mode))
	}
	u, err := change(types.AuthenticationModeApiAndConfigMap)
	f.ok(err)
	equal(f, *u.Params[0].Value, `"API_AND_CONFIG_MAP"`)
	_, err = change(types.AuthenticationModeApiAndConfigMap)
	f.wantError(err, "ResourceInUseException", "currently has update "+*u.Id+" in progress")
	equal(f, finished(u), "Successful")
	listed, err := f.eks().ListAccessEntries(f.ctx, &eks.ListAccessEntriesInput{ClusterName: testCluster})
	f.ok(err)
	equal(f, strings.Join(listed.AccessEntries, " "), nodes+" "+user)
	_, err = f.SetSettings(Settings{UpdateMS: 50, UpdateFails: true})
	f.ok(err)
	u, err = change(types.AuthenticationModeApi)
	f.ok(err)
	equal(f, finished(u), "Failed")
	cluster, err := f.eks().DescribeCluster(f.ctx, &eks.DescribeClusterInput{Name: testCluster})
	f.ok(err)
	equal(f, string(cluster.Cluster.AccessConfig.AuthenticationMode)+" "+string(cluster.Cluster.Status), "API_AND_CONFIG_MAP ACTIVE")
}

func TestPagesRatesAndLimit(t *testing.T) {
	f := startWithEntries(t)
	entries := make([]EntryInput, maxEntries)
	for i := range entries {
		entries[i] = EntryInput{PrincipalARN: fmt.Sprintf("arn:aws:iam::111122223333:role/many-%04d", i)}
	}
	_, err := f.SetEntries(entries)
	f.ok(err)
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role)})
	f.wantError(err, "ResourceLimitExceededException", "3000")
	_, err = f.SetSettings(Settings{PageSize: 100})
	f.ok(err)
	pages := eks.NewListAccessEntriesPaginator(f.eks(), &eks.ListAccessEntriesInput{ClusterName: testCluster})
	count, found := 0, 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(f.ctx)
		f.ok(err)
		count++
		found += len(page.AccessEntries)
	}
	equal(f, fmt.Sprint(count, found), "30 3000")
	_, err = f.SetSettings(Settings{Rates: map[string]Rate{"*": {PerSecond: 0.001, Burst: 2}}})
	f.ok(err)
	f.ok(f.describeCluster())
	f.ok(f.describeCluster())
	f.wantError(f.describeCluster(), "ThrottlingException", "Rate exceeded")
}
