//! The main job, end to end on a real API server and authenticator: policy, plan, apply, drift.

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

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use common::TestCluster;
use common::cluster::Options;
use common::rolecall::{Desk, example, steps};
use serde_json::{Value, json};

static CLUSTER: LazyLock<Mutex<TestCluster>> =
    LazyLock::new(|| Mutex::new(TestCluster::start_with(Options { aggregation: true, ..Options::default() })));

/// The one cluster, for one test at a time, as it started.
fn cluster() -> MutexGuard<'static, TestCluster> {
    let cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.reset();
    cluster
}

const NODES: &str = "\
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
";
const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/viewer/session";
const USER: &str = "arn:aws:iam::111122223333:user/alice";
const STRANGER: &str = "arn:aws:sts::111122223333:assumed-role/stranger/session";

fn status(cluster: &TestCluster, arn: &str, method: &str, path: &str) -> u16 {
    cluster.request(&cluster.token_for(arn), method, path, None, None).0
}

fn map_roles(cluster: &TestCluster) -> String {
    let path = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
    let (_, object) = cluster.admin("GET", path, None);
    object["data"]["mapRoles"].as_str().unwrap_or_default().to_owned()
}

/// The example's policy for the current context, which is what its `[clusters]` table replaces.
fn viewer_policy() -> String {
    let text = std::fs::read_to_string(example("cluster-viewer").join("access.toml")).unwrap();
    text.replace("snapshot = \"cluster.yaml\"", "context = \"admin\"")
}

/// The second edit of the example: the role moves to another group.
fn moved(policy: &str) -> String {
    policy.replace("members = [\"viewer\", \"alice\"]", "members = [\"alice\"]").replace(
        "[cluster-roles.cluster-viewer]",
        "[groups.others]\nmembers = [\"viewer\"]\n\n[cluster-roles.cluster-viewer]",
    )
}

/// The third: the user goes.
fn without_alice(policy: &str) -> String {
    moved(policy).replace("members = [\"alice\"]", "members = []").replace(
        "[principals.alice]\nuser = \"alice\" # a bare name: of the cluster's own account\nusername = \"alice\"\n",
        "",
    )
}

#[test]
fn the_example_of_every_guide_lets_the_viewers_in_moves_one_and_removes_one() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    let policy = viewer_policy();
    // Both clusters start from the same objects.
    desk.ok(&["snapshot", "--out", "start.yaml"]);
    desk.write("offline.yaml", &desk.read("start.yaml"));
    let mut live = Vec::new();
    let mut offline = Vec::new();
    let edits = [policy.clone(), moved(&policy), without_alice(&policy)];
    for (number, policy) in edits.iter().enumerate() {
        desk.write("rolecall.toml", policy);
        live.push(steps(&desk.plan(&[])));
        offline.push(steps(&desk.plan(&["--snapshot", "offline.yaml"])));
        let said = desk.ok(&["apply", "--auto-approve"]);
        assert!(said.contains("Applied to example (context admin)"), "{said}");
        desk.ok(&["apply", "--auto-approve", "--snapshot", "offline.yaml"]);
        for place in [&[][..], &["--snapshot", "offline.yaml"]] {
            let again = desk.ok(&[&["plan", "--detailed-exitcode"], place].concat());
            assert!(again.contains("no changes"), "after edit {number}: {again}");
        }
        cluster.wait_until_read();
        assert!(map_roles(&cluster).starts_with(NODES), "the node entry moved:\n{}", map_roles(&cluster));
        let (role_lists, user) = match number {
            0 => (200, 200),
            1 => (403, 200),
            _ => (403, 401),
        };
        assert_eq!(status(&cluster, ROLE, "GET", "/api/v1/pods"), role_lists, "after edit {number}");
        assert_eq!(status(&cluster, USER, "GET", "/api/v1/pods"), user, "after edit {number}");
        assert_eq!(status(&cluster, ROLE, "DELETE", "/api/v1/namespaces/default/pods/x"), 403);
        assert_eq!(status(&cluster, STRANGER, "GET", "/api/v1/pods"), 401);
    }
    assert_eq!(live, offline);
    // In one edit, and not by taking the entry away and putting it back.
    assert_eq!(live[1].len(), 1, "{:#?}", live[1]);
    assert!(live[1][0].starts_with("patch ConfigMap kube-system/aws-auth"), "{:#?}", live[1]);
}

