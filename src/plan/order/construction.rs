//! The way that always leads through: temporary objects hold the new access while the real ones change.
//!
//! 1. Each principal who is stuck keeps what he has and gets a group of his own, which nothing is bound to yet; without
//!    an entry he gets it with the third write.
//! 2. Copies of what the end gives him are bound to that group: he has both sides.
//! 3. He has that group alone and a username of his own: he has the end, and the real names stand for others.
//! 4. Others get copies in the same way; then old bindings shrink, roles change, bindings get their last form.
//! 5. The last entries come, and the copies go.
//!
//! Every write is tried like any other. Machines never get another username.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::classes::{Class, is_node};
use super::forms::{BindingForm, Direction, OrderEffect, OrderLogin, RoleForm};
use super::items::{Act, OrderItem, OrderItemKind, Progress};
use super::search::{Made, Search, What};
use super::world::BindingSlot;
use crate::access::MASTERS;
use crate::names::ObjectKey;
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::plan::probes::{AccessProbe, AccessWindow};
use crate::state::owner::{MANAGED_BY_LABEL, MANAGED_BY_VALUE};
use crate::state::rbac::Subject;

/// What is taken back where the way does not lead through.
struct OrderCheckpoint<'s> {
    mark: usize,
    items: Vec<OrderItem<'s>>,
    now: Vec<Vec<OrderLogin>>,
    standings: Vec<EntryVariant>,
    log: Vec<Made<'s>>,
    stage: usize,
    asked: BTreeSet<(usize, AccessProbe)>,
    windows: Vec<AccessWindow>,
}

/// What was made for a while.
#[derive(Default)]
struct Temporary {
    roles: BTreeMap<usize, usize>,
    bindings: Vec<usize>,
}

