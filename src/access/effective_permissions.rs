//! All requests that a subject is allowed to make, and the difference between two such sets.
//!
//! Rules with the same content are treated as one rule, whichever bindings grant it. So a renamed binding or a role that
//! is bound under another name makes no difference.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::access_view::{EffectiveRule, GrantSource};
use super::request::Request;
use super::request_set::{RequestSet, RequestSetExcept, StringSet, has_cluster_scoped_resources, merge, subtract};
use crate::api_resources::KnownResources;
use crate::state::rbac::Rule;

/// A set of allowed requests, and what grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedRequests<'s> {
    pub(crate) requests: RequestSetExcept<'s>,
    /// In the order of the bindings, without duplicates.
    pub(crate) granted_by: Vec<GrantSource<'s>>,
}

/// Returns whether one of the sets contains a request.
pub(crate) fn grants_request(granted: &[GrantedRequests<'_>], request: &Request) -> bool {
    granted.iter().any(|granted| granted.requests.contains(request))
}

/// All permissions of a subject.
#[derive(Debug)]
pub(crate) struct EffectivePermissions<'s> {
    known: &'s KnownResources,
    is_in_system_masters: bool,
    /// In the order of the bindings.
    effective_rules: Vec<EffectiveRule<'s>>,
    /// The rules by content, and where `effective_rules` grants each.
    by_content: BTreeMap<&'s Rule, RuleGrants<'s>>,
    request_sets: OnceCell<Vec<RequestSet<'s>>>,
    by_resource: OnceCell<SetPositions<'s>>,
}

/// The positions of request sets.
#[derive(Debug, Default)]
struct SetPositions<'s> {
    by_resource: BTreeMap<&'s str, Vec<usize>>,
    /// Of sets with a wildcard or URLs.
    others: Vec<usize>,
}

/// The number of sets up to which all are compared with another set.
const MAX_COMPARED: usize = 256;

/// The grants of one rule.
#[derive(Debug, Default)]
struct RuleGrants<'s> {
    /// Positions in `effective_rules`.
    positions: Vec<usize>,
    /// Whether a ClusterRoleBinding grants the rule.
    is_cluster_wide: bool,
    namespaces: Vec<&'s str>,
}

impl<'s> RuleGrants<'s> {
    fn scope(&self) -> StringSet<'s> {
        if self.is_cluster_wide { StringSet::all() } else { StringSet::only(self.namespaces.iter().copied()) }
    }

    fn request_sets(&self, rule: &'s Rule, known: &'s KnownResources) -> Vec<RequestSet<'s>> {
        RequestSet::from_rule(rule, self.scope(), known)
    }
}

impl<'s> EffectivePermissions<'s> {
    pub(super) fn new(
        known: &'s KnownResources,
        is_in_system_masters: bool,
        effective_rules: Vec<EffectiveRule<'s>>,
    ) -> Self {
        let mut by_content: BTreeMap<&Rule, RuleGrants<'_>> = BTreeMap::new();
        for (position, effective) in effective_rules.iter().enumerate() {
            let grants = by_content.entry(effective.path.rule).or_default();
            grants.positions.push(position);
            grants.is_cluster_wide |= effective.namespace.is_none();
            grants.namespaces.extend(effective.namespace);
        }
        Self {
            known,
            is_in_system_masters,
            effective_rules,
            by_content,
            request_sets: OnceCell::new(),
            by_resource: OnceCell::new(),
        }
    }

    pub(super) fn is_in_system_masters(&self) -> bool {
        self.is_in_system_masters
    }

