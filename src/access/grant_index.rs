//! An index from subjects to the bindings that name them. It can be changed binding by binding.
//!
//! Queries use the index of a state as it is. [`super::engine::AccessEngine`] changes it to try writes.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::grants::{Grant, binding_grants};
use super::identity::Identity;
use super::template::RenderedName;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::{Binding, Role};
use crate::state::rbac::Subject;

/// A subject that a binding names, or named before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SubjectId(usize);

/// A binding. Those of the state come first, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BindingId(usize);

impl BindingId {
    pub(super) fn number(self) -> usize {
        self.0
    }

    /// Returns the identifiers of the bindings of a state, in its order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self)
    }
}

#[derive(Debug)]
struct IndexedSubject<'s> {
    subject: &'s Subject,
    grants: Vec<Grant<'s>>,
}

#[derive(Debug)]
struct IndexedBinding<'s> {
    key: &'s ObjectKey,
    /// `None` if the binding does not exist.
    binding: Option<&'s Binding>,
    /// The role in the state. It is looked up when it is first needed.
    role: OnceCell<Option<(&'s ObjectKey, &'s Role)>>,
}

/// The index. Building it does not look up the roles.
#[derive(Debug, Default)]
pub(super) struct GrantIndex<'s> {
    users: BTreeMap<&'s str, SubjectId>,
    groups: BTreeMap<&'s str, SubjectId>,
    service_accounts: BTreeMap<(&'s str, &'s str), SubjectId>,
    access_entries: BTreeMap<&'s str, SubjectId>,
    subjects: Vec<IndexedSubject<'s>>,
    /// In the order of the state: first the ClusterRoleBindings, then the RoleBindings namespace by namespace. Added
    /// bindings follow.
    bindings: Vec<IndexedBinding<'s>>,
}

impl<'s> GrantIndex<'s> {
    pub(super) fn new(state: &'s State) -> Self {
        let mut index = Self::default();
        for (key, binding) in state.all_bindings() {
            let id = index.add_binding(key);
            index.set_binding(id, Some(binding));
        }
        index
    }

    /// Adds a binding that does not exist yet.
    pub(super) fn add_binding(&mut self, key: &'s ObjectKey) -> BindingId {
        let id = BindingId(self.bindings.len());
        self.bindings.push(IndexedBinding { key, binding: None, role: OnceCell::new() });
        id
    }

    /// Changes a binding of the index.
    pub(super) fn set_binding(&mut self, id: BindingId, binding: Option<&'s Binding>) {
        let Some(indexed) = self.bindings.get_mut(id.0) else {
            return;
        };
        let key = indexed.key;
        let old = std::mem::replace(&mut indexed.binding, binding);
        for subject in old.into_iter().flat_map(|old| &old.subjects) {
            let SubjectId(number) = self.subject_id(subject);
            if let Some(indexed) = self.subjects.get_mut(number) {
                indexed.grants.retain(|grant| grant.position.0 != id);
            }
        }
        for grant in binding.into_iter().flat_map(|binding| binding_grants(id, key, binding)) {
            let SubjectId(number) = self.subject_id(grant.subject);
            if let Some(indexed) = self.subjects.get_mut(number) {
                indexed.grants.push(grant);
            }
        }
    }

    /// Returns the identifier of a subject, and adds the subject if no binding has named it yet.
    pub(super) fn subject_id(&mut self, subject: &'s Subject) -> SubjectId {
        let next = SubjectId(self.subjects.len());
        let id = match subject {
            Subject::User(name) => self.users.entry(name).or_insert(next),
            Subject::Group(name) => self.groups.entry(name).or_insert(next),
            Subject::ServiceAccount { namespace, name } => {
                self.service_accounts.entry((namespace, name)).or_insert(next)
            }
            Subject::AccessEntry(principal) => self.access_entries.entry(principal).or_insert(next),
        };
        let id = *id;
        if id == next {
            self.subjects.push(IndexedSubject { subject, grants: Vec::new() });
        }
        id
    }

