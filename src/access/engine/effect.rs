//! The effect of a change on access: what each subject gains and loses.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::rule_table::{RuleId, ScopeId, ScopedRule};
use crate::access::grant_index::SubjectId;

/// Whether a change grants access, revokes it, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Direction {
    #[default]
    Neutral,
    Grows,
    Shrinks,
    Mixed,
}

impl Direction {
    pub(crate) fn new(grows: bool, shrinks: bool) -> Self {
        match (grows, shrinks) {
            (false, false) => Self::Neutral,
            (true, false) => Self::Grows,
            (false, true) => Self::Shrinks,
            (true, true) => Self::Mixed,
        }
    }

    /// Returns the direction from one sorted list to another.
    pub(crate) fn between<T: Ord>(from: &[T], to: &[T]) -> Self {
        let has_other = |a: &[T], b: &[T]| a.iter().any(|item| b.binary_search(item).is_err());
        Self::new(has_other(to, from), has_other(from, to))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neutral, direction) | (direction, Self::Neutral) => direction,
            (Self::Grows, Self::Grows) => Self::Grows,
            (Self::Shrinks, Self::Shrinks) => Self::Shrinks,
            (Self::Grows | Self::Shrinks | Self::Mixed, Self::Grows | Self::Shrinks | Self::Mixed) => Self::Mixed,
        }
    }
}

/// Rules in a scope.
pub(super) type RuleGrant = (Rc<[RuleId]>, ScopeId);

/// The lists of rules that a change grants and revokes, by the address of the shared list.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EffectKey([Vec<(*const RuleId, ScopeId)>; 2]);

/// The effect of a change: its direction, and what it grants and revokes by subject.
#[derive(Debug, Default)]
pub(crate) struct AccessEffect {
    pub(crate) direction: Direction,
    /// Whether the effect depends on the order of such changes. The controller replaces rules that were added by hand
    /// when the first selected role appears.
    pub(crate) is_order_dependent: bool,
    pub(super) gains: BTreeMap<SubjectId, Vec<RuleGrant>>,
    pub(super) losses: BTreeMap<SubjectId, Vec<RuleGrant>>,
}

impl AccessEffect {
    /// Returns the effect of a change that grants nothing to RBAC subjects, such as one of aws-auth.
    pub(crate) fn without_grants(direction: Direction) -> Self {
        Self { direction, ..Self::default() }
    }

    pub(crate) fn subjects(&self) -> BTreeSet<SubjectId> {
        self.gains.keys().chain(self.losses.keys()).copied().collect()
    }

    /// Adds the effect of a later change.
    pub(crate) fn and(&mut self, other: Self) {
        self.direction = self.direction.and(other.direction);
        self.is_order_dependent |= other.is_order_dependent;
        for (total, added) in [(&mut self.gains, other.gains), (&mut self.losses, other.losses)] {
            for (subject, grants) in added {
                total.entry(subject).or_default().extend(grants);
            }
        }
    }

    /// Returns the rules that some subjects gain.
    pub(crate) fn gained(&self, subjects: &[SubjectId]) -> Vec<ScopedRule> {
        Self::rules_for(&self.gains, subjects)
    }

    /// Returns the rules that some subjects lose in one way. They may still have them in another way.
    pub(crate) fn lost(&self, subjects: &[SubjectId]) -> Vec<ScopedRule> {
        Self::rules_for(&self.losses, subjects)
    }

    /// Returns a key: identities whose subjects have equal keys gain and lose the same rules.
    pub(crate) fn key_of(&self, subjects: &[SubjectId]) -> EffectKey {
        EffectKey([&self.gains, &self.losses].map(|grants| {
            let grants = subjects.iter().filter_map(|subject| grants.get(subject)).flatten();
            grants.map(|(rules, scope)| (rules.as_ptr(), *scope)).collect()
        }))
    }

    fn rules_for(grants: &BTreeMap<SubjectId, Vec<RuleGrant>>, subjects: &[SubjectId]) -> Vec<ScopedRule> {
        let grants = subjects.iter().filter_map(|subject| grants.get(subject)).flatten();
        grants.flat_map(|(rules, scope)| rules.iter().map(|rule| ScopedRule { rule: *rule, scope: *scope })).collect()
    }
}
