//! The published schemas: complete, and true of what the program reads and prints.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Refused policies in which a schema finds nothing: what one text says of itself is right, or it is not TOML.
const BEYOND_A_SCHEMA: [&str; 16] = [
    "Toml",
    "NoPolicyTable",
    "NoAccount",
    "DuplicatePrincipal",
    "DuplicateUsername",
    "PartitionMismatch",
    "UnknownTemplate",
    "NodeTemplateForNonNode",
    "SessionTemplateForUser",
    "Undeclared",
    "RoleNotInNamespace",
    "NoCommonCluster",
    "AccountInGroup",
    "BoundTemplateUsername",
    "BoundAccount",
    "UnknownCluster",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema(name: &str) -> Value {
    let path = root().join(format!("schema/{name}.schema.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(name: &str) -> Validator {
    let schema = schema(name);
    assert!(jsonschema::meta::is_valid(&schema), "{name} is no schema");
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn fits(validator: &Validator, value: &Value, what: &str) {
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}\n{value:#}");
}

/// TOML as an editor hands it to a schema: dates are strings.
fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(yes) => json!(yes),
        toml::Value::Datetime(at) => json!(at.to_string()),
        toml::Value::Array(items) => items.iter().map(json_of).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json_of(value))).collect(),
    }
}

fn toml_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            toml_files(&path, out);
        } else if path.extension().is_some_and(|end| end == "toml") {
            out.push(path);
        }
    }
}

fn policies(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    toml_files(&root().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no policy");
    files.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_good_policy_fits_the_schema() {
    let validator = validator("policy");
    for folder in ["examples", "tests/policies/accepted", "tests/policies/warned"] {
        for (name, text) in policies(folder) {
            fits(&validator, &json_of(&text.parse::<toml::Table>().unwrap().into()), &name);
        }
    }
}

#[test]
fn a_refused_policy_is_refused_by_the_schema_too_where_its_form_is_wrong() {
    let validator = validator("policy");
    let mut beyond = BTreeSet::new();
    for (name, text) in policies("tests/policies/refused") {
        // Of a folder's files each may be right by itself.
        let Some(fault) = text.lines().next().and_then(|line| line.strip_prefix("# fault: ")) else { continue };
        if fault.contains(", ") || fault == "DefinedTwice" {
            continue;
        }
        let Ok(policy) = text.parse::<toml::Table>() else {
            beyond.insert(fault.to_owned());
            continue;
        };
        if validator.is_valid(&json_of(&policy.into())) {
            assert!(BEYOND_A_SCHEMA.contains(&fault), "{name}: the schema finds nothing");
            beyond.insert(fault.to_owned());
        }
    }
    assert_eq!(beyond, BEYOND_A_SCHEMA.map(str::to_owned).into());
}

/// One policy for each table of the code that knows its keys, with a key that nobody knows, and the schema's table.
const TABLES: [(&str, &str); 17] = [
    ("unknown-of-all = 1", "/properties"),
    ("[policy]\nunknown-of-all = 1", "/$defs/policy/properties"),
    ("[clusters.a]\nunknown-of-all = 1", "/$defs/cluster/properties"),
    ("[clusters.a.eks]\nunknown-of-all = 1", "/$defs/cluster/properties/eks/properties"),
    ("[principals.a]\nunknown-of-all = 1", "/$defs/principal/properties"),
    ("[principals.a.sso]\nunknown-of-all = 1", "/$defs/principal/properties/sso/properties"),
    ("[groups.a]\nunknown-of-all = 1", "/$defs/group/properties"),
    ("[cluster-roles.a]\nunknown-of-all = 1", "/$defs/cluster-role/properties"),
    ("[[cluster-roles.a.rules]]\nunknown-of-all = 1", "/$defs/rule/properties"),
    ("[[cluster-roles.a.aggregation]]\nunknown-of-all = 1", "/$defs/match-labels/properties"),
    ("[roles.a]\nunknown-of-all = 1", "/$defs/role/properties"),
    ("[bindings.a]\nunknown-of-all = 1", "/$defs/binding/properties"),
    ("[[bindings.a.namespaces]]\nunknown-of-all = 1", "/$defs/match-labels/properties"),
    ("[ownership]\nunknown-of-all = 1", "/$defs/ownership/properties"),
    ("[guard]\nunknown-of-all = 1", "/$defs/guard/properties"),
    ("[[invariants]]\nunknown-of-all = 1", "/$defs/invariant/properties"),
    ("[[invariants]]\ngroup = \"a\"\n[invariants.can]\nunknown-of-all = 1", "/$defs/action/properties"),
];

#[test]
fn the_schema_has_the_keys_of_the_code_and_no_others() {
    let schema = schema("policy");
    let desk = TempDir::new().unwrap();
    for (policy, pointer) in TABLES {
        fs::write(desk.path().join("policy.toml"), policy).unwrap();
        let (_, found) = run(desk.path(), &["validate", "--format", "json", "policy.toml"]);
        let hints = found["diagnostics"].as_array().unwrap().iter().flat_map(|one| one["hints"].as_array().unwrap());
        let known: BTreeSet<String> = hints
            .filter_map(|hint| hint.as_str()?.strip_prefix("use one of: "))
            .flat_map(|list| list.split(", ").map(str::to_owned))
            .collect();
        let documented = schema.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).as_object().unwrap();
        let documented: BTreeSet<String> = documented.keys().cloned().collect();
        assert_eq!(known, documented, "{policy}");
    }
}

#[test]
fn no_table_of_the_code_is_left_out() {
    let mut calls = 0;
    for entry in fs::read_dir(root().join("src/policy")).unwrap() {
        calls += fs::read_to_string(entry.unwrap().path()).unwrap().matches(".report_unknown_keys(").count();
    }
    assert_eq!(calls, TABLES.len(), "give TABLES an example of every table whose keys are known");
}

/// Every key of every table says what it is for, itself or where it points to.
fn undescribed(schema: &Value, at: &Value, path: &str, out: &mut Vec<String>) {
    let Some(map) = at.as_object() else { return };
    for (key, value) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let target =
            value.get("$ref").and_then(Value::as_str).and_then(|to| schema.pointer(to.trim_start_matches('#')));
        let said = value.get("description").or_else(|| target.and_then(|to| to.get("description")));
        // `false` forbids a key that is described elsewhere; so does a limit in a branch.
        let is_own = map.get("type").is_some() && value.is_object();
        if said.is_none() && is_own {
            out.push(format!("{path}/{key}"));
        }
    }
    for (key, value) in map {
        undescribed(schema, value, &format!("{path}/{key}"), out);
    }
}

