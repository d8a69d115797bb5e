//! `rolecall apply`: shows the plan, asks for confirmation, makes the writes and reports their results.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::apply_report::print_failure;
use super::args::{ApplyArgs, ApplyFlags, OutputFormat};
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::plan_output::print_plans;
use super::policy_files::read_policy;
use super::print_error;
use super::refusals::{print_access_windows, print_diagnostics, print_refusals};
use super::saved_plan::read_plan_file;
use super::target::{
    chosen_connection, connection_from_flags, ensure_snapshots_writable, kubeconfig_flags, target_resolver,
};
use crate::diagnostic::{Diagnostic, Severity, SourceMap};
use crate::guard::AllowFlag;
use crate::ops::{
    ApplyReport, ApplySettings, ClusterPlan, ClusterResult, CommandError, LoadedPolicy, OpsContext, PlanDepth,
    PlanSettings, SavedPlanFile, SavedPlanSettings, apply_all, dry_run_all, missing_permissions, open_saved_plan,
    plan_clusters, policy_commit,
};
use crate::render::plan_text;
use crate::render::text_util::pluralize;
use crate::report::is_digest;

/// How many times an apply is tried while other clients change what it relies on.
const MAX_ATTEMPTS: u32 = 5;
/// The delay before the second attempt. It grows with each further one.
const RETRY_DELAY: Duration = Duration::from_millis(300);

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
    let (mut sources, mut cluster_plans, policy_folder) = match &args.plan {
        Some(path) => (SourceMap::default(), open_plan_file(path, args, &allow, env)?, None),
        None => {
            let (loaded, cluster_plans) = plan_again(args, &allow, env)?;
            (loaded.policy.sources, cluster_plans, Some(loaded.base_dir))
        }
    };
    // A saved plan and a digest approve exactly one plan.
    let plans_again = args.auto_approve && args.plan.is_none() && args.approved.is_empty();
    let options = ApplyOptions {
        approval,
        allow_flags: &allow,
        flags: &args.flags,
        format: OutputFormat::Text,
        plans_again,
        parallel: args.parallel.parallel,
        policy_folder,
        earlier_writes: Cell::new(0),
    };
    print_plans(&cluster_plans, args.flags.full, plan_text::render_plan, env);
    for attempt in 1.. {
        let report = match Box::pin(approve_and_apply(&cluster_plans, &sources, &options, env)).await? {
            ApplyAttempt::Finished(exit) => return Ok(exit),
            ApplyAttempt::LostRace(report) => report,
        };
        if attempt >= MAX_ATTEMPTS || env.interrupt().or_stop(tokio::time::sleep(attempt * RETRY_DELAY)).await.is_none()
        {
            return Ok(print_report(report, &sources, &options, env));
        }
        let (loaded, new_plans) = plan_again(args, &allow, env)?;
        if !are_remainders(&new_plans, &cluster_plans) {
            return Ok(print_report(report, &sources, &options, env));
        }
        print_applied(&report, &options, env);
        options.earlier_writes.set(options.earlier_writes.get() + report.writes());
        let is_done = new_plans.iter().all(|cluster_plan| cluster_plan.plan.is_empty());
        let rest =
            if is_done { "nothing is left to apply" } else { "what is left of the plan is the same and is applied" };
        env.note(&format!("note: another client changed the cluster during the apply; {rest}\n"));
        (sources, cluster_plans) = (loaded.policy.sources, new_plans);
    }
    Ok(Exit::Failed)
}

