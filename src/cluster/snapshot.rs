//! A cluster in files: the objects of its access as YAML documents, enforced as the API server would.
//!
//! The documents that a write does not concern keep their bytes. What a write does to a document is
//! [`crate::state::write::accept`]'s answer alone.

#![expect(clippy::disallowed_methods, reason = "this room belongs to the shell: its cluster is files")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Caller, ClusterError, Credentials, ReadCluster, Ruling, Standing, WriteCluster, Written, review, waiting};
use crate::access::Request;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::Await;
use crate::state::State;
use crate::state::object::ObjectFault;
use crate::state::validate::{key_of, refusal};
use crate::state::write::{Accepted, Expected, Refusal, Version, Write, accept};
use crate::yaml;

const HEADER: &str = "# rolecall snapshot, taken ";

/// The files of one snapshot, in memory.
pub(crate) struct SnapshotCluster {
    inner: RefCell<Inner>,
    taken: Option<String>,
}

struct Inner {
    files: Vec<File>,
    objects: BTreeMap<ObjectKey, Stored>,
    newest: u64,
    numbered: bool,
}

struct File {
    path: PathBuf,
    text: String,
    documents: Vec<Document>,
    /// Objects made since; an empty place is of one that went again.
    appended: Vec<Option<Value>>,
}

/// A document of a file: its content alone, without separators and the comments before it.
struct Document {
    span: std::ops::Range<usize>,
    value: Value,
    changed: bool,
}

/// Where an object stands.
#[derive(Clone, Copy)]
enum Place {
    Document { file: usize, document: usize },
    ListItem { file: usize, document: usize, item: usize },
    Appended(usize),
}

/// An object and where it stands.
struct Stored {
    value: Value,
    at: Place,
}

impl SnapshotCluster {
    /// Reads the files, or all `.yaml`, `.yml` and `.json` files of a folder.
    ///
    /// # Errors
    /// What cannot be read, is not YAML, or would be refused by the API server, with its line.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, ClusterError> {
        let mut inner = Inner { files: Vec::new(), objects: BTreeMap::new(), newest: 0, numbered: false };
        for path in paths {
            for path in files_of(path)? {
                let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
                inner.add(path, text)?;
            }
        }
        inner.newest = inner
            .objects
            .values()
            .filter_map(|stored| stored.value.pointer("/metadata/resourceVersion")?.as_str()?.parse::<u64>().ok())
            .max()
            .unwrap_or(0);
        inner.numbered = inner.newest > 0;
        let first = inner.files.first().and_then(|file| file.text.lines().next()).unwrap_or_default();
        let taken = first.strip_prefix(HEADER).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        Ok(Self { inner: RefCell::new(inner), taken })
    }

    /// When `rolecall snapshot` wrote it, in RFC 3339; a file of other making does not say.
    pub(crate) fn taken(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ClusterError {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "its permissions forbid it".to_owned(),
        _ => error.to_string(),
    };
    ClusterError::SnapshotFile { file: path.display().to_string(), why }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let ends =
        |path: &PathBuf| path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(ends).collect();
    files.sort();
    if files.is_empty() {
        let why = "the folder has no .yaml, .yml or .json file".to_owned();
        return Err(ClusterError::SnapshotFile { file: path.display().to_string(), why });
    }
    Ok(files)
}

/// The comment at the head of a snapshot, by which [`SnapshotCluster::taken`] knows its age.
pub(crate) fn header(label: &str, now: &str) -> String {
    let label: String = label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{HEADER}{now} of {label}\n")
}

/// Counts lines from 1.
fn line_of(text: &str, at: usize) -> (usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    (line + 1, text.lines().nth(line).unwrap_or_default().to_owned())
}