#[test]
fn a_role_ref_changes_roles_stand_in_two_namespaces_and_sso_and_aggregation_work_for_real() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    for name in ["main-a", "main-b"] {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.admin("POST", "/api/v1/namespaces", Some(&body));
    }
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    let policy = |bound: &str| {
        format!(
            r#"
[policy]
name = "four"
[principals.admins]
sso = {{ permission-set = "Admins", account = "111122223333", id = "0123456789abcdef" }}
groups = ["admins"]
[groups.admins]
[roles.deployer]
namespaces = ["main-a", "main-b"]
rules = [{{ verbs = ["get", "list"], api-groups = ["apps"], resources = ["deployments"] }}]
[cluster-roles.looking]
rules = [{{ verbs = ["list"], resources = ["nodes"] }}]
labels = {{ "example.com/to-all" = "yes" }}
[cluster-roles.all]
aggregation = [{{ match-labels = {{ "example.com/to-all" = "yes" }} }}]
[cluster-roles.secrets]
rules = [{{ verbs = ["list"], resources = ["secrets"] }}]
[bindings.deployers]
role = "deployer"
groups = ["admins"]
namespaces = ["main-*"]
[bindings.wide]
cluster-role = "{bound}"
groups = ["admins"]
"#
        )
    };
    desk.write("rolecall.toml", &policy("all"));
    desk.ok(&["apply", "--auto-approve"]);
    cluster.wait_until_read();
    let arn = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admins_0123456789abcdef/me@example.com";
    let list = |path: &str| status(&cluster, arn, "GET", path);
    for namespace in ["main-a", "main-b"] {
        assert_eq!(list(&format!("/apis/apps/v1/namespaces/{namespace}/deployments")), 200);
    }
    assert_eq!(list("/apis/apps/v1/namespaces/default/deployments"), 403);
    // The controller fills the aggregated role in its own time.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while list("/api/v1/nodes") != 200 {
        assert!(std::time::Instant::now() < deadline, "the aggregated role stays empty");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(desk.ok(&["plan"]).contains("no changes"), "rules that the controller filled in are no change");
    desk.write("rolecall.toml", &policy("secrets"));
    let plan = desk.ok(&["plan"]);
    assert!(
        plan.contains("-/+ ClusterRoleBinding wide  roleRef is immutable: replaced without interrupting access"),
        "{plan}"
    );
    desk.ok(&["apply", "--auto-approve"]);
    assert_eq!(list("/api/v1/secrets"), 200);
    assert_eq!(list("/api/v1/nodes"), 403);
    let (_, bindings) = cluster.admin("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", None);
    let bridges: Vec<&Value> = bindings["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .filter(|name| name.as_str().unwrap().contains("bridge"))
        .collect();
    assert!(bridges.is_empty(), "{bridges:?}");
    assert!(desk.ok(&["plan", "--detailed-exitcode"]).contains("no changes"));
}

