//! Finds the permissions that a plan requires and that RBAC does not grant to the user who applies it. Other
//! authorizers can still grant them, which only the cluster knows.

use std::collections::BTreeMap;

use super::required_permissions::{RequiredPermission, required_by_plan};
use crate::access::{AccessView, Aggregation, Identity, MASTERS, Request, uncovered};
use crate::diagnostic::InternalError;
use crate::plan::{AccessComparison, Plan};
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::rbac::Rule;

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
}

/// Returns the requests that a plan requires and that RBAC does not allow the user, without duplicates. Permissions
/// that an earlier stage of the plan grants are not missing.
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
    let AccessComparison { live, after, .. } = comparison;
    let identity = Identity::from_user_info(&user.username, &user.groups);
    let mut missing_in_live: BTreeMap<usize, Vec<(RequiredPermission, usize)>> = BTreeMap::new();
    let mut checker = CallerPermissionChecker::new(live, &identity);
    for (required, step) in required_by_plan(plan, live, after)? {
        if checker.find_missing(&required).is_some() {
            let Some(stage) = plan.steps.get(step).map(|step| step.stage) else {
                return Err(InternalError::new(format!("the plan has no step {step}, which needs a permission")).into());
            };
            missing_in_live.entry(stage).or_default().push((required, step));
        }
    }
    // Computing the state before a stage is expensive, so only do it for permissions that are missing in the live
    // state.
    let mut missing: BTreeMap<Request, MissingPermission> = BTreeMap::new();
    for (stage, required_permissions) in missing_in_live {
        let before = plan.state_before_stage(stage, live)?;
        let mut checker = CallerPermissionChecker::new(&before, &identity);
        for (required, step) in required_permissions {
            if let Some((request, missing_rules)) = checker.find_missing(&required) {
                missing.entry(request.clone()).or_insert(MissingPermission { request, missing_rules, step });
            }
        }
    }
    let mut missing: Vec<MissingPermission> = missing.into_values().collect();
    missing.sort_by_key(|permission| permission.step);
    Ok(missing)
}

/// Checks the permissions of a user in one state.
struct CallerPermissionChecker<'a, 's> {
    identity: &'a Identity,
    access: AccessView<'s>,
    /// A cache of the rules that the user has in each namespace.
    held_rules: BTreeMap<Option<String>, Vec<&'s Rule>>,
}

impl<'a, 's> CallerPermissionChecker<'a, 's> {
    fn new(state: &'s State, identity: &'a Identity) -> Self {
        let access = AccessView::new(state, Aggregation::AsStored);
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
