//! Applies plans. All checks are made for all clusters before the first write to any of them. After the writes, the API
//! server is asked whether the access is as planned.

use std::time::Duration;

use super::apply::ApplyOptions;
use super::apply_lock::{acquire_lock, interrupted_before_writes, release_lock};
use super::apply_report::{apply_error, describe_outcome, summarize_steps};
use super::args::OutputFormat;
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::{backup, guards, print_error, saved_plan};
use crate::access::{AccessView, Aggregation, IamIdentity, Identity, Request, SubjectQuery};
use crate::apply::dry_run::{DryRunResult, MAX_DRY_RUN_WRITES, dry_run};
use crate::apply::lock::ApplyLock;
use crate::apply::lockout::{AwsAuthBaseline, PROBE_DELAYS};
use crate::apply::polling::PROBE_SCHEDULE;
use crate::apply::verification::{self, MAX_CHECKS, Verification};
use crate::apply::{ApplyEvent, ApplyHooks, CONTROLLER_LAG, TokenWaits, apply};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _, UserInfo, WriteCluster as _};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard;
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, ChangeTarget, DiffOp, Plan, PostApplyCheck, format_duration};
use crate::render::terminal_text::TerminalText;
use crate::render::text_util::pluralize;
use crate::state::State;
use crate::state::object_meta::AGGREGATION_CONTROLLER;

/// Printed before aws-auth is written, if the kubeconfig has no credential plugin.
const FIXED_CREDENTIALS_NOTE: &str = "your credentials are not from a plugin, so the check after the change of aws-auth \
     does not prove that IAM principals can still authenticate";
/// The number of errors that are listed. The others are counted.
const MAX_LISTED: usize = 20;

/// A plan that has passed all checks, and what is needed to apply it.
struct PreparedApply<'a> {
    cluster_plan: &'a ClusterPlan,
    lock: Option<ApplyLock>,
    aws_auth_baseline: Option<AwsAuthBaseline>,
    checks: Vec<PostApplyCheck>,
}

/// `--dry-run`: the API server checks every write, and none is made.
pub(super) async fn dry_run_all(
    cluster_plans: &[&ClusterPlan],
    sources: &SourceMap,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let mut errors = Vec::new();
    for cluster_plan in cluster_plans {
        let state = cluster_plan.cluster.read_state().await?;
        let caller = cluster_plan.cluster.whoami().await?;
        let result = dry_run(&cluster_plan.plan, &cluster_plan.cluster, &state, caller.as_ref(), usize::MAX).await;
        let prefix = if cluster_plans.len() > 1 { format!("{}: ", cluster_plan.label) } else { String::new() };
        env.note(&format!("{prefix}Dry run: {}\n", dry_run_summary(cluster_plan, &result)));
        errors.extend(dry_run_errors(cluster_plan, &result));
    }
    if errors.is_empty() {
        return Ok(Exit::Success);
    }
    print_error(&CommandError::new(sources.clone(), errors), OutputFormat::Text, env);
    Ok(Exit::Failed)
}

/// `all 5 writes accepted by the API server`.
fn dry_run_summary(cluster_plan: &ClusterPlan, result: &DryRunResult) -> String {
    let total = cluster_plan.plan.steps.len();
    let writes = pluralize(total, "write");
    let checked_by = match cluster_plan.cluster {
        AnyCluster::Live(_) => "the API server",
        AnyCluster::Snapshot(_) => "the rules of the API server",
    };
    let not_checked = match total - result.checked {
        0 => String::new(),
        number => format!(", {number} not checked because they depend on earlier writes"),
    };
    match (result.rejected.len(), result.checked) {
        (0, checked) if checked == total && total > 1 => format!("all {writes} accepted by {checked_by}"),
        (0, checked) => format!("{checked} of {writes} accepted by {checked_by}{not_checked}"),
        (rejected, _) => format!("{rejected} of {writes} rejected by {checked_by}{not_checked}"),
    }
}

