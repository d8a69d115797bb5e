//! Converts events to the records of `--events`.

use crate::apply::StepError;
use crate::apply::lockout::RevertResult;
use crate::cluster::connection_log::ConnectionEvent;
use crate::cluster::{UserInfo, WriteOutcome};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::ops::{CommandError, EventKind, LeaseState, NoteLevel, RunAuthor, WorkPhase};
use crate::plan::{Change, ChangeTarget, Plan, Step};
use crate::report::{
    AuthorJson, CallerJson, CheckStateJson, DiagnosticJson, EventJson, LeaseStateJson, NoteLevelJson, PhaseJson,
    RunJson, VersionJson, WriteRecordJson, WriteResultJson,
};
use crate::state::write::WriteRequest;

/// What the records of the writes to one cluster have in common, and the changes that they make.
pub(super) struct ApplyRun {
    run: RunJson,
    changes: Vec<Change>,
    steps: Vec<Step>,
}

impl ApplyRun {
    pub(super) fn new(
        plan: &Plan,
        digest: &str,
        policy_commit: Option<&str>,
        caller: Option<&UserInfo>,
        author: &RunAuthor,
    ) -> Self {
        let caller =
            caller.map(|caller| CallerJson { username: caller.username.clone(), arn: caller.arn().map(str::to_owned) });
        let RunAuthor { ci, user, url } = author;
        let run = RunJson {
            policy: plan.policy.clone(),
            digest: digest.to_owned(),
            policy_commit: policy_commit.map(str::to_owned),
            caller,
            author: AuthorJson { ci: *ci, user: user.clone(), url: url.clone() },
            writes: plan.steps.len(),
        };
        Self { run, changes: plan.changes.clone(), steps: plan.steps.clone() }
    }

    fn record(&self, step: &Step, result: WriteResultJson) -> WriteRecordJson {
        let is_of_step = |change: &&Change| match &change.target {
            ChangeTarget::Object(key) => *key == step.object,
            ChangeTarget::Entry { .. } => step.object == ObjectKey::aws_auth(),
        };
        let changes: Vec<Change> = self.changes.iter().filter(is_of_step).cloned().collect();
        WriteRecordJson::new(self.run.clone(), step, &changes, result)
    }

    fn rewritten(&self, role: &ObjectKey) -> Option<WriteRecordJson> {
        let step = self.steps.iter().rev().find(|step| step.object == *role)?;
        Some(self.record(step, WriteResultJson::Rewritten).into_repetition(format!("write {role} again")))
    }
}

