//! The product of sides, which is what a rule gives, and the algebra of two such products.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::resources::Resources;
use super::urls::Urls;
use super::words::Words;
use crate::access::request::Request;
use crate::state::rbac::Rule;

/// How one product lies to another that is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    /// How many sides the other does not cover.
    pub(super) sides: usize,
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

            pub(crate) fn meets(&self, other: &Self) -> bool {
                $(self.$side.meets(&other.$side))&&+
            }

            pub(crate) fn intersect(&self, other: &Self) -> Self {
                Self { $($side: self.$side.intersect(&other.$side),)+ }
            }

            fn open(&self, taken: &Self) -> Open {
                let mut open = Open { sides: 0, finite: true };
                $(if !taken.$side.covers(&self.$side) {
                    open.sides += 1;
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
    Objects { namespaces: Words, resources: Resources, groups: Words, names: Words, verbs: Words }
}

product! {
    /// Requests for URLs.
    Paths { urls: Urls, verbs: Words }
}

/// A set of requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent<'s> {
    Objects(Objects<'s>),
    Paths(Paths<'s>),
}

impl<'s> Extent<'s> {
    /// Everything: what `system:masters` may do.
    pub(crate) fn everything() -> [Self; 2] {
        [Self::Objects(Objects::all()), Self::Paths(Paths::all())]
    }

    /// What a rule gives of objects in some namespaces, if anything; all of them, and what is in none, is all words.
    pub(crate) fn objects(rule: &'s Rule, namespaces: Words<'s>) -> Option<Self> {
        let names = match rule.resource_names.as_slice() {
            [] => Words::all(),
            names => Words::only(names.iter().map(String::as_str)),
        };
        let set = Objects {
            namespaces,
            resources: Resources::of_rule(rule.resources.iter().map(String::as_str)),
            groups: Words::of_rule(&rule.api_groups),
            names,
            verbs: Words::of_rule(&rule.verbs),
        };
        (!set.is_empty()).then_some(Self::Objects(set))
    }

    /// What a rule gives of URLs, if anything, where it holds for the whole cluster: a RoleBinding has no say in them.
    pub(crate) fn paths(rule: &'s Rule) -> Option<Self> {
        let urls = Urls::of_rule(rule.non_resource_urls.iter().map(String::as_str));
        let set = Paths { urls, verbs: Words::of_rule(&rule.verbs) };
        (!set.is_empty()).then_some(Self::Paths(set))
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
            (Self::Paths(set), Request::Url { verb, path }) => set.verbs.contains(verb) && set.urls.contains(path),
            (Self::Objects(_), Request::Url { .. }) | (Self::Paths(_), Request::Object(_)) => false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Objects(set) => set.is_empty(),
            Self::Paths(set) => set.is_empty(),
        }
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Objects(one), Self::Objects(other)) => one.covers(other),
            (Self::Paths(one), Self::Paths(other)) => one.covers(other),
            (Self::Objects(_), Self::Paths(_)) | (Self::Paths(_), Self::Objects(_)) => false,
        }
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.open(other).is_some()
    }

    /// What is in both, if anything is.
    pub(crate) fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Objects(one), Self::Objects(other)) => one.meets(other).then(|| Self::Objects(one.intersect(other))),
            (Self::Paths(one), Self::Paths(other)) => one.meets(other).then(|| Self::Paths(one.intersect(other))),
            (Self::Objects(_), Self::Paths(_)) | (Self::Paths(_), Self::Objects(_)) => None,
        }
    }

    /// How the other lies to this; none where they have nothing in common.
    pub(super) fn open(&self, taken: &Self) -> Option<Open> {
        match (self, taken) {
            (Self::Objects(one), Self::Objects(taken)) => one.meets(taken).then(|| one.open(taken)),
            (Self::Paths(one), Self::Paths(taken)) => one.meets(taken).then(|| one.open(taken)),
            (Self::Objects(_), Self::Paths(_)) | (Self::Paths(_), Self::Objects(_)) => None,
        }
    }

    pub(super) fn minus(&self, taken: &Self) -> Vec<Self> {
        match (self, taken) {
            (Self::Objects(one), Self::Objects(taken)) => one.minus(taken).into_iter().map(Self::Objects).collect(),
            (Self::Paths(one), Self::Paths(taken)) => one.minus(taken).into_iter().map(Self::Paths).collect(),
            (Self::Objects(_), Self::Paths(_)) | (Self::Paths(_), Self::Objects(_)) => vec![self.clone()],
        }
    }

    /// As few as joining side by side makes of them.
    pub(super) fn join<T>(list: Vec<(Self, T)>, merge: impl Fn(&mut T, T)) -> Vec<(Self, T)> {
        let (mut objects, mut paths) = (Vec::new(), Vec::new());
        for (extent, tag) in list {
            match extent {
                Self::Objects(set) => objects.push((set, tag)),
                Self::Paths(set) => paths.push((set, tag)),
            }
        }
        let objects = Objects::join(objects, &merge).into_iter().map(|(set, tag)| (Self::Objects(set), tag));
        let paths = Paths::join(paths, &merge).into_iter().map(|(set, tag)| (Self::Paths(set), tag));
        objects.chain(paths).collect()
    }
}
