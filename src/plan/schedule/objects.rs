//! The objects that a plan writes: those with their planned content, parts of them, and temporary ones.
//!
//! The access engine refers to objects, so they live as long as the engine.

use std::fmt;

use typed_arena::Arena;

use super::{ChangeKind, PendingWrite, internal};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::state_after::apply_write;
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::config_map::AwsAuth;
use crate::state::object::ObjectError;
use crate::state::object::{Binding, Role};
use crate::state::rbac::Subject;
use crate::state::write::WriteRequest;

#[derive(Default)]
pub(super) struct ObjectArena {
    roles: Arena<Role>,
    bindings: Arena<Binding>,
    keys: Arena<ObjectKey>,
    access_entries: Arena<AccessEntry>,
    subjects: Arena<Subject>,
}

impl fmt::Debug for ObjectArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectArena").finish_non_exhaustive()
    }
}

impl ObjectArena {
    pub(super) fn add_role(&self, role: Role) -> &Role {
        self.roles.alloc(role)
    }

    pub(super) fn add_binding(&self, binding: Binding) -> &Binding {
        self.bindings.alloc(binding)
    }

    pub(super) fn add_access_entry(&self, entry: AccessEntry) -> &AccessEntry {
        self.access_entries.alloc(entry)
    }

    pub(super) fn add_key(&self, key: ObjectKey) -> &ObjectKey {
        self.keys.alloc(key)
    }

    pub(super) fn add_subject(&self, subject: Subject) -> &Subject {
        self.subjects.alloc(subject)
    }
}

/// The planned content of an object. `None` if it does not exist after the plan.
#[derive(Debug)]
pub(super) enum PlannedObject {
    Role(Option<Role>),
    Binding(Option<Binding>),
    AwsAuth(Option<AwsAuth>),
    AccessEntry(Option<AccessEntry>),
}

/// Returns the content of an object after its write. Only the object itself is copied, because a copy of a large state
/// takes longer than the ordering.
pub(super) fn planned_object(pending: &PendingWrite, live: &State) -> Result<PlannedObject, ObjectError> {
    let key = &pending.object;
    let mut state = State::default();
    match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            state.roles.extend(live.roles.get_key_value(key).map(|(key, role)| (key.clone(), role.clone())));
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let binding = live.bindings.get_key_value(key);
            state.bindings.extend(binding.map(|(key, binding)| (key.clone(), binding.clone())));
        }
        ObjectKind::ConfigMap => state.aws_auth.clone_from(&live.aws_auth),
        ObjectKind::AccessEntry => {
            state.access_entries.status = live.access_entries.status.clone();
            if let Some(entry) = live.access_entries.get(key) {
                state.insert_access_entry(entry.clone());
            }
        }
        ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => {
            return Err(internal(format!("a plan does not write {key}")));
        }
    }
    match &pending.kind {
        ChangeKind::Create(body) | ChangeKind::Replace { body, .. } => state.insert_object(key, body)?,
        ChangeKind::Patch { patch, .. } => apply_write(&mut state, key, &WriteRequest::Patch(patch.clone()))?,
        ChangeKind::Delete => apply_write(&mut state, key, &WriteRequest::Delete)?,
        ChangeKind::AccessEntry { after: Some(after) } => state.insert_object(key, after)?,
        ChangeKind::AccessEntry { after: None } => drop(state.access_entries.take(key)),
        ChangeKind::Map { write, .. } => apply_write(&mut state, key, write)?,
    }
    Ok(match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => PlannedObject::Role(state.roles.remove(key)),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => PlannedObject::Binding(state.bindings.remove(key)),
        ObjectKind::AccessEntry => PlannedObject::AccessEntry(state.access_entries.take(key)),
        ObjectKind::ConfigMap
        | ObjectKind::Namespace
        | ObjectKind::AccessPolicy
        | ObjectKind::AccessPolicyAssociation => PlannedObject::AwsAuth(state.aws_auth),
    })
}
