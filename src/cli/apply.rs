//! `rolecall apply`: shows the plan, asks, makes its writes and says how each ended.

use std::collections::BTreeSet;

use super::args::Apply;
use super::exit::Exit;
use super::failure::Failure;
use super::guarded::{self, allowances};
use super::lacking;
use super::planned::{Depth, Planned, plans, print_text};
use super::refused::{say, say_refusals};
use super::world::World;
use super::{report, saved};
use crate::apply::{self, Outcome};
use crate::cluster::{ClusterError, ReadCluster as _, WriteCluster as _, Written};
use crate::diagnostic::{Diagnostic, Severity, Sources};
use crate::guard::Allowance;
use crate::plan::Step;
use crate::render::text;
use crate::render::words::count;
use crate::state::write::Write;

/// Steps named one by one where an apply stops; the others are counted.
const NAMED: usize = 20;

pub(crate) async fn run(args: &Apply, world: &mut World) -> Result<Exit, Failure> {
    let decided = args.auto_approve || args.dry_run || args.plan.is_some() || !args.approved.is_empty();
    if !decided && !world.terminals.input {
        let error = Diagnostic::error("apply asks before it writes, and there is no terminal to ask at");
        let hint = "add --auto-approve, or --approved DIGEST with the digest of the plan that was reviewed";
        return Err(Failure::of(error.hint(hint)));
    }
    let allow = allowances(&args.allow)?;
    let (sources, planned) = match &args.plan {
        Some(path) => (Sources::default(), saved::open(path, &args.scope.place, &allow, world).await?),
        None => {
            let (loaded, planned) = plans(&args.scope, Depth::Access, &allow, world).await?.complete()?;
            (loaded.policy.sources, planned)
        }
    };
    print_text(&planned, args.full, text::plan, world);
    if say_refusals(&planned, &allow, &sources, world) {
        world.say("Refused: nothing was written.\n");
        return Ok(Exit::Refused);
    }
    let work: Vec<&Planned> = planned.iter().filter(|one| !one.plan.is_empty()).collect();
    let severity = if args.dry_run { Severity::Warning } else { Severity::Error };
    let lacks: Vec<Diagnostic> = work.iter().filter_map(|one| lacking::told(one, severity)).collect();
    if !lacks.is_empty() && !args.dry_run {
        world.say("Nothing was written.\n");
        return Err(lacks.into());
    }
    say(&lacks, &sources, world);
    if work.is_empty() || args.dry_run {
        return Ok(Exit::Done);
    }
    approve(args, &work, world)?;
    for one in work {
        if let Err(failure) = carry_out(one, &allow, world).await {
            let exit = if failure.refused { Exit::Refused } else { Exit::Failed };
            report(&Failure::new(sources.clone(), failure.found), super::args::Format::Text, world);
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Goes on only with a yes: of the person here, or of one who saw this very plan.
fn approve(args: &Apply, work: &[&Planned], world: &mut World) -> Result<(), Failure> {
    let other: Vec<&&Planned> =
        work.iter().filter(|one| !args.approved.is_empty() && !args.approved.contains(&one.plan.digest())).collect();
    if !other.is_empty() {
        let found = other.iter().map(|one| {
            let digest = one.plan.digest();
            Diagnostic::error(format!("{}: the plan has another digest than the approved one: {digest}", one.label))
                .hint("the policy or the cluster has moved since the plan was approved: review the plan above")
        });
        return Err(found.collect::<Vec<_>>().into());
    }
    if args.auto_approve || args.plan.is_some() || !args.approved.is_empty() {
        return Ok(());
    }
    let writes: usize = work.iter().map(|one| one.plan.steps.len()).sum();
    let changes: usize = work.iter().map(|one| one.plan.changes.len()).sum();
    let names: Vec<&str> = work.iter().map(|one| one.label.as_str()).collect();
    let question = format!(
        "\nApply {} by {} to {}? Only `yes` is taken for a yes: ",
        count(changes, "change"),
        count(writes, "write"),
        names.join(", ")
    );
    if world.ask(&question) == "yes" {
        return Ok(());
    }
    Err(Failure::of(Diagnostic::error("not approved: nothing was written")))
}

async fn carry_out(one: &Planned, allow: &[Allowance], world: &mut World) -> Result<(), Failure> {
    // A cluster that moved while a person was thinking is caught before the first write, not by the one that meets it.
    let state = one.cluster.observe().await?;
    let moved = one.plan.moved(&state);
    if !moved.is_empty() {
        return Err(saved::moved(&one.label, &moved));
    }
    // What others changed meanwhile may have made the same writes dangerous.
    let (verdict, refusals) = guarded::judge(&one.plan, &one.known, &state, &one.seen, allow)?;
    if !verdict.refused.is_empty() || !refusals.is_empty() {
        return Err(guarded::refused_now(&one.label, &verdict, &refusals));
    }
    let total = one.plan.steps.len();
    let label = &one.label;
    world.say(&format!("\nApplying to {label}\n"));
    let width = total.to_string().len();
    let mut number = 0;
    let outcome = {
        let world = std::cell::RefCell::new(&mut *world);
        let number = std::cell::RefCell::new(&mut number);
        apply::apply(&one.plan, &one.cluster, |_, step, end| {
            if let Ok(written) = end {
                let mut number = number.borrow_mut();
                **number += 1;
                world.borrow_mut().say(&format!("  [{:>width$}/{total}] {}\n", **number, past(step, written)));
            }
        })
        .await
    };
    let finished = one.cluster.finish().await;
    if let Err(error) = finished {
        let found = error.diagnostic().hint("nothing was written");
        return Err(Failure::of(found));
    }
    if outcome.failed.is_empty() {
        let so = match outcome.unchanged {
            0 => String::new(),
            1 => ", 1 was so already".to_owned(),
            number => format!(", {number} were so already"),
        };
        let made = count(outcome.done.len() - outcome.unchanged, "write");
        world.print(&format!("Applied to {label}: {made} made{so}.\n"));
        return Ok(());
    }
    world.say(&left(&one.plan.steps, &outcome));
    Err(stopped(label, &one.plan.steps, &outcome))
}

/// What a step has done, in the past tense.
fn past(step: &Step, written: &Written) -> String {
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
fn left(steps: &[Step], outcome: &Outcome) -> String {
    let unknown = |number| outcome.failed.iter().any(|(failed, error)| *failed == number && error.is_uncertain());
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

fn stopped(label: &str, steps: &[Step], outcome: &Outcome) -> Failure {
    let mut failed: Vec<&(usize, ClusterError)> = outcome.failed.iter().collect();
    failed.sort_by_key(|(number, _)| *number);
    let found = failed.into_iter().map(|(number, error)| {
        let what = steps.get(*number).map_or("a step", |step| step.why.as_str());
        let mut found = error.diagnostic();
        found.message = format!("{label}: could not {what}: {}", error.cause());
        found.hint("apply again when the cause is gone: it plans exactly what is left")
    });
    Failure::from(found.collect::<Vec<_>>())
}
