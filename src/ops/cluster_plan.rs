//! A cluster and the plan for it. `plan`, `apply`, `drift` and `restore` have this in common.

use std::collections::BTreeSet;

use super::command_error::CommandError;
use super::guards::read_node_roles;
use super::missing_permissions;
use super::observer::{EventKind, Observer};
use super::target::{ClusterConnection, ConnectedCluster};
use crate::cluster::any::AnyCluster;
use crate::diagnostic::{InternalError, SourceMap};
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation, PatternMatches};
use crate::permissions::MissingPermission;
use crate::plan::{AccessComparison, AggregatedRoles, Plan};
use crate::policy::PolicyIndex;
use crate::report::{self, PlanDocument, PlanJson, SerializeError};
use crate::state::object::ObjectError;

/// A cluster and the plan for it.
pub(crate) struct ClusterPlan {
    pub(crate) label: String,
    pub(crate) cluster: AnyCluster,
    /// Receives the events of this cluster.
    pub(crate) observer: Observer,
    pub(crate) plan: Plan,
    /// The aggregated roles that the plan writes, as it has found them.
    pub(crate) aggregated_roles: AggregatedRoles,
    /// The digest that `--approved` is compared with.
    pub(crate) digest: String,
    pub(crate) connection: ClusterConnection,
    pub(crate) cluster_name: Option<String>,
    /// The names of principals in the policy, and the policy lines of objects and entries.
    pub(crate) policy_index: PolicyIndex,
    /// The invariants that the plan violates.
    pub(crate) violations: Vec<InvariantViolation>,
    pub(crate) facts: ClusterFacts,
    /// The subjects with full access that no policy manages; `None` if they were not looked for.
    pub(crate) unmanaged_admins: Option<BTreeSet<String>>,
    /// The permissions that the caller lacks for the writes.
    pub(crate) missing_permissions: Vec<MissingPermission>,
    /// The result of the guards.
    pub(crate) guard_report: GuardReport,
    /// The patterns of the policy that match something in the cluster.
    pub(crate) pattern_matches: PatternMatches,
}

impl ClusterPlan {
    /// Returns whether a guard or an invariant refuses the plan.
    pub(crate) fn is_refused(&self) -> bool {
        !self.guard_report.refused.is_empty() || !self.violations.is_empty()
    }

    /// Evaluates a plan that was made earlier, or from a backup, on the current state of the cluster.
    pub(crate) async fn evaluate(
        connected: ConnectedCluster,
        plan: Plan,
        cluster_name: Option<String>,
        policy_index: PolicyIndex,
        comparison: &AccessComparison<'_>,
        mut facts: ClusterFacts,
        allow: &[AllowFlag],
    ) -> Result<Self, CommandError> {
        facts.node_roles = read_node_roles(&connected, &plan).await;
        let ConnectedCluster { label, cluster, namespace: _, connection, tokens: _, eks: _, observer } = connected;
        let digest = report::digest(&plan)?;
        let aggregated_roles = AggregatedRoles::new(&plan, comparison.live);
        let guard_report = guard::evaluate_guards(&plan, comparison, &facts, allow);
        let violations = guard::check_invariants(&plan.invariants, &policy_index, &comparison.after_access);
        let mut missing_permissions = missing_permissions::caller_missing_permissions(&plan, comparison, &facts)?;
        missing_permissions::retain_denied(&cluster, &mut missing_permissions).await;
        observer.send(EventKind::PlanningFinished { plan: &plan, digest: &digest, caller: facts.known_caller() });
        Ok(Self {
            label,
            cluster,
            observer,
            plan,
            aggregated_roles,
            digest,
            connection,
            cluster_name,
            policy_index,
            violations,
            facts,
            unmanaged_admins: None,
            missing_permissions,
            guard_report,
            pattern_matches: PatternMatches::default(),
        })
    }
}

/// Returns plans as one document.
///
/// # Errors
/// If it cannot be serialized.
pub(crate) fn plan_document(
    cluster_plans: &[ClusterPlan],
    sources: &SourceMap,
) -> Result<PlanDocument, SerializeError> {
    let plan_json = |cluster_plan: &ClusterPlan| PlanJson {
        unmanaged_admins: cluster_plan.unmanaged_admins.clone(),
        ..PlanJson::new(
            &cluster_plan.plan,
            &cluster_plan.digest,
            (&cluster_plan.label, cluster_plan.cluster_name.as_deref()),
            (&cluster_plan.connection).into(),
            sources,
            &cluster_plan.violations,
            &cluster_plan.guard_report,
        )
    };
    PlanDocument::new(cluster_plans.iter().map(plan_json).collect())
}

/// Returns the writes of a plan lead to an invalid object, which is a bug in rolecall.
pub(crate) fn after_state_error(error: &ObjectError) -> CommandError {
    match error {
        ObjectError::Internal(error) => error.clone().into(),
        ObjectError::Malformed(_) | ObjectError::Invalid(_) => {
            InternalError::new(format!("cannot compute the state after the plan: {error}")).into()
        }
    }
}
