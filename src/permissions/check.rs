//! Finds the permissions that a plan requires and that RBAC does not grant to the user who applies it. Other
//! authorizers can still grant them, which only the cluster knows.

use std::collections::{BTreeMap, BTreeSet};

use super::required_permissions::{RequiredPermission, required_by_plan};
use crate::access::{AccessView, Aggregation, Identity, MASTERS, Request, uncovered};
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{AccessComparison, Plan, Step};
use crate::state::State;
use crate::state::object::{Binding, ObjectError, RawBinding, deserialize_object};
use crate::state::rbac::Rule;
use crate::state::write::WriteRequest;

/// The user who applies a plan.
#[derive(Debug, Clone)]
pub(crate) struct ApplyUser {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
}

/// A request that RBAC does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingPermission {
    pub(crate) request: Request,
    /// If the user had these rules, the request would not be necessary.
    pub(crate) missing_rules: Vec<Rule>,
    /// The index of the step that requires it.
    pub(crate) step: usize,
    /// Whether RBAC allows the request now, and the plan takes that away before the step. The cluster cannot be asked
    /// whether another authorizer will allow it then.
    pub(crate) is_revoked_by_plan: bool,
}

/// Returns the requests that a plan requires and that RBAC does not allow the user, without duplicates. Permissions
/// that an earlier stage of the plan grants are not missing, and those that it takes away are.
///
/// # Errors
/// If a write of the plan is not a valid object.
pub(crate) fn check_plan_permissions(
    plan: &Plan,
    comparison: &AccessComparison<'_>,
    user: &ApplyUser,
) -> Result<Vec<MissingPermission>, ObjectError> {
    // Members of system:masters bypass RBAC.
    if plan.is_empty() || user.groups.iter().any(|group| group == MASTERS) {
        return Ok(Vec::new());
    }
    let live = comparison.live;
    let identity = Identity::from_user_info(&user.username, &user.groups);
    let affecting = steps_that_affect(plan, comparison, &identity);
    let mut by_stage: BTreeMap<usize, Vec<(RequiredPermission, usize)>> = BTreeMap::new();
    let mut missing: BTreeMap<Request, MissingPermission> = BTreeMap::new();
    let mut record = |found: Option<(Request, Vec<Rule>)>, step: usize, is_revoked_by_plan: bool| {
        if let Some((request, missing_rules)) = found {
            let permission = MissingPermission { request: request.clone(), missing_rules, step, is_revoked_by_plan };
            let known = missing.entry(request).or_insert(permission);
            known.is_revoked_by_plan &= is_revoked_by_plan;
        }
    };
    let mut live_checker = CallerPermissionChecker::new(live, &identity, Aggregation::AsStored);
    for (required, step) in required_by_plan(plan, comparison)? {
        let Some(stage) = plan.steps.get(step).map(|step| step.stage) else {
            return Err(InternalError::new(format!("the plan has no step {step}, which needs a permission")).into());
        };
        let is_affected = affecting
            .iter()
            .any(|(other_stage, other)| *other_stage < stage || *other_stage == stage && *other != step);
        if is_affected {
            by_stage.entry(stage).or_default().push((required, step));
        } else {
            record(live_checker.find_missing(&required), step, false);
        }
    }
    // Computing the state of a stage is expensive, so it is only done for stages in which the user can have other
    // permissions than now. Steps of one stage are made in any order. The controller can have written the rules of the
    // aggregated roles or not.
    for (stage, required_permissions) in by_stage {
        let is_affecting = |other: usize| affecting.iter().any(|(_, step)| *step == other);
        let before = plan.state_before_stage(stage, live)?;
        let after = plan.state_before_stage(stage + 1, live)?;
        for (state, is_after) in [(&before, false), (&after, true)] {
            for aggregation in [Aggregation::AsStored, Aggregation::Reconciled] {
                let mut checker = CallerPermissionChecker::new(state, &identity, aggregation);
                for (required, step) in &required_permissions {
                    // A step may take away the permission that it needs itself.
                    if !(is_after && is_affecting(*step)) {
                        let found = checker.find_missing(required);
                        let is_revoked = found.is_some() && live_checker.find_missing(required).is_none();
                        record(found, *step, is_revoked);
                    }
                }
            }
        }
    }
    let mut missing: Vec<MissingPermission> = missing.into_values().collect();
    missing.sort_by_key(|permission| permission.step);
    Ok(missing)
}

