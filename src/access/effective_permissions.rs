//! All that somebody may do, and what one of two such sets has beyond the other.
//!
//! Rules of the same content are one here, whoever gives them: so a role that moves or a binding that is renamed leaves
//! nothing to compare.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::access_view::{EffectiveRule, GrantSource};
use super::request::Request;
use super::request_set::{RequestSet, RequestSetExcept, StringSet, merge, subtract};
use crate::state::rbac::Rule;

/// A set of requests, and what allows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedRequests<'s> {
    pub(crate) requests: RequestSetExcept<'s>,
    /// In the order of the bindings, each once.
    pub(crate) granted_by: Vec<GrantSource<'s>>,
}

/// Whether some parts have a request among them.
pub(crate) fn grants_request(parts: &[GrantedRequests<'_>], request: &Request) -> bool {
    parts.iter().any(|part| part.requests.contains(request))
}

/// All that somebody may do.
#[derive(Debug, Default)]
pub(crate) struct EffectivePermissions<'s> {
    is_in_system_masters: bool,
    /// In the order of the bindings.
    effective_rules: Vec<EffectiveRule<'s>>,
    /// Rules by content, and who of `held` has each.
    by_content: BTreeMap<&'s Rule, RuleGrants<'s>>,
    request_sets: OnceCell<Vec<RequestSet<'s>>>,
}

/// Those who hold one rule.
#[derive(Debug, Default)]
struct RuleGrants<'s> {
    positions: Vec<usize>,
    /// One of them holds it for the whole cluster.
    is_cluster_wide: bool,
    namespaces: Vec<&'s str>,
}

impl<'s> RuleGrants<'s> {
    fn scope(&self) -> StringSet<'s> {
        if self.is_cluster_wide { StringSet::all() } else { StringSet::only(self.namespaces.iter().copied()) }
    }

    fn request_sets(&self, rule: &'s Rule) -> impl Iterator<Item = RequestSet<'s>> {
        let paths = if self.is_cluster_wide { RequestSet::from_rule_urls(rule) } else { None };
        [RequestSet::from_rule_objects(rule, self.scope()), paths].into_iter().flatten()
    }
}

impl<'s> EffectivePermissions<'s> {
    pub(super) fn new(is_master: bool, held: Vec<EffectiveRule<'s>>) -> Self {
        let mut rules: BTreeMap<&Rule, RuleGrants<'_>> = BTreeMap::new();
        for (place, held) in held.iter().enumerate() {
            let holders = rules.entry(held.path.rule).or_default();
            holders.positions.push(place);
            holders.is_cluster_wide |= held.namespace.is_none();
            holders.namespaces.extend(held.namespace);
        }
        Self {
            is_in_system_masters: is_master,
            effective_rules: held,
            by_content: rules,
            request_sets: OnceCell::new(),
        }
    }

    pub(super) fn is_in_system_masters(&self) -> bool {
        self.is_in_system_masters
    }

    /// Rule by rule, with what gives each.
    pub(super) fn granted_requests(&self) -> Vec<GrantedRequests<'s>> {
        if self.is_in_system_masters {
            return RequestSet::everything()
                .map(|extent| GrantedRequests::without_exceptions(extent, vec![GrantSource::SystemMasters]))
                .into();
        }
        let parts = self.by_content.iter().flat_map(|(rule, holders)| {
            holders
                .request_sets(rule)
                .map(|extent| GrantedRequests::without_exceptions(extent, self.sources_at(&holders.positions)))
        });
        parts.collect()
    }

    fn request_sets(&self) -> &[RequestSet<'s>] {
        self.request_sets
            .get_or_init(|| self.by_content.iter().flat_map(|(rule, holders)| holders.request_sets(rule)).collect())
    }

    fn sources_at(&self, places: &[usize]) -> Vec<GrantSource<'s>> {
        places
            .iter()
            .filter_map(|place| self.effective_rules.get(*place))
            .map(|held| GrantSource::Path(held.path))
            .collect()
    }

    /// What this one has and the other has not.
    pub(super) fn difference(&self, other: &Self) -> Vec<GrantedRequests<'s>> {
        if other.is_in_system_masters {
            return Vec::new();
        }
        let mut found: Vec<(RequestSetExcept<'s>, Vec<usize>)> = Vec::new();
        if self.is_in_system_masters {
            let left = RequestSet::everything().into_iter().flat_map(|extent| subtract(&extent, other.request_sets()));
            found.extend(left.map(|region| (region, Vec::new())));
        } else {
            let nobody = RuleGrants::default();
            for (rule, holders) in &self.by_content {
                let had = other.by_content.get(rule).unwrap_or(&nobody);
                let more = holders.scope().minus(&had.scope());
                let objects = if more.is_empty() { None } else { RequestSet::from_rule_objects(rule, more) };
                let paths = if holders.is_cluster_wide && !had.is_cluster_wide {
                    RequestSet::from_rule_urls(rule)
                } else {
                    None
                };
                for extent in [objects, paths].into_iter().flatten() {
                    for region in subtract(&extent, other.request_sets()) {
                        let inside = |place: &&usize| {
                            self.effective_rules.get(**place).is_some_and(|held| applies_in(held, &region))
                        };
                        let by = holders.positions.iter().filter(inside).copied().collect();
                        found.push((region, by));
                    }
                }
            }
        }
        let mut merged = merge(found, Extend::extend);
        merged.sort();
        let part = |(region, mut by): (RequestSetExcept<'s>, Vec<usize>)| {
            by.sort_unstable();
            by.dedup();
            GrantedRequests {
                requests: region,
                granted_by: if self.is_in_system_masters {
                    vec![GrantSource::SystemMasters]
                } else {
                    self.sources_at(&by)
                },
            }
        };
        merged.into_iter().map(part).collect()
    }
}

impl<'s> GrantedRequests<'s> {
    fn without_exceptions(extent: RequestSet<'s>, by: Vec<GrantSource<'s>>) -> Self {
        Self { requests: RequestSetExcept { set: extent, except: Vec::new() }, granted_by: by }
    }
}

/// Whether something held counts in the region.
fn applies_in(held: &EffectiveRule<'_>, region: &RequestSetExcept<'_>) -> bool {
    match (&region.set, held.namespace) {
        (_, None) => true,
        (RequestSet::Objects(objects), Some(namespace)) => objects.namespaces.contains(namespace),
        (RequestSet::Urls(_), Some(_)) => false,
    }
}
