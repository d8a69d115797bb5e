//! The result of `whoami`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;

/// The output of `rolecall whoami -o json`: the user that each cluster authenticates you as.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WhoamiDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One item for each cluster that was asked.
    clusters: Vec<WhoamiClusterJson>,
}

impl WhoamiDocument {
    pub(crate) fn new(clusters: Vec<WhoamiClusterJson>) -> Self {
        Self { format_version: FormatVersion, clusters }
    }
}

/// A cluster and its answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WhoamiClusterJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The user, or null for a snapshot, which has no caller.
    pub(crate) user_info: Option<UserInfoJson>,
}

/// The user as a SelfSubjectReview describes it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct UserInfoJson {
    /// The user name. It can be empty: the authenticator accepts entries without one.
    pub(crate) username: String,
    /// The groups of the aws-auth entry or access entry, and those that the API server adds.
    pub(crate) groups: Vec<String>,
    /// Extra fields set by the authenticator. On EKS, they include `arn` and `canonicalArn`.
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}
