//! Tests requests under connection and server faults: each write is made once or not at all, no change of others is lost,
//! and an apply that stopped continues with the remaining writes.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::credential_plugin::CredentialPlugin;
use crate::common::proxy::{Proxy, ProxyAction, ProxyRequest, ProxyResponse};
use crate::common::sandbox::{RunOutput, Sandbox, steps};
use crate::common::shared_cluster::CLUSTER;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const NODES: &str = "\
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
";

const BEFORE: &str = r#"
[policy]
name = "team"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[groups.others]
[cluster-roles.widened]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[cluster-roles.dropped]
rules = [{ verbs = ["get"], resources = ["services"] }]
[bindings.team]
cluster-role = "dropped"
groups = ["viewers"]
[bindings.narrowed]
cluster-role = "widened"
groups = ["viewers", "others"]
[bindings.dropped]
cluster-role = "dropped"
groups = ["others"]
"#;

const AFTER: &str = r#"
[policy]
name = "team"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers", "others"]
[principals.alice]
user = "arn:aws:iam::111122223333:user/alice"
username = "alice"
groups = ["viewers"]
[groups.viewers]
[groups.others]
[cluster-roles.widened]
rules = [{ verbs = ["get", "list"], resources = ["pods"] }]
[cluster-roles.added]
rules = [{ verbs = ["get", "list"], resources = ["services"] }]
[bindings.team]
cluster-role = "added"
groups = ["viewers"]
[bindings.narrowed]
cluster-role = "widened"
groups = ["viewers"]
[bindings.added]
cluster-role = "added"
groups = ["others"]
"#;

/// The number of writes that lead from [`BEFORE`] to [`AFTER`].
const WRITES: usize = 11;

/// Applies [`BEFORE`] and returns a folder with [`AFTER`] as its policy.
fn prepare(cluster: &TestCluster, kubeconfig: std::path::PathBuf) -> Sandbox {
    cluster.reset();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", BEFORE);
    sandbox.ok(&["apply", "--auto-approve"]);
    let sandbox = Sandbox::with_kubeconfig(kubeconfig);
    sandbox.write("rolecall.toml", AFTER);
    sandbox
}

/// Removes the progress lines. Their order within a stage is the order of the answers, which varies.
fn without_progress_lines(err: &str) -> String {
    err.lines().filter(|line| !line.starts_with("  [")).map(|line| format!("{line}\n")).collect()
}

fn apply(sandbox: &Sandbox) -> RunOutput {
    sandbox.run(&["apply", "--auto-approve"])
}

/// Applies exactly the current plan. A change by another client stops it.
fn apply_approved(sandbox: &Sandbox) -> RunOutput {
    let digest = sandbox.plan(&[])["digest"].as_str().unwrap().to_owned();
    sandbox.run(&["apply", "--approved", &digest])
}

/// All objects that rolecall manages, without the metadata that differs between two clusters with the same content.
fn managed_content(cluster: &TestCluster) -> Vec<Value> {
    let mut out = Vec::new();
    for kind in ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] {
        let path = format!("{RBAC}/{kind}?labelSelector=app.kubernetes.io%2Fmanaged-by%3Drolecall");
        let (_, mut list) = cluster.admin("GET", &path, None);
        out.extend(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    out.push(cluster.admin("GET", AWS_AUTH, None).1);
    for object in &mut out {
        let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            metadata.remove(field);
        }
    }
    out
}

/// Deletes the Lease of a dead apply. The next apply would otherwise wait 15 seconds until it takes the Lease over.
fn delete_lease(cluster: &TestCluster) {
    cluster.admin("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/rolecall", None);
}

/// The managed objects after an apply without faults.
fn content_after_faultless_apply(cluster: &TestCluster) -> Vec<Value> {
    let sandbox = prepare(cluster, cluster.kubeconfig());
    let output = apply(&sandbox);
    assert!(output.stdout.contains(&format!("{WRITES} writes made")), "{}{}", output.stdout, output.stderr);
    managed_content(cluster)
}

/// Applies this fate to the first try of each write. All other requests pass.
fn first_try_of_each_write(fate: ProxyAction) -> impl Fn(&ProxyRequest) -> ProxyAction + Send + Sync {
    let seen = Mutex::new(BTreeSet::new());
    move |asked| {
        let write = format!("{} {} {}", asked.method, asked.path, asked.body);
        if asked.is_write() && seen.lock().unwrap().insert(write) { fate.clone() } else { ProxyAction::Forward }
    }
}

