//! Items for some of the clusters that name items for others.
//!
//! In a cluster that has one of the two alone the reference is dropped: a binding there does not name the group, a
//! group there does not have the member. That is what filters are for. A reference that no cluster has both ends of
//! would never count, and is a fault. A role that the policy defines elsewhere may be the cluster's own.

use std::collections::BTreeMap;

use super::fault::{Fault, Faults};
use super::model::{At, Binding, BoundRole, ClusterFilter, ClusterTarget, Identity, NamespaceSelector, Policy};
use super::scope::{is_for, reached};
use super::table::quoted;
use crate::diagnostic::Span;

/// The clusters of a policy, to hold filters against.
struct Clusters<'a>(&'a BTreeMap<String, ClusterTarget>);

impl Clusters<'_> {
    fn any(&self, filter: &ClusterFilter) -> bool {
        reached(filter.as_deref(), self.0).into_iter().any(|cluster| cluster.is_some())
    }

    fn share_one(&self, one: &ClusterFilter, other: &ClusterFilter) -> bool {
        one.is_none()
            || other.is_none()
            || self.0.keys().any(|name| is_for(one.as_deref(), Some(name)) && is_for(other.as_deref(), Some(name)))
    }
}

fn named(filter: &ClusterFilter) -> String {
    let names = filter.iter().flatten().map(|name| format!("`{}`", name.value));
    names.collect::<Vec<_>>().join(", ")
}

/// One end of a reference: the table that makes it, and what its filter is.
struct From<'a> {
    section: &'static str,
    name: &'a str,
    clusters: &'a ClusterFilter,
}

pub(super) fn references_meet(policy: &Policy, faults: &mut Faults) {
    let clusters = Clusters(&policy.clusters);
    let mut meet = |from: &From<'_>, to: &At<String>, of: Option<(&ClusterFilter, Span)>| {
        let Some((its, span)) = of else { return };
        // A filter that names no cluster of the policy is a fault of its own.
        if clusters.share_one(from.clusters, its) || !clusters.any(from.clusters) || !clusters.any(its) {
            return;
        }
        let fault = Fault::NeverTogether {
            name: to.value.clone(),
            its: named(its),
            table: format!("{}.{}", from.section, quoted(from.name)),
            ours: named(from.clusters),
        };
        faults.push_with(fault, to.span, "", &[(span, "defined here")]);
    };
    let group = |name: &At<String>| policy.groups.get(&name.value).map(|group| (&group.clusters, group.span));
    let principal =
        |name: &At<String>| policy.principals.get(&name.value).map(|principal| (&principal.clusters, principal.span));
    for (name, item) in &policy.groups {
        let from = From { section: "groups", name, clusters: &item.clusters };
        item.members.iter().for_each(|member| meet(&from, member, principal(member)));
    }
    for (name, item) in &policy.principals {
        let from = From { section: "principals", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| meet(&from, to, group(to)));
    }
    for (name, item) in &policy.bindings {
        let from = From { section: "bindings", name, clusters: &item.clusters };
        item.groups.iter().for_each(|to| meet(&from, to, group(to)));
        item.principals.iter().for_each(|to| meet(&from, to, principal(to)));
    }
}

pub(super) fn bound_roles_are_there(policy: &Policy, faults: &mut Faults) {
    for (name, binding) in &policy.bindings {
        let (kind, role, its, span) = match &binding.role.value {
            BoundRole::ClusterRole(role) => match policy.cluster_roles.get(role) {
                Some(item) => ("ClusterRole", role, &item.clusters, item.span),
                None => continue,
            },
            BoundRole::Role(role) => match policy.roles.get(role) {
                Some(item) => {
                    role_is_in_namespaces(name, binding, (role, &item.namespaces), faults);
                    ("Role", role, &item.clusters, item.span)
                }
                None => continue,
            },
        };
        if its.is_none() {
            continue;
        }
        let elsewhere: Vec<String> = reached(binding.clusters.as_deref(), &policy.clusters)
            .into_iter()
            .flatten()
            .filter(|cluster| !is_for(its.as_deref(), Some(cluster)))
            .map(|cluster| format!("`{cluster}`"))
            .collect();
        if !elsewhere.is_empty() {
            let fault = Fault::RoleElsewhere { kind, name: role.clone(), clusters: elsewhere.join(", ") };
            faults.push_with(fault, binding.role.span, "", &[(span, "defined here")]);
        }
    }
}

/// What names and globs leave out is known without a cluster; what labels mean is not.
fn role_is_in_namespaces(
    name: &str,
    binding: &Binding,
    (role, made): (&str, &[At<NamespaceSelector>]),
    faults: &mut Faults,
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
            let fault = Fault::RoleNotThere {
                binding: format!("bindings.{}", quoted(name)),
                role: role.to_owned(),
                namespace: namespace.clone(),
            };
            let places: Vec<_> = made.iter().map(|selector| (selector.span, "made here")).collect();
            faults.push_with(fault, selector.span, "", &places);
        }
    }
}

/// An ARN of one partition is never met in a cluster of another.
pub(super) fn partitions_fit(policy: &Policy, faults: &mut Faults) {
    for (name, principal) in &policy.principals {
        let its = match &principal.identity.value {
            Identity::Arn(arn) => arn.partition(),
            Identity::Sso { partition: Some(partition), .. } => partition,
            Identity::Sso { partition: None, .. } | Identity::Role(_) | Identity::User(_) | Identity::Account(_) => {
                continue;
            }
        };
        let other =
            reached(principal.clusters.as_deref(), &policy.clusters).into_iter().flatten().find_map(|cluster| {
                let wanted = policy.clusters.get(cluster)?.partition?;
                (wanted != its).then(|| (cluster.to_owned(), wanted))
            });
        if let Some((cluster, wanted)) = other {
            let fault = Fault::OtherPartition { principal: name.clone(), its: its.to_owned(), cluster, wanted };
            faults.push(fault, principal.identity.span);
        }
    }
}
