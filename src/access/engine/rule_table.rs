//! Rules and scopes with numbers, and the requests that a rule allows in a scope.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::access::request_set::{RequestSet, StringSet};
use crate::access::rule_match::WILDCARD;
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

/// Returns the resources that a rule lists, without their subresources.
fn resource_names(rule: &Rule) -> impl Iterator<Item = &str> {
    rule.resources.iter().map(|word| word.split_once('/').map_or(word.as_str(), |(name, _)| name))
}

#[derive(Debug)]
pub(super) struct RuleTable<'s> {
    known: &'s KnownResources,
    rules: Vec<&'s Rule>,
    rule_ids: BTreeMap<&'s Rule, RuleId>,
    /// The namespaces of the scopes after the whole cluster.
    namespaces: Vec<&'s str>,
    scope_ids: BTreeMap<&'s str, ScopeId>,
    request_sets: RefCell<BTreeMap<ScopedRule, Rc<[RequestSet<'s>]>>>,
    /// The rules that list a resource, without its subresources.
    by_resource: BTreeMap<&'s str, Vec<RuleId>>,
    /// The rules that have a wildcard instead, or URLs.
    without_resource: Vec<RuleId>,
    /// Cache: see [`Self::related`].
    related: RefCell<BTreeMap<RuleId, Rc<[RuleId]>>>,
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
            by_resource: BTreeMap::new(),
            without_resource: Vec::new(),
            related: RefCell::default(),
        }
    }

    pub(super) fn rule_id(&mut self, rule: &'s Rule) -> RuleId {
        let next = RuleId(self.rules.len());
        let id = *self.rule_ids.entry(rule).or_insert(next);
        if id == next {
            self.rules.push(rule);
            let names: BTreeSet<&str> = resource_names(rule).collect();
            if names.contains(WILDCARD) || !rule.non_resource_urls.is_empty() {
                self.without_resource.push(id);
            }
            for name in names {
                self.by_resource.entry(name).or_default().push(id);
            }
            self.related.borrow_mut().clear();
        }
        id
    }

    /// Returns the rules that can allow a request that this rule allows: those with a common resource, or with a wildcard or
    /// URLs. Sorted.
    pub(super) fn related(&self, id: RuleId) -> Rc<[RuleId]> {
        let known = self.related.borrow().get(&id).cloned();
        known.unwrap_or_else(|| {
            let related = self.find_related(id);
            self.related.borrow_mut().insert(id, Rc::clone(&related));
            related
        })
    }

    fn find_related(&self, id: RuleId) -> Rc<[RuleId]> {
        let Some(rule) = self.rule(id).filter(|rule| resource_names(rule).all(|name| name != WILDCARD)) else {
            return (0..self.rules.len()).map(RuleId).chain([EVERYTHING.rule]).collect();
        };
        let by_name = resource_names(rule).filter_map(|name| self.by_resource.get(name)).flatten().copied();
        let related: BTreeSet<RuleId> = by_name.chain(self.without_resource.iter().copied()).collect();
        related.into_iter().chain([EVERYTHING.rule]).collect()
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
