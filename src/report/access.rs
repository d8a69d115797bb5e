//! The permissions of subjects, and how a plan changes them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{ObjectJson, SubjectJson};
use super::finding_id::FindingId;
use super::requests::RequestsJson;
use crate::plan::{AccessChange, AccessSeverity, AllowedRequests, EscalationSummary, GrantedBy, PermissionSummary};

/// How the plan changes what some subjects are allowed to do. Subjects with the same change are listed together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AccessChangeJson {
    /// The subjects whose access changes.
    #[schemars(length(min = 1))]
    pub(crate) subjects: Vec<SubjectJson>,
    /// The permissions that the subjects have after the plan and not before.
    pub(crate) gains: Vec<PermissionJson>,
    /// The permissions that the subjects have before the plan and not after.
    pub(crate) loses: Vec<PermissionJson>,
    /// The gains in few lines: a role that is gained as a whole is one line.
    #[serde(default)]
    pub(crate) gains_summary: Vec<PermissionSummaryJson>,
    /// The losses in few lines.
    #[serde(default)]
    pub(crate) loses_summary: Vec<PermissionSummaryJson>,
    /// Privilege escalation paths that the plan opens for them, the most severe first.
    pub(crate) escalations: Vec<EscalationJson>,
    /// The severity of the most that the subjects gain or lose. `critical`: everything, or an escalation path that leads
    /// to it. `high`: another escalation path. `medium`: wildcards, secrets or other sensitive access. `low`: the rest.
    pub(crate) severity: AccessSeverityJson,
}

/// How much access is gained or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum AccessSeverityJson {
    Low,
    Medium,
    High,
    Critical,
}

impl AccessSeverityJson {
    /// The name as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl From<AccessSeverity> for AccessSeverityJson {
    fn from(severity: AccessSeverity) -> Self {
        match severity {
            AccessSeverity::Low => Self::Low,
            AccessSeverity::Medium => Self::Medium,
            AccessSeverity::High => Self::High,
            AccessSeverity::Critical => Self::Critical,
        }
    }
}

impl AccessChangeJson {
    pub(super) fn new(cluster: &str, change: &AccessChange) -> Self {
        let AccessChange { subjects, diff, gain_summary, loss_summary } = change;
        let names: Vec<&str> = subjects.iter().map(|affected| affected.subject.as_str()).collect();
        let mut escalations: Vec<EscalationJson> =
            diff.escalations.iter().map(|summary| EscalationJson::new(cluster, &names, summary)).collect();
        escalations.sort_by_key(|escalation| Reverse(escalation.severity));
        let severities = escalations.iter().map(|escalation| escalation.severity);
        let severity = severities.fold(change.severity().into(), Ord::max);
        Self {
            subjects: subjects.iter().map(SubjectJson::from).collect(),
            gains: diff.gains.iter().map(PermissionJson::from).collect(),
            loses: diff.losses.iter().map(PermissionJson::from).collect(),
            gains_summary: gain_summary.iter().map(PermissionSummaryJson::from).collect(),
            loses_summary: loss_summary.iter().map(PermissionSummaryJson::from).collect(),
            escalations,
            severity,
        }
    }
}

/// A short description of one or several permissions, and what grants them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PermissionSummaryJson {
    /// The description, such as `ClusterRole edit in team-a` or `get, list pods in team-a`.
    pub(crate) text: String,
    /// The number of permissions that it stands for.
    pub(crate) permissions: usize,
    /// The bindings and roles that grant them, or that granted them before the change.
    pub(crate) granted_by: Vec<GrantSourceJson>,
}

impl From<&PermissionSummary> for PermissionSummaryJson {
    fn from(summary: &PermissionSummary) -> Self {
        Self {
            text: summary.text.clone(),
            permissions: summary.permissions,
            granted_by: summary.granted_by.iter().map(GrantSourceJson::from).collect(),
        }
    }
}

/// A set of requests that is allowed, and what grants it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PermissionJson {
    /// The requests as text, such as `get, list pods in team-a`.
    pub(crate) permission: String,
    /// The same permission as structured data.
    pub(crate) requests: RequestsJson,
    /// The bindings and roles that grant the permission, or that granted it before the change.
    pub(crate) granted_by: Vec<GrantSourceJson>,
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
pub(crate) enum GrantSourceJson {
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
    /// Identifies the same path in other outputs and in later runs: the cluster, the name, and what grants the path. If
    /// no binding grants it, the subjects.
    #[serde(default)]
    pub(crate) id: FindingId,
    /// The kind of the escalation path, such as `nodes-proxy`. Stable across versions.
    pub(crate) name: String,
    /// A description: the permission that opens the path and the access it leads to.
    pub(crate) path: String,
    /// `critical` if the path leads to everything in the cluster.
    pub(crate) severity: AccessSeverityJson,
    /// The bindings and roles that grant the path. Of the RoleBindings with one name, one namespace. Empty if the path
    /// follows from the username or a group of the subject.
    #[serde(default)]
    pub(crate) granted_by: Vec<GrantSourceJson>,
}

impl EscalationJson {
    /// `cluster` is its name, and `subjects` are those that have the path.
    pub(crate) fn new(cluster: &str, subjects: &[&str], summary: &EscalationSummary) -> Self {
        let EscalationSummary { name, path, granted_by } = summary;
        let grants: Vec<String> = granted_by.iter().map(ToString::to_string).collect();
        let mut parts = vec![cluster, name.as_str()];
        if grants.is_empty() {
            let sorted: BTreeSet<&str> = subjects.iter().copied().collect();
            parts.extend(sorted);
        } else {
            parts.extend(grants.iter().map(String::as_str));
        }
        Self {
            id: FindingId::new("escalation", &parts),
            name: name.clone(),
            path: path.clone(),
            severity: summary.severity().into(),
            granted_by: granted_by.iter().map(GrantSourceJson::from).collect(),
        }
    }
}
