//! Writes to a snapshot, and its answers as a cluster.

#![expect(clippy::disallowed_methods, reason = "compares the files of the snapshot before they are written")]

use serde_json::{Value, json};

use super::snapshot::{ObjectLocation, SnapshotCluster, SnapshotContent, StoredObject, read_error, version_or_digest};
use super::{
    AccessReviewStatus, CallerCheck, ClusterError, CredentialFreshness, ReadCluster as _, WriteCluster, WriteOutcome,
    review, terminating_outcome,
};
use crate::access::Request;
use crate::aws::{AwsError, EntryError};
use crate::diagnostic::InternalError;
use crate::files::replace_input;
use crate::guard::Observed;
use crate::names::{ObjectKey, ObjectKind, eks_cluster_in_arn};
use crate::plan::AccessProbe;
use crate::state::auth_mode::ClusterAuthMode;
use crate::state::write::{AcceptedWrite, ResolvedPrecondition, WriteError, WriteRequest, accept, apply_merge_patch};

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
                if content.has_versions && key.kind() != ObjectKind::AccessEntry {
                    let version = content.latest_version.to_string();
                    apply_merge_patch(&mut value, &json!({ "metadata": { "resourceVersion": version } }));
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

impl SnapshotCluster {
    /// Changes the authentication mode in the document about EKS. The entries that EKS itself adds at such a change are not in
    /// the snapshot.
    pub(super) fn change_auth_mode(&self, mode: &ClusterAuthMode) -> Result<(), ClusterError> {
        let mut content = self.content();
        let Some((facts, location)) = content.facts.eks_with_location() else {
            return Err(InternalError::new("the mode of a snapshot without a document about EKS is changed").into());
        };
        let mut facts = facts.clone();
        let Some(current) = facts.auth_mode.known().cloned() else {
            return Err(InternalError::new("an authentication mode that is not known is changed").into());
        };
        if current == *mode {
            return Ok(());
        }
        if !current.can_change_to(mode) {
            let (from, to) = (current, mode.clone());
            return Err(AwsError::from(EntryError::ModeChange { from, to }).into());
        }
        facts.auth_mode = Observed::Known(mode.clone());
        let document = content.facts.set_eks(facts);
        content.replace_content(location, Some(document))?;
        Ok(())
    }
}

impl SnapshotContent {
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
        let mode = self.facts.eks().and_then(|facts| facts.auth_mode.known());
        if key.kind() == ObjectKind::AccessEntry && mode == Some(&ClusterAuthMode::ConfigMap) {
            let cluster = self.facts.eks().and_then(|facts| eks_cluster_in_arn(facts.arn.known()?)).unwrap_or_default();
            return Err(AwsError::from(EntryError::ModeWithoutEntries { cluster: cluster.to_owned() }).into());
        }
        let namespace_exists = key.namespace().is_none_or(|name| self.has_namespace(name));
        let stored = self.objects.get(key).map(|stored| (&stored.value, version_or_digest(&stored.value)));
        let existing = stored.as_ref().map(|(value, version)| (*value, version));
        accept(key, existing, namespace_exists, write, expected).map_err(rejected)
    }

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
