//! What a policy breaks by itself, whatever the cluster is like.
//!
//! Its own roles, bound to the whole cluster or in namespaces that it names, are there after every plan: what they let
//! somebody do, he can do. So it is with `cluster-admin`, which every API server brings up to everything as it starts
//! (kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`). The cluster's other roles are what
//! its version and its operators make of them and are not judged; nor are globs, labels and what must be possible.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::invariants::{InvariantViolation, check_invariants};
use crate::names::ObjectKey;
use crate::plan;
use crate::policy::{Assertion, NamespaceSelector, Policy, PolicyIndex, RoleRefSpec, applies_to_cluster};
use crate::state::State;
use crate::state::object::Role;
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::rbac::Rule;

const CLUSTER_ADMIN: &str = "cluster-admin";

/// The invariants that the policy breaks in one of its clusters, each once.
pub(crate) fn check_invariants_statically(policy: &Policy, now: Timestamp) -> Vec<InvariantViolation> {
    let mut forbidding = policy.clone();
    forbidding.invariants.retain(|invariant| is_prohibition(&invariant.assertion));
    if forbidding.invariants.is_empty() {
        return Vec::new();
    }
    let clusters: Vec<Option<&str>> = if policy.clusters.is_empty() {
        vec![None]
    } else {
        policy.clusters.keys().map(String::as_str).map(Some).collect()
    };
    let mut found: Vec<InvariantViolation> = Vec::new();
    for cluster in clusters {
        for refusal in check_cluster(&forbidding, cluster, now) {
            if !found.iter().any(|one| one.location == refusal.location) {
                found.push(refusal);
            }
        }
    }
    found
}

fn check_cluster(policy: &Policy, cluster: Option<&str>, now: Timestamp) -> Vec<InvariantViolation> {
    let policy = keep_static_parts(policy, cluster);
    let mut empty = State { namespaces: named_namespaces(&policy), ..State::default() };
    empty.roles.insert(ObjectKey::cluster_role(CLUSTER_ADMIN), cluster_admin_role());
    let Ok(plan) = plan::plan(&policy, cluster, &empty, now) else {
        return Vec::new();
    };
    let Ok(after) = plan.state_after(&empty) else {
        return Vec::new();
    };
    let known = PolicyIndex::from_policy(&policy, cluster, &empty, now);
    check_invariants(&plan.invariants, &known, &after).0
}

/// The policy without what hangs on roles, namespaces and labels of the cluster.
fn keep_static_parts(policy: &Policy, cluster: Option<&str>) -> Policy {
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
            (NamespaceSelector::Name(_), RoleRefSpec::ClusterRole(_)) => true,
            (NamespaceSelector::Name(name), RoleRefSpec::Role(role)) => roles.get(role).is_some_and(|role| {
                let is_it = |own: &NamespaceSelector| matches!(own, NamespaceSelector::Name(own) if own == name);
                role.namespaces.iter().any(|own| is_it(&own.value))
            }),
            (NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_), _) => false,
        });
    }
    policy.bindings.retain(|_, binding| match &binding.role.value {
        RoleRefSpec::ClusterRole(role) => {
            let is_own =
                cluster_roles.get(role).is_some_and(|role| applies_to_cluster(role.clusters.as_deref(), cluster));
            is_own || role == CLUSTER_ADMIN
        }
        RoleRefSpec::Role(role) => {
            roles.get(role).is_some_and(|role| applies_to_cluster(role.clusters.as_deref(), cluster))
        }
    });
    policy
}

/// What `cluster-admin` is in every version.
fn cluster_admin_role() -> Role {
    let all = || vec!["*".to_owned()];
    let resources = Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() };
    let urls = Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() };
    let labels = Labels::from([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".to_owned())]);
    Role { meta: ObjectMeta { labels, ..ObjectMeta::default() }, rules: vec![resources, urls], aggregation: None }
}

/// The roles of the clusters that the policy binds and of which it does not say what they allow, where it says what
/// must not be possible.
pub(crate) fn roles_not_checked_statically(policy: &Policy) -> BTreeSet<&str> {
    if !policy.invariants.iter().any(|invariant| is_prohibition(&invariant.assertion)) {
        return BTreeSet::new();
    }
    let others = policy.bindings.values().filter_map(|binding| match &binding.role.value {
        RoleRefSpec::ClusterRole(role) if role == CLUSTER_ADMIN || policy.cluster_roles.contains_key(role) => None,
        RoleRefSpec::Role(role) if policy.roles.contains_key(role) => None,
        RoleRefSpec::ClusterRole(role) | RoleRefSpec::Role(role) => Some(role.as_str()),
    });
    others.collect()
}

fn is_prohibition(claim: &Assertion) -> bool {
    !matches!(claim, Assertion::Can(_))
}

/// The namespaces that the policy names.
fn named_namespaces(policy: &Policy) -> std::collections::BTreeMap<String, Labels> {
    let of_roles = policy.roles.values().flat_map(|role| &role.namespaces);
    let of_bindings = policy.bindings.values().flat_map(|binding| binding.namespaces.iter().flatten());
    let names = of_roles.chain(of_bindings).filter_map(|selector| match &selector.value {
        NamespaceSelector::Name(name) => Some(name.clone()),
        NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_) => None,
    });
    names.collect::<BTreeSet<_>>().into_iter().map(|name| (name, Labels::default())).collect()
}
