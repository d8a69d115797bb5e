//! The product of sides, which is what a rule gives, and the algebra of two such products.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::request_set_except::is_covered;
use super::resource_set::ResourceSet;
use super::string_set::StringSet;
use super::url_set::UrlSet;
use crate::access::request::Request;
use crate::state::rbac::Rule;

/// How one product lies to another that is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UncoveredSides {
    /// How many sides the other does not cover.
    pub(super) count: usize,
    /// Whether these sides are lists of words.
    pub(super) finite: bool,
}

/// Writes the algebra of a product side by side, the same for each.
macro_rules! product {
    ($(#[$doc:meta])* $name:ident { $($side:ident: $set:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name<'s> {
            $(pub(crate) $side: $set<'s>,)+
        }

        impl<'s> $name<'s> {
            pub(crate) fn all() -> Self {
                Self { $($side: $set::all(),)+ }
            }

            pub(crate) fn is_empty(&self) -> bool {
                $(self.$side.is_empty())||+
            }

            pub(crate) fn is_all(&self) -> bool {
                $(self.$side.is_all())&&+
            }

            pub(crate) fn covers(&self, other: &Self) -> bool {
                $(self.$side.covers(&other.$side))&&+
            }

            pub(crate) fn overlaps(&self, other: &Self) -> bool {
                $(self.$side.overlaps(&other.$side))&&+
            }

            pub(crate) fn intersect(&self, other: &Self) -> Self {
                Self { $($side: self.$side.intersect(&other.$side),)+ }
            }

            fn uncovered_sides(&self, taken: &Self) -> UncoveredSides {
                let mut open = UncoveredSides { count: 0, finite: true };
                $(if !taken.$side.covers(&self.$side) {
                    open.count += 1;
                    open.finite &= self.$side.is_finite();
                })+
                open
            }

            /// What is left when another is taken away, in parts that do not overlap.
            fn minus(&self, taken: &Self) -> Vec<Self> {
                let mut rest = self.clone();
                let mut parts = Vec::new();
                $(
                    let left = rest.$side.minus(&taken.$side);
                    if !left.is_empty() {
                        parts.push(Self { $side: left, ..rest.clone() });
                    }
                    rest.$side = rest.$side.intersect(&taken.$side);
                )+
                parts
            }

            /// Side by side, makes one of those that differ in it alone.
            fn join<T>(mut list: Vec<(Self, T)>, merge: impl Fn(&mut T, T)) -> Vec<(Self, T)> {
                $(
                    let mut joined: BTreeMap<Self, ($set<'s>, T)> = BTreeMap::new();
                    for (mut product, tag) in list {
                        let side = std::mem::replace(&mut product.$side, $set::none());
                        match joined.entry(product) {
                            Entry::Vacant(place) => {
                                place.insert((side, tag));
                            }
                            Entry::Occupied(mut place) => {
                                let (known, tags) = place.get_mut();
                                *known = known.union(&side);
                                merge(tags, tag);
                            }
                        }
                    }
                    let whole = |(product, (side, tag)): (Self, ($set<'s>, T))| (Self { $side: side, ..product }, tag);
                    list = joined.into_iter().map(whole).collect();
                )+
                list
            }
        }
    };
}

product! {
    /// Requests for objects. What parts most comes first.
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
    /// Everything: what `system:masters` may do.
    pub(crate) fn everything() -> [Self; 2] {
        [Self::Objects(ObjectRequestSet::all()), Self::Urls(UrlRequestSet::all())]
    }

    /// What a rule gives of objects in some namespaces, if anything; all of them, and what is in none, is all words.
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

    /// What a rule gives of URLs, if anything, where it holds for the whole cluster: a RoleBinding has no say in them.
    pub(crate) fn from_rule_urls(rule: &'s Rule) -> Option<Self> {
        let urls = UrlSet::from_rule(rule.non_resource_urls.iter().map(String::as_str));
        let set = UrlRequestSet { urls, verbs: StringSet::from_rule(&rule.verbs) };
        (!set.is_empty()).then_some(Self::Urls(set))
    }

    pub(crate) fn contains(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Objects(set), Request::Object(asked)) => {
                set.verbs.contains(&asked.verb)
                    && set.groups.contains(&asked.group)
                    && set.resources.contains(&asked.resource, &asked.subresource)
                    && set.names.contains(&asked.name)
                    && set.namespaces.contains(&asked.namespace)
            }
            (Self::Urls(set), Request::Url { verb, path }) => set.verbs.contains(verb) && set.urls.contains(path),
            (Self::Objects(_), Request::Url { .. }) | (Self::Urls(_), Request::Object(_)) => false,
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
            (Self::Objects(one), Self::Objects(other)) => one.covers(other),
            (Self::Urls(one), Self::Urls(other)) => one.covers(other),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => false,
        }
    }

    /// Whether every request in this set is in one of the others.
    pub(crate) fn is_covered_by(&self, others: &[Self]) -> bool {
        is_covered(self, others)
    }

    /// One request that is in the set.
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
        self.uncovered_sides(other).is_some()
    }

    /// What is in both, if anything is.
    pub(crate) fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Objects(one), Self::Objects(other)) => {
                one.overlaps(other).then(|| Self::Objects(one.intersect(other)))
            }
            (Self::Urls(one), Self::Urls(other)) => one.overlaps(other).then(|| Self::Urls(one.intersect(other))),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => None,
        }
    }

    /// How the other lies to this; none where they have nothing in common.
    pub(super) fn uncovered_sides(&self, taken: &Self) -> Option<UncoveredSides> {
        match (self, taken) {
            (Self::Objects(one), Self::Objects(taken)) => one.overlaps(taken).then(|| one.uncovered_sides(taken)),
            (Self::Urls(one), Self::Urls(taken)) => one.overlaps(taken).then(|| one.uncovered_sides(taken)),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => None,
        }
    }

    pub(super) fn minus(&self, taken: &Self) -> Vec<Self> {
        match (self, taken) {
            (Self::Objects(one), Self::Objects(taken)) => one.minus(taken).into_iter().map(Self::Objects).collect(),
            (Self::Urls(one), Self::Urls(taken)) => one.minus(taken).into_iter().map(Self::Urls).collect(),
            (Self::Objects(_), Self::Urls(_)) | (Self::Urls(_), Self::Objects(_)) => vec![self.clone()],
        }
    }

    /// As few as joining side by side makes of them.
    pub(super) fn join<T>(list: Vec<(Self, T)>, merge: impl Fn(&mut T, T)) -> Vec<(Self, T)> {
        let (mut objects, mut paths) = (Vec::new(), Vec::new());
        for (extent, tag) in list {
            match extent {
                Self::Objects(set) => objects.push((set, tag)),
                Self::Urls(set) => paths.push((set, tag)),
            }
        }
        let objects = ObjectRequestSet::join(objects, &merge).into_iter().map(|(set, tag)| (Self::Objects(set), tag));
        let paths = UrlRequestSet::join(paths, &merge).into_iter().map(|(set, tag)| (Self::Urls(set), tag));
        objects.chain(paths).collect()
    }
}
