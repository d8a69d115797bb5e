//! The strategy `temporaries`: temporary objects grant the new access while the real objects change. It is always
//! possible, except if a delay of the controller of aggregated ClusterRoles prevents it.
//!
//! 1. Each blocked principal keeps its access and gets a temporary group that no binding refers to yet. A principal
//!    without an entry gets the group in step 3.
//! 2. Temporary bindings, to copies of roles where needed, grant the planned access to that group.
//! 3. The principal keeps only its temporary group and a temporary username. It now has exactly its planned access, and
//!    the real usernames and groups no longer refer to it.
//! 4. Temporary bindings grant the planned access to the other subjects too. Then old bindings shrink, roles change,
//!    and bindings get their planned content.
//! 5. The entries get their planned content, and the temporary objects are deleted.
//!
//! Every write is checked against the bounds like any other. Nodes never get another username.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{ChangeId, ObjectChange, Op, Purpose, ReplaceProgress, TargetObject};
use super::components::Component;
use super::internal;
use super::scheduler::Scheduler;
use crate::access::{BindingId, RoleId};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::ObjectError;
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, TEMPORARY_ANNOTATION};
use crate::state::rbac::{RoleRef, Subject};

/// The temporary objects.
#[derive(Default)]
pub(super) struct Temporaries<'s> {
    /// For each copied role its copy.
    roles: BTreeMap<RoleId, (RoleId, &'s ObjectKey)>,
    bindings: Vec<(BindingId, &'s ObjectKey)>,
}

/// The subjects to which a copy of a binding grants its role.
pub(super) type BindingCopies<'s> = Vec<(BindingId, &'s Binding, Vec<Subject>)>;

