//! What a write does, and what a read is, on the real API server and on a snapshot of it.

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
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::proxy::{Answer, Asked, Fate, Proxy};
use common::reset::Shared;
use common::rolecall::Desk;
use common::{Options, TestCluster};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

static CLUSTER: Shared = Shared::new(|| TestCluster::start_with(Options { aggregation: true, ..Options::default() }));

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MERGE: Option<&str> = Some("application/merge-patch+json");

fn desk(cluster: &TestCluster, policy: &str) -> Desk {
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
    desk
}

fn patch(path: &str, body: &Value) -> Value {
    let (status, answer) = CLUSTER.request(CLUSTER.admin_token(), "PATCH", path, MERGE, Some(body));
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn role(name: &str, verb: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
        "rules": [{ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] }],
    })
}

fn namespace(name: &str) {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    CLUSTER.admin("POST", "/api/v1/namespaces", Some(&body));
}

/// Whether the API server lets a member of the group do it.
fn may(group: &str, verb: &str, resource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "somebody", "groups": [group, "system:authenticated"],
            "resourceAttributes": { "verb": verb, "resource": resource, "namespace": "default" },
        },
    });
    let (_, answer) = CLUSTER.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
    answer["status"]["allowed"].as_bool().unwrap_or_else(|| panic!("{answer}"))
}

#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never holds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The plan is empty on the cluster and on a snapshot of it, and nothing has drifted.
#[track_caller]
fn nothing_to_do(desk: &Desk) {
    desk.ok(&["snapshot", "--out", "now.yaml"]);
    for place in [&[][..], &["--snapshot", "now.yaml"]] {
        let plan = desk.ok(&[&["plan"], place].concat());
        assert!(plan.contains("no changes"), "{plan}");
        let drift = desk.ok(&[&["drift"], place].concat());
        assert!(drift.contains("no drift"), "{drift}");
    }
}

/// Traps 51, 52 and 53: why none of these is ever sent.
#[test]
fn other_requests_bring_back_the_deleted_or_say_nothing_of_a_conflict() {
    let (_turn, cluster) = CLUSTER.turn();
    let path = format!("{RBAC}/clusterroles/gone");
    let (_, read) = cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role("gone", "get")));
    cluster.admin("DELETE", &path, None);
    let mut put = role("gone", "list");
    put["metadata"]["resourceVersion"] = read["metadata"]["resourceVersion"].clone();
    let (status, _) = cluster.request(cluster.admin_token(), "PATCH", &path, MERGE, Some(&put));
    assert_eq!(status, 404, "a merge patch finds nothing");
    assert_eq!(cluster.admin("PUT", &path, Some(&put)).0, 201, "a PUT brings it back");
    cluster.admin("DELETE", &path, None);
    let apply = Some("application/apply-patch+yaml");
    let (status, _) =
        cluster.request(cluster.admin_token(), "PATCH", &format!("{path}?fieldManager=x"), apply, Some(&put));
    assert_eq!(status, 201, "server-side apply brings it back");
    let tests = json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": "1" }]);
    let kind = Some("application/json-patch+json");
    let (status, answer) = cluster.request(cluster.admin_token(), "PATCH", &path, kind, Some(&tests));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("due to an error in our request"), "{answer}");
}

const CHANGES: [&str; 3] = [
    r#"
[cluster-roles.one]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[bindings.one]
cluster-role = "one"
users = ["a"]
"#,
    r#"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
username = "v"
[cluster-roles.one]
rules = [{ verbs = ["list"], resources = ["pods"] }]
[bindings.one]
cluster-role = "one"
users = ["b"]
"#,
    "",
];

