//! Tests the safety of `apply`: a write that the server would refuse fails before the first write, a lockout of the caller
//! is reverted, a Lease excludes concurrent applies, and a backup can be restored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::common::credential_plugin::CredentialPlugin;
use crate::common::proxy::{Proxy, ProxyAction, ProxyRequest, ProxyResponse};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::{CLUSTER, spawn};
use crate::common::{Options, TestCluster};
use serde_json::{Value, json};

/// Locks the shared cluster. Its aws-auth has the entry of the nodes and a foreign data key.
fn cluster() -> (MutexGuard<'static, ()>, &'static TestCluster) {
    let (turn, cluster) = CLUSTER.lock();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
    (turn, cluster)
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const MERGE: Option<&str> = Some("application/merge-patch+json");
const NODES: &str = "\
# the nodes
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
";
const POLICY: &str = r#"
[policy]
name = "safe"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[cluster-roles.looks]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.looks]
cluster-role = "looks"
groups = ["viewers"]
"#;

/// The policy with a cluster that caches no tokens, so that an apply does not wait.
fn without_waits(policy: &str) -> String {
    let cluster = "[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n";
    policy.replacen("[principals", &format!("{cluster}[principals"), 1)
}

fn sandbox(cluster: &TestCluster) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    sandbox
}

/// All objects that rolecall can write, with their resource versions.
fn stored_objects(cluster: &TestCluster) -> Vec<Value> {
    let mut out = vec![cluster.admin("GET", AWS_AUTH, None).1];
    for kind in ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] {
        let (_, mut list) = cluster.admin("GET", &format!("{RBAC}/{kind}"), None);
        out.extend(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    out
}

fn lease(cluster: &TestCluster) -> Value {
    cluster.admin("GET", &format!("{LEASES}/rolecall"), None).1
}

/// The data, annotations and labels of aws-auth, which a restore must bring back byte for byte.
fn aws_auth_text(cluster: &TestCluster) -> Value {
    let object = cluster.admin("GET", AWS_AUTH, None).1;
    json!([object["data"], object["metadata"]["annotations"], object["metadata"]["labels"]])
}

#[test]
fn dry_run_sends_every_write_to_the_server_and_changes_nothing() {
    let (_guard, cluster) = cluster();
    let sandbox = sandbox(cluster);
    sandbox.ok(&["apply", "--auto-approve"]);
    sandbox
        .write("rolecall.toml", &POLICY.replace("\"get\"", "\"list\"").replace("[bindings.looks]", "[bindings.other]"));
    let proxy = Proxy::start(cluster, |_| ProxyAction::Forward);
    let proxied = Sandbox::with_kubeconfig(proxy.kubeconfig());
    proxied.write("rolecall.toml", &sandbox.read("rolecall.toml"));
    let before = stored_objects(cluster);
    let output = proxied.run(&["apply", "--dry-run"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("Dry run: all 3 writes accepted by the API server"), "{}", output.stderr);
    assert!(proxy.writes().is_empty(), "{:?}", proxy.writes());
    let dry_run_methods: Vec<String> =
        proxy.requests().iter().filter(|request| request.is_dry_run()).map(|request| request.method.clone()).collect();
    assert_eq!(dry_run_methods.len(), 3);
    for method in ["POST", "PATCH", "DELETE"] {
        assert!(dry_run_methods.iter().any(|request| request == method), "{method}: {dry_run_methods:?}");
    }
    assert_eq!(stored_objects(cluster), before);
}

/// Trap 40: without `escalate` the server refuses even a new label on a role. apply finds that before any write.
#[test]
fn all_refused_writes_are_reported_before_any_write() {
    let (_guard, cluster) = cluster();
    sandbox(cluster).ok(&["apply", "--auto-approve"]);
    let runner = "arn:aws:sts::111122223333:assumed-role/runner/s";
    let entries =
        format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/runner\n  username: runner\n  groups: [runners]\n");
    let merge_patch = Some("application/merge-patch+json");
    cluster.request(
        cluster.admin_token(),
        "PATCH",
        AWS_AUTH,
        merge_patch,
        Some(&json!({ "data": { "mapRoles": entries } })),
    );
    let rules = json!([
        { "verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterrolebindings", "rolebindings"] },
        { "verbs": ["get", "list", "create", "update", "patch", "delete"], "apiGroups": ["rbac.authorization.k8s.io"],
          "resources": ["clusterroles", "roles"] },
        { "verbs": ["*"], "apiGroups": [""], "resources": ["configmaps", "namespaces"] },
        { "verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"] },
    ]);
    let role = json!({ "metadata": { "name": "runner" }, "rules": rules });
    let binding = json!({
        "metadata": { "name": "runner" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "runner" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "runners" }],
    });
    assert_eq!(cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role)).0, 201);
    assert_eq!(cluster.admin("POST", &format!("{RBAC}/clusterrolebindings"), Some(&binding)).0, 201);
    cluster.wait_until_synced();
    let policy = POLICY.replace("[cluster-roles.looks]", "[cluster-roles.looks]\nlabels = { team = \"a\" }")
        + "[cluster-roles.more]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
           [principals.other]\nrole = \"arn:aws:iam::111122223333:role/other\"\ngroups = [\"viewers\"]\n";
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig_for(runner));
    sandbox.write("rolecall.toml", &policy);
    let before = stored_objects(cluster);
    let by_permissions =
        ["you lack permissions for 2 of 3 writes", "to change ClusterRole looks", "to create ClusterRole more"];
    let by_the_server = ["cannot change ClusterRole looks", "cannot create ClusterRole more", "not currently held"];
    for (flag, messages) in [("--auto-approve", by_permissions), ("--dry-run", by_the_server)] {
        let output = sandbox.run(&["apply", flag]);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        for message in messages {
            assert!(output.stderr.contains(message), "{message}: {}", output.stderr);
        }
        assert_eq!(stored_objects(cluster), before);
    }
}

