//! The way back: from what some objects are to what they were before an apply.
//!
//! The objects are taken whole, as the API server stores them; what only it writes stays as it is.

use std::collections::BTreeMap;
use std::slice;

use serde_json::{Value, json};

use super::entries::splits::Splits;
use super::order::{self, Needs, Planned, Turn};
use super::{Action, Change, Fate, Field, Item, Limits, Origin, Plan, Target, bridge, fields};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::mapping::AwsAuth;
use crate::state::object::{Binding, ObjectFault, RawBinding, RawRole, Role, from_value};
use crate::state::rbac::{Rule, same_rules};
use crate::state::undo;
use crate::state::write::{Write, merge};

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
        let (action, turn, needs, verb) = match (then, now) {
            (None, None) => continue,
            (Some(then), None) => (Action::Create, coming(key, then, live)?, Needs::Absent, "create"),
            (None, Some(_)) => (Action::Delete, going(key, live), as_read(live, key), "delete"),
            (Some(then), Some(now)) if role_ref(then) != role_ref(now) => {
                (Action::Replace, replaced(key, then, live), as_read(live, key), "replace")
            }
            (Some(then), Some(now)) => {
                let Some(patch) = undo::patch(now, then) else {
                    continue;
                };
                (Action::Update, changing(key, now, then, patch, live)?, as_read(live, key), "change")
            }
        };
        changes.push(change(action, key, now.as_ref(), then.as_ref())?);
        writes.push(Planned { object: key.clone(), turn, needs, why: format!("{verb} {key}, as it was") });
    }
    let (steps, windows) = order::order(writes, live, order::Author { policy })?;
    Ok(Plan {
        policy: policy.to_owned(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        windows,
        access: None,
        limits: Limits::default(),
        invariants: Vec::new(),
        selected: Vec::new(),
        warnings: Vec::new(),
    })
}

/// The version that a write has to name: of a snapshot by hand it is not in the object.
fn as_read(live: &State, key: &ObjectKey) -> Needs {
    live.meta(key).map_or(Needs::Absent, super::objects::as_read)
}

fn role_ref(object: &Value) -> Option<(Option<&Value>, Option<&Value>)> {
    object.get("roleRef").map(|role| (role.get("kind"), role.get("name")))
}

fn coming(key: &ObjectKey, then: &Value, live: &State) -> Result<Turn, ObjectFault> {
    let body = undo::anew(then);
    Ok(match key.kind() {
        ObjectKind::ConfigMap => mapped(Write::Create(body), AwsAuth::from_json(then)?, live),
        _ => Turn::Create(body),
    })
}

fn going(key: &ObjectKey, live: &State) -> Turn {
    match key.kind() {
        ObjectKind::ConfigMap => mapped(Write::Delete, AwsAuth::default(), live),
        _ => Turn::Delete,
    }
}

/// aws-auth goes back in one write, to the byte.
fn mapped(write: Write, then: AwsAuth, live: &State) -> Turn {
    Turn::Map { write, splits: Box::new(Splits::whole(live.aws_auth.as_ref(), then)) }
}

/// Back and forth a roleRef is replaced in the same way.
fn replaced(key: &ObjectKey, then: &Value, live: &State) -> Turn {
    let body = undo::anew(then);
    let mut names = (1..).map(|number| bridge(key, number));
    let bridge = names.find(|bridge| !live.bindings.contains_key(bridge));
    let bridge = bridge.map(|bridge| {
        let mut other = body.clone();
        merge(&mut other, &json!({ "metadata": { "name": bridge.name() } }));
        (bridge, other)
    });
    Turn::Replace { body, bridge }
}

fn changing(key: &ObjectKey, now: &Value, then: &Value, patch: Value, live: &State) -> Result<Turn, ObjectFault> {
    let narrows = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let (now, then) = (role(now)?, role(then)?);
            let has = |one: &Rule, all: &[Rule]| {
                all.iter().any(|other| same_rules(slice::from_ref(one), slice::from_ref(other)))
            };
            then.rules.iter().all(|rule| has(rule, &now.rules))
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let (now, then) = (binding(now)?, binding(then)?);
            then.subjects.iter().all(|subject| now.subjects.contains(subject))
        }
        ObjectKind::ConfigMap | ObjectKind::Namespace => {
            return Ok(mapped(Write::Patch(patch), AwsAuth::from_json(then)?, live));
        }
    };
    Ok(Turn::Patch { patch, narrows })
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
