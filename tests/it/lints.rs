//! Tests that `plan` and `validate` report lints, unknown names in invariants, and patterns that match nothing.

use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::schema::assert_matches_plan_schema;
use serde_json::Value;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: team-a }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin
      groups: [system:masters]
    - rolearn: arn:aws:iam::111122223333:role/dev
      username: "dev:{{SessionName}}"
      groups: [developers]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: view }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: viewers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects:
- { kind: Group, apiGroup: rbac.authorization.k8s.io, name: developers }
- { kind: User, apiGroup: rbac.authorization.k8s.io, name: "ops:carol" }
- { kind: ServiceAccount, namespace: ci, name: deployer }
"#;

const POLICY: &str = r#"
[policy]
name = "prod"
[clusters.prod]
snapshot = "cluster.yaml"
account = "111122223333"
[groups.developers]
"#;

fn folder(rest: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER).write("rolecall.toml", &format!("{POLICY}{rest}"));
    sandbox
}

#[track_caller]
fn run(rest: &str, args: &[&str], exit_code: i32) -> RunOutput {
    let output = folder(rest).run(args);
    assert_eq!(output.exit_code, exit_code, "{rest}\n{}{}", output.stdout, output.stderr);
    output
}

/// The first lines of the errors and warnings, and their last `help`.
fn summary(output: &RunOutput) -> Vec<String> {
    let is_title = |line: &&str| line.starts_with("error") || line.starts_with("warning");
    output.stderr.lines().filter(is_title).map(str::to_owned).collect()
}

const BAD_RULES: &str = "[cluster-roles.r]\nrules = [{ verbs = [\"read\"], resources = [\"deployments\"] }]\n\
                         [bindings.r]\ncluster-role = \"r\"\nusers = [\"a\"]\n";

