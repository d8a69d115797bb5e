//! Orders the writes of a plan. After each write, every subject has at least the access that both the live and the
//! planned state grant, and at most the access that one of them grants.
//!
//! An aws-auth entry, a binding and a role grant access only together, so it is not enough to make all additions before
//! all removals: if a plan adds a principal to a group and removes a role from the same group, adding first would grant
//! the principal a role that neither state grants.
//!
//! The search tries each write on an in-memory model of access, and takes it if every affected subject stays within its
//! bounds. If no write can be taken, it splits one. If that does not help, temporary objects grant the new access
//! meanwhile. Writes that all grant or all revoke can be in one stage, because every state between the first and the
//! last of them is within the bounds. A plan that only grants or only revokes needs no search.

mod access_bounds;
mod access_model;
mod aggregation;
mod aws_auth_writes;
mod contents;
mod emission;
mod forced_writes;
mod identity_classes;
mod items;
mod partial_writes;
mod search;
mod stages;
mod temporaries;

use serde_json::Value;

use super::Step;
use super::entries::aws_auth_edit::{self, AwsAuthEdit};
use super::probes::AccessWindow;
use super::state_after::apply_write;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::write::WriteRequest;

/// The usual position of a write in the order. The search takes the phases in this order and repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    GrantRole,
    GrantBinding,
    Mapping,
    RevokePart,
    DeleteReplaced,
    RecreateReplaced,
    DeleteBridge,
    DeleteBinding,
    DeleteRole,
}

const PHASES: [Phase; 9] = [
    Phase::GrantRole,
    Phase::GrantBinding,
    Phase::Mapping,
    Phase::RevokePart,
    Phase::DeleteReplaced,
    Phase::RecreateReplaced,
    Phase::DeleteBridge,
    Phase::DeleteBinding,
    Phase::DeleteRole,
];

/// The precondition of the first write to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstPrecondition {
    Absent,
    AsRead { uid: Option<String>, resource_version: String },
}

/// What the plan does with an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ChangeKind {
    Create(Value),
    Patch {
        patch: Value,
        /// The patch grants nothing new.
        only_revokes: bool,
    },
    Delete,
    /// Deletes a binding and creates it with another roleRef. A bridge grants the new access meanwhile.
    Replace {
        body: Value,
        /// `None` if the bridge of an interrupted apply is reused.
        bridge: Option<(ObjectKey, Value)>,
    },
    /// A write of aws-auth.
    Map {
        write: WriteRequest,
        edit: Box<AwsAuthEdit>,
    },
}

/// A write before it has a position in the order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingWrite {
    pub(super) object: ObjectKey,
    pub(super) kind: ChangeKind,
    pub(super) precondition: FirstPrecondition,
    pub(super) description: String,
}

/// The policy that owns the temporary objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) policy: &'a str,
}

/// Returns the ordered steps, and the temporary access changes that no order avoids.
///
/// # Errors
/// If the body of a write is not valid for its kind.
pub(super) fn order(
    mut planned: Vec<PendingWrite>,
    live: &State,
    author: Author<'_>,
) -> Result<(Vec<Step>, Vec<AccessWindow>), ObjectError> {
    planned.sort_by(|a, b| a.object.cmp(&b.object));
    if is_one_way(&planned, live) {
        return Ok((emission::in_phase_order(planned), Vec::new()));
    }
    let mut after = live.clone();
    for pending in &planned {
        match &pending.kind {
            ChangeKind::Create(body) => after.insert_object(&pending.object, body)?,
            ChangeKind::Patch { patch, .. } => {
                apply_write(&mut after, &pending.object, &WriteRequest::Patch(patch.clone()))?;
            }
            ChangeKind::Delete => apply_write(&mut after, &pending.object, &WriteRequest::Delete)?,
            ChangeKind::Replace { body, .. } => after.insert_object(&pending.object, body)?,
            ChangeKind::Map { write, .. } => apply_write(&mut after, &pending.object, write)?,
        }
    }
    let ordered = search::search(&planned, live, &after, author);
    // Freeing a large state takes longer than the search.
    std::mem::forget(after);
    Ok(ordered)
}

/// Returns whether all writes only grant, or all writes only revoke. Then every order is safe.
fn is_one_way(planned: &[PendingWrite], live: &State) -> bool {
    let grants = |pending: &PendingWrite| match &pending.kind {
        ChangeKind::Create(_) => pending.object.kind() != ObjectKind::ConfigMap,
        ChangeKind::Map { edit, .. } => {
            !edit.has_accounts() && edit.principal_edits.iter().all(aws_auth_edit::only_grants)
        }
        ChangeKind::Patch { .. } | ChangeKind::Delete | ChangeKind::Replace { .. } => false,
    };
    let revokes = |pending: &PendingWrite| match &pending.kind {
        ChangeKind::Delete => true,
        ChangeKind::Patch { only_revokes, .. } => *only_revokes && !has_dependents(&pending.object, live),
        ChangeKind::Map { edit, .. } => {
            !edit.has_accounts() && edit.principal_edits.iter().all(aws_auth_edit::only_revokes)
        }
        ChangeKind::Create(_) | ChangeKind::Replace { .. } => false,
    };
    let has_no_finalizers =
        |pending: &PendingWrite| live.meta(&pending.object).is_none_or(|meta| meta.finalizers.is_empty());
    planned.iter().all(grants) || planned.iter().all(|pending| revokes(pending) && has_no_finalizers(pending))
}

/// Returns whether removing a label of the role can add it to an aggregated ClusterRole, through a selector with an
/// expression such as `DoesNotExist`.
fn has_dependents(key: &ObjectKey, live: &State) -> bool {
    key.kind() == ObjectKind::ClusterRole
        && live
            .roles
            .values()
            .any(|role| role.aggregation.iter().flatten().any(|selector| !selector.match_expressions.is_empty()))
}

#[cfg(test)]
mod tests;
