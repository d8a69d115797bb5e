//! The kustomization with the CronJob for drift: built, applied to the test cluster, and run as its ServiceAccount, which has
//! just the permissions that it needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;
use crate::common::{TestCluster, go_tools};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes/drift")
}

/// The objects that `kustomize build` prints.
fn build() -> Vec<Value> {
    let output = Command::new(go_tools::path("kustomize")).arg("build").arg(folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

/// The path of the collection in which an object is.
fn collection(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str();
    let (group, plural) = match object["kind"].as_str().unwrap() {
        "Namespace" => ("/api/v1", "namespaces"),
        "ServiceAccount" => ("/api/v1", "serviceaccounts"),
        "ConfigMap" => ("/api/v1", "configmaps"),
        "ClusterRole" => (RBAC, "clusterroles"),
        "ClusterRoleBinding" => (RBAC, "clusterrolebindings"),
        "Role" => (RBAC, "roles"),
        "RoleBinding" => (RBAC, "rolebindings"),
        "CronJob" => ("/apis/batch/v1", "cronjobs"),
        other => panic!("{other} is not expected"),
    };
    match namespace {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}

fn create(cluster: &TestCluster, object: &Value) {
    let (status, answer) = cluster.admin("POST", &collection(object), Some(object));
    assert_eq!(status, 201, "{object:#}\n{answer:#}");
}

#[test]
fn cron_job_is_accepted_and_its_account_can_find_drift_and_nothing_else() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": "" }));
    let objects = build();
    let kinds = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
    assert_eq!((kinds("CronJob"), kinds("ServiceAccount"), kinds("ConfigMap")), (1, 1, 1));
    // A binding of the namespace kube-system stays there.
    assert!(objects.iter().any(|object| object["metadata"]["namespace"] == "kube-system"), "{objects:#?}");
    let mut sorted: Vec<&Value> = objects.iter().collect();
    sorted.sort_by_key(|object| object["kind"] != "Namespace");
    for object in &sorted {
        create(&cluster, object);
    }
    let job = objects.iter().find(|object| object["kind"] == "CronJob").unwrap();
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap();
    assert_eq!(pod["containers"][0]["image"], "registry.example/rolecall:0.1.0");
    // The name of the generated ConfigMap is that of the volume.
    let policy = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    assert_eq!(pod["volumes"][0]["configMap"]["name"], policy["metadata"]["name"]);
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    let path = format!("/api/v1/namespaces/rolecall/serviceaccounts/{account}/token");
    let (status, answer) = cluster.admin("POST", &path, Some(&request));
    assert_eq!(status, 201, "{answer:#}");
    let token = answer["status"]["token"].as_str().unwrap();
    // The command of the container, with the policy of the ConfigMap and the token of the account.
    let kubeconfig = cluster.write_kubeconfig("job", token);
    let sandbox = Sandbox::with_kubeconfig(kubeconfig);
    sandbox.write("policy/rolecall.toml", policy["data"]["rolecall.toml"].as_str().unwrap());
    let args: Vec<String> = pod["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap().replace("/policy/", "policy/"))
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let drift = sandbox.run(&args);
    assert_eq!(drift.exit_code, 2, "{}\n{}", drift.stdout, drift.stderr);
    assert!(drift.stdout.contains("viewers"), "{}", drift.stdout);
    // Nothing is missing and nothing is left over.
    for (method, path, allowed) in [
        ("GET", "/api/v1/namespaces/kube-system/configmaps/aws-auth", true),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", true),
        ("GET", "/api/v1/namespaces/kube-system/configmaps", false),
        ("GET", "/api/v1/secrets", false),
        ("GET", "/api/v1/pods", false),
        ("DELETE", "/api/v1/namespaces/kube-system/configmaps/aws-auth", false),
        ("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view", false),
    ] {
        let (status, _) = cluster.request(token, method, path, None, None);
        assert_eq!(status == 200, allowed, "{method} {path}: {status}");
    }
    for object in &sorted {
        let name = object["metadata"]["name"].as_str().unwrap();
        cluster.admin("DELETE", &format!("{}/{name}", collection(object)), None);
    }
}

/// The roles of the example are those that the program prints.
#[test]
fn roles_are_those_of_permissions() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: kube-system, uid: a }\n");
    sandbox.write("rolecall.toml", &std::fs::read_to_string(folder().join("rolecall.toml")).unwrap());
    let printed = sandbox.ok(&[
        "permissions",
        "--snapshot",
        "cluster.yaml",
        "--for",
        "plan",
        "--subject",
        "sa:rolecall/rolecall-drift",
        "--name",
        "rolecall-drift",
    ]);
    let path = folder().join("roles.yaml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), printed, "run with BLESS=1");
}
