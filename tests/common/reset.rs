//! Takes a cluster back to how it started, in a few requests, so that tests can
//! follow one another on it. Namespaces stay (nothing here can finish deleting
//! them) and so do changes to built-in roles; tests that make such changes
//! start a cluster of their own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::TestCluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const NOT_BUILT_IN: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const NOT_OF_THE_SERVER: &str = "labelSelector=%21apiserver.kubernetes.io%2Fidentity";

impl TestCluster {
    /// Deletes aws-auth, all leases in kube-system and every RBAC object that
    /// is not a bootstrap default.
    #[track_caller]
    pub fn reset(&self) {
        let aws_auth = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
        self.release(aws_auth, &self.admin("GET", aws_auth, None).1);
        self.expect_gone("DELETE", aws_auth);
        for kind in ["clusterrolebindings", "clusterroles"] {
            self.delete_all(&format!("{RBAC}/{kind}"), NOT_BUILT_IN);
        }
        for kind in ["rolebindings", "roles"] {
            for namespace in self.namespaces_of(kind) {
                self.delete_all(&format!("{RBAC}/namespaces/{namespace}/{kind}"), NOT_BUILT_IN);
            }
        }
        self.delete_all(LEASES, NOT_OF_THE_SERVER);
        self.wait_until_read();
    }

    fn namespaces_of(&self, kind: &str) -> BTreeSet<String> {
        let (_, list) = self.admin("GET", &format!("{RBAC}/{kind}?{NOT_BUILT_IN}"), None);
        items(&list).iter().filter_map(|item| item["metadata"]["namespace"].as_str()).map(str::to_owned).collect()
    }

    fn delete_all(&self, collection: &str, selector: &str) {
        let (_, list) = self.admin("GET", &format!("{collection}?{selector}"), None);
        if items(&list).is_empty() {
            return;
        }
        for item in items(&list) {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            self.release(&format!("{collection}/{}", escape(name)), item);
        }
        self.expect_gone("DELETE", &format!("{collection}?{selector}"));
    }

    /// A finalizer would keep the object, and an RBAC object would go on granting.
    fn release(&self, path: &str, object: &Value) {
        if object["metadata"]["finalizers"].is_array() {
            let patch = json!({"metadata": {"finalizers": null}});
            let kind = Some("application/merge-patch+json");
            self.request(self.admin_token(), "PATCH", path, kind, Some(&patch));
        }
    }

    #[track_caller]
    fn expect_gone(&self, method: &str, path: &str) {
        let (status, answer) = self.admin(method, path, None);
        assert!(matches!(status, 200 | 202 | 404), "{method} {path}: {status} {answer}");
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// RBAC names may hold anything but `/` and `%`.
fn escape(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