/// Returns the record of an event. `None` if it is not recorded: progress that a later event sums up.
pub(super) fn to_event_json(kind: &EventKind<'_>, run: Option<&ApplyRun>) -> Option<EventJson> {
    let messages = |error: &CommandError| error.diagnostics.iter().map(|error| error.message.clone()).collect();
    Some(match kind {
        EventKind::ClustersStarted { phase, total } => {
            EventJson::ClustersStarted { phase: phase_json(*phase), total: *total }
        }
        EventKind::ClustersFinished => EventJson::ClustersFinished,
        EventKind::ObservationStarted => EventJson::ObservationStarted,
        EventKind::ObservationFinished => EventJson::ObservationFinished,
        EventKind::ObservationFailed(error) => EventJson::ObservationFailed { error: error.to_string() },
        EventKind::Connection(ConnectionEvent::PageListed { resource, objects, remaining }) => {
            EventJson::PageListed { resource: (*resource).to_owned(), objects: *objects, remaining: *remaining }
        }
        EventKind::Connection(ConnectionEvent::RetryScheduled { operation, reason, delay }) => EventJson::Retry {
            operation: (*operation).to_owned(),
            reason: (*reason).to_owned(),
            delay_seconds: delay.as_secs_f64(),
        },
        EventKind::PlanningStarted => EventJson::PlanningStarted,
        EventKind::PlanningFinished { plan, digest, caller } => EventJson::Planned {
            policy: plan.policy.clone(),
            digest: (*digest).to_owned(),
            changes: plan.changes.len(),
            writes: plan.steps.len(),
            caller: caller.map(|caller| CallerJson { username: caller.username.clone(), arn: caller.arn.clone() }),
        },
        EventKind::PlanningFailed(error) => EventJson::PlanningFailed { errors: messages(error) },
        EventKind::Diagnostics { diagnostics, sources } if !diagnostics.is_empty() => {
            EventJson::Warnings { warnings: DiagnosticJson::all(diagnostics, sources) }
        }
        EventKind::Note { level, text } => {
            let level = match level {
                NoteLevel::Note => NoteLevelJson::Note,
                NoteLevel::Warning => NoteLevelJson::Warning,
            };
            EventJson::Note { level, text: (*text).to_owned() }
        }
        EventKind::BackupWritten(path) => EventJson::BackupWritten { file: path.display().to_string() },
        EventKind::DryRunFinished { total, checked, rejected, is_live: _ } => {
            EventJson::DryRun { checked: *checked, total: *total, rejected: *rejected }
        }
        EventKind::Lease(state) => EventJson::Lease {
            state: match state {
                LeaseState::Waiting => LeaseStateJson::Waiting,
                LeaseState::Acquired => LeaseStateJson::Acquired,
                LeaseState::Released => LeaseStateJson::Released,
            },
        },
        EventKind::ApplyStarted { .. } => EventJson::ApplyStarted(run?.run.clone()),
        EventKind::StepDone { number, total: _, step, before, outcome } => {
            let (result, after) = outcome_json(step, outcome);
            let mut record = run?.record(step, result);
            (record.number, record.after) = (Some(*number), after);
            record.before = before.map(VersionJson::from);
            EventJson::Write(Box::new(record))
        }
        EventKind::StepFailed { step, error } => {
            let (result, why) = error_json(error);
            let mut record = run?.record(step, result);
            record.error = Some(why);
            EventJson::Write(Box::new(record))
        }
        EventKind::RoleRewritten(role) => EventJson::Write(Box::new(run?.rewritten(role)?)),
        EventKind::Waiting { left, .. } => EventJson::Wait { left_seconds: left.as_secs() },
        EventKind::WaitSkipped { .. } => EventJson::Wait { left_seconds: 0 },
        EventKind::ConfirmationStarted { .. } => EventJson::Confirmation { state: CheckStateJson::Started },
        EventKind::ConfirmationFinished => EventJson::Confirmation { state: CheckStateJson::Passed },
        EventKind::VerificationStarted { checks } => {
            EventJson::Verification { state: CheckStateJson::Started, checks: *checks }
        }
        EventKind::Verified { checks } => EventJson::Verification { state: CheckStateJson::Passed, checks: *checks },
        EventKind::ApplyFinished { applied, error } => EventJson::ApplyFinished {
            succeeded: error.is_none(),
            applied: applied.is_some(),
            errors: error.map(messages).unwrap_or_default(),
        },
        EventKind::Diagnostics { .. }
        | EventKind::ClusterFinished
        | EventKind::DryRunProgress { .. }
        | EventKind::Connection(
            ConnectionEvent::Ended { .. }
            | ConnectionEvent::WaitStarted { .. }
            | ConnectionEvent::WaitEnded { .. }
            | ConnectionEvent::PromptStarted
            | ConnectionEvent::PromptEnded,
        ) => return None,
    })
}

fn phase_json(phase: WorkPhase) -> PhaseJson {
    match phase {
        WorkPhase::Observe => PhaseJson::Observe,
        WorkPhase::DryRun => PhaseJson::DryRun,
        WorkPhase::Prepare => PhaseJson::Prepare,
        WorkPhase::Apply => PhaseJson::Apply,
    }
}

fn outcome_json(step: &Step, outcome: &WriteOutcome) -> (WriteResultJson, Option<VersionJson>) {
    match outcome {
        WriteOutcome::Stored(version) => {
            let is_new = matches!(step.write, WriteRequest::Create(_));
            let result = if is_new { WriteResultJson::Created } else { WriteResultJson::Changed };
            (result, Some(version.into()))
        }
        WriteOutcome::Unchanged(version) => (WriteResultJson::Unchanged, Some(version.into())),
        WriteOutcome::Deleted => (WriteResultJson::Deleted, None),
        WriteOutcome::Terminating(_) => (WriteResultJson::Terminating, None),
    }
}

/// Returns the result of a failed step, and why it failed.
fn error_json(error: &StepError) -> (WriteResultJson, String) {
    match error {
        StepError::Write(error) => {
            let Diagnostic { message, .. } = error.to_diagnostic();
            let result = if error.is_outcome_unknown() { WriteResultJson::Unknown } else { WriteResultJson::NotMade };
            (result, message)
        }
        StepError::NotEffective(probes) => {
            (WriteResultJson::NotMade, format!("an earlier write has not taken effect: {}", probes.join("; ")))
        }
        StepError::LockLost => (WriteResultJson::NotMade, "the Lease was lost".to_owned()),
        StepError::Overwritten(manager) => {
            (WriteResultJson::Overwritten, format!("{manager} has written other content"))
        }
        StepError::LockedOut(lockout) => {
            let result = match lockout.revert {
                RevertResult::Reverted => WriteResultJson::Reverted,
                RevertResult::NothingToRevert => WriteResultJson::NotMade,
                RevertResult::Incomplete(_) | RevertResult::Failed(_) | RevertResult::NotEditable(_) => {
                    WriteResultJson::NotReverted
                }
            };
            (result, lockout.reason.clone())
        }
    }
}
