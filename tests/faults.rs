//! Writes under every fault of a connection and of a server: each is made once or not at all, nothing is lost, and
//! what stopped in the middle goes on from there.

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

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::TestCluster;
use common::proxy::{Answer, Asked, Fate, Proxy};
use common::reset::Shared;
use common::rolecall::{Desk, Ran, steps};
use serde_json::{Value, json};

static CLUSTER: Shared = Shared::new(TestCluster::start);

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
[cluster-roles.widens]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[cluster-roles.goes]
rules = [{ verbs = ["get"], resources = ["services"] }]
[bindings.team]
cluster-role = "goes"
groups = ["viewers"]
[bindings.narrows]
cluster-role = "widens"
groups = ["viewers", "others"]
[bindings.goes]
cluster-role = "goes"
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
[cluster-roles.widens]
rules = [{ verbs = ["get", "list"], resources = ["pods"] }]
[cluster-roles.comes]
rules = [{ verbs = ["get", "list"], resources = ["services"] }]
[bindings.team]
cluster-role = "comes"
groups = ["viewers"]
[bindings.narrows]
cluster-role = "widens"
groups = ["viewers"]
[bindings.comes]
cluster-role = "comes"
groups = ["others"]
"#;

/// From [`BEFORE`] to [`AFTER`].
const WRITES: usize = 11;

/// The cluster as an apply of [`BEFORE`] leaves it, and a desk with [`AFTER`].
fn begin(cluster: &TestCluster, kubeconfig: std::path::PathBuf) -> Desk {
    cluster.reset();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", BEFORE);
    desk.ok(&["apply", "--auto-approve"]);
    let desk = Desk::with_kubeconfig(kubeconfig);
    desk.write("rolecall.toml", AFTER);
    desk
}

/// Without the lines of progress, whose order within a stage is that of the answers.
fn without_progress(err: &str) -> String {
    err.lines().filter(|line| !line.starts_with("  [")).map(|line| format!("{line}\n")).collect()
}

fn apply(desk: &Desk) -> Ran {
    desk.run(&["apply", "--auto-approve"])
}