#[test]
fn every_write_is_a_create_a_merge_patch_or_a_delete_and_has_its_precondition() {
    let (_turn, cluster) = CLUSTER.turn();
    let proxy = Proxy::start(cluster, |_| Fate::Pass);
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    for policy in CHANGES {
        desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
        desk.ok(&["apply", "--auto-approve", "--allow", "empty-aws-auth"]);
    }
    let writes: Vec<Asked> = proxy.asked().into_iter().filter(Asked::is_write).collect();
    assert_eq!(writes.len(), 9, "{writes:#?}");
    for write in writes {
        let has = |pointer: &str| write.body.pointer(pointer).is_some_and(Value::is_string);
        match write.method.as_str() {
            "POST" => assert!(!has("/metadata/resourceVersion"), "{write:?}"),
            "PATCH" => {
                assert_eq!(write.content_type, "application/merge-patch+json");
                assert!(has("/metadata/resourceVersion") && has("/metadata/uid"), "{write:?}");
            }
            "DELETE" => assert!(has("/preconditions/resourceVersion") && has("/preconditions/uid"), "{write:?}"),
            other => panic!("{other}: {write:?}"),
        }
    }
}

#[test]
fn a_role_that_was_deleted_since_the_plan_does_not_come_back() {
    let (_turn, cluster) = CLUSTER.turn();
    desk(cluster, CHANGES[0]).ok(&["apply", "--auto-approve"]);
    let proxy = Proxy::start(cluster, |asked| {
        if asked.is("PATCH", "/clusterroles/one") {
            CLUSTER.admin("DELETE", &format!("{RBAC}/clusterroles/one"), None);
        }
        Fate::Pass
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", CHANGES[1]));
    let ran = desk.run(&["apply", "--auto-approve"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("could not change ClusterRole one: it does not exist any more"), "{}", ran.err);
    assert_eq!(cluster.admin("GET", &format!("{RBAC}/clusterroles/one"), None).0, 404);
}

/// A saved plan with its only step's write changed, under the digest that it then has.
fn tampered(desk: &Desk, name: &str, change: impl Fn(&mut Value)) {
    let mut plan: Value = serde_json::from_str(&desk.read(name)).unwrap();
    let one = &mut plan["plans"][0];
    change(&mut one["steps"][0]["write"]);
    let content = json!([one["policy"], one["cluster-uid"], one["steps"], one["windows"], null]).to_string();
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    one["digest"] = json!(format!("sha256:{hex}"));
    desk.write(name, &plan.to_string());
}

/// Trap 56.
#[test]
fn a_write_that_changes_nothing_keeps_the_version_and_is_not_counted() {
    let (_turn, cluster) = CLUSTER.turn();
    let policy = "[cluster-roles.one]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    let desk = desk(cluster, policy);
    desk.ok(&["apply", "--auto-approve"]);
    let path = format!("{RBAC}/clusterroles/one");
    let before = cluster.admin("GET", &path, None).1;
    desk.ok(&["snapshot", "--out", "now.yaml"]);
    let file = desk.read("now.yaml");
    desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", policy.replace("get", "list")));
    for place in [&[][..], &["--snapshot", "now.yaml"]] {
        desk.ok(&[&["plan", "--out", "saved.json"], place].concat());
        tampered(&desk, "saved.json", |write| write["body"] = json!({ "rules": before["rules"] }));
        let ran = desk.run(&["apply", "--plan", "saved.json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.contains("already so ClusterRole one"), "{}", ran.err);
        assert!(ran.out.contains("0 writes made, 1 was so already"), "{}", ran.out);
    }
    assert_eq!(cluster.admin("GET", &path, None).1, before);
    assert_eq!(desk.read("now.yaml"), file);
}

/// Trap 59.
#[test]
fn a_deleted_role_with_a_finalizer_grants_on_blocks_its_name_and_is_reported() {
    let (_turn, cluster) = CLUSTER.turn();
    let policy = "\
        [groups.g]\n[cluster-roles.held]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
        [bindings.held]\ncluster-role = \"held\"\ngroups = [\"g\"]\n";
    let desk = desk(cluster, policy);
    desk.ok(&["apply", "--auto-approve"]);
    let path = format!("{RBAC}/clusterrolebindings/held");
    patch(&path, &json!({ "metadata": { "finalizers": ["example.com/held"] } }));
    desk.ok(&["snapshot", "--out", "now.yaml"]);
    let without = policy.split("[bindings.held]").next().unwrap().to_owned();
    let places = [&[][..], &["--snapshot", "now.yaml"]];
    for place in places {
        desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{without}"));
        let ran = desk.run(&[&["apply", "--auto-approve"], place].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let said = "deleting ClusterRoleBinding held: it still grants until its finalizers end: example.com/held";
        assert!(ran.err.contains(said), "{}", ran.err);
        let again = desk.run(&[&["plan"], place].concat());
        assert!(
            again.err.contains("ClusterRoleBinding held is being deleted but still grants access"),
            "{}",
            again.err
        );
        // Its name is taken until it is gone.
        desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
        let blocked = desk.run(&[&["plan"], place].concat());
        assert_eq!(blocked.code, 1);
        assert!(blocked.err.contains("held is being deleted and waits for its finalizers: example.com/held"));
    }
    assert!(may("g", "get", "secrets"), "the authorizer does not look at deletionTimestamp");
    let (status, answer) = cluster.admin(
        "POST",
        &format!("{RBAC}/clusterrolebindings"),
        Some(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "held" },
            "roleRef": { "kind": "ClusterRole", "name": "held", "apiGroup": "rbac.authorization.k8s.io" },
        })),
    );
    assert!(status == 409 && answer["message"].as_str().unwrap().contains("object is being deleted"), "{answer}");
    patch(&path, &json!({ "metadata": { "finalizers": null } }));
    soon("the end of the access", || !may("g", "get", "secrets"));
}

#[test]
fn a_binding_whose_finalizers_would_hold_up_its_replacement_is_refused_when_planned() {
    let (_turn, cluster) = CLUSTER.turn();
    let policy = "\
        [groups.g]\n[cluster-roles.a]\nrules = []\n[cluster-roles.b]\nrules = []\n\
        [bindings.held]\ncluster-role = \"a\"\ngroups = [\"g\"]\n";
    let desk = desk(cluster, policy);
    desk.ok(&["apply", "--auto-approve"]);
    let path = format!("{RBAC}/clusterrolebindings/held");
    patch(&path, &json!({ "metadata": { "finalizers": ["example.com/held"] } }));
    desk.ok(&["snapshot", "--out", "now.yaml"]);
    desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", policy.replace("role = \"a\"", "role = \"b\"")));
    for place in [&[][..], &["--snapshot", "now.yaml"]] {
        let ran = desk.run(&[&["apply", "--auto-approve"], place].concat());
        assert_eq!(ran.code, 1);
        assert!(
            ran.err.contains(
                "ClusterRoleBinding held cannot be replaced: its finalizers block the deletion: example.com/held"
            ),
            "{}",
            ran.err
        );
    }
    patch(&path, &json!({ "metadata": { "finalizers": null } }));
    desk.ok(&["apply", "--auto-approve"]);
    nothing_to_do(&desk);
}

