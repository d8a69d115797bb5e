//! Items for some of the clusters that name items for others.
//!
//! In a cluster that has one of the two alone the reference is dropped: a binding there does not name the group, a
//! group there does not have the member. That is what filters are for. A reference that no cluster has both ends of
//! would never count, and is a fault. A role that the policy defines elsewhere may be the cluster's own.

use std::collections::BTreeMap;

use super::clusters::{applies_to_cluster, selected_clusters};
use super::error::{Diagnostics, PolicyError};
use super::model::{
    BindingSpec, ClusterFilter, ClusterSpec, IdentitySpec, Located, NamespaceSelector, Policy, RoleRefSpec,
};
use super::table::quote_key;
use crate::diagnostic::Span;

/// The clusters of a policy, to hold filters against.
struct PolicyClusters<'a>(&'a BTreeMap<String, ClusterSpec>);

impl PolicyClusters<'_> {
    fn has_any(&self, filter: &ClusterFilter) -> bool {
        selected_clusters(filter.as_deref(), self.0).into_iter().any(|cluster| cluster.is_some())
    }

    fn has_common(&self, one: &ClusterFilter, other: &ClusterFilter) -> bool {
        one.is_none()
            || other.is_none()
            || self.0.keys().any(|name| {
                applies_to_cluster(one.as_deref(), Some(name)) && applies_to_cluster(other.as_deref(), Some(name))
            })
    }
}

fn format_filter(filter: &ClusterFilter) -> String {
    let names = filter.iter().flatten().map(|name| format!("`{}`", name.value));
    names.collect::<Vec<_>>().join(", ")
}

/// One end of a reference: the table that makes it, and what its filter is.
struct ReferenceSource<'a> {
    section: &'static str,
    name: &'a str,
    clusters: &'a ClusterFilter,
}

pub(super) fn check_common_clusters(policy: &Policy, faults: &mut Diagnostics) {
    let clusters = PolicyClusters(&policy.clusters);
    let mut meet = |from: &ReferenceSource<'_>, to: &Located<String>, of: Option<(&ClusterFilter, Span)>| {
        let Some((its, span)) = of else { return };
        // A filter that names no cluster of the policy is a fault of its own.
        if clusters.has_common(from.clusters, its) || !clusters.has_any(from.clusters) || !clusters.has_any(its) {
            return;
        }
        let fault = PolicyError::NoCommonCluster {
            name: to.value.clone(),
            name_clusters: format_filter(its),
            table: format!("{}.{}", from.section, quote_key(from.name)),
            table_clusters: format_filter(from.clusters),
        };
        faults.push_labeled(fault, to.span, "", &[(span, "defined here")]);
    };
    let group = |name: &Located<String>| policy.groups.get(&name.value).map(|group| (&group.clusters, group.span));
    let principal = |name: &Located<String>| {
        policy.principals.get(&name.value).map(|principal| (&principal.clusters, principal.span))
    };
    for (name, item) in &policy.groups {
        let from = ReferenceSource { section: "groups", name, clusters: &item.clusters };
        item.members.iter().for_each(|member| meet(&from, member, principal(member)));
    }
    for (name, item) in &policy.principals {
        let from = ReferenceSource { section: "principals", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| meet(&from, to, group(to)));
    }
    for (name, item) in &policy.bindings {
        let from = ReferenceSource { section: "bindings", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| meet(&from, to, group(to)));
        item.principals.iter().for_each(|to| meet(&from, to, principal(to)));
    }
}

pub(super) fn check_bound_roles(policy: &Policy, faults: &mut Diagnostics) {
    for (name, binding) in &policy.bindings {
        let (kind, role, its, span) = match &binding.role.value {
            RoleRefSpec::ClusterRole(role) => match policy.cluster_roles.get(role) {
                Some(item) => ("ClusterRole", role, &item.clusters, item.span),
                None => continue,
            },
            RoleRefSpec::Role(role) => match policy.roles.get(role) {
                Some(item) => {
                    check_role_namespaces(name, binding, (role, &item.namespaces), faults);
                    ("Role", role, &item.clusters, item.span)
                }
                None => continue,
            },
        };
        if its.is_none() {
            continue;
        }
        let elsewhere: Vec<String> = selected_clusters(binding.clusters.as_deref(), &policy.clusters)
            .into_iter()
            .flatten()
            .filter(|cluster| !applies_to_cluster(its.as_deref(), Some(cluster)))
            .map(|cluster| format!("`{cluster}`"))
            .collect();
        if !elsewhere.is_empty() {
            let fault = PolicyError::RoleNotInCluster { kind, name: role.clone(), clusters: elsewhere.join(", ") };
            faults.push_labeled(fault, binding.role.span, "", &[(span, "defined here")]);
        }
    }
}

/// What names and globs leave out is known without a cluster; what labels mean is not.
fn check_role_namespaces(
    name: &str,
    binding: &BindingSpec,
    (role, made): (&str, &[Located<NamespaceSelector>]),
    faults: &mut Diagnostics,
) {
    let covers = |namespace: &str| {
        made.iter().any(|selector| match &selector.value {
            NamespaceSelector::Name(name) => name == namespace,
            NamespaceSelector::Glob(glob) => glob.matches(namespace),
            NamespaceSelector::Labels(_) => true,
        })
    };
    for selector in binding.namespaces.iter().flatten() {
        if let NamespaceSelector::Name(namespace) = &selector.value
            && !made.is_empty()
            && !covers(namespace)
        {
            let fault = PolicyError::RoleNotInNamespace {
                binding: format!("bindings.{}", quote_key(name)),
                role: role.to_owned(),
                namespace: namespace.clone(),
            };
            let places: Vec<_> = made.iter().map(|selector| (selector.span, "made here")).collect();
            faults.push_labeled(fault, selector.span, "", &places);
        }
    }
}

/// An ARN of one partition is never met in a cluster of another.
pub(super) fn check_partitions(policy: &Policy, faults: &mut Diagnostics) {
    for (name, principal) in &policy.principals {
        let its = match &principal.identity.value {
            IdentitySpec::Arn(arn) => arn.partition(),
            IdentitySpec::Sso { partition: Some(partition), .. } => partition,
            IdentitySpec::Sso { partition: None, .. }
            | IdentitySpec::Role(_)
            | IdentitySpec::User(_)
            | IdentitySpec::Account(_) => {
                continue;
            }
        };
        let other = selected_clusters(principal.clusters.as_deref(), &policy.clusters).into_iter().flatten().find_map(
            |cluster| {
                let wanted = policy.clusters.get(cluster)?.partition?;
                (wanted != its).then(|| (cluster.to_owned(), wanted))
            },
        );
        if let Some((cluster, wanted)) = other {
            let fault = PolicyError::PartitionMismatch {
                principal: name.clone(),
                partition: its.to_owned(),
                cluster,
                cluster_partition: wanted,
            };
            faults.push(fault, principal.identity.span);
        }
    }
}
