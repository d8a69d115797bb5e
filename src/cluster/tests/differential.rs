//! Every write of the table, on every state of the table, made on the real API server and on a snapshot of it.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::table::{FOUND, Found, KINDS, bodies, key, object, plain, writes};
use crate::cluster::connection::Connection;
use crate::cluster::kubeconfig::{Lookup, Wanted, resolve};
use crate::cluster::live::{LiveCluster, path};
use crate::cluster::snapshot::SnapshotCluster;
use crate::cluster::{ClusterError, ReadCluster, WriteCluster, Written};
use crate::names::ObjectKey;
use crate::state::validate::key_of;
use crate::state::write::{Expected, Refusal, Version, Write, without_empty};
use crate::test_cluster::TestCluster;

/// How a write ended, without the words and the versions.
fn class(end: &Result<Written, ClusterError>) -> String {
    match end {
        Ok(Written::Stored(_)) => "stored".to_owned(),
        Ok(Written::Unchanged(_)) => "unchanged".to_owned(),
        Ok(Written::Deleted) => "deleted".to_owned(),
        Ok(Written::Waiting(finalizers)) => format!("waiting for {finalizers:?}"),
        Err(ClusterError::Refused { refusal: Refusal::Invalid(_), .. }) => "invalid".to_owned(),
        Err(ClusterError::Refused { refusal, .. }) => format!("{refusal:?}"),
        Err(other) => format!("{other:?}"),
    }
}

static REAL: LazyLock<TestCluster> = LazyLock::new(|| {
    let real = TestCluster::start();
    real.create_namespace("differential", &[]);
    real.create_namespace("ending", &[]);
    // No controller is there to end it.
    real.admin("DELETE", "/api/v1/namespaces/ending", None);
    real
});
static TURN: Mutex<()> = Mutex::new(());

