//! Components: changes that no identity connects are independent, so what one of them needs does not affect another.

use std::collections::BTreeSet;

use super::access_entries::entry_of;
use super::changes::{ChangeId, ObjectChange, TargetObject};
use super::scheduler::Scheduler;
use crate::access::{BindingId, SubjectId};
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::object::ObjectError;

/// Changes of objects and of entries of aws-auth, and the subjects that they affect.
#[derive(Debug, Clone, Default)]
pub(super) struct Component {
    pub(super) changes: BTreeSet<ChangeId>,
    /// Indices of the changed entries.
    pub(super) entries: BTreeSet<usize>,
    subjects: BTreeSet<SubjectId>,
}

impl Component {
    fn absorb(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.entries.extend(other.entries);
        self.subjects.extend(other.subjects);
    }
}

/// Adds a component and unites it with all components that share a subject with it.
fn add(components: &mut Vec<Component>, mut added: Component) {
    let (connected, others): (Vec<_>, Vec<_>) =
        std::mem::take(components).into_iter().partition(|component| !component.subjects.is_disjoint(&added.subjects));
    for component in connected {
        added.absorb(component);
    }
    *components = others;
    components.push(added);
}

impl<'s> Scheduler<'s> {
    /// Returns one component of all remaining changes.
    pub(super) fn whole(&self) -> Component {
        let changes = self.remaining().into_iter().map(|(id, _)| id).collect();
        Component { changes, entries: (0..self.entry_count()).collect(), subjects: BTreeSet::new() }
    }

    /// Returns the components of the remaining changes.
    pub(super) fn components(&mut self) -> Vec<Component> {
        let mut components = Vec::new();
        for (id, change) in self.remaining() {
            if !matches!(change.target, TargetObject::Mapping) {
                let subjects = self.subjects_of_change(&change);
                add(&mut components, Component { changes: [id].into(), subjects, ..Component::default() });
            }
        }
        let entries = self.verifier.edit.map_or(&[][..], |edit| &edit.principal_edits);
        for class in &self.verifier.classes {
            let logins = class.tokens.all().chain(&class.planned_logins);
            let subjects = logins.flat_map(|login| login.subjects.subjects.iter().copied()).collect();
            let key = class.entry_key();
            let own = entries.iter().enumerate().filter(|(_, edited)| Some(&edited.key) == key.as_ref());
            let entries = own.map(|(index, _)| index).collect();
            add(&mut components, Component { entries, subjects, ..Component::default() });
        }
        components.retain(|component| !component.changes.is_empty() || !component.entries.is_empty());
        components
    }

    /// Returns the subjects that a change affects now or in the planned state.
    fn subjects_of_change(&mut self, change: &ObjectChange<'s>) -> BTreeSet<SubjectId> {
        let mut bindings: BTreeSet<BindingId> = BTreeSet::new();
        let mut subjects = BTreeSet::new();
        match &change.target {
            TargetObject::Binding { id, .. } | TargetObject::Replace { id, .. } => {
                bindings.insert(*id);
            }
            TargetObject::Role { id, .. } => {
                for role in self.verifier.engine.dependents(*id) {
                    bindings.extend(self.verifier.engine.bindings_of(role));
                    let refers = |change: &&ObjectChange<'_>| match &change.target {
                        TargetObject::Binding { role: bound, .. } | TargetObject::Replace { role: bound, .. } => {
                            *bound == Some(role)
                        }
                        TargetObject::Role { .. }
                        | TargetObject::AccessEntry { .. }
                        | TargetObject::Association { .. }
                        | TargetObject::Mapping => false,
                    };
                    bindings.extend(self.changes.iter().filter(refers).filter_map(binding_of));
                }
            }
            TargetObject::AccessEntry { .. } | TargetObject::Association { .. } => {
                let classes = entry_of(&change.target).and_then(|id| self.verifier.entries.classes_of(id).ok());
                let classes = classes.into_iter().flatten().filter_map(|id| self.verifier.class(*id).ok());
                let logins = classes.flat_map(|class| class.tokens.all().chain(&class.planned_logins));
                subjects.extend(logins.flat_map(|login| login.subjects.subjects.iter().copied()));
            }
            TargetObject::Mapping => {}
        }
        let engine = &mut self.verifier.engine;
        for planned in self.changes.iter().filter(|change| binding_of(change).is_some_and(|id| bindings.contains(&id)))
        {
            match &planned.target {
                TargetObject::Binding { planned: Some(planned), .. } | TargetObject::Replace { planned, .. } => {
                    subjects.extend(engine.subjects_of(planned));
                }
                TargetObject::Binding { planned: None, .. }
                | TargetObject::Role { .. }
                | TargetObject::AccessEntry { .. }
                | TargetObject::Association { .. }
                | TargetObject::Mapping => {}
            }
        }
        for id in bindings {
            if let Some(now) = engine.binding(id) {
                subjects.extend(engine.subjects_of(now));
            }
        }
        subjects
    }

    /// Returns whether all changes of a component are made.
    pub(super) fn is_component_done(&self, component: &Component) -> Result<bool, ObjectError> {
        for id in &component.changes {
            let change = self.change(*id)?;
            if !change.is_done && !matches!(change.target, TargetObject::Mapping) {
                return Ok(false);
            }
        }
        let variants = &self.verifier.variants;
        let is_final = |entry: &usize| variants.get(*entry) == Some(&EntryVariant::Final);
        Ok(!self.mapping_remains() || component.entries.iter().all(is_final))
    }
}

fn binding_of(change: &ObjectChange<'_>) -> Option<BindingId> {
    match &change.target {
        TargetObject::Binding { id, .. } | TargetObject::Replace { id, .. } => Some(*id),
        TargetObject::Role { .. }
        | TargetObject::AccessEntry { .. }
        | TargetObject::Association { .. }
        | TargetObject::Mapping => None,
    }
}