#[test]
fn every_write_survives_every_transient_fault() {
    let (_guard, cluster) = CLUSTER.lock();
    let expected = content_after_faultless_apply(cluster);
    let faults = [
        ("429 by priority and fairness", ProxyAction::Respond(ProxyResponse::too_many_requests())),
        (
            "500",
            ProxyAction::Respond(ProxyResponse::failure(500, "InternalError", "etcd leader changed").retry_after(0)),
        ),
        ("503", ProxyAction::Respond(ProxyResponse::unavailable(503))),
        ("504", ProxyAction::Respond(ProxyResponse::unavailable(504))),
        ("connection reset before the write", ProxyAction::Reset),
        ("lost answer", ProxyAction::LoseResponse),
        ("truncated answer", ProxyAction::TruncateResponse),
        (
            "500 although the write was made",
            ProxyAction::ReplaceResponse(ProxyResponse::failure(500, "InternalError", "timed out").retry_after(0)),
        ),
        ("504 although the write was made", ProxyAction::ReplaceResponse(ProxyResponse::unavailable(504))),
        ("slow server", ProxyAction::ForwardAfter(Duration::from_millis(50))),
    ];
    for (name, fate) in faults {
        let proxy = Proxy::start(cluster, first_try_of_each_write(fate));
        let sandbox = prepare(cluster, proxy.kubeconfig());
        let started = Instant::now();
        let output = apply(&sandbox);
        assert_eq!(output.exit_code, 0, "{name}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains(&format!("{WRITES} writes made")), "{name}: {}", output.stdout);
        assert!(started.elapsed() < Duration::from_secs(10), "{name}: {:?}", started.elapsed());
        assert_eq!(managed_content(cluster), expected, "{name}");
        assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "{name}");
    }
}

/// A conflict means that the approved plan is stale. The write is not repeated; the next plan has the remaining writes.
#[test]
fn conflict_at_any_write_stops_apply_and_the_next_apply_continues() {
    let (_guard, cluster) = CLUSTER.lock();
    let expected = content_after_faultless_apply(cluster);
    let mut continued = 0;
    for n in 1..=WRITES {
        let conflict = ProxyResponse::failure(409, "Conflict", "the object has been modified");
        let proxy = Proxy::start(cluster, move |asked| {
            if asked.is_write() && asked.write_count == n {
                ProxyAction::Respond(conflict.clone())
            } else {
                ProxyAction::Forward
            }
        });
        let sandbox = prepare(cluster, proxy.kubeconfig());
        // An approved plan stops. Without one, apply plans again, and goes on if what is left is the same.
        let is_approved = n % 2 == 0;
        let output = if is_approved { apply_approved(&sandbox) } else { apply(&sandbox) };
        assert!(
            output.exit_code == 1 || !is_approved && output.exit_code == 0,
            "{n}: {}{}",
            output.stdout,
            output.stderr
        );
        let stops = output.stderr.contains("could not") && output.stderr.contains("it was changed by another client");
        let goes_on = output.stderr.contains("what is left of the plan is the same");
        assert!(if output.exit_code == 1 { stops } else { goes_on }, "{n}: {}", output.stderr);
        continued += usize::from(output.exit_code == 0);
        let output = apply(&sandbox);
        assert_eq!(output.exit_code, 0, "{n}: {}{}", output.stdout, output.stderr);
        let writes = proxy.writes().len();
        assert_eq!(writes, WRITES + 1, "{n}: each write once, and the rejected write once more");
        assert_eq!(managed_content(cluster), expected, "{n}");
        assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "{n}");
    }
    assert!(continued > 0);
}

#[test]
fn every_read_survives_every_transient_fault() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = prepare(cluster, cluster.kubeconfig());
    let expected = steps(&sandbox.plan(&[]));
    let faults = [
        ProxyAction::Respond(ProxyResponse::too_many_requests()),
        ProxyAction::Respond(ProxyResponse::unavailable(503)),
        ProxyAction::Reset,
        ProxyAction::TruncateResponse,
        ProxyAction::ReplaceResponse(ProxyResponse::unavailable(504)),
    ];
    for fate in faults {
        let proxy =
            Proxy::start(cluster, move |asked| if asked.nth == 1 { fate.clone() } else { ProxyAction::Forward });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", AFTER);
        assert_eq!(steps(&sandbox.plan(&[])), expected);
        assert!(proxy.writes().is_empty());
    }
}

