//! Orders the writes of a plan. After each write, every subject has at least the access that both the live and the
//! planned state grant, and at most the access that one of them grants.
//!
//! An aws-auth entry, a binding and a role grant access only together, so it is not enough to make all additions before
//! all removals: if a plan adds a principal to a group and removes a role from the same group, adding first would grant
//! the principal a role that neither state grants.
//!
//! Strategies propose writes, each simpler than the next: `plain` makes whole writes in the usual order of phases,
//! `split` changes an object part by part, and `temporaries` grants the new access through temporary objects meanwhile.
//! `entry_bridge` does the last for access entries.
//! A strategy tries each write on the access engine and takes it if every affected subject stays within its bounds.
//! At last the verifier follows all writes from the live state on the same engine. What it finds outside the bounds is a
//! window of the plan, whichever strategy proposed the writes.
//!
//! A token that an API server has cached keeps its username and groups for some time after a write of aws-auth. The
//! verifier follows it with each of its former identities. If a write would bring only such a token outside its bounds,
//! the plan waits before this write until no token is cached any more.

mod access_bounds;
mod access_entries;
mod changes;
mod components;
mod emission;
mod entry_bridge;
mod entry_split;
mod identity_classes;
mod isolation;
mod last_resort;
mod objects;
mod plain;
mod replay;
mod scheduler;
mod split;
mod temporaries;
mod temporary_names;
mod token_logins;
mod verifier;

use std::time::Duration;

use objects::ObjectArena;
use replay::{PlacedWait, ReplayedSchedule};
use serde_json::Value;
pub(super) use temporary_names::TEMPORARY_NAME_PREFIX;

use super::Step;
use super::entries::aws_auth_edit::AwsAuthEdit;
use super::probes::{AccessWindow, UnprovenAccess};
use super::token_wait::TokenWait;
use crate::diagnostic::InternalError;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::write::WriteRequest;

/// The usual position of a write in the order. The strategy `plain` takes the phases in this order and repeats them.
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
    /// An access entry with its associations, which takes several writes.
    AccessEntry {
        /// The whole entry after the plan, with the associations and tags of other clients. `None` if it is deleted. With
        /// another type than the live entry, it is deleted and created again.
        after: Option<Value>,
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

/// Returns the error for a case that cannot happen. It stops the plan, because every default could be a wrong write.
fn internal(what: impl Into<String>) -> ObjectError {
    InternalError::new(what).into()
}

/// The steps of a plan in their order.
#[derive(Debug, Default)]
pub(super) struct OrderedSteps {
    pub(super) steps: Vec<Step>,
    pub(super) waits: Vec<TokenWait>,
    /// The temporary access changes that the steps cause.
    pub(super) windows: Vec<AccessWindow>,
    /// The temporary access changes that the verifier could not rule out.
    pub(super) unproven: Vec<UnprovenAccess>,
}

/// Orders the writes. `token_cache` is how long an API server keeps the username and groups of a token.
///
/// # Errors
/// If the body of a write is not valid for its kind.
pub(super) fn order(
    mut planned: Vec<PendingWrite>,
    live: &State,
    author: Author<'_>,
    token_cache: Duration,
) -> Result<OrderedSteps, ObjectError> {
    if planned.is_empty() {
        return Ok(OrderedSteps::default());
    }
    planned.sort_by(|a, b| a.object.cmp(&b.object));
    let arena = ObjectArena::default();
    let (steps, ReplayedSchedule { waits, windows, unproven, .. }) =
        scheduler::schedule(&planned, live, &arena, author, !token_cache.is_zero())?;
    let to_wait = |PlacedWait { stage, before_write, subjects, is_for_access_entries }| TokenWait {
        is_for_access_entries,
        stage,
        before_step: before_write,
        duration: token_cache,
        subjects,
    };
    Ok(OrderedSteps { steps, waits: waits.into_iter().map(to_wait).collect(), windows, unproven })
}

#[cfg(test)]
mod tests;
