//! The result of an apply: which steps are done, which are not, and the errors.

use std::collections::BTreeSet;

use super::MAX_LISTED;
use super::command_error::CommandError;
use super::context::OpsContext;
use crate::apply::lockout::{Lockout, RevertResult};
use crate::apply::{ApplyOutcome, StepError};
use crate::diagnostic::Diagnostic;
use crate::files::create_numbered_file;
use crate::plan::Step;
use crate::state::undo::strip_server_fields;
use crate::yaml::to_yaml;

const APPLY_AGAIN_HELP: &str = "fix the cause, then run apply again: it plans only what is left";

/// How the apply of several clusters ended.
pub(crate) struct ApplyReport {
    /// Why no write was made to any cluster.
    pub(crate) before_writes: Option<CommandError>,
    /// The clusters that were started, in the order of the policy.
    pub(crate) results: Vec<ClusterResult>,
    /// The labels of the clusters that were not started because another one has failed.
    pub(crate) not_started: Vec<String>,
}

/// How the apply of one cluster ended. If all writes were made, the checks after them can still fail.
pub(crate) struct ClusterResult {
    pub(crate) label: String,
    /// Set if all writes were made.
    pub(crate) applied: Option<WriteCounts>,
    pub(crate) failure: Option<ApplyFailure>,
}

/// The number of writes of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteCounts {
    pub(crate) made: usize,
    /// How many objects already had the planned content.
    pub(crate) unchanged: usize,
}

/// Why an apply of one cluster stopped.
pub(crate) struct ApplyFailure {
    /// The steps that are done and those that are not. `None` if the error says it.
    pub(crate) summary: Option<StepsSummary>,
    pub(crate) error: CommandError,
    /// The number of writes that were made.
    pub(crate) writes: usize,
}

impl ApplyReport {
    /// Returns whether the apply failed only because another client has changed what a plan relies on.
    pub(crate) fn is_lost_race(&self) -> bool {
        let failures = self.results.iter().filter_map(|result| result.failure.as_ref()).map(|failure| &failure.error);
        let mut errors = self.before_writes.iter().chain(failures).peekable();
        errors.peek().is_some() && errors.all(|error| error.is_lost_race)
    }

    /// Returns the number of writes to all clusters.
    pub(crate) fn writes(&self) -> usize {
        let writes = |result: &ClusterResult| {
            let failed = result.failure.as_ref().map_or(0, |failure| failure.writes);
            result.applied.map_or(failed, |counts| counts.made)
        };
        self.results.iter().map(writes).sum()
    }
}

/// The steps of a plan that stopped. A write that was made and taken back is neither done nor not done.
#[derive(Debug, Default)]
pub(crate) struct StepsSummary {
    pub(crate) done: Vec<SummarizedStep>,
    pub(crate) reverted: Vec<SummarizedStep>,
    pub(crate) not_reverted: Vec<SummarizedStep>,
    pub(crate) not_done: Vec<SummarizedStep>,
}

/// A step of a [`StepsSummary`].
#[derive(Debug)]
pub(crate) struct SummarizedStep {
    pub(crate) description: String,
    /// Whether the API server did not answer, so that the write may have been made.
    pub(crate) is_unknown: bool,
}

impl StepsSummary {
    pub(super) fn new(steps: &[Step], outcome: &ApplyOutcome) -> Self {
        let completed: BTreeSet<usize> = outcome.completed.iter().copied().collect();
        let mut summary = Self::default();
        for (index, step) in steps.iter().enumerate() {
            let error = outcome.failed.iter().find(|(failed, _)| *failed == index).map(|(_, error)| error);
            let revert = match error {
                Some(StepError::LockedOut(lockout)) => Some(&lockout.revert),
                _ => None,
            };
            let list = match revert {
                _ if completed.contains(&index) => &mut summary.done,
                Some(RevertResult::Reverted) => &mut summary.reverted,
                None | Some(RevertResult::NothingToRevert) => &mut summary.not_done,
                Some(RevertResult::Incomplete(_) | RevertResult::Failed(_) | RevertResult::NotEditable(_)) => {
                    &mut summary.not_reverted
                }
            };
            let is_unknown = error.is_some_and(is_outcome_unknown);
            list.push(SummarizedStep { description: step.description.clone(), is_unknown });
        }
        summary
    }

    /// Returns whether a write was made, or may have been made.
    pub(crate) fn has_changes(&self) -> bool {
        let all = [&self.done, &self.reverted, &self.not_reverted, &self.not_done];
        !(self.done.is_empty() && self.reverted.is_empty() && self.not_reverted.is_empty())
            || all.into_iter().flatten().any(|step| step.is_unknown)
    }
}

