//! The report of the access to clusters, and of what differs from the policy.

use super::command_error::CommandError;
use super::context::OpsContext;
use super::loaded_policy::LoadedPolicy;
use super::question::{QuestionTarget, QuestionTargets, state_warnings};
use crate::access::{AccessView, Aggregation};
use crate::guard::{self, InvariantViolation};
use crate::plan::{self, Plan};
use crate::policy::policy_expiries;
use crate::report::{AccessReportDocument, AnswerContext, ClusterReportInput, ClusterReportJson, DiagnosticJson};

/// Reports on the clusters that were read. `is_planned` is whether they are in the state after the plan.
///
/// # Errors
/// If the policy cannot be planned for a cluster.
pub(crate) fn report_access(
    observed: &QuestionTargets,
    loaded: Option<&LoadedPolicy>,
    is_planned: bool,
    full: bool,
    context: &OpsContext,
) -> Result<AccessReportDocument, CommandError> {
    let clusters = observed.targets.iter().map(|target| report_cluster(target, loaded, is_planned, full, context));
    let clusters = clusters.collect::<Result<Vec<ClusterReportJson>, CommandError>>()?;
    let errors = observed.error.as_ref();
    let errors = errors.map(|error| DiagnosticJson::all(&error.diagnostics, &error.sources)).unwrap_or_default();
    let policy = loaded.map(|loaded| loaded.policy.name.value.clone());
    Ok(AccessReportDocument::new(context.now.to_string(), policy, is_planned, clusters, errors))
}

fn report_cluster(
    target: &QuestionTarget,
    loaded: Option<&LoadedPolicy>,
    is_planned: bool,
    full: bool,
    context: &OpsContext,
) -> Result<ClusterReportJson, CommandError> {
    let access = target.access_view();
    let mut warnings = state_warnings(&access);
    warnings.extend(access.dangling_warnings(None));
    let expiries = loaded.map(|loaded| policy_expiries(&loaded.policy, target.name.as_deref(), context.now));
    let drift = match loaded.filter(|_| !is_planned) {
        Some(loaded) => Some(find_drift(target, loaded, context)?),
        None => None,
    };
    Ok(ClusterReportJson::new(ClusterReportInput {
        cluster: AnswerContext {
            label: &target.label,
            name: target.name.as_deref(),
            state: &target.state,
            policy_index: &target.policy_index,
        },
        access: &access,
        full,
        expiries: expiries.as_deref().unwrap_or_default(),
        drift: drift.as_ref().map(|(plan, violations)| (plan, violations.as_slice())),
        warnings: &warnings,
    }))
}

/// Returns what `drift` finds.
fn find_drift(
    target: &QuestionTarget,
    loaded: &LoadedPolicy,
    context: &OpsContext,
) -> Result<(Plan, Vec<InvariantViolation>), CommandError> {
    let plan = plan::plan(&loaded.policy, target.name.as_deref(), &target.state, context.now)
        .map_err(|diagnostics| CommandError::new(loaded.policy.sources.clone(), diagnostics))?;
    let violations = if plan.invariants.is_empty() {
        Vec::new()
    } else {
        let access = AccessView::new(&target.state, Aggregation::Reconciled);
        guard::check_invariants(&plan.invariants, &target.policy_index, &access)
    };
    Ok((plan, violations))
}
