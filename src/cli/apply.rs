//! `rolecall apply`: shows the plan, asks, makes its writes and says how each ended.

use super::args::{Apply, Care};
use super::carrying::{carry_out_all, judge_all};
use super::exit::Exit;
use super::failure::Failure;
use super::guarded::allowances;
use super::lacking;
use super::planned::{Depth, Planned, plans, print_text};
use super::refused::{say, say_refusals, say_windows};
use super::saved;
use super::world::World;
use crate::diagnostic::{Diagnostic, Severity, Sources};
use crate::guard::Allowance;
use crate::render::text;
use crate::render::words::count;

pub(crate) async fn run(args: &Apply, world: &mut World) -> Result<Exit, Failure> {
    let consent = Consent {
        given: args.auto_approve || args.care.dry_run || args.plan.is_some(),
        approved: &args.approved,
        saved: args.plan.as_deref(),
    };
    consent.can_be_had(world)?;
    let allow = allowances(&args.care.allow)?;
    let (sources, planned) = match &args.plan {
        Some(path) => (Sources::default(), saved::open(path, &args.scope.place, &allow, world).await?),
        None => {
            let (loaded, planned) = plans(&args.scope, Depth::Access, &allow, world).await?.complete()?;
            (loaded.policy.sources, planned)
        }
    };
    let way = Way { consent, allow: &allow, care: &args.care };
    finish(&planned, &sources, &way, world).await
}

/// How plans are to be carried out.
pub(crate) struct Way<'a> {
    pub(crate) consent: Consent<'a>,
    /// What the command line says yes to.
    pub(crate) allow: &'a [Allowance],
    pub(crate) care: &'a Care,
}

/// Shows plans, asks, and makes their writes.
pub(crate) async fn finish(
    planned: &[Planned],
    sources: &Sources,
    way: &Way<'_>,
    world: &mut World,
) -> Result<Exit, Failure> {
    print_text(planned, way.care.full, text::plan, world);
    let refused = say_refusals(planned, way.allow, sources, world)
        || !way.care.allow_window && say_windows(planned, sources, world);
    if refused {
        world.say("Refused: nothing was written.\n");
        return Ok(Exit::Refused);
    }
    let work: Vec<&Planned> = planned.iter().filter(|one| !one.plan.is_empty()).collect();
    let severity = if way.care.dry_run { Severity::Warning } else { Severity::Error };
    let lacks: Vec<Diagnostic> = work.iter().filter_map(|one| lacking::told(one, severity)).collect();
    if !lacks.is_empty() && !way.care.dry_run {
        world.say("Nothing was written.\n");
        return Err(lacks.into());
    }
    say(&lacks, sources, world);
    if work.is_empty() {
        return Ok(Exit::Done);
    }
    if way.care.dry_run {
        return judge_all(&work, sources, world).await;
    }
    way.consent.approve(&work, world)?;
    carry_out_all(&work, sources, way, world).await
}

/// Whose yes there is.
pub(crate) struct Consent<'a> {
    pub(crate) given: bool,
    pub(crate) approved: &'a [String],
    /// A saved plan, whose making was the yes: once.
    pub(crate) saved: Option<&'a std::path::Path>,
}

impl Consent<'_> {
    /// Without a terminal nobody can be asked.
    pub(crate) fn can_be_had(&self, world: &World) -> Result<(), Failure> {
        if self.given || !self.approved.is_empty() || world.terminals.input {
            return Ok(());
        }
        let error = Diagnostic::error("apply asks before it writes, and there is no terminal to ask at");
        let hint = "add --auto-approve, or --approved DIGEST with the digest of the plan that was reviewed";
        Err(Failure::of(error.hint(hint)))
    }

    /// Goes on only with a yes: of the person here, or of one who saw this very plan.
    fn approve(&self, work: &[&Planned], world: &mut World) -> Result<(), Failure> {
        let other: Vec<&&Planned> = work
            .iter()
            .filter(|one| !self.approved.is_empty() && !self.approved.contains(&one.plan.digest()))
            .collect();
        if !other.is_empty() {
            let found = other.iter().map(|one| {
                let digest = one.plan.digest();
                Diagnostic::error(format!("{}: the plan has another digest than the approved one: {digest}", one.label))
                    .hint("the policy or the cluster has moved since the plan was approved: review the plan above")
            });
            return Err(found.collect::<Vec<_>>().into());
        }
        if self.given || !self.approved.is_empty() {
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
}
