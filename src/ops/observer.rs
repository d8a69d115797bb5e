//! What happens while a use case runs, as typed events. The terminal shows them as progress and notes, and `--events`
//! records them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{UserInfo, WriteOutcome};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::plan::{Plan, Step, TokenWait};

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
pub(crate) enum Phase {
    /// Reads the clusters, and plans them if there is a policy.
    Observe,
    /// Lets the clusters check the writes.
    DryRun,
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
        phase: Phase,
        total: usize,
    },
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
    /// The cluster has checked the writes of a plan without making them.
    DryRunFinished {
        total: usize,
        checked: usize,
        rejected: usize,
        /// Whether an API server has checked them.
        is_live: bool,
    },
    /// The writes begin.
    ApplyStarted {
        plan: &'a Plan,
        digest: &'a str,
        /// The user that the cluster authenticates the caller as. `None` for a snapshot.
        caller: Option<&'a UserInfo>,
    },
    /// A write was made.
    StepDone {
        /// How many writes are done, with this one.
        number: usize,
        total: usize,
        step: &'a Step,
        outcome: &'a WriteOutcome,
    },
    /// A wait for cached tokens begins, or goes on for this long.
    Waiting {
        wait: &'a TokenWait,
        left: Duration,
    },
    /// A snapshot needs no wait.
    WaitSkipped {
        wait: &'a TokenWait,
    },
    /// The API server is asked whether the access is as planned.
    VerificationStarted {
        checks: usize,
    },
    Verified {
        checks: usize,
    },
}

type Receive = dyn Fn(&OpsEvent<'_>) + Send + Sync;

/// Receives the events of a use case, from several threads. Clones have the same receiver.
#[derive(Clone)]
pub(crate) struct Observer {
    receive: Arc<Receive>,
    cluster: Option<Arc<ClusterTag>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Observer {
    pub(crate) fn new(receive: impl Fn(&OpsEvent<'_>) + Send + Sync + 'static) -> Self {
        Self { receive: Arc::new(receive), cluster: None }
    }

    /// Returns an observer for events about one cluster.
    pub(crate) fn for_cluster(&self, cluster: ClusterTag) -> Self {
        Self { cluster: Some(Arc::new(cluster)), ..self.clone() }
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
