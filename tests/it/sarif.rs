//! `-o sarif` of `validate`, `plan`, `drift` and `show`, against the official schema, and the identifiers of findings.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::sandbox::{RunOutput, Sandbox};

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
    - rolearn: arn:aws:iam::111122223333:role/eks-nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
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
[principals.sre]
role = "arn:aws:iam::111122223333:role/sre"
groups = ["system:masters"]
[principals.devs]
role = "arn:aws:iam::111122223333:role/devs"
groups = ["developers"]
[groups.developers]
[groups."system:masters"]
[cluster-roles.deployer]
rules = [
    { verbs = ["create", "gett"], resources = ["pods"] },
    { verbs = ["gett"], resources = ["services"] },
    { verbs = ["create", "patch", "escalate"], api-groups = ["rbac.authorization.k8s.io"], resources = ["clusterroles"] },
]
[bindings.deployers]
cluster-role = "deployer"
groups = ["developers"]
[bindings.developers-edit]
cluster-role = "edit"
groups = ["developers"]
namespaces = ["team-*"]
[[invariants]]
description = "developers never read secrets"
group = "developers"
cannot = { verb = "get", resource = "secrets" }
[[invariants]]
description = "developers do not escalate"
group = "developers"
cannot = "escalate"
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("access/cluster.yaml", SNAPSHOT).write("access/prod.toml", POLICY);
    sandbox
}

/// Parses a log, which is valid against the schema of OASIS.
#[track_caller]
fn log(output: &RunOutput) -> Value {
    let log: Value = serde_json::from_str(&output.stdout).expect(&output.stderr);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/sarif-2.1.0.json");
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // Its `]` without a `[` is not valid in the regular expressions of the library. rolecall does not write the language.
    for part in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][part]["properties"]["language"];
        language.as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let violations: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
    assert!(violations.is_empty(), "{violations:#?}\n{log:#}");
    log
}

fn results(log: &Value) -> &Vec<Value> {
    log["runs"][0]["results"].as_array().unwrap()
}

/// `rule level file:line:column` of each result.
fn outline(log: &Value) -> String {
    let line = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        let (uri, region) = (&place["artifactLocation"]["uri"], &place["region"]);
        let text = result["message"]["text"].as_str().unwrap().lines().next().unwrap();
        format!(
            "{} {} {}:{}:{} {text}\n",
            result["ruleId"].as_str().unwrap(),
            result["level"].as_str().unwrap(),
            uri.as_str().unwrap(),
            region["startLine"],
            region["startColumn"]
        )
    };
    results(log).iter().map(line).collect()
}

fn ids(log: &Value) -> BTreeSet<String> {
    let id = |result: &Value| result["fingerprints"]["rolecall/v1"].as_str().unwrap().to_owned();
    let ids: BTreeSet<String> = results(log).iter().map(id).collect();
    assert_eq!(ids.len(), results(log).len(), "two findings have one identifier: {log:#}");
    ids
}

