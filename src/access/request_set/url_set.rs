//! A set of non-resource URLs, written as the patterns `/metrics`, `/api/*` and `*`.
//!
//! Two patterns are nested or disjoint. They never overlap partially. So a set is a list of patterns, each included or
//! excluded, and the longest pattern that matches a URL decides whether the set contains it.

use std::collections::BTreeMap;

/// A URL, or every URL with a prefix. The order is from short to long, so a pattern sorts after every pattern that
/// covers it.
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

/// URLs that some patterns include and others exclude.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UrlSet<'s> {
    /// Whether each pattern includes or excludes its URLs. A pattern that repeats the decision of the longest pattern
    /// that covers it is left out, so equal sets have equal patterns.
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
        Self { patterns: urls.into_iter().map(|url| (UrlPattern::from_rule(url), true)).collect() }.pruned()
    }

    /// Returns the patterns from short to long, and whether each includes its URLs.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (&UrlPattern<'s>, bool)> {
        self.patterns.iter().map(|(pattern, included)| (pattern, *included))
    }

    fn pruned(self) -> Self {
        let mut pruned = Self::none();
        for (pattern, included) in self.patterns {
            if pruned.is_included(&pattern) != included {
                pruned.patterns.insert(pattern, included);
            }
        }
        pruned
    }

    /// Returns whether the longest pattern that covers `pattern` includes its URLs.
    fn is_included(&self, pattern: &UrlPattern<'_>) -> bool {
        self.patterns.iter().rfind(|(own, _)| own.covers(pattern)).is_some_and(|(_, included)| *included)
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

    /// Returns a URL of the set, taken from the text of an included pattern. `/` if no such text is in the set.
    pub(super) fn sample(&self) -> &'s str {
        let included = self.patterns.iter().filter(|(_, included)| **included).map(|(pattern, _)| pattern.text);
        included.into_iter().find(|url| !url.is_empty() && self.contains(url)).unwrap_or("/")
    }

    pub(super) fn is_finite(&self) -> bool {
        self.patterns.keys().all(|pattern| pattern.exact)
    }

    fn pointwise(&self, other: &Self, combine: impl Fn(bool, bool) -> bool) -> Self {
        let patterns = self.patterns.keys().chain(other.patterns.keys());
        let combined =
            patterns.map(|pattern| (*pattern, combine(self.is_included(pattern), other.is_included(pattern))));
        Self { patterns: combined.collect() }.pruned()
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        self.pointwise(other, |in_self, in_other| in_self && in_other)
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.pointwise(other, |in_self, in_other| in_self && !in_other)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.pointwise(other, |in_self, in_other| in_self || in_other)
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.difference(self).is_empty()
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
        let rule_urls = || proptest::sample::subsequence(URLS.to_vec(), 0..=3).prop_map(UrlSet::from_rule);
        (rule_urls(), rule_urls()).prop_map(|(left, right)| left.difference(&right))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn url_set_operations_match_their_definition(left in sets(), right in sets()) {
            let urls = ["", "/", "/a", "/ax", "/a/b", "/a/bx", "/c", "/cx"];
            for url in urls {
                let (in_left, in_right) = (left.contains(url), right.contains(url));
                prop_assert_eq!(left.intersect(&right).contains(url), in_left && in_right);
                prop_assert_eq!(left.difference(&right).contains(url), in_left && !in_right);
                prop_assert_eq!(left.union(&right).contains(url), in_left || in_right);
            }
            prop_assert_eq!(left.covers(&right), urls.iter().all(|url| left.contains(url) || !right.contains(url)));
            prop_assert_eq!(left.is_empty(), !urls.iter().any(|url| left.contains(url)));
        }
    }
}
