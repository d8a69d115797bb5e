//! `rolecall permissions`: a runner with just what is printed can apply, and with less nothing is written.

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

use std::time::{Duration, Instant};

use common::TestCluster;
use common::kubeconfig::with_token;
use common::sandbox::Sandbox;
use common::shared_cluster::cluster;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const RUNNER: &str = "system:serviceaccount:team-a:runner";
const MERGE: Option<&str> = Some("application/merge-patch+json");

/// What the cluster has before: owned, and going or changing with the next.
const BEFORE: &str = r#"
[policy]
name = "p"
[groups.viewers]
members = ["viewer", "leaver"]
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
[principals.leaver]
user = "arn:aws:iam::111122223333:user/leaver"
[cluster-roles.looks]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[cluster-roles.goes]
rules = [{ verbs = ["get"], resources = ["nodes"] }]
[roles.local]
namespaces = ["team-a", "team-b"]
rules = [{ verbs = ["get"], resources = ["configmaps"] }]
[bindings.look]
cluster-role = "looks"
groups = ["viewers"]
[bindings.going]
cluster-role = "goes"
groups = ["viewers"]
[bindings.locals]
role = "local"
namespaces = ["team-a", "team-b"]
groups = ["viewers"]
[bindings.turns]
cluster-role = "goes"
groups = ["viewers"]
"#;

/// Every kind created, changed and deleted, a roleRef replaced, an object of nobody adopted, a ghost of the cluster bound.
const AFTER: &str = r#"
[policy]
name = "p"
[groups.viewers]
members = ["viewer"]
[groups.deployers]
members = ["viewer"]
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
[cluster-roles.looks]
rules = [{ verbs = ["get", "list"], api-groups = ["", "apps"], resources = ["pods", "deployments"] }]
labels = { "example.com/owner" = "platform" }
[cluster-roles.metrics]
rules = [{ verbs = ["get"], non-resource-urls = ["/metrics"] }]
[cluster-roles.nobodys]
rules = [{ verbs = ["list"], resources = ["services"] }]
[roles.local]
namespaces = ["team-a"]
rules = [{ verbs = ["get", "update"], resources = ["configmaps"], resource-names = ["settings"] }]
[roles.deploy]
namespaces = ["team-b"]
rules = [{ verbs = ["*"], api-groups = ["apps"], resources = ["deployments", "deployments/scale"] }]
[bindings.look]
cluster-role = "looks"
groups = ["viewers", "deployers"]
[bindings.locals]
role = "local"
namespaces = ["team-a"]
groups = ["deployers"]
[bindings.deploys]
role = "deploy"
namespaces = ["team-b"]
groups = ["deployers"]
[bindings.metrics]
cluster-role = "metrics"
service-accounts = ["team-a/runner"]
[bindings.turns]
cluster-role = "looks"
groups = ["viewers"]
[bindings.edits]
cluster-role = "edit"
namespaces = ["team-b"]
groups = ["deployers"]
"#;

/// The token of a service account: whatever aws-auth says, it stays.
fn runner_token(cluster: &TestCluster) -> String {
    let accounts = "/api/v1/namespaces/team-a/serviceaccounts";
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "runner" } });
    cluster.admin("POST", accounts, Some(&account));
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    let (status, answer) = cluster.admin("POST", &format!("{accounts}/runner/token"), Some(&request));
    assert_eq!(status, 201, "{answer}");
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn namespaces(cluster: &TestCluster) {
    for name in ["team-a", "team-b"] {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.admin("POST", "/api/v1/namespaces", Some(&body));
    }
}

/// Two sandboxes, the admin's and the runner's.
struct Office {
    admin: Sandbox,
    runner: Sandbox,
}

fn office(cluster: &TestCluster) -> Office {
    namespaces(cluster);
    let kubeconfig = with_token("runner", cluster.server(), cluster.ca_file(), &runner_token(cluster)).to_string();
    Office { admin: Sandbox::with_kubeconfig(cluster.kubeconfig()), runner: Sandbox::with_kubeconfig_text(&kubeconfig) }
}