impl Inner {
    fn add(&mut self, path: PathBuf, text: String) -> Result<(), ClusterError> {
        let name = path.display().to_string();
        let documents = yaml::documents(&text).map_err(|error| ClusterError::Snapshot {
            file: name.clone(),
            line: error.line,
            text: text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default().to_owned(),
            why: error.message,
        })?;
        let file = self.files.len();
        let mut kept = Vec::with_capacity(documents.len());
        for document in documents {
            let span = document.root.span.clone();
            let fault_at = |at: usize, why: String| {
                let (line, excerpt) = line_of(&text, at);
                ClusterError::Snapshot { file: name.clone(), line, text: excerpt, why }
            };
            let value = document.to_json().map_err(|error| ClusterError::Snapshot {
                file: name.clone(),
                line: error.line,
                text: text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default().to_owned(),
                why: error.message,
            })?;
            if value.is_null() {
                continue;
            }
            let number = kept.len();
            if value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) {
                for (item, content) in value.get("items").and_then(Value::as_array).into_iter().flatten().enumerate() {
                    let at = Place::ListItem { file, document: number, item };
                    let start = item_start(&document.root, item).unwrap_or(span.start);
                    self.take(with_kind(content.clone(), &value), at).map_err(|why| fault_at(start, why))?;
                }
            } else {
                self.take(value.clone(), Place::Document { file, document: number })
                    .map_err(|why| fault_at(span.start, why))?;
            }
            kept.push(Document { span, value, changed: false });
        }
        self.files.push(File { path, text, documents: kept, appended: Vec::new() });
        Ok(())
    }

    /// Takes an object of the access; objects of other kinds stay in the file and are nobody's concern.
    fn take(&mut self, value: Value, at: Place) -> Result<(), String> {
        let Some(key) = key_of(&value)? else {
            return Ok(());
        };
        if key.kind() == ObjectKind::ConfigMap && key != ObjectKey::aws_auth() {
            return Ok(());
        }
        if let Some(why) = refusal(&key, &value) {
            return Err(format!("the API server would refuse {key}: {why}"));
        }
        typed(&key, &value, &mut State::default()).map_err(|fault| format!("{key}: {fault}"))?;
        if self.objects.contains_key(&key) {
            return Err(format!("{key} stands here for the second time"));
        }
        self.objects.insert(key, Stored { value, at });
        Ok(())
    }

    /// A snapshot without namespaces knows those in which something is.
    fn has_namespace(&self, name: &str) -> bool {
        let listed = self.objects.keys().any(|key| key.kind() == ObjectKind::Namespace);
        self.objects.keys().any(|key| match key.kind() {
            ObjectKind::Namespace => key.name() == name,
            _ => !listed && key.namespace() == Some(name),
        }) || name == "kube-system"
    }

    fn is_ending(&self, namespace: &str) -> bool {
        let key = ObjectKey::new(ObjectKind::Namespace, None, namespace);
        let stored = key.and_then(|key| self.objects.get(&key));
        stored.is_some_and(|stored| stored.value.pointer("/metadata/deletionTimestamp").is_some())
    }

    /// What the API server would answer to a write.
    fn judge(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<Accepted, ClusterError> {
        let refused = |refusal: Refusal| ClusterError::Refused { object: key.to_string(), refusal };
        if let (Write::Create(_), Some(namespace)) = (write, key.namespace())
            && self.is_ending(namespace)
        {
            return Err(refused(Refusal::NamespaceEnding(namespace.to_owned())));
        }
        let namespace_exists = key.namespace().is_none_or(|name| self.has_namespace(name));
        let version = self.version(key);
        let existing = self.objects.get(key).map(|stored| &stored.value).zip(version.as_ref());
        accept(key, existing, namespace_exists, write, expected).map_err(refused)
    }

    fn version(&self, key: &ObjectKey) -> Option<Version> {
        self.objects.get(key).map(|stored| version_of(&stored.value))
    }
}

impl File {
    /// The file with its changed documents written anew, every other byte as it was.
    fn render(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut taken = 0;
        for document in self.documents.iter().filter(|document| document.changed) {
            out.push_str(self.text.get(taken..document.span.start).unwrap_or_default());
            taken = document.span.end;
            if document.value.is_null() {
                continue;
            }
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(yaml::to_yaml(&without_holes(&document.value)).trim_end_matches('\n'));
        }
        out.push_str(self.text.get(taken..).unwrap_or_default());
        for value in self.appended.iter().flatten() {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            if !out.trim().is_empty() {
                out.push_str("---\n");
            }
            out.push_str(&yaml::to_yaml(value));
        }
        out
    }
}

/// Where an item of a List stands.
fn item_start(root: &yaml::Node, item: usize) -> Option<usize> {
    let yaml::Value::Mapping(mapping) = &root.value else {
        return None;
    };
    let is_items = |node: &yaml::Node| matches!(&node.value, yaml::Value::Scalar(scalar) if scalar.text == "items");
    let pair = mapping.pairs.iter().find(|pair| is_items(&pair.key))?;
    pair.value.children().get(item).map(|node| node.span.start)
}

/// A List whose removed items are gone; until the file is written they keep the places of the others.
fn without_holes(value: &Value) -> Value {
    let mut out = value.clone();
    if let Some(items) = out.get_mut("items").and_then(Value::as_array_mut) {
        items.retain(|item| !item.is_null());
    }
    out
}

/// `kubectl get -o yaml` gives every item its kind, a raw List of the API server does not.
fn with_kind(item: Value, list: &Value) -> Value {
    let text = |field: &str| list.get(field).and_then(Value::as_str).unwrap_or_default();
    match (item, text("kind").strip_suffix("List")) {
        (Value::Object(map), Some(kind)) if !kind.is_empty() && !map.contains_key("kind") => {
            let mut out = serde_json::Map::new();
            out.insert("apiVersion".to_owned(), json!(text("apiVersion")));
            out.insert("kind".to_owned(), json!(kind));
            out.extend(map);
            Value::Object(out)
        }
        (item, _) => item,
    }
}

/// The resourceVersion, or in a snapshot written by hand the digest of the content.
fn version_of(value: &Value) -> Version {
    Version::of(value).unwrap_or_else(|| {
        let hash = Sha256::digest(value.to_string());
        Version {
            uid: value.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned),
            resource_version: hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    })
}

