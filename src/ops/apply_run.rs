//! Applies plans. All checks are made for all clusters before the first write to any of them. After the writes, the API
//! server is asked whether the access is as planned.
//!
//! The writes of several clusters are made at the same time. A failure in one cluster does not stop the writes that
//! another one has begun, but no further cluster is started.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::apply_checks::{Prechecks, run_prechecks, verify_access};
use super::apply_lock::{acquire_lock, interrupted_before_writes, release_lock};
use super::apply_result::{ApplyFailure, ApplyReport, ClusterResult, StepsSummary, WriteCounts, apply_error};
use super::cluster_plan::ClusterPlan;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::observer::{EventKind, WorkPhase};
use super::parallel::run_clusters;
use super::saved_plan;
use crate::apply::lock::ApplyLock;
use crate::apply::lockout::PROBE_DELAYS;
use crate::apply::polling::PROBE_SCHEDULE;
use crate::apply::{ApplyEvent, ApplyHooks, CONTROLLER_LAG, TokenWaits, apply};
use crate::cluster::{ReadCluster as _, UserInfo, WriteCluster as _};
use crate::diagnostic::Diagnostic;
use crate::guard::AllowFlag;
use crate::plan::{ChangeTarget, DiffOp, Plan, format_duration};

/// The settings of an apply or a restore.
pub(crate) struct ApplySettings<'a> {
    /// The risks that the command line accepts.
    pub(crate) allow: &'a [AllowFlag],
    /// The directory for the backup.
    pub(crate) backup: Option<&'a Path>,
    /// How long to wait for the Lease of another apply that may have ended.
    pub(crate) lease_timeout: Option<Duration>,
    pub(crate) lease_namespace: &'a str,
    /// The file of the plan, which is marked as applied before the first write.
    pub(crate) saved_plan: Option<&'a Path>,
    /// The commit of the policy, for the audit log.
    pub(crate) policy_commit: Option<&'a str>,
}

/// A plan that has passed all checks, and what is needed to apply it.
struct PreparedApply<'a> {
    cluster_plan: &'a ClusterPlan,
    caller: Option<UserInfo>,
    lock: Option<ApplyLock>,
    prechecks: Prechecks,
}

/// Applies every plan. A cluster that fails before the first write stops all of them.
pub(crate) async fn apply_all(
    cluster_plans: &[&ClusterPlan],
    settings: &ApplySettings<'_>,
    context: &OpsContext,
) -> ApplyReport {
    // From here on the Lease is held, and the last write may need its confirmation.
    context.connection.interrupt.defer();
    let runtime = Handle::current();
    let prepare = |cluster_plan| runtime.block_on(Box::pin(prepare(cluster_plan, settings, context)));
    let (results, ()) = run_clusters(WorkPhase::Prepare, cluster_plans.to_vec(), context, prepare, || ());
    let mut prepared_applies: Vec<PreparedApply<'_>> = Vec::with_capacity(cluster_plans.len());
    let mut error = CommandError { is_refusal: true, is_lost_race: true, ..CommandError::default() };
    for (cluster_plan, result) in cluster_plans.iter().zip(results) {
        match result {
            Ok(prepared) => prepared_applies.push(prepared),
            Err((lock, reason)) => {
                release_lock(lock, &cluster_plan.observer).await;
                error.is_refusal &= reason.is_refusal;
                error.is_lost_race &= reason.is_lost_race;
                error.diagnostics.extend(reason.diagnostics);
            }
        }
    }
    if error.diagnostics.is_empty()
        && let Some(path) = settings.saved_plan
        && let Err(reason) = saved_plan::mark_applied(path, context)
    {
        error = reason;
    }
    if !error.diagnostics.is_empty() {
        let not_started = prepared_applies.iter().map(|prepared| prepared.cluster_plan.label.clone()).collect();
        for prepared in prepared_applies {
            release_lock(prepared.lock, &prepared.cluster_plan.observer).await;
        }
        return ApplyReport { before_writes: Some(error), results: Vec::new(), not_started };
    }
    let has_failed = AtomicBool::new(false);
    let apply = |prepared: PreparedApply<'_>| {
        runtime.block_on(Box::pin(async {
            let PreparedApply { cluster_plan, .. } = prepared;
            let is_started = !has_failed.load(Ordering::SeqCst);
            let result = if is_started { Some(apply_one(&prepared, settings, context).await) } else { None };
            if let Some(ClusterResult { applied, failure, .. }) = &result {
                let error = failure.as_ref().map(|failure| &failure.error);
                cluster_plan.observer.send(EventKind::ApplyFinished { applied: *applied, error });
            }
            if result.as_ref().is_some_and(|result| result.failure.is_some()) {
                has_failed.store(true, Ordering::SeqCst);
            }
            release_lock(prepared.lock, &cluster_plan.observer).await;
            result.ok_or_else(|| cluster_plan.label.clone())
        }))
    };
    let (results, ()) = run_clusters(WorkPhase::Apply, prepared_applies, context, apply, || ());
    let mut report = ApplyReport { before_writes: None, results: Vec::new(), not_started: Vec::new() };
    for result in results {
        match result {
            Ok(result) => report.results.push(result),
            Err(label) => report.not_started.push(label),
        }
    }
    report
}