/// The API server keeps the times of writers in whole seconds: what is to be told apart lies one apart.
fn another_second() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn drift_names_what_kubectl_changed_by_hand_and_apply_puts_it_back() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", &viewer_policy());
    desk.ok(&["apply", "--auto-approve"]);
    assert!(desk.ok(&["drift"]).contains("no drift"));
    another_second();
    cluster.kubectl(&[
        "patch",
        "clusterrole",
        "cluster-viewer",
        "--type=json",
        r#"-p=[{"op":"add","path":"/rules/0/verbs/-","value":"delete"}]"#,
    ]);
    cluster.kubectl(&[
        "patch", "clusterrolebinding", "cluster-viewers", "--type=json",
        r#"-p=[{"op":"add","path":"/subjects/-","value":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"eve"}}]"#,
    ]);
    cluster.kubectl_with(
        &[("KUBE_EDITOR", "sed -i s/cluster-viewer-group/system:masters/")],
        &["edit", "configmap", "aws-auth", "-n", "kube-system"],
    );
    let drift = desk.run(&["drift"]);
    assert_eq!(drift.code, 2, "{}{}", drift.out, drift.err);
    let times = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ";
    insta::with_settings!({ filters => vec![(times, "[time]")] }, { insta::assert_snapshot!(drift.out) });
    desk.ok(&["apply", "--auto-approve"]);
    assert!(desk.ok(&["drift"]).contains("no drift"));
    cluster.wait_until_read();
    assert!(!map_roles(&cluster).contains("system:masters"), "{}", map_roles(&cluster));
}

#[test]
fn drift_tells_what_was_merged_and_not_applied_from_what_was_changed_by_hand() {
    let cluster = cluster();
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    let policy = viewer_policy();
    desk.write("rolecall.toml", &policy);
    desk.ok(&["apply", "--auto-approve"]);
    desk.write("rolecall.toml", &policy.replace(r#"verbs = ["get", "list"]"#, r#"verbs = ["get", "list", "watch"]"#));
    let drift = desk.run(&["drift"]);
    assert_eq!(drift.code, 2);
    assert!(drift.out.contains("Drift: 0 changed in the cluster, 1 not applied yet."), "{}", drift.out);
}

#[test]
fn whoami_answers_for_the_caller_and_for_a_snapshot_nobody() {
    let cluster = cluster();
    cluster.set_aws_auth(
        &json!({ "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n  groups: [g]\n" }),
    );
    let desk = Desk::with_kubeconfig(cluster.kubeconfig_for(ROLE));
    insta::assert_snapshot!(desk.ok(&["whoami"]), @r"
    context identity
      username  v
      groups    g, system:authenticated
      canonicalArn  arn:aws:iam::111122223333:role/viewer
      arn       arn:aws:sts::111122223333:assumed-role/viewer/session
    ");
    desk.write("empty.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: default }\n");
    insta::assert_snapshot!(desk.ok(&["whoami", "--snapshot", "empty.yaml"]), @r"
    snapshot empty.yaml
      nobody: a snapshot has no caller
    ");
}

#[test]
fn a_saved_plan_is_applied_as_it_was_and_refused_once_something_has_moved() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let desk = Desk::with_kubeconfig(cluster.kubeconfig());
    desk.write("rolecall.toml", &viewer_policy());
    desk.ok(&["plan", "--out", "saved.json"]);
    another_second();
    cluster.kubectl(&["create", "clusterrole", "unrelated", "--verb=get", "--resource=pods"]);
    cluster.kubectl(&["label", "configmap", "aws-auth", "-n", "kube-system", "touched=yes"]);
    let refused = desk.run(&["apply", "--plan", "saved.json"]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("ConfigMap kube-system/aws-auth was changed by kubectl-label"), "{}", refused.err);
    assert!(desk.plan(&[])["steps"].as_array().unwrap().len() == 3, "nothing was written");
    desk.ok(&["plan", "--out", "saved.json"]);
    desk.ok(&["apply", "--plan", "saved.json"]);
    assert!(desk.ok(&["plan"]).contains("no changes"));
    let tampered = desk.read("saved.json").replace("cluster-viewer-group", "system:masters");
    desk.write("saved.json", &tampered);
    let refused = desk.run(&["apply", "--plan", "saved.json"]);
    assert!(refused.code == 1 && refused.err.contains("was changed after it was saved"), "{}", refused.err);
}
