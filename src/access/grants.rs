//! The bindings of a state: the rules that they grant to an identity, and the subjects that they name.
//!
//! A single query iterates over all bindings. A caller with many queries builds the index first.
//! Source: kubernetes v1.36.3 `pkg/registry/rbac/validation/rule.go` (`VisitRulesFor`, `GetRoleReferenceRules`).

use std::cell::OnceCell;
use std::rc::Rc;

use super::aggregation::{Aggregation, ComputedRules, RoleOverlay, SourcedRule, aggregate_rules, is_aggregated};
use super::grant_index::{BindingId, GrantIndex, SubjectId};
use super::grant_scope::{GrantScope, KnownNamespaces};
use super::identity::Identity;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

/// One subject of one binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant<'s> {
    pub(crate) binding_key: &'s ObjectKey,
    pub(crate) binding: &'s Binding,
    pub(crate) subject: &'s Subject,
    /// The binding, and the position of the subject in it.
    pub(super) position: (BindingId, usize),
}

impl<'s> Grant<'s> {
    pub(crate) fn scope(&self) -> GrantScope<'s> {
        GrantScope::new(self.binding_key, self.binding)
    }

    /// Returns whether the grant applies to requests in a namespace, or to requests without one.
    pub(super) fn applies_in(&self, namespace: Option<&str>) -> bool {
        self.scope().contains(namespace)
    }

    /// Returns the referenced role, whether it exists or not. `None` if a ClusterRoleBinding references a Role.
    pub(super) fn role_key(&self) -> Option<ObjectKey> {
        self.binding.role_ref.role_key(self.binding_key)
    }
}

/// A role with its rules, computed if it is aggregated.
#[derive(Debug, Clone)]
pub(crate) struct EffectiveRole<'s> {
    pub(crate) role: &'s ObjectKey,
    rules: EffectiveRoleRules<'s>,
}

#[derive(Debug, Clone)]
enum EffectiveRoleRules<'s> {
    Stored(&'s [Rule]),
    Aggregated(Rc<[SourcedRule<'s>]>),
}

impl<'s> EffectiveRole<'s> {
    /// Returns the rules of the role, each with the role that it comes from.
    pub(crate) fn sourced_rules(&self) -> impl Iterator<Item = SourcedRule<'s>> {
        let source = self.role;
        let (stored, aggregated): (&'s [Rule], &[SourcedRule<'s>]) = match &self.rules {
            EffectiveRoleRules::Stored(rules) => (rules, &[]),
            EffectiveRoleRules::Aggregated(rules) => (&[], rules),
        };
        stored.iter().map(move |rule| SourcedRule { rule, source }).chain(aggregated.iter().copied())
    }
}

/// The bindings of a state with their roles.
#[derive(Debug)]
pub(crate) struct Grants<'s> {
    pub(super) state: &'s State,
    pub(super) aggregation: Aggregation,
    index: OnceCell<GrantIndex<'s>>,
    /// The computed rules of aggregated roles.
    aggregated: OnceCell<ComputedRules<'s>>,
    namespaces: OnceCell<KnownNamespaces<'s>>,
}

impl<'s> Grants<'s> {
    pub(super) fn new(state: &'s State, aggregation: Aggregation) -> Self {
        Self::with_namespaces(state, aggregation, OnceCell::new())
    }

    /// `namespaces` are those of the states with which the access is compared.
    pub(super) fn with_namespaces(
        state: &'s State,
        aggregation: Aggregation,
        namespaces: OnceCell<KnownNamespaces<'s>>,
    ) -> Self {
        Self { state, aggregation, index: OnceCell::new(), aggregated: OnceCell::new(), namespaces }
    }

