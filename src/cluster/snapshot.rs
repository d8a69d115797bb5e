//! A cluster in files: the objects of its access configuration as YAML documents. Writes follow the rules of the API
//! server, which [`crate::state::write::accept`] implements. Documents that are not written keep their bytes.

#![expect(clippy::disallowed_methods, reason = "reads the files of the snapshot")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::eks_facts::EksFacts;
use super::snapshot_facts::SnapshotFacts;
use super::snapshot_file::{SnapshotDocument, SnapshotFile, byte_count, list_item_offset, read_up_to, with_kind};
use super::{
    AccessReviewStatus, CallerCheck, ClusterError, CredentialFreshness, ReadCluster, UserInfo, WriteCluster,
    WriteOutcome, review, terminating_outcome,
};
use crate::access::Request;
use crate::api_resources::DISCOVERY_KIND;
use crate::diagnostic::{InternalError, escape_text};
use crate::files::{ContainmentError, contained_file, replace_input};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::AccessProbe;
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::validate::{parse_object_key, validation_error};
use crate::state::write::{AcceptedWrite, ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, accept};
use crate::yaml;

/// The path that means stdin.
pub(crate) const STDIN: &str = "-";
/// The name of stdin in messages.
pub(crate) const STDIN_NAME: &str = "<stdin>";

/// The extensions of the files that are read in a directory, and that a policy can name.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The largest snapshot that the user can name, with all of its files. The snapshot of a cluster with 10,000 roles and
/// bindings has about 5 MB, and needs 70 times its size in memory.
const MAX_BYTES: u64 = 64 << 20;
/// The largest snapshot that a policy, a saved plan or a backup can name: others can write these.
const MAX_BYTES_IN_POLICY: u64 = 16 << 20;

const HEADER_PREFIX: &str = "# rolecall snapshot, taken ";

/// Who has named the files of a snapshot. Only the user can name any file, and only then are lines of it shown in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnapshotNamedBy {
    CommandLine,
    /// The policy in this directory. Its snapshots are files of the same directory.
    Policy(PathBuf),
    /// A saved plan or a backup.
    SavedFile,
}

/// The files of one snapshot, in memory.
pub(crate) struct SnapshotCluster {
    content: Mutex<SnapshotContent>,
    taken_at: Option<String>,
}

struct SnapshotContent {
    files: Vec<SnapshotFile>,
    shows_excerpts: bool,
    objects: BTreeMap<ObjectKey, StoredObject>,
    latest_version: u64,
    has_versions: bool,
    facts: Box<SnapshotFacts>,
}

/// Where an object is in the files.
#[derive(Debug, Clone, Copy)]
enum ObjectLocation {
    Document { file: usize, document: usize },
    ListItem { file: usize, document: usize, item: usize },
    Appended(usize),
}

/// An object and its location.
struct StoredObject {
    value: Value,
    location: ObjectLocation,
}

impl SnapshotCluster {
    /// Reads the files, or all `.yaml`, `.yml` and `.json` files of a directory. The path `-` means the text of stdin.
    ///
    /// # Errors
    /// If a file cannot be read, is not YAML, or has an object that the API server would reject, or if the files are too
    /// long.
    pub(crate) fn open(
        paths: &[PathBuf],
        stdin: Option<&str>,
        named_by: &SnapshotNamedBy,
    ) -> Result<Self, ClusterError> {
        let mut content = SnapshotContent {
            files: Vec::new(),
            shows_excerpts: *named_by == SnapshotNamedBy::CommandLine,
            objects: BTreeMap::new(),
            latest_version: 0,
            has_versions: false,
            facts: Box::default(),
        };
        let mut remaining = if *named_by == SnapshotNamedBy::CommandLine { MAX_BYTES } else { MAX_BYTES_IN_POLICY };
        for path in paths {
            if path == Path::new(STDIN) {
                let why = "it was read from stdin when the plan was made".to_owned();
                let text = stdin.ok_or(ClusterError::SnapshotIo { file: STDIN_NAME.to_owned(), why })?;
                remaining = remaining.checked_sub(byte_count(text)).ok_or_else(|| too_long(path, named_by))?;
                content.add_file(PathBuf::from(STDIN_NAME), text.to_owned())?;
                continue;
            }
            ensure_contained(path, named_by)?;
            for path in list_files(path)? {
                ensure_contained(&path, named_by)?;
                let text = read_up_to(&path, remaining).map_err(|error| read_error(&path, &error))?;
                let text = text.ok_or_else(|| too_long(&path, named_by))?;
                remaining = remaining.saturating_sub(byte_count(&text));
                content.add_file(path, text)?;
            }
        }
        content.latest_version = content
            .objects
            .values()
            .filter_map(|stored| stored.value.pointer("/metadata/resourceVersion")?.as_str()?.parse::<u64>().ok())
            .max()
            .unwrap_or(0);
        content.has_versions = content.latest_version > 0;
        let first_line = content.files.first().and_then(|file| file.text.lines().next()).unwrap_or_default();
        let taken_at =
            first_line.strip_prefix(HEADER_PREFIX).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        Ok(Self { content: Mutex::new(content), taken_at })
    }

