//! The lines that `--events FILE` appends: what happens while a command runs, and one record for each write.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::change::ChangeJson;
use super::common::ObjectJson;
use super::diagnostic::DiagnosticJson;
use super::step::WriteJson;
use crate::plan::{Change, Step};
use crate::state::write::ObjectVersion;

/// One line of the file that `--events FILE` appends to. Each line is a document of its own.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EventRecord {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// and events can be added without a new version: ignore those that you do not know.
    pub(crate) format_version: FormatVersion,
    /// When it happened (RFC 3339, UTC).
    pub(crate) time: String,
    /// The run of rolecall that wrote the line. Several runs can append to one file.
    pub(crate) run: String,
    /// The command, such as `apply`.
    pub(crate) command: String,
    /// The cluster as rolecall prints it, or null if the event is about the whole run.
    pub(crate) cluster: Option<String>,
    /// The name of the cluster in the policy, or null if it has none.
    pub(crate) cluster_name: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub(crate) event: EventJson,
}

/// What happened.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum EventJson {
    /// The command starts.
    Started {
        /// The version of rolecall.
        version: String,
    },
    /// The command works on several clusters, or on one.
    ClustersStarted {
        /// What it does with each of them.
        phase: PhaseJson,
        /// The number of clusters.
        total: usize,
    },
    /// The work on all clusters of a phase has ended.
    ClustersFinished,
    /// The cluster is connected to and read.
    ObservationStarted,
    /// A page of a list was received.
    PageListed {
        /// The resource, such as `rolebindings`.
        resource: String,
        /// How many objects of the resource were received so far.
        objects: usize,
        /// How many follow, if the API server says so.
        remaining: usize,
    },
    /// The cluster was read.
    ObservationFinished,
    /// The cluster could not be read.
    ObservationFailed {
        /// Why.
        error: String,
    },
    /// A request is sent again after a delay.
    Retry {
        /// What the request does, such as `list roles`.
        operation: String,
        /// Why it failed.
        reason: String,
        /// The delay in seconds.
        delay_seconds: f64,
    },
    /// The plan is computed.
    PlanningStarted,
    /// The plan was computed.
    Planned {
        /// The name of the policy.
        policy: String,
        /// The digest of the plan.
        digest: String,
        /// The number of changes.
        changes: usize,
        /// The number of writes.
        writes: usize,
        /// Who runs the command, or null if the cluster does not say it.
        caller: Option<CallerJson>,
    },
    /// The plan could not be computed.
    PlanningFailed {
        /// Why.
        errors: Vec<String>,
    },
    /// Warnings of the policy or of the plan.
    Warnings {
        /// The warnings.
        warnings: Vec<DiagnosticJson>,
    },
    /// Something to know about the work.
    Note {
        /// How important it is.
        level: NoteLevelJson,
        /// The note.
        text: String,
    },
    /// The objects that the plan changes were saved.
    BackupWritten {
        /// The file.
        file: String,
    },
    /// The cluster has checked writes without making them.
    DryRun {
        /// How many writes it has checked.
        checked: usize,
        /// How many writes the plan has.
        total: usize,
        /// How many writes it would reject.
        rejected: usize,
    },
    /// The Lease that prevents concurrent applies.
    Lease {
        /// What happened to it.
        state: LeaseStateJson,
    },
    /// The writes to the cluster begin.
    ApplyStarted(RunJson),
    /// A write was made, or was not made. This is the record for an audit.
    Write(Box<WriteRecordJson>),
    /// The writes stop until tokens that the API server has cached are no longer valid.
    Wait {
        /// How many seconds are left. 0: a snapshot needs no wait.
        left_seconds: u64,
    },
    /// After a write of aws-auth, rolecall checks that the caller still has access.
    Confirmation {
        /// Whether the check has begun or has passed. If it fails, a record of the write follows.
        state: CheckStateJson,
    },
    /// After the last write, the API server is asked whether the access is as planned.
    Verification {
        /// Whether the checks have begun or have passed.
        state: CheckStateJson,
        /// The number of checks.
        checks: usize,
    },
    /// The apply of the cluster has ended.
    ApplyFinished {
        /// Whether all writes were made and all checks passed.
        succeeded: bool,
        /// Whether all writes were made.
        applied: bool,
        /// The errors.
        errors: Vec<String>,
    },
    /// The command has ended. Without this line it was killed.
    Finished {
        /// The exit code.
        exit_code: u8,
    },
}

/// What a command does with its clusters.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum PhaseJson {
    Observe,
    DryRun,
    Prepare,
    Apply,
}

/// How important a note is.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum NoteLevelJson {
    Note,
    Warning,
}

