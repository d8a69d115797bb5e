//! A set of resources and subresources, written as `*`, `pods`, `pods/log` and `*/scale`.
//!
//! The set maps each subresource to the set of resources that it contains with that subresource. The empty subresource
//! is the resource itself. So the union, intersection and difference of two sets have the same form.

use std::collections::BTreeSet;

use super::string_set::StringSet;

/// Resources with their subresources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceSet<'s> {
    /// Sorted by subresource. Entries that equal `others` are left out.
    by_subresource: Vec<(&'s str, StringSet<'s>)>,
    /// The resources for every subresource that is not in `by_subresource`.
    others: StringSet<'s>,
    /// One bit for each resource, so that most sets without a common resource are found at once. All bits if the set is
    /// infinite. It follows from the other fields.
    bits: u64,
}

/// Returns one of 64 bits for a resource.
fn bit(resource: &str) -> u64 {
    let hash = resource.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    1 << (hash % 64)
}

impl<'s> ResourceSet<'s> {
    fn new(by_subresource: Vec<(&'s str, StringSet<'s>)>, others: StringSet<'s>) -> Self {
        let sets = by_subresource.iter().map(|(_, resources)| resources).chain([&others]);
        let bits = sets.fold(0, |bits, resources| match resources.listed() {
            (_, true) => u64::MAX,
            (listed, false) => listed.iter().fold(bits, |bits, resource| bits | bit(resource)),
        });
        Self { by_subresource, others, bits }
    }

    pub(crate) fn all() -> Self {
        Self::new(Vec::new(), StringSet::all())
    }

    pub(crate) fn none() -> Self {
        Self::new(Vec::new(), StringSet::none())
    }

    /// Returns the resources of a rule. `pods/*` adds nothing: a `*` after the `/` is not a wildcard, and no request
    /// has a subresource of that name (kubernetes v1.36.3 `pkg/apis/rbac/v1/evaluation_helpers.go`, `ResourceMatches`).
    pub(crate) fn from_rule(list: impl IntoIterator<Item = &'s str>) -> Self {
        let mut set = Self::none();
        for item in list {
            let added = match item.split_once('/') {
                None if item == "*" => return Self::all(),
                None => Self::for_subresource("", StringSet::only([item])),
                Some((_, "" | "*")) => continue,
                Some(("*", subresource)) => Self::for_subresource(subresource, StringSet::all()),
                Some((resource, subresource)) => Self::for_subresource(subresource, StringSet::only([resource])),
            };
            set = set.union(&added);
        }
        set
    }

    fn for_subresource(subresource: &'s str, resources: StringSet<'s>) -> Self {
        Self::new(vec![(subresource, resources)], StringSet::none())
    }

    /// Returns the names of the resources, if the set lists them and has no subresources.
    pub(super) fn plain_names(&self) -> Option<&[&'s str]> {
        match (self.by_subresource.as_slice(), self.others.listed()) {
            ([("", names)], ([], false)) => {
                let (listed, all_but) = names.listed();
                (!all_but).then_some(listed)
            }
            _ => None,
        }
    }

    /// Returns the resources for each listed subresource, and the resources for all other subresources.
    pub(crate) fn parts(&self) -> (&[(&'s str, StringSet<'s>)], &StringSet<'s>) {
        (&self.by_subresource, &self.others)
    }

    fn resources_with(&self, subresource: &str) -> &StringSet<'s> {
        let position = self.by_subresource.binary_search_by(|(listed, _)| (*listed).cmp(subresource));
        position
            .ok()
            .and_then(|position| self.by_subresource.get(position))
            .map_or(&self.others, |(_, resources)| resources)
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

    /// Returns the resources of the set. `None` if there are infinitely many.
    pub(super) fn names(&self) -> Option<BTreeSet<&'s str>> {
        let sets = self.by_subresource.iter().map(|(_, resources)| resources);
        self.is_finite().then(|| sets.flat_map(|resources| resources.listed().0.iter().copied()).collect())
    }

    /// Returns a resource of the set and its subresource.
    pub(super) fn sample(&self) -> (&'s str, &'s str) {
        let without_subresource = self.resources_with("");
        if !without_subresource.is_empty() {
            return (without_subresource.sample("pods"), "");
        }
        let listed = self.by_subresource.iter().find(|(_, resources)| !resources.is_empty());
        listed.map_or_else(
            || (self.others.sample("pods"), "rolecall"),
            |(subresource, resources)| (resources.sample("pods"), subresource),
        )
    }

    pub(super) fn is_finite(&self) -> bool {
        self.others.is_empty() && self.by_subresource.iter().all(|(_, resources)| resources.is_finite())
    }

    /// Returns the resources of both sets, subresource by subresource.
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a StringSet<'s>, &'a StringSet<'s>)> {
        let subresources = self.by_subresource.iter().chain(&other.by_subresource).map(|(subresource, _)| *subresource);
        subresources
            .map(|subresource| (self.resources_with(subresource), other.resources_with(subresource)))
            .chain([(&self.others, &other.others)])
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.bits & !self.bits == 0 && self.pairs(other).all(|(own, other)| own.covers(other))
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.bits & other.bits != 0 && self.pairs(other).any(|(own, other)| own.overlaps(other))
    }

    fn pointwise(&self, other: &Self, combine: impl Fn(&StringSet<'s>, &StringSet<'s>) -> StringSet<'s>) -> Self {
        let others = combine(&self.others, &other.others);
        let mut subresources: Vec<&str> =
            self.by_subresource.iter().chain(&other.by_subresource).map(|(sub, _)| *sub).collect();
        subresources.sort_unstable();
        subresources.dedup();
        let combined =
            subresources.into_iter().map(|sub| (sub, combine(self.resources_with(sub), other.resources_with(sub))));
        Self::new(combined.filter(|(_, resources)| *resources != others).collect(), others)
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::intersect)
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::difference)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.pointwise(other, StringSet::union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE_RESOURCES: [&str; 7] = ["*", "pods", "pods/log", "*/scale", "jobs", "jobs/scale", "pods/*"];

    fn sets() -> impl Strategy<Value = ResourceSet<'static>> {
        let rule_resources =
            || proptest::sample::subsequence(RULE_RESOURCES.to_vec(), 0..=3).prop_map(ResourceSet::from_rule);
        (rule_resources(), rule_resources()).prop_map(|(left, right)| left.difference(&right))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn resource_set_operations_match_their_definition(left in sets(), right in sets()) {
            // `z` represents every resource and every subresource that no set lists.
            let resources = ["pods", "jobs", "z"].into_iter();
            let pairs: Vec<_> = resources.flat_map(|r| ["", "log", "scale", "z"].map(|sub| (r, sub))).collect();
            for (r, sub) in pairs.iter().copied() {
                let (in_left, in_right) = (left.contains(r, sub), right.contains(r, sub));
                prop_assert_eq!(left.intersect(&right).contains(r, sub), in_left && in_right);
                prop_assert_eq!(left.difference(&right).contains(r, sub), in_left && !in_right);
                prop_assert_eq!(left.union(&right).contains(r, sub), in_left || in_right);
            }
            let contains = |set: &ResourceSet<'_>, pair: &(&str, &str)| set.contains(pair.0, pair.1);
            prop_assert_eq!(left.covers(&right), pairs.iter().all(|p| contains(&left, p) || !contains(&right, p)));
            prop_assert_eq!(left.overlaps(&right), pairs.iter().any(|p| contains(&left, p) && contains(&right, p)));
            prop_assert_eq!(left.is_empty(), !pairs.iter().any(|p| contains(&left, p)));
        }
    }
}