#[test]
fn dry_run_accepts_a_write_that_depends_on_an_earlier_write() {
    let (_guard, cluster) = cluster();
    // If the caller is not allowed to bind, a binding to a role that does not exist yet is answered with 404.
    let proxy = Proxy::start(cluster, |asked| {
        if asked.is_dry_run() && asked.path.ends_with("/clusterrolebindings") {
            let message = "clusterroles.rbac.authorization.k8s.io \"looks\" not found";
            return ProxyAction::Respond(ProxyResponse::failure(404, "NotFound", message));
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    sandbox.ok(&["apply", "--auto-approve"]);
}

/// Like an authenticator that has `token-1` in its cache: after the write of aws-auth it accepts no new token.
fn refuse_new_tokens_after_write(
    asked: &ProxyRequest,
    refuses: &AtomicBool,
    override_fate: impl Fn(&ProxyRequest) -> Option<ProxyAction>,
) -> ProxyAction {
    if let Some(fate) = override_fate(asked) {
        return fate;
    }
    if asked.matches("PATCH", "/aws-auth") && asked.nth == 1 {
        refuses.store(true, Ordering::SeqCst);
    }
    if refuses.load(Ordering::SeqCst) && asked.authorization != "Bearer token-1" {
        return ProxyAction::Respond(ProxyResponse::failure(401, "Unauthorized", "Unauthorized"));
    }
    ProxyAction::ForwardWithToken(CLUSTER.admin_token().to_owned())
}

#[test]
fn lockout_of_the_caller_restores_aws_auth_within_seconds() {
    let (_guard, cluster) = cluster();
    let before = aws_auth_text(cluster);
    let refuses = Arc::new(AtomicBool::new(false));
    let refuses_in_proxy = refuses.clone();
    let proxy = Proxy::start(cluster, move |asked| refuse_new_tokens_after_write(asked, &refuses_in_proxy, |_| None));
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("rolecall.toml", POLICY);
    let started = Instant::now();
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("reverted the change of aws-auth: "), "{}", output.stderr);
    assert!(output.stderr.contains("the cluster no longer accepts your credentials"), "{}", output.stderr);
    // A write that was made and reverted is not "no changes".
    assert!(output.stderr.contains("Done and reverted (1):"), "{}", output.stderr);
    assert!(!output.stderr.contains("No changes were made"), "{}", output.stderr);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(aws_auth_text(cluster), before, "data and annotations are byte-identical");
    let writes: Vec<ProxyRequest> = proxy
        .requests()
        .into_iter()
        .filter(|request| request.is_write() && request.path.ends_with("/aws-auth"))
        .collect();
    assert_eq!(writes.len(), 2, "the write, and the restore with the version that the write made");
    assert_ne!(writes[0].body["metadata"]["resourceVersion"], writes[1].body["metadata"]["resourceVersion"]);
}

#[test]
fn aws_auth_that_cannot_be_restored_is_saved_with_the_command() {
    let (_guard, cluster) = cluster();
    let refuses = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(cluster, move |asked| {
        refuse_new_tokens_after_write(asked, &refuses, |asked| {
            let second = asked.matches("PATCH", "/aws-auth") && asked.nth > 1;
            second.then(|| ProxyAction::Respond(ProxyResponse::failure(403, "Forbidden", "no more")))
        })
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("could not revert the change of aws-auth"), "{}", output.stderr);
    let command = output.stderr.lines().find_map(|line| line.split("run: kubectl replace -f ").nth(1)).unwrap();
    let file = sandbox.path(command.trim());
    cluster.kubectl(&["replace", "-f", file.to_str().unwrap()]);
    assert_eq!(cluster.admin("GET", AWS_AUTH, None).1["data"], json!({ "mapRoles": NODES, "other": "kept" }));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn aws_auth_is_restored_if_the_caller_authenticates_as_another_user() {
    let (_guard, cluster) = cluster();
    let entries = format!(
        "{NODES}- rolearn: arn:aws:iam::111122223333:role/boss\n  username: boss\n  groups: [\"system:masters\"]\n"
    );
    cluster.set_aws_auth(&json!({ "mapRoles": entries }));
    let before = aws_auth_text(cluster);
    // No check of the plan can find this: the entry is unchanged, and the next token authenticates as another user.
    let arn = "arn:aws:sts::111122223333:assumed-role/boss/s";
    let first_token = cluster.token_for(arn);
    let is_changed = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(cluster, move |asked| {
        if asked.matches("PATCH", "/aws-auth") {
            is_changed.store(true, Ordering::SeqCst);
        }
        let is_new_token = asked.authorization != "Bearer token-1";
        if is_changed.load(Ordering::SeqCst) && is_new_token {
            return ProxyAction::ForwardWithToken(CLUSTER.token_for("arn:aws:sts::111122223333:assumed-role/viewer/s"));
        }
        ProxyAction::ForwardWithToken(first_token.clone())
    });
    let sandbox = Sandbox::with_kubeconfig(CredentialPlugin::leaked_kubeconfig(&proxy));
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("reverted the change of aws-auth"), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("the cluster now identifies you as `arn:aws:iam::111122223333:role/viewer` instead of `boss`"),
        "{}",
        output.stderr
    );
    assert_eq!(aws_auth_text(cluster), before);
}

#[test]
fn lease_is_held_during_writes_and_released() {
    let (_guard, cluster) = cluster();
    let leases = Arc::new(Mutex::new(Vec::new()));
    let recorded = leases.clone();
    let proxy = Proxy::start_with_observer(
        cluster,
        |_| ProxyAction::Forward,
        move |asked, _| {
            if asked.is_write() {
                recorded.lock().unwrap().push(lease(&CLUSTER));
            }
        },
    );
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY).ok(&["apply", "--auto-approve"]);
    let leases = leases.lock().unwrap().clone();
    assert_eq!(leases.len(), 3);
    for lease in &leases {
        assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("admin"), "{lease}");
        assert!(lease["spec"]["leaseDurationSeconds"].as_u64().unwrap() > 0);
        assert!(lease["spec"]["acquireTime"].is_string() && lease["spec"]["renewTime"].is_string());
    }
    // The API server omits an empty holder.
    assert!(lease(cluster)["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty());
    sandbox.write("rolecall.toml", "[policy]\nname = \"safe\"\n").ok(&["apply", "--auto-approve"]);
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(1));
}

/// If another holder takes the Lease, apply stops before its next write.
#[test]
fn apply_that_lost_its_lease_stops_writing() {
    let (_guard, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| {
        // The first write takes longer than the renewal interval. The renewal finds another holder.
        if asked.is_write() && asked.write_count == 1 {
            let other = json!({ "spec": { "holderIdentity": "another-host" } });
            CLUSTER.request(CLUSTER.admin_token(), "PATCH", &format!("{LEASES}/rolecall"), MERGE, Some(&other));
            return ProxyAction::ForwardAfter(Duration::from_secs(6));
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("Lease"), "{}", output.stderr);
    assert!(proxy.writes().len() < 3, "{}", output.stderr);
    assert_eq!(lease(cluster)["spec"]["holderIdentity"], "another-host");
}

fn create_foreign_lease(cluster: &TestCluster, seconds: u64, renewed: &str) -> Value {
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "rolecall", "namespace": "kube-system" },
        "spec": {
            "holderIdentity": "another-host", "leaseDurationSeconds": seconds, "leaseTransitions": 4,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": renewed,
        },
    });
    let (status, answer) = cluster.admin("POST", LEASES, Some(&body));
    assert_eq!(status, 201, "{answer}");
    answer
}

const FAR_FUTURE: &str = "2999-01-01T00:00:00.000000Z";

#[test]
fn lease_that_is_not_renewed_is_taken_over_by_the_local_clock() {
    let (_guard, cluster) = cluster();
    // The times in the Lease are of a clock that is far off, so that they cannot be used.
    create_foreign_lease(cluster, 2, FAR_FUTURE);
    let started = Instant::now();
    sandbox(cluster).ok(&["apply", "--auto-approve"]);
    assert!(started.elapsed() >= Duration::from_secs(2), "apply first watched the Lease for its duration");
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(5));
}

