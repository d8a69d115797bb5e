//! `rolecall apply`: shows the plan, asks for confirmation, makes the writes and reports their results.

use super::apply_run::{apply_all, dry_run_all};
use super::args::{ApplyArgs, ApplyFlags, OutputFormat};
use super::cluster_plan::{ClusterPlan, PlanDepth, plan_document, plan_targets, print_plans};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::missing_permissions;
use super::policy_files::read_policy;
use super::print_json;
use super::refusals::{print_access_windows, print_diagnostics, print_refusals};
use super::saved_plan;
use super::target::ensure_snapshots_writable;
use crate::diagnostic::{Diagnostic, Severity, SourceMap};
use crate::guard::AllowFlag;
use crate::render::plan_text;
use crate::render::text_util::pluralize;

pub(crate) async fn run(args: &ApplyArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let approval = Approval {
        command: ApprovedCommand::Apply,
        is_given: args.auto_approve || args.flags.dry_run || args.plan.is_some(),
        digests: &args.approved,
        saved_plan: args.plan.as_deref(),
    };
    if let Err(error) = approval.ensure_obtainable(env) {
        // A policy that cannot be read is reported first: it has to be fixed in any case.
        read_policy(args.target.policy.as_deref(), env)?;
        return Err(error);
    }
    if !args.flags.dry_run {
        let snapshots: Vec<&str> = args.target.connection.snapshots.iter().map(String::as_str).collect();
        ensure_snapshots_writable(&snapshots)?;
    }
    let allow = parse_allow_flags(&args.flags.allow)?;
    let (sources, cluster_plans) = match &args.plan {
        Some(path) => (
            SourceMap::default(),
            saved_plan::open_saved_plan((path, args.verify_key.as_deref()), &args.target.connection, &allow, env)
                .await?,
        ),
        None => {
            let (loaded, cluster_plans) =
                plan_targets(&args.target, PlanDepth::ChangesAndAccess, &allow, env).await?.into_complete()?;
            (loaded.policy.sources, cluster_plans)
        }
    };
    let options = ApplyOptions { approval, allow_flags: &allow, flags: &args.flags, format: OutputFormat::Text };
    approve_and_apply(&cluster_plans, &sources, &options, env).await
}

/// The options of an apply or a restore.
pub(crate) struct ApplyOptions<'a> {
    pub(crate) approval: Approval<'a>,
    /// The risks that the command line accepts.
    pub(crate) allow_flags: &'a [AllowFlag],
    pub(crate) flags: &'a ApplyFlags,
    /// The format of the plan on stdout.
    pub(crate) format: OutputFormat,
}

/// Shows the plans, asks for confirmation, and makes the writes.
pub(crate) async fn approve_and_apply(
    cluster_plans: &[ClusterPlan],
    sources: &SourceMap,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let render = match options.approval.command {
        ApprovedCommand::Apply => plan_text::render_plan,
        ApprovedCommand::Restore => plan_text::render_restore,
    };
    match options.format {
        OutputFormat::Text => print_plans(cluster_plans, options.flags.full, render, env),
        OutputFormat::Json => print_json(&plan_document(cluster_plans, sources)?, env)?,
    }
    let refused = print_refusals(cluster_plans, options.allow_flags, sources, env)
        || !options.flags.allow_window && print_access_windows(cluster_plans, sources, env);
    if refused {
        env.eprint("Refused. No changes were made.\n");
        return Ok(Exit::Refused);
    }
    let pending: Vec<&ClusterPlan> =
        cluster_plans.iter().filter(|cluster_plan| !cluster_plan.plan.is_empty()).collect();
    let missing: Vec<Diagnostic> = pending
        .iter()
        .filter_map(|cluster_plan| missing_permissions::to_diagnostic(cluster_plan, Severity::Error))
        .collect();
    if !missing.is_empty() && !options.flags.dry_run {
        env.eprint("No changes were made.\n");
        return Err(missing.into());
    }
    print_diagnostics(&missing, sources, env);
    if pending.is_empty() {
        return Ok(Exit::Success);
    }
    if options.flags.dry_run {
        let exit = dry_run_all(&pending, sources, env).await?;
        // The API server does not say what a write lacks that depends on earlier writes.
        return Ok(if missing.is_empty() { exit } else { Exit::Failed });
    }
    if !options.approval.confirm(&pending, env)? {
        env.eprint("Apply cancelled. No changes were made.\n");
        return Ok(Exit::Failed);
    }
    apply_all(&pending, sources, options, env).await
}

