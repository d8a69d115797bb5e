//! Rules and scopes with numbers, and the requests that a rule allows in a scope.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::access::request_set::{RequestSet, StringSet};
use crate::access::rule_key::RuleKey;
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
    rule_ids: BTreeMap<RuleKey<'s>, RuleId>,
    /// The namespaces of the scopes after the whole cluster.
    namespaces: Vec<&'s str>,
    scope_ids: BTreeMap<&'s str, ScopeId>,
    request_sets: RefCell<BTreeMap<ScopedRule, Rc<[RequestSet<'s>]>>>,
    /// For each rule, the numbers of the resources that it lists, without their subresources. Sorted. `None` if the rule has a
    /// wildcard instead, or URLs.
    resources: Vec<Option<Box<[usize]>>>,
    resource_numbers: BTreeMap<&'s str, usize>,
    /// The rules that list a resource, by its number.
    by_resource: Vec<Vec<RuleId>>,
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
            resources: Vec::new(),
            resource_numbers: BTreeMap::new(),
            by_resource: Vec::new(),
            without_resource: Vec::new(),
            related: RefCell::default(),
        }
    }

    pub(super) fn rule_id(&mut self, rule: &'s Rule) -> RuleId {
        let next = RuleId(self.rules.len());
        let id = *self.rule_ids.entry(rule.into()).or_insert(next);
        if id == next {
            self.rules.push(rule);
            let resources = self.resource_numbers(rule);
            match &resources {
                Some(numbers) => {
                    for number in numbers {
                        self.by_resource.get_mut(*number).into_iter().for_each(|rules| rules.push(id));
                    }
                }
                None => self.without_resource.push(id),
            }
            self.resources.push(resources);
            self.related.borrow_mut().clear();
        }
        id
    }

    fn resource_numbers(&mut self, rule: &'s Rule) -> Option<Box<[usize]>> {
        let mut numbers = BTreeSet::new();
        for name in resource_names(rule) {
            let next = self.by_resource.len();
            let number = *self.resource_numbers.entry(name).or_insert(next);
            if number == next {
                self.by_resource.push(Vec::new());
            }
            numbers.insert(number);
        }
        let is_limited = rule.non_resource_urls.is_empty() && resource_names(rule).all(|name| name != WILDCARD);
        is_limited.then(|| numbers.into_iter().collect())
    }

    /// Returns whether a rule can allow a request that the other allows: both list a resource, or one of them has a wildcard or
    /// URLs.
    pub(super) fn are_related(&self, one: RuleId, other: RuleId) -> bool {
        match (self.resources_of(one), self.resources_of(other)) {
            (Some(one), Some(other)) => one.iter().any(|number| other.binary_search(number).is_ok()),
            (None, _) | (_, None) => true,
        }
    }

    /// Returns whether one of the rules allows all that the other allows, whatever the scope of both is.
    pub(super) fn covers(&self, one: RuleId, other: RuleId) -> bool {
        let in_cluster = |rule| self.request_sets(ScopedRule { rule, scope: ScopeId::CLUSTER });
        self.are_related(one, other) && {
            let sets = in_cluster(one);
            in_cluster(other).iter().all(|other| sets.iter().any(|set| set.covers(other)))
        }
    }

    fn resources_of(&self, id: RuleId) -> Option<&[usize]> {
        self.resources.get(id.0)?.as_deref()
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
        let Some(numbers) = self.resources_of(id) else {
            return (0..self.rules.len()).map(RuleId).chain([EVERYTHING.rule]).collect();
        };
        let by_name = numbers.iter().filter_map(|number| self.by_resource.get(*number)).flatten().copied();
        let related: BTreeSet<RuleId> = by_name.chain(self.without_resource.iter().copied()).collect();
        related.into_iter().chain([EVERYTHING.rule]).collect()
    }

    pub(super) fn find_rule(&self, rule: &Rule) -> Option<RuleId> {
        self.rule_ids.get(&rule.into()).copied()
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
