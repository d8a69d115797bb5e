//! Policies with access entries, on snapshots: plan, drift, apply and their output.

use crate::common::eks_document::eks_document;
use crate::common::sandbox::Sandbox;

const POLICY: &str = r#"
[policy]
name = "prod"

[clusters.prod]
snapshot = "cluster.yaml"
account = "111122223333"

[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/viewer"
username = "viewer"
access-policies = [{ policy = "AmazonEKSViewPolicy", namespaces = ["team-*"] }]
eks-tags = { team = "payments" }

[principals.deploy]
role = "deploy"
username = "deploy"

[principals.old]
role = "old"
username = "old"

[groups.deployers]
members = ["deploy"]
access-policies = [{ policy = "AmazonEKSEditPolicy", namespaces = ["web"] }]
"#;

const NAMESPACES: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: cluster }
---
apiVersion: v1
kind: Namespace
metadata: { name: web }
---
";

const ENTRIES: &str = "
apiVersion: rolecall/v1
kind: AccessEntry
metadata: { name: 'arn:aws:iam::111122223333:role/deploy', uid: u1 }
type: STANDARD
username: deployer
kubernetesGroups: [old-group]
accessPolicies:
  arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy: { type: namespace, namespaces: [ops] }
tags: { cost-center: '7' }
---
apiVersion: rolecall/v1
kind: AccessEntry
metadata: { name: 'arn:aws:iam::111122223333:role/creator', uid: u2 }
type: STANDARD
username: creator
accessPolicies:
  arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy: { type: cluster }
tags: {}
";

const AWS_AUTH: &str = "
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/old
      username: old
    - rolearn: arn:aws:iam::111122223333:role/creator # shadowed
      username: creator
";

/// A directory with the policy and the snapshot of a cluster in an authentication mode.
fn sandbox(mode: &str, policy: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", &format!("{}{NAMESPACES}{ENTRIES}{AWS_AUTH}", eks_document(mode)));
    sandbox.write("rolecall.toml", policy);
    sandbox
}

/// Returns the changes of a plan in text form, without the access that they give.
#[track_caller]
fn changes(stdout: &str) -> &str {
    stdout.split_once("\nWho gains and loses access").unwrap_or_else(|| panic!("{stdout}")).0
}

#[test]
fn plan_shows_access_entries_field_by_field() {
    let sandbox = sandbox("API_AND_CONFIG_MAP", POLICY);
    let plan = sandbox.run(&["plan", "--full"]);
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
    insta::assert_snapshot!(changes(&plan.stdout));
    let warning = "warning: the aws-auth entry of arn:aws:iam::111122223333:role/creator has no effect\n";
    assert!(plan.stderr.contains(warning), "{}", plan.stderr);
    let markdown = sandbox.run(&["plan", "-o", "markdown"]).stdout;
    let diff = markdown.split_once("```diff\n").and_then(|(_, rest)| rest.split_once("```"));
    insta::assert_snapshot!(diff.unwrap().0);
    let drift = sandbox.run(&["drift"]);
    assert_eq!(drift.exit_code, 2, "{}", drift.stderr);
    insta::assert_snapshot!(drift.stdout);
}

#[test]
fn apply_converges_and_keeps_what_others_wrote() {
    let sandbox = sandbox("API_AND_CONFIG_MAP", &POLICY.replace("team-*", "web"));
    let apply = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let after = sandbox.read("cluster.yaml");
    for kept in ["AmazonEKSAdminPolicy", "cost-center", "AmazonEKSClusterAdminPolicy", "role/creator # shadowed"] {
        assert!(after.contains(kept), "{kept}: {after}");
    }
    let again = sandbox.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.exit_code, 0, "{}\n{}", again.stdout, again.stderr);
    // Without the principals, the entries that the policy owns disappear, and the access of others stays.
    let empty = POLICY.split("[principals.viewer]").next().unwrap();
    sandbox.write("rolecall.toml", empty);
    let apply = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let after = sandbox.read("cluster.yaml");
    assert!(!after.contains("role/team/viewer") && !after.contains("AmazonEKSEditPolicy"), "{after}");
    assert!(after.contains("AmazonEKSAdminPolicy") && after.contains("cost-center"), "{after}");
    let again = sandbox.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.exit_code, 0, "{}\n{}", again.stdout, again.stderr);
}

#[test]
fn aws_auth_is_left_alone_in_the_mode_api() {
    let sandbox = sandbox("API", &POLICY.replace("team-*", "web"));
    let plan = sandbox.run(&["plan", "--full"]);
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
    insta::assert_snapshot!(changes(&plan.stdout));
    let warning = "warning: aws-auth has entries, but it is not read in the authentication mode API\n";
    assert!(plan.stderr.contains(warning), "{}", plan.stderr);
    let apply = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let after = sandbox.read("cluster.yaml");
    assert!(after.contains("- rolearn: arn:aws:iam::111122223333:role/creator # shadowed"), "{after}");
    assert!(!after.contains("rolecall/entries"), "{after}");
}

#[test]
fn authentication_that_the_mode_does_not_have_is_refused() {
    let policy =
        POLICY.replace("account = \"111122223333\"", "account = \"111122223333\"\nauthentication = \"access-entries\"");
    let plan = sandbox("CONFIG_MAP", &policy).run(&["plan"]);
    assert_eq!(plan.exit_code, 1);
    insta::assert_snapshot!(plan.stderr);
    let both = policy.replace("\"access-entries\"", "\"both\"");
    let plan = sandbox("API", &both).run(&["plan"]);
    assert_eq!(plan.exit_code, 1);
    insta::assert_snapshot!(plan.stderr);
}

#[test]
fn json_of_a_plan_names_access_entries() {
    let sandbox = sandbox("API", POLICY);
    let plan = sandbox.run(&["plan", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let changes = document["plans"][0]["changes"].as_array().unwrap();
    let change = changes
        .iter()
        .find(|change| change["target"]["object"]["name"] == "arn:aws:iam::111122223333:role/team/viewer");
    insta::assert_snapshot!(serde_json::to_string_pretty(change.unwrap()).unwrap());
}
