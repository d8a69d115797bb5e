//! What cannot work says why and what to do, ends with 1, prints no secret and writes nothing.

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

#[cfg(test)]
mod common;

use std::path::{Path, PathBuf};

use common::kubeconfig::with_token;
use common::reset::cluster;
use common::rolecall::{Desk, Ran};
use serde_json::json;

const SECRET: &str = "k8s-aws-v1.c2VjcmV0LXRva2VuLW9mLXNvbWVib2R5";
const ARN: &str = "arn:aws:sts::111122223333:assumed-role/viewer/session";
const MAPPED: &str = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: viewer\n  groups: [viewers]\n";
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

fn desk_at(kubeconfig: PathBuf) -> Desk {
    let desk = Desk::with_kubeconfig(kubeconfig);
    desk.write("rolecall.toml", POLICY);
    desk
}

/// A desk with this text as its kubeconfig.
fn desk_with(kubeconfig: &str) -> Desk {
    let desk = Desk::with_own_kubeconfig(kubeconfig);
    desk.write("rolecall.toml", POLICY);
    desk
}

/// Runs what must fail, says nothing on stdout and holds no secret back there; returns what it says.
#[track_caller]
fn refused(desk: &Desk, args: &[&str]) -> String {
    let ran: Ran = desk.run(args);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "");
    assert!(!ran.err.contains("c2VjcmV0"), "a secret is in: {}", ran.err);
    assert!(ran.err.contains("help:"), "what to do: {}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran.err
}

/// The same for each command that needs the cluster, which say the same.
#[track_caller]
fn refused_by_all(desk: &Desk, place: &[&str]) -> String {
    let said = refused(desk, &[&["plan"], place].concat());
    for command in [&["apply", "--auto-approve"][..], &["drift"], &["snapshot"], &["whoami"]] {
        assert_eq!(refused(desk, &[command, place].concat()), said, "{command:?}");
    }
    said
}

macro_rules! assert_said {
    ($said:expr) => {{
        let filters = vec![
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"/[^\s`]*/(\.tmp\w+)", "[folder]"),
            (r"\(os error \d+\)", "(os error)"),
            (r"failed to lookup address information: [^\n]*", "failed to lookup address information"),
        ];
        insta::with_settings!({ filters => filters, omit_expression => true }, {
            insta::assert_snapshot!($said);
        });
    }};
}

fn nobody_listens() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

#[test]
fn a_cluster_where_nobody_listens() {
    let content = with_token("admin", &nobody_listens(), Path::new("/dev/null"), SECRET);
    let mut content = content;
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    let desk = desk_with(&content.to_string());
    assert_said!(refused_by_all(&desk, &[]));
}

#[test]
fn a_cluster_whose_host_nobody_knows() {
    // A label of 64 letters: no resolver asks anybody for it.
    let server = format!("https://{}.example", "x".repeat(64));
    let mut content = with_token("admin", &server, Path::new(""), SECRET);
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    assert_said!(refused(&desk_with(&content.to_string()), &["plan"]));
}

#[test]
fn a_cluster_with_another_certificate_than_the_kubeconfig_trusts() {
    let cluster = cluster();
    let mut content = with_token("admin", cluster.server(), Path::new(""), SECRET);
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    assert_said!(refused(&desk_with(&content.to_string()), &["plan"]));
}

#[test]
fn a_caller_who_may_not_list() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAPPED }));
    let before = cluster.versions();
    let desk = desk_at(cluster.kubeconfig_for(ARN));
    assert_said!(refused(&desk, &["plan"]));
    refused(&desk, &["apply", "--auto-approve"]);
    refused(&desk, &["snapshot"]);
    assert_eq!(cluster.versions(), before);
}

#[test]
fn a_caller_who_may_list_and_not_write() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAPPED }));
    cluster.kubectl(&["create", "clusterrole", "looks", "--verb=get,list", "--resource=*.*"]);
    cluster.kubectl(&["create", "clusterrolebinding", "looks", "--clusterrole=looks", "--group=viewers"]);
    let before = cluster.versions();
    let desk = desk_at(cluster.kubeconfig_for(ARN));
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1);
    assert_said!(ran.err);
    assert_eq!(cluster.versions(), before);
}

#[test]
fn a_caller_who_would_grant_more_than_he_has() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": MAPPED }));
    cluster.kubectl(&[
        "create",
        "clusterrole",
        "writes",
        "--verb=get,list,create,patch,delete",
        "--resource=*.rbac.authorization.k8s.io,configmaps,namespaces",
    ]);
    cluster.kubectl(&["create", "clusterrolebinding", "writes", "--clusterrole=writes", "--group=viewers"]);
    let before = cluster.versions();
    let desk = desk_at(cluster.kubeconfig_for(ARN));
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1);
    assert_said!(ran.err);
    assert_eq!(cluster.versions(), before);
}

