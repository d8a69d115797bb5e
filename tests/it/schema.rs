//! Tests that the published schemas are complete and match what the program reads and prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Errors of refused policies that the schema cannot find: the form of the policy is right, or it is not TOML.
const NOT_FOUND_BY_SCHEMA: [&str; 18] = [
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
    "AccessEntry",
    "BoundTemplateUsername",
    "BoundAccount",
    "UnknownCluster",
    "ContradictoryLint",
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
    assert!(jsonschema::meta::is_valid(&schema), "{name} is not a valid schema");
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn assert_matches(validator: &Validator, value: &Value, name: &str) {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// TOML as an editor passes it to a schema validator: dates are strings.
fn toml_to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(datetime) => json!(datetime.to_string()),
        toml::Value::Array(items) => items.iter().map(toml_to_json).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), toml_to_json(value))).collect(),
    }
}

fn toml_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            toml_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            out.push(path);
        }
    }
}

fn policies(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    toml_files(&root().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{folder} has no policy");
    files.into_iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_accepted_policy_matches_the_schema() {
    let validator = validator("policy");
    for folder in ["examples", "tests/policies/accepted", "tests/policies/warned"] {
        for (name, text) in policies(folder) {
            assert_matches(&validator, &toml_to_json(&text.parse::<toml::Table>().unwrap().into()), &name);
        }
    }
}

#[test]
fn schema_refuses_every_policy_with_a_wrong_form() {
    let validator = validator("policy");
    let mut not_found = BTreeSet::new();
    for (name, text) in policies("tests/policies/refused") {
        // A policy in a folder has several files, each of which may be valid alone.
        let Some(errors) = text.lines().next().and_then(|line| line.strip_prefix("# fault: ")) else { continue };
        if errors.contains(", ") || errors == "DefinedTwice" {
            continue;
        }
        let Ok(policy) = text.parse::<toml::Table>() else {
            not_found.insert(errors.to_owned());
            continue;
        };
        if validator.is_valid(&toml_to_json(&policy.into())) {
            assert!(NOT_FOUND_BY_SCHEMA.contains(&errors), "{name}: the schema finds nothing");
            not_found.insert(errors.to_owned());
        }
    }
    assert_eq!(not_found, NOT_FOUND_BY_SCHEMA.map(str::to_owned).into());
}

/// For each table that the parser knows: a policy with an unknown key in that table, and the table's place in the schema.
const TABLES: [(&str, &str); 19] = [
    ("unknown-of-all = 1", "/properties"),
    ("[policy]\nunknown-of-all = 1", "/$defs/policy/properties"),
    ("[clusters.a]\nunknown-of-all = 1", "/$defs/cluster/properties"),
    ("[clusters.a.eks]\nunknown-of-all = 1", "/$defs/cluster/properties/eks/properties"),
    ("[principals.a]\nunknown-of-all = 1", "/$defs/principal/properties"),
    ("[principals.a.sso]\nunknown-of-all = 1", "/$defs/principal/properties/sso/properties"),
    ("[[principals.a.access-policies]]\nunknown-of-all = 1", "/$defs/access-policies/items/properties"),
    ("[groups.a]\nunknown-of-all = 1", "/$defs/group/properties"),
    ("[cluster-roles.a]\nunknown-of-all = 1", "/$defs/cluster-role/properties"),
    ("[[cluster-roles.a.rules]]\nunknown-of-all = 1", "/$defs/rule/properties"),
    ("[[cluster-roles.a.aggregation]]\nunknown-of-all = 1", "/$defs/match-labels/properties"),
    ("[roles.a]\nunknown-of-all = 1", "/$defs/role/properties"),
    ("[bindings.a]\nunknown-of-all = 1", "/$defs/binding/properties"),
    ("[[bindings.a.namespaces]]\nunknown-of-all = 1", "/$defs/match-labels/properties"),
    ("[ownership]\nunknown-of-all = 1", "/$defs/ownership/properties"),
    ("[guard]\nunknown-of-all = 1", "/$defs/guard/properties"),
    ("[lint]\nunknown-of-all = 1", "/$defs/lint/properties"),
    ("[[invariants]]\nunknown-of-all = 1", "/$defs/invariant/properties"),
    ("[[invariants]]\ngroup = \"a\"\n[invariants.can]\nunknown-of-all = 1", "/$defs/action/properties"),
];

#[test]
fn schema_keys_equal_the_keys_of_the_parser() {
    let schema = schema("policy");
    let folder = TempDir::new().unwrap();
    for (policy, pointer) in TABLES {
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let (_, report) = run(folder.path(), &["validate", "--format", "json", "policy.toml"]);
        let notes = report["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|diagnostic| diagnostic["notes"].as_array().unwrap());
        let known: BTreeSet<String> = notes
            .filter_map(|note| note["text"].as_str()?.strip_prefix("use one of: "))
            .flat_map(|list| list.split(", ").map(str::to_owned))
            .collect();
        let documented = schema.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).as_object().unwrap();
        let documented: BTreeSet<String> = documented.keys().cloned().collect();
        assert_eq!(known, documented, "{policy}");
    }
}

#[test]
fn every_table_of_the_parser_has_an_example() {
    let (mut calls, mut pending) = (0, vec![root().join("src/policy")]);
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            calls += fs::read_to_string(path).unwrap().matches(".report_unknown_keys(").count();
        }
    }
    assert_eq!(calls, TABLES.len(), "TABLES needs an example for each call of `report_unknown_keys` in src/policy");
}