/// All that rolecall can write, without what differs between two clusters of the same content.
fn content(cluster: &TestCluster) -> Vec<Value> {
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

/// A dead apply's Lease, which the next one would watch for a quarter of a minute.
fn forget_lease(cluster: &TestCluster) {
    cluster.admin("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/rolecall", None);
}

/// What an apply without any fault leaves.
fn undisturbed(cluster: &TestCluster) -> Vec<Value> {
    let desk = begin(cluster, cluster.kubeconfig());
    let ran = apply(&desk);
    assert!(ran.out.contains(&format!("{WRITES} writes made")), "{}{}", ran.out, ran.err);
    content(cluster)
}

/// Fate of the first try of each write; all else passes.
fn each_write_once(fate: Fate) -> impl Fn(&Asked) -> Fate + Send + Sync {
    let seen = Mutex::new(BTreeSet::new());
    move |asked| {
        let write = format!("{} {} {}", asked.method, asked.path, asked.body);
        if asked.is_write() && seen.lock().unwrap().insert(write) { fate.clone() } else { Fate::Pass }
    }
}

#[test]
fn every_write_survives_every_fault_that_passes() {
    let (_turn, cluster) = CLUSTER.turn();
    let expected = undisturbed(cluster);
    let faults = [
        ("429 as priority and fairness has it", Fate::Answer(Answer::too_many())),
        ("500", Fate::Answer(Answer::failure(500, "InternalError", "etcd leader changed").retry_after(0))),
        ("503", Fate::Answer(Answer::unavailable(503))),
        ("504", Fate::Answer(Answer::unavailable(504))),
        ("a reset before", Fate::Reset),
        ("a lost answer", Fate::LostAnswer),
        ("half an answer", Fate::CutAnswer),
        ("500 after the fact", Fate::WrongAnswer(Answer::failure(500, "InternalError", "timed out").retry_after(0))),
        ("504 after the fact", Fate::WrongAnswer(Answer::unavailable(504))),
        ("a slow server", Fate::Late(Duration::from_millis(50))),
    ];
    for (what, fate) in faults {
        let proxy = Proxy::start(cluster, each_write_once(fate));
        let desk = begin(cluster, proxy.kubeconfig());
        let started = Instant::now();
        let ran = apply(&desk);
        assert_eq!(ran.code, 0, "{what}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(&format!("{WRITES} writes made")), "{what}: {}", ran.out);
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: {:?}", started.elapsed());
        assert_eq!(content(cluster), expected, "{what}");
        assert!(desk.ok(&["plan"]).contains("no changes"), "{what}");
    }
}

/// What was approved has moved: a conflict is not tried again, and what is left is the next plan.
#[test]
fn a_conflict_at_any_write_ends_the_run_and_the_next_goes_on_from_there() {
    let (_turn, cluster) = CLUSTER.turn();
    let expected = undisturbed(cluster);
    for n in 1..=WRITES {
        let conflict = Answer::failure(409, "Conflict", "the object has been modified");
        let proxy = Proxy::start(cluster, move |asked| {
            if asked.is_write() && asked.writes == n { Fate::Answer(conflict.clone()) } else { Fate::Pass }
        });
        let desk = begin(cluster, proxy.kubeconfig());
        let ran = apply(&desk);
        assert_eq!(ran.code, 1, "{n}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("could not") && ran.err.contains("changed by somebody else"), "{n}: {}", ran.err);
        let ran = apply(&desk);
        assert_eq!(ran.code, 0, "{n}: {}{}", ran.out, ran.err);
        let writes = proxy.writes().len();
        assert_eq!(writes, WRITES + 1, "{n}: each once, and the one that was turned away once more");
        assert_eq!(content(cluster), expected, "{n}");
        assert!(desk.ok(&["plan"]).contains("no changes"), "{n}");
    }
}

#[test]
fn every_read_survives_every_fault_that_passes() {
    let (_turn, cluster) = CLUSTER.turn();
    let desk = begin(cluster, cluster.kubeconfig());
    let expected = steps(&desk.plan(&[]));
    let faults = [
        Fate::Answer(Answer::too_many()),
        Fate::Answer(Answer::unavailable(503)),
        Fate::Reset,
        Fate::CutAnswer,
        Fate::WrongAnswer(Answer::unavailable(504)),
    ];
    for fate in faults {
        let proxy = Proxy::start(cluster, move |asked| if asked.nth == 1 { fate.clone() } else { Fate::Pass });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        desk.write("rolecall.toml", AFTER);
        assert_eq!(steps(&desk.plan(&[])), expected);
        assert!(proxy.writes().is_empty());
    }
}

#[test]
fn retry_after_is_waited_for() {
    let (_turn, cluster) = CLUSTER.turn();
    let proxy = Proxy::start(cluster, |asked| match asked.nth {
        1 if asked.path.ends_with("/namespaces") => Fate::Answer(Answer::too_many().retry_after(1)),
        _ => Fate::Pass,
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", AFTER);
    let started = Instant::now();
    desk.ok(&["plan"]);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_server_that_turns_everything_away_ends_the_run_in_its_own_words() {
    let (_turn, cluster) = CLUSTER.turn();
    let desk = begin(cluster, cluster.kubeconfig());
    let total = desk.plan(&[])["steps"].as_array().unwrap().len();
    assert_eq!(total, WRITES);
    let before = content(cluster);
    let proxy = Proxy::start(cluster, |asked| match asked.is_write() {
        true => Fate::Answer(Answer::too_many()),
        false => Fate::Pass,
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", AFTER);
    let ran = apply(&desk);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(without_progress(&ran.err));
    assert_eq!(content(cluster), before);
}

#[test]
fn an_apply_that_stops_in_the_middle_says_what_is_done_and_what_is_not() {
    let (_turn, cluster) = CLUSTER.turn();
    let proxy = Proxy::start(cluster, |asked| match asked.is("PATCH", "/aws-auth") {
        true => Fate::Answer(Answer::failure(403, "Forbidden", "configmaps \"aws-auth\" is forbidden: no")),
        false => Fate::Pass,
    });
    let desk = begin(cluster, proxy.kubeconfig());
    let ran = apply(&desk);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(without_progress(&ran.err));
}

/// What goes wrong with the n-th write, and from then on with everything, for good.
fn from_write(n: usize, first: Fate, then: Fate) -> impl Fn(&Asked) -> Fate + Send + Sync {
    move |asked| match asked.writes {
        writes if writes < n => Fate::Pass,
        writes if writes == n && asked.is_write() => first.clone(),
        _ => then.clone(),
    }
}

#[test]
fn an_apply_stopped_at_any_write_goes_on_from_there() {
    let (_turn, cluster) = CLUSTER.turn();
    let expected = undisturbed(cluster);
    let forbidden = || Fate::Answer(Answer::failure(403, "Forbidden", "not now"));
    let broken = || Fate::Answer(Answer::failure(500, "InternalError", "not now").retry_after(0));
    for n in 1..=WRITES {
        // A refusal is waited over for a second, so it has every other write.
        let (what, refused) = if n % 2 == 0 { ("refused", forbidden()) } else { ("broken", broken()) };
        let stops = [
            (what, refused.clone(), refused, n - 1),
            // The write is made, and neither its answer nor a look at it ever comes.
            ("made and lost", Fate::WrongAnswer(Answer::unavailable(504)), broken(), n),
        ];
        for (what, first, then, made) in stops {
            let proxy = Proxy::start(cluster, from_write(n, first, then));
            let desk = begin(cluster, proxy.kubeconfig());
            let ran = apply(&desk);
            assert_eq!(ran.code, 1, "{what} at {n}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains("Not done ("), "{what} at {n}: {}", ran.err);
            assert!(ran.err.contains("apply again"), "{what} at {n}: {}", ran.err);
            forget_lease(cluster);
            let desk = Desk::with_kubeconfig(cluster.kubeconfig());
            desk.write("rolecall.toml", AFTER);
            let rest = steps(&desk.plan(&[]));
            assert_eq!(rest.len(), WRITES - made, "{what} at {n}: {}\n{rest:#?}", ran.err);
            desk.ok(&["apply", "--auto-approve"]);
            assert_eq!(content(cluster), expected, "{what} at {n}");
            assert!(desk.ok(&["plan"]).contains("no changes"), "{what} at {n}");
        }
    }
}

#[test]
fn a_killed_apply_goes_on_from_there() {
    let (_turn, cluster) = CLUSTER.turn();
    let expected = undisturbed(cluster);
    for n in [2, 5, 8] {
        let proxy = Proxy::start(cluster, move |asked| match asked.is_write() && asked.writes >= n {
            true => Fate::Late(Duration::from_millis(200)),
            false => Fate::Pass,
        });
        let desk = begin(cluster, proxy.kubeconfig());
        let mut child = desk
            .command(&["apply", "--auto-approve"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while proxy.writes().len() < n {
            assert!(Instant::now() < deadline, "it never comes to write {n}");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What is on its way arrives after the death of its sender.
        std::thread::sleep(Duration::from_millis(300));
        forget_lease(cluster);
        let desk = Desk::with_kubeconfig(cluster.kubeconfig());
        desk.write("rolecall.toml", AFTER);
        desk.ok(&["apply", "--auto-approve"]);
        assert_eq!(content(cluster), expected, "killed at {n}");
        assert!(desk.ok(&["plan"]).contains("no changes"), "killed at {n}");
    }
}

/// What somebody else does just after a write has been made, whose answer is then lost.
fn overtaken(
    cluster: &TestCluster,
    method: &'static str,
    end: &'static str,
    fate: Fate,
    act: impl Fn() + Send + Sync + 'static,
) -> Proxy {
    let hit = move |asked: &Asked| asked.is(method, end) && asked.nth == 1;
    // The same request is decided on before it takes effect and looked at after.
    let decide = move |asked: &Asked| if hit(asked) { fate.clone() } else { Fate::Pass };
    Proxy::watched(cluster, decide, move |asked, _| {
        if hit(asked) {
            act();
        }
    })
}

fn patch(path: &str, body: &Value) {
    let kind = Some("application/merge-patch+json");
    let (status, answer) = CLUSTER.request(CLUSTER.admin_token(), "PATCH", path, kind, Some(body));
    assert_eq!(status, 200, "{answer}");
}

const ONE_ROLE: &str = r#"
[policy]
name = "one"
[cluster-roles.one]
rules = [{ verbs = ["get"], resources = ["pods"] }]
"#;

fn one_role() -> String {
    format!("{RBAC}/clusterroles/one")
}

fn foreign_rules() -> Value {
    json!({ "rules": [{ "verbs": ["watch"], "apiGroups": [""], "resources": ["secrets"] }] })
}

#[track_caller]
fn is_foreign(cluster: &TestCluster) {
    let (_, role) = cluster.admin("GET", &one_role(), None);
    assert_eq!(role["rules"], foreign_rules()["rules"], "what somebody else wrote stays: {role}");
}

/// Trap 54, and its other side.
#[test]
fn a_lost_create_is_ours_only_if_the_object_is_still_what_was_sent() {
    let (_turn, cluster) = CLUSTER.turn();
    let proxy = overtaken(cluster, "POST", "/clusterroles", Fate::LostAnswer, || patch(&one_role(), &foreign_rules()));
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", ONE_ROLE);
    let ran = apply(&desk);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("could not create ClusterRole one"), "{}", ran.err);
    assert!(ran.err.contains("it exists already"), "{}", ran.err);
    is_foreign(cluster);
}

#[test]
fn a_lost_patch_is_ours_only_if_the_object_is_still_what_was_sent() {
    let (_turn, cluster) = CLUSTER.turn();
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", ONE_ROLE).ok(&["apply", "--auto-approve"]);
    let proxy =
        overtaken(cluster, "PATCH", "/clusterroles/one", Fate::LostAnswer, || patch(&one_role(), &foreign_rules()));
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", &ONE_ROLE.replace("\"get\"", "\"list\""));
    let ran = apply(&desk);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("it was changed by somebody else since it was read"), "{}", ran.err);
    is_foreign(cluster);
}

#[test]
fn a_lost_delete_does_not_take_what_has_the_name_since() {
    let (_turn, cluster) = CLUSTER.turn();
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", ONE_ROLE).ok(&["apply", "--auto-approve"]);
    let proxy = overtaken(cluster, "DELETE", "/clusterroles/one", Fate::LostAnswer, || {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
        });
        role["rules"] = foreign_rules()["rules"].clone();
        CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role));
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", "[policy]\nname = \"one\"\n");
    let ran = apply(&desk);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("it was changed by somebody else"), "{}", ran.err);
    is_foreign(cluster);
}

#[test]
fn a_foreign_create_or_change_between_plan_and_write_is_a_conflict_and_stays() {
    let (_turn, cluster) = CLUSTER.turn();
    for reset_first in [false, true] {
        cluster.reset();
        let fate = move |asked: &Asked| {
            if asked.is("POST", "/clusterroles") && asked.nth == 1 {
                let mut role = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
                });
                role["rules"] = foreign_rules()["rules"].clone();
                CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role));
                if reset_first {
                    return Fate::Reset;
                }
            }
            Fate::Pass
        };
        let proxy = Proxy::start(cluster, fate);
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        desk.write("rolecall.toml", ONE_ROLE);
        let ran = apply(&desk);
        assert!(ran.code == 1 && ran.err.contains("it exists already"), "{}{}", ran.out, ran.err);
        is_foreign(cluster);
    }
}

#[test]
fn an_entry_that_eksctl_adds_between_plan_and_write_is_not_lost() {
    let (_turn, cluster) = CLUSTER.turn();
    let eksctl = format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl\n  username: e\n");
    let theirs = eksctl.clone();
    let proxy = Proxy::start(cluster, move |asked| {
        if asked.is("PATCH", "/aws-auth") && asked.nth == 1 {
            patch(AWS_AUTH, &json!({ "data": { "mapRoles": theirs } }));
        }
        Fate::Pass
    });
    let desk = begin(cluster, proxy.kubeconfig());
    let ran = apply(&desk);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("could not change the aws-auth entries"), "{}", ran.err);
    assert!(ran.err.contains("it was changed by somebody else since it was read"), "{}", ran.err);
    assert_eq!(cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"], json!(eksctl));
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", AFTER).ok(&["apply", "--auto-approve"]);
    let now = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
    assert!(now.starts_with(&eksctl), "{now}");
}

#[test]
fn a_role_without_rules_whose_answer_was_lost_is_known_again() {
    let (_turn, cluster) = CLUSTER.turn();
    // The server keeps `rules: []` as null and leaves an empty list of subjects out.
    let policy = "[policy]\nname = \"one\"\n[cluster-roles.empty]\nrules = []\n";
    let proxy = Proxy::start(cluster, each_write_once(Fate::LostAnswer));
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", policy);
    let ran = apply(&desk);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

/// A kubeconfig whose plugin prints `token-1`, then `token-2`, and keeps the count of its calls.
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
        let server = proxy.server();
        proxy.kubeconfig_of(&json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "eks",
            "clusters": [{ "name": "eks", "cluster": { "server": server } }],
            "users": [{ "name": "eks", "user": { "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": self.folder.path().join("plugin"), "interactiveMode": "IfAvailable",
            } } }],
            "contexts": [{ "name": "eks", "context": { "cluster": "eks", "user": "eks" } }],
        }))
    }

    fn calls(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default().lines().count()
    }
}

