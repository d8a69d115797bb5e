//! Tests `rolecall permissions`: a runner with the printed permissions can apply. With fewer permissions the missing ones
//! are reported and nothing is written.

use std::time::{Duration, Instant};

use crate::common::TestCluster;
use crate::common::kubeconfig::with_token;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEW: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const RUNNER: &str = "system:serviceaccount:team-a:runner";
const MERGE: Option<&str> = Some("application/merge-patch+json");

/// The first policy. [`AFTER`] changes or removes what it creates.
const BEFORE: &str = r#"
[policy]
name = "p"
[clusters.test]
context = "admin"
token-cache = "0s"
[groups.viewers]
members = ["viewer", "leaver"]
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
[principals.leaver]
user = "arn:aws:iam::111122223333:user/leaver"
[cluster-roles.looks]
rules = [{ verbs = ["get"], resources = ["pods"] }]
[cluster-roles.dropped]
rules = [{ verbs = ["get"], resources = ["nodes"] }]
[roles.local]
namespaces = ["team-a", "team-b"]
rules = [{ verbs = ["get"], resources = ["configmaps"] }]
[bindings.look]
cluster-role = "looks"
groups = ["viewers"]
[bindings.dropped]
cluster-role = "dropped"
groups = ["viewers"]
[bindings.locals]
role = "local"
namespaces = ["team-a", "team-b"]
groups = ["viewers"]
[bindings.turns]
cluster-role = "dropped"
groups = ["viewers"]
"#;

/// The second policy: objects of every kind are created, changed and deleted, a roleRef is replaced, an unowned role is
/// adopted, and a role of the cluster is bound.
const AFTER: &str = r#"
[policy]
name = "p"
[clusters.test]
context = "admin"
token-cache = "0s"
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

/// Creates a service account and returns its token, which does not depend on aws-auth.
fn runner_token(cluster: &TestCluster) -> String {
    let accounts = "/api/v1/namespaces/team-a/serviceaccounts";
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "runner" } });
    cluster.admin("POST", accounts, Some(&account));
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    let (status, answer) = cluster.admin("POST", &format!("{accounts}/runner/token"), Some(&request));
    assert_eq!(status, 201, "{answer}");
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn create_namespaces(cluster: &TestCluster) {
    for name in ["team-a", "team-b"] {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.admin("POST", "/api/v1/namespaces", Some(&body));
    }
}

/// The folder of the admin and the folder of the runner.
pub(crate) struct Folders {
    pub(crate) admin: Sandbox,
    pub(crate) runner: Sandbox,
}

pub(crate) fn create_folders(cluster: &TestCluster) -> Folders {
    create_namespaces(cluster);
    let kubeconfig = with_token("admin", cluster.server(), cluster.ca_file(), &runner_token(cluster)).to_string();
    Folders {
        admin: Sandbox::with_kubeconfig(cluster.kubeconfig()),
        runner: Sandbox::with_kubeconfig_text(&kubeconfig),
    }
}

impl Folders {
    /// Applies [`BEFORE`] to the cluster and writes [`AFTER`] to both folders.
    fn prepare(&self, cluster: &TestCluster) {
        cluster.reset();
        self.admin.write("rolecall.toml", BEFORE).ok(&["apply", "--auto-approve"]);
        cluster.kubectl(&["create", "clusterrole", "nobodys", "--verb=list", "--resource=services"]);
        self.admin.write("rolecall.toml", AFTER);
        self.runner.write("rolecall.toml", AFTER);
    }

