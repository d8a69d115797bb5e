//! The checks of an apply before its first write and after its last one.

use super::apply_run::ApplySettings;
use super::backup::write_backup;
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::context::OpsContext;
use super::dry_run::dry_run_errors;
use super::guards::late_refusal;
use super::list_first;
use super::observer::{EventKind, Observer};
use super::saved_plan;
use crate::access::{AccessView, Aggregation, IamIdentity, Identity, Request, SubjectQuery};
use crate::apply::dry_run::{MAX_DRY_RUN_WRITES, dry_run};
use crate::apply::lockout::AwsAuthBaseline;
use crate::apply::polling::PROBE_SCHEDULE;
use crate::apply::verification::{self, MAX_CHECKS, Verification};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ReadCluster as _, UserInfo};
use crate::diagnostic::Diagnostic;
use crate::guard;
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, PostApplyCheck};
use crate::render::text_util::pluralize;
use crate::state::State;

/// Reported before aws-auth is written, if the kubeconfig has no credential plugin.
const FIXED_CREDENTIALS_NOTE: &str = "your credentials are not from a plugin, so the check after the change of aws-auth \
     does not prove that IAM principals can still authenticate";

/// What the checks before the first write lead to.
pub(super) struct Prechecks {
    pub(super) aws_auth_baseline: Option<AwsAuthBaseline>,
    /// The checks after the last write.
    pub(super) checks: Vec<PostApplyCheck>,
}

/// Evaluates the plan on the current state of the cluster, and lets the cluster check its writes.
pub(super) async fn run_prechecks(
    cluster_plan: &ClusterPlan,
    settings: &ApplySettings<'_>,
    caller: Option<&UserInfo>,
    context: &OpsContext,
) -> Result<Prechecks, CommandError> {
    let ClusterPlan { cluster, plan, label, observer, .. } = cluster_plan;
    // The cluster can have changed while a person reviewed the plan. The precondition of a write would catch that too,
    // but only after other writes have been made.
    let name = format!("the cluster {label}");
    let state = context.connection.within_observation(&name, cluster.read_state()).await?;
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
        let guard_report = guard::evaluate_guards(plan, &comparison, &cluster_plan.facts, settings.allow);
        let violations =
            guard::check_invariants(&plan.invariants, &cluster_plan.policy_index, &comparison.after_access);
        (guard_report, violations, access.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if !guard_report.refused.is_empty() || !violations.is_empty() {
        return Err(late_refusal(label, &guard_report, &violations));
    }
    if !affected_subjects.is_empty() {
        return Err(saved_plan::access_changed_error(label, &affected_subjects));
    }
    let on_checked = |checked, total| observer.send(EventKind::DryRunProgress { checked, total });
    let result = dry_run(plan, cluster, &state, caller, MAX_DRY_RUN_WRITES, on_checked).await;
    if !result.rejected.is_empty() {
        return Err(dry_run_errors(cluster_plan, &result).into());
    }
    if let Some(folder) = settings.backup {
        write_backup(cluster_plan, folder, context).await?;
    }
    let aws_auth_baseline = if plan.steps.iter().any(|step| step.object == ObjectKey::aws_auth()) {
        let is_loss_accepted =
            cluster_plan.guard_report.allowed.iter().any(|risk| risk.guard == guard::GuardKind::Caller);
        let usernames = |caller: &UserInfo| usernames_after(&after, caller);
        let baseline = AwsAuthBaseline::for_plan(plan, cluster, usernames, is_loss_accepted).await?;
        report_confirmation(&baseline, observer);
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
    Ok(Prechecks { aws_auth_baseline, checks })
}

/// Says what the confirmation after a write of aws-auth cannot prove.
fn report_confirmation(baseline: &AwsAuthBaseline, observer: &Observer) {
    if baseline.is_loss_accepted() {
        observer.note(
            "--allow accepts that you lose access, so the change of aws-auth stays even if the cluster no longer accepts \
             your credentials",
        );
    }
    if baseline.proves_access() == Some(false) {
        observer.note(FIXED_CREDENTIALS_NOTE);
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

/// Asks the API server whether the access is as planned.
pub(super) async fn verify_access(cluster_plan: &ClusterPlan, checks: &[PostApplyCheck]) -> Result<(), CommandError> {
    if checks.is_empty() {
        return Ok(());
    }
    let ClusterPlan { label, observer, .. } = cluster_plan;
    observer.send(EventKind::VerificationStarted { checks: checks.len() });
    match verification::verify(checks, &cluster_plan.cluster, PROBE_SCHEDULE).await {
        Verification::Passed(number) => {
            observer.send(EventKind::Verified { checks: number });
            Ok(())
        }
        Verification::NotChecked(error) => {
            observer.note(&format!("the resulting access was not verified: {}", error.cause()));
            Ok(())
        }
        Verification::Failed(failed) => {
            let (pending, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|check| check.awaits_aggregation);
            if !pending.is_empty() {
                observer.note(&format!(
                    "{} not passed yet: the controller has not updated the aggregated ClusterRoles",
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
