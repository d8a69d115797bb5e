//! Parsing of the reasons that a real API server returns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::RandomCase;
use super::server::{RealServer, ServerIdentity};
use crate::access::{AllowReason, Request};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::object::{Binding, Role, binding_to_json, role_to_json};
use crate::state::object_meta::ObjectMeta;
use crate::state::rbac::{RoleRef, Rule, Subject};

/// `apply` uses the reason to distinguish a new binding from one that it deletes.
#[test]
fn reason_of_an_allowed_review_is_parsed() {
    let server = RealServer::start();
    let special_name = "a:b\"c\\d é\u{a0}@";
    let cluster_role = ObjectKey::cluster_role(special_name);
    let local_role = ObjectKey::role("real-a", "r");
    let group = |name: &str| Subject::Group(name.to_owned());
    let cases = [
        (ObjectKey::binding(None, special_name), &cluster_role, group("g\t\"1\u{7f}")),
        (ObjectKey::binding(None, "b"), &cluster_role, Subject::User("arn:aws:iam::1:user/x".to_owned())),
        (ObjectKey::binding(Some("real-a"), "b"), &cluster_role, group("g2")),
        (
            ObjectKey::binding(Some("real-a"), "c"),
            &local_role,
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
    let mut objects: Vec<Value> = [&cluster_role, &local_role].iter().map(|key| role_to_json(key, &content)).collect();
    for (binding, role, subject) in &cases {
        let role_ref = match role.kind() {
            ObjectKind::Role => RoleRef::Role(role.name().to_owned()),
            _ => RoleRef::ClusterRole(role.name().to_owned()),
        };
        let (meta, subjects) = (ObjectMeta::default(), vec![subject.clone()]);
        objects.push(binding_to_json(binding, &Binding { meta, role_ref, subjects, namespaces: None }));
    }
    server.write_case(&RandomCase::from_value(json!({ "objects": objects }))).unwrap();
    for (binding, role, subject) in cases {
        let identity = match &subject {
            Subject::Group(name) => ServerIdentity::named("test-user", &[name]),
            Subject::User(name) => ServerIdentity::named(name, &[]),
            Subject::ServiceAccount { .. } => ServerIdentity::named("system:serviceaccount:real-a:s", &[]),
            Subject::AccessEntry(_) => panic!("a binding cannot name an access entry"),
        };
        let request = Request::object("get", "", "pods").in_namespace("real-a");
        let deadline = Instant::now() + Duration::from_secs(10);
        let reason = loop {
            let status = server.review_status(&identity, &request);
            if status["allowed"] == true {
                break status["reason"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "{binding}: {status}");
        };
        let role = role.clone();
        assert_eq!(AllowReason::parse(&reason), Some(AllowReason { binding, role, subject }), "{reason}");
    }
    let status = server.review_status(&ServerIdentity::named("admin", &["system:masters"]), &Request::url("get", "/x"));
    assert!(status["allowed"] == true && AllowReason::parse(status["reason"].as_str().unwrap_or_default()).is_none());
}