/// Plans the clusters of the policy.
///
/// # Errors
/// If one of them cannot be planned.
fn plan_again(
    args: &ApplyArgs,
    allow: &[AllowFlag],
    env: &mut Env,
) -> Result<(LoadedPolicy, Vec<ClusterPlan>), CommandError> {
    let files = read_policy(args.target.policy.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let settings =
        PlanSettings { depth: PlanDepth::ChangesAndAccess, allow, aws_auth_diff: false, unmanaged_admins: false };
    let resolve = target_resolver(&args.target.connection, &context);
    plan_clusters(files, &resolve, &settings, &context)?.into_complete()
}

fn open_plan_file(
    path: &Path,
    args: &ApplyArgs,
    allow: &[AllowFlag],
    env: &mut Env,
) -> Result<Vec<ClusterPlan>, CommandError> {
    let text = read_plan_file(path, args.verify_key.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let connection = &args.target.connection;
    // The context can come from the environment, so `--snapshot` takes precedence.
    let chosen = match connection.snapshots.as_slice() {
        [] => chosen_connection(connection)?,
        files => Some(connection_from_flags(files, &context)),
    };
    let settings = SavedPlanSettings { connection: chosen, kubeconfig: kubeconfig_flags(connection), allow };
    open_saved_plan(&SavedPlanFile { path, text: &text }, &settings, &context)
}

/// Returns whether each of the new plans is what is left of the plan for the same cluster.
fn are_remainders(new_plans: &[ClusterPlan], cluster_plans: &[ClusterPlan]) -> bool {
    let is_remainder = |new: &ClusterPlan| {
        cluster_plans.iter().any(|old| old.label == new.label && new.plan.is_remainder_of(&old.plan))
    };
    new_plans.len() == cluster_plans.len() && new_plans.iter().all(is_remainder)
}

/// The options of an apply or a restore.
pub(crate) struct ApplyOptions<'a> {
    pub(crate) approval: Approval<'a>,
    /// The risks that the command line accepts.
    pub(crate) allow_flags: &'a [AllowFlag],
    pub(crate) flags: &'a ApplyFlags,
    /// The format of the plan on stdout.
    pub(crate) format: OutputFormat,
    /// Whether a change by another client ends the attempt without an error, so that the command can plan again.
    pub(crate) plans_again: bool,
    /// How many clusters are written at the same time.
    pub(crate) parallel: usize,
    /// The directory of the policy. `None` for a saved plan or a backup.
    pub(crate) policy_folder: Option<PathBuf>,
    /// The number of writes of earlier attempts.
    pub(crate) earlier_writes: Cell<usize>,
}

impl ApplyOptions<'_> {
    /// Says that an attempt made no changes.
    pub(super) fn no_changes(&self) -> String {
        match self.earlier_writes.get() {
            0 => "No changes were made.".to_owned(),
            number => format!(
                "No further changes were made. Before another client changed the cluster, {}.",
                if number == 1 { "1 write was made".to_owned() } else { format!("{number} writes were made") }
            ),
        }
    }
}