impl Office {
    /// The cluster after the first policy, with the second on both sandboxes.
    fn begin(&self, cluster: &TestCluster) {
        cluster.reset();
        self.admin.write("rolecall.toml", BEFORE).ok(&["apply", "--auto-approve"]);
        cluster.kubectl(&["create", "clusterrole", "nobodys", "--verb=list", "--resource=services"]);
        self.admin.write("rolecall.toml", AFTER);
        self.runner.write("rolecall.toml", AFTER);
    }

    /// What is printed for the runner.
    fn permissions(&self, args: &[&str]) -> Vec<Value> {
        let all = [&["permissions", "--subject", "sa:team-a/runner", "--format", "json"], args].concat();
        let list: Value = serde_json::from_str(&self.admin.ok(&all)).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    fn grant(&self, cluster: &TestCluster, objects: &[Value]) {
        self.admin.write("list.json", &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
        let file = self.admin.path("list.json").display().to_string();
        cluster.kubectl(&["apply", "-f", &file]);
        for object in objects.iter().filter(|object| object["rules"].is_array()) {
            for rule in object["rules"].as_array().unwrap() {
                is_so(cluster, object, rule, true);
            }
        }
    }
}

fn answer(cluster: &TestCluster, object: &Value, rule: &Value) -> bool {
    let first = |list: &str| rule[list][0].as_str().unwrap_or_default().to_owned();
    let attributes = if rule["nonResourceURLs"].is_array() {
        json!({ "nonResourceAttributes": { "verb": first("verbs"), "path": first("nonResourceURLs") } })
    } else {
        let resource = first("resources");
        json!({ "resourceAttributes": {
            "verb": first("verbs"), "group": first("apiGroups"), "resource": resource,
            "name": first("resourceNames"), "namespace": object["metadata"]["namespace"],
        } })
    };
    let mut spec = json!({
        "user": RUNNER,
        "groups": ["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"],
    });
    spec.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec });
    let (_, answer) = cluster.admin("POST", REVIEW, Some(&body));
    answer["status"]["allowed"].as_bool().unwrap_or_else(|| panic!("{answer}"))
}

/// Waits until the authorizer has seen a grant, or that it is gone, should nothing else give the same.
fn is_so(cluster: &TestCluster, object: &Value, rule: &Value, allowed: bool) {
    let patience = Duration::from_millis(if allowed { 10_000 } else { 1_000 });
    let end = Instant::now() + patience;
    while answer(cluster, object, rule) != allowed && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_runner_with_just_what_is_printed_applies_and_finds_nothing_missing() {
    let cluster = cluster();
    let office = office(&cluster);
    for with in ["rules", "escalate"] {
        // Twice: into a cluster without aws-auth, and from an older policy.
        cluster.reset();
        for policy in [BEFORE, AFTER] {
            office.admin.write("rolecall.toml", policy);
            office.runner.write("rolecall.toml", policy);
            office.grant(&cluster, &office.permissions(&["--with", with]));
            let check = office.runner.run(&["permissions", "--check", "--with", with]);
            assert_eq!(check.exit_code, 0, "{with}: {}{}", check.stdout, check.stderr);
            let plan = office.runner.run(&["plan"]);
            assert!(plan.exit_code == 0 && !plan.stderr.contains("you lack"), "{with}: {}", plan.stderr);
            let output = office.runner.run(&["apply", "--auto-approve", "--allow", "empty-aws-auth"]);
            assert_eq!(output.exit_code, 0, "{with}: {}{}", output.stdout, output.stderr);
            assert!(office.runner.ok(&["plan"]).contains("no changes"));
        }
    }
}

#[test]
fn what_reads_alone_plans_and_is_told_what_apply_would_lack() {
    let cluster = cluster();
    let office = office(&cluster);
    office.begin(&cluster);
    office.grant(&cluster, &office.permissions(&["--for", "plan"]));
    assert_eq!(office.runner.run(&["drift"]).exit_code, 2);
    let plan = office.runner.run(&["plan"]);
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
    assert!(plan.stderr.contains("warning: context runner: you lack the rights for"), "{}", plan.stderr);
    assert_eq!(office.runner.run(&["permissions", "--check", "--for", "plan"]).exit_code, 0);
    let check = office.runner.run(&["permissions", "--check"]);
    assert_eq!(check.exit_code, 1);
    assert!(check.stdout.contains("patch configmaps named aws-auth in kube-system"), "{}", check.stdout);
    let check = office.runner.run(&["permissions", "--check", "--format", "json"]);
    let schema = serde_json::from_str(&office.runner.ok(&["schema", "permissions"])).unwrap();
    let document: Value = serde_json::from_str(&check.stdout).unwrap();
    let faults: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(faults.is_empty() && !document["clusters"][0]["lacks"][0]["request"].is_null(), "{faults:?}\n{document:#}");
    let before = cluster.object_metadata();
    let output = office.runner.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("error: context runner: you lack the rights for"), "{}", output.stderr);
    assert_eq!(cluster.object_metadata(), before);
}

