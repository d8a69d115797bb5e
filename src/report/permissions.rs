//! The result of `permissions --check`.

use schemars::JsonSchema;
use serde::Serialize;

use super::FormatVersion;
use super::common::RuleJson;
use crate::permissions::MissingPermission;

/// The output of `rolecall permissions --check -o json`: the permissions that the caller lacks. Without `--check`
/// the command prints a Kubernetes List of objects.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PermissionsDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// One item for each cluster.
    clusters: Vec<PermissionsCheckJson>,
}

impl PermissionsDocument {
    pub(crate) fn new(clusters: Vec<PermissionsCheckJson>) -> Self {
        Self { format_version: FormatVersion, clusters }
    }
}

/// The permissions that the caller lacks in one cluster.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PermissionsCheckJson {
    /// The cluster as the terminal shows it, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: String,
    /// The command that needs the permissions.
    pub(crate) command: CommandJson,
    /// The permissions that the caller lacks. Empty: it has all of them.
    pub(crate) missing: Vec<MissingPermissionJson>,
}

/// A command that needs permissions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum CommandJson {
    Plan,
    Drift,
    Apply,
}

/// A request that the API server does not allow the caller, or will not allow when it is made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MissingPermissionJson {
    /// The request, such as `patch configmaps named aws-auth in kube-system`.
    request: String,
    /// The request is not needed if the caller has all of these rules itself. Empty: there is no alternative.
    alternative_rules: Vec<RuleJson>,
    /// Whether the caller has the permission now, and the plan takes it away before the write that needs it.
    revoked_by_plan: bool,
}

impl From<&MissingPermission> for MissingPermissionJson {
    fn from(permission: &MissingPermission) -> Self {
        let MissingPermission { request, missing_rules, step: _, is_revoked_by_plan } = permission;
        Self {
            request: request.to_string(),
            alternative_rules: missing_rules.iter().map(RuleJson::from).collect(),
            revoked_by_plan: *is_revoked_by_plan,
        }
    }
}
