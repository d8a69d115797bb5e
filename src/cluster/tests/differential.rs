//! Every write of the table, on every state of the table, made on the real API server and on a snapshot of it.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::write_cases::{
    EXISTING_OBJECTS, ExistingObject, WRITABLE_KINDS, build_object, create_bodies, minimal_object, object_key,
    writes_for,
};
use crate::cluster::api_client::ApiClient;
use crate::cluster::kubeconfig::{ContextSelector, KubeconfigSource, load_context};
use crate::cluster::live::{LiveCluster, object_path};
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::snapshot::SnapshotCluster;
use crate::cluster::{ClusterError, ReadCluster, WriteCluster, WriteOutcome};
use crate::names::ObjectKey;
use crate::state::validate::parse_object_key;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, prune_empty};
use crate::test_cluster::TestCluster;

/// How a write ended, without the words and the versions.
fn outcome_class(end: &Result<WriteOutcome, ClusterError>) -> String {
    match end {
        Ok(WriteOutcome::Stored(_)) => "stored".to_owned(),
        Ok(WriteOutcome::Unchanged(_)) => "unchanged".to_owned(),
        Ok(WriteOutcome::Deleted) => "deleted".to_owned(),
        Ok(WriteOutcome::Terminating(finalizers)) => format!("waiting for {finalizers:?}"),
        Err(ClusterError::Rejected { refusal: WriteError::Invalid(_), .. }) => "invalid".to_owned(),
        Err(ClusterError::Rejected { refusal, .. }) => format!("{refusal:?}"),
        Err(other) => format!("{other:?}"),
    }
}

static TEST_CLUSTER: LazyLock<TestCluster> = LazyLock::new(|| {
    let real = TestCluster::start();
    real.create_namespace("differential", &[]);
    real.create_namespace("ending", &[]);
    // No controller is there to end it.
    real.admin("DELETE", "/api/v1/namespaces/ending", None);
    real
});
static CLUSTER_LOCK: Mutex<()> = Mutex::new(());

pub(super) struct DifferentialFixture {
    _guard: MutexGuard<'static, ()>,
    pub(super) cluster: &'static TestCluster,
    pub(super) runtime: Runtime,
    pub(super) live: LiveCluster,
    folder: tempfile::TempDir,
}

impl DifferentialFixture {
    pub(super) fn new() -> Self {
        let turn = CLUSTER_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = KubeconfigSource { file: Some(TEST_CLUSTER.kubeconfig()), env: BTreeMap::new() };
        let runtime = Runtime::new().unwrap();
        let live = runtime.block_on(async {
            let (config, _) = load_context(&ContextSelector::Current, &lookup).await.unwrap();
            LiveCluster::new(ApiClient::new(config, ConnectionSettings::default()).await.unwrap())
        });
        Self { _guard: turn, cluster: &TEST_CLUSTER, runtime, live, folder: tempfile::TempDir::new().unwrap() }
    }

    fn get(&self, key: &ObjectKey) -> Option<Value> {
        let (status, object) = self.cluster.admin("GET", &object_path(key), None);
        (status == 200).then_some(object)
    }

    fn patch(&self, key: &ObjectKey, patch: &Value) {
        let kind = Some("application/merge-patch+json");
        self.cluster.request(self.cluster.admin_token(), "PATCH", &object_path(key), kind, Some(patch));
    }

    pub(super) fn create(&self, object: &Value) -> Value {
        let key = parse_object_key(object).unwrap().unwrap();
        let (collection, _) = object_path(&key).rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (status, answer) = self.cluster.admin("POST", &collection, Some(object));
        assert_eq!(status, 201, "{answer}");
        answer
    }

    fn remove(&self, key: &ObjectKey) {
        if self.get(key).is_none() {
            return;
        }
        self.patch(key, &json!({ "metadata": { "finalizers": null } }));
        self.cluster.admin("DELETE", &object_path(key), None);
    }

