//! Answers of an API server, or of a proxy in front of it, that have no valid place in the model of a cluster. A command
//! fails instead of leaving the object out.

use crate::common::proxy::{Proxy, ProxyAction, ProxyResponse};
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::CLUSTER;
use serde_json::{Value, json};

/// A server can answer with any text that it has received.
const ECHOED: &str = "echoed-credential";
const POLICY: &str = "[policy]\nname = \"p\"\n[cluster-roles.one]\nrules = []\n";

fn list(kind: &str, item: Value) -> Value {
    let version = "rbac.authorization.k8s.io/v1";
    json!({ "kind": format!("{kind}List"), "apiVersion": version, "metadata": { "resourceVersion": "1" }, "items": [item] })
}

#[test]
fn item_of_a_list_without_a_valid_name_namespace_or_version_is_an_error() {
    let (_guard, cluster) = CLUSTER.lock();
    let role_ref = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r" });
    let cases = [
        (
            "clusterroles",
            list("ClusterRole", json!({ "metadata": { "resourceVersion": "1" } })),
            "an item has the name ``",
        ),
        (
            "clusterroles",
            list("ClusterRole", json!({ "metadata": { "name": "r", "namespace": "n", "resourceVersion": "1" } })),
            "an item has the name `r` in namespace `n`, which no ClusterRole can have",
        ),
        (
            "roles",
            list("Role", json!({ "metadata": { "name": "r", "resourceVersion": "1" } })),
            "an item has the name `r`, which no Role can have",
        ),
        (
            "clusterroles",
            list("ClusterRole", json!({ "metadata": { "name": "r" } })),
            "ClusterRole r has no `metadata.resourceVersion`",
        ),
        (
            "clusterrolebindings",
            list("ClusterRoleBinding", json!({ "metadata": { "name": "b" }, "roleRef": role_ref })),
            "ClusterRoleBinding b has no `metadata.resourceVersion`",
        ),
        (
            "aws-auth",
            json!({
                "kind": "ConfigMap", "apiVersion": "v1", "data": { "mapRoles": [ECHOED] },
                "metadata": { "name": "aws-auth", "namespace": "kube-system", "resourceVersion": "1" },
            }),
            "ConfigMap kube-system/aws-auth: a field has another type",
        ),
        (
            "clusterrolebindings",
            list(
                "ClusterRoleBinding",
                json!({
                    "metadata": { "name": "b", "resourceVersion": "1" },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": ECHOED, "name": "r" },
                }),
            ),
            "ClusterRoleBinding b: the kind of its role or of a subject is none of Kubernetes",
        ),
        (
            "selfsubjectreviews",
            json!({ "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "status": {} }),
            "it has no `status.userInfo`",
        ),
    ];
    for (resource, body, message) in cases {
        let proxy = Proxy::start(cluster, move |request| {
            if !request.path.ends_with(&format!("/{resource}")) {
                return ProxyAction::Forward;
            }
            let headers = vec![("Content-Type", "application/json".to_owned())];
            ProxyAction::Respond(ProxyResponse { status: 200, headers, body: body.to_string() })
        });
        let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
        sandbox.write("rolecall.toml", POLICY);
        let output = sandbox.run(&["apply", "--auto-approve"]);
        assert_eq!(output.exit_code, 1, "{resource}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(message), "{resource}: {}", output.stderr);
        assert!(!output.stderr.contains(ECHOED), "{resource}: {}", output.stderr);
        assert_eq!(proxy.writes(), [] as [String; 0]);
    }
}

#[test]
fn stored_object_without_a_version_stops_the_apply() {
    let (_guard, cluster) = CLUSTER.lock();
    let proxy = Proxy::start(cluster, |request| {
        if !request.matches("POST", "/clusterroles") {
            return ProxyAction::Forward;
        }
        let headers = vec![("Content-Type", "application/json".to_owned())];
        let body = json!({ "kind": "ClusterRole", "metadata": { "name": "one" } }).to_string();
        ProxyAction::ReplaceResponse(ProxyResponse { status: 201, headers, body })
    });
    let sandbox = Sandbox::with_kubeconfig(proxy.kubeconfig());
    sandbox.write("rolecall.toml", POLICY);
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("the object has no `metadata.resourceVersion`"), "{}", output.stderr);
    assert!(output.stderr.contains("result unknown"), "{}", output.stderr);
}
