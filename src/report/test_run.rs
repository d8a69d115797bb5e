//! The result of `rolecall test`: each invariant of each cluster, and whether it holds.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::common::LocationJson;
use super::finding_id::FindingId;
use super::guard::ViolationJson;
use super::plan::{PlanDocument, PlanJson};

/// The output of `rolecall test -o json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TestDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// The state that was tested.
    pub(crate) state: TestedStateJson,
    /// One item for each cluster.
    pub(crate) clusters: Vec<TestedClusterJson>,
}

/// The state of the clusters that was tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum TestedStateJson {
    /// The state after the policy is applied.
    Planned,
    /// The state as it is.
    Current,
}

/// The invariants of one cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TestedClusterJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The name of the cluster in the policy, or null if the policy has no `[clusters]`.
    pub(crate) name: Option<String>,
    /// The name of the policy.
    pub(crate) policy: String,
    /// The invariants that apply to the cluster, in the order of the policy.
    pub(crate) invariants: Vec<TestedInvariantJson>,
}

/// An invariant and its result.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TestedInvariantJson {
    /// Identifies the invariant in this cluster, also in other outputs and in later runs.
    pub(crate) id: FindingId,
    /// The location of the invariant in the policy.
    pub(crate) location: LocationJson,
    /// The description of the invariant in the policy, or null if it has none.
    pub(crate) description: Option<String>,
    /// The invariant as text, such as `group developers must not be able to get secrets`.
    pub(crate) invariant: String,
    /// Whether it holds.
    pub(crate) result: TestResultJson,
    /// The subjects that violate it. Empty if it holds.
    pub(crate) violations: Vec<ViolationJson>,
}

/// Whether an invariant holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum TestResultJson {
    Passed,
    Violated,
}

impl TestDocument {
    /// Returns the invariants of plans that were made to test them.
    pub(crate) fn new(state: TestedStateJson, plans: &PlanDocument) -> Self {
        let clusters = plans.plans.iter().map(TestedClusterJson::new).collect();
        Self { format_version: FormatVersion, state, clusters }
    }

    /// Returns how many invariants have this result.
    pub(crate) fn count(&self, result: TestResultJson) -> usize {
        let invariants = self.clusters.iter().flat_map(|cluster| &cluster.invariants);
        invariants.filter(|invariant| invariant.result == result).count()
    }
}

impl TestedClusterJson {
    pub(crate) fn new(plan: &PlanJson) -> Self {
        let invariants = plan.invariants.iter().map(|invariant| {
            let id = invariant.id(plan.id_scope());
            let failed = plan.failed_invariants.iter().find(|failed| failed.location == invariant.location);
            TestedInvariantJson {
                id,
                location: invariant.location.clone(),
                description: invariant.description.clone(),
                invariant: invariant.sentence(),
                result: if failed.is_some() { TestResultJson::Violated } else { TestResultJson::Passed },
                violations: failed.map(|failed| failed.violations.clone()).unwrap_or_default(),
            }
        });
        Self {
            cluster: plan.cluster.clone(),
            name: plan.name.clone(),
            policy: plan.policy.clone(),
            invariants: invariants.collect(),
        }
    }
}
