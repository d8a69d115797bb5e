//! The rules that apply to a set of subjects now.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{AccessEngine, BindingSlot, EVERYTHING, RoleId, RoleSlot, RuleId, ScopeId, ScopedRule, sorted};
use crate::access::grant_index::{BindingId, SubjectId};
use crate::access::request_set::{Coverage, RequestSet};

/// The identity of an authentication: the subjects of bindings that match it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct SubjectSet {
    /// Sorted and without duplicates.
    pub(crate) subjects: Vec<SubjectId>,
    pub(crate) is_in_system_masters: bool,
}

/// The roles that bindings grant to an identity, and in which scopes. Identities with equal values have the same rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GrantedRoles {
    is_in_system_masters: bool,
    /// Sorted and without duplicates.
    roles: Vec<(RoleId, ScopeId)>,
}

/// Which rules of an aggregated role count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregatedRules {
    /// Those that the controller fills in.
    Reconciled,
    /// In addition those that the controller has not removed yet.
    WithStale,
}

/// The scopes whose rules can allow the same requests as some rules.
#[derive(Debug)]
pub(crate) enum RelatedScopes {
    All,
    Namespaces(BTreeSet<ScopeId>),
}

impl RelatedScopes {
    pub(crate) fn of_rules(scoped_rules: &[ScopedRule]) -> Self {
        let scopes: BTreeSet<ScopeId> = scoped_rules.iter().map(|scoped_rule| scoped_rule.scope).collect();
        if scopes.contains(&ScopeId::CLUSTER) { Self::All } else { Self::Namespaces(scopes) }
    }

    fn contains(&self, scope: ScopeId) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(scopes) => scope == ScopeId::CLUSTER || scopes.contains(&scope),
        }
    }
}

/// The length of a list up to which all of it is compared with a rule.
const MAX_SCANNED: usize = 2048;

impl<'s> AccessEngine<'s> {
    /// Returns the rules that apply to an identity.
    pub(crate) fn scoped_rules(&self, identity: &SubjectSet, aggregated: AggregatedRules) -> Vec<ScopedRule> {
        self.scoped_rules_in(&RelatedScopes::All, identity, aggregated)
    }

    /// Returns the rules that apply to an identity in some scopes.
    pub(crate) fn scoped_rules_in(
        &self,
        scopes: &RelatedScopes,
        identity: &SubjectSet,
        aggregated: AggregatedRules,
    ) -> Vec<ScopedRule> {
        self.collect_rules(scopes, identity, |_, _, role, rules| {
            rules.extend(role.content.effective.iter().copied());
            if aggregated == AggregatedRules::WithStale {
                rules.extend(role.content.stale.iter().copied());
            }
        })
    }

    pub(crate) fn granted_roles(&self, identity: &SubjectSet) -> GrantedRoles {
        let grants = identity.subjects.iter().flat_map(|subject| self.index.grants_of(*subject));
        let slots = grants.filter_map(|grant| self.binding_slot(grant.position.0));
        let roles = slots.flat_map(|slot| slot.scopes.iter().filter_map(|scope| Some((slot.role?, *scope))));
        GrantedRoles { is_in_system_masters: identity.is_in_system_masters, roles: sorted(roles.collect()) }
    }

    /// Returns the rules that apply to an identity, without those that the controller should have filled in before the
    /// plan and has not. If the controller does not run, a probe for these would never succeed.
    pub(crate) fn observable_rules(&self, scopes: &RelatedScopes, identity: &SubjectSet) -> Vec<ScopedRule> {
        self.collect_rules(scopes, identity, |_, _, role, rules| {
            let effective = role.content.effective.iter().copied();
            match role.content.role.filter(|role| role.aggregation.is_some()) {
                None => rules.extend(effective),
                Some(written) => {
                    let written: Vec<RuleId> =
                        written.rules.iter().filter_map(|rule| self.rules.find_rule(rule)).collect();
                    let is_pending =
                        |rule: &RuleId| role.initial.binary_search(rule).is_ok() && !written.contains(rule);
                    rules.extend(effective.filter(|rule| !is_pending(rule)));
                }
            }
        })
    }

    /// Returns the rules that the same objects already grant to the identity in the original state.
    pub(crate) fn original_rules(&self, scopes: &RelatedScopes, identity: &SubjectSet) -> Vec<ScopedRule> {
        self.collect_rules(scopes, identity, |subject, (id, slot), role, rules| {
            let now = self.index.binding(id);
            let is_original = slot.initial.zip(now).is_some_and(|(initial, now)| {
                let subject = self.index.subject(subject);
                initial.role_ref == now.role_ref
                    && initial.namespaces == now.namespaces
                    && initial.subjects.iter().any(|other| Some(other) == subject)
            });
            if is_original {
                let effective = role.content.effective.iter().copied();
                rules.extend(effective.filter(|rule| role.initial.binary_search(rule).is_ok()));
            }
        })
    }