/// Returns the steps that can change the permissions of a user, each with its stage: those that write a binding of the user
/// or a role that is bound to the user. If one of these roles is aggregated, any role counts.
fn steps_that_affect(plan: &Plan, comparison: &AccessComparison<'_>, identity: &Identity) -> Vec<(usize, usize)> {
    let bindings: Vec<(&ObjectKey, &Binding)> = [comparison.live, comparison.after]
        .into_iter()
        .flat_map(|state| &state.bindings)
        .filter(|(_, binding)| binding.subjects.iter().any(|subject| identity.matches_subject(subject)))
        .collect();
    let roles: BTreeSet<ObjectKey> =
        bindings.iter().filter_map(|(key, binding)| binding.role_ref.role_key(key)).collect();
    let binding_keys: BTreeSet<&ObjectKey> = bindings.iter().map(|(key, _)| *key).collect();
    let is_aggregated = roles.iter().any(|key| {
        let states = [comparison.live, comparison.after];
        states.iter().any(|state| state.roles.get(key).is_some_and(|role| role.aggregation.is_some()))
    });
    let affects = |step: &Step| match step.object.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => is_aggregated || roles.contains(&step.object),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            binding_keys.contains(&step.object) || creates_binding_of(step, identity)
        }
        ObjectKind::Namespace
        | ObjectKind::ConfigMap
        | ObjectKind::AccessEntry
        | ObjectKind::AccessPolicy
        | ObjectKind::AccessPolicyAssociation => false,
    };
    let steps = plan.steps.iter().enumerate();
    steps.filter(|(_, step)| affects(step)).map(|(index, step)| (step.stage, index)).collect()
}

/// Returns whether the step creates a binding of the user, which can exist only during the plan.
fn creates_binding_of(step: &Step, identity: &Identity) -> bool {
    let WriteRequest::Create(body) = &step.write else {
        return false;
    };
    let binding = deserialize_object::<RawBinding>(body).and_then(RawBinding::into_binding);
    binding.is_ok_and(|binding| binding.subjects.iter().any(|subject| identity.matches_subject(subject)))
}

/// Checks the permissions of a user in one state.
struct CallerPermissionChecker<'a, 's> {
    identity: &'a Identity,
    access: AccessView<'s>,
    /// A cache of the rules that the user has in each namespace.
    held_rules: BTreeMap<Option<String>, Vec<&'s Rule>>,
}

impl<'a, 's> CallerPermissionChecker<'a, 's> {
    fn new(state: &'s State, identity: &'a Identity, aggregation: Aggregation) -> Self {
        let access = AccessView::new(state, aggregation);
        access.grants.build_index();
        Self { identity, access, held_rules: BTreeMap::new() }
    }

    /// Returns the request that is not allowed, and the rules that would make it unnecessary; `None` if the user has
    /// the permission.
    fn find_missing(&mut self, required: &RequiredPermission) -> Option<(Request, Vec<Rule>)> {
        let (request, missing) = match required {
            RequiredPermission::Request(request) => (request, Vec::new()),
            RequiredPermission::Rules { rules, namespace, alternative, is_aggregated: _ } => {
                let held = self.held_rules.entry(namespace.clone()).or_insert_with_key(|namespace| {
                    self.access.rules_in_namespace(self.identity, namespace.as_deref())
                });
                let missing = uncovered(held, rules);
                if missing.is_empty() {
                    return None;
                }
                (alternative, missing)
            }
        };
        (!self.access.is_allowed(self.identity, request)).then(|| (request.clone(), missing))
    }
}
