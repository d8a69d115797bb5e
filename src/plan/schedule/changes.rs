//! The changed objects: the planned content of each, its next write and the phase of that write.

use super::access_entries::{EntryId, EntrySlots};
use super::objects::{ObjectArena, PlannedObject, planned_object};
use super::{ChangeKind, PendingWrite, Phase, internal};
use crate::access::{AccessEngine, BindingId, RoleId};
use crate::names::ObjectKey;
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::config_map::AwsAuth;
use crate::state::object::ObjectError;
use crate::state::object::{Binding, Role};

/// The index of a changed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangeId(pub(super) usize);

/// A write to the objects of the access engine.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op<'s> {
    Role(RoleId, Option<&'s Role>),
    Binding(BindingId, Option<&'s Binding>),
    /// The username and groups of an access entry. `None` deletes it with its associations.
    AccessEntry(EntryId, Option<&'s AccessEntry>),
    /// The association of an access entry with the access policy that has this ARN.
    Association(EntryId, BindingId, &'s str, Option<&'s Binding>),
    /// The variant of each entry of aws-auth that the plan changes.
    Mapping(Vec<EntryVariant>),
}

/// Why a write is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'s> {
    /// It brings the object to its planned content.
    Complete(ChangeId),
    /// It brings the object closer to its planned content.
    Part(ChangeId),
    CreateBridge(ChangeId),
    DeleteReplaced(ChangeId),
    RecreateReplaced(ChangeId),
    DeleteBridge(ChangeId),
    CreateTemporary(&'s ObjectKey),
    DeleteTemporary(&'s ObjectKey),
}

/// A write with its position in the order.
#[derive(Debug, Clone)]
pub(super) struct ScheduledWrite<'s> {
    pub(super) stage: usize,
    pub(super) op: Op<'s>,
    pub(super) purpose: Purpose<'s>,
}

/// The progress of replacing a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplaceProgress {
    NotStarted,
    BridgeCreated,
    OldDeleted,
    NewCreated,
}

#[derive(Debug, Clone)]
pub(super) enum TargetObject<'s> {
    Role {
        id: RoleId,
        planned: Option<&'s Role>,
    },
    Binding {
        id: BindingId,
        role: Option<RoleId>,
        planned: Option<&'s Binding>,
    },
    Replace {
        id: BindingId,
        role: Option<RoleId>,
        planned: &'s Binding,
        bridge: Option<BindingId>,
        progress: ReplaceProgress,
    },
    /// An access entry without its associations.
    AccessEntry {
        id: EntryId,
        planned: Option<&'s AccessEntry>,
    },
    Association {
        entry: EntryId,
        id: BindingId,
        /// The ARN of the access policy.
        policy: &'s str,
        planned: Option<&'s Binding>,
    },
    Mapping,
}

/// A changed object, or a part of an access entry that is written by itself.
#[derive(Debug, Clone)]
pub(super) struct ObjectChange<'s> {
    pub(super) pending: &'s PendingWrite,
    pub(super) target: TargetObject<'s>,
    pub(super) is_done: bool,
}

