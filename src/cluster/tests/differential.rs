//! Makes every write of [`write_cases`](super::write_cases) on every existing object, on the real API server and on a
//! snapshot of it, and compares the outcomes.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::write_cases::{
    EXISTING_OBJECTS, ExistingObject, TERMINATING_NAMESPACE, WRITABLE_KINDS, build_object, create_bodies,
    minimal_object, object_key, writes_for,
};
use crate::cluster::connection::connect;
use crate::cluster::kubeconfig::{ContextSelector, KubeconfigSource};
use crate::cluster::live::LiveCluster;
use crate::cluster::object_path::object_path;
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::snapshot::{SnapshotCluster, SnapshotNamedBy};
use crate::cluster::{ClusterError, ReadCluster, WriteCluster, WriteOutcome};
use crate::names::ObjectKey;
use crate::state::validate::parse_object_key;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, prune_empty};
use crate::test_cluster::TestCluster;
use crate::test_cluster::cluster::Options;

/// Returns the outcome of a write, without messages and versions.
fn outcome_class(result: &Result<WriteOutcome, ClusterError>) -> String {
    match result {
        Ok(WriteOutcome::Stored(_)) => "stored".to_owned(),
        Ok(WriteOutcome::Unchanged(_)) => "unchanged".to_owned(),
        Ok(WriteOutcome::Deleted) => "deleted".to_owned(),
        Ok(WriteOutcome::Terminating(finalizers)) => format!("terminating with {finalizers:?}"),
        Err(ClusterError::Rejected { refusal: WriteError::Invalid(_), .. }) => "invalid".to_owned(),
        Err(ClusterError::Rejected { refusal, .. }) => format!("{refusal:?}"),
        Err(error) => format!("{error:?}"),
    }
}

static TEST_CLUSTER: LazyLock<TestCluster> = LazyLock::new(|| {
    // The writes of a controller would change the versions.
    let cluster = TestCluster::start_with(Options { aggregation: false, ..Options::default() });
    cluster.create_namespace("differential", &[]);
    cluster.create_namespace(TERMINATING_NAMESPACE, &[]);
    // The test cluster has no namespace controller, so the namespace stays in this state.
    cluster.admin("DELETE", &format!("/api/v1/namespaces/{TERMINATING_NAMESPACE}"), None);
    cluster
});
static CLUSTER_LOCK: Mutex<()> = Mutex::new(());

/// The shared test cluster, for one test at a time.
pub(super) struct DifferentialFixture {
    _guard: MutexGuard<'static, ()>,
    pub(super) cluster: &'static TestCluster,
    pub(super) runtime: Runtime,
    pub(super) live: LiveCluster,
    folder: tempfile::TempDir,
}

impl DifferentialFixture {
    pub(super) fn new() -> Self {
        let guard = CLUSTER_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Some(TEST_CLUSTER.kubeconfig());
        let source = KubeconfigSource { file, env: BTreeMap::new(), use_exec_plugin: false };
        let runtime = Runtime::new().unwrap();
        let live = runtime.block_on(async {
            connect(&ContextSelector::Current, &source, &ConnectionSettings::default()).await.unwrap().cluster
        });
        Self { _guard: guard, cluster: &TEST_CLUSTER, runtime, live, folder: tempfile::TempDir::new().unwrap() }
    }

    fn get(&self, key: &ObjectKey) -> Option<Value> {
        let (status, object) = self.cluster.admin("GET", &object_path(key), None);
        (status == 200).then_some(object)
    }

    fn patch(&self, key: &ObjectKey, patch: &Value) {
        let content_type = Some("application/merge-patch+json");
        self.cluster.request(self.cluster.admin_token(), "PATCH", &object_path(key), content_type, Some(patch));
    }

    pub(super) fn create(&self, object: &Value) -> Value {
        let key = parse_object_key(object).unwrap().unwrap();
        let (collection, _) = object_path(&key).rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (status, created) = self.cluster.admin("POST", &collection, Some(object));
        assert_eq!(status, 201, "{created}");
        created
    }

    fn remove(&self, key: &ObjectKey) {
        if self.get(key).is_none() {
            return;
        }
        self.patch(key, &json!({ "metadata": { "finalizers": null } }));
        self.cluster.admin("DELETE", &object_path(key), None);
    }

    /// Brings the object into this state, and returns the precondition of a plan that was made before the last change.
    fn prepare_object(&self, key: &ObjectKey, existing: ExistingObject) -> ResolvedPrecondition {
        self.remove(key);
        if existing == ExistingObject::Absent {
            return ResolvedPrecondition::Absent;
        }
        let mut object = minimal_object(key);
        if matches!(existing, ExistingObject::Terminating | ExistingObject::WithFinalizer) {
            object["metadata"]["finalizers"] = json!(["example.com/cleanup"]);
        }
        let mut observed = self.create(&object);
        match existing {
            ExistingObject::Absent | ExistingObject::Unchanged | ExistingObject::WithFinalizer => {}
            ExistingObject::Modified => {
                self.patch(key, &json!({ "metadata": { "annotations": { "modified": "yes" } } }));
            }
            ExistingObject::Deleted | ExistingObject::Recreated => self.remove(key),
            ExistingObject::Terminating => {
                self.cluster.admin("DELETE", &object_path(key), None);
                observed = self.get(key).unwrap();
            }
        }
        if existing == ExistingObject::Recreated {
            self.create(&minimal_object(key));
        }
        ResolvedPrecondition::Version(ObjectVersion::from_object(&observed).unwrap())
    }

