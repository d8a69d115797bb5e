//! The frame in which everybody must stay: no more than the two sides give together, no less than both give.
//!
//! Held as rules, never as a list of requests, and once for all whom the same subjects mean on both sides. An aggregated
//! role is taken in both ways above: as its controller will have filled it, and as it may still stand until then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::forms::{Atom, EVERYTHING, OrderEffect, OrderLogin, atoms_of};
use super::world::OrderWorld;
use crate::access::RequestSet;
use crate::plan::probes::TransientAccess;

#[derive(Debug)]
pub(super) struct Frame<'s> {
    /// Allowed at most, sorted.
    most: Vec<Atom>,
    /// Allowed at least.
    least: OrderNeed<'s>,
    /// What of an atom is not allowed at most, as far as that was asked.
    beyond: RefCell<BTreeMap<Atom, Rc<[RequestSet<'s>]>>>,
    /// What of the least an atom has a part in, as far as that was asked.
    needed: RefCell<BTreeMap<Atom, Rc<[Needed<'s>]>>>,
}

/// A set that is allowed at least, and the atom that it is where it is one.
type Needed<'s> = (Option<Atom>, RequestSet<'s>);

/// A frame of which only the beginning is known.
#[derive(Debug)]
pub(super) struct Beginning {
    sides: Vec<Vec<Atom>>,
    most: Vec<Atom>,
}

impl Beginning {
    /// What the beginning gives; asked before anything has moved.
    pub(super) fn of(first: &[OrderLogin], world: &OrderWorld<'_>) -> Self {
        Self {
            sides: first.iter().map(|login| world.atoms(login, false)).collect(),
            most: first.iter().flat_map(|login| world.atoms(login, true)).collect(),
        }
    }

    /// With what the end gives; asked when everything has moved.
    pub(super) fn end<'s>(mut self, last: &[OrderLogin], world: &OrderWorld<'s>) -> Frame<'s> {
        self.sides.extend(last.iter().map(|login| world.atoms(login, false)));
        self.most.extend(self.sides.iter().flatten().copied());
        self.most.sort_unstable();
        self.most.dedup();
        let least = OrderNeed::of(&self.sides, world);
        Frame { most: self.most, least, beyond: RefCell::default(), needed: RefCell::default() }
    }
}

/// What several logins have in common.
#[derive(Debug, Default)]
struct OrderNeed<'s> {
    atoms: Vec<Atom>,
    /// What rules have in common that are not the same, by the scope of both.
    shared: BTreeMap<usize, Vec<RequestSet<'s>>>,
}

impl<'s> OrderNeed<'s> {
    fn of(sides: &[Vec<Atom>], world: &OrderWorld<'s>) -> Self {
        let mut sides = sides.iter();
        let Some(first) = sides.next() else {
            return Self::default();
        };
        let mut need = Self { atoms: first.clone(), shared: BTreeMap::new() };
        for side in sides {
            let (kept, lost): (Vec<Atom>, Vec<Atom>) =
                need.atoms.iter().partition(|atom| side.binary_search(atom).is_ok());
            let other: Vec<Atom> = side.iter().filter(|atom| kept.binary_search(atom).is_err()).copied().collect();
            let mut shared = BTreeMap::new();
            meet(&by_scope(&lost, world), &by_scope(&other, world), &mut shared);
            if !need.shared.is_empty() {
                meet(&need.shared, &by_scope(side, world), &mut shared);
            }
            need = Self { atoms: kept, shared };
        }
        need
    }

    fn is_empty(&self) -> bool {
        self.atoms.is_empty() && self.shared.is_empty()
    }

    fn all(&self, world: &OrderWorld<'s>) -> Vec<Needed<'s>> {
        let atoms = self.atoms.iter().flat_map(|atom| with_atom(*atom, world));
        atoms.chain(self.shared.values().flatten().map(|extent| (None, extent.clone()))).collect()
    }

    /// What of it meets an atom.
    fn meeting(&self, atom: Atom, world: &OrderWorld<'s>) -> Vec<Needed<'s>> {
        let extents = world.extents(atom);
        let near = |scope: usize| scope == 0 || atom.scope == 0 || scope == atom.scope;
        let atoms = self.atoms.iter().filter(|other| near(other.scope)).flat_map(|other| with_atom(*other, world));
        let shared = self.shared.iter().filter(|(scope, _)| near(**scope)).flat_map(|(_, all)| all);
        let mut all: Vec<Needed<'s>> = atoms.chain(shared.map(|extent| (None, extent.clone()))).collect();
        all.retain(|(_, one)| extents.iter().any(|extent| extent.overlaps(one)));
        all
    }
}

type ByScope<'s> = BTreeMap<usize, Vec<RequestSet<'s>>>;

fn with_atom<'s>(atom: Atom, world: &OrderWorld<'s>) -> Vec<Needed<'s>> {
    world.extents(atom).iter().map(|extent| (Some(atom), extent.clone())).collect()
}

fn by_scope<'s>(atoms: &[Atom], world: &OrderWorld<'s>) -> ByScope<'s> {
    let mut all = ByScope::new();
    for atom in atoms {
        all.entry(atom.scope).or_default().extend(world.extents(*atom).iter().cloned());
    }
    all
}