    fn collect_rules(
        &self,
        scopes: &RelatedScopes,
        identity: &SubjectSet,
        add_rules: impl Fn(SubjectId, (BindingId, &BindingSlot<'s>), &RoleSlot<'s>, &mut Vec<RuleId>),
    ) -> Vec<ScopedRule> {
        let mut scoped_rules = if identity.is_in_system_masters { vec![EVERYTHING] } else { Vec::new() };
        let mut rules = Vec::new();
        for subject in &identity.subjects {
            for grant in self.index.grants_of(*subject) {
                let id = grant.position.0;
                let slot = self.binding_slot(id).filter(|slot| slot.scopes.iter().any(|own| scopes.contains(*own)));
                if let Some((slot, role)) = slot.and_then(|slot| Some((slot, self.role_slot(slot.role?)?))) {
                    rules.clear();
                    add_rules(*subject, (id, slot), role, &mut rules);
                    for scope in slot.scopes.iter().filter(|own| scopes.contains(**own)) {
                        scoped_rules.extend(rules.iter().map(|rule| ScopedRule { rule: *rule, scope: *scope }));
                    }
                }
            }
        }
        sorted(scoped_rules)
    }

    /// Returns the requests that a rule allows.
    pub(crate) fn request_sets(&self, scoped_rule: ScopedRule) -> Rc<[RequestSet<'s>]> {
        self.rules.request_sets(scoped_rule)
    }

    /// Returns at least the rules of a sorted list that can allow requests of a rule: those with a common resource, in the
    /// same namespace or in the whole cluster. A rule of the whole cluster has requests in each namespace.
    pub(crate) fn related_rules<'r>(
        &self,
        scoped_rules: &'r [ScopedRule],
        scoped_rule: ScopedRule,
    ) -> impl Iterator<Item = &'r ScopedRule> {
        // The whole of a short list is read faster than related rules are looked up in it.
        let is_long = scoped_rules.len() > MAX_SCANNED;
        let related = if is_long { self.rules.related(scoped_rule.rule) } else { Rc::from([]) };
        let (by_rule, filtered) = if is_long && related.len() < scoped_rules.len() {
            let ranges = related.iter().flat_map(|rule| {
                let start = scoped_rules.partition_point(|other| other.rule < *rule);
                let tail = scoped_rules.get(start..).unwrap_or_default();
                tail.get(..tail.partition_point(|other| other.rule == *rule)).unwrap_or_default()
            });
            (ranges.collect(), Default::default())
        } else {
            (Vec::new(), scoped_rules)
        };
        let all = by_rule.into_iter().chain(filtered).filter(move |other| other.scope.overlaps(scoped_rule.scope));
        all.filter(move |other| self.rules.are_related(scoped_rule.rule, other.rule))
    }

    /// Returns whether one of the sorted rules allows all requests of a set, which is a part of what `scoped_rule` allows.
    pub(crate) fn contain(
        &self,
        scoped_rules: &[ScopedRule],
        scoped_rule: ScopedRule,
        requests: &RequestSet<'s>,
    ) -> bool {
        let mut related = self.related_rules(scoped_rules, scoped_rule);
        related.any(|other| self.request_sets(*other).iter().any(|other| other.covers(requests)))
    }

    /// Returns whether the sorted rules together allow all requests of a set, which is a part of what `scoped_rule` allows. Only
    /// rules of the same namespace and of the whole cluster can allow them, and requests in every namespace only rules of
    /// the whole cluster, because there are infinitely many namespaces.
    pub(crate) fn coverage(
        &self,
        scoped_rules: &[ScopedRule],
        scoped_rule: ScopedRule,
        requests: &RequestSet<'s>,
    ) -> Coverage {
        let is_same_or_wider = |scope: ScopeId| scope == scoped_rule.scope || scope == ScopeId::CLUSTER;
        let related = self.related_rules(scoped_rules, scoped_rule).filter(|other| is_same_or_wider(other.scope));
        let mut lists: Vec<Rc<[RequestSet<'s>]>> = Vec::new();
        for other in related {
            let sets = self.request_sets(*other);
            if sets.iter().any(|other| other.covers(requests)) {
                return Coverage::Complete;
            }
            lists.push(sets);
        }
        let related: Vec<&RequestSet<'s>> =
            lists.iter().flat_map(|sets| sets.iter()).filter(|other| other.overlaps(requests)).collect();
        requests.coverage_by(&related)
    }
}
