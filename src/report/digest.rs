//! The digest by which a plan is approved.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::SerializeError;
use super::guard::{InvariantJson, InvariantSubjectJson, NamespaceSelectionJson, RequirementJson};
use super::step::{StepJson, TokenWaitJson, TransientAccessJson, UnprovenAccessJson};
use crate::plan::Plan;

/// The content of the digest. Locations and descriptions are left out, so that moving lines in the policy does not change
/// the digest.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApprovedContent<'a> {
    policy: &'a str,
    cluster_uid: Option<&'a str>,
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

/// SHA-256 over the writes of a plan, their preconditions, their effect on access, and the limits and invariants of the
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
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}
