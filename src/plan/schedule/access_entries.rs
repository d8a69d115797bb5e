//! Access entries in the order of writes: each write of an entry changes its username and groups, or one association with an
//! access policy.
//!
//! An entry authenticates its principal before aws-auth does, so its creation and its deletion change who the principal is.
//! Its associations grant like bindings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::changes::{ObjectChange, Op, PlannedChanges, TargetObject};
use super::identity_classes::{ClassId, IdentityClass};
use super::internal;
use super::objects::ObjectArena;
use super::scheduler::Scheduler;
use super::verifier::{AppliedWrite, UndoWrite, Verifier};
use super::{ChangeKind, PendingWrite};
use crate::access::{AccessEffect, AccessEngine, BindingId, IamIdentity, IdentityMapping, RoleId};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::access_policies::{AccessPolicy, access_policy_key, access_policy_name};
use crate::state::object::{Binding, ObjectError, Role};

/// The index of a changed access entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId(usize);

/// A changed access entry.
#[derive(Debug, Clone)]
pub(super) struct EntrySlot<'s> {
    pub(super) key: &'s ObjectKey,
    pub(super) live: Option<&'s AccessEntry>,
    pub(super) planned: Option<&'s AccessEntry>,
    /// The entry after the writes so far. Its associations are those of the access engine.
    pub(super) current: Option<&'s AccessEntry>,
    /// The associations of the live and of the planned entry, with their planned content.
    pub(super) associations: BTreeMap<BindingId, Option<&'s Binding>>,
}

impl EntrySlot<'_> {
    /// Returns whether the entry is deleted and created again, because its type cannot be changed.
    pub(super) fn is_replaced(&self) -> bool {
        self.current.zip(self.planned).is_some_and(|(current, planned)| current.entry_type != planned.entry_type)
    }
}

/// The changed access entries, and for each principal the classes that log in with its entry.
#[derive(Debug, Clone, Default)]
pub(super) struct EntrySlots<'s> {
    slots: Vec<EntrySlot<'s>>,
    /// By the key that the authenticator compares.
    classes: BTreeMap<String, Vec<ClassId>>,
}

/// Returns the key of an entry that the authenticator compares.
fn comparison_key(key: &ObjectKey) -> String {
    IamIdentity::from_access_entry(key.name()).comparison_key()
}

