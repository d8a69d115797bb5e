//! Of what is needed, what the caller does not hold by RBAC: that much has to be asked of the cluster.

use std::collections::BTreeMap;

use super::required_permissions::{RequiredPermission, required_by_plan};
use crate::access::{AccessView, Aggregation, Identity, MASTERS, Request, uncovered};
use crate::plan::{AccessComparison, Plan};
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::rbac::Rule;

/// Whoever is to make the writes.
#[derive(Debug, Clone)]
pub(crate) struct ApplyUser {
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
}

/// A request that RBAC does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingPermission {
    pub(crate) request: Request,
    /// Rules to hold in its place, those that are missing.
    pub(crate) missing_rules: Vec<Rule>,
    /// For which step of the plan.
    pub(crate) step: usize,
}

/// The requests of a plan that RBAC does not allow its runner, each once; other authorizers may.
///
/// What an earlier stage of the plan grants is not missing.
///
/// # Errors
/// A write of the plan that is none.
pub(crate) fn check_plan_permissions(
    plan: &Plan,
    sides: &AccessComparison<'_>,
    runner: &ApplyUser,
) -> Result<Vec<MissingPermission>, ObjectError> {
    // Of these RBAC is not asked.
    if plan.is_empty() || runner.groups.iter().any(|group| group == MASTERS) {
        return Ok(Vec::new());
    }
    let AccessComparison { live, after, .. } = sides;
    let identity = Identity::from_user_info(&runner.username, &runner.groups);
    let mut left: BTreeMap<usize, Vec<(RequiredPermission, usize)>> = BTreeMap::new();
    let mut holder = PermissionChecker::new(live, &identity);
    for (need, step) in required_by_plan(plan, live, after) {
        if holder.find_missing(&need).is_some() {
            let stage = plan.steps.get(step).map_or(0, |step| step.stage);
            left.entry(stage).or_default().push((need, step));
        }
    }
    let mut out: BTreeMap<Request, MissingPermission> = BTreeMap::new();
    for (stage, needs) in left {
        // As it is when the stage begins.
        let before = plan.state_before_stage(stage, live)?;
        let mut holder = PermissionChecker::new(&before, &identity);
        for (need, step) in needs {
            if let Some((request, rules)) = holder.find_missing(&need) {
                out.entry(request.clone()).or_insert(MissingPermission { request, missing_rules: rules, step });
            }
        }
    }
    let mut lacks: Vec<MissingPermission> = out.into_values().collect();
    lacks.sort_by_key(|lack| lack.step);
    Ok(lacks)
}

/// The runner in one state.
struct PermissionChecker<'a, 's> {
    identity: &'a Identity,
    access: AccessView<'s>,
    /// The rules that it holds, namespace by namespace.
    held_rules: BTreeMap<Option<String>, Vec<&'s Rule>>,
}

impl<'a, 's> PermissionChecker<'a, 's> {
    fn new(state: &'s State, identity: &'a Identity) -> Self {
        let access = AccessView::new(state, Aggregation::AsStored);
        access.grants.build_index();
        Self { identity, access, held_rules: BTreeMap::new() }
    }

    /// The request that is not allowed, and the rules that would do in its place.
    fn find_missing(&mut self, need: &RequiredPermission) -> Option<(Request, Vec<Rule>)> {
        let (request, missing) = match need {
            RequiredPermission::Request(request) => (request, Vec::new()),
            RequiredPermission::Rules { rules, namespace, alternative: or, is_aggregated: _ } => {
                let held = self.held_rules.entry(namespace.clone());
                let held = held.or_insert_with_key(|one| self.access.rules_in_namespace(self.identity, one.as_deref()));
                let missing = uncovered(held, rules);
                if missing.is_empty() {
                    return None;
                }
                (or, missing)
            }
        };
        (!self.access.is_allowed(self.identity, request)).then(|| (request.clone(), missing))
    }
}