impl<'s> ObjectChange<'s> {
    /// Returns the changes of an object: one, or several of an access entry.
    fn all_of(
        pending: &'s PendingWrite,
        live: &'s State,
        arena: &'s ObjectArena,
        engine: &mut AccessEngine<'s>,
        (aws_auth, entries): (&mut Option<AwsAuth>, &mut EntrySlots<'s>),
    ) -> Result<Vec<Self>, ObjectError> {
        let key = &pending.object;
        let target = match (planned_object(pending, live)?, &pending.kind) {
            (PlannedObject::AccessEntry(planned), _) => {
                return entries.add_changes(pending, planned, live, arena, engine);
            }
            (PlannedObject::AwsAuth(planned), _) => {
                *aws_auth = planned;
                TargetObject::Mapping
            }
            (PlannedObject::Role(planned), _) => {
                TargetObject::Role { id: engine.role_id(key), planned: planned.map(|role| arena.add_role(role)) }
            }
            (PlannedObject::Binding(planned), kind) => {
                let planned = planned.map(|binding| arena.add_binding(binding));
                let role = planned.and_then(|planned| engine.bound_role(key, planned));
                // Logins refer to subjects by their identifiers.
                planned.map(|planned| engine.subjects_of(planned));
                let id = engine.binding_id(key);
                match (kind, planned) {
                    (ChangeKind::Replace { bridge, .. }, Some(planned)) => {
                        let bridge = bridge.as_ref().map(|(key, _)| engine.binding_id(key));
                        TargetObject::Replace { id, role, planned, bridge, progress: ReplaceProgress::NotStarted }
                    }
                    (_, planned) => TargetObject::Binding { id, role, planned },
                }
            }
        };
        Ok(vec![Self { pending, target, is_done: false }])
    }

    fn only_revokes(&self) -> bool {
        matches!(self.pending.kind, ChangeKind::Patch { only_revokes: true, .. })
    }

    /// Returns the next write of the change and its phase.
    pub(super) fn next(&self, id: ChangeId) -> (Purpose<'s>, Phase) {
        match &self.target {
            TargetObject::Replace { progress, bridge, .. } => match progress {
                ReplaceProgress::NotStarted if bridge.is_some() => (Purpose::CreateBridge(id), Phase::GrantBinding),
                ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated => {
                    (Purpose::DeleteReplaced(id), Phase::DeleteReplaced)
                }
                ReplaceProgress::OldDeleted => (Purpose::RecreateReplaced(id), Phase::RecreateReplaced),
                ReplaceProgress::NewCreated => (Purpose::DeleteBridge(id), Phase::DeleteBridge),
            },
            TargetObject::AccessEntry { .. } | TargetObject::Mapping => (Purpose::Complete(id), Phase::Mapping),
            TargetObject::Association { planned: Some(_), .. } => (Purpose::Complete(id), Phase::GrantBinding),
            TargetObject::Association { planned: None, .. } => (Purpose::Complete(id), Phase::DeleteBinding),
            TargetObject::Role { planned: None, .. } => (Purpose::Complete(id), Phase::DeleteRole),
            TargetObject::Binding { planned: None, .. } => (Purpose::Complete(id), Phase::DeleteBinding),
            TargetObject::Role { .. } | TargetObject::Binding { .. } if self.only_revokes() => {
                (Purpose::Complete(id), Phase::RevokePart)
            }
            TargetObject::Role { .. } => (Purpose::Complete(id), Phase::GrantRole),
            TargetObject::Binding { .. } => (Purpose::Complete(id), Phase::GrantBinding),
        }
    }

    /// Returns a write of the change. `entries` is the number of changed entries of aws-auth.
    pub(super) fn op(&self, purpose: Purpose<'s>, entries: usize) -> Result<Op<'s>, ObjectError> {
        Ok(match (&self.target, purpose) {
            (TargetObject::Role { id, planned }, Purpose::Complete(_)) => Op::Role(*id, *planned),
            (TargetObject::Binding { id, planned, .. }, Purpose::Complete(_)) => Op::Binding(*id, *planned),
            (TargetObject::AccessEntry { id, planned }, Purpose::Complete(_)) => Op::AccessEntry(*id, *planned),
            (TargetObject::AccessEntry { id, .. }, Purpose::DeleteReplaced(_)) => Op::AccessEntry(*id, None),
            (TargetObject::Association { entry, id, policy, planned }, Purpose::Complete(_)) => {
                Op::Association(*entry, *id, policy, *planned)
            }
            (TargetObject::Mapping, Purpose::Complete(_)) => Op::Mapping(vec![EntryVariant::Final; entries]),
            (TargetObject::Replace { planned, bridge: Some(bridge), .. }, Purpose::CreateBridge(_)) => {
                Op::Binding(*bridge, Some(planned))
            }
            (TargetObject::Replace { bridge: Some(bridge), .. }, Purpose::DeleteBridge(_)) => {
                Op::Binding(*bridge, None)
            }
            (TargetObject::Replace { id, .. }, Purpose::DeleteReplaced(_)) => Op::Binding(*id, None),
            (TargetObject::Replace { id, planned, .. }, Purpose::RecreateReplaced(_)) => {
                Op::Binding(*id, Some(planned))
            }
            (target, purpose) => {
                return Err(internal(format!("{purpose:?} is no write of {target:?}")));
            }
        })
    }

    /// Records that a write was made.
    pub(super) fn advance(&mut self, purpose: Purpose<'s>) {
        match (&mut self.target, purpose) {
            (TargetObject::Replace { progress, .. }, Purpose::CreateBridge(_)) => {
                *progress = ReplaceProgress::BridgeCreated;
            }
            (TargetObject::Replace { progress, bridge, .. }, Purpose::DeleteReplaced(_)) => {
                // A bridge that does not exist yet is not needed: nothing requires the access of the old binding.
                if *progress == ReplaceProgress::NotStarted {
                    *bridge = None;
                }
                *progress = ReplaceProgress::OldDeleted;
            }
            (TargetObject::Replace { progress, bridge: Some(_), .. }, Purpose::RecreateReplaced(_)) => {
                *progress = ReplaceProgress::NewCreated;
            }
            (_, Purpose::Part(_)) | (TargetObject::AccessEntry { .. }, Purpose::DeleteReplaced(_)) => {}
            _ => self.is_done = true,
        }
    }
}

/// All changed objects, and aws-auth after the plan if the plan writes it.
pub(super) struct PlannedChanges<'s> {
    pub(super) changes: Vec<ObjectChange<'s>>,
    pub(super) aws_auth: Option<AwsAuth>,
    pub(super) entries: EntrySlots<'s>,
}

impl<'s> PlannedChanges<'s> {
    pub(super) fn new(
        planned: &'s [PendingWrite],
        live: &'s State,
        arena: &'s ObjectArena,
        engine: &mut AccessEngine<'s>,
    ) -> Result<Self, ObjectError> {
        let (mut aws_auth, mut entries) = (live.aws_auth.clone(), EntrySlots::default());
        let mut changes = Vec::with_capacity(planned.len());
        for pending in planned {
            let stores = (&mut aws_auth, &mut entries);
            changes.extend(ObjectChange::all_of(pending, live, arena, engine, stores)?);
        }
        Ok(Self { changes, aws_auth, entries })
    }

    /// Brings all objects to their planned content at once.
    pub(super) fn apply_to(&self, engine: &mut AccessEngine<'s>) -> Result<(), ObjectError> {
        let roles = self.changes.iter().filter_map(|change| match &change.target {
            TargetObject::Role { id, planned } => Some((*id, *planned)),
            TargetObject::Binding { .. }
            | TargetObject::Replace { .. }
            | TargetObject::AccessEntry { .. }
            | TargetObject::Association { .. }
            | TargetObject::Mapping => None,
        });
        let bindings = self.changes.iter().filter_map(|change| match &change.target {
            TargetObject::Binding { id, planned, .. } => Some((*id, *planned)),
            TargetObject::Replace { id, planned, .. } => Some((*id, Some(*planned))),
            TargetObject::Role { .. }
            | TargetObject::AccessEntry { .. }
            | TargetObject::Association { .. }
            | TargetObject::Mapping => None,
        });
        Ok(engine.set_all(roles, bindings.chain(self.planned_associations()))?)
    }
}
