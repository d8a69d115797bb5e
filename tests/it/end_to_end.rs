//! Tests plan, apply, drift and whoami end to end on a real API server and authenticator.

use crate::common::TestCluster;
use crate::common::sandbox::{Sandbox, example_path, steps};
use crate::common::shared_cluster::cluster;
use serde_json::{Value, json};

const NODES: &str = "\
- groups:
  - system:bootstrappers
  - system:nodes
  rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
";
const ROLE_SESSION: &str = "arn:aws:sts::111122223333:assumed-role/viewer/session";
const USER_ARN: &str = "arn:aws:iam::111122223333:user/alice";
const UNMAPPED_SESSION: &str = "arn:aws:sts::111122223333:assumed-role/stranger/session";

fn status(cluster: &TestCluster, arn: &str, method: &str, path: &str) -> u16 {
    cluster.request(&cluster.token_for(arn), method, path, None, None).0
}

fn map_roles(cluster: &TestCluster) -> String {
    let path = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
    let (_, object) = cluster.admin("GET", path, None);
    object["data"]["mapRoles"].as_str().unwrap_or_default().to_owned()
}

/// The policy of the `cluster-viewer` example, with the kubeconfig context `admin` instead of its snapshot.
fn viewer_policy() -> String {
    let text = std::fs::read_to_string(example_path("cluster-viewer").join("access.toml")).unwrap();
    text.replace("snapshot = \"cluster.yaml\"", "context = \"admin\"")
}

/// The second version of the policy: the principal `viewer` is in another group.
fn with_viewer_in_other_group(policy: &str) -> String {
    policy.replace("members = [\"viewer\", \"alice\"]", "members = [\"alice\"]").replace(
        "[cluster-roles.cluster-viewer]",
        "[groups.others]\nmembers = [\"viewer\"]\n\n[cluster-roles.cluster-viewer]",
    )
}

/// The third version of the policy: the principal `alice` is removed.
fn without_alice(policy: &str) -> String {
    let policy = with_viewer_in_other_group(policy).replace("members = [\"alice\"]", "members = []");
    let (before, table) = policy.split_once("[principals.alice]").unwrap();
    let (_, after) = table.split_once("\n\n").unwrap();
    format!("{before}{after}")
}

#[test]
fn viewer_example_grants_moves_and_removes_access() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let policy = viewer_policy();
    // The live cluster and the snapshot start with the same objects.
    sandbox.ok(&["snapshot", "--out", "start.yaml"]);
    sandbox.write("offline.yaml", &sandbox.read("start.yaml"));
    let mut live = Vec::new();
    let mut offline = Vec::new();
    let edits = [policy.clone(), with_viewer_in_other_group(&policy), without_alice(&policy)];
    for (number, policy) in edits.iter().enumerate() {
        sandbox.write("rolecall.toml", policy);
        live.push(steps(&sandbox.plan(&[])));
        offline.push(steps(&sandbox.plan(&["--snapshot", "offline.yaml"])));
        let output = sandbox.ok(&["apply", "--auto-approve"]);
        assert!(output.contains("Applied to example (context admin)"), "{output}");
        sandbox.ok(&["apply", "--auto-approve", "--snapshot", "offline.yaml"]);
        for cluster_args in [&[][..], &["--snapshot", "offline.yaml"]] {
            let second_plan = sandbox.ok(&[&["plan", "--detailed-exitcode"], cluster_args].concat());
            assert!(second_plan.contains("No changes."), "after edit {number}: {second_plan}");
        }
        cluster.wait_until_synced();
        assert!(map_roles(&cluster).starts_with(NODES), "the node entry was changed:\n{}", map_roles(&cluster));
        let (role_status, user_status) = match number {
            0 => (200, 200),
            1 => (403, 200),
            _ => (403, 401),
        };
        assert_eq!(status(&cluster, ROLE_SESSION, "GET", "/api/v1/pods"), role_status, "after edit {number}");
        assert_eq!(status(&cluster, USER_ARN, "GET", "/api/v1/pods"), user_status, "after edit {number}");
        assert_eq!(status(&cluster, ROLE_SESSION, "DELETE", "/api/v1/namespaces/default/pods/x"), 403);
        assert_eq!(status(&cluster, UNMAPPED_SESSION, "GET", "/api/v1/pods"), 401);
    }
    assert_eq!(live, offline);
    // The principal changes its group in one write. Its entry is not removed and added again.
    assert_eq!(live[1].len(), 1, "{:#?}", live[1]);
    assert!(live[1][0].starts_with("patch ConfigMap kube-system/aws-auth"), "{:#?}", live[1]);
}

