//! What an apply prints when it stops: which steps are done, which are not, and the error.

use std::collections::BTreeSet;

use super::command_error::CommandError;
use super::create_private_file;
use super::env::Env;
use crate::apply::lockout::{Lockout, RevertResult};
use crate::apply::{ApplyOutcome, StepError};
use crate::cluster::WriteOutcome;
use crate::diagnostic::Diagnostic;
use crate::plan::Step;
use crate::state::undo::strip_server_fields;
use crate::state::write::WriteRequest;
use crate::yaml::to_yaml;

/// The number of steps that are listed. The others are counted.
const MAX_LISTED: usize = 20;
const APPLY_AGAIN_HELP: &str = "fix the cause, then run apply again: it plans only what is left";

/// What a step did, in the past tense.
pub(super) fn describe_outcome(step: &Step, outcome: &WriteOutcome) -> String {
    let object = &step.object;
    match (outcome, &step.write) {
        (WriteOutcome::Unchanged(_), _) => format!("already up to date: {object}"),
        (WriteOutcome::Terminating(finalizers), _) => {
            format!("deleting {object}: it grants access until its finalizers are removed: {}", finalizers.join(", "))
        }
        (_, WriteRequest::Create(_)) => format!("created {object}"),
        (_, WriteRequest::Patch(_)) => format!("changed {object}"),
        (_, WriteRequest::Delete) => format!("deleted {object}"),
    }
}

/// Returns the steps that were done and those that were not; `no_changes` is printed if none was. A write that was made and taken back is neither.
pub(super) fn summarize_steps(steps: &[Step], outcome: &ApplyOutcome, no_changes: &str) -> String {
    let is_unknown = |index| outcome.failed.iter().any(|(failed, error)| *failed == index && is_outcome_unknown(error));
    let revert = |index| {
        outcome.failed.iter().find_map(|(failed, error)| match error {
            StepError::LockedOut(lockout) if *failed == index => Some(&lockout.revert),
            _ => None,
        })
    };
    let list = |indices: &[usize]| {
        let mut out = String::new();
        for (index, step) in indices.iter().take(MAX_LISTED).filter_map(|index| Some((*index, steps.get(*index)?))) {
            let suffix = if is_unknown(index) { " (result unknown: the API server did not answer)" } else { "" };
            out.push_str(&format!("  {}{suffix}\n", step.description));
        }
        if indices.len() > MAX_LISTED {
            out.push_str(&format!("  … and {} more\n", indices.len() - MAX_LISTED));
        }
        out
    };
    let completed: BTreeSet<usize> = outcome.completed.iter().copied().collect();
    let (done, not_done): (Vec<usize>, Vec<usize>) = (0..steps.len()).partition(|index| completed.contains(index));
    let (made, not_done): (Vec<usize>, Vec<usize>) = not_done
        .into_iter()
        .partition(|index| revert(*index).is_some_and(|result| *result != RevertResult::NothingToRevert));
    let mut out = "\n".to_owned();
    if !done.is_empty() {
        out.push_str(&format!("Done ({}):\n{}", done.len(), list(&done)));
    } else if made.is_empty() && !(0..steps.len()).any(is_unknown) {
        out.push_str(&format!("{no_changes}\n"));
    }
    let (reverted, remaining): (Vec<usize>, Vec<usize>) =
        made.into_iter().partition(|index| revert(*index) == Some(&RevertResult::Reverted));
    for (title, indices) in [("Done and reverted", reverted), ("Done, could not be reverted", remaining)] {
        if !indices.is_empty() {
            out.push_str(&format!("{title} ({}):\n{}", indices.len(), list(&indices)));
        }
    }
    if !not_done.is_empty() {
        out.push_str(&format!("Not done ({}):\n{}", not_done.len(), list(&not_done)));
    }
    out.push('\n');
    out
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

pub(super) fn apply_error(label: &str, steps: &[Step], outcome: &ApplyOutcome, env: &Env) -> CommandError {
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
            StepError::LockedOut(lockout) => lockout_diagnostic(label, lockout, env),
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

fn lockout_diagnostic(label: &str, lockout: &Lockout, env: &Env) -> Diagnostic {
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
    let name = format!("aws-auth-before-{}.yaml", env.now.strftime("%Y%m%dT%H%M%SZ"));
    match create_private_file(&env.cwd.join(&name), &text) {
        Ok(()) => error
            .with_note(format!("the old content is in {name}"))
            .with_help(format!("with credentials that still have access, run: kubectl replace -f {name}")),
        Err(io_error) => {
            error.with_note(format!("cannot write {name}: {io_error}; the old content of aws-auth was:\n{text}"))
        }
    }
}
