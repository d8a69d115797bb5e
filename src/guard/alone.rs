//! What a policy breaks by itself, whatever the cluster is like.
//!
//! Its own roles, bound to the whole cluster or in namespaces that it names, are there after every plan: what they let
//! somebody do, he can do. Roles of the cluster, globs and labels are not judged, nor what must be possible.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::invariants::{Refusal, of_state};
use crate::plan;
use crate::policy::{BoundRole, Claim, Known, NamespaceSelector, Policy, is_for};
use crate::state::State;
use crate::state::meta::Labels;

/// The invariants that the policy breaks in one of its clusters, each once.
pub(crate) fn of_policy_alone(policy: &Policy, now: Timestamp) -> Vec<Refusal> {
    let mut forbidding = policy.clone();
    forbidding.invariants.retain(|invariant| !matches!(invariant.claim, Claim::Can(_)));
    if forbidding.invariants.is_empty() {
        return Vec::new();
    }
    let clusters: Vec<Option<&str>> = if policy.clusters.is_empty() {
        vec![None]
    } else {
        policy.clusters.keys().map(String::as_str).map(Some).collect()
    };
    let mut found: Vec<Refusal> = Vec::new();
    for cluster in clusters {
        for refusal in in_cluster(&forbidding, cluster, now) {
            if !found.iter().any(|one| one.span == refusal.span) {
                found.push(refusal);
            }
        }
    }
    found
}

fn in_cluster(policy: &Policy, cluster: Option<&str>, now: Timestamp) -> Vec<Refusal> {
    let policy = decided(policy, cluster);
    let empty = State { namespaces: named(&policy), ..State::default() };
    let Ok(after) = plan::plan(&policy, cluster, &empty, now).map(|plan| plan.after(&empty)) else {
        return Vec::new();
    };
    let known = Known::of(&policy, cluster, &empty, now);
    after.map(|after| of_state(&policy, cluster, &known, &after).0).unwrap_or_default()
}

/// The policy without what hangs on roles, namespaces and labels of the cluster.
fn decided(policy: &Policy, cluster: Option<&str>) -> Policy {
    let mut policy = policy.clone();
    let is_name = |selector: &NamespaceSelector| matches!(selector, NamespaceSelector::Name(_));
    for role in policy.roles.values_mut() {
        role.namespaces.retain(|selector| is_name(&selector.value));
    }
    let (cluster_roles, roles) = (&policy.cluster_roles, &policy.roles);
    for binding in policy.bindings.values_mut() {
        let Some(selectors) = &mut binding.namespaces else {
            continue;
        };
        selectors.retain(|selector| match (&selector.value, &binding.role.value) {
            (NamespaceSelector::Name(_), BoundRole::ClusterRole(_)) => true,
            (NamespaceSelector::Name(name), BoundRole::Role(role)) => roles.get(role).is_some_and(|role| {
                let is_it = |own: &NamespaceSelector| matches!(own, NamespaceSelector::Name(own) if own == name);
                role.namespaces.iter().any(|own| is_it(&own.value))
            }),
            (NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_), _) => false,
        });
    }
    policy.bindings.retain(|_, binding| match &binding.role.value {
        BoundRole::ClusterRole(role) => {
            cluster_roles.get(role).is_some_and(|role| is_for(role.clusters.as_deref(), cluster))
        }
        BoundRole::Role(role) => roles.get(role).is_some_and(|role| is_for(role.clusters.as_deref(), cluster)),
    });
    policy
}

/// The namespaces that the policy names.
fn named(policy: &Policy) -> std::collections::BTreeMap<String, Labels> {
    let of_roles = policy.roles.values().flat_map(|role| &role.namespaces);
    let of_bindings = policy.bindings.values().flat_map(|binding| binding.namespaces.iter().flatten());
    let names = of_roles.chain(of_bindings).filter_map(|selector| match &selector.value {
        NamespaceSelector::Name(name) => Some(name.clone()),
        NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_) => None,
    });
    names.collect::<BTreeSet<_>>().into_iter().map(|name| (name, Labels::default())).collect()
}
