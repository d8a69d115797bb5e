//! The content of roles, bindings and logins, with numbers for rules and subjects, and the effect of a change on
//! access.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::state::object_meta::Labels;
use crate::state::rbac::LabelSelector;

/// A rule in a scope. Scope 0 is the whole cluster, the others are namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ScopedRule {
    pub(super) rule: usize,
    pub(super) scope: usize,
}

/// Everything, as `system:masters` is allowed to do.
pub(super) const EVERYTHING: ScopedRule = ScopedRule { rule: usize::MAX, scope: 0 };

/// The content of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleForm<'s> {
    /// Sorted and without duplicates. For an aggregated role the stored rules.
    pub(super) rules: Vec<usize>,
    pub(super) labels: Rc<Labels>,
    pub(super) aggregation: Option<&'s [LabelSelector]>,
}

/// The content of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BindingForm {
    pub(super) role: usize,
    /// Sorted and without duplicates.
    pub(super) subjects: Vec<usize>,
}

/// The identity that an authentication results in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct OrderLogin {
    pub(super) username: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) subjects: Vec<usize>,
    pub(super) is_master: bool,
}

/// Whether a change grants access, revokes it, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Direction {
    #[default]
    Neutral,
    Grows,
    Shrinks,
    Mixed,
}

impl Direction {
    pub(super) fn new(grows: bool, shrinks: bool) -> Self {
        match (grows, shrinks) {
            (false, false) => Self::Neutral,
            (true, false) => Self::Grows,
            (false, true) => Self::Shrinks,
            (true, true) => Self::Mixed,
        }
    }

    /// Returns the direction from one sorted list to another.
    pub(super) fn between(from: &[usize], to: &[usize]) -> Self {
        let has_other = |a: &[usize], b: &[usize]| a.iter().any(|item| b.binary_search(item).is_err());
        Self::new(has_other(to, from), has_other(from, to))
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neutral, direction) | (direction, Self::Neutral) => direction,
            (Self::Grows, Self::Grows) => Self::Grows,
            (Self::Shrinks, Self::Shrinks) => Self::Shrinks,
            (Self::Grows | Self::Shrinks | Self::Mixed, Self::Grows | Self::Shrinks | Self::Mixed) => Self::Mixed,
        }
    }
}

/// Rules and their scope.
pub(super) type OrderGrant = (Rc<[usize]>, usize);

/// The effect of a change: its direction, and what it grants and revokes by subject.
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

    /// Adds the effect of a later change.
    pub(super) fn and(&mut self, other: Self) {
        self.direction = self.direction.and(other.direction);
        for (total, added) in [(&mut self.gains, other.gains), (&mut self.losses, other.losses)] {
            for (subject, grants) in added {
                total.entry(subject).or_default().extend(grants);
            }
        }
    }
}

/// Returns the rules of some grants that apply to a login.
pub(super) fn granted_rules(grants: &BTreeMap<usize, Vec<OrderGrant>>, login: &OrderLogin) -> Vec<ScopedRule> {
    let login_grants = login.subjects.iter().filter_map(|subject| grants.get(subject)).flatten();
    login_grants.flat_map(|(rules, scope)| rules.iter().map(|rule| ScopedRule { rule: *rule, scope: *scope })).collect()
}

pub(super) fn sorted(mut list: Vec<usize>) -> Vec<usize> {
    list.sort_unstable();
    list.dedup();
    list
}
