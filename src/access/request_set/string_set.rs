//! A set of strings: verbs, API groups, object names or namespaces. It lists its members, or the strings that are not
//! members.

/// A finite set of strings, or the complement of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StringSet<'s> {
    /// Sorted, without duplicates.
    listed: Vec<&'s str>,
    /// Whether the set contains every string except the listed ones.
    all_but: bool,
}

/// Candidates for a member of an infinite set. They are more than such a set usually excludes.
const SAMPLES: [&str; 6] = ["pods", "list", "default", "rolecall-a", "rolecall-b", "rolecall-c"];

impl<'s> StringSet<'s> {
    pub(crate) fn all() -> Self {
        Self { listed: Vec::new(), all_but: true }
    }

    pub(crate) fn none() -> Self {
        Self { listed: Vec::new(), all_but: false }
    }

    pub(crate) fn only(strings: impl IntoIterator<Item = &'s str>) -> Self {
        let mut listed: Vec<&str> = strings.into_iter().collect();
        listed.sort_unstable();
        listed.dedup();
        Self { listed, all_but: false }
    }

    pub(crate) fn all_but(strings: impl IntoIterator<Item = &'s str>) -> Self {
        Self { all_but: true, ..Self::only(strings) }
    }

    /// Returns a list of a rule, in which `*` matches every string.
    pub(super) fn from_rule(list: &'s [String]) -> Self {
        if list.iter().any(|string| string == "*") {
            return Self::all();
        }
        Self::only(list.iter().map(String::as_str))
    }

    /// Returns the listed strings, and whether the set contains every string except them.
    pub(crate) fn listed(&self) -> (&[&'s str], bool) {
        (&self.listed, self.all_but)
    }

    pub(crate) fn contains(&self, string: &str) -> bool {
        self.is_listed(string) != self.all_but
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.all_but
    }

    pub(crate) fn is_all(&self) -> bool {
        self.listed.is_empty() && self.all_but
    }

    /// Returns a member of the set, preferably `preferred`. The empty string if the set is empty.
    pub(super) fn sample(&self, preferred: &'s str) -> &'s str {
        if self.contains(preferred) {
            return preferred;
        }
        if self.all_but {
            return SAMPLES.into_iter().find(|string| self.contains(string)).unwrap_or_default();
        }
        self.listed.first().copied().unwrap_or_default()
    }

    pub(super) fn is_finite(&self) -> bool {
        !self.all_but
    }

    fn is_listed(&self, string: &str) -> bool {
        self.listed.binary_search(&string).is_ok()
    }

    /// Returns whether every member of the other set is in this one. A finite set never covers a complement, because
    /// there are infinitely many strings.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self.all_but, other.all_but) {
            (false, true) => false,
            (_, false) => other.listed.iter().all(|string| self.contains(string)),
            (true, true) => self.listed.iter().all(|string| other.is_listed(string)),
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self.all_but, other.all_but) {
            (true, true) => true,
            (false, true) => self.listed.iter().any(|string| other.contains(string)),
            (false, false) if self.listed.len() < other.listed.len() => {
                self.listed.iter().any(|string| other.contains(string))
            }
            (_, false) => other.listed.iter().any(|string| self.contains(string)),
        }
    }

    fn complement(&self) -> Self {
        Self { listed: self.listed.clone(), all_but: !self.all_but }
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        if self.all_but && other.all_but {
            return Self::all_but(self.listed.iter().chain(&other.listed).copied());
        }
        // Filter the shorter list.
        let filters_self = !self.all_but && (other.all_but || self.listed.len() <= other.listed.len());
        let (finite, filter) = if filters_self { (self, other) } else { (other, self) };
        Self {
            listed: finite.listed.iter().filter(|string| filter.contains(string)).copied().collect(),
            all_but: false,
        }
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.intersect(&other.complement())
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.complement().intersect(&other.complement()).complement()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = StringSet<'static>> {
        let listed = proptest::sample::subsequence(vec!["", "a", "b", "c"], 0..=4);
        (listed, any::<bool>()).prop_map(|(listed, all_but)| StringSet { all_but, ..StringSet::only(listed) })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn string_set_operations_match_their_definition(left in sets(), right in sets()) {
            // `z` represents every string that no set lists.
            let strings = ["", "a", "b", "c", "z"];
            for string in strings {
                let (in_left, in_right) = (left.contains(string), right.contains(string));
                prop_assert_eq!(left.intersect(&right).contains(string), in_left && in_right);
                prop_assert_eq!(left.difference(&right).contains(string), in_left && !in_right);
                prop_assert_eq!(left.union(&right).contains(string), in_left || in_right);
            }
            prop_assert_eq!(left.covers(&right), strings.iter().all(|s| left.contains(s) || !right.contains(s)));
            prop_assert_eq!(left.overlaps(&right), strings.iter().any(|s| left.contains(s) && right.contains(s)));
            prop_assert_eq!(left.is_empty(), !strings.iter().any(|s| left.contains(s)));
        }
    }
}