/// With one rule less either it was not needed for this plan, or it is told and nothing is written.
#[test]
fn with_any_one_rule_less_nothing_is_written_by_halves() {
    let cluster = cluster();
    let office = office(&cluster);
    office.begin(&cluster);
    let printed = office.permissions(&[]);
    let mut refused: Vec<String> = Vec::new();
    let mut tried = 0;
    for (place, object) in printed.iter().enumerate().filter(|(_, object)| object["rules"].is_array()) {
        for rule in 0..object["rules"].as_array().unwrap().len() {
            tried += 1;
            let mut less = printed.clone();
            let gone = less[place]["rules"].as_array_mut().unwrap().remove(rule);
            office.begin(&cluster);
            office.grant(&cluster, &less);
            is_so(&cluster, object, &gone, false);
            let before = cluster.object_metadata();
            let plan = office.runner.run(&["plan"]);
            let output = office.runner.run(&["apply", "--auto-approve"]);
            let told = plan.stderr.contains("you lack the rights for") || plan.stderr.contains("the caller may not");
            let said = format!("without {gone} of {}\n{}\n{}", object["metadata"], plan.stderr, output.stderr);
            if output.exit_code == 0 {
                assert!(!told, "{said}");
                continue;
            }
            assert!(output.exit_code == 1 && told, "{said}");
            assert_eq!(cluster.object_metadata(), before, "{said}");
            refused.push(format!("{} {}", gone["verbs"], gone["resources"]));
        }
    }
    assert!(tried >= 20 && refused.len() >= 12, "{tried} tried, refused: {refused:#?}");
    for kind in ["\"create\"", "\"patch\"", "\"delete\"", "\"bind\"", "\"list\"", "configmaps", "rolebindings", "\"*\""]
    {
        assert!(refused.iter().any(|words| words.contains(kind)), "{kind} was never needed: {refused:#?}");
    }
}

/// A runner of these rules besides what reads and writes every object of RBAC.
fn may(cluster: &TestCluster, office: &Office, rules: &[Value]) {
    let rbac = "rbac.authorization.k8s.io";
    let kinds = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
    let verbs = ["get", "list", "create", "patch", "delete"];
    let base = [
        json!({ "verbs": verbs, "apiGroups": [rbac], "resources": kinds }),
        json!({ "verbs": ["get", "list"], "apiGroups": [""], "resources": ["namespaces", "configmaps"] }),
    ];
    let all: Vec<Value> = base.iter().chain(rules).cloned().collect();
    let api = "rbac.authorization.k8s.io/v1";
    let objects = [
        json!({ "apiVersion": api, "kind": "ClusterRole", "metadata": { "name": "runs" }, "rules": all }),
        json!({
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": { "name": "runs" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "runs" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "team-a", "name": "runner" }],
        }),
    ];
    office.grant(cluster, &objects);
}

/// The status with which the server answers the runner.
fn sent(cluster: &TestCluster, token: &str, method: &str, path: &str, body: &Value) -> u16 {
    let kind = if method == "PATCH" { MERGE } else { None };
    cluster.request(token, method, &format!("{RBAC}/{path}"), kind, Some(body)).0
}

