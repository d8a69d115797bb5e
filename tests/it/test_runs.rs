//! `rolecall test`, and `-o junit` of `plan`, `drift` and `show`: the results, the exit codes, and valid XML.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::schema::assert_matches_schema;

const SNAPSHOT: &str = r#"
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
metadata: { name: aws-auth, namespace: kube-system, uid: 6e2d, resourceVersion: "7" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/admin
      username: admin
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: edit, resourceVersion: "8" }
rules: [{ verbs: [get, update], apiGroups: [""], resources: [secrets, pods] }]
"#;
const POLICY: &str = r#"[policy]
name = "platform"
[clusters.prod]
snapshot = "cluster.yaml"
[principals.devs]
role = "arn:aws:iam::111122223333:role/devs"
groups = ["developers"]
[groups.developers]
[bindings.developers-edit]
cluster-role = "edit"
groups = ["developers"]
namespaces = ["team-*"]
[[invariants]]
description = "developers never read secrets"
group = "developers"
cannot = { verb = "get", resource = "secrets" }
[[invariants]]
group = "developers"
can = { verb = "get", resource = "pods", namespace = "team-a" }
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", SNAPSHOT).write("access.toml", POLICY);
    sandbox
}

/// Checks the XML with the schema of `tests/schemas`, and that the library reads it as it was written.
#[track_caller]
fn assert_valid_junit(output: &RunOutput) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/junit.xsd");
    let schema = std::fs::read_to_string(path).unwrap();
    let schema = uppsala::parse(&schema).unwrap();
    let validator = uppsala::XsdValidator::from_schema(&schema).unwrap();
    let document = uppsala::parse(&output.stdout).expect(&output.stdout);
    let violations: Vec<String> = validator.validate(&document).iter().map(|error| error.to_string()).collect();
    assert!(violations.is_empty(), "{violations:#?}\n{}", output.stdout);
    quick_junit::Report::deserialize_from_str(&output.stdout).unwrap();
}

