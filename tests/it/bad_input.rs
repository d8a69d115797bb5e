//! Tests what is reported for unreachable clusters, refused callers and invalid input. Each error says the reason and the
//! next action, exits with 1, prints no secret and writes nothing.

use std::path::{Path, PathBuf};

use crate::common::TestCluster;
use crate::common::kubeconfig::with_token;
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::cluster;
use serde_json::json;

const SECRET: &str = "k8s-aws-v1.c2VjcmV0LXRva2VuLW9mLWEtdXNlcg";
const ARN: &str = "arn:aws:sts::111122223333:assumed-role/viewer/session";
const MAP_ROLES: &str = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: viewer\n  groups: [viewers]\n";
const POLICY: &str = r#"
[policy]
name = "p"
[principals.bob]
user = "arn:aws:iam::111122223333:user/bob"
groups = ["g"]
[groups.g]
[cluster-roles.secrets]
rules = [{ verbs = ["get"], resources = ["secrets"] }]
[bindings.secrets]
cluster-role = "secrets"
groups = ["g"]
"#;

fn sandbox_at(kubeconfig: PathBuf) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig(kubeconfig);
    sandbox.write("rolecall.toml", POLICY);
    sandbox
}

/// A folder with the policy and a kubeconfig with this text.
fn sandbox_with(kubeconfig: &str) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig_text(kubeconfig);
    sandbox.write("rolecall.toml", POLICY);
    sandbox
}

/// Runs a command that must fail with exit code 1, nothing on stdout and no secret in the message. Returns the message.
#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str]) -> String {
    let output: RunOutput = sandbox.run(args);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert_eq!(output.stdout, "");
    assert!(!output.stderr.contains("c2VjcmV0"), "the message contains a secret: {}", output.stderr);
    assert!(output.stderr.contains("help:"), "the message has no help: {}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    output.stderr
}

/// Like [`refused`], for each command that needs the cluster. All must print the same message.
#[track_caller]
fn refused_by_all_commands(sandbox: &Sandbox, cluster_args: &[&str]) -> String {
    let message = refused(sandbox, &[&["plan"], cluster_args].concat());
    for command in [&["apply", "--auto-approve"][..], &["drift"], &["snapshot"], &["whoami"]] {
        assert_eq!(refused(sandbox, &[command, cluster_args].concat()), message, "{command:?}");
    }
    message
}

macro_rules! assert_message {
    ($message:expr) => {{
        let filters = vec![
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"/[^\s`]*/(\.tmp\w+)", "[folder]"),
            (r"\(os error \d+\)", "(os error)"),
            (r"failed to lookup address information: [^\n]*", "failed to lookup address information"),
        ];
        insta::with_settings!({ filters => filters, omit_expression => true }, {
            insta::assert_snapshot!($message);
        });
    }};
}

/// The URL of a port that refuses connections.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

#[test]
fn refused_connection_is_reported() {
    let content = with_token("admin", &closed_port(), Path::new("/dev/null"), SECRET);
    let mut content = content;
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    let sandbox = sandbox_with(&content.to_string());
    assert_message!(refused_by_all_commands(&sandbox, &[]));
}

#[test]
fn unknown_host_is_reported() {
    // A DNS label has at most 63 characters, so no resolver sends a query for this name.
    let server = format!("https://{}.example", "x".repeat(64));
    let mut content = with_token("admin", &server, Path::new(""), SECRET);
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    assert_message!(refused(&sandbox_with(&content.to_string()), &["plan"]));
}

#[test]
fn untrusted_server_certificate_is_reported() {
    let cluster = cluster();
    let mut content = with_token("admin", cluster.server(), Path::new(""), SECRET);
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    assert_message!(refused(&sandbox_with(&content.to_string()), &["plan"]));
}

#[test]
fn caller_without_list_permission_is_refused() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAP_ROLES }));
    let before = cluster.object_metadata();
    let sandbox = sandbox_at(cluster.kubeconfig_for(ARN));
    assert_message!(refused(&sandbox, &["plan"]));
    refused(&sandbox, &["apply", "--auto-approve"]);
    refused(&sandbox, &["snapshot"]);
    assert_eq!(cluster.object_metadata(), before);
}

#[test]
fn caller_without_write_permission_is_refused() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAP_ROLES }));
    cluster.kubectl(&["create", "clusterrole", "looks", "--verb=get,list", "--resource=*.*"]);
    cluster.kubectl(&["create", "clusterrolebinding", "looks", "--clusterrole=looks", "--group=viewers"]);
    let before = cluster.object_metadata();
    let sandbox = sandbox_at(cluster.kubeconfig_for(ARN));
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1);
    assert_message!(output.stderr);
    assert_eq!(cluster.object_metadata(), before);
}