    /// The objects that `rolecall permissions` prints for the runner.
    pub(crate) fn permissions(&self, args: &[&str]) -> Vec<Value> {
        let command = [&["permissions", "--subject", "sa:team-a/runner", "--format", "json"], args].concat();
        let list: Value = serde_json::from_str(&self.admin.ok(&command)).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    pub(crate) fn grant(&self, cluster: &TestCluster, objects: &[Value]) {
        self.admin.write("list.json", &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
        let file = self.admin.path("list.json").display().to_string();
        cluster.kubectl(&["apply", "-f", &file]);
        for object in objects.iter().filter(|object| object["rules"].is_array()) {
            for rule in object["rules"].as_array().unwrap() {
                wait_until_allowed_is(cluster, object, rule, true);
            }
        }
    }
}

/// Whether the API server allows a request by the rule: its first verb, resource and name.
fn is_allowed(cluster: &TestCluster, object: &Value, rule: &Value) -> bool {
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

/// Waits until the authorizer uses a new grant, or a revocation. After a revocation another rule may still allow the
/// request, so that the wait is short.
pub(crate) fn wait_until_allowed_is(cluster: &TestCluster, object: &Value, rule: &Value, allowed: bool) {
    let timeout = Duration::from_millis(if allowed { 10_000 } else { 1_000 });
    let deadline = Instant::now() + timeout;
    while is_allowed(cluster, object, rule) != allowed && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn printed_permissions_are_enough_to_plan_and_apply() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    for mode in ["rules", "escalate"] {
        // The first apply starts without aws-auth, the second from an older policy.
        cluster.reset();
        for policy in [BEFORE, AFTER] {
            folders.admin.write("rolecall.toml", policy);
            folders.runner.write("rolecall.toml", policy);
            folders.grant(&cluster, &folders.permissions(&["--with", mode]));
            let check = folders.runner.run(&["permissions", "--check", "--with", mode]);
            assert_eq!(check.exit_code, 0, "{mode}: {}{}", check.stdout, check.stderr);
            let plan = folders.runner.run(&["plan"]);
            assert!(plan.exit_code == 0 && !plan.stderr.contains("you lack"), "{mode}: {}", plan.stderr);
            let output = folders.runner.run(&["apply", "--auto-approve", "--allow", "empty-aws-auth"]);
            assert_eq!(output.exit_code, 0, "{mode}: {}{}", output.stdout, output.stderr);
            assert!(folders.runner.ok(&["plan"]).contains("No changes."));
        }
    }
}

#[test]
fn read_only_runner_can_plan_and_is_warned_about_missing_permissions() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    folders.prepare(&cluster);
    folders.grant(&cluster, &folders.permissions(&["--for", "plan"]));
    assert_eq!(folders.runner.run(&["drift"]).exit_code, 2);
    let plan = folders.runner.run(&["plan"]);
    assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
    assert!(plan.stderr.contains("warning: test (context admin): you lack permissions for"), "{}", plan.stderr);
    assert_eq!(folders.runner.run(&["permissions", "--check", "--for", "plan"]).exit_code, 0);
    let check = folders.runner.run(&["permissions", "--check"]);
    assert_eq!(check.exit_code, 1);
    assert!(check.stdout.contains("patch configmaps named aws-auth in kube-system"), "{}", check.stdout);
    let check = folders.runner.run(&["permissions", "--check", "--format", "json"]);
    let schema = serde_json::from_str(&folders.runner.ok(&["schema", "permissions"])).unwrap();
    let document: Value = serde_json::from_str(&check.stdout).unwrap();
    let faults: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(
        faults.is_empty() && !document["clusters"][0]["missing"][0]["request"].is_null(),
        "{faults:?}\n{document:#}"
    );
    let before = cluster.object_metadata();
    let output = folders.runner.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("error: test (context admin): you lack permissions for"), "{}", output.stderr);
    assert_eq!(cluster.object_metadata(), before);
}

/// With one rule less either the plan does not need that rule, or apply reports it as missing and writes nothing.
#[test]
fn without_any_one_rule_apply_writes_everything_or_nothing() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    folders.prepare(&cluster);
    let printed = folders.permissions(&[]);
    let mut refused: Vec<String> = Vec::new();
    let mut tried = 0;
    for (index, object) in printed.iter().enumerate().filter(|(_, object)| object["rules"].is_array()) {
        for rule in 0..object["rules"].as_array().unwrap().len() {
            tried += 1;
            let mut reduced = printed.clone();
            let removed = reduced[index]["rules"].as_array_mut().unwrap().remove(rule);
            folders.prepare(&cluster);
            folders.grant(&cluster, &reduced);
            wait_until_allowed_is(&cluster, object, &removed, false);
            let before = cluster.object_metadata();
            let plan = folders.runner.run(&["plan"]);
            let output = folders.runner.run(&["apply", "--auto-approve"]);
            let is_reported = plan.stderr.contains("you lack permissions for")
                || plan.stderr.contains("error: you are not allowed to ");
            let context = format!("without {removed} of {}\n{}\n{}", object["metadata"], plan.stderr, output.stderr);
            if output.exit_code == 0 {
                assert!(!is_reported, "{context}");
                continue;
            }
            assert!(output.exit_code == 1 && is_reported, "{context}");
            assert_eq!(cluster.object_metadata(), before, "{context}");
            refused.push(format!("{} {}", removed["verbs"], removed["resources"]));
        }
    }
    assert!(tried >= 20 && refused.len() >= 12, "{tried} tried, refused: {refused:#?}");
    for needed in
        ["\"create\"", "\"patch\"", "\"delete\"", "\"bind\"", "\"list\"", "configmaps", "rolebindings", "\"*\""]
    {
        assert!(refused.iter().any(|text| text.contains(needed)), "{needed} was never needed: {refused:#?}");
    }
}

