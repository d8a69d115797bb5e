//! The strategy `split` for aws-auth: a write in which some entries have their planned content, and others an
//! intermediate one.

use std::collections::BTreeSet;

use super::changes::{ChangeId, ObjectChange, Op, Purpose, TargetObject};
use super::identity_classes::is_node;
use super::scheduler::Scheduler;
use crate::plan::entries::aws_auth_edit::{EntryVariant, PrincipalEdit};
use crate::state::aws_auth::Entry;
use crate::state::object::ObjectError;

/// The maximum number of intermediate contents of an entry.
const MAX_INTERMEDIATES: usize = 4;
/// The maximum number of partial writes of aws-auth before the final one is forced.
const MAX_MAPPING_WRITES: usize = 6;

impl Scheduler<'_> {
    /// Sets the entries of aws-auth to their planned content where possible, and others to an intermediate content.
    pub(super) fn change_entries_partially(&mut self) -> Result<bool, ObjectError> {
        let Some((edit, id)) = self.verifier.edit.zip(self.mapping_change()) else {
            return Ok(false);
        };
        let partial_writes =
            self.log.iter().filter(|write| matches!((&write.op, write.purpose), (Op::Mapping(_), Purpose::Part(_))));
        if partial_writes.count() >= MAX_MAPPING_WRITES {
            return Ok(false);
        }
        let Some(blocked_entries) = self.blocked_entries()? else {
            return Ok(false);
        };
        let mut best = self.verifier.variants.clone();
        for (index, variant) in best.iter_mut().enumerate() {
            if !blocked_entries.contains(&index) {
                *variant = EntryVariant::Final;
            }
        }
        // All entries are tried together, because an entry affects only its own principal.
        let mut pending: Vec<(usize, &PrincipalEdit)> = edit.principal_edits.iter().enumerate().collect();
        pending.retain(|(index, edited)| blocked_entries.contains(index) && edited.can_be_intermediate());
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
            let Some(out) = self.verifier.entries_out_of_bounds(&tried)? else {
                continue;
            };
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
        let was_written = self.log.iter().any(|write| matches!(&write.op, Op::Mapping(known) if *known == best));
        if best == self.verifier.variants || was_written {
            return Ok(false);
        }
        self.try_write(Op::Mapping(best), Purpose::Part(id))
    }

    /// Returns the change of aws-auth, if it is not complete.
    pub(super) fn mapping_change(&self) -> Option<ChangeId> {
        let is_mapping = |change: &ObjectChange<'_>| !change.is_done && matches!(change.target, TargetObject::Mapping);
        self.changes.iter().position(is_mapping).map(ChangeId)
    }

    /// Returns the entries with which a principal would be outside its bounds if they had their planned content, and the
    /// entries that need those: a principal whose entry is removed can authenticate only once its account is mapped.
    /// `None` if the text of aws-auth cannot be edited in this way.
    pub(super) fn blocked_entries(&mut self) -> Result<Option<BTreeSet<usize>>, ObjectError> {
        let Some(edit) = self.verifier.edit else {
            return Ok(None);
        };
        let mut blocked = BTreeSet::new();
        loop {
            let variants = self.verifier.variants.iter().enumerate();
            let variants: Vec<EntryVariant> = variants
                .map(|(index, now)| if blocked.contains(&index) { now.clone() } else { EntryVariant::Final })
                .collect();
            let Some(keys) = self.verifier.entries_out_of_bounds(&variants)? else {
                return Ok(None);
            };
            let entries = edit.principal_edits.iter().enumerate();
            let out = entries.filter(|(_, edited)| keys.contains(&edited.key)).map(|(index, _)| index);
            let known = blocked.len();
            blocked.extend(out);
            if blocked.len() == known {
                return Ok(Some(blocked));
            }
        }
    }
}

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
            let is_same = |entry: &Entry| entry.username == *username && entry.groups == groups;
            let intermediate = EntryVariant::Intermediate { username: username.clone(), groups: groups.clone() };
            if !is_same(before) && !is_same(after) && !all.contains(&intermediate) {
                all.push(intermediate);
            }
        }
    }
    all
}
