//! `expires` from the policy to the cluster: before its end, at its end and after, in process at a given moment.

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

use std::collections::BTreeMap;
use std::fs;
use std::io;

use common::page::Page;
use rolecall::{Env, Exit, Stdio, Terminals};
use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = r#"[policy]
name = "prod"

[clusters.a]
snapshot = "a.yaml"
[clusters.b]
snapshot = "b.yaml"

[principals.alice]
user = "arn:aws:iam::111122223333:user/alice"
username = "alice"
expires = 2026-10-01

[principals.bob]
user = "arn:aws:iam::111122223333:user/bob"
username = "bob"

[cluster-roles.viewer]
rules = [{ verbs = ["get"], resources = ["pods"] }]

[bindings.both]
cluster-role = "viewer"
principals = ["alice", "bob"]

[bindings.alone]
cluster-role = "viewer"
principals = ["alice"]

[bindings.short]
cluster-role = "viewer"
users = ["carol"]
expires = 2026-10-01T00:00:00Z
"#;

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: kube-system }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, resourceVersion: \"1\" }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eks-nodes # of nobody here
";

/// The policy with its two clusters, in a folder of its own.
fn desk(cluster: &str) -> TempDir {
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("rolecall.toml"), POLICY).unwrap();
    for name in ["a.yaml", "b.yaml"] {
        fs::write(desk.path().join(name), cluster).unwrap();
    }
    desk
}

fn run(desk: &TempDir, now: &str, args: &[&str]) -> (Exit, String, String) {
    let (out, err) = (Page::default(), Page::default());
    let ends = Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
    let cwd = desk.path().to_owned();
    let mut world = Env::new(now.parse().unwrap(), BTreeMap::new(), cwd, ends, Terminals::default());
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut world);
    (exit, out.text(), err.text())
}

#[test]
fn access_comes_is_warned_of_and_goes_with_its_reason() {
    let desk = desk(CLUSTER);
    let early = "2026-09-01T00:00:00Z";
    let (exit, out, err) = run(&desk, early, &["apply", "--auto-approve"]);
    assert_eq!(exit, Exit::Success, "{out}{err}");
    assert!(!err.contains("expires"), "{err}");

    let soon = "2026-09-30T23:59:59Z";
    let (exit, out, err) = run(&desk, soon, &["plan", "--detailed-exitcode"]);
    assert_eq!(exit, Exit::Success, "{out}{err}");
    // Once, though there are two clusters.
    insta::assert_snapshot!(err, @r"
    warning: `principals.alice` expires on 2026-10-01, in less than an hour
      --> rolecall.toml:12:11
       |
    12 | expires = 2026-10-01
       |           ^^^^^^^^^^
       |
       = hint: from then on plan removes it: write a later `expires` if the access is to stay

    warning: `bindings.short` expires at 2026-10-01T00:00:00Z, in less than an hour
      --> rolecall.toml:32:11
       |
    32 | expires = 2026-10-01T00:00:00Z
       |           ^^^^^^^^^^^^^^^^^^^^
       |
       = hint: from then on plan removes it: write a later `expires` if the access is to stay
    ");

    let end = "2026-10-01T00:00:00Z";
    let (exit, out, err) = run(&desk, end, &["plan", "--cluster", "a", "--detailed-exitcode"]);
    assert_eq!(
        (exit, err.as_str()),
        (Exit::ChangesFound, "note: a snapshot has no caller, whose own access could go\n")
    );
    let shown = out.split("Digest").next().unwrap();
    insta::assert_snapshot!(shown, @r"
    a (snapshot a.yaml), policy prod, 4 changes

      - aws-auth user      arn:aws:iam::111122223333:user/alice  expired on 2026-10-01  rolecall.toml:12
          username  - alice
      - ClusterRoleBinding alone  binds nobody any more: alice expired on 2026-10-01  rolecall.toml:12
          roleRef   - ClusterRole viewer
          subjects  - user alice
      ~ ClusterRoleBinding both  alice expired on 2026-10-01                      rolecall.toml:21
          subjects  user bob, - user alice
      - ClusterRoleBinding short  expired at 2026-10-01T00:00:00Z                 rolecall.toml:32
          roleRef   - ClusterRole viewer
          subjects  - user carol

    Access
      - arn:aws:iam::111122223333:user/alice (alice)  loses  get pods in all namespaces  was by alone → viewer, both → viewer
      - user:carol  loses  get pods in all namespaces  was by short → viewer

    Plan: 0 to add, 1 to change, 0 to replace, 3 to remove. 4 objects to write. 0 subjects gain access, 2 lose.
    ");

    let (_, out, _) = run(&desk, end, &["plan", "--cluster", "a", "--format", "json"]);
    let plan: Value = serde_json::from_str(&out).unwrap();
    let places: Vec<String> = plan["plans"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change["action"], change["place"]["line"]))
        .collect();
    assert_eq!(places, ["\"delete\" 12", "\"delete\" 12", "\"update\" 21", "\"delete\" 32"]);

    let (exit, _, err) = run(&desk, end, &["apply", "--auto-approve"]);
    assert_eq!(exit, Exit::Success, "{err}");
    let (_, out, err) = run(&desk, "2027-01-01T00:00:00Z", &["plan", "--cluster", "a"]);
    assert!(out.contains("no changes"), "{out}");
    assert_eq!(err, "");
    let left = fs::read_to_string(desk.path().join("a.yaml")).unwrap();
    assert!(left.contains("role/eks-nodes # of nobody here") && !left.contains("user/alice"), "{left}");
}

/// Listed with an end that has come: what nobody owns goes too, or it would stay for ever behind `no changes`.
#[test]
fn what_has_expired_before_it_was_adopted_goes_and_what_others_own_stays() {
    let cluster = format!(
        "{CLUSTER}  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/Alice
      username: alice
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: short, resourceVersion: \"2\" }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: alone, resourceVersion: \"3\", annotations: {{ rolecall/policy: other }} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }}
"
    );
    let desk = desk(&cluster);
    let (_, out, err) = run(&desk, "2026-11-01T00:00:00Z", &["plan", "--cluster", "a", "--format", "json"]);
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let gone: Vec<String> = plan["plans"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["action"] == "delete")
        .map(|change| format!("{}: {}", change["target"], change["note"]))
        .collect();
    assert_eq!(
        gone,
        [
            r#"{"entry":{"section":"mapUsers","principal":"arn:aws:iam::111122223333:user/Alice"}}: "expired on 2026-10-01; nobody owned it""#,
            r#"{"object":{"kind":"ClusterRoleBinding","namespace":null,"name":"short"}}: "expired at 2026-10-01T00:00:00Z; nobody owned it""#,
        ]
    );
}
