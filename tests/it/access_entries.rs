//! Access entries of live clusters and of snapshots: they are read completely or said to be unknown.

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::cluster;

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const DEPLOYER: &str = "arn:aws:iam::111122223333:role/deployer";
const AWS_AUTH: &str = "\
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer
  groups: [system:masters]
";

fn run(cluster: &TestCluster, sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let mut command = sandbox.command(args);
    let output = command.envs(cluster.aws_env(ADMIN)).env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    output.into()
}

fn run_by_name(cluster: &TestCluster, args: &[&str]) -> RunOutput {
    let eks = ["--eks", cluster.cluster_name(), "--region", "eu-west-1"];
    run(cluster, &Sandbox::offline(), &[args, &eks].concat())
}

/// A cluster in the mode, with an entry by which the tests authenticate.
fn cluster_with_entries(cluster: &TestCluster, mode: &str, entries: &Value) {
    cluster.set_aws_auth(&json!({ "mapRoles": AWS_AUTH }));
    cluster.set_access_entries(&json!([{ "principal_arn": DEPLOYER, "username": "deployer", "groups": [],
        "policies": [{ "policy": "AmazonEKSClusterAdminPolicy" }] }]));
    cluster.set_access_entries(entries);
    cluster.set_authentication_mode(mode);
}

/// The documents of the access entries of a snapshot in JSON, in their order.
fn entry_documents(snapshot: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(snapshot).unwrap_or_else(|error| panic!("{error}: {snapshot}"));
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|item| item["kind"] == "AccessEntry").collect()
}

#[track_caller]
fn snapshot(cluster: &TestCluster) -> Vec<Value> {
    let taken = run_by_name(cluster, &["snapshot", "-o", "json"]);
    assert_eq!(taken.exit_code, 0, "{}{}", taken.stdout, taken.stderr);
    entry_documents(&taken.stdout)
}

fn entries_of_all_types() -> Value {
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let mut entries = vec![
        json!({ "principal_arn": role("team/a/viewer"), "username": "viewer:{{SessionName}}", "groups": ["b", "a"],
            "tags": { "team": "x", "rolecall/policy": "test" },
            "policies": [{ "policy": "AmazonEKSViewPolicy", "namespaces": ["team-*", "web"] },
                { "policy": "AmazonEKSEditPolicy", "namespaces": ["web"] },
                { "policy": "AmazonEKSSomethingNewPolicy" }] }),
        json!({ "principal_arn": "arn:aws:iam::444455556666:user/team/bob", "username": "bob", "groups": ["a"] }),
        json!({ "principal_arn": "arn:aws:iam::444455556666:root", "username": "root-of-other" }),
        json!({ "principal_arn": role("aws-service-role/eks.amazonaws.com/AWSServiceRoleForX"),
            "username": "eks:service", "tags": { "aws:eks:managed": "x" } }),
        json!({ "principal_arn": role("future"), "type": "NEW_NODE_TYPE", "username": "system:node:x" }),
    ];
    for kind in ["EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "HYPERPOD_LINUX", "EC2"] {
        let mut entry = json!({ "principal_arn": role(&kind.to_lowercase()), "type": kind });
        if kind == "EC2" {
            entry["policies"] = json!([{ "policy": "AmazonEKSAutoNodePolicy" }]);
        }
        entries.push(entry);
    }
    json!(entries)
}

