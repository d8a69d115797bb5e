//! Clusters that the tests of a binary share. Each is reset before a test uses it, and used by one test at a time.
//!
//! A reset needs a few requests, which is faster than a new cluster. It does not remove namespaces, because the test
//! cluster has no namespace controller, and it does not undo changes of the bootstrap roles. A test that makes such
//! changes starts its own cluster.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::TestCluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const NOT_BOOTSTRAPPED: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const NOT_API_SERVER_IDENTITY: &str = "labelSelector=%21apiserver.kubernetes.io%2Fidentity";

/// How long the aggregation controller may write to a role that was deleted.
const CONTROLLER_LAG: Duration = Duration::from_millis(200);

/// The number of clusters. A test mostly waits, so there are more than cores. Each needs 300 MB.
const CLUSTERS: usize = 3;

static POOL: [PooledCluster; CLUSTERS] = [const { PooledCluster::new() }; CLUSTERS];

/// The cluster of the pool on which the next test waits if no cluster is free.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: Cell<Option<&'static TestCluster>> = const { Cell::new(None) };
}

/// A cluster that starts when it is first used.
struct PooledCluster {
    cluster: LazyLock<TestCluster>,
    mutex: Mutex<()>,
}

impl PooledCluster {
    const fn new() -> Self {
        Self { cluster: LazyLock::new(TestCluster::start), mutex: Mutex::new(()) }
    }
}

/// The clusters with the default options. In a test that has locked one, and in the threads of its proxies, this is the
/// locked cluster.
pub struct ClusterPool;

pub static CLUSTER: ClusterPool = ClusterPool;

impl ClusterPool {
    /// Locks and resets a cluster. No other test can use it until the guard is dropped.
    pub fn lock(&self) -> (MutexGuard<'static, ()>, &'static TestCluster) {
        let free = POOL.iter().find_map(|pooled| match pooled.mutex.try_lock() {
            Ok(guard) => Some((guard, pooled)),
            Err(TryLockError::Poisoned(error)) => Some((error.into_inner(), pooled)),
            Err(TryLockError::WouldBlock) => None,
        });
        let (guard, pooled) = free.unwrap_or_else(|| {
            let pooled = &POOL[NEXT.fetch_add(1, Ordering::Relaxed) % CLUSTERS];
            (pooled.mutex.lock().unwrap_or_else(PoisonError::into_inner), pooled)
        });
        let cluster: &'static TestCluster = &pooled.cluster;
        CURRENT.set(Some(cluster));
        cluster.reset();
        (guard, cluster)
    }

    /// As [`Self::lock`], in one value.
    pub fn locked(&self) -> LockedCluster {
        let (guard, cluster) = self.lock();
        LockedCluster { cluster, _guard: guard }
    }
}

impl Deref for ClusterPool {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        CURRENT.get().expect("this thread has no cluster; lock one, or start the thread with shared_cluster::spawn")
    }
}

/// Starts a thread with the cluster of this thread.
pub fn spawn<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let current = CURRENT.get();
    std::thread::spawn(move || {
        CURRENT.set(current);
        function()
    })
}

/// A cluster that only the holder uses.
pub struct LockedCluster {
    cluster: &'static TestCluster,
    _guard: MutexGuard<'static, ()>,
}

impl Deref for LockedCluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        self.cluster
    }
}

/// The cluster with the default options, after a reset. No other test can use it until the guard is dropped.
pub fn cluster() -> LockedCluster {
    CLUSTER.locked()
}

impl TestCluster {
    /// The metadata, with the versions, of every object that rolecall could have written.
    pub fn object_metadata(&self) -> Vec<Value> {
        let kinds = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];
        let lists = kinds.iter().flat_map(|kind| {
            let (_, list) = self.admin("GET", &format!("{RBAC}/{kind}"), None);
            list["items"].as_array().cloned().unwrap_or_default()
        });
        let objects = lists.chain([self.admin("GET", AWS_AUTH, None).1]);
        objects.map(|object| object["metadata"].clone()).collect()
    }

    /// Deletes aws-auth, the Leases in kube-system that tests have created, and every RBAC object that is not a
    /// bootstrap default, and resets the double of AWS.
    #[track_caller]
    pub fn reset(&self) {
        self.reset_aws();
        self.remove_finalizers(AWS_AUTH, &self.admin("GET", AWS_AUTH, None).1);
        self.delete(AWS_AUTH);
        self.delete_all(&format!("{RBAC}/clusterrolebindings"), NOT_BOOTSTRAPPED);
        // The aggregation controller, with an old cache, may create a deleted role again.
        while self.delete_all(&format!("{RBAC}/clusterroles"), NOT_BOOTSTRAPPED) {
            std::thread::sleep(CONTROLLER_LAG);
        }
        for kind in ["rolebindings", "roles"] {
            for namespace in self.namespaces_with(kind) {
                self.delete_all(&format!("{RBAC}/namespaces/{namespace}/{kind}"), NOT_BOOTSTRAPPED);
            }
        }
        self.delete_all(LEASES, NOT_API_SERVER_IDENTITY);
        self.wait_until_synced();
    }

    fn namespaces_with(&self, kind: &str) -> BTreeSet<String> {
        let (_, list) = self.admin("GET", &format!("{RBAC}/{kind}?{NOT_BOOTSTRAPPED}"), None);
        items(&list).iter().filter_map(|item| item["metadata"]["namespace"].as_str()).map(str::to_owned).collect()
    }

    /// Returns whether an aggregated role was deleted.
    fn delete_all(&self, collection: &str, selector: &str) -> bool {
        let (_, list) = self.admin("GET", &format!("{collection}?{selector}"), None);
        if items(&list).is_empty() {
            return false;
        }
        for item in items(&list) {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            self.remove_finalizers(&format!("{collection}/{}", escape(name)), item);
        }
        self.delete(&format!("{collection}?{selector}"));
        items(&list).iter().any(|item| item["aggregationRule"].is_object())
    }

    /// An object with finalizers is not deleted, and an RBAC object would still grant its permissions.
    fn remove_finalizers(&self, path: &str, object: &Value) {
        if object["metadata"]["finalizers"].is_array() {
            let patch = json!({"metadata": {"finalizers": null}});
            let content_type = Some("application/merge-patch+json");
            self.request(self.admin_token(), "PATCH", path, content_type, Some(&patch));
        }
    }

    #[track_caller]
    fn delete(&self, path: &str) {
        let (status, response) = self.admin("DELETE", path, None);
        assert!(matches!(status, 200 | 202 | 404), "DELETE {path}: {status} {response}");
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// Encodes a path segment. Names of RBAC objects may contain any character except `/` and `%`.
fn escape(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
