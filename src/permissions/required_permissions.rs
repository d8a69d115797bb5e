//! The requests that a plan or a policy requires, and the rules that the user must have to write roles and bindings.
//!
//! Source: kubernetes v1.36.3 `pkg/registry/rbac/*/policybased/storage.go`. To write a role, a user must have every
//! rule of the role as it is after the write, or have `escalate` on it. To write a binding, a user must have the rules
//! of its role, or have `bind` on it. A POST has no name, so `escalate` limited by name does not apply to it. `bind`
//! uses the name in the roleRef.

use serde_json::Value;

use super::roles_during_plan::RolesDuringPlan;
use crate::access::Request;
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{AccessComparison, Plan, Step, bridge};
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{ObjectError, RawRole, Role, deserialize_object};
use crate::state::owner::{Owner, object_owner};
use crate::state::rbac::{RBAC_GROUP, RoleRef, Rule};
use crate::state::write::WriteRequest;

/// A permission that is required.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequiredPermission {
    Request(Request),
    /// The user must have all of these rules, or be allowed to make the alternative request.
    Rules {
        rules: Vec<Rule>,
        /// The role is aggregated, which requires the rules of cluster-admin.
        is_aggregated: bool,
        namespace: Option<String>,
        alternative: Request,
    },
}

/// Returns the rules of cluster-admin, which a user must have to write an aggregated role.
pub(super) fn cluster_admin_rules() -> [Rule; 2] {
    let wildcard = || vec!["*".to_owned()];
    [
        Rule { verbs: wildcard(), api_groups: wildcard(), resources: wildcard(), ..Rule::default() },
        Rule { verbs: wildcard(), non_resource_urls: wildcard(), ..Rule::default() },
    ]
}

/// Returns a request for the object, or for all objects of its kind and namespace if not `with_name`.
pub(super) fn object_request(verb: &str, key: &ObjectKey, with_name: bool) -> Request {
    let group = if key.kind().is_rbac() { RBAC_GROUP } else { "" };
    let name = if with_name { key.name() } else { "" };
    Request::object(verb, group, key.kind().resource())
        .with_name(name)
        .in_namespace(key.namespace().unwrap_or_default())
}

/// Returns the permissions that the steps of a plan require, each with the index of the step.
///
/// # Errors
/// If a write of the plan is not a valid object.
pub(crate) fn required_by_plan(
    plan: &Plan,
    comparison: &AccessComparison<'_>,
) -> Result<Vec<(RequiredPermission, usize)>, ObjectError> {
    let mut required = Vec::new();
    let mut roles = RolesDuringPlan::new(comparison);
    let mut index = 0;
    for stage in plan.steps.chunk_by(|a, b| a.stage == b.stage) {
        roles.begin_stage(stage)?;
        for step in stage {
            let permissions = required_by_step(step, &roles, comparison)?;
            required.extend(permissions.into_iter().map(|permission| (permission, index)));
            index += 1;
        }
        roles.end_stage(stage);
    }
    // Before a step that revokes access, apply asks with a SubjectAccessReview whether an earlier step has taken
    // effect.
    let first_wait = plan.steps.iter().position(|Step { wait_for, .. }| !wait_for.is_empty());
    required.extend(first_wait.map(|index| (subject_access_review(), index)));
    Ok(required)
}

fn subject_access_review() -> RequiredPermission {
    RequiredPermission::Request(Request::object("create", "authorization.k8s.io", "subjectaccessreviews"))
}

