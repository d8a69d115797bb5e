//! The permissions of subjects, and how a plan changes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{ObjectJson, SubjectJson};
use super::requests::RequestsJson;
use crate::plan::{AccessChange, AllowedRequests, EscalationSummary, GrantedBy};

/// How the plan changes what some subjects are allowed to do. Subjects with the same change are listed together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AccessChangeJson {
    /// The subjects whose access changes.
    #[schemars(length(min = 1))]
    pub(super) subjects: Vec<SubjectJson>,
    /// The permissions that the subjects have after the plan and not before.
    pub(super) gains: Vec<PermissionJson>,
    /// The permissions that the subjects have before the plan and not after.
    pub(super) loses: Vec<PermissionJson>,
    /// Privilege escalation paths that the plan opens for them.
    pub(super) escalations: Vec<EscalationJson>,
}

impl From<&AccessChange> for AccessChangeJson {
    fn from(change: &AccessChange) -> Self {
        let AccessChange { subjects, diff } = change;
        Self {
            subjects: subjects.iter().map(SubjectJson::from).collect(),
            gains: diff.gains.iter().map(PermissionJson::from).collect(),
            loses: diff.losses.iter().map(PermissionJson::from).collect(),
            escalations: diff.escalations.iter().map(EscalationJson::from).collect(),
        }
    }
}

/// A set of requests that is allowed, and what grants it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PermissionJson {
    /// The requests as text, such as `get, list pods in team-a`.
    pub(super) permission: String,
    /// The same permission as structured data.
    pub(super) requests: RequestsJson,
    /// The bindings and roles that grant the permission, or that granted it before the change.
    pub(super) granted_by: Vec<GrantSourceJson>,
}

impl From<&AllowedRequests> for PermissionJson {
    fn from(allowed: &AllowedRequests) -> Self {
        let AllowedRequests { summary, requests, granted_by } = allowed;
        Self {
            permission: summary.clone(),
            requests: requests.into(),
            granted_by: granted_by.iter().map(GrantSourceJson::from).collect(),
        }
    }
}

/// A group that RBAC does not restrict, or a binding and its role.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum GrantSourceJson {
    Group {
        /// `system:masters`: the API server allows everything without asking RBAC.
        group: String,
    },
    Binding {
        /// The RoleBinding or ClusterRoleBinding.
        binding: ObjectJson,
        /// The Role or ClusterRole that it binds.
        role: ObjectJson,
    },
}

impl From<&GrantedBy> for GrantSourceJson {
    fn from(source: &GrantedBy) -> Self {
        match source {
            GrantedBy::Group { group } => Self::Group { group: group.clone() },
            GrantedBy::Binding { binding, role } => Self::Binding { binding: binding.into(), role: role.into() },
        }
    }
}

/// A privilege escalation path.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EscalationJson {
    /// The kind of the escalation path, such as `nodes-proxy`. Stable across versions.
    pub(super) name: String,
    /// A description: the permission that opens the path and the access it leads to.
    pub(super) path: String,
}

impl From<&EscalationSummary> for EscalationJson {
    fn from(summary: &EscalationSummary) -> Self {
        let EscalationSummary { name, path } = summary;
        Self { name: name.clone(), path: path.clone() }
    }
}
