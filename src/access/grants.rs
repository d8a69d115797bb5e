//! Who is bound to what: from a subject through bindings to rules, and from a role back to its subjects.
//!
//! One question is answered by one walk over the bindings; whoever asks many has the index made first.
//! Source: kubernetes v1.36.3 `pkg/registry/rbac/validation/rule.go` (`VisitRulesFor`, `GetRoleReferenceRules`).

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::aggregation::{Moment, Roles, Sourced, gather, is_gathered};
use super::identity::Identity;
use super::template::Name;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

/// A subject in a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant<'s> {
    pub(crate) key: &'s ObjectKey,
    pub(crate) binding: &'s Binding,
    pub(crate) subject: &'s Subject,
    /// The place of the binding among all, and of the subject in it.
    pub(super) at: (usize, usize),
}

impl<'s> Grant<'s> {
    /// Where it counts: everywhere, or in one namespace.
    pub(crate) fn namespace(&self) -> Option<&'s str> {
        self.key.namespace()
    }

    /// The role that is meant, whether it exists or not; none where a ClusterRoleBinding means a Role.
    pub(super) fn role_key(&self) -> Option<ObjectKey> {
        self.binding.role_ref.key(self.key)
    }
}

/// The rules that a role gives.
#[derive(Debug, Clone)]
pub(crate) struct Effective<'s> {
    pub(crate) role: &'s ObjectKey,
    rules: Rules<'s>,
}

#[derive(Debug, Clone)]
enum Rules<'s> {
    Own(&'s [Rule]),
    Gathered(Rc<[Sourced<'s>]>),
}

impl<'s> Effective<'s> {
    pub(crate) fn rules(&self) -> impl Iterator<Item = Sourced<'s>> {
        let source = self.role;
        let (own, gathered): (&'s [Rule], &[Sourced<'s>]) = match &self.rules {
            Rules::Own(rules) => (rules, &[]),
            Rules::Gathered(rules) => (&[], rules),
        };
        own.iter().map(move |rule| Sourced { rule, source }).chain(gathered.iter().copied())
    }
}

/// All bindings of a state.
#[derive(Debug)]
pub(crate) struct Grants<'s> {
    pub(super) state: &'s State,
    pub(super) moment: Moment,
    index: OnceCell<Index<'s>>,
    gathered: RefCell<BTreeMap<&'s ObjectKey, Rc<[Sourced<'s>]>>>,
}

/// Made at once; the role of each binding is looked for when it is first asked for.
#[derive(Debug, Default)]
struct Index<'s> {
    users: BTreeMap<&'s str, usize>,
    groups: BTreeMap<&'s str, usize>,
    service_accounts: BTreeMap<(&'s str, &'s str), usize>,
    /// What each subject is bound to.
    subjects: Vec<Vec<Grant<'s>>>,
    /// In their order: those that count everywhere, and then namespace by namespace.
    bindings: Vec<Indexed<'s>>,
}

#[derive(Debug)]
struct Indexed<'s> {
    key: &'s ObjectKey,
    binding: &'s Binding,
    role: OnceCell<Option<(&'s ObjectKey, &'s Role)>>,
}

impl<'s> Grants<'s> {
    pub(super) fn of(state: &'s State, moment: Moment) -> Self {
        Self { state, moment, index: OnceCell::new(), gathered: RefCell::default() }
    }

    /// Makes the index, which pays from a few dozen questions on.
    pub(crate) fn index(&self) {
        self.indexed();
    }

