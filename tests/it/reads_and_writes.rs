//! Tests how rolecall writes objects and reads lists, on the real API server and on a snapshot of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::proxy::{Proxy, ProxyAction, ProxyRequest, ProxyResponse};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::{CLUSTER, spawn};
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MERGE: Option<&str> = Some("application/merge-patch+json");

fn sandbox(cluster: &TestCluster, policy: &str) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
    sandbox
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

fn create_namespace(name: &str) {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    CLUSTER.admin("POST", "/api/v1/namespaces", Some(&body));
}

/// Whether the API server allows this request to a member of the group.
fn is_allowed(group: &str, verb: &str, resource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "member", "groups": [group, "system:authenticated"],
            "resourceAttributes": { "verb": verb, "resource": resource, "namespace": "default" },
        },
    });
    let (_, answer) = CLUSTER.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
    answer["status"]["allowed"].as_bool().unwrap_or_else(|| panic!("{answer}"))
}

#[track_caller]
fn eventually(name: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{name} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Neither the cluster nor a snapshot of it has planned changes or drift.
#[track_caller]
fn assert_no_changes(sandbox: &Sandbox) {
    sandbox.ok(&["snapshot", "--out", "now.yaml"]);
    for cluster_args in [&[][..], &["--snapshot", "now.yaml"]] {
        let plan = sandbox.ok(&[&["plan"], cluster_args].concat());
        assert!(plan.contains("No changes. The cluster matches the policy."), "{plan}");
        let drift = sandbox.ok(&[&["drift"], cluster_args].concat());
        assert!(drift.contains("No drift. The cluster matches the policy."), "{drift}");
    }
}

/// Traps 51, 52 and 53: why rolecall sends no PUT, no server-side apply and no JSON patch.
#[test]
fn other_request_kinds_recreate_deleted_objects_or_hide_conflicts() {
    let (_guard, cluster) = CLUSTER.lock();
    let path = format!("{RBAC}/clusterroles/gone");
    let (_, created) = cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role("gone", "get")));
    cluster.admin("DELETE", &path, None);
    let mut changed = role("gone", "list");
    changed["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
    let (status, _) = cluster.request(cluster.admin_token(), "PATCH", &path, MERGE, Some(&changed));
    assert_eq!(status, 404, "a merge patch does not recreate it");
    assert_eq!(cluster.admin("PUT", &path, Some(&changed)).0, 201, "a PUT recreates it");
    cluster.admin("DELETE", &path, None);
    let apply_patch = Some("application/apply-patch+yaml");
    let (status, _) =
        cluster.request(cluster.admin_token(), "PATCH", &format!("{path}?fieldManager=x"), apply_patch, Some(&changed));
    assert_eq!(status, 201, "server-side apply recreates it");
    let test_operation = json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": "1" }]);
    let json_patch = Some("application/json-patch+json");
    let (status, answer) = cluster.request(cluster.admin_token(), "PATCH", &path, json_patch, Some(&test_operation));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("due to an error in our request"), "{answer}");
}

