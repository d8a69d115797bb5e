//! Plans a restore: the writes that bring objects back to the content that they had before an apply.
//!
//! A backup stores the objects as the API server returned them. Fields that only the API server writes are not
//! restored.

use std::collections::BTreeMap;
use std::slice;

use serde_json::{Value, json};

use super::entries::aws_auth_edit::AwsAuthEdit;
use super::order::{self, ChangeKind, FirstPrecondition, PendingWrite};
use super::{
    Action, Change, ChangeOrigin, ChangeTarget, DiffOp, FieldDiff, GuardLimits, Plan, ValueDiff, bridge, field_diff,
};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::object::{Binding, ObjectError, RawBinding, RawRole, Role, deserialize_object};
use crate::state::rbac::{Rule, same_rules};
use crate::state::undo;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// For each object its content in the backup and its live content. `None` where it did not or does not exist.
pub(crate) type ObjectVersions = BTreeMap<ObjectKey, (Option<Value>, Option<Value>)>;

/// Plans the writes that restore `versions`.
///
/// # Errors
/// If the content of an object is not valid for its kind.
pub(crate) fn plan_restore(policy: &str, live: &State, versions: &ObjectVersions) -> Result<Plan, ObjectError> {
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    for (key, (backup, current)) in versions {
        let (action, kind, precondition, verb) = match (backup, current) {
            (None, None) => continue,
            (Some(backup), None) => (Action::Create, creation(key, backup, live)?, FirstPrecondition::Absent, "create"),
            (None, Some(_)) => (Action::Delete, deletion(key, live), require_as_read(live, key), "delete"),
            (Some(backup), Some(current)) if role_ref(backup) != role_ref(current) => {
                (Action::Replace, replacement(key, backup, live), require_as_read(live, key), "replace")
            }
            (Some(backup), Some(current)) => {
                let Some(patch) = undo::create_merge_patch(current, backup) else {
                    continue;
                };
                (Action::Update, update(key, current, backup, patch, live)?, require_as_read(live, key), "change")
            }
        };
        changes.push(object_change(action, key, current.as_ref(), backup.as_ref())?);
        writes.push(PendingWrite { object: key.clone(), kind, precondition, description: format!("{verb} {key}") });
    }
    let (steps, windows) = super::order_writes(writes, live, order::Author { policy })?;
    Ok(Plan {
        policy: policy.to_owned(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        windows,
        access_changes: None,
        limits: GuardLimits::default(),
        invariants: Vec::new(),
        namespace_selections: Vec::new(),
        warnings: Vec::new(),
    })
}

/// Returns the precondition that the object is unchanged since it was read. The version is taken from the state,
/// because an object in a handwritten snapshot has none.
fn require_as_read(live: &State, key: &ObjectKey) -> FirstPrecondition {
    live.meta(key).map_or(FirstPrecondition::Absent, super::objects::require_as_read)
}

fn role_ref(object: &Value) -> Option<(Option<&Value>, Option<&Value>)> {
    object.get("roleRef").map(|role| (role.get("kind"), role.get("name")))
}

fn creation(key: &ObjectKey, backup: &Value, live: &State) -> Result<ChangeKind, ObjectError> {
    let body = undo::strip_server_fields(backup);
    Ok(match key.kind() {
        ObjectKind::ConfigMap => aws_auth_change(WriteRequest::Create(body), AwsAuth::from_json(backup)?, live),
        _ => ChangeKind::Create(body),
    })
}

fn deletion(key: &ObjectKey, live: &State) -> ChangeKind {
    match key.kind() {
        ObjectKind::ConfigMap => aws_auth_change(WriteRequest::Delete, AwsAuth::default(), live),
        _ => ChangeKind::Delete,
    }
}

/// Restores aws-auth in one write, so that its text is the same byte for byte.
fn aws_auth_change(write: WriteRequest, backup: AwsAuth, live: &State) -> ChangeKind {
    ChangeKind::Map { write, edit: Box::new(AwsAuthEdit::from_replacement(live.aws_auth.as_ref(), backup)) }
}

/// Returns a restore replaces a binding with another roleRef in the same way as an apply: with a bridge.
fn replacement(key: &ObjectKey, backup: &Value, live: &State) -> ChangeKind {
    let body = undo::strip_server_fields(backup);
    let mut names = (1..).map(|number| bridge(key, number));
    let bridge = names.find(|bridge| !live.bindings.contains_key(bridge));
    let bridge = bridge.map(|bridge| {
        let mut bridge_body = body.clone();
        apply_merge_patch(&mut bridge_body, &json!({ "metadata": { "name": bridge.name() } }));
        (bridge, bridge_body)
    });
    ChangeKind::Replace { body, bridge }
}

fn update(
    key: &ObjectKey,
    current: &Value,
    backup: &Value,
    patch: Value,
    live: &State,
) -> Result<ChangeKind, ObjectError> {
    let only_revokes = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (current, backup) = (parse_role(current)?, parse_role(backup)?);
            let is_current = |rule: &Rule| {
                current.rules.iter().any(|other| same_rules(slice::from_ref(rule), slice::from_ref(other)))
            };
            backup.rules.iter().all(is_current)
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (current, backup) = (parse_binding(current)?, parse_binding(backup)?);
            backup.subjects.iter().all(|subject| current.subjects.contains(subject))
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => {
            return Ok(aws_auth_change(WriteRequest::Patch(patch), AwsAuth::from_json(backup)?, live));
        }
    };
    Ok(ChangeKind::Patch { patch, only_revokes })
}