/// Checks the plans, asks for confirmation, and makes the writes. The plans were printed before.
pub(crate) async fn approve_and_apply(
    cluster_plans: &[ClusterPlan],
    sources: &SourceMap,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<ApplyAttempt, CommandError> {
    let refused = print_refusals(cluster_plans, options.allow_flags, sources, env)
        || !options.flags.allow_window && print_access_windows(cluster_plans, sources, env);
    if refused {
        env.eprint(&format!("Refused. {}\n", options.no_changes()));
        return Ok(ApplyAttempt::Finished(Exit::Refused));
    }
    let pending: Vec<&ClusterPlan> =
        cluster_plans.iter().filter(|cluster_plan| !cluster_plan.plan.is_empty()).collect();
    let (missing, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) = pending
        .iter()
        .filter_map(|cluster_plan| missing_permissions::to_diagnostic(cluster_plan, Severity::Error))
        .partition(Diagnostic::is_error);
    print_diagnostics(&warnings, sources, env);
    if !missing.is_empty() && !options.flags.dry_run {
        env.eprint(&format!("{}\n", options.no_changes()));
        return Err(missing.into());
    }
    print_diagnostics(&missing, sources, env);
    if pending.is_empty() {
        return Ok(ApplyAttempt::Finished(Exit::Success));
    }
    if options.flags.dry_run {
        let rejected = dry_run_all(&pending, &OpsContext { parallel: options.parallel, ..env.ops_context() })?;
        // The API server does not say what a write lacks that depends on earlier writes.
        let is_accepted = rejected.is_empty() && missing.is_empty();
        if !rejected.is_empty() {
            print_error(&CommandError::new(sources.clone(), rejected), OutputFormat::Text, env);
        }
        return Ok(ApplyAttempt::Finished(if is_accepted { Exit::Success } else { Exit::Failed }));
    }
    if !options.approval.confirm(&pending, env)? {
        env.eprint("Apply cancelled. No changes were made.\n");
        return Ok(ApplyAttempt::Finished(Exit::Failed));
    }
    env.ensure_events_recorded()?;
    let context = OpsContext { parallel: options.parallel, ..env.ops_context() };
    let policy_commit = policy_commit(&context.vars, options.policy_folder.as_deref().unwrap_or(&context.cwd));
    let settings = ApplySettings {
        allow: options.allow_flags,
        backup: options.flags.backup.as_deref(),
        lease_timeout: options.flags.lease_timeout,
        lease_namespace: &options.flags.lease_namespace,
        saved_plan: options.approval.saved_plan,
        policy_commit: policy_commit.as_deref(),
    };
    let report = apply_all(&pending, &settings, &context).await;
    if report.is_lost_race() && options.plans_again {
        return Ok(ApplyAttempt::LostRace(report));
    }
    Ok(ApplyAttempt::Finished(print_report(report, sources, options, env)))
}

/// How an attempt to apply the plans ended.
pub(crate) enum ApplyAttempt {
    Finished(Exit),
    /// Another client has changed what a plan relies on, and the apply may plan again. Nothing was printed about it.
    LostRace(ApplyReport),
}

/// Prints which clusters the plans were applied to.
fn print_applied(report: &ApplyReport, options: &ApplyOptions<'_>, env: &mut Env) {
    for ClusterResult { label, applied, .. } in &report.results {
        let Some(counts) = applied else {
            continue;
        };
        let unchanged = match counts.unchanged {
            0 => String::new(),
            number => format!(", {number} already up to date"),
        };
        let summary = format!("Applied to {label}: {} made{unchanged}.", pluralize(counts.made, "write"));
        match options.format {
            OutputFormat::Text => env.print(&summary),
            OutputFormat::Json => env.note(&summary),
        }
    }
}

/// Prints the result of an apply, and returns its exit code.
pub(crate) fn print_report(
    report: ApplyReport,
    sources: &SourceMap,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Exit {
    print_applied(&report, options, env);
    let writes = report.writes();
    let ApplyReport { before_writes, results, not_started } = report;
    if let Some(error) = before_writes {
        let exit = if error.is_refusal { Exit::Refused } else { Exit::Failed };
        env.eprint(&options.no_changes());
        print_error(&CommandError::new(sources.clone(), error.diagnostics), OutputFormat::Text, env);
        if exit == Exit::Failed && !not_started.is_empty() {
            env.eprint(&format!("Not started: {}\n", not_started.join(", ")));
        }
        return exit;
    }
    let mut exit = Exit::Success;
    let total = results.len() + not_started.len();
    let succeeded = results.iter().filter(|result| result.failure.is_none()).count();
    for ClusterResult { label, failure, .. } in results {
        let Some(failure) = failure else {
            continue;
        };
        exit = Exit::Failed;
        if total > 1 && failure.summary.is_some() {
            env.eprint("");
            env.eprint(&label);
        }
        print_failure(failure, &options.no_changes(), sources, env);
    }
    if !not_started.is_empty() {
        env.eprint(&format!("Not started: {}\n", not_started.join(", ")));
    }
    if total > 1 && options.format == OutputFormat::Text {
        env.print(&format!("Applied to {succeeded} of {total} clusters: {} made.", pluralize(writes, "write")));
    }
    exit
}

/// The command that asks for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApprovedCommand {
    Apply,
    Restore,
    Migrate,
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
            ApprovedCommand::Migrate => ("migrate --apply", "--auto-approve or --approved <DIGEST>"),
        };
        let error = Diagnostic::error(format!("{command} needs confirmation, but stdin is not a terminal"));
        Err(CommandError::from_diagnostic(error.with_help(format!("review the plan, then pass {flags}"))))
    }

    /// Returns whether the plans are approved. Asks at the terminal unless a flag approves them.
    ///
    /// # Errors
    /// If `--approved` is given and a plan has another digest.
    pub(super) fn confirm(&self, pending: &[&ClusterPlan], env: &mut Env) -> Result<bool, CommandError> {
        if !self.digests.is_empty() {
            let changed = pending.iter().filter(|cluster_plan| !self.digests.contains(&cluster_plan.digest));
            let errors: Vec<Diagnostic> = changed.map(|cluster_plan| self.digest_mismatch(cluster_plan)).collect();
            return if errors.is_empty() { Ok(true) } else { Err(errors.into()) };
        }
        if self.is_given {
            return Ok(true);
        }
        let changes = match pending.iter().map(|cluster_plan| cluster_plan.plan.changes.len()).sum() {
            0 => "the change of the authentication mode".to_owned(),
            1 => "this change".to_owned(),
            number => format!("these {}", pluralize(number, "change")),
        };
        let labels: Vec<&str> = pending.iter().map(|cluster_plan| cluster_plan.label.as_str()).collect();
        let question =
            format!("Do you want to apply {changes} to {}? Only 'yes' will be accepted: ", labels.join(", "));
        env.eprint("");
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