#[test]
fn entries_of_all_types_are_read_over_early_pages() {
    let cluster = cluster();
    cluster_with_entries(&cluster, "API_AND_CONFIG_MAP", &entries_of_all_types());
    let name = cluster.cluster_name();
    for page_size in [100, 1, 5] {
        cluster.set_aws_settings(&json!({ "page_size": page_size }));
        let documents = snapshot(&cluster);
        assert_eq!(documents.len(), 12);
        let arns: Vec<&str> = documents.iter().map(|entry| entry["metadata"]["name"].as_str().unwrap()).collect();
        assert!(arns.is_sorted(), "{arns:?}");
        for (document, arn) in documents.iter().zip(&arns) {
            let input = json!({ "clusterName": name, "principalArn": arn });
            let described = cluster.eks_call("DescribeAccessEntry", &input).unwrap();
            let entry = &described["accessEntry"];
            for field in ["type", "username", "kubernetesGroups", "tags"] {
                assert_eq!(document[field], entry[field], "{arn} {field}");
            }
            assert_eq!(document["metadata"]["uid"], entry["accessEntryArn"]);
        }
        let viewer = documents.iter().find(|entry| entry["username"] == "viewer:{{SessionName}}").unwrap();
        let policy = |name: &str| format!("arn:aws:eks::aws:cluster-access-policy/{name}");
        let expected = json!({
            policy("AmazonEKSViewPolicy"): { "type": "namespace", "namespaces": ["team-*", "web"] },
            policy("AmazonEKSEditPolicy"): { "type": "namespace", "namespaces": ["web"] },
            policy("AmazonEKSSomethingNewPolicy"): { "type": "cluster" },
        });
        assert_eq!(viewer["accessPolicies"], expected);
    }
}

#[test]
fn snapshot_answers_as_the_live_cluster_did() {
    let cluster = cluster();
    for mode in ["API_AND_CONFIG_MAP", "API"] {
        cluster_with_entries(&cluster, mode, &entries_of_all_types());
        let sandbox = Sandbox::offline();
        let eks = ["--eks", cluster.cluster_name(), "--region", "eu-west-1"];
        let taken = run(&cluster, &sandbox, &[&["snapshot", "--out", "cluster.yaml"][..], &eks].concat());
        assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
        assert!(!taken.stderr.contains("does not have"), "{}", taken.stderr);
        let shown = sandbox.ok(&["show", "cluster.yaml"]);
        assert!(shown.contains("12 AccessEntry\n") && shown.contains("1 ConfigMap\n"), "{shown}");

        for args in [&["access", "-o", "json"][..], &["who-can", "get", "secrets", "-o", "json"]] {
            let live = run(&cluster, &sandbox, &[args, &eks].concat());
            let offline = sandbox.run(&[args, &["--snapshot", "cluster.yaml"]].concat());
            assert_eq!(live.exit_code, offline.exit_code, "{}{}", live.stderr, offline.stderr);
            let answer = |text: &str| {
                let mut value: Value = serde_json::from_str(text).unwrap();
                // The label of the cluster, and the ids of findings, which depend on it.
                remove_field(&mut value, "cluster");
                remove_field(&mut value, "id");
                value
            };
            let (live, offline) = (answer(&live.stdout), answer(&offline.stdout));
            let (live, offline) = (format!("{live:#}"), format!("{offline:#}"));
            let different = live.lines().zip(offline.lines()).find(|(live, offline)| live != offline);
            assert_eq!((different, live.len()), (None, offline.len()), "{args:?}");
        }

        // A snapshot of the snapshot is the same.
        let again = sandbox.ok(&["snapshot", "--snapshot", "cluster.yaml", "-o", "json"]);
        assert_eq!(entry_documents(&again), snapshot(&cluster));
    }
}

fn remove_field(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove(field);
            fields.values_mut().for_each(|value| remove_field(value, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| remove_field(value, field)),
        _ => {}
    }
}

