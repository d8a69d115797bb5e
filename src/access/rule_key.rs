//! A rule as the key of a map that is only looked up.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::state::rbac::Rule;

/// A rule that is compared by its hash first. The rules of a role often have the same verbs and API groups, so their words
/// differ late.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuleKey<'s> {
    hash: u64,
    rule: &'s Rule,
}

impl<'s> From<&'s Rule> for RuleKey<'s> {
    fn from(rule: &'s Rule) -> Self {
        let mut hasher = DefaultHasher::new();
        rule.hash(&mut hasher);
        Self { hash: hasher.finish(), rule }
    }
}

impl Ord for RuleKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash).then_with(|| self.rule.cmp(other.rule))
    }
}

impl PartialOrd for RuleKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RuleKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RuleKey<'_> {}
