//! A set of resources and subresources, as `*`, `pods`, `pods/log` and `*/scale` name them.
//!
//! For each subresource there is a set of resources that have it in the set; the resource itself stands under the
//! empty subresource. So every union, cut and difference of such sets is one again.

use super::string_set::StringSet;

/// Resources with their subresources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceSet<'s> {
    /// Sorted by subresource; none that equals `others`.
    by_subresource: Vec<(&'s str, StringSet<'s>)>,
    /// Of every subresource that is not in `each`.
    others: StringSet<'s>,
}

impl<'s> ResourceSet<'s> {
    pub(crate) fn all() -> Self {
        Self { by_subresource: Vec::new(), others: StringSet::all() }
    }

    pub(crate) fn none() -> Self {
        Self { by_subresource: Vec::new(), others: StringSet::none() }
    }

    /// The resources of a rule. `pods/*` is none: no request has a subresource of that name.
    pub(crate) fn from_rule(words: impl IntoIterator<Item = &'s str>) -> Self {
        let mut set = Self::none();
        for word in words {
            let one = match word.split_once('/') {
                None if word == "*" => return Self::all(),
                None => Self::for_subresource("", StringSet::only([word])),
                Some((_, "" | "*")) => continue,
                Some(("*", subresource)) => Self::for_subresource(subresource, StringSet::all()),
                Some((resource, subresource)) => Self::for_subresource(subresource, StringSet::only([resource])),
            };
            set = set.union(&one);
        }
        set
    }

    fn for_subresource(subresource: &'s str, resources: StringSet<'s>) -> Self {
        Self { by_subresource: vec![(subresource, resources)], others: StringSet::none() }
    }

    /// Resources for each subresource that differs, and those for all other subresources.
    pub(crate) fn parts(&self) -> (&[(&'s str, StringSet<'s>)], &StringSet<'s>) {
        (&self.by_subresource, &self.others)
    }

    fn resources_with(&self, subresource: &str) -> &StringSet<'s> {
        let place = self.by_subresource.binary_search_by(|(sub, _)| (*sub).cmp(subresource));
        place.ok().and_then(|place| self.by_subresource.get(place)).map_or(&self.others, |(_, words)| words)
    }

    pub(crate) fn contains(&self, resource: &str, subresource: &str) -> bool {
        self.resources_with(subresource).contains(resource)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_subresource.is_empty() && self.others.is_empty()
    }

    pub(crate) fn is_all(&self) -> bool {
        self.by_subresource.is_empty() && self.others.is_all()
    }

    /// A resource of the set and its subresource.
    pub(super) fn sample(&self) -> (&'s str, &'s str) {
        let own = self.resources_with("");
        if !own.is_empty() {
            return (own.sample("pods"), "");
        }
        let each = self.by_subresource.iter().find(|(_, words)| !words.is_empty());
        each.map_or_else(|| (self.others.sample("pods"), "rolecall"), |(sub, words)| (words.sample("pods"), sub))
    }

    pub(super) fn is_finite(&self) -> bool {
        self.others.is_empty() && self.by_subresource.iter().all(|(_, words)| words.is_finite())
    }

    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a StringSet<'s>, &'a StringSet<'s>)> {
        let subresources = self.by_subresource.iter().chain(&other.by_subresource).map(|(subresource, _)| *subresource);
        subresources
            .map(|subresource| (self.resources_with(subresource), other.resources_with(subresource)))
            .chain([(&self.others, &other.others)])
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.pairs(other).all(|(one, other)| one.covers(other))
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.pairs(other).any(|(one, other)| one.overlaps(other))
    }

    fn pointwise(&self, other: &Self, combine: impl Fn(&StringSet<'s>, &StringSet<'s>) -> StringSet<'s>) -> Self {
        let others = combine(&self.others, &other.others);
        let mut subresources: Vec<&str> =
            self.by_subresource.iter().chain(&other.by_subresource).map(|(sub, _)| *sub).collect();
        subresources.sort_unstable();
        subresources.dedup();
        let combined =
            subresources.into_iter().map(|sub| (sub, combine(self.resources_with(sub), other.resources_with(sub))));
        let each = combined.filter(|(_, words)| *words != others).collect();
        Self { by_subresource: each, others }
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::intersect)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::minus)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&str; 7] = ["*", "pods", "pods/log", "*/scale", "jobs", "jobs/scale", "pods/*"];

    fn sets() -> impl Strategy<Value = ResourceSet<'static>> {
        let one = || proptest::sample::subsequence(WORDS.to_vec(), 0..=3).prop_map(ResourceSet::from_rule);
        (one(), one()).prop_map(|(one, other)| one.minus(&other))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sets_of_resources_are_sets(one in sets(), other in sets()) {
            let resources = ["pods", "jobs", "z"].into_iter();
            let points: Vec<_> = resources.flat_map(|r| ["", "log", "scale", "z"].map(|sub| (r, sub))).collect();
            for (r, s) in points.iter().copied() {
                let (a, b) = (one.contains(r, s), other.contains(r, s));
                prop_assert_eq!(one.intersect(&other).contains(r, s), a && b);
                prop_assert_eq!(one.minus(&other).contains(r, s), a && !b);
                prop_assert_eq!(one.union(&other).contains(r, s), a || b);
            }
            let at = |set: &ResourceSet<'_>, point: &(&str, &str)| set.contains(point.0, point.1);
            prop_assert_eq!(one.covers(&other), points.iter().all(|p| at(&one, p) || !at(&other, p)));
            prop_assert_eq!(one.overlaps(&other), points.iter().any(|p| at(&one, p) && at(&other, p)));
            prop_assert_eq!(one.is_empty(), !points.iter().any(|p| at(&one, p)));
        }
    }
}