#[test]
fn caller_that_grants_more_than_it_has_is_refused() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAP_ROLES }));
    cluster.kubectl(&[
        "create",
        "clusterrole",
        "writes",
        "--verb=get,list,create,patch,delete",
        "--resource=*.rbac.authorization.k8s.io,configmaps,namespaces",
    ]);
    cluster.kubectl(&["create", "clusterrolebinding", "writes", "--clusterrole=writes", "--group=viewers"]);
    let before = cluster.object_metadata();
    let sandbox = sandbox_at(cluster.kubeconfig_for(ARN));
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1);
    assert_message!(output.stderr);
    assert_eq!(cluster.object_metadata(), before);
}

#[test]
fn unknown_credentials_are_reported() {
    let cluster = cluster();
    let expired = with_token("admin", cluster.server(), cluster.ca_file(), SECRET).to_string();
    let message = refused_by_all_commands(&sandbox_with(&expired), &[]);
    assert_message!(message);
    assert_eq!(
        refused(&sandbox_at(cluster.kubeconfig_for(ARN)), &["plan"]),
        message,
        "an identity that aws-auth does not map"
    );
}

/// A folder whose kubeconfig has a credential plugin: a shell script with these lines.
fn sandbox_with_plugin(script: &str) -> Sandbox {
    let sandbox = sandbox_with("");
    sandbox.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(sandbox.path("plugin"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut content = with_token("admin", &closed_port(), Path::new(""), "");
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    content["users"][0]["user"] = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": sandbox.path("plugin"),
        "args": ["get-token"], "env": [{ "name": "PASSWORD", "value": SECRET }],
        "installHint": "see https://example.com/plugin\nfor how to install it",
    } });
    sandbox.write("kubeconfig", &content.to_string());
    sandbox
}

#[test]
fn failing_plugin_is_reported_with_its_stderr_only() {
    let sandbox =
        sandbox_with_plugin(&format!("echo {SECRET}\necho 'Error: the SSO session has expired' >&2\nexit 255"));
    assert_message!(refused_by_all_commands(&sandbox, &[]));
}

#[test]
fn failing_plugin_without_stderr_is_reported() {
    assert_message!(refused(&sandbox_with_plugin(&format!("echo {SECRET}\nexit 3")), &["plan"]));
}

#[test]
fn plugin_without_a_valid_exec_credential_is_reported() {
    for output in [SECRET.to_owned(), format!("'{{\"status\": \"{SECRET}\"}}'"), "'{}'".to_owned(), String::new()] {
        let message = refused(&sandbox_with_plugin(&format!("echo {output}")), &["plan"]);
        assert!(message.contains("is not a valid ExecCredential"), "{message}");
    }
    let empty =
        "echo '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {}}'";
    assert_message!(refused(&sandbox_with_plugin(empty), &["plan"]));
}

#[test]
fn missing_plugin_is_reported() {
    let sandbox = sandbox_with_plugin("");
    std::fs::remove_file(sandbox.path("plugin")).unwrap();
    assert_message!(refused(&sandbox, &["plan"]));
}

#[test]
fn unknown_context_is_reported_with_a_suggestion() {
    let sandbox = sandbox_with(&with_token("production", &closed_port(), Path::new("/dev/null"), SECRET).to_string());
    assert_message!(refused_by_all_commands(&sandbox, &["--context", "prodction"]));
    assert_message!(refused(&sandbox, &["plan", "--context", "other"]));
}

#[test]
fn missing_kubeconfig_is_reported() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY);
    assert_message!(refused_by_all_commands(&sandbox, &[]));
    assert_message!(refused(&sandbox, &["plan", "--kubeconfig", "nowhere"]));
}

#[test]
fn malformed_kubeconfig_is_reported() {
    let texts = [
        format!("users:\n- name: x\n  user: {{ token: {SECRET}"),
        format!("users:\n  token: {SECRET}\n"),
        format!("{SECRET}\n"),
        format!("users: [{{ name: x, user: {{ token: [{SECRET}] }} }}]\n"),
    ];
    for text in &texts {
        let message = refused(&sandbox_with(text), &["plan"]);
        assert!(message.contains("kubeconfig is not valid"), "{message}");
    }
    assert_message!(refused_by_all_commands(&sandbox_with(&texts[0]), &[]));
    assert_message!(refused(&sandbox_with(""), &["plan"]));
}