#[test]
fn plan_reports_lints_with_their_names() {
    let output = run(BAD_RULES, &["plan"], 0);
    assert_eq!(
        summary(&output),
        [
            "warning[unknown-verb]: unknown verb `read`",
            "warning[resource-in-wrong-group]: resource `deployments` is not in the core API group",
        ]
    );
    let document: Value = serde_json::from_str(&run(BAD_RULES, &["plan", "-o", "json"], 0).stdout).unwrap();
    assert_matches_plan_schema(&document);
    let lints: Vec<&str> = document["plans"][0]["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|warning| warning["lint"].as_str())
        .collect();
    assert_eq!(lints, ["unknown-verb", "resource-in-wrong-group"]);
    let document: Value = serde_json::from_str(&run(BAD_RULES, &["validate", "-o", "json"], 0).stdout).unwrap();
    assert_eq!(document["diagnostics"][1]["lint"], "unknown-verb", "{document:#}");
}

#[test]
fn denied_lint_is_an_error_and_allowed_lint_is_silent() {
    let denied = format!("{BAD_RULES}[lint]\ndeny = [\"unknown-verb\"]\n");
    for args in [["plan"], ["validate"]] {
        let output = run(&denied, &args, 1);
        assert!(output.stderr.contains("error[unknown-verb]: unknown verb `read`"), "{}", output.stderr);
        assert!(output.stderr.contains("note: `[lint]` of the policy denies `unknown-verb`"), "{}", output.stderr);
    }
    let allowed = format!("{BAD_RULES}[lint]\nallow = [\"unknown-verb\", \"resource-in-wrong-group\"]\n");
    assert_eq!(summary(&run(&allowed, &["plan"], 0)), [""; 0]);
}

#[track_caller]
fn invariant(text: &str, exit_code: i32) -> Vec<String> {
    let output = run(&format!("[[invariants]]\n{text}\n"), &["plan"], exit_code);
    summary(&output).into_iter().filter(|line| !line.contains("lock-out")).collect()
}

#[test]
fn unknown_names_in_invariants_are_errors() {
    const SECRETS: &str = "cannot = { verb = \"get\", resource = \"secrets\" }";
    for (subject, expected) in [
        ("user = \"ops:carl\"", "error: unknown user `ops:carl` in an invariant"),
        ("user = \"bob\"", "error: unknown user `bob` in an invariant"),
        ("service-account = \"ci/deploy\"", "error: unknown service account `ci/deploy` in an invariant"),
        ("group = \"system:master\"", "error: unknown group `system:master` in an invariant"),
        ("everyone-but = [\"ops:carl\"]", "error: unknown subject `ops:carl` in `everyone-but`"),
    ] {
        assert_eq!(invariant(&format!("{subject}\n{SECRETS}"), 1), [expected], "{subject}");
    }
    for subject in [
        "user = \"ops:carol\"",
        "user = \"dev:alice\"",
        "service-account = \"ci/deployer\"",
        "group = \"system:unauthenticated\"",
        "group = \"system:serviceaccounts:ci\"",
        "group = \"developers\"",
        "everyone-but = [\"system:masters\", \"ops:carol\", \"user:zed\", \"arn:aws:iam::111122223333:role/elsewhere\"]",
    ] {
        assert_eq!(invariant(&format!("{subject}\n{SECRETS}"), 0), [""; 0], "{subject}");
    }
    let namespace =
        "group = \"developers\"\ncannot = { verb = \"get\", resource = \"secrets\", namespace = \"tema-a\" }";
    assert_eq!(invariant(namespace, 1), ["error: namespace `tema-a` of an invariant does not exist in the cluster"]);
    let typo = "group = \"developers\"\ncannot = { verb = \"get\", resource = \"secrits\" }";
    for command in ["plan", "validate", "drift"] {
        let output = run(&format!("[[invariants]]\n{typo}\n"), &[command], 1);
        assert_eq!(summary(&output), ["error: unknown resource `secrits` in an invariant"], "{command}");
        assert!(output.stderr.contains("help: did you mean `secrets`?"), "{}", output.stderr);
    }
}

#[test]
fn resources_of_invariants_are_found_as_kubectl_finds_them() {
    for resource in ["po", "pod", "Pod", "pods"] {
        let text = format!("group = \"developers\"\ncannot = {{ verb = \"get\", resource = \"{resource}\" }}");
        assert_eq!(
            invariant(&text, 3),
            ["error: invariant violated: \"group developers must not be able to get pods\""],
            "{resource}"
        );
    }
    let custom = "group = \"developers\"\ncannot = { verb = \"get\", resource = \"widgets.example.com\" }";
    assert_eq!(invariant(custom, 1), ["error: unknown resource `widgets.example.com` in an invariant"]);
    let declared = format!("[lint]\nresources = [\"widgets.example.com\"]\n[[invariants]]\n{custom}\n");
    assert_eq!(summary(&run(&declared, &["plan"], 0)), [""; 0]);
}

#[test]
fn username_with_a_colon_is_exempt_from_everyone() {
    let text = |exempt: &str| {
        format!(
            "everyone-but = [\"developers\", \"system:masters\", \"sa:ci/deployer\"{exempt}]\ncannot = {{ verb = \"get\", resource = \"pods\" }}"
        )
    };
    assert_eq!(invariant(&text(", \"ops:carol\""), 0), [""; 0]);
    assert_eq!(invariant(&text(", \"user:ops:carol\""), 0), [""; 0]);
    assert_eq!(invariant(&text(""), 3).len(), 1);
}

#[test]
fn invariant_that_nothing_can_violate_is_a_warning() {
    let text = "[groups.empty]\n[bindings.a]\ncluster-role = \"view\"\nusers = [\"a\"]\n\
                [principals.gone]\nrole = \"gone\"\nexpires = 2020-01-01\n[lint]\nallow = [\"unbound-group\"]\n\
                [[invariants]]\ngroup = \"empty\"\ncannot = \"escalate\"\n\
                [[invariants]]\nprincipal = \"gone\"\ncannot = \"escalate\"\n";
    assert_eq!(
        summary(&run(text, &["plan"], 0)),
        [
            "warning[vacuous-invariant]: nothing can violate this invariant about `empty`",
            "warning[vacuous-invariant]: nothing can violate this invariant about `gone`",
        ]
    );
}

#[test]
fn invariant_for_other_clusters_is_not_checked() {
    let text = "[clusters.stage]\nsnapshot = \"cluster.yaml\"\naccount = \"111122223333\"\n\
                [[invariants]]\nuser = \"bob\"\ncannot = \"escalate\"\nclusters = [\"stage\"]\n";
    run(text, &["plan", "--cluster", "prod"], 0);
    run(text, &["plan", "--cluster", "stage"], 1);
}

#[test]
fn pattern_that_matches_nothing_protects_nothing() {
    let protected = |pattern: &str| format!("[guard]\nprotected = [\"arn:aws:iam::{pattern}\"]\n");
    for pattern in ["111122223333:role/admin", "*:role/ADM*", "111122223333:role/team/dev"] {
        assert_eq!(summary(&run(&protected(pattern), &["plan"], 0)), [""; 0], "{pattern}");
    }
    let output = run(&protected("111122223333:role/admn"), &["plan"], 1);
    assert_eq!(
        summary(&output),
        ["error: protected pattern `arn:aws:iam::111122223333:role/admn` matches no principal"]
    );
    assert!(output.stderr.contains("help: did you mean `arn:aws:iam::111122223333:role/admin`?"), "{}", output.stderr);
    // A principal of the policy that this plan adds counts.
    let added = protected("111122223333:role/break-glass") + "[principals.break-glass]\nrole = \"break-glass\"\n";
    assert_eq!(summary(&run(&added, &["plan"], 0)), [""; 0]);
    let ignore =
        "[ownership]\nignore = [\"arn:aws:iam::*:role/adm*\", \"ClusterRole/*-operator\", \"ClusterRole/vi*\"]\n";
    assert_eq!(
        summary(&run(ignore, &["plan"], 0)),
        ["warning[unmatched-ignore]: ignore pattern `ClusterRole/*-operator` matches nothing"]
    );
}

#[test]
fn pattern_for_one_of_several_clusters_is_enough() {
    let text = "[clusters.stage]\nsnapshot = \"stage.yaml\"\naccount = \"444455556666\"\n\
                [guard]\nprotected = [\"arn:aws:iam::444455556666:role/admin\"]\n";
    let sandbox = folder(text);
    sandbox.write("stage.yaml", &CLUSTER.replace("111122223333", "444455556666"));
    sandbox.ok(&["plan"]);
    let output = sandbox.run(&["plan", "--cluster", "prod"]);
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    assert_eq!(
        summary(&output),
        [
            "warning: protected pattern `arn:aws:iam::444455556666:role/admin` matches no principal of the planned clusters"
        ]
    );
}