    /// Returns the allowed requests, rule by rule, with what grants each rule.
    pub(super) fn granted_requests(&self) -> Vec<GrantedRequests<'s>> {
        if self.is_in_system_masters {
            return RequestSet::everything()
                .map(|set| GrantedRequests::without_exceptions(set, vec![GrantSource::SystemMasters]))
                .into();
        }
        let granted = self.by_content.iter().flat_map(|(rule, grants)| {
            let sets = grants.request_sets(rule, self.known).into_iter();
            sets.map(|set| GrantedRequests::without_exceptions(set, self.sources_at(&grants.positions)))
        });
        granted.collect()
    }

    fn request_sets(&self) -> &[RequestSet<'s>] {
        self.request_sets.get_or_init(|| {
            self.by_content.iter().flat_map(|(rule, grants)| grants.request_sets(rule, self.known)).collect()
        })
    }

    /// Returns at least the allowed sets that overlap with a set.
    fn related_sets(&self, set: &RequestSet<'s>) -> Cow<'_, [RequestSet<'s>]> {
        let all = self.request_sets();
        let Some(names) = set.resource_names().filter(|_| all.len() > MAX_COMPARED) else {
            return Cow::Borrowed(all);
        };
        let SetPositions { by_resource, others } = self.by_resource.get_or_init(|| {
            let mut positions = SetPositions::default();
            for (position, set) in all.iter().enumerate() {
                let Some(names) = set.resource_names() else {
                    positions.others.push(position);
                    continue;
                };
                for name in names {
                    positions.by_resource.entry(name).or_default().push(position);
                }
            }
            positions
        });
        let named = names.iter().filter_map(|name| by_resource.get(name)).flatten();
        let positions: BTreeSet<usize> = named.chain(others).copied().collect();
        positions.into_iter().filter_map(|position| all.get(position).cloned()).collect()
    }

    fn sources_at(&self, positions: &[usize]) -> Vec<GrantSource<'s>> {
        positions
            .iter()
            .filter_map(|position| self.effective_rules.get(*position))
            .map(|effective| GrantSource::Path(effective.path))
            .collect()
    }

    /// Returns the allowed requests, merged into few sets.
    pub(crate) fn merged_requests(&self) -> Vec<GrantedRequests<'s>> {
        self.difference(&Self::new(self.known, false, Vec::new()))
    }

    /// Returns the requests that these permissions allow and the other permissions do not.
    pub(super) fn difference(&self, other: &Self) -> Vec<GrantedRequests<'s>> {
        if other.is_in_system_masters {
            return Vec::new();
        }
        let added = if self.is_in_system_masters {
            let everything = RequestSet::everything().into_iter();
            everything
                .flat_map(|set| subtract(&set, other.request_sets()))
                .map(|requests| (requests, Vec::new()))
                .collect()
        } else {
            self.by_content.iter().flat_map(|(rule, grants)| self.rule_difference(rule, grants, other)).collect()
        };
        let mut merged = merge(added, Extend::extend);
        merged.sort();
        let granted = |(requests, mut positions): (RequestSetExcept<'s>, Vec<usize>)| {
            positions.sort_unstable();
            positions.dedup();
            let granted_by =
                if self.is_in_system_masters { vec![GrantSource::SystemMasters] } else { self.sources_at(&positions) };
            GrantedRequests { requests, granted_by }
        };
        merged.into_iter().map(granted).collect()
    }

    /// Returns the requests that one rule allows here and that `other` does not allow, with the positions of their
    /// grants.
    fn rule_difference(
        &self,
        rule: &'s Rule,
        grants: &RuleGrants<'s>,
        other: &Self,
    ) -> Vec<(RequestSetExcept<'s>, Vec<usize>)> {
        // If both sides have the rule, only its additional scope can differ. This saves most subtractions. The scope of a
        // cluster-scoped resource is the whole cluster or nothing, so it cannot be subtracted.
        let no_grants = RuleGrants::default();
        let other_grants = other.by_content.get(rule).unwrap_or(&no_grants);
        let added_scope = grants.scope().difference(&other_grants.scope());
        let sets = if added_scope.is_empty() {
            Vec::new()
        } else if has_cluster_scoped_resources(rule, self.known) {
            grants.request_sets(rule, self.known)
        } else {
            RequestSet::from_rule(rule, added_scope, self.known)
        };
        let mut added = Vec::new();
        for set in sets {
            for requests in subtract(&set, &other.related_sets(&set)) {
                let is_granted_at = |position: &&usize| {
                    self.effective_rules.get(**position).is_some_and(|effective| applies_in(effective, &requests))
                };
                let positions = grants.positions.iter().filter(is_granted_at).copied().collect();
                added.push((requests, positions));
            }
        }
        added
    }
}

impl<'s> GrantedRequests<'s> {
    fn without_exceptions(set: RequestSet<'s>, granted_by: Vec<GrantSource<'s>>) -> Self {
        Self { requests: RequestSetExcept { set, except: Vec::new() }, granted_by }
    }
}

/// Returns whether the scope of an effective rule overlaps the scope of the requests.
fn applies_in(effective: &EffectiveRule<'_>, requests: &RequestSetExcept<'_>) -> bool {
    match (&requests.set, effective.namespace) {
        (_, None) => true,
        (RequestSet::Objects(objects), Some(namespace)) => objects.namespaces.contains(namespace),
        (RequestSet::Urls(_), Some(_)) => false,
    }
}