/// Trap 29.
#[test]
fn a_role_ref_changes_over_a_bridge_and_what_both_sides_allow_is_never_lost() {
    let (_turn, cluster) = CLUSTER.turn();
    let policy = |bound: &str| {
        format!(
            "[policy]\nname = \"w\"\n[groups.g]\n\
             [cluster-roles.old]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\", \"services\"] }}]\n\
             [cluster-roles.new]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\", \"secrets\"] }}]\n\
             [bindings.wide]\ncluster-role = \"{bound}\"\ngroups = [\"g\"]\n\
             [bindings.narrow]\ncluster-role = \"{bound}\"\ngroups = [\"h\"]\nnamespaces = [\"default\"]\n[groups.h]\n"
        )
    };
    let start = Desk::with_kubeconfig(cluster.kubeconfig());
    start.write("rolecall.toml", &policy("old")).ok(&["apply", "--auto-approve"]);
    soon("the old access", || may("g", "get", "pods") && may("h", "get", "pods"));
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let seen = wrong.clone();
    let look = move |when: &str| {
        for group in ["g", "h"] {
            let (both, neither) = (may(group, "get", "pods"), may(group, "delete", "pods"));
            if !both || neither {
                seen.lock().unwrap().push(format!("{when}: {group} may get pods: {both}, delete pods: {neither}"));
            }
        }
    };
    let after = look.clone();
    let proxy = Proxy::watched(
        cluster,
        |_| Fate::Pass,
        move |asked, _| {
            if asked.is_write() {
                after(&format!("after {} {}", asked.method, asked.path));
            }
        },
    );
    let ended = Arc::new(AtomicBool::new(false));
    let watching = ended.clone();
    let watcher = std::thread::spawn(move || {
        let mut looks = 0;
        while !watching.load(Ordering::Relaxed) {
            look("in between");
            looks += 1;
        }
        looks
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    desk.write("rolecall.toml", &policy("new")).ok(&["apply", "--auto-approve"]);
    ended.store(true, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 3, "it was hardly looked at");
    assert!(wrong.lock().unwrap().is_empty(), "{:#?}", wrong.lock().unwrap());
    let (wide, narrow) = (format!("{RBAC}/clusterrolebindings"), format!("{RBAC}/namespaces/default/rolebindings"));
    let mut writes = proxy.writes();
    // The two bindings have their writes side by side.
    for pair in writes.chunks_mut(2) {
        pair.sort();
    }
    assert_eq!(
        writes,
        [
            format!("POST {wide}"),
            format!("POST {narrow}"),
            format!("DELETE {wide}/wide"),
            format!("DELETE {narrow}/narrow"),
            format!("POST {wide}"),
            format!("POST {narrow}"),
            format!("DELETE {wide}/wide-rolecall-bridge"),
            format!("DELETE {narrow}/narrow-rolecall-bridge"),
        ]
    );
    soon("the new access", || may("g", "get", "secrets") && !may("g", "get", "services"));
    nothing_to_do(&desk);
}

/// Traps 30 and 31.
#[test]
fn what_the_server_fills_in_and_what_says_the_same_is_no_change() {
    let (_turn, cluster) = CLUSTER.turn();
    namespace("w-same");
    let policy = r#"
[groups.g]
[groups.h]
[cluster-roles.empty]
rules = []
[cluster-roles.two]
rules = [
  { verbs = ["get", "list"], resources = ["pods", "services"] },
  { verbs = ["create"], api-groups = ["apps"], resources = ["deployments"], resource-names = ["x", "y"] },
]
[bindings.both]
cluster-role = "two"
groups = ["g", "h"]
users = ["u"]
[bindings.account]
cluster-role = "two"
namespaces = ["w-same"]
service-accounts = ["w-same/builder"]
"#;
    let desk = desk(cluster, policy);
    desk.ok(&["apply", "--auto-approve"]);
    nothing_to_do(&desk);
    let two = json!({ "rules": [
        { "verbs": ["create", "create"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["y", "x"] },
        { "verbs": ["list", "get"], "apiGroups": [""], "resources": ["services", "pods"], "resourceNames": [], "nonResourceURLs": null },
        { "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "services"] },
    ] });
    patch(&format!("{RBAC}/clusterroles/two"), &two);
    // Without apiGroup, which the server fills in.
    let both = json!({ "roleRef": { "apiGroup": null }, "subjects": [
        { "kind": "User", "name": "u" }, { "kind": "Group", "name": "h" }, { "kind": "Group", "name": "g", "namespace": "ignored" },
        { "kind": "Group", "name": "h" },
    ] });
    patch(&format!("{RBAC}/clusterrolebindings/both"), &both);
    let account = json!({ "subjects": [{ "kind": "ServiceAccount", "name": "builder" }] });
    patch(&format!("{RBAC}/namespaces/w-same/rolebindings/account"), &account);
    for rules in [json!([]), Value::Null] {
        patch(&format!("{RBAC}/clusterroles/empty"), &json!({ "rules": rules }));
    }
    nothing_to_do(&desk);
    // A file by hand says it in its own ways.
    let bare = |text: &str, gone: &str| {
        text.lines().filter(|line| !line.contains(gone)).map(|line| format!("{line}\n")).collect()
    };
    let by_hand: String = bare(&desk.read("now.yaml"), "apiGroup: rbac");
    assert!(by_hand.contains("rules: null") && by_hand.contains("roleRef:\n  kind: "), "{by_hand}");
    for rules in ["rules: []", "# no rules"] {
        desk.write("hand.yaml", &by_hand.replace("rules: null", rules));
        assert!(desk.ok(&["plan", "--snapshot", "hand.yaml"]).contains("no changes"), "{rules}");
    }
}

/// Trap 36.
#[test]
fn urls_in_a_role_are_refused_by_the_server_by_a_snapshot_and_by_a_policy() {
    let (_turn, cluster) = CLUSTER.turn();
    namespace("w-urls");
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "urls", "namespace": "w-urls" },
        "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }],
    });
    let words = "namespaced rules cannot apply to non-resource URLs";
    let (status, answer) = cluster.admin("POST", &format!("{RBAC}/namespaces/w-urls/roles"), Some(&body));
    assert!(status == 422 && answer["message"].as_str().unwrap().contains(words), "{answer}");
    let desk = desk(cluster, "");
    desk.write("now.json", &body.to_string());
    let ran = desk.run(&["plan", "--snapshot", "now.json"]);
    assert!(ran.code == 1 && ran.err.contains(words), "{}", ran.err);
    desk.write(
        "rolecall.toml",
        "[policy]\nname = \"w\"\n[roles.urls]\nnamespaces = [\"w-urls\"]\n\
         rules = [{ verbs = [\"get\"], non-resource-urls = [\"/metrics\"] }]\n",
    );
    let ran = desk.run(&["validate"]);
    assert!(ran.code == 1 && ran.err.contains("non-resource-urls"), "{}", ran.err);
}

/// Trap 39.
#[test]
fn the_rules_that_a_controller_fills_in_are_never_a_change() {
    let (_turn, cluster) = CLUSTER.turn();
    let policy = r#"
[groups.g]
[cluster-roles.all]
aggregation = [{ match-labels = { "example.com/w" = "yes" } }]
[cluster-roles.part]
rules = [{ verbs = ["get"], resources = ["pods"] }]
labels = { "example.com/w" = "yes" }
[bindings.all]
cluster-role = "all"
groups = ["g"]
"#;
    let desk = desk(cluster, policy);
    desk.ok(&["apply", "--auto-approve"]);
    soon("the aggregated role", || may("g", "get", "pods"));
    nothing_to_do(&desk);
    // Somebody's own part comes, and with it the controller.
    let mut part = role("others-part", "list");
    part["metadata"]["labels"] = json!({ "example.com/w": "yes" });
    cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&part));
    soon("the other part", || may("g", "list", "pods"));
    nothing_to_do(&desk);
}