#[test]
fn role_ref_change_namespaced_roles_sso_and_aggregation_work() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    for name in ["main-a", "main-b"] {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.admin("POST", "/api/v1/namespaces", Some(&body));
    }
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let policy = |cluster_role: &str| {
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
cluster-role = "{cluster_role}"
groups = ["admins"]
"#
        )
    };
    sandbox.write("rolecall.toml", &policy("all"));
    sandbox.ok(&["apply", "--auto-approve"]);
    cluster.wait_until_synced();
    let arn = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admins_0123456789abcdef/me@example.com";
    let list_status = |path: &str| status(&cluster, arn, "GET", path);
    for namespace in ["main-a", "main-b"] {
        assert_eq!(list_status(&format!("/apis/apps/v1/namespaces/{namespace}/deployments")), 200);
    }
    assert_eq!(list_status("/apis/apps/v1/namespaces/default/deployments"), 403);
    // The aggregation controller writes the rules of the aggregated role asynchronously.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while list_status("/api/v1/nodes") != 200 {
        assert!(std::time::Instant::now() < deadline, "the aggregated role stays empty");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(sandbox.ok(&["plan"]).contains("No changes."), "rules that the controller wrote are no change");
    sandbox.write("rolecall.toml", &policy("secrets"));
    let plan = sandbox.ok(&["plan"]);
    assert!(
        plan.contains("-/+ ClusterRoleBinding wide  roleRef is immutable: replaced without interrupting access"),
        "{plan}"
    );
    sandbox.ok(&["apply", "--auto-approve"]);
    assert_eq!(list_status("/api/v1/secrets"), 200);
    assert_eq!(list_status("/api/v1/nodes"), 403);
    let (_, bindings) = cluster.admin("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", None);
    let bridges: Vec<&Value> = bindings["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .filter(|name| name.as_str().unwrap().contains("bridge"))
        .collect();
    assert!(bridges.is_empty(), "{bridges:?}");
    assert!(sandbox.ok(&["plan", "--detailed-exitcode"]).contains("No changes."));
}

/// `managedFields` has times in whole seconds. Writes that a test must tell apart need different seconds.
fn wait_a_second() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn drift_lists_manual_kubectl_changes_and_apply_reverts_them() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", &viewer_policy());
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(sandbox.ok(&["drift"]).contains("No drift."));
    wait_a_second();
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
    let drift = sandbox.run(&["drift"]);
    assert_eq!(drift.exit_code, 2, "{}{}", drift.stdout, drift.stderr);
    let times = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ";
    insta::with_settings!({ filters => vec![(times, "[time]")] }, { insta::assert_snapshot!(drift.stdout) });
    sandbox.ok(&["apply", "--auto-approve"]);
    assert!(sandbox.ok(&["drift"]).contains("No drift."));
    cluster.wait_until_synced();
    assert!(!map_roles(&cluster).contains("system:masters"), "{}", map_roles(&cluster));
}