impl<'s> Scheduler<'s> {
    /// Makes all remaining changes with temporary objects, or those of some components. Returns whether any was made.
    pub(super) fn use_temporaries(&mut self) -> Result<bool, ObjectError> {
        if self.use_temporaries_for(&self.whole())? {
            return Ok(true);
        }
        let components = self.components();
        for component in components.iter().filter(|_| components.len() > 1) {
            // The entries of a component can have their planned content already.
            if !self.is_component_done(component)? && self.use_temporaries_for(component)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the changes of a component. If that is not possible, restores the schedule.
    fn use_temporaries_for(&mut self, component: &Component) -> Result<bool, ObjectError> {
        for isolate in [false, true] {
            let saved = self.checkpoint();
            if self.try_temporaries(isolate, component)? && self.is_component_done(component)? {
                return Ok(true);
            }
            self.restore(&saved)?;
        }
        Ok(false)
    }

    /// Returns whether all steps were possible.
    fn try_temporaries(&mut self, isolate: bool, component: &Component) -> Result<bool, ObjectError> {
        let mut temporaries = Temporaries::default();
        if isolate && self.mapping_remains() {
            if !self.isolate_principals(component, &mut temporaries)? {
                return Ok(false);
            }
            self.make_possible_writes()?;
        }
        let are_objects_changed = self.is_component_done(component)?
            || self.grant_through_copies(component, &mut temporaries)? && self.change_originals(component)?;
        if !are_objects_changed {
            return Ok(false);
        }
        self.make_possible_writes()?;
        if !self.is_component_done(component)? {
            self.change_entries_partially()?;
        }
        self.delete_temporaries(&temporaries)
    }

    /// Returns the bindings of the planned state.
    pub(super) fn planned_bindings(&self) -> BTreeMap<BindingId, &'s Binding> {
        let now = self.verifier.engine.bindings();
        let mut all: BTreeMap<BindingId, &'s Binding> = now.map(|(id, _, binding)| (id, binding)).collect();
        for change in &self.changes {
            match &change.target {
                TargetObject::Binding { id, planned: Some(planned), .. } => drop(all.insert(*id, planned)),
                TargetObject::Binding { id, planned: None, .. } => drop(all.remove(id)),
                TargetObject::Replace { id, planned, bridge, .. } => {
                    all.insert(*id, planned);
                    bridge.map(|bridge| all.remove(&bridge));
                }
                TargetObject::Role { .. }
                | TargetObject::AccessEntry { .. }
                | TargetObject::Association { .. }
                | TargetObject::Mapping => {}
            }
        }
        all
    }

    /// Creates temporary bindings that grant the planned rules of roles. Returns whether that is possible.
    pub(super) fn bind_copies(
        &mut self,
        copies: BindingCopies<'s>,
        temporaries: &mut Temporaries<'s>,
    ) -> Result<bool, ObjectError> {
        let mut bindings = Vec::new();
        for (original, planned, subjects) in copies {
            let key = self.verifier.engine.binding_key(original);
            let key = key.ok_or_else(|| internal("a binding has no key"))?;
            let Some(role) = self.verifier.engine.bound_role(key, planned) else {
                continue;
            };
            let Some(role_ref) = self.copy_role(role, &planned.role_ref, temporaries)? else {
                return Ok(false);
            };
            bindings.push((key, role_ref, subjects));
        }
        self.end_stage();
        for (original, role_ref, subjects) in bindings {
            let key = self.unused_key(original.parts())?;
            let id = self.verifier.engine.binding_id(key);
            if self.create_temporary_binding(key, id, &role_ref, subjects)? {
                temporaries.bindings.push((id, key));
            }
        }
        self.end_stage();
        Ok(true)
    }

    /// Creates a binding for those of its subjects that stay within their bounds. One entry can match two principals,
    /// of which only one has the access in the planned state. Returns whether there is any such subject.
    fn create_temporary_binding(
        &mut self,
        key: &'s ObjectKey,
        id: BindingId,
        role_ref: &RoleRef,
        subjects: Vec<Subject>,
    ) -> Result<bool, ObjectError> {
        let to_op = |scheduler: &Self, subjects: Vec<Subject>| {
            let mut binding =
                Binding { meta: ObjectMeta::default(), role_ref: role_ref.clone(), subjects, namespaces: None };
            let digest = owner::binding_digest(&binding);
            scheduler.mark_temporary(key, &mut binding.meta, digest);
            Op::Binding(id, Some(scheduler.arena.add_binding(binding)))
        };
        let purpose = Purpose::CreateTemporary(key);
        if self.try_write(to_op(self, subjects.clone()), purpose)? {
            return Ok(true);
        }
        let mut allowed = Vec::new();
        for subject in subjects {
            let applied = self.verifier.apply(&to_op(self, vec![subject.clone()]))?;
            let applied = applied.ok_or_else(|| internal("a binding cannot be created"))?;
            if self.verifier.stay_in_bounds(&applied)? {
                allowed.push(subject);
            }
            self.verifier.undo(applied)?;
        }
        Ok(!allowed.is_empty() && self.try_write(to_op(self, allowed), purpose)?)
    }

    /// Returns a reference to a role that grants now what another role grants in the planned state: the role itself if
    /// it already does, or a copy. `None` if the copy cannot be created.
    fn copy_role(
        &mut self,
        role: RoleId,
        role_ref: &RoleRef,
        temporaries: &mut Temporaries<'s>,
    ) -> Result<Option<RoleRef>, ObjectError> {
        let planned = match self.planned_rules.get(&role) {
            Some(planned) if **planned != *self.verifier.engine.effective_rules(role) => planned.clone(),
            Some(_) | None => return Ok(Some(role_ref.clone())),
        };
        let to_ref = |key: &ObjectKey| match key.kind() {
            ObjectKind::Role => RoleRef::Role(key.name().to_owned()),
            _ => RoleRef::ClusterRole(key.name().to_owned()),
        };
        if let Some((_, key)) = temporaries.roles.get(&role) {
            return Ok(Some(to_ref(key)));
        }
        let engine = &self.verifier.engine;
        let name = engine.role_name(role).ok_or_else(|| internal("a role has no name"))?;
        let rules = planned.iter().map(|rule| engine.rule(*rule).cloned());
        let rules = rules.collect::<Option<Vec<_>>>().ok_or_else(|| internal("a rule is unknown"))?;
        let mut copy = Role { rules, ..Role::default() };
        let digest = owner::role_digest(&copy, &Labels::new());
        let key = self.unused_key(name)?;
        self.mark_temporary(key, &mut copy.meta, digest);
        let id = self.verifier.engine.role_id(key);
        let is_created =
            self.try_write(Op::Role(id, Some(self.arena.add_role(copy))), Purpose::CreateTemporary(key))?;
        Ok(is_created.then(|| {
            temporaries.roles.insert(role, (id, key));
            to_ref(key)
        }))
    }

    fn mark_temporary(&self, key: &ObjectKey, meta: &mut ObjectMeta, digest: String) {
        owner::mark_owned(key, meta, self.author.policy, &Labels::new(), digest);
        meta.annotations.insert(TEMPORARY_ANNOTATION.to_owned(), "true".to_owned());
    }

    /// Makes the first half of step 4: grants the planned access to the other subjects through temporary bindings.
    fn grant_through_copies(
        &mut self,
        component: &Component,
        temporaries: &mut Temporaries<'s>,
    ) -> Result<bool, ObjectError> {
        let mut changed_bindings = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for (_, change) in self.remaining_of(component) {
            match &change.target {
                TargetObject::Binding { id, .. } | TargetObject::Replace { id, .. } => {
                    changed_bindings.insert(*id);
                }
                TargetObject::Role { id, .. } => roles.extend(self.verifier.engine.dependents(*id)),
                TargetObject::AccessEntry { .. } | TargetObject::Association { .. } | TargetObject::Mapping => {}
            }
        }
        let existing: BTreeSet<BindingId> = temporaries.bindings.iter().map(|(id, _)| *id).collect();
        let mut copies = Vec::new();
        for (id, planned) in self.planned_bindings() {
            let engine = &mut self.verifier.engine;
            let key = engine.binding_key(id).ok_or_else(|| internal("a binding has no key"))?;
            let grants_changed_role = engine.bound_role(key, planned).is_some_and(|role| roles.contains(&role));
            let needs_copy = changed_bindings.contains(&id) || grants_changed_role && !existing.contains(&id);
            if needs_copy && !planned.subjects.is_empty() {
                copies.push((id, planned, planned.subjects.clone()));
            }
        }
        self.bind_copies(copies, temporaries)
    }

    /// Makes the second half of step 4: changes the real bindings and roles.
    fn change_originals(&mut self, component: &Component) -> Result<bool, ObjectError> {
        let remaining = self.remaining_of(component);
        for (id, change) in &remaining {
            let is_possible = match &change.target {
                TargetObject::Binding { planned: None, .. } => {
                    let purpose = Purpose::Complete(*id);
                    self.try_write(change.op(purpose, 0)?, purpose)?
                }
                TargetObject::Binding { id: binding, planned: Some(planned), .. } => {
                    let Some(now) = self.verifier.engine.binding(*binding) else {
                        continue;
                    };
                    let subjects: Vec<Subject> =
                        now.subjects.iter().filter(|subject| planned.subjects.contains(subject)).cloned().collect();
                    if subjects.len() == now.subjects.len()
                        || planned.subjects.iter().all(|subject| subjects.contains(subject))
                    {
                        continue;
                    }
                    let part = Binding {
                        meta: ObjectMeta::default(),
                        subjects,
                        role_ref: now.role_ref.clone(),
                        namespaces: None,
                    };
                    self.try_write(Op::Binding(*binding, Some(self.arena.add_binding(part))), Purpose::Part(*id))?
                }
                TargetObject::Replace {
                    progress: ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated,
                    ..
                } => {
                    let purpose = Purpose::DeleteReplaced(*id);
                    self.try_write(change.op(purpose, 0)?, purpose)?
                }
                TargetObject::Replace { .. }
                | TargetObject::Role { .. }
                | TargetObject::AccessEntry { .. }
                | TargetObject::Association { .. }
                | TargetObject::Mapping => continue,
            };
            if !is_possible {
                return Ok(false);
            }
        }
        self.end_stage();
        for (id, change) in &remaining {
            if let TargetObject::Role { planned: Some(_), .. } = &change.target {
                let purpose = Purpose::Complete(*id);
                if !self.try_write(change.op(purpose, 0)?, purpose)? {
                    return Ok(false);
                }
                self.end_stage();
            }
        }
        self.make_possible_writes()?;
        Ok(self.remaining_of(component).iter().all(|(_, change)| matches!(change.target, TargetObject::Mapping)))
    }

    fn remaining_of(&self, component: &Component) -> Vec<(ChangeId, ObjectChange<'s>)> {
        let mut remaining = self.remaining();
        remaining.retain(|(id, _)| component.changes.contains(id));
        remaining
    }

    fn delete_temporaries(&mut self, temporaries: &Temporaries<'s>) -> Result<bool, ObjectError> {
        self.end_stage();
        for (id, key) in &temporaries.bindings {
            if !self.try_write(Op::Binding(*id, None), Purpose::DeleteTemporary(key))? {
                return Ok(false);
            }
        }
        self.end_stage();
        for (id, key) in temporaries.roles.values() {
            if !self.try_write(Op::Role(*id, None), Purpose::DeleteTemporary(key))? {
                return Ok(false);
            }
        }
        self.end_stage();
        Ok(true)
    }
}