/// Trap 45.
#[test]
fn names_of_any_letters_reach_the_server_and_come_back() {
    let (_turn, cluster) = CLUSTER.turn();
    namespace("w-names");
    let names = [
        "a:b",
        "team@example.com",
        "Two Words",
        "ümläut",
        "q?x=1&y#z",
        "plus+",
        "x..y",
        "true",
        "007",
        "- dash",
        "# hash",
    ];
    let policy = |verb: &str| {
        let mut out = String::from("[groups.g]\n");
        for name in names {
            out.push_str(&format!(
                "[cluster-roles.{name:?}]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n\
                 [roles.{name:?}]\nnamespaces = [\"w-names\"]\nrules = [{{ verbs = [\"{verb}\"], resources = [\"pods\"] }}]\n\
                 [bindings.{name:?}]\ncluster-role = {name:?}\ngroups = [\"g\"]\n"
            ));
        }
        out
    };
    let desk = desk(cluster, &policy("get"));
    desk.ok(&["apply", "--auto-approve"]);
    nothing_to_do(&desk);
    desk.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", policy("list")));
    for place in [&[][..], &["--snapshot", "now.yaml"]] {
        desk.ok(&[&["apply", "--auto-approve"], place].concat());
        assert!(desk.ok(&[&["plan"], place].concat()).contains("no changes"));
    }
    for name in names {
        let found = cluster.kubectl(&["get", "clusterrole", "-o", "jsonpath={.rules[0].verbs[0]}", "--", name]);
        assert_eq!(found, "list", "{name}");
    }
    desk.write("rolecall.toml", "[policy]\nname = \"w\"\n");
    for place in [&[][..], &["--snapshot", "now.yaml"]] {
        desk.ok(&[&["apply", "--auto-approve"], place].concat());
        let left = desk.ok(&[&["snapshot"], place].concat());
        assert!(!left.contains("managed-by: rolecall"), "{left}");
    }
}