/// Collects the keys that have no description, neither directly nor at the target of their `$ref`.
fn collect_undescribed(schema: &Value, node: &Value, path: &str, out: &mut Vec<String>) {
    let Some(map) = node.as_object() else { return };
    for (key, value) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let target = value
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|pointer| schema.pointer(pointer.trim_start_matches('#')));
        let description = value.get("description").or_else(|| target.and_then(|pointer| pointer.get("description")));
        // `false` forbids a key that another place describes. A branch may also limit such a key without a type.
        let defines_key = map.get("type").is_some() && value.is_object();
        if description.is_none() && defines_key {
            out.push(format!("{path}/{key}"));
        }
    }
    for (key, value) in map {
        collect_undescribed(schema, value, &format!("{path}/{key}"), out);
    }
}

#[test]
fn every_policy_key_has_a_description_and_every_schema_an_id() {
    let policy = schema("policy");
    let mut missing = Vec::new();
    collect_undescribed(&policy, &policy, "", &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
    for (name, version) in [
        ("policy", 1),
        ("plan", 2),
        ("diagnostics", 2),
        ("whoami", 2),
        ("clusters", 2),
        ("access", 2),
        ("report", 2),
        ("permissions", 2),
        ("events", 2),
    ] {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:rolecall:schema:{name}:{version}"));
        assert_eq!(schema["title"], format!("rolecall {name}"));
        assert!(schema["$comment"].as_str().unwrap().starts_with(&format!("Version {version}")));
        let printed = Command::new(env!("CARGO_BIN_EXE_rolecall")).args(["schema", name]).output().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), schema);
    }
}