#[test]
fn thousand_entries_are_read_although_eks_throttles() {
    let cluster = cluster();
    let entries: Vec<Value> = (0..1000)
        .map(|number| {
            json!({ "principal_arn": format!("arn:aws:iam::111122223333:role/r{number}"), "username": format!("u{number}"),
                "policies": [{ "policy": "AmazonEKSViewPolicy", "namespaces": ["web"] }] })
        })
        .collect();
    cluster_with_entries(&cluster, "API", &json!(entries));
    cluster.set_aws_settings(&json!({ "rates": {
        "DescribeAccessEntry": { "per_second": 100, "burst": 10 },
        "ListAssociatedAccessPolicies": { "per_second": 80, "burst": 10 },
    } }));
    let sandbox = Sandbox::offline();
    let eks = ["--eks", cluster.cluster_name(), "--region", "eu-west-1"];
    let args = [&["snapshot", "-o", "json", "--timeout", "10m", "--events", "events.jsonl"][..], &eks].concat();
    let taken = run(&cluster, &sandbox, &args);
    assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
    // The progress.
    let events = sandbox.read("events.jsonl");
    let pages = events.lines().filter(|line| line.contains("\"access entries\""));
    assert!(pages.count() > 50, "{events}");
    let documents = entry_documents(&taken.stdout);
    assert_eq!(documents.len(), 1001);
    assert!(documents.iter().all(|entry| entry["accessPolicies"].as_object().is_some_and(|all| all.len() == 1)));
    let calls = cluster.aws_calls();
    let throttled = calls.iter().filter(|call| call["error"].as_str().is_some_and(|code| code.contains("Throttling")));
    assert!(throttled.count() > 0, "the double throttles");
    let concurrent = calls.iter().filter_map(|call| call["concurrent"].as_u64()).max().unwrap_or_default();
    assert!(concurrent <= 12, "{concurrent} calls at the same time");
}

#[test]
fn missing_permissions_make_the_entries_unknown() {
    let cluster = cluster();
    cluster_with_entries(&cluster, "API_AND_CONFIG_MAP", &entries_of_all_types());
    let denied = |calls: &[&str]| {
        let faults: Vec<Value> = calls
            .iter()
            .map(|call| json!({ "call": call, "code": "AccessDeniedException", "status": 403, "times": 0 }))
            .collect();
        json!(faults)
    };
    let list_policies = "ListAssociatedAccessPolicies";
    for (calls, actions) in [
        (&["ListAccessEntries"][..], "eks:ListAccessEntries"),
        (&["DescribeAccessEntry"], "eks:DescribeAccessEntry"),
        (&[list_policies], "eks:ListAssociatedAccessPolicies"),
        (&["DescribeAccessEntry", list_policies], "eks:DescribeAccessEntry and eks:ListAssociatedAccessPolicies"),
    ] {
        cluster.reset_aws();
        cluster_with_entries(&cluster, "API_AND_CONFIG_MAP", &entries_of_all_types());
        cluster.add_aws_faults(&denied(calls));
        let sandbox = Sandbox::offline();
        let eks = ["--eks", cluster.cluster_name(), "--region", "eu-west-1"];
        let taken = run(&cluster, &sandbox, &[&["snapshot", "--out", "cluster.yaml"][..], &eks].concat());
        assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
        let reason = format!("you are not allowed to call {actions} for the cluster {} in eu-west-1", eks[1]);
        let note = format!("the snapshot does not have the access-entries of EKS: {reason}");
        assert!(taken.stderr.contains(&note), "{}", taken.stderr);
        let text = sandbox.read("cluster.yaml");
        assert!(text.contains("- field: access-entries\n"), "{text}");
        assert!(!text.contains("kind: AccessEntry\n"), "{text}");
    }
}

#[test]
fn entry_that_is_deleted_meanwhile_is_left_out() {
    let cluster = cluster();
    for call in ["DescribeAccessEntry", "ListAssociatedAccessPolicies"] {
        cluster.reset_aws();
        cluster_with_entries(&cluster, "API", &entries_of_all_types());
        cluster.add_aws_faults(&json!([{ "call": call, "code": "ResourceNotFoundException", "status": 404, "times": 1,
            "message": "The specified principalArn could not be found." }]));
        assert_eq!(snapshot(&cluster).len(), 11, "{call}");
    }
}

