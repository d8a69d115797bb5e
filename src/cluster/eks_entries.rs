//! The part of a live cluster that EKS keeps, and not its API server: the authentication mode and the access entries.
//!
//! Access entries have no version, so a write reads the entry again right before it, and compares its content with what the
//! plan has read. Another client can still change it between the two calls: after the write, the entry is read once more,
//! and must have exactly the content that the write leads to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::connection_log::ConnectionEvent;
use super::eks::EksTokenSource;
use super::settings::{ConnectionSettings, TimeLimit};
use super::{ClusterError, WriteOutcome};
use crate::aws::{AccessEntryApi, AwsError, EksCluster, EntryError, EntryReadError, EntryWriteError};
use crate::diagnostic::InternalError;
use crate::names::{AccountId, ObjectKey, ObjectKind, eks_cluster_in_arn};
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::access_entry_write::{EntryCall, calls_between, created_entry};
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::write::{AcceptedWrite, ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest, accept};

/// How long a write waits for another change that EKS makes to the cluster. A change of the mode takes a few minutes.
const WRITE_PATIENCE: Duration = Duration::from_mins(5);
/// How long a change of the authentication mode can take.
const MODE_CHANGE_PATIENCE: Duration = Duration::from_mins(15);
/// How many entries are read between two reports of the progress.
const PROGRESS_STEP: usize = 10;

/// The authentication mode and the access entries of one cluster.
pub(crate) struct EksStore {
    source: Arc<EksTokenSource>,
    settings: ConnectionSettings,
    /// `None` until EKS was asked, for a cluster that was not selected by its name in EKS.
    described: Mutex<Option<DescribedCluster>>,
}

#[derive(Clone)]
struct DescribedCluster {
    name: String,
    account: Option<AccountId>,
    auth_mode: ClusterAuthMode,
}

impl DescribedCluster {
    fn new(cluster: &EksCluster) -> Result<Self, InternalError> {
        let name = eks_cluster_in_arn(&cluster.arn).ok_or_else(|| InternalError::new("a cluster has no ARN"))?;
        let account = cluster.arn.split(':').nth(4).and_then(AccountId::parse);
        Ok(Self { name: name.to_owned(), account, auth_mode: cluster.auth_mode.clone() })
    }
}

/// What EKS says about the principals of a cluster.
#[derive(Default)]
pub(super) struct EksObservation {
    pub(super) auth_mode: ObservedAuthMode,
    pub(super) status: AccessEntriesStatus,
    /// Empty if they are not known.
    pub(super) entries: Vec<AccessEntry>,
}

impl EksObservation {
    /// Puts what EKS said into a state.
    pub(super) fn into_state(self, state: &mut State) {
        let Self { auth_mode, status, entries } = self;
        state.auth_mode = auth_mode;
        state.access_entries.status = status;
        for entry in entries {
            state.insert_access_entry(entry);
        }
    }

    fn unknown(auth_mode: ObservedAuthMode, reason: String) -> Self {
        Self { auth_mode, status: AccessEntriesStatus::Unknown(reason), entries: Vec::new() }
    }
}

impl EksStore {
    /// `cluster` is what DescribeCluster said when the connection was made.
    pub(super) fn new(
        source: Arc<EksTokenSource>,
        settings: ConnectionSettings,
        cluster: Option<&EksCluster>,
    ) -> Result<Self, InternalError> {
        let described = Mutex::new(cluster.map(DescribedCluster::new).transpose()?);
        Ok(Self { source, settings, described })
    }

    fn set_described(&self, cluster: DescribedCluster) {
        *self.described.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// Describes the cluster, unless EKS has described it already.
    async fn describe(&self) -> Result<DescribedCluster, ClusterError> {
        let known = self.described.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cluster) = known {
            return Ok(cluster);
        }
        let cluster = DescribedCluster::new(&self.source.describe_cluster().await?)?;
        self.set_described(cluster.clone());
        Ok(cluster)
    }

