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

use super::{
    AccessReviewStatus, CallerCheck, ClusterError, CredentialFreshness, ReadCluster, UserInfo, WriteCluster,
    WriteOutcome, review, terminating_outcome,
};
use crate::access::Request;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::validate::{parse_object_key, validation_error};
use crate::state::write::{AcceptedWrite, ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, accept};
use crate::yaml;

/// The path that stands for stdin.
pub(crate) const STDIN: &str = "-";
/// How stdin is called in messages.
pub(crate) const STDIN_NAME: &str = "<stdin>";

const HEADER_PREFIX: &str = "# rolecall snapshot, taken ";

/// The files of one snapshot, in memory.
pub(crate) struct SnapshotCluster {
    content: RefCell<SnapshotContent>,
    taken_at: Option<String>,
}

struct SnapshotContent {
    files: Vec<SnapshotFile>,
    objects: BTreeMap<ObjectKey, StoredObject>,
    latest_version: u64,
    has_versions: bool,
}

struct SnapshotFile {
    path: PathBuf,
    text: String,
    documents: Vec<SnapshotDocument>,
    /// Objects made since; an empty place is of one that went again.
    appended: Vec<Option<Value>>,
}

/// A document of a file: its content alone, without separators and the comments before it.
struct SnapshotDocument {
    span: std::ops::Range<usize>,
    value: Value,
    changed: bool,
}

/// Where an object stands.
#[derive(Clone, Copy)]
enum ObjectLocation {
    Document { file: usize, document: usize },
    ListItem { file: usize, document: usize, item: usize },
    Appended(usize),
}

/// An object and where it stands.
struct StoredObject {
    value: Value,
    location: ObjectLocation,
}

impl SnapshotCluster {
    /// Reads the files, or all `.yaml`, `.yml` and `.json` files of a folder. The path `-` stands for the text of stdin.
    ///
    /// # Errors
    /// What cannot be read, is not YAML, or would be refused by the API server, with its line.
    pub(crate) fn open(paths: &[PathBuf], stdin: Option<&str>) -> Result<Self, ClusterError> {
        let mut inner =
            SnapshotContent { files: Vec::new(), objects: BTreeMap::new(), latest_version: 0, has_versions: false };
        for path in paths {
            if path == Path::new(STDIN) {
                let why = "it was piped into the run that made this plan; pass it again with --snapshot".to_owned();
                let text = stdin.ok_or(ClusterError::SnapshotIo { file: STDIN_NAME.to_owned(), why })?;
                inner.add_file(PathBuf::from(STDIN_NAME), text.to_owned())?;
                continue;
            }
            for path in list_files(path)? {
                let text = std::fs::read_to_string(&path).map_err(|error| read_error(&path, &error))?;
                inner.add_file(path, text)?;
            }
        }
        inner.latest_version = inner
            .objects
            .values()
            .filter_map(|stored| stored.value.pointer("/metadata/resourceVersion")?.as_str()?.parse::<u64>().ok())
            .max()
            .unwrap_or(0);
        inner.has_versions = inner.latest_version > 0;
        let first = inner.files.first().and_then(|file| file.text.lines().next()).unwrap_or_default();
        let taken = first.strip_prefix(HEADER_PREFIX).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        Ok(Self { content: RefCell::new(inner), taken_at: taken })
    }

    /// When `rolecall snapshot` wrote it, in RFC 3339; a file of other making does not say.
    pub(crate) fn taken_at(&self) -> Option<&str> {
        self.taken_at.as_deref()
    }
}

fn read_error(path: &Path, error: &std::io::Error) -> ClusterError {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "its permissions forbid it".to_owned(),
        _ => error.to_string(),
    };
    ClusterError::SnapshotIo { file: path.display().to_string(), why }
}

fn list_files(path: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| read_error(path, &error))?;
    let ends =
        |path: &PathBuf| path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(ends).collect();
    files.sort();
    if files.is_empty() {
        let why = "the folder has no .yaml, .yml or .json file".to_owned();
        return Err(ClusterError::SnapshotIo { file: path.display().to_string(), why });
    }
    Ok(files)
}

/// The comment at the head of a snapshot, by which [`SnapshotCluster::taken`] knows its age.
pub(crate) fn snapshot_header(label: &str, now: &str) -> String {
    let label: String = label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{HEADER_PREFIX}{now} of {label}\n")
}

/// Counts lines from 1.
fn line_at(text: &str, at: usize) -> (usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    (line + 1, text.lines().nth(line).unwrap_or_default().to_owned())
}

