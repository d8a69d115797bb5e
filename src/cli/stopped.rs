//! What an apply says when it stops: what is done, what is not, and why.

use std::collections::BTreeSet;

use super::failure::Failure;
use super::world::World;
use super::write_private;
use crate::apply::confirm::LockedOut;
use crate::apply::{Outcome, Trouble};
use crate::cluster::Written;
use crate::diagnostic::Diagnostic;
use crate::plan::Step;
use crate::state::undo::anew;
use crate::state::write::Write;
use crate::yaml::to_yaml;

/// Steps named one by one; the others are counted.
const NAMED: usize = 20;
const AGAIN: &str = "apply again when the cause is gone: it plans exactly what is left";

/// What a step has done, in the past tense.
pub(super) fn past(step: &Step, written: &Written) -> String {
    let object = &step.object;
    match (written, &step.write) {
        (Written::Unchanged(_), _) => format!("already so {object}"),
        (Written::Waiting(names), _) => {
            format!("deleting {object}: it still grants until its finalizers end: {}", names.join(", "))
        }
        (_, Write::Create(_)) => format!("created {object}"),
        (_, Write::Patch(_)) => format!("changed {object}"),
        (_, Write::Delete) => format!("deleted {object}"),
    }
}

/// What was made and what was not, where an apply stops.
pub(super) fn left(steps: &[Step], outcome: &Outcome) -> String {
    let unknown = |number| outcome.failed.iter().any(|(failed, trouble)| *failed == number && is_uncertain(trouble));
    let named = |numbers: &[usize]| {
        let mut out = String::new();
        for (number, step) in numbers.iter().take(NAMED).filter_map(|number| Some((*number, steps.get(*number)?))) {
            let doubt = if unknown(number) { " (or done, and the answer was lost)" } else { "" };
            out.push_str(&format!("  {}{doubt}\n", step.why));
        }
        if numbers.len() > NAMED {
            out.push_str(&format!("  … and {} more\n", numbers.len() - NAMED));
        }
        out
    };
    let done: BTreeSet<usize> = outcome.done.iter().copied().collect();
    let (done, open): (Vec<usize>, Vec<usize>) = (0..steps.len()).partition(|number| done.contains(number));
    let done = match done.len() {
        0 if (0..steps.len()).any(unknown) => "\n".to_owned(),
        0 => "\nNothing was written.\n".to_owned(),
        number => format!("\nDone ({number}):\n{}", named(&done)),
    };
    format!("{done}Not done ({}):\n{}\n", open.len(), named(&open))
}

/// Whether the step may have been made all the same.
fn is_uncertain(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Write(error) => error.is_uncertain(),
        Trouble::LockedOut(out) => out.put_back.is_err(),
        Trouble::Unseen(_) | Trouble::LockLost => false,
    }
}

pub(super) fn stopped(label: &str, steps: &[Step], outcome: &Outcome, world: &World) -> Failure {
    let mut failed: Vec<&(usize, Trouble)> = outcome.failed.iter().collect();
    failed.sort_by_key(|(number, _)| *number);
    let found = failed.into_iter().map(|(number, trouble)| {
        let what = steps.get(*number).map_or("a step", |step| step.why.as_str());
        match trouble {
            Trouble::Write(error) => {
                let mut found = error.diagnostic();
                found.message = format!("{label}: could not {what}: {}", error.cause());
                found.hint(AGAIN)
            }
            Trouble::Unseen(unseen) => {
                let why = format!("{label}: did not {what}: what it relies on is not seen to work yet");
                let told = unseen.iter().take(NAMED).fold(Diagnostic::error(why), |found, one| found.hint(one.clone()));
                told.hint("an earlier write grants it, and the API server does not act on it: look after its health")
                    .hint(AGAIN)
            }
            Trouble::LockLost => {
                Diagnostic::error(format!("{label}: did not {what}: the Lease was lost, another apply may have begun"))
                    .hint(AGAIN)
            }
            Trouble::LockedOut(out) => locked_out(label, out, world),
        }
    });
    Failure::from(found.collect::<Vec<_>>())
}

fn locked_out(label: &str, out: &LockedOut, world: &World) -> Diagnostic {
    let LockedOut { why, put_back, image } = out;
    let error = match put_back {
        Ok(()) => {
            return Diagnostic::error(format!("{label}: aws-auth was put back as it was, because {why}"))
                .hint("the change would have locked you out: see what refuses you beside aws-auth, then plan again");
        }
        Err(error) => error,
    };
    let message = format!("{label}: aws-auth was written, {why}, and it could not be put back: {}", error.cause());
    let found = Diagnostic::error(message);
    let Some(image) = image else {
        return found.hint("whoever still gets in can run: kubectl -n kube-system delete configmap aws-auth");
    };
    let text = to_yaml(&anew(image));
    let name = format!("aws-auth-before-{}.yaml", world.now.strftime("%Y%m%dT%H%M%SZ"));
    match write_private(&world.cwd.join(&name), &text) {
        Ok(()) => found
            .hint(format!("its old content is in {name}; whoever still gets in can run: kubectl replace -f {name}")),
        Err(error) => found.hint(format!("{name} cannot be written: {error}; its old content was:\n{text}")),
    }
}