#[test]
fn retry_after_header_is_honored() {
    let (_guard, cluster) = CLUSTER.lock();
    let proxy = Proxy::start(cluster, |asked| match asked.nth {
        1 if asked.path.ends_with("/namespaces") => {
            ProxyAction::Respond(ProxyResponse::too_many_requests().retry_after(1))
        }
        _ => ProxyAction::Forward,
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", AFTER);
    let started = Instant::now();
    sandbox.ok(&["plan"]);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn apply_reports_the_answer_of_a_server_that_rejects_every_write() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = prepare(cluster, cluster.kubeconfig());
    let total = sandbox.plan(&[])["steps"].as_array().unwrap().len();
    assert_eq!(total, WRITES);
    let before = managed_content(cluster);
    let proxy = Proxy::start(cluster, |asked| match asked.is_write() {
        true => ProxyAction::Respond(ProxyResponse::too_many_requests()),
        false => ProxyAction::Forward,
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", AFTER);
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 1);
    insta::assert_snapshot!(without_progress_lines(&output.stderr));
    assert_eq!(managed_content(cluster), before);
}

#[test]
fn failed_apply_lists_completed_and_remaining_steps() {
    let (_guard, cluster) = CLUSTER.lock();
    let proxy = Proxy::start(cluster, |asked| match asked.matches("PATCH", "/aws-auth") {
        true => {
            ProxyAction::Respond(ProxyResponse::failure(403, "Forbidden", "configmaps \"aws-auth\" is forbidden: no"))
        }
        false => ProxyAction::Forward,
    });
    let sandbox = prepare(cluster, proxy.kubeconfig());
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 1);
    insta::assert_snapshot!(without_progress_lines(&output.stderr));
}

/// The n-th write has the fate `first`. Every later request has the fate `then`.
fn fail_from_write(
    n: usize,
    first: ProxyAction,
    then: ProxyAction,
) -> impl Fn(&ProxyRequest) -> ProxyAction + Send + Sync {
    move |asked| match asked.write_count {
        writes if writes < n => ProxyAction::Forward,
        writes if writes == n && asked.is_write() => first.clone(),
        _ => then.clone(),
    }
}

#[test]
fn apply_that_failed_at_any_write_continues_with_the_rest() {
    let (_guard, cluster) = CLUSTER.lock();
    let expected = content_after_faultless_apply(cluster);
    let forbidden = || ProxyAction::Respond(ProxyResponse::failure(403, "Forbidden", "not now"));
    let broken = || ProxyAction::Respond(ProxyResponse::failure(500, "InternalError", "not now").retry_after(0));
    for n in 1..=WRITES {
        // apply retries a refused write for a second. To save time, only every second write is refused.
        let (fault, refused) = if n % 2 == 0 { ("forbidden", forbidden()) } else { ("server error", broken()) };
        let cases = [
            (fault, refused.clone(), refused, n - 1),
            // The write is made. Neither its answer nor any later read arrives.
            ("made, answer lost", ProxyAction::ReplaceResponse(ProxyResponse::unavailable(504)), broken(), n),
        ];
        for (fault, first, then, completed) in cases {
            let proxy = Proxy::start(cluster, fail_from_write(n, first, then));
            let sandbox = prepare(cluster, proxy.kubeconfig());
            let output = apply(&sandbox);
            assert_eq!(output.exit_code, 1, "{fault} at {n}: {}{}", output.stdout, output.stderr);
            assert!(output.stderr.contains("Not done ("), "{fault} at {n}: {}", output.stderr);
            assert!(output.stderr.contains("apply again"), "{fault} at {n}: {}", output.stderr);
            delete_lease(cluster);
            let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
            sandbox.write("rolecall.toml", AFTER);
            let rest = steps(&sandbox.plan(&[]));
            assert_eq!(rest.len(), WRITES - completed, "{fault} at {n}: {}\n{rest:#?}", output.stderr);
            sandbox.ok(&["apply", "--auto-approve"]);
            assert_eq!(managed_content(cluster), expected, "{fault} at {n}");
            assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "{fault} at {n}");
        }
    }
}

#[test]
fn killed_apply_continues_with_the_rest() {
    let (_guard, cluster) = CLUSTER.lock();
    let expected = content_after_faultless_apply(cluster);
    for n in [2, 5, 8] {
        let proxy = Proxy::start(cluster, move |asked| match asked.is_write() && asked.write_count >= n {
            true => ProxyAction::ForwardAfter(Duration::from_millis(200)),
            false => ProxyAction::Forward,
        });
        let sandbox = prepare(cluster, proxy.kubeconfig());
        let mut child = sandbox
            .command(&["apply", "--auto-approve"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while proxy.writes().len() < n {
            assert!(Instant::now() < deadline, "write {n} is never sent");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Requests in flight arrive after the process was killed.
        std::thread::sleep(Duration::from_millis(300));
        delete_lease(cluster);
        let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
        sandbox.write("rolecall.toml", AFTER);
        sandbox.ok(&["apply", "--auto-approve"]);
        assert_eq!(managed_content(cluster), expected, "killed at {n}");
        assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "killed at {n}");
    }
}

/// A proxy that makes a foreign write directly after the first request with this method and path. `fate` is the fate of
/// that request.
fn with_foreign_write(
    cluster: &TestCluster,
    method: &'static str,
    path_end: &'static str,
    fate: ProxyAction,
    foreign_write: impl Fn() + Send + Sync + 'static,
) -> Proxy {
    let matches = move |asked: &ProxyRequest| asked.matches(method, path_end) && asked.nth == 1;
    // The proxy calls `decide` before the request takes effect and the last closure after it.
    let decide = move |asked: &ProxyRequest| if matches(asked) { fate.clone() } else { ProxyAction::Forward };
    Proxy::start_with_observer(cluster, decide, move |asked, _| {
        if matches(asked) {
            foreign_write();
        }
    })
}

fn patch(path: &str, body: &Value) {
    let kind = Some("application/merge-patch+json");
    let (status, answer) = CLUSTER.request(CLUSTER.admin_token(), "PATCH", path, kind, Some(body));
    assert_eq!(status, 200, "{answer}");
}

const ONE_ROLE_POLICY: &str = r#"
[policy]
name = "one"
[cluster-roles.one]
rules = [{ verbs = ["get"], resources = ["pods"] }]
"#;

fn one_role_path() -> String {
    format!("{RBAC}/clusterroles/one")
}

fn foreign_rules() -> Value {
    json!({ "rules": [{ "verbs": ["watch"], "apiGroups": [""], "resources": ["secrets"] }] })
}

#[track_caller]
fn assert_has_foreign_rules(cluster: &TestCluster) {
    let (_, role) = cluster.admin("GET", &one_role_path(), None);
    assert_eq!(role["rules"], foreign_rules()["rules"], "the foreign rules are kept: {role}");
}

/// Trap 54: a write whose answer is lost may have been made.
#[test]
fn create_with_a_lost_answer_counts_only_if_the_object_is_unchanged() {
    let (_guard, cluster) = CLUSTER.lock();
    let proxy = with_foreign_write(cluster, "POST", "/clusterroles", ProxyAction::LoseResponse, || {
        patch(&one_role_path(), &foreign_rules())
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", ONE_ROLE_POLICY);
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("could not create ClusterRole one"), "{}", output.stderr);
    assert!(output.stderr.contains("it already exists"), "{}", output.stderr);
    assert_has_foreign_rules(cluster);
}

#[test]
fn patch_with_a_lost_answer_counts_only_if_the_object_is_unchanged() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", ONE_ROLE_POLICY).ok(&["apply", "--auto-approve"]);
    let proxy = with_foreign_write(cluster, "PATCH", "/clusterroles/one", ProxyAction::LoseResponse, || {
        patch(&one_role_path(), &foreign_rules())
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", &ONE_ROLE_POLICY.replace("\"get\"", "\"list\""));
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("it was changed by another client after it was read"), "{}", output.stderr);
    assert_has_foreign_rules(cluster);
}

#[test]
fn delete_with_a_lost_answer_keeps_a_new_object_of_the_same_name() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", ONE_ROLE_POLICY).ok(&["apply", "--auto-approve"]);
    let proxy = with_foreign_write(cluster, "DELETE", "/clusterroles/one", ProxyAction::LoseResponse, || {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
        });
        role["rules"] = foreign_rules()["rules"].clone();
        CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role));
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", "[policy]\nname = \"one\"\n");
    let output = apply_approved(&sandbox);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("it was changed by another client after it was read"), "{}", output.stderr);
    assert_has_foreign_rules(cluster);
}

