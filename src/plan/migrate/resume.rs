//! Completes an interrupted migration: entries that have only a temporary group yet, and temporary objects that are left.

use super::super::objects::{object_change, require_as_read};
use super::super::schedule::{ChangeKind, PendingWrite, TEMPORARY_NAME_PREFIX};
use super::super::{Action, field_diff};
use super::{EntryMove, EntryStatus, MigrationPlanner, MovedPrincipal, PlanBuilder, access_entries, entry_key};
use crate::names::ObjectKey;
use crate::state::object_meta::ObjectMeta;
use crate::state::owner::{self, Owner, TEMPORARY_ANNOTATION};

const INTERRUPTED: &str = "completes an interrupted migration";

impl MigrationPlanner<'_> {
    /// Completes the access entries of principals that an interrupted migration has begun to move.
    pub(super) fn complete_entries(&mut self, builder: &mut PlanBuilder<'_>) {
        let live = self.live;
        let mut seen = std::collections::BTreeSet::new();
        for (_, status, entry) in self.aws_auth_entries() {
            let EntryStatus::Shadowed { by } = &status else {
                continue;
            };
            let key = entry_key(&entry);
            if by.is_in_aws_auth() || !seen.insert(key.clone()) {
                continue;
            }
            let access_entry = live.access_entries.get(&crate::state::access_entry::access_entry_key(&by.principal));
            let is_begun = |group: &String| group.starts_with(TEMPORARY_NAME_PREFIX);
            let Some(access_entry) = access_entry.filter(|found| found.groups.iter().any(is_begun)) else {
                continue;
            };
            let Ok(moved) = EntryMove::new(&entry, &self.known, self.settings.account.as_ref()) else {
                continue;
            };
            let is_admin = moved.is_admin();
            let mut desired = moved.entry;
            by.principal.clone_into(&mut desired.principal);
            let is_owned = self.prepare_owned(&key, &mut desired);
            access_entries::plan_completed_entry(builder, &desired, access_entry, is_owned, INTERRUPTED);
            self.moved.push(MovedPrincipal {
                principal: desired.principal,
                entry_type: desired.entry_type,
                is_admin,
                is_path_unknown: false,
            });
        }
    }

    /// Removes the temporary objects of an interrupted migration.
    pub(super) fn remove_temporary_objects(&self, builder: &mut PlanBuilder<'_>) {
        let is_left = |(key, meta): &(&ObjectKey, &ObjectMeta)| {
            meta.annotations.contains_key(TEMPORARY_ANNOTATION)
                && !meta.deleting
                && owner::object_owner(key, meta, builder.policy) == Owner::ThisPolicy
        };
        let left: Vec<(&ObjectKey, &ObjectMeta)> = self.live.rbac_objects().filter(is_left).collect();
        for (key, meta) in left {
            let fields = match (self.live.roles.get(key), self.live.bindings.get(key)) {
                (Some(role), _) => field_diff::diff_role(Some(role), None),
                (None, Some(binding)) => field_diff::diff_binding(Some(binding), None),
                (None, None) => Vec::new(),
            };
            let mut change = object_change(builder, Action::Delete, key, None, fields);
            change.note = Some("temporary object left by an interrupted migration".to_owned());
            builder.changes.push(change);
            builder.writes.push(PendingWrite {
                object: key.clone(),
                kind: ChangeKind::Delete,
                precondition: require_as_read(meta),
                description: format!("delete {key}"),
            });
        }
    }
}
