//! The requests that a plan and a policy lead to, and which rules the API server wants to see held besides.
//!
//! Source: kubernetes v1.36.3 `pkg/registry/rbac/*/policybased/storage.go`: whoever writes a role must hold every rule of
//! the role as it will be, or `escalate` it; whoever writes a binding must hold those of its role, or `bind` it. A POST
//! has no name, so `escalate` limited by name is none for it, and `bind` takes the name from the roleRef.

use serde_json::Value;

use crate::access::Request;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{Plan, Step, bridge};
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{RawRole, Role, deserialize_object};
use crate::state::owner::{Owner, object_owner};
use crate::state::rbac::{RBAC_GROUP, RoleRef, Rule};
use crate::state::write::WriteRequest;

/// Something that must be allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequiredPermission {
    Request(Request),
    /// To hold all these rules, or to be allowed the request.
    Rules {
        rules: Vec<Rule>,
        /// The role gathers from others: nothing less than all rules is enough.
        is_aggregated: bool,
        namespace: Option<String>,
        alternative: Request,
    },
}

/// What an aggregated role asks for: to be cluster-admin by rules.
pub(super) fn cluster_admin_rules() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

/// A request for an object, or for all of its kind where it has no name.
pub(super) fn object_request(verb: &str, key: &ObjectKey, named: bool) -> Request {
    let group = if key.kind().is_rbac() { RBAC_GROUP } else { "" };
    let name = if named { key.name() } else { "" };
    Request::object(verb, group, key.kind().resource())
        .with_name(name)
        .in_namespace(key.namespace().unwrap_or_default())
}

/// What the steps of a plan need.
pub(crate) fn required_by_plan(plan: &Plan, live: &State, after: &State) -> Vec<(RequiredPermission, usize)> {
    let steps = plan.steps.iter().enumerate();
    let needs = steps
        .flat_map(|(number, step)| required_by_step(step, live, after).into_iter().map(move |need| (need, number)));
    // Without an answer no step is made that takes away on the strength of an earlier one.
    let waits = plan.steps.iter().position(|Step { wait_for: awaits, .. }| !awaits.is_empty());
    needs.chain(waits.map(|number| (subject_access_review(), number))).collect()
}

fn subject_access_review() -> RequiredPermission {
    RequiredPermission::Request(Request::object("create", "authorization.k8s.io", "subjectaccessreviews"))
}

fn required_by_step(step: &Step, live: &State, after: &State) -> Vec<RequiredPermission> {
    let key = &step.object;
    let (verb, named, body) = match &step.write {
        WriteRequest::Create(body) => ("create", false, body),
        WriteRequest::Patch(body) => ("patch", true, body),
        WriteRequest::Delete => return vec![RequiredPermission::Request(object_request("delete", key, true))],
    };
    let mut out = vec![RequiredPermission::Request(object_request(verb, key, named))];
    match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => {
            let stored = if named { live.roles.get(key) } else { None };
            // A role that gathered until now asks for as much as one that will.
            let gathered = stored.is_some_and(|role| role.aggregation.is_some());
            out.extend(
                role_after_write(stored, body).and_then(|role| required_for_role_write(key, &role, gathered, named)),
            );
        }
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let binding = after.bindings.get(key).or_else(|| live.bindings.get(key));
            let role_ref = match role_ref_after_write(body) {
                Some(written) => Some(written),
                None => binding.map(|binding| binding.role_ref.clone()),
            };
            out.extend(role_ref.map(|role_ref| required_for_binding_write(key, &role_ref, after)));
        }
        ObjectKind::Namespace | ObjectKind::ConfigMap => {}
    }
    out
}

/// The role that a write leaves.
fn role_after_write(stored: Option<&Role>, body: &Value) -> Option<Role> {
    let written: Role = deserialize_object::<RawRole>(&serde_json::json!({
        "metadata": {},
        "rules": body.get("rules"),
        "aggregationRule": body.get("aggregationRule"),
    }))
    .ok()?
    .into();
    let Some(stored) = stored else {
        return Some(written);
    };
    let rules = if body.get("rules").is_some() { written.rules } else { stored.rules.clone() };
    let aggregation =
        if body.get("aggregationRule").is_some() { written.aggregation } else { stored.aggregation.clone() };
    Some(Role { rules, aggregation, ..Role::default() })
}

fn role_ref_after_write(body: &Value) -> Option<RoleRef> {
    let role_ref = body.get("roleRef")?;
    let name = role_ref.get("name")?.as_str()?.to_owned();
    Some(if role_ref.get("kind")?.as_str()? == "Role" { RoleRef::Role(name) } else { RoleRef::ClusterRole(name) })
}

