package awsdouble

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

func TestPoliciesOfCallersAreEnforced(t *testing.T) {
	f := startWithEntries(t)
	var inputs []PermissionInput
	f.ok(json.Unmarshal([]byte(`[{"arn": "`+role+`", "policy": {"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "eks:describecluster", "Resource": "arn:aws:eks:*:111122223333:cluster/test"},
		{"Effect": "Allow", "Action": ["eks:*AccessEntr*", "eks:AssociateAccessPolicy"], "Resource": ["*"]},
		{"Effect": "Deny", "Action": "eks:*", "Resource": "arn:aws:eks:eu-west-1:111122223333:access-entry/test/user/*"},
		{"Effect": "Allow", "Action": "iam:GetRole", "Resource": "arn:aws:iam::111122223333:role/team/*"}
	]}}]`), &inputs))
	_, err := f.SetPermissions(inputs)
	f.ok(err)
	f.ok(f.describeCluster())
	f.ok(f.callerIdentity())
	_, err = f.eks().ListClusters(f.ctx, &eks.ListClustersInput{})
	f.wantError(err, "AccessDeniedException", "is not authorized to perform: eks:ListClusters on resource: * because no identity-based policy")
	_, err = f.iam().GetRole(f.ctx, &iam.GetRoleInput{RoleName: aws.String("dev")})
	f.ok(err)
	_, err = f.iam().GetRole(f.ctx, &iam.GetRoleInput{RoleName: aws.String("nodes")})
	f.wantError(err, "AccessDenied", "iam:GetRole on resource: "+nodes)
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(nodes), Type: aws.String("EC2_LINUX")})
	f.wantError(err, "AccessDeniedException", "iam:PassRole on resource: "+nodes)
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(user)})
	f.ok(err)
	_, err = f.associate(user, view, types.AccessScope{Type: types.AccessScopeTypeCluster})
	f.wantError(err, "AccessDeniedException", "because of an explicit deny")
}