    fn namespaces(&self) -> &KnownNamespaces<'s> {
        self.namespaces.get_or_init(|| KnownNamespaces::new([self.state]))
    }

    /// Returns the namespaces in which a grant applies, each as a scope of its own.
    pub(super) fn single_scopes(&self, grant: &Grant<'s>) -> Vec<Option<&'s str>> {
        self.namespaces().single_scopes(grant.scope())
    }

    /// Builds the index. This is faster than iterating if there are more than a few dozen queries.
    pub(crate) fn build_index(&self) {
        self.get_or_build_index();
    }

    fn get_or_build_index(&self) -> &GrantIndex<'s> {
        self.index.get_or_init(|| GrantIndex::new(self.state))
    }

    /// Returns every subject of every binding, in the order of the bindings.
    pub(crate) fn all(&self) -> impl Iterator<Item = Grant<'s>> {
        let bindings = BindingId::all().zip(self.state.all_bindings());
        bindings.flat_map(|(id, (key, binding))| binding_grants(id, key, binding))
    }

    /// Returns the grants of ClusterRoleBindings, and those of the RoleBindings in the namespace.
    pub(super) fn effective_in<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = Grant<'s>> + 'a {
        self.get_or_build_index().effective_in(namespace)
    }

    /// Returns every subject that a binding names, each once.
    pub(super) fn bound_subjects(&self) -> impl Iterator<Item = &'s Subject> {
        self.get_or_build_index().bound_subjects()
    }

    /// Returns the subjects of bindings that match an identity. Two identities with the same subjects have the same
    /// grants.
    pub(super) fn matching_subjects(&self, identity: &Identity) -> Vec<SubjectId> {
        self.get_or_build_index().matching_subjects(identity).collect()
    }

    /// Returns the grants of several subjects. Each binding occurs once, with the first of its matching subjects.
    pub(super) fn grants_for_subjects(&self, subjects: &[SubjectId]) -> Vec<Grant<'s>> {
        let index = self.get_or_build_index();
        let mut grants: Vec<Grant<'s>> =
            subjects.iter().flat_map(|subject| index.grants_of(*subject)).copied().collect();
        grants.sort_unstable_by_key(|grant| grant.position);
        grants.dedup_by_key(|grant| grant.position.0);
        grants
    }

    /// Returns the grant of each binding's first subject.
    pub(super) fn first_grants(&self, bindings: &[BindingId]) -> Vec<Grant<'s>> {
        let index = self.get_or_build_index();
        let grants = bindings.iter().filter_map(|id| {
            let (key, binding) = (index.key_of(*id)?, index.binding(*id)?);
            binding_grants(*id, key, binding).next()
        });
        grants.collect()
    }

    /// Returns the grants of an identity. Each binding occurs once, with the first of its subjects that matches the
    /// identity.
    pub(crate) fn grants_for_identity(&self, identity: &Identity) -> Vec<Grant<'s>> {
        if self.index.get().is_some() {
            return self.grants_for_subjects(&self.matching_subjects(identity));
        }
        let mut grants: Vec<Grant<'s>> = self.all().filter(|grant| identity.matches_subject(grant.subject)).collect();
        grants.dedup_by_key(|grant| grant.position.0);
        grants
    }

    /// Returns the role of a grant. `None` if it does not exist. The grant takes effect when the role is created.
    pub(crate) fn role_for_grant(&self, grant: &Grant<'s>) -> Option<EffectiveRole<'s>> {
        match self.index.get() {
            Some(index) => {
                let (key, role) = index.role_of(grant.position.0, self.state)?;
                Some(self.resolve_role(key, role))
            }
            None => self.role_by_key(&grant.role_key()?),
        }
    }

    pub(super) fn role_by_key(&self, key: &ObjectKey) -> Option<EffectiveRole<'s>> {
        let (key, role) = self.state.find_role(key)?;
        Some(self.resolve_role(key, role))
    }

    fn resolve_role(&self, key: &'s ObjectKey, role: &'s Role) -> EffectiveRole<'s> {
        if !is_aggregated(role, self.aggregation) {
            return EffectiveRole { role: key, rules: EffectiveRoleRules::Stored(&role.rules) };
        }
        let all = self.aggregated.get_or_init(|| aggregate_rules(RoleOverlay::new(self.state), self.aggregation));
        let rules = all.get(key).cloned().unwrap_or_else(|| Rc::from([]));
        EffectiveRole { role: key, rules: EffectiveRoleRules::Aggregated(rules) }
    }

    /// Returns the namespaces in which a binding of the state applies, each as a scope of its own.
    pub(super) fn scopes_of_binding(&self, key: &'s ObjectKey) -> Vec<Option<&'s str>> {
        let scope = match self.state.access_entries.find_association(key) {
            Some(association) => GrantScope::new(key, association),
            None => key.namespace().map_or(GrantScope::Cluster, GrantScope::Namespace),
        };
        self.namespaces().single_scopes(scope)
    }

    /// Returns the bindings with subjects whose role does not exist. They grant nothing until the role is created.
    pub(crate) fn dangling_in(state: &'s State) -> Vec<(&'s ObjectKey, &'s Binding)> {
        let has_role = |key: &ObjectKey, binding: &Binding| {
            binding.role_ref.role_key(key).is_some_and(|role| state.roles.contains_key(&role))
        };
        let bindings = state.bindings.iter();
        bindings.filter(|(key, binding)| !binding.subjects.is_empty() && !has_role(key, binding)).collect()
    }
}

pub(super) fn binding_grants<'s>(
    id: BindingId,
    binding_key: &'s ObjectKey,
    binding: &'s Binding,
) -> impl Iterator<Item = Grant<'s>> {
    let subjects = binding.subjects.iter().enumerate();
    subjects.map(move |(position, subject)| Grant { binding_key, binding, subject, position: (id, position) })
}
