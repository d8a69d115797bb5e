//! Applies plans with aggregated ClusterRoles while the real aggregation controller runs. Where a test needs a write of
//! the controller at a certain moment, it makes the same request as the controller: server-side apply of the rules
//! (Kubernetes, pkg/controller/clusterroleaggregation).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::proxy::{Proxy, ProxyAction};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::CLUSTER;
use serde_json::{Value, json};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const NO_CHANGES: &str = "No changes. The cluster matches the policy.";

fn sandbox(cluster: &TestCluster, policy: &str) -> Sandbox {
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    write_policy(&sandbox, policy);
    sandbox
}

fn write_policy(sandbox: &Sandbox, policy: &str) {
    sandbox.write("rolecall.toml", &format!("[policy]\nname = \"a\"\n[guard]\nmax-removals = 1000\n{policy}"));
}

fn rule(verb: &str, resource: &str) -> Value {
    json!({ "verbs": [verb], "apiGroups": [""], "resources": [resource] })
}

fn role(name: &str) -> (u16, Value) {
    CLUSTER.admin("GET", &format!("{ROLES}/{name}"), None)
}

/// The rules of a role. A role without rules has `null` or an empty list.
fn rules(name: &str) -> Vec<Value> {
    role(name).1["rules"].as_array().cloned().unwrap_or_default()
}

fn patch(name: &str, manager: &str, body: &Value) {
    let path = format!("{ROLES}/{name}?fieldManager={manager}");
    let content_type = Some("application/merge-patch+json");
    let (status, answer) = CLUSTER.request(CLUSTER.admin_token(), "PATCH", &path, content_type, Some(body));
    assert_eq!(status, 200, "{answer}");
}

/// Makes the request that the aggregation controller makes.
fn write_as_controller(name: &str, rules: &Value) {
    let path = format!("{ROLES}/{name}?fieldManager=clusterrole-aggregation-controller&force=true");
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
        "rules": rules,
    });
    let content_type = Some("application/apply-patch+yaml");
    let (status, answer) = CLUSTER.request(CLUSTER.admin_token(), "PATCH", &path, content_type, Some(&body));
    assert!(status == 200 || status == 201, "{status} {answer}");
}

fn is_allowed(group: &str, verb: &str, resource: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "u", "groups": [group, "system:authenticated"],
            "resourceAttributes": { "verb": verb, "resource": resource },
        },
    });
    let (_, answer) = CLUSTER.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
    answer["status"]["allowed"].as_bool().unwrap_or_else(|| panic!("{answer}"))
}

#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn assert_no_changes(sandbox: &Sandbox) {
    let plan = sandbox.ok(&["plan"]);
    assert!(plan.contains(NO_CHANGES), "{plan}");
    sandbox.ok(&["drift"]);
}

/// Three aggregated roles, of which the second also selects the first, and the roles that they select.
fn aggregated_policy() -> String {
    // A name that must be escaped in a field selector.
    let mut out = String::from(
        "[groups.g]\n[cluster-roles.'a,b=c\\d']\naggregation = [{ match-labels = { \"example.com/to-0\" = \"yes\" } }]\n",
    );
    for number in 0..3 {
        let own = format!("{{ match-labels = {{ \"example.com/to-{number}\" = \"yes\" }} }}");
        let first = if number == 1 { ", { match-labels = { \"example.com/chain\" = \"yes\" } }" } else { "" };
        let labels = if number == 0 { "labels = { \"example.com/chain\" = \"yes\" }\n" } else { "" };
        out.push_str(&format!(
            "[cluster-roles.all-{number}]\naggregation = [{own}{first}]\n{labels}\
             [cluster-roles.part-{number}]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\", \"r{number}\"] }}]\n\
             labels = {{ \"example.com/to-{number}\" = \"yes\" }}\n\
             [bindings.all-{number}]\ncluster-role = \"all-{number}\"\ngroups = [\"g\"]\n"
        ));
    }
    out
}

/// The same roles with rules of their own. The roles that were selected are changed or removed.
fn plain_policy() -> String {
    let mut out = String::from("[groups.g]\n[cluster-roles.'a,b=c\\d']\nrules = []\n");
    for number in 0..3 {
        out.push_str(&format!(
            "[cluster-roles.all-{number}]\nrules = [{{ verbs = [\"list\"], resources = [\"pods\", \"r{number}\"] }}]\n\
             [bindings.all-{number}]\ncluster-role = \"all-{number}\"\ngroups = [\"g\"]\n"
        ));
    }
    out + "[cluster-roles.part-1]\nrules = [{ verbs = [\"watch\"], resources = [\"pods\"] }]\n"
}

