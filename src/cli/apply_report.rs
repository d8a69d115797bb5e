//! What an apply says when it stops: what is done, what is not, and why.

use std::collections::BTreeSet;

use super::command_error::CommandError;
use super::create_private_file;
use super::env::Env;
use crate::apply::lockout::Lockout;
use crate::apply::{ApplyOutcome, StepError};
use crate::cluster::WriteOutcome;
use crate::diagnostic::Diagnostic;
use crate::plan::Step;
use crate::state::undo::strip_server_fields;
use crate::state::write::WriteRequest;
use crate::yaml::to_yaml;

/// Steps named one by one; the others are counted.
const MAX_LISTED: usize = 20;
const APPLY_AGAIN_HINT: &str = "apply again when the cause is gone: it plans exactly what is left";

/// What a step has done, in the past tense.
pub(super) fn describe_outcome(step: &Step, written: &WriteOutcome) -> String {
    let object = &step.object;
    match (written, &step.write) {
        (WriteOutcome::Unchanged(_), _) => format!("already so {object}"),
        (WriteOutcome::Terminating(names), _) => {
            format!("deleting {object}: it still grants until its finalizers end: {}", names.join(", "))
        }
        (_, WriteRequest::Create(_)) => format!("created {object}"),
        (_, WriteRequest::Patch(_)) => format!("changed {object}"),
        (_, WriteRequest::Delete) => format!("deleted {object}"),
    }
}

/// What was made and what was not, where an apply stops.
pub(super) fn summarize_steps(steps: &[Step], outcome: &ApplyOutcome) -> String {
    let unknown =
        |number| outcome.failed.iter().any(|(failed, trouble)| *failed == number && is_outcome_unknown(trouble));
    let named = |numbers: &[usize]| {
        let mut out = String::new();
        for (number, step) in numbers.iter().take(MAX_LISTED).filter_map(|number| Some((*number, steps.get(*number)?)))
        {
            let doubt = if unknown(number) { " (or done, and the answer was lost)" } else { "" };
            out.push_str(&format!("  {}{doubt}\n", step.description));
        }
        if numbers.len() > MAX_LISTED {
            out.push_str(&format!("  … and {} more\n", numbers.len() - MAX_LISTED));
        }
        out
    };
    let done: BTreeSet<usize> = outcome.completed.iter().copied().collect();
    let (done, open): (Vec<usize>, Vec<usize>) = (0..steps.len()).partition(|number| done.contains(number));
    let done = match done.len() {
        0 if (0..steps.len()).any(unknown) => "\n".to_owned(),
        0 => "\nNothing was written.\n".to_owned(),
        number => format!("\nDone ({number}):\n{}", named(&done)),
    };
    format!("{done}Not done ({}):\n{}\n", open.len(), named(&open))
}

/// Whether the step may have been made all the same.
fn is_outcome_unknown(trouble: &StepError) -> bool {
    match trouble {
        StepError::Write(error) => error.is_outcome_unknown(),
        StepError::LockedOut(out) => out.restore_result.is_err(),
        StepError::NotEffective(_) | StepError::LockLost => false,
    }
}

pub(super) fn apply_error(label: &str, steps: &[Step], outcome: &ApplyOutcome, world: &Env) -> CommandError {
    let mut failed: Vec<&(usize, StepError)> = outcome.failed.iter().collect();
    failed.sort_by_key(|(number, _)| *number);
    let found = failed.into_iter().map(|(number, trouble)| {
        let what = steps.get(*number).map_or("a step", |step| step.description.as_str());
        match trouble {
            StepError::Write(error) => {
                let mut found = error.to_diagnostic();
                found.message = format!("{label}: could not {what}: {}", error.cause());
                found.with_help(APPLY_AGAIN_HINT)
            }
            StepError::NotEffective(unseen) => {
                let why = format!("{label}: did not {what}: what it relies on is not seen to work yet");
                let told = unseen
                    .iter()
                    .take(MAX_LISTED)
                    .fold(Diagnostic::error(why), |found, one| found.with_help(one.clone()));
                told.with_help(
                    "an earlier write grants it, and the API server does not act on it: look after its health",
                )
                .with_help(APPLY_AGAIN_HINT)
            }
            StepError::LockLost => {
                Diagnostic::error(format!("{label}: did not {what}: the Lease was lost, another apply may have begun"))
                    .with_help(APPLY_AGAIN_HINT)
            }
            StepError::LockedOut(out) => lockout_diagnostic(label, out, world),
        }
    });
    CommandError::from(found.collect::<Vec<_>>())
}

fn lockout_diagnostic(label: &str, out: &Lockout, world: &Env) -> Diagnostic {
    let Lockout { reason: why, restore_result: put_back, config_map: image } = out;
    let error = match put_back {
        Ok(()) => {
            return Diagnostic::error(format!("{label}: aws-auth was put back as it was, because {why}")).with_help(
                "the change would have locked you out: see what refuses you beside aws-auth, then plan again",
            );
        }
        Err(error) => error,
    };
    let message = format!("{label}: aws-auth was written, {why}, and it could not be put back: {}", error.cause());
    let found = Diagnostic::error(message);
    let Some(image) = image else {
        return found.with_help("whoever still gets in can run: kubectl -n kube-system delete configmap aws-auth");
    };
    let text = to_yaml(&strip_server_fields(image));
    let name = format!("aws-auth-before-{}.yaml", world.now.strftime("%Y%m%dT%H%M%SZ"));
    match create_private_file(&world.cwd.join(&name), &text) {
        Ok(()) => found.with_help(format!(
            "its old content is in {name}; whoever still gets in can run: kubectl replace -f {name}"
        )),
        Err(error) => found.with_help(format!("{name} cannot be written: {error}; its old content was:\n{text}")),
    }
}
