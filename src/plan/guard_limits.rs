//! What a plan carries of `[guard]`, so that a saved plan is guarded as its policy asked.

use crate::diagnostic::SourceLocation;
use crate::policy::{MaxRemovals, Policy};

/// The words of `[guard]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GuardLimits {
    pub(crate) protected: Vec<GuardLimit>,
    pub(crate) max_removals: Option<GuardLimit>,
}

/// One of them, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardLimit {
    pub(crate) value: String,
    pub(crate) location: SourceLocation,
}

impl GuardLimits {
    pub(crate) fn from_policy(policy: &Policy) -> Self {
        let limit = |value: String, span| GuardLimit { value, location: policy.sources.location(span) };
        let guard = &policy.guard;
        let protected = guard.protected.iter().map(|one| limit(one.value.as_str().to_owned(), one.span));
        let max_removals = guard.max_removals.as_ref().map(|max| limit(max.value.to_string(), max.span));
        Self { protected: protected.collect(), max_removals }
    }

    /// A limit that nobody could have written allows nothing.
    pub(crate) fn max_removals(&self) -> Option<(MaxRemovals, &SourceLocation)> {
        let limit = self.max_removals.as_ref()?;
        Some((MaxRemovals::parse(&limit.value).unwrap_or(MaxRemovals::Count(0)), &limit.location))
    }
}
