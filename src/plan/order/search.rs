//! The search for an order: takes every write that keeps all subjects within their bounds, phase by phase, and
//! splits writes if none can be taken.
//!
//! The writes of one stage all grant, all revoke, or affect different subjects. Then every subset of them leaves each
//! subject between two states that were checked.

use std::collections::{BTreeMap, BTreeSet};

use super::access_bounds::{AccessBounds, InitialBounds};
use super::access_model::AccessModel;
use super::contents::{BindingForm, Direction, OrderEffect, RoleForm};
use super::emission;
use super::identity_classes::{IdentityClass, assign_bounds, classes};
use super::items::{
    AttemptKind, AttemptResult, ItemWrite, OrderItem, OrderItemKind, ReplaceProgress, apply_final_contents,
    binding_subjects, items, role_subjects,
};
use super::stages::StageAllocator;
use super::{Author, ChangeKind, PHASES, PendingWrite, Phase};
use crate::access::SubjectQuery;
use crate::plan::Step;
use crate::plan::entries::aws_auth_edit::{AwsAuthEdit, EntryVariant};
use crate::plan::probes::{AccessProbe, AccessWindow};
use crate::state::State;

/// The maximum number of probes before one step, and before a write of aws-auth, which affects many subjects.
pub(super) const MAX_PROBES: usize = 4;
const MAX_MAPPING_PROBES: usize = 16;
/// The maximum number of partial writes of aws-auth before the final one is forced.
const MAX_MAPPING_WRITES: usize = 6;

/// A write of the search.
#[derive(Debug, Clone)]
pub(super) enum SearchWrite<'s> {
    Item(usize, ItemWrite),
    PartialBinding(usize, BindingForm),
    PartialRole(usize, RoleForm<'s>),
    PartialMapping(Vec<EntryVariant>),
    TemporaryRole(usize, RoleForm<'s>),
    TemporaryBinding(usize, BindingForm),
    DeleteTemporaryRole(usize),
    DeleteTemporaryBinding(usize),
}

#[derive(Debug, Clone)]
pub(super) struct ScheduledWrite<'s> {
    pub(super) stage: usize,
    pub(super) write: SearchWrite<'s>,
    pub(super) awaits: Vec<AccessProbe>,
}

pub(super) struct Search<'s> {
    pub(super) planned: &'s [PendingWrite],
    pub(super) author: Author<'s>,
    pub(super) model: AccessModel<'s>,
    pub(super) items: Vec<OrderItem<'s>>,
    pub(super) classes: Vec<IdentityClass>,
    pub(super) bounds: Vec<AccessBounds<'s>>,
    /// For each RBAC subject, the classes that log in with it. Of classes with equal keys only one is listed.
    classes_by_subject: BTreeMap<usize, BTreeSet<usize>>,
    /// The classes whose logins aws-auth decides.
    pub(super) mapped_classes: Vec<usize>,
    /// The planned change of aws-auth, and the variant of each entry after the writes that are made so far.
    pub(super) aws_auth_edit: Option<&'s AwsAuthEdit>,
    pub(super) variants: Vec<EntryVariant>,
    /// The rules that changed roles grant in the planned state.
    pub(super) final_rules: BTreeMap<usize, Vec<usize>>,
    pub(super) log: Vec<ScheduledWrite<'s>>,
    pub(super) stage: usize,
    /// The probes of each stage. A later stage repeats a probe, because it depends on the state at that time.
    pub(super) probes: BTreeSet<(usize, AccessProbe)>,
    pub(super) windows: Vec<AccessWindow>,
    /// Classes that a forced write has brought outside their bounds.
    pub(super) out_of_bounds: BTreeSet<usize>,
    /// Writes that were not possible, with the bounds of the affected classes. They are tried again after the access of
    /// one of these classes has changed.
    blocked: BTreeMap<(usize, AttemptKind), (usize, BTreeSet<usize>)>,
    /// For each bounds, the number of writes at the last change of a class that has them.
    last_changed: Vec<usize>,
}

pub(super) fn search(
    planned: &[PendingWrite],
    live: &State,
    after: &State,
    author: Author<'_>,
) -> (Vec<Step>, Vec<AccessWindow>) {
    let mut search = Search::new(planned, live, after, author);
    search.run();
    let windows = std::mem::take(&mut search.windows);
    (emission::steps(&search, live, after), windows)
}

