//! The dry run before an apply: asks the cluster to check the writes of a plan without storing them. The API server
//! then runs validation, admission control and the RBAC escalation check, so that a write it would reject is reported
//! before the first write is made.
//!
//! A dry run does not store the earlier writes of the plan. A write that cannot succeed without an earlier one is not
//! checked, and a rejection that an earlier write may resolve is ignored.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;

use super::controller::ControllerGuard;
use super::{MAX_CONCURRENT_WRITES, expected_version};
use crate::access::Identity;
use crate::cluster::{ClusterError, UserInfo, WriteCluster};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{AggregatedRoles, Plan, Step};
use crate::state::State;
use crate::state::object::{RawBinding, RawSubject, deserialize_object};
use crate::state::write::{Precondition, WriteError, WriteRequest};

/// The maximum number of writes checked before an apply. The first apply to a large cluster has thousands of writes
/// that differ little, and checking each of them would double the duration of the apply.
pub(crate) const MAX_DRY_RUN_WRITES: usize = 256;

/// Part of the message of the escalation check (Kubernetes, pkg/registry/rbac/validation/rule.go,
/// `ConfirmNoEscalation`).
const ESCALATION_MESSAGE: &str = "attempting to grant";

/// The result of a dry run.
#[derive(Debug, Default)]
pub(crate) struct DryRunResult {
    /// How many writes the cluster checked.
    pub(crate) checked: usize,
    /// The rejected writes with the indices of their steps, in the order of the steps.
    pub(crate) rejected: Vec<(usize, ClusterError)>,
}

/// Checks at most `max_writes` writes of the plan, and calls `on_checked` with the number of the checked writes and of those
/// to check. If the plan has more, every combination of kind and verb is sampled.
pub(crate) async fn dry_run<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    live: &State,
    caller: Option<&UserInfo>,
    max_writes: usize,
    on_checked: impl Fn(usize, usize),
) -> DryRunResult {
    let context = DryRunContext::for_plan(plan, live, caller);
    let guard = ControllerGuard::new(cluster, AggregatedRoles::new(plan, live));
    let no_versions = std::collections::BTreeMap::new();
    let mut steps: Vec<(usize, &Step)> =
        plan.steps.iter().enumerate().filter(|(index, step)| context.can_dry_run(*index, step)).collect();
    if steps.len() > max_writes {
        steps = sample_steps(steps, max_writes);
    }
    let results = stream::iter(steps.iter().copied())
        .map(|(index, step)| {
            let (guard, expected) = (&guard, expected_version(step, &no_versions));
            async move {
                match expected {
                    Ok(expected) => ((index, step), guard.dry_run(step, expected).await),
                    Err(error) => ((index, step), Err(error.into())),
                }
            }
        })
        .buffer_unordered(MAX_CONCURRENT_WRITES);
    let mut results = std::pin::pin!(results);
    let mut checked = Vec::with_capacity(steps.len());
    while let Some(result) = results.next().await {
        checked.push(result);
        on_checked(checked.len(), steps.len());
    }
    let mut rejected: Vec<(usize, ClusterError)> = checked
        .into_iter()
        .filter_map(|((index, step), result)| Some((index, step, result.err()?)))
        .filter(|(index, step, error)| context.is_conclusive(*index, step, error))
        .map(|(index, _, error)| (index, error))
        .collect();
    rejected.sort_by_key(|(index, _)| *index);
    DryRunResult { checked: steps.len(), rejected }
}