fn required_by_step(
    step: &Step,
    roles: &RolesDuringPlan<'_, '_>,
    comparison: &AccessComparison<'_>,
) -> Result<Vec<RequiredPermission>, ObjectError> {
    let key = &step.object;
    let (verb, with_name, body) = match &step.write {
        WriteRequest::Create(body) => ("create", false, body),
        WriteRequest::Patch(body) => ("patch", true, body),
        WriteRequest::Delete => return Ok(vec![RequiredPermission::Request(object_request("delete", key, true))]),
    };
    let mut out = vec![RequiredPermission::Request(object_request(verb, key, with_name))];
    match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let stored = if with_name { roles.stored(key) } else { None };
            // The API server also requires the rules of cluster-admin to remove an aggregation rule.
            let was_aggregated = stored.is_some_and(|role| role.aggregation.is_some());
            let role = role_after_write(stored, body)?;
            out.extend(required_for_role_write(key, &role, was_aggregated, with_name));
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let AccessComparison { live, after, .. } = comparison;
            let stored = live.bindings.get(key).filter(|_| !roles.was_deleted(key));
            let binding = stored.or_else(|| after.bindings.get(key));
            let role_ref = role_ref_after_write(body).or_else(|| binding.map(|binding| binding.role_ref.clone()));
            let role_ref = role_ref.ok_or_else(|| InternalError::new(format!("the role of {key} is not known")))?;
            out.push(required_for_binding_write(key, &role_ref, |role| roles.rules_to_bind(role)));
        }
        ObjectKind::Namespace
        | ObjectKind::ConfigMap
        | ObjectKind::AccessEntry
        | ObjectKind::AccessPolicy
        | ObjectKind::AccessPolicyAssociation => {}
    }
    Ok(out)
}

/// Returns the role after a write.
pub(super) fn role_after_write(stored: Option<&Role>, body: &Value) -> Result<Role, ObjectError> {
    let written: Role = deserialize_object::<RawRole>(&serde_json::json!({
        "metadata": {},
        "rules": body.get("rules"),
        "aggregationRule": body.get("aggregationRule"),
    }))?
    .into();
    let Some(stored) = stored else {
        return Ok(written);
    };
    let rules = if body.get("rules").is_some() { written.rules } else { stored.rules.clone() };
    let aggregation =
        if body.get("aggregationRule").is_some() { written.aggregation } else { stored.aggregation.clone() };
    Ok(Role { rules, aggregation, ..Role::default() })
}

fn role_ref_after_write(body: &Value) -> Option<RoleRef> {
    let role_ref = body.get("roleRef")?;
    let name = role_ref.get("name")?.as_str()?.to_owned();
    Some(if role_ref.get("kind")?.as_str()? == "Role" { RoleRef::Role(name) } else { RoleRef::ClusterRole(name) })
}

fn required_for_role_write(
    key: &ObjectKey,
    role: &Role,
    was_aggregated: bool,
    with_name: bool,
) -> Option<RequiredPermission> {
    let is_aggregated = was_aggregated || role.aggregation.is_some();
    if role.rules.is_empty() && !is_aggregated {
        return None;
    }
    let mut rules = role.rules.clone();
    if is_aggregated {
        rules.extend(cluster_admin_rules());
    }
    let namespace = key.namespace().map(str::to_owned);
    Some(RequiredPermission::Rules {
        rules,
        is_aggregated,
        namespace,
        alternative: object_request("escalate", key, with_name),
    })
}

/// `rules` returns the rules of a role at the time of the write. `None` if it does not exist.
fn required_for_binding_write(
    key: &ObjectKey,
    role_ref: &RoleRef,
    rules: impl Fn(&ObjectKey) -> Option<Vec<Rule>>,
) -> RequiredPermission {
    let namespace = key.namespace();
    let (role, resource) = match (role_ref, namespace) {
        (RoleRef::Role(name), Some(namespace)) => (ObjectKey::role(namespace, name), ObjectKind::Role),
        (RoleRef::Role(name) | RoleRef::ClusterRole(name) | RoleRef::AccessPolicy(name), _) => {
            (ObjectKey::cluster_role(name), ObjectKind::ClusterRole)
        }
    };
    // To bind a role that does not exist, a user needs `bind`, which the rules of cluster-admin include. To bind a role
    // without rules, a user needs neither.
    let rules = rules(&role).unwrap_or_else(|| cluster_admin_rules().to_vec());
    let alternative = Request::object("bind", RBAC_GROUP, resource.resource())
        .with_name(role_ref.name())
        .in_namespace(namespace.unwrap_or_default());
    RequiredPermission::Rules { rules, is_aggregated: false, namespace: namespace.map(str::to_owned), alternative }
}