    async fn api(&self, cluster: &DescribedCluster, patience: Duration) -> Result<AccessEntryApi<'_>, ClusterError> {
        Ok(self.source.access_entry_api(&cluster.name, patience).await?)
    }

    /// Reads the mode and the entries. A kubeconfig works without the rights in EKS, so for a cluster that was selected by one,
    /// the mode is unknown if EKS does not describe the cluster.
    ///
    /// # Errors
    /// If reading the entries fails for another reason than a missing permission.
    pub(super) async fn observe(&self) -> Result<EksObservation, ClusterError> {
        let limit = self.settings.timeouts.connect;
        let described = match tokio::time::timeout(limit, self.describe()).await {
            Ok(described) => described,
            Err(_) => Err(AwsError::TimedOut { action: "eks:DescribeCluster", after: limit }.into()),
        };
        let cluster = match described {
            Ok(cluster) => cluster,
            Err(ClusterError::Internal(error)) => return Err(error.into()),
            Err(error) => {
                let reason = error.to_string();
                return Ok(EksObservation::unknown(ObservedAuthMode::Unknown(reason.clone()), reason));
            }
        };
        let auth_mode = ObservedAuthMode::Known(cluster.auth_mode.clone());
        if !cluster.auth_mode.has_access_entries() {
            return Ok(EksObservation { auth_mode, status: AccessEntriesStatus::Known, entries: Vec::new() });
        }
        let limit = self.settings.timeouts.observation;
        let api = self.api(&cluster, limit).await?;
        let log = &self.settings.log;
        let progress = |done: usize, total: usize| {
            if done.is_multiple_of(PROGRESS_STEP) || done == total {
                let (resource, remaining) = (ObjectKind::AccessEntry.resource(), total.saturating_sub(done));
                log.send(&ConnectionEvent::PageListed { resource, objects: done, remaining });
            }
        };
        match log.watch("EKS to list the access entries", limit, api.read_all(progress)).await {
            Ok(entries) => Ok(EksObservation { auth_mode, status: AccessEntriesStatus::Known, entries }),
            Err(error) => match error.denied_reason() {
                Some(reason) => Ok(EksObservation::unknown(auth_mode, reason)),
                None => Err(error.into_error().into()),
            },
        }
    }

    /// Returns an entry. `None` if there is none, or the mode of the cluster has no entries.
    pub(super) async fn read(&self, principal: &str) -> Result<Option<AccessEntry>, ClusterError> {
        let cluster = self.describe().await?;
        if !cluster.auth_mode.has_access_entries() {
            return Ok(None);
        }
        let api = self.api(&cluster, WRITE_PATIENCE).await?;
        Ok(api.read_entry(principal).await.map_err(EntryReadError::into_error)?)
    }

    /// Checks a write against the entry as it is now. Returns the entry and what the write leads to.
    fn check(
        key: &ObjectKey,
        cluster: &DescribedCluster,
        current: Option<AccessEntry>,
        (write, expected): (&WriteRequest, &ResolvedPrecondition),
    ) -> Result<CheckedWrite, ClusterError> {
        let rejected = |refusal| ClusterError::Rejected { object: key.to_string(), refusal };
        if !cluster.auth_mode.has_access_entries() {
            return Err(AwsError::from(EntryError::ModeWithoutEntries { cluster: cluster.name.clone() }).into());
        }
        if let WriteRequest::Create(body) = write {
            created_entry(body, cluster.account.as_ref()).map_err(|why| rejected(WriteError::Invalid(why)))?;
        }
        let stored = current.as_ref().map(|entry| (entry.to_json(), version_of(entry)));
        let existing = stored.as_ref().map(|(value, version)| (value, version));
        let accepted = accept(key, existing, true, write, expected).map_err(rejected)?;
        let invalid = |_| InternalError::new("an access entry that was accepted is not valid");
        Ok(CheckedWrite {
            next: match accepted {
                AcceptedWrite::Unchanged => current.clone(),
                AcceptedWrite::Deleted => None,
                AcceptedWrite::Stored(value) => Some(AccessEntry::from_json(&value).map_err(invalid)?),
            },
            current,
        })
    }

    /// Makes a write if the entry is as expected.
    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        let principal = key.name();
        let rejected = |refusal| ClusterError::Rejected { object: key.to_string(), refusal };
        let cluster = self.describe().await?;
        let api = self.api(&cluster, WRITE_PATIENCE).await?;
        let current = api.read_entry(principal).await.map_err(EntryReadError::into_error)?;
        let CheckedWrite { current, next } = Self::check(key, &cluster, current, (write, expected))?;
        let calls = calls_between(current.as_ref(), next.as_ref());
        if let (true, Some(entry)) = (calls.is_empty(), &next) {
            return Ok(WriteOutcome::Unchanged(version_of(entry)));
        }
        let mut arn = current.as_ref().and_then(|entry| entry.meta.uid.clone());
        let mut made = 0;
        let writing = async {
            for call in &calls {
                let created = api.write(principal, arn.as_deref(), call).await?;
                arn = created.or(arn.take());
                made += 1;
            }
            Ok(())
        };
        let description = format!("EKS to write {key}");
        let written = self.settings.log.watch(&description, WRITE_PATIENCE, writing).await;
        let error = match written {
            Ok(()) => None,
            Err(EntryWriteError::AlreadyExists) => Some(rejected(WriteError::AlreadyExists)),
            Err(EntryWriteError::NotFound) => Some(rejected(WriteError::NotFound)),
            Err(EntryWriteError::Aws(error)) => Some(write_error(error)),
        };
        let failed = |error: ClusterError| match made {
            0 => error,
            _ => ClusterError::PartlyWritten { object: key.to_string(), why: Box::new(error) },
        };
        if let Some(error) = error.as_ref().filter(|error| !error.is_outcome_unknown()) {
            return Err(failed(error.clone()));
        }
        // If an answer was lost, the entry shows whether the write was made.
        let found = match (api.read_entry(principal).await, &error) {
            (Ok(found), _) => found,
            (Err(_), Some(error)) => return Err(failed(error.clone())),
            (Err(read), None) => return Err(failed(write_error(read.into_error()))),
        };
        match (&next, &found) {
            (None, None) => Ok(WriteOutcome::Deleted),
            (Some(next), Some(found)) if is_as_written(next, found, current.as_ref(), &calls) => {
                Ok(WriteOutcome::Stored(version_of(found)))
            }
            _ => Err(failed(error.unwrap_or_else(|| rejected(WriteError::Conflict)))),
        }
    }

    /// Checks a write without making it: EKS has no dry run.
    pub(super) async fn dry_run(
        &self,
        key: &ObjectKey,
        write: &WriteRequest,
        expected: &ResolvedPrecondition,
    ) -> Result<(), ClusterError> {
        let (cluster, current) = (self.describe().await?, self.read(key.name()).await?);
        Self::check(key, &cluster, current, (write, expected)).map(drop)
    }

    /// Changes the authentication mode, and waits until EKS has made the change.
    pub(super) async fn change_auth_mode(&self, mode: &ClusterAuthMode) -> Result<(), ClusterError> {
        let known = self.describe().await?;
        // The mode can have changed since the connection was made.
        let cluster = DescribedCluster::new(&self.source.describe_cluster_named(&known.name).await?)?;
        self.set_described(cluster.clone());
        if cluster.auth_mode == *mode {
            return Ok(());
        }
        if !cluster.auth_mode.can_change_to(mode) {
            let (from, to) = (cluster.auth_mode, mode.clone());
            return Err(AwsError::from(EntryError::ModeChange { from, to }).into());
        }
        let api = self.api(&cluster, MODE_CHANGE_PATIENCE).await?;
        let description = format!("EKS to change the authentication mode of the cluster {}", cluster.name);
        let changing = api.change_auth_mode(mode);
        self.settings.log.watch(&description, MODE_CHANGE_PATIENCE, changing).await.map_err(write_error)?;
        self.set_described(DescribedCluster { auth_mode: mode.clone(), ..cluster });
        Ok(())
    }

    /// Returns the entries as documents, or the reason why they are not known. `None` if the mode has no entries.
    pub(super) async fn export(&self) -> Result<ExportedEntries, ClusterError> {
        let EksObservation { auth_mode: _, status, mut entries } = self.observe().await?;
        entries.sort_by(|a, b| a.principal().cmp(b.principal()));
        Ok(ExportedEntries {
            documents: entries.iter().map(AccessEntry::to_json).collect(),
            unknown: match status {
                AccessEntriesStatus::Unknown(reason) => Some(reason),
                AccessEntriesStatus::Known | AccessEntriesStatus::NotAsked => None,
            },
        })
    }
}

