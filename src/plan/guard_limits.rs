//! The limits of the policy's `[guard]` section. A plan carries them, so that a saved plan is checked without its
//! policy.

use crate::diagnostic::SourceLocation;
use crate::policy::{MaxRemovals, Policy};

/// The values of `[guard]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuardLimits {
    pub(crate) protected: Vec<GuardLimit>,
    pub(crate) max_removals: Option<GuardLimit>,
}

/// A value and its place in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardLimit {
    pub(crate) value: String,
    pub(crate) location: SourceLocation,
}

impl GuardLimits {
    pub(crate) fn from_policy(policy: &Policy) -> Self {
        let limit = |value: String, span| GuardLimit { value, location: policy.sources.location(span) };
        let guard = &policy.guard;
        let protected = guard.protected.iter().map(|pattern| limit(pattern.value.as_str().to_owned(), pattern.span));
        let max_removals = guard.max_removals.as_ref().map(|max| limit(max.value.to_string(), max.span));
        Self { protected: protected.collect(), max_removals }
    }

    /// Returns the part that the digest of a plan covers. It excludes the places, so that moving a line in the policy
    /// does not change the digest. The maximum number or share of removals. An invalid value, which only an edited plan
    /// file can have, allows none.
    pub(crate) fn max_removals(&self) -> Option<(MaxRemovals, &SourceLocation)> {
        let limit = self.max_removals.as_ref()?;
        Some((MaxRemovals::parse(&limit.value).unwrap_or(MaxRemovals::Count(0)), &limit.location))
    }
}