#[test]
fn object_created_between_plan_and_write_is_a_conflict_and_kept() {
    let (_guard, cluster) = CLUSTER.lock();
    for reset_connection in [false, true] {
        cluster.reset();
        let decide = move |asked: &ProxyRequest| {
            if asked.matches("POST", "/clusterroles") && asked.nth == 1 {
                let mut role = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
                });
                role["rules"] = foreign_rules()["rules"].clone();
                CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role));
                if reset_connection {
                    return ProxyAction::Reset;
                }
            }
            ProxyAction::Forward
        };
        let proxy = Proxy::start(cluster, decide);
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", ONE_ROLE_POLICY);
        let output = apply(&sandbox);
        assert!(
            output.exit_code == 1 && output.stderr.contains("it already exists"),
            "{}{}",
            output.stdout,
            output.stderr
        );
        assert_has_foreign_rules(cluster);
    }
}

#[test]
fn aws_auth_entry_added_by_eksctl_between_plan_and_write_is_kept() {
    let (_guard, cluster) = CLUSTER.lock();
    let with_eksctl_entry = format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl\n  username: e\n");
    let map_roles = with_eksctl_entry.clone();
    let proxy = Proxy::start(cluster, move |asked| {
        if asked.matches("PATCH", "/aws-auth") && asked.nth == 1 {
            patch(AWS_AUTH, &json!({ "data": { "mapRoles": map_roles } }));
        }
        ProxyAction::Forward
    });
    let sandbox = prepare(cluster, proxy.kubeconfig());
    let digest = sandbox.plan(&[])["digest"].as_str().unwrap().to_owned();
    let output = sandbox.run(&["apply", "--approved", &digest]);
    assert_eq!(output.exit_code, 1);
    assert!(output.stderr.contains("could not change the aws-auth entries"), "{}", output.stderr);
    assert!(output.stderr.contains("it was changed by another client after it was read"), "{}", output.stderr);
    assert_eq!(cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"], json!(with_eksctl_entry));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", AFTER).ok(&["apply", "--auto-approve"]);
    let current = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
    assert!(current.starts_with(&with_eksctl_entry), "{current}");
}