/// How an attempt to apply the plans ended.
pub(super) enum ApplyAttempt {
    Finished(Exit),
    /// Another client has changed what a plan relies on, and the apply may plan again. Nothing was printed about it.
    LostRace(ApplyFailure),
}

/// Why an apply of one cluster stopped.
pub(super) struct ApplyFailure {
    /// The steps that are done and those that are not.
    summary: TerminalText,
    error: CommandError,
    /// The number of writes that were made.
    pub(super) writes: usize,
}

impl ApplyFailure {
    pub(super) fn print(self, sources: &SourceMap, env: &mut Env) {
        env.eprint_text(&self.summary);
        print_error(&CommandError::new(sources.clone(), self.error.diagnostics), OutputFormat::Text, env);
    }
}

impl From<CommandError> for ApplyFailure {
    fn from(error: CommandError) -> Self {
        Self { summary: TerminalText::default(), error, writes: 0 }
    }
}

/// Applies every plan, one cluster after the other. A failure in one cluster stops before the next one.
pub(super) async fn apply_all(
    cluster_plans: &[&ClusterPlan],
    sources: &SourceMap,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<ApplyAttempt, CommandError> {
    // From here on the Lease is held, and the last write may need its confirmation.
    env.interrupt().defer();
    let mut prepared_applies: Vec<PreparedApply<'_>> = Vec::with_capacity(cluster_plans.len());
    let mut error = CommandError { is_refusal: true, is_lost_race: true, ..CommandError::default() };
    for cluster_plan in cluster_plans {
        match prepare(cluster_plan, options, env).await {
            Ok(prepared) => prepared_applies.push(prepared),
            Err((lock, reason)) => {
                release_lock(lock, env).await;
                error.is_refusal &= reason.is_refusal;
                error.is_lost_race &= reason.is_lost_race;
                error.diagnostics.extend(reason.diagnostics);
            }
        }
    }
    if error.diagnostics.is_empty()
        && let Some(path) = options.approval.saved_plan
        && let Err(reason) = saved_plan::mark_applied(path, env)
    {
        error = reason;
    }
    let mut failure = None;
    let mut exit = Exit::Success;
    if !error.diagnostics.is_empty() {
        exit = if error.is_refusal { Exit::Refused } else { Exit::Failed };
        failure = Some(ApplyFailure { summary: TerminalText::from_line(&options.no_changes()), error, writes: 0 });
    }
    let mut not_started = Vec::new();
    for prepared in prepared_applies {
        if failure.is_none() {
            if let Err(reason) = apply_one(&prepared, options, env).await {
                (failure, exit) = (Some(reason), Exit::Failed);
            }
        } else {
            not_started.push(prepared.cluster_plan.label.as_str());
        }
        release_lock(prepared.lock, env).await;
    }
    match failure {
        Some(failure) if failure.error.is_lost_race && options.plans_again => Ok(ApplyAttempt::LostRace(failure)),
        Some(failure) => {
            failure.print(sources, env);
            if exit == Exit::Failed && !not_started.is_empty() {
                env.eprint(&format!("Not started: {}\n", not_started.join(", ")));
            }
            Ok(ApplyAttempt::Finished(exit))
        }
        None => Ok(ApplyAttempt::Finished(exit)),
    }
}

/// Acquires the Lease and runs the checks before the first write. If a check fails, the Lease is returned with the error.
async fn prepare<'a>(
    cluster_plan: &'a ClusterPlan,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<PreparedApply<'a>, (Option<ApplyLock>, CommandError)> {
    let interrupt = env.interrupt().clone();
    let interrupted = || interrupted_before_writes(&cluster_plan.label);
    let caller = match interrupt.or_stop(cluster_plan.cluster.whoami()).await {
        Some(caller) => caller.map_err(|error| (None, error.into()))?,
        None => return Err((None, interrupted())),
    };
    let lock = acquire_lock(cluster_plan, options.flags, caller.as_ref(), env).await.map_err(|error| (None, error))?;
    let checking = interrupt.or_stop(run_prechecks(cluster_plan, options, caller.as_ref(), env)).await;
    match checking.unwrap_or_else(|| Err(interrupted())) {
        Ok((aws_auth_baseline, checks)) => Ok(PreparedApply { cluster_plan, lock, aws_auth_baseline, checks }),
        Err(error) => Err((lock, error)),
    }
}

async fn run_prechecks(
    cluster_plan: &ClusterPlan,
    options: &ApplyOptions<'_>,
    caller: Option<&UserInfo>,
    env: &mut Env,
) -> Result<(Option<AwsAuthBaseline>, Vec<PostApplyCheck>), CommandError> {
    let ClusterPlan { cluster, plan, label, .. } = cluster_plan;
    // The cluster can have changed while a person reviewed the plan. The precondition of a write would catch that too,
    // but only after other writes have been made.
    let connection = env.connection_settings();
    let state = connection.within_observation(&format!("the cluster {label}"), cluster.read_state()).await?;
    let reasons = plan.staleness_reasons(&state, &cluster_plan.aggregated_roles);
    if !reasons.is_empty() {
        return Err(saved_plan::stale_plan_error(label, &reasons));
    }
    // Changes to other objects can give the same writes another effect on access, so the guards, the invariants and the
    // access changes are evaluated again.
    let after = plan.state_after(&state).map_err(|error| after_state_error(&error))?;
    let (guard_report, violations, (affected_subjects, checks)) = std::thread::scope(|scope| {
        let access = scope.spawn(|| plan.recheck_access(&state, &after, MAX_CHECKS));
        let comparison = AccessComparison::new(&state, &after);
        let guard_report = guard::evaluate_guards(plan, &comparison, &cluster_plan.facts, options.allow_flags);
        let violations = guard::check_invariants(&plan.invariants, &cluster_plan.policy_index, &after);
        (guard_report, violations, access.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if !guard_report.refused.is_empty() || !violations.is_empty() {
        return Err(guards::late_refusal(label, &guard_report, &violations));
    }
    if !affected_subjects.is_empty() {
        return Err(saved_plan::access_changed_error(label, &affected_subjects));
    }
    let result = dry_run(plan, cluster, &state, caller, MAX_DRY_RUN_WRITES).await;
    if !result.rejected.is_empty() {
        return Err(dry_run_errors(cluster_plan, &result).into());
    }
    if let Some(folder) = &options.flags.backup {
        backup::write_backup(cluster_plan, folder, env).await?;
    }
    let aws_auth_baseline = if plan.steps.iter().any(|step| step.object == ObjectKey::aws_auth()) {
        let is_loss_accepted =
            cluster_plan.guard_report.allowed.iter().any(|risk| risk.guard == guard::GuardKind::Caller);
        let usernames = |caller: &UserInfo| usernames_after(&after, caller);
        let baseline = AwsAuthBaseline::for_plan(plan, cluster, usernames, is_loss_accepted).await?;
        print_confirmation_notes(label, &baseline, env);
        Some(baseline)
    } else {
        None
    };
    // A snapshot would be checked by the same code that computed the checks.
    let checks = match cluster {
        AnyCluster::Live(_) => checks,
        AnyCluster::Snapshot(_) => Vec::new(),
    };
    // The process ends soon, and freeing a large state string by string takes longer than the plan itself.
    std::mem::forget((state, after));
    Ok((aws_auth_baseline, checks))
}

/// Says what the confirmation after a write of aws-auth cannot prove.
fn print_confirmation_notes(label: &str, baseline: &AwsAuthBaseline, env: &mut Env) {
    if baseline.is_loss_accepted() {
        env.note(&format!(
            "note: {label}: --allow accepts that you lose access, so the change of aws-auth stays even if the cluster no \
             longer accepts your credentials\n"
        ));
    }
    if baseline.proves_access() == Some(false) {
        env.note(&format!("note: {label}: {FIXED_CREDENTIALS_NOTE}\n"));
    }
}

/// Returns the usernames that the planned aws-auth can give the caller.
fn usernames_after(after: &State, caller: &UserInfo) -> Vec<String> {
    let Some(arn) = caller.arn().and_then(|arn| IamIdentity::parse(arn).ok()) else {
        return Vec::new();
    };
    let after = State { aws_auth: after.aws_auth.clone(), ..State::default() };
    let authentication = AccessView::new(&after, Aggregation::Reconciled).authenticate(&SubjectQuery::Arn(arn));
    let username = |identity: &Identity| Some(identity.username.as_ref()?.as_literal()?.to_owned());
    authentication.identities().filter_map(username).collect()
}

/// Returns the writes that the API server rejects.
fn dry_run_errors(cluster_plan: &ClusterPlan, result: &DryRunResult) -> Vec<Diagnostic> {
    let label = &cluster_plan.label;
    let to_diagnostic = |(index, error): &(usize, ClusterError)| {
        let description = cluster_plan.plan.steps.get(*index).map_or("a step", |step| step.description.as_str());
        let mut diagnostic = error.to_diagnostic();
        diagnostic.message = format!("{label}: cannot {description}: {}", error.cause());
        diagnostic
    };
    let remaining = |more| format!("{label}: {} would be rejected", pluralize(more, "more write"));
    list_first(&result.rejected, to_diagnostic, remaining)
}

/// Returns the diagnostics of the first items, and one for the number of the remaining items.
fn list_first<T>(
    items: &[T],
    to_diagnostic: impl Fn(&T) -> Diagnostic,
    remaining: impl Fn(usize) -> String,
) -> Vec<Diagnostic> {
    let more = items.len().saturating_sub(MAX_LISTED);
    let last = (more > 0).then(|| Diagnostic::error(remaining(more)));
    items.iter().take(MAX_LISTED).map(to_diagnostic).chain(last).collect()
}

async fn apply_one(
    prepared: &PreparedApply<'_>,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<(), ApplyFailure> {
    let PreparedApply { cluster_plan, lock, aws_auth_baseline, checks } = prepared;
    let ClusterPlan { plan, cluster, label, .. } = *cluster_plan;
    let total = plan.steps.len();
    env.note("");
    env.note(&format!("Applying to {label}"));
    let width = total.to_string().len();
    let connection = env.connection_settings();
    let hooks = ApplyHooks {
        schedule: PROBE_SCHEDULE,
        aws_auth_baseline: aws_auth_baseline.as_ref(),
        probe_delays: &PROBE_DELAYS,
        lock: lock.as_ref(),
        aggregated_roles: Some(&cluster_plan.aggregated_roles),
        // A snapshot has no controllers.
        controller_lag: match cluster {
            AnyCluster::Live(_) => CONTROLLER_LAG,
            AnyCluster::Snapshot(_) => Duration::ZERO,
        },
        connection: Some(&connection),
        token_waits: match cluster {
            AnyCluster::Live(_) => TokenWaits::Wait,
            AnyCluster::Snapshot(_) => TokenWaits::Skip,
        },
    };
    let outcome = {
        let env = std::cell::RefCell::new(&mut *env);
        let number = std::cell::Cell::new(0);
        apply(plan, cluster, &hooks, |event| {
            let line = match event {
                ApplyEvent::Written(step, written) => {
                    number.set(number.get() + 1);
                    format!("[{:>width$}/{total}] {}", number.get(), describe_outcome(step, written))
                }
                ApplyEvent::Waiting(wait, left) if left >= wait.duration => wait.to_string(),
                ApplyEvent::Waiting(_, left) => format!("{} left", format_duration(left)),
                ApplyEvent::WaitSkipped(wait) => format!("{wait}: skipped, a snapshot has no tokens"),
            };
            env.borrow_mut().note(&format!("  {line}\n"));
        })
        .await
    };
    for role in &outcome.rewritten {
        env.note(&format!(
            "note: {label}: {role} was written again: {AGGREGATION_CONTROLLER} had put old rules into it\n"
        ));
    }
    if let Err(error) = cluster.flush().await {
        return Err(CommandError::from_diagnostic(error.to_diagnostic().with_note("no changes were made")).into());
    }
    for loss in &outcome.accepted_losses {
        env.note(&format!("note: {label}: {loss}, as --allow accepts"));
    }
    if !outcome.failed.is_empty() || outcome.completed.len() < total {
        let summary = summarize_steps(&plan.steps, &outcome, &options.no_changes());
        let writes = outcome.completed.len() - outcome.unchanged;
        return Err(ApplyFailure { summary, error: apply_error(label, &plan.steps, &outcome, env), writes });
    }
    let unchanged = match outcome.unchanged {
        0 => String::new(),
        number => format!(", {number} already up to date"),
    };
    let writes = pluralize(outcome.completed.len() - outcome.unchanged, "write");
    let summary = format!("Applied to {label}: {writes} made{unchanged}.");
    match options.format {
        OutputFormat::Text => env.print(&summary),
        OutputFormat::Json => env.note(&summary),
    }
    if matches!(cluster, AnyCluster::Live(_)) && removes_entry_fields(plan) && !plan.token_cache.is_zero() {
        let time = format_duration(plan.token_cache);
        env.note(&format!(
            "note: {label}: revoked principals may keep access for up to {time}, until the API server's token cache \
             expires"
        ));
    }
    if outcome.is_interrupted {
        let error = Diagnostic::error(format!("{label}: stopped by a signal after the last write"))
            .with_note("all writes were made; the resulting access was not verified");
        return Err(CommandError::from_diagnostic(error).into());
    }
    match env.interrupt().clone().or_stop(verify_access(cluster_plan, checks, env)).await {
        Some(result) => Ok(result?),
        None => {
            let error = Diagnostic::error(format!("{label}: stopped by a signal during the access checks"))
                .with_note("all writes were made");
            Err(CommandError::from_diagnostic(error).into())
        }
    }
}

/// Returns whether the plan removes an aws-auth entry or a group of one.
fn removes_entry_fields(plan: &Plan) -> bool {
    let entries = plan.changes.iter().filter(|change| matches!(change.target, ChangeTarget::Entry { .. }));
    let mut items = entries.flat_map(|change| &change.fields).flat_map(|field| &field.values);
    items.any(|item| item.op == DiffOp::Remove)
}

/// Asks the API server whether the access is as planned.
async fn verify_access(
    cluster_plan: &ClusterPlan,
    checks: &[PostApplyCheck],
    env: &mut Env,
) -> Result<(), CommandError> {
    if checks.is_empty() {
        return Ok(());
    }
    let label = &cluster_plan.label;
    match verification::verify(checks, &cluster_plan.cluster, PROBE_SCHEDULE).await {
        Verification::Passed(number) => {
            env.note(&format!("Verified {} against the API server.\n", pluralize(number, "access check")));
            Ok(())
        }
        Verification::NotChecked(error) => {
            env.note(&format!("note: {label}: the resulting access was not verified: {}\n", error.cause()));
            Ok(())
        }
        Verification::Failed(failed) => {
            let (pending, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|check| check.awaits_aggregation);
            if !pending.is_empty() {
                env.note(&format!(
                    "note: {label}: {} not passed yet: the controller has not updated the aggregated ClusterRoles\n",
                    pluralize(pending.len(), "access check")
                ));
            }
            if failed.is_empty() {
                return Ok(());
            }
            let to_diagnostic = |check: &PostApplyCheck| {
                let request = Request::from(&check.probe.request);
                Diagnostic::error(if check.expect_allowed {
                    format!("{label}: {} cannot {request}, but the plan grants it", check.subject)
                } else {
                    format!("{label}: {} can still {request}, but the plan revokes it", check.subject)
                })
            };
            let remaining = |more| format!("{label}: {} failed", pluralize(more, "more access check"));
            let mut errors = list_first(&failed, to_diagnostic, remaining);
            if let Some(last) = errors.pop() {
                errors.push(
                    last.with_note("all writes were made")
                        .with_note("another authorizer, a controller or another client can be the cause")
                        .with_help("run `rolecall can SUBJECT VERB RESOURCE --explain`"),
                );
            }
            Err(errors.into())
        }
    }
}