/// Returns whether the API server may have made the write although the step failed.
fn is_outcome_unknown(error: &StepError) -> bool {
    match error {
        StepError::Write(error) => error.is_outcome_unknown(),
        // The write was made, and its own line says whether it was taken back.
        StepError::LockedOut(_) => false,
        StepError::NotEffective(_) | StepError::LockLost | StepError::Overwritten(_) => false,
    }
}

pub(super) fn apply_error(label: &str, steps: &[Step], outcome: &ApplyOutcome, context: &OpsContext) -> CommandError {
    let mut failed: Vec<&(usize, StepError)> = outcome.failed.iter().collect();
    failed.sort_by_key(|(index, _)| *index);
    let diagnostics = failed.into_iter().map(|(index, error)| {
        let description = steps.get(*index).map_or("a step", |step| step.description.as_str());
        match error {
            StepError::Write(error) => {
                let mut diagnostic = error.to_diagnostic();
                diagnostic.message = format!("{label}: could not {description}: {}", error.cause());
                diagnostic.with_help(APPLY_AGAIN_HELP)
            }
            StepError::NotEffective(probes) => {
                let message = format!("{label}: did not {description}: an earlier write has not taken effect");
                let error = probes.iter().take(MAX_LISTED).fold(Diagnostic::error(message), |error, probe| {
                    error.with_because(format!("the API server does not confirm that {probe}"))
                });
                error
                    .with_help("check the health of the API server: it does not act on a write that it accepted")
                    .with_help(APPLY_AGAIN_HELP)
            }
            StepError::LockLost => Diagnostic::error(format!("{label}: did not {description}: the Lease was lost"))
                .with_note("another apply may be running")
                .with_help(APPLY_AGAIN_HELP),
            StepError::Overwritten(manager) => {
                let object = steps.get(*index).map_or_else(|| "a role".to_owned(), |step| step.object.to_string());
                Diagnostic::error(format!("{label}: {object} is not as planned: it was overwritten after the write"))
                    .with_because(format!("the field manager of the last write is {manager}"))
                    .with_help("find out why it writes this role, then run apply again")
            }
            StepError::LockedOut(lockout) => lockout_diagnostic(label, lockout, context),
        }
    });
    let mut diagnostics: Vec<Diagnostic> = diagnostics.collect();
    if outcome.is_interrupted {
        let error = Diagnostic::error(format!("{label}: stopped by a signal before all writes were made"));
        diagnostics.push(error.with_help("run apply again: it plans only what is left"));
    }
    let is_conflict = |(_, error): &(usize, StepError)| matches!(error, StepError::Write(error) if error.is_conflict());
    let error = CommandError::from(diagnostics);
    if !outcome.is_interrupted && outcome.failed.iter().all(is_conflict) { error.into_lost_race() } else { error }
}

fn lockout_diagnostic(label: &str, lockout: &Lockout, context: &OpsContext) -> Diagnostic {
    let Lockout { reason, revert, config_map } = lockout;
    let find_cause = "find out what denies you access besides aws-auth, then plan again";
    let because = format!("the change had to be reverted: {reason}");
    let error = match revert {
        RevertResult::Reverted => {
            return Diagnostic::error(format!("{label}: reverted the change of aws-auth: {reason}"))
                .with_help(find_cause);
        }
        RevertResult::NothingToRevert => {
            return Diagnostic::error(format!("{label}: stopped at aws-auth, which was not changed: {reason}"))
                .with_help(find_cause);
        }
        RevertResult::Incomplete(left) => {
            let message =
                format!("{label}: reverted the change of aws-auth in part: another client changed it meanwhile");
            let error = Diagnostic::error(message).with_because(because);
            let error = left.iter().take(MAX_LISTED).fold(error, Diagnostic::with_note);
            // The old content is not saved for `kubectl replace`: that would overwrite the change of the other client.
            return error.with_help(find_cause);
        }
        RevertResult::Failed(error) => {
            Diagnostic::error(format!("{label}: could not revert the change of aws-auth: {}", error.cause()))
                .with_because(because)
        }
        RevertResult::NotEditable(why) => {
            Diagnostic::error(format!("{label}: could not revert the change of aws-auth: {why}")).with_because(because)
        }
    };
    let Some(config_map) = config_map else {
        return error.with_help(
            "with credentials that still have access, run: kubectl -n kube-system delete configmap aws-auth",
        );
    };
    let text = to_yaml(&strip_server_fields(config_map));
    let stem = format!("aws-auth-before-{}", context.now.strftime("%Y%m%dT%H%M%SZ"));
    match create_numbered_file(&context.cwd, &stem, &text) {
        Ok(path) => {
            let name = path.file_name().unwrap_or_default().display().to_string();
            error
                .with_note(format!("the old content is in {name}"))
                .with_help(format!("with credentials that still have access, run: kubectl replace -f {name}"))
        }
        Err(io_error) => {
            error.with_note(format!("cannot write {stem}.yaml: {io_error}; the old content of aws-auth was:\n{text}"))
        }
    }
}
