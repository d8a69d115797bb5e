//! `rolecall apply`: shows the plan, asks, makes its writes and says how each ended.

use super::apply_run::{apply_all, dry_run_all};
use super::args::{ApplyArgs, ApplyFlags};
use super::cluster_plan::{ClusterPlan, PlanDepth, plan_targets, print_plans};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::missing_permissions;
use super::policy_files::read_policy;
use super::refusals::{print_access_windows, print_diagnostics, print_refusals};
use super::saved_plan;
use super::target::can_be_written;
use crate::diagnostic::{Diagnostic, Severity, SourceMap};
use crate::guard::AllowFlag;
use crate::render::plan_text;
use crate::render::text_util::pluralize;

pub(crate) async fn run(args: &ApplyArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let consent = Approval {
        is_given: args.auto_approve || args.flags.dry_run || args.plan.is_some(),
        digests: &args.approved,
        saved_plan: args.plan.as_deref(),
    };
    if let Err(failure) = consent.ensure_obtainable(world) {
        // What is wrong with the policy is worth more than that nobody can be asked.
        read_policy(args.target.policy.as_deref(), world)?;
        return Err(failure);
    }
    if !args.flags.dry_run {
        let snapshots: Vec<&str> = args.target.connection.snapshots.iter().map(String::as_str).collect();
        can_be_written(&snapshots)?;
    }
    let allow = parse_allow_flags(&args.flags.allow)?;
    let (sources, planned) = match &args.plan {
        Some(path) => {
            (SourceMap::default(), saved_plan::open_saved_plan(path, &args.target.connection, &allow, world).await?)
        }
        None => {
            let (loaded, planned) =
                plan_targets(&args.target, PlanDepth::ChangesAndAccess, &allow, world).await?.into_complete()?;
            (loaded.policy.sources, planned)
        }
    };
    let way = ApplyOptions { approval: consent, allow_flags: &allow, flags: &args.flags };
    approve_and_apply(&planned, &sources, &way, world).await
}

/// How plans are to be carried out.
pub(crate) struct ApplyOptions<'a> {
    pub(crate) approval: Approval<'a>,
    /// What the command line says yes to.
    pub(crate) allow_flags: &'a [AllowFlag],
    pub(crate) flags: &'a ApplyFlags,
}

/// Shows plans, asks, and makes their writes.
pub(crate) async fn approve_and_apply(
    planned: &[ClusterPlan],
    sources: &SourceMap,
    way: &ApplyOptions<'_>,
    world: &mut Env,
) -> Result<Exit, CommandError> {
    print_plans(planned, way.flags.full, plan_text::render_plan, world);
    let refused = print_refusals(planned, way.allow_flags, sources, world)
        || !way.flags.allow_window && print_access_windows(planned, sources, world);
    if refused {
        world.eprint("Refused: nothing was written.\n");
        return Ok(Exit::Refused);
    }
    let work: Vec<&ClusterPlan> = planned.iter().filter(|one| !one.plan.is_empty()).collect();
    let severity = if way.flags.dry_run { Severity::Warning } else { Severity::Error };
    let lacks: Vec<Diagnostic> =
        work.iter().filter_map(|one| missing_permissions::to_diagnostic(one, severity)).collect();
    if !lacks.is_empty() && !way.flags.dry_run {
        world.eprint("Nothing was written.\n");
        return Err(lacks.into());
    }
    print_diagnostics(&lacks, sources, world);
    if work.is_empty() {
        return Ok(Exit::Success);
    }
    if way.flags.dry_run {
        return dry_run_all(&work, sources, world).await;
    }
    way.approval.confirm(&work, world)?;
    apply_all(&work, sources, way, world).await
}

/// Whether a text has the form of [`crate::plan::Plan::digest`].
fn is_digest(text: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hex(digits))
}

/// Whose yes there is.
pub(crate) struct Approval<'a> {
    pub(crate) is_given: bool,
    pub(crate) digests: &'a [String],
    /// A saved plan, whose making was the yes: once.
    pub(crate) saved_plan: Option<&'a std::path::Path>,
}

impl Approval<'_> {
    /// Without a terminal nobody can be asked, and a digest has to be one.
    pub(crate) fn ensure_obtainable(&self, world: &Env) -> Result<(), CommandError> {
        let malformed: Vec<Diagnostic> = self
            .digests
            .iter()
            .filter(|text| !is_digest(text))
            .map(|text| {
                let error = Diagnostic::error(format!("--approved {text} is not the digest of a plan"));
                error.with_help("copy it whole from the output of plan: `sha256:` and 64 hexadecimal digits")
            })
            .collect();
        if !malformed.is_empty() {
            return Err(malformed.into());
        }
        if self.is_given || !self.digests.is_empty() || world.terminals.stdin {
            return Ok(());
        }
        let error = Diagnostic::error("apply asks before it writes, and there is no terminal to ask at");
        let hint = "add --auto-approve, or --approved DIGEST with the digest of the plan that was reviewed";
        Err(CommandError::from_diagnostic(error.with_help(hint)))
    }

    /// Goes on only with a yes: of the person here, or of one who saw this very plan.
    fn confirm(&self, work: &[&ClusterPlan], world: &mut Env) -> Result<(), CommandError> {
        let other: Vec<&&ClusterPlan> =
            work.iter().filter(|one| !self.digests.is_empty() && !self.digests.contains(&one.digest)).collect();
        if !other.is_empty() {
            let found = other.iter().map(|one| {
                let digest = &one.digest;
                Diagnostic::error(format!("{}: the plan has another digest than the approved one: {digest}", one.label))
                    .with_help("the policy or the cluster has moved since the plan was approved: review the plan above")
            });
            return Err(found.collect::<Vec<_>>().into());
        }
        if self.is_given || !self.digests.is_empty() {
            return Ok(());
        }
        let writes: usize = work.iter().map(|one| one.plan.steps.len()).sum();
        let changes: usize = work.iter().map(|one| one.plan.changes.len()).sum();
        let names: Vec<&str> = work.iter().map(|one| one.label.as_str()).collect();
        let question = format!(
            "\nApply {} by {} to {}? Only `yes` is taken for a yes: ",
            pluralize(changes, "change"),
            pluralize(writes, "write"),
            names.join(", ")
        );
        if world.prompt(&question) == "yes" {
            return Ok(());
        }
        Err(CommandError::from_diagnostic(Diagnostic::error("not approved: nothing was written")))
    }
}