    fn indexed(&self) -> &Index<'s> {
        self.index.get_or_init(|| Index::of(self))
    }

    /// Every subject of every binding, in the order of the bindings.
    pub(crate) fn all(&self) -> impl Iterator<Item = Grant<'s>> {
        let bindings = self.state.bindings.iter().enumerate();
        bindings.flat_map(|(at, (key, binding))| grants_of(at, key, binding))
    }

    /// Those that count everywhere, and those that count in the namespace.
    pub(super) fn counting(&self, namespace: Option<&str>) -> impl Iterator<Item = Grant<'s>> {
        let bindings = &self.indexed().bindings;
        let first = |is_before: &dyn Fn(Option<&str>) -> bool| {
            bindings.partition_point(|indexed| is_before(indexed.key.namespace()))
        };
        let wide = 0..first(&|own| own.is_none());
        let inside = namespace.map(|_| first(&|own| own < namespace)..first(&|own| own <= namespace));
        let places = wide.chain(inside.into_iter().flatten());
        places.filter_map(|at| Some((at, bindings.get(at)?))).flat_map(|(at, one)| grants_of(at, one.key, one.binding))
    }

    /// Everybody whom a binding names.
    pub(super) fn named(&self) -> impl Iterator<Item = &'s Subject> {
        self.indexed().subjects.iter().filter_map(|grants| grants.first()).map(|grant| grant.subject)
    }

    /// Which of the subjects that bindings name mean an identity: whoever is meant by the same ones is bound to the same.
    pub(super) fn meaning(&self, identity: &Identity) -> Vec<usize> {
        self.indexed().meaning(identity).collect()
    }

    /// What subjects are bound to: each binding once, by the first of them.
    pub(super) fn held_together(&self, subjects: &[usize]) -> Vec<Grant<'s>> {
        let index = self.indexed();
        let mut grants: Vec<Grant<'s>> =
            subjects.iter().filter_map(|subject| index.subjects.get(*subject)).flatten().copied().collect();
        grants.sort_unstable_by_key(|grant| grant.at);
        grants.dedup_by_key(|grant| grant.at.0);
        grants
    }

    /// What an identity is bound to: each binding once, by the first of its subjects that means the identity.
    pub(crate) fn held_by(&self, identity: &Identity) -> Vec<Grant<'s>> {
        if self.index.get().is_some() {
            return self.held_together(&self.meaning(identity));
        }
        let mut grants: Vec<Grant<'s>> = self.all().filter(|grant| identity.is_meant_by(grant.subject)).collect();
        grants.dedup_by_key(|grant| grant.at.0);
        grants
    }

    /// The rules of a grant; none where its role does not exist, until somebody creates it.
    pub(crate) fn rules(&self, grant: &Grant<'s>) -> Option<Effective<'s>> {
        match self.index.get() {
            Some(index) => {
                let indexed = index.bindings.get(grant.at.0)?;
                let role = indexed.role.get_or_init(|| self.state.roles.get_key_value(&grant.role_key()?));
                role.map(|(key, role)| self.effective(key, role))
            }
            None => self.role(&grant.role_key()?),
        }
    }

    pub(super) fn role(&self, key: &ObjectKey) -> Option<Effective<'s>> {
        let (key, role) = self.state.roles.get_key_value(key)?;
        Some(self.effective(key, role))
    }

    fn effective(&self, key: &'s ObjectKey, role: &'s Role) -> Effective<'s> {
        if !is_gathered(role, self.moment) {
            return Effective { role: key, rules: Rules::Own(&role.rules) };
        }
        let known = self.gathered.borrow().get(key).cloned();
        let rules = known.unwrap_or_else(|| {
            let rules: Rc<[Sourced<'s>]> = gather(Roles::of(self.state), key, self.moment).into();
            self.gathered.borrow_mut().insert(key, Rc::clone(&rules));
            rules
        });
        Effective { role: key, rules: Rules::Gathered(rules) }
    }

    /// Bindings to roles that do not exist. They give nothing now, and at once when such a role is born.
    pub(crate) fn pending_in(state: &'s State) -> Vec<(&'s ObjectKey, &'s Binding)> {
        let is_there = |key: &ObjectKey, binding: &Binding| {
            binding.role_ref.key(key).is_some_and(|role| state.roles.contains_key(&role))
        };
        let bindings = state.bindings.iter();
        bindings.filter(|(key, binding)| !binding.subjects.is_empty() && !is_there(key, binding)).collect()
    }
}

impl<'s> Index<'s> {
    fn of(grants: &Grants<'s>) -> Self {
        let mut index = Self::default();
        for grant in grants.all() {
            let next = index.subjects.len();
            let subject = match grant.subject {
                Subject::User(name) => index.users.entry(name).or_insert(next),
                Subject::Group(name) => index.groups.entry(name).or_insert(next),
                Subject::ServiceAccount { namespace, name } => {
                    index.service_accounts.entry((namespace, name)).or_insert(next)
                }
            };
            match index.subjects.get_mut(*subject) {
                Some(grants) => grants.push(grant),
                None => index.subjects.push(vec![grant]),
            }
        }
        let indexed = |(key, binding)| Indexed { key, binding, role: OnceCell::new() };
        index.bindings = grants.state.bindings.iter().map(indexed).collect();
        index
    }

    fn meaning<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = usize> + 'a {
        let username = identity.username.as_ref().and_then(Name::literal).unwrap_or_default();
        let groups = identity.groups.iter().filter_map(Name::literal);
        let by_group = groups.filter_map(|name| self.groups.get(name));
        // A service account is meant by its username, wherever a colon may part namespace and name.
        let accounts = Identity::service_account_parts(username);
        let by_account = accounts.filter_map(|parts| self.service_accounts.get(&parts));
        self.users.get(username).into_iter().chain(by_group).chain(by_account).copied()
    }
}

fn grants_of<'s>(at: usize, key: &'s ObjectKey, binding: &'s Binding) -> impl Iterator<Item = Grant<'s>> {
    let subjects = binding.subjects.iter().enumerate();
    subjects.map(move |(place, subject)| Grant { key, binding, subject, at: (at, place) })
}
