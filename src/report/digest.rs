//! The digest by which a plan is approved.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::SerializeError;
use super::change::{ActionJson, ChangeJson, FieldJson, TargetJson};
use super::guard::{InvariantJson, InvariantSubjectJson, NamespaceSelectionJson, RequirementJson};
use super::step::{StepJson, TokenWaitJson, TransientAccessJson, UnprovenAccessJson};
use crate::plan::{Change, Plan};

/// The content of the digest. Locations and descriptions are left out, so that moving lines in the policy does not change
/// the digest. Of the changes that a reviewer sees, what other writers of the cluster decide is left out too: the access
/// has its own fingerprints, and the last writer is not part of what is approved.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApprovedContent<'a> {
    policy: &'a str,
    cluster_uid: Option<&'a str>,
    changes: Vec<ApprovedChange>,
    steps: Vec<StepJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<TokenWaitJson>,
    transient_access: Vec<TransientAccessJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_proven: Vec<UnprovenAccessJson>,
    /// For each subject whose access changes, a fingerprint of the change.
    access: BTreeMap<&'a str, String>,
    namespace_selections: Vec<NamespaceSelectionJson>,
    protected: Vec<&'a str>,
    max_removals: Option<&'a str>,
    invariants: Vec<(InvariantSubjectJson, RequirementJson)>,
}

/// A change as a reviewer sees it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApprovedChange {
    action: ActionJson,
    target: TargetJson,
    fields: Vec<FieldJson>,
    note: Option<String>,
}

impl From<&Change> for ApprovedChange {
    fn from(change: &Change) -> Self {
        let ChangeJson { action, target, fields, note, location: _, drift: _, last_writer: _, changes_access: _ } =
            change.into();
        Self { action, target, fields, note }
    }
}

/// SHA-256 over the changes and writes of a plan, their preconditions, their effect on access, and the limits and invariants of the
/// policy. It is computed from the wire types, so that it does not depend on internal names.
///
/// # Errors
/// If serde cannot serialize the plan.
pub(crate) fn digest(plan: &Plan) -> Result<String, SerializeError> {
    let invariants = plan.invariants.iter().map(|invariant| {
        let InvariantJson { location: _, description: _, subject, requirement } = invariant.into();
        (subject, requirement)
    });
    let content = serde_json::to_vec(&ApprovedContent {
        policy: &plan.policy,
        cluster_uid: plan.cluster_uid.as_deref(),
        changes: plan.changes.iter().map(ApprovedChange::from).collect(),
        steps: plan.steps.iter().map(StepJson::from).collect(),
        waits: plan.waits.iter().map(TokenWaitJson::from).collect(),
        transient_access: plan.windows.iter().map(TransientAccessJson::from).collect(),
        not_proven: plan.unproven.iter().map(UnprovenAccessJson::from).collect(),
        access: plan.access_fingerprints(),
        namespace_selections: plan.namespace_selections.iter().map(NamespaceSelectionJson::from).collect(),
        protected: plan.limits.protected.iter().map(|limit| limit.value.as_str()).collect(),
        max_removals: plan.limits.max_removals.as_ref().map(|limit| limit.value.as_str()),
        invariants: invariants.collect(),
    })?;
    Ok(sha256(&content))
}

fn sha256(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The digest of a whole document without its key `content-digest`, and of the documents that follow it. Whitespace between
/// the tokens does not count.
///
/// # Errors
/// If serde cannot serialize the document.
pub(super) fn content_digest(document: &Value, following: &[Value]) -> Result<String, SerializeError> {
    let mut document = document.clone();
    if let Some(keys) = document.as_object_mut() {
        // The other keys keep their order.
        keys.shift_remove("content-digest");
    }
    if following.is_empty() {
        return Ok(sha256(&serde_json::to_vec(&document)?));
    }
    let all: Vec<&Value> = std::iter::once(&document).chain(following).collect();
    Ok(sha256(&serde_json::to_vec(&all)?))
}

/// Returns whether a text has the form of [`digest`].
pub(crate) fn is_digest(text: &str) -> bool {
    let is_hex = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hex(digits))
}
