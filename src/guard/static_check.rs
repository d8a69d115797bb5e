//! Checks invariants without a cluster: finds those that the policy violates whatever the cluster contains.
//!
//! The roles of the policy that are bound in the whole cluster, or in namespaces by name, exist after every plan, so
//! the access that they grant is certain. The same is true of `cluster-admin`, to which every API server adds all rules
//! at startup (kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`). Other roles of a
//! cluster depend on its version and its operators, and the namespaces that globs and labels select depend on the
//! cluster. They are not checked here, and neither are invariants with `can`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::invariants::{InvariantViolation, check_invariants};
use crate::access::{AccessView, Aggregation};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::plan::{self, Plan};
use crate::policy::{Assertion, NamespaceSelector, Policy, PolicyIndex, RoleRefSpec, applies_to_cluster};
use crate::state::State;
use crate::state::object::Role;
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::rbac::Rule;

const CLUSTER_ADMIN: &str = "cluster-admin";

/// Returns the invariants that the policy violates in any of its clusters, without duplicates.
///
/// # Errors
/// If planning fails because of a bug.
pub(crate) fn check_invariants_statically(
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<InvariantViolation>, Vec<Diagnostic>> {
    let mut prohibitions = policy.clone();
    prohibitions.invariants.retain(|invariant| is_prohibition(&invariant.assertion));
    if prohibitions.invariants.is_empty() {
        return Ok(Vec::new());
    }
    let mut violations: Vec<InvariantViolation> = Vec::new();
    for cluster in cluster_names(policy) {
        for violation in check_cluster(&prohibitions, cluster, now)? {
            if !violations.iter().any(|known| known.location == violation.location) {
                violations.push(violation);
            }
        }
    }
    Ok(violations)
}

fn check_cluster(
    policy: &Policy,
    cluster: Option<&str>,
    now: Timestamp,
) -> Result<Vec<InvariantViolation>, Vec<Diagnostic>> {
    let Some(StaticCluster { plan, after, policy_index }) = StaticCluster::new(policy, cluster, now)? else {
        return Ok(Vec::new());
    };
    let access = AccessView::new(&after, Aggregation::Reconciled);
    Ok(check_invariants(&plan.invariants, &policy_index, &access))
}

/// What a policy alone decides about a cluster.
pub(super) struct StaticCluster {
    plan: Plan,
    pub(super) after: State,
    pub(super) policy_index: PolicyIndex,
}

impl StaticCluster {
    /// `None` if it cannot be planned without the cluster.
    ///
    /// # Errors
    /// If planning fails because of a bug.
    pub(super) fn new(policy: &Policy, cluster: Option<&str>, now: Timestamp) -> Result<Option<Self>, Vec<Diagnostic>> {
        let policy = keep_static_parts(policy, cluster);
        let mut empty = State { namespaces: named_namespaces(&policy), ..State::default() };
        empty.roles.insert(ObjectKey::cluster_role(CLUSTER_ADMIN), cluster_admin_role());
        let plan = match plan::plan(&policy, cluster, &empty, now) {
            Ok(plan) => plan,
            // Other errors depend on the cluster, or `validate` has reported them already.
            Err(errors) => {
                let internal: Vec<Diagnostic> = errors.into_iter().filter(Diagnostic::is_internal_error).collect();
                return if internal.is_empty() { Ok(None) } else { Err(internal) };
            }
        };
        let after = plan.state_after(&empty).map_err(|error| vec![plan::invalid_object_error(error).into()])?;
        let policy_index = PolicyIndex::from_policy(&policy, cluster, &empty, now);
        Ok(Some(Self { plan, after, policy_index }))
    }
}

/// Returns the clusters of the policy. A policy without `[clusters]` is for one without a name.
pub(super) fn cluster_names(policy: &Policy) -> Vec<Option<&str>> {
    if policy.clusters.is_empty() { vec![None] } else { policy.clusters.keys().map(String::as_str).map(Some).collect() }
}

/// Returns the policy without the parts that depend on the roles and namespaces of the cluster.
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
                let is_same =
                    |selector: &NamespaceSelector| matches!(selector, NamespaceSelector::Name(other) if other == name);
                role.namespaces.iter().any(|selector| is_same(&selector.value))
            }),
            (NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_), _) => false,
        });
    }
    policy.bindings.retain(|_, binding| match &binding.role.value {
        RoleRefSpec::ClusterRole(role) => {
            let is_defined =
                cluster_roles.get(role).is_some_and(|role| applies_to_cluster(role.clusters.as_deref(), cluster));
            is_defined || role == CLUSTER_ADMIN
        }
        RoleRefSpec::Role(role) => {
            roles.get(role).is_some_and(|role| applies_to_cluster(role.clusters.as_deref(), cluster))
        }
    });
    policy
}

/// Returns `cluster-admin` as it is in every version of Kubernetes.
fn cluster_admin_role() -> Role {
    let wildcard = || vec!["*".to_owned()];
    let resources = Rule { verbs: wildcard(), api_groups: wildcard(), resources: wildcard(), ..Rule::default() };
    let urls = Rule { verbs: wildcard(), non_resource_urls: wildcard(), ..Rule::default() };
    let labels = Labels::from([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".to_owned())]);
    Role { meta: ObjectMeta { labels, ..ObjectMeta::default() }, rules: vec![resources, urls], aggregation: None }
}

/// Returns the roles that the policy binds and does not define, if the policy has an invariant that depends on them.
pub(crate) fn roles_not_checked_statically(policy: &Policy) -> BTreeSet<&str> {
    if !policy.invariants.iter().any(|invariant| is_prohibition(&invariant.assertion)) {
        return BTreeSet::new();
    }
    let undefined_roles = policy.bindings.values().filter_map(|binding| match &binding.role.value {
        RoleRefSpec::ClusterRole(role) if role == CLUSTER_ADMIN || policy.cluster_roles.contains_key(role) => None,
        RoleRefSpec::Role(role) if policy.roles.contains_key(role) => None,
        RoleRefSpec::ClusterRole(role) | RoleRefSpec::Role(role) => Some(role.as_str()),
    });
    undefined_roles.collect()
}

fn is_prohibition(assertion: &Assertion) -> bool {
    !matches!(assertion, Assertion::Can(_))
}

/// Returns the namespaces that the policy refers to by name.
fn named_namespaces(policy: &Policy) -> std::collections::BTreeMap<String, Labels> {
    let role_selectors = policy.roles.values().flat_map(|role| &role.namespaces);
    let binding_selectors = policy.bindings.values().flat_map(|binding| binding.namespaces.iter().flatten());
    let names = role_selectors.chain(binding_selectors).filter_map(|selector| match &selector.value {
        NamespaceSelector::Name(name) => Some(name.clone()),
        NamespaceSelector::Glob(_) | NamespaceSelector::Labels(_) => None,
    });
    names.collect::<BTreeSet<_>>().into_iter().map(|name| (name, Labels::default())).collect()
}
