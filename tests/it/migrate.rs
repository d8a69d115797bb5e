//! Migrations to access entries, on snapshots: both stages, what cannot move, and the change of the policy.

use serde_json::json;

use crate::common::eks_document::eks_document;
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::schema::assert_matches_schema;
use crate::common::shared_cluster::cluster;

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

fn sandbox(mode: &str, aws_auth: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &format!("{}{RBAC}{aws_auth}", eks_document(mode)));
    sandbox
}

/// The part of aws-auth that can move.
fn movable_aws_auth() -> String {
    let (start, rest) = AWS_AUTH.split_once("    # what cannot move\n").unwrap();
    let users = rest.split_once("  mapUsers: |\n").unwrap().1.split_once("  mapAccounts").unwrap().0;
    format!("{start}  mapUsers: |\n{users}")
}

const MIGRATE: [&str; 5] = ["migrate", "--snapshot", "cluster.yaml", "--arn", SSO];
const APPLY: [&str; 4] = ["--allow", "auth-mode", "--apply", "--auto-approve"];

#[test]
fn first_plan_moves_what_can_move() {
    let sandbox = sandbox("CONFIG_MAP", AWS_AUTH);
    let before = sandbox.read("cluster.yaml");
    let plan = sandbox.run(&[&MIGRATE[..], &["--allow", "auth-mode"]].concat());
    insta::assert_snapshot!(format!("{}\n---\n{}", plan.stdout, plan.stderr));
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
    // The change of the mode is a decision of its own, and nothing is written without --apply.
    let refused = sandbox.run(&MIGRATE);
    assert_eq!(refused.exit_code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("help: to proceed anyway, pass --allow auth-mode"), "{}", refused.stderr);
    let refused = sandbox.run(&[&MIGRATE[..], &["--apply", "--auto-approve"]].concat());
    assert_eq!(refused.exit_code, 3, "{}", refused.stderr);
    assert!(refused.stderr.ends_with("Refused. No changes were made.\n"), "{}", refused.stderr);
    let dry_run = sandbox.run(&[&MIGRATE[..], &["--allow", "auth-mode", "--apply", "--dry-run"]].concat());
    assert_eq!(dry_run.exit_code, 0, "{}", dry_run.stderr);
    assert_eq!(sandbox.read("cluster.yaml"), before);
    let markdown = sandbox.run(&[&MIGRATE[..], &["--allow", "auth-mode", "-o", "markdown"]].concat()).stdout;
    assert!(markdown.starts_with("### Migration to access entries\n\nThe authentication mode changes"), "{markdown}");
}

#[test]
fn what_cannot_move_stays_and_keeps_the_mode() {
    let sandbox = sandbox("CONFIG_MAP", AWS_AUTH);
    let early = sandbox.run(&[&MIGRATE[..], &["--finish"]].concat());
    assert_eq!(early.exit_code, 1, "{}", early.stdout);
    assert!(early.stderr.contains("the migration cannot be finished before it was begun"), "{}", early.stderr);
    let access = sandbox.ok(&["access", "--snapshot", "cluster.yaml", "-o", "json"]);
    let apply = sandbox.run(&[&MIGRATE[..], &APPLY].concat());
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    assert!(apply.stdout.contains("The authentication mode of snapshot cluster.yaml is API_AND_CONFIG_MAP."));
    // Everything that moved is left out of the second plan.
    let again = sandbox.run(&MIGRATE);
    assert_eq!(again.exit_code, 0, "{}", again.stderr);
    insta::assert_snapshot!("again", again.stdout);
    let again = sandbox.run(&[&MIGRATE[..], &APPLY].concat());
    assert_eq!(again.exit_code, 0, "{}", again.stderr);

    let finish = sandbox.run(&[&MIGRATE[..], &["--finish"]].concat());
    insta::assert_snapshot!("finish", format!("{}\n---\n{}", finish.stdout, finish.stderr));
    let flags = ["--finish", "--apply", "--auto-approve", "--allow", "removals:40"];
    let finish = sandbox.run(&[&MIGRATE[..], &flags].concat());
    assert_eq!(finish.exit_code, 0, "{}\n{}", finish.stdout, finish.stderr);
    let after = sandbox.read("cluster.yaml");
    assert!(after.contains("authentication-mode: API_AND_CONFIG_MAP"), "{after}");
    for kept in ["# nodes", "role/session-user", "777788889999", "role/AWSServiceRoleForAmazonEMRContainers"] {
        assert!(after.contains(kept), "{kept}\n{after}");
    }
    assert!(!after.contains("role/nodes\n      username"), "{after}");
    let done = sandbox.run(&[&MIGRATE[..], &["--finish"]].concat());
    assert!(done.stdout.contains("no entry changes."), "{}", done.stdout);
    assert!(access.contains("role/deploy"));
}