/// Returns the permissions to keep a cluster as a policy defines it: to create, change and replace what it lists, and
/// to remove what it owns.
pub(crate) fn required_by_policy(
    desired: &Desired,
    live: &State,
    policy: &str,
    after: &State,
) -> Vec<RequiredPermission> {
    let mut out = Vec::new();
    for (key, role) in &desired.roles {
        out.extend(required_to_manage(key));
        out.extend(required_for_role_write(key, &role.value.role, false, false));
    }
    for (key, binding) in &desired.bindings {
        out.extend(required_to_manage(key));
        // A temporary binding grants the access while a binding with another roleRef is replaced.
        out.push(RequiredPermission::Request(object_request("delete", &bridge(key, 1), true)));
        let rules = |role: &ObjectKey| Some(after.roles.get(role)?.rules.clone());
        out.push(required_for_binding_write(key, &binding.value.role_ref, rules));
    }
    let owned = live.rbac_objects().filter(|(key, meta)| object_owner(key, meta, policy) == Owner::ThisPolicy);
    out.extend(owned.map(|(key, _)| RequiredPermission::Request(object_request("delete", key, true))));
    let has_entries = !desired.entries.is_empty() || !desired.expired.entries.is_empty();
    if has_entries || !live.entry_marks().owned_by(policy).is_empty() {
        let key = ObjectKey::aws_auth();
        out.push(RequiredPermission::Request(object_request("patch", &key, true)));
        if live.aws_auth.is_none() {
            out.push(RequiredPermission::Request(object_request("create", &key, false)));
        }
    }
    out
}

fn required_to_manage(key: &ObjectKey) -> [RequiredPermission; 3] {
    let required = |verb: &str, with_name| RequiredPermission::Request(object_request(verb, key, with_name));
    [required("create", false), required("patch", true), required("delete", true)]
}

/// Returns the permissions that every plan requires.
pub(crate) fn required_for_reading() -> Vec<RequiredPermission> {
    let review = |group: &str, resource: &str| RequiredPermission::Request(Request::object("create", group, resource));
    let mut required = required_for_drift();
    required.extend([
        RequiredPermission::Request(Request::object("list", "", "nodes")),
        review("authentication.k8s.io", "selfsubjectreviews"),
        review("authorization.k8s.io", "selfsubjectaccessreviews"),
    ]);
    required
}

/// Returns the permissions to read what a policy is compared with, which is all that `drift` needs.
pub(crate) fn required_for_drift() -> Vec<RequiredPermission> {
    let list = |resource: &str, group: &str| RequiredPermission::Request(Request::object("list", group, resource));
    let kinds = ObjectKind::KUBERNETES.into_iter().filter(|kind| kind.is_rbac());
    let aws_auth = RequiredPermission::Request(object_request("get", &ObjectKey::aws_auth(), true));
    kinds.map(|kind| list(kind.resource(), RBAC_GROUP)).chain([list("namespaces", ""), aws_auth]).collect()
}

/// Returns the permissions that every apply requires in addition: to read an object again if the response to a write
/// was lost, to acquire the lock, and to verify the resulting access.
pub(crate) fn required_for_apply(for_policy: &[RequiredPermission]) -> Vec<RequiredPermission> {
    const LEASE: &str = "coordination.k8s.io";
    let lease = |verb: &str, name: &str| {
        RequiredPermission::Request(Request::object(verb, LEASE, "leases").with_name(name).in_namespace("kube-system"))
    };
    let mut out = vec![
        lease("create", ""),
        lease("get", "rolecall"),
        lease("patch", "rolecall"),
        lease("update", "rolecall"),
        subject_access_review(),
    ];
    let read_again = for_policy.iter().filter_map(|permission| match permission {
        RequiredPermission::Request(Request::Object(request)) if request.group == RBAC_GROUP => {
            Some(RequiredPermission::Request(Request::object("get", RBAC_GROUP, &request.resource)))
        }
        RequiredPermission::Request(_) | RequiredPermission::Rules { .. } => None,
    });
    out.extend(read_again);
    out
}
