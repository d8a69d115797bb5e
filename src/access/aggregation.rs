//! Aggregated ClusterRoles: the rules that the aggregation controller writes into them.
//!
//! Source: kubernetes v1.36.3 `pkg/controller/clusterroleaggregation`. The rules are the union of the stored rules of the
//! selected ClusterRoles without exact duplicates. A role never selects itself. The controller computes the rules again
//! whenever a ClusterRole changes. It writes them by server-side apply, so if it finds no rules for a role, the rules that
//! belong to another field manager remain.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::Role;
use crate::state::rbac::{LabelSelector, Rule};

/// Which rules an aggregated role has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aggregation {
    /// The stored rules, from which the API server decides now. If an aggregated role has no stored rules, the state is
    /// taken as a snapshot that no controller has processed, and the rules are computed.
    AsStored,
    /// The rules after the controller has run.
    Reconciled,
}

/// A rule, and the role in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourcedRule<'s> {
    pub(crate) rule: &'s Rule,
    pub(crate) source: &'s ObjectKey,
}

/// The roles of a state. One of them can be replaced or removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleOverlay<'s> {
    state: &'s State,
    replacement: Option<(&'s ObjectKey, Option<&'s Role>)>,
}

impl<'s> RoleOverlay<'s> {
    pub(super) fn new(state: &'s State) -> Self {
        Self { state, replacement: None }
    }

