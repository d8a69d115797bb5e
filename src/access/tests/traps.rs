//! Pitfalls of RBAC. `tests/it/traps.rs` lists them by number.

use super::fixture::{ALL_RULES, READ_ALL, binding, can, cluster_role, mapped, parse_request, state, subject_query};
use crate::access::{AccessDecision, AccessView, Aggregation, NearMiss, RuleMismatch};
use crate::state::State;

#[test]
fn role_binding_to_cluster_admin_grants_only_its_namespace() {
    let state = state(
        &(cluster_role("cluster-admin", "{}", ALL_RULES)
            + &binding("admins", Some("team"), "cluster-admin", ("User", "alice"))),
    );
    assert!(can(&state, "user:alice", "delete namespaces named team"));
    assert!(!can(&state, "user:alice", "delete namespaces named other"));
    assert!(can(&state, "user:alice", "get secrets -n team") && !can(&state, "user:alice", "list secrets"));
    assert!(!can(&state, "user:alice", "get nodes named n -n team") && !can(&state, "user:alice", "get /metrics"));
    assert!(!can(&state, "user:alice", "list namespaces") && !can(&state, "user:alice", "create namespaces"));
}

#[test]
fn resource_names_do_not_match_requests_without_name() {
    let rules = "[{verbs: [create, list, patch], apiGroups: [''], resources: [configmaps], resourceNames: [aws-auth]}]";
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", None, "r", ("User", "u"))));
    assert!(!can(&state, "user:u", "create configmaps -n kube-system"));
    assert!(can(&state, "user:u", "create configmaps -n kube-system named aws-auth"));
    assert!(can(&state, "user:u", "list configmaps -n kube-system named aws-auth"));
    assert!(!can(&state, "user:u", "list configmaps -n kube-system"));
}

#[test]
fn dangling_binding_grants_access_once_its_role_exists() {
    let dangling = binding("b", None, "ghost", ("Group", "dev"));
    let before = state(&dangling);
    let access = AccessView::new(&before, Aggregation::AsStored);
    let answer = access.can(&subject_query("group:dev"), &parse_request("get pods"));
    assert_eq!(answer.decision, AccessDecision::Denied);
    assert!(matches!(answer.near_misses.as_slice(), [NearMiss::MissingRole { .. }]));
    assert_eq!(access.dangling_bindings().iter().map(|(key, _)| key.name()).collect::<Vec<_>>(), ["b"]);
    let after = state(&(dangling + &cluster_role("ghost", "{}", READ_ALL)));
    assert!(
        can(&after, "group:dev", "get pods")
            && AccessView::new(&after, Aggregation::AsStored).dangling_bindings().is_empty()
    );
}

#[test]
fn object_with_deletion_timestamp_still_grants_access() {
    let mut state = state(&(cluster_role("viewer", "{}", READ_ALL) + &binding("b", None, "viewer", ("Group", "dev"))));
    for role in state.roles.values_mut() {
        role.meta.deleting = true;
    }
    assert!(can(&state, "group:dev", "get pods"));
}

#[test]
fn wildcard_viewer_can_read_secrets_and_reach_the_kubelet() {
    let state = state(&(cluster_role("x", "{}", READ_ALL) + &binding("b", None, "x", ("Group", "viewers"))));
    assert!(can(&state, "group:viewers", "get secrets -n kube-system"));
    assert!(can(&state, "group:viewers", "get nodes/proxy named n"));
    assert!(!can(&state, "group:viewers", "create nodes/proxy named n"));
}

#[test]
fn binding_to_system_authenticated_applies_to_all_but_anonymous() {
    let rules = "[{verbs: [create], apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews]}]";
    let state =
        state(&(cluster_role("basic", "{}", rules) + &binding("b", None, "basic", ("Group", "system:authenticated"))));
    for subject in ["user:alice", "group:dev", "sa:ci/bot"] {
        assert!(can(&state, subject, "create selfsubjectaccessreviews.authorization.k8s.io"), "{subject}");
    }
    assert!(!can(&state, "user:system:anonymous", "create selfsubjectaccessreviews.authorization.k8s.io"));
}

#[test]
fn system_masters_need_no_rules_and_are_listed_first() {
    let mut state = state(&(cluster_role("x", "{}", READ_ALL) + &binding("b", None, "x", ("Group", "viewers"))));
    state.aws_auth = mapped(&[(
        "mapRoles",
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [viewers]\n\
         - rolearn: arn:aws:iam::111122223333:role/b\n  username: b\n  groups: ['system:masters']\n",
    )])
    .aws_auth;
    let access = AccessView::new(&state, Aggregation::AsStored);
    let answer = access.who_can(&parse_request("get secrets -n team"));
    let subjects = |list: &[std::rc::Rc<crate::access::MappedPrincipal>]| {
        list.iter().map(|p| p.subject.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&answer.system_masters), ["arn:aws:iam::111122223333:role/b"]);
    assert_eq!(subjects(&answer.principals), ["arn:aws:iam::111122223333:role/a"]);
    let [bound] = answer.subjects.as_slice() else {
        panic!("expected one bound group: {:?}", answer.subjects);
    };
    assert_eq!(bound.members[0].1.principal, "arn:aws:iam::111122223333:role/a");
    let delete = access.who_can(&parse_request("delete nodes named n"));
    assert_eq!(
        (subjects(&delete.system_masters).len(), subjects(&delete.principals).len(), delete.subjects.len()),
        (1, 0, 0)
    );
    assert!(can(&state, "arn:aws:iam::111122223333:role/b", "get /metrics"));
    // The group needs no binding.
    assert!(can(&State::default(), "group:system:masters", "delete nodes named n"));
}

#[test]
fn user_subject_with_service_account_username_matches() {
    let state = state(
        &(cluster_role("x", "{}", READ_ALL)
            + &binding("b", None, "x", ("User", "system:serviceaccount:ci:bot"))
            + &binding("c", Some("team"), "x", ("ServiceAccount", "local"))),
    );
    assert!(can(&state, "sa:ci/bot", "get pods"));
    assert!(can(&state, "sa:team/local", "get pods -n team") && !can(&state, "sa:team/local", "get pods -n ci"));
    assert!(can(&state, "user:system:serviceaccount:team:local", "get pods -n team"));
}

#[test]
fn near_misses_name_the_mismatch() {
    let rules = "[{verbs: [get], apiGroups: [''], resources: [secrets], resourceNames: [db]}]";
    let state = state(
        &(cluster_role("x", "{}", rules)
            + &binding("b", Some("team"), "x", ("User", "u"))
            + &binding("c", Some("prod"), "x", ("User", "other"))),
    );
    let access = AccessView::new(&state, Aggregation::AsStored);
    let mismatches = |request: &str| {
        let answer = access.can(&subject_query("user:u"), &parse_request(request));
        assert_eq!(answer.decision, AccessDecision::Denied);
        answer
            .near_misses
            .iter()
            .filter_map(|miss| match miss {
                NearMiss::Rule { mismatch, .. } => Some(*mismatch),
                NearMiss::MissingRole { .. } => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(mismatches("get secrets named db -n prod"), [RuleMismatch::Namespace]);
    assert_eq!(mismatches("list secrets named db -n team"), [RuleMismatch::Verb]);
    assert_eq!(mismatches("get secrets named web -n team"), [RuleMismatch::Name]);
    assert_eq!(mismatches("get configmaps named db -n team"), [RuleMismatch::Resource]);
    assert_eq!(mismatches("get pods named web -n team"), []);
}
