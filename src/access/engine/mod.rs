//! The access engine: the bindings and roles of a state with their indices, changed in place. Each change can be
//! undone, and costs what it touches.
//!
//! Bindings and subjects are those of [`GrantIndex`], and aggregated roles get their rules from the same simulation of
//! the controller as in queries, so a plan is ordered by the same rules by which a query is answered. The controller
//! runs after every change. It depends on the stored rules, so the rules of an aggregated role depend on earlier changes.

mod apply;
mod effect;
mod rule_table;
mod scoped_rules;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use effect::RuleGrant;
pub(crate) use effect::{AccessEffect, Direction};
use rule_table::RuleTable;
pub(crate) use rule_table::{EVERYTHING, RuleId, ScopeId, ScopedRule};
pub(crate) use scoped_rules::{AggregatedRules, GrantedRoles, RelatedScopes, SubjectSet};

use super::grant_index::{BindingId, GrantIndex, SubjectId};
use super::grant_scope::{GrantScope, KnownNamespaces};
use super::identity::Identity;
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::{Binding, Role};
use crate::state::rbac::Subject;

/// A role, which does not have to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoleId(usize);

/// Returns the error for an identifier that belongs to another engine.
fn unknown_object() -> InternalError {
    InternalError::new("the access engine does not know an object")
}

/// The kind, namespace and name of a role.
pub(crate) type RoleName<'s> = (ObjectKind, Option<&'s str>, &'s str);

/// The rules of a role.
#[derive(Debug, Clone)]
struct RoleContent<'s> {
    /// `None` if the role does not exist.
    role: Option<&'s Role>,
    /// The rules that the role grants. For an aggregated role those that its controller has filled in.
    effective: Rc<[RuleId]>,
    /// The rules that an aggregated role may still grant until its controller has run.
    stale: Rc<[RuleId]>,
    /// Whether the rules of an aggregated role belong to another field manager than the controller.
    has_manual_rules: bool,
}

#[derive(Debug)]
struct RoleSlot<'s> {
    name: RoleName<'s>,
    content: RoleContent<'s>,
    /// The rules that the role grants in the original state.
    initial: Rc<[RuleId]>,
    bindings: BTreeSet<BindingId>,
}

/// What the engine knows of a binding besides its content.
#[derive(Debug)]
struct BindingSlot<'s> {
    /// Where it applies. Sorted. A binding of RBAC has one scope.
    scopes: Rc<[ScopeId]>,
    role: Option<RoleId>,
    subjects: Rc<[SubjectId]>,
    initial: Option<&'s Binding>,
}

/// The content before a change, for undoing it.
#[derive(Debug)]
enum JournalEntry<'s> {
    Role(RoleId, RoleContent<'s>),
    Binding(BindingId, Option<&'s Binding>),
}

/// A point to which changes can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineMark(usize);

#[derive(Debug)]
pub(crate) struct AccessEngine<'s> {
    index: GrantIndex<'s>,
    bindings: Vec<BindingSlot<'s>>,
    binding_ids: BTreeMap<&'s ObjectKey, BindingId>,
    roles: Vec<RoleSlot<'s>>,
    role_ids: BTreeMap<RoleName<'s>, RoleId>,
    /// For each aggregated role, the roles that its selectors match.
    aggregated: BTreeMap<RoleId, BTreeSet<RoleId>>,
    rules: RuleTable<'s>,
    namespaces: KnownNamespaces<'s>,
    journal: Vec<JournalEntry<'s>>,
}

impl<'s> AccessEngine<'s> {
    /// Returns the engine for a state in which the controller of aggregated roles has run.
    ///
    /// # Errors
    /// Never, unless this module has a bug.
    pub(crate) fn new(state: &'s State) -> Result<Self, InternalError> {
        Self::with_namespaces(state, KnownNamespaces::new([state]))
    }

    /// Returns the same engine. `namespaces` are also those of the states that it is brought to.
    ///
    /// # Errors
    /// Never, unless this module has a bug.
    pub(crate) fn with_namespaces(state: &'s State, namespaces: KnownNamespaces<'s>) -> Result<Self, InternalError> {
        let mut engine = Self {
            index: GrantIndex::default(),
            bindings: Vec::with_capacity(state.bindings.len()),
            binding_ids: BTreeMap::new(),
            roles: Vec::with_capacity(state.roles.len()),
            role_ids: BTreeMap::new(),
            aggregated: BTreeMap::new(),
            rules: RuleTable::new(&state.resources),
            namespaces,
            journal: Vec::new(),
        };
        for (key, role) in state.all_roles() {
            let id = engine.role_id(key);
            engine.store_role(id, Some(role))?;
        }
        for id in engine.aggregated.keys().copied().collect::<Vec<_>>() {
            engine.select_roles(id);
        }
        engine.run_controller()?;
        for slot in &mut engine.roles {
            slot.initial = Rc::clone(&slot.content.effective);
        }
        for (key, binding) in state.all_bindings() {
            let id = engine.binding_id(key);
            engine.store_binding(id, Some(binding))?;
            if let Some(slot) = engine.binding_slot_mut(id) {
                slot.initial = Some(binding);
            }
        }
        engine.journal.clear();
        Ok(engine)
    }

    /// Returns the identifier of a role, which does not have to exist.
    pub(crate) fn role_id(&mut self, key: &'s ObjectKey) -> RoleId {
        self.role_named(key.parts())
    }

    fn role_named(&mut self, name: RoleName<'s>) -> RoleId {
        let next = RoleId(self.roles.len());
        let id = *self.role_ids.entry(name).or_insert(next);
        if id == next {
            let none: Rc<[RuleId]> = Rc::from([]);
            let content = RoleContent {
                role: None,
                effective: Rc::clone(&none),
                stale: Rc::clone(&none),
                has_manual_rules: false,
            };
            self.roles.push(RoleSlot { name, content, initial: none, bindings: BTreeSet::new() });
        }
        id
    }

