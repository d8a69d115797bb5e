//! One state of all that an order touches, small and quick to change: who is bound to what, and which rules that gives.
//!
//! It may not know what is planned. Every change can be taken back, so that a move can be tried.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::forms::{Atom, BindingForm, Direction, EVERYTHING, OrderEffect, OrderLogin, RoleForm, sorted};
use crate::access::{RequestSet, StringSet};
use crate::names::ObjectKey;
use crate::plan::removals::bound_role;
use crate::state::State;
use crate::state::object::{Binding, Role};
use crate::state::rbac::{Rule, Subject};

#[derive(Debug, Clone)]
pub(super) struct RoleSlot<'s> {
    pub(super) key: ObjectKey,
    pub(super) form: Option<RoleForm<'s>>,
    /// What it gives: of an aggregated role what the controller gathers.
    pub(super) gives: Rc<[usize]>,
    /// What an aggregated role may still give, until its controller has acted.
    pub(super) stale: Rc<[usize]>,
    /// What it gave in the beginning.
    first: Rc<[usize]>,
}

#[derive(Debug, Clone)]
pub(super) struct BindingSlot {
    pub(super) key: ObjectKey,
    pub(super) form: Option<BindingForm>,
    first: Option<BindingForm>,
    scope: usize,
}

impl BindingSlot {
    /// Whether it is there, or was in the beginning.
    pub(super) fn is_known(&self) -> bool {
        self.form.is_some() || self.first.is_some()
    }
}

/// What a change took the place of.
#[derive(Debug)]
pub(super) enum Old<'s> {
    Role(usize, Option<RoleForm<'s>>, Rc<[usize]>, Rc<[usize]>),
    Gathered(usize, Rc<[usize]>, Rc<[usize]>),
    Binding(usize, Option<BindingForm>),
}

/// Rules that are gained, and rules that are lost.
type OrderGrantDelta = (Rc<[usize]>, Rc<[usize]>);

#[derive(Debug)]
pub(super) struct OrderWorld<'s> {
    rules: Vec<&'s Rule>,
    rule_ids: BTreeMap<&'s Rule, usize>,
    scopes: Vec<&'s str>,
    scope_ids: BTreeMap<&'s str, usize>,
    pub(super) subjects: Vec<Subject>,
    subject_ids: BTreeMap<Subject, usize>,
    pub(super) roles: Vec<RoleSlot<'s>>,
    pub(super) role_ids: BTreeMap<ObjectKey, usize>,
    pub(super) bindings: Vec<BindingSlot>,
    pub(super) binding_ids: BTreeMap<ObjectKey, usize>,
    by_subject: Vec<BTreeSet<usize>>,
    by_role: Vec<BTreeSet<usize>>,
    /// The aggregated roles, and for each the roles that it takes rules from.
    pub(super) gathering: BTreeMap<usize, BTreeSet<usize>>,
    pub(super) journal: Vec<Old<'s>>,
    /// As far as they were asked for: a number means the same rule for good.
    extents: RefCell<BTreeMap<Atom, Rc<[RequestSet<'s>]>>>,
}

impl<'s> OrderWorld<'s> {
    pub(super) fn of(state: &'s State) -> Self {
        let mut world = Self {
            rules: Vec::new(),
            rule_ids: BTreeMap::new(),
            scopes: vec![""],
            scope_ids: BTreeMap::new(),
            subjects: Vec::new(),
            subject_ids: BTreeMap::new(),
            roles: Vec::new(),
            role_ids: BTreeMap::new(),
            bindings: Vec::new(),
            binding_ids: BTreeMap::new(),
            by_subject: Vec::new(),
            by_role: Vec::new(),
            gathering: BTreeMap::new(),
            journal: Vec::new(),
            extents: RefCell::default(),
        };
        for (key, role) in &state.roles {
            let ix = world.role(key);
            let form = world.role_form(role);
            world.store_role(ix, Some(form));
        }
        for ix in world.gathering.keys().copied().collect::<Vec<_>>() {
            world.select(ix);
        }
        world.gather_all();
        for slot in &mut world.roles {
            slot.first = Rc::clone(&slot.gives);
            let stored = slot.form.as_ref().filter(|form| form.aggregation.is_some());
            slot.stale = stored.map_or_else(|| Rc::from([]), |form| Rc::from(form.rules.as_slice()));
        }
        for (key, binding) in &state.bindings {
            let ix = world.binding(key, key.namespace());
            let form = world.binding_form(key, binding);
            if let Some(slot) = world.bindings.get_mut(ix) {
                slot.first = Some(form.clone());
            }
            world.store_binding(ix, Some(form));
        }
        world.journal.clear();
        world
    }