    /// Returns a snapshot of the namespaces and of the object with this key.
    fn snapshot(&self, key: &ObjectKey) -> SnapshotCluster {
        let (_, mut namespaces) = self.cluster.admin("GET", "/api/v1/namespaces", None);
        let mut items = namespaces["items"].as_array_mut().map(std::mem::take).unwrap();
        for item in &mut items {
            *item = build_object(
                &ObjectKey::new(crate::names::ObjectKind::Namespace, None, item["metadata"]["name"].as_str().unwrap())
                    .unwrap(),
                item,
            );
        }
        items.extend(self.get(key));
        let file = self.folder.path().join("snapshot.json");
        write_file(&file, &json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
        SnapshotCluster::open(&[file], None, &SnapshotNamedBy::CommandLine).unwrap()
    }

    /// Makes the write on the API server and on a snapshot. Returns the outcome and the object after the write, of the
    /// API server first.
    fn write_to_both(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> [(String, Option<Value>); 2] {
        let snapshot = self.snapshot(key);
        let snapshot_result = self.runtime.block_on(snapshot.write(key, write, expected));
        let snapshot_object = self
            .runtime
            .block_on(snapshot.export_objects())
            .unwrap()
            .into_iter()
            .find(|object| parse_object_key(object) == Ok(Some(key.clone())));
        let live_result = self.runtime.block_on(self.live.write(key, write, expected));
        [
            (outcome_class(&live_result), self.get(key).map(remove_server_fields)),
            (outcome_class(&snapshot_result), snapshot_object.map(remove_server_fields)),
        ]
    }
}

#[expect(clippy::disallowed_methods, reason = "the test writes to a temporary directory")]
fn write_file(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Removes the fields that the API server sets.
fn remove_server_fields(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        metadata.shift_remove(field);
    }
    if let Some(role_ref) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        role_ref.shift_remove("apiGroup");
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        subject.as_object_mut().unwrap().shift_remove("apiGroup");
    }
    prune_empty(&object)
}

/// Shortens long lines: some objects have a data value of one mebibyte.
fn format_differences(differences: &[String]) -> String {
    let lines = differences.iter().flat_map(|difference| difference.lines());
    lines.map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
}

#[test]
fn snapshot_write_has_the_same_outcome_as_the_api_server() {
    let fixture = DifferentialFixture::new();
    let mut differences = Vec::new();
    let mut outcomes = BTreeMap::new();
    for kind in WRITABLE_KINDS {
        let key = object_key(kind, "differential");
        for existing in EXISTING_OBJECTS {
            let mut prepared = None;
            for write in writes_for(&key, existing) {
                let observed = match prepared.take() {
                    Some(observed) => observed,
                    None => fixture.prepare_object(&key, existing),
                };
                let expected = if matches!(write, WriteRequest::Create(_)) {
                    ResolvedPrecondition::Absent
                } else {
                    observed.clone()
                };
                let [live, snapshot] = fixture.write_to_both(&key, &write, &expected);
                *outcomes.entry(live.0.clone()).or_insert(0) += 1;
                if live != snapshot {
                    differences.push(format!("{existing:?} {write:?}\n  live     {live:?}\n  snapshot {snapshot:?}"));
                }
                // A write that changed nothing leaves the object prepared for the next write.
                let changed = ["stored", "deleted", "terminating"].iter().any(|outcome| live.0.starts_with(outcome));
                prepared = (!changed).then_some(observed);
            }
        }
        fixture.remove(&key);
    }
    // The test cases must cover every outcome.
    for outcome in
        ["stored", "unchanged", "deleted", "NotFound", "Conflict", "AlreadyExists", "BeingDeleted", "invalid"]
    {
        assert!(outcomes.contains_key(outcome), "no write has the outcome {outcome}: {outcomes:?}");
    }
    assert!(differences.is_empty(), "{} of {outcomes:?}\n{}", differences.len(), format_differences(&differences));
}

#[test]
fn snapshot_accepts_and_rejects_the_same_bodies_as_the_api_server() {
    let fixture = DifferentialFixture::new();
    let mut differences = Vec::new();
    for body in create_bodies() {
        let Some(key) = parse_object_key(&body).ok().flatten() else {
            panic!("{body} has no key");
        };
        fixture.remove(&key);
        let [live, snapshot] =
            fixture.write_to_both(&key, &WriteRequest::Create(body.clone()), &ResolvedPrecondition::Absent);
        if live != snapshot {
            differences.push(format!("{body}\n  live     {live:?}\n  snapshot {snapshot:?}"));
        }
        fixture.remove(&key);
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), format_differences(&differences));
}
