//! The order of the writes: after every single one, everybody has what both sides give and nothing that neither gives.
//!
//! Access is a product of mapping, binding and role, so "grant first, take later" is not enough. Each write is tried on a
//! small world and made when nobody leaves his frame; where no write can be made, one is split; where that does not help,
//! temporary objects hold the new access meanwhile. Writes that all give, or all take, may be made at once: every state
//! between lies between the first and the last. A plan that only gives or only takes needs no proof.

mod classes;
mod construction;
mod emission;
mod forced;
mod forms;
mod frame;
mod gathering;
mod items;
mod logging_in;
mod parts;
mod search;
mod world;

use serde_json::Value;

use super::Step;
use super::entries::aws_auth_edit::{self, AwsAuthEdit};
use super::probes::AccessWindow;
use super::state_after::apply_write;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::write::WriteRequest;

/// When in an apply a write has its place, where nothing speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    GrantRole,
    GrantBinding,
    Mapping,
    Narrow,
    ReplaceAway,
    ReplaceBack,
    BridgeAway,
    TakeBinding,
    TakeRole,
}

const PHASES: [Phase; 9] = [
    Phase::GrantRole,
    Phase::GrantBinding,
    Phase::Mapping,
    Phase::Narrow,
    Phase::ReplaceAway,
    Phase::ReplaceBack,
    Phase::BridgeAway,
    Phase::TakeBinding,
    Phase::TakeRole,
];

/// What the first write needs of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Needs {
    Absent,
    AsRead { uid: Option<String>, resource_version: String },
}

/// What happens to an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turn {
    Create(Value),
    Patch {
        patch: Value,
        /// It gives nothing more than before.
        narrows: bool,
    },
    Delete,
    /// Of a roleRef: away and back under its name, a bridge holding the new access meanwhile.
    Replace {
        body: Value,
        /// None where the one of an apply that was stopped serves.
        bridge: Option<(ObjectKey, Value)>,
    },
    /// Of aws-auth.
    Map {
        write: WriteRequest,
        splits: Box<AwsAuthEdit>,
    },
}

/// A change of an object before it has its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingWrite {
    pub(super) object: ObjectKey,
    pub(super) turn: Turn,
    pub(super) needs: Needs,
    pub(super) why: String,
}

/// Who writes: what marks temporary objects as the policy's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) policy: &'a str,
}

/// The steps in their order, and the moments that no order avoids.
///
/// # Errors
/// A body that is no object of its kind.
pub(super) fn order(
    mut planned: Vec<PendingWrite>,
    live: &State,
    author: Author<'_>,
) -> Result<(Vec<Step>, Vec<AccessWindow>), ObjectError> {
    planned.sort_by(|a, b| a.object.cmp(&b.object));
    if is_one_way(&planned, live) {
        return Ok((emission::plainly(planned), Vec::new()));
    }
    let mut after = live.clone();
    for one in &planned {
        match &one.turn {
            Turn::Create(body) => after.insert_object(&one.object, body)?,
            Turn::Patch { patch, .. } => apply_write(&mut after, &one.object, &WriteRequest::Patch(patch.clone()))?,
            Turn::Delete => apply_write(&mut after, &one.object, &WriteRequest::Delete)?,
            Turn::Replace { body, .. } => after.insert_object(&one.object, body)?,
            Turn::Map { write, .. } => apply_write(&mut after, &one.object, write)?,
        }
    }
    let made = search::search(&planned, live, &after, author);
    // Giving large states back string by string would take longer than the search.
    std::mem::forget(after);
    Ok(made)
}

/// Whether every write gives, or every write takes: then no state between can leave the frame.
fn is_one_way(planned: &[PendingWrite], live: &State) -> bool {
    let gives = |one: &PendingWrite| match &one.turn {
        Turn::Create(_) => one.object.kind() != ObjectKind::ConfigMap,
        Turn::Map { splits, .. } => {
            !splits.has_accounts() && splits.principal_edits.iter().all(aws_auth_edit::only_grants)
        }
        Turn::Patch { .. } | Turn::Delete | Turn::Replace { .. } => false,
    };
    let takes = |one: &PendingWrite| match &one.turn {
        Turn::Delete => true,
        Turn::Patch { narrows, .. } => *narrows && !has_dependents(&one.object, live),
        Turn::Map { splits, .. } => {
            !splits.has_accounts() && splits.principal_edits.iter().all(aws_auth_edit::only_revokes)
        }
        Turn::Create(_) | Turn::Replace { .. } => false,
    };
    let all_exist = |one: &PendingWrite| live.meta(&one.object).is_none_or(|meta| meta.finalizers.is_empty());
    planned.iter().all(gives) || planned.iter().all(|one| takes(one) && all_exist(one))
}

/// A label that goes can bring a role into a selection.
fn has_dependents(key: &ObjectKey, live: &State) -> bool {
    key.kind() == ObjectKind::ClusterRole
        && live
            .roles
            .values()
            .any(|role| role.aggregation.iter().flatten().any(|selector| !selector.match_expressions.is_empty()))
}

#[cfg(test)]
mod tests;
