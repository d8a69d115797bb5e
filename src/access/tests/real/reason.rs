//! The words of a real API server, as they are read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::RandomCase;
use super::server::RealServer;
use crate::access::{AllowReason, Request};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{Binding, Role, binding_to_json, role_to_json};
use crate::state::object_meta::ObjectMeta;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// What an apply reads to tell the binding that comes from the one that goes.
#[test]
fn the_reason_of_a_yes_names_binding_role_and_subject_as_they_are_read() {
    let server = RealServer::start();
    let odd = "a:b\"c\\d é\u{a0}@";
    let role = ObjectKey::cluster_role(odd);
    let own = ObjectKey::role("real-a", "r");
    let group = |name: &str| Subject::Group(name.to_owned());
    let all = [
        (ObjectKey::binding(None, odd), &role, group("g\t\"1\u{7f}")),
        (ObjectKey::binding(None, "b"), &role, Subject::User("arn:aws:iam::1:user/x".to_owned())),
        (ObjectKey::binding(Some("real-a"), "b"), &role, group("g2")),
        (
            ObjectKey::binding(Some("real-a"), "c"),
            &own,
            Subject::ServiceAccount { namespace: "real-a".to_owned(), name: "s".to_owned() },
        ),
    ];
    let rules = vec![Rule {
        verbs: vec!["get".to_owned()],
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        ..Rule::default()
    }];
    let content = Role { rules, ..Role::default() };
    let mut objects: Vec<Value> = [&role, &own].iter().map(|key| role_to_json(key, &content)).collect();
    for (binding, role, subject) in &all {
        let role_ref = match role.kind() {
            ObjectKind::Role => RoleRef::Role(role.name().to_owned()),
            _ => RoleRef::ClusterRole(role.name().to_owned()),
        };
        let (meta, subjects) = (ObjectMeta::default(), vec![subject.clone()]);
        objects.push(binding_to_json(binding, &Binding { meta, role_ref, subjects }));
    }
    server.write_case(&RandomCase::from_value(json!({ "objects": objects }))).unwrap();
    for (binding, role, subject) in all {
        let login = match &subject {
            Subject::Group(name) => ("somebody".to_owned(), vec![name.clone()]),
            Subject::User(name) => (name.clone(), Vec::new()),
            Subject::ServiceAccount { .. } => ("system:serviceaccount:real-a:s".to_owned(), Vec::new()),
        };
        let request = Request::object("get", "", "pods").in_namespace("real-a");
        let deadline = Instant::now() + Duration::from_secs(10);
        let reason = loop {
            let ruling = server.review_status(&login, &request);
            if ruling["allowed"] == true {
                break ruling["reason"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "{binding}: {ruling}");
        };
        let role = role.clone();
        assert_eq!(AllowReason::parse(&reason), Some(AllowReason { binding, role, subject }), "{reason}");
    }
    let ruling =
        server.review_status(&("admin".to_owned(), vec!["system:masters".to_owned()]), &Request::url("get", "/x"));
    assert!(ruling["allowed"] == true && AllowReason::parse(ruling["reason"].as_str().unwrap_or_default()).is_none());
}
