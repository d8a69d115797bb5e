//! All that somebody may do, and what one of two such sets has beyond the other.
//!
//! Rules of the same content are one here, whoever gives them: so a role that moves or a binding that is renamed leaves
//! nothing to compare.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::extent::{Extent, Region, Words, joined, without};
use super::query::{By, Held};
use super::request::Request;
use crate::state::rbac::Rule;

/// A set of requests, and what allows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'s> {
    pub(crate) region: Region<'s>,
    /// In the order of the bindings, each once.
    pub(crate) by: Vec<By<'s>>,
}

/// Whether some parts have a request among them.
pub(crate) fn contains(parts: &[Part<'_>], request: &Request) -> bool {
    parts.iter().any(|part| part.region.contains(request))
}

/// All that somebody may do.
#[derive(Debug, Default)]
pub(crate) struct Reach<'s> {
    is_master: bool,
    /// In the order of the bindings.
    held: Vec<Held<'s>>,
    /// Rules by content, and who of `held` has each.
    rules: BTreeMap<&'s Rule, Holders<'s>>,
    extents: OnceCell<Vec<Extent<'s>>>,
}

/// Those who hold one rule.
#[derive(Debug, Default)]
struct Holders<'s> {
    places: Vec<usize>,
    /// One of them holds it for the whole cluster.
    is_wide: bool,
    namespaces: Vec<&'s str>,
}

impl<'s> Holders<'s> {
    fn scope(&self) -> Words<'s> {
        if self.is_wide { Words::all() } else { Words::only(self.namespaces.iter().copied()) }
    }

    fn extents(&self, rule: &'s Rule) -> impl Iterator<Item = Extent<'s>> {
        let paths = if self.is_wide { Extent::paths(rule) } else { None };
        [Extent::objects(rule, self.scope()), paths].into_iter().flatten()
    }
}

impl<'s> Reach<'s> {
    pub(super) fn new(is_master: bool, held: Vec<Held<'s>>) -> Self {
        let mut rules: BTreeMap<&Rule, Holders<'_>> = BTreeMap::new();
        for (place, held) in held.iter().enumerate() {
            let holders = rules.entry(held.chain.rule).or_default();
            holders.places.push(place);
            holders.is_wide |= held.namespace.is_none();
            holders.namespaces.extend(held.namespace);
        }
        Self { is_master, held, rules, extents: OnceCell::new() }
    }

    pub(super) fn is_master(&self) -> bool {
        self.is_master
    }

    /// Rule by rule, with what gives each.
    pub(super) fn parts(&self) -> Vec<Part<'s>> {
        if self.is_master {
            return Extent::everything().map(|extent| Part::whole(extent, vec![By::Masters])).into();
        }
        let parts = self.rules.iter().flat_map(|(rule, holders)| {
            holders.extents(rule).map(|extent| Part::whole(extent, self.givers(&holders.places)))
        });
        parts.collect()
    }

    fn extents(&self) -> &[Extent<'s>] {
        self.extents.get_or_init(|| self.rules.iter().flat_map(|(rule, holders)| holders.extents(rule)).collect())
    }

    fn givers(&self, places: &[usize]) -> Vec<By<'s>> {
        places.iter().filter_map(|place| self.held.get(*place)).map(|held| By::Chain(held.chain)).collect()
    }

    /// What this one has and the other has not.
    pub(super) fn beyond(&self, other: &Self) -> Vec<Part<'s>> {
        if other.is_master {
            return Vec::new();
        }
        let mut found: Vec<(Region<'s>, Vec<usize>)> = Vec::new();
        if self.is_master {
            let left = Extent::everything().into_iter().flat_map(|extent| without(&extent, other.extents()));
            found.extend(left.map(|region| (region, Vec::new())));
        } else {
            let nobody = Holders::default();
            for (rule, holders) in &self.rules {
                let had = other.rules.get(rule).unwrap_or(&nobody);
                let more = holders.scope().minus(&had.scope());
                let objects = if more.is_empty() { None } else { Extent::objects(rule, more) };
                let paths = if holders.is_wide && !had.is_wide { Extent::paths(rule) } else { None };
                for extent in [objects, paths].into_iter().flatten() {
                    for region in without(&extent, other.extents()) {
                        let inside = |place: &&usize| self.held.get(**place).is_some_and(|held| is_in(held, &region));
                        let by = holders.places.iter().filter(inside).copied().collect();
                        found.push((region, by));
                    }
                }
            }
        }
        let mut merged = joined(found, Extend::extend);
        merged.sort();
        let part = |(region, mut by): (Region<'s>, Vec<usize>)| {
            by.sort_unstable();
            by.dedup();
            Part { region, by: if self.is_master { vec![By::Masters] } else { self.givers(&by) } }
        };
        merged.into_iter().map(part).collect()
    }
}

impl<'s> Part<'s> {
    fn whole(extent: Extent<'s>, by: Vec<By<'s>>) -> Self {
        Self { region: Region { extent, except: Vec::new() }, by }
    }
}

/// Whether something held counts in the region.
fn is_in(held: &Held<'_>, region: &Region<'_>) -> bool {
    match (&region.extent, held.namespace) {
        (_, None) => true,
        (Extent::Objects(objects), Some(namespace)) => objects.namespaces.contains(namespace),
        (Extent::Paths(_), Some(_)) => false,
    }
}