/// Grants these rules to the runner, besides permission to read and write every RBAC object.
fn grant_runner(cluster: &TestCluster, folders: &Folders, rules: &[Value]) {
    let rbac = "rbac.authorization.k8s.io";
    let kinds = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
    let verbs = ["get", "list", "create", "patch", "delete"];
    let base = [
        json!({ "verbs": verbs, "apiGroups": [rbac], "resources": kinds }),
        json!({ "verbs": ["get", "list"], "apiGroups": [""], "resources": ["namespaces", "configmaps"] }),
    ];
    let rules_with_base: Vec<Value> = base.iter().chain(rules).cloned().collect();
    let api = "rbac.authorization.k8s.io/v1";
    let objects = [
        json!({ "apiVersion": api, "kind": "ClusterRole", "metadata": { "name": "runs" }, "rules": rules_with_base }),
        json!({
            "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": { "name": "runs" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "runs" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "team-a", "name": "runner" }],
        }),
    ];
    folders.grant(cluster, &objects);
}

/// The HTTP status that the API server returns to this request of the runner.
fn runner_status(cluster: &TestCluster, token: &str, method: &str, path: &str, body: &Value) -> u16 {
    let kind = if method == "PATCH" { MERGE } else { None };
    cluster.request(token, method, &format!("{RBAC}/{path}"), kind, Some(body)).0
}

fn one_role_policy(verbs: &str, label: &str) -> String {
    format!(
        "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[cluster-roles.one]\nrules = [{{ verbs = [{verbs}], resources = [\"secrets\"] }}]\n\
         labels = {{ tier = \"{label}\" }}\n"
    )
}

#[track_caller]
fn assert_missing(folders: &Folders, policy: &str, message: &str) {
    folders.runner.write("rolecall.toml", policy);
    let plan = folders.runner.run(&["plan"]);
    assert!(
        plan.exit_code == 0 && plan.stderr.contains("you lack") && plan.stderr.contains(message),
        "{message}\n{}",
        plan.stderr
    );
    let output = folders.runner.run(&["apply", "--auto-approve"]);
    assert!(output.exit_code == 1 && output.stderr.contains("No changes were made."), "{}", output.stderr);
}

