//! An apply that cannot hurt: what would fail fails before the first write, whoever would lock himself out is let back
//! in, two applies keep apart, and what was there can be had again.

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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::TestCluster;
use common::proxy::{Answer, Asked, Fate, Proxy};
use common::reset::Shared;
use common::rolecall::Desk;
use serde_json::{Value, json};

static CLUSTER: Shared = Shared::new(TestCluster::start);

/// The one cluster, with the entry of nodes and a key of others.
fn cluster() -> (MutexGuard<'static, ()>, &'static TestCluster) {
    let (turn, cluster) = CLUSTER.turn();
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

fn desk(cluster: &TestCluster) -> Desk {
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", POLICY);
    desk
}

/// Everything that rolecall can write, with its versions.
fn stored(cluster: &TestCluster) -> Vec<Value> {
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

/// The text of aws-auth with its annotations: what must come back to the byte.
fn aws_auth(cluster: &TestCluster) -> Value {
    let object = cluster.admin("GET", AWS_AUTH, None).1;
    json!([object["data"], object["metadata"]["annotations"], object["metadata"]["labels"]])
}

#[test]
fn a_dry_run_is_judged_by_the_server_and_writes_nothing() {
    let (_turn, cluster) = cluster();
    let desk = desk(cluster);
    desk.ok(&["apply", "--auto-approve"]);
    desk.write("rolecall.toml", &POLICY.replace("\"get\"", "\"list\"").replace("[bindings.looks]", "[bindings.other]"));
    let proxy = Proxy::start(cluster, |_| Fate::Pass);
    let watched = Desk::with_kubeconfig(proxy.kubeconfig());
    watched.write("rolecall.toml", &desk.read("rolecall.toml"));
    let before = stored(cluster);
    let ran = watched.run(&["apply", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("of 3 writes 0 would be refused"), "{}", ran.err);
    assert!(proxy.writes().is_empty(), "{:?}", proxy.writes());
    let judged: Vec<String> =
        proxy.asked().iter().filter(|one| one.is_dry_run()).map(|one| one.method.clone()).collect();
    assert_eq!(judged.len(), 3);
    for method in ["POST", "PATCH", "DELETE"] {
        assert!(judged.iter().any(|one| one == method), "{method}: {judged:?}");
    }
    assert_eq!(stored(cluster), before);
}

/// Trap 40: without `escalate` even a label on a role is refused, and that is found before any write.
#[test]
fn what_the_server_would_refuse_is_said_all_at_once_and_nothing_is_written() {
    let (_turn, cluster) = cluster();
    desk(cluster).ok(&["apply", "--auto-approve"]);
    let runner = "arn:aws:sts::111122223333:assumed-role/runner/s";
    let entries =
        format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/runner\n  username: runner\n  groups: [runners]\n");
    let kind = Some("application/merge-patch+json");
    cluster.request(cluster.admin_token(), "PATCH", AWS_AUTH, kind, Some(&json!({ "data": { "mapRoles": entries } })));
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
    cluster.wait_until_read();
    let policy = POLICY.replace("[cluster-roles.looks]", "[cluster-roles.looks]\nlabels = { team = \"a\" }")
        + "[cluster-roles.more]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
           [principals.other]\nrole = \"arn:aws:iam::111122223333:role/other\"\ngroups = [\"viewers\"]\n";
    let desk = Desk::with_kubeconfig(cluster.kubeconfig_for(runner));
    desk.write("rolecall.toml", &policy);
    let before = stored(cluster);
    let by_rules =
        ["you lack the rights for 2 of 3 writes", "to change ClusterRole looks", "to create ClusterRole more"];
    let by_the_server = ["cannot change ClusterRole looks", "cannot create ClusterRole more", "not currently held"];
    for (how, all) in [("--auto-approve", by_rules), ("--dry-run", by_the_server)] {
        let ran = desk.run(&["apply", how]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        for said in all {
            assert!(ran.err.contains(said), "{said}: {}", ran.err);
        }
        assert_eq!(stored(cluster), before);
    }
}

#[test]
fn a_write_that_stands_on_an_earlier_one_is_not_refused_for_that() {
    let (_turn, cluster) = cluster();
    // The binding to a role that is not there yet is 404 for whoever may not bind it.
    let proxy = Proxy::start(cluster, |asked| {
        if asked.is_dry_run() && asked.path.ends_with("/clusterrolebindings") {
            let message = "clusterroles.rbac.authorization.k8s.io \"looks\" not found";
            return Fate::Answer(Answer::failure(404, "NotFound", message));
        }
        Fate::Pass
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", POLICY);
    desk.ok(&["apply", "--auto-approve"]);
}

/// A plugin whose tokens the proxy knows by their number; the authenticator behind refuses what comes after a write.
struct Plugin {
    folder: tempfile::TempDir,
}

impl Plugin {
    fn new() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho x >> calls\n\
            printf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",'\n\
            printf '\"status\":{\"token\":\"token-%s\"}}' \"$(grep -c x calls)\"\n";
        let path = folder.path().join("plugin");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn kubeconfig(&self, proxy: &Proxy) -> std::path::PathBuf {
        proxy.kubeconfig_of(&json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "eks",
            "clusters": [{ "name": "eks", "cluster": { "server": proxy.server() } }],
            "users": [{ "name": "eks", "user": { "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": self.folder.path().join("plugin"), "interactiveMode": "IfAvailable",
            } } }],
            "contexts": [{ "name": "eks", "context": { "cluster": "eks", "user": "eks" } }],
        }))
    }
}

/// The webhook lets tokens in that it knows, and from some moment on no new ones.
fn refusing_after_the_write(asked: &Asked, refuses: &AtomicBool, also: impl Fn(&Asked) -> Option<Fate>) -> Fate {
    if let Some(fate) = also(asked) {
        return fate;
    }
    if asked.is("PATCH", "/aws-auth") && asked.nth == 1 {
        refuses.store(true, Ordering::SeqCst);
    }
    if refuses.load(Ordering::SeqCst) && asked.authorization != "Bearer token-1" {
        return Fate::Answer(Answer::failure(401, "Unauthorized", "Unauthorized"));
    }
    Fate::PassAs(CLUSTER.admin_token().to_owned())
}

#[test]
fn who_would_be_locked_out_is_let_back_in_within_seconds() {
    let (_turn, cluster) = cluster();
    let before = aws_auth(cluster);
    let refuses = Arc::new(AtomicBool::new(false));
    let deciding = refuses.clone();
    let proxy = Proxy::start(cluster, move |asked| refusing_after_the_write(asked, &deciding, |_| None));
    let desk = Desk::with_kubeconfig(Plugin::new_kept(&proxy));
    desk.write("rolecall.toml", POLICY);
    let started = Instant::now();
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("aws-auth was put back as it was, because"), "{}", ran.err);
    assert!(ran.err.contains("does not accept your credentials any more"), "{}", ran.err);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(aws_auth(cluster), before, "every byte, the annotations too");
    let writes: Vec<Asked> =
        proxy.asked().into_iter().filter(|one| one.is_write() && one.path.ends_with("/aws-auth")).collect();
    assert_eq!(writes.len(), 2, "the write, and its undoing under the version that it made");
    assert_ne!(writes[0].body["metadata"]["resourceVersion"], writes[1].body["metadata"]["resourceVersion"]);
}

#[test]
fn what_cannot_be_put_back_is_kept_in_a_file_with_the_command() {
    let (_turn, cluster) = cluster();
    let refuses = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(cluster, move |asked| {
        refusing_after_the_write(asked, &refuses, |asked| {
            let second = asked.is("PATCH", "/aws-auth") && asked.nth > 1;
            second.then(|| Fate::Answer(Answer::failure(403, "Forbidden", "no more")))
        })
    });
    let desk = Desk::with_kubeconfig(Plugin::new_kept(&proxy));
    desk.write("rolecall.toml", POLICY);
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("it could not be put back"), "{}", ran.err);
    let command = ran.err.lines().find_map(|line| line.split("can run: kubectl replace -f ").nth(1)).unwrap();
    let file = desk.path(command.trim());
    cluster.kubectl(&["replace", "-f", file.to_str().unwrap()]);
    assert_eq!(cluster.admin("GET", AWS_AUTH, None).1["data"], json!({ "mapRoles": NODES, "other": "kept" }));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

impl Plugin {
    /// A kubeconfig whose plugin stays as long as the test binary.
    fn new_kept(proxy: &Proxy) -> std::path::PathBuf {
        let plugin = Self::new();
        let path = plugin.kubeconfig(proxy);
        std::mem::forget(plugin);
        path
    }
}

#[test]
fn a_runner_of_aws_auth_that_takes_its_own_way_in_is_put_back() {
    let (_turn, cluster) = cluster();
    let entries = format!(
        "{NODES}- rolearn: arn:aws:iam::111122223333:role/boss\n  username: boss\n  groups: [\"system:masters\"]\n"
    );
    cluster.set_aws_auth(&json!({ "mapRoles": entries }));
    let before = aws_auth(cluster);
    // Nothing that judges a plan sees this: the entry stays, and behind it stands another person at the next login.
    let arn = "arn:aws:sts::111122223333:assumed-role/boss/s";
    let first = cluster.token_for(arn);
    let taken = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(cluster, move |asked| {
        if asked.is("PATCH", "/aws-auth") {
            taken.store(true, Ordering::SeqCst);
        }
        let fresh = asked.authorization != "Bearer token-1";
        if taken.load(Ordering::SeqCst) && fresh {
            return Fate::PassAs(CLUSTER.token_for("arn:aws:sts::111122223333:assumed-role/viewer/s"));
        }
        Fate::PassAs(first.clone())
    });
    let desk = Desk::with_kubeconfig(Plugin::new_kept(&proxy));
    desk.write("rolecall.toml", POLICY);
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("aws-auth was put back as it was"), "{}", ran.err);
    assert!(ran.err.contains("no more for `boss`"), "{}", ran.err);
    assert_eq!(aws_auth(cluster), before);
}

#[test]
fn a_lease_is_held_while_the_writes_go_on_and_given_back() {
    let (_turn, cluster) = cluster();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let looking = seen.clone();
    let proxy = Proxy::watched(
        cluster,
        |_| Fate::Pass,
        move |asked, _| {
            if asked.is_write() {
                looking.lock().unwrap().push(lease(&CLUSTER));
            }
        },
    );
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", POLICY).ok(&["apply", "--auto-approve"]);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    for lease in &seen {
        assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("admin"), "{lease}");
        assert!(lease["spec"]["leaseDurationSeconds"].as_u64().unwrap() > 0);
        assert!(lease["spec"]["acquireTime"].is_string() && lease["spec"]["renewTime"].is_string());
    }
    // An empty holder is left out when stored.
    assert!(lease(cluster)["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty());
    desk.write("rolecall.toml", "[policy]\nname = \"safe\"\n").ok(&["apply", "--auto-approve"]);
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(1));
}

