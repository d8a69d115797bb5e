//! The bindings of a state: the rules that they grant to an identity, and the subjects that they name.
//!
//! A single query iterates over all bindings. A caller with many queries builds the index first.
//! Source: kubernetes v1.36.3 `pkg/registry/rbac/validation/rule.go` (`VisitRulesFor`, `GetRoleReferenceRules`).

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::aggregation::{Aggregation, RoleOverlay, SourcedRule, aggregate_rules, is_aggregated};
use super::identity::Identity;
use super::template::RenderedName;
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
    /// The position of the binding in the state, and the position of the subject in the binding.
    pub(super) position: (usize, usize),
}

impl<'s> Grant<'s> {
    /// Returns the namespace of a RoleBinding. `None` for a ClusterRoleBinding, which applies in all namespaces and to
    /// cluster-scoped requests.
    pub(crate) fn namespace(&self) -> Option<&'s str> {
        self.binding_key.namespace()
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
    aggregated: RefCell<BTreeMap<&'s ObjectKey, Rc<[SourcedRule<'s>]>>>,
}

/// An index of the bindings. Building it does not look up the roles: each binding's role is looked up when first needed.
#[derive(Debug, Default)]
struct GrantIndex<'s> {
    users: BTreeMap<&'s str, usize>,
    groups: BTreeMap<&'s str, usize>,
    service_accounts: BTreeMap<(&'s str, &'s str), usize>,
    /// The grants of each subject. The maps above contain positions in this list.
    grants_by_subject: Vec<Vec<Grant<'s>>>,
    /// In the order of the state: first the ClusterRoleBindings, then the RoleBindings namespace by namespace.
    bindings: Vec<IndexedBinding<'s>>,
}

#[derive(Debug)]
struct IndexedBinding<'s> {
    key: &'s ObjectKey,
    binding: &'s Binding,
    role: OnceCell<Option<(&'s ObjectKey, &'s Role)>>,
}

impl<'s> Grants<'s> {
    pub(super) fn new(state: &'s State, aggregation: Aggregation) -> Self {
        Self { state, aggregation, index: OnceCell::new(), aggregated: RefCell::default() }
    }

    /// Builds the index. This is faster than iterating if there are more than a few dozen queries.
    pub(crate) fn build_index(&self) {
        self.get_or_build_index();
    }

