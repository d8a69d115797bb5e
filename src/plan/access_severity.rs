//! How much access a change grants or removes. The most comes first in a plan and is never cut from its text, since a
//! reviewer reads the beginning of a long plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{AccessChange, AllowedRequests, Change, ChangeTarget, DiffOp, EscalationSummary, GrantedBy};
use crate::access::{MASTERS, ProductSetData, ResourceSetData, StringSetData};
use crate::names::ObjectKey;

/// How much access a change grants or removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccessSeverity {
    /// Named resources.
    #[default]
    Low,
    /// Wildcards, secrets, or requests that lead to other access.
    Medium,
    /// A privilege escalation path.
    High,
    /// Everything.
    Critical,
}

/// Verbs and resources with which a subject can get other access, or read credentials.
const SENSITIVE_VERBS: [&str; 4] = ["impersonate", "bind", "escalate", "approve"];
const SENSITIVE_RESOURCES: [&str; 10] = [
    "secrets",
    "serviceaccounts",
    "nodes",
    "configmaps",
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
];
const SENSITIVE_SUBRESOURCES: [&str; 6] = ["exec", "attach", "portforward", "proxy", "token", "ephemeralcontainers"];

fn lists_any(set: &StringSetData, names: &[&str]) -> bool {
    match set {
        StringSetData::Only(listed) => listed.iter().any(|listed| names.contains(&listed.as_str())),
        StringSetData::AllBut(_) => false,
    }
}

fn is_all(set: &StringSetData) -> bool {
    matches!(set, StringSetData::AllBut(_))
}

impl AllowedRequests {
    pub(super) fn severity(&self) -> AccessSeverity {
        if self.granted_by.iter().any(|source| matches!(source, GrantedBy::Group { .. })) {
            return AccessSeverity::Critical;
        }
        let (has_all_verbs, has_all_targets, is_sensitive) = match &self.requests.set {
            ProductSetData::Objects { verbs, api_groups: _, resources, resource_names: _, namespaces } => {
                let is_sensitive = |resources: &ResourceSetData| {
                    lists_any(&resources.names, &SENSITIVE_RESOURCES)
                        || lists_any(&resources.subresources, &SENSITIVE_SUBRESOURCES)
                };
                let has_all_resources = resources.iter().any(|resources| is_all(&resources.names));
                let is_sensitive =
                    has_all_resources || lists_any(verbs, &SENSITIVE_VERBS) || resources.iter().any(is_sensitive);
                (is_all(verbs), has_all_resources && is_all(namespaces), is_sensitive)
            }
            ProductSetData::Urls { verbs, .. } => (is_all(verbs), false, false),
        };
        match (has_all_verbs, has_all_targets) {
            (true, true) => AccessSeverity::Critical,
            (true, false) | (false, true) => AccessSeverity::Medium,
            (false, false) if is_sensitive => AccessSeverity::Medium,
            (false, false) => AccessSeverity::Low,
        }
    }
}

/// Escalation rules that lead to everything in the cluster. The others lead to the access of one namespace or of the
/// objects that they name.
const CLUSTER_WIDE_ESCALATIONS: [&str; 17] = [
    "full-admin",
    MASTERS,
    "aws-auth",
    "escalate-cluster-roles",
    "bind-cluster-wide",
    "impersonate",
    "impersonate-groups",
    "impersonate-constrained",
    "impersonate-constrained-nodes",
    "certificates",
    "webhooks",
    "mutating-admission-policies",
    "api-services",
    "nodes-proxy",
    "volumes",
    "reserved-username",
    "session-chosen-name",
];

impl EscalationSummary {
    pub(crate) fn severity(&self) -> AccessSeverity {
        if CLUSTER_WIDE_ESCALATIONS.contains(&self.name.as_str()) {
            AccessSeverity::Critical
        } else {
            AccessSeverity::High
        }
    }
}

impl AccessChange {
    pub(crate) fn severity(&self) -> AccessSeverity {
        let allowed = self.diff.gains.iter().chain(&self.diff.losses);
        let severity = allowed.map(AllowedRequests::severity).max().unwrap_or_default();
        if self.diff.escalations.is_empty() { severity } else { severity.max(AccessSeverity::High) }
    }
}

impl Change {
    /// Returns the severity as far as the change itself shows it, without the objects that refer to it.
    fn own_severity(&self) -> AccessSeverity {
        let mut wildcards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut severity = AccessSeverity::Low;
        for field in &self.fields {
            let (Some(parent), Some(label)) = (field.path.first(), field.path.last()) else {
                continue;
            };
            for value in field.values.iter().filter(|value| value.op != DiffOp::Keep) {
                let is_everything = match label.as_str() {
                    "groups" => value.value == MASTERS,
                    "roleRef" => value.value.ends_with("cluster-admin"),
                    _ => false,
                };
                if is_everything {
                    return AccessSeverity::Critical;
                }
            }
            if field.values.iter().any(|value| value.value == "*") {
                wildcards.entry(parent).or_default().insert(label);
                severity = AccessSeverity::Medium;
            }
        }
        let is_everything = |labels: &BTreeSet<&str>| labels.contains("verbs") && labels.contains("resources");
        if wildcards.values().any(is_everything) { AccessSeverity::Critical } else { severity }
    }
}

/// Returns the severity of each change: its own, and that of the access that its object or entry gives or gave.
pub(crate) fn change_severities(changes: &[Change], access: &[AccessChange]) -> Vec<AccessSeverity> {
    let mut objects: BTreeMap<&ObjectKey, AccessSeverity> = BTreeMap::new();
    let mut subjects: BTreeMap<String, AccessSeverity> = BTreeMap::new();
    for change in access {
        let severity = change.severity();
        for affected in &change.subjects {
            let known = subjects.entry(affected.subject.to_lowercase()).or_default();
            *known = severity.max(*known);
        }
        for allowed in change.diff.gains.iter().chain(&change.diff.losses) {
            let severity = if severity == AccessSeverity::High { severity } else { allowed.severity() };
            for source in &allowed.granted_by {
                if let GrantedBy::Binding { binding, role } = source {
                    for key in [binding, role] {
                        let known = objects.entry(key).or_default();
                        *known = severity.max(*known);
                    }
                }
            }
        }
    }
    let related = |change: &Change| match &change.target {
        ChangeTarget::Object(key) => objects.get(key).copied(),
        ChangeTarget::Entry { principal, .. } => subjects.get(&principal.to_lowercase()).copied(),
    };
    changes.iter().map(|change| change.own_severity().max(related(change).unwrap_or_default())).collect()
}

/// Moves the severe changes to the front. The others keep their order.
pub(crate) fn sort_severe_changes_first(changes: &mut Vec<Change>, access: &[AccessChange]) {
    let severities = change_severities(changes, access);
    let mut sorted: Vec<(Change, AccessSeverity)> = std::mem::take(changes).into_iter().zip(severities).collect();
    sorted.sort_by_key(|(_, severity)| Reverse((*severity).max(AccessSeverity::Medium)));
    *changes = sorted.into_iter().map(|(change, _)| change).collect();
}