/// A Lease that somebody else has taken, for whatever reason, ends an apply before its next write.
#[test]
fn an_apply_that_has_lost_its_lease_writes_no_more() {
    let (_turn, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| {
        // The first write takes longer than a renewal, which finds another holder.
        if asked.is_write() && asked.writes == 1 {
            let other = json!({ "spec": { "holderIdentity": "somebody else" } });
            CLUSTER.request(CLUSTER.admin_token(), "PATCH", &format!("{LEASES}/rolecall"), MERGE, Some(&other));
            return Fate::Late(Duration::from_secs(6));
        }
        Fate::Pass
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    let ran = desk.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("Lease"), "{}", ran.err);
    assert!(proxy.writes().len() < 3, "{}", ran.err);
    assert_eq!(lease(cluster)["spec"]["holderIdentity"], "somebody else");
}

fn held_by_another(cluster: &TestCluster, seconds: u64, renewed: &str) -> Value {
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "rolecall", "namespace": "kube-system" },
        "spec": {
            "holderIdentity": "somebody else", "leaseDurationSeconds": seconds, "leaseTransitions": 4,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": renewed,
        },
    });
    let (status, answer) = cluster.admin("POST", LEASES, Some(&body));
    assert_eq!(status, 201, "{answer}");
    answer
}