impl<'s> EntrySlots<'s> {
    pub(super) fn get(&self, id: EntryId) -> Result<&EntrySlot<'s>, ObjectError> {
        self.slots.get(id.0).ok_or_else(|| internal("an access entry does not exist"))
    }

    fn get_mut(&mut self, id: EntryId) -> Result<&mut EntrySlot<'s>, ObjectError> {
        self.slots.get_mut(id.0).ok_or_else(|| internal("an access entry does not exist"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EntrySlot<'s>> {
        self.slots.iter()
    }

    /// Returns the keys of the entries that the authenticator compares.
    pub(super) fn comparison_keys(&self) -> impl Iterator<Item = String> {
        self.slots.iter().map(|slot| comparison_key(slot.key))
    }

    pub(super) fn index_classes(&mut self, classes: &[IdentityClass]) {
        for (number, class) in classes.iter().enumerate() {
            if let Some(key) = class.entry_key() {
                self.classes.entry(key).or_default().push(ClassId(number));
            }
        }
    }

    /// Returns the classes of a principal and its sessions.
    pub(super) fn classes_of(&self, id: EntryId) -> Result<&[ClassId], ObjectError> {
        let key = comparison_key(self.get(id)?.key);
        Ok(self.classes.get(&key).map(Vec::as_slice).unwrap_or_default())
    }

    /// Returns the entries after the writes so far.
    pub(super) fn current(&self) -> Vec<Option<&'s AccessEntry>> {
        self.slots.iter().map(|slot| slot.current).collect()
    }

    pub(super) fn restore(&mut self, current: &[Option<&'s AccessEntry>]) {
        for (slot, current) in self.slots.iter_mut().zip(current) {
            slot.current = *current;
        }
    }

    /// Returns whether all entries have their live or their planned content.
    pub(super) fn all_are(&self, side: impl Fn(&EntrySlot<'s>) -> Option<&'s AccessEntry>) -> bool {
        let is_same = |slot: &EntrySlot<'s>| slot.current.map(std::ptr::from_ref) == side(slot).map(std::ptr::from_ref);
        self.slots.iter().all(is_same)
    }

    /// Adds the changes of one access entry.
    pub(super) fn add_changes(
        &mut self,
        pending: &'s PendingWrite,
        planned: Option<AccessEntry>,
        live: &'s State,
        arena: &'s ObjectArena,
        engine: &mut AccessEngine<'s>,
    ) -> Result<Vec<ObjectChange<'s>>, ObjectError> {
        let key = &pending.object;
        let live = live.access_entries.get(key);
        let planned = planned.map(|entry| arena.add_access_entry(entry));
        let id = EntryId(self.slots.len());
        let mut targets = Vec::new();
        // An association of a deleted entry disappears with it.
        let kept = live.filter(|live| planned.is_some_and(|planned| planned.entry_type == live.entry_type));
        match kept.zip(planned) {
            None => targets.push(TargetObject::AccessEntry { id, planned }),
            Some((live, planned)) => {
                let is_changed = !has_same_fields(live, planned);
                let are_tags_changed = live.tags() != planned.tags();
                if is_changed && are_tags_changed {
                    let fields = arena.add_access_entry(planned.with_tags(live.tags().clone()));
                    targets.push(TargetObject::AccessEntry { id, planned: Some(fields) });
                }
                if is_changed || are_tags_changed {
                    targets.push(TargetObject::AccessEntry { id, planned: Some(planned) });
                }
            }
        }
        let mut associations = BTreeMap::new();
        for (_, arn, key, binding) in live.into_iter().flat_map(AccessEntry::associations) {
            let binding_id = engine.binding_id(key);
            associations.insert(binding_id, None);
            let is_removed = kept.is_some() && planned.is_some_and(|planned| planned.policy_scope(arn).is_none());
            if is_removed {
                targets.push(TargetObject::Association { entry: id, id: binding_id, policy: arn, planned: None });
            }
            engine.subjects_of(binding);
        }
        for (scope, arn, key, binding) in planned.into_iter().flat_map(AccessEntry::associations) {
            let binding_id = engine.binding_id(key);
            associations.insert(binding_id, Some(binding));
            engine.subjects_of(binding);
            add_policy(access_policy_name(arn), arena, engine)?;
            if kept.is_none_or(|live| live.policy_scope(arn) != Some(scope)) {
                let planned = Some(binding);
                targets.push(TargetObject::Association { entry: id, id: binding_id, policy: arn, planned });
            }
        }
        self.slots.push(EntrySlot { key, live, planned, current: live, associations });
        Ok(targets.into_iter().map(|target| ObjectChange { pending, target, is_done: false }).collect())
    }
}

fn has_same_fields(one: &AccessEntry, other: &AccessEntry) -> bool {
    one.username == other.username && one.groups == other.groups
}

/// Adds an access policy to the engine, if no entry of the live state has it.
fn add_policy<'s>(name: &str, arena: &'s ObjectArena, engine: &mut AccessEngine<'s>) -> Result<(), ObjectError> {
    let id = engine.role_id(arena.add_key(access_policy_key(name)));
    if engine.role(id).is_none() {
        let role: (RoleId, Option<&'s Role>) = (id, Some(arena.add_role(AccessPolicy::named(name).role)));
        engine.set_all([role], [])?;
    }
    Ok(())
}

