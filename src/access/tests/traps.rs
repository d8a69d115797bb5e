//! What surprises people about RBAC, trap by trap.

use super::fixture::{ALL_RULES, ask, binding, can, cluster_role, mapped, state, who};
use crate::access::{Access, Lack, Miss, Moment, Verdict};
use crate::state::State;

const VIEWER: &str = "[{verbs: [get, list], apiGroups: ['*'], resources: ['*']}]";

#[test]
fn a_role_binding_to_cluster_admin_is_no_cluster_admin() {
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
fn names_limit_what_has_a_name() {
    let rules = "[{verbs: [create, list, patch], apiGroups: [''], resources: [configmaps], resourceNames: [aws-auth]}]";
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", None, "r", ("User", "u"))));
    assert!(!can(&state, "user:u", "create configmaps -n kube-system"));
    assert!(can(&state, "user:u", "create configmaps -n kube-system named aws-auth"));
    assert!(can(&state, "user:u", "list configmaps -n kube-system named aws-auth"));
    assert!(!can(&state, "user:u", "list configmaps -n kube-system"));
}

#[test]
fn a_binding_to_a_missing_role_is_pending_and_comes_alive_with_it() {
    let bound = binding("b", None, "ghost", ("Group", "dev"));
    let before = state(&bound);
    let access = Access::of(&before, Moment::Stored);
    let answer = access.can(&who("group:dev"), &ask("get pods"));
    assert_eq!(answer.verdict, Verdict::No);
    assert!(matches!(answer.misses.as_slice(), [Miss::Pending { .. }]));
    assert_eq!(access.pending().iter().map(|(key, _)| key.name()).collect::<Vec<_>>(), ["b"]);
    let after = state(&(bound + &cluster_role("ghost", "{}", VIEWER)));
    assert!(can(&after, "group:dev", "get pods") && Access::of(&after, Moment::Stored).pending().is_empty());
}

#[test]
fn an_object_that_is_being_deleted_still_grants() {
    let mut state = state(&(cluster_role("viewer", "{}", VIEWER) + &binding("b", None, "viewer", ("Group", "dev"))));
    for role in state.roles.values_mut() {
        role.meta.deleting = true;
    }
    assert!(can(&state, "group:dev", "get pods"));
}

#[test]
fn a_viewer_of_everything_reads_secrets_and_reaches_the_kubelet() {
    let state = state(&(cluster_role("x", "{}", VIEWER) + &binding("b", None, "x", ("Group", "viewers"))));
    assert!(can(&state, "group:viewers", "get secrets -n kube-system"));
    assert!(can(&state, "group:viewers", "get nodes/proxy named n"));
    assert!(!can(&state, "group:viewers", "create nodes/proxy named n"));
}

#[test]
fn what_everybody_has_everybody_has() {
    let rules = "[{verbs: [create], apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews]}]";
    let state =
        state(&(cluster_role("basic", "{}", rules) + &binding("b", None, "basic", ("Group", "system:authenticated"))));
    for subject in ["user:alice", "group:dev", "sa:ci/bot"] {
        assert!(can(&state, subject, "create selfsubjectaccessreviews.authorization.k8s.io"), "{subject}");
    }
    assert!(!can(&state, "user:system:anonymous", "create selfsubjectaccessreviews.authorization.k8s.io"));
}

#[test]
fn masters_need_no_rules_and_come_first() {
    let mut state = state(&(cluster_role("x", "{}", VIEWER) + &binding("b", None, "x", ("Group", "viewers"))));
    state.aws_auth = mapped(&[(
        "mapRoles",
        "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n  groups: [viewers]\n\
         - rolearn: arn:aws:iam::111122223333:role/b\n  username: b\n  groups: ['system:masters']\n",
    )])
    .aws_auth;
    let access = Access::of(&state, Moment::Stored);
    let answer = access.who_can(&ask("get secrets -n team"));
    let named =
        |list: &[std::rc::Rc<crate::access::Principal>]| list.iter().map(|p| p.who.to_string()).collect::<Vec<_>>();
    assert_eq!(named(&answer.masters), ["arn:aws:iam::111122223333:role/b"]);
    assert_eq!(named(&answer.principals), ["arn:aws:iam::111122223333:role/a"]);
    let [holder] = answer.holders.as_slice() else {
        panic!("one group is bound: {:?}", answer.holders);
    };
    assert_eq!(holder.behind[0].principal, "arn:aws:iam::111122223333:role/a");
    let delete = access.who_can(&ask("delete nodes named n"));
    assert_eq!((named(&delete.masters).len(), named(&delete.principals).len(), delete.holders.len()), (1, 0, 0));
    assert!(can(&state, "arn:aws:iam::111122223333:role/b", "get /metrics"));
    // The group itself is no binding, and still everything.
    assert!(can(&State::default(), "group:system:masters", "delete nodes named n"));
}

#[test]
fn a_service_account_is_bound_by_its_username_too() {
    let state = state(
        &(cluster_role("x", "{}", VIEWER)
            + &binding("b", None, "x", ("User", "system:serviceaccount:ci:bot"))
            + &binding("c", Some("team"), "x", ("ServiceAccount", "local"))),
    );
    assert!(can(&state, "sa:ci/bot", "get pods"));
    assert!(can(&state, "sa:team/local", "get pods -n team") && !can(&state, "sa:team/local", "get pods -n ci"));
    assert!(can(&state, "user:system:serviceaccount:team:local", "get pods -n team"));
}

#[test]
fn a_no_says_what_was_missing() {
    let rules = "[{verbs: [get], apiGroups: [''], resources: [secrets], resourceNames: [db]}]";
    let state = state(
        &(cluster_role("x", "{}", rules)
            + &binding("b", Some("team"), "x", ("User", "u"))
            + &binding("c", Some("prod"), "x", ("User", "other"))),
    );
    let access = Access::of(&state, Moment::Stored);
    let lack = |question: &str| {
        let answer = access.can(&who("user:u"), &ask(question));
        assert_eq!(answer.verdict, Verdict::No);
        answer
            .misses
            .iter()
            .filter_map(|miss| match miss {
                Miss::Rule { lack, .. } => Some(*lack),
                Miss::Pending { .. } => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(lack("get secrets named db -n prod"), [Lack::Namespace]);
    assert_eq!(lack("list secrets named db -n team"), [Lack::Verb]);
    assert_eq!(lack("get secrets named web -n team"), [Lack::Name]);
    assert_eq!(lack("get configmaps named db -n team"), [Lack::Resource]);
    assert_eq!(lack("get pods named web -n team"), []);
}