/// The access entries of a cluster, as a snapshot has them.
#[derive(Default)]
pub(crate) struct ExportedEntries {
    pub(crate) documents: Vec<Value>,
    /// Why they are not known.
    pub(crate) unknown: Option<String>,
}

/// An entry before and after a write.
struct CheckedWrite {
    current: Option<AccessEntry>,
    next: Option<AccessEntry>,
}

fn version_of(entry: &AccessEntry) -> ObjectVersion {
    ObjectVersion {
        uid: entry.meta.uid.clone(),
        resource_version: entry.meta.resource_version.clone().unwrap_or_default(),
    }
}

/// Returns whether an entry has the content that a write leads to, and is still the same one.
fn is_as_written(next: &AccessEntry, found: &AccessEntry, before: Option<&AccessEntry>, calls: &[EntryCall]) -> bool {
    let mut next = next.clone();
    if let [EntryCall::Create { entry_type, username, .. }, ..] = calls {
        // What a create leaves out, EKS decides.
        if username.is_none() {
            next.username.clone_from(&found.username);
        }
        if entry_type.is_node() {
            next.groups.clone_from(&found.groups);
        }
    }
    let is_same = before.is_none_or(|before| before.meta.uid == found.meta.uid);
    is_same && next.entry_type == found.entry_type && calls_between(Some(found), Some(&next)).is_empty()
}

/// Returns the error of a call that may have changed something.
fn write_error(error: AwsError) -> ClusterError {
    match error {
        AwsError::TimedOut { action, after } => {
            let what = format!("asking AWS for {action}");
            ClusterError::TimedOut { what, after, sent: true, limit: TimeLimit::AwsCall }
        }
        error => error.into(),
    }
}
