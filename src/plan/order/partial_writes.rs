//! Partial writes of an object, for when its final content would bring a subject outside its bounds.
//!
//! Each adds or removes a part that the final content has or lacks, so every partial write is a step towards it.

use std::collections::BTreeSet;

use super::contents::{BindingForm, OrderEffect, RoleForm};
use super::identity_classes::{IdentityClass, is_node};
use super::items::{AttemptKind, ItemWrite, OrderItem, OrderItemKind, ReplaceProgress};
use super::search::{Search, SearchWrite};
use crate::plan::entries::aws_auth_edit::{EntryVariant, PrincipalEdit};

/// The classes that changes affect, and their combined effect.
type AppliedChanges = (BTreeSet<usize>, OrderEffect);

impl<'s> Search<'s> {
    fn remaining(&self) -> Vec<(usize, OrderItem<'s>)> {
        let mut all: Vec<(usize, OrderItem<'s>)> =
            self.items.iter().cloned().enumerate().filter(|(_, item)| !item.done).collect();
        // Bindings first: a binding can be changed for each subject, and a role affects the subjects of all its
        // bindings.
        all.sort_by_key(|(_, item)| matches!(item.kind, OrderItemKind::Role { .. }));
        all
    }

    /// Removes from objects what their final content lacks and no class requires. If several objects affect the same
    /// class, only one of them is changed.
    pub(super) fn revoke_partially(&mut self) -> bool {
        let mut used = BTreeSet::new();
        let before = self.log.len();
        for (number, item) in self.remaining() {
            match &item.kind {
                OrderItemKind::Binding { ix, last } => self.shrink_binding(number, *ix, last.as_ref(), &mut used),
                OrderItemKind::Replace {
                    ix,
                    progress: ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated,
                    ..
                } => {
                    self.shrink_binding(number, *ix, None, &mut used);
                }
                OrderItemKind::Role { ix, last } => self.shrink_role(number, *ix, last.as_ref(), &mut used),
                OrderItemKind::Replace { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.end_stage();
        self.log.len() > before
    }

    /// Adds to objects what their final content has and the bounds allow now. If several objects affect the same class,
    /// only one of them is changed.
    pub(super) fn grant_partially(&mut self) -> bool {
        let mut used = BTreeSet::new();
        let before = self.log.len();
        for (number, item) in self.remaining() {
            match &item.kind {
                OrderItemKind::Binding { ix, last: Some(last) } => self.grow_binding(number, *ix, last, &mut used),
                OrderItemKind::Role { ix, last: Some(last) } => self.grow_role(number, *ix, last, &mut used),
                OrderItemKind::Binding { last: None, .. } | OrderItemKind::Role { last: None, .. } => {}
                OrderItemKind::Replace { .. } | OrderItemKind::Mapping => {}
            }
        }
        self.end_stage();
        self.log.len() > before
    }

    /// Makes each change of one object that keeps all classes within their bounds. Returns the affected classes and the
    /// combined effect.
    fn change_each<T>(
        &mut self,
        (number, kind): (usize, AttemptKind),
        used: &mut BTreeSet<usize>,
        list: Vec<T>,
        mut change: impl FnMut(&mut Self, &T) -> OrderEffect,
    ) -> Option<AppliedChanges> {
        if list.is_empty() || self.is_blocked(number, kind) {
            return None;
        }
        let mut applied: Option<AppliedChanges> = None;
        let mut is_in_use = false;
        let mut rejected = BTreeSet::new();
        for part in list {
            let mark = self.model.mark();
            let effect = change(self, &part);
            let affected = self.affected(&effect);
            // A change that affects no class makes no progress.
            let conflicts = affected.is_empty() || affected.iter().any(|class| used.contains(class));
            is_in_use |= conflicts;
            if !conflicts && self.stays_in_bounds(&affected, &effect) {
                let (applied_classes, applied_effect) = applied.get_or_insert_default();
                applied_classes.extend(affected);
                applied_effect.and(effect);
            } else {
                self.model.undo(mark);
                rejected.extend(affected);
            }
        }
        match &applied {
            Some((affected, _)) => used.extend(affected.iter().copied()),
            None if is_in_use => {}
            None => self.block(number, kind, &rejected),
        }
        applied
    }

    fn binding_now(&self, ix: usize) -> Option<BindingForm> {
        self.model.bindings.get(ix)?.form.clone()
    }

    fn role_now(&self, ix: usize) -> Option<RoleForm<'s>> {
        self.model.roles.get(ix)?.form.clone()
    }

    fn shrink_binding(&mut self, number: usize, ix: usize, last: Option<&BindingForm>, used: &mut BTreeSet<usize>) {
        let Some(now) = self.binding_now(ix) else {
            return;
        };
        let stays = |subject: &usize| last.is_some_and(|last| last.subjects.contains(subject));
        let removed: Vec<usize> = now.subjects.iter().copied().filter(|subject| !stays(subject)).collect();
        let applied = self.change_each((number, AttemptKind::Shrink), used, removed, |search, subject| {
            let mut form = search.binding_now(ix);
            if let Some(form) = &mut form {
                form.subjects.retain(|other| other != subject);
            }
            search.model.set_binding(ix, form)
        });
        self.record_binding(number, ix, last, applied);
    }

    fn grow_binding(&mut self, number: usize, ix: usize, last: &BindingForm, used: &mut BTreeSet<usize>) {
        if self.model.roles.get(last.role).is_none_or(|role| role.form.is_none()) {
            return;
        }
        let now = self.binding_now(ix).map(|form| form.subjects).unwrap_or_default();
        let added: Vec<usize> = last.subjects.iter().copied().filter(|subject| !now.contains(subject)).collect();
        let applied = self.change_each((number, AttemptKind::Grow), used, added, |search, subject| {
            let mut form =
                search.binding_now(ix).unwrap_or_else(|| BindingForm { role: last.role, subjects: Vec::new() });
            form.subjects.push(*subject);
            form.subjects.sort_unstable();
            search.model.set_binding(ix, Some(form))
        });
        self.record_binding(number, ix, Some(last), applied);
    }

    fn record_binding(
        &mut self,
        number: usize,
        ix: usize,
        last: Option<&BindingForm>,
        applied: Option<AppliedChanges>,
    ) {
        let Some(((affected, effect), form)) = applied.zip(self.binding_now(ix)) else {
            return;
        };
        let is_whole = last == Some(&form);
        self.record_part(number, is_whole, SearchWrite::PartialBinding(number, form), &effect, &affected);
    }

    /// Records a partial write, or the final one if the content is final.
    fn record_part(
        &mut self,
        number: usize,
        is_whole: bool,
        part: SearchWrite<'s>,
        effect: &OrderEffect,
        affected: &BTreeSet<usize>,
    ) {
        if is_whole {
            self.record_write(SearchWrite::Item(number, ItemWrite::Final), effect, affected);
            self.mark_done(number, ItemWrite::Final);
        } else {
            self.record_write(part, effect, affected);
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
        let removed: Vec<usize> = now.rules.iter().copied().filter(|rule| !stays(rule)).collect();
        let applied = self.change_each((number, AttemptKind::Shrink), used, removed, |search, rule| {
            let mut form = search.role_now(ix);
            if let Some(form) = &mut form {
                form.rules.retain(|other| other != rule);
            }
            search.model.set_role(ix, form)
        });
        self.record_partial_role(number, ix, last, applied);
    }

    fn grow_role(&mut self, number: usize, ix: usize, last: &RoleForm<'s>, used: &mut BTreeSet<usize>) {
        let Some(now) = self.role_now(ix).filter(|now| now.aggregation.is_none() && last.aggregation.is_none()) else {
            return;
        };
        let added: Vec<usize> = last.rules.iter().copied().filter(|rule| !now.rules.contains(rule)).collect();
        let applied = self.change_each((number, AttemptKind::Grow), used, added, |search, rule| {
            let mut form = search.role_now(ix);
            if let Some(form) = &mut form {
                form.rules.push(*rule);
                form.rules.sort_unstable();
            }
            search.model.set_role(ix, form)
        });
        self.record_partial_role(number, ix, Some(last), applied);
    }

    fn record_partial_role(
        &mut self,
        number: usize,
        ix: usize,
        last: Option<&RoleForm<'s>>,
        applied: Option<AppliedChanges>,
    ) {
        let Some(((affected, effect), form)) = applied.zip(self.role_now(ix)) else {
            return;
        };
        let is_whole = last == Some(&form);
        self.record_part(number, is_whole, SearchWrite::PartialRole(number, form), &effect, &affected);
    }

    /// Deletes a binding that is to be replaced before its bridge exists, if no class requires its access.
    pub(super) fn delete_without_bridge(&mut self) -> bool {
        for (number, item) in self.remaining() {
            let OrderItemKind::Replace { ix, progress: ReplaceProgress::NotStarted, bridge: Some(_), .. } = &item.kind
            else {
                continue;
            };
            let ix = *ix;
            let Some((affected, effect)) =
                self.change_each((number, AttemptKind::Shrink), &mut BTreeSet::new(), vec![()], |search, ()| {
                    search.model.set_binding(ix, None)
                })
            else {
                continue;
            };
            self.record_write(SearchWrite::Item(number, ItemWrite::DeleteOld), &effect, &affected);
            if let Some(OrderItem { kind: OrderItemKind::Replace { bridge, progress, .. }, .. }) =
                self.items.get_mut(number)
            {
                *bridge = None;
                *progress = ReplaceProgress::OldDeleted;
            }
            self.end_stage();
            return true;
        }
        false
    }

    /// Sets the entries of aws-auth to their final content where possible, and others to an intermediate content.
    pub(super) fn change_entries_partially(&mut self) -> bool {
        let Some(edit) = self.aws_auth_edit else {
            return false;
        };
        let mapping_remains = self.items.iter().any(|item| !item.done && matches!(item.kind, OrderItemKind::Mapping));
        if !mapping_remains || self.remaining_mapping_writes() == 0 {
            return false;
        }
        let mut best = self.variants.clone();
        let blocked_principals = self.blocked_principals();
        for (index, variant) in best.iter_mut().enumerate() {
            if !blocked_principals.contains(&index) {
                *variant = EntryVariant::Final;
            }
        }
        // All entries are tried together, because an entry affects only its own principal.
        let mut pending: Vec<(usize, &PrincipalEdit)> = edit.principal_edits.iter().enumerate().collect();
        pending.retain(|(index, edited)| blocked_principals.contains(index) && edited.can_be_intermediate());
        for attempt in 0..MAX_INTERMEDIATES {
            let mut tried = best.clone();
            for (index, edited) in &pending {
                if let Some((variant, intermediate)) =
                    tried.get_mut(*index).zip(intermediates(edited).into_iter().nth(attempt))
                {
                    *variant = intermediate;
                }
            }
            if tried == best {
                continue;
            }
            let out = self.principals_out_of_bounds(&tried);
            pending.retain(|(index, edited)| {
                let kept = tried.get(*index).filter(|variant| best.get(*index) != Some(*variant));
                match (kept, best.get_mut(*index)) {
                    (Some(kept), Some(variant)) if !out.contains(&edited.key) => {
                        variant.clone_from(kept);
                        false
                    }
                    _ => true,
                }
            });
        }
        best != self.variants
            && !self.was_written(&best)
            && self.try_mapping(&best.clone(), SearchWrite::PartialMapping(best))
    }

    /// Returns whether an earlier write had the same variants.
    fn was_written(&self, variants: &[EntryVariant]) -> bool {
        self.log.iter().any(|write| matches!(&write.write, SearchWrite::PartialMapping(known) if known == variants))
    }

    /// Returns the principals that would be outside their bounds with these variants.
    fn principals_out_of_bounds(&mut self, variants: &[EntryVariant]) -> BTreeSet<String> {
        let Some(logins) = self.logins_with(variants) else {
            return self
                .mapped_classes
                .iter()
                .filter_map(|class| self.classes.get(*class))
                .map(IdentityClass::key)
                .collect();
        };
        let old = self.set_logins(logins);
        let keys = old
            .iter()
            .filter(|(number, _)| !self.all_in_bounds(&BTreeSet::from([*number])))
            .filter_map(|(number, _)| self.classes.get(*number).map(IdentityClass::key))
            .collect();
        self.set_logins(old);
        keys
    }

    /// Returns the principals that would be outside their bounds with their final entry.
    pub(super) fn blocked_principals(&mut self) -> BTreeSet<usize> {
        let Some(edit) = self.aws_auth_edit else {
            return BTreeSet::new();
        };
        let keys = self.principals_out_of_bounds(&vec![EntryVariant::Final; self.variants.len()]);
        let indices = edit.principal_edits.iter().enumerate().filter(|(_, edited)| keys.contains(&edited.key));
        indices.map(|(index, _)| index).collect()
    }
}

/// The maximum number of intermediate contents of an entry.
const MAX_INTERMEDIATES: usize = 4;

/// Returns the intermediate contents of an entry: the old or new username, with all groups of both or only the common
/// groups.
fn intermediates(edited: &PrincipalEdit) -> Vec<EntryVariant> {
    let Some((before, after)) = edited.before.as_ref().zip(edited.after.as_ref()) else {
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
            let is_same = |entry: &crate::state::aws_auth::Entry| entry.username == *username && entry.groups == groups;
            let intermediate = EntryVariant::Intermediate { username: username.clone(), groups: groups.clone() };
            if !is_same(before) && !is_same(after) && !all.contains(&intermediate) {
                all.push(intermediate);
            }
        }
    }
    all
}
