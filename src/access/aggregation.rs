//! Aggregated ClusterRoles: which rules the controller fills in.
//!
//! Source: kubernetes v1.36.3 `pkg/controller/clusterroleaggregation`: the union of the selected ClusterRoles' stored
//! rules, exact duplicates dropped, itself excluded, again whenever a ClusterRole changes. It writes by server-side
//! apply, so that of a role for which it finds nothing the rules stay that somebody else holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::Role;
use crate::state::rbac::{LabelSelector, Rule};

/// When the question is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aggregation {
    /// Now: the API server answers from the stored rules. Where an aggregated role has none, it stands in a snapshot
    /// that no controller has seen, and what one would fill in is taken.
    AsStored,
    /// Once the controller has run.
    Reconciled,
}

/// A rule and the role in which somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourcedRule<'s> {
    pub(crate) rule: &'s Rule,
    pub(crate) source: &'s ObjectKey,
}

/// The roles of a state, one of them at times as another state has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleOverlay<'s> {
    state: &'s State,
    replacement: Option<(&'s ObjectKey, Option<&'s Role>)>,
}

impl<'s> RoleOverlay<'s> {
    pub(super) fn new(state: &'s State) -> Self {
        Self { state, replacement: None }
    }

    /// The same but for one role.
    pub(super) fn with_replacement(self, key: &'s ObjectKey, role: Option<&'s Role>) -> Self {
        Self { replacement: Some((key, role)), ..self }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<(&'s ObjectKey, &'s Role)> {
        match self.replacement {
            Some((instead, role)) if instead == key => role.map(|role| (instead, role)),
            _ => self.state.roles.get_key_value(key),
        }
    }

    /// They come before the Roles of the namespaces, which are many.
    fn cluster_roles(self) -> impl Iterator<Item = (&'s ObjectKey, &'s Role)> {
        let own =
            cluster_roles(self.state).filter(move |(key, _)| self.replacement.is_none_or(|(other, _)| other != *key));
        let instead = self.replacement.and_then(|(key, role)| Some((key, role?)));
        own.chain(instead.filter(|(key, _)| key.kind() == ObjectKind::ClusterRole))
    }
}

/// Rules by content, with the first role that has each.
type RuleSources<'s> = BTreeMap<&'s Rule, &'s ObjectKey>;

struct AggregatedRole<'s> {
    /// What the roles that are not aggregated themselves bring in.
    direct: RuleSources<'s>,
    /// The aggregated roles among the selected.
    aggregated_from: Vec<&'s ObjectKey>,
    rules: RuleSources<'s>,
}

/// Whether the rules of a role are to be gathered, not read.
pub(super) fn is_aggregated(role: &Role, moment: Aggregation) -> bool {
    role.aggregation.is_some() && (moment == Aggregation::Reconciled || role.rules.is_empty())
}

/// The rules of an aggregated role, gathered through the roles that it selects.
pub(super) fn aggregate_rules<'s>(
    roles: RoleOverlay<'s>,
    root: &'s ObjectKey,
    moment: Aggregation,
) -> Vec<SourcedRule<'s>> {
    let mut all = reachable_aggregated_roles(roles, root, moment);
    keep_manual_rules(roles, &mut all);
    // In a circle of roles a rule keeps itself alive: each has it from the next. What nobody gives falls away, until
    // nothing more falls; then what is given arrives. Out of a circle the first part leaves nothing of its own.
    loop {
        let fallen: Vec<(&ObjectKey, Vec<&Rule>)> = all
            .iter()
            .map(|(key, role)| {
                let given = |rule: &Rule| {
                    let held = |from: &&ObjectKey| all.get(*from).is_some_and(|from| from.rules.contains_key(rule));
                    role.direct.contains_key(rule) || role.aggregated_from.iter().any(held)
                };
                (*key, role.rules.keys().copied().filter(|rule| !given(rule)).collect())
            })
            .collect();
        if fallen.iter().all(|(_, rules)| rules.is_empty()) {
            break;
        }
        for (key, rules) in fallen {
            if let Some(role) = all.get_mut(key) {
                role.rules.retain(|rule, _| !rules.contains(rule));
            }
        }
    }
    loop {
        let arriving: Vec<(&ObjectKey, RuleSources<'s>)> = all
            .iter()
            .map(|(key, role)| {
                let through =
                    role.aggregated_from.iter().filter_map(|from| all.get(*from)).flat_map(|from| &from.rules);
                let given = role.direct.iter().chain(through);
                (*key, given.filter(|(rule, _)| !role.rules.contains_key(*rule)).map(|(r, s)| (*r, *s)).collect())
            })
            .collect();
        if arriving.iter().all(|(_, pool)| pool.is_empty()) {
            break;
        }
        for (key, pool) in arriving {
            if let Some(role) = all.get_mut(key) {
                role.rules.extend(pool);
            }
        }
    }
    let pool = all.remove(root).map(|role| role.rules).unwrap_or_default();
    pool.into_iter().map(|(rule, source)| SourcedRule { rule, source }).collect()
}