    /// Brings the object to its state, and says what a plan made before knows of it.
    fn prepare_object(&self, key: &ObjectKey, found: ExistingObject) -> ResolvedPrecondition {
        self.remove(key);
        if found == ExistingObject::Absent {
            return ResolvedPrecondition::Absent;
        }
        let mut first = minimal_object(key);
        if matches!(found, ExistingObject::Terminating | ExistingObject::WithFinalizer) {
            first["metadata"]["finalizers"] = json!(["example.com/held"]);
        }
        let mut read = self.create(&first);
        match found {
            ExistingObject::Absent | ExistingObject::Unchanged | ExistingObject::WithFinalizer => {}
            ExistingObject::Modified => self.patch(key, &json!({ "metadata": { "annotations": { "moved": "yes" } } })),
            ExistingObject::Deleted | ExistingObject::Recreated => self.remove(key),
            ExistingObject::Terminating => {
                self.cluster.admin("DELETE", &object_path(key), None);
                read = self.get(key).unwrap();
            }
        }
        if found == ExistingObject::Recreated {
            self.create(&minimal_object(key));
        }
        ResolvedPrecondition::Version(ObjectVersion::from_object(&read).unwrap())
    }

    /// What a snapshot of the cluster would be, as far as it concerns the key.
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
        SnapshotCluster::open(&[file], None).unwrap()
    }

    /// Both ends of the write, and both objects after.
    fn write_to_both(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> [(String, Option<Value>); 2] {
        let snapshot = self.snapshot(key);
        let run = &self.runtime;
        let offline = run.block_on(snapshot.write(key, write, expected));
        let after = run
            .block_on(snapshot.export())
            .unwrap()
            .into_iter()
            .find(|one| parse_object_key(one) == Ok(Some(key.clone())));
        let live = run.block_on(self.live.write(key, write, expected));
        [
            (outcome_class(&live), self.get(key).map(remove_server_fields)),
            (outcome_class(&offline), after.map(remove_server_fields)),
        ]
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no World")]
fn write_file(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Without what the server fills in.
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

/// A data value of a mebibyte is nobody's reading.
fn format_differences(different: &[String]) -> String {
    let lines = different.iter().flat_map(|one| one.lines());
    lines.map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
}

#[test]
fn a_snapshot_answers_every_write_as_the_api_server_does() {
    let bench = DifferentialFixture::new();
    let mut different = Vec::new();
    let mut seen = BTreeMap::new();
    for kind in WRITABLE_KINDS {
        let key = object_key(kind, "differential");
        for found in EXISTING_OBJECTS {
            let mut before = None;
            for write in writes_for(&key, found) {
                let read = match before.take() {
                    Some(read) => read,
                    None => bench.prepare_object(&key, found),
                };
                let expected =
                    if matches!(write, WriteRequest::Create(_)) { ResolvedPrecondition::Absent } else { read.clone() };
                let [live, offline] = bench.write_to_both(&key, &write, &expected);
                *seen.entry(live.0.clone()).or_insert(0) += 1;
                if live != offline {
                    different.push(format!("{found:?} {write:?}\n  live     {live:?}\n  snapshot {offline:?}"));
                }
                // What has changed nothing leaves the state for the next.
                let changes = ["stored", "deleted", "waiting"].iter().any(|word| live.0.starts_with(word));
                before = (!changes).then_some(read);
            }
        }
        bench.remove(&key);
    }
    // Were one of these never reached, the table would say little.
    for reached in
        ["stored", "unchanged", "deleted", "NotFound", "Conflict", "AlreadyExists", "BeingDeleted", "invalid"]
    {
        assert!(seen.contains_key(reached), "{reached} in {seen:?}");
    }
    assert!(different.is_empty(), "{} of {seen:?}\n{}", different.len(), format_differences(&different));
}

#[test]
fn a_snapshot_takes_and_refuses_every_body_as_the_api_server_does() {
    let bench = DifferentialFixture::new();
    let mut different = Vec::new();
    for body in create_bodies() {
        let Some(key) = parse_object_key(&body).ok().flatten() else {
            panic!("{body} has no key");
        };
        bench.remove(&key);
        let [live, offline] =
            bench.write_to_both(&key, &WriteRequest::Create(body.clone()), &ResolvedPrecondition::Absent);
        if live != offline {
            different.push(format!("{body}\n  live     {live:?}\n  snapshot {offline:?}"));
        }
        bench.remove(&key);
    }
    assert!(different.is_empty(), "{}\n{}", different.len(), format_differences(&different));
}