#[test]
fn lease_that_expired_long_ago_is_taken_over_at_once() {
    let (_guard, cluster) = cluster();
    create_foreign_lease(cluster, 3600, "2020-01-01T00:00:00.000000Z");
    sandbox(cluster).ok(&["apply", "--auto-approve"]);
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(5));
}

#[test]
fn apply_without_lease_permission_warns_and_continues() {
    let (_guard, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| match asked.path.contains("/leases") {
        true => ProxyAction::Respond(ProxyResponse::failure(403, "Forbidden", "leases is forbidden: no")),
        false => ProxyAction::Forward,
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("warning: context admin: no Lease was acquired"), "{}", output.stderr);
}

#[test]
fn lease_and_review_requests_survive_every_transient_fault() {
    let (_guard, cluster) = cluster();
    let faults = [
        ProxyAction::Respond(ProxyResponse::too_many_requests()),
        ProxyAction::Respond(ProxyResponse::failure(500, "InternalError", "etcd leader changed").retry_after(0)),
        ProxyAction::Respond(ProxyResponse::unavailable(503)),
        ProxyAction::Reset,
        ProxyAction::LoseResponse,
        ProxyAction::TruncateResponse,
        ProxyAction::ReplaceResponse(ProxyResponse::unavailable(504)),
        ProxyAction::ForwardAfter(Duration::from_millis(50)),
    ];
    for fate in faults {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
        let fault = format!("{fate:?}");
        let seen = Mutex::new(std::collections::BTreeSet::new());
        let proxy = Proxy::start(cluster, move |asked| {
            let is_auxiliary = asked.path.contains("/leases") || asked.path.contains("review") || asked.is_dry_run();
            let is_first_try = seen.lock().unwrap().insert(format!("{} {} {}", asked.method, asked.path, asked.body));
            if is_auxiliary && is_first_try { fate.clone() } else { ProxyAction::Forward }
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        let started = Instant::now();
        let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
        assert_eq!(output.exit_code, 0, "{fault}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("3 writes made"), "{fault}: {}", output.stdout);
        assert!(
            output.stderr.contains("Verified 4 access checks against the API server."),
            "{fault}: {}",
            output.stderr
        );
        assert!(!output.stderr.contains("Lease"), "{fault}: {}", output.stderr);
        assert!(started.elapsed() < Duration::from_secs(20), "{fault}: {:?}", started.elapsed());
        assert_eq!(proxy.writes().len(), 3, "{fault}");
        assert!(lease(cluster)["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "{fault}");
    }
}

/// After the writes apply asks about each changed subject: what it gains and what it loses.
#[test]
fn apply_verifies_the_planned_access_and_reports_differences() {
    let (_guard, cluster) = cluster();
    let deny = Arc::new(AtomicBool::new(false));
    let deny_in_proxy = deny.clone();
    let proxy = Proxy::start(cluster, move |asked| {
        let about_viewers = asked.path.ends_with("/subjectaccessreviews")
            && asked.body["spec"]["groups"].to_string().contains("viewers")
            && asked.body["spec"]["resourceAttributes"]["resource"] == "pods";
        if deny_in_proxy.load(Ordering::SeqCst) && about_viewers {
            let body = json!({ "kind": "SubjectAccessReview", "status": { "allowed": false } }).to_string();
            return ProxyAction::Respond(ProxyResponse { status: 201, headers: Vec::new(), body });
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("Verified 4 access checks against the API server."), "{}", output.stderr);
    deny.store(true, Ordering::SeqCst);
    sandbox.write("rolecall.toml", &POLICY.replace("[\"get\"]", "[\"get\", \"list\"]"));
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("cannot list pods"), "{}", output.stderr);
    assert!(output.stderr.contains("but the plan grants it"), "{}", output.stderr);
}

#[test]
fn apply_without_review_permission_warns_that_nothing_was_verified() {
    let (_guard, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| match asked.path.ends_with("/subjectaccessreviews") {
        true => ProxyAction::Respond(ProxyResponse::failure(403, "Forbidden", "subjectaccessreviews is forbidden: no")),
        false => ProxyAction::Forward,
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    let output = sandbox.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("the resulting access was not verified"), "{}", output.stderr);
}

fn latest_backup(sandbox: &Sandbox) -> String {
    let mut files: Vec<String> = std::fs::read_dir(sandbox.path("kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    format!("kept/{}", files.pop().unwrap())
}

/// The objects without the metadata that changes when an object is recreated.
fn stored_content(cluster: &TestCluster) -> Vec<Value> {
    let mut objects = stored_objects(cluster);
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            metadata.remove(field);
        }
    }
    objects
}

#[test]
fn restored_backup_is_byte_identical() {
    let (_guard, cluster) = cluster();
    let (sandbox, policy) = (sandbox(cluster), without_waits(POLICY));
    sandbox.write("rolecall.toml", &policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    cluster.request(
        cluster.admin_token(),
        "PATCH",
        AWS_AUTH,
        MERGE,
        Some(&json!({
            "metadata": { "annotations": { "theirs": "a: b # c" }, "labels": { "theirs": "x" } },
        })),
    );
    let before = stored_content(cluster);
    // One apply changes, replaces, deletes and creates objects.
    sandbox.write(
        "rolecall.toml",
        &policy
            .replace("[\"get\"]", "[\"list\"]")
            .replace("viewer]", "other]")
            .replace("role/viewer", "role/other")
            .replace("cluster-role = \"looks\"", "cluster-role = \"added\"")
            .replace("[bindings.looks]", "[cluster-roles.added]\nrules = []\n[bindings.looks]"),
    );
    sandbox.ok(&["apply", "--auto-approve", "--backup", "kept"]);
    assert_ne!(stored_content(cluster), before);
    let file = latest_backup(&sandbox);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(sandbox.path(&file)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let second_apply = sandbox.ok(&["apply", "--auto-approve", "--backup", "kept"]);
    assert!(second_apply.contains("No changes. The cluster matches the policy."), "{second_apply}");
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(stored_content(cluster), before);
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert!(
        output.exit_code == 0 && output.stdout.contains("No changes. The cluster has nothing that can be taken back."),
        "{}{}",
        output.stdout,
        output.stderr
    );
    let refused = sandbox.run(&["restore", &file]);
    assert_eq!(refused.exit_code, 1, "restore without a terminal needs --auto-approve: {}", refused.stderr);
}

#[test]
fn backup_of_a_snapshot_can_be_restored() {
    let sandbox = Sandbox::offline();
    let cluster = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: aws-auth, namespace: kube-system }\ndata:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a # why\n      username: a\n";
    sandbox.write("cluster.yaml", cluster).write("rolecall.toml", POLICY);
    sandbox.ok(&["apply", "--auto-approve", "--snapshot", "cluster.yaml", "--backup", "kept"]);
    let file = latest_backup(&sandbox);
    sandbox.ok(&["restore", &file, "--auto-approve"]);
    let text = sandbox.read("cluster.yaml");
    assert!(text.contains("role/a # why") && !text.contains("viewer") && !text.contains("looks"), "{text}");
    let output = sandbox.run(&["restore", "cluster.yaml", "--auto-approve"]);
    assert!(output.exit_code == 1 && output.stderr.contains("is not a backup of rolecall"), "{}", output.stderr);
}

/// A restore can grant dangerous access, so that the guards check it like an apply.
#[test]
fn restore_is_guarded_like_apply() {
    let sandbox = Sandbox::offline();
    let cluster = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: aws-auth, namespace: kube-system }\ndata:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/boss\n      username: boss\n      groups: [system:masters]\n";
    let exclusive = format!("{POLICY}[ownership]\naws-auth = \"exclusive\"\n");
    sandbox.write("cluster.yaml", cluster).write("rolecall.toml", &exclusive);
    sandbox.ok(&["apply", "--auto-approve", "--snapshot", "cluster.yaml", "--backup", "kept", "--allow", "last-admin"]);
    let after_apply = sandbox.read("cluster.yaml");
    assert!(!after_apply.contains("boss"), "{after_apply}");
    let file = latest_backup(&sandbox);
    let output = sandbox.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(output.exit_code, 3, "{}{}", output.stdout, output.stderr);
    let allow_flag = "--allow masters:arn:aws:iam::111122223333:role/boss";
    assert!(output.stderr.contains(allow_flag), "{}", output.stderr);
    assert_eq!(sandbox.read("cluster.yaml"), after_apply);
    sandbox.ok(&["restore", &file, "--auto-approve", "--allow", "masters:arn:aws:iam::111122223333:role/boss"]);
    assert!(sandbox.read("cluster.yaml").contains("boss"));
}

/// apply asks about the access that an earlier write grants until the answer is yes, and only then revokes the old grant.
#[test]
fn revoking_write_waits_until_the_replacing_grant_works() {
    let (_guard, cluster) = cluster();
    sandbox(cluster).ok(&["apply", "--auto-approve"]);
    let renamed_policy = POLICY.replace("[bindings.looks]", "[bindings.watches]");
    for (denied_answers, code) in [(3, 0), (usize::MAX, 1)] {
        let proxy = Proxy::start(cluster, move |asked| {
            let is_review = asked.path.ends_with("/subjectaccessreviews");
            if is_review && asked.nth <= denied_answers {
                let body = json!({ "kind": "SubjectAccessReview", "status": { "allowed": false } }).to_string();
                return ProxyAction::Respond(ProxyResponse { status: 201, headers: Vec::new(), body });
            }
            ProxyAction::Forward
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        let output = sandbox.write("rolecall.toml", &renamed_policy).run(&["apply", "--auto-approve"]);
        assert_eq!(output.exit_code, code, "{}{}", output.stdout, output.stderr);
        let old_binding_status = cluster.admin("GET", &format!("{RBAC}/clusterrolebindings/looks"), None).0;
        if code == 0 {
            assert_eq!(old_binding_status, 404);
            let asked = proxy.requests();
            let deleted = asked.iter().position(|request| request.matches("DELETE", "/looks")).unwrap();
            let reviews =
                asked[..deleted].iter().filter(|request| request.path.ends_with("/subjectaccessreviews")).count();
            assert!(
                reviews > 3,
                "three times no, then yes, and again while the answer names the old binding: {reviews}"
            );
            sandbox.write("rolecall.toml", POLICY);
            Sandbox::ok(&self::sandbox(cluster), &["apply", "--auto-approve"]);
        } else {
            assert_eq!(old_binding_status, 200, "the old binding is kept, because the new one does not work");
            assert!(output.stderr.contains("an earlier write has not taken effect"), "{}", output.stderr);
            assert!(
                output.stderr.contains("the API server does not confirm that group:viewers can get pods"),
                "{}",
                output.stderr
            );
        }
    }
}

/// If two bindings allow a request, the API server names any one of them. An answer that names the old binding does not
/// prove that the new one works.
#[test]
fn review_that_names_the_old_binding_is_repeated_and_does_not_fail_apply() {
    let (_guard, cluster) = cluster();
    let renamed_policy = POLICY.replace("[bindings.looks]", "[bindings.watches]");
    for old_answers in [5, usize::MAX] {
        sandbox(cluster).ok(&["apply", "--auto-approve"]);
        let proxy = Proxy::start(cluster, move |asked| {
            let is_review = asked.path.ends_with("/subjectaccessreviews");
            if is_review && asked.nth <= old_answers && asked.write_count < 2 {
                let reason =
                    "RBAC: allowed by ClusterRoleBinding \"looks\" of ClusterRole \"looks\" to Group \"viewers\"";
                let body = json!({ "kind": "SubjectAccessReview", "status": { "allowed": true, "reason": reason } })
                    .to_string();
                return ProxyAction::Respond(ProxyResponse { status: 201, headers: Vec::new(), body });
            }
            ProxyAction::Forward
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        let output = sandbox.write("rolecall.toml", &renamed_policy).run(&["apply", "--auto-approve"]);
        assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
        let asked = proxy.requests();
        let deleted = asked.iter().position(|request| request.matches("DELETE", "/looks")).unwrap();
        let reviews = asked[..deleted].iter().filter(|request| request.path.ends_with("/subjectaccessreviews")).count();
        assert!(reviews > 5, "{reviews}");
        assert_eq!(cluster.admin("GET", &format!("{RBAC}/clusterrolebindings/watches"), None).0, 200);
    }
}

/// Trap 28: the API server caches a token, so that it works after its entry is removed. New tokens do not authenticate.
#[test]
fn cached_token_outlives_its_entry_and_apply_reports_it() {
    let (_guard, cluster) = cluster();
    let sandbox = sandbox(cluster);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert!(
        output.exit_code == 0 && !output.stderr.contains("until the API server's token cache expires"),
        "{}",
        output.stderr
    );
    let viewer = "arn:aws:sts::111122223333:assumed-role/viewer/s";
    let pods = "/api/v1/namespaces/default/pods/some";
    cluster.wait_until_synced();
    let cached_token = cluster.token_for(viewer);
    // 404 means that the token authenticates and is allowed to get pods.
    assert_eq!(cluster.request(&cached_token, "GET", pods, None, None).0, 404);
    sandbox.write("rolecall.toml", "[policy]\nname = \"safe\"\n");
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert!(
        output.exit_code == 0 && output.stderr.contains("until the API server's token cache expires"),
        "{}{}",
        output.stdout,
        output.stderr
    );
    let status = |token: &str| cluster.request(token, "GET", pods, None, None).0;
    assert_eq!(status(&cached_token), 403, "the cached token authenticates, without the access of the binding");
    assert_eq!(status(&cluster.token_for(viewer)), 401, "a new token does not authenticate");
}

/// Trap 67: without the aggregation controller `edit` has no rules. That is no error of apply.
#[test]
fn rules_pending_from_the_aggregation_controller_are_reported_not_failed() {
    let cluster = TestCluster::start_with(Options { aggregation: false, ..Options::default() });
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let sandbox = sandbox(&cluster);
    let policy = without_waits(POLICY) + "[bindings.edits]\ncluster-role = \"edit\"\ngroups = [\"viewers\"]\n";
    let output = sandbox.write("rolecall.toml", &policy).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(
        output.stderr.contains("not passed yet: the controller has not updated the aggregated ClusterRoles"),
        "{}",
        output.stderr
    );
    // If the group is renamed, apply does not wait for access that did not work before.
    let output =
        sandbox.write("rolecall.toml", &policy.replace("viewers", "watchers")).run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(sandbox.ok(&["plan"]).contains("No changes. The cluster matches the policy."));
}

#[test]
fn saved_plan_is_applied_once_even_if_its_changes_are_undone() {
    let (_guard, cluster) = cluster();
    let sandbox = sandbox(cluster);
    sandbox.write("rolecall.toml", "[policy]\nname = \"safe\"\n[cluster-roles.one]\nrules = []\n");
    sandbox.ok(&["plan", "--out", "plan.json"]);
    sandbox.ok(&["apply", "--plan", "plan.json"]);
    cluster.admin("DELETE", &format!("{RBAC}/clusterroles/one"), None);
    let before = stored_objects(cluster);
    let output = sandbox.run(&["apply", "--plan", "plan.json"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(
        output.stderr.contains("was already applied at")
            && output.stderr.contains("a saved plan can be applied only once"),
        "{}",
        output.stderr
    );
    assert_eq!(stored_objects(cluster), before);
}

#[test]
fn concurrent_applies_make_every_write_once() {
    let (_guard, cluster) = cluster();
    let sandboxes: Vec<Sandbox> = (0..2).map(|_| sandbox(cluster)).collect();
    let children: Vec<_> = sandboxes
        .iter()
        .map(|sandbox| {
            let mut command = sandbox.command(&["apply", "--auto-approve"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let complete_runs =
        outputs.iter().filter(|output| String::from_utf8_lossy(&output.stdout).contains("3 writes made")).count();
    assert_eq!(complete_runs, 1, "{outputs:#?}");
    for output in &outputs {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let messages = [
            "3 writes made",
            "No changes. The cluster matches the policy.",
            "since the plan was made",
            "another apply is running",
            "nothing is left to apply",
        ];
        assert!(messages.iter().any(|message| text.contains(message)), "{text}");
    }
    assert!(sandboxes[0].ok(&["plan"]).contains("No changes. The cluster matches the policy."));
}

/// A policy with one entry, 15 roles and 14 bindings, which are thirty writes.
fn policy_with_thirty_writes(verb: &str) -> String {
    let mut out = String::from(
        "[policy]\nname = \"safe\"\n[principals.viewer]\nrole = \"arn:aws:iam::111122223333:role/viewer\"\n\
         groups = [\"viewers\"]\n[groups.viewers]\n",
    );
    for n in 0..15 {
        out += &format!("[cluster-roles.r{n}]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n");
    }
    for n in 0..14 {
        out += &format!("[bindings.b{n}]\ncluster-role = \"r{n}\"\ngroups = [\"viewers\"]\n");
    }
    out
}

#[test]
fn apply_killed_after_any_of_thirty_writes_continues_with_the_rest() {
    let (_guard, cluster) = cluster();
    let reset = || {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
    };
    let direct = Sandbox::with_kubeconfig(cluster.kubeconfig());
    direct.write("rolecall.toml", &policy_with_thirty_writes("get")).ok(&["apply", "--auto-approve"]);
    let expected = stored_content(cluster);
    for n in 1..=30 {
        reset();
        let answered = Arc::new(Mutex::new(0));
        let answered_in_proxy = answered.clone();
        let proxy = Proxy::start_with_observer(
            cluster,
            // Later writes never arrive, so that exactly n writes are made.
            move |asked| {
                if asked.is_write() && asked.write_count > n { ProxyAction::Reset } else { ProxyAction::Forward }
            },
            move |asked, _| *answered_in_proxy.lock().unwrap() += usize::from(asked.is_write()),
        );
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", &policy_with_thirty_writes("get"));
        let mut command = sandbox.command(&["apply", "--auto-approve"]);
        let null = std::process::Stdio::null;
        let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while *answered.lock().unwrap() < n {
            assert!(Instant::now() < deadline, "write {n} is never answered");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        cluster.admin("DELETE", &format!("{LEASES}/rolecall"), None);
        let rest = direct.plan(&[])["steps"].as_array().unwrap().len();
        assert_eq!(rest, 30 - n, "killed after {n}");
        direct.ok(&["apply", "--auto-approve"]);
        assert_eq!(stored_content(cluster), expected, "killed after {n}");
        assert!(direct.ok(&["plan"]).contains("No changes. The cluster matches the policy."), "killed after {n}");
    }
}

#[test]
fn entries_that_others_write_concurrently_are_never_lost() {
    let (_guard, cluster) = cluster();
    let stop = Arc::new(AtomicBool::new(false));
    let stop_in_thread = stop.clone();
    // Like eksctl: replace the whole object with the version that was read, and repeat after a conflict.
    let foreign_writer = spawn(move || {
        let mut added = 0;
        while !stop_in_thread.load(Ordering::Relaxed) {
            let mut object = CLUSTER.admin("GET", AWS_AUTH, None).1;
            let text = object["data"]["mapRoles"].as_str().unwrap().to_owned();
            let entry = format!("- rolearn: arn:aws:iam::111122223333:role/theirs-{added}\n  username: t\n");
            object["data"]["mapRoles"] = json!(format!("{text}{entry}"));
            added += usize::from(CLUSTER.admin("PUT", AWS_AUTH, Some(&object)).0 == 200);
            std::thread::sleep(Duration::from_millis([50, 700, 100, 1500][added % 4]));
        }
        added
    });
    let sandbox = sandbox(cluster);
    let (mut applied, mut conflicts) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while applied < 6 {
        assert!(Instant::now() < deadline, "{applied} applies succeeded, {conflicts} had conflicts");
        // Alternately adds and removes the entry.
        let policy = if applied % 2 == 0 { POLICY } else { "[policy]\nname = \"safe\"\n" };
        let output = sandbox.write("rolecall.toml", policy).run(&["apply", "--auto-approve"]);
        let is_conflict =
            output.stderr.contains("since the plan was made") || output.stderr.contains("changed by another client");
        assert!(output.exit_code == 0 || is_conflict, "{}{}", output.stdout, output.stderr);
        applied += usize::from(output.exit_code == 0);
        conflicts += usize::from(output.exit_code != 0);
    }
    stop.store(true, Ordering::Relaxed);
    let added = foreign_writer.join().unwrap();
    let text = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
    assert!(added > 0 && text.contains("role/eks-nodes"), "{text}");
    for n in 0..added {
        assert!(text.contains(&format!("role/theirs-{n}\n")), "entry {n} of {added} is lost:\n{text}");
    }
}