/// Makes the rules written that somebody else holds in a role into which nothing comes.
fn keep_manual_rules<'s>(roles: RoleOverlay<'s>, all: &mut BTreeMap<&'s ObjectKey, AggregatedRole<'s>>) {
    let by_hand = |key: &ObjectKey| {
        roles.get(key).is_some_and(|(_, role)| role.meta.has_manual_rules() && !role.rules.is_empty())
    };
    let mut fed: BTreeSet<&ObjectKey> =
        all.iter().filter(|(_, role)| !role.direct.is_empty()).map(|(key, _)| *key).collect();
    loop {
        let gives = |from: &&ObjectKey| fed.contains(*from) || by_hand(from);
        let more: Vec<&ObjectKey> = all
            .iter()
            .filter(|(key, role)| !fed.contains(*key) && role.aggregated_from.iter().any(gives))
            .map(|(key, _)| *key)
            .collect();
        if more.is_empty() {
            break;
        }
        fed.extend(more);
    }
    for (key, role) in all.iter_mut().filter(|(key, _)| by_hand(key) && !fed.contains(*key)) {
        role.direct.extend(role.rules.keys().map(|rule| (*rule, *key)));
    }
}

/// Every gathered role that is reached from `root`, with what it selects.
fn reachable_aggregated_roles<'s>(
    roles: RoleOverlay<'s>,
    root: &'s ObjectKey,
    moment: Aggregation,
) -> BTreeMap<&'s ObjectKey, AggregatedRole<'s>> {
    let mut found: BTreeMap<&ObjectKey, AggregatedRole<'_>> = BTreeMap::new();
    let mut open = vec![root];
    while let Some(key) = open.pop() {
        let Some((_, role)) = roles.get(key).filter(|_| !found.contains_key(key)) else {
            continue;
        };
        let mut next =
            AggregatedRole { direct: RuleSources::new(), aggregated_from: Vec::new(), rules: RuleSources::new() };
        next.rules.extend(role.rules.iter().map(|rule| (rule, key)));
        for (from, other) in selected_cluster_roles(roles, role.aggregation.as_deref().unwrap_or_default()) {
            if from == key {
                continue;
            }
            if is_aggregated(other, moment) {
                next.aggregated_from.push(from);
                open.push(from);
            } else {
                for rule in &other.rules {
                    next.direct.entry(rule).or_insert(from);
                }
            }
        }
        // The source of a rule is who wrote it, not who handed it on.
        next.rules = std::mem::take(&mut next.rules)
            .into_iter()
            .map(|(rule, own)| (rule, next.direct.get(rule).copied().unwrap_or(own)))
            .collect();
        found.insert(key, next);
    }
    found
}

/// The ClusterRoles that one of the selectors matches, by name.
pub(super) fn selected_cluster_roles<'s>(
    roles: RoleOverlay<'s>,
    selectors: &'s [LabelSelector],
) -> impl Iterator<Item = (&'s ObjectKey, &'s Role)> {
    roles.cluster_roles().filter(|(_, role)| selectors.iter().any(|selector| selector.matches(&role.meta.labels)))
}

fn cluster_roles(state: &State) -> impl Iterator<Item = (&ObjectKey, &Role)> {
    state.roles.iter().take_while(|(key, _)| key.kind() == ObjectKind::ClusterRole)
}

/// The roles that take rules from each other in a circle, each circle once.
pub(crate) fn find_aggregation_cycles(state: &State) -> Vec<BTreeSet<&ObjectKey>> {
    let mut circles: Vec<BTreeSet<&ObjectKey>> = Vec::new();
    let aggregated = cluster_roles(state).filter(|(_, role)| role.aggregation.is_some());
    let reached: BTreeMap<&ObjectKey, BTreeSet<&ObjectKey>> = aggregated
        .map(|(key, _)| {
            let all = reachable_aggregated_roles(RoleOverlay::new(state), key, Aggregation::Reconciled);
            (key, all.values().flat_map(|role| role.aggregated_from.iter().copied()).collect())
        })
        .collect();
    for (key, from) in &reached {
        let circle: BTreeSet<&ObjectKey> =
            from.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(key))).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}