/// The number of rounds. `ROLECALL_ROUNDS=50 cargo test --test it aggregation` runs more.
fn rounds() -> usize {
    std::env::var("ROLECALL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[test]
fn aggregated_roles_that_become_plain_or_are_deleted_converge() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, "");
    for round in 0..rounds() {
        // Without a pause, so that the controller still writes.
        write_policy(&sandbox, &aggregated_policy());
        sandbox.ok(&["apply", "--auto-approve"]);
        write_policy(&sandbox, &plain_policy());
        sandbox.ok(&["apply", "--auto-approve"]);
        for number in 0..3 {
            let expected =
                json!([{ "verbs": ["list"], "apiGroups": [""], "resources": ["pods", format!("r{number}")] }]);
            assert_eq!(json!(rules(&format!("all-{number}"))), expected, "round {round}");
        }
        assert_no_changes(&sandbox);
        write_policy(&sandbox, &aggregated_policy());
        sandbox.ok(&["apply", "--auto-approve"]);
        write_policy(&sandbox, "");
        sandbox.ok(&["apply", "--auto-approve"]);
        for number in 0..3 {
            assert_eq!(role(&format!("all-{number}")).0, 404, "round {round}");
        }
    }
}

/// The controller writes the aggregated roles once for each selected role that is removed.
#[test]
fn aggregated_roles_change_together_with_many_selected_roles() {
    let (_guard, cluster) = CLUSTER.lock();
    let mut policy = aggregated_policy();
    for number in 0..60 {
        policy.push_str(&format!(
            "[cluster-roles.many-{number}]\nrules = [{{ verbs = [\"get\"], resources = [\"m{number}\"] }}]\n\
             labels = {{ \"example.com/to-0\" = \"yes\", \"example.com/to-1\" = \"yes\" }}\n"
        ));
    }
    let sandbox = sandbox(cluster, &policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    // One becomes plain, one selects others, and one is deleted, while all selected roles change or are deleted.
    let changed = plain_policy().replace("[bindings.all-2]\ncluster-role = \"all-2\"\ngroups = [\"g\"]\n", "");
    let (changed, _) = changed.split_once("[cluster-roles.all-2]").unwrap();
    let others = "[cluster-roles.all-1]\naggregation = [{ match-labels = { \"example.com/other\" = \"yes\" } }]\n";
    let (before, rest) = changed.split_once("[cluster-roles.all-1]\n").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    write_policy(&sandbox, &format!("{before}{others}{after}"));
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the controller empties the role", || rules("all-1").is_empty());
    assert_eq!(role("all-2").0, 404);
    assert_no_changes(&sandbox);
}

#[test]
fn write_of_the_controller_before_a_step_is_no_conflict() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &aggregated_policy());
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the controller fills the role", || !rules("all-0").is_empty());
    let proxy = Proxy::start(cluster, |request| {
        // Before the dry run, and before the write.
        if request.method == "PATCH" && request.path.ends_with("/all-0") && request.nth == 1 {
            write_as_controller("all-0", &json!([rule("get", if request.is_dry_run() { "a" } else { "b" })]));
        }
        ProxyAction::Forward
    });
    let proxied = Sandbox::with_kubeconfig(proxy.kubeconfig());
    write_policy(&proxied, &plain_policy());
    proxied.ok(&["apply", "--auto-approve"]);
    let expected = json!([{ "verbs": ["list"], "apiGroups": [""], "resources": ["pods", "r0"] }]);
    assert_eq!(json!(rules("all-0")), expected);
    let writes = proxy.writes();
    assert!(writes.iter().filter(|write| write.ends_with("/all-0")).count() > 1, "{writes:?}");
    write_policy(&sandbox, &plain_policy());
    assert_no_changes(&sandbox);
}

#[test]
fn write_of_another_client_before_a_step_is_a_conflict() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &aggregated_policy());
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the controller fills the role", || !rules("all-0").is_empty());
    for body in [json!({ "metadata": { "labels": { "other": "yes" } } }), json!({ "rules": [rule("delete", "pods")] })]
    {
        let is_rules = body.get("rules").is_some();
        let proxy = Proxy::start(cluster, move |request| {
            if request.matches("PATCH", "/all-0") && request.nth == 1 {
                patch("all-0", "kubectl-edit", &body);
            }
            ProxyAction::Forward
        });
        let proxied = Sandbox::with_kubeconfig(proxy.kubeconfig());
        write_policy(&proxied, &plain_policy());
        let digest = proxied.plan(&[])["digest"].as_str().unwrap().to_owned();
        let output = proxied.run(&["apply", "--approved", &digest]);
        if output.exit_code == 0 && is_rules {
            // The controller has replaced the edited rules in time.
            assert!(rules("all-0") != [rule("delete", "pods")]);
        } else {
            assert!(
                output.stderr.contains("could not change ClusterRole all-0: it was changed by another client"),
                "{}",
                output.stderr
            );
        }
        sandbox.ok(&["apply", "--auto-approve"]);
    }
}

