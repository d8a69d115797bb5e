//! An in-memory model of access that is fast to change: the subjects and role of each binding, and the rules of each
//! role.
//!
//! Every change can be undone, so that a write can be tried. The model may not depend on what is planned.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::contents::{BindingForm, Direction, EVERYTHING, OrderEffect, OrderLogin, RoleForm, ScopedRule, sorted};
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
    /// The rules that the role grants. For an aggregated role those that its controller fills in.
    pub(super) effective: Rc<[usize]>,
    /// The rules that an aggregated role may still grant until its controller has run.
    pub(super) stale: Rc<[usize]>,
    /// The rules that the role grants in the live state.
    initial: Rc<[usize]>,
}

#[derive(Debug, Clone)]
pub(super) struct BindingSlot {
    pub(super) key: ObjectKey,
    pub(super) form: Option<BindingForm>,
    initial: Option<BindingForm>,
    scope: usize,
}

impl BindingSlot {
    /// Returns whether the binding exists, or did in the live state.
    pub(super) fn exists_or_existed(&self) -> bool {
        self.form.is_some() || self.initial.is_some()
    }
}

/// The content before a change, for undoing it.
#[derive(Debug)]
pub(super) enum JournalEntry<'s> {
    Role(usize, Option<RoleForm<'s>>, Rc<[usize]>, Rc<[usize]>),
    Reconciled(usize, Rc<[usize]>, Rc<[usize]>),
    Binding(usize, Option<BindingForm>),
}

/// Granted rules and revoked rules.
type OrderGrantDelta = (Rc<[usize]>, Rc<[usize]>);

#[derive(Debug)]
pub(super) struct AccessModel<'s> {
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
    /// For each aggregated role, the roles that its selectors match.
    pub(super) aggregated: BTreeMap<usize, BTreeSet<usize>>,
    pub(super) journal: Vec<JournalEntry<'s>>,
    /// Cache. It stays valid, because the number of a rule does not change.
    request_sets: RefCell<BTreeMap<ScopedRule, Rc<[RequestSet<'s>]>>>,
}

