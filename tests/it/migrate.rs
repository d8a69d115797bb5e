//! Migrations to access entries, on snapshots: both stages, what cannot move, and the change of the policy.

use crate::common::sandbox::Sandbox;

/// What an aws-auth of some years has: duplicates, paths, roles of IAM Identity Center, nodes of three kinds,
/// administrators, a whole account, and names that EKS refuses.
const AWS_AUTH: &str = "
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system }
data:
  mapRoles: |
    # nodes
    - rolearn: arn:aws:iam::111122223333:role/nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
    - rolearn: arn:aws:iam::111122223333:role/windows-nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes, 'eks:kube-proxy-windows']
    - rolearn: arn:aws:iam::111122223333:role/fargate
      username: system:node:{{SessionName}}
      groups: [system:bootstrappers, system:nodes, system:node-proxier]
    - rolearn: arn:aws:iam::111122223333:role/hybrid
      username: system:node:{{SessionName}}
      groups: [system:bootstrappers, system:nodes]
    # people
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin:{{SessionName}}
      groups: [system:masters, admins]
    - rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Viewer_0123456789abcdef
      username: viewer:{{SessionName}}
      groups: [viewers]
    - rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_fedcba9876543210
      username: sso-admin
      groups: [system:masters]
    - rolearn: arn:aws:iam::111122223333:role/deploy
      username: old-deploy
      groups: [old-deployers]
    - rolearn: arn:aws:iam::111122223333:role/deploy # the one that counts
      username: deploy
      groups: [deployers, system:authenticated, deployers]
    - rolearn: arn:aws:iam::111122223333:role/team/with-path
      username: never
      groups: [viewers]
    - rolearn: arn:aws:iam::111122223333:role/nameless
      groups: [viewers]
    - rolearn: arn:aws:iam::444455556666:role/partner
      username: partner
      groups: [viewers]
    # what cannot move
    - rolearn: arn:aws:iam::111122223333:role/session-user
      username: '{{SessionName}}'
      groups: [viewers]
    - rolearn: arn:aws:iam::111122223333:role/account-user
      username: 'acct:{{AccountID}}'
      groups: [viewers]
    - rolearn: arn:aws:iam::111122223333:role/reserved-group
      username: reserved-group
      groups: ['system:monitoring']
    - rolearn: arn:aws:iam::111122223333:role/reserved-user
      username: system:admin
      groups: [viewers]
    - rolearn: arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers
      username: emr-containers
    - rolearn: arn:aws:sts::111122223333:assumed-role/viewer/alice
      username: alice
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/team/bob
      username: bob
      groups: [viewers]
    - userarn: arn:aws:iam::111122223333:user/ci
      username: ci
      groups: [deployers]
  mapAccounts: |
    - '777788889999'
";

const RBAC: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: cluster }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: cluster-admin }
rules:
- { apiGroups: ['*'], resources: ['*'], verbs: ['*'] }
- { nonResourceURLs: ['*'], verbs: ['*'] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: cluster-admin }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:masters' }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: pods }
rules: [{ apiGroups: [''], resources: [pods], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: viewers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pods }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: viewers }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: configure }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [get, update] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: deployers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: configure }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: deployers }]
";

const SSO: &str =
    "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Viewer_0123456789abcdef";

fn eks_document(mode: &str) -> String {
    format!(
        "apiVersion: rolecall/v1\nkind: EksCluster\narn: arn:aws:eks:eu-west-1:111122223333:cluster/prod\n\
         version: \"1.36\"\nauthentication-mode: {mode}\nnode-roles: []\n---"
    )
}

fn sandbox(mode: &str, aws_auth: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &format!("{}{RBAC}{aws_auth}", eks_document(mode)));
    sandbox
}

#[test]
fn first_plan_moves_what_can_move() {
    let sandbox = sandbox("CONFIG_MAP", AWS_AUTH);
    let plan = sandbox.run(&["migrate", "--snapshot", "cluster.yaml", "--arn", SSO, "--allow", "auth-mode"]);
    insta::assert_snapshot!(format!("{}\n---\n{}", plan.stdout, plan.stderr));
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
}