#[test]
fn old_rules_that_the_controller_writes_after_a_step_are_written_over() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &aggregated_policy());
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the controller fills the role", || !rules("all-0").is_empty());
    let is_created_again = AtomicBool::new(false);
    let proxy = Proxy::start_with_observer(
        cluster,
        |_| ProxyAction::Forward,
        move |request, status| {
            // Also after the first repetition.
            if request.matches("PATCH", "/all-0") && status == 200 && request.nth <= 2 {
                write_as_controller("all-0", &json!([rule("get", "secrets")]));
            }
            let is_deleted = request.matches("DELETE", "/clusterroles/all-2") && status == 200;
            if is_deleted && !is_created_again.swap(true, Ordering::Relaxed) {
                write_as_controller("all-2", &json!([rule("get", "secrets")]));
            }
        },
    );
    let proxied = Sandbox::with_kubeconfig(proxy.kubeconfig());
    let (policy, _) =
        plain_policy().split_once("[cluster-roles.all-2]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    write_policy(&proxied, &policy);
    let output = proxied.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    for name in ["all-0", "all-2"] {
        let note = format!(
            "ClusterRole {name} was written again: clusterrole-aggregation-controller had put old rules into it"
        );
        assert!(output.stderr.contains(&note), "{}", output.stderr);
    }
    assert_eq!(rules("all-0"), [json!({ "verbs": ["list"], "apiGroups": [""], "resources": ["pods", "r0"] })]);
    assert_eq!(role("all-2").0, 404);
    write_policy(&sandbox, &policy);
    assert_no_changes(&sandbox);
}

#[test]
fn role_that_is_overwritten_again_and_again_is_reported() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &aggregated_policy());
    sandbox.ok(&["apply", "--auto-approve"]);
    for (manager, message) in [
        (
            "clusterrole-aggregation-controller",
            "the field manager of the last write is clusterrole-aggregation-controller",
        ),
        ("kubectl-edit", "the field manager of the last write is kubectl-edit"),
    ] {
        write_policy(&sandbox, &aggregated_policy());
        sandbox.ok(&["apply", "--auto-approve"]);
        let count = AtomicUsize::new(0);
        let proxy = Proxy::start_with_observer(
            cluster,
            |_| ProxyAction::Forward,
            move |request, status| {
                if request.matches("PATCH", "/all-0") && status == 200 {
                    let resource = format!("r-{}", count.fetch_add(1, Ordering::Relaxed));
                    let body = json!([rule("get", &resource)]);
                    match manager {
                        "kubectl-edit" => patch("all-0", manager, &json!({ "rules": body })),
                        _ => write_as_controller("all-0", &body),
                    }
                }
            },
        );
        let proxied = Sandbox::with_kubeconfig(proxy.kubeconfig());
        write_policy(&proxied, &plain_policy());
        let output = proxied.run(&["apply", "--auto-approve"]);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert!(
            output.stderr.contains("ClusterRole all-0 is not as planned: it was overwritten after the write"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains(message), "{}", output.stderr);
        let rewrites = proxy.writes().iter().filter(|write| write.ends_with("/all-0")).count();
        assert!(rewrites <= 7, "{:?}", proxy.writes());
    }
}

const SECRETS: &str = "rules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n";
const SELECTS_W: &str = "aggregation = [{ match-labels = { \"example.com/w\" = \"yes\" } }]\n";

/// The role `all`, which the group `g` is bound to, and other roles.
fn with_role(content: &str, others: &str) -> String {
    format!(
        "[groups.g]\n[bindings.all]\ncluster-role = \"all\"\ngroups = [\"g\"]\n[cluster-roles.all]\n{content}{others}"
    )
}

#[track_caller]
fn assert_loses_secrets(sandbox: &Sandbox) {
    let plan = sandbox.ok(&["plan"]);
    assert!(plan.contains("group:g  loses  get secrets in all namespaces"), "{plan}");
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_eq!(rules("all"), [] as [Value; 0]);
    eventually("the access is revoked", || !is_allowed("g", "get", "secrets"));
    // The controller does not bring the rules back.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rules("all"), [] as [Value; 0]);
    assert_no_changes(sandbox);
}

#[test]
fn role_that_becomes_aggregated_and_selects_nothing_loses_its_rules() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &with_role(SECRETS, ""));
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(is_allowed("g", "get", "secrets"));
    write_policy(&sandbox, &with_role(SELECTS_W, ""));
    assert_loses_secrets(&sandbox);
}