#[test]
fn created_role_without_rules_is_recognized_after_a_lost_answer() {
    let (_guard, cluster) = CLUSTER.lock();
    // The server stores `rules: []` as null and omits an empty list of subjects.
    let policy = "[policy]\nname = \"one\"\n[cluster-roles.empty]\nrules = []\n";
    let proxy = Proxy::start(cluster, first_try_of_each_write(ProxyAction::LoseResponse));
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", policy);
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
}

fn unauthorized() -> ProxyAction {
    ProxyAction::Respond(ProxyResponse::failure(401, "Unauthorized", "Unauthorized"))
}

/// Trap 55: a token is valid for 15 minutes. An apply may take longer.
#[test]
fn token_that_expires_during_apply_is_renewed_once() {
    let (_guard, cluster) = CLUSTER.lock();
    let expected = content_after_faultless_apply(cluster);
    // During the reads, which are five concurrent requests, and during the writes.
    for writes_before_expiry in [0, 4] {
        let plugin = CredentialPlugin::new();
        let proxy = Proxy::start(cluster, move |asked| {
            let has_first_token = asked.authorization == "Bearer token-1";
            if has_first_token && asked.write_count >= writes_before_expiry {
                unauthorized()
            } else {
                ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
            }
        });
        let sandbox = prepare(cluster, plugin.kubeconfig(&proxy));
        let output = apply(&sandbox);
        assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
        assert_eq!(managed_content(cluster), expected);
        // One call at the start, one after the token expired, and three to verify that new credentials still authenticate.
        assert_eq!(plugin.calls(), 5);
    }
}

#[test]
fn renewed_credentials_that_are_refused_end_the_run() {
    let (_guard, cluster) = CLUSTER.lock();
    let plugin = CredentialPlugin::new();
    let proxy = Proxy::start(cluster, |_| unauthorized());
    let sandbox = Sandbox::with_kubeconfig(plugin.kubeconfig(&proxy));
    sandbox.write("rolecall.toml", ONE_ROLE_POLICY);
    let output = sandbox.run(&["plan"]);
    assert_eq!(output.exit_code, 1);
    assert!(output.stderr.contains("rejected the credentials"), "{}", output.stderr);
    assert!(plugin.calls() <= 2, "{} calls", plugin.calls());
}

#[test]
fn apply_retries_until_a_new_permission_takes_effect() {
    let (_guard, cluster) = CLUSTER.lock();
    let forbidden = ProxyResponse::failure(403, "Forbidden", "attempting to grant RBAC permissions not currently held");
    let proxy = Proxy::start(cluster, first_try_of_each_write(ProxyAction::Respond(forbidden)));
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", ONE_ROLE_POLICY);
    let output = apply(&sandbox);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
}
