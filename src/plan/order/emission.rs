//! Turns the writes of the search into steps: the exact request, the precondition and the description.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::contents::{BindingForm, RoleForm};
use super::items::ItemWrite;
use super::search::{ScheduledWrite, Search, SearchWrite};
use super::{ChangeKind, FirstPrecondition, PendingWrite, Phase};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::Step;
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::State;
use crate::state::object::{Binding, Role, binding_to_json, role_to_json, subjects_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, DIGEST_ANNOTATION, Owner, TEMPORARY_ANNOTATION};
use crate::state::rbac::{RoleRef, Rule, Subject};
use crate::state::write::{Precondition, WriteRequest, apply_merge_patch};

fn to_precondition(precondition: &FirstPrecondition) -> Precondition {
    match precondition {
        FirstPrecondition::Absent => Precondition::Absent,
        FirstPrecondition::AsRead { uid, resource_version } => {
            Precondition::Unchanged { uid: uid.clone(), resource_version: resource_version.clone() }
        }
    }
}

/// Returns the steps of a plan that only grants or only revokes, in the order of their phases.
pub(super) fn in_phase_order(planned: Vec<PendingWrite>) -> Vec<Step> {
    let phase = |pending: &PendingWrite| match (&pending.kind, pending.object.kind()) {
        (_, ObjectKind::ConfigMap | ObjectKind::Namespace) => Phase::Mapping,
        (ChangeKind::Create(_), ObjectKind::ClusterRole | ObjectKind::Role) => Phase::GrantRole,
        (ChangeKind::Delete, ObjectKind::ClusterRole | ObjectKind::Role) => Phase::DeleteRole,
        (ChangeKind::Delete, _) => Phase::DeleteBinding,
        (ChangeKind::Patch { .. }, _) => Phase::RevokePart,
        (ChangeKind::Create(_) | ChangeKind::Replace { .. } | ChangeKind::Map { .. }, _) => Phase::GrantBinding,
    };
    let mut all: Vec<(Phase, PendingWrite)> = planned.into_iter().map(|pending| (phase(&pending), pending)).collect();
    all.sort_by_key(|(phase, _)| *phase);
    let mut stage = 0;
    let mut last = None;
    let step = |(phase, pending): (Phase, PendingWrite)| {
        if last.replace(phase).is_some_and(|last| last != phase) {
            stage += 1;
        }
        let precondition = to_precondition(&pending.precondition);
        let write = match pending.kind {
            ChangeKind::Create(body) | ChangeKind::Replace { body, .. } => WriteRequest::Create(body),
            ChangeKind::Patch { patch, .. } => WriteRequest::Patch(patch),
            ChangeKind::Delete => WriteRequest::Delete,
            ChangeKind::Map { write, .. } => write,
        };
        Step {
            object: pending.object,
            write,
            precondition,
            stage,
            wait_for: Vec::new(),
            description: pending.description,
        }
    };
    all.into_iter().map(step).collect()
}