#[test]
fn aggregated_role_loses_rules_of_its_own_when_its_selection_becomes_empty() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &with_role(SECRETS, ""));
    sandbox.ok(&["apply", "--auto-approve"]);
    // The selected role has the same rules, so the controller writes nothing, and they remain rules of rolecall.
    let part = format!("[cluster-roles.part]\n{SECRETS}labels = {{ \"example.com/w\" = \"yes\" }}\n");
    write_policy(&sandbox, &with_role(SELECTS_W, &part));
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(is_allowed("g", "get", "secrets"));
    assert_no_changes(&sandbox);
    write_policy(&sandbox, &with_role(SELECTS_W, ""));
    assert_loses_secrets(&sandbox);
}

#[test]
fn adopted_aggregated_role_that_selects_nothing_loses_its_rules() {
    let (_guard, cluster) = CLUSTER.lock();
    let selectors = json!({ "clusterRoleSelectors": [{ "matchLabels": { "example.com/w": "yes" } }] });
    for aggregation_rule in [Value::Null, selectors] {
        cluster.reset();
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "all" },
            "rules": [rule("get", "secrets")],
        });
        let (status, answer) = cluster.admin("POST", ROLES, Some(&body));
        assert_eq!(status, 201, "{answer}");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "all" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g" }],
        });
        cluster.admin("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", Some(&binding));
        patch("all", "kubectl-edit", &json!({ "aggregationRule": aggregation_rule }));
        assert_loses_secrets(&sandbox(cluster, &with_role(SELECTS_W, "")));
    }
}

#[test]
fn rules_written_by_hand_into_an_aggregated_role_that_selects_nothing_are_drift() {
    let (_guard, cluster) = CLUSTER.lock();
    let sandbox = sandbox(cluster, &with_role(SELECTS_W, ""));
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_no_changes(&sandbox);
    patch("all", "kubectl-edit", &json!({ "rules": [rule("get", "secrets")] }));
    let output = sandbox.run(&["drift"]);
    assert_eq!(output.exit_code, 2, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("ClusterRole") && output.stdout.contains("kubectl-edit"), "{}", output.stdout);
    assert_loses_secrets(&sandbox);
    // If a selected role has rules, the controller writes these, and there is no drift.
    let part = format!("[cluster-roles.part]\n{SECRETS}labels = {{ \"example.com/w\" = \"yes\" }}\n");
    write_policy(&sandbox, &with_role(SELECTS_W, &part));
    sandbox.ok(&["apply", "--auto-approve"]);
    eventually("the controller writes the selected rules", || is_allowed("g", "get", "secrets"));
    patch("all", "kubectl-edit", &json!({ "rules": [rule("list", "secrets")] }));
    eventually("the controller writes the selected rules again", || rules("all") == [rule("get", "secrets")]);
    assert_no_changes(&sandbox);
}

/// Two node roles exchange their groups, and the groups exchange their access. rolecall finds no order without a window.
#[test]
fn apply_with_a_window_does_not_wait_for_what_only_a_later_step_grants() {
    let (_guard, cluster) = CLUSTER.lock();
    let policy = |groups: [&str; 2], verbs: [&str; 2]| {
        let principal = |name: &str, group: &str| {
            format!(
                "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nkind = \"node\"\ngroups = [\"{group}\"]\n"
            )
        };
        let role = |name: &str, verbs: &str| {
            format!(
                "[groups.{name}]\n[cluster-roles.{name}]\nrules = [{{ verbs = [{verbs}], resources = [\"pods\"] }}]\n\
                 [bindings.{name}]\ncluster-role = \"{name}\"\ngroups = [\"{name}\"]\n"
            )
        };
        let cluster = "[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n".to_owned();
        let principals = principal("n1", groups[0]) + &principal("n2", groups[1]);
        cluster + &principals + &role("a", verbs[0]) + &role("b", verbs[1])
    };
    let (first, second) = ("\"create\", \"list\"", "\"list\", \"watch\"");
    let sandbox = sandbox(cluster, &policy(["a", "b"], [first, second]));
    sandbox.ok(&["apply", "--auto-approve"]);
    write_policy(&sandbox, &policy(["b", "a"], [second, first]));
    assert_eq!(sandbox.run(&["apply", "--auto-approve"]).exit_code, 3);
    let started = Instant::now();
    let output = sandbox.run(&["apply", "--auto-approve", "--allow-window"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    assert!(started.elapsed() < Duration::from_secs(9), "apply has waited for {:?}", started.elapsed());
    assert_no_changes(&sandbox);
}