    /// Returns the identifier of a binding, which does not have to exist.
    pub(crate) fn binding_id(&mut self, key: &'s ObjectKey) -> BindingId {
        if let Some(id) = self.binding_ids.get(key) {
            return *id;
        }
        let id = self.index.add_binding(key);
        self.bindings.push(BindingSlot { scopes: Rc::from([]), role: None, subjects: Rc::from([]), initial: None });
        self.binding_ids.insert(key, id);
        id
    }

    /// Returns the role that a binding refers to. `None` if a ClusterRoleBinding refers to a Role, which grants nothing.
    pub(crate) fn bound_role(&mut self, key: &'s ObjectKey, binding: &'s Binding) -> Option<RoleId> {
        binding.role_ref.role_key_parts(key).map(|name| self.role_named(name))
    }

    /// Returns the scopes in which a binding applies, sorted.
    fn scopes_of(&mut self, key: &'s ObjectKey, binding: &'s Binding) -> Rc<[ScopeId]> {
        let scopes = self.namespaces.single_scopes(GrantScope::new(key, binding)).into_iter();
        sorted(scopes.map(|namespace| self.rules.scope_id(namespace)).collect()).into()
    }

    /// Returns the subjects of a binding, sorted and each once.
    pub(crate) fn subjects_of(&mut self, binding: &'s Binding) -> Vec<SubjectId> {
        sorted(binding.subjects.iter().map(|subject| self.index.subject_id(subject)).collect())
    }

    pub(crate) fn subject_id(&mut self, subject: &'s Subject) -> SubjectId {
        self.index.subject_id(subject)
    }

    pub(crate) fn find_subject(&self, subject: &Subject) -> Option<SubjectId> {
        self.index.find_subject(subject)
    }

    /// Returns every subject that a binding names, or named before a change.
    pub(crate) fn subjects(&self) -> Vec<&'s Subject> {
        self.index.subjects().collect()
    }

    pub(crate) fn subject(&self, id: SubjectId) -> Option<&'s Subject> {
        self.index.subject(id)
    }

    /// Returns the subjects of bindings that match an identity, sorted and each once.
    pub(crate) fn matching_subjects(&self, identity: &Identity) -> Vec<SubjectId> {
        sorted(self.index.matching_subjects(identity).collect())
    }

    fn role_slot(&self, id: RoleId) -> Option<&RoleSlot<'s>> {
        self.roles.get(id.0)
    }

    fn binding_slot(&self, id: BindingId) -> Option<&BindingSlot<'s>> {
        self.bindings.get(id.number())
    }

    fn binding_slot_mut(&mut self, id: BindingId) -> Option<&mut BindingSlot<'s>> {
        self.bindings.get_mut(id.number())
    }

    /// Returns the kind, namespace and name of a role.
    pub(crate) fn role_name(&self, id: RoleId) -> Option<RoleName<'s>> {
        self.role_slot(id).map(|slot| slot.name)
    }

    /// Returns a role as it is now.
    pub(crate) fn role(&self, id: RoleId) -> Option<&'s Role> {
        self.role_slot(id)?.content.role
    }

    /// Returns the rules that a role grants now.
    pub(crate) fn effective_rules(&self, id: RoleId) -> Rc<[RuleId]> {
        self.role_slot(id).map_or_else(|| Rc::from([]), |slot| Rc::clone(&slot.content.effective))
    }

    /// Returns a binding as it is now.
    pub(crate) fn binding(&self, id: BindingId) -> Option<&'s Binding> {
        self.index.binding(id)
    }

    pub(crate) fn binding_key(&self, id: BindingId) -> Option<&'s ObjectKey> {
        self.index.key_of(id)
    }

    /// Returns the bindings that exist now.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (BindingId, &'s ObjectKey, &'s Binding)> {
        self.index.bindings()
    }

    /// Returns whether any binding refers to the name of a role.
    pub(crate) fn is_bound(&self, id: RoleId) -> bool {
        self.role_slot(id).is_some_and(|slot| !slot.bindings.is_empty())
    }

    /// Returns the bindings that refer to a role now.
    pub(crate) fn bindings_of(&self, id: RoleId) -> impl Iterator<Item = BindingId> {
        self.role_slot(id).into_iter().flat_map(|slot| slot.bindings.iter().copied())
    }

    /// Returns the subjects of the bindings that refer to a role now.
    pub(crate) fn subjects_of_role(&self, id: RoleId) -> impl Iterator<Item = SubjectId> {
        self.bindings_of(id).filter_map(|id| self.binding_slot(id)).flat_map(|slot| slot.subjects.iter().copied())
    }

    /// Returns whether a binding names the subject now.
    pub(crate) fn is_named(&self, id: SubjectId) -> bool {
        !self.index.grants_of(id).is_empty()
    }

    /// Returns the role, binding or neither that has a key in the original state or now.
    pub(crate) fn is_known(&self, key: &ObjectKey) -> bool {
        let is_role = |id: &RoleId| {
            self.role_slot(*id).is_some_and(|slot| slot.content.role.is_some() || !slot.bindings.is_empty())
        };
        let is_binding = |id: &BindingId| {
            self.index.binding(*id).is_some() || self.binding_slot(*id).is_some_and(|slot| slot.initial.is_some())
        };
        self.role_ids.get(&key.parts()).is_some_and(is_role) || self.binding_ids.get(key).is_some_and(is_binding)
    }

    pub(crate) fn rule(&self, id: RuleId) -> Option<&'s crate::state::rbac::Rule> {
        self.rules.rule(id)
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}
