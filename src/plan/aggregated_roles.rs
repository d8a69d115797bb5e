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

    /// Returns the roles that the completed steps have left not aggregated, each with its last completed step. The
    /// controller may write them once more, from an old cache.
    pub(crate) fn not_aggregated_after(&self, plan: &Plan, completed: &[usize]) -> BTreeMap<ObjectKey, usize> {
        let steps = plan.steps.iter().enumerate().filter(|(index, _)| completed.contains(index));
        let written = steps.filter(|(_, step)| self.contains(&step.object));
        written
            .filter(|(_, step)| self.get(&step.object).is_none_or(|role| role.aggregation.is_none()))
            .map(|(index, step)| (step.object.clone(), index))
            .collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::rbac::{LabelSelector, Rule};
    use crate::state::write::Precondition;

    fn rule(verb: &str) -> Rule {
        Rule { verbs: vec![verb.to_owned()], ..Rule::default() }
    }

    fn aggregated(verb: &str) -> Role {
        Role { rules: vec![rule(verb)], aggregation: Some(vec![LabelSelector::default()]), ..Role::default() }
    }

    fn step(name: &str, write: WriteRequest) -> Step {
        let object = ObjectKey::cluster_role(name);
        let precondition = Precondition::Absent;
        Step { object, write, precondition, stage: 0, wait_for: Vec::new(), description: String::new() }
    }

    fn patch(body: Value) -> WriteRequest {
        WriteRequest::Patch(body)
    }

    #[test]
    fn only_rules_of_the_controller_may_differ() {
        let key = ObjectKey::cluster_role("a");
        let roles = AggregatedRoles { roles: BTreeMap::from([(key.clone(), Some(aggregated("get")))]) };
        let with_version = |mut role: Role| {
            role.meta.resource_version = Some("8".to_owned());
            role
        };
        let changed = with_version(aggregated("list"));
        assert!(roles.is_changed_by_controller(&key, &changed, true));
        assert!(!roles.is_changed_by_controller(&key, &changed, false));
        assert!(roles.is_changed_by_controller(&key, &with_version(aggregated("get")), false));
        let mut labelled = changed.clone();
        labelled.meta.labels.insert("l".to_owned(), "1".to_owned());
        let mut with_finalizer = changed.clone();
        with_finalizer.meta.finalizers.push("x/y".to_owned());
        let plain = Role { aggregation: None, ..changed };
        for other in [labelled, with_finalizer, plain] {
            assert!(!roles.is_changed_by_controller(&key, &other, true), "{other:?}");
        }
        assert!(!roles.is_changed_by_controller(&ObjectKey::cluster_role("b"), &aggregated("get"), true));
    }

    #[test]
    fn roles_that_leave_aggregation_are_known_with_their_last_completed_step() {
        let mut live = State::default();
        for name in ["plain", "deleted", "stays", "back"] {
            live.roles.insert(ObjectKey::cluster_role(name), aggregated("get"));
        }
        live.roles.insert(ObjectKey::cluster_role("never"), Role::default());
        let selectors = json!({ "clusterRoleSelectors": [{}] });
        let steps = vec![
            step("plain", patch(json!({ "aggregationRule": null, "rules": [] }))),
            step("plain", patch(json!({ "metadata": { "labels": { "l": "1" } } }))),
            step("deleted", WriteRequest::Delete),
            step("stays", patch(json!({ "metadata": { "labels": { "l": "1" } } }))),
            step("back", patch(json!({ "aggregationRule": null }))),
            step("back", patch(json!({ "aggregationRule": selectors }))),
            step("never", patch(json!({ "rules": [] }))),
            step("new", WriteRequest::Create(json!({ "aggregationRule": selectors }))),
        ];
        let plan = Plan::for_steps(steps);
        let mut roles = AggregatedRoles::new(&plan, &live);
        assert_eq!(roles.not_aggregated_after(&plan, &[]), BTreeMap::new());
        let (plain, deleted) = (ObjectKey::cluster_role("plain"), ObjectKey::cluster_role("deleted"));
        roles.record_step(&plan.steps[0]).unwrap();
        assert_eq!(roles.not_aggregated_after(&plan, &[0]), BTreeMap::from([(plain.clone(), 0)]));
        for step in &plan.steps[1..] {
            roles.record_step(step).unwrap();
        }
        let all: Vec<usize> = (0..plan.steps.len()).collect();
        assert_eq!(roles.not_aggregated_after(&plan, &all), BTreeMap::from([(deleted, 2), (plain, 1)]));
        assert!(!roles.contains(&ObjectKey::cluster_role("never")));
        assert_eq!(roles.get(&ObjectKey::cluster_role("deleted")), None);
        assert_eq!(roles.get(&ObjectKey::cluster_role("plain")).unwrap().rules, []);
        assert!(roles.get(&ObjectKey::cluster_role("new")).unwrap().aggregation.is_some());
    }
}