#[test]
fn other_failure_to_read_entries_is_an_error() {
    let cluster = cluster();
    cluster_with_entries(&cluster, "API", &json!([]));
    cluster.add_aws_faults(&json!([{ "call": "DescribeAccessEntry", "code": "InvalidParameterException",
        "status": 400, "message": "secret text", "times": 0 }]));
    let failed = run_by_name(&cluster, &["access"]);
    assert_eq!(failed.exit_code, 1, "{}{}", failed.stdout, failed.stderr);
    let message = "AWS refused eks:DescribeAccessEntry with `InvalidParameterException` (status 400)";
    assert!(failed.stderr.contains(message) && !failed.stderr.contains("secret text"), "{}", failed.stderr);
}

#[test]
fn mode_without_entries_needs_no_call_about_them() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": AWS_AUTH }));
    assert_eq!(snapshot(&cluster), Vec::<Value>::new());
    let calls = cluster.aws_call_names();
    assert!(!calls.iter().any(|call| call.contains("AccessEntr") || call.contains("AccessPolic")), "{calls:?}");
}

#[test]
fn entries_are_read_for_a_kubeconfig_whose_tokens_rolecall_makes() {
    let cluster = cluster();
    cluster_with_entries(&cluster, "API", &entries_of_all_types());
    let name = cluster.cluster_name();
    let kubeconfig = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "a",
            "cluster": { "server": cluster.server(), "certificate-authority": cluster.ca_file() } }],
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "users": [{ "name": "a", "user": { "exec": { "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "aws", "args": ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", name] } } }] });
    let sandbox = Sandbox::with_kubeconfig_text(&kubeconfig.to_string());
    let taken = run(&cluster, &sandbox, &["snapshot", "-o", "json"]);
    assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
    assert_eq!(entry_documents(&taken.stdout).len(), 12);

    // The right to describe the cluster is optional.
    cluster.add_aws_faults(
        &json!([{ "call": "DescribeCluster", "code": "AccessDeniedException", "status": 403, "times": 0 }]),
    );
    let taken = run(&cluster, &sandbox, &["snapshot"]);
    assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
    for field in ["authentication-mode", "access-entries"] {
        assert!(taken.stdout.contains(&format!("- field: {field}\n")), "{}", taken.stdout);
    }
    let answered = run(&cluster, &sandbox, &["who-can", "get", "pods"]);
    assert_eq!(answered.exit_code, 0, "{}{}", answered.stdout, answered.stderr);
    assert!(answered.stderr.contains("you are not allowed to call eks:DescribeCluster"), "{}", answered.stderr);
}

#[test]
fn invalid_document_of_an_entry_is_refused_with_its_line() {
    let entry = |fields: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kube-system\n---\napiVersion: rolecall/v1\n\
             kind: AccessEntry\nmetadata:\n  name: arn:aws:iam::111122223333:role/a\n{fields}"
        )
    };
    let sandbox = Sandbox::offline();
    let duplicate = format!(
        "{}---\napiVersion: rolecall/v1\nkind: AccessEntry\nmetadata:\n  name: arn:aws:iam::111122223333:role/a\n",
        entry("")
    );
    for (text, error) in [
        (duplicate, "duplicate access entry arn:aws:iam::111122223333:role/a"),
        (entry("username: 1\n"), "username: expected a text"),
        (
            entry("accessPolicies:\n  arn:aws:eks::aws:cluster-access-policy/X: { type: namespace }\n"),
            "an access policy with the scope `namespace` needs at least one namespace",
        ),
        (entry("").replace("arn:aws:iam", "role"), "metadata.name: must be the ARN of a principal"),
        (entry("").replace("rolecall/v1", "rolecall/v2"), "AccessEntry of rolecall/v2 is of a newer rolecall"),
    ] {
        sandbox.write("cluster.yaml", &text);
        let output = sandbox.run(&["access", "--snapshot", "cluster.yaml"]);
        assert_eq!(output.exit_code, 1, "{text}{}", output.stdout);
        assert!(output.stderr.contains(error) && output.stderr.contains("cluster.yaml:"), "{}", output.stderr);
    }
}