#[test]
fn migration_ends_in_the_mode_api() {
    let sandbox = sandbox("CONFIG_MAP", &movable_aws_auth());
    let apply = sandbox.run(&[&MIGRATE[..], &APPLY].concat());
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let flags = ["--finish", "--allow", "removals:40"];
    let finish = sandbox.run(&[&MIGRATE[..], &flags, &APPLY].concat());
    assert_eq!(finish.exit_code, 0, "{}\n{}", finish.stdout, finish.stderr);
    assert!(finish.stdout.ends_with("The authentication mode of snapshot cluster.yaml is API.\n"), "{}", finish.stdout);
    assert!(sandbox.read("cluster.yaml").contains("authentication-mode: API\n"));
    for stage in [&[][..], &["--finish"]] {
        let done = sandbox.run(&[&MIGRATE[..], stage].concat());
        assert_eq!(done.exit_code, 0, "{}", done.stderr);
        assert!(done.stdout.contains("nothing is left to migrate"), "{}", done.stdout);
    }
}

#[test]
fn unknown_mode_is_an_error() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &format!("{RBAC}{AWS_AUTH}"));
    let plan = sandbox.run(&MIGRATE);
    assert_eq!(plan.exit_code, 1, "{}", plan.stdout);
    assert!(plan.stderr.contains("the authentication mode of the cluster is not known"), "{}", plan.stderr);
}

const POLICY: &str = r#"
[policy]
name = "prod"

[clusters.prod]
snapshot = "cluster.yaml" # of the cluster
account = "111122223333"

[principals.admin]
role = "arn:aws:iam::111122223333:role/ops/admin"
username = "admin:{{SessionName}}"
groups = ["system:masters", "admins"] # break glass
eks-tags = { team = "ops" }

[principals.deploy]
role = "deploy"
username = "deploy"
groups = ["deployers"]

[groups.admins]
[groups.deployers]
[groups."system:masters"]
"#;

#[test]
fn plan_of_the_migrated_policy_is_empty() {
    let sandbox = sandbox("CONFIG_MAP", &movable_aws_auth());
    sandbox.write("rolecall.toml", POLICY);
    let adopted = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(adopted.exit_code, 0, "{}\n{}", adopted.stdout, adopted.stderr);
    let migrate = ["migrate", "--arn", SSO];
    let flags = ["--out-policy", "new.toml"];
    let apply = sandbox.run(&[&migrate[..], &flags, &APPLY].concat());
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let diff = apply.stdout.split_once("Write this into the policy\n").unwrap().1;
    insta::assert_snapshot!("policy_diff", diff.split_once("The authentication mode").unwrap().0);
    assert!(apply.stdout.contains("arn:aws:iam::111122223333:role/ops/admin"), "{}", apply.stdout);
    let flags = ["--finish", "--allow", "removals:40"];
    let finish = sandbox.run(&[&migrate[..], &flags, &APPLY].concat());
    assert_eq!(finish.exit_code, 0, "{}\n{}", finish.stdout, finish.stderr);
    let plan = sandbox.run(&["plan", "new.toml", "--detailed-exitcode"]);
    assert_eq!(plan.exit_code, 0, "{}\n{}", plan.stdout, plan.stderr);
}

#[test]
fn policy_that_is_written_already_is_applied_after_the_change_of_the_mode() {
    let sandbox = sandbox("CONFIG_MAP", &movable_aws_auth());
    sandbox.write("rolecall.toml", POLICY);
    sandbox.ok(&["migrate", "--arn", SSO, "--allow", "auth-mode", "--out-policy", "new.toml"]);
    let refused = sandbox.run(&["plan", "new.toml"]);
    assert_eq!(refused.exit_code, 1, "{}", refused.stdout);
    let apply = sandbox.run(&[&["migrate", "new.toml", "--from-policy", "--allow-window"][..], &APPLY].concat());
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let plan = sandbox.run(&["plan", "new.toml", "--detailed-exitcode"]);
    assert_eq!(plan.exit_code, 0, "{}\n{}", plan.stdout, plan.stderr);
}