#[test]
fn every_key_of_a_policy_is_described_and_every_schema_named() {
    let policy = schema("policy");
    let mut missing = Vec::new();
    undescribed(&policy, &policy, "", &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
    for name in ["policy", "plan", "diagnostics", "whoami", "access"] {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:rolecall:schema:{name}:1"));
        assert_eq!(schema["title"], format!("rolecall {name}"));
        assert!(schema["$comment"].as_str().unwrap().starts_with("Version 1"));
        let printed = Command::new(env!("CARGO_BIN_EXE_rolecall")).args(["schema", name]).output().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), schema);
    }
}

/// Exit code and the one document on stdout.
fn run(at: &Path, args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
    let done = command.env_clear().env("HOME", at).current_dir(at).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let document = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{said}"));
    (done.status.code().unwrap(), document)
}

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
    - rolearn: arn:aws:iam::111122223333:role/viewer
      username: viewer
    - rolearn: arn:aws:iam::111122223333:role/gone
      username: gone
    - rolearn: arn:aws:iam::111122223333:role/late
      username: yes
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader, resourceVersion: "8" }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: readers
  resourceVersion: "9"
  annotations: { rolecall/policy: prod, rolecall/digest: "0" }
  managedFields: [{ manager: kubectl-edit, time: "2026-01-01T00:00:00Z" }]
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: readers }]
"#;

