//! `--dry-run`: the API server checks every write, and none is made.

use tokio::runtime::Handle;

use super::cluster_plan::ClusterPlan;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::list_first;
use super::observer::{EventKind, WorkPhase};
use super::parallel::run_clusters;
use crate::apply::dry_run::{DryRunResult, dry_run};
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::Diagnostic;
use crate::render::text_util::pluralize;

/// Lets the clusters check the writes of their plans. Returns the errors of the rejected writes.
///
/// # Errors
/// If a cluster cannot be read.
pub(crate) fn dry_run_all(
    cluster_plans: &[&ClusterPlan],
    context: &OpsContext,
) -> Result<Vec<Diagnostic>, CommandError> {
    let runtime = Handle::current();
    let job = |cluster_plan| runtime.block_on(Box::pin(dry_run_cluster(cluster_plan)));
    let (results, ()) = run_clusters(WorkPhase::DryRun, cluster_plans.to_vec(), context, job, || ());
    let (mut rejected, mut error) = (Vec::new(), CommandError::default());
    for result in results {
        match result {
            Ok(errors) => rejected.extend(errors),
            Err(other) => error.diagnostics.extend(CommandError::from(other).diagnostics),
        }
    }
    if error.diagnostics.is_empty() { Ok(rejected) } else { Err(error) }
}

async fn dry_run_cluster(cluster_plan: &ClusterPlan) -> Result<Vec<Diagnostic>, ClusterError> {
    let ClusterPlan { plan, cluster, observer, .. } = cluster_plan;
    let state = cluster.read_state().await?;
    let caller = cluster.whoami().await?;
    let on_checked = |checked, total| observer.send(EventKind::DryRunProgress { checked, total });
    let result = dry_run(plan, cluster, &state, caller.as_ref(), usize::MAX, on_checked).await;
    observer.send(EventKind::DryRunFinished {
        total: plan.steps.len(),
        checked: result.checked,
        rejected: result.rejected.len(),
        is_live: cluster.is_live(),
    });
    Ok(dry_run_errors(cluster_plan, &result))
}

/// Returns the writes that the API server rejects.
pub(super) fn dry_run_errors(cluster_plan: &ClusterPlan, result: &DryRunResult) -> Vec<Diagnostic> {
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