/// Acquires the Lease and runs the checks before the first write. If a check fails, the Lease is returned with the error.
async fn prepare<'a>(
    cluster_plan: &'a ClusterPlan,
    settings: &ApplySettings<'_>,
    context: &OpsContext,
) -> Result<PreparedApply<'a>, (Option<ApplyLock>, CommandError)> {
    let interrupt = &context.connection.interrupt;
    let interrupted = || interrupted_before_writes(&cluster_plan.label);
    let caller = match interrupt.or_stop(cluster_plan.cluster.whoami()).await {
        Some(caller) => caller.map_err(|error| (None, error.into()))?,
        None => return Err((None, interrupted())),
    };
    let lock = acquire_lock(cluster_plan, settings, caller.as_ref(), context).await.map_err(|error| (None, error))?;
    let checking = interrupt.or_stop(run_prechecks(cluster_plan, settings, caller.as_ref(), context)).await;
    match checking.unwrap_or_else(|| Err(interrupted())) {
        Ok(prechecks) => Ok(PreparedApply { cluster_plan, caller, lock, prechecks }),
        Err(error) => Err((lock, error)),
    }
}

async fn apply_one(prepared: &PreparedApply<'_>, settings: &ApplySettings<'_>, context: &OpsContext) -> ClusterResult {
    let PreparedApply { cluster_plan, caller, lock, prechecks } = prepared;
    let ClusterPlan { plan, cluster, label, observer, digest, .. } = *cluster_plan;
    let total = plan.steps.len();
    let policy_commit = settings.policy_commit;
    observer.send(EventKind::ApplyStarted { plan, digest, policy_commit, caller: caller.as_ref() });
    let connection = context.connection.for_cluster(observer.connection_log());
    let hooks = ApplyHooks {
        schedule: PROBE_SCHEDULE,
        aws_auth_baseline: prechecks.aws_auth_baseline.as_ref(),
        probe_delays: &PROBE_DELAYS,
        lock: lock.as_ref(),
        aggregated_roles: Some(&cluster_plan.aggregated_roles),
        // A snapshot has no controllers.
        controller_lag: if cluster.is_live() { CONTROLLER_LAG } else { Duration::ZERO },
        connection: Some(&connection),
        token_waits: if cluster.is_live() { TokenWaits::Wait } else { TokenWaits::Skip },
    };
    let number = Cell::new(0);
    let outcome = apply(plan, cluster, &hooks, |event| {
        observer.send(match event {
            ApplyEvent::Written(step, before, outcome) => {
                number.set(number.get() + 1);
                EventKind::StepDone { number: number.get(), total, step, before, outcome }
            }
            ApplyEvent::Failed(step, error) => EventKind::StepFailed { step, error },
            ApplyEvent::Waiting(wait, left) => EventKind::Waiting { wait, left },
            ApplyEvent::WaitSkipped(wait) => EventKind::WaitSkipped { wait },
            ApplyEvent::Confirming(limit) => EventKind::ConfirmationStarted { limit },
            ApplyEvent::Confirmed => EventKind::ConfirmationFinished,
        });
    })
    .await;
    for role in &outcome.rewritten {
        observer.send(EventKind::RoleRewritten(role));
    }
    let failed = |error: CommandError| ClusterResult {
        label: label.clone(),
        applied: None,
        failure: Some(ApplyFailure { summary: None, error, writes: 0 }),
    };
    if let Err(error) = cluster.flush().await {
        return failed(CommandError::from_diagnostic(error.to_diagnostic().with_note("no changes were made")));
    }
    for loss in &outcome.accepted_losses {
        observer.note(&format!("{loss}, as --allow accepts"));
    }
    let writes = outcome.completed.len() - outcome.unchanged;
    if !outcome.failed.is_empty() || outcome.completed.len() < total {
        let summary = Some(StepsSummary::new(&plan.steps, &outcome));
        let error = apply_error(label, &plan.steps, &outcome, context);
        return ClusterResult {
            label: label.clone(),
            applied: None,
            failure: Some(ApplyFailure { summary, error, writes }),
        };
    }
    let applied = Some(WriteCounts { made: writes, unchanged: outcome.unchanged });
    if cluster.is_live() && removes_entry_fields(plan) && !plan.token_cache.is_zero() {
        let time = format_duration(plan.token_cache);
        observer.note(&format!(
            "revoked principals may keep access for up to {time}, until the API server's token cache expires"
        ));
    }
    let result = if outcome.is_interrupted {
        let error = Diagnostic::error(format!("{label}: stopped by a signal after the last write"))
            .with_note("all writes were made; the resulting access was not verified");
        Err(CommandError::from_diagnostic(error))
    } else {
        let verifying = verify_access(cluster_plan, &prechecks.checks);
        context.connection.interrupt.or_stop(verifying).await.unwrap_or_else(|| {
            let error = Diagnostic::error(format!("{label}: stopped by a signal during the access checks"))
                .with_note("all writes were made");
            Err(CommandError::from_diagnostic(error))
        })
    };
    match result {
        Ok(()) => ClusterResult { label: label.clone(), applied, failure: None },
        Err(error) => ClusterResult { applied, ..failed(error) },
    }
}

/// Returns whether the plan removes an aws-auth entry or a group of one.
fn removes_entry_fields(plan: &Plan) -> bool {
    let entries = plan.changes.iter().filter(|change| matches!(change.target, ChangeTarget::Entry { .. }));
    let mut items = entries.flat_map(|change| &change.fields).flat_map(|field| &field.values);
    items.any(|item| item.op == DiffOp::Remove)
}