#[test]
fn document_matches_its_schema() {
    let sandbox = sandbox("CONFIG_MAP", AWS_AUTH);
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.ok(&["migrate", "--allow", "auth-mode", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_matches_schema(&sandbox.ok(&["schema", "migration"]), &document);
    assert_eq!(document["new-auth-mode"], "API_AND_CONFIG_MAP");
    // Without the ARN of an SSO role with its path, the two SSO roles stay.
    assert_eq!(document["staying"].as_array().unwrap().len(), 8, "{}", document["staying"]);
}

const LIVE_POLICY: &str = r#"
[policy]
name = "migration"
[clusters.test]
eks = { name = "CLUSTER", region = "eu-west-1" }
account = "111122223333"
token-cache = "0s"

[principals.caller]
role = "deployer"
username = "deployer"
groups = ["system:masters"]
[principals.admin]
role = "migration-admin"
username = "migration-admin"
groups = ["system:masters", "migration-readers"]
[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/migration-viewer"
username = "viewer:{{SessionName}}"
groups = ["migration-readers"]
[principals.bob]
user = "migration-bob"
username = "bob"
groups = ["migration-readers"]

[groups.migration-readers]
[groups."system:masters"]

[cluster-roles.migration-read]
rules = [{ verbs = ["get"], resources = ["configmaps"] }]
[bindings.migration-read]
cluster-role = "migration-read"
groups = ["migration-readers"]
"#;

const CALLER: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const CALLER_ENTRY: &str = "\
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer
  groups: [system:masters]
";

#[test]
fn live_migration_has_no_gap_and_goes_on_after_a_failure() {
    let cluster = cluster();
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let arns = [role("deployer"), role("migration-admin"), role("team/migration-viewer")];
    cluster.register_iam_principals(&arns.each_ref().map(String::as_str));
    cluster.register_iam_principals(&["arn:aws:iam::111122223333:user/migration-bob"]);
    cluster.set_authentication_mode("CONFIG_MAP");
    cluster.set_aws_auth(&json!({ "mapRoles": CALLER_ENTRY }));
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &LIVE_POLICY.replace("CLUSTER", cluster.cluster_name()));
    let run = |args: &[&str]| -> RunOutput {
        let mut command = sandbox.command(args);
        command.envs(cluster.aws_env(CALLER)).env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap().into()
    };
    let masters = format!("masters:{}", role("migration-admin"));
    let prepared = run(&["apply", "--auto-approve", "--allow", &masters]);
    assert_eq!(prepared.exit_code, 0, "{}\n{}", prepared.stdout, prepared.stderr);

    let identities = [
        CALLER,
        "arn:aws:sts::111122223333:assumed-role/migration-admin/x",
        "arn:aws:sts::111122223333:assumed-role/migration-viewer/alice",
        "arn:aws:iam::111122223333:user/migration-bob",
    ];
    let request = |verb: &str, resource: &str| {
        json!({ "resourceAttributes": { "verb": verb, "version": "v1",
        "resource": resource, "namespace": "default" } })
    };
    let requests = [request("get", "configmaps"), request("delete", "secrets"), request("get", "secrets")];
    let before = cluster.answers(&identities, &requests);
    assert_eq!(before, ["yyy", "yyy", "ynn", "ynn"]);
    let watch = cluster.watch(&identities, &requests);

    // The first attempt stops at the second entry.
    cluster.add_aws_faults(&json!([{ "call": "AssociateAccessPolicy", "code": "AccessDeniedException", "status": 403,
        "message": "no", "times": 1 }]));
    let migrate = |flags: &[&str]| run(&[&["migrate", "--allow", "auth-mode"], flags].concat());
    let failed = migrate(&["--apply", "--auto-approve"]);
    assert_eq!(failed.exit_code, 1, "{}\n{}", failed.stdout, failed.stderr);
    watch.round();
    let applied = run(&["migrate", "--apply", "--auto-approve", "--out-policy", "new.toml"]);
    assert_eq!(applied.exit_code, 0, "{}\n{}", applied.stdout, applied.stderr);
    watch.round();
    let flags = ["--finish", "--apply", "--auto-approve"];
    let finished = migrate(&flags);
    assert_eq!(finished.exit_code, 0, "{}\n{}", finished.stdout, finished.stderr);
    let histories = watch.stop_without_gaps();
    assert!(histories.iter().all(|history| history.observations > 1), "{histories:?}");
    assert_eq!(cluster.answers(&identities, &requests), before);
    let plan = run(&["plan", "new.toml", "--detailed-exitcode"]);
    assert_eq!(plan.exit_code, 0, "{}\n{}", plan.stdout, plan.stderr);
}
