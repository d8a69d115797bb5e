//! Writes and the states that they meet.

use serde_json::{Value, json};

use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::role_ref_to_json;
use crate::state::rbac::RoleRef;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// What the write finds under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExistingObject {
    Absent,
    /// As it was read.
    Unchanged,
    /// Changed since it was read.
    Modified,
    /// Gone since it was read, and another in its place.
    Recreated,
    /// Gone since it was read.
    Deleted,
    /// Deleted, and held up by a finalizer.
    Terminating,
    /// As it was read, with a finalizer.
    WithFinalizer,
}

pub(crate) const EXISTING_OBJECTS: [ExistingObject; 7] = [
    ExistingObject::Absent,
    ExistingObject::Unchanged,
    ExistingObject::Modified,
    ExistingObject::Recreated,
    ExistingObject::Deleted,
    ExistingObject::Terminating,
    ExistingObject::WithFinalizer,
];

/// Kinds that are written; of ConfigMaps there is one.
pub(crate) const WRITABLE_KINDS: [ObjectKind; 5] = [
    ObjectKind::ClusterRole,
    ObjectKind::Role,
    ObjectKind::ClusterRoleBinding,
    ObjectKind::RoleBinding,
    ObjectKind::ConfigMap,
];

pub(crate) fn object_key(kind: ObjectKind, name: &str) -> ObjectKey {
    match kind {
        ObjectKind::ConfigMap => ObjectKey::aws_auth(),
        _ => ObjectKey::new(kind, kind.is_namespaced().then_some("differential"), name).unwrap(),
    }
}

pub(crate) fn build_object(key: &ObjectKey, rest: &Value) -> Value {
    let mut metadata = json!({ "name": key.name() });
    if let Some(namespace) = key.namespace() {
        metadata["namespace"] = json!(namespace);
    }
    let mut out = json!({ "apiVersion": key.kind().api_version(), "kind": key.kind().as_str(), "metadata": metadata });
    apply_merge_patch(&mut out, rest);
    out
}

/// An ordinary object of the kind.
pub(crate) fn minimal_object(key: &ObjectKey) -> Value {
    let rest = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => json!({ "rules": [rule()] }),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => json!({
            "roleRef": role_ref_to_json(&RoleRef::ClusterRole("some".to_owned())),
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g" }],
        }),
        ObjectKind::ConfigMap | ObjectKind::Namespace => json!({ "data": { "mapRoles": "[]" } }),
    };
    build_object(key, &rest)
}

fn rule() -> Value {
    json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] })
}

/// Patches that change something, and some that do not.
fn patches_for(kind: ObjectKind) -> Vec<Value> {
    let mut out = vec![
        json!({ "metadata": { "labels": { "a": "b" } } }),
        json!({ "metadata": { "labels": { "absent": null } } }),
        json!({ "metadata": { "labels": { "a b": "c" } } }),
        json!({ "metadata": { "finalizers": null } }),
        json!({ "metadata": { "annotations": { "rolecall/policy": "x\ny" } } }),
        json!({ "metadata": { "annotations": { "big": "x".repeat(262_144) } } }),
        json!({}),
    ];
    out.extend(match kind {
        ObjectKind::ClusterRole | ObjectKind::Role => vec![
            json!({ "rules": [rule()] }),
            json!({ "rules": [rule(), rule()] }),
            json!({ "rules": [] }),
            json!({ "rules": null }),
            json!({ "rules": [{ "verbs": [], "apiGroups": [""], "resources": ["pods"] }] }),
            json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }] }),
        ],
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => vec![
            json!({ "subjects": [] }),
            json!({ "subjects": null }),
            json!({ "subjects": [{ "kind": "Group", "name": "g", "apiGroup": "rbac.authorization.k8s.io" }] }),
            json!({ "subjects": [{ "kind": "group", "name": "g" }] }),
            json!({ "roleRef": { "name": "other" } }),
            json!({ "roleRef": { "name": "some" } }),
        ],
        ObjectKind::ConfigMap | ObjectKind::Namespace => vec![
            json!({ "data": { "mapRoles": "- rolearn: a\n" } }),
            json!({ "data": { "mapRoles": "[]" } }),
            json!({ "data": { "mapRoles": null } }),
            json!({ "data": null }),
            json!({ "data": { "mapUsers": "x".repeat(1_048_576) } }),
        ],
    });
    out
}

/// Every write of a kind that is tried on this state.
pub(crate) fn writes_for(key: &ObjectKey, found: ExistingObject) -> Vec<WriteRequest> {
    let create = WriteRequest::Create(minimal_object(key));
    if found == ExistingObject::Absent {
        return vec![create];
    }
    let patches = patches_for(key.kind()).into_iter().map(WriteRequest::Patch);
    patches.chain([create, WriteRequest::Delete]).collect()
}