impl SnapshotContent {
    fn add_file(&mut self, path: PathBuf, text: String) -> Result<(), ClusterError> {
        let name = path.display().to_string();
        let documents = yaml::parse_documents(&text).map_err(|error| ClusterError::InvalidSnapshot {
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
                let (line, excerpt) = line_at(&text, at);
                ClusterError::InvalidSnapshot { file: name.clone(), line, text: excerpt, why }
            };
            let value = document.to_json().map_err(|error| ClusterError::InvalidSnapshot {
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
                    let at = ObjectLocation::ListItem { file, document: number, item };
                    let start = list_item_offset(&document.root, item).unwrap_or(span.start);
                    self.add_object(with_kind(content.clone(), &value), at).map_err(|why| fault_at(start, why))?;
                }
            } else {
                self.add_object(value.clone(), ObjectLocation::Document { file, document: number })
                    .map_err(|why| fault_at(span.start, why))?;
            }
            kept.push(SnapshotDocument { span, value, changed: false });
        }
        self.files.push(SnapshotFile { path, text, documents: kept, appended: Vec::new() });
        Ok(())
    }

    /// Takes an object of the access; objects of other kinds stay in the file and are nobody's concern.
    fn add_object(&mut self, value: Value, at: ObjectLocation) -> Result<(), String> {
        let Some(key) = parse_object_key(&value)? else {
            return Ok(());
        };
        if key.kind() == ObjectKind::ConfigMap && key != ObjectKey::aws_auth() {
            return Ok(());
        }
        if let Some(why) = validation_error(&key, &value) {
            return Err(format!("the API server would refuse {key}: {why}"));
        }
        put_with_version(&key, &value, &mut State::default()).map_err(|fault| format!("{key}: {fault}"))?;
        if self.objects.contains_key(&key) {
            return Err(format!("{key} stands here for the second time"));
        }
        self.objects.insert(key, StoredObject { value, location: at });
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

    fn is_terminating(&self, namespace: &str) -> bool {
        let key = ObjectKey::new(ObjectKind::Namespace, None, namespace);
        let stored = key.and_then(|key| self.objects.get(&key));
        stored.is_some_and(|stored| stored.value.pointer("/metadata/deletionTimestamp").is_some())
    }

    /// What the API server would answer to a write.
    fn evaluate_write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<AcceptedWrite, ClusterError> {
        let refused = |refusal: WriteError| ClusterError::Rejected { object: key.to_string(), refusal };
        if let (WriteRequest::Create(_), Some(namespace)) = (write, key.namespace())
            && self.is_terminating(namespace)
        {
            return Err(refused(WriteError::NamespaceTerminating(namespace.to_owned())));
        }
        let namespace_exists = key.namespace().is_none_or(|name| self.has_namespace(name));
        let version = self.current_version(key);
        let existing = self.objects.get(key).map(|stored| &stored.value).zip(version.as_ref());
        accept(key, existing, namespace_exists, write, expected).map_err(refused)
    }

    fn current_version(&self, key: &ObjectKey) -> Option<ObjectVersion> {
        self.objects.get(key).map(|stored| version_or_digest(&stored.value))
    }
}

impl SnapshotFile {
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
            out.push_str(yaml::to_yaml(&remove_null_items(&document.value)).trim_end_matches('\n'));
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
fn list_item_offset(root: &yaml::YamlNode, item: usize) -> Option<usize> {
    let yaml::YamlValue::Mapping(mapping) = &root.value else {
        return None;
    };
    let is_items =
        |node: &yaml::YamlNode| matches!(&node.value, yaml::YamlValue::Scalar(scalar) if scalar.text == "items");
    let pair = mapping.pairs.iter().find(|pair| is_items(&pair.key))?;
    pair.value.children().get(item).map(|node| node.span.start)
}

/// A List whose removed items are gone; until the file is written they keep the places of the others.
fn remove_null_items(value: &Value) -> Value {
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
fn version_or_digest(value: &Value) -> ObjectVersion {
    ObjectVersion::from_object(value).unwrap_or_else(|| {
        let hash = Sha256::digest(value.to_string());
        ObjectVersion {
            uid: value.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned),
            resource_version: hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    })
}

/// Takes the object into the state, under the version that a write to it has to name.
fn put_with_version(key: &ObjectKey, value: &Value, state: &mut State) -> Result<(), ObjectError> {
    state.insert_object(key, value)?;
    if let Some(meta) = state.meta_mut(key) {
        meta.resource_version = Some(version_or_digest(value).resource_version);
    }
    Ok(())
}

impl ReadCluster for SnapshotCluster {
    async fn observe(&self) -> Result<State, ClusterError> {
        let inner = self.content.borrow();
        let mut state = State::default();
        for (key, stored) in &inner.objects {
            put_with_version(key, &stored.value, &mut state)
                .map_err(|fault| ClusterError::InvalidResponse { what: key.to_string(), why: fault.to_string() })?;
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
        Ok(self.content.borrow().objects.values().map(|stored| stored.value.clone()).collect())
    }

    async fn whoami(&self) -> Result<Option<UserInfo>, ClusterError> {
        Ok(None)
    }
}

impl WriteCluster for SnapshotCluster {
    async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        let mut inner = self.content.borrow_mut();
        let version = inner.current_version(key);
        match inner.evaluate_write(key, write, expected)? {
            AcceptedWrite::Unchanged => {
                let held = inner.objects.get(key).filter(|_| *write == WriteRequest::Delete);
                Ok(held
                    .and_then(|stored| terminating_outcome(&stored.value))
                    .unwrap_or(WriteOutcome::Unchanged(version)))
            }
            AcceptedWrite::Deleted => {
                if let Some(stored) = inner.objects.remove(key) {
                    inner.replace_content(stored.location, None);
                }
                Ok(WriteOutcome::Deleted)
            }
            AcceptedWrite::Stored(mut value) => {
                inner.latest_version += 1;
                if inner.has_versions {
                    let newest = inner.latest_version.to_string();
                    crate::state::write::apply_merge_patch(
                        &mut value,
                        &json!({ "metadata": { "resourceVersion": newest } }),
                    );
                }
                let at = match inner.objects.get(key).map(|stored| stored.location) {
                    Some(at) => at,
                    None => inner.allocate_appended(),
                };
                inner.replace_content(at, Some(value.clone()));
                let held = terminating_outcome(&value).filter(|_| *write == WriteRequest::Delete);
                let version = version_or_digest(&value);
                inner.objects.insert(key.clone(), StoredObject { value, location: at });
                Ok(held.unwrap_or(WriteOutcome::Stored(Some(version))))
            }
        }
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        self.content.borrow().evaluate_write(key, write, expected).map(drop)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Ok(self.content.borrow().objects.get(key).map(|stored| stored.value.clone()))
    }

    async fn review_access(&self, asked: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        Ok(AccessReviewStatus { allowed: review::is_allowed_by_rules(&self.observe().await?, asked), allowed_by: None })
    }

    async fn check_caller(
        &self,
        _with: CredentialFreshness,
        _needs: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        Ok(None)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        let mut inner = self.content.borrow_mut();
        let rendered: Vec<String> = inner.files.iter().map(SnapshotFile::render).collect();
        for (file, text) in inner.files.iter_mut().zip(rendered) {
            if file.text == text {
                continue;
            }
            let name = file.path.display().to_string();
            let now = std::fs::read_to_string(&file.path).map_err(|error| read_error(&file.path, &error))?;
            if now != file.text {
                return Err(ClusterError::SnapshotChanged { file: name });
            }
            let mut beside = file.path.clone().into_os_string();
            beside.push(".new");
            let written = std::fs::write(&beside, &text).and_then(|()| std::fs::rename(&beside, &file.path));
            written.map_err(|error| ClusterError::SnapshotIo { file: name, why: error.to_string() })?;
        }
        Ok(())
    }
}

impl SnapshotContent {
    /// A place at the end of the first file.
    fn allocate_appended(&mut self) -> ObjectLocation {
        let Some(first) = self.files.first_mut() else {
            return ObjectLocation::Appended(0);
        };
        first.appended.push(None);
        ObjectLocation::Appended(first.appended.len() - 1)
    }

    /// Puts an object's new content into its place; nothing takes it away.
    fn replace_content(&mut self, at: ObjectLocation, value: Option<Value>) {
        let slot = match at {
            ObjectLocation::Appended(index) => {
                if let Some(slot) = self.files.first_mut().and_then(|file| file.appended.get_mut(index)) {
                    *slot = value;
                }
                return;
            }
            ObjectLocation::Document { file, document } | ObjectLocation::ListItem { file, document, .. } => {
                self.files.get_mut(file).and_then(|file| file.documents.get_mut(document))
            }
        };
        let Some(document) = slot else {
            return;
        };
        document.changed = true;
        let held = match at {
            ObjectLocation::ListItem { item, .. } => {
                document.value.get_mut("items").and_then(|items| items.get_mut(item))
            }
            ObjectLocation::Document { .. } | ObjectLocation::Appended(_) => Some(&mut document.value),
        };
        if let Some(held) = held {
            *held = value.unwrap_or_default();
        }
    }
}