/// Returns the namespaces and patterns in which associations apply after the plan.
pub(super) fn planned_namespaces<'s>(
    planned: &[PendingWrite],
    arena: &'s ObjectArena,
) -> Result<Vec<&'s str>, ObjectError> {
    let mut namespaces = Vec::new();
    for pending in planned {
        if let ChangeKind::AccessEntry { after: Some(after) } = &pending.kind {
            let entry = arena.add_access_entry(AccessEntry::from_json(after)?);
            let bindings = entry.association_bindings();
            namespaces.extend(bindings.flat_map(|(_, binding)| &binding.namespaces).flatten().map(String::as_str));
        }
    }
    Ok(namespaces)
}

impl<'s> Verifier<'s> {
    /// Applies a write of the username and groups of an access entry, its creation or its deletion.
    pub(super) fn apply_access_entry(
        &mut self,
        id: EntryId,
        entry: Option<&'s AccessEntry>,
    ) -> Result<AppliedWrite<'s>, ObjectError> {
        let mark = self.engine.mark();
        let slot = self.entries.get_mut(id)?;
        let previous = std::mem::replace(&mut slot.current, entry);
        let associations: Vec<BindingId> =
            if entry.is_none() { slot.associations.keys().copied().collect() } else { Vec::new() };
        let mut effect = AccessEffect::default();
        for association in associations {
            if self.engine.binding(association).is_some() {
                effect.and(self.engine.set_binding(association, None)?);
            }
        }
        let mut affected = self.affected(&effect);
        let key = self.entries.get(id)?.key;
        self.with_mapping(|mapping| mapping.set_access_entry(key.name(), entry))?;
        let classes = self.entries.classes_of(id)?.to_vec();
        let logins = self.logins_of(&classes)?;
        let logins = self.set_logins(logins)?;
        // An entry that takes the place of an equal one of aws-auth changes what a write of aws-auth does.
        affected.extend(classes);
        effect.direction = effect.direction.and(self.direction_of(&logins)?);
        Ok(AppliedWrite { effect, affected, undo: UndoWrite::AccessEntry { id, previous, mark, logins } })
    }

    /// Undoes such a write.
    pub(super) fn undo_access_entry(
        &mut self,
        id: EntryId,
        previous: Option<&'s AccessEntry>,
    ) -> Result<(), ObjectError> {
        let slot = self.entries.get_mut(id)?;
        slot.current = previous;
        let key = slot.key;
        self.with_mapping(|mapping| mapping.set_access_entry(key.name(), previous))
    }

    /// Returns the classes of the principals whose entries in aws-auth change.
    pub(super) fn classes_with_edits(&self) -> Result<BTreeSet<ClassId>, ObjectError> {
        let edits = self.edit.map_or(&[][..], |edit| &edit.principal_edits);
        let keys: BTreeSet<&String> = edits.iter().map(|edited| &edited.key).collect();
        let mapped = self.all_classes(&self.mapped_classes)?.into_iter();
        let changed = mapped.filter(|(_, class)| class.entry_key().is_some_and(|key| keys.contains(&key)));
        Ok(changed.map(|(id, _)| id).collect())
    }

    fn with_mapping(&mut self, change: impl FnOnce(&mut IdentityMapping)) -> Result<(), ObjectError> {
        if self.mapping.is_none() {
            self.mapping = Some(self.build_mapping()?);
        }
        if let Some(mapping) = &mut self.mapping {
            change(mapping);
        }
        Ok(())
    }
}

impl<'s> Scheduler<'s> {
    /// Returns whether an access entry exists after the writes so far.
    pub(super) fn has_access_entry(&self, id: EntryId) -> bool {
        self.verifier.entries.get(id).is_ok_and(|slot| slot.current.is_some() && !slot.is_replaced())
    }