/// Names of the roles that a test has made, in a snapshot.
fn made(snapshot: &str) -> Vec<String> {
    let names = snapshot.lines().filter_map(|line| line.trim().strip_prefix("name: page-"));
    names.map(str::to_owned).collect()
}

fn make_pages() {
    for n in 0..7 {
        CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role(&format!("page-{n}"), "get")));
    }
}

/// The first becomes the last: pages of two moments would show it twice or not at all.
fn move_one() {
    CLUSTER.admin("DELETE", &format!("{RBAC}/clusterroles/page-0"), None);
    CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role("page-9", "get")));
}

fn small_pages(asked: &Asked) -> Fate {
    Fate::Requery(asked.query.replace("limit=20000", "limit=2"))
}

/// Trap 66.
#[test]
fn a_list_in_pages_is_of_the_moment_of_its_first_page() {
    let (_turn, cluster) = CLUSTER.turn();
    make_pages();
    let proxy = Proxy::start(cluster, |asked| {
        if asked.is("GET", "/clusterroles") && asked.nth == 3 {
            move_one();
        }
        small_pages(asked)
    });
    let desk = Desk::with_kubeconfig(proxy.kubeconfig());
    assert_eq!(made(&desk.ok(&["snapshot"])), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(made(&desk.ok(&["snapshot"])), ["1", "2", "3", "4", "5", "6", "9"]);
    let pages = proxy.asked().iter().filter(|asked| asked.query.contains("continue=")).count();
    assert!(pages > 10, "{pages} pages");
}

/// Trap 55.
#[test]
fn a_list_whose_moment_is_forgotten_starts_over() {
    let (_turn, cluster) = CLUSTER.turn();
    let expired = || Fate::Answer(Answer::failure(410, "Expired", "The provided continue parameter is too old"));
    let other_moment = || {
        let body = json!({ "metadata": { "resourceVersion": "1" }, "items": [] }).to_string();
        Fate::Answer(Answer { status: 200, headers: Vec::new(), body })
    };
    for odd in [expired(), other_moment()] {
        cluster.reset();
        make_pages();
        let proxy = Proxy::start(cluster, move |asked| {
            if asked.is("GET", "/clusterroles") && asked.nth == 3 {
                move_one();
                return odd.clone();
            }
            small_pages(asked)
        });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        assert_eq!(made(&desk.ok(&["snapshot"])), ["1", "2", "3", "4", "5", "6", "9"]);
    }
    for odd in [expired(), other_moment()] {
        let proxy = Proxy::start(cluster, move |asked| match asked.query.contains("continue=") {
            true => odd.clone(),
            false => small_pages(asked),
        });
        let desk = Desk::with_kubeconfig(proxy.kubeconfig());
        // Half a list is no list: what is missing from it would be taken for removed.
        desk.write("rolecall.toml", "[policy]\nname = \"w\"\n");
        let ran = desk.run(&["plan"]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert_eq!(ran.out, "");
    }
}
