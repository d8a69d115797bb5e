//! The frame in which everybody must stay: no more than the two sides give together, no less than both give.
//!
//! Held for each subject as rules, never as a list of requests. An aggregated role is taken in both ways above: as its
//! controller will have filled it, and as it may still stand until then.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::forms::{Atom, EVERYTHING, Login};
use super::world::World;
use crate::access::{Extent, Who};
use crate::plan::awaited::Passing;

/// Somebody whom the writes may concern, and the logins that he has now.
#[derive(Debug)]
pub(super) struct Class<'s> {
    pub(super) who: Who,
    pub(super) first: Vec<Login>,
    pub(super) last: Vec<Login>,
    pub(super) now: Vec<Login>,
    /// The same for all whose frame is the same.
    pub(super) kin: usize,
    /// Allowed at most, sorted.
    most: Vec<Atom>,
    /// Allowed at least.
    least: Need<'s>,
    weighed: RefCell<BTreeMap<Atom, Vec<Extent<'s>>>>,
}

/// What several logins have in common.
#[derive(Debug, Default)]
struct Need<'s> {
    atoms: Vec<Atom>,
    /// What rules have in common that are not the same.
    shared: Vec<Extent<'s>>,
}

impl<'s> Need<'s> {
    fn of(sides: &[Vec<Atom>], world: &World<'s>) -> Self {
        let mut sides = sides.iter();
        let Some(first) = sides.next() else {
            return Self::default();
        };
        let mut need = Self { atoms: first.clone(), shared: Vec::new() };
        for side in sides {
            let (kept, lost): (Vec<Atom>, Vec<Atom>) =
                need.atoms.iter().partition(|atom| side.binary_search(atom).is_ok());
            let of = |atoms: &[Atom]| -> Vec<Extent<'s>> {
                atoms.iter().flat_map(|atom| world.extents(*atom).to_vec()).collect()
            };
            let other: Vec<Atom> = side.iter().filter(|atom| kept.binary_search(atom).is_err()).copied().collect();
            let (other, lost) = (of(&other), of(&lost));
            let all = if need.shared.is_empty() { Vec::new() } else { of(side) };
            let mut shared: Vec<Extent<'s>> = Vec::new();
            let pairs = lost.iter().map(|one| (one, &other)).chain(need.shared.iter().map(|one| (one, &all)));
            for (one, others) in pairs {
                for found in others.iter().filter_map(|other| one.intersect(other)) {
                    if !shared.iter().any(|known| known.covers(&found)) {
                        shared.push(found);
                    }
                }
            }
            need = Self { atoms: kept, shared };
        }
        need
    }

    /// What of it some atoms do not cover; the first few.
    fn beyond(&self, atoms: &[Atom], world: &World<'s>, few: usize) -> Vec<Extent<'s>> {
        if atoms.contains(&EVERYTHING) {
            return Vec::new();
        }
        let missing: Vec<Atom> = self.atoms.iter().filter(|atom| atoms.binary_search(atom).is_err()).copied().collect();
        if missing.is_empty() && self.shared.is_empty() {
            return Vec::new();
        }
        let wanted = missing.iter().flat_map(|atom| world.extents(*atom).to_vec()).chain(self.shared.iter().cloned());
        wanted.filter(|extent| !world.covers(atoms, extent)).take(few).collect()
    }
}

impl<'s> Class<'s> {
    pub(super) fn new(who: Who, first: Vec<Login>, last: Vec<Login>) -> Self {
        Self {
            who,
            now: first.clone(),
            kin: 0,
            first,
            last,
            most: Vec::new(),
            least: Need::default(),
            weighed: RefCell::default(),
        }
    }

    /// What the beginning gives; asked before anything has moved.
    pub(super) fn begin(&mut self, world: &World<'s>) -> Vec<Vec<Atom>> {
        let sides: Vec<Vec<Atom>> = self.first.iter().map(|login| world.atoms(login, false)).collect();
        self.most = self.first.iter().flat_map(|login| world.atoms(login, true)).collect();
        sides
    }

    /// What the end gives; asked when everything has moved.
    pub(super) fn end(&mut self, mut sides: Vec<Vec<Atom>>, world: &World<'s>) {
        sides.extend(self.last.iter().map(|login| world.atoms(login, false)));
        self.most.extend(sides.iter().flatten().copied());
        self.most.sort_unstable();
        self.most.dedup();
        self.least = Need::of(&sides, world);
    }

    /// What somebody has beyond the frame now, or lacks of it; the first few of each. With `late` an aggregated role may
    /// still give what it gave.
    pub(super) fn breaches(&self, world: &World<'s>, late: bool, few: usize) -> Vec<(Passing, Extent<'s>)> {
        let mut found = Vec::new();
        for login in &self.now {
            let settled = world.atoms(login, false);
            let lacking = self.least.beyond(&settled, world, few);
            found.extend(lacking.into_iter().map(|extent| (Passing::Loses, extent)));
            let had = if late { world.atoms(login, true) } else { settled };
            let more: Vec<Atom> = had.into_iter().filter(|atom| self.most.binary_search(atom).is_err()).collect();
            if more.is_empty() || self.most.contains(&EVERYTHING) {
                continue;
            }
            let more = more.into_iter().flat_map(|atom| self.beyond_most(atom, world));
            let beyond = more.take(few);
            found.extend(beyond.map(|extent| (Passing::Gains, extent)));
        }
        found
    }

    /// What of an atom is not allowed at most.
    fn beyond_most(&self, atom: Atom, world: &World<'s>) -> Vec<Extent<'s>> {
        let known = self.weighed.borrow().get(&atom).cloned();
        known.unwrap_or_else(|| {
            let all = world.extents(atom);
            let beyond: Vec<_> = all.iter().filter(|extent| !world.covers(&self.most, extent)).cloned().collect();
            self.weighed.borrow_mut().insert(atom, beyond.clone());
            beyond
        })
    }

    pub(super) fn is_in_frame(&self, world: &World<'s>) -> bool {
        self.breaches(world, world.gathers(), 1).is_empty()
    }

    /// What both sides give and only earlier writes of the plan give now, for one of his logins.
    pub(super) fn relies(&self, login: &Login, world: &World<'s>, few: usize) -> Vec<Extent<'s>> {
        self.least.beyond(&world.lasting(login), world, few)
    }
}

impl Class<'_> {
    /// What aws-auth knows him by.
    pub(super) fn key(&self) -> String {
        match &self.who {
            Who::Arn(caller) => caller.key(),
            Who::Account(id) => id.clone(),
            Who::User(_) | Who::Group(_) | Who::ServiceAccount { .. } => String::new(),
        }
    }
}