    /// Returns the same roles with another role at `key`, or without a role there.
    pub(super) fn with_replacement(self, key: &'s ObjectKey, role: Option<&'s Role>) -> Self {
        Self { replacement: Some((key, role)), ..self }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<(&'s ObjectKey, &'s Role)> {
        match self.replacement {
            Some((replaced, role)) if replaced == key => role.map(|role| (replaced, role)),
            _ => self.state.roles.get_key_value(key),
        }
    }

    fn cluster_roles(self) -> impl Iterator<Item = (&'s ObjectKey, &'s Role)> {
        let unchanged = cluster_roles(self.state)
            .filter(move |(key, _)| self.replacement.is_none_or(|(replaced, _)| replaced != *key));
        let replacement = self.replacement.and_then(|(key, role)| Some((key, role?)));
        unchanged.chain(replacement.filter(|(key, _)| key.kind() == ObjectKind::ClusterRole))
    }
}

/// Rules, with the first role that has each.
pub(super) type RuleSources<K, R> = BTreeMap<R, K>;

/// An aggregated role with what it selects. `K` names a role and `R` a rule.
pub(super) struct AggregatedRole<K, R> {
    /// The rules of the selected roles that are not aggregated themselves.
    pub(super) direct: RuleSources<K, R>,
    /// The selected roles that are aggregated themselves.
    pub(super) aggregated_from: Vec<K>,
    /// The stored rules at first, the computed rules at last.
    pub(super) rules: RuleSources<K, R>,
    /// Whether another field manager than the controller owns the stored rules.
    pub(super) has_manual_rules: bool,
}

/// Computes the rules of aggregated roles as the controller does, until no role changes. `roles` contains every
/// aggregated role that one of them selects.
pub(super) fn run_controller<K: Ord + Copy, R: Ord + Copy>(roles: &mut BTreeMap<K, AggregatedRole<K, R>>) {
    keep_manual_rules(roles);
    remove_unselected_rules(roles);
    add_selected_rules(roles);
}

/// Returns whether the rules of a role are computed instead of read.
pub(super) fn is_aggregated(role: &Role, aggregation: Aggregation) -> bool {
    role.aggregation.is_some() && (aggregation == Aggregation::Reconciled || role.rules.is_empty())
}

/// The computed rules of aggregated roles.
pub(super) type ComputedRules<'s> = BTreeMap<&'s ObjectKey, Rc<[SourcedRule<'s>]>>;

/// Computes the rules of every aggregated role from the roles that it selects, directly or through others.
pub(super) fn aggregate_rules(roles: RoleOverlay<'_>, aggregation: Aggregation) -> ComputedRules<'_> {
    let roots = roles.cluster_roles().filter(|(_, role)| is_aggregated(role, aggregation)).map(|(key, _)| key);
    let mut aggregated = reachable_aggregated_roles(roles, roots.collect(), aggregation);
    run_controller(&mut aggregated);
    let to_sourced = |role: AggregatedRole<_, _>| -> Rc<[SourcedRule<'_>]> {
        role.rules.into_iter().map(|(rule, source)| SourcedRule { rule, source }).collect()
    };
    aggregated.into_iter().map(|(key, role)| (key, to_sourced(role))).collect()
}

/// The number of aggregated roles that select other aggregated roles, up to which access is computed. Kubernetes itself
/// has two, `admin` and `edit`.
const MAX_NESTED: usize = 256;

/// Too many aggregated ClusterRoles select other aggregated ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{number} aggregated ClusterRoles, such as `{}`, select other aggregated ClusterRoles; at most {MAX_NESTED} are \
     supported",
    example.name()
)]
pub(crate) struct TooManyNestedRoles {
    number: usize,
    example: ObjectKey,
}

/// Checks that the number of aggregated roles that select other aggregated roles is supported.
///
/// # Errors
/// If there are too many.
pub(crate) fn check_nested_aggregation(state: &State) -> Result<(), TooManyNestedRoles> {
    let aggregated: Vec<(&ObjectKey, &Role)> =
        cluster_roles(state).filter(|(_, role)| role.aggregation.is_some()).collect();
    if aggregated.len() <= MAX_NESTED {
        return Ok(());
    }
    let selects_another = |(key, role): &&(&ObjectKey, &Role)| {
        let selectors = role.aggregation.as_deref().unwrap_or_default();
        let selects = |other: &Role| selectors.iter().any(|selector| selector.matches(&other.meta.labels));
        aggregated.iter().any(|(other, selected)| other != key && selects(selected))
    };
    let nested: Vec<&(&ObjectKey, &Role)> = aggregated.iter().filter(selects_another).collect();
    match nested.first() {
        Some((example, _)) if nested.len() > MAX_NESTED => {
            Err(TooManyNestedRoles { number: nested.len(), example: (*example).clone() })
        }
        _ => Ok(()),
    }
}

/// Removes the stored rules that no selected role has, until every remaining rule is in a selected role.
///
/// If roles select each other in a cycle, a rule that all of them store remains, because each role gets it from the next.
fn remove_unselected_rules<K: Ord + Copy, R: Ord + Copy>(roles: &mut BTreeMap<K, AggregatedRole<K, R>>) {
    loop {
        let removed: Vec<(K, Vec<R>)> = roles
            .iter()
            .map(|(key, role)| {
                let has =
                    |from: &K, rule: &R| roles.get(from).is_some_and(|selected| selected.rules.contains_key(rule));
                let is_selected = |rule: &R| {
                    role.direct.contains_key(rule) || role.aggregated_from.iter().any(|from| has(from, rule))
                };
                (*key, role.rules.keys().copied().filter(|rule| !is_selected(rule)).collect())
            })
            .collect();
        if removed.iter().all(|(_, rules)| rules.is_empty()) {
            return;
        }
        for (key, rules) in removed {
            if let Some(role) = roles.get_mut(&key) {
                role.rules.retain(|rule, _| rules.binary_search(rule).is_err());
            }
        }
    }
}

/// Adds the rules of the selected roles, until no role changes.
fn add_selected_rules<K: Ord + Copy, R: Ord + Copy>(roles: &mut BTreeMap<K, AggregatedRole<K, R>>) {
    loop {
        let added: Vec<(K, RuleSources<K, R>)> = roles
            .iter()
            .map(|(key, role)| {
                let aggregated = role.aggregated_from.iter().filter_map(|from| roles.get(from));
                let selected = role.direct.iter().chain(aggregated.flat_map(|selected| &selected.rules));
                let missing = selected.filter(|(rule, _)| !role.rules.contains_key(rule));
                (*key, missing.map(|(rule, source)| (*rule, *source)).collect())
            })
            .collect();
        if added.iter().all(|(_, rules)| rules.is_empty()) {
            return;
        }
        for (key, rules) in added {
            if let Some(role) = roles.get_mut(&key) {
                role.rules.extend(rules);
            }
        }
    }
}

/// Makes the stored rules of a role direct rules, if another field manager owns them and the controller finds no rules
/// for the role. The controller does not remove such rules. If it writes others, it owns the list from then on.
fn keep_manual_rules<K: Ord + Copy, R: Ord + Copy>(roles: &mut BTreeMap<K, AggregatedRole<K, R>>) {
    let has_manual_rules = |key: &K| roles.get(key).is_some_and(|role| role.has_manual_rules && !role.rules.is_empty());
    // The roles for which the controller finds at least one rule.
    let mut with_selected_rules: BTreeSet<K> =
        roles.iter().filter(|(_, role)| !role.direct.is_empty()).map(|(key, _)| *key).collect();
    loop {
        let has_rules = |from: &K| with_selected_rules.contains(from) || has_manual_rules(from);
        let more: Vec<K> = roles
            .iter()
            .filter(|(key, role)| !with_selected_rules.contains(key) && role.aggregated_from.iter().any(has_rules))
            .map(|(key, _)| *key)
            .collect();
        if more.is_empty() {
            break;
        }
        with_selected_rules.extend(more);
    }
    for (key, role) in roles {
        role.has_manual_rules &= !role.rules.is_empty() && !with_selected_rules.contains(key);
        if role.has_manual_rules {
            role.direct.extend(role.rules.keys().map(|rule| (*rule, *key)));
        }
    }
}

/// Returns whether the controller never removes the stored rules of an aggregated role: another field manager owns
/// them, and no selected role has a rule.
pub(crate) fn keeps_manual_rules(state: &State, key: &ObjectKey) -> bool {
    let aggregated = state.roles.get_key_value(key).filter(|(_, role)| role.aggregation.is_some());
    aggregated.is_some_and(|(key, _)| {
        let mut reachable = reachable_aggregated_roles(RoleOverlay::new(state), vec![key], Aggregation::Reconciled);
        keep_manual_rules(&mut reachable);
        reachable.get(key).is_some_and(|role| role.has_manual_rules)
    })
}

/// Returns the aggregated roles `roots` and every aggregated role that they select, directly or through others.
fn reachable_aggregated_roles<'s>(
    roles: RoleOverlay<'s>,
    roots: Vec<&'s ObjectKey>,
    aggregation: Aggregation,
) -> BTreeMap<&'s ObjectKey, AggregatedRole<&'s ObjectKey, &'s Rule>> {
    let mut reachable: BTreeMap<&ObjectKey, AggregatedRole<_, _>> = BTreeMap::new();
    let mut pending = roots;
    while let Some(key) = pending.pop() {
        let Some((_, role)) = roles.get(key).filter(|_| !reachable.contains_key(key)) else {
            continue;
        };
        let mut direct: RuleSources<&ObjectKey, &Rule> = RuleSources::new();
        let mut aggregated_from = Vec::new();
        for (selected, other) in selected_cluster_roles(roles, role.aggregation.as_deref().unwrap_or_default()) {
            if selected == key {
                continue;
            }
            if is_aggregated(other, aggregation) {
                aggregated_from.push(selected);
                pending.push(selected);
            } else {
                for rule in &other.rules {
                    direct.entry(rule).or_insert(selected);
                }
            }
        }
        // The source of a rule is the role in which it is written, not the aggregated role that also stores it.
        let rules = role.rules.iter().map(|rule| (rule, direct.get(rule).copied().unwrap_or(key))).collect();
        let has_manual_rules = role.meta.has_manual_rules();
        reachable.insert(key, AggregatedRole { direct, aggregated_from, rules, has_manual_rules });
    }
    reachable
}