fn required_for_role_write(key: &ObjectKey, role: &Role, gathered: bool, named: bool) -> Option<RequiredPermission> {
    let gathers = gathered || role.aggregation.is_some();
    if role.rules.is_empty() && !gathers {
        return None;
    }
    let mut rules = role.rules.clone();
    if gathers {
        rules.extend(cluster_admin_rules());
    }
    let namespace = key.namespace().map(str::to_owned);
    Some(RequiredPermission::Rules {
        rules,
        is_aggregated: gathers,
        namespace,
        alternative: object_request("escalate", key, named),
    })
}

fn required_for_binding_write(key: &ObjectKey, role_ref: &RoleRef, after: &State) -> RequiredPermission {
    let namespace = key.namespace();
    let (role, resource) = match (role_ref, namespace) {
        (RoleRef::Role(name), Some(namespace)) => (ObjectKey::role(namespace, name), ObjectKind::Role),
        (RoleRef::Role(name) | RoleRef::ClusterRole(name), _) => {
            (ObjectKey::cluster_role(name), ObjectKind::ClusterRole)
        }
    };
    // Whoever binds a role that is not there needs `bind`; a role without rules binds whoever may write bindings.
    let rules = after.roles.get(&role).map_or_else(|| cluster_admin_rules().to_vec(), |role| role.rules.clone());
    let or = Request::object("bind", RBAC_GROUP, resource.resource())
        .with_name(role_ref.name())
        .in_namespace(namespace.unwrap_or_default());
    RequiredPermission::Rules { rules, is_aggregated: false, namespace: namespace.map(str::to_owned), alternative: or }
}

/// What it takes to keep a cluster as a policy wants it: to make and mend what it lists, and to take away what it owns.
pub(crate) fn required_by_policy(
    desired: &Desired,
    live: &State,
    policy: &str,
    after: &State,
) -> Vec<RequiredPermission> {
    let mut out = Vec::new();
    for (key, wanted) in &desired.roles {
        out.extend(required_to_manage(key));
        out.extend(required_for_role_write(key, &wanted.value.role, false, false));
    }
    for (key, wanted) in &desired.bindings {
        out.extend(required_to_manage(key));
        // While a roleRef is replaced another binding holds the access.
        out.push(RequiredPermission::Request(object_request("delete", &bridge(key, 1), true)));
        out.push(required_for_binding_write(key, &wanted.value.role_ref, after));
    }
    let ours = live.rbac_objects().filter(|(_, meta)| object_owner(meta, policy) == Owner::ThisPolicy);
    out.extend(ours.map(|(key, _)| RequiredPermission::Request(object_request("delete", key, true))));
    let maps = !desired.entries.is_empty() || !desired.expired.entries.is_empty();
    if maps || !live.entry_marks().owned_by(policy).is_empty() {
        let key = ObjectKey::aws_auth();
        out.push(RequiredPermission::Request(object_request("patch", &key, true)));
        if live.aws_auth.is_none() {
            out.push(RequiredPermission::Request(object_request("create", &key, false)));
        }
    }
    out
}

fn required_to_manage(key: &ObjectKey) -> [RequiredPermission; 3] {
    let need = |verb: &str, named| RequiredPermission::Request(object_request(verb, key, named));
    [need("create", false), need("patch", true), need("delete", true)]
}

/// What every plan asks for.
pub(crate) fn required_for_reading() -> Vec<RequiredPermission> {
    let review = |group: &str, resource: &str| RequiredPermission::Request(Request::object("create", group, resource));
    let list = |resource: &str, group: &str| RequiredPermission::Request(Request::object("list", group, resource));
    let kinds = ObjectKind::ALL.into_iter().filter(|kind| kind.is_rbac());
    kinds
        .map(|kind| list(kind.resource(), RBAC_GROUP))
        .chain([
            list("namespaces", ""),
            list("nodes", ""),
            RequiredPermission::Request(object_request("get", &ObjectKey::aws_auth(), true)),
            review("authentication.k8s.io", "selfsubjectreviews"),
            review("authorization.k8s.io", "selfsubjectaccessreviews"),
        ])
        .collect()
}

/// What every apply asks for besides: to see whether a write whose answer was lost was made, to hold the lock, and to
/// ask at the end whether the access is what was promised.
pub(crate) fn required_for_apply(policy_needs: &[RequiredPermission]) -> Vec<RequiredPermission> {
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
    let read_again = policy_needs.iter().filter_map(|need| match need {
        RequiredPermission::Request(Request::Object(request)) if request.group == RBAC_GROUP => {
            let all = Request::object("get", RBAC_GROUP, &request.resource);
            Some(RequiredPermission::Request(all))
        }
        RequiredPermission::Request(_) | RequiredPermission::Rules { .. } => None,
    });
    out.extend(read_again);
    out
}
