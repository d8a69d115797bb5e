//! Test cases for writes: the state of an object before the write, and the write itself.

use serde_json::{Value, json};

use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::role_ref_to_json;
use crate::state::rbac::RoleRef;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// A namespace that is being deleted.
pub(crate) const TERMINATING_NAMESPACE: &str = "terminating";

/// The state of the object before the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExistingObject {
    Absent,
    /// In the version that was read.
    Unchanged,
    /// Changed since it was read.
    Modified,
    /// Deleted and created again since it was read.
    Recreated,
    /// Deleted since it was read.
    Deleted,
    /// Being deleted, but kept by a finalizer.
    Terminating,
    /// In the version that was read, with a finalizer.
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

/// The kinds of objects that a plan writes. The only ConfigMap is aws-auth.
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

/// Returns the object with this key and these other fields.
pub(crate) fn build_object(key: &ObjectKey, fields: &Value) -> Value {
    let mut metadata = json!({ "name": key.name() });
    if let Some(namespace) = key.namespace() {
        metadata["namespace"] = json!(namespace);
    }
    let mut object =
        json!({ "apiVersion": key.kind().api_version(), "kind": key.kind().as_str(), "metadata": metadata });
    apply_merge_patch(&mut object, fields);
    object
}

/// Returns a valid object with the usual fields of its kind.
pub(crate) fn minimal_object(key: &ObjectKey) -> Value {
    let fields = match key.kind() {
        ObjectKind::ClusterRole | ObjectKind::Role => json!({ "rules": [rule()] }),
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => json!({
            "roleRef": role_ref_to_json(&RoleRef::ClusterRole("some".to_owned())),
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g" }],
        }),
        ObjectKind::AccessEntry => json!({ "type": "STANDARD", "username": "u" }),
        _ => json!({ "data": { "mapRoles": "[]" } }),
    };
    build_object(key, &fields)
}

fn rule() -> Value {
    json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] })
}

/// Patches for a kind: some change the object, some do not, and some are invalid.
fn patches_for(kind: ObjectKind) -> Vec<Value> {
    let mut patches = vec![
        json!({ "metadata": { "labels": { "a": "b" } } }),
        json!({ "metadata": { "labels": { "absent": null } } }),
        json!({ "metadata": { "labels": { "a b": "c" } } }),
        json!({ "metadata": { "finalizers": null } }),
        json!({ "metadata": { "annotations": { "rolecall/policy": "x\ny" } } }),
        json!({ "metadata": { "annotations": { "big": "x".repeat(262_144) } } }),
        json!({}),
    ];
    patches.extend(match kind {
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
        _ => vec![
            json!({ "data": { "mapRoles": "- rolearn: a\n" } }),
            json!({ "data": { "mapRoles": "[]" } }),
            json!({ "data": { "mapRoles": null } }),
            json!({ "data": null }),
            json!({ "data": { "mapUsers": "x".repeat(1_048_576) } }),
        ],
    });
    patches
}

/// Returns every write that is tried on an object in this state.
pub(crate) fn writes_for(key: &ObjectKey, existing: ExistingObject) -> Vec<WriteRequest> {
    let create = WriteRequest::Create(minimal_object(key));
    if existing == ExistingObject::Absent {
        return vec![create];
    }
    let patches = patches_for(key.kind()).into_iter().map(WriteRequest::Patch);
    patches.chain([create, WriteRequest::Delete]).collect()
}

/// Bodies for create requests, both unusual and invalid ones.
pub(crate) fn create_bodies() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io";
    let mut bodies = Vec::new();
    let mut role = |fields: Value| {
        for kind in [ObjectKind::ClusterRole, ObjectKind::Role] {
            bodies.push(build_object(&object_key(kind, "body"), &fields));
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
        let fields = json!({ "aggregationRule": { "clusterRoleSelectors": selectors } });
        bodies.push(build_object(&object_key(ObjectKind::ClusterRole, "body"), &fields));
    }
    bodies.push(build_object(
        &object_key(ObjectKind::ClusterRole, "body"),
        &json!({ "rules": [rule()], "aggregationRule": null }),
    ));
    let mut binding = |fields: Value| {
        for kind in [ObjectKind::ClusterRoleBinding, ObjectKind::RoleBinding] {
            bodies.push(build_object(&object_key(kind, "body"), &fields));
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
        json!({ "kind": "ServiceAccount", "name": "sa", "namespace": "missing-namespace" }),
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
        bodies.push(minimal_object(&object_key(ObjectKind::ClusterRole, name)));
    }
    let mut role = minimal_object(&ObjectKey::role("missing-namespace", "body"));
    bodies.push(role.clone());
    role["metadata"]["namespace"] = json!(TERMINATING_NAMESPACE);
    bodies.push(role);
    let config_maps = [
        json!({}),
        json!({ "data": { "mapRoles": "x".repeat(1_048_576) } }),
        json!({ "data": { "mapRoles": "x".repeat(1_048_577) } }),
        json!({ "data": { "mapRoles": 1 } }),
        json!({ "data": { "a/b": "" } }),
        json!({ "data": { "": "" } }),
        json!({ "data": { "..": "" } }),
        json!({ "data": { "a-b_c.D": "" } }),
        json!({ "binaryData": { "mapRoles": "eHh4" } }),
        json!({ "binaryData": { "mapRoles": "not base64" } }),
        json!({ "binaryData": { "mapRoles": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_576) } }),
        json!({ "binaryData": { "other": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_574) } }),
        json!({ "binaryData": { "other": "eHg=" }, "data": { "mapRoles": "x".repeat(1_048_575) } }),
        json!({ "immutable": true, "data": { "a": "b" } }),
    ];
    bodies.extend(config_maps.iter().map(|fields| build_object(&ObjectKey::aws_auth(), fields)));
    bodies
}
