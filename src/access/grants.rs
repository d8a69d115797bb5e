//! Who is bound to what: from a subject through bindings to rules, and from a role back to its subjects.
//!
//! One question is answered by one walk over the bindings; whoever asks many has the index made first.
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

/// A subject in a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant<'s> {
    pub(crate) binding_key: &'s ObjectKey,
    pub(crate) binding: &'s Binding,
    pub(crate) subject: &'s Subject,
    /// The place of the binding among all, and of the subject in it.
    pub(super) position: (usize, usize),
}

impl<'s> Grant<'s> {
    /// Where it counts: everywhere, or in one namespace.
    pub(crate) fn namespace(&self) -> Option<&'s str> {
        self.binding_key.namespace()
    }

    /// The role that is meant, whether it exists or not; none where a ClusterRoleBinding means a Role.
    pub(super) fn role_key(&self) -> Option<ObjectKey> {
        self.binding.role_ref.role_key(self.binding_key)
    }
}

/// The rules that a role gives.
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
    pub(crate) fn rules(&self) -> impl Iterator<Item = SourcedRule<'s>> {
        let source = self.role;
        let (own, gathered): (&'s [Rule], &[SourcedRule<'s>]) = match &self.rules {
            EffectiveRoleRules::Stored(rules) => (rules, &[]),
            EffectiveRoleRules::Aggregated(rules) => (&[], rules),
        };
        own.iter().map(move |rule| SourcedRule { rule, source }).chain(gathered.iter().copied())
    }
}

/// All bindings of a state.
#[derive(Debug)]
pub(crate) struct Grants<'s> {
    pub(super) state: &'s State,
    pub(super) aggregation: Aggregation,
    index: OnceCell<GrantIndex<'s>>,
    aggregated: RefCell<BTreeMap<&'s ObjectKey, Rc<[SourcedRule<'s>]>>>,
}

/// Made at once; the role of each binding is looked for when it is first asked for.
#[derive(Debug, Default)]
struct GrantIndex<'s> {
    users: BTreeMap<&'s str, usize>,
    groups: BTreeMap<&'s str, usize>,
    service_accounts: BTreeMap<(&'s str, &'s str), usize>,
    /// What each subject is bound to.
    grants_by_subject: Vec<Vec<Grant<'s>>>,
    /// In their order: those that count everywhere, and then namespace by namespace.
    bindings: Vec<IndexedBinding<'s>>,
}

#[derive(Debug)]
struct IndexedBinding<'s> {
    key: &'s ObjectKey,
    binding: &'s Binding,
    role: OnceCell<Option<(&'s ObjectKey, &'s Role)>>,
}

impl<'s> Grants<'s> {
    pub(super) fn new(state: &'s State, moment: Aggregation) -> Self {
        Self { state, aggregation: moment, index: OnceCell::new(), aggregated: RefCell::default() }
    }

    /// Makes the index, which pays from a few dozen questions on.
    pub(crate) fn build_index(&self) {
        self.get_or_build_index();
    }

