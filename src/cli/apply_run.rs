//! Applies plans. All checks are made for all clusters before the first write to any of them. After the writes, the API
//! server is asked whether the access is as planned.

use std::time::Duration;

use super::apply::ApplyOptions;
use super::apply_report::{apply_error, describe_outcome, summarize_steps};
use super::args::OutputFormat;
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::{backup, guards, print_error, saved_plan};
use crate::access::{AccessView, Aggregation, IamIdentity, Identity, Request, SubjectQuery};
use crate::apply::dry_run::{DryRunResult, MAX_DRY_RUN_WRITES, dry_run};
use crate::apply::lock::{self, ApplyLock, LockAttempt};
use crate::apply::lockout::{AwsAuthBaseline, PROBE_DELAYS};
use crate::apply::polling::PROBE_SCHEDULE;
use crate::apply::verification::{self, MAX_CHECKS, Verification};
use crate::apply::{ApplyHooks, CONTROLLER_LAG, apply};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _, UserInfo, WriteCluster as _};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard;
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, ChangeTarget, DiffOp, Plan, PostApplyCheck};
use crate::render::text_util::pluralize;
use crate::state::State;
use crate::state::object_meta::AGGREGATION_CONTROLLER;

/// Printed after an entry or one of its groups is removed. The default of 2 minutes is that of
/// `--authentication-token-webhook-cache-ttl` (kubernetes `pkg/kubeapiserver/authenticator`, `TokenSuccessCacheTTL`).
const TOKEN_CACHE_NOTE: &str =
    "revoked principals may keep access for up to 2 minutes, until the API server's token cache expires";
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

/// Applies every plan, one cluster after the other. A failure in one cluster stops before the next one.
pub(super) async fn apply_all(
    cluster_plans: &[&ClusterPlan],
    sources: &SourceMap,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let mut prepared_applies: Vec<PreparedApply<'_>> = Vec::with_capacity(cluster_plans.len());
    let mut errors = Vec::new();
    let mut are_all_refusals = true;
    for cluster_plan in cluster_plans {
        match prepare(cluster_plan, options, env).await {
            Ok(prepared) => prepared_applies.push(prepared),
            Err((lock, error)) => {
                release_lock(lock, env).await;
                are_all_refusals &= error.is_refusal;
                errors.extend(error.diagnostics);
            }
        }
    }
    if errors.is_empty()
        && let Some(path) = options.approval.saved_plan
        && let Err(error) = saved_plan::mark_applied(path, env)
    {
        are_all_refusals = false;
        errors.extend(error.diagnostics);
    }
    let mut failed = !errors.is_empty();
    let failure_exit = if failed && are_all_refusals { Exit::Refused } else { Exit::Failed };
    if failed {
        env.eprint("No changes were made.\n");
        print_error(&CommandError::new(sources.clone(), errors), OutputFormat::Text, env);
    }
    for prepared in prepared_applies {
        if !failed && let Err(error) = apply_one(&prepared, options.format, env).await {
            print_error(&CommandError::new(sources.clone(), error.diagnostics), OutputFormat::Text, env);
            failed = true;
        }
        release_lock(prepared.lock, env).await;
    }
    Ok(if failed { failure_exit } else { Exit::Success })
}

async fn release_lock(lock: Option<ApplyLock>, env: &mut Env) {
    if let Some(lock) = lock
        && let Err(error) = lock.release().await
    {
        env.note(&format!("note: the Lease could not be released, it expires by itself: {}\n", error.cause()));
    }
}

