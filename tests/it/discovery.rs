//! Custom resources are known from the discovery of a live cluster, and the namespace of a question from the context.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn create(cluster: &TestCluster, path: &str, object: &Value) {
    let (status, answer) = cluster.admin("POST", path, Some(object));
    assert_eq!(status, 201, "{answer}");
}

fn definition(plural: &str, scope: &str) -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    json!({
        "metadata": { "name": format!("{plural}.discovery.example") },
        "spec": {
            "group": "discovery.example",
            "scope": scope,
            "names": { "plural": plural, "kind": format!("Kind{plural}"), "shortNames": [format!("s{plural}")] },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    })
}

fn wait_for_group(cluster: &TestCluster, is_served: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while (cluster.admin("GET", "/apis/discovery.example/v1", None).0 == 200) != is_served {
        assert!(Instant::now() < deadline, "the custom resources are not in the expected state");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn custom_resources_and_the_default_namespace_come_from_the_live_cluster() {
    let cluster = cluster();
    cluster.create_namespace("team-a", &[]);
    for (plural, scope) in [("globals", "Cluster"), ("locals", "Namespaced")] {
        create(&cluster, DEFINITIONS, &definition(plural, scope));
    }
    wait_for_group(&cluster, true);
    let rules = json!([{ "apiGroups": ["discovery.example"], "resources": ["globals", "locals"], "verbs": ["get"] }]);
    create(&cluster, &format!("{RBAC}/clusterroles"), &json!({ "metadata": { "name": "custom" }, "rules": rules }));
    let binding = json!({
        "metadata": { "name": "custom" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "custom" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "lead" }],
    });
    create(&cluster, &format!("{RBAC}/namespaces/team-a/rolebindings"), &binding);
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["contexts"][0]["context"]["namespace"] = json!("team-a");
    let sandbox = Sandbox::with_kubeconfig_text(&kubeconfig.to_string());
    sandbox.ok(&["snapshot", "--out", "cluster.yaml"]);
    // The discovery can be a moment behind.
    let deadline = Instant::now() + Duration::from_secs(20);
    while sandbox.run(&["can", "user:lead", "get", "slocals"]).exit_code == 2 {
        assert!(Instant::now() < deadline, "the discovery does not list the custom resources");
        std::thread::sleep(Duration::from_millis(100));
    }
    sandbox.ok(&["snapshot", "--out", "cluster.yaml"]);
    let ask = |args: &[&str]| {
        let output = sandbox.run(&[&["can", "user:lead", "get"], args].concat());
        format!("{} {}", output.exit_code, output.stdout.trim_end())
    };
    let in_snapshot = ["-n", "team-a", "--snapshot", "cluster.yaml"];
    for from in [&[][..], &in_snapshot] {
        assert_eq!(
            ask(&[&["sglobals"], from].concat()),
            "1 no: user:lead cannot get globals.discovery.example",
            "the resource is cluster-scoped"
        );
        assert_eq!(
            ask(&[&["locals/a"], from].concat()),
            "0 yes: user:lead can get locals.discovery.example named a in team-a"
        );
    }
    let access = sandbox.ok(&["access", "user:lead"]);
    assert!(access.contains("get locals.discovery.example in team-a") && !access.contains("globals"), "{access}");
    for plural in ["globals", "locals"] {
        cluster.admin("DELETE", &format!("{DEFINITIONS}/{plural}.discovery.example"), None);
    }
    wait_for_group(&cluster, false);
}
