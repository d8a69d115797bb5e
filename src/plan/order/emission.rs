//! From the moves to steps: the exact write of each, what it needs of its object, and its reason.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::forms::{BindingForm, RoleForm};
use super::items::Act;
use super::search::{Made, Search, What};
use super::{Needs, PendingWrite, Phase, Turn};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::Step;
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::State;
use crate::state::object::{Binding, Role, binding_to_json, role_to_json, subjects_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, DIGEST_ANNOTATION, Owner, TEMPORARY_ANNOTATION};
use crate::state::rbac::{RoleRef, Rule, Subject};
use crate::state::write::{Precondition, WriteRequest, apply_merge_patch};

fn precondition(needs: &Needs) -> Precondition {
    match needs {
        Needs::Absent => Precondition::Absent,
        Needs::AsRead { uid, resource_version } => {
            Precondition::Unchanged { uid: uid.clone(), resource_version: resource_version.clone() }
        }
    }
}

/// The steps of a plan that gives or takes all the way, in their usual order.
pub(super) fn plainly(planned: Vec<PendingWrite>) -> Vec<Step> {
    let phase = |one: &PendingWrite| match (&one.turn, one.object.kind()) {
        (_, ObjectKind::ConfigMap | ObjectKind::Namespace) => Phase::Mapping,
        (Turn::Create(_), ObjectKind::ClusterRole | ObjectKind::Role) => Phase::GrantRole,
        (Turn::Delete, ObjectKind::ClusterRole | ObjectKind::Role) => Phase::TakeRole,
        (Turn::Delete, _) => Phase::TakeBinding,
        (Turn::Patch { .. }, _) => Phase::Narrow,
        (Turn::Create(_) | Turn::Replace { .. } | Turn::Map { .. }, _) => Phase::GrantBinding,
    };
    let mut all: Vec<(Phase, PendingWrite)> = planned.into_iter().map(|one| (phase(&one), one)).collect();
    all.sort_by_key(|(phase, _)| *phase);
    let mut stage = 0;
    let mut last = None;
    let step = |(phase, one): (Phase, PendingWrite)| {
        if last.replace(phase).is_some_and(|last| last != phase) {
            stage += 1;
        }
        let precondition = precondition(&one.needs);
        let write = match one.turn {
            Turn::Create(body) | Turn::Replace { body, .. } => WriteRequest::Create(body),
            Turn::Patch { patch, .. } => WriteRequest::Patch(patch),
            Turn::Delete => WriteRequest::Delete,
            Turn::Map { write, .. } => write,
        };
        Step { object: one.object, write, precondition, stage, wait_for: Vec::new(), description: one.why }
    };
    all.into_iter().map(step).collect()
}

/// The steps of a search.
pub(super) fn steps(search: &Search<'_>, live: &State, after: &State) -> Vec<Step> {
    let mut emission = Emission { search, live, after, written: BTreeMap::new(), steps: Vec::new() };
    // Temporary objects are gone when the search ends; what they were is read off the moves.
    for Made { stage, what, awaits } in &search.log {
        let (object, write, needs, why) = emission.written(what);
        let precondition = match (emission.written.get(&object), &write) {
            (Some((_, false)) | None, WriteRequest::Create(_)) => Precondition::Absent,
            (Some((step, _)), _) => Precondition::AsWrittenByStep { step: *step },
            (None, _) => needs,
        };
        let exists = !matches!(write, WriteRequest::Delete);
        emission.written.insert(object.clone(), (emission.steps.len(), exists));
        emission.steps.push(Step {
            object,
            write,
            precondition,
            stage: *stage,
            wait_for: awaits.clone(),
            description: why,
        });
    }
    emission.steps
}

struct Emission<'a, 's> {
    search: &'a Search<'s>,
    live: &'a State,
    after: &'a State,
    /// The last step that wrote an object, and whether it is there since.
    written: BTreeMap<ObjectKey, (usize, bool)>,
    steps: Vec<Step>,
}

/// An object, its write, what a first write needs, and the reason.
type OrderWrite = (ObjectKey, WriteRequest, Precondition, String);

