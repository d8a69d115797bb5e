//! Whether some order of whole writes, without anything for a while, would have kept everybody in his frame.

use std::collections::BTreeSet;

use super::model::{Gathered, Universe, gathered, late};
use crate::names::ObjectKey;
use crate::state::State;

/// One whole write: an object as it is in the end, or a binding away before it comes back with another roleRef.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum WholeWrite {
    Mapping,
    Role(ObjectKey),
    Binding(ObjectKey),
    Away(ObjectKey),
}

impl WholeWrite {
    fn all(start: &State, end: &State) -> BTreeSet<Self> {
        let mut all = BTreeSet::new();
        if start.aws_auth.as_ref().map(|auth| &auth.data) != end.aws_auth.as_ref().map(|auth| &auth.data) {
            all.insert(Self::Mapping);
        }
        for key in start.roles.keys().chain(end.roles.keys()) {
            let (was, is) = (start.roles.get(key), end.roles.get(key));
            let said = |role: &crate::state::object::Role| {
                (
                    role.aggregation.is_none().then(|| role.rules.clone()),
                    role.aggregation.clone(),
                    role.meta.labels.clone(),
                )
            };
            if was.map(said) != is.map(said) {
                all.insert(Self::Role(key.clone()));
            }
        }
        for key in start.bindings.keys().chain(end.bindings.keys()) {
            let (was, is) = (start.bindings.get(key), end.bindings.get(key));
            if was.map(|one| (&one.role_ref, &one.subjects)) != is.map(|one| (&one.role_ref, &one.subjects)) {
                all.insert(Self::Binding(key.clone()));
            }
            if was.zip(is).is_some_and(|(was, is)| was.role_ref != is.role_ref) {
                all.insert(Self::Away(key.clone()));
            }
        }
        all
    }

    fn make(&self, state: &mut State, end: &State) {
        match self {
            Self::Mapping => state.aws_auth.clone_from(&end.aws_auth),
            Self::Role(key) => match end.roles.get(key) {
                Some(role) => drop(state.roles.insert(key.clone(), role.clone())),
                None => drop(state.roles.remove(key)),
            },
            Self::Binding(key) => match end.bindings.get(key) {
                Some(binding) => drop(state.bindings.insert(key.clone(), binding.clone())),
                None => drop(state.bindings.remove(key)),
            },
            Self::Away(key) => drop(state.bindings.remove(key)),
        }
    }
}

/// The names of the writes in such an order; none where there is none, or where it was not found in so many tries.
pub(super) fn plain_order(universe: &Universe, start: &State, end: &State, tries: usize) -> Option<Vec<String>> {
    let mut search = ExhaustiveSearch { universe, end, frame: [universe.look(start), universe.look(end)], tries };
    let mut order = Vec::new();
    search.go(start, &WholeWrite::all(start, end), &[gathered(start)], &mut order).then_some(order)
}

struct ExhaustiveSearch<'a> {
    universe: &'a Universe,
    end: &'a State,
    frame: [super::model::Picture; 2],
    tries: usize,
}

impl ExhaustiveSearch<'_> {
    fn go(
        &mut self,
        state: &State,
        left: &BTreeSet<WholeWrite>,
        earlier: &[Gathered],
        order: &mut Vec<String>,
    ) -> bool {
        if left.is_empty() {
            return true;
        }
        for act in left {
            let needs = match act {
                WholeWrite::Binding(key) => Some(WholeWrite::Away(key.clone())),
                _ => None,
            };
            if needs.is_some_and(|needs| left.contains(&needs)) {
                continue;
            }
            if self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            let mut next = state.clone();
            act.make(&mut next, self.end);
            if self.is_in_frame(&next, earlier) {
                let mut rest = left.clone();
                rest.remove(act);
                let mut then = earlier.to_vec();
                then.push(gathered(&next));
                order.push(format!("{act:?}"));
                if self.go(&next, &rest, &then, order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }

    fn is_in_frame(&self, state: &State, earlier: &[Gathered]) -> bool {
        let [before, after] = &self.frame;
        let look = |state: &State, is_late| self.universe.leaves(&self.universe.look(state), before, after, is_late);
        look(state, false).is_empty() && earlier.iter().all(|earlier| look(&late(state, earlier), true).is_empty())
    }
}
