//! Tests `expires` in a policy before, at and after the expiry time. The program runs in process with a fixed clock.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::common::captured_output::CapturedOutput;
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
    - rolearn: arn:aws:iam::111122223333:role/eks-nodes # unmanaged
";

/// A folder with the policy and its two snapshot clusters.
fn sandbox(cluster: &str) -> TempDir {
    let sandbox = TempDir::new().unwrap();
    fs::write(sandbox.path().join("rolecall.toml"), POLICY).unwrap();
    for name in ["a.yaml", "b.yaml"] {
        fs::write(sandbox.path().join(name), cluster).unwrap();
    }
    sandbox
}

fn run(sandbox: &TempDir, now: &str, args: &[&str]) -> (Exit, String, String) {
    let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
    let stdio = Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
    let cwd = sandbox.path().to_owned();
    let mut env = Env::new(now.parse().unwrap(), BTreeMap::new(), cwd, stdio, Terminals::default());
    let args = std::iter::once("rolecall").chain(args.iter().copied()).map(Into::into);
    let exit = rolecall::run(args, &mut env);
    (exit, out.text(), err.text())
}

#[test]
fn expiring_access_is_warned_about_and_removed_with_its_reason() {
    let sandbox = sandbox(CLUSTER);
    let early = "2026-09-01T00:00:00Z";
    let (exit, out, err) = run(&sandbox, early, &["apply", "--auto-approve"]);
    assert_eq!(exit, Exit::Success, "{out}{err}");
    assert!(!err.contains("expires"), "{err}");

    let soon = "2026-09-30T23:59:59Z";
    let (exit, out, err) = run(&sandbox, soon, &["plan", "--detailed-exitcode"]);
    assert_eq!(exit, Exit::Success, "{out}{err}");
    // Each warning is printed once, although the policy has two clusters.
    insta::assert_snapshot!(err, @r"
    warning: `principals.alice` expires on 2026-10-01, in less than an hour
      --> rolecall.toml:12:11
       |
    12 | expires = 2026-10-01
       |           ^^^^^^^^^^
       |
       = note: plan removes it after that
       = help: to keep the access, set a later `expires`

    warning: `bindings.short` expires at 2026-10-01T00:00:00Z, in less than an hour
      --> rolecall.toml:32:11
       |
    32 | expires = 2026-10-01T00:00:00Z
       |           ^^^^^^^^^^^^^^^^^^^^
       |
       = note: plan removes it after that
       = help: to keep the access, set a later `expires`
    ");

    let end = "2026-10-01T00:00:00Z";
    let (exit, out, err) = run(&sandbox, end, &["plan", "--cluster", "a", "--detailed-exitcode"]);
    assert_eq!((exit, err.as_str()), (Exit::ChangesFound, "note: lock-out check skipped: a snapshot has no caller\n"));
    let shown = out.split("Digest").next().unwrap();
    insta::assert_snapshot!(shown, @r"
    a (snapshot a.yaml), policy prod, 4 changes

      - aws-auth user      arn:aws:iam::111122223333:user/alice  expired on 2026-10-01  rolecall.toml:12
          username  - alice
      - ClusterRoleBinding alone  all subjects have expired: alice expired on 2026-10-01  rolecall.toml:12
          roleRef   - ClusterRole viewer
          subjects  - user alice
      ~ ClusterRoleBinding both  alice expired on 2026-10-01                      rolecall.toml:21
          subjects  user bob, - user alice
      - ClusterRoleBinding short  expired at 2026-10-01T00:00:00Z                 rolecall.toml:32
          roleRef   - ClusterRole viewer
          subjects  - user carol

    Who gains and loses access
      - arn:aws:iam::111122223333:user/alice (alice)  loses  get pods in all namespaces  previously via alone → viewer, both → viewer
      - user:carol  loses  get pods in all namespaces  previously via short → viewer

    Guards: 7 passed, 1 not evaluated.
    Plan: 0 to add, 1 to change, 0 to replace, 3 to remove. 4 objects to write. 0 subjects gain access, 2 lose.
    ");

    let (_, out, _) = run(&sandbox, end, &["plan", "--cluster", "a", "--format", "json"]);
    let plan: Value = serde_json::from_str(&out).unwrap();
    let locations: Vec<String> = plan["plans"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change["action"], change["location"]["line"]))
        .collect();
    assert_eq!(locations, ["\"delete\" 12", "\"delete\" 12", "\"update\" 21", "\"delete\" 32"]);

    let (exit, _, err) = run(&sandbox, end, &["apply", "--auto-approve"]);
    assert_eq!(exit, Exit::Success, "{err}");
    let (_, out, err) = run(&sandbox, "2027-01-01T00:00:00Z", &["plan", "--cluster", "a"]);
    assert!(out.contains(": No changes. The cluster matches the policy."), "{out}");
    assert_eq!(err, "");
    let remaining = fs::read_to_string(sandbox.path().join("a.yaml")).unwrap();
    assert!(remaining.contains("role/eks-nodes # unmanaged") && !remaining.contains("user/alice"), "{remaining}");
}

/// The policy lists an expired principal that the cluster has without an owner. rolecall removes only what it manages, and
/// says that the access remains.
#[test]
fn expired_access_without_an_owner_is_kept_and_reported() {
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
    let sandbox = sandbox(&cluster);
    let now = "2026-11-01T00:00:00Z";
    let (_, out, err) = run(&sandbox, now, &["plan", "--cluster", "a"]);
    insta::assert_snapshot!(err, @r"
    warning: the aws-auth entry of arn:aws:iam::111122223333:user/Alice has expired but is kept: no policy owns it
      --> rolecall.toml:12:11
       |
    12 | expires = 2026-10-01
       |           ^^^^^^^^^^
       |
       = because: expired on 2026-10-01
       = help: delete it by hand if its access has to end

    warning: ClusterRoleBinding short has expired but is kept: no policy owns it
      --> rolecall.toml:32:11
       |
    32 | expires = 2026-10-01T00:00:00Z
       |           ^^^^^^^^^^^^^^^^^^^^
       |
       = because: expired at 2026-10-01T00:00:00Z
       = help: delete it by hand if its access has to end
    ");
    assert!(!out.contains("  - "), "{out}");
    // An exclusive policy removes everything that it does not list, and an expired entry counts as not listed.
    let policy = fs::read_to_string(sandbox.path().join("rolecall.toml")).unwrap();
    let exclusive =
        "[ownership]\naws-auth = \"exclusive\"\nrbac = \"exclusive\"\nignore = [\"arn:aws:iam::*:role/eks-nodes\"]\n";
    fs::write(sandbox.path().join("rolecall.toml"), policy + exclusive).unwrap();
    let (_, out, err) = run(&sandbox, now, &["plan", "--cluster", "a", "--format", "json"]);
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let deleted: Vec<String> = plan["plans"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["action"] == "delete")
        .map(|change| format!("{}: {}", change["target"], change["note"]))
        .collect();
    assert_eq!(
        deleted,
        [
            r#"{"entry":{"section":"mapUsers","principal":"arn:aws:iam::111122223333:user/Alice"}}: "expired on 2026-10-01; not owned by any policy""#,
            r#"{"object":{"kind":"ClusterRoleBinding","namespace":null,"name":"short"}}: "expired at 2026-10-01T00:00:00Z; not owned by any policy""#,
        ]
    );
}
