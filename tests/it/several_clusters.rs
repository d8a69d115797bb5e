//! Several clusters of one command: they are worked on at the same time, and the results are in the order of the policy.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::CLUSTER;

const POLICY: &str = r#"
[policy]
name = "several"
[groups.developers]
[cluster-roles.reader]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["developers"]
"#;

const NAMES: [&str; 5] = ["alpha", "bravo", "charlie", "delta", "echo"];

fn snapshot(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n")
}

/// A policy with five snapshots. `change` changes the table of a cluster.
fn five_clusters(change: impl Fn(&str) -> Option<String>) -> Sandbox {
    let sandbox = Sandbox::offline();
    let mut policy = POLICY.to_owned();
    for name in NAMES {
        sandbox.write(&format!("{name}.yaml"), &snapshot(name));
        let connection = change(name).unwrap_or_else(|| format!("snapshot = \"{name}.yaml\""));
        policy.push_str(&format!("[clusters.{name}]\n{connection}\n"));
    }
    sandbox.write("rolecall.toml", &policy);
    sandbox
}

/// A server that accepts connections and never answers.
fn hanging_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let connections: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(connections);
    });
    format!("http://{address}")
}

fn write_kubeconfig(sandbox: &Sandbox, servers: &[(&str, &str)]) {
    let clusters: Vec<Value> =
        servers.iter().map(|(name, server)| json!({ "name": name, "cluster": { "server": server } })).collect();
    let contexts: Vec<Value> =
        servers.iter().map(|(name, _)| json!({ "name": name, "context": { "cluster": name, "user": "u" } })).collect();
    let user = json!({ "name": "u", "user": { "token": "t" } });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts, "users": [user],
    });
    sandbox.write("kubeconfig", &config.to_string());
}

