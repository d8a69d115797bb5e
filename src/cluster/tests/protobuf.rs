//! The binary form of a list says what its JSON says.

use serde_json::{Value, json};

use super::differential::DifferentialFixture;
use crate::cluster::ReadCluster as _;
use crate::cluster::live::collection_path;
use crate::names::ObjectKind;
use crate::state::State;
use crate::state::validate::parse_object_key;

/// One object of each kind with all that its metadata may hold.
fn object_with_full_metadata(kind: ObjectKind) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": "forms:rich @1",
            "labels": { "team": "a", "empty": "" },
            "annotations": {
                "note": "ä \"quoted\"\n",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            "finalizers": ["example.com/held"],
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
fn a_list_in_the_binary_form_reads_as_its_json_does() {
    let bench = DifferentialFixture::new();
    let kinds = [ObjectKind::ClusterRole, ObjectKind::Role, ObjectKind::ClusterRoleBinding, ObjectKind::RoleBinding];
    for kind in kinds {
        bench.create(&object_with_full_metadata(kind));
    }
    let mut held = object_with_full_metadata(ObjectKind::Role);
    held["metadata"]["name"] = json!("forms-ending");
    bench.create(&held);
    let mut by_hand = object_with_full_metadata(ObjectKind::ClusterRole);
    by_hand["metadata"]["name"] = json!("forms-by-hand");
    by_hand["rules"] = object_with_full_metadata(ObjectKind::Role)["rules"].clone();
    bench.create(&by_hand);
    let ending = format!("{}/forms-ending", collection_path(ObjectKind::Role, Some("differential")));
    bench.cluster.admin("DELETE", &ending, None);
    let binary = bench.runtime.block_on(bench.live.observe()).unwrap();
    let mut plain = State { cluster_uid: binary.cluster_uid.clone(), ..State::default() };
    for kind in kinds.into_iter().chain([ObjectKind::Namespace]) {
        let (_, list) = bench.cluster.admin("GET", &collection_path(kind, None), None);
        for item in list["items"].as_array().unwrap() {
            let mut object = item.clone();
            object["apiVersion"] = json!(kind.api_version());
            object["kind"] = json!(kind.as_str());
            plain.insert_object(&parse_object_key(&object).unwrap().unwrap(), &object).unwrap();
        }
    }
    assert_eq!(binary.namespaces, plain.namespaces);
    assert_eq!(binary.roles, plain.roles);
    assert_eq!(binary.bindings, plain.bindings);
    let ending = binary.roles.values().filter(|role| role.meta.deleting).count();
    assert_eq!(ending, 1, "the role that ends is among them");
    let by_hand: Vec<&str> =
        binary.roles.iter().filter(|(_, role)| role.meta.has_manual_rules()).map(|(key, _)| key.name()).collect();
    assert_eq!(by_hand, ["forms-by-hand"], "whose rules somebody else holds");
    let exported = bench.runtime.block_on(bench.live.export()).unwrap();
    let mut snapshot = State::default();
    for object in &exported {
        let key = parse_object_key(object).unwrap().unwrap();
        if key.kind() == ObjectKind::ClusterRole {
            snapshot.insert_object(&key, object).unwrap();
        }
    }
    for (key, role) in &snapshot.roles {
        assert_eq!(role.meta.rules_manager, binary.roles[key].meta.rules_manager, "{key} in a snapshot");
    }
    let with_history = exported.iter().filter(|object| object.pointer("/metadata/managedFields").is_some());
    assert_eq!(with_history.count(), 1, "a snapshot keeps no more of who wrote what");
    let written = binary.roles.values().filter(|role| role.meta.last_writer.is_some()).count();
    assert!(written > 1, "writers are read");
}