    /// Returns whether an access entry can be written now. Its tags say what the policy owns, so they are written last: an
    /// interrupted apply then knows what is left.
    pub(super) fn can_write_access_entry(&self, id: EntryId, planned: Option<&AccessEntry>) -> bool {
        let current = self.verifier.entries.get(id).ok().and_then(|slot| slot.current);
        let is_tags_only = current.zip(planned).is_some_and(|(current, planned)| {
            current.entry_type == planned.entry_type && has_same_fields(current, planned)
        });
        let is_other = |change: &&ObjectChange<'_>| {
            !change.is_done
                && entry_of(&change.target) == Some(id)
                && !matches!(&change.target, TargetObject::AccessEntry { planned: own, .. }
                    if own.map(std::ptr::from_ref) == planned.map(std::ptr::from_ref))
        };
        !is_tags_only || !self.changes.iter().any(|change| is_other(&change))
    }

    /// Ends the stage if it has a write of the same access entry: each write depends on the version that the last one leaves.
    pub(super) fn separate_writes_of_entry(&mut self, op: &Op<'s>) {
        let entry_of = |op: &Op<'s>| match op {
            Op::AccessEntry(id, _) | Op::Association(id, ..) => Some(*id),
            Op::Role(..) | Op::Binding(..) | Op::Mapping(_) => None,
        };
        let Some(entry) = entry_of(op) else {
            return;
        };
        let stage = self.stage;
        let in_stage = self.log.iter().rev().take_while(|write| write.stage >= stage);
        if in_stage.into_iter().any(|write| entry_of(&write.op) == Some(entry)) {
            self.end_stage();
        }
    }
}

/// Returns the classes of an access entry, for the components of a plan.
pub(super) fn entry_of(target: &TargetObject<'_>) -> Option<EntryId> {
    match target {
        TargetObject::AccessEntry { id, .. } | TargetObject::Association { entry: id, .. } => Some(*id),
        TargetObject::Role { .. }
        | TargetObject::Binding { .. }
        | TargetObject::Replace { .. }
        | TargetObject::Mapping => None,
    }
}

impl<'s> PlannedChanges<'s> {
    /// Returns the bindings of associations after the plan.
    pub(super) fn planned_associations(&self) -> Vec<(BindingId, Option<&'s Binding>)> {
        let all = self.entries.iter().flat_map(|slot| &slot.associations);
        all.map(|(id, planned)| (*id, *planned)).collect()
    }
}

/// Returns the patch that changes the username, the groups and the tags of an entry.
pub(super) fn fields_patch(from: &AccessEntry, to: &AccessEntry) -> Value {
    let mut patch = Map::new();
    if from.username != to.username || from.groups != to.groups {
        patch.insert("username".to_owned(), json!(to.username));
        patch.insert("kubernetesGroups".to_owned(), json!(to.groups));
    }
    let removed = from.tags().keys().filter(|key| !to.tags().contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let set = to.tags().iter().filter(|(key, value)| from.tags().get(*key) != Some(value));
    let tags: Map<String, Value> = removed.chain(set.map(|(key, value)| (key.clone(), json!(value)))).collect();
    if !tags.is_empty() {
        patch.insert("tags".to_owned(), Value::Object(tags));
    }
    Value::Object(patch)
}

/// Returns the patch that associates an entry with an access policy, changes the scope, or removes the association.
pub(super) fn association_patch(policy: &str, association: Option<&Binding>) -> Value {
    let scope = association.map_or(Value::Null, |binding| match &binding.namespaces {
        None => json!({ "type": "cluster", "namespaces": null }),
        Some(namespaces) => json!({ "type": "namespace", "namespaces": namespaces }),
    });
    json!({ "accessPolicies": { policy: scope } })
}

/// Describes such a write as an infinitive.
pub(super) fn describe_association(entry: &ObjectKey, policy: &str, association: Option<&Binding>) -> String {
    let (policy, entry) = (access_policy_name(policy), entry.name());
    match association.map(|binding| &binding.namespaces) {
        None => format!("disassociate {policy} from access entry {entry}"),
        Some(None) => format!("associate {policy} with access entry {entry}"),
        Some(Some(namespaces)) => {
            let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            format!("associate {policy} in {} with access entry {entry}", namespaces.join(", "))
        }
    }
}
