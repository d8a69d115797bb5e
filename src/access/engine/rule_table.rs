//! Rules and scopes with numbers, and the requests that a rule allows in a scope.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::access::request_set::{RequestSet, StringSet};
use crate::api_resources::KnownResources;
use crate::state::rbac::Rule;

/// A rule. Rules with the same content have the same identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleId(usize);

/// The whole cluster or a namespace. The whole cluster is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScopeId(usize);

impl ScopeId {
    pub(crate) const CLUSTER: Self = Self(0);

    /// Returns whether a rule in one scope can allow a request in the other.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::CLUSTER || other == Self::CLUSTER
    }
}

/// A rule in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScopedRule {
    pub(crate) rule: RuleId,
    pub(crate) scope: ScopeId,
}

/// Everything, as `system:masters` is allowed to do. The largest of all.
pub(crate) const EVERYTHING: ScopedRule = ScopedRule { rule: RuleId(usize::MAX), scope: ScopeId::CLUSTER };

#[derive(Debug)]
pub(super) struct RuleTable<'s> {
    known: &'s KnownResources,
    rules: Vec<&'s Rule>,
    rule_ids: BTreeMap<&'s Rule, RuleId>,
    /// The namespaces of the scopes after the whole cluster.
    namespaces: Vec<&'s str>,
    scope_ids: BTreeMap<&'s str, ScopeId>,
    request_sets: RefCell<BTreeMap<ScopedRule, Rc<[RequestSet<'s>]>>>,
}

impl<'s> RuleTable<'s> {
    pub(super) fn new(known: &'s KnownResources) -> Self {
        Self {
            known,
            rules: Vec::new(),
            rule_ids: BTreeMap::new(),
            namespaces: Vec::new(),
            scope_ids: BTreeMap::new(),
            request_sets: RefCell::default(),
        }
    }

    pub(super) fn rule_id(&mut self, rule: &'s Rule) -> RuleId {
        let next = RuleId(self.rules.len());
        let id = *self.rule_ids.entry(rule).or_insert(next);
        if id == next {
            self.rules.push(rule);
        }
        id
    }

    pub(super) fn find_rule(&self, rule: &Rule) -> Option<RuleId> {
        self.rule_ids.get(rule).copied()
    }

    pub(super) fn rule(&self, id: RuleId) -> Option<&'s Rule> {
        self.rules.get(id.0).copied()
    }

    pub(super) fn scope_id(&mut self, namespace: Option<&'s str>) -> ScopeId {
        let Some(namespace) = namespace else {
            return ScopeId::CLUSTER;
        };
        let next = ScopeId(self.namespaces.len() + 1);
        let id = *self.scope_ids.entry(namespace).or_insert(next);
        if id == next {
            self.namespaces.push(namespace);
        }
        id
    }

    /// Returns the requests that a rule allows.
    pub(super) fn request_sets(&self, scoped_rule: ScopedRule) -> Rc<[RequestSet<'s>]> {
        let known = self.request_sets.borrow().get(&scoped_rule).cloned();
        known.unwrap_or_else(|| {
            let sets: Rc<[RequestSet<'s>]> = self.compute_request_sets(scoped_rule).into();
            self.request_sets.borrow_mut().insert(scoped_rule, Rc::clone(&sets));
            sets
        })
    }

    fn compute_request_sets(&self, scoped_rule: ScopedRule) -> Vec<RequestSet<'s>> {
        if scoped_rule == EVERYTHING {
            return RequestSet::everything().into();
        }
        let Some(rule) = self.rule(scoped_rule.rule) else {
            return Vec::new();
        };
        let namespace = scoped_rule.scope.0.checked_sub(1).and_then(|number| self.namespaces.get(number));
        let scope = namespace.map_or_else(StringSet::all, |namespace| StringSet::only([*namespace]));
        RequestSet::from_rule(rule, scope, self.known)
    }
}
