//! A set of words, listed or all but listed: verbs, API groups, names of objects, namespaces.

/// All words, or none, but the listed ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StringSet<'s> {
    /// Sorted, each once.
    listed: Vec<&'s str>,
    /// The set is everything else.
    all_but: bool,
}

/// Words of which some set without end lists one hardly ever.
const SAMPLE_WORDS: [&str; 6] = ["pods", "list", "default", "rolecall-a", "rolecall-b", "rolecall-c"];

impl<'s> StringSet<'s> {
    pub(crate) fn all() -> Self {
        Self { listed: Vec::new(), all_but: true }
    }

    pub(crate) fn none() -> Self {
        Self { listed: Vec::new(), all_but: false }
    }

    pub(crate) fn only(words: impl IntoIterator<Item = &'s str>) -> Self {
        let mut listed: Vec<&str> = words.into_iter().collect();
        listed.sort_unstable();
        listed.dedup();
        Self { listed, all_but: false }
    }

    pub(crate) fn all_but(words: impl IntoIterator<Item = &'s str>) -> Self {
        Self { all_but: true, ..Self::only(words) }
    }

    /// The words of a rule, in which `*` is all of them.
    pub(super) fn from_rule(words: &'s [String]) -> Self {
        if words.iter().any(|word| word == "*") {
            return Self::all();
        }
        Self::only(words.iter().map(String::as_str))
    }

    /// The listed words, and whether the set is all but them.
    pub(crate) fn listed(&self) -> (&[&'s str], bool) {
        (&self.listed, self.all_but)
    }

    pub(crate) fn contains(&self, word: &str) -> bool {
        self.is_listed(word) != self.all_but
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.all_but
    }

    pub(crate) fn is_all(&self) -> bool {
        self.listed.is_empty() && self.all_but
    }

    /// One word of the set, where it has one: the preferred where that is in it.
    pub(super) fn sample(&self, preferred: &'s str) -> &'s str {
        if self.contains(preferred) {
            return preferred;
        }
        if self.all_but {
            return SAMPLE_WORDS.into_iter().find(|word| self.contains(word)).unwrap_or_default();
        }
        self.listed.first().copied().unwrap_or_default()
    }

    pub(super) fn is_finite(&self) -> bool {
        !self.all_but
    }

    fn is_listed(&self, word: &str) -> bool {
        self.listed.binary_search(&word).is_ok()
    }

    /// Whether every word of the other set is in this one. There is always one more word than are listed anywhere.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self.all_but, other.all_but) {
            (false, true) => false,
            (_, false) => other.listed.iter().all(|word| self.contains(word)),
            (true, true) => self.listed.iter().all(|word| other.is_listed(word)),
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self.all_but, other.all_but) {
            (true, true) => true,
            (false, true) => self.listed.iter().any(|word| other.contains(word)),
            (false, false) if self.listed.len() < other.listed.len() => {
                self.listed.iter().any(|word| other.contains(word))
            }
            (_, false) => other.listed.iter().any(|word| self.contains(word)),
        }
    }

    fn complement(&self) -> Self {
        Self { listed: self.listed.clone(), all_but: !self.all_but }
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        let is_first = !self.all_but && (other.all_but || self.listed.len() <= other.listed.len());
        let (few, many) = if is_first { (self, other) } else { (other, self) };
        if few.all_but {
            return Self::all_but(self.listed.iter().chain(&other.listed).copied());
        }
        Self { listed: few.listed.iter().filter(|word| many.contains(word)).copied().collect(), all_but: false }
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
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
        let words = proptest::sample::subsequence(vec!["", "a", "b", "c"], 0..=4);
        (words, any::<bool>()).prop_map(|(words, all_but)| StringSet { all_but, ..StringSet::only(words) })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sets_of_words_are_sets(one in sets(), other in sets()) {
            // `z` stands for every word that is listed nowhere.
            let points = ["", "a", "b", "c", "z"];
            for point in points {
                let (a, b) = (one.contains(point), other.contains(point));
                prop_assert_eq!(one.intersect(&other).contains(point), a && b);
                prop_assert_eq!(one.minus(&other).contains(point), a && !b);
                prop_assert_eq!(one.union(&other).contains(point), a || b);
            }
            prop_assert_eq!(one.covers(&other), points.iter().all(|p| one.contains(p) || !other.contains(p)));
            prop_assert_eq!(one.overlaps(&other), points.iter().any(|p| one.contains(p) && other.contains(p)));
            prop_assert_eq!(one.is_empty(), !points.iter().any(|p| one.contains(p)));
        }
    }
}
