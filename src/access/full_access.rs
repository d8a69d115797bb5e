//! The entries and bindings that grant everything in the cluster.

use super::access_view::AccessView;
use super::effective_permissions::EffectivePermissions;
use super::escalation::paths_of_permissions;
use super::escalation_rules::FULL_ADMIN;
use super::identity::{Identity, SubjectQuery};
use super::identity_mapping::EntryRef;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::rbac::Subject;

/// A grant of everything in the cluster.
#[derive(Debug)]
pub(crate) enum FullAccessGrant<'s> {
    /// The aws-auth entry puts the principal into `system:masters`.
    Entry(SubjectQuery, EntryRef),
    /// The ClusterRoleBinding binds a role, or the access entry has an access policy, with every verb on every resource.
    Binding(&'s ObjectKey, &'s [Subject]),
}

/// Returns the entries of `system:masters`, and the ClusterRoleBindings and associations that grant every permission.
pub(crate) fn full_access_grants<'s>(access: &AccessView<'s>) -> Vec<FullAccessGrant<'s>> {
    let mut grants = Vec::new();
    for principal in access.principals() {
        let identities = principal.authentication.identities().filter(|identity| identity.is_in_system_masters());
        let entries = identities.filter_map(Identity::entry);
        grants.extend(entries.map(|entry| FullAccessGrant::Entry(principal.subject.clone(), entry.clone())));
    }
    let state = access.grants.state;
    for (key, binding) in state.all_bindings() {
        let is_cluster_wide = match key.kind() {
            ObjectKind::ClusterRoleBinding => true,
            ObjectKind::AccessPolicyAssociation => binding.namespaces.is_none(),
            _ => false,
        };
        let Some(first) = binding.subjects.first().filter(|_| is_cluster_wide) else {
            continue;
        };
        let mut rules = access.effective_rules(&SubjectQuery::from_subject(first));
        rules.retain(|rule| rule.path.binding == key);
        let permissions = EffectivePermissions::new(&state.resources, false, rules);
        if paths_of_permissions(&permissions).iter().any(|path| path.name() == FULL_ADMIN.name) {
            grants.push(FullAccessGrant::Binding(key, &binding.subjects));
        }
    }
    grants
}
