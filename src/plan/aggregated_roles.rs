//! The ClusterRoles of a plan that the aggregation controller may change while the plan is applied.
//!
//! The controller writes the rules of aggregated ClusterRoles at any time: after a step that changes a selected role,
//! and also with an old cache, shortly after a step that takes the role out of aggregation or deletes it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::state_after::apply_write;
use super::{Plan, Step};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::{ObjectError, Role};
use crate::state::object_meta::{ObjectMeta, RulesManager};
use crate::state::write::WriteRequest;

/// The ClusterRoles that a plan writes and that are aggregated before, during or after it, as the steps so far have
/// left them.
#[derive(Debug, Clone, Default)]
pub(crate) struct AggregatedRoles {
    /// `None` if the role does not exist.
    roles: BTreeMap<ObjectKey, Option<Role>>,
}

impl AggregatedRoles {
    /// Takes the roles as they are before the first step.
    pub(crate) fn new(plan: &Plan, live: &State) -> Self {
        let is_aggregated = |key: &ObjectKey| live.roles.get(key).is_some_and(|role| role.aggregation.is_some());
        let steps = plan.steps.iter().filter(|step| step.object.kind() == ObjectKind::ClusterRole);
        let keys = steps.filter(|step| is_aggregated(&step.object) || becomes_aggregated(&step.write));
        Self { roles: keys.map(|step| (step.object.clone(), live.roles.get(&step.object).cloned())).collect() }
    }

    pub(crate) fn contains(&self, key: &ObjectKey) -> bool {
        self.roles.contains_key(key)
    }

    /// Returns the role as the steps so far have left it. `None` if it does not exist.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Role> {
        self.roles.get(key)?.as_ref()
    }

    /// Records that a step was written.
    ///
    /// # Errors
    /// If the body of the step is not valid for its kind.
    pub(crate) fn record_step(&mut self, step: &Step) -> Result<(), ObjectError> {
        let Some(slot) = self.roles.get_mut(&step.object) else {
            return Ok(());
        };
        let mut state = State::default();
        state.roles.extend(slot.take().map(|role| (step.object.clone(), role)));
        apply_write(&mut state, &step.object, &step.write)?;
        *slot = state.roles.remove(&step.object);
        Ok(())
    }

    /// Returns the index of the last step of each role that is not aggregated after the plan: the controller may write
    /// it once more, from an old cache.
    pub(crate) fn last_steps_of_left(&self, plan: &Plan) -> BTreeMap<ObjectKey, usize> {
        let steps = plan.steps.iter().enumerate().filter(|(_, step)| self.contains(&step.object));
        let last: BTreeMap<&ObjectKey, usize> = steps.map(|(index, step)| (&step.object, index)).collect();
        let stays_aggregated = |key: &ObjectKey| {
            let steps = plan.steps.iter().filter(|step| step.object == *key);
            steps.fold(self.get(key).is_some_and(|role| role.aggregation.is_some()), |is_aggregated, step| match &step
                .write
            {
                WriteRequest::Delete => false,
                WriteRequest::Create(body) => !aggregation_of(body).is_null(),
                WriteRequest::Patch(patch) if patch.get("aggregationRule").is_some() => {
                    !aggregation_of(patch).is_null()
                }
                WriteRequest::Patch(_) => is_aggregated,
            })
        };
        last.into_iter().filter(|(key, _)| !stays_aggregated(key)).map(|(key, index)| (key.clone(), index)).collect()
    }

    /// Returns whether the role, which has another version than expected, was changed by the aggregation controller
    /// only: it differs from what the plan expects at most in its rules, and these are the controller's.
    ///
    /// `now` was read from the API server, and `manages_rules` says whether only the controller manages its rules.
    pub(crate) fn is_changed_by_controller(&self, key: &ObjectKey, now: &Role, only_controller_rules: bool) -> bool {
        let Some(expected) = self.get(key) else {
            return false;
        };
        let has_same_rules = now.rules == expected.rules;
        is_same_except_rules(expected, now) && (has_same_rules || only_controller_rules)
    }

    /// Like [`Self::is_changed_by_controller`], for an aggregated role from a list.
    pub(super) fn is_reconciled(&self, key: &ObjectKey, now: &Role) -> bool {
        let is_aggregated = self.get(key).is_some_and(|role| role.aggregation.is_some());
        let by_controller = now.meta.rules_manager == RulesManager::AggregationController;
        is_aggregated && self.is_changed_by_controller(key, now, by_controller)
    }
}

fn aggregation_of(body: &Value) -> &Value {
    body.get("aggregationRule").unwrap_or(&Value::Null)
}

fn becomes_aggregated(write: &WriteRequest) -> bool {
    match write {
        WriteRequest::Create(body) | WriteRequest::Patch(body) => !aggregation_of(body).is_null(),
        WriteRequest::Delete => false,
    }
}

/// Returns whether two versions of a role are the same but for their rules and what the API server records. A role that
/// the plan creates has no uid here, so the caller compares the uid.
fn is_same_except_rules(a: &Role, b: &Role) -> bool {
    let comparable = |role: &Role| Role {
        rules: Vec::new(),
        meta: ObjectMeta {
            uid: None,
            resource_version: None,
            last_writer: None,
            rules_manager: RulesManager::default(),
            ..role.meta.clone()
        },
        aggregation: role.aggregation.clone(),
    };
    comparable(a) == comparable(b)
}
