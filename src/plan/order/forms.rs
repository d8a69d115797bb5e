//! What roles, bindings and logins say, with rules and subjects as numbers; and how one form lies to another.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::state::object_meta::Labels;
use crate::state::rbac::LabelSelector;

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
    pub(super) aggregation: Option<&'s [LabelSelector]>,
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
pub(super) struct OrderLogin {
    pub(super) username: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) subjects: Vec<usize>,
    pub(super) is_master: bool,
}

/// How a change lies to what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    #[default]
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

/// Rules where they count.
pub(super) type OrderGrant = (Rc<[usize]>, usize);

/// What a change did: how it lies to what was, and what it gave to whom and took.
#[derive(Debug, Default)]
pub(super) struct OrderEffect {
    pub(super) direction: Direction,
    pub(super) gains: BTreeMap<usize, Vec<OrderGrant>>,
    pub(super) losses: BTreeMap<usize, Vec<OrderGrant>>,
}

impl OrderEffect {
    pub(super) fn subjects(&self) -> BTreeSet<usize> {
        self.gains.keys().chain(self.losses.keys()).copied().collect()
    }

    /// Both, one after the other.
    pub(super) fn and(&mut self, other: Self) {
        self.direction = self.direction.and(other.direction);
        for (mine, theirs) in [(&mut self.gains, other.gains), (&mut self.losses, other.losses)] {
            for (subject, grants) in theirs {
                mine.entry(subject).or_default().extend(grants);
            }
        }
    }
}

/// What of some grants a login has.
pub(super) fn atoms_of(grants: &BTreeMap<usize, Vec<OrderGrant>>, login: &OrderLogin) -> Vec<Atom> {
    let of_login = login.subjects.iter().filter_map(|subject| grants.get(subject)).flatten();
    of_login.flat_map(|(rules, scope)| rules.iter().map(|rule| Atom { rule: *rule, scope: *scope })).collect()
}

pub(super) fn sorted(mut list: Vec<usize>) -> Vec<usize> {
    list.sort_unstable();
    list.dedup();
    list
}
