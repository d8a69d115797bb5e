//! The result of `clusters`.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;

/// The output of `rolecall clusters -o json`: the EKS clusters of AWS accounts, and which of them are in the policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClustersDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One item for each account and region that was asked.
    scopes: Vec<ClusterScopeJson>,
}

impl ClustersDocument {
    pub(crate) fn new(scopes: Vec<ClusterScopeJson>) -> Self {
        Self { format_version: FormatVersion, scopes }
    }
}

/// The clusters of an account in a region.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterScopeJson {
    /// The AWS region.
    pub(crate) region: String,
    /// The AWS account.
    pub(crate) account: String,
    /// The profile of the AWS configuration files that has the credentials, if one was selected.
    pub(crate) profile: Option<String>,
    /// The clusters, by name.
    pub(crate) clusters: Vec<ListedClusterJson>,
    /// The clusters of the policy that do not exist there.
    pub(crate) missing: Vec<String>,
}

/// An EKS cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ListedClusterJson {
    /// The name of the cluster in EKS.
    pub(crate) name: String,
    /// Its names in the policy. Empty: it is not in the policy.
    pub(crate) policy_names: Vec<String>,
}