    fn content(&self) -> MutexGuard<'_, SnapshotContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the files that were read. Stdin is not among them.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.content().files.iter().map(|file| file.path.clone()).collect()
    }

    /// Returns what EKS said about the cluster. `None` if the snapshot has nothing of EKS.
    pub(crate) fn eks_facts(&self) -> Option<EksFacts> {
        self.content().facts.eks().cloned()
    }

    /// Returns the texts of the files with the writes that were made.
    pub(super) fn rendered(&self) -> Vec<String> {
        self.content().files.iter().map(SnapshotFile::render).collect()
    }

    /// When `rolecall snapshot` wrote it (RFC 3339). `None` if the snapshot was made otherwise.
    pub(crate) fn taken_at(&self) -> Option<&str> {
        self.taken_at.as_deref()
    }
}

fn too_long(path: &Path, named_by: &SnapshotNamedBy) -> ClusterError {
    ClusterError::SnapshotTooLong {
        file: path.display().to_string(),
        max_mib: if *named_by == SnapshotNamedBy::CommandLine { MAX_BYTES } else { MAX_BYTES_IN_POLICY } >> 20,
        is_named_by_user: *named_by == SnapshotNamedBy::CommandLine,
    }
}

fn read_error(path: &Path, error: &std::io::Error) -> ClusterError {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    ClusterError::SnapshotIo { file: path.display().to_string(), why }
}

/// Checks that a file is in the directory of the policy that names it.
fn ensure_contained(path: &Path, named_by: &SnapshotNamedBy) -> Result<(), ClusterError> {
    let SnapshotNamedBy::Policy(folder) = named_by else {
        return Ok(());
    };
    let error = |why| ClusterError::SnapshotOfPolicy {
        file: path.strip_prefix(folder).unwrap_or(path).display().to_string(),
        why,
    };
    let relative = path.strip_prefix(folder).map_err(|_| error(ContainmentError::Absolute))?;
    contained_file(folder, relative, &EXTENSIONS, ".yaml, .yml or .json").map(drop).map_err(error)
}

fn list_files(path: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| read_error(path, &error))?;
    let is_snapshot =
        |path: &PathBuf| path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
    let entries: Vec<std::fs::DirEntry> =
        entries.collect::<std::io::Result<_>>().map_err(|error| read_error(path, &error))?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(is_snapshot).collect();
    files.sort();
    if files.is_empty() {
        let why = "the directory has no .yaml, .yml or .json file".to_owned();
        return Err(ClusterError::SnapshotIo { file: path.display().to_string(), why });
    }
    Ok(files)
}

/// Returns the first line of a snapshot, from which [`SnapshotCluster::taken_at`] reads the time.
pub(crate) fn snapshot_header(label: &str, now: &str) -> String {
    // A line break would end the comment, and YAML has more line breaks than `\n`.
    format!("{HEADER_PREFIX}{now} of {}\n", escape_text(label))
}

impl SnapshotContent {
    fn add_file(&mut self, path: PathBuf, text: String) -> Result<(), ClusterError> {
        let name = path.display().to_string();
        let shows_excerpts = self.shows_excerpts;
        let excerpt_of = |text: &str, line: usize| {
            shows_excerpts.then(|| text.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned())
        };
        let documents = yaml::parse_documents(&text).map_err(|error| ClusterError::InvalidSnapshot {
            file: name.clone(),
            line: error.line,
            text: excerpt_of(&text, error.line),
            why: error.message,
        })?;
        let file = self.files.len();
        let mut kept = Vec::with_capacity(documents.len());
        for document in documents {
            let span = document.root.span.clone();
            let error_at = |offset: usize, why: String| {
                let line = text.get(..offset).unwrap_or(&text).matches('\n').count() + 1;
                ClusterError::InvalidSnapshot { file: name.clone(), line, text: excerpt_of(&text, line), why }
            };
            let value = document.to_json().map_err(|error| ClusterError::InvalidSnapshot {
                file: name.clone(),
                line: error.line,
                text: excerpt_of(&text, error.line),
                why: error.message,
            })?;
            if value.is_null() {
                continue;
            }
            let number = kept.len();
            let kind = value.get("kind").and_then(Value::as_str).filter(|kind| *kind != DISCOVERY_KIND);
            if kind.is_some_and(|kind| kind.ends_with("List")) {
                for (item, content) in value.get("items").and_then(Value::as_array).into_iter().flatten().enumerate() {
                    let location = ObjectLocation::ListItem { file, document: number, item };
                    let start = list_item_offset(&document.root, item).unwrap_or(span.start);
                    self.add_object(with_kind(content.clone(), &value), location)
                        .map_err(|why| error_at(start, why))?;
                }
            } else {
                self.add_object(value.clone(), ObjectLocation::Document { file, document: number })
                    .map_err(|why| error_at(span.start, why))?;
            }
            kept.push(SnapshotDocument { span, value, changed: false });
        }
        self.files.push(SnapshotFile { path, text, documents: kept, appended: Vec::new() });
        Ok(())
    }