/// Returns the steps of a search.
pub(super) fn steps(search: &Search<'_>, live: &State, after: &State) -> Vec<Step> {
    let mut emission = WriteEmitter { search, live, after, written: BTreeMap::new(), steps: Vec::new() };
    // The model no longer contains temporary objects when the search ends, so their content comes from the writes.
    for ScheduledWrite { stage, write, awaits } in &search.log {
        let (object, write, first_precondition, why) = emission.build_write(write);
        let precondition = match (emission.written.get(&object), &write) {
            (Some((_, false)) | None, WriteRequest::Create(_)) => Precondition::Absent,
            (Some((step, _)), _) => Precondition::AsWrittenByStep { step: *step },
            (None, _) => first_precondition,
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

struct WriteEmitter<'a, 's> {
    search: &'a Search<'s>,
    live: &'a State,
    after: &'a State,
    /// For each object the last step that wrote it, and whether the object exists after that.
    written: BTreeMap<ObjectKey, (usize, bool)>,
    steps: Vec<Step>,
}

/// An object, its write, the precondition if it is the first write of the object, and the description.
type OrderWrite = (ObjectKey, WriteRequest, Precondition, String);

impl WriteEmitter<'_, '_> {
    fn build_write(&self, write: &SearchWrite<'_>) -> OrderWrite {
        match write {
            SearchWrite::Item(number, item_write) => self.item_write(*number, *item_write),
            SearchWrite::PartialBinding(number, form) => self.partial_binding(*number, form),
            SearchWrite::PartialRole(number, form) => self.partial_role(*number, form),
            SearchWrite::PartialMapping(variants) => {
                let write = self.search.aws_auth_edit.and_then(|edit| edit.write_with(variants, self.is_first()));
                let write = write.unwrap_or_else(|| WriteRequest::Patch(json!({})));
                let why = "change some of the aws-auth entries";
                (ObjectKey::aws_auth(), write, self.mapping_precondition(), why.to_owned())
            }
            SearchWrite::TemporaryRole(ix, form) => {
                let key = self.search.model.roles.get(*ix).map(|slot| slot.key.clone());
                let key = key.unwrap_or_else(ObjectKey::aws_auth);
                let mut role = Role { rules: self.rules(form), ..Role::default() };
                let digest = owner::role_digest(&role, &Labels::new());
                self.mark(&mut role.meta, digest);
                let why = format!("create temporary {key}");
                (key.clone(), WriteRequest::Create(role_to_json(&key, &role)), Precondition::Absent, why)
            }
            SearchWrite::TemporaryBinding(ix, form) => {
                let key = self.search.model.bindings.get(*ix).map(|slot| slot.key.clone());
                let key = key.unwrap_or_else(ObjectKey::aws_auth);
                let mut binding = self.binding(form);
                let digest = owner::binding_digest(&binding);
                self.mark(&mut binding.meta, digest);
                let why = format!("create temporary {key}");
                (key.clone(), WriteRequest::Create(binding_to_json(&key, &binding)), Precondition::Absent, why)
            }
            SearchWrite::DeleteTemporaryRole(ix) => {
                Self::deletion(self.search.model.roles.get(*ix).map(|slot| slot.key.clone()))
            }
            SearchWrite::DeleteTemporaryBinding(ix) => {
                Self::deletion(self.search.model.bindings.get(*ix).map(|slot| slot.key.clone()))
            }
        }
    }

    fn mark(&self, meta: &mut ObjectMeta, digest: String) {
        owner::mark_owned(meta, self.search.author.policy, &Labels::new(), digest);
        meta.annotations.insert(TEMPORARY_ANNOTATION.to_owned(), "true".to_owned());
    }

    fn deletion(key: Option<ObjectKey>) -> OrderWrite {
        let key = key.unwrap_or_else(ObjectKey::aws_auth);
        let why = format!("delete temporary {key}");
        (key, WriteRequest::Delete, Precondition::Absent, why)
    }

    fn is_first(&self) -> bool {
        !self.written.contains_key(&ObjectKey::aws_auth())
    }

    fn planned(&self, number: usize) -> Option<&PendingWrite> {
        self.search.planned.get(self.search.items.get(number)?.planned)
    }

    fn mapping_precondition(&self) -> Precondition {
        let mapping = self.search.planned.iter().find(|pending| matches!(pending.kind, ChangeKind::Map { .. }));
        mapping.map_or(Precondition::Absent, |pending| to_precondition(&pending.precondition))
    }

    fn item_write(&self, number: usize, item_write: ItemWrite) -> OrderWrite {
        let Some(pending) = self.planned(number) else {
            return Self::deletion(None);
        };
        let key = pending.object.clone();
        let first_precondition = to_precondition(&pending.precondition);
        let exists = self.written.get(&key).map(|(_, exists)| *exists);
        match (&pending.kind, item_write) {
            (ChangeKind::Replace { bridge: Some((bridge, body)), .. }, ItemWrite::CreateBridge) => {
                let why = format!("create temporary {bridge} to keep access while {} is replaced", key.name());
                (bridge.clone(), WriteRequest::Create(body.clone()), Precondition::Absent, why)
            }
            (ChangeKind::Replace { bridge: Some((bridge, _)), .. }, ItemWrite::DeleteBridge) => {
                (bridge.clone(), WriteRequest::Delete, Precondition::Absent, format!("delete temporary {bridge}"))
            }
            (ChangeKind::Replace { .. }, ItemWrite::DeleteOld) => {
                let why = format!("delete {key} (old roleRef)");
                (key, WriteRequest::Delete, first_precondition, why)
            }
            (ChangeKind::Replace { body, .. }, _) => {
                let why = format!("create {key} (new roleRef)");
                (key, WriteRequest::Create(body.clone()), Precondition::Absent, why)
            }
            // An earlier step has created the object with a part of its content.
            (ChangeKind::Create(body), _) if exists == Some(true) => {
                let why = format!("complete {key}");
                (key, WriteRequest::Patch(content_patch(body)), first_precondition, why)
            }
            (ChangeKind::Create(body), _) => {
                (key, WriteRequest::Create(body.clone()), first_precondition, pending.description.clone())
            }
            (ChangeKind::Patch { patch, .. }, _) => {
                let mut patch = patch.clone();
                let digest = self.after.meta(&key).and_then(|meta| meta.annotations.get(DIGEST_ANNOTATION));
                if let Some(digest) = digest.filter(|_| exists.is_some()) {
                    apply_merge_patch(
                        &mut patch,
                        &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }),
                    );
                }
                (key, WriteRequest::Patch(patch), first_precondition, pending.description.clone())
            }
            (ChangeKind::Delete, _) => (key, WriteRequest::Delete, first_precondition, pending.description.clone()),
            (ChangeKind::Map { write: WriteRequest::Create(body), .. }, _) if exists == Some(true) => {
                let mut patch = json!({ "data": body.get("data") });
                apply_merge_patch(
                    &mut patch,
                    &json!({ "metadata": { "annotations": body.pointer("/metadata/annotations") } }),
                );
                (key, WriteRequest::Patch(patch), first_precondition, pending.description.clone())
            }
            (ChangeKind::Map { write, edit }, _) if exists.is_some() => {
                let last = vec![EntryVariant::Final; edit.principal_edits.len()];
                let write = edit.write_with(&last, false).unwrap_or_else(|| write.clone());
                (key, write, first_precondition, pending.description.clone())
            }
            (ChangeKind::Map { write, .. }, _) => (key, write.clone(), first_precondition, pending.description.clone()),
        }
    }

    fn subjects(&self, form: &BindingForm) -> Vec<Subject> {
        form.subjects.iter().filter_map(|subject| self.search.model.subjects.get(*subject)).cloned().collect()
    }

    fn rules(&self, form: &RoleForm<'_>) -> Vec<Rule> {
        form.rules.iter().filter_map(|rule| self.search.model.rule_with_id(*rule)).cloned().collect()
    }

    fn binding(&self, form: &BindingForm) -> Binding {
        let role = self.search.model.roles.get(form.role).map(|slot| slot.key.clone());
        let role = role.unwrap_or_else(ObjectKey::aws_auth);
        let role_ref = match role.kind() {
            ObjectKind::Role => RoleRef::Role(role.name().to_owned()),
            _ => RoleRef::ClusterRole(role.name().to_owned()),
        };
        Binding { meta: ObjectMeta::default(), role_ref, subjects: self.subjects(form) }
    }

    /// Returns a write of intermediate content. An object of the policy keeps its ownership marks, with the digest of
    /// this content.
    fn partial_change(
        &self,
        number: usize,
        field: &str,
        content: Value,
        digest: &str,
        whole: impl FnOnce(&ObjectKey) -> Value,
    ) -> OrderWrite {
        let Some(pending) = self.planned(number) else {
            return Self::deletion(None);
        };
        let key = pending.object.clone();
        let is_new = matches!(pending.kind, ChangeKind::Create(_)) && !self.written.contains_key(&key);
        if is_new {
            let body = whole(&key);
            let why = format!("create {key} with part of its content");
            return (key, WriteRequest::Create(body), Precondition::Absent, why);
        }
        let why = format!("change part of {key}");
        let mut patch = Map::new();
        patch.insert(field.to_owned(), content);
        let mut patch = Value::Object(patch);
        let meta = self.live.meta(&key);
        let is_owned =
            meta.is_none_or(|meta| owner::object_owner(meta, self.search.author.policy) == Owner::ThisPolicy);
        if is_owned {
            apply_merge_patch(&mut patch, &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }));
        }
        (key, WriteRequest::Patch(patch), to_precondition(&pending.precondition), why)
    }

    fn partial_binding(&self, number: usize, form: &BindingForm) -> OrderWrite {
        let mut binding = self.binding(form);
        let digest = owner::binding_digest(&binding);
        owner::mark_owned(&mut binding.meta, self.search.author.policy, &Labels::new(), digest.clone());
        let content = subjects_to_json(&binding.subjects);
        self.partial_change(number, "subjects", content, &digest, |key| binding_to_json(key, &binding))
    }

    fn partial_role(&self, number: usize, form: &RoleForm<'_>) -> OrderWrite {
        let role = Role { rules: self.rules(form), ..Role::default() };
        let managed_labels =
            self.planned(number).and_then(|pending| self.live.meta(&pending.object)).map(owner::content_labels);
        let digest = owner::role_digest(&role, &managed_labels.unwrap_or_default());
        self.partial_change(number, "rules", json!(role.rules), &digest, |key| role_to_json(key, &role))
    }
}

/// Returns the patch that brings an object to the content of `body`.
fn content_patch(body: &Value) -> Value {
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