/// Every `id` in a JSON document.
fn ids_in_json(document: &Value, out: &mut BTreeSet<String>) {
    match document {
        Value::Object(map) => {
            out.extend(map.get("id").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| ids_in_json(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| ids_in_json(value, out)),
        _ => {}
    }
}

#[test]
fn validate_reports_lints_invariants_and_escalation_paths_with_their_lines() {
    let sandbox = sandbox();
    let output = sandbox.run(&["validate", "access", "-o", "sarif"]);
    assert_eq!(output.exit_code, 3, "{}", output.stderr);
    let log = log(&output);
    insta::assert_snapshot!(outline(&log), @r#"
    unknown-verb warning access/prod.toml:15:26 unknown verb `gett`
    unknown-verb warning access/prod.toml:16:16 unknown verb `gett`
    invariant error access/prod.toml:30:1 invariant violated: "developers do not escalate"
    escalation/escalate-cluster-roles error access/prod.toml:19:11 devs (arn:aws:iam::111122223333:role/devs), group:developers: can add permissions to a ClusterRole that it does not have itself: escalate clusterroles.rbac.authorization.k8s.io (cluster-scoped); create clusterroles.rbac.authorization.k8s.io without a name (cluster-scoped); patch clusterroles.rbac.authorization.k8s.io by name (cluster-scoped)
    escalation/pods error access/prod.toml:19:11 devs (arn:aws:iam::111122223333:role/devs), group:developers: can create pods that run as any service account in the namespace and mount any secret in the namespace: create pods in all namespaces
    escalation/system:masters error access/prod.toml:5:13 sre (arn:aws:iam::111122223333:role/sre): full cluster access that RBAC cannot restrict or revoke
    "#);
    assert_eq!(log["runs"][0]["automationDetails"]["id"], json!("rolecall/validate/platform/"));
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], json!(true));
    let masters = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().iter();
    let masters = masters.clone().find(|rule| rule["id"] == json!("escalation/system:masters")).unwrap();
    assert_eq!(masters["properties"], json!({ "tags": ["security"], "security-severity": "9.5" }));
    assert_eq!(masters["defaultConfiguration"]["level"], json!("error"));
    let json = sandbox.run(&["validate", "access", "-o", "json"]);
    let mut known = BTreeSet::new();
    ids_in_json(&serde_json::from_str(&json.stdout).unwrap(), &mut known);
    assert_eq!(known, ids(&log), "the JSON document has the same identifiers");
}

#[test]
fn plan_reports_what_it_opens_and_what_refuses_it() {
    let sandbox = sandbox();
    let output = sandbox.run(&["plan", "access", "-o", "sarif"]);
    assert_eq!(output.exit_code, 3, "{}", output.stderr);
    let log = log(&output);
    insta::assert_snapshot!(outline(&log), @r#"
    unknown-verb warning access/prod.toml:15:26 unknown verb `gett`
    unknown-verb warning access/prod.toml:16:16 unknown verb `gett`
    invariant error access/prod.toml:26:1 invariant violated: "developers never read secrets"
    invariant error access/prod.toml:30:1 invariant violated: "developers do not escalate"
    guard/masters error access/prod.toml:5:13 this plan adds arn:aws:iam::111122223333:role/sre to system:masters: full cluster access that RBAC cannot restrict or revoke
    escalation/system:masters error access/prod.toml:5:13 sre (arn:aws:iam::111122223333:role/sre): full cluster access that RBAC cannot restrict or revoke
    escalation/escalate-cluster-roles error access/prod.toml:19:11 devs (arn:aws:iam::111122223333:role/devs): can add permissions to a ClusterRole that it does not have itself: escalate clusterroles.rbac.authorization.k8s.io (cluster-scoped); create clusterroles.rbac.authorization.k8s.io without a name (cluster-scoped); patch clusterroles.rbac.authorization.k8s.io by name (cluster-scoped)
    escalation/secrets error access/prod.toml:22:11 devs (arn:aws:iam::111122223333:role/devs): can read secrets, including service account tokens stored in them: get secrets in team-a
    escalation/pods error access/prod.toml:19:11 devs (arn:aws:iam::111122223333:role/devs): can create pods that run as any service account in the namespace and mount any secret in the namespace: create pods in all namespaces; update pods in team-a
    "#);
    let json = sandbox.run(&["plan", "access", "-o", "json"]);
    let mut known = BTreeSet::new();
    ids_in_json(&serde_json::from_str(&json.stdout).unwrap(), &mut known);
    assert!(known.is_superset(&ids(&log)), "the JSON document has the same identifiers");
    let drift = sandbox.run(&["drift", "access", "-o", "sarif"]);
    assert_eq!(drift.exit_code, 2, "{}", drift.stderr);
    assert_eq!(self::log(&drift)["runs"][0]["automationDetails"]["id"], json!("rolecall/drift/platform/"));
}

#[test]
fn identifiers_survive_moved_lines_and_another_file() {
    let sandbox = sandbox();
    for command in ["validate", "plan"] {
        sandbox.write("access/prod.toml", POLICY);
        let before = ids(&log(&sandbox.run(&[command, "access", "-o", "sarif"])));
        assert!(before.len() > 4);
        sandbox.write("access/prod.toml", &format!("# One line.\n\n{}", POLICY.replace("\n[", "\n\n# More.\n[")));
        let moved = log(&sandbox.run(&[command, "access", "-o", "sarif"]));
        assert_eq!(ids(&moved), before, "{command}");
        let (first, second) = POLICY.split_at(POLICY.find("[cluster-roles").unwrap());
        sandbox.write("access/prod.toml", first).write("access/a.toml", second);
        assert_eq!(ids(&log(&sandbox.run(&[command, "access", "-o", "sarif"]))), before, "{command}");
        std::fs::remove_file(sandbox.path("access/a.toml")).unwrap();
    }
}

#[test]
fn show_reports_a_saved_plan_as_plan_does() {
    let sandbox = sandbox();
    let policy = POLICY.split("[[invariants]]").next().unwrap();
    sandbox.write("access/prod.toml", policy);
    let allow = ["--allow", "masters:arn:aws:iam::111122223333:role/sre"];
    let plan = |more: &[&str]| sandbox.run(&[&["plan", "access"], &allow[..], more].concat());
    let saved = plan(&["--out", "plan.json"]);
    assert_eq!(saved.exit_code, 0, "{}", saved.stderr);
    let shown = sandbox.run(&["show", "plan.json", "-o", "sarif"]);
    assert_eq!(ids(&log(&shown)), ids(&log(&plan(&["-o", "sarif"]))));
    let refused = sandbox.run(&["show", "access/cluster.yaml", "-o", "sarif"]);
    assert_eq!(refused.exit_code, 1);
    assert!(refused.stderr.contains("cluster.yaml is not a saved plan"), "{}", refused.stderr);
}

#[test]
fn errors_are_results_with_a_line_or_notifications() {
    let sandbox = sandbox();
    sandbox.write("access/prod.toml", "[policy]\nname = \"a\"\nx = 1\n");
    for command in ["validate", "plan", "drift"] {
        let output = sandbox.run(&[command, "access", "-o", "sarif"]);
        assert_eq!(output.exit_code, 1);
        let log = log(&output);
        assert_eq!(outline(&log), "policy-error error access/prod.toml:3:1 unknown key `x` in `policy`\n", "{command}");
        assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], json!(false));
    }
    sandbox.write("access/prod.toml", &POLICY.replace("cluster.yaml", "gone.yaml"));
    let output = sandbox.run(&["plan", "access", "-o", "sarif"]);
    assert_eq!(output.exit_code, 1);
    let log = log(&output);
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], json!(false));
    assert!(invocation["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap().contains("gone.yaml"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Names that an attacker chooses give no link, no placeholder and no invisible character.
    #[test]
    fn hostile_names_are_plain_text(parts in proptest::collection::vec(prop_oneof![
        Just("[x](https://evil.example)"), Just("{0}"), Just("{{"), Just("\u{202e}"), Just("\u{200b}"), Just("<b>"),
        Just("\n"), Just("\u{1b}[31m"), Just("a"), Just("`"), Just("@team"),
    ], 1..5)) {
        // A JSON string is a TOML string.
        let name = serde_json::to_string(&parts.concat()).unwrap();
        let sandbox = sandbox();
        sandbox.write("access/prod.toml", &POLICY.replace("\"developers never read secrets\"", &name));
        for command in ["validate", "plan"] {
            let output = sandbox.run(&[command, "access", "-o", "sarif"]);
            prop_assert!(output.exit_code == 3 || output.exit_code == 1, "{}", output.stderr);
            let log = log(&output);
            for result in results(&log) {
                let text = result["message"]["text"].as_str().unwrap();
                prop_assert!(!text.contains("](") && !text.contains(['\u{202e}', '\u{200b}', '\u{1b}']), "{:?}", text);
                let single = text.replace("{{", "").replace("}}", "");
                prop_assert!(!single.contains(['{', '}']), "{:?}", text);
            }
        }
    }
}
