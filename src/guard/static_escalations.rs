//! The privilege escalation paths that a policy grants by itself, whatever else a cluster contains.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::static_check::{StaticCluster, cluster_names};
use crate::access::{
    AccessView, Aggregation, EscalationPath, GrantSource, Identity, SubjectQuery, all_escalation_paths,
};
use crate::diagnostic::{Diagnostic, SourceLocation};
use crate::plan::{AffectedSubject, EscalationSummary, GrantedBy};
use crate::policy::{ManagedBy, Policy};

/// A privilege escalation path, and the subjects that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyEscalation {
    pub(crate) summary: EscalationSummary,
    pub(crate) subjects: Vec<AffectedSubject>,
    /// The line of the policy that grants it.
    pub(crate) location: Option<SourceLocation>,
}

/// What makes two paths the same: the name and what grants it, or the subject if nothing does.
type EscalationKey = (String, Vec<GrantedBy>, Option<String>);

/// Returns the paths in all clusters of the policy, each once.
///
/// # Errors
/// If planning fails because of a bug.
pub(crate) fn find_escalations_statically(
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<PolicyEscalation>, Vec<Diagnostic>> {
    let mut found: Vec<PolicyEscalation> = Vec::new();
    let mut positions: BTreeMap<EscalationKey, usize> = BTreeMap::new();
    for cluster in cluster_names(policy) {
        let Some(of_cluster) = StaticCluster::new(policy, cluster, now)? else {
            continue;
        };
        let access = AccessView::new(&of_cluster.after, Aggregation::Reconciled);
        for (subject, paths) in all_escalation_paths(&access) {
            let name = of_cluster.policy_index.principal_name(&subject).map(str::to_owned);
            let affected = AffectedSubject { subject: subject.to_string(), name };
            for path in paths {
                let summary = EscalationSummary::from_path(&path);
                let of_subject = summary.granted_by.is_empty().then(|| affected.subject.clone());
                let key = (summary.name.clone(), summary.granted_by.clone(), of_subject);
                let position = *positions.entry(key).or_insert_with(|| {
                    let location = of_cluster.location(&access, &subject, &path);
                    found.push(PolicyEscalation { summary, subjects: Vec::new(), location });
                    found.len() - 1
                });
                if let Some(known) = found.get_mut(position)
                    && !known.subjects.contains(&affected)
                {
                    known.subjects.push(affected.clone());
                }
            }
        }
    }
    Ok(found)
}

impl StaticCluster {
    /// Returns the line of the binding or role that grants the path, or of the aws-auth entry.
    fn location(
        &self,
        access: &AccessView<'_>,
        subject: &SubjectQuery,
        path: &EscalationPath<'_>,
    ) -> Option<SourceLocation> {
        let of_objects = match path {
            EscalationPath::Rules { granted_by, .. } => granted_by.iter().find_map(|source| match source {
                GrantSource::Path(path) => [path.binding, path.role]
                    .into_iter()
                    .find_map(|key| location_of(self.policy_index.managed_by(&self.after, key))),
                GrantSource::SystemMasters => None,
            }),
            EscalationPath::Identity(_) => None,
        };
        of_objects.or_else(|| {
            let entry_marks = self.after.entry_marks();
            let authentication = access.authenticate(subject);
            authentication
                .identities()
                .filter_map(Identity::entry)
                .find_map(|entry| location_of(self.policy_index.entry_managed_by(&self.after, &entry_marks, entry)))
        })
    }
}

fn location_of(managed_by: ManagedBy) -> Option<SourceLocation> {
    match managed_by {
        ManagedBy::Location(location) => Some(location),
        ManagedBy::Policy(_) | ManagedBy::Unmanaged => None,
    }
}
