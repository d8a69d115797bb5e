//! A set of requests as a product of dimensions, which is what one rule allows, and the operations on two products.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::request_set_except::{Coverage, coverage};
use super::resource_set::ResourceSet;
use super::string_set::StringSet;
use super::url_set::UrlSet;
use crate::access::request::Request;
use crate::state::rbac::Rule;

/// The number of steps to decide whether sets cover another one: a fraction of a second. A real policy needs less than a
/// hundred.
const MAX_COVERAGE_STEPS: usize = 100_000;

/// The dimensions of one product that another product does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UncoveredDimensions {
    pub(super) count: usize,
    /// Whether the sets of all these dimensions are finite.
    pub(super) are_finite: bool,
}

/// Defines a product and its operations, which treat every dimension in the same way.
macro_rules! product {
    ($(#[$doc:meta])* $name:ident { $($dimension:ident: $set:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name<'s> {
            $(pub(crate) $dimension: $set<'s>,)+
        }

        impl<'s> $name<'s> {
            pub(crate) fn all() -> Self {
                Self { $($dimension: $set::all(),)+ }
            }

            pub(crate) fn is_empty(&self) -> bool {
                $(self.$dimension.is_empty())||+
            }

            pub(crate) fn is_all(&self) -> bool {
                $(self.$dimension.is_all())&&+
            }

            pub(crate) fn covers(&self, other: &Self) -> bool {
                $(self.$dimension.covers(&other.$dimension))&&+
            }

            pub(crate) fn overlaps(&self, other: &Self) -> bool {
                $(self.$dimension.overlaps(&other.$dimension))&&+
            }

            pub(crate) fn intersect(&self, other: &Self) -> Self {
                Self { $($dimension: self.$dimension.intersect(&other.$dimension),)+ }
            }

            fn uncovered_dimensions(&self, other: &Self) -> UncoveredDimensions {
                let mut uncovered = UncoveredDimensions { count: 0, are_finite: true };
                $(if !other.$dimension.covers(&self.$dimension) {
                    uncovered.count += 1;
                    uncovered.are_finite &= self.$dimension.is_finite();
                })+
                uncovered
            }

            /// Returns the difference, in parts that do not overlap.
            fn difference(&self, other: &Self) -> Vec<Self> {
                let mut rest = self.clone();
                let mut parts = Vec::new();
                $(
                    let outside = rest.$dimension.difference(&other.$dimension);
                    if !outside.is_empty() {
                        parts.push(Self { $dimension: outside, ..rest.clone() });
                    }
                    rest.$dimension = rest.$dimension.intersect(&other.$dimension);
                )+
                parts
            }

            /// Merges products that differ in one dimension only, dimension by dimension.
            fn merge_by_dimension<T>(mut list: Vec<(Self, T)>, merge_tags: impl Fn(&mut T, T)) -> Vec<(Self, T)> {
                $(
                    // The key is the product without this dimension.
                    let mut merged: BTreeMap<Self, (Vec<$set<'s>>, T)> = BTreeMap::new();
                    for (mut product, tag) in list {
                        let set = std::mem::replace(&mut product.$dimension, $set::none());
                        match merged.entry(product) {
                            Entry::Vacant(entry) => {
                                entry.insert((vec![set], tag));
                            }
                            Entry::Occupied(mut entry) => {
                                let (merged_sets, merged_tag) = entry.get_mut();
                                merged_sets.push(set);
                                merge_tags(merged_tag, tag);
                            }
                        }
                    }
                    let restore = |(product, (sets, tag)): (Self, (Vec<$set<'s>>, T))| {
                        let set = union_all(sets, $set::none(), $set::union);
                        (Self { $dimension: set, ..product }, tag)
                    };
                    list = merged.into_iter().map(restore).collect();
                )+
                list
            }
        }
    };
}

/// Returns the union of sets. Pairs of sets of similar size are combined, because combining one after another takes
/// quadratic time.
fn union_all<S>(mut sets: Vec<S>, none: S, union: impl Fn(&S, &S) -> S) -> S {
    while sets.len() > 1 {
        let mut pairs = sets.into_iter();
        let mut combined = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(first) = pairs.next() {
            combined.push(match pairs.next() {
                Some(second) => union(&first, &second),
                None => first,
            });
        }
        sets = combined;
    }
    sets.pop().unwrap_or(none)
}

product! {
    /// Requests for objects. A difference is split by the first dimension first.
    ObjectRequestSet { namespaces: StringSet, resources: ResourceSet, groups: StringSet, names: StringSet, verbs: StringSet }
}

product! {
    /// Requests for URLs.
    UrlRequestSet { urls: UrlSet, verbs: StringSet }
}

/// A set of requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestSet<'s> {
    Objects(ObjectRequestSet<'s>),
    Urls(UrlRequestSet<'s>),
}

impl<'s> RequestSet<'s> {
    /// Returns every request, which is what `system:masters` is allowed to do.
    pub(crate) fn everything() -> [Self; 2] {
        [Self::Objects(ObjectRequestSet::all()), Self::Urls(UrlRequestSet::all())]
    }

    /// Returns the requests for objects that a rule allows in `namespaces`, if any. `StringSet::all()` is a
    /// ClusterRoleBinding: all namespaces and the cluster-scoped requests, whose namespace is empty.
    pub(crate) fn from_rule_objects(rule: &'s Rule, namespaces: StringSet<'s>) -> Option<Self> {
        let names = match rule.resource_names.as_slice() {
            [] => StringSet::all(),
            names => StringSet::only(names.iter().map(String::as_str)),
        };
        let set = ObjectRequestSet {
            namespaces,
            resources: ResourceSet::from_rule(rule.resources.iter().map(String::as_str)),
            groups: StringSet::from_rule(&rule.api_groups),
            names,
            verbs: StringSet::from_rule(&rule.verbs),
        };
        (!set.is_empty()).then_some(Self::Objects(set))
    }

    /// Returns the requests for URLs that a rule allows through a ClusterRoleBinding, if any. A RoleBinding never
    /// allows a URL.
    pub(crate) fn from_rule_urls(rule: &'s Rule) -> Option<Self> {
        let urls = UrlSet::from_rule(rule.non_resource_urls.iter().map(String::as_str));
        let set = UrlRequestSet { urls, verbs: StringSet::from_rule(&rule.verbs) };
        (!set.is_empty()).then_some(Self::Urls(set))
    }

    pub(crate) fn contains(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Objects(set), Request::Object(request)) => {
                set.verbs.contains(&request.verb)
                    && set.groups.contains(&request.group)
                    && set.resources.contains(&request.resource, &request.subresource)
                    && set.names.contains(&request.name)
                    && set.namespaces.contains(&request.namespace)
            }
            (Self::Urls(set), Request::Url { verb, path }) => set.verbs.contains(verb) && set.urls.contains(path),
            (Self::Objects(_), Request::Url { .. }) | (Self::Urls(_), Request::Object(_)) => false,
        }
    }

    /// Returns the resources of the set, without their subresources. `None` for URLs and for infinitely many resources.
    pub(crate) fn resource_names(&self) -> Option<BTreeSet<&'s str>> {
        match self {
            Self::Objects(set) => set.resources.names(),
            Self::Urls(_) => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Objects(set) => set.is_empty(),
            Self::Urls(set) => set.is_empty(),
        }
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Objects(own), Self::Objects(other)) => own.covers(other),
            (Self::Urls(own), Self::Urls(other)) => own.covers(other),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => false,
        }
    }

    /// Returns whether every request in this set is in one of the others.
    pub(crate) fn coverage_by(&self, others: &[&Self]) -> Coverage {
        coverage(self, others, &mut { MAX_COVERAGE_STEPS })
    }

    /// Returns a request of the set.
    pub(crate) fn sample(&self) -> Request {
        match self {
            Self::Objects(set) => {
                let (resource, subresource) = set.resources.sample();
                let path =
                    if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
                Request::object(set.verbs.sample("get"), set.groups.sample(""), &path)
                    .with_name(set.names.sample(""))
                    .in_namespace(set.namespaces.sample(""))
            }
            Self::Urls(set) => Request::url(set.verbs.sample("get"), set.urls.sample()),
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            // Resources are the fastest to compare, and most rules have no resource in common.
            (Self::Objects(own), Self::Objects(other)) => {
                own.resources.overlaps(&other.resources) && own.overlaps(other)
            }
            (Self::Urls(own), Self::Urls(other)) => own.overlaps(other),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => false,
        }
    }

    /// Returns the intersection, unless it is empty.
    pub(crate) fn intersect(&self, other: &Self) -> Option<Self> {
        if !self.overlaps(other) {
            return None;
        }
        match (self, other) {
            (Self::Objects(own), Self::Objects(other)) => Some(Self::Objects(own.intersect(other))),
            (Self::Urls(own), Self::Urls(other)) => Some(Self::Urls(own.intersect(other))),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => None,
        }
    }

    /// Returns the dimensions of this set that the other does not cover. `None` if the sets are disjoint.
    pub(super) fn uncovered_dimensions(&self, other: &Self) -> Option<UncoveredDimensions> {
        if !self.overlaps(other) {
            return None;
        }
        match (self, other) {
            (Self::Objects(own), Self::Objects(other)) => Some(own.uncovered_dimensions(other)),
            (Self::Urls(own), Self::Urls(other)) => Some(own.uncovered_dimensions(other)),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => None,
        }
    }

    /// Returns the difference, in parts that do not overlap.
    pub(super) fn difference(&self, other: &Self) -> Vec<Self> {
        match (self, other) {
            (Self::Objects(own), Self::Objects(other)) => {
                own.difference(other).into_iter().map(Self::Objects).collect()
            }
            (Self::Urls(own), Self::Urls(other)) => own.difference(other).into_iter().map(Self::Urls).collect(),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => vec![self.clone()],
        }
    }

    /// Merges sets that differ in one dimension only. `merge_tags` combines the data attached to two merged sets.
    pub(super) fn merge_by_dimension<T>(list: Vec<(Self, T)>, merge_tags: impl Fn(&mut T, T)) -> Vec<(Self, T)> {
        let (mut objects, mut urls) = (Vec::new(), Vec::new());
        for (set, tag) in list {
            match set {
                Self::Objects(set) => objects.push((set, tag)),
                Self::Urls(set) => urls.push((set, tag)),
            }
        }
        let objects = ObjectRequestSet::merge_by_dimension(objects, &merge_tags)
            .into_iter()
            .map(|(set, tag)| (Self::Objects(set), tag));
        let urls =
            UrlRequestSet::merge_by_dimension(urls, &merge_tags).into_iter().map(|(set, tag)| (Self::Urls(set), tag));
        objects.chain(urls).collect()
    }
}
