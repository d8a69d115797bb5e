//! The strategy `entry_bridge`: principals get the planned access through a temporary group while their access entries are
//! associated with access policies.
//!
//! An access entry cannot be created with its policies, and from its creation on it takes precedence over aws-auth. So the
//! entry is created with a temporary group, to which temporary bindings grant what the policies allow. When the policies are
//! associated, the entry loses the group, and the temporary objects are deleted.

use std::collections::BTreeMap;

use super::access_entries::EntryId;
use super::changes::{ChangeId, Op, Purpose, TargetObject};
use super::scheduler::Scheduler;
use super::temporaries::Temporaries;
use crate::names::{ObjectKind, WildcardPattern};
use crate::state::access_entry::{AccessEntry, AccessEntryType, AccessScope};
use crate::state::access_policies::{AccessPolicy, access_policy_name, is_opaque};
use crate::state::object::ObjectError;
use crate::state::object::Role;
use crate::state::object_meta::Labels;
use crate::state::owner;
use crate::state::rbac::{RoleRef, Subject};

/// The associations of an entry: the policies by name, with their scopes.
type Associations<'s> = Vec<(&'s str, &'s AccessScope)>;

/// The entries that get the same policies.
type EntriesByAssociations<'s> = BTreeMap<Associations<'s>, Vec<(ChangeId, EntryId, &'s AccessEntry)>>;

impl<'s> Scheduler<'s> {
    /// Writes blocked access entries with their associations. Returns whether any was written.
    pub(super) fn bridge_access_entries(&mut self) -> Result<bool, ObjectError> {
        let mut groups = EntriesByAssociations::new();
        for (change_id, change) in self.remaining() {
            if let TargetObject::AccessEntry { id, planned: Some(planned) } = &change.target
                && planned.entry_type == AccessEntryType::Standard
            {
                let associations = planned.policies().map(|(arn, scope)| (access_policy_name(arn), scope)).collect();
                groups.entry(associations).or_default().push((change_id, *id, planned));
            }
        }
        let mut is_written = false;
        for (associations, entries) in groups.into_iter().filter(|(associations, _)| !associations.is_empty()) {
            let saved = self.checkpoint();
            if self.bridge_entries(&associations, &entries)? {
                is_written = true;
            } else {
                self.restore(&saved)?;
            }
        }
        Ok(is_written)
    }

    /// Returns whether all writes were possible.
    fn bridge_entries(
        &mut self,
        associations: &Associations<'s>,
        entries: &[(ChangeId, EntryId, &'s AccessEntry)],
    ) -> Result<bool, ObjectError> {
        let mut names: Vec<&str> = entries.iter().map(|(_, _, entry)| entry.principal()).collect();
        names.sort_unstable();
        let group = self.unused_name(&names.join("\0"))?;
        let subject = self.arena.add_subject(Subject::Group(group.clone()));
        self.verifier.engine.subject_id(subject);
        let mut temporaries = Temporaries::default();
        if !self.grant_policies_to(associations, subject, &mut temporaries)? {
            return Ok(false);
        }
        for (change, id, entry) in entries {
            let with_group = self.arena.add_access_entry(entry.with_group(&group));
            if !self.try_write(Op::AccessEntry(*id, Some(with_group)), Purpose::Part(*change))? {
                return Ok(false);
            }
        }
        self.end_stage();
        for (change_id, change) in self.remaining() {
            if let TargetObject::Association { entry, planned: Some(_), .. } = &change.target
                && entries.iter().any(|(_, id, _)| id == entry)
            {
                let purpose = Purpose::Complete(change_id);
                let op = change.op(purpose, 0)?;
                self.separate_writes_of_entry(&op);
                if !self.try_write(op, purpose)? {
                    return Ok(false);
                }
            }
        }
        self.end_stage();
        for (change, id, entry) in entries {
            if !self.try_write(Op::AccessEntry(*id, Some(entry)), Purpose::Complete(*change))? {
                return Ok(false);
            }
        }
        self.delete_temporaries(&temporaries)
    }

    /// Grants to a temporary group what access policies allow, as far as their rules are known and a binding can grant it: in
    /// the namespaces that exist.
    fn grant_policies_to(
        &mut self,
        associations: &Associations<'s>,
        group: &Subject,
        temporaries: &mut Temporaries<'s>,
    ) -> Result<bool, ObjectError> {
        let mut bindings = Vec::new();
        for (policy, scope) in associations {
            let rules = AccessPolicy::named(policy).role.rules;
            if rules.iter().any(is_opaque) {
                continue;
            }
            let key = self.unused_key((ObjectKind::ClusterRole, None, policy))?;
            let mut role = Role { rules, ..Role::default() };
            let digest = owner::role_digest(&role, &Labels::new());
            self.mark_temporary(key, &mut role.meta, digest);
            let id = self.verifier.engine.role_id(key);
            let op = Op::Role(id, Some(self.arena.add_role(role)));
            if !self.try_write(op, Purpose::CreateTemporary(key))? {
                return Ok(false);
            }
            temporaries.roles.insert(id, (id, key));
            let role_ref = RoleRef::ClusterRole(key.name().to_owned());
            match scope {
                AccessScope::Cluster => bindings.push((None, *policy, role_ref)),
                AccessScope::Namespaces(patterns) => {
                    let is_in_scope =
                        |name: &&String| patterns.iter().any(|pattern| WildcardPattern::new(pattern).matches(name));
                    let namespaces = self.live.namespaces.keys().filter(is_in_scope);
                    bindings.extend(namespaces.map(|name| (Some(name.as_str()), *policy, role_ref.clone())));
                }
            }
        }
        self.end_stage();
        for (namespace, policy, role_ref) in bindings {
            let kind = if namespace.is_some() { ObjectKind::RoleBinding } else { ObjectKind::ClusterRoleBinding };
            let key = self.unused_key((kind, namespace, policy))?;
            let id = self.verifier.engine.binding_id(key);
            if !self.create_temporary_binding(key, id, &role_ref, vec![group.clone()])? {
                return Ok(false);
            }
            temporaries.bindings.push((id, key));
        }
        self.end_stage();
        Ok(true)
    }
}