    /// Adds an object of the access configuration. Objects of other kinds stay in the file and are ignored.
    fn add_object(&mut self, value: Value, location: ObjectLocation) -> Result<(), String> {
        if self.facts.add(&value)? {
            return Ok(());
        }
        let Some(key) = parse_object_key(&value)? else {
            return Ok(());
        };
        if key.kind() == ObjectKind::ConfigMap && key != ObjectKey::aws_auth() {
            return Ok(());
        }
        if let Some(why) = validation_error(&key, &value) {
            return Err(format!("the API server would reject {key}: {why}"));
        }
        put_with_version(&key, &value, &mut State::default()).map_err(|error| format!("{key}: {error}"))?;
        if self.objects.contains_key(&key) {
            return Err(format!("duplicate {key}: an earlier document has the same object"));
        }
        self.objects.insert(key, StoredObject { value, location });
        Ok(())
    }

    /// Returns whether a namespace exists. If the snapshot has no Namespace objects, those of its other objects exist.
    fn has_namespace(&self, name: &str) -> bool {
        let has_namespaces = self.objects.keys().any(|key| key.kind() == ObjectKind::Namespace);
        self.objects.keys().any(|key| match key.kind() {
            ObjectKind::Namespace => key.name() == name,
            _ => !has_namespaces && key.namespace() == Some(name),
        }) || name == "kube-system"
    }

    fn is_terminating(&self, namespace: &str) -> bool {
        let key = ObjectKey::new(ObjectKind::Namespace, None, namespace);
        let stored = key.and_then(|key| self.objects.get(&key));
        stored.is_some_and(|stored| stored.value.pointer("/metadata/deletionTimestamp").is_some())
    }

    /// Returns the result that the API server would have for a write.
    fn evaluate_write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<AcceptedWrite, ClusterError> {
        let rejected = |refusal: WriteError| ClusterError::Rejected { object: key.to_string(), refusal };
        if let (WriteRequest::Create(_), Some(namespace)) = (write, key.namespace())
            && self.is_terminating(namespace)
        {
            return Err(rejected(WriteError::NamespaceTerminating(namespace.to_owned())));
        }
        let namespace_exists = key.namespace().is_none_or(|name| self.has_namespace(name));
        let stored = self.objects.get(key).map(|stored| (&stored.value, version_or_digest(&stored.value)));
        let existing = stored.as_ref().map(|(value, version)| (*value, version));
        accept(key, existing, namespace_exists, write, expected).map_err(rejected)
    }
}

/// Returns the resourceVersion, or a digest of the content if the object has none, as in a handwritten snapshot.
fn version_or_digest(value: &Value) -> ObjectVersion {
    ObjectVersion::from_object(value).unwrap_or_else(|| {
        let hash = Sha256::digest(value.to_string());
        ObjectVersion {
            uid: value.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned),
            resource_version: hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        }
    })
}

/// Adds the object to the state, with the version that the precondition of a write must have.
fn put_with_version(key: &ObjectKey, value: &Value, state: &mut State) -> Result<(), ObjectError> {
    state.insert_object(key, value)?;
    if let Some(meta) = state.meta_mut(key) {
        meta.resource_version = Some(version_or_digest(value).resource_version);
    }
    Ok(())
}

impl ReadCluster for SnapshotCluster {
    async fn read_state(&self) -> Result<State, ClusterError> {
        let content = self.content();
        let auth_mode = content.facts.eks().map(EksFacts::observed_auth_mode).unwrap_or_default();
        let mut state = State { auth_mode, resources: content.facts.resources(), ..State::default() };
        for (key, stored) in &content.objects {
            put_with_version(key, &stored.value, &mut state)
                .map_err(|error| ClusterError::InvalidResponse { what: key.to_string(), why: error.to_string() })?;
        }
        let has_namespaces = content.objects.keys().any(|key| key.kind() == ObjectKind::Namespace);
        if !has_namespaces {
            for namespace in content.objects.keys().filter_map(ObjectKey::namespace) {
                state.namespaces.entry(namespace.to_owned()).or_default();
            }
        }
        Ok(state)
    }