fn owned(verbs: &str, label: &str) -> String {
    format!(
        "[policy]\nname = \"p\"\n[cluster-roles.one]\nrules = [{{ verbs = [{verbs}], resources = [\"secrets\"] }}]\n\
         labels = {{ tier = \"{label}\" }}\n"
    )
}

#[track_caller]
fn lacks(office: &Office, policy: &str, words: &str) {
    office.runner.write("rolecall.toml", policy);
    let plan = office.runner.run(&["plan"]);
    assert!(
        plan.exit_code == 0 && plan.stderr.contains("you lack") && plan.stderr.contains(words),
        "{words}\n{}",
        plan.stderr
    );
    let output = office.runner.run(&["apply", "--auto-approve"]);
    assert!(output.exit_code == 1 && output.stderr.contains("Nothing was written"), "{}", output.stderr);
}

#[track_caller]
fn applies(office: &Office, policy: &str) {
    office.runner.write("rolecall.toml", policy);
    let plan = office.runner.run(&["plan"]);
    assert!(plan.exit_code == 0 && !plan.stderr.contains("you lack"), "{}", plan.stderr);
    office.runner.ok(&["apply", "--auto-approve"]);
}

/// Traps 40 and 43.
#[test]
fn without_escalate_a_label_and_a_shrink_are_as_forbidden_as_a_gain() {
    let cluster = cluster();
    let office = office(&cluster);
    let token = runner_token(&cluster);
    office.admin.write("rolecall.toml", &owned("\"get\", \"list\"", "a")).ok(&["apply", "--auto-approve"]);
    may(&cluster, &office, &[]);
    let one = "clusterroles/one";
    assert_eq!(sent(&cluster, &token, "PATCH", one, &json!({ "metadata": { "labels": { "tier": "b" } } })), 403);
    lacks(&office, &owned("\"get\", \"list\"", "b"), "escalate clusterroles.rbac.authorization.k8s.io named one");
    let shrunk = json!({ "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] }] });
    assert_eq!(sent(&cluster, &token, "PATCH", one, &shrunk), 403);
    lacks(&office, &owned("\"get\"", "a"), "or to hold yourself: verbs get; api-groups \"\"; resources secrets");
    let same = json!({ "metadata": { "labels": { "tier": "a" } } });
    assert_eq!(sent(&cluster, &token, "PATCH", one, &same), 200, "what changes nothing passes");
    // Every verb in a list does not cover a star.
    let every = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    may(&cluster, &office, &[json!({ "verbs": every, "apiGroups": [""], "resources": ["secrets"] })]);
    let star = json!({ "rules": [{ "verbs": ["*"], "apiGroups": [""], "resources": ["secrets"] }] });
    assert_eq!(sent(&cluster, &token, "PATCH", one, &star), 403);
    lacks(&office, &owned("\"*\"", "a"), "verbs *;");
    applies(&office, &owned("\"get\"", "b"));
    // What gathers asks for everything, and so does what gathered.
    let gathers = "[policy]\nname = \"p\"\n[cluster-roles.one]\naggregation = [{ match-labels = { to = \"one\" } }]\n";
    office.admin.write("rolecall.toml", gathers).ok(&["apply", "--auto-approve"]);
    let plain = json!({ "aggregationRule": null, "rules": [] });
    assert_eq!(sent(&cluster, &token, "PATCH", one, &plain), 403);
    lacks(&office, &owned("\"get\"", "b"), "verbs *; api-groups *; resources *");
    office.admin.write("rolecall.toml", &owned("\"get\"", "b")).ok(&["apply", "--auto-approve"]);
    // A role that goes asks for nothing.
    may(&cluster, &office, &[]);
    applies(&office, "[policy]\nname = \"p\"\n");
}

/// Trap 41.
#[test]
fn without_bind_a_subject_stays_and_a_binding_may_go() {
    let cluster = cluster();
    let office = office(&cluster);
    let token = runner_token(&cluster);
    let binding = |groups: &str| {
        format!(
            "[policy]\nname = \"p\"\n[groups.a]\n[groups.b]\n[bindings.one]\ncluster-role = \"cluster-admin\"\n\
             groups = [{groups}]\n"
        )
    };
    office.admin.write("rolecall.toml", &binding("\"a\", \"b\"")).ok(&["apply", "--auto-approve"]);
    may(&cluster, &office, &[]);
    assert_eq!(sent(&cluster, &token, "PATCH", "clusterrolebindings/one", &json!({ "subjects": null })), 403);
    lacks(&office, &binding("\"a\""), "bind clusterroles.rbac.authorization.k8s.io named cluster-admin");
    let bind = |name: &str| {
        json!({
            "verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": [name],
        })
    };
    may(&cluster, &office, &[bind("other")]);
    lacks(&office, &binding("\"a\""), "bind clusterroles.rbac.authorization.k8s.io named cluster-admin");
    may(&cluster, &office, &[bind("cluster-admin")]);
    applies(&office, &binding("\"a\""));
    may(&cluster, &office, &[]);
    applies(&office, "[policy]\nname = \"p\"\n");
}

/// Trap 42.
#[test]
fn escalate_by_name_changes_a_role_and_does_not_create_it() {
    let cluster = cluster();
    let office = office(&cluster);
    let token = runner_token(&cluster);
    let escalate = |names: Value| {
        json!({
            "verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": names,
        })
    };
    may(&cluster, &office, &[escalate(json!(["one"]))]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
        "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] }],
    });
    assert_eq!(sent(&cluster, &token, "POST", "clusterroles", &role), 403);
    lacks(&office, &owned("\"get\"", "a"), "escalate clusterroles.rbac.authorization.k8s.io, or to hold");
    may(&cluster, &office, &[escalate(Value::Null)]);
    applies(&office, &owned("\"get\"", "a"));
    may(&cluster, &office, &[escalate(json!(["one"]))]);
    applies(&office, &owned("\"*\"", "b"));
}

#[test]
fn what_a_plan_grants_its_runner_on_the_way_is_not_missing() {
    let cluster = cluster();
    let office = office(&cluster);
    let escalating = json!({
        "verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
    });
    may(&cluster, &office, &[escalating]);
    let policy = "[policy]\nname = \"p\"\n[cluster-roles.auth]\nrules = [{ verbs = [\"create\", \"patch\"], \
                  resources = [\"configmaps\"] }]\n[bindings.auth]\ncluster-role = \"auth\"\n\
                  service-accounts = [\"team-a/runner\"]\n[groups.g]\n[principals.x]\n\
                  role = \"arn:aws:iam::111122223333:role/x\"\ngroups = [\"g\"]\n";
    applies(&office, policy);
}

#[test]
fn the_printed_roles_are_as_they_were_reviewed() {
    let sandbox = Sandbox::offline();
    let cluster = common::sandbox::example_path("cluster-viewer").join("cluster.yaml");
    sandbox.write("cluster.yaml", &std::fs::read_to_string(cluster).unwrap());
    let policy = common::sandbox::example_path("cluster-viewer").join("access.toml");
    sandbox.write("access.toml", &std::fs::read_to_string(policy).unwrap());
    insta::assert_snapshot!(sandbox.ok(&["permissions", "access.toml", "--subject", "sa:ci/runner"]));
    let wide = sandbox.ok(&["permissions", "access.toml", "--with", "escalate"]);
    assert!(wide.contains("- escalate\n") && !wide.contains("'*'") && !wide.contains("\"*\""), "{wide}");
    for (args, words) in [
        (
            &["permissions", "access.toml", "--subject", "arn:aws:iam::111122223333:role/x"][..],
            "none that a binding can name",
        ),
        (&["permissions", "access.toml", "--check"], "a snapshot has no caller"),
        (&["permissions", "access.toml", "--name", "a/b"], "names no role: a name cannot contain `/`"),
        (&["permissions"], "there is no"),
    ] {
        let output = sandbox.run(args);
        assert!(
            output.exit_code == 1 && (output.stderr.contains(words) || args.len() == 1),
            "{args:?}: {}",
            output.stderr
        );
    }
}