impl<'s> Search<'s> {
    fn new(planned: &'s [PendingWrite], live: &'s State, after: &'s State, author: Author<'s>) -> Self {
        let mut model = AccessModel::from_state(live);
        let items = items(planned, after, &mut model);
        let mut affected = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for item in &items {
            match &item.kind {
                OrderItemKind::Role { ix, .. } => roles.extend(model.dependents(*ix)),
                OrderItemKind::Binding { ix, last } => affected.extend(binding_subjects(&model, *ix, last.as_ref())),
                OrderItemKind::Replace { ix, last, .. } => affected.extend(binding_subjects(&model, *ix, Some(last))),
                OrderItemKind::Mapping => {}
            }
        }
        let mark = apply_final_contents(&mut model, &items);
        for item in &items {
            if let OrderItemKind::Role { ix, .. } = &item.kind {
                roles.extend(model.dependents(*ix));
            }
        }
        for role in &roles {
            affected.extend(role_subjects(&model, *role));
        }
        let final_rules: BTreeMap<usize, Vec<usize>> =
            roles.iter().filter_map(|role| Some((*role, model.roles.get(*role)?.effective.to_vec()))).collect();
        model.undo(mark);
        for role in &roles {
            affected.extend(role_subjects(&model, *role));
        }
        let mut classes = classes(&model, &affected, live, after);
        let login_pairs = assign_bounds(&mut classes);
        let initial_bounds: Vec<InitialBounds> =
            login_pairs.iter().map(|(first, _)| InitialBounds::new(first, &model)).collect();
        let mark = apply_final_contents(&mut model, &items);
        let bounds: Vec<AccessBounds<'s>> = initial_bounds
            .into_iter()
            .zip(login_pairs)
            .map(|(initial, (_, last))| initial.with_planned(&last, &model))
            .collect();
        model.undo(mark);
        let aws_auth_edit = planned.iter().find_map(|pending| match &pending.kind {
            ChangeKind::Map { edit, .. } => Some(&**edit),
            ChangeKind::Create(_) | ChangeKind::Patch { .. } | ChangeKind::Delete | ChangeKind::Replace { .. } => None,
        });
        let mapped_classes = classes
            .iter()
            .enumerate()
            .filter(|(_, class)| matches!(class.who, SubjectQuery::Arn(_) | SubjectQuery::Account(_)));
        let mapped_classes = mapped_classes.map(|(number, _)| number).collect();
        let mut search = Self {
            planned,
            author,
            model,
            items,
            last_changed: vec![0; bounds.len()],
            classes,
            bounds,
            classes_by_subject: BTreeMap::new(),
            mapped_classes,
            variants: vec![EntryVariant::Live; aws_auth_edit.map_or(0, |edit| edit.principal_edits.len())],
            aws_auth_edit,
            final_rules,
            log: Vec::new(),
            stage: 0,
            probes: BTreeSet::new(),
            windows: Vec::new(),
            out_of_bounds: BTreeSet::new(),
            blocked: BTreeMap::new(),
        };
        search.index_logins();
        search
    }

    /// Updates the index of classes by RBAC subject.
    pub(super) fn index_logins(&mut self) {
        self.classes_by_subject.clear();
        let mut seen = BTreeSet::new();
        for (number, class) in self.classes.iter().enumerate() {
            if seen.insert(class.group_key()) {
                for subject in class.current_logins.iter().flat_map(|login| &login.subjects) {
                    self.classes_by_subject.entry(*subject).or_default().insert(number);
                }
            }
        }
    }

    /// Returns whether a write was not possible and no affected class has changed since.
    pub(super) fn is_blocked(&self, number: usize, kind: AttemptKind) -> bool {
        self.blocked.get(&(number, kind)).is_some_and(|(at, affected)| {
            affected.iter().all(|bounds| self.last_changed.get(*bounds).is_none_or(|last_changed| last_changed <= at))
        })
    }

    pub(super) fn block(&mut self, number: usize, kind: AttemptKind, affected: &BTreeSet<usize>) {
        let bounds = affected.iter().filter_map(|class| self.classes.get(*class)).map(|class| class.bounds_index);
        self.blocked.insert((number, kind), (self.log.len(), bounds.collect()));
    }