/// The names of the clusters in the titles of the plans.
fn planned(stdout: &str) -> Vec<&str> {
    stdout
        .lines()
        .filter_map(|line| line.split_once(" (").filter(|_| line.contains(", policy several")))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn output_does_not_depend_on_the_number_of_threads() {
    let sandbox = five_clusters(|_| None);
    let outputs: Vec<RunOutput> =
        ["1", "2", "8", "256"].iter().map(|number| sandbox.run(&["plan", "--parallel", number])).collect();
    let first = &outputs[0];
    assert_eq!(first.exit_code, 0, "{}", first.stderr);
    assert_eq!(planned(&first.stdout), NAMES, "{}", first.stdout);
    assert!(first.stdout.ends_with("\n\n5 clusters: 5 with changes\n"), "{}", first.stdout);
    for output in &outputs {
        assert_eq!((&output.stdout, &output.stderr), (&first.stdout, &first.stderr));
    }
    for number in ["0", "257", "x"] {
        let output = sandbox.run(&["plan", "--parallel", number]);
        assert!(
            output.exit_code == 1 && output.stderr.contains("expected a number from 1 to 256"),
            "{}",
            output.stderr
        );
    }
    let documents: Value = serde_json::from_str(&sandbox.ok(&["plan", "-o", "json"])).unwrap();
    let names: Vec<&str> =
        documents["plans"].as_array().unwrap().iter().map(|plan| plan["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
}

#[test]
fn failing_and_hanging_clusters_do_not_hide_the_others() {
    let sandbox = five_clusters(|name| match name {
        "bravo" => Some("context = \"refused\"".to_owned()),
        "delta" => Some("context = \"hanging\"".to_owned()),
        _ => None,
    });
    write_kubeconfig(&sandbox, &[("refused", "http://127.0.0.1:9"), ("hanging", &hanging_server())]);
    for command in ["plan", "drift"] {
        let started = Instant::now();
        let output = sandbox.run(&[command, "--kubeconfig", "kubeconfig", "--timeout", "3s", "--parallel", "2"]);
        assert!(started.elapsed() < Duration::from_mins(1));
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert_eq!(planned(&output.stdout), ["alpha", "charlie", "echo"], "{}", output.stdout);
        assert!(output.stdout.ends_with("\n5 clusters: 3 with changes, 2 failed\n"), "{}", output.stdout);
        let bravo = output.stderr.find("error: cluster `bravo`: cannot connect").expect(&output.stderr);
        let delta = output
            .stderr
            .find("error: cluster `delta`: reading the cluster delta timed out after 3s")
            .expect(&output.stderr);
        assert!(bravo < delta, "{}", output.stderr);
    }
    let output = sandbox.run(&["apply", "--kubeconfig", "kubeconfig", "--timeout", "3s", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert_eq!(sandbox.read("alpha.yaml"), snapshot("alpha"), "apply writes nothing if a cluster cannot be planned");
}

#[test]
fn exit_code_is_the_worst_of_all_clusters() {
    let invariant = "[[invariants]]\ngroup = \"developers\"\ncannot = { verb = \"get\", resource = \"pods\" }\n";
    let sandbox = five_clusters(|_| None);
    let policy = sandbox.read("rolecall.toml");
    let exit_code = |policy: &str, args: &[&str]| {
        sandbox.write("rolecall.toml", policy);
        sandbox.run(&[&["plan", "--detailed-exitcode"], args].concat()).exit_code
    };
    assert_eq!(exit_code(&policy, &[]), 2);
    let refused = policy.clone() + invariant;
    assert_eq!(exit_code(&refused, &[]), 3);
    let missing = refused.replace("snapshot = \"echo.yaml\"", "snapshot = \"missing.yaml\"");
    assert_eq!(exit_code(&missing, &[]), 1);
}

#[test]
fn apply_writes_all_clusters_and_reports_them_in_order() {
    let sandbox = five_clusters(|_| None);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let applied: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("Applied to ")).collect();
    let mut expected: Vec<String> =
        NAMES.iter().map(|name| format!("Applied to {name} (snapshot {name}.yaml): 2 writes made.")).collect();
    expected.push("Applied to 5 of 5 clusters: 10 writes made.".to_owned());
    assert_eq!(applied, expected);
    for name in NAMES {
        assert!(sandbox.read(&format!("{name}.yaml")).contains("rolecall/policy"), "{name}");
        // The lines of the clusters alternate, so each names its cluster.
        assert_eq!(output.stderr.matches(&format!("\n{name}: [")).count(), 2, "{}", output.stderr);
    }
    let output = sandbox.ok(&["plan", "--detailed-exitcode"]);
    assert!(output.ends_with("\n5 clusters: 5 without changes\n"), "{output}");
}

/// With one cluster at a time, a failure stops before the next one. Clusters that are written at the same time finish.
#[test]
fn failed_write_stops_the_clusters_that_are_not_started() {
    for (parallel, writes_last) in [("1", false), ("3", true)] {
        let (_guard, cluster) = CLUSTER.lock();
        let proxy = Proxy::start(cluster, move |asked| {
            if asked.matches("POST", "/clusterroles") {
                // The other clusters are written meanwhile.
                thread::sleep(Duration::from_secs(if writes_last { 2 } else { 0 }));
                return ProxyAction::Respond(ProxyResponse::failure(422, "Invalid", "not today"));
            }
            ProxyAction::Forward
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        let clusters = "[clusters.a]\nsnapshot = \"a.yaml\"\n[clusters.b]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n\
                        [clusters.c]\nsnapshot = \"c.yaml\"\n";
        sandbox.write("rolecall.toml", &format!("{POLICY}{clusters}"));
        sandbox.write("a.yaml", &snapshot("a")).write("c.yaml", &snapshot("c"));
        let output = sandbox.run(&["apply", "--auto-approve", "--parallel", parallel]);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        let expected = "error: b (context admin): could not create ClusterRole reader: invalid object: not today";
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert!(sandbox.read("a.yaml").contains("rolecall/policy"), "{}", output.stderr);
        assert_eq!(sandbox.read("c.yaml").contains("rolecall/policy"), writes_last, "{}", output.stderr);
        assert_eq!(output.stderr.contains("Not started: c (snapshot c.yaml)\n"), !writes_last, "{}", output.stderr);
        let summary =
            if writes_last { "Applied to 2 of 3 clusters: 4 writes" } else { "Applied to 1 of 3 clusters: 2 writes" };
        assert!(output.stdout.contains(summary), "{}", output.stdout);
        // The Lease of the cluster that failed is released.
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/rolecall";
        assert_eq!(cluster.admin("GET", leases, None).1["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    }
}

#[test]
fn questions_are_answered_for_all_clusters_in_order() {
    let sandbox = five_clusters(|_| None);
    let output = sandbox.ok(&["can", "group:developers", "get", "pods", "--after", "-n", "default", "--parallel", "3"]);
    let names: Vec<&str> = output.lines().filter_map(|line| line.split_once(" (")).map(|(name, _)| name).collect();
    assert_eq!(names, NAMES, "{output}");
    assert!(output.lines().all(|line| line.contains(": yes")), "{output}");
}

#[test]
fn cluster_that_cannot_be_read_does_not_hide_the_answers_for_the_others() {
    let sandbox = five_clusters(|name| (name == "bravo").then(|| "context = \"refused\"".to_owned()));
    write_kubeconfig(&sandbox, &[("refused", "http://127.0.0.1:9")]);
    let can = ["can", "group:developers", "get", "pods", "--after"];
    for (args, exit_code) in [(&can[..], 2), (&["who-can", "get", "pods", "--after"], 2), (&["access", "--after"], 1)] {
        let output = sandbox.run(&[args, &["--kubeconfig", "kubeconfig"]].concat());
        assert_eq!(output.exit_code, exit_code, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("error: cluster `bravo`: cannot connect"), "{}", output.stderr);
        for name in NAMES {
            assert_eq!(output.stdout.contains(&format!("{name} (snapshot")), name != "bravo", "{}", output.stdout);
        }
        let output = sandbox.run(&[args, &["--kubeconfig", "kubeconfig", "-o", "json"]].concat());
        let document: Value = serde_json::from_str(&output.stdout).expect("one document");
        assert!(document.get("diagnostics").is_some(), "{document:#}");
    }
}

/// Two plugins that can prompt never run at the same time, and their time does not count for the other cluster.
#[test]
fn credential_plugins_that_can_prompt_run_one_after_the_other() {
    let Some(mut terminal) = Pseudoterminal::open() else {
        println!("skipped: the program `script` is missing");
        return;
    };
    let sandbox = &terminal.sandbox;
    let credential =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    sandbox.write("plugin", &format!("#!/bin/sh\necho start >> log\nsleep 1\necho end >> log\necho '{credential}'\n"));
    let plugin = sandbox.path("plugin");
    std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "IfAvailable",
    });
    let mut policy = POLICY.to_owned();
    let (mut clusters, mut contexts) = (Vec::new(), Vec::new());
    for name in NAMES {
        policy.push_str(&format!("[clusters.{name}]\ncontext = \"{name}\"\n"));
        clusters.push(json!({ "name": name, "cluster": { "server": "http://127.0.0.1:9" } }));
        contexts.push(json!({ "name": name, "context": { "cluster": name, "user": "u" } }));
    }
    sandbox.write("rolecall.toml", &policy);
    let users = json!([{ "name": "u", "user": { "exec": exec } }]);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts, "users": users,
    });
    sandbox.write("config", &config.to_string());
    let output = terminal.run(&["plan", "--kubeconfig", "config", "--timeout", "4s"]);
    let log = BufReader::new(std::fs::File::open(terminal.sandbox.path("log")).unwrap()).lines();
    let log: Vec<String> = log.map(Result::unwrap).collect();
    let expected: Vec<&str> = NAMES.iter().flat_map(|_| ["start", "end"]).collect();
    assert_eq!(log, expected, "{output}");
    // The last cluster waits for four others, longer than its limit.
    assert_eq!(output.matches("cannot connect to the cluster").count(), NAMES.len(), "{output}");
}

/// Runs rolecall in a terminal, with the program `script` of util-linux.
struct Pseudoterminal {
    sandbox: Sandbox,
}

impl Pseudoterminal {
    fn open() -> Option<Self> {
        let has_script = std::process::Command::new("script").arg("--version").output().is_ok();
        has_script.then(|| Self { sandbox: Sandbox::offline() })
    }

    fn run(&mut self, args: &[&str]) -> String {
        let program = env!("CARGO_BIN_EXE_rolecall");
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--command", &format!("{program} {}", args.join(" ")), "/dev/null"]);
        command.current_dir(self.sandbox.path("")).env("TERM", "dumb");
        let output = command.output().expect("script cannot be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// 50 snapshots on two cores. Run it alone on a machine that is not busy:
/// `cargo test --release --test it several_clusters::fifty -- --ignored --nocapture`.
#[test]
#[ignore = "measures time"]
fn fifty_snapshots_are_planned_at_least_1_6_times_faster_on_two_cores() {
    let sandbox = Sandbox::offline();
    let mut policy = POLICY.to_owned();
    for number in 0..50 {
        let mut text = snapshot(&format!("ns-{number}"));
        for role in 0..1000 {
            text.push_str(&format!(
                "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: role-{role} }}\n\
                 rules: [{{ apiGroups: [\"\"], resources: [pods, services], verbs: [get, list, watch] }}]\n\
                 ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{ name: bind-{role} }}\n\
                 roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-{role} }}\n\
                 subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: group-{role} }}]\n"
            ));
        }
        sandbox.write(&format!("c{number}.yaml"), &text);
        policy.push_str(&format!("[clusters.c{number}]\nsnapshot = \"c{number}.yaml\"\n"));
    }
    sandbox.write("rolecall.toml", &policy);
    let time = |parallel: &str| {
        let started = Instant::now();
        sandbox.ok(&["plan", "--parallel", parallel]);
        started.elapsed()
    };
    let best = |parallel: &str| (0..3).map(|_| time(parallel)).min().unwrap();
    let (alone, together) = (best("1"), best("2"));
    let factor = alone.as_secs_f64() / together.as_secs_f64();
    println!("one after the other {alone:.2?}, two at a time {together:.2?}: {factor:.2} times faster");
    assert!(factor >= 1.6, "{factor:.2}");
}