/// Returns whether a text has the form of [`crate::report::digest`].
fn is_digest(text: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hex(digits))
}

/// The command that asks for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApprovedCommand {
    Apply,
    Restore,
}

/// How the plan is approved: by a flag, by its digest, by a saved plan, or by a person at the terminal.
pub(crate) struct Approval<'a> {
    pub(crate) command: ApprovedCommand,
    pub(crate) is_given: bool,
    pub(crate) digests: &'a [String],
    /// A saved plan is approved by the run that made it. It can be used once.
    pub(crate) saved_plan: Option<&'a std::path::Path>,
}

impl Approval<'_> {
    /// Checks before any other work that the approval can be obtained: stdin is a terminal, or a flag approves the plan.
    ///
    /// # Errors
    /// If it cannot, or if a value of `--approved` is not a digest.
    pub(crate) fn ensure_obtainable(&self, env: &Env) -> Result<(), CommandError> {
        let malformed: Vec<Diagnostic> = self
            .digests
            .iter()
            .filter(|text| !is_digest(text))
            .map(|text| {
                Diagnostic::error(format!("invalid value `{text}` for `--approved`: not the digest of a plan"))
                    .with_help(
                        "copy the whole digest from the last line of the plan: `sha256:` and 64 hexadecimal digits",
                    )
            })
            .collect();
        if !malformed.is_empty() {
            return Err(malformed.into());
        }
        if self.is_given || !self.digests.is_empty() || env.terminals.stdin {
            return Ok(());
        }
        let (command, flags) = match self.command {
            ApprovedCommand::Apply => ("apply", "--auto-approve, --approved <DIGEST> or --plan <FILE>"),
            ApprovedCommand::Restore => ("restore", "--auto-approve or --approved <DIGEST>"),
        };
        let error = Diagnostic::error(format!("{command} needs confirmation, but stdin is not a terminal"));
        Err(CommandError::from_diagnostic(error.with_help(format!("review the plan, then pass {flags}"))))
    }

    /// Returns whether the plans are approved. Asks at the terminal unless a flag approves them.
    ///
    /// # Errors
    /// If `--approved` is given and a plan has another digest.
    fn confirm(&self, pending: &[&ClusterPlan], env: &mut Env) -> Result<bool, CommandError> {
        if !self.digests.is_empty() {
            let changed = pending.iter().filter(|cluster_plan| !self.digests.contains(&cluster_plan.digest));
            let errors: Vec<Diagnostic> = changed.map(|cluster_plan| self.digest_mismatch(cluster_plan)).collect();
            return if errors.is_empty() { Ok(true) } else { Err(errors.into()) };
        }
        if self.is_given {
            return Ok(true);
        }
        let changes = match pending.iter().map(|cluster_plan| cluster_plan.plan.changes.len()).sum() {
            1 => "this change".to_owned(),
            number => format!("these {}", pluralize(number, "change")),
        };
        let labels: Vec<&str> = pending.iter().map(|cluster_plan| cluster_plan.label.as_str()).collect();
        let question =
            format!("\nDo you want to apply {changes} to {}? Only 'yes' will be accepted: ", labels.join(", "));
        Ok(env.prompt(&question) == "yes")
    }

    fn digest_mismatch(&self, cluster_plan: &ClusterPlan) -> Diagnostic {
        let ClusterPlan { label, digest, .. } = cluster_plan;
        Diagnostic::error(format!("{label}: the plan does not match the approved digest"))
            .with_because(format!("the digest of this plan is {digest}"))
            .with_note(match self.saved_plan {
                Some(path) => format!("{} is not the plan that was approved", path.display()),
                None => "the policy or the cluster has changed since the plan was approved".to_owned(),
            })
            .with_help(format!("review the plan above, then pass --approved {digest}"))
    }
}
