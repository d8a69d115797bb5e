//! The way back: from what some objects are to what they were before an apply.
//!
//! The objects are taken whole, as the API server stores them; what only it writes stays as it is.

use std::collections::BTreeMap;
use std::slice;

use serde_json::{Value, json};

use super::entries::aws_auth_edit::AwsAuthEdit;
use super::order::{self, Needs, PendingWrite, Turn};
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

/// Each object as it was and as it is; nothing where it was or is not.
pub(crate) type ObjectVersions = BTreeMap<ObjectKey, (Option<Value>, Option<Value>)>;

/// Plans the way back.
///
/// # Errors
/// What is no object of its kind.
pub(crate) fn plan_restore(policy: &str, live: &State, images: &ObjectVersions) -> Result<Plan, ObjectError> {
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    for (key, (then, now)) in images {
        let (action, turn, needs, verb) = match (then, now) {
            (None, None) => continue,
            (Some(then), None) => (Action::Create, creation(key, then, live)?, Needs::Absent, "create"),
            (None, Some(_)) => (Action::Delete, deletion(key, live), require_as_read(live, key), "delete"),
            (Some(then), Some(now)) if role_ref(then) != role_ref(now) => {
                (Action::Replace, replacement(key, then, live), require_as_read(live, key), "replace")
            }
            (Some(then), Some(now)) => {
                let Some(patch) = undo::create_merge_patch(now, then) else {
                    continue;
                };
                (Action::Update, update(key, now, then, patch, live)?, require_as_read(live, key), "change")
            }
        };
        changes.push(object_change(action, key, now.as_ref(), then.as_ref())?);
        writes.push(PendingWrite { object: key.clone(), turn, needs, why: format!("{verb} {key}, as it was") });
    }
    let (steps, windows) = order::order(writes, live, order::Author { policy })?;
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

/// The version that a write has to name: of a snapshot by hand it is not in the object.
fn require_as_read(live: &State, key: &ObjectKey) -> Needs {
    live.meta(key).map_or(Needs::Absent, super::objects::require_as_read)
}

fn role_ref(object: &Value) -> Option<(Option<&Value>, Option<&Value>)> {
    object.get("roleRef").map(|role| (role.get("kind"), role.get("name")))
}

fn creation(key: &ObjectKey, then: &Value, live: &State) -> Result<Turn, ObjectError> {
    let body = undo::strip_server_fields(then);
    Ok(match key.kind() {
        ObjectKind::ConfigMap => aws_auth_change(WriteRequest::Create(body), AwsAuth::from_json(then)?, live),
        _ => Turn::Create(body),
    })
}

fn deletion(key: &ObjectKey, live: &State) -> Turn {
    match key.kind() {
        ObjectKind::ConfigMap => aws_auth_change(WriteRequest::Delete, AwsAuth::default(), live),
        _ => Turn::Delete,
    }
}

/// aws-auth goes back in one write, to the byte.
fn aws_auth_change(write: WriteRequest, then: AwsAuth, live: &State) -> Turn {
    Turn::Map { write, splits: Box::new(AwsAuthEdit::from_replacement(live.aws_auth.as_ref(), then)) }
}

/// Back and forth a roleRef is replaced in the same way.
fn replacement(key: &ObjectKey, then: &Value, live: &State) -> Turn {
    let body = undo::strip_server_fields(then);
    let mut names = (1..).map(|number| bridge(key, number));
    let bridge = names.find(|bridge| !live.bindings.contains_key(bridge));
    let bridge = bridge.map(|bridge| {
        let mut other = body.clone();
        apply_merge_patch(&mut other, &json!({ "metadata": { "name": bridge.name() } }));
        (bridge, other)
    });
    Turn::Replace { body, bridge }
}

fn update(key: &ObjectKey, now: &Value, then: &Value, patch: Value, live: &State) -> Result<Turn, ObjectError> {
    let narrows = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (now, then) = (parse_role(now)?, parse_role(then)?);
            let has = |one: &Rule, all: &[Rule]| {
                all.iter().any(|other| same_rules(slice::from_ref(one), slice::from_ref(other)))
            };
            then.rules.iter().all(|rule| has(rule, &now.rules))
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (now, then) = (parse_binding(now)?, parse_binding(then)?);
            then.subjects.iter().all(|subject| now.subjects.contains(subject))
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => {
            return Ok(aws_auth_change(WriteRequest::Patch(patch), AwsAuth::from_json(then)?, live));
        }
    };
    Ok(Turn::Patch { patch, narrows })
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
    now: Option<&Value>,
    then: Option<&Value>,
) -> Result<Change, ObjectError> {
    let fields = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (now, then) = (now.map(parse_role).transpose()?, then.map(parse_role).transpose()?);
            field_diff::diff_role(now.as_ref(), then.as_ref())
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (now, then) = (now.map(parse_binding).transpose()?, then.map(parse_binding).transpose()?);
            field_diff::diff_binding(now.as_ref(), then.as_ref())
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => diff_text_lines(now, then),
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

/// The lines of each text that go and come.
fn diff_text_lines(now: Option<&Value>, then: Option<&Value>) -> Vec<FieldDiff> {
    let lines = |object: Option<&Value>, key: &str| -> Vec<String> {
        let text = object.and_then(|object| object.get("data")?.get(key)?.as_str()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let keys = |object: Option<&Value>| -> Vec<String> {
        let data = object.and_then(|object| object.get("data")?.as_object());
        data.into_iter().flat_map(|data| data.keys().cloned()).collect()
    };
    let all: std::collections::BTreeSet<String> = keys(now).into_iter().chain(keys(then)).collect();
    all.into_iter()
        .filter_map(|key| {
            let (now, then) = (lines(now, &key), lines(then, &key));
            let only = |one: &[String], other: &[String], fate: DiffOp| -> Vec<ValueDiff> {
                let differs = one.iter().filter(|line| !other.contains(line));
                differs.map(|line| ValueDiff { op: fate, value: line.clone() }).collect()
            };
            let items = [only(&now, &then, DiffOp::Remove), only(&then, &now, DiffOp::Add)].concat();
            (!items.is_empty()).then(|| FieldDiff { path: vec![key], values: items })
        })
        .collect()
}
