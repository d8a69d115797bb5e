//! `--events FILE`: one line for each event, and one record for each write.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const POLICY: &str = r#"
[policy]
name = "events"
[clusters.prod]
context = "admin"
token-cache = "0s"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[cluster-roles.reader]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["viewers"]
"#;

/// The lines of the file. Each of them matches the published schema.
#[track_caller]
fn events(sandbox: &Sandbox, file: &str) -> Vec<Value> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/events.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let text = sandbox.read(file);
    assert!(text.ends_with('\n'), "{text}");
    let parse = |line: &str| {
        let event: Value = serde_json::from_str(line).expect(line);
        let violations: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(violations.is_empty(), "{violations:#?}\n{event:#}");
        event
    };
    text.lines().map(parse).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

fn writes(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["event"] == "write").collect()
}

fn run(sandbox: &Sandbox, args: &[&str]) -> i32 {
    let mut command = sandbox.command(args);
    command.env("GITHUB_SHA", COMMIT).env("GITHUB_ACTIONS", "true").env("GITHUB_ACTOR", "alice");
    command
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_REPOSITORY", "org/access")
        .env("GITHUB_RUN_ID", "17");
    let output = command.output().unwrap();
    output.status.code().unwrap()
}

#[test]
fn apply_records_each_write_with_its_author_plan_commit_and_versions() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": "" }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let digest = sandbox.plan(&[])["digest"].clone();
    assert_eq!(run(&sandbox, &["apply", "--auto-approve", "--events", "events.jsonl"]), 0);
    let all = events(&sandbox, "events.jsonl");
    let kinds = kinds(&all);
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"finished")), "{kinds:?}");
    for expected in [
        "observation-started",
        "page-listed",
        "observation-finished",
        "planning-started",
        "planned",
        "lease",
        "apply-started",
        "verification",
        "apply-finished",
    ] {
        assert!(kinds.contains(&expected), "{expected}: {kinds:?}");
    }
    let records = writes(&all);
    assert_eq!(records.len(), 3, "{records:#?}");
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["number"], json!(number + 1));
        assert_eq!((&record["digest"], &record["policy"]), (&digest, &json!("events")));
        assert_eq!(record["policy-commit"], json!(COMMIT));
        assert_eq!(record["cluster-name"], json!("prod"));
        assert_eq!(record["caller"]["username"], json!("admin"), "{record:#}");
        let url = "https://github.com/org/access/actions/runs/17";
        assert_eq!(record["author"], json!({ "ci": "github-actions", "user": "alice", "url": url }));
        assert_eq!(record["error"], Value::Null);
        let created = record["object"]["kind"] != "ConfigMap";
        assert_eq!(record["result"], json!(if created { "created" } else { "changed" }), "{record:#}");
        assert_eq!(record["before"].is_null(), created, "{record:#}");
        let object = &record["object"];
        let path = match object["kind"].as_str().unwrap() {
            "ConfigMap" => "/api/v1/namespaces/kube-system/configmaps/aws-auth".to_owned(),
            "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader".to_owned(),
            _ => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/readers".to_owned(),
        };
        let stored = cluster.admin("GET", &path, None).1;
        assert_eq!(record["after"]["resource-version"], stored["metadata"]["resourceVersion"], "{record:#}");
        assert_eq!(record["after"]["uid"], stored["metadata"]["uid"]);
        assert!(!record["changes"].as_array().unwrap().is_empty(), "{record:#}");
    }
    // A second run appends.
    sandbox.write("rolecall.toml", &POLICY.replace("[\"get\"]", "[\"get\", \"list\"]"));
    assert_eq!(run(&sandbox, &["apply", "--auto-approve", "--events", "events.jsonl"]), 0);
    let both = events(&sandbox, "events.jsonl");
    assert_eq!(both[..all.len()], all[..]);
    assert_ne!(both.last().unwrap()["run"], all[0]["run"]);
    let [change] = writes(&both)[3..] else { panic!("{both:#?}") };
    assert_eq!(
        change["before"],
        records.iter().find(|record| record["object"]["kind"] == "ClusterRole").unwrap()["after"]
    );
    assert_eq!(
        change["changes"][0]["fields"][0]["values"],
        json!([
            { "op": "unchanged", "value": "get" }, { "op": "add", "value": "list" },
        ]),
        "{change:#}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(sandbox.path("events.jsonl")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(!sandbox.read("events.jsonl").contains(cluster.admin_token()));
}

#[test]
fn failed_write_is_recorded_with_its_error() {
    let cluster = cluster();
    let proxy = Proxy::start(&cluster, |asked| {
        if asked.matches("POST", "/clusterrolebindings") {
            return ProxyAction::Respond(ProxyResponse::failure(422, "Invalid", "not \u{1b}[31mtoday"));
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    assert_eq!(run(&sandbox, &["apply", "--auto-approve", "--events", "events.jsonl"]), 1);
    let all = events(&sandbox, "events.jsonl");
    let failed: Vec<&Value> = writes(&all).into_iter().filter(|record| record["result"] == "not-made").collect();
    assert_eq!(failed.len(), 1, "{all:#?}");
    assert!(failed[0]["error"].as_str().unwrap().contains("not \u{1b}[31mtoday"), "{:#}", failed[0]);
    assert!(failed[0]["after"].is_null() && failed[0]["number"].is_null());
    let finished = all.iter().find(|event| event["event"] == "apply-finished").unwrap();
    assert_eq!((&finished["succeeded"], &finished["applied"]), (&json!(false), &json!(false)));
    assert_eq!(all.last().unwrap()["exit-code"], json!(1));
    // The file is harmless on a terminal.
    assert!(sandbox.read("events.jsonl").lines().all(|line| !line.contains(char::is_control)));
}

#[test]
fn file_that_has_no_events_is_not_written_to() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &POLICY.replace("context = \"admin\"", "snapshot = \"prod.yaml\""));
    sandbox.write("prod.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n");
    sandbox.ok(&["plan", "--out", "plan.json"]);
    for file in ["rolecall.toml", "prod.yaml", "plan.json"] {
        let before = sandbox.read(file);
        let output = sandbox.run(&["plan", "--events", file]);
        let expected = format!("error: cannot write the events to {file}: the file exists and is not a file of events");
        assert!(output.exit_code == 1 && output.stderr.contains(&expected), "{}", output.stderr);
        assert_eq!(sandbox.read(file), before);
    }
    for (file, reason) in [("missing/events.jsonl", "the directory does not exist"), (".", "it is a directory")] {
        let output = sandbox.run(&["apply", "--auto-approve", "--events", file]);
        assert!(output.exit_code == 1 && output.stderr.contains(reason), "{}", output.stderr);
    }
    assert!(!sandbox.read("prod.yaml").contains("rolecall"), "apply writes nothing without its audit log");
    let output = sandbox.run(&["plan", "--events", "/dev/full"]);
    assert!(
        output.exit_code == 1 && output.stderr.contains("cannot write the events to /dev/full"),
        "{}",
        output.stderr
    );
}
