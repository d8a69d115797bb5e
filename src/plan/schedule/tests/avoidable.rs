//! An exhaustive search for an order of whole writes, without temporary objects, that keeps all access within bounds.

use std::collections::BTreeSet;

use super::model::{RulesByRole, Universe, aggregated_rules, is_stale, run_controller, with_stale_rules};
use crate::names::ObjectKey;
use crate::state::State;

/// One whole write: sets an object to its final content, or deletes a binding before it is created with another
/// roleRef.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum WholeWrite {
    Mapping,
    Role(ObjectKey),
    Binding(ObjectKey),
    DeleteReplaced(ObjectKey),
}

impl WholeWrite {
    fn all(start: &State, end: &State) -> BTreeSet<Self> {
        let mut all = BTreeSet::new();
        if start.aws_auth.as_ref().map(|auth| &auth.data) != end.aws_auth.as_ref().map(|auth| &auth.data) {
            all.insert(Self::Mapping);
        }
        for key in start.roles.keys().chain(end.roles.keys()) {
            let (before, after) = (start.roles.get(key), end.roles.get(key));
            let content = |role: &crate::state::object::Role| {
                (
                    role.aggregation.is_none().then(|| role.rules.clone()),
                    role.aggregation.clone(),
                    role.meta.labels.clone(),
                )
            };
            if before.map(content) != after.map(content) {
                all.insert(Self::Role(key.clone()));
            }
        }
        for key in start.bindings.keys().chain(end.bindings.keys()) {
            let (before, after) = (start.bindings.get(key), end.bindings.get(key));
            if before.map(|binding| (&binding.role_ref, &binding.subjects))
                != after.map(|binding| (&binding.role_ref, &binding.subjects))
            {
                all.insert(Self::Binding(key.clone()));
            }
            if before.zip(after).is_some_and(|(before, after)| before.role_ref != after.role_ref) {
                all.insert(Self::DeleteReplaced(key.clone()));
            }
        }
        all
    }

    fn apply(&self, state: &mut State, end: &State) {
        match self {
            Self::Mapping => state.aws_auth.clone_from(&end.aws_auth),
            Self::Role(key) => match end.roles.get(key) {
                Some(role) => {
                    let mut role = role.clone();
                    // The controller writes the rules of aggregated roles.
                    let stored = state.roles.get(key).filter(|_| role.aggregation.is_some());
                    if let Some(stored) = stored.filter(|stored| stored.aggregation.is_some()) {
                        role.rules.clone_from(&stored.rules);
                        role.meta.rules_manager = stored.meta.rules_manager;
                    }
                    state.roles.insert(key.clone(), role);
                }
                None => drop(state.roles.remove(key)),
            },
            Self::Binding(key) => match end.bindings.get(key) {
                Some(binding) => drop(state.bindings.insert(key.clone(), binding.clone())),
                None => drop(state.bindings.remove(key)),
            },
            Self::DeleteReplaced(key) => drop(state.bindings.remove(key)),
        }
    }
}

/// Returns the names of the writes in such an order. `None` if there is none, or none was found within `tries` writes.
pub(super) fn find_whole_write_order(
    universe: &Universe,
    start: &State,
    end: &State,
    tries: usize,
) -> Option<Vec<String>> {
    let mut search =
        ExhaustiveSearch { universe, end, bounds: [universe.observe(start), universe.observe(end)], tries };
    let mut order = Vec::new();
    search.search(start, &WholeWrite::all(start, end), &[aggregated_rules(start)], &mut order).then_some(order)
}

struct ExhaustiveSearch<'a> {
    universe: &'a Universe,
    end: &'a State,
    bounds: [super::model::AccessSnapshot; 2],
    tries: usize,
}

impl ExhaustiveSearch<'_> {
    fn search(
        &mut self,
        state: &State,
        left: &BTreeSet<WholeWrite>,
        earlier: &[RulesByRole],
        order: &mut Vec<String>,
    ) -> bool {
        if left.is_empty() {
            return true;
        }
        for write in left {
            let prerequisite = match write {
                WholeWrite::Binding(key) => Some(WholeWrite::DeleteReplaced(key.clone())),
                _ => None,
            };
            if prerequisite.is_some_and(|prerequisite| left.contains(&prerequisite)) {
                continue;
            }
            if self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            let mut next = state.clone();
            write.apply(&mut next, self.end);
            run_controller(&mut next);
            if self.is_in_bounds(&next, earlier) {
                let mut rest = left.clone();
                rest.remove(write);
                let mut next_earlier = earlier.to_vec();
                next_earlier.push(aggregated_rules(&next));
                order.push(format!("{write:?}"));
                if self.search(&next, &rest, &next_earlier, order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }

    fn is_in_bounds(&self, state: &State, earlier: &[RulesByRole]) -> bool {
        let [live, end] = &self.bounds;
        let observe =
            |state: &State, is_stale| self.universe.violations(&self.universe.observe(state), live, end, is_stale);
        let now = aggregated_rules(state);
        observe(state, false).is_empty()
            && earlier
                .iter()
                .filter(|earlier| is_stale(earlier, &now))
                .all(|earlier| observe(&with_stale_rules(state, earlier), true).is_empty())
    }
}