#[track_caller]
fn assert_applies(folders: &Folders, policy: &str) {
    folders.runner.write("rolecall.toml", policy);
    let plan = folders.runner.run(&["plan"]);
    assert!(plan.exit_code == 0 && !plan.stderr.contains("you lack"), "{}", plan.stderr);
    folders.runner.ok(&["apply", "--auto-approve"]);
}

/// Trap 40: without `escalate` every update of a role needs all its rules. Trap 43: all verbs do not cover `*`.
#[test]
fn without_escalate_a_label_change_is_as_forbidden_as_a_rule_change() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    let token = runner_token(&cluster);
    folders.admin.write("rolecall.toml", &one_role_policy("\"get\", \"list\"", "a")).ok(&["apply", "--auto-approve"]);
    grant_runner(&cluster, &folders, &[]);
    let path = "clusterroles/one";
    assert_eq!(
        runner_status(&cluster, &token, "PATCH", path, &json!({ "metadata": { "labels": { "tier": "b" } } })),
        403
    );
    assert_missing(
        &folders,
        &one_role_policy("\"get\", \"list\"", "b"),
        "escalate clusterroles.rbac.authorization.k8s.io named one",
    );
    let fewer_rules = json!({ "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] }] });
    assert_eq!(runner_status(&cluster, &token, "PATCH", path, &fewer_rules), 403);
    assert_missing(
        &folders,
        &one_role_policy("\"get\"", "a"),
        "or these permissions: verbs get; api-groups \"\"; resources secrets",
    );
    let no_change = json!({ "metadata": { "labels": { "tier": "a" } } });
    assert_eq!(runner_status(&cluster, &token, "PATCH", path, &no_change), 200, "a patch without effect is accepted");
    // A list of all verbs does not cover `*`.
    let all_verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    grant_runner(&cluster, &folders, &[json!({ "verbs": all_verbs, "apiGroups": [""], "resources": ["secrets"] })]);
    let star = json!({ "rules": [{ "verbs": ["*"], "apiGroups": [""], "resources": ["secrets"] }] });
    assert_eq!(runner_status(&cluster, &token, "PATCH", path, &star), 403);
    assert_missing(&folders, &one_role_policy("\"*\"", "a"), "verbs *;");
    assert_applies(&folders, &one_role_policy("\"get\"", "b"));
    // A role with an aggregation rule needs every permission, before or after the update.
    let aggregated = "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[cluster-roles.one]\naggregation = [{ match-labels = { to = \"one\" } }]\n";
    folders.admin.write("rolecall.toml", aggregated).ok(&["apply", "--auto-approve"]);
    let without_aggregation = json!({ "aggregationRule": null, "rules": [] });
    assert_eq!(runner_status(&cluster, &token, "PATCH", path, &without_aggregation), 403);
    assert_missing(&folders, &one_role_policy("\"get\"", "b"), "verbs *; api-groups *; resources *");
    folders.admin.write("rolecall.toml", &one_role_policy("\"get\"", "b")).ok(&["apply", "--auto-approve"]);
    // Deleting a role needs none of its permissions.
    grant_runner(&cluster, &folders, &[]);
    assert_applies(&folders, "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n");
}

/// Trap 41: without `bind` a subject cannot be removed from a binding.
#[test]
fn without_bind_a_subject_cannot_be_removed_but_a_binding_can() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    let token = runner_token(&cluster);
    let binding = |groups: &str| {
        format!(
            "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[groups.a]\n[groups.b]\n[bindings.one]\ncluster-role = \"cluster-admin\"\n\
             groups = [{groups}]\n"
        )
    };
    folders.admin.write("rolecall.toml", &binding("\"a\", \"b\"")).ok(&["apply", "--auto-approve"]);
    grant_runner(&cluster, &folders, &[]);
    assert_eq!(runner_status(&cluster, &token, "PATCH", "clusterrolebindings/one", &json!({ "subjects": null })), 403);
    assert_missing(&folders, &binding("\"a\""), "bind clusterroles.rbac.authorization.k8s.io named cluster-admin");
    let bind = |name: &str| {
        json!({
            "verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": [name],
        })
    };
    grant_runner(&cluster, &folders, &[bind("other")]);
    assert_missing(&folders, &binding("\"a\""), "bind clusterroles.rbac.authorization.k8s.io named cluster-admin");
    grant_runner(&cluster, &folders, &[bind("cluster-admin")]);
    assert_applies(&folders, &binding("\"a\""));
    grant_runner(&cluster, &folders, &[]);
    assert_applies(&folders, "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n");
}