    /// Allows all writes to be tried again.
    pub(super) fn unblock(&mut self) {
        self.blocked.clear();
    }

    fn run(&mut self) {
        loop {
            self.take_possible_writes();
            if self.is_done() {
                return;
            }
            if self.revoke_partially()
                || self.grant_partially()
                || self.change_entries_partially()
                || self.delete_without_bridge()
                || self.use_temporaries()
            {
                continue;
            }
            self.force_write();
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.items.iter().all(|item| item.done)
    }

    /// Takes writes until no further write is possible.
    pub(super) fn take_possible_writes(&mut self) {
        loop {
            let before = self.log.len();
            for phase in PHASES {
                self.take_phase(phase);
            }
            if self.log.len() == before {
                return;
            }
        }
    }

    fn take_phase(&mut self, phase: Phase) {
        let remaining: Vec<usize> = (0..self.items.len())
            .filter(|number| self.items.get(*number).is_some_and(|item| !item.done && item.phase() == phase))
            .collect();
        if remaining.is_empty() {
            return;
        }
        let mut mixed = Vec::new();
        let mut left = Vec::new();
        for number in remaining {
            match self.try_write(number, &[Direction::Neutral, Direction::Grows], None) {
                AttemptResult::Taken => {}
                AttemptResult::OtherDirection => left.push(number),
                AttemptResult::Blocked => {}
            }
        }
        self.end_stage();
        for number in left {
            match self.try_write(number, &[Direction::Neutral, Direction::Shrinks], None) {
                AttemptResult::Taken | AttemptResult::Blocked => {}
                AttemptResult::OtherDirection => mixed.push(number),
            }
        }
        self.end_stage();
        self.take_mixed(mixed);
    }

    /// Takes writes that both grant and revoke. Each is put in the first stage after all stages that affect one of its
    /// classes.
    fn take_mixed(&mut self, mixed: Vec<usize>) {
        let (first, start) = (self.stage, self.log.len());
        let mut stages = StageAllocator::new(first);
        for number in mixed {
            self.try_write(number, &[Direction::Mixed], Some(&mut stages));
        }
        if let Some(writes) = self.log.get_mut(start..) {
            writes.sort_by_key(|write| write.stage);
        }
        let last = self.log.last().filter(|_| self.log.len() > start);
        self.stage = last.map_or(first, |write| write.stage + 1);
    }

    /// Ends the stage: the next write starts a new one.
    pub(super) fn end_stage(&mut self) {
        if self.log.last().is_some_and(|write| write.stage == self.stage) {
            self.stage += 1;
        }
    }

    /// Tries the next write of an item. Undoes it if it has another direction or if a class leaves its bounds.
    fn try_write(
        &mut self,
        number: usize,
        directions: &[Direction],
        stages: Option<&mut StageAllocator>,
    ) -> AttemptResult {
        let Some(item) = self.items.get(number).filter(|item| self.is_enabled(item)).cloned() else {
            return AttemptResult::Blocked;
        };
        if self.is_blocked(number, AttemptKind::Whole) {
            return AttemptResult::Blocked;
        }
        let item_write = item.next();
        if let OrderItemKind::Mapping = item.kind {
            // All entries are in one object, so its write has a stage of its own.
            let variants = vec![EntryVariant::Final; self.variants.len()];
            if !self.try_mapping(&variants, SearchWrite::Item(number, item_write)) {
                // Any class can change the result, because logins depend on several entries.
                self.block(number, AttemptKind::Whole, &(0..self.classes.len()).collect());
                return AttemptResult::Blocked;
            }
            self.mark_done(number, item_write);
            self.end_stage();
            return AttemptResult::Taken;
        }
        let mark = self.model.mark();
        let effect = self.apply_item(&item, item_write);
        let affected = self.affected(&effect);
        if !directions.contains(&effect.direction) {
            self.model.undo(mark);
            return AttemptResult::OtherDirection;
        }
        if !self.stays_in_bounds(&affected, &effect) {
            self.model.undo(mark);
            self.block(number, AttemptKind::Whole, &affected);
            return AttemptResult::Blocked;
        }
        if let Some(stages) = stages {
            // After a forced write the order must stay, because recorded windows refer to steps by their number.
            self.stage = stages.place(&affected, !self.out_of_bounds.is_empty());
        }
        self.record_write(SearchWrite::Item(number, item_write), &effect, &affected);
        self.mark_done(number, item_write);
        AttemptResult::Taken
    }

    /// Returns whether the item can be written now. A binding needs its role, and a role is deleted after all bindings
    /// that stop referring to it.
    pub(super) fn is_enabled(&self, item: &OrderItem<'_>) -> bool {
        let exists = |role: usize| self.model.roles.get(role).is_some_and(|slot| slot.form.is_some());
        let is_created_later = |role: usize| {
            let creates_role =
                |item: &OrderItem<'_>| matches!(&item.kind, OrderItemKind::Role { ix, last: Some(_) } if *ix == role);
            self.items.iter().any(|item| !item.done && creates_role(item))
        };
        match &item.kind {
            OrderItemKind::Binding { last: Some(form), .. } => exists(form.role) || !is_created_later(form.role),
            OrderItemKind::Replace { last, .. } => exists(last.role) || !is_created_later(last.role),
            OrderItemKind::Role { ix, last: None } => {
                let role = *ix;
                let bound: BTreeSet<usize> = self.model.bindings_of(role).collect();
                let drops_role = |item: &OrderItem<'_>| match &item.kind {
                    OrderItemKind::Binding { ix, last } => {
                        bound.contains(ix) && last.as_ref().is_none_or(|last| last.role != role)
                    }
                    OrderItemKind::Replace { ix, .. } => bound.contains(ix),
                    OrderItemKind::Role { .. } | OrderItemKind::Mapping => false,
                };
                bound.is_empty() || !self.items.iter().any(|item| !item.done && drops_role(item))
            }
            OrderItemKind::Role { last: Some(_), .. }
            | OrderItemKind::Binding { last: None, .. }
            | OrderItemKind::Mapping => true,
        }
    }

