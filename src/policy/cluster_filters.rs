//! Checks of references between items that apply to different clusters.
//!
//! In a cluster that has only one of the two items, the reference is dropped: a binding does not name the group, a
//! group does not have the member. A reference without any cluster that has both items has no effect, and is an error.
//! A reference to a role that the policy does not define for a cluster is only a warning, since the role can exist
//! there.

use std::collections::BTreeMap;

use super::clusters::{applies_to_cluster, selected_clusters};
use super::error::{Diagnostics, PolicyError};
use super::model::{BindingSpec, ClusterFilter, ClusterSpec, Located, NamespaceSelector, Policy, RoleRefSpec};
use super::principal_spec::IdentitySpec;
use super::table::quote_key;
use crate::diagnostic::Span;

/// The clusters of a policy, to evaluate filters.
struct PolicyClusters<'a>(&'a BTreeMap<String, ClusterSpec>);

impl PolicyClusters<'_> {
    fn has_any(&self, filter: &ClusterFilter) -> bool {
        selected_clusters(filter.as_deref(), self.0).into_iter().any(|cluster| cluster.is_some())
    }

    fn has_common(&self, left: &ClusterFilter, right: &ClusterFilter) -> bool {
        left.is_none()
            || right.is_none()
            || self.0.keys().any(|name| {
                applies_to_cluster(left.as_deref(), Some(name)) && applies_to_cluster(right.as_deref(), Some(name))
            })
    }
}

fn format_filter(filter: &ClusterFilter) -> String {
    let names = filter.iter().flatten().map(|name| format!("`{}`", name.value));
    names.collect::<Vec<_>>().join(", ")
}

/// The item that contains a reference.
struct ReferenceSource<'a> {
    section: &'static str,
    name: &'a str,
    clusters: &'a ClusterFilter,
}

pub(super) fn check_common_clusters(policy: &Policy, diagnostics: &mut Diagnostics) {
    let clusters = PolicyClusters(&policy.clusters);
    let mut check = |from: &ReferenceSource<'_>, to: &Located<String>, target: Option<(&ClusterFilter, Span)>| {
        let Some((target_clusters, span)) = target else { return };
        // A filter without any declared cluster is reported by another check.
        if clusters.has_common(from.clusters, target_clusters)
            || !clusters.has_any(from.clusters)
            || !clusters.has_any(target_clusters)
        {
            return;
        }
        let error = PolicyError::NoCommonCluster {
            name: to.value.clone(),
            name_clusters: format_filter(target_clusters),
            table: format!("{}.{}", from.section, quote_key(from.name)),
            table_clusters: format_filter(from.clusters),
        };
        diagnostics.push_labeled(error, to.span, "", &[(span, "defined here")]);
    };
    let group = |name: &Located<String>| policy.groups.get(&name.value).map(|group| (&group.clusters, group.span));
    let principal = |name: &Located<String>| {
        policy.principals.get(&name.value).map(|principal| (&principal.clusters, principal.span))
    };
    for (name, item) in &policy.groups {
        let from = ReferenceSource { section: "groups", name, clusters: &item.clusters };
        item.members.iter().for_each(|member| check(&from, member, principal(member)));
    }
    for (name, item) in &policy.principals {
        let from = ReferenceSource { section: "principals", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| check(&from, to, group(to)));
    }
    for (name, item) in &policy.bindings {
        let from = ReferenceSource { section: "bindings", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| check(&from, to, group(to)));
        item.principals.iter().for_each(|to| check(&from, to, principal(to)));
    }
}

pub(super) fn check_bound_roles(policy: &Policy, diagnostics: &mut Diagnostics) {
    for (name, binding) in &policy.bindings {
        let (kind, role, role_clusters, span) = match &binding.role.value {
            RoleRefSpec::ClusterRole(role) => match policy.cluster_roles.get(role) {
                Some(item) => ("ClusterRole", role, &item.clusters, item.span),
                None => continue,
            },
            RoleRefSpec::Role(role) => match policy.roles.get(role) {
                Some(item) => {
                    check_role_namespaces(name, binding, (role, &item.namespaces), diagnostics);
                    ("Role", role, &item.clusters, item.span)
                }
                None => continue,
            },
        };
        if role_clusters.is_none() {
            continue;
        }
        let without_role: Vec<String> = selected_clusters(binding.clusters.as_deref(), &policy.clusters)
            .into_iter()
            .flatten()
            .filter(|cluster| !applies_to_cluster(role_clusters.as_deref(), Some(cluster)))
            .map(|cluster| format!("`{cluster}`"))
            .collect();
        if !without_role.is_empty() {
            let noun = if without_role.len() == 1 { "cluster" } else { "clusters" };
            let clusters = format!("{noun} {}", without_role.join(", "));
            let error = PolicyError::RoleNotInCluster { kind, name: role.clone(), clusters };
            diagnostics.push_labeled(error, binding.role.span, "", &[(span, "defined here")]);
        }
    }
}

/// Reports namespaces of the binding in which the policy does not define the role. Labels select namespaces that only
/// the cluster knows, so they are assumed to match.
fn check_role_namespaces(
    name: &str,
    binding: &BindingSpec,
    (role, role_namespaces): (&str, &[Located<NamespaceSelector>]),
    diagnostics: &mut Diagnostics,
) {
    let covers = |namespace: &str| {
        role_namespaces.iter().any(|selector| match &selector.value {
            NamespaceSelector::Name(name) => name == namespace,
            NamespaceSelector::Glob(glob) => glob.matches(namespace),
            NamespaceSelector::Labels(_) => true,
        })
    };
    for selector in binding.namespaces.iter().flatten() {
        if let NamespaceSelector::Name(namespace) = &selector.value
            && !role_namespaces.is_empty()
            && !covers(namespace)
        {
            let error = PolicyError::RoleNotInNamespace {
                binding: format!("bindings.{}", quote_key(name)),
                role: role.to_owned(),
                namespace: namespace.clone(),
            };
            let related: Vec<_> = role_namespaces.iter().map(|selector| (selector.span, "defined here")).collect();
            diagnostics.push_labeled(error, selector.span, "", &related);
        }
    }
}

/// Reports principals with a fixed partition that apply to a cluster of another partition, where they never match.
pub(super) fn check_partitions(policy: &Policy, diagnostics: &mut Diagnostics) {
    for (name, principal) in &policy.principals {
        let partition = match &principal.identity.value {
            IdentitySpec::Arn(arn) => arn.partition(),
            IdentitySpec::Sso { partition: Some(partition), .. } => partition,
            IdentitySpec::Sso { partition: None, .. }
            | IdentitySpec::Role(_)
            | IdentitySpec::User(_)
            | IdentitySpec::Account(_) => {
                continue;
            }
        };
        let mismatch = selected_clusters(principal.clusters.as_deref(), &policy.clusters)
            .into_iter()
            .flatten()
            .find_map(|cluster| {
                let cluster_partition = policy.clusters.get(cluster)?.partition?;
                (cluster_partition != partition).then(|| (cluster.to_owned(), cluster_partition))
            });
        if let Some((cluster, cluster_partition)) = mismatch {
            let error = PolicyError::PartitionMismatch {
                principal: name.clone(),
                partition: partition.to_owned(),
                cluster,
                cluster_partition,
            };
            diagnostics.push(error, principal.identity.span);
        }
    }
}
