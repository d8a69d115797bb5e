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
    /// The identity of the AWS credentials by STS. Null if the connection uses other credentials, or STS does not answer.
    pub(crate) iam_identity: Option<IamIdentityJson>,
    /// The user, or null for a snapshot, which has no caller.
    pub(crate) user_info: Option<UserInfoJson>,
    /// What maps the IAM identity to the user.
    pub(crate) mapped_by: MappedByJson,
    /// The authentication mode of the cluster, such as `CONFIG_MAP`. Null if EKS was not asked.
    pub(crate) authentication_mode: Option<String>,
    /// The requests of `plan` that the cluster denies. Empty: you may plan. Null: the cluster does not say.
    pub(crate) denied_for_plan: Option<Vec<String>>,
    /// The requests of every `apply` that the cluster denies. `permissions --check` has those that depend on the policy.
    pub(crate) denied_for_apply: Option<Vec<String>>,
}

/// An IAM identity.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IamIdentityJson {
    /// The ARN as STS reports it.
    pub(crate) arn: String,
    /// The ARN that the authenticator looks up in aws-auth: that of the role for a session.
    pub(crate) canonical_arn: Option<String>,
    /// The AWS account.
    pub(crate) account: String,
    /// The unique ID of the principal, followed by `:` and the name of the session for a role.
    pub(crate) user_id: String,
    /// The name of the session of a role.
    pub(crate) session: Option<String>,
}

/// What maps an IAM identity to a user of the cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum MappedByJson {
    /// An entry of aws-auth.
    AwsAuth {
        /// `mapRoles`, `mapUsers` or `mapAccounts`.
        section: &'static str,
        /// The principal as the entry has it.
        principal: String,
        /// The line of the entry in its section, if the section can be parsed.
        line: Option<usize>,
    },
    /// An access entry.
    AccessEntry {
        /// The ARN of the principal as the entry has it.
        principal: String,
    },
    /// No entry: the identity created the cluster, or has an access entry that is not known.
    NoEntry,
    /// aws-auth or the access entries cannot be read, or several entries match.
    Unknown,
    /// The caller is not an IAM identity.
    NotIam,
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