    pub(super) fn apply_item(&mut self, item: &OrderItem<'s>, item_write: ItemWrite) -> OrderEffect {
        match (&item.kind, item_write) {
            (OrderItemKind::Role { ix, last }, _) => self.model.set_role(*ix, last.clone()),
            (OrderItemKind::Binding { ix, last }, _) => self.model.set_binding(*ix, last.clone()),
            (OrderItemKind::Replace { last, bridge: Some(bridge), .. }, ItemWrite::CreateBridge) => {
                self.model.set_binding(*bridge, Some(last.clone()))
            }
            (OrderItemKind::Replace { bridge: Some(bridge), .. }, ItemWrite::DeleteBridge) => {
                self.model.set_binding(*bridge, None)
            }
            (OrderItemKind::Replace { ix, .. }, ItemWrite::DeleteOld) => self.model.set_binding(*ix, None),
            (OrderItemKind::Replace { ix, last, .. }, _) => self.model.set_binding(*ix, Some(last.clone())),
            (OrderItemKind::Mapping, _) => OrderEffect::default(),
        }
    }

    pub(super) fn mark_done(&mut self, number: usize, item_write: ItemWrite) {
        let Some(item) = self.items.get_mut(number) else {
            return;
        };
        match (&mut item.kind, item_write) {
            (OrderItemKind::Replace { progress, .. }, ItemWrite::CreateBridge) => {
                *progress = ReplaceProgress::BridgeCreated;
            }
            (OrderItemKind::Replace { progress, .. }, ItemWrite::DeleteOld) => *progress = ReplaceProgress::OldDeleted,
            (OrderItemKind::Replace { progress, bridge: Some(_), .. }, ItemWrite::CreateNew) => {
                *progress = ReplaceProgress::NewCreated;
            }
            _ => item.done = true,
        }
    }

    pub(super) fn affected(&self, effect: &OrderEffect) -> BTreeSet<usize> {
        let subjects = effect.subjects();
        subjects.iter().filter_map(|subject| self.classes_by_subject.get(subject)).flatten().copied().collect()
    }

    /// Returns the affected classes and their bounds, without classes that a forced write has brought outside.
    fn with_bounds(&self, affected: &BTreeSet<usize>) -> impl Iterator<Item = (&IdentityClass, &AccessBounds<'s>)> {
        let classes = affected.iter().filter(|class| !self.out_of_bounds.contains(class));
        classes.filter_map(|class| {
            let class = self.classes.get(*class)?;
            Some((class, self.bounds.get(class.bounds_index)?))
        })
    }