/// Acquires the Lease and runs the checks before the first write. If a check fails, the Lease is returned with the error.
async fn prepare<'a>(
    cluster_plan: &'a ClusterPlan,
    options: &ApplyOptions<'_>,
    env: &mut Env,
) -> Result<PreparedApply<'a>, (Option<ApplyLock>, CommandError)> {
    let caller = cluster_plan.cluster.whoami().await.map_err(|error| (None, error.into()))?;
    let lock = acquire_lock(cluster_plan, &options.flags.lease_namespace, caller.as_ref(), env)
        .await
        .map_err(|error| (None, error))?;
    match run_prechecks(cluster_plan, options, caller.as_ref(), env).await {
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
    let state = cluster.read_state().await?;
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
        Some(AwsAuthBaseline::for_plan(plan, cluster, |caller| usernames_after(&after, caller)).await?)
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

async fn acquire_lock(
    cluster_plan: &ClusterPlan,
    namespace: &str,
    caller: Option<&UserInfo>,
    env: &mut Env,
) -> Result<Option<ApplyLock>, CommandError> {
    let Some(leases) = cluster_plan.cluster.lease_client(namespace) else {
        return Ok(None);
    };
    let holder = lease_holder(caller, env);
    let label = &cluster_plan.label;
    match lock::acquire(leases, &holder, |message| env.note(&format!("note: {label}: {message}\n"))).await {
        Ok(LockAttempt::Acquired(lock)) => Ok(Some(lock)),
        Ok(LockAttempt::HeldBy { lease_name, holder, since }) => {
            let error = Diagnostic::error(format!("{label}: another apply is running: {holder}, since {since}"))
                .with_because(format!("it holds the Lease {lease_name} and renews it"))
                .with_help("wait until it has finished, then apply again");
            Err(CommandError::from_diagnostic(error))
        }
        Ok(LockAttempt::Unavailable(error)) => {
            env.note(&format!(
                "warning: {label}: no Lease was acquired: {}. Concurrent applies are detected only by the preconditions \
                 of the writes.\n",
                error.cause()
            ));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the holder of the Lease: it names the caller and the machine, and is different for each run.
fn lease_holder(caller: Option<&UserInfo>, env: &Env) -> String {
    let name = caller.map_or("rolecall", |caller| caller.username.as_str());
    let host = env.vars.get("HOSTNAME").filter(|host| !host.is_empty());
    let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
    let nanos = env.now.subsec_nanosecond();
    format!("{name}{host}, process {}-{nanos:x}", std::process::id())
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

async fn apply_one(prepared: &PreparedApply<'_>, format: OutputFormat, env: &mut Env) -> Result<(), CommandError> {
    let PreparedApply { cluster_plan, lock, aws_auth_baseline, checks } = prepared;
    let ClusterPlan { plan, cluster, label, .. } = *cluster_plan;
    let total = plan.steps.len();
    env.note(&format!("\nApplying to {label}\n"));
    let width = total.to_string().len();
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
    };
    let outcome = {
        let env = std::cell::RefCell::new(&mut *env);
        let number = std::cell::Cell::new(0);
        apply(plan, cluster, &hooks, |step, written| {
            number.set(number.get() + 1);
            env.borrow_mut().note(&format!(
                "  [{:>width$}/{total}] {}\n",
                number.get(),
                describe_outcome(step, written)
            ));
        })
        .await
    };
    for role in &outcome.rewritten {
        env.note(&format!(
            "note: {label}: {role} was written again: {AGGREGATION_CONTROLLER} had put old rules into it\n"
        ));
    }
    if let Err(error) = cluster.flush().await {
        return Err(CommandError::from_diagnostic(error.to_diagnostic().with_note("no changes were made")));
    }
    if !outcome.failed.is_empty() {
        env.eprint(&summarize_steps(&plan.steps, &outcome));
        return Err(apply_error(label, &plan.steps, &outcome, env));
    }
    let unchanged = match outcome.unchanged {
        0 => String::new(),
        number => format!(", {number} already up to date"),
    };
    let writes = pluralize(outcome.completed.len() - outcome.unchanged, "write");
    let summary = format!("Applied to {label}: {writes} made{unchanged}.\n");
    match format {
        OutputFormat::Text => env.print_wrapped(&summary),
        OutputFormat::Json => env.note(&summary),
    }
    if matches!(cluster, AnyCluster::Live(_)) && removes_entry_fields(plan) {
        env.note(&format!("note: {label}: {TOKEN_CACHE_NOTE}\n"));
    }
    verify_access(cluster_plan, checks, env).await
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