    fn get_or_build_index(&self) -> &GrantIndex<'s> {
        self.index.get_or_init(|| GrantIndex::new(self))
    }

    /// Every subject of every binding, in the order of the bindings.
    pub(crate) fn all(&self) -> impl Iterator<Item = Grant<'s>> {
        let bindings = self.state.bindings.iter().enumerate();
        bindings.flat_map(|(at, (key, binding))| binding_grants(at, key, binding))
    }

    /// Those that count everywhere, and those that count in the namespace.
    pub(super) fn effective_in(&self, namespace: Option<&str>) -> impl Iterator<Item = Grant<'s>> {
        let bindings = &self.get_or_build_index().bindings;
        let first = |is_before: &dyn Fn(Option<&str>) -> bool| {
            bindings.partition_point(|indexed| is_before(indexed.key.namespace()))
        };
        let wide = 0..first(&|own| own.is_none());
        let inside = namespace.map(|_| first(&|own| own < namespace)..first(&|own| own <= namespace));
        let places = wide.chain(inside.into_iter().flatten());
        places
            .filter_map(|at| Some((at, bindings.get(at)?)))
            .flat_map(|(at, one)| binding_grants(at, one.key, one.binding))
    }

    /// Everybody whom a binding names.
    pub(super) fn bound_subjects(&self) -> impl Iterator<Item = &'s Subject> {
        self.get_or_build_index()
            .grants_by_subject
            .iter()
            .filter_map(|grants| grants.first())
            .map(|grant| grant.subject)
    }

    /// Which of the subjects that bindings name mean an identity: whoever is meant by the same ones is bound to the same.
    pub(super) fn matching_subjects(&self, identity: &Identity) -> Vec<usize> {
        self.get_or_build_index().matching_subjects(identity).collect()
    }

    /// What subjects are bound to: each binding once, by the first of them.
    pub(super) fn grants_for_subjects(&self, subjects: &[usize]) -> Vec<Grant<'s>> {
        let index = self.get_or_build_index();
        let mut grants: Vec<Grant<'s>> =
            subjects.iter().filter_map(|subject| index.grants_by_subject.get(*subject)).flatten().copied().collect();
        grants.sort_unstable_by_key(|grant| grant.position);
        grants.dedup_by_key(|grant| grant.position.0);
        grants
    }

    /// What an identity is bound to: each binding once, by the first of its subjects that means the identity.
    pub(crate) fn grants_for_identity(&self, identity: &Identity) -> Vec<Grant<'s>> {
        if self.index.get().is_some() {
            return self.grants_for_subjects(&self.matching_subjects(identity));
        }
        let mut grants: Vec<Grant<'s>> = self.all().filter(|grant| identity.matches_subject(grant.subject)).collect();
        grants.dedup_by_key(|grant| grant.position.0);
        grants
    }

    /// The rules of a grant; none where its role does not exist, until somebody creates it.
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
        let known = self.aggregated.borrow().get(key).cloned();
        let rules = known.unwrap_or_else(|| {
            let rules: Rc<[SourcedRule<'s>]> =
                aggregate_rules(RoleOverlay::new(self.state), key, self.aggregation).into();
            self.aggregated.borrow_mut().insert(key, Rc::clone(&rules));
            rules
        });
        EffectiveRole { role: key, rules: EffectiveRoleRules::Aggregated(rules) }
    }

    /// Bindings to roles that do not exist. They give nothing now, and at once when such a role is born.
    pub(crate) fn dangling_in(state: &'s State) -> Vec<(&'s ObjectKey, &'s Binding)> {
        let is_there = |key: &ObjectKey, binding: &Binding| {
            binding.role_ref.role_key(key).is_some_and(|role| state.roles.contains_key(&role))
        };
        let bindings = state.bindings.iter();
        bindings.filter(|(key, binding)| !binding.subjects.is_empty() && !is_there(key, binding)).collect()
    }
}

impl<'s> GrantIndex<'s> {
    fn new(grants: &Grants<'s>) -> Self {
        let mut index = Self::default();
        for grant in grants.all() {
            let next = index.grants_by_subject.len();
            let subject = match grant.subject {
                Subject::User(name) => index.users.entry(name).or_insert(next),
                Subject::Group(name) => index.groups.entry(name).or_insert(next),
                Subject::ServiceAccount { namespace, name } => {
                    index.service_accounts.entry((namespace, name)).or_insert(next)
                }
            };
            match index.grants_by_subject.get_mut(*subject) {
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
        // A service account is meant by its username, wherever a colon may part namespace and name.
        let accounts = Identity::service_account_parts(username);
        let by_account = accounts.filter_map(|parts| self.service_accounts.get(&parts));
        self.users.get(username).into_iter().chain(by_group).chain(by_account).copied()
    }
}

fn binding_grants<'s>(at: usize, key: &'s ObjectKey, binding: &'s Binding) -> impl Iterator<Item = Grant<'s>> {
    let subjects = binding.subjects.iter().enumerate();
    subjects.map(move |(place, subject)| Grant { binding_key: key, binding, subject, position: (at, place) })
}