const FAR: &str = "2999-01-01T00:00:00.000000Z";

#[test]
fn a_lease_that_another_holds_keeps_an_apply_away_and_is_said() {
    let (_turn, cluster) = cluster();
    held_by_another(cluster, 3600, FAR);
    let (before, lease_before) = (stored(cluster), lease(cluster));
    let ran = desk(cluster).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let said = "another apply is running: somebody else, since 2026-01-01T00:00:00.000000Z";
    assert!(ran.err.contains(said), "{}", ran.err);
    assert!(ran.err.contains("Nothing was written."), "{}", ran.err);
    assert_eq!((stored(cluster), lease(cluster)), (before, lease_before));
}

#[test]
fn a_lease_that_is_not_renewed_is_taken_over_by_the_own_clock() {
    let (_turn, cluster) = cluster();
    // The times in it are of a clock that is far off: they do not count.
    held_by_another(cluster, 2, FAR);
    let started = Instant::now();
    desk(cluster).ok(&["apply", "--auto-approve"]);
    assert!(started.elapsed() >= Duration::from_secs(2), "it was watched first");
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(5));
}

#[test]
fn a_lease_that_is_long_past_is_taken_over_at_once() {
    let (_turn, cluster) = cluster();
    held_by_another(cluster, 3600, "2020-01-01T00:00:00.000000Z");
    desk(cluster).ok(&["apply", "--auto-approve"]);
    assert_eq!(lease(cluster)["spec"]["leaseTransitions"], json!(5));
}