fn parse_role(object: &Value) -> Result<Role, ObjectError> {
    deserialize_object::<RawRole>(object).map(Role::from)
}

fn parse_binding(object: &Value) -> Result<Binding, ObjectError> {
    deserialize_object::<RawBinding>(object)?.into_binding()
}

fn object_change(
    action: Action,
    key: &ObjectKey,
    current: Option<&Value>,
    backup: Option<&Value>,
) -> Result<Change, ObjectError> {
    let fields = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (current, backup) = (current.map(parse_role).transpose()?, backup.map(parse_role).transpose()?);
            field_diff::diff_role(current.as_ref(), backup.as_ref())
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (current, backup) = (current.map(parse_binding).transpose()?, backup.map(parse_binding).transpose()?);
            field_diff::diff_binding(current.as_ref(), backup.as_ref())
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => diff_text_lines(current, backup),
    };
    Ok(Change {
        action,
        target: ChangeTarget::Object(key.clone()),
        fields,
        location: None,
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: None,
        access_impact: None,
    })
}

/// Returns the removed and added lines of each key of a ConfigMap.
fn diff_text_lines(current: Option<&Value>, backup: Option<&Value>) -> Vec<FieldDiff> {
    let lines = |object: Option<&Value>, key: &str| -> Vec<String> {
        let text = object.and_then(|object| object.get("data")?.get(key)?.as_str()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let keys = |object: Option<&Value>| -> Vec<String> {
        let data = object.and_then(|object| object.get("data")?.as_object());
        data.into_iter().flat_map(|data| data.keys().cloned()).collect()
    };
    let all_keys: std::collections::BTreeSet<String> = keys(current).into_iter().chain(keys(backup)).collect();
    all_keys
        .into_iter()
        .filter_map(|key| {
            let (current, backup) = (lines(current, &key), lines(backup, &key));
            let only_in = |lines: &[String], other: &[String], op: DiffOp| -> Vec<ValueDiff> {
                let differing = lines.iter().filter(|line| !other.contains(line));
                differing.map(|line| ValueDiff { op, value: line.clone() }).collect()
            };
            let items = [only_in(&current, &backup, DiffOp::Remove), only_in(&backup, &current, DiffOp::Add)].concat();
            (!items.is_empty()).then(|| FieldDiff { path: vec![key], values: items })
        })
        .collect()
}
