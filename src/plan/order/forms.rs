//! What roles, bindings and logins say, with rules and subjects as numbers; and how one form lies to another.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::state::meta::Labels;
use crate::state::rbac::Selector;

/// A rule where it counts; the first scope is the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Atom {
    pub(super) rule: usize,
    pub(super) scope: usize,
}

/// What `system:masters` may do.
pub(super) const EVERYTHING: Atom = Atom { rule: usize::MAX, scope: 0 };

/// What a role says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleForm<'s> {
    /// Sorted, each once; of an aggregated role what is stored.
    pub(super) rules: Vec<usize>,
    pub(super) labels: Rc<Labels>,
    pub(super) aggregation: Option<&'s [Selector]>,
}

/// What a binding says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BindingForm {
    pub(super) role: usize,
    /// Sorted, each once.
    pub(super) subjects: Vec<usize>,
}

/// Somebody's login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) subjects: Vec<usize>,
    pub(super) is_master: bool,
}

/// How a change lies to what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Neutral,
    Grows,
    Shrinks,
    Mixed,
}

impl Direction {
    pub(super) fn of(grows: bool, shrinks: bool) -> Self {
        match (grows, shrinks) {
            (false, false) => Self::Neutral,
            (true, false) => Self::Grows,
            (false, true) => Self::Shrinks,
            (true, true) => Self::Mixed,
        }
    }

    /// From one list to another, both sorted.
    pub(super) fn between(from: &[usize], to: &[usize]) -> Self {
        let beyond = |one: &[usize], other: &[usize]| one.iter().any(|item| other.binary_search(item).is_err());
        Self::of(beyond(to, from), beyond(from, to))
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neutral, one) | (one, Self::Neutral) => one,
            (Self::Grows, Self::Grows) => Self::Grows,
            (Self::Shrinks, Self::Shrinks) => Self::Shrinks,
            (Self::Grows | Self::Shrinks | Self::Mixed, Self::Grows | Self::Shrinks | Self::Mixed) => Self::Mixed,
        }
    }
}

/// What a change did: how it lies to what was, and whom it concerns.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) direction: Direction,
    pub(super) subjects: BTreeSet<usize>,
}

pub(super) fn sorted(mut list: Vec<usize>) -> Vec<usize> {
    list.sort_unstable();
    list.dedup();
    list
}