/// Takes the first step of each combination of kind and verb, then the second of each, and so on up to `max_steps`.
fn sample_steps(steps: Vec<(usize, &Step)>, max_steps: usize) -> Vec<(usize, &Step)> {
    let mut counts: std::collections::BTreeMap<(ObjectKind, &'static str), usize> = std::collections::BTreeMap::new();
    let mut ranked: Vec<(usize, (usize, &Step))> = steps
        .into_iter()
        .map(|(index, step)| {
            let count = counts.entry((step.object.kind(), step.write.verb())).or_default();
            *count += 1;
            (*count, (index, step))
        })
        .collect();
    ranked.sort_by_key(|(rank, (index, _))| (*rank, *index));
    ranked.into_iter().take(max_steps).map(|(_, step)| step).collect()
}

/// The dependencies between the steps of a plan that a dry run cannot reproduce.
struct DryRunContext {
    /// Roles that a step of the plan creates or changes.
    written_roles: BTreeSet<ObjectKey>,
    /// Steps whose object an earlier step writes as well.
    repeated_steps: BTreeSet<usize>,
    /// The first step that may give the caller more permissions.
    caller_gains_at: Option<usize>,
}

impl DryRunContext {
    fn for_plan(plan: &Plan, live: &State, caller: Option<&UserInfo>) -> Self {
        let is_role = |kind| matches!(kind, ObjectKind::ClusterRole | ObjectKind::Role);
        let written =
            plan.steps.iter().filter(|step| is_role(step.object.kind()) && step.write != WriteRequest::Delete);
        let written_roles = written.map(|step| step.object.clone()).collect();
        let caller_gains_at = caller.and_then(|caller| {
            let caller = Identity::from_user_info(&caller.username, &caller.groups);
            let roles = caller_roles(live, &caller);
            plan.steps.iter().position(|step| match &step.write {
                WriteRequest::Create(body) | WriteRequest::Patch(body) => {
                    has_subject(&step.object, body, &caller) || roles.contains(&step.object)
                }
                WriteRequest::Delete => false,
            })
        });
        let mut objects = BTreeSet::new();
        let steps = plan.steps.iter().enumerate();
        let repeated_steps = steps.filter(|(_, step)| !objects.insert(&step.object)).map(|(index, _)| index).collect();
        Self { written_roles, repeated_steps, caller_gains_at }
    }

    fn can_dry_run(&self, index: usize, step: &Step) -> bool {
        match step.precondition {
            Precondition::AsWrittenByStep { .. } => false,
            // A create after a delete of the same object is rejected as long as the object exists.
            Precondition::Absent | Precondition::Unchanged { .. } => !self.repeated_steps.contains(&index),
        }
    }

    /// Returns whether the cluster would reject the write with this error even after the earlier steps.
    fn is_conclusive(&self, index: usize, step: &Step, error: &ClusterError) -> bool {
        // An earlier step may change the permissions of the caller, or the role that the binding refers to.
        let (depends_on_caller, depends_on_role) = match error {
            ClusterError::Forbidden { why, .. } => {
                (!why.contains("admission webhook"), why.contains(ESCALATION_MESSAGE))
            }
            ClusterError::Rejected { refusal: WriteError::NotFound, .. } => {
                // To create a binding the API server looks up its role for the escalation check.
                let creates_binding =
                    matches!(step.object.kind(), ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding)
                        && matches!(step.write, WriteRequest::Create(_));
                (creates_binding, creates_binding)
            }
            // The API server rejects dry-run requests that would call an admission webhook with side effects, so it is
            // not known whether the webhook would reject the write.
            ClusterError::Rejected { refusal: WriteError::Invalid(why), .. } => {
                return !why.contains("does not support dry run");
            }
            ClusterError::Rejected { .. }
            | ClusterError::InvalidKubeconfig { .. }
            | ClusterError::ContextNotFound { .. }
            | ClusterError::Unreachable { .. }
            | ClusterError::TimedOut { .. }
            | ClusterError::Unauthorized { .. }
            | ClusterError::Aws(_)
            | ClusterError::CredentialPlugin { .. }
            | ClusterError::UnexpectedStatus { .. }
            | ClusterError::InvalidResponse { .. }
            | ClusterError::ResponseTooLong { .. }
            | ClusterError::ObservationTooLarge { .. }
            | ClusterError::SnapshotIo { .. }
            | ClusterError::SnapshotTooLong { .. }
            | ClusterError::SnapshotNotWritten { .. }
            | ClusterError::SnapshotOfPolicy { .. }
            | ClusterError::InvalidSnapshot { .. }
            | ClusterError::SnapshotChanged { .. }
            | ClusterError::NestedAggregation(_)
            | ClusterError::PartlyWritten { .. }
            | ClusterError::Internal(_) => return true,
        };
        let role_changes = self.bound_role(step).is_some_and(|role| self.written_roles.contains(&role));
        let caller_gains = self.caller_gains_at.is_some_and(|first| first < index);
        !(depends_on_role && role_changes || depends_on_caller && caller_gains)
    }

    /// Returns the role that the binding of the step refers to. A patch does not contain the `roleRef`, so for a patch
    /// this is any role that the plan writes.
    fn bound_role(&self, step: &Step) -> Option<ObjectKey> {
        match &step.write {
            WriteRequest::Create(body) => {
                let binding = deserialize_object::<RawBinding>(body).ok()?.into_binding().ok()?;
                binding.role_ref.role_key(&step.object)
            }
            WriteRequest::Patch(_)
                if matches!(step.object.kind(), ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding) =>
            {
                self.written_roles.first().cloned()
            }
            WriteRequest::Patch(_) | WriteRequest::Delete => None,
        }
    }
}

/// Returns the roles bound to the caller, or all roles if one of these is aggregated: the rules of any role may be
/// added to it.
fn caller_roles(live: &State, caller: &Identity) -> BTreeSet<ObjectKey> {
    let bindings = live
        .bindings
        .iter()
        .filter(|(_, binding)| binding.subjects.iter().any(|subject| caller.matches_subject(subject)));
    let roles: BTreeSet<ObjectKey> = bindings.filter_map(|(key, binding)| binding.role_ref.role_key(key)).collect();
    let is_aggregated = |key: &ObjectKey| live.roles.get(key).is_some_and(|role| role.aggregation.is_some());
    if roles.iter().any(is_aggregated) { live.roles.keys().cloned().chain(roles).collect() } else { roles }
}

/// Returns whether one of the subjects in the body of a binding matches the caller.
fn has_subject(key: &ObjectKey, body: &Value, caller: &Identity) -> bool {
    let namespace = key.namespace().unwrap_or_default();
    let subjects = body.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let subjects = subjects
        .filter_map(|subject| deserialize_object::<RawSubject>(subject).ok()?.into_rbac_subject(namespace).ok());
    subjects.into_iter().any(|subject| caller.matches_subject(&subject))
}
