//! The first document of a backup file. The Kubernetes objects follow it.

use serde::{Deserialize, Serialize};

use super::InvalidDocument;
use super::common::ObjectJson;
use super::plan::ConnectionJson;
use crate::names::ObjectKey;

/// The `apiVersion` of the document. It is raised when an older rolecall would misread it.
pub(crate) const BACKUP_VERSION: &str = "rolecall/v2";

/// The header that `apply --backup` writes before the objects: the cluster, and the objects that did not exist.
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
    /// The objects that did not exist: `restore` deletes them.
    absent: Vec<ObjectJson>,
}

impl BackupDocument {
    /// The `kind` of the document.
    pub(crate) const KIND: &str = "Backup";

    pub(crate) fn new(
        policy: &str,
        (cluster, name): (&str, Option<&str>),
        connection: ConnectionJson,
        cluster_uid: Option<&str>,
        absent: &[&ObjectKey],
    ) -> Self {
        Self {
            api_version: BACKUP_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            policy: policy.to_owned(),
            cluster: cluster.to_owned(),
            name: name.map(str::to_owned),
            connection,
            cluster_uid: cluster_uid.map(str::to_owned),
            absent: absent.iter().map(|key| ObjectJson::from(*key)).collect(),
        }
    }

    /// Returns the objects that did not exist.
    ///
    /// # Errors
    /// If an object has a namespace and its kind is cluster-scoped, or the other way round.
    pub(crate) fn absent(&self) -> Result<Vec<ObjectKey>, InvalidDocument> {
        self.absent.iter().cloned().map(ObjectKey::try_from).collect()
    }
}
