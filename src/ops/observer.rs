//! What happens while a use case runs, as typed events. The terminal shows them as progress and notes, and `--events`
//! records them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::apply_result::WriteCounts;
use super::command_error::CommandError;
use crate::apply::StepError;
use crate::cluster::connection_log::{ConnectionEvent, ConnectionLog};
use crate::cluster::{ClusterError, UserInfo, WriteOutcome};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard::CallerIdentity;
use crate::names::ObjectKey;
use crate::plan::{Plan, Step, TokenWait};
use crate::state::write::ObjectVersion;

/// The cluster that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterTag {
    /// The position among the clusters of the command, in the order of the policy.
    pub(crate) position: usize,
    /// The name in the policy. `None` if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) label: String,
}

/// An event, and the cluster that it is about.
#[derive(Debug)]
pub(crate) struct OpsEvent<'a> {
    pub(crate) cluster: Option<&'a ClusterTag>,
    pub(crate) kind: EventKind<'a>,
}

/// What a use case does with all of its clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkPhase {
    /// Reads the clusters, and plans them if there is a policy.
    Observe,
    /// Lets the clusters check the writes.
    DryRun,
    /// Acquires the Leases and makes the checks before the first write.
    Prepare,
    /// Makes the writes.
    Apply,
}

/// How important a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteLevel {
    Note,
    Warning,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum EventKind<'a> {
    /// A use case begins to work on this number of clusters.
    ClustersStarted {
        phase: WorkPhase,
        total: usize,
    },
    /// The work on one of these clusters has ended, successfully or not.
    ClusterFinished,
    ClustersFinished,
    /// A cluster is connected to and read.
    ObservationStarted,
    ObservationFinished,
    ObservationFailed(&'a ClusterError),
    /// A request, a wait or a page of a list.
    Connection(&'a ConnectionEvent<'a>),
    PlanningStarted,
    PlanningFinished {
        plan: &'a Plan,
        digest: &'a str,
        /// The user that the cluster authenticates the caller as, if the cluster was asked.
        caller: Option<&'a CallerIdentity>,
    },
    PlanningFailed(&'a CommandError),
    /// Warnings of the policy or of a plan.
    Diagnostics {
        diagnostics: &'a [Diagnostic],
        sources: &'a SourceMap,
    },
    /// What the user has to know about the work.
    Note {
        level: NoteLevel,
        text: &'a str,
    },
    /// The objects that the plan changes were saved.
    BackupWritten(&'a Path),
    /// The cluster has checked writes of a plan without making them.
    DryRunProgress {
        checked: usize,
        total: usize,
    },
    /// The cluster has checked all writes that can be checked.
    DryRunFinished {
        total: usize,
        checked: usize,
        rejected: usize,
        /// Whether an API server has checked them.
        is_live: bool,
    },
    /// The Lease that prevents concurrent applies.
    Lease(LeaseState),
    /// The writes begin.
    ApplyStarted {
        plan: &'a Plan,
        digest: &'a str,
        /// The commit of the policy, if it is known.
        policy_commit: Option<&'a str>,
        /// The user that the cluster authenticates the caller as. `None` for a snapshot.
        caller: Option<&'a UserInfo>,
    },
    /// A write was made.
    StepDone {
        /// How many writes are done, with this one.
        number: usize,
        total: usize,
        step: &'a Step,
        before: Option<&'a ObjectVersion>,
        outcome: &'a WriteOutcome,
    },
    /// A step has failed. The error says whether its write may have been made.
    StepFailed {
        step: &'a Step,
        error: &'a StepError,
    },
    /// The aggregation controller had put old rules into a role, and the planned ones were written again.
    RoleRewritten(&'a ObjectKey),
    /// A wait for cached tokens begins, or goes on for this long.
    Waiting {
        wait: &'a TokenWait,
        left: Duration,
    },
    /// A snapshot needs no wait.
    WaitSkipped {
        wait: &'a TokenWait,
    },
    /// After the write of aws-auth, the access of the caller is checked.
    ConfirmationStarted {
        limit: Duration,
    },
    ConfirmationFinished,
    /// The API server is asked whether the access is as planned.
    VerificationStarted {
        checks: usize,
    },
    Verified {
        checks: usize,
    },
    /// The apply of a cluster has ended. The counts are set if all writes were made.
    ApplyFinished {
        applied: Option<WriteCounts>,
        error: Option<&'a CommandError>,
    },
}

/// What happens to the Lease of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Another apply holds it.
    Waiting,
    Acquired,
    Released,
}

type ReceiveEvent = dyn Fn(&OpsEvent<'_>) + Send + Sync;

/// Receives the events of a use case, from several threads. Clones have the same receiver.
#[derive(Clone)]
pub(crate) struct Observer {
    receive: Arc<ReceiveEvent>,
    cluster: Option<Arc<ClusterTag>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Observers are equal if their events are about the same cluster.
impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        self.cluster == other.cluster
    }
}

impl Eq for Observer {}

impl Observer {
    pub(crate) fn new(receive: impl Fn(&OpsEvent<'_>) + Send + Sync + 'static) -> Self {
        Self { receive: Arc::new(receive), cluster: None }
    }

    /// Returns an observer for events about one cluster.
    pub(crate) fn for_cluster(&self, cluster: ClusterTag) -> Self {
        Self { cluster: Some(Arc::new(cluster)), ..self.clone() }
    }

    /// Returns the observer with the label that is known after the cluster was connected to.
    pub(super) fn with_label(&self, label: &str) -> Self {
        match self.cluster.as_deref() {
            Some(cluster) => self.for_cluster(ClusterTag { label: label.to_owned(), ..cluster.clone() }),
            None => self.clone(),
        }
    }

    /// Returns the receiver of what a connection to the cluster does.
    pub(crate) fn connection_log(&self) -> ConnectionLog {
        let observer = self.clone();
        ConnectionLog::new(move |event| observer.send(EventKind::Connection(event)))
    }

    pub(crate) fn send(&self, kind: EventKind<'_>) {
        (self.receive)(&OpsEvent { cluster: self.cluster.as_deref(), kind });
    }

    pub(crate) fn note(&self, text: &str) {
        self.send(EventKind::Note { level: NoteLevel::Note, text });
    }

    pub(crate) fn warn(&self, text: &str) {
        self.send(EventKind::Note { level: NoteLevel::Warning, text });
    }
}
