//! The first document of a backup file. The Kubernetes objects follow it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::content_digest;
use super::guard::{InvariantJson, LimitsJson};
use super::plan::ConnectionJson;
use super::step::StepJson;
use super::{InvalidDocument, SerializeError, to_value};
use crate::plan::{GuardLimits, Plan, ResolvedInvariant, Step};
use crate::policy::DEFAULT_TOKEN_CACHE;
use crate::yaml;

/// The `apiVersion` of the document. It is raised when an older rolecall would misread it.
pub(crate) const BACKUP_VERSION: &str = "rolecall/v4";

/// The header that `apply --backup` writes before the objects: the cluster, the writes of the apply, and the limits and
/// invariants of the policy. An object of a write that is not in the file did not exist.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BackupDocument {
    /// The version of the format of backups.
    #[serde(rename = "apiVersion")]
    #[schemars(extend("const" = BACKUP_VERSION))]
    api_version: String,
    /// Always `Backup`.
    #[schemars(extend("const" = "Backup"))]
    kind: String,
    /// The name of the policy.
    pub(crate) policy: String,
    /// The cluster as the terminal shows it.
    pub(crate) cluster: String,
    /// The name of the cluster in the policy.
    pub(crate) name: Option<String>,
    /// How rolecall connected to the cluster.
    pub(crate) connection: ConnectionJson,
    /// The uid of the namespace kube-system, which identifies the cluster. Null if a snapshot lacks it.
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
    /// SHA-256 of the JSON list of this document without this key and the objects after it. `restore` refuses a file that
    /// was changed.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    content_digest: String,
}

/// The parts of a backup that `restore` plans with.
pub(crate) struct BackupContent {
    pub(crate) limits: GuardLimits,
    pub(crate) invariants: Vec<ResolvedInvariant>,
    pub(crate) steps: Vec<Step>,
    pub(crate) token_cache: Duration,
}

/// Returns the value as `restore` reads it from the YAML text, in which the keys can have another order.
fn read_back(value: &Value) -> Result<Value, SerializeError> {
    let documents = yaml::parse_documents(&yaml::to_yaml(value));
    let document = documents.ok().and_then(|documents| documents.into_iter().next());
    let read = document.and_then(|document| document.to_json().ok());
    Ok(read.ok_or_else(|| serde_json::Error::custom("a document of the backup cannot be read back"))?)
}

impl BackupDocument {
    /// The `kind` of the document.
    pub(crate) const KIND: &str = "Backup";

    /// `objects` follow the document in the file.
    ///
    /// # Errors
    /// If serde cannot serialize the document.
    pub(crate) fn new(
        plan: &Plan,
        (cluster, name): (&str, Option<&str>),
        connection: ConnectionJson,
        objects: &[Value],
    ) -> Result<Self, SerializeError> {
        let mut document = Self {
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
            content_digest: String::new(),
        };
        let objects = objects.iter().map(read_back).collect::<Result<Vec<Value>, _>>()?;
        document.content_digest = content_digest(&read_back(&to_value(&document)?)?, &objects)?;
        Ok(document)
    }

    /// Returns whether the file is as it was written: `value`, from which this document was read, and the objects.
    ///
    /// # Errors
    /// If serde cannot serialize the document.
    pub(crate) fn is_unchanged(&self, value: &Value, objects: &[Value]) -> Result<bool, SerializeError> {
        Ok(self.content_digest == content_digest(value, objects)?)
    }

    /// The writes of the apply as text, in their order.
    pub(crate) fn step_reasons(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.reason.as_str())
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