#[test]
fn credentials_that_nobody_knows() {
    let cluster = cluster();
    let expired = with_token("admin", cluster.server(), cluster.ca_file(), SECRET).to_string();
    let said = refused_by_all(&desk_with(&expired), &[]);
    assert_said!(said);
    assert_eq!(
        refused(&desk_at(cluster.kubeconfig_for(ARN)), &["plan"]),
        said,
        "an identity that aws-auth does not map"
    );
}

/// A desk whose kubeconfig has a plugin: a shell script of these lines.
fn desk_with_plugin(script: &str) -> Desk {
    let desk = desk_with("");
    desk.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(desk.path("plugin"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut content = with_token("admin", &nobody_listens(), Path::new(""), "");
    content["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority");
    content["users"][0]["user"] = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": desk.path("plugin"),
        "args": ["get-token"], "env": [{ "name": "PASSWORD", "value": SECRET }],
        "installHint": "see https://example.com/plugin\nfor how to install it",
    } });
    desk.write("kubeconfig", &content.to_string());
    desk
}

#[test]
fn a_plugin_that_fails_prints_nothing_but_its_reason() {
    let desk = desk_with_plugin(&format!("echo {SECRET}\necho 'Error: the SSO session has expired' >&2\nexit 255"));
    assert_said!(refused_by_all(&desk, &[]));
}

#[test]
fn a_plugin_that_fails_and_says_nothing() {
    assert_said!(refused(&desk_with_plugin(&format!("echo {SECRET}\nexit 3")), &["plan"]));
}

#[test]
fn a_plugin_that_prints_no_credential() {
    for printed in [SECRET.to_owned(), format!("'{{\"status\": \"{SECRET}\"}}'"), "'{}'".to_owned(), String::new()] {
        let said = refused(&desk_with_plugin(&format!("echo {printed}")), &["plan"]);
        assert!(said.contains("printed is no ExecCredential"), "{said}");
    }
    let empty =
        "echo '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {}}'";
    assert_said!(refused(&desk_with_plugin(empty), &["plan"]));
}

#[test]
fn a_plugin_that_is_not_there() {
    let desk = desk_with_plugin("");
    std::fs::remove_file(desk.path("plugin")).unwrap();
    assert_said!(refused(&desk, &["plan"]));
}

#[test]
fn a_context_that_the_kubeconfig_does_not_have() {
    let desk = desk_with(&with_token("production", &nobody_listens(), Path::new("/dev/null"), SECRET).to_string());
    assert_said!(refused_by_all(&desk, &["--context", "prodction"]));
    assert_said!(refused(&desk, &["plan", "--context", "other"]));
}

#[test]
fn a_kubeconfig_that_is_not_there() {
    let desk = Desk::offline();
    desk.write("rolecall.toml", POLICY);
    assert_said!(refused_by_all(&desk, &[]));
    assert_said!(refused(&desk, &["plan", "--kubeconfig", "nowhere"]));
}

#[test]
fn a_kubeconfig_that_is_none() {
    let texts = [
        format!("users:\n- name: x\n  user: {{ token: {SECRET}"),
        format!("users:\n  token: {SECRET}\n"),
        format!("{SECRET}\n"),
        format!("users: [{{ name: x, user: {{ token: [{SECRET}] }} }}]\n"),
    ];
    for text in &texts {
        let said = refused(&desk_with(text), &["plan"]);
        assert!(said.contains("is not as in a kubeconfig"), "{said}");
    }
    assert_said!(refused_by_all(&desk_with(&texts[0]), &[]));
    assert_said!(refused(&desk_with(""), &["plan"]));
}

#[test]
fn a_kubeconfig_with_a_wrong_part() {
    let good = with_token("admin", &nobody_listens(), Path::new("/nowhere/ca.crt"), SECRET);
    assert_said!(refused(&desk_with(&good.to_string()), &["plan"]));
    let mut part = good.clone();
    part["clusters"][0]["cluster"] = json!({ "server": format!("https://user:{SECRET}@[") });
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["clusters"][0]["cluster"] = json!({ "server": nobody_listens(), "certificate-authority-data": SECRET });
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["clusters"][0]["cluster"] = json!({});
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["clusters"][0]["cluster"] = json!({ "server": nobody_listens() });
    part["users"][0]["user"] = json!({ "client-certificate-data": SECRET, "client-key-data": SECRET });
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["users"][0]["user"] = json!({ "token": format!("{SECRET}\nx") });
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["users"][0]["user"] = json!({ "tokenFile": "/nowhere/token" });
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["users"] = json!([]);
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part["users"] = good["users"].clone();
    part["contexts"][0]["context"]["cluster"] = json!("gone");
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
    part.as_object_mut().unwrap().remove("current-context");
    assert_said!(refused(&desk_with(&part.to_string()), &["plan"]));
}