fn unauthorized() -> Fate {
    Fate::Answer(Answer::failure(401, "Unauthorized", "Unauthorized"))
}

/// Trap 55: a token lives for a quarter of an hour, an apply may live longer.
#[test]
fn a_token_that_expires_in_the_middle_is_renewed_once() {
    let (_turn, cluster) = CLUSTER.turn();
    let expected = undisturbed(cluster);
    // In the reads with five requests at once, and in the writes.
    for expires_with in [0, 4] {
        let plugin = Plugin::new();
        let proxy = Proxy::start(cluster, move |asked| {
            let old = asked.authorization == "Bearer token-1";
            if old && asked.writes >= expires_with {
                unauthorized()
            } else {
                Fate::PassAs(CLUSTER.admin_token().to_owned())
            }
        });
        let desk = begin(cluster, plugin.kubeconfig(&proxy));
        let ran = apply(&desk);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert_eq!(content(cluster), expected);
        // Once at the start and once after, and three times to prove that new credentials still get in.
        assert_eq!(plugin.calls(), 5);
    }
}

#[test]
fn credentials_that_are_refused_again_when_renewed_end_the_run() {
    let (_turn, cluster) = CLUSTER.turn();
    let plugin = Plugin::new();
    let proxy = Proxy::start(cluster, |_| unauthorized());
    let desk = Desk::with_kubeconfig(plugin.kubeconfig(&proxy));
    desk.write("rolecall.toml", ONE_ROLE);
    let ran = desk.run(&["plan"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("does not accept the credentials"), "{}", ran.err);
    assert!(plugin.calls() <= 2, "{} calls", plugin.calls());
}

#[test]
fn a_right_granted_a_moment_ago_is_waited_for() {
    let (_turn, cluster) = CLUSTER.turn();
    let forbidden = Answer::failure(403, "Forbidden", "attempting to grant RBAC permissions not currently held");
    let proxy = Proxy::start(cluster, each_write_once(Fate::Answer(forbidden)));
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", ONE_ROLE);
    let ran = apply(&desk);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}
