//! A cluster in files: the objects of its access configuration as YAML documents. Writes follow the rules of the API
//! server, which [`crate::state::write::accept`] implements. Documents that are not written keep their bytes.

#![expect(clippy::disallowed_methods, reason = "reads the files of the snapshot")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::eks_facts::EksFacts;
use super::snapshot_facts::SnapshotFacts;
use super::snapshot_file::{SnapshotDocument, SnapshotFile, byte_count, list_item_offset, read_up_to, with_kind};
use super::{ClusterError, ReadCluster, UserInfo};
use crate::api_resources::DISCOVERY_KIND;
use crate::diagnostic::escape_text;
use crate::files::{ContainmentError, contained_file};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::object::ObjectError;
use crate::state::validate::{parse_object_key, validation_error};
use crate::state::write::ObjectVersion;
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

pub(super) struct SnapshotContent {
    pub(super) files: Vec<SnapshotFile>,
    shows_excerpts: bool,
    pub(super) objects: BTreeMap<ObjectKey, StoredObject>,
    pub(super) latest_version: u64,
    pub(super) has_versions: bool,
    pub(super) facts: Box<SnapshotFacts>,
}

/// Where an object is in the files.
#[derive(Debug, Clone, Copy)]
pub(super) enum ObjectLocation {
    Document { file: usize, document: usize },
    ListItem { file: usize, document: usize, item: usize },
    Appended(usize),
}

/// An object and its location.
pub(super) struct StoredObject {
    pub(super) value: Value,
    pub(super) location: ObjectLocation,
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

    pub(super) fn content(&self) -> MutexGuard<'_, SnapshotContent> {
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

pub(super) fn read_error(path: &Path, error: &std::io::Error) -> ClusterError {
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
        if self.facts.add(&value, location)? {
            return Ok(());
        }
        let Some(key) = parse_object_key(&value)? else {
            return Ok(());
        };
        if key.kind() == ObjectKind::ConfigMap && key != ObjectKey::aws_auth() {
            return Ok(());
        }
        if let Some(why) = validation_error(&key, &value) {
            let server = if key.kind() == ObjectKind::AccessEntry { "EKS" } else { "the API server" };
            return Err(format!("{server} would reject {key}: {why}"));
        }
        put_with_version(&key, &value, &mut State::default()).map_err(|error| format!("{key}: {error}"))?;
        if self.objects.contains_key(&key) {
            return Err(format!("duplicate {key}: an earlier document has the same object"));
        }
        self.objects.insert(key, StoredObject { value, location });
        Ok(())
    }
}

/// Returns the resourceVersion, or a digest of the content if the object has none, as in a handwritten snapshot. An access
/// entry never has one.
pub(super) fn version_or_digest(value: &Value) -> ObjectVersion {
    if value.get("kind").and_then(Value::as_str) == Some(ObjectKind::AccessEntry.as_str())
        && let Ok(version) = AccessEntry::version(value)
    {
        return version;
    }
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
        let has_entries = content.objects.keys().any(|key| key.kind() == ObjectKind::AccessEntry);
        let status = match content.facts.eks().map(EksFacts::access_entries_status).unwrap_or_default() {
            AccessEntriesStatus::NotAsked if has_entries => AccessEntriesStatus::Known,
            status => status,
        };
        let mut state = State { auth_mode, resources: content.facts.resources(), ..State::default() };
        state.access_entries.status = status;
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