#[test]
fn drift_separates_unapplied_policy_changes_from_cluster_changes() {
    let cluster = cluster();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let policy = viewer_policy();
    sandbox.write("rolecall.toml", &policy);
    sandbox.ok(&["apply", "--auto-approve"]);
    sandbox
        .write("rolecall.toml", &policy.replace(r#"verbs = ["get", "list"]"#, r#"verbs = ["get", "list", "watch"]"#));
    let drift = sandbox.run(&["drift"]);
    assert_eq!(drift.exit_code, 2);
    assert!(drift.stdout.contains("Drift: 0 changed outside of rolecall, 1 not yet applied."), "{}", drift.stdout);
}

#[test]
fn whoami_shows_the_caller_and_no_identity_for_a_snapshot() {
    let cluster = cluster();
    cluster.set_aws_auth(
        &json!({ "mapRoles": "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n  groups: [g]\n" }),
    );
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig_for(ROLE_SESSION));
    insta::assert_snapshot!(sandbox.ok(&["whoami"]), @r"
    context identity
      username      v
      groups        g, system:authenticated
      canonicalArn  arn:aws:iam::111122223333:role/viewer
      arn           arn:aws:sts::111122223333:assumed-role/viewer/session
      mapped by     unknown: you may not read aws-auth or the access entries, or several entries match
      may plan      no: denied to get configmaps named aws-auth in kube-system, and 6 more
      may apply     no: denied to create leases.coordination.k8s.io in kube-system, and 16 more
    ");
    sandbox.write("empty.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: default }\n");
    insta::assert_snapshot!(sandbox.ok(&["whoami", "--snapshot", "empty.yaml"]), @r"
    snapshot empty.yaml
      no user: a snapshot has no caller
    ");
}

#[test]
fn saved_plan_is_refused_after_a_change_of_the_cluster_or_the_file() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": NODES }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write("rolecall.toml", &viewer_policy());
    sandbox.ok(&["plan", "--out", "saved.json"]);
    wait_a_second();
    cluster.kubectl(&["create", "clusterrole", "unrelated", "--verb=get", "--resource=pods"]);
    cluster.kubectl(&["label", "configmap", "aws-auth", "-n", "kube-system", "touched=yes"]);
    let refused = sandbox.run(&["apply", "--plan", "saved.json"]);
    assert_eq!(refused.exit_code, 1, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("ConfigMap kube-system/aws-auth was changed by kubectl-label"),
        "{}",
        refused.stderr
    );
    assert!(sandbox.plan(&[])["steps"].as_array().unwrap().len() == 3, "nothing was written");
    sandbox.ok(&["plan", "--out", "saved.json"]);
    sandbox.ok(&["apply", "--plan", "saved.json"]);
    assert!(sandbox.ok(&["plan"]).contains("No changes."));
    let tampered = sandbox.read("saved.json").replace("cluster-viewer-group", "system:masters");
    sandbox.write("saved.json", &tampered);
    let refused = sandbox.run(&["apply", "--plan", "saved.json"]);
    assert!(refused.exit_code == 1 && refused.stderr.contains("was changed after it was saved"), "{}", refused.stderr);
}

#[test]
fn last_line_of_a_plan_is_the_command_that_applies_it() {
    let cluster = cluster();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    sandbox.write(
        "last line.toml",
        "[policy]\nname = \"last-line\"\n[cluster-roles.last-line]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n",
    );
    let plan = sandbox.ok(&["plan", "last line.toml", "--context", "admin"]);
    let command = plan.lines().last().unwrap().strip_prefix("To apply exactly this plan: rolecall ").unwrap();
    let (policy, rest) = command.strip_prefix("apply 'last line.toml' ").map(|rest| ("last line.toml", rest)).unwrap();
    let args: Vec<&str> = ["apply", policy].into_iter().chain(rest.split(' ')).collect();
    assert_eq!(&args[2..5], ["--context", "admin", "--approved"], "{command}");
    sandbox.ok(&args);
    let again = sandbox.ok(&["plan", "last line.toml", "--context", "admin"]);
    assert!(again.contains("No changes.") && !again.contains("To apply"), "{again}");
    let object = "/apis/rbac.authorization.k8s.io/v1/clusterroles/last-line";
    assert_eq!(cluster.admin("DELETE", object, None).0, 200);
}
