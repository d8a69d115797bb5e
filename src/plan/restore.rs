//! The way back: from what some objects are to what they were before an apply.
//!
//! The objects are taken whole, as the API server stores them; what only it writes stays as it is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::steps::{self, Needs, Phase, Planned};
use super::{Action, Change, Fate, Field, Item, Limits, Origin, Plan, Target, fields};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::{Binding, ObjectFault, RawBinding, RawRole, Role, from_value};
use crate::state::rbac::same_rules;
use crate::state::undo;
use crate::state::write::Write;

/// Each object as it was and as it is; nothing where it was or is not.
pub(crate) type Images = BTreeMap<ObjectKey, (Option<Value>, Option<Value>)>;

/// Plans the way back.
///
/// # Errors
/// What is no object of its kind.
pub(crate) fn restore(policy: &str, live: &State, images: &Images) -> Result<Plan, ObjectFault> {
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    for (key, (then, now)) in images {
        let (action, made) = match (then, now) {
            (None, None) => continue,
            (Some(then), None) => {
                let write = Write::Create(undo::anew(then));
                (Action::Create, vec![(write, Needs::Absent, granting(key.kind()), "create")])
            }
            (None, Some(_)) => {
                (Action::Delete, vec![(Write::Delete, as_read(live, key), taking(key.kind()), "delete")])
            }
            (Some(then), Some(now)) => {
                let role = |object: &Value| {
                    object.get("roleRef").map(|role| (role.get("kind").cloned(), role.get("name").cloned()))
                };
                if role(then) != role(now) {
                    let back = Write::Create(undo::anew(then));
                    let steps = vec![
                        (Write::Delete, as_read(live, key), Phase::ReplaceAway, "delete"),
                        (back, Needs::Absent, Phase::ReplaceBack, "create"),
                    ];
                    (Action::Replace, steps)
                } else if let Some(patch) = undo::patch(now, then) {
                    let phase = changing(key.kind(), now, then)?;
                    (Action::Update, vec![(Write::Patch(patch), as_read(live, key), phase, "change")])
                } else {
                    continue;
                }
            }
        };
        changes.push(change(action, key, now.as_ref(), then.as_ref())?);
        for (write, needs, phase, verb) in made {
            let why = format!("{verb} {key}, as it was");
            writes.push(Planned { object: key.clone(), write, needs, phase, why });
        }
    }
    Ok(Plan {
        policy: policy.to_owned(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps: steps::order(writes),
        windows: Vec::new(),
        access: None,
        limits: Limits::default(),
        invariants: Vec::new(),
        warnings: Vec::new(),
    })
}

/// The version that a write has to name: of a snapshot by hand it is not in the object.
fn as_read(live: &State, key: &ObjectKey) -> Needs {
    live.meta(key).map_or(Needs::Absent, super::objects::as_read)
}

fn granting(kind: ObjectKind) -> Phase {
    match kind {
        ObjectKind::ClusterRole | ObjectKind::Role => Phase::GrantRole,
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => Phase::GrantBinding,
        ObjectKind::ConfigMap | ObjectKind::Namespace => Phase::Mapping,
    }
}

fn taking(kind: ObjectKind) -> Phase {
    match kind {
        ObjectKind::ClusterRole | ObjectKind::Role => Phase::TakeRole,
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => Phase::TakeBinding,
        ObjectKind::ConfigMap | ObjectKind::Namespace => Phase::Mapping,
    }
}

/// What takes something away comes after what only gives.
fn changing(kind: ObjectKind, now: &Value, then: &Value) -> Result<Phase, ObjectFault> {
    let keeps = match kind {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (now, then) = (role(now)?, role(then)?);
            now.rules.iter().all(|rule| {
                let one = std::slice::from_ref(rule);
                then.rules.iter().any(|other| same_rules(one, std::slice::from_ref(other)))
            })
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (now, then) = (binding(now)?, binding(then)?);
            now.subjects.iter().all(|subject| then.subjects.contains(subject))
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => true,
    };
    Ok(if keeps { granting(kind) } else { Phase::Narrow })
}

fn role(object: &Value) -> Result<Role, ObjectFault> {
    from_value::<RawRole>(object).map(Role::from)
}

fn binding(object: &Value) -> Result<Binding, ObjectFault> {
    from_value::<RawBinding>(object)?.into_binding()
}

fn change(action: Action, key: &ObjectKey, now: Option<&Value>, then: Option<&Value>) -> Result<Change, ObjectFault> {
    let fields = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (now, then) = (now.map(role).transpose()?, then.map(role).transpose()?);
            fields::role(now.as_ref(), then.as_ref())
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (now, then) = (now.map(binding).transpose()?, then.map(binding).transpose()?);
            fields::binding(now.as_ref(), then.as_ref())
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => texts(now, then),
    };
    Ok(Change {
        action,
        target: Target::Object(key.clone()),
        fields,
        place: None,
        note: None,
        origin: Origin::Pending,
        last_writer: None,
        access: None,
    })
}

/// The lines of each text that go and come.
fn texts(now: Option<&Value>, then: Option<&Value>) -> Vec<Field> {
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
            let only = |one: &[String], other: &[String], fate: Fate| -> Vec<Item> {
                let differs = one.iter().filter(|line| !other.contains(line));
                differs.map(|line| Item { fate, value: line.clone() }).collect()
            };
            let items = [only(&now, &then, Fate::Removed), only(&then, &now, Fate::Added)].concat();
            (!items.is_empty()).then(|| Field { path: vec![key], items })
        })
        .collect()
}