const POLICY: &str = r#"
[policy]
name = "prod"
[clusters.prod]
snapshot = "cluster.yaml"
account = "111122223333"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/viewer"
username = "viewer"
groups = ["readers"]
[principals.late]
role = "late"
expires = 2020-01-01
[principals.partner]
account = "444455556666"
[groups.readers]
[cluster-roles.reader]
rules = [{ verbs = ["get", "list"], resources = ["pods"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["readers"]
service-accounts = ["ci/deployer"]
[bindings.local]
cluster-role = "reader"
namespaces = ["team-a", "nowhere-*"]
principals = ["viewer"]
[ownership]
aws-auth = "exclusive"
"#;

#[test]
fn plans_fit_their_schema() {
    let validator = validator("plan");
    let example = root().join("examples/cluster-viewer");
    let (code, plan) = run(&example, &["plan", "--format", "json", "access.toml"]);
    assert_eq!(code, 0);
    fits(&validator, &plan, "the example");

    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("cluster.yaml"), CLUSTER).unwrap();
    fs::write(desk.path().join("rolecall.toml"), POLICY).unwrap();
    let (code, plan) = run(desk.path(), &["plan", "--format", "json", "--out", "saved.json", "--detailed-exitcode"]);
    assert_eq!(code, 2);
    let mut actions: Vec<&str> =
        plan["plans"][0]["changes"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(actions, ["adopt", "create", "delete", "replace"], "{plan:#}");
    assert!(!plan["plans"][0]["warnings"].as_array().unwrap().is_empty(), "{plan:#}");
    fits(&validator, &plan, "a plan of every action");
    let saved = serde_json::from_str(&fs::read_to_string(desk.path().join("saved.json")).unwrap()).unwrap();
    fits(&validator, &saved, "a saved plan");
    fits(&validator, &run(desk.path(), &["drift", "--format", "json"]).1, "drift");
    let mut later = POLICY.replace("[\"get\", \"list\"]", "[\"get\"]");
    let applied = Command::new(env!("CARGO_BIN_EXE_rolecall"))
        .env_clear()
        .current_dir(desk.path())
        .args(["apply", "--auto-approve"])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    fits(&validator, &run(desk.path(), &["plan", "--format", "json"]).1, "an empty plan");
    later.push_str("ignore = [\"arn:*\"]\n");
    fs::write(desk.path().join("rolecall.toml"), later).unwrap();
    let (_, plan) = run(desk.path(), &["plan", "--format", "json"]);
    assert_eq!(plan["plans"][0]["changes"][0]["action"], "update", "{plan:#}");
    fits(&validator, &plan, "an update");
}

#[test]
fn faults_fit_their_schema() {
    let validator = validator("diagnostics");
    let refused = root().join("tests/policies/refused");
    for policy in ["defined_in_two_files", "invalid_toml.toml", "gone.toml", "duplicate_principal.toml"] {
        let (code, found) = run(&refused, &["validate", "--format", "json", policy]);
        assert_eq!(code, 1);
        assert!(!found["diagnostics"].as_array().unwrap().is_empty());
        fits(&validator, &found, policy);
    }
    let warned = root().join("tests/policies/warned");
    let (code, found) = run(&warned, &["validate", "--format", "json", "duplicate_item.toml"]);
    assert_eq!((code, &found["diagnostics"][0]["severity"]), (0, &json!("warning")));
    fits(&validator, &found, "warnings");

    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("cluster.yaml"), CLUSTER.replace("username: gone", "username: [")).unwrap();
    fs::write(desk.path().join("rolecall.toml"), POLICY).unwrap();
    let (code, found) = run(desk.path(), &["plan", "--format", "json"]);
    assert_eq!(code, 1);
    assert!(found["diagnostics"].as_array().unwrap().iter().any(|one| !one["excerpt"].is_null()), "{found:#}");
    fits(&validator, &found, "an excerpt");
}

#[test]
fn whoami_fits_its_schema() {
    let example = root().join("examples/cluster-viewer");
    let (code, answer) = run(&example, &["whoami", "--format", "json", "access.toml"]);
    assert_eq!(code, 0);
    fits(&validator("whoami"), &answer, "whoami");
    let caller =
        json!({ "username": "", "groups": ["system:authenticated"], "extra": { "arn": ["arn:aws:iam::1:x"] } });
    let known = json!({ "format-version": 1, "clusters": [{ "cluster": "prod", "caller": caller }] });
    fits(&validator("whoami"), &known, "whoami of a live cluster");
}

#[test]
fn answers_fit_their_schema() {
    let validator = validator("access");
    let example = root().join("examples/cluster-viewer");
    let bound = "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: pending }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: readers }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: local, namespace: team-a }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: readers }]
";
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("cluster.yaml"), format!("{CLUSTER}{bound}")).unwrap();
    let place = ["--snapshot", "cluster.yaml"];
    let after = ["--policy", "access.toml", "--after"];
    for (question, code) in [
        ("can viewer get secrets", 0),
        ("can viewer delete secrets", 1),
        ("can arn:aws:iam::111122223333:role/none get secrets", 1),
        ("can group:system:masters gett pod", 0),
        ("who-can get secrets", 0),
        ("who-can escalate", 0),
        ("access", 0),
        ("access viewer --full", 0),
    ] {
        let args: Vec<&str> = question.split(' ').chain(["--format", "json"]).chain(after).collect();
        let (ended, answer) = run(&example, &args);
        assert_eq!(ended, code, "{question}");
        fits(&validator, &answer, question);
    }
    for question in
        ["can group:readers get pods", "can group:readers list pods", "who-can get pods -n team-a", "access"]
    {
        let args: Vec<&str> = question.split(' ').chain(["--format", "json"]).chain(place).collect();
        fits(&validator, &run(desk.path(), &args).1, question);
    }
}
