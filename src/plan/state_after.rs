//! The state after a plan: its steps applied to the typed state in memory.
//!
//! Only the steps are used, never the policy, so the result is what the writes really do.

use serde_json::{Map, Value, json};

use super::{Plan, Step};
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::config_map::AwsAuth;
use crate::state::object::{Binding, ObjectError, Role, aggregation_rule_to_json, role_ref_to_json, subjects_to_json};
use crate::state::object_meta::{ObjectMeta, RulesManager};
use crate::state::write::{WriteRequest, apply_merge_patch};

impl Plan {
    /// Returns the state after all steps. Objects keep the resource versions that were read, because the new ones are
    /// not known.
    ///
    /// # Errors
    /// If the body of a step is not valid for its kind.
    pub(crate) fn state_after(&self, live: &State) -> Result<State, ObjectError> {
        apply_steps(&self.steps, live)
    }

    /// Returns the state when a stage starts.
    ///
    /// # Errors
    /// If the body of a step is not valid for its kind.
    pub(crate) fn state_before_stage(&self, stage: usize, live: &State) -> Result<State, ObjectError> {
        apply_steps(self.steps.iter().filter(|step| step.stage < stage), live)
    }
}

fn apply_steps<'a>(steps: impl IntoIterator<Item = &'a Step>, live: &State) -> Result<State, ObjectError> {
    let mut state = live.clone();
    for step in steps {
        apply_write(&mut state, &step.object, &step.write)?;
    }
    Ok(state)
}

pub(super) fn apply_write(state: &mut State, key: &ObjectKey, write: &WriteRequest) -> Result<(), ObjectError> {
    match write {
        WriteRequest::Create(body) => state.insert_object(key, body),
        WriteRequest::Patch(patch) => {
            let Some((old, mut value)) = state.meta(key).cloned().zip(patchable_json(state, key)) else {
                return Err(missing_object("patches", key));
            };
            apply_merge_patch(&mut value, patch);
            let was_aggregated = is_aggregated(state, key);
            state.insert_object(key, &value)?;
            let rules_manager = match (was_aggregated, is_aggregated(state, key)) {
                (_, false) => RulesManager::default(),
                (true, true) if patch.get("rules").is_none() => old.rules_manager,
                // The aggregation controller has not written these rules.
                (_, true) => RulesManager::Other,
            };
            if let Some(meta) = state.meta_mut(key) {
                let ObjectMeta { labels, annotations, .. } = std::mem::take(meta);
                *meta = ObjectMeta { labels, annotations, rules_manager, ..old };
            }
            Ok(())
        }
        WriteRequest::Delete if state.meta(key).is_none() => Err(missing_object("deletes", key)),
        WriteRequest::Delete => {
            remove_object(state, key);
            Ok(())
        }
    }
}

/// The API server would reject such a write, so the state after it is not known.
fn missing_object(verb: &str, key: &ObjectKey) -> ObjectError {
    InternalError::new(format!("a step {verb} {key}, which does not exist at that point")).into()
}

fn is_aggregated(state: &State, key: &ObjectKey) -> bool {
    state.roles.get(key).is_some_and(|role| role.aggregation.is_some())
}

/// Removes an object. An object with finalizers stays and continues to grant access until they are removed.
fn remove_object(state: &mut State, key: &ObjectKey) {
    if let Some(meta) = state.meta_mut(key).filter(|meta| !meta.finalizers.is_empty()) {
        meta.deleting = true;
        return;
    }
    match key.kind() {
        ObjectKind::ConfigMap => state.aws_auth = None,
        ObjectKind::ClusterRole | ObjectKind::Role => drop(state.roles.remove(key)),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => drop(state.bindings.remove(key)),
        ObjectKind::AccessEntry => drop(state.access_entries.take(key)),
        ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => {}
    }
}

/// Returns the object as JSON, with the fields that a merge patch of a plan can change.
fn patchable_json(state: &State, key: &ObjectKey) -> Option<Value> {
    let mut out = Map::new();
    let mut add = |field: &str, value: Value| drop(out.insert(field.to_owned(), value));
    match key.kind() {
        ObjectKind::ConfigMap => {
            let AwsAuth { meta: _, data, binary_keys, immutable } = state.aws_auth.as_ref()?;
            add("data", json!(data));
            add("binaryData", binary_keys.iter().map(|key| (key.clone(), json!(""))).collect::<Map<_, _>>().into());
            add("immutable", json!(immutable));
        }
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let Role { meta: _, rules, aggregation } = state.roles.get(key)?;
            add("rules", json!(rules));
            if let Some(selectors) = aggregation {
                add("aggregationRule", aggregation_rule_to_json(selectors));
            }
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let Binding { meta: _, role_ref, subjects, namespaces: _ } = state.bindings.get(key)?;
            add("roleRef", role_ref_to_json(role_ref));
            add("subjects", subjects_to_json(subjects));
        }
        ObjectKind::AccessEntry => return state.access_entries.get(key).map(AccessEntry::to_json),
        ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => return None,
    }
    let meta = state.meta(key)?;
    let namespace = key.namespace();
    add("metadata", json!({ "namespace": namespace, "labels": meta.labels, "annotations": meta.annotations }));
    Some(Value::Object(out))
}