/// Bodies to create, the odd and the refused.
pub(crate) fn create_bodies() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io";
    let mut out = Vec::new();
    let mut role = |rest: Value| {
        for kind in [ObjectKind::ClusterRole, ObjectKind::Role] {
            out.push(build_object(&object_key(kind, "body"), &rest));
        }
    };
    role(json!({}));
    role(json!({ "rules": [] }));
    role(json!({ "rules": [{ "apiGroups": [""], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": [], "apiGroups": [""], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": "get", "apiGroups": [""], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": [1], "apiGroups": [""], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": ["get"], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": ["get"], "apiGroups": [""] }] }));
    role(json!({ "rules": [{ "verbs": [""], "apiGroups": ["x y"], "resources": ["PODS", "pods/*"] }] }));
    role(json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/metrics", "no slash", "/a*b"] }] }));
    role(json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"] }] }));
    role(json!({ "rules": [{ "verbs": ["get"], "nonResourceURLs": ["/x"], "resourceNames": ["x"] }] }));
    role(json!({ "rules": [rule()], "metadata": { "labels": { "a": "not a value" } } }));
    role(json!({ "rules": [rule()], "metadata": { "labels": { "a": "" } } }));
    role(json!({ "rules": [rule()], "metadata": { "labels": { "Prefix.x/a": "b" } } }));
    role(json!({ "rules": [rule()], "metadata": { "labels": { "a": 1 } } }));
    role(json!({ "rules": [rule()], "metadata": { "annotations": { "a/b/c": "" } } }));
    role(json!({ "rules": [rule()], "metadata": { "annotations": { "ROLECALL/Policy": "" } } }));
    role(json!({ "rules": [rule()], "metadata": { "annotations": { "a": null } } }));
    let selectors = [
        json!([]),
        json!([{}]),
        json!([{ "matchLabels": { "a": "b" } }]),
        json!([{ "matchLabels": { "a b": "c" } }]),
        json!([{ "matchLabels": { "a": "not a value" } }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "Exists" }] }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "exists" }] }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "In", "values": [] }] }]),
        json!([{ "matchExpressions": [{ "key": "a", "operator": "NotIn", "values": ["not a value"] }] }]),
        json!([{ "matchExpressions": [{ "key": "", "operator": "DoesNotExist" }] }]),
    ];
    for selectors in selectors {
        let rest = json!({ "aggregationRule": { "clusterRoleSelectors": selectors } });
        out.push(build_object(&object_key(ObjectKind::ClusterRole, "body"), &rest));
    }
    out.push(build_object(
        &object_key(ObjectKind::ClusterRole, "body"),
        &json!({ "rules": [rule()], "aggregationRule": null }),
    ));
    let mut binding = |rest: Value| {
        for kind in [ObjectKind::ClusterRoleBinding, ObjectKind::RoleBinding] {
            out.push(build_object(&object_key(kind, "body"), &rest));
        }
    };
    let role_refs = [
        json!({ "kind": "ClusterRole", "name": "some" }),
        json!({ "kind": "ClusterRole", "name": "some", "apiGroup": "" }),
        json!({ "kind": "ClusterRole", "name": "some", "apiGroup": "other" }),
        json!({ "kind": "Role", "name": "some" }),
        json!({ "kind": "clusterrole", "name": "some" }),
        json!({ "kind": "ClusterRole", "name": "" }),
        json!({ "kind": "ClusterRole", "name": "a/b" }),
        json!({ "kind": "ClusterRole", "name": "A b@c:d" }),
        json!({ "name": "some" }),
    ];
    for role_ref in role_refs {
        binding(json!({ "roleRef": role_ref }));
    }
    let subjects = [
        json!({ "kind": "User", "name": "u" }),
        json!({ "kind": "User", "name": "" }),
        json!({ "kind": "user", "name": "u" }),
        json!({ "kind": "User", "name": "u", "apiGroup": rbac }),
        json!({ "kind": "User", "name": "u", "apiGroup": "" }),
        json!({ "kind": "User", "name": "u", "apiGroup": "other" }),
        json!({ "kind": "Group", "name": "g", "apiGroup": "v1" }),
        json!({ "kind": "Group", "name": "g", "namespace": "ignored" }),
        json!({ "kind": "ServiceAccount", "name": "sa" }),
        json!({ "kind": "ServiceAccount", "name": "sa", "namespace": "nowhere" }),
        json!({ "kind": "ServiceAccount", "name": "sa", "namespace": "x", "apiGroup": rbac }),
        json!({ "kind": "ServiceAccount", "name": "Upper", "namespace": "x" }),
        json!({ "kind": "ServiceAccount", "name": "a.b", "namespace": "x" }),
        json!({ "kind": "ServiceAccount", "name": "", "namespace": "x" }),
        json!({ "name": "u" }),
    ];
    for subject in subjects {
        binding(json!({ "roleRef": { "kind": "ClusterRole", "name": "some" }, "subjects": [subject] }));
    }
    for name in ["A b@c:d", "ü", "a%b", ".", "-", &"x".repeat(300)] {
        out.push(minimal_object(&object_key(ObjectKind::ClusterRole, name)));
    }
    let mut nowhere = minimal_object(&ObjectKey::role("nowhere", "body"));
    out.push(nowhere.clone());
    nowhere["metadata"]["namespace"] = json!("ending");
    out.push(nowhere);
    let datas = [
        json!({}),
        json!({ "data": { "mapRoles": "x".repeat(1_048_576) } }),
        json!({ "data": { "mapRoles": "x".repeat(1_048_577) } }),
        json!({ "data": { "mapRoles": 1 } }),
        json!({ "data": { "a/b": "" } }),
        json!({ "data": { "": "" } }),
        json!({ "data": { "..": "" } }),
        json!({ "data": { "a-b_c.D": "" } }),
        json!({ "binaryData": { "mapRoles": "eHh4" } }),
        json!({ "binaryData": { "mapRoles": "no base64" } }),
        json!({ "binaryData": { "mapRoles": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_576) } }),
        json!({ "binaryData": { "other": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_574) } }),
        json!({ "binaryData": { "other": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_575) } }),
        json!({ "immutable": true, "data": { "a": "b" } }),
    ];
    out.extend(datas.iter().map(|rest| build_object(&ObjectKey::aws_auth(), rest)));
    out
}