fn offline(snapshot: &str) -> Desk {
    let desk = Desk::offline();
    desk.write("rolecall.toml", POLICY).write("now.yaml", snapshot);
    desk
}

/// Refuses, and leaves the file as it is.
#[track_caller]
fn refused_offline(snapshot: &str) -> String {
    let desk = offline(snapshot);
    let said = refused(&desk, &["plan", "--snapshot", "now.yaml"]);
    assert_eq!(refused(&desk, &["apply", "--auto-approve", "--snapshot", "now.yaml"]), said);
    assert_eq!(desk.read("now.yaml"), snapshot);
    said
}

#[test]
fn a_snapshot_that_is_not_yaml() {
    assert_said!(refused_offline("apiVersion: v1\nkind: Namespace\nmetadata: { name: a\n"));
}

#[test]
fn a_snapshot_that_the_api_server_would_refuse() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: a }\n";
    assert_said!(refused_offline(&format!("# first\n{role}---\n{role}rules: [{{ verbs: [], resources: [pods] }}]\n")));
}

#[test]
fn a_snapshot_with_an_object_twice_or_of_no_kind() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: a }\n";
    assert_said!(refused_offline(&format!("{role}---\n{role}")));
    assert_said!(refused_offline("metadata: { name: a }\n"));
    assert_said!(refused_offline("just words\n"));
    assert_said!(refused_offline(&role.replace("/v1", "/v1beta1")));
}

#[test]
fn a_snapshot_that_is_not_there() {
    let desk = offline("");
    std::fs::create_dir(desk.path("empty")).unwrap();
    assert_said!(refused(&desk, &["plan", "--snapshot", "nowhere.yaml"]));
    assert_said!(refused(&desk, &["plan", "--snapshot", "empty"]));
}

fn snapshot_of(map_roles: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws-auth", "namespace": "kube-system" },
        "data": { "mapRoles": map_roles },
    })
    .to_string()
}

#[test]
fn an_aws_auth_that_would_grow_over_a_mebibyte() {
    let cluster = cluster();
    let comment = format!("# {}\n", "x".repeat(1_048_576 - MAPPED.len() - 3));
    let full = format!("{comment}{MAPPED}");
    cluster.set_aws_auth(&json!({ "mapRoles": full }));
    let before = cluster.versions();
    let desk = desk_at(cluster.kubeconfig());
    let said = refused(&desk, &["plan"]);
    assert_said!(said);
    assert_eq!(refused(&desk, &["apply", "--auto-approve"]), said);
    assert_eq!(cluster.versions(), before);
    assert_eq!(refused_offline(&snapshot_of(&full)), said);
}

#[test]
fn a_snapshot_whose_aws_auth_is_over_a_mebibyte() {
    let said = refused_offline(&snapshot_of(&"x".repeat(1_048_577)));
    let shown: String = said.lines().map(|line| line.chars().take(200).collect::<String>() + "\n").collect();
    assert!(said.len() < 5_000, "{} bytes", said.len());
    assert_said!(shown);
}

#[test]
fn an_aws_auth_that_nobody_can_read() {
    let cluster = cluster();
    let broken = format!("{MAPPED}- rolearn: arn:aws:iam::111122223333:role/x\n  username: {{{{SessionName}}}}\n");
    cluster.set_aws_auth(&json!({ "mapRoles": broken }));
    let before = cluster.versions();
    let desk = desk_at(cluster.kubeconfig());
    let said = refused(&desk, &["plan"]);
    assert_said!(said);
    assert_eq!(refused(&desk, &["apply", "--auto-approve"]), said);
    assert_eq!(cluster.versions(), before);
    assert_eq!(refused_offline(&snapshot_of(&broken)), said);
}

#[test]
fn a_policy_that_is_no_toml_or_not_there() {
    let desk = Desk::offline();
    desk.write("rolecall.toml", "[policy\nname = \"p\"\n");
    assert_said!(refused(&desk, &["plan"]));
    std::fs::create_dir(desk.path("empty")).unwrap();
    assert_said!(refused(&desk, &["plan", "empty"]));
    assert_said!(refused(&desk, &["plan", "nowhere.toml"]));
    assert_said!(refused(&Desk::offline(), &["plan"]));
}