    pub(super) fn subject(&mut self, subject: &Subject) -> usize {
        if let Some(id) = self.subject_ids.get(subject) {
            return *id;
        }
        let id = self.subjects.len();
        self.subjects.push(subject.clone());
        self.subject_ids.insert(subject.clone(), id);
        self.by_subject.push(BTreeSet::new());
        id
    }

    pub(super) fn known_subject(&self, subject: &Subject) -> Option<usize> {
        self.subject_ids.get(subject).copied()
    }

    fn rule(&mut self, rule: &'s Rule) -> usize {
        let next = self.rules.len();
        let id = *self.rule_ids.entry(rule).or_insert(next);
        if id == next {
            self.rules.push(rule);
        }
        id
    }

    pub(super) fn rule_of(&self, id: usize) -> Option<&'s Rule> {
        self.rules.get(id).copied()
    }

    fn scope(&mut self, namespace: Option<&'s str>) -> usize {
        let Some(namespace) = namespace else {
            return 0;
        };
        let next = self.scopes.len();
        let id = *self.scope_ids.entry(namespace).or_insert(next);
        if id == next {
            self.scopes.push(namespace);
        }
        id
    }

    /// The place of a role, whether it exists or not.
    pub(super) fn role(&mut self, key: &ObjectKey) -> usize {
        if let Some(ix) = self.role_ids.get(key) {
            return *ix;
        }
        let ix = self.roles.len();
        let none: Rc<[usize]> = Rc::from([]);
        self.roles.push(RoleSlot {
            key: key.clone(),
            form: None,
            gives: Rc::clone(&none),
            stale: Rc::clone(&none),
            first: none,
        });
        self.role_ids.insert(key.clone(), ix);
        self.by_role.push(BTreeSet::new());
        ix
    }

    /// The place of a binding, whether it exists or not.
    pub(super) fn binding(&mut self, key: &ObjectKey, namespace: Option<&'s str>) -> usize {
        if let Some(ix) = self.binding_ids.get(key) {
            return *ix;
        }
        let ix = self.bindings.len();
        let scope = self.scope(namespace);
        self.bindings.push(BindingSlot { key: key.clone(), form: None, first: None, scope });
        self.binding_ids.insert(key.clone(), ix);
        ix
    }

    /// The place of a new binding beside another, in its namespace.
    pub(super) fn binding_beside(&mut self, key: &ObjectKey, other: usize) -> usize {
        let ix = self.binding(key, None);
        let scope = self.bindings.get(other).map_or(0, |slot| slot.scope);
        if let Some(slot) = self.bindings.get_mut(ix) {
            slot.scope = scope;
        }
        ix
    }

    pub(super) fn role_form(&mut self, role: &'s Role) -> RoleForm<'s> {
        RoleForm {
            rules: sorted(role.rules.iter().map(|rule| self.rule(rule)).collect()),
            labels: Rc::new(role.meta.labels.clone()),
            aggregation: role.aggregation.as_deref(),
        }
    }

    pub(super) fn binding_form(&mut self, key: &ObjectKey, binding: &Binding) -> BindingForm {
        BindingForm {
            role: self.role(&bound_role(key, binding)),
            subjects: sorted(binding.subjects.iter().map(|subject| self.subject(subject)).collect()),
        }
    }

    fn store_role(&mut self, ix: usize, form: Option<RoleForm<'s>>) {
        let Some(slot) = self.roles.get_mut(ix) else {
            return;
        };
        let (gave, late) = (Rc::clone(&slot.gives), Rc::clone(&slot.stale));
        match &form {
            Some(form) if form.aggregation.is_some() => {
                let old = late.iter().chain(gave.iter()).chain(&form.rules).copied();
                slot.stale = Rc::from(sorted(old.collect()));
                self.gathering.entry(ix).or_default();
            }
            Some(_) | None => {
                slot.gives = form.as_ref().map_or_else(|| Rc::from([]), |form| Rc::from(form.rules.as_slice()));
                slot.stale = Rc::from([]);
                self.gathering.remove(&ix);
            }
        }
        let old = std::mem::replace(&mut slot.form, form);
        self.journal.push(Old::Role(ix, old, gave, late));
    }

    /// Changes a role, and with it what the controller gathers from it.
    pub(super) fn set_role(&mut self, ix: usize, form: Option<RoleForm<'s>>) -> OrderEffect {
        let none = || (Rc::from([]), Rc::from([]));
        let (gave, late) =
            self.roles.get(ix).map_or_else(none, |slot| (Rc::clone(&slot.gives), Rc::clone(&slot.stale)));
        let was_selected = self.is_selected(ix);
        // Where rules are gathered, what one role does to whom hangs on the others: all of them are concerned.
        let mut near = if was_selected { self.dependents(ix) } else { BTreeSet::new() };
        self.store_role(ix, form);
        self.select(ix);
        self.select_one(ix);
        let is_selected = self.is_selected(ix);
        let mut changed = BTreeMap::new();
        if was_selected || is_selected {
            near.extend(self.dependents(ix));
            let slots = near.iter().filter_map(|role| Some((*role, Rc::clone(&self.roles.get(*role)?.gives))));
            changed.extend(slots.collect::<Vec<_>>());
            changed.extend(self.gather_all());
        }
        changed.insert(ix, gave);
        let direction = Direction::of(is_selected && !was_selected, was_selected && !is_selected);
        let mut effect = OrderEffect { direction, ..OrderEffect::default() };
        for (role, old) in changed {
            let (gained, lost) = self.difference(role, &old, (role == ix).then_some(&*late));
            let direction = Direction::of(!gained.is_empty(), !lost.is_empty());
            if direction == Direction::Neutral && !(was_selected || is_selected) {
                continue;
            }
            effect.direction = effect.direction.and(direction);
            for slot in self.bindings_of(role).filter_map(|binding| self.bindings.get(binding)) {
                for subject in slot.form.iter().flat_map(|form| &form.subjects) {
                    effect.gains.entry(*subject).or_default().push((Rc::clone(&gained), slot.scope));
                    effect.losses.entry(*subject).or_default().push((Rc::clone(&lost), slot.scope));
                }
            }
        }
        effect
    }

    /// What a role gives that it did not give, and what it no longer gives; `late` is what it could still give before.
    fn difference(&self, role: usize, old: &[usize], late: Option<&[usize]>) -> OrderGrantDelta {
        let Some(slot) = self.roles.get(role) else {
            return (Rc::from([]), Rc::from([]));
        };
        let beyond = |one: &[usize], other: &[usize]| -> Vec<usize> {
            one.iter().filter(|rule| other.binary_search(rule).is_err()).copied().collect()
        };
        let mut gained = beyond(&slot.gives, old);
        if let Some(late) = late {
            gained.extend(beyond(&beyond(&slot.stale, late), old));
        }
        (Rc::from(sorted(gained)), Rc::from(beyond(old, &slot.gives)))
    }

    fn store_binding(&mut self, ix: usize, form: Option<BindingForm>) -> Option<BindingForm> {
        let slot = self.bindings.get_mut(ix)?;
        let old = std::mem::replace(&mut slot.form, form.clone());
        if let Some(old) = &old {
            self.by_role.get_mut(old.role).map(|all| all.remove(&ix));
            for subject in &old.subjects {
                self.by_subject.get_mut(*subject).map(|all| all.remove(&ix));
            }
        }
        if let Some(form) = form {
            self.by_role.get_mut(form.role).map(|all| all.insert(ix));
            for subject in form.subjects {
                self.by_subject.get_mut(subject).map(|all| all.insert(ix));
            }
        }
        self.journal.push(Old::Binding(ix, old.clone()));
        old
    }

    pub(super) fn set_binding(&mut self, ix: usize, form: Option<BindingForm>) -> OrderEffect {
        let now = form.clone();
        let old = self.store_binding(ix, form);
        let scope = self.bindings.get(ix).map_or(0, |slot| slot.scope);
        let mut effect = OrderEffect::default();
        let beyond = |one: &Option<BindingForm>, other: &Option<BindingForm>| -> Vec<usize> {
            let other = other.as_ref().filter(|other| one.as_ref().is_some_and(|one| one.role == other.role));
            let known = |subject: &usize| other.is_some_and(|other| other.subjects.binary_search(subject).is_ok());
            one.iter().flat_map(|one| &one.subjects).filter(|subject| !known(subject)).copied().collect()
        };
        let role_of = |form: &Option<BindingForm>| self.roles.get(form.as_ref()?.role);
        let (come, go) = (beyond(&now, &old), beyond(&old, &now));
        effect.direction = Direction::of(!come.is_empty(), !go.is_empty());
        let gives = role_of(&now).map_or_else(
            || Rc::from([]),
            |slot| Rc::from(sorted(slot.gives.iter().chain(slot.stale.iter()).copied().collect())),
        );
        let gave = role_of(&old).map_or_else(|| Rc::from([]), |slot| Rc::clone(&slot.gives));
        effect.gains.extend(come.into_iter().map(|subject| (subject, vec![(Rc::clone(&gives), scope)])));
        effect.losses.extend(go.into_iter().map(|subject| (subject, vec![(Rc::clone(&gave), scope)])));
        effect
    }

    pub(super) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Takes back what was changed since the mark.
    pub(super) fn undo(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some(Old::Role(ix, form, gave, late)) => {
                    let at = self.journal.len();
                    self.store_role(ix, form);
                    if let Some(slot) = self.roles.get_mut(ix) {
                        slot.gives = gave;
                        slot.stale = late;
                    }
                    self.select(ix);
                    self.select_one(ix);
                    self.journal.truncate(at);
                }
                Some(Old::Gathered(ix, gave, stale)) => {
                    if let Some(slot) = self.roles.get_mut(ix) {
                        slot.gives = gave;
                        slot.stale = stale;
                    }
                }
                Some(Old::Binding(ix, form)) => {
                    let at = self.journal.len();
                    self.store_binding(ix, form);
                    self.journal.truncate(at);
                }
                None => {}
            }
        }
    }

    pub(super) fn bindings_of(&self, role: usize) -> impl Iterator<Item = usize> {
        self.by_role.get(role).into_iter().flatten().copied()
    }

    pub(super) fn bindings_naming(&self, subject: usize) -> impl Iterator<Item = usize> {
        self.by_subject.get(subject).into_iter().flatten().copied()
    }

    /// All that a login may do; with `stale` also what an aggregated role may still give.
    pub(super) fn atoms(&self, login: &OrderLogin, stale: bool) -> Vec<Atom> {
        self.walk(login, |slot, role, _| {
            let late: &[usize] = if stale { &role.stale } else { &[] };
            role.gives.iter().chain(late).map(|rule| Atom { rule: *rule, scope: slot.scope }).collect()
        })
    }

    /// The same but for what the controller owed from the beginning and has not filled in: where it does not run, that is
    /// never seen to work.
    pub(super) fn unowed(&self, login: &OrderLogin) -> Vec<Atom> {
        self.walk(login, |slot, role, _| {
            let written = role.form.as_ref().map_or(&[][..], |form| &form.rules);
            let is_owed = |rule: &usize| role.first.binary_search(rule).is_ok() && written.binary_search(rule).is_err();
            let rules = role.gives.iter().filter(|rule| !is_owed(rule));
            rules.map(|rule| Atom { rule: *rule, scope: slot.scope }).collect()
        })
    }

    /// What of it was so from the beginning, by the same objects.
    pub(super) fn lasting(&self, login: &OrderLogin) -> Vec<Atom> {
        self.walk(login, |slot, role, subject| {
            let same =
                slot.first.as_ref().zip(slot.form.as_ref()).is_some_and(|(first, form)| {
                    first.role == form.role && first.subjects.binary_search(&subject).is_ok()
                });
            let rules = role.gives.iter().filter(|rule| same && role.first.binary_search(rule).is_ok());
            rules.map(|rule| Atom { rule: *rule, scope: slot.scope }).collect()
        })
    }

    fn walk(&self, login: &OrderLogin, of: impl Fn(&BindingSlot, &RoleSlot<'s>, usize) -> Vec<Atom>) -> Vec<Atom> {
        let mut atoms = if login.is_master { vec![EVERYTHING] } else { Vec::new() };
        for subject in &login.subjects {
            for binding in self.bindings_naming(*subject) {
                let slot = self.bindings.get(binding);
                let role = slot.and_then(|slot| self.roles.get(slot.form.as_ref()?.role));
                if let Some((slot, role)) = slot.zip(role) {
                    atoms.extend(of(slot, role, *subject));
                }
            }
        }
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }

    /// The requests that an atom allows.
    pub(super) fn extents(&self, atom: Atom) -> Rc<[RequestSet<'s>]> {
        let known = self.extents.borrow().get(&atom).cloned();
        known.unwrap_or_else(|| {
            let made: Rc<[RequestSet<'s>]> = self.made_extents(atom).into();
            self.extents.borrow_mut().insert(atom, Rc::clone(&made));
            made
        })
    }

    /// Whether some atoms allow all of a set.
    pub(super) fn covers(&self, atoms: &[Atom], extent: &RequestSet<'s>) -> bool {
        let mut near: Vec<RequestSet<'s>> = Vec::new();
        for atom in atoms {
            for other in self.extents(*atom).iter().filter(|other| other.overlaps(extent)) {
                if other.covers(extent) {
                    return true;
                }
                near.push(other.clone());
            }
        }
        extent.is_covered_by(&near)
    }

    fn made_extents(&self, atom: Atom) -> Vec<RequestSet<'s>> {
        if atom == EVERYTHING {
            return RequestSet::everything().into();
        }
        let Some(rule) = self.rule_of(atom.rule) else {
            return Vec::new();
        };
        if atom.scope == 0 {
            return [RequestSet::from_rule_objects(rule, StringSet::all()), RequestSet::from_rule_urls(rule)]
                .into_iter()
                .flatten()
                .collect();
        }
        let namespace = self.scopes.get(atom.scope).copied().unwrap_or_default();
        RequestSet::from_rule_objects(rule, StringSet::only([namespace])).into_iter().collect()
    }
}