impl<'s> Search<'s> {
    fn save(&self) -> OrderCheckpoint<'s> {
        OrderCheckpoint {
            mark: self.world.mark(),
            items: self.items.clone(),
            now: self.classes.iter().map(|class| class.now.clone()).collect(),
            standings: self.standings.clone(),
            log: self.log.clone(),
            stage: self.stage,
            asked: self.asked.clone(),
            windows: self.windows.clone(),
        }
    }

    fn restore(&mut self, saved: OrderCheckpoint<'s>) {
        self.world.undo(saved.mark);
        self.items = saved.items;
        for (class, now) in self.classes.iter_mut().zip(saved.now) {
            class.now = now;
        }
        self.standings = saved.standings;
        self.stand();
        self.log = saved.log;
        self.stage = saved.stage;
        self.asked = saved.asked;
        self.windows = saved.windows;
        self.unblock();
    }

    /// Goes the whole way, or does nothing.
    pub(super) fn construct(&mut self) -> bool {
        for apart in [false, true] {
            let saved = self.save();
            if self.constructed(apart).is_some() && self.is_done() {
                return true;
            }
            self.restore(saved);
        }
        false
    }

    fn constructed(&mut self, apart: bool) -> Option<()> {
        let mut temporary = Temporary::default();
        let maps = self.items.iter().any(|item| !item.done && matches!(item.kind, OrderItemKind::Mapping));
        if apart && maps {
            self.set_apart(&mut temporary)?;
            self.sweep();
        }
        if !self.only_mapping_waits() {
            self.hold_others(&mut temporary)?;
            self.change_all()?;
        }
        self.sweep();
        self.clear(&temporary)
    }

    fn only_mapping_waits(&self) -> bool {
        self.items.iter().all(|item| item.done || matches!(item.kind, OrderItemKind::Mapping))
    }

    /// Steps 1 to 3.
    fn set_apart(&mut self, temporary: &mut Temporary) -> Option<()> {
        let splits = self.splits?;
        let stuck = self.stuck();
        let mut wide = self.standings.clone();
        let mut alone = self.standings.clone();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for (place, slot) in splits.principal_edits.iter().enumerate() {
            if !stuck.contains(&place) {
                *wide.get_mut(place)? = EntryVariant::Final;
                *alone.get_mut(place)? = EntryVariant::Final;
                continue;
            }
            let of_node = |entry: Option<&crate::state::aws_auth::Entry>| {
                entry.is_some_and(|entry| is_node(&entry.username, &entry.groups))
            };
            // A principal without an entry is somebody only where his account is let in.
            let comes_or_stays = slot.after.is_some() || splits.has_accounts();
            let is_node = of_node(slot.before.as_ref()) || of_node(slot.after.as_ref());
            if !slot.can_be_intermediate() || !comes_or_stays || is_node {
                continue;
            }
            let fresh = self.fresh(&slot.key);
            let group = self.world.subject(&Subject::Group(fresh.clone()));
            let mut own = vec![fresh.clone()];
            own.extend(slot.after.iter().flat_map(|after| &after.groups).filter(|group| *group == MASTERS).cloned());
            let now = match self.standings.get(place)? {
                EntryVariant::Intermediate { username, groups } => Some((username.clone(), groups.clone())),
                EntryVariant::Live | EntryVariant::Final => {
                    slot.before.as_ref().map(|entry| (entry.username.clone(), entry.groups.clone()))
                }
            };
            // Without an entry he stays who he is: nothing gives his account's username to him alone.
            if let Some((username, mut all)) = now {
                all.extend(own.iter().filter(|group| !all.contains(group)).cloned().collect::<Vec<_>>());
                *wide.get_mut(place)? = EntryVariant::Intermediate { username, groups: all };
            }
            *alone.get_mut(place)? = EntryVariant::Intermediate { username: fresh, groups: own };
            groups.push((place, group));
        }
        if groups.is_empty() {
            return None;
        }
        if wide != self.standings {
            self.map(&wide.clone(), What::PartMapping(wide)).then_some(())?;
        }
        let wanted = self.last_of(&groups);
        self.hold(wanted, temporary)?;
        self.map(&alone.clone(), What::PartMapping(alone)).then_some(())
    }

    /// By binding of the end, the groups of those whom it means then.
    fn last_of(&mut self, groups: &[(usize, usize)]) -> Vec<(usize, BindingForm)> {
        let Some(splits) = self.splits else {
            return Vec::new();
        };
        let mut meant: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for class in &self.mapped {
            let key = self.classes.get(*class).map(Class::key).unwrap_or_default();
            by_key.entry(key).or_default().push(*class);
        }
        for (place, group) in groups {
            let key = splits.principal_edits.get(*place).map(|slot| slot.key.clone()).unwrap_or_default();
            let after = splits.principal_edits.get(*place).and_then(|slot| slot.after.clone());
            let mut subjects: BTreeSet<usize> = BTreeSet::new();
            let own = by_key.get(&key).into_iter().flatten().filter_map(|class| self.classes.get(*class));
            subjects.extend(own.flat_map(|class| &class.last).flat_map(|login| login.subjects.iter().copied()));
            if let Some(after) = after {
                let names = after.groups.iter().map(|group| Subject::Group(group.clone()));
                let names = names.chain([Subject::User(after.username.clone())]);
                subjects.extend(names.collect::<Vec<_>>().iter().map(|name| self.world.subject(name)));
            }
            for subject in subjects {
                meant.entry(subject).or_default().push(*group);
            }
        }
        let mut all = Vec::new();
        for (ix, last) in self.last_bindings() {
            let mut subjects: Vec<usize> =
                last.subjects.iter().filter_map(|subject| meant.get(subject)).flatten().copied().collect();
            subjects.sort_unstable();
            subjects.dedup();
            if !subjects.is_empty() {
                all.push((ix, BindingForm { role: last.role, subjects }));
            }
        }
        all
    }

    /// What bindings are in the end.
    fn last_bindings(&self) -> BTreeMap<usize, BindingForm> {
        let now = self.world.bindings.iter().enumerate();
        let mut all: BTreeMap<usize, BindingForm> =
            now.filter_map(|(ix, slot)| Some((ix, slot.form.clone()?))).collect();
        for item in &self.items {
            match &item.kind {
                OrderItemKind::Binding { ix, last: Some(last) } => drop(all.insert(*ix, last.clone())),
                OrderItemKind::Binding { ix, last: None } => drop(all.remove(ix)),
                OrderItemKind::Replace { ix, last, bridge, .. } => {
                    all.insert(*ix, last.clone());
                    bridge.map(|bridge| all.remove(&bridge));
                }
                OrderItemKind::Role { .. } | OrderItemKind::Mapping => {}
            }
        }
        all
    }

    /// Binds subjects to what roles give in the end, beside the bindings that will do it then.
    fn hold(&mut self, wanted: Vec<(usize, BindingForm)>, temporary: &mut Temporary) -> Option<()> {
        let mut made = Vec::new();
        for (beside, mut form) in wanted {
            form.role = self.copy_of(form.role, temporary)?;
            made.push((beside, form));
        }
        self.flush();
        for (beside, form) in made {
            let key = self.world.bindings.get(beside)?.key.clone();
            let key = self.free(&key);
            let ix = self.world.binding_beside(&key, beside);
            if let Some((form, effect)) = self.held(ix, form) {
                let touched = self.touched(&effect);
                self.record(What::TemporaryBinding(ix, form), &effect, &touched);
                temporary.bindings.push(ix);
            }
        }
        self.flush();
        Some(())
    }

    /// Makes a binding for those of its subjects whom it does not lead out of their frame: behind one entry may be two
    /// callers of whom only one has it in the end.
    fn held(&mut self, ix: usize, mut form: BindingForm) -> Option<(BindingForm, OrderEffect)> {
        let whole = form.subjects.clone();
        let one_by_one: Vec<Vec<usize>> = whole.iter().map(|subject| vec![*subject]).collect();
        let mark = self.world.mark();
        let stays = |search: &mut Self, subjects: &[usize]| {
            let form = BindingForm { role: form.role, subjects: subjects.to_vec() };
            let effect = search.world.set_binding(ix, Some(form));
            let stays = search.stay(&search.touched(&effect), &effect);
            search.world.undo(mark);
            stays
        };
        if !stays(self, &whole) {
            form.subjects = one_by_one.into_iter().filter(|one| stays(self, one)).flatten().collect();
        }
        if form.subjects.is_empty() {
            return None;
        }
        let effect = self.world.set_binding(ix, Some(form.clone()));
        Some((form, effect))
    }

    /// A role that gives now what another gives in the end: itself where it does already.
    fn copy_of(&mut self, role: usize, temporary: &mut Temporary) -> Option<usize> {
        let slot = self.world.roles.get(role)?;
        let last = match self.last_gives.get(&role) {
            Some(last) if *last != *slot.gives => last.clone(),
            Some(_) | None => return Some(role),
        };
        if let Some(copy) = temporary.roles.get(&role) {
            return Some(*copy);
        }
        let key = self.free(&slot.key.clone());
        let ix = self.world.role(&key);
        let labels = [(MANAGED_BY_LABEL.to_owned(), MANAGED_BY_VALUE.to_owned())].into();
        let form = RoleForm { rules: last, labels: std::rc::Rc::new(labels), aggregation: None };
        let effect = self.world.set_role(ix, Some(form.clone()));
        self.kept(What::TemporaryRole(ix, form), &effect)?;
        temporary.roles.insert(role, ix);
        Some(ix)
    }

    /// Notes a write that is part of the way, where nobody leaves his frame by it.
    fn kept(&mut self, what: What<'s>, effect: &OrderEffect) -> Option<()> {
        let touched = self.touched(effect);
        self.stay(&touched, effect).then(|| self.record(what, effect, &touched))
    }

    /// The first half of step 4: whoever is bound in the end is bound to copies.
    fn hold_others(&mut self, temporary: &mut Temporary) -> Option<()> {
        let mut beside = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for item in self.items.iter().filter(|item| !item.done) {
            match &item.kind {
                OrderItemKind::Binding { ix, .. } | OrderItemKind::Replace { ix, .. } => drop(beside.insert(*ix)),
                OrderItemKind::Role { ix, .. } => roles.extend(self.world.dependents(*ix)),
                OrderItemKind::Mapping => {}
            }
        }
        let made: BTreeSet<usize> = temporary.bindings.iter().copied().collect();
        let is_meant =
            |ix: usize, form: &BindingForm| beside.contains(&ix) || roles.contains(&form.role) && !made.contains(&ix);
        let wanted = self.last_bindings().into_iter().filter(|(ix, form)| is_meant(*ix, form));
        let wanted = wanted.filter(|(_, form)| !form.subjects.is_empty()).collect();
        self.hold(wanted, temporary)
    }

    /// The second half of step 4.
    fn change_all(&mut self) -> Option<()> {
        let waiting: Vec<(usize, OrderItem<'s>)> =
            self.items.iter().cloned().enumerate().filter(|(_, item)| !item.done).collect();
        for (number, item) in &waiting {
            match &item.kind {
                OrderItemKind::Binding { ix, last: None } => {
                    let effect = self.world.set_binding(*ix, None);
                    self.kept(What::Act(*number, Act::Final), &effect)?;
                    self.finish(*number, Act::Final);
                }
                OrderItemKind::Binding { ix, last: Some(last) } => {
                    let Some(mut form) = self.world.bindings.get(*ix)?.form.clone() else {
                        continue;
                    };
                    let before = form.subjects.len();
                    form.subjects.retain(|subject| last.subjects.contains(subject));
                    if form.subjects.len() < before && form != *last {
                        let effect = self.world.set_binding(*ix, Some(form.clone()));
                        self.kept(What::PartBinding(*number, form), &effect)?;
                    }
                }
                OrderItemKind::Replace { ix, at: Progress::Old | Progress::Bridged, .. } => {
                    let effect = self.world.set_binding(*ix, None);
                    self.kept(What::Act(*number, Act::Away), &effect)?;
                    self.gone(*number);
                }
                OrderItemKind::Replace { .. } | OrderItemKind::Role { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.flush();
        for (number, item) in &waiting {
            let OrderItemKind::Role { ix, last: Some(last) } = &item.kind else {
                continue;
            };
            let effect = self.world.set_role(*ix, Some(last.clone()));
            self.kept(What::Act(*number, Act::Final), &effect)?;
            self.finish(*number, Act::Final);
            self.flush();
        }
        self.sweep();
        self.only_mapping_waits().then_some(())
    }

    fn gone(&mut self, number: usize) {
        if let Some(OrderItem { kind: OrderItemKind::Replace { bridge, at, .. }, .. }) = self.items.get_mut(number) {
            // A bridge that is not there yet is not needed: a copy holds the new access.
            if *at == Progress::Old {
                *bridge = None;
            }
            *at = Progress::Gone;
        }
    }

    fn clear(&mut self, temporary: &Temporary) -> Option<()> {
        self.flush();
        for ix in &temporary.bindings {
            let effect = self.world.set_binding(*ix, None);
            self.kept(What::BindingAway(*ix), &effect)?;
        }
        self.flush();
        for ix in temporary.roles.values() {
            let effect = self.world.set_role(*ix, None);
            let effect = OrderEffect { direction: Direction::Shrinks, ..effect };
            self.kept(What::RoleAway(*ix), &effect)?;
        }
        self.flush();
        Some(())
    }

    /// A name beside another that nothing has.
    fn free(&self, key: &ObjectKey) -> ObjectKey {
        let names = (1_usize..).map(|n| match n {
            1 => format!("{}-rolecall-temporary", key.name()),
            n => format!("{}-rolecall-temporary-{n}", key.name()),
        });
        let is_free = |key: &ObjectKey| !self.is_taken(key);
        names.map(|name| key.with_name(&name)).find(is_free).unwrap_or_else(|| key.clone())
    }

    /// Whether the cluster or the plan has the name; a way that did not lead through leaves names that are free.
    fn is_taken(&self, key: &ObjectKey) -> bool {
        let role = self.world.role_ids.get(key).copied();
        let binding = self.world.binding_ids.get(key).copied();
        if role.is_none() && binding.is_none() {
            return false;
        }
        let is_planned = |item: &OrderItem<'_>| match &item.kind {
            OrderItemKind::Role { ix, .. } => Some(*ix) == role,
            OrderItemKind::Binding { ix, .. } => Some(*ix) == binding,
            OrderItemKind::Replace { ix, bridge, .. } => Some(*ix) == binding || bridge.is_some() && *bridge == binding,
            OrderItemKind::Mapping => false,
        };
        role.and_then(|ix| self.world.roles.get(ix)).is_some_and(|slot| slot.form.is_some())
            || role.is_some_and(|ix| self.world.bindings_of(ix).next().is_some())
            || binding.and_then(|ix| self.world.bindings.get(ix)).is_some_and(BindingSlot::is_known)
            || self.items.iter().any(is_planned)
    }

    /// A username and group that nobody has, the same for the same principal.
    fn fresh(&self, key: &str) -> String {
        let hash = Sha256::digest(format!("{}\0{key}", self.author.policy));
        let hex: String = hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let names = (1_usize..).map(|n| match n {
            1 => format!("rolecall-temporary-{hex}"),
            n => format!("rolecall-temporary-{hex}-{n}"),
        });
        let means = |login: &OrderLogin, subject: usize| login.subjects.contains(&subject);
        let is_meant = |subject: usize| {
            let sides = self.classes.iter().flat_map(|class| class.first.iter().chain(&class.last));
            self.world.bindings_naming(subject).next().is_some() || sides.into_iter().any(|login| means(login, subject))
        };
        let is_free = |name: &String| {
            let both = [Subject::Group(name.clone()), Subject::User(name.clone())];
            both.iter().filter_map(|subject| self.world.known_subject(subject)).all(|subject| !is_meant(subject))
        };
        names.into_iter().find(is_free).unwrap_or_default()
    }
}
