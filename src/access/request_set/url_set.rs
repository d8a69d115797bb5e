//! A set of non-resource URLs, as `/metrics`, `/api/*` and `*` name them.
//!
//! Two such patterns never overlap by half: one lies in the other or they have nothing in common. So a set is a list of
//! patterns, each in or out, and of those that match a URL the longest decides.

use std::collections::BTreeMap;

/// A URL, or all that begin so. Ordered from short to long, so that what lies in another comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UrlPattern<'s> {
    length: usize,
    exact: bool,
    text: &'s str,
}

impl<'s> UrlPattern<'s> {
    fn from_rule(url: &'s str) -> Self {
        let text = url.trim_end_matches('*');
        Self { length: text.len(), exact: text.len() == url.len(), text }
    }

    fn covers(&self, other: &Self) -> bool {
        if self.exact { self == other } else { other.text.starts_with(self.text) }
    }
}

impl std::fmt::Display for UrlPattern<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.text, if self.exact { "" } else { "*" })
    }
}

/// URLs, in by some patterns and out by others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UrlSet<'s> {
    /// None that says what a shorter one says already.
    patterns: BTreeMap<UrlPattern<'s>, bool>,
}

impl<'s> UrlSet<'s> {
    pub(crate) fn all() -> Self {
        Self::from_rule(["*"])
    }

    pub(crate) fn none() -> Self {
        Self { patterns: BTreeMap::new() }
    }

    pub(crate) fn from_rule(urls: impl IntoIterator<Item = &'s str>) -> Self {
        let marks = urls.into_iter().map(|url| (UrlPattern::from_rule(url), true)).collect();
        Self { patterns: marks }.pruned()
    }

    /// What is in or out, from short to long.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (&UrlPattern<'s>, bool)> {
        self.patterns.iter().map(|(pattern, inside)| (pattern, *inside))
    }

    fn pruned(self) -> Self {
        let mut kept = Self::none();
        for (pattern, inside) in self.patterns {
            if kept.is_included(&pattern) != inside {
                kept.patterns.insert(pattern, inside);
            }
        }
        kept
    }

    /// What is said of a pattern as a whole, by it or by the longest in which it lies.
    fn is_included(&self, pattern: &UrlPattern<'_>) -> bool {
        self.patterns.iter().rfind(|(mark, _)| mark.covers(pattern)).is_some_and(|(_, inside)| *inside)
    }

    pub(crate) fn contains(&self, url: &str) -> bool {
        self.is_included(&UrlPattern { length: url.len(), exact: true, text: url })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// A URL of the set, where a pattern shows one.
    pub(super) fn sample(&self) -> &'s str {
        let inside = self.patterns.iter().filter(|(_, inside)| **inside).map(|(pattern, _)| pattern.text);
        inside.into_iter().find(|url| !url.is_empty() && self.contains(url)).unwrap_or("/")
    }

    pub(super) fn is_finite(&self) -> bool {
        self.patterns.keys().all(|pattern| pattern.exact)
    }

    fn pointwise(&self, other: &Self, combine: impl Fn(bool, bool) -> bool) -> Self {
        let patterns = self.patterns.keys().chain(other.patterns.keys());
        let marks = patterns.map(|pattern| (*pattern, combine(self.is_included(pattern), other.is_included(pattern))));
        Self { patterns: marks.collect() }.pruned()
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        self.pointwise(other, |one, other| one && other)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.pointwise(other, |one, other| one && !other)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.pointwise(other, |one, other| one || other)
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        !self.intersect(other).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URLS: [&str; 7] = ["*", "/a", "/a*", "/a**", "/a/b*", "/a/b", "/c"];

    fn sets() -> impl Strategy<Value = UrlSet<'static>> {
        let one = || proptest::sample::subsequence(URLS.to_vec(), 0..=3).prop_map(UrlSet::from_rule);
        (one(), one()).prop_map(|(one, other)| one.minus(&other))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sets_of_urls_are_sets(one in sets(), other in sets()) {
            let points = ["", "/", "/a", "/ax", "/a/b", "/a/bx", "/c", "/cx"];
            for url in points {
                let (a, b) = (one.contains(url), other.contains(url));
                prop_assert_eq!(one.intersect(&other).contains(url), a && b);
                prop_assert_eq!(one.minus(&other).contains(url), a && !b);
                prop_assert_eq!(one.union(&other).contains(url), a || b);
            }
            prop_assert_eq!(one.covers(&other), points.iter().all(|p| one.contains(p) || !other.contains(p)));
            prop_assert_eq!(one.is_empty(), !points.iter().any(|p| one.contains(p)));
        }
    }
}