/// Trap 42: `escalate` with a resource name does not allow the creation of that role.
#[test]
fn escalate_limited_to_a_name_allows_updates_but_not_creation() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    let token = runner_token(&cluster);
    let escalate = |names: Value| {
        json!({
            "verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": names,
        })
    };
    grant_runner(&cluster, &folders, &[escalate(json!(["one"]))]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "one" },
        "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] }],
    });
    assert_eq!(runner_status(&cluster, &token, "POST", "clusterroles", &role), 403);
    assert_missing(
        &folders,
        &one_role_policy("\"get\"", "a"),
        "escalate clusterroles.rbac.authorization.k8s.io, or these permissions: verbs get",
    );
    grant_runner(&cluster, &folders, &[escalate(Value::Null)]);
    assert_applies(&folders, &one_role_policy("\"get\"", "a"));
    grant_runner(&cluster, &folders, &[escalate(json!(["one"]))]);
    assert_applies(&folders, &one_role_policy("\"*\"", "b"));
}

#[test]
fn permissions_that_the_plan_grants_to_its_runner_are_not_missing() {
    let cluster = cluster();
    let folders = create_folders(&cluster);
    let escalating = json!({
        "verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
    });
    grant_runner(&cluster, &folders, &[escalating]);
    let policy = "[policy]\nname = \"p\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[cluster-roles.auth]\nrules = [{ verbs = [\"create\", \"patch\"], \
                  resources = [\"configmaps\"] }]\n[bindings.auth]\ncluster-role = \"auth\"\n\
                  service-accounts = [\"team-a/runner\"]\n[groups.g]\n[principals.x]\n\
                  role = \"arn:aws:iam::111122223333:role/x\"\ngroups = [\"g\"]\n";
    assert_applies(&folders, policy);
}

#[test]
fn printed_roles_match_their_snapshot() {
    let sandbox = Sandbox::offline();
    let cluster = crate::common::sandbox::example_path("cluster-viewer").join("cluster.yaml");
    sandbox.write("cluster.yaml", &std::fs::read_to_string(cluster).unwrap());
    let policy = crate::common::sandbox::example_path("cluster-viewer").join("access.toml");
    sandbox.write("access.toml", &std::fs::read_to_string(policy).unwrap());
    insta::assert_snapshot!(sandbox.ok(&["permissions", "access.toml", "--subject", "sa:ci/runner"]));
    let with_escalate = sandbox.ok(&["permissions", "access.toml", "--with", "escalate"]);
    assert!(
        with_escalate.contains("- escalate\n") && !with_escalate.contains("'*'") && !with_escalate.contains("\"*\""),
        "{with_escalate}"
    );
    for (args, message) in [
        (
            &["permissions", "access.toml", "--subject", "arn:aws:iam::111122223333:role/x"][..],
            "not a subject of a binding",
        ),
        (&["permissions", "access.toml", "--check"], "a snapshot has no caller"),
        (
            &["permissions", "access.toml", "--name", "a/b"],
            "invalid value `a/b` for `--name`: a name cannot contain `/`",
        ),
        (&["permissions"], "there is no"),
    ] {
        let output = sandbox.run(args);
        assert!(
            output.exit_code == 1 && (output.stderr.contains(message) || args.len() == 1),
            "{args:?}: {}",
            output.stderr
        );
    }
}