#[test]
fn invalid_kubeconfig_field_is_reported() {
    let valid = with_token("admin", &closed_port(), Path::new("/nowhere/ca.crt"), SECRET);
    assert_message!(refused(&sandbox_with(&valid.to_string()), &["plan"]));
    let mut invalid = valid.clone();
    invalid["clusters"][0]["cluster"] = json!({ "server": format!("https://user:{SECRET}@[") });
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["clusters"][0]["cluster"] = json!({ "server": closed_port(), "certificate-authority-data": SECRET });
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["clusters"][0]["cluster"] = json!({});
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["clusters"][0]["cluster"] = json!({ "server": closed_port() });
    invalid["users"][0]["user"] = json!({ "client-certificate-data": SECRET, "client-key-data": SECRET });
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["users"][0]["user"] = json!({ "token": format!("{SECRET}\nx") });
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["users"][0]["user"] = json!({ "tokenFile": "/nowhere/token" });
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["users"] = json!([]);
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid["users"] = valid["users"].clone();
    invalid["contexts"][0]["context"]["cluster"] = json!("gone");
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
    invalid.as_object_mut().unwrap().remove("current-context");
    assert_message!(refused(&sandbox_with(&invalid.to_string()), &["plan"]));
}

fn offline(snapshot: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY).write("now.yaml", snapshot);
    sandbox
}

/// `plan` and `apply` must refuse this snapshot with the same message and leave the file unchanged.
#[track_caller]
fn refused_offline(snapshot: &str) -> String {
    let sandbox = offline(snapshot);
    let message = refused(&sandbox, &["plan", "--snapshot", "now.yaml"]);
    assert_eq!(refused(&sandbox, &["apply", "--auto-approve", "--snapshot", "now.yaml"]), message);
    assert_eq!(sandbox.read("now.yaml"), snapshot);
    message
}

#[test]
fn snapshot_with_invalid_yaml_is_reported() {
    assert_message!(refused_offline("apiVersion: v1\nkind: Namespace\nmetadata: { name: a\n"));
}

#[test]
fn snapshot_with_an_invalid_object_is_reported() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: a }\n";
    assert_message!(refused_offline(&format!(
        "# first\n{role}---\n{role}rules: [{{ verbs: [], resources: [pods] }}]\n"
    )));
}

#[test]
fn snapshot_with_duplicate_or_unknown_objects_is_reported() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: a }\n";
    assert_message!(refused_offline(&format!("{role}---\n{role}")));
    assert_message!(refused_offline("metadata: { name: a }\n"));
    assert_message!(refused_offline("just words\n"));
    assert_message!(refused_offline(&role.replace("/v1", "/v1beta1")));
}

#[test]
fn missing_snapshot_is_reported() {
    let sandbox = offline("");
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    assert_message!(refused(&sandbox, &["plan", "--snapshot", "nowhere.yaml"]));
    assert_message!(refused(&sandbox, &["plan", "--snapshot", "empty"]));
}

fn aws_auth_snapshot(map_roles: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
        "data": { "mapRoles": map_roles },
    })
    .to_string()
}

/// The message that refuses a mapRoles text: the same for plan, apply and a snapshot. Nothing is written.
fn refused_with_map_roles(cluster: &TestCluster, map_roles: &str) -> String {
    cluster.set_aws_auth(&json!({ "mapRoles": map_roles }));
    let before = cluster.object_metadata();
    let sandbox = sandbox_at(cluster.kubeconfig());
    let message = refused(&sandbox, &["plan"]);
    assert_eq!(refused(&sandbox, &["apply", "--auto-approve"]), message);
    assert_eq!(cluster.object_metadata(), before);
    assert_eq!(refused_offline(&aws_auth_snapshot(map_roles)), message);
    message
}

#[test]
fn aws_auth_that_would_exceed_one_mebibyte_is_refused() {
    let cluster = cluster();
    let comment = format!("# {}\n", "x".repeat(1_048_576 - MAP_ROLES.len() - 3));
    let full = format!("{comment}{MAP_ROLES}");
    assert_message!(refused_with_map_roles(&cluster, &full));
}

#[test]
fn snapshot_with_aws_auth_over_one_mebibyte_is_refused() {
    let message = refused_offline(&aws_auth_snapshot(&"x".repeat(1_048_577)));
    let shown: String = message.lines().map(|line| line.chars().take(200).collect::<String>() + "\n").collect();
    assert!(message.len() < 5_000, "{} bytes", message.len());
    assert_message!(shown);
}

#[test]
fn unreadable_aws_auth_is_refused_and_left_unchanged() {
    let cluster = cluster();
    let broken = format!("{MAP_ROLES}- rolearn: arn:aws:iam::111122223333:role/x\n  username: {{{{SessionName}}}}\n");
    assert_message!(refused_with_map_roles(&cluster, &broken));
}

#[test]
fn malformed_or_missing_policy_is_reported() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", "[policy\nname = \"p\"\n");
    assert_message!(refused(&sandbox, &["plan"]));
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    assert_message!(refused(&sandbox, &["plan", "empty"]));
    assert_message!(refused(&sandbox, &["plan", "nowhere.toml"]));
    assert_message!(refused(&Sandbox::offline(), &["plan"]));
}
