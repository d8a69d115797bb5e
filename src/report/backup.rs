//! The first document of a backup file. The Kubernetes objects follow it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::InvalidDocument;
use super::guard::{InvariantJson, LimitsJson};
use super::plan::ConnectionJson;
use super::step::StepJson;
use crate::plan::{GuardLimits, Plan, ResolvedInvariant, Step};
use crate::policy::DEFAULT_TOKEN_CACHE;

/// The `apiVersion` of the document. It is raised when an older rolecall would misread it.
pub(crate) const BACKUP_VERSION: &str = "rolecall/v3";

/// The header that `apply --backup` writes before the objects: the cluster, the writes of the apply, and the limits and
/// invariants of the policy. An object of a write that is not in the file did not exist.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BackupDocument {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    /// The name of the policy.
    pub(crate) policy: String,
    /// The cluster as the terminal shows it.
    pub(crate) cluster: String,
    /// The name of the cluster in the policy.
    pub(crate) name: Option<String>,
    pub(crate) connection: ConnectionJson,
    pub(crate) cluster_uid: Option<String>,
    /// The limits in the `[guard]` table of the policy. `restore` enforces them without the policy.
    limits: LimitsJson,
    /// The invariants of the policy for this cluster. `restore` enforces them without the policy.
    invariants: Vec<InvariantJson>,
    /// The writes of the apply, which `restore` takes back.
    steps: Vec<StepJson>,
    /// How long an API server keeps the username and the groups of a token, in seconds. A backup of an older rolecall
    /// has no value.
    token_cache: Option<u64>,
}

/// The parts of a backup that `restore` plans with.
pub(crate) struct BackupContent {
    pub(crate) limits: GuardLimits,
    pub(crate) invariants: Vec<ResolvedInvariant>,
    pub(crate) steps: Vec<Step>,
    pub(crate) token_cache: Duration,
}

impl BackupDocument {
    /// The `kind` of the document.
    pub(crate) const KIND: &str = "Backup";

    pub(crate) fn new(plan: &Plan, (cluster, name): (&str, Option<&str>), connection: ConnectionJson) -> Self {
        Self {
            api_version: BACKUP_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            policy: plan.policy.clone(),
            cluster: cluster.to_owned(),
            name: name.map(str::to_owned),
            connection,
            cluster_uid: plan.cluster_uid.clone(),
            limits: (&plan.limits).into(),
            invariants: plan.invariants.iter().map(InvariantJson::from).collect(),
            steps: plan.steps.iter().map(StepJson::from).collect(),
            token_cache: Some(plan.token_cache.as_secs()),
        }
    }

    /// Returns the limits, the invariants and the writes.
    ///
    /// # Errors
    /// If one of them is invalid, for example an object that has a namespace although its kind is cluster-scoped.
    pub(crate) fn content(&self) -> Result<BackupContent, InvalidDocument> {
        Ok(BackupContent {
            limits: self.limits.clone().into(),
            invariants: self.invariants.iter().cloned().map(ResolvedInvariant::try_from).collect::<Result<_, _>>()?,
            steps: self.steps.iter().cloned().map(Step::try_from).collect::<Result<_, _>>()?,
            token_cache: self.token_cache.map_or(DEFAULT_TOKEN_CACHE, Duration::from_secs),
        })
    }
}