/// What happens to a Lease.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum LeaseStateJson {
    Waiting,
    Acquired,
    Released,
}

/// The state of a check.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum CheckStateJson {
    Started,
    Passed,
}

/// The user that a cluster authenticates the caller as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CallerJson {
    /// The Kubernetes user name.
    pub(crate) username: String,
    /// The IAM ARN, or null if the authenticator does not report it.
    pub(crate) arn: Option<String>,
}

/// Where a command runs, and the user who started it. The values come from variables of the environment, and are not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AuthorJson {
    /// The CI system, such as `github-actions`, or null outside of one.
    pub(crate) ci: Option<&'static str>,
    /// The user that the CI system names, or that is logged in on the machine. Null if it is not known.
    pub(crate) user: Option<String>,
    /// The page of the CI system about the run, or null.
    pub(crate) url: Option<String>,
}

/// What an apply is made from, and who runs it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunJson {
    /// The name of the policy.
    pub(crate) policy: String,
    /// The digest of the plan.
    pub(crate) digest: String,
    /// The commit of the policy: from the variables of the CI system, or the commit that is checked out in the directory
    /// of the policy. The files can differ from the commit. Null if it is not known.
    pub(crate) policy_commit: Option<String>,
    /// Who runs the apply, as the cluster authenticates them. Null for a snapshot.
    pub(crate) caller: Option<CallerJson>,
    /// The user who started the apply, as the machine says. In a pipeline the cluster sees only the role of the pipeline.
    pub(crate) author: AuthorJson,
    /// The number of writes of the plan.
    pub(crate) writes: usize,
}

/// One write.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WriteRecordJson {
    /// What the write belongs to.
    #[serde(flatten)]
    pub(crate) run: RunJson,
    /// How many writes were made, with this one. Null if it failed.
    pub(crate) number: Option<usize>,
    /// The object.
    pub(crate) object: ObjectJson,
    /// The request. Null if rolecall repeated an earlier one.
    write: Option<WriteJson>,
    /// The write as text, such as `create ClusterRole viewer`.
    pub(crate) reason: String,
    /// What came of it.
    pub(crate) result: WriteResultJson,
    /// Why it failed, or null.
    pub(crate) error: Option<String>,
    /// The version of the object before the write. Null if there was no object, or if the write failed.
    pub(crate) before: Option<VersionJson>,
    /// The version of the object after the write. Null if there is no object, or if the write failed.
    pub(crate) after: Option<VersionJson>,
    /// The changes to the object, with the values before and after them. For aws-auth these are the changes of the plan to
    /// all entries, which can take several writes.
    changes: Vec<ChangeJson>,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WriteResultJson {
    /// The object was created.
    Created,
    /// The object was changed.
    Changed,
    /// The object already had the content.
    Unchanged,
    /// The object was deleted.
    Deleted,
    /// The object is being deleted, and grants access until its finalizers are removed.
    Terminating,
    /// The write was rejected, or was not made because an earlier write is not in effect or the Lease was lost.
    NotMade,
    /// The API server did not answer. The write may have been made.
    Unknown,
    /// The write was made, and was taken back because the caller lost access by it.
    Reverted,
    /// The write was made, and could not be taken back completely although the caller lost access by it.
    NotReverted,
    /// The write was made, and another client then wrote other content.
    Overwritten,
    /// The aggregation controller had overwritten the role, and rolecall wrote it again.
    Rewritten,
}

/// The version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VersionJson {
    /// The uid, or null if a snapshot lacks it.
    pub(crate) uid: Option<String>,
    /// The resourceVersion. For an object of a snapshot without one, a digest of its content.
    pub(crate) resource_version: String,
}

impl From<&ObjectVersion> for VersionJson {
    fn from(version: &ObjectVersion) -> Self {
        let ObjectVersion { uid, resource_version } = version;
        Self { uid: uid.clone(), resource_version: resource_version.clone() }
    }
}

impl WriteRecordJson {
    /// Returns the record of a write that is not made yet. `changes` are those of its object.
    pub(crate) fn new(run: RunJson, step: &Step, changes: &[Change], result: WriteResultJson) -> Self {
        Self {
            run,
            number: None,
            object: (&step.object).into(),
            write: Some((&step.write).into()),
            reason: step.description.clone(),
            result,
            error: None,
            before: None,
            after: None,
            changes: changes.iter().map(ChangeJson::from).collect(),
        }
    }

    /// Returns the record of a write that repeats an earlier one.
    pub(crate) fn into_repetition(self, reason: String) -> Self {
        Self { write: None, reason, ..self }
    }
}
