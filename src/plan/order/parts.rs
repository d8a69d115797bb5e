//! Writes that bring an object only part of the way, for when its last form would lead somebody out of his frame.
//!
//! Each takes away or adds for good what the last form has or lacks, so the way gets shorter with every one.

use std::collections::BTreeSet;

use super::classes::{Class, is_node};
use super::forms::{BindingForm, OrderEffect, RoleForm};
use super::items::{Act, OrderItem, OrderItemKind, Progress};
use super::search::{Search, Try, What};
use crate::plan::entries::aws_auth_edit::{EntryVariant, PrincipalEdit};

/// Whom changes concern, and what they are together.
type Changed = (BTreeSet<usize>, OrderEffect);

impl<'s> Search<'s> {
    fn waiting(&self) -> Vec<(usize, OrderItem<'s>)> {
        let mut all: Vec<(usize, OrderItem<'s>)> =
            self.items.iter().cloned().enumerate().filter(|(_, item)| !item.done).collect();
        // A role can mean many; a binding has the choice of its subjects.
        all.sort_by_key(|(_, item)| matches!(item.kind, OrderItemKind::Role { .. }));
        all
    }

    /// Takes from objects what their last form has not and nobody needs; of several in whom they meet, from one.
    pub(super) fn part_shrinks(&mut self) -> bool {
        let mut used = BTreeSet::new();
        let before = self.log.len();
        for (number, item) in self.waiting() {
            match &item.kind {
                OrderItemKind::Binding { ix, last } => self.shrink_binding(number, *ix, last.as_ref(), &mut used),
                OrderItemKind::Replace { ix, at: Progress::Old | Progress::Bridged, .. } => {
                    self.shrink_binding(number, *ix, None, &mut used);
                }
                OrderItemKind::Role { ix, last } => self.shrink_role(number, *ix, last.as_ref(), &mut used),
                OrderItemKind::Replace { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.flush();
        self.log.len() > before
    }

    /// Gives objects what their last form has and is allowed now; of several in whom they meet, to one.
    pub(super) fn part_grows(&mut self) -> bool {
        let mut used = BTreeSet::new();
        let before = self.log.len();
        for (number, item) in self.waiting() {
            match &item.kind {
                OrderItemKind::Binding { ix, last: Some(last) } => self.grow_binding(number, *ix, last, &mut used),
                OrderItemKind::Role { ix, last: Some(last) } => self.grow_role(number, *ix, last, &mut used),
                OrderItemKind::Binding { last: None, .. } | OrderItemKind::Role { last: None, .. } => {}
                OrderItemKind::Replace { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.flush();
        self.log.len() > before
    }

    /// Changes one object bit by bit as long as everybody stays in his frame; answers whom the kept changes concern, and
    /// what they are together.
    fn each<T>(
        &mut self,
        (number, kind): (usize, Try),
        used: &mut BTreeSet<usize>,
        list: Vec<T>,
        mut change: impl FnMut(&mut Self, &T) -> OrderEffect,
    ) -> Option<Changed> {
        if list.is_empty() || self.is_blocked(number, kind) {
            return None;
        }
        let mut made: Option<Changed> = None;
        let mut met = false;
        let mut all = BTreeSet::new();
        for one in list {
            let mark = self.world.mark();
            let effect = change(self, &one);
            let touched = self.touched(&effect);
            // What concerns nobody is no step on the way.
            let meets = touched.is_empty() || touched.iter().any(|class| used.contains(class));
            met |= meets;
            if !meets && self.stay(&touched, &effect) {
                let (whom, what) = made.get_or_insert_default();
                whom.extend(touched);
                what.and(effect);
            } else {
                self.world.undo(mark);
                all.extend(touched);
            }
        }
        match &made {
            Some((touched, _)) => used.extend(touched.iter().copied()),
            None if met => {}
            None => self.block(number, kind, &all),
        }
        made
    }

    fn binding_now(&self, ix: usize) -> Option<BindingForm> {
        self.world.bindings.get(ix)?.form.clone()
    }

    fn role_now(&self, ix: usize) -> Option<RoleForm<'s>> {
        self.world.roles.get(ix)?.form.clone()
    }

    fn shrink_binding(&mut self, number: usize, ix: usize, last: Option<&BindingForm>, used: &mut BTreeSet<usize>) {
        let Some(now) = self.binding_now(ix) else {
            return;
        };
        let stays = |subject: &usize| last.is_some_and(|last| last.subjects.contains(subject));
        let goes: Vec<usize> = now.subjects.iter().copied().filter(|subject| !stays(subject)).collect();
        let made = self.each((number, Try::Shrink), used, goes, |search, subject| {
            let mut form = search.binding_now(ix);
            if let Some(form) = &mut form {
                form.subjects.retain(|other| other != subject);
            }
            search.world.set_binding(ix, form)
        });
        self.keep_binding(number, ix, last, made);
    }

    fn grow_binding(&mut self, number: usize, ix: usize, last: &BindingForm, used: &mut BTreeSet<usize>) {
        if self.world.roles.get(last.role).is_none_or(|slot| slot.form.is_none()) {
            return;
        }
        let now = self.binding_now(ix).map(|form| form.subjects).unwrap_or_default();
        let comes: Vec<usize> = last.subjects.iter().copied().filter(|subject| !now.contains(subject)).collect();
        let made = self.each((number, Try::Grow), used, comes, |search, subject| {
            let mut form =
                search.binding_now(ix).unwrap_or_else(|| BindingForm { role: last.role, subjects: Vec::new() });
            form.subjects.push(*subject);
            form.subjects.sort_unstable();
            search.world.set_binding(ix, Some(form))
        });
        self.keep_binding(number, ix, Some(last), made);
    }

    fn keep_binding(&mut self, number: usize, ix: usize, last: Option<&BindingForm>, made: Option<Changed>) {
        let Some(((touched, effect), form)) = made.zip(self.binding_now(ix)) else {
            return;
        };
        let is_whole = last == Some(&form);
        self.keep(number, is_whole, What::PartBinding(number, form), &effect, &touched);
    }

    /// What turns out to be the last form is no part.
    fn keep(&mut self, number: usize, is_whole: bool, part: What<'s>, effect: &OrderEffect, touched: &BTreeSet<usize>) {
        if is_whole {
            self.record(What::Act(number, Act::Final), effect, touched);
            self.finish(number, Act::Final);
        } else {
            self.record(part, effect, touched);
        }
    }

    fn shrink_role(&mut self, number: usize, ix: usize, last: Option<&RoleForm<'s>>, used: &mut BTreeSet<usize>) {
        let Some(now) = self.role_now(ix).filter(|now| now.aggregation.is_none()) else {
            return;
        };
        if last.is_some_and(|last| last.aggregation.is_some()) {
            return;
        }
        let stays = |rule: &usize| last.is_some_and(|last| last.rules.contains(rule));
        let goes: Vec<usize> = now.rules.iter().copied().filter(|rule| !stays(rule)).collect();
        let made = self.each((number, Try::Shrink), used, goes, |search, rule| {
            let mut form = search.role_now(ix);
            if let Some(form) = &mut form {
                form.rules.retain(|other| other != rule);
            }
            search.world.set_role(ix, form)
        });
        self.keep_role(number, ix, last, made);
    }

    fn grow_role(&mut self, number: usize, ix: usize, last: &RoleForm<'s>, used: &mut BTreeSet<usize>) {
        let Some(now) = self.role_now(ix).filter(|now| now.aggregation.is_none() && last.aggregation.is_none()) else {
            return;
        };
        let comes: Vec<usize> = last.rules.iter().copied().filter(|rule| !now.rules.contains(rule)).collect();
        let made = self.each((number, Try::Grow), used, comes, |search, rule| {
            let mut form = search.role_now(ix);
            if let Some(form) = &mut form {
                form.rules.push(*rule);
                form.rules.sort_unstable();
            }
            search.world.set_role(ix, form)
        });
        self.keep_role(number, ix, Some(last), made);
    }

    fn keep_role(&mut self, number: usize, ix: usize, last: Option<&RoleForm<'s>>, made: Option<Changed>) {
        let Some(((touched, effect), form)) = made.zip(self.role_now(ix)) else {
            return;
        };
        let is_whole = last == Some(&form);
        self.keep(number, is_whole, What::PartRole(number, form), &effect, &touched);
    }

    /// A replaced binding whose bridge may not be yet goes first, where nobody needs it.
    pub(super) fn unbridged(&mut self) -> bool {
        for (number, item) in self.waiting() {
            let OrderItemKind::Replace { ix, at: Progress::Old, bridge: Some(_), .. } = &item.kind else {
                continue;
            };
            let ix = *ix;
            let Some((touched, effect)) =
                self.each((number, Try::Shrink), &mut BTreeSet::new(), vec![()], |search, ()| {
                    search.world.set_binding(ix, None)
                })
            else {
                continue;
            };
            self.record(What::Act(number, Act::Away), &effect, &touched);
            if let Some(OrderItem { kind: OrderItemKind::Replace { bridge, at, .. }, .. }) = self.items.get_mut(number)
            {
                *bridge = None;
                *at = Progress::Gone;
            }
            self.flush();
            return true;
        }
        false
    }

    /// Brings those entries on that can go, the others part of the way.
    pub(super) fn part_mapping(&mut self) -> bool {
        let Some(splits) = self.splits else {
            return false;
        };
        let waits = self.items.iter().any(|item| !item.done && matches!(item.kind, OrderItemKind::Mapping));
        if !waits || self.mappings() == 0 {
            return false;
        }
        let mut best = self.standings.clone();
        let stuck = self.stuck();
        for (place, standing) in best.iter_mut().enumerate() {
            if !stuck.contains(&place) {
                *standing = EntryVariant::Final;
            }
        }
        // All of them at once, form by form: an entry concerns its principal alone.
        let mut open: Vec<(usize, &PrincipalEdit)> = splits.principal_edits.iter().enumerate().collect();
        open.retain(|(place, slot)| stuck.contains(place) && slot.can_be_intermediate());
        for turn in 0..BETWEENS {
            let mut tried = best.clone();
            for (place, slot) in &open {
                if let Some((standing, between)) = tried.get_mut(*place).zip(betweens(slot).into_iter().nth(turn)) {
                    *standing = between;
                }
            }
            if tried == best {
                continue;
            }
            let out = self.out_of_frame(&tried);
            open.retain(|(place, slot)| {
                let kept = tried.get(*place).filter(|standing| best.get(*place) != Some(*standing));
                match (kept, best.get_mut(*place)) {
                    (Some(kept), Some(standing)) if !out.contains(&slot.key) => {
                        standing.clone_from(kept);
                        false
                    }
                    _ => true,
                }
            });
        }
        best != self.standings && !self.regresses(&best) && self.map(&best.clone(), What::PartMapping(best))
    }

    /// Whether aws-auth was already written so.
    fn regresses(&self, standings: &[EntryVariant]) -> bool {
        self.log.iter().any(|made| matches!(&made.what, What::PartMapping(known) if known == standings))
    }

    /// The principals who would leave their frame with the entries so.
    fn out_of_frame(&mut self, standings: &[EntryVariant]) -> BTreeSet<String> {
        let Some(logins) = self.logins_at(standings) else {
            return self.mapped.iter().filter_map(|class| self.classes.get(*class)).map(Class::key).collect();
        };
        let old = self.log_in(logins);
        let keys = old
            .iter()
            .filter(|(number, _)| !self.all_in_frame(&BTreeSet::from([*number])))
            .filter_map(|(number, _)| self.classes.get(*number).map(Class::key))
            .collect();
        self.log_in(old);
        keys
    }

    /// The principals whose last entry would now lead them out of their frame.
    pub(super) fn stuck(&mut self) -> BTreeSet<usize> {
        let Some(splits) = self.splits else {
            return BTreeSet::new();
        };
        let keys = self.out_of_frame(&vec![EntryVariant::Final; self.standings.len()]);
        let places = splits.principal_edits.iter().enumerate().filter(|(_, slot)| keys.contains(&slot.key));
        places.map(|(place, _)| place).collect()
    }
}

/// Forms of an entry on its way, at most.
const BETWEENS: usize = 4;

/// An entry on its way: the old or the new username, with the groups of both or those in common.
fn betweens(slot: &PrincipalEdit) -> Vec<EntryVariant> {
    let Some((before, after)) = slot.before.as_ref().zip(slot.after.as_ref()) else {
        return Vec::new();
    };
    if is_node(&before.username, &before.groups) || is_node(&after.username, &after.groups) {
        return Vec::new();
    }
    let common: Vec<String> = before.groups.iter().filter(|group| after.groups.contains(group)).cloned().collect();
    let mut both = before.groups.clone();
    both.extend(after.groups.iter().filter(|group| !before.groups.contains(group)).cloned());
    let mut all = Vec::new();
    for groups in [both, common] {
        for username in [&before.username, &after.username] {
            let same = |entry: &crate::state::aws_auth::Entry| entry.username == *username && entry.groups == groups;
            let between = EntryVariant::Intermediate { username: username.clone(), groups: groups.clone() };
            if !same(before) && !same(after) && !all.contains(&between) {
                all.push(between);
            }
        }
    }
    all
}