impl Emission<'_, '_> {
    fn written(&self, what: &What<'_>) -> OrderWrite {
        match what {
            What::Act(number, act) => self.act(*number, *act),
            What::PartBinding(number, form) => self.part_binding(*number, form),
            What::PartRole(number, form) => self.part_role(*number, form),
            What::PartMapping(standings) => {
                let write = self.search.splits.and_then(|splits| splits.write_with(standings, self.is_first()));
                let write = write.unwrap_or_else(|| WriteRequest::Patch(json!({})));
                let why = "bring the entries of aws-auth part of the way";
                (ObjectKey::aws_auth(), write, self.needs_of_mapping(), why.to_owned())
            }
            What::TemporaryRole(ix, form) => {
                let key = self.search.world.roles.get(*ix).map(|slot| slot.key.clone());
                let key = key.unwrap_or_else(ObjectKey::aws_auth);
                let mut role = Role { rules: self.rules(form), ..Role::default() };
                let digest = owner::role_digest(&role, &Labels::new());
                self.mark(&mut role.meta, digest);
                let why = format!("create {key}, which holds the new access for a while");
                (key.clone(), WriteRequest::Create(role_to_json(&key, &role)), Precondition::Absent, why)
            }
            What::TemporaryBinding(ix, form) => {
                let key = self.search.world.bindings.get(*ix).map(|slot| slot.key.clone());
                let key = key.unwrap_or_else(ObjectKey::aws_auth);
                let mut binding = self.binding(form);
                let digest = owner::binding_digest(&binding);
                self.mark(&mut binding.meta, digest);
                let why = format!("create {key}, which holds the new access for a while");
                (key.clone(), WriteRequest::Create(binding_to_json(&key, &binding)), Precondition::Absent, why)
            }
            What::RoleAway(ix) => Self::away(self.search.world.roles.get(*ix).map(|slot| slot.key.clone())),
            What::BindingAway(ix) => Self::away(self.search.world.bindings.get(*ix).map(|slot| slot.key.clone())),
        }
    }

    fn mark(&self, meta: &mut ObjectMeta, digest: String) {
        owner::mark_owned(meta, self.search.author.policy, &Labels::new(), digest);
        meta.annotations.insert(TEMPORARY_ANNOTATION.to_owned(), "true".to_owned());
    }

    fn away(key: Option<ObjectKey>) -> OrderWrite {
        let key = key.unwrap_or_else(ObjectKey::aws_auth);
        let why = format!("delete {key}, which held the new access for a while");
        (key, WriteRequest::Delete, Precondition::Absent, why)
    }

    fn is_first(&self) -> bool {
        !self.written.contains_key(&ObjectKey::aws_auth())
    }

    fn planned(&self, number: usize) -> Option<&PendingWrite> {
        self.search.planned.get(self.search.items.get(number)?.planned)
    }

    fn needs_of_mapping(&self) -> Precondition {
        let mapping = self.search.planned.iter().find(|one| matches!(one.turn, Turn::Map { .. }));
        mapping.map_or(Precondition::Absent, |one| precondition(&one.needs))
    }