/// Runs the program. Returns the exit code and the JSON document on stdout.
fn run(folder: &Path, args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
    let output = command.env_clear().env("HOME", folder).current_dir(folder).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{stderr}"));
    (output.status.code().unwrap(), document)
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
  annotations: { rolecall/policy: prod, rolecall/object: "9f22e8bf035a24e5", rolecall/digest: "0" }
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
fn plans_match_their_schema() {
    let validator = validator("plan");
    let example = root().join("examples/cluster-viewer");
    let (code, plan) = run(&example, &["plan", "--format", "json", "access.toml"]);
    assert_eq!(code, 0);
    assert_matches(&validator, &plan, "the example");

    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.yaml"), CLUSTER).unwrap();
    fs::write(folder.path().join("rolecall.toml"), POLICY).unwrap();
    let (code, plan) = run(folder.path(), &["plan", "--format", "json", "--out", "saved.json", "--detailed-exitcode"]);
    assert_eq!(code, 2);
    let mut actions: Vec<&str> = plan["plans"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(actions, ["adopt", "create", "delete", "replace"], "{plan:#}");
    assert!(!plan["plans"][0]["warnings"].as_array().unwrap().is_empty(), "{plan:#}");
    assert_matches(&validator, &plan, "a plan of every action");
    let saved = serde_json::from_str(&fs::read_to_string(folder.path().join("saved.json")).unwrap()).unwrap();
    assert_matches(&validator, &saved, "a saved plan");
    assert_matches(&validator, &run(folder.path(), &["drift", "--format", "json"]).1, "drift");
    let mut changed_policy = POLICY.replace("[\"get\", \"list\"]", "[\"get\"]");
    let applied = Command::new(env!("CARGO_BIN_EXE_rolecall"))
        .env_clear()
        .current_dir(folder.path())
        .args(["apply", "--auto-approve"])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    assert_matches(&validator, &run(folder.path(), &["plan", "--format", "json"]).1, "an empty plan");
    changed_policy.push_str("ignore = [\"arn:*\"]\n");
    fs::write(folder.path().join("rolecall.toml"), changed_policy).unwrap();
    let (_, plan) = run(folder.path(), &["plan", "--format", "json"]);
    assert_eq!(plan["plans"][0]["changes"][0]["action"], "update", "{plan:#}");
    assert_matches(&validator, &plan, "an update");
}

#[test]
fn diagnostics_match_their_schema() {
    let validator = validator("diagnostics");
    let refused = root().join("tests/policies/refused");
    for policy in ["defined_in_two_files", "invalid_toml.toml", "gone.toml", "duplicate_principal.toml"] {
        let (code, report) = run(&refused, &["validate", "--format", "json", policy]);
        assert_eq!(code, 1);
        assert!(!report["diagnostics"].as_array().unwrap().is_empty());
        assert_matches(&validator, &report, policy);
    }
    let warned = root().join("tests/policies/warned");
    let (code, report) = run(&warned, &["validate", "--format", "json", "duplicate_item.toml"]);
    assert_eq!((code, &report["diagnostics"][0]["severity"]), (0, &json!("warning")));
    assert_matches(&validator, &report, "warnings");

    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.yaml"), CLUSTER.replace("username: gone", "username: [")).unwrap();
    fs::write(folder.path().join("rolecall.toml"), POLICY).unwrap();
    let (code, report) = run(folder.path(), &["plan", "--format", "json"]);
    assert_eq!(code, 1);
    assert!(
        report["diagnostics"].as_array().unwrap().iter().any(|diagnostic| !diagnostic["excerpt"].is_null()),
        "{report:#}"
    );
    assert_matches(&validator, &report, "an excerpt");
}

#[test]
fn whoami_matches_its_schema() {
    let example = root().join("examples/cluster-viewer");
    let (code, answer) = run(&example, &["whoami", "--format", "json", "access.toml"]);
    assert_eq!(code, 0);
    assert_matches(&validator("whoami"), &answer, "whoami");
    let user_info =
        json!({ "username": "", "groups": ["system:authenticated"], "extra": { "arn": ["arn:aws:iam::1:x"] } });
    let live = json!({ "format-version": 2, "clusters": [{
        "cluster": "prod", "user-info": user_info, "iam-identity": null, "mapped-by": { "kind": "not-iam" },
        "authentication-mode": null, "denied-for-plan": null, "denied-for-apply": [],
    }] });
    assert_matches(&validator("whoami"), &live, "whoami of a live cluster");
}

#[test]
fn access_answers_match_their_schema() {
    let validator = validator("access");
    let example = root().join("examples/cluster-viewer");
    let bindings = "
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
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.yaml"), format!("{CLUSTER}{bindings}")).unwrap();
    let snapshot_args = ["--snapshot", "cluster.yaml"];
    let after_args = ["--policy", "access.toml", "--after"];
    for (command, code) in [
        ("can viewer get secrets", 0),
        ("can viewer delete secrets", 1),
        ("can arn:aws:iam::111122223333:role/none get secrets", 1),
        ("can group:system:masters get,list po,secret", 0),
        ("can group:unknown get pods", 2),
        ("who-can get secrets", 0),
        ("who-can escalate", 0),
        ("access", 0),
        ("access viewer --full", 0),
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--format", "json"]).chain(after_args).collect();
        let (exit_code, answer) = run(&example, &args);
        assert_eq!(exit_code, code, "{command}");
        assert_matches(&validator, &answer, command);
    }
    for command in ["can group:readers get pods", "can group:readers list pods", "who-can get pods -n team-a", "access"]
    {
        let args: Vec<&str> = command.split(' ').chain(["--format", "json"]).chain(snapshot_args).collect();
        assert_matches(&validator, &run(folder.path(), &args).1, command);
    }
}

#[test]
fn reports_match_their_schema() {
    let validator = validator("report");
    for example in ["cluster-viewer", "drift", "recipes"] {
        let example = root().join("examples").join(example);
        for args in [vec!["report"], vec!["report", "--after"], vec!["report", "--full"]] {
            let args: Vec<&str> = args.into_iter().chain(["-o", "json", "."]).collect();
            let (exit_code, report) = run(&example, &args);
            assert_eq!(exit_code, 0, "{args:?}");
            assert_matches(&validator, &report, &format!("{} {args:?}", example.display()));
        }
    }
}