const POLICIES: [&str; 3] = [
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
fn every_write_is_a_create_merge_patch_or_delete_with_a_precondition() {
    let (_guard, cluster) = CLUSTER.lock();
    let proxy = Proxy::start(cluster, |_| ProxyAction::Forward);
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    for policy in POLICIES {
        sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
        sandbox.ok(&["apply", "--auto-approve", "--allow", "empty-aws-auth"]);
    }
    let writes: Vec<ProxyRequest> = proxy.requests().into_iter().filter(ProxyRequest::is_write).collect();
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
fn role_deleted_after_planning_is_not_recreated() {
    let (_guard, cluster) = CLUSTER.lock();
    sandbox(cluster, POLICIES[0]).ok(&["apply", "--auto-approve"]);
    let proxy = Proxy::start(cluster, |asked| {
        if asked.matches("PATCH", "/clusterroles/one") {
            CLUSTER.admin("DELETE", &format!("{RBAC}/clusterroles/one"), None);
        }
        ProxyAction::Forward
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", POLICIES[1]));
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1);
    assert!(output.stderr.contains("could not change ClusterRole one: it no longer exists"), "{}", output.stderr);
    assert_eq!(cluster.admin("GET", &format!("{RBAC}/clusterroles/one"), None).0, 404);
}

/// Trap 59: an object that waits for finalizers still grants access.
#[test]
fn deleted_binding_with_a_finalizer_still_grants_and_is_reported() {
    let (_guard, cluster) = CLUSTER.lock();
    let policy = "\
        [groups.g]\n[cluster-roles.held]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
        [bindings.held]\ncluster-role = \"held\"\ngroups = [\"g\"]\n";
    let sandbox = sandbox(cluster, policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    let path = format!("{RBAC}/clusterrolebindings/held");
    patch(&path, &json!({ "metadata": { "finalizers": ["example.com/held"] } }));
    sandbox.ok(&["snapshot", "--out", "now.yaml"]);
    let policy_without_binding = policy.split("[bindings.held]").next().unwrap().to_owned();
    let clusters = [&[][..], &["--snapshot", "now.yaml"]];
    for cluster_args in clusters {
        sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy_without_binding}"));
        let output = sandbox.run(&[&["apply", "--auto-approve"], cluster_args].concat());
        assert_eq!(output.exit_code, 0, "{}", output.stderr);
        let message =
            "deleting ClusterRoleBinding held: it grants access until its finalizers are removed: example.com/held";
        assert!(output.stderr.contains(message), "{}", output.stderr);
        let second_plan = sandbox.run(&[&["plan"], cluster_args].concat());
        assert!(
            second_plan.stderr.contains("ClusterRoleBinding held is being deleted but still grants access"),
            "{}",
            second_plan.stderr
        );
        // The name cannot be used until the object is deleted.
        sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{policy}"));
        let plan_with_same_name = sandbox.run(&[&["plan"], cluster_args].concat());
        assert_eq!(plan_with_same_name.exit_code, 1);
        assert!(
            plan_with_same_name.stderr.contains("held is being deleted and waits for its finalizers: example.com/held")
        );
    }
    assert!(is_allowed("g", "get", "secrets"), "the authorizer ignores deletionTimestamp");
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
    eventually("the loss of the access", || !is_allowed("g", "get", "secrets"));
}

#[test]
fn plan_refuses_to_replace_a_binding_with_finalizers() {
    let (_guard, cluster) = CLUSTER.lock();
    let policy = "\
        [groups.g]\n[cluster-roles.a]\nrules = []\n[cluster-roles.b]\nrules = []\n\
        [bindings.held]\ncluster-role = \"a\"\ngroups = [\"g\"]\n";
    let sandbox = sandbox(cluster, policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    let path = format!("{RBAC}/clusterrolebindings/held");
    patch(&path, &json!({ "metadata": { "finalizers": ["example.com/held"] } }));
    sandbox.ok(&["snapshot", "--out", "now.yaml"]);
    sandbox
        .write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", policy.replace("role = \"a\"", "role = \"b\"")));
    for cluster_args in [&[][..], &["--snapshot", "now.yaml"]] {
        let output = sandbox.run(&[&["apply", "--auto-approve"], cluster_args].concat());
        assert_eq!(output.exit_code, 1);
        assert!(output.stderr.contains("ClusterRoleBinding held cannot be replaced"), "{}", output.stderr);
    }
    patch(&path, &json!({ "metadata": { "finalizers": null } }));
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_no_changes(&sandbox);
}

/// Trap 29: a roleRef cannot be changed, so that the binding is deleted and created again.
#[test]
fn role_ref_change_uses_a_temporary_binding_and_loses_no_access() {
    let (_guard, cluster) = CLUSTER.lock();
    let policy = |cluster_role: &str| {
        format!(
            "[policy]\nname = \"w\"\n[groups.g]\n\
             [cluster-roles.old]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\", \"services\"] }}]\n\
             [cluster-roles.new]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\", \"secrets\"] }}]\n\
             [bindings.wide]\ncluster-role = \"{cluster_role}\"\ngroups = [\"g\"]\n\
             [bindings.narrow]\ncluster-role = \"{cluster_role}\"\ngroups = [\"h\"]\nnamespaces = [\"default\"]\n[groups.h]\n"
        )
    };
    let setup = Sandbox::with_kubeconfig(cluster.kubeconfig());
    setup.write("rolecall.toml", &policy("old")).ok(&["apply", "--auto-approve"]);
    eventually("the old access", || is_allowed("g", "get", "pods") && is_allowed("h", "get", "pods"));
    let violations = Arc::new(Mutex::new(Vec::new()));
    let recorded = violations.clone();
    let check_access = move |when: &str| {
        for group in ["g", "h"] {
            let (has_common, has_foreign) = (is_allowed(group, "get", "pods"), is_allowed(group, "delete", "pods"));
            if !has_common || has_foreign {
                recorded
                    .lock()
                    .unwrap()
                    .push(format!("{when}: {group} may get pods: {has_common}, delete pods: {has_foreign}"));
            }
        }
    };
    let check_after_write = check_access.clone();
    let proxy = Proxy::start_with_observer(
        cluster,
        |_| ProxyAction::Forward,
        move |asked, _| {
            if asked.is_write() {
                check_after_write(&format!("after {} {}", asked.method, asked.path));
            }
        },
    );
    let stop = Arc::new(AtomicBool::new(false));
    let stop_in_watcher = stop.clone();
    let watcher = spawn(move || {
        let mut checks = 0;
        while !stop_in_watcher.load(Ordering::Relaxed) {
            check_access("between writes");
            checks += 1;
        }
        checks
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", &policy("new")).ok(&["apply", "--auto-approve"]);
    stop.store(true, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 3, "the access was checked too few times");
    assert!(violations.lock().unwrap().is_empty(), "{:#?}", violations.lock().unwrap());
    let (wide, narrow) = (format!("{RBAC}/clusterrolebindings"), format!("{RBAC}/namespaces/default/rolebindings"));
    let mut writes = proxy.writes();
    // The writes of the two bindings are in the same stages, in any order.
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
    eventually("the new access", || is_allowed("g", "get", "secrets") && !is_allowed("g", "get", "services"));
    assert_no_changes(&sandbox);
}

/// Traps 30 and 31: the server sets defaults, and several forms of a rule mean the same.
#[test]
fn server_defaults_and_equivalent_forms_are_no_change() {
    let (_guard, cluster) = CLUSTER.lock();
    create_namespace("w-same");
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
    let sandbox = sandbox(cluster, policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_no_changes(&sandbox);
    let two = json!({ "rules": [
        { "verbs": ["create", "create"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["y", "x"] },
        { "verbs": ["list", "get"], "apiGroups": [""], "resources": ["services", "pods"], "resourceNames": [], "nonResourceURLs": null },
        { "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "services"] },
    ] });
    patch(&format!("{RBAC}/clusterroles/two"), &two);
    // Without apiGroup, which the server sets.
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
    assert_no_changes(&sandbox);
    // A hand-written snapshot may have other forms of the same content.
    let without_lines = |text: &str, removed: &str| {
        text.lines().filter(|line| !line.contains(removed)).map(|line| format!("{line}\n")).collect()
    };
    let hand_written: String = without_lines(&sandbox.read("now.yaml"), "apiGroup: rbac");
    assert!(hand_written.contains("rules: null") && hand_written.contains("roleRef:\n  kind: "), "{hand_written}");
    for rules in ["rules: []", "# no rules"] {
        sandbox.write("hand.yaml", &hand_written.replace("rules: null", rules));
        assert!(
            sandbox.ok(&["plan", "--snapshot", "hand.yaml"]).contains("No changes. The cluster matches the policy."),
            "{rules}"
        );
    }
}

/// Trap 36: a Role cannot have non-resource URLs.
#[test]
fn non_resource_urls_in_a_role_are_refused() {
    let (_guard, cluster) = CLUSTER.lock();
    create_namespace("w-urls");
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "urls", "namespace": "w-urls" },
        "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }],
    });
    let message = "namespaced rules cannot apply to non-resource URLs";
    let (status, answer) = cluster.admin("POST", &format!("{RBAC}/namespaces/w-urls/roles"), Some(&body));
    assert!(status == 422 && answer["message"].as_str().unwrap().contains(message), "{answer}");
    let sandbox = sandbox(cluster, "");
    sandbox.write("now.json", &body.to_string());
    let output = sandbox.run(&["plan", "--snapshot", "now.json"]);
    assert!(output.exit_code == 1 && output.stderr.contains(message), "{}", output.stderr);
    sandbox.write(
        "rolecall.toml",
        "[policy]\nname = \"w\"\n[roles.urls]\nnamespaces = [\"w-urls\"]\n\
         rules = [{ verbs = [\"get\"], non-resource-urls = [\"/metrics\"] }]\n",
    );
    let output = sandbox.run(&["validate"]);
    assert!(output.exit_code == 1 && output.stderr.contains("non-resource-urls"), "{}", output.stderr);
}

/// Trap 39: the controller writes the rules of an aggregated role.
#[test]
fn rules_written_by_the_aggregation_controller_are_no_change() {
    let (_guard, cluster) = CLUSTER.lock();
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
    let sandbox = sandbox(cluster, policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the aggregated role", || is_allowed("g", "get", "pods"));
    assert_no_changes(&sandbox);
    // A role with the label is created outside of rolecall. The controller adds its rules.
    let mut part = role("others-part", "list");
    part["metadata"]["labels"] = json!({ "example.com/w": "yes" });
    cluster.admin("POST", &format!("{RBAC}/clusterroles"), Some(&part));
    eventually("the rules of the other role", || is_allowed("g", "list", "pods"));
    assert_no_changes(&sandbox);
}

/// Trap 45: RBAC names may contain almost any character.
#[test]
fn names_with_special_characters_round_trip() {
    let (_guard, cluster) = CLUSTER.lock();
    create_namespace("w-names");
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
    let sandbox = sandbox(cluster, &policy("get"));
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_no_changes(&sandbox);
    sandbox.write("rolecall.toml", &format!("[policy]\nname = \"w\"\n{}", policy("list")));
    for cluster_args in [&[][..], &["--snapshot", "now.yaml"]] {
        sandbox.ok(&[&["apply", "--auto-approve"], cluster_args].concat());
        assert!(
            sandbox.ok(&[&["plan"], cluster_args].concat()).contains("No changes. The cluster matches the policy.")
        );
    }
    for name in names {
        let stored_verb = cluster.kubectl(&["get", "clusterrole", "-o", "jsonpath={.rules[0].verbs[0]}", "--", name]);
        assert_eq!(stored_verb, "list", "{name}");
    }
    sandbox.write("rolecall.toml", "[policy]\nname = \"w\"\n[guard]\nmax-removals = \"100%\"\n");
    for cluster_args in [&[][..], &["--snapshot", "now.yaml"]] {
        sandbox.ok(&[&["apply", "--auto-approve"], cluster_args].concat());
        let remaining = sandbox.ok(&[&["snapshot"], cluster_args].concat());
        assert!(!remaining.contains("managed-by: rolecall"), "{remaining}");
    }
}

/// The numbers of the roles `page-N` in a snapshot.
fn page_roles(snapshot: &str) -> Vec<String> {
    let names = snapshot.lines().filter_map(|line| line.trim().strip_prefix("name: page-"));
    names.map(str::to_owned).collect()
}

fn create_page_roles() {
    for n in 0..7 {
        CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role(&format!("page-{n}"), "get")));
    }
}

/// Deletes the first role and creates a last one. Pages of different versions would have both or neither.
fn replace_first_page_role() {
    CLUSTER.admin("DELETE", &format!("{RBAC}/clusterroles/page-0"), None);
    CLUSTER.admin("POST", &format!("{RBAC}/clusterroles"), Some(&role("page-9", "get")));
}

fn small_pages(asked: &ProxyRequest) -> ProxyAction {
    ProxyAction::ForwardWithQuery(asked.query.replace("limit=20000", "limit=2"))
}

/// Trap 66: all pages of a list have the resource version of the first page.
#[test]
fn paginated_list_is_consistent_with_its_first_page() {
    let (_guard, cluster) = CLUSTER.lock();
    create_page_roles();
    let proxy = Proxy::start(cluster, |asked| {
        if asked.matches("GET", "/clusterroles") && asked.nth == 3 {
            replace_first_page_role();
        }
        small_pages(asked)
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    assert_eq!(page_roles(&sandbox.ok(&["snapshot"])), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(page_roles(&sandbox.ok(&["snapshot"])), ["1", "2", "3", "4", "5", "6", "9"]);
    let pages = proxy.requests().iter().filter(|asked| asked.query.contains("continue=")).count();
    assert!(pages > 10, "{pages} pages");
}

/// Trap 55: the API server forgets the version of a list after some minutes, and answers 410.
#[test]
fn list_with_an_expired_continue_token_starts_over() {
    let (_guard, cluster) = CLUSTER.lock();
    let expired =
        || ProxyAction::Respond(ProxyResponse::failure(410, "Expired", "The provided continue parameter is too old"));
    let other_version = || {
        let body =
            json!({ "kind": "ClusterRoleList", "metadata": { "resourceVersion": "1" }, "items": [] }).to_string();
        ProxyAction::Respond(ProxyResponse { status: 200, headers: Vec::new(), body })
    };
    for answer in [expired(), other_version()] {
        cluster.reset();
        create_page_roles();
        let proxy = Proxy::start(cluster, move |asked| {
            if asked.matches("GET", "/clusterroles") && asked.nth == 3 {
                replace_first_page_role();
                return answer.clone();
            }
            small_pages(asked)
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        assert_eq!(page_roles(&sandbox.ok(&["snapshot"])), ["1", "2", "3", "4", "5", "6", "9"]);
    }
    for answer in [expired(), other_version()] {
        let proxy = Proxy::start(cluster, move |asked| match asked.query.contains("continue=") {
            true => answer.clone(),
            false => small_pages(asked),
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        // An incomplete list must not be used: objects that are missing from it would count as removed.
        sandbox.write("rolecall.toml", "[policy]\nname = \"w\"\n");
        let output = sandbox.run(&["plan"]);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "");
    }
}