#[test]
fn invariants_are_tested_in_the_planned_and_in_the_current_state() {
    let sandbox = sandbox();
    let planned = sandbox.run(&["test", "access.toml"]);
    assert_eq!(planned.exit_code, 3);
    insta::assert_snapshot!(planned.stdout, @"
    Invariants of prod (snapshot cluster.yaml) after the policy is applied
      VIOLATED  developers never read secrets  access.toml:13
      passed    group developers must be able to get pods in team-a  access.toml:17

    2 invariants: 1 passed, 1 violated
    ");
    insta::assert_snapshot!(planned.stderr, @r#"
    error: invariant violated: "developers never read secrets"
      --> access.toml:13:1
       |
    13 | [[invariants]]
       | ^^^^^^^^^^^^^^
       |
       = because: group:developers can get secrets in team-a, via aws-auth entry arn:aws:iam::111122223333:role/devs, mapRoles line 4 (access.toml:5) → group developers → RoleBinding team-a/developers-edit (access.toml:9) → ClusterRole edit (unmanaged) → rule verbs get, update; api-groups ""; resources secrets, pods
       = note: the invariant: group developers must not be able to get secrets
    "#);
    // Without the binding, the developers can read nothing.
    let current = sandbox.run(&["test", "access.toml", "--current"]);
    assert_eq!(current.exit_code, 3);
    insta::assert_snapshot!(current.stdout, @"
    Invariants of prod (snapshot cluster.yaml) as it is
      passed    developers never read secrets  access.toml:13
      VIOLATED  group developers must be able to get pods in team-a  access.toml:17

    2 invariants: 1 passed, 1 violated
    ");
    sandbox.write("access.toml", &POLICY.replace("resource = \"secrets\"", "resource = \"services\""));
    let passed = sandbox.run(&["test", "access.toml"]);
    assert_eq!(passed.exit_code, 0);
    insta::assert_snapshot!(passed.stdout, @"
    Invariants of prod (snapshot cluster.yaml) after the policy is applied
      passed    developers never read secrets  access.toml:13
      passed    group developers must be able to get pods in team-a  access.toml:17

    2 invariants: 2 passed, 0 violated
    ");
    assert_eq!(passed.stderr, "");
    sandbox.write("access.toml", POLICY.split("[[invariants]]").next().unwrap());
    let none = sandbox.run(&["test", "access.toml"]);
    assert_eq!(none.exit_code, 0);
    insta::assert_snapshot!(none.stdout, @"
    Invariants of prod (snapshot cluster.yaml) after the policy is applied
      none: the policy has no invariant that applies to this cluster

    0 invariants: 0 passed, 0 violated
    ");
}

#[test]
fn json_document_matches_its_schema_and_has_the_identifiers_of_plan() {
    let sandbox = sandbox();
    let output = sandbox.run(&["test", "access.toml", "-o", "json"]);
    assert_eq!(output.exit_code, 3);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_matches_schema(&sandbox.ok(&["schema", "test"]), &document);
    let invariants = &document["clusters"][0]["invariants"];
    assert_eq!((&invariants[0]["result"], &invariants[1]["result"]), (&json!("violated"), &json!("passed")));
    let plan: Value = serde_json::from_str(&sandbox.run(&["plan", "access.toml", "-o", "json"]).stdout).unwrap();
    assert_eq!(plan["plans"][0]["failed-invariants"][0]["id"], invariants[0]["id"]);
}

#[test]
fn junit_of_each_command_is_valid() {
    let sandbox = sandbox();
    let test = sandbox.run(&["test", "access.toml", "-o", "junit"]);
    assert_eq!(test.exit_code, 3);
    assert_valid_junit(&test);
    insta::assert_snapshot!(test.stdout, @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="rolecall" tests="2" skipped="0" failures="1" errors="0">
        <testsuite name="invariants of prod (snapshot cluster.yaml)" tests="2" skipped="0" errors="0" failures="1">
            <testcase name="developers never read secrets" classname="platform.prod.invariants" file="access.toml" line="13">
                <failure message="group developers must not be able to get secrets" type="invariant">group:developers can get secrets in team-a: aws-auth entry arn:aws:iam::111122223333:role/devs, mapRoles line 4 (access.toml:5) → group developers → RoleBinding team-a/developers-edit (access.toml:9) → ClusterRole edit (unmanaged) → rule verbs get, update; api-groups &quot;&quot;; resources secrets, pods</failure>
            </testcase>
            <testcase name="group developers must be able to get pods in team-a" classname="platform.prod.invariants" file="access.toml" line="17"/>
        </testsuite>
    </testsuites>
    "#);
    let plan = sandbox.run(&["plan", "access.toml", "-o", "junit"]);
    assert_eq!(plan.exit_code, 3);
    assert_valid_junit(&plan);
    insta::assert_snapshot!(plan.stdout, @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="rolecall" tests="10" skipped="0" failures="1" errors="0">
        <testsuite name="invariants of prod (snapshot cluster.yaml)" tests="2" skipped="0" errors="0" failures="1">
            <testcase name="developers never read secrets" classname="platform.prod.invariants" file="access.toml" line="13">
                <failure message="group developers must not be able to get secrets" type="invariant">group:developers can get secrets in team-a: aws-auth entry arn:aws:iam::111122223333:role/devs, mapRoles line 4 (access.toml:5) → group developers → RoleBinding team-a/developers-edit (access.toml:9) → ClusterRole edit (unmanaged) → rule verbs get, update; api-groups &quot;&quot;; resources secrets, pods</failure>
            </testcase>
            <testcase name="group developers must be able to get pods in team-a" classname="platform.prod.invariants" file="access.toml" line="17"/>
        </testsuite>
        <testsuite name="guards of prod (snapshot cluster.yaml)" tests="8" skipped="0" errors="0" failures="0">
            <testcase name="caller: you keep your own access" classname="platform.prod.guards"/>
            <testcase name="node: nodes and Fargate pods keep their access" classname="platform.prod.guards"/>
            <testcase name="protected: protected principals keep their access" classname="platform.prod.guards"/>
            <testcase name="aws-auth: aws-auth is valid and has entries" classname="platform.prod.guards"/>
            <testcase name="last-admin: an IAM principal in aws-auth can still restore access" classname="platform.prod.guards"/>
            <testcase name="masters: no principal becomes a member of system:masters" classname="platform.prod.guards"/>
            <testcase name="everyone: anonymous requests and built-in groups of everyone gain nothing" classname="platform.prod.guards"/>
            <testcase name="max-removals: the plan does not remove more than its limit" classname="platform.prod.guards"/>
        </testsuite>
    </testsuites>
    "#);
    let drift = sandbox.run(&["drift", "access.toml", "-o", "junit"]);
    assert_valid_junit(&drift);
    sandbox.write("access.toml", POLICY.split("[[invariants]]").next().unwrap());
    sandbox.ok(&["plan", "access.toml", "--out", "plan.json"]);
    let shown = sandbox.run(&["show", "plan.json", "-o", "junit"]);
    assert_valid_junit(&shown);
    assert_eq!(shown.stdout, sandbox.run(&["plan", "access.toml", "-o", "junit"]).stdout);
}

#[test]
fn error_is_an_error_of_the_test_run_and_the_other_clusters_are_tested() {
    let sandbox = sandbox();
    sandbox
        .write("access.toml", &POLICY.replace("[principals", "[clusters.gone]\nsnapshot = \"gone.yaml\"\n[principals"));
    for command in ["test", "plan", "drift"] {
        let output = sandbox.run(&[command, "access.toml", "-o", "junit"]);
        assert_eq!(output.exit_code, 1, "{command}: {}", output.stderr);
        assert_valid_junit(&output);
        assert!(output.stdout.contains("gone.yaml") && output.stdout.contains("errors=\"1\""), "{}", output.stdout);
        assert!(output.stdout.contains("developers never read secrets"), "{}", output.stdout);
    }
    let json = sandbox.run(&["test", "access.toml", "-o", "json"]);
    assert_eq!(json.exit_code, 1);
    assert!(serde_json::from_str::<Value>(&json.stdout).unwrap()["diagnostics"].is_array(), "{}", json.stdout);
    sandbox.write("access.toml", "[policy]\nname = \"a\"\nx = 1\n");
    let output = sandbox.run(&["test", "access.toml", "-o", "junit"]);
    assert_eq!(output.exit_code, 1);
    assert_valid_junit(&output);
    assert!(output.stdout.contains("unknown key `x` in `policy`"), "{}", output.stdout);
}

#[test]
fn hostile_names_are_text_in_junit() {
    let sandbox = sandbox();
    let hostile = "<script>&amp;]]>\"'\n\u{202e}\u{1b}[2J\u{0}\u{200b}";
    let name = serde_json::to_string(hostile).unwrap();
    sandbox.write("access.toml", &POLICY.replace("\"developers never read secrets\"", &name));
    for command in ["test", "plan"] {
        let output = sandbox.run(&[command, "access.toml", "-o", "junit"]);
        assert_valid_junit(&output);
        let report = quick_junit::Report::deserialize_from_str(&output.stdout).unwrap();
        let name = report.test_suites[0].test_cases[0].name.as_str();
        assert_eq!(name, "<script>&amp;]]>\"'\\n\\u{202e}\\u{1b}[2J\\u{0}\\u{200b}");
    }
}