/// Takes the object into the state, under the version that a write to it has to name.
fn typed(key: &ObjectKey, value: &Value, state: &mut State) -> Result<(), ObjectFault> {
    state.put(key, value)?;
    if let Some(meta) = state.meta_mut(key) {
        meta.resource_version = Some(version_of(value).resource_version);
    }
    Ok(())
}

impl ReadCluster for SnapshotCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        let inner = self.inner.borrow();
        let mut state = State::default();
        for (key, stored) in &inner.objects {
            typed(key, &stored.value, &mut state)
                .map_err(|fault| ClusterError::Unreadable { what: key.to_string(), why: fault.to_string() })?;
        }
        let listed = inner.objects.keys().any(|key| key.kind() == ObjectKind::Namespace);
        if !listed {
            for namespace in inner.objects.keys().filter_map(ObjectKey::namespace) {
                state.namespaces.entry(namespace.to_owned()).or_default();
            }
        }
        Ok(state)
    }

    async fn export(&self) -> Result<Vec<Value>, ClusterError> {
        Ok(self.inner.borrow().objects.values().map(|stored| stored.value.clone()).collect())
    }

    async fn whoami(&self) -> Result<Option<Caller>, ClusterError> {
        Ok(None)
    }
}

impl WriteCluster for SnapshotCluster {
    async fn write(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<Written, ClusterError> {
        let mut inner = self.inner.borrow_mut();
        let version = inner.version(key);
        match inner.judge(key, write, expected)? {
            Accepted::Unchanged => {
                let held = inner.objects.get(key).filter(|_| *write == Write::Delete);
                Ok(held.and_then(|stored| waiting(&stored.value)).unwrap_or(Written::Unchanged(version)))
            }
            Accepted::Deleted => {
                if let Some(stored) = inner.objects.remove(key) {
                    inner.put(stored.at, None);
                }
                Ok(Written::Deleted)
            }
            Accepted::Stored(mut value) => {
                inner.newest += 1;
                if inner.numbered {
                    let newest = inner.newest.to_string();
                    crate::state::write::merge(&mut value, &json!({ "metadata": { "resourceVersion": newest } }));
                }
                let at = match inner.objects.get(key).map(|stored| stored.at) {
                    Some(at) => at,
                    None => inner.appended_place(),
                };
                inner.put(at, Some(value.clone()));
                let held = waiting(&value).filter(|_| *write == Write::Delete);
                let version = version_of(&value);
                inner.objects.insert(key.clone(), Stored { value, at });
                Ok(held.unwrap_or(Written::Stored(Some(version))))
            }
        }
    }

    async fn rehearse(&self, key: &ObjectKey, write: &Write, expected: &Expected) -> Result<(), ClusterError> {
        self.inner.borrow().judge(key, write, expected).map(drop)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Ok(self.inner.borrow().objects.get(key).map(|stored| stored.value.clone()))
    }

    async fn review(&self, asked: &Await) -> Result<Ruling, ClusterError> {
        Ok(Ruling { allowed: review::by_rules(&self.observe().await?, asked), by: None })
    }

    async fn standing(&self, _with: Credentials, _needs: &[Request]) -> Result<Option<Standing>, ClusterError> {
        Ok(None)
    }

    async fn finish(&self) -> Result<(), ClusterError> {
        let mut inner = self.inner.borrow_mut();
        let rendered: Vec<String> = inner.files.iter().map(File::render).collect();
        for (file, text) in inner.files.iter_mut().zip(rendered) {
            if file.text == text {
                continue;
            }
            let name = file.path.display().to_string();
            let now = std::fs::read_to_string(&file.path).map_err(|error| unreadable(&file.path, &error))?;
            if now != file.text {
                return Err(ClusterError::SnapshotMoved { file: name });
            }
            let mut beside = file.path.clone().into_os_string();
            beside.push(".new");
            let written = std::fs::write(&beside, &text).and_then(|()| std::fs::rename(&beside, &file.path));
            written.map_err(|error| ClusterError::SnapshotFile { file: name, why: error.to_string() })?;
        }
        Ok(())
    }
}

impl Inner {
    /// A place at the end of the first file.
    fn appended_place(&mut self) -> Place {
        let Some(first) = self.files.first_mut() else {
            return Place::Appended(0);
        };
        first.appended.push(None);
        Place::Appended(first.appended.len() - 1)
    }

    /// Puts an object's new content into its place; nothing takes it away.
    fn put(&mut self, at: Place, value: Option<Value>) {
        let slot = match at {
            Place::Appended(index) => {
                if let Some(slot) = self.files.first_mut().and_then(|file| file.appended.get_mut(index)) {
                    *slot = value;
                }
                return;
            }
            Place::Document { file, document } | Place::ListItem { file, document, .. } => {
                self.files.get_mut(file).and_then(|file| file.documents.get_mut(document))
            }
        };
        let Some(document) = slot else {
            return;
        };
        document.changed = true;
        let held = match at {
            Place::ListItem { item, .. } => document.value.get_mut("items").and_then(|items| items.get_mut(item)),
            Place::Document { .. } | Place::Appended(_) => Some(&mut document.value),
        };
        if let Some(held) = held {
            *held = value.unwrap_or_default();
        }
    }
}