/// What two lists have in common: within one scope, or within the one that is not the whole cluster.
fn meet<'s>(one: &ByScope<'s>, other: &ByScope<'s>, into: &mut ByScope<'s>) {
    let whole = |scope: usize| other.get(&0).filter(|_| scope != 0).into_iter().map(move |list| (scope, list));
    for (scope, extents) in one {
        let same = other.get(scope).into_iter().map(|list| (*scope, list));
        let inner = other.iter().filter(|(inner, _)| *scope == 0 && **inner != 0).map(|(inner, list)| (*inner, list));
        for (scope, others) in same.chain(whole(*scope)).chain(inner) {
            let known = into.entry(scope).or_default();
            for found in extents.iter().flat_map(|one| others.iter().filter_map(|other| one.intersect(other))) {
                if !known.iter().any(|known| known.covers(&found)) {
                    known.push(found);
                }
            }
        }
    }
    into.retain(|_, list| !list.is_empty());
}

impl<'s> Frame<'s> {
    /// What logins have beyond the frame, or lack of it; the first few of each. With `late` an aggregated role may still
    /// give what it gave.
    pub(super) fn breaches(
        &self,
        logins: &[OrderLogin],
        world: &OrderWorld<'s>,
        late: bool,
        few: usize,
    ) -> Vec<(TransientAccess, RequestSet<'s>)> {
        let mut found = Vec::new();
        for login in logins {
            let settled = world.atoms(login, false);
            let lacking = lacking(&self.least.all(world), &settled, world, few);
            found.extend(lacking.into_iter().map(|extent| (TransientAccess::Lost, extent)));
            let had = if late { world.atoms(login, true) } else { settled };
            let more = had.into_iter().flat_map(|atom| self.beyond(atom, world).to_vec());
            found.extend(more.take(few).map(|extent| (TransientAccess::Gained, extent)));
        }
        found
    }

    pub(super) fn holds(&self, logins: &[OrderLogin], world: &OrderWorld<'s>) -> bool {
        self.breaches(logins, world, world.gathers(), 1).is_empty()
    }

    /// Whether it still holds after a change, where it held before.
    pub(super) fn still_holds(&self, logins: &[OrderLogin], effect: &OrderEffect, world: &OrderWorld<'s>) -> bool {
        logins.iter().all(|login| {
            let gains = atoms_of(&effect.gains, login);
            gains.into_iter().all(|atom| self.beyond(atom, world).is_empty()) && {
                let needed = self.needed_of(&atoms_of(&effect.losses, login), world);
                needed.is_empty() || lacking(&needed, &world.atoms(login, false), world, 1).is_empty()
            }
        })
    }

    fn needed_of(&self, atoms: &[Atom], world: &OrderWorld<'s>) -> Vec<Needed<'s>> {
        atoms.iter().flat_map(|atom| self.needed(*atom, world).to_vec()).collect()
    }

    fn needed(&self, atom: Atom, world: &OrderWorld<'s>) -> Rc<[Needed<'s>]> {
        if self.least.is_empty() {
            return Rc::from([]);
        }
        let known = self.needed.borrow().get(&atom).cloned();
        known.unwrap_or_else(|| {
            let all: Rc<[Needed<'s>]> = self.least.meeting(atom, world).into();
            self.needed.borrow_mut().insert(atom, Rc::clone(&all));
            all
        })
    }

    fn beyond(&self, atom: Atom, world: &OrderWorld<'s>) -> Rc<[RequestSet<'s>]> {
        if self.most.binary_search(&atom).is_ok() || self.most.last() == Some(&EVERYTHING) {
            return Rc::from([]);
        }
        let known = self.beyond.borrow().get(&atom).cloned();
        known.unwrap_or_else(|| {
            let all = world.extents(atom);
            let beyond: Rc<[RequestSet<'s>]> =
                all.iter().filter(|extent| !world.covers(&self.most, extent)).cloned().collect();
            self.beyond.borrow_mut().insert(atom, Rc::clone(&beyond));
            beyond
        })
    }

    /// What both sides give and only earlier writes of the plan give now: of what a change takes, or of all.
    pub(super) fn relies(
        &self,
        login: &OrderLogin,
        effect: Option<&OrderEffect>,
        world: &OrderWorld<'s>,
        few: usize,
    ) -> Vec<RequestSet<'s>> {
        let needed = match effect {
            Some(effect) => self.needed_of(&atoms_of(&effect.losses, login), world),
            None => self.least.all(world),
        };
        if needed.is_empty() { Vec::new() } else { lacking(&needed, &world.lasting(login), world, few) }
    }
}

/// What of a need some atoms, sorted, do not cover; the first few.
fn lacking<'s>(needed: &[Needed<'s>], atoms: &[Atom], world: &OrderWorld<'s>, few: usize) -> Vec<RequestSet<'s>> {
    if atoms.last() == Some(&EVERYTHING) {
        return Vec::new();
    }
    let is_there = |atom: &Option<Atom>| atom.is_some_and(|atom| atoms.binary_search(&atom).is_ok());
    let open = needed.iter().filter(|(atom, extent)| !is_there(atom) && !world.covers(atoms, extent));
    open.map(|(_, extent)| extent.clone()).take(few).collect()
}
