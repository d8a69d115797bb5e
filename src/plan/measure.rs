//! Orders the writes between two states, for `benches/access.rs`.

use serde_json::json;

use super::objects::require_as_read;
use super::schedule::{Author, ChangeKind, PendingWrite, order};
use crate::names::ObjectKey;
use crate::policy::DEFAULT_TOKEN_CACHE;
use crate::state::State;
use crate::state::merge_join::{EitherOrBoth, merge_join};
use crate::state::object::{ObjectError, subjects_to_json};
use crate::state::object_meta::ObjectMeta;

/// Returns the number of steps from one state to another that differs in the rules of roles and the subjects of
/// bindings.
///
/// # Errors
/// If an object is not valid.
pub(crate) fn count_ordered_steps(live: &State, planned: &State) -> Result<usize, ObjectError> {
    let pending = |key: &ObjectKey, meta: &ObjectMeta, patch| PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Patch { patch, only_revokes: false },
        precondition: require_as_read(meta),
        description: String::new(),
    };
    let mut writes = Vec::new();
    for (key, pair) in merge_join(&live.roles, &planned.roles) {
        if let EitherOrBoth::Both(old, new) = pair
            && old.rules != new.rules
        {
            writes.push(pending(key, &old.meta, json!({ "rules": new.rules })));
        }
    }
    for (key, pair) in merge_join(&live.bindings, &planned.bindings) {
        if let EitherOrBoth::Both(old, new) = pair
            && old.subjects != new.subjects
        {
            writes.push(pending(key, &old.meta, json!({ "subjects": subjects_to_json(&new.subjects) })));
        }
    }
    order(writes, live, Author { policy: "measure" }, DEFAULT_TOKEN_CACHE).map(|ordered| ordered.steps.len())
}