impl<'s> AccessModel<'s> {
    pub(super) fn from_state(state: &'s State) -> Self {
        let mut model = Self {
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
            aggregated: BTreeMap::new(),
            journal: Vec::new(),
            request_sets: RefCell::default(),
        };
        for (key, role) in &state.roles {
            let index = model.role(key);
            let form = model.role_form(role);
            model.store_role(index, Some(form));
        }
        for index in model.aggregated.keys().copied().collect::<Vec<_>>() {
            model.update_sources(index);
        }
        model.reconcile();
        for slot in &mut model.roles {
            slot.initial = Rc::clone(&slot.effective);
            let stored = slot.form.as_ref().filter(|form| form.aggregation.is_some());
            slot.stale = stored.map_or_else(|| Rc::from([]), |form| Rc::from(form.rules.as_slice()));
        }
        for (key, binding) in &state.bindings {
            let index = model.binding(key, key.namespace());
            let form = model.binding_form(key, binding);
            if let Some(slot) = model.bindings.get_mut(index) {
                slot.initial = Some(form.clone());
            }
            model.store_binding(index, Some(form));
        }
        model.journal.clear();
        model
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

    pub(super) fn subject_id(&self, subject: &Subject) -> Option<usize> {
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

    pub(super) fn rule_with_id(&self, id: usize) -> Option<&'s Rule> {
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

    /// Returns the index of a role, which does not have to exist.
    pub(super) fn role(&mut self, key: &ObjectKey) -> usize {
        if let Some(index) = self.role_ids.get(key) {
            return *index;
        }
        let index = self.roles.len();
        let none: Rc<[usize]> = Rc::from([]);
        self.roles.push(RoleSlot {
            key: key.clone(),
            form: None,
            effective: Rc::clone(&none),
            stale: Rc::clone(&none),
            initial: none,
        });
        self.role_ids.insert(key.clone(), index);
        self.by_role.push(BTreeSet::new());
        index
    }

    /// Returns the index of a binding, which does not have to exist.
    pub(super) fn binding(&mut self, key: &ObjectKey, namespace: Option<&'s str>) -> usize {
        if let Some(index) = self.binding_ids.get(key) {
            return *index;
        }
        let index = self.bindings.len();
        let scope = self.scope(namespace);
        self.bindings.push(BindingSlot { key: key.clone(), form: None, initial: None, scope });
        self.binding_ids.insert(key.clone(), index);
        index
    }

    /// Returns the index of a new binding in the same namespace as another binding.
    pub(super) fn binding_beside(&mut self, key: &ObjectKey, other: usize) -> usize {
        let index = self.binding(key, None);
        let scope = self.bindings.get(other).map_or(0, |slot| slot.scope);
        if let Some(slot) = self.bindings.get_mut(index) {
            slot.scope = scope;
        }
        index
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

    fn store_role(&mut self, index: usize, form: Option<RoleForm<'s>>) {
        let Some(slot) = self.roles.get_mut(index) else {
            return;
        };
        let (old_effective, stale) = (Rc::clone(&slot.effective), Rc::clone(&slot.stale));
        match &form {
            Some(form) if form.aggregation.is_some() => {
                let old = stale.iter().chain(old_effective.iter()).chain(&form.rules).copied();
                slot.stale = Rc::from(sorted(old.collect()));
                self.aggregated.entry(index).or_default();
            }
            Some(_) | None => {
                slot.effective = form.as_ref().map_or_else(|| Rc::from([]), |form| Rc::from(form.rules.as_slice()));
                slot.stale = Rc::from([]);
                self.aggregated.remove(&index);
            }
        }
        let old = std::mem::replace(&mut slot.form, form);
        self.journal.push(JournalEntry::Role(index, old, old_effective, stale));
    }

    /// Changes a role and the aggregated roles that contain its rules.
    pub(super) fn set_role(&mut self, index: usize, form: Option<RoleForm<'s>>) -> OrderEffect {
        let none = || (Rc::from([]), Rc::from([]));
        let (old_effective, stale) =
            self.roles.get(index).map_or_else(none, |slot| (Rc::clone(&slot.effective), Rc::clone(&slot.stale)));
        let was_in_aggregation = self.is_in_aggregation(index);
        // The effect of a role that is aggregated depends on the other aggregated roles, so all of them are compared.
        let mut related = if was_in_aggregation { self.dependents(index) } else { BTreeSet::new() };
        self.store_role(index, form);
        self.update_sources(index);
        self.update_sources_with(index);
        let is_in_aggregation = self.is_in_aggregation(index);
        let mut changed = BTreeMap::new();
        if was_in_aggregation || is_in_aggregation {
            related.extend(self.dependents(index));
            let slots = related.iter().filter_map(|role| Some((*role, Rc::clone(&self.roles.get(*role)?.effective))));
            changed.extend(slots.collect::<Vec<_>>());
            changed.extend(self.reconcile());
        }
        changed.insert(index, old_effective);
        let direction =
            Direction::new(is_in_aggregation && !was_in_aggregation, was_in_aggregation && !is_in_aggregation);
        let mut effect = OrderEffect { direction, ..OrderEffect::default() };
        for (role, old) in changed {
            let (gained, lost) = self.difference(role, &old, (role == index).then_some(&*stale));
            let direction = Direction::new(!gained.is_empty(), !lost.is_empty());
            if direction == Direction::Neutral && !(was_in_aggregation || is_in_aggregation) {
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

    /// Returns the rules that a role grants and did not grant before, and the rules that it no longer grants. `stale`
    /// are the rules that it could still grant before.
    fn difference(&self, role: usize, old: &[usize], stale: Option<&[usize]>) -> OrderGrantDelta {
        let Some(slot) = self.roles.get(role) else {
            return (Rc::from([]), Rc::from([]));
        };
        let only_in = |a: &[usize], b: &[usize]| -> Vec<usize> {
            a.iter().filter(|rule| b.binary_search(rule).is_err()).copied().collect()
        };
        let mut gained = only_in(&slot.effective, old);
        if let Some(stale) = stale {
            gained.extend(only_in(&only_in(&slot.stale, stale), old));
        }
        (Rc::from(sorted(gained)), Rc::from(only_in(old, &slot.effective)))
    }

    fn store_binding(&mut self, index: usize, form: Option<BindingForm>) -> Option<BindingForm> {
        let slot = self.bindings.get_mut(index)?;
        let old = std::mem::replace(&mut slot.form, form.clone());
        if let Some(old) = &old {
            self.by_role.get_mut(old.role).map(|all| all.remove(&index));
            for subject in &old.subjects {
                self.by_subject.get_mut(*subject).map(|all| all.remove(&index));
            }
        }
        if let Some(form) = form {
            self.by_role.get_mut(form.role).map(|all| all.insert(index));
            for subject in form.subjects {
                self.by_subject.get_mut(subject).map(|all| all.insert(index));
            }
        }
        self.journal.push(JournalEntry::Binding(index, old.clone()));
        old
    }

    pub(super) fn set_binding(&mut self, index: usize, form: Option<BindingForm>) -> OrderEffect {
        let now = form.clone();
        let old = self.store_binding(index, form);
        let scope = self.bindings.get(index).map_or(0, |slot| slot.scope);
        let mut effect = OrderEffect::default();
        let only_in = |a: &Option<BindingForm>, b: &Option<BindingForm>| -> Vec<usize> {
            let b = b.as_ref().filter(|b| a.as_ref().is_some_and(|a| a.role == b.role));
            let is_in_b = |subject: &usize| b.is_some_and(|b| b.subjects.binary_search(subject).is_ok());
            a.iter().flat_map(|a| &a.subjects).filter(|subject| !is_in_b(subject)).copied().collect()
        };
        let role_of = |form: &Option<BindingForm>| self.roles.get(form.as_ref()?.role);
        let (added, removed) = (only_in(&now, &old), only_in(&old, &now));
        effect.direction = Direction::new(!added.is_empty(), !removed.is_empty());
        let effective = role_of(&now).map_or_else(
            || Rc::from([]),
            |slot| Rc::from(sorted(slot.effective.iter().chain(slot.stale.iter()).copied().collect())),
        );
        let old_effective = role_of(&old).map_or_else(|| Rc::from([]), |slot| Rc::clone(&slot.effective));
        effect.gains.extend(added.into_iter().map(|subject| (subject, vec![(Rc::clone(&effective), scope)])));
        effect.losses.extend(removed.into_iter().map(|subject| (subject, vec![(Rc::clone(&old_effective), scope)])));
        effect
    }

    pub(super) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Undoes all changes since the mark.
    pub(super) fn undo(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some(JournalEntry::Role(index, form, old_effective, stale)) => {
                    let at = self.journal.len();
                    self.store_role(index, form);
                    if let Some(slot) = self.roles.get_mut(index) {
                        slot.effective = old_effective;
                        slot.stale = stale;
                    }
                    self.update_sources(index);
                    self.update_sources_with(index);
                    self.journal.truncate(at);
                }
                Some(JournalEntry::Reconciled(index, old_effective, stale)) => {
                    if let Some(slot) = self.roles.get_mut(index) {
                        slot.effective = old_effective;
                        slot.stale = stale;
                    }
                }
                Some(JournalEntry::Binding(index, form)) => {
                    let at = self.journal.len();
                    self.store_binding(index, form);
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

    /// Returns the rules that apply to a login. With `stale`, also those that an aggregated role may still grant.
    pub(super) fn scoped_rules(&self, login: &OrderLogin, stale: bool) -> Vec<ScopedRule> {
        self.collect_rules(login, |slot, role, _| {
            let stale: &[usize] = if stale { &role.stale } else { &[] };
            role.effective.iter().chain(stale).map(|rule| ScopedRule { rule: *rule, scope: slot.scope }).collect()
        })
    }

    /// Returns the rules that apply to a login, without those that the controller should have filled in before the plan
    /// and has not. If the controller does not run, a probe for these would never succeed.
    pub(super) fn observable_rules(&self, login: &OrderLogin) -> Vec<ScopedRule> {
        self.collect_rules(login, |slot, role, _| {
            let written = role.form.as_ref().map_or(&[][..], |form| &form.rules);
            let is_pending =
                |rule: &usize| role.initial.binary_search(rule).is_ok() && written.binary_search(rule).is_err();
            let rules = role.effective.iter().filter(|rule| !is_pending(rule));
            rules.map(|rule| ScopedRule { rule: *rule, scope: slot.scope }).collect()
        })
    }

    /// Returns the rules that the same objects already grant to the login in the live state.
    pub(super) fn original_rules(&self, login: &OrderLogin) -> Vec<ScopedRule> {
        self.collect_rules(login, |slot, role, subject| {
            let is_original = slot.initial.as_ref().zip(slot.form.as_ref()).is_some_and(|(initial, form)| {
                initial.role == form.role && initial.subjects.binary_search(&subject).is_ok()
            });
            let rules = role.effective.iter().filter(|rule| is_original && role.initial.binary_search(rule).is_ok());
            rules.map(|rule| ScopedRule { rule: *rule, scope: slot.scope }).collect()
        })
    }

    fn collect_rules(
        &self,
        login: &OrderLogin,
        rules_of: impl Fn(&BindingSlot, &RoleSlot<'s>, usize) -> Vec<ScopedRule>,
    ) -> Vec<ScopedRule> {
        let mut scoped_rules = if login.is_master { vec![EVERYTHING] } else { Vec::new() };
        for subject in &login.subjects {
            for binding in self.bindings_naming(*subject) {
                let slot = self.bindings.get(binding);
                let role = slot.and_then(|slot| self.roles.get(slot.form.as_ref()?.role));
                if let Some((slot, role)) = slot.zip(role) {
                    scoped_rules.extend(rules_of(slot, role, *subject));
                }
            }
        }
        scoped_rules.sort_unstable();
        scoped_rules.dedup();
        scoped_rules
    }

    /// Returns the requests that a rule allows.
    pub(super) fn request_sets(&self, scoped_rule: ScopedRule) -> Rc<[RequestSet<'s>]> {
        let known = self.request_sets.borrow().get(&scoped_rule).cloned();
        known.unwrap_or_else(|| {
            let sets: Rc<[RequestSet<'s>]> = self.compute_request_sets(scoped_rule).into();
            self.request_sets.borrow_mut().insert(scoped_rule, Rc::clone(&sets));
            sets
        })
    }

    /// Returns whether the rules together allow all requests of a set.
    pub(super) fn covers(&self, scoped_rules: &[ScopedRule], requests: &RequestSet<'s>) -> bool {
        let mut related: Vec<RequestSet<'s>> = Vec::new();
        for scoped_rule in scoped_rules {
            for other in self.request_sets(*scoped_rule).iter().filter(|other| other.overlaps(requests)) {
                if other.covers(requests) {
                    return true;
                }
                related.push(other.clone());
            }
        }
        requests.is_covered_by(&related)
    }

    fn compute_request_sets(&self, scoped_rule: ScopedRule) -> Vec<RequestSet<'s>> {
        if scoped_rule == EVERYTHING {
            return RequestSet::everything().into();
        }
        let Some(rule) = self.rule_with_id(scoped_rule.rule) else {
            return Vec::new();
        };
        if scoped_rule.scope == 0 {
            return [RequestSet::from_rule_objects(rule, StringSet::all()), RequestSet::from_rule_urls(rule)]
                .into_iter()
                .flatten()
                .collect();
        }
        let namespace = self.scopes.get(scoped_rule.scope).copied().unwrap_or_default();
        RequestSet::from_rule_objects(rule, StringSet::only([namespace])).into_iter().collect()
    }
}
