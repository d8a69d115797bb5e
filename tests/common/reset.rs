//! Takes a cluster back to how it started, in a few requests, so that tests can
//! follow one another on it. Namespaces stay (nothing here can finish deleting
//! them) and so do changes to built-in roles; tests that make such changes
//! start a cluster of their own.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::cluster::TestCluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const NOT_BUILT_IN: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const NOT_OF_THE_SERVER: &str = "labelSelector=%21apiserver.kubernetes.io%2Fidentity";

/// A cluster for one test at a time, which the threads of a proxy reach as well.
pub struct Shared {
    cluster: LazyLock<TestCluster>,
    turn: Mutex<()>,
}

impl Shared {
    /// It starts when it is first reached.
    pub const fn new(start: fn() -> TestCluster) -> Self {
        Self { cluster: LazyLock::new(start), turn: Mutex::new(()) }
    }

    /// The cluster as it started, until the guard goes.
    pub fn turn(&'static self) -> (MutexGuard<'static, ()>, &'static TestCluster) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.reset();
        (turn, self)
    }
}

impl Deref for Shared {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        &self.cluster
    }
}

static ONE: LazyLock<Mutex<TestCluster>> = LazyLock::new(|| Mutex::new(TestCluster::start()));

/// The one cluster of a test binary, for one test at a time, as it started.
pub fn cluster() -> MutexGuard<'static, TestCluster> {
    let cluster = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.reset();
    cluster
}

impl TestCluster {
    /// The metadata of all that rolecall could have written, versions among it.
    pub fn versions(&self) -> Vec<Value> {
        let kinds = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
        let lists = kinds.iter().flat_map(|kind| {
            let (_, list) = self.admin("GET", &format!("{RBAC}/{kind}"), None);
            list["items"].as_array().cloned().unwrap_or_default()
        });
        let objects = lists.chain([self.admin("GET", AWS_AUTH, None).1]);
        objects.map(|object| object["metadata"].clone()).collect()
    }

    /// Deletes aws-auth, all leases in kube-system and every RBAC object that
    /// is not a bootstrap default.
    #[track_caller]
    pub fn reset(&self) {
        self.release(AWS_AUTH, &self.admin("GET", AWS_AUTH, None).1);
        self.expect_gone("DELETE", AWS_AUTH);
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