    fn get_or_build_index(&self) -> &GrantIndex<'s> {
        self.index.get_or_init(|| GrantIndex::new(self))
    }

    /// Returns every subject of every binding, in the order of the bindings.
    pub(crate) fn all(&self) -> impl Iterator<Item = Grant<'s>> {
        let bindings = self.state.bindings.iter().enumerate();
        bindings.flat_map(|(position, (key, binding))| binding_grants(position, key, binding))
    }

    /// Returns the grants of ClusterRoleBindings, and those of the RoleBindings in the namespace.
    pub(super) fn effective_in(&self, namespace: Option<&str>) -> impl Iterator<Item = Grant<'s>> {
        let bindings = &self.get_or_build_index().bindings;
        let first_after = |is_before: &dyn Fn(Option<&str>) -> bool| {
            bindings.partition_point(|indexed| is_before(indexed.key.namespace()))
        };
        let cluster_wide = 0..first_after(&|own| own.is_none());
        let in_namespace = namespace.map(|_| first_after(&|own| own < namespace)..first_after(&|own| own <= namespace));
        let positions = cluster_wide.chain(in_namespace.into_iter().flatten());
        positions
            .filter_map(|position| Some((position, bindings.get(position)?)))
            .flat_map(|(position, indexed)| binding_grants(position, indexed.key, indexed.binding))
    }

    /// Returns every subject that a binding names, each once.
    pub(super) fn bound_subjects(&self) -> impl Iterator<Item = &'s Subject> {
        self.get_or_build_index()
            .grants_by_subject
            .iter()
            .filter_map(|grants| grants.first())
            .map(|grant| grant.subject)
    }

    /// Returns the positions of the bindings' subjects that match an identity. Two identities with the same positions
    /// have the same grants.
    pub(super) fn matching_subjects(&self, identity: &Identity) -> Vec<usize> {
        self.get_or_build_index().matching_subjects(identity).collect()
    }

    /// Returns the grants of several subjects. Each binding occurs once, with the first of its matching subjects.
    pub(super) fn grants_for_subjects(&self, subjects: &[usize]) -> Vec<Grant<'s>> {
        let index = self.get_or_build_index();
        let mut grants: Vec<Grant<'s>> =
            subjects.iter().filter_map(|subject| index.grants_by_subject.get(*subject)).flatten().copied().collect();
        grants.sort_unstable_by_key(|grant| grant.position);
        grants.dedup_by_key(|grant| grant.position.0);
        grants
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
                let indexed = index.bindings.get(grant.position.0)?;
                let role = indexed.role.get_or_init(|| self.state.roles.get_key_value(&grant.role_key()?));
                role.map(|(key, role)| self.resolve_role(key, role))
            }
            None => self.role_by_key(&grant.role_key()?),
        }
    }

    pub(super) fn role_by_key(&self, key: &ObjectKey) -> Option<EffectiveRole<'s>> {
        let (key, role) = self.state.roles.get_key_value(key)?;
        Some(self.resolve_role(key, role))
    }

    fn resolve_role(&self, key: &'s ObjectKey, role: &'s Role) -> EffectiveRole<'s> {
        if !is_aggregated(role, self.aggregation) {
            return EffectiveRole { role: key, rules: EffectiveRoleRules::Stored(&role.rules) };
        }
        let cached = self.aggregated.borrow().get(key).cloned();
        let rules = cached.unwrap_or_else(|| {
            let rules: Rc<[SourcedRule<'s>]> =
                aggregate_rules(RoleOverlay::new(self.state), key, self.aggregation).into();
            self.aggregated.borrow_mut().insert(key, Rc::clone(&rules));
            rules
        });
        EffectiveRole { role: key, rules: EffectiveRoleRules::Aggregated(rules) }
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

impl<'s> GrantIndex<'s> {
    fn new(grants: &Grants<'s>) -> Self {
        let mut index = Self::default();
        for grant in grants.all() {
            let next = index.grants_by_subject.len();
            let position = match grant.subject {
                Subject::User(name) => index.users.entry(name).or_insert(next),
                Subject::Group(name) => index.groups.entry(name).or_insert(next),
                Subject::ServiceAccount { namespace, name } => {
                    index.service_accounts.entry((namespace, name)).or_insert(next)
                }
            };
            match index.grants_by_subject.get_mut(*position) {
                Some(grants) => grants.push(grant),
                None => index.grants_by_subject.push(vec![grant]),
            }
        }
        let indexed = |(key, binding)| IndexedBinding { key, binding, role: OnceCell::new() };
        index.bindings = grants.state.bindings.iter().map(indexed).collect();
        index
    }

    fn matching_subjects<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = usize> + 'a {
        let username = identity.username.as_ref().and_then(RenderedName::as_literal).unwrap_or_default();
        let groups = identity.groups.iter().filter_map(RenderedName::as_literal);
        let by_group = groups.filter_map(|name| self.groups.get(name));
        let by_service_account =
            Identity::service_account_parts(username).filter_map(|parts| self.service_accounts.get(&parts));
        self.users.get(username).into_iter().chain(by_group).chain(by_service_account).copied()
    }
}

fn binding_grants<'s>(
    binding_position: usize,
    binding_key: &'s ObjectKey,
    binding: &'s Binding,
) -> impl Iterator<Item = Grant<'s>> {
    let subjects = binding.subjects.iter().enumerate();
    subjects.map(move |(position, subject)| Grant {
        binding_key,
        binding,
        subject,
        position: (binding_position, position),
    })
}