    pub(super) fn find_subject(&self, subject: &Subject) -> Option<SubjectId> {
        match subject {
            Subject::User(name) => self.users.get(name.as_str()),
            Subject::Group(name) => self.groups.get(name.as_str()),
            Subject::ServiceAccount { namespace, name } => self.service_accounts.get(&(namespace.as_str(), name)),
            Subject::AccessEntry(principal) => self.access_entries.get(principal.as_str()),
        }
        .copied()
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &'s Subject> {
        self.subjects.iter().map(|indexed| indexed.subject)
    }

    pub(super) fn subject(&self, id: SubjectId) -> Option<&'s Subject> {
        self.subjects.get(id.0).map(|indexed| indexed.subject)
    }

    pub(super) fn key_of(&self, id: BindingId) -> Option<&'s ObjectKey> {
        self.bindings.get(id.0).map(|indexed| indexed.key)
    }

    pub(super) fn binding(&self, id: BindingId) -> Option<&'s Binding> {
        self.bindings.get(id.0)?.binding
    }

    /// Returns all bindings that exist.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (BindingId, &'s ObjectKey, &'s Binding)> {
        let all = self.bindings.iter().enumerate();
        all.filter_map(|(number, indexed)| Some((BindingId(number), indexed.key, indexed.binding?)))
    }

    /// Returns the grants of the bindings that name a subject.
    pub(super) fn grants_of(&self, id: SubjectId) -> &[Grant<'s>] {
        self.subjects.get(id.0).map_or(&[], |indexed| indexed.grants.as_slice())
    }

    /// Returns the role of a binding in an unchanged state.
    pub(super) fn role_of(&self, id: BindingId, state: &'s State) -> Option<(&'s ObjectKey, &'s Role)> {
        let IndexedBinding { key, binding, role } = self.bindings.get(id.0)?;
        *role.get_or_init(|| state.find_role(&(*binding)?.role_ref.role_key(key)?))
    }

    /// Returns the grants of ClusterRoleBindings, those of the RoleBindings in the namespace, and those of the associations
    /// with access policies that apply there, in an unchanged state.
    pub(super) fn effective_in<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = Grant<'s>> + 'a {
        let association_start =
            self.bindings.partition_point(|indexed| indexed.key.kind() != ObjectKind::AccessPolicyAssociation);
        let of_rbac = self.bindings.get(..association_start).unwrap_or_default();
        let first_after = |is_before: &dyn Fn(Option<&str>) -> bool| {
            of_rbac.partition_point(|indexed| is_before(indexed.key.namespace()))
        };
        let cluster_wide = 0..first_after(&|own| own.is_none());
        let in_namespace = namespace.map(|_| first_after(&|own| own < namespace)..first_after(&|own| own <= namespace));
        let positions = cluster_wide.chain(in_namespace.into_iter().flatten());
        let grants = positions
            .chain(association_start..self.bindings.len())
            .filter_map(|position| Some((BindingId(position), self.bindings.get(position)?)))
            .filter_map(|(id, indexed)| Some(binding_grants(id, indexed.key, indexed.binding?)))
            .flatten();
        grants.filter(move |grant| grant.applies_in(namespace))
    }

    /// Returns every subject that a binding names, each once.
    pub(super) fn bound_subjects(&self) -> impl Iterator<Item = &'s Subject> {
        self.subjects.iter().filter(|indexed| !indexed.grants.is_empty()).map(|indexed| indexed.subject)
    }

    /// Returns the subjects that match an identity.
    pub(super) fn matching_subjects<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = SubjectId> + 'a {
        let username = identity.username.as_ref().and_then(RenderedName::as_literal).unwrap_or_default();
        let groups = identity.groups.iter().filter_map(RenderedName::as_literal);
        let by_group = groups.filter_map(|name| self.groups.get(name));
        let by_service_account =
            Identity::service_account_parts(username).filter_map(|parts| self.service_accounts.get(&parts));
        let by_access_entry = identity.access_entry().and_then(|principal| self.access_entries.get(principal));
        let by_name = self.users.get(username).into_iter().chain(by_group).chain(by_service_account);
        by_name.chain(by_access_entry).copied()
    }
}