/// Returns the ClusterRoles that one of the selectors matches, by name.
pub(super) fn selected_cluster_roles<'s>(
    roles: RoleOverlay<'s>,
    selectors: &'s [LabelSelector],
) -> impl Iterator<Item = (&'s ObjectKey, &'s Role)> {
    roles.cluster_roles().filter(|(_, role)| selectors.iter().any(|selector| selector.matches(&role.meta.labels)))
}

/// Returns the ClusterRoles of a state. They sort before the Roles, of which there are many.
fn cluster_roles(state: &State) -> impl Iterator<Item = (&ObjectKey, &Role)> {
    state.roles.iter().take_while(|(key, _)| key.kind() == ObjectKind::ClusterRole)
}

/// Returns the sets of ClusterRoles that aggregate each other, each set once.
pub(crate) fn find_aggregation_cycles(state: &State) -> Vec<BTreeSet<&ObjectKey>> {
    let roots = cluster_roles(state).filter(|(_, role)| role.aggregation.is_some()).map(|(key, _)| key);
    let roles = reachable_aggregated_roles(RoleOverlay::new(state), roots.collect(), Aggregation::Reconciled);
    let reachable_from = |root: &ObjectKey| {
        let mut reachable = BTreeSet::new();
        let mut pending: Vec<&ObjectKey> = roles.get(root).map(|role| role.aggregated_from.clone()).unwrap_or_default();
        while let Some(key) = pending.pop() {
            if reachable.insert(key) {
                pending.extend(roles.get(key).into_iter().flat_map(|role| role.aggregated_from.iter().copied()));
            }
        }
        reachable
    };
    let mut cycles: Vec<BTreeSet<&ObjectKey>> = Vec::new();
    let reachable: BTreeMap<&ObjectKey, BTreeSet<&ObjectKey>> =
        roles.keys().map(|key| (*key, reachable_from(key))).collect();
    for (key, others) in &reachable {
        let reaches_back = |other: &&ObjectKey| reachable.get(other).is_some_and(|back| back.contains(key));
        let cycle: BTreeSet<&ObjectKey> = others.iter().copied().filter(reaches_back).collect();
        if cycle.len() > 1 && !cycles.contains(&cycle) {
            cycles.push(cycle);
        }
    }
    cycles
}