    async fn export_objects(&self) -> Result<Vec<Value>, ClusterError> {
        let content = self.content();
        let objects = content.objects.values().map(|stored| stored.value.clone());
        Ok(objects.chain(content.facts.documents().cloned()).collect())
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
        let mut content = self.content();
        match content.evaluate_write(key, write, expected)? {
            AcceptedWrite::Unchanged => {
                let stored = content.objects.get(key).ok_or_else(|| missing_object(key))?;
                let terminating = terminating_outcome(&stored.value).filter(|_| *write == WriteRequest::Delete);
                Ok(terminating.unwrap_or_else(|| WriteOutcome::Unchanged(version_or_digest(&stored.value))))
            }
            AcceptedWrite::Deleted => {
                let stored = content.objects.remove(key).ok_or_else(|| missing_object(key))?;
                content.replace_content(stored.location, None)?;
                Ok(WriteOutcome::Deleted)
            }
            AcceptedWrite::Stored(mut value) => {
                content.latest_version += 1;
                if content.has_versions {
                    let version = content.latest_version.to_string();
                    crate::state::write::apply_merge_patch(
                        &mut value,
                        &json!({ "metadata": { "resourceVersion": version } }),
                    );
                }
                let location = match content.objects.get(key).map(|stored| stored.location) {
                    Some(location) => location,
                    None => content.allocate_appended()?,
                };
                content.replace_content(location, Some(value.clone()))?;
                let terminating = terminating_outcome(&value).filter(|_| *write == WriteRequest::Delete);
                let version = version_or_digest(&value);
                content.objects.insert(key.clone(), StoredObject { value, location });
                Ok(terminating.unwrap_or(WriteOutcome::Stored(version)))
            }
        }
    }

    async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        self.content().evaluate_write(key, write, expected).map(drop)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        Ok(self.content().objects.get(key).map(|stored| stored.value.clone()))
    }

    async fn review_access(&self, probe: &AccessProbe) -> Result<AccessReviewStatus, ClusterError> {
        Ok(AccessReviewStatus {
            allowed: review::is_allowed_by_rules(&self.read_state().await?, probe),
            allowed_by: None,
        })
    }

    async fn check_caller(
        &self,
        _freshness: CredentialFreshness,
        _requests: &[Request],
    ) -> Result<Option<CallerCheck>, ClusterError> {
        Ok(None)
    }

    async fn flush(&self) -> Result<(), ClusterError> {
        let rendered = self.rendered();
        let mut content = self.content();
        for (file, text) in content.files.iter_mut().zip(rendered) {
            if file.text == text {
                continue;
            }
            let name = file.path.display().to_string();
            let current = std::fs::read_to_string(&file.path).map_err(|error| read_error(&file.path, &error))?;
            if current != file.text {
                return Err(ClusterError::SnapshotChanged { file: name });
            }
            replace_input(&file.path, &text).map_err(|error| ClusterError::SnapshotNotWritten {
                file: name,
                why: error.to_string(),
                help: error.help(),
            })?;
        }
        Ok(())
    }
}

impl SnapshotContent {
    /// Returns a new location at the end of the first file.
    fn allocate_appended(&mut self) -> Result<ObjectLocation, InternalError> {
        let first = self.files.first_mut().ok_or_else(|| InternalError::new("a snapshot has no file"))?;
        first.appended.push(None);
        Ok(ObjectLocation::Appended(first.appended.len() - 1))
    }

    /// Replaces the content of an object. `None` deletes it.
    fn replace_content(&mut self, location: ObjectLocation, value: Option<Value>) -> Result<(), InternalError> {
        let no_object = || InternalError::new(format!("the snapshot has no object at {location:?}"));
        let (file, document) = match location {
            ObjectLocation::Appended(index) => {
                let slot = self.files.first_mut().and_then(|file| file.appended.get_mut(index));
                *slot.ok_or_else(no_object)? = value;
                return Ok(());
            }
            ObjectLocation::Document { file, document } | ObjectLocation::ListItem { file, document, .. } => {
                (file, document)
            }
        };
        let document = self.files.get_mut(file).and_then(|file| file.documents.get_mut(document));
        let document = document.ok_or_else(no_object)?;
        document.changed = true;
        let object = match location {
            ObjectLocation::ListItem { item, .. } => {
                document.value.get_mut("items").and_then(|items| items.get_mut(item)).ok_or_else(no_object)?
            }
            ObjectLocation::Document { .. } | ObjectLocation::Appended(_) => &mut document.value,
        };
        // A deleted object is null until the file is written.
        *object = value.unwrap_or(Value::Null);
        Ok(())
    }
}

fn missing_object(key: &ObjectKey) -> InternalError {
    InternalError::new(format!("{key} is written, but does not exist in the snapshot"))
}