#[test]
fn whoever_may_have_no_lease_is_warned_and_goes_on() {
    let (_turn, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| match asked.path.contains("/leases") {
        true => Fate::Answer(Answer::failure(403, "Forbidden", "leases is forbidden: no")),
        false => Fate::Pass,
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    let ran = desk.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("warning: context admin: no Lease keeps a second apply away"), "{}", ran.err);
}

#[test]
fn lease_and_reviews_survive_every_fault_that_passes() {
    let (_turn, cluster) = cluster();
    let faults = [
        Fate::Answer(Answer::too_many()),
        Fate::Answer(Answer::failure(500, "InternalError", "etcd leader changed").retry_after(0)),
        Fate::Answer(Answer::unavailable(503)),
        Fate::Reset,
        Fate::LostAnswer,
        Fate::CutAnswer,
        Fate::WrongAnswer(Answer::unavailable(504)),
        Fate::Late(Duration::from_millis(50)),
    ];
    for fate in faults {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
        let said = format!("{fate:?}");
        let seen = Mutex::new(std::collections::BTreeSet::new());
        let proxy = Proxy::start(cluster, move |asked| {
            let beside = asked.path.contains("/leases") || asked.path.contains("review") || asked.is_dry_run();
            let first = seen.lock().unwrap().insert(format!("{} {} {}", asked.method, asked.path, asked.body));
            if beside && first { fate.clone() } else { Fate::Pass }
        });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        let started = Instant::now();
        let ran = desk.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
        assert_eq!(ran.code, 0, "{said}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("3 writes made"), "{said}: {}", ran.out);
        assert!(ran.err.contains("Checked: "), "{said}: {}", ran.err);
        assert!(!ran.err.contains("Lease"), "{said}: {}", ran.err);
        assert!(started.elapsed() < Duration::from_secs(20), "{said}: {:?}", started.elapsed());
        assert_eq!(proxy.writes().len(), 3, "{said}");
        assert!(lease(cluster)["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "{said}");
    }
}

/// Who is asked after the writes is everybody whom they touch, about what he gains and what he loses.
#[test]
fn what_the_plan_promised_is_asked_of_the_server_and_a_broken_promise_is_said() {
    let (_turn, cluster) = cluster();
    let lies = Arc::new(AtomicBool::new(false));
    let deciding = lies.clone();
    let proxy = Proxy::start(cluster, move |asked| {
        let about_viewers = asked.path.ends_with("/subjectaccessreviews")
            && asked.body["spec"]["groups"].to_string().contains("viewers")
            && asked.body["spec"]["resourceAttributes"]["resource"] == "pods";
        if deciding.load(Ordering::SeqCst) && about_viewers {
            let body = json!({ "status": { "allowed": false } }).to_string();
            return Fate::Answer(Answer { status: 201, headers: Vec::new(), body });
        }
        Fate::Pass
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    let ran = desk.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("Checked: "), "{}", ran.err);
    lies.store(true, Ordering::SeqCst);
    desk.write("rolecall.toml", &POLICY.replace("[\"get\"]", "[\"get\", \"list\"]"));
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("may not list pods"), "{}", ran.err);
    assert!(ran.err.contains("by the plan may"), "{}", ran.err);
}

#[test]
fn whoever_may_ask_no_review_is_told_that_nothing_was_checked() {
    let (_turn, cluster) = cluster();
    let proxy = Proxy::start(cluster, |asked| match asked.path.ends_with("/subjectaccessreviews") {
        true => Fate::Answer(Answer::failure(403, "Forbidden", "subjectaccessreviews is forbidden: no")),
        false => Fate::Pass,
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    let ran = desk.write("rolecall.toml", POLICY).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("whether the access is as planned was not asked"), "{}", ran.err);
}

fn backup_of(desk: &Desk) -> String {
    let mut files: Vec<String> = std::fs::read_dir(desk.path("kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    format!("kept/{}", files.pop().unwrap())
}

/// The objects without what one life of an object has.
fn content(cluster: &TestCluster) -> Vec<Value> {
    let mut all = stored(cluster);
    for object in &mut all {
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            metadata.remove(field);
        }
    }
    all
}

#[test]
fn a_backup_leads_back_to_the_byte() {
    let (_turn, cluster) = cluster();
    let desk = desk(cluster);
    desk.ok(&["apply", "--auto-approve"]);
    cluster.request(
        cluster.admin_token(),
        "PATCH",
        AWS_AUTH,
        MERGE,
        Some(&json!({
            "metadata": { "annotations": { "theirs": "a: b # c" }, "labels": { "theirs": "x" } },
        })),
    );
    let before = content(cluster);
    // Changed, replaced, deleted and created, all in one.
    desk.write(
        "rolecall.toml",
        &POLICY
            .replace("[\"get\"]", "[\"list\"]")
            .replace("viewer]", "other]")
            .replace("role/viewer", "role/other")
            .replace("cluster-role = \"looks\"", "cluster-role = \"comes\"")
            .replace("[bindings.looks]", "[cluster-roles.comes]\nrules = []\n[bindings.looks]"),
    );
    desk.ok(&["apply", "--auto-approve", "--backup", "kept"]);
    assert_ne!(content(cluster), before);
    let file = backup_of(&desk);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(desk.path(&file)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = desk.ok(&["apply", "--auto-approve", "--backup", "kept"]);
    assert!(again.contains("no changes"), "{again}");
    let ran = desk.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(content(cluster), before);
    let ran = desk.run(&["restore", &file, "--auto-approve"]);
    assert!(ran.code == 0 && ran.out.contains("no changes"), "{}{}", ran.out, ran.err);
    let refused = desk.run(&["restore", &file]);
    assert_eq!(refused.code, 1, "without a terminal and a yes: {}", refused.err);
}

#[test]
fn a_backup_of_a_snapshot_leads_back_too() {
    let desk = Desk::offline();
    let cluster = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: aws-auth, namespace: kube-system }\ndata:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a # why\n      username: a\n";
    desk.write("cluster.yaml", cluster).write("rolecall.toml", POLICY);
    desk.ok(&["apply", "--auto-approve", "--snapshot", "cluster.yaml", "--backup", "kept"]);
    let file = backup_of(&desk);
    desk.ok(&["restore", &file, "--auto-approve"]);
    let text = desk.read("cluster.yaml");
    assert!(text.contains("role/a # why") && !text.contains("viewer") && !text.contains("looks"), "{text}");
    let ran = desk.run(&["restore", "cluster.yaml", "--auto-approve"]);
    assert!(ran.code == 1 && ran.err.contains("is no backup of rolecall"), "{}", ran.err);
}

/// The way back is guarded as the way there: what was dangerous to have is so to get again.
#[test]
fn a_restore_is_refused_what_an_apply_would_be_refused() {
    let desk = Desk::offline();
    let cluster = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: aws-auth, namespace: kube-system }\ndata:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/boss\n      username: boss\n      groups: [system:masters]\n";
    let exclusive = format!("{POLICY}[ownership]\naws-auth = \"exclusive\"\n");
    desk.write("cluster.yaml", cluster).write("rolecall.toml", &exclusive);
    desk.ok(&["apply", "--auto-approve", "--snapshot", "cluster.yaml", "--backup", "kept", "--allow", "last-admin"]);
    let without = desk.read("cluster.yaml");
    assert!(!without.contains("boss"), "{without}");
    let file = backup_of(&desk);
    let ran = desk.run(&["restore", &file, "--auto-approve"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let yes = "--allow masters:arn:aws:iam::111122223333:role/boss";
    assert!(ran.err.contains(yes), "{}", ran.err);
    assert_eq!(desk.read("cluster.yaml"), without);
    desk.ok(&["restore", &file, "--auto-approve", "--allow", "masters:arn:aws:iam::111122223333:role/boss"]);
    assert!(desk.read("cluster.yaml").contains("boss"));
}

/// What an earlier write grants is asked for until it works; only then is taken away what it stands in for.
#[test]
fn a_write_that_takes_away_waits_until_what_it_relies_on_is_seen_to_work() {
    let (_turn, cluster) = cluster();
    desk(cluster).ok(&["apply", "--auto-approve"]);
    let renamed = POLICY.replace("[bindings.looks]", "[bindings.watches]");
    for (late, code) in [(3, 0), (usize::MAX, 1)] {
        let proxy = Proxy::start(cluster, move |asked| {
            let is_review = asked.path.ends_with("/subjectaccessreviews");
            if is_review && asked.nth <= late {
                let body = json!({ "status": { "allowed": false } }).to_string();
                return Fate::Answer(Answer { status: 201, headers: Vec::new(), body });
            }
            Fate::Pass
        });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        let ran = desk.write("rolecall.toml", &renamed).run(&["apply", "--auto-approve"]);
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        let kept = cluster.admin("GET", &format!("{RBAC}/clusterrolebindings/looks"), None).0;
        if code == 0 {
            assert_eq!(kept, 404);
            let asked = proxy.asked();
            let deleted = asked.iter().position(|one| one.is("DELETE", "/looks")).unwrap();
            let before = asked[..deleted].iter().filter(|one| one.path.ends_with("/subjectaccessreviews")).count();
            assert!(before > 3, "three times no, then yes, and again while it comes by the old one: {before}");
            desk.write("rolecall.toml", POLICY);
            Desk::ok(&self::desk(cluster), &["apply", "--auto-approve"]);
        } else {
            assert_eq!(kept, 200, "nothing is taken on the strength of what does not work");
            assert!(ran.err.contains("what it relies on is not seen to work yet"), "{}", ran.err);
            assert!(ran.err.contains("group:viewers can get pods"), "{}", ran.err);
        }
    }
}

/// Chance decides which of two bindings the API server names: as long as it is the old one, the new one is not proven.
#[test]
fn a_yes_by_the_binding_that_goes_is_no_proof_of_the_new_one_and_stops_nothing() {
    let (_turn, cluster) = cluster();
    let renamed = POLICY.replace("[bindings.looks]", "[bindings.watches]");
    for hidden in [5, usize::MAX] {
        desk(cluster).ok(&["apply", "--auto-approve"]);
        let proxy = Proxy::start(cluster, move |asked| {
            let is_review = asked.path.ends_with("/subjectaccessreviews");
            if is_review && asked.nth <= hidden && asked.writes < 2 {
                let reason =
                    "RBAC: allowed by ClusterRoleBinding \"looks\" of ClusterRole \"looks\" to Group \"viewers\"";
                let body = json!({ "status": { "allowed": true, "reason": reason } }).to_string();
                return Fate::Answer(Answer { status: 201, headers: Vec::new(), body });
            }
            Fate::Pass
        });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        let ran = desk.write("rolecall.toml", &renamed).run(&["apply", "--auto-approve"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let asked = proxy.asked();
        let deleted = asked.iter().position(|one| one.is("DELETE", "/looks")).unwrap();
        let before = asked[..deleted].iter().filter(|one| one.path.ends_with("/subjectaccessreviews")).count();
        assert!(before > 5, "{before}");
        assert_eq!(cluster.admin("GET", &format!("{RBAC}/clusterrolebindings/watches"), None).0, 200);
    }
}

/// Trap 28: with a token that was seen he goes on, which is said; with the next he does not get in.
#[test]
fn a_session_outlives_its_entry_which_is_said_and_no_new_one_begins() {
    let (_turn, cluster) = cluster();
    let desk = desk(cluster);
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert!(ran.code == 0 && !ran.err.contains("until that is forgotten"), "{}", ran.err);
    let viewer = "arn:aws:sts::111122223333:assumed-role/viewer/s";
    let pods = "/api/v1/namespaces/default/pods/some";
    cluster.wait_until_read();
    let seen = cluster.token_for(viewer);
    // Forbidden or not there: he is let in.
    assert_eq!(cluster.request(&seen, "GET", pods, None, None).0, 404);
    desk.write("rolecall.toml", "[policy]\nname = \"safe\"\n");
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert!(ran.code == 0 && ran.err.contains("until that is forgotten"), "{}{}", ran.out, ran.err);
    let status = |token: &str| cluster.request(token, "GET", pods, None, None).0;
    assert_eq!(status(&seen), 403, "the session goes on, without what the binding gave");
    assert_eq!(status(&cluster.token_for(viewer)), 401, "and no other begins");
}

/// Trap 67: no controller fills `edit` here, which is no fault of the apply.
#[test]
fn what_the_controller_of_aggregated_roles_has_not_given_yet_is_said_and_is_no_failure() {
    let (_turn, cluster) = cluster();
    let desk = desk(cluster);
    let policy = format!("{POLICY}[bindings.edits]\ncluster-role = \"edit\"\ngroups = [\"viewers\"]\n");
    let ran = desk.write("rolecall.toml", &policy).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("not yet as planned: that waits for the controller"), "{}", ran.err);
    // And where the group is renamed, nothing waits for what was not there before either.
    let ran = desk.write("rolecall.toml", &policy.replace("viewers", "watchers")).run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(desk.ok(&["plan"]).contains("no changes"));
}

#[test]
fn a_saved_plan_is_used_once_even_where_all_is_put_back_by_hand() {
    let (_turn, cluster) = cluster();
    let desk = desk(cluster);
    desk.write("rolecall.toml", "[policy]\nname = \"safe\"\n[cluster-roles.one]\nrules = []\n");
    desk.ok(&["plan", "--out", "plan.json"]);
    desk.ok(&["apply", "--plan", "plan.json"]);
    cluster.admin("DELETE", &format!("{RBAC}/clusterroles/one"), None);
    let before = stored(cluster);
    let ran = desk.run(&["apply", "--plan", "plan.json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("was applied already") && ran.err.contains("is used once"), "{}", ran.err);
    assert_eq!(stored(cluster), before);
}

#[test]
fn two_applies_at_once_make_every_write_once() {
    let (_turn, cluster) = cluster();
    let desks: Vec<Desk> = (0..2).map(|_| desk(cluster)).collect();
    let children: Vec<_> = desks
        .iter()
        .map(|desk| {
            let mut command = desk.command(&["apply", "--auto-approve"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ends: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let made = ends.iter().filter(|end| String::from_utf8_lossy(&end.stdout).contains("3 writes made")).count();
    assert_eq!(made, 1, "{ends:#?}");
    for end in &ends {
        let said = format!("{}{}", String::from_utf8_lossy(&end.stdout), String::from_utf8_lossy(&end.stderr));
        let known = ["3 writes made", "no changes", "since the plan was made", "another apply is running"];
        assert!(known.iter().any(|known| said.contains(known)), "{said}");
    }
    assert!(desks[0].ok(&["plan"]).contains("no changes"));
}

/// One entry, and as many roles and bindings as make thirty writes.
fn thirty(verb: &str) -> String {
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
fn an_apply_of_thirty_writes_killed_after_any_of_them_goes_on_with_exactly_the_rest() {
    let (_turn, cluster) = cluster();
    let fresh = || {
        cluster.reset();
        cluster.set_aws_auth(&json!({ "mapRoles": NODES, "other": "kept" }));
    };
    let whole = Desk::with_kubeconfig(cluster.kubeconfig());
    whole.write("rolecall.toml", &thirty("get")).ok(&["apply", "--auto-approve"]);
    let expected = content(cluster);
    for n in 1..=30 {
        fresh();
        let answered = Arc::new(Mutex::new(0));
        let counting = answered.clone();
        let proxy = Proxy::watched(
            cluster,
            // What comes after never arrives: so many are made and no more.
            move |asked| if asked.is_write() && asked.writes > n { Fate::Reset } else { Fate::Pass },
            move |asked, _| *counting.lock().unwrap() += usize::from(asked.is_write()),
        );
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        desk.write("rolecall.toml", &thirty("get"));
        let mut command = desk.command(&["apply", "--auto-approve"]);
        let null = std::process::Stdio::null;
        let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while *answered.lock().unwrap() < n {
            assert!(Instant::now() < deadline, "it never comes to write {n}");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        cluster.admin("DELETE", &format!("{LEASES}/rolecall"), None);
        let rest = whole.plan(&[])["steps"].as_array().unwrap().len();
        assert_eq!(rest, 30 - n, "killed after {n}");
        whole.ok(&["apply", "--auto-approve"]);
        assert_eq!(content(cluster), expected, "killed after {n}");
        assert!(whole.ok(&["plan"]).contains("no changes"), "killed after {n}");
    }
}

#[test]
fn no_entry_that_others_write_in_a_loop_is_ever_lost() {
    let (_turn, cluster) = cluster();
    let ended = Arc::new(AtomicBool::new(false));
    let ending = ended.clone();
    // As eksctl does it: the whole object, under the version that was read, and again after a conflict.
    let others = std::thread::spawn(move || {
        let mut added = 0;
        while !ending.load(Ordering::Relaxed) {
            let mut object = CLUSTER.admin("GET", AWS_AUTH, None).1;
            let text = object["data"]["mapRoles"].as_str().unwrap().to_owned();
            let entry = format!("- rolearn: arn:aws:iam::111122223333:role/theirs-{added}\n  username: t\n");
            object["data"]["mapRoles"] = json!(format!("{text}{entry}"));
            added += usize::from(CLUSTER.admin("PUT", AWS_AUTH, Some(&object)).0 == 200);
            std::thread::sleep(Duration::from_millis([50, 700, 100, 1500][added % 4]));
        }
        added
    });
    let desk = desk(cluster);
    let (mut made, mut refused) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while made < 6 {
        assert!(Instant::now() < deadline, "{made} applies ended well, {refused} were overtaken");
        // With the entry, and without it.
        let policy = if made % 2 == 0 { POLICY } else { "[policy]\nname = \"safe\"\n" };
        let ran = desk.write("rolecall.toml", policy).run(&["apply", "--auto-approve"]);
        let overtaken = ran.err.contains("since the plan was made") || ran.err.contains("changed by somebody else");
        assert!(ran.code == 0 || overtaken, "{}{}", ran.out, ran.err);
        made += usize::from(ran.code == 0);
        refused += usize::from(ran.code != 0);
    }
    ended.store(true, Ordering::Relaxed);
    let added = others.join().unwrap();
    let text = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
    assert!(added > 0 && text.contains("role/eks-nodes"), "{text}");
    for n in 0..added {
        assert!(text.contains(&format!("role/theirs-{n}\n")), "entry {n} of {added} is lost:\n{text}");
    }
}
