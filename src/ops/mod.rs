//! The use cases: plan, apply, restore, find drift, answer questions. They take a loaded policy, the clusters, settings and
//! an [`Observer`], and return values and documents.
//!
//! They print nothing, and know nothing of the command line, of the terminal and of output formats. What happens while
//! they run is sent to the observer as events.

mod access_report;
pub(crate) mod answers;
mod apply_checks;
mod apply_lock;
mod apply_result;
mod apply_run;
mod backup;
mod cluster_plan;
mod command_error;
mod context;
mod dry_run;
mod eks_clusters;
mod eks_facts;
mod guards;
mod loaded_policy;
mod migrate;
pub(crate) mod missing_permissions;
mod observer;
mod parallel;
mod plan_clusters;
mod policy_commit;
pub(crate) mod question;
mod restore;
mod run_author;
pub(crate) mod runner_permissions;
mod same_cluster;
mod saved_plan;
mod target;
mod whoami;

pub(crate) use access_report::report_access;
pub(crate) use apply_result::{ApplyFailure, ApplyReport, ClusterResult, StepsSummary, SummarizedStep};
pub(crate) use apply_run::{ApplySettings, apply_all};
pub(crate) use backup::is_backed_up;
pub(crate) use cluster_plan::{ClusterPlan, plan_document};
pub(crate) use command_error::CommandError;
pub(crate) use context::{DEFAULT_PARALLEL, OpsContext};
pub(crate) use dry_run::dry_run_all;
pub(crate) use eks_clusters::{ClusterScope, list_scopes};
pub(crate) use eks_facts::read_eks_facts;
pub(crate) use loaded_policy::{LoadedPolicy, PolicyFiles};
pub(crate) use migrate::{ClusterMigration, MigrateSettings, change_auth_mode, plan_cluster_migration};
pub(crate) use observer::{ClusterTag, EventKind, LeaseState, NoteLevel, Observer, OpsEvent, WorkPhase};
pub(crate) use plan_clusters::{PlanDepth, PlanSet, PlanSettings, plan_clusters};
pub(crate) use policy_commit::policy_commit;
pub(crate) use restore::{RestoreSettings, plan_cluster_restore};
pub(crate) use run_author::RunAuthor;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use saved_plan::parse_saved_plan;
pub(crate) use saved_plan::{SavedPlanFile, SavedPlanSettings, open_saved_plan, parse_plan_document};
pub(crate) use target::{ClusterConnection, ConnectedCluster, KubeconfigFlags, TargetCluster};
pub(crate) use whoami::{CallerReport, EntryOrigin, whoami};

use crate::diagnostic::Diagnostic;

/// The number of errors that are listed. The others are counted.
const MAX_LISTED: usize = 20;

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
