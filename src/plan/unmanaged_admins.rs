//! The subjects that can do everything in a cluster, and that no policy manages.

use std::collections::BTreeSet;

use crate::access::{AccessView, FullAccessGrant, SubjectQuery, full_access_grants};
use crate::policy::{ManagedBy, PolicyIndex};
use crate::state::owner::is_built_in;

/// Returns the principals that an aws-auth entry without a policy puts into `system:masters`, and the subjects of
/// ClusterRoleBindings without a policy that grant everything. What Kubernetes and EKS install does not count.
pub(crate) fn unmanaged_admins(access: &AccessView<'_>, policy_index: &PolicyIndex) -> BTreeSet<String> {
    let state = access.state();
    let entry_marks = state.entry_marks();
    let mut admins = BTreeSet::new();
    for grant in full_access_grants(access) {
        match grant {
            FullAccessGrant::Entry(subject, entry) => {
                if policy_index.entry_managed_by(state, &entry_marks, &entry) == ManagedBy::Unmanaged {
                    admins.insert(subject.to_string());
                }
            }
            FullAccessGrant::Binding(key, subjects) => {
                if policy_index.managed_by(state, key) == ManagedBy::Unmanaged && !is_built_in(key) {
                    admins.extend(subjects.iter().map(|subject| SubjectQuery::from_subject(subject).to_string()));
                }
            }
        }
    }
    admins
}