    fn act(&self, number: usize, act: Act) -> OrderWrite {
        let Some(one) = self.planned(number) else {
            return Self::away(None);
        };
        let key = one.object.clone();
        let needs = precondition(&one.needs);
        let exists = self.written.get(&key).map(|(_, exists)| *exists);
        match (&one.turn, act) {
            (Turn::Replace { bridge: Some((bridge, body)), .. }, Act::Bridge) => {
                let why = format!("create {bridge}, a bridge while {} is replaced", key.name());
                (bridge.clone(), WriteRequest::Create(body.clone()), Precondition::Absent, why)
            }
            (Turn::Replace { bridge: Some((bridge, _)), .. }, Act::BridgeAway) => {
                (bridge.clone(), WriteRequest::Delete, Precondition::Absent, format!("delete {bridge}, the bridge"))
            }
            (Turn::Replace { .. }, Act::Away) => {
                let why = format!("delete {key} with its old roleRef");
                (key, WriteRequest::Delete, needs, why)
            }
            (Turn::Replace { body, .. }, _) => {
                let why = format!("create {key}");
                (key, WriteRequest::Create(body.clone()), Precondition::Absent, why)
            }
            // Made in part already.
            (Turn::Create(body), _) if exists == Some(true) => {
                (key, WriteRequest::Patch(content(body)), needs, one.why.clone())
            }
            (Turn::Create(body), _) => (key, WriteRequest::Create(body.clone()), needs, one.why.clone()),
            (Turn::Patch { patch, .. }, _) => {
                let mut patch = patch.clone();
                let digest = self.after.meta(&key).and_then(|meta| meta.annotations.get(DIGEST_ANNOTATION));
                if let Some(digest) = digest.filter(|_| exists.is_some()) {
                    apply_merge_patch(
                        &mut patch,
                        &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }),
                    );
                }
                (key, WriteRequest::Patch(patch), needs, one.why.clone())
            }
            (Turn::Delete, _) => (key, WriteRequest::Delete, needs, one.why.clone()),
            (Turn::Map { write: WriteRequest::Create(body), .. }, _) if exists == Some(true) => {
                let mut patch = json!({ "data": body.get("data") });
                apply_merge_patch(
                    &mut patch,
                    &json!({ "metadata": { "annotations": body.pointer("/metadata/annotations") } }),
                );
                (key, WriteRequest::Patch(patch), needs, one.why.clone())
            }
            (Turn::Map { write, splits }, _) if exists.is_some() => {
                let last = vec![EntryVariant::Final; splits.principal_edits.len()];
                let write = splits.write_with(&last, false).unwrap_or_else(|| write.clone());
                (key, write, needs, one.why.clone())
            }
            (Turn::Map { write, .. }, _) => (key, write.clone(), needs, one.why.clone()),
        }
    }

    fn subjects(&self, form: &BindingForm) -> Vec<Subject> {
        form.subjects.iter().filter_map(|subject| self.search.world.subjects.get(*subject)).cloned().collect()
    }

    fn rules(&self, form: &RoleForm<'_>) -> Vec<Rule> {
        form.rules.iter().filter_map(|rule| self.search.world.rule_of(*rule)).cloned().collect()
    }

    fn binding(&self, form: &BindingForm) -> Binding {
        let role = self.search.world.roles.get(form.role).map(|slot| slot.key.clone());
        let role = role.unwrap_or_else(ObjectKey::aws_auth);
        let role_ref = match role.kind() {
            ObjectKind::Role => RoleRef::Role(role.name().to_owned()),
            _ => RoleRef::ClusterRole(role.name().to_owned()),
        };
        Binding { meta: ObjectMeta::default(), role_ref, subjects: self.subjects(form) }
    }

    /// What an object says for a while; it stays marked as the policy's where it is.
    fn part(
        &self,
        number: usize,
        field: &str,
        content: Value,
        digest: &str,
        whole: impl FnOnce(&ObjectKey) -> Value,
    ) -> OrderWrite {
        let Some(one) = self.planned(number) else {
            return Self::away(None);
        };
        let key = one.object.clone();
        let why = format!("bring {key} part of the way");
        let is_new = matches!(one.turn, Turn::Create(_)) && !self.written.contains_key(&key);
        if is_new {
            let body = whole(&key);
            return (key, WriteRequest::Create(body), Precondition::Absent, why);
        }
        let mut patch = Map::new();
        patch.insert(field.to_owned(), content);
        let mut patch = Value::Object(patch);
        let meta = self.live.meta(&key);
        let ours = meta.is_none_or(|meta| owner::object_owner(meta, self.search.author.policy) == Owner::ThisPolicy);
        if ours {
            apply_merge_patch(&mut patch, &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }));
        }
        (key, WriteRequest::Patch(patch), precondition(&one.needs), why)
    }

    fn part_binding(&self, number: usize, form: &BindingForm) -> OrderWrite {
        let mut binding = self.binding(form);
        let digest = owner::binding_digest(&binding);
        owner::mark_owned(&mut binding.meta, self.search.author.policy, &Labels::new(), digest.clone());
        let content = subjects_to_json(&binding.subjects);
        self.part(number, "subjects", content, &digest, |key| binding_to_json(key, &binding))
    }

    fn part_role(&self, number: usize, form: &RoleForm<'_>) -> OrderWrite {
        let role = Role { rules: self.rules(form), ..Role::default() };
        let counted = self.planned(number).and_then(|one| self.live.meta(&one.object)).map(owner::content_labels);
        let digest = owner::role_digest(&role, &counted.unwrap_or_default());
        self.part(number, "rules", json!(role.rules), &digest, |key| role_to_json(key, &role))
    }
}

/// What of the body of a new object a patch brings.
fn content(body: &Value) -> Value {
    let mut patch = Map::new();
    for field in ["rules", "subjects", "aggregationRule"] {
        if let Some(value) = body.get(field) {
            patch.insert(field.to_owned(), value.clone());
        }
    }
    let part = |field: &str| body.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    patch.insert("metadata".to_owned(), json!({ "labels": part("labels"), "annotations": part("annotations") }));
    Value::Object(patch)
}