    /// Returns whether the classes are within their bounds.
    pub(super) fn all_in_bounds(&self, affected: &BTreeSet<usize>) -> bool {
        let mut seen = BTreeSet::new();
        self.with_bounds(affected).all(|(class, bounds)| {
            !seen.insert(class.group_key()) || bounds.contains_all(&class.current_logins, &self.model)
        })
    }

    /// Returns whether the classes are within their bounds after a change, if they were before it.
    pub(super) fn stays_in_bounds(&self, affected: &BTreeSet<usize>, effect: &OrderEffect) -> bool {
        self.with_bounds(affected)
            .all(|(class, bounds)| bounds.contains_after(&class.current_logins, effect, &self.model))
    }

    /// Returns all classes with the same bounds and logins as one of these.
    pub(super) fn with_same_logins(&self, affected: &BTreeSet<usize>) -> BTreeSet<usize> {
        let keys: BTreeSet<_> =
            affected.iter().filter_map(|class| self.classes.get(*class)).map(IdentityClass::group_key).collect();
        let all = self.classes.iter().enumerate().filter(|(_, class)| keys.contains(&class.group_key()));
        all.map(|(number, _)| number).collect()
    }

    /// Records a write that was taken, with the probes that must succeed before it.
    pub(super) fn record_write(&mut self, write: SearchWrite<'s>, effect: &OrderEffect, affected: &BTreeSet<usize>) {
        let writes_mapping = matches!(write, SearchWrite::PartialMapping(_)) || self.is_mapping_write(&write);
        let (max_probes, revoking_effect) =
            if writes_mapping { (MAX_MAPPING_PROBES, None) } else { (MAX_PROBES, Some(effect)) };
        let mut awaits = Vec::new();
        // The first write cannot depend on an earlier one.
        if !self.log.is_empty() && matches!(effect.direction, Direction::Shrinks | Direction::Mixed) {
            for class in affected.iter().filter_map(|class| self.classes.get(*class)) {
                let Some(bounds) = self.bounds.get(class.bounds_index) else {
                    continue;
                };
                for login in &class.current_logins {
                    if awaits.len() >= max_probes
                        || login.is_master
                        || login.username.is_none() && login.groups.is_empty()
                    {
                        continue;
                    }
                    let required =
                        bounds.granted_by_plan(login, revoking_effect, &self.model, max_probes - awaits.len());
                    if required.is_empty() {
                        continue;
                    }
                    let now = self.model.observable_rules(login);
                    let now: Vec<_> = now.into_iter().map(|scoped_rule| self.model.request_sets(scoped_rule)).collect();
                    for requests in required {
                        let request = requests.sample();
                        if !now.iter().flat_map(|all| all.iter()).any(|requests| requests.contains(&request)) {
                            continue;
                        }
                        let question = request.into();
                        let (username, groups) = (login.username.clone(), login.groups.clone());
                        let probe = AccessProbe { username, groups, request: question };
                        if self.probes.insert((self.stage, probe.clone())) {
                            awaits.push(probe);
                        }
                    }
                }
            }
        }
        if !self.out_of_bounds.is_empty() {
            for number in self.with_same_logins(affected).intersection(&self.out_of_bounds).copied().collect::<Vec<_>>()
            {
                self.record_windows(number);
            }
        }
        self.log.push(ScheduledWrite { stage: self.stage, write, awaits });
        for class in affected.iter().filter_map(|class| self.classes.get(*class)) {
            if let Some(last_changed) = self.last_changed.get_mut(class.bounds_index) {
                *last_changed = self.log.len();
            }
        }
    }

    fn is_mapping_write(&self, write: &SearchWrite<'_>) -> bool {
        let SearchWrite::Item(number, _) = write else {
            return false;
        };
        self.items.get(*number).is_some_and(|item| matches!(item.kind, OrderItemKind::Mapping))
    }

    pub(super) fn remaining_mapping_writes(&self) -> usize {
        let is_partial = |write: &&ScheduledWrite<'_>| matches!(write.write, SearchWrite::PartialMapping(_));
        MAX_MAPPING_WRITES.saturating_sub(self.log.iter().filter(is_partial).count())
    }
}