pub(super) struct Bench {
    _turn: MutexGuard<'static, ()>,
    pub(super) real: &'static TestCluster,
    pub(super) runtime: Runtime,
    pub(super) live: LiveCluster,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = Lookup { file: Some(REAL.kubeconfig()), env: BTreeMap::new() };
        let runtime = Runtime::new().unwrap();
        let live = runtime.block_on(async {
            let (config, _) = resolve(&Wanted::Current, &lookup).await.unwrap();
            LiveCluster::new(Connection::new(config).await.unwrap())
        });
        Self { _turn: turn, real: &REAL, runtime, live, folder: tempfile::TempDir::new().unwrap() }
    }

    fn get(&self, key: &ObjectKey) -> Option<Value> {
        let (status, object) = self.real.admin("GET", &path(key), None);
        (status == 200).then_some(object)
    }

    fn patch(&self, key: &ObjectKey, patch: &Value) {
        let kind = Some("application/merge-patch+json");
        self.real.request(self.real.admin_token(), "PATCH", &path(key), kind, Some(patch));
    }

    pub(super) fn create(&self, object: &Value) -> Value {
        let key = key_of(object).unwrap().unwrap();
        let (collection, _) = path(&key).rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (status, answer) = self.real.admin("POST", &collection, Some(object));
        assert_eq!(status, 201, "{answer}");
        answer
    }

    fn clear(&self, key: &ObjectKey) {
        if self.get(key).is_none() {
            return;
        }
        self.patch(key, &json!({ "metadata": { "finalizers": null } }));
        self.real.admin("DELETE", &path(key), None);
    }

    /// Brings the object to its state, and says what a plan made before knows of it.
    fn prepare(&self, key: &ObjectKey, found: Found) -> Expected {
        self.clear(key);
        if found == Found::Nothing {
            return Expected::Absent;
        }
        let mut first = plain(key);
        if matches!(found, Found::Deleting | Found::Held) {
            first["metadata"]["finalizers"] = json!(["example.com/held"]);
        }
        let mut read = self.create(&first);
        match found {
            Found::Nothing | Found::AsRead | Found::Held => {}
            Found::Moved => self.patch(key, &json!({ "metadata": { "annotations": { "moved": "yes" } } })),
            Found::Gone | Found::Another => self.clear(key),
            Found::Deleting => {
                self.real.admin("DELETE", &path(key), None);
                read = self.get(key).unwrap();
            }
        }
        if found == Found::Another {
            self.create(&plain(key));
        }
        Expected::Version(Version::of(&read).unwrap())
    }

    /// What a snapshot of the cluster would be, as far as it concerns the key.
    fn snapshot(&self, key: &ObjectKey) -> SnapshotCluster {
        let (_, mut namespaces) = self.real.admin("GET", "/api/v1/namespaces", None);
        let mut items = namespaces["items"].as_array_mut().map(std::mem::take).unwrap();
        for item in &mut items {
            *item = object(
                &ObjectKey::new(crate::names::ObjectKind::Namespace, None, item["metadata"]["name"].as_str().unwrap())
                    .unwrap(),
                item,
            );
        }
        items.extend(self.get(key));
        let file = self.folder.path().join("snapshot.json");
        write(&file, &json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
        SnapshotCluster::open(&[file]).unwrap()
    }

    /// Both ends of the write, and both objects after.
    fn both(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> [(String, Option<Value>); 2] {
        let snapshot = self.snapshot(key);
        let run = &self.runtime;
        let offline = run.block_on(snapshot.write(key, write, expected));
        let after =
            run.block_on(snapshot.export()).unwrap().into_iter().find(|one| key_of(one) == Ok(Some(key.clone())));
        let live = run.block_on(self.live.write(key, write, expected));
        [(class(&live), self.get(key).map(stored)), (class(&offline), after.map(stored))]
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no World")]
fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Without what the server fills in.
fn stored(mut object: Value) -> Value {
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
    without_empty(&object)
}

/// A data value of a mebibyte is nobody's reading.
fn shown(different: &[String]) -> String {
    let lines = different.iter().flat_map(|one| one.lines());
    lines.map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
}

#[test]
fn a_snapshot_answers_every_write_as_the_api_server_does() {
    let bench = Bench::new();
    let mut different = Vec::new();
    let mut seen = BTreeMap::new();
    for kind in KINDS {
        let key = key(kind, "differential");
        for found in FOUND {
            let mut before = None;
            for write in writes(&key, found) {
                let read = match before.take() {
                    Some(read) => read,
                    None => bench.prepare(&key, found),
                };
                let expected = if matches!(write, Write::Create(_)) { Expected::Absent } else { read.clone() };
                let [live, offline] = bench.both(&key, &write, &expected);
                *seen.entry(live.0.clone()).or_insert(0) += 1;
                if live != offline {
                    different.push(format!("{found:?} {write:?}\n  live     {live:?}\n  snapshot {offline:?}"));
                }
                // What has changed nothing leaves the state for the next.
                let changes = ["stored", "deleted", "waiting"].iter().any(|word| live.0.starts_with(word));
                before = (!changes).then_some(read);
            }
        }
        bench.clear(&key);
    }
    // Were one of these never reached, the table would say little.
    for reached in
        ["stored", "unchanged", "deleted", "NotFound", "Conflict", "AlreadyExists", "BeingDeleted", "invalid"]
    {
        assert!(seen.contains_key(reached), "{reached} in {seen:?}");
    }
    assert!(different.is_empty(), "{} of {seen:?}\n{}", different.len(), shown(&different));
}

#[test]
fn a_snapshot_takes_and_refuses_every_body_as_the_api_server_does() {
    let bench = Bench::new();
    let mut different = Vec::new();
    for body in bodies() {
        let Some(key) = key_of(&body).ok().flatten() else {
            panic!("{body} has no key");
        };
        bench.clear(&key);
        let [live, offline] = bench.both(&key, &Write::Create(body.clone()), &Expected::Absent);
        if live != offline {
            different.push(format!("{body}\n  live     {live:?}\n  snapshot {offline:?}"));
        }
        bench.clear(&key);
    }
    assert!(different.is_empty(), "{}\n{}", different.len(), shown(&different));
}
