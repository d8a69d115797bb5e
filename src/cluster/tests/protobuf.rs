//! A list decoded from protobuf equals the same list decoded from JSON.

use serde_json::{Value, json};

use super::differential::DifferentialFixture;
use crate::cluster::ReadCluster as _;
use crate::cluster::object_path::collection_path;
use crate::names::ObjectKind;
use crate::state::State;
use crate::state::validate::parse_object_key;

/// Returns an object of the kind with every field of its metadata set.
fn object_with_full_metadata(kind: ObjectKind) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": "protobuf:full @1",
            "labels": { "team": "a", "empty": "" },
            "annotations": {
                "note": "ä \"quoted\"\n",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            "finalizers": ["example.com/cleanup"],
            "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1" }],
        },
    });
    let fields = match kind {
        ObjectKind::ClusterRole => json!({ "aggregationRule": { "clusterRoleSelectors": [
            { "matchLabels": { "a": "b" }, "matchExpressions": [{ "key": "k", "operator": "In", "values": ["x", "y"] }] },
            { "matchExpressions": [{ "key": "k", "operator": "Exists" }] },
            {},
        ] } }),
        ObjectKind::Role => json!({ "rules": [
            { "verbs": ["get", "*"], "apiGroups": ["", "apps"], "resources": ["pods", "*/scale"], "resourceNames": ["", "n"] },
        ] }),
        _ => json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "none" },
            "subjects": [
                { "kind": "Group", "name": "g" },
                { "kind": "User", "name": "u" },
                { "kind": "ServiceAccount", "name": "s", "namespace": "other" },
            ],
        }),
    };
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    if matches!(kind, ObjectKind::Role | ObjectKind::RoleBinding) {
        object["metadata"]["namespace"] = json!("differential");
    }
    object
}

#[test]
fn protobuf_list_equals_json_list() {
    let fixture = DifferentialFixture::new();
    let kinds = [ObjectKind::ClusterRole, ObjectKind::Role, ObjectKind::ClusterRoleBinding, ObjectKind::RoleBinding];
    for kind in kinds {
        fixture.create(&object_with_full_metadata(kind));
    }
    let mut terminating = object_with_full_metadata(ObjectKind::Role);
    terminating["metadata"]["name"] = json!("protobuf-terminating");
    fixture.create(&terminating);
    let mut manual_rules = object_with_full_metadata(ObjectKind::ClusterRole);
    manual_rules["metadata"]["name"] = json!("protobuf-manual-rules");
    manual_rules["rules"] = object_with_full_metadata(ObjectKind::Role)["rules"].clone();
    fixture.create(&manual_rules);
    let path = format!("{}/protobuf-terminating", collection_path(ObjectKind::Role, Some("differential")));
    fixture.cluster.admin("DELETE", &path, None);
    let from_protobuf = fixture.runtime.block_on(fixture.live.read_state()).unwrap();
    let mut from_json = State { cluster_uid: from_protobuf.cluster_uid.clone(), ..State::default() };
    for kind in kinds.into_iter().chain([ObjectKind::Namespace]) {
        let (_, list) = fixture.cluster.admin("GET", &collection_path(kind, None), None);
        for item in list["items"].as_array().unwrap() {
            let mut object = item.clone();
            object["apiVersion"] = json!(kind.api_version());
            object["kind"] = json!(kind.as_str());
            from_json.insert_object(&parse_object_key(&object).unwrap().unwrap(), &object).unwrap();
        }
    }
    assert_eq!(from_protobuf.namespaces, from_json.namespaces);
    assert_eq!(from_protobuf.roles, from_json.roles);
    assert_eq!(from_protobuf.bindings, from_json.bindings);
    let terminating = from_protobuf.roles.values().filter(|role| role.meta.deleting).count();
    assert_eq!(terminating, 1, "the list contains the role that is being deleted");
    let manual_rules: Vec<&str> = from_protobuf
        .roles
        .iter()
        .filter(|(_, role)| role.meta.has_manual_rules())
        .map(|(key, _)| key.name())
        .collect();
    assert_eq!(manual_rules, ["protobuf-manual-rules"], "roles whose rules have another manager than the controller");
    let exported = fixture.runtime.block_on(fixture.live.export_objects()).unwrap();
    let mut snapshot = State::default();
    for object in &exported {
        // The discovery of the cluster is not an object.
        let Some(key) = parse_object_key(object).unwrap() else { continue };
        if key.kind() == ObjectKind::ClusterRole {
            snapshot.insert_object(&key, object).unwrap();
        }
    }
    for (key, role) in &snapshot.roles {
        assert_eq!(role.meta.rules_manager, from_protobuf.roles[key].meta.rules_manager, "{key} in a snapshot");
    }
    let with_managed_fields = exported.iter().filter(|object| object.pointer("/metadata/managedFields").is_some());
    assert_eq!(with_managed_fields.count(), 1, "a snapshot only has the managed fields of aggregated roles");
    let with_writer = from_protobuf.roles.values().filter(|role| role.meta.last_writer.is_some()).count();
    assert!(with_writer > 1, "the last writers are decoded");
}
