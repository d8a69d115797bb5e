//! Aggregated ClusterRoles: now and once the controller has run.

use super::fixture::{aggregated, binding, cluster_role, parse_request, state, subject_query};
use crate::access::{AccessDecision, AccessView, Aggregation, GrantSource, find_aggregation_cycles};
use crate::state::object_meta::RulesManager;

const TO_VIEW: &str = "[{matchLabels: {to-view: 'true'}}]";
const PODS: &str = "[{verbs: [get], apiGroups: [''], resources: [pods]}]";
const JOBS: &str = "[{verbs: [get], apiGroups: [batch], resources: [jobs]}]";

fn can(state: &crate::state::State, moment: Aggregation, question: &str) -> bool {
    AccessView::new(state, moment).can(&subject_query("group:g"), &parse_request(question)).decision
        == AccessDecision::Allowed
}

#[test]
fn stored_rules_answer_until_the_controller_has_run() {
    let text = cluster_role("pods", "{to-view: 'true'}", PODS) + &binding("b", None, "view", ("Group", "g"));
    let filled = state(&(text.clone() + &aggregated("view", "{}", TO_VIEW, JOBS)));
    assert!(can(&filled, Aggregation::AsStored, "get jobs.batch") && !can(&filled, Aggregation::AsStored, "get pods"));
    assert!(
        can(&filled, Aggregation::Reconciled, "get pods") && !can(&filled, Aggregation::Reconciled, "get jobs.batch")
    );
    let empty = state(&(text + &aggregated("view", "{}", TO_VIEW, "[]")));
    assert!(can(&empty, Aggregation::AsStored, "get pods"));
    let access = AccessView::new(&empty, Aggregation::AsStored);
    let answer = access.can(&subject_query("group:g"), &parse_request("get pods"));
    let [GrantSource::Path(chain)] = answer.granted_by.as_slice() else {
        panic!("one rule allows it: {:?}", answer.granted_by);
    };
    assert_eq!((chain.role.name(), chain.source.name()), ("view", "pods"));
}

#[test]
fn aggregation_goes_through_aggregated_roles() {
    let chain = state(
        &(cluster_role("pods", "{to-view: 'true'}", PODS)
            + &aggregated("view", "{to-edit: 'true'}", TO_VIEW, "[]")
            + &aggregated("edit", "{to-admin: 'true'}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
            + &aggregated("admin", "{}", "[{matchLabels: {to-admin: 'true'}}]", "[]")
            + &binding("b", None, "admin", ("Group", "g"))),
    );
    for moment in [Aggregation::AsStored, Aggregation::Reconciled] {
        assert!(can(&chain, moment, "get pods") && !can(&chain, moment, "get jobs.batch"));
    }
}

#[test]
fn an_empty_selector_takes_every_cluster_role() {
    let state = state(
        &(cluster_role("pods", "{}", PODS)
            + &cluster_role("jobs", "{a: b}", JOBS)
            + &aggregated("all", "{}", "[{}]", "[]")
            + &binding("b", None, "all", ("Group", "g"))),
    );
    assert!(can(&state, Aggregation::Reconciled, "get pods") && can(&state, Aggregation::Reconciled, "get jobs.batch"));
}

#[test]
fn in_a_circle_stays_what_each_has_already_and_nothing_else() {
    let circle = |one: &str, other: &str| {
        state(
            &(aggregated("a", "{to-b: 'true'}", "[{matchLabels: {to-a: 'true'}}]", one)
                + &aggregated("b", "{to-a: 'true'}", "[{matchLabels: {to-b: 'true'}}]", other)
                + &aggregated("c", "{}", "[{matchLabels: {to-a: 'true'}}]", "[]")
                + &cluster_role("pods", "{to-a: 'true'}", PODS)
                + &binding("b", None, "a", ("Group", "g"))
                + &binding("c", None, "c", ("Group", "h"))),
        )
    };
    let both = circle(JOBS, JOBS);
    assert!(can(&both, Aggregation::Reconciled, "get jobs.batch") && can(&both, Aggregation::Reconciled, "get pods"));
    let through = AccessView::new(&both, Aggregation::Reconciled)
        .can(&subject_query("group:h"), &parse_request("get jobs.batch"))
        .decision;
    assert_eq!(through, AccessDecision::Allowed);
    let one = circle(JOBS, "[]");
    assert!(!can(&one, Aggregation::Reconciled, "get jobs.batch") && can(&one, Aggregation::Reconciled, "get pods"));
    let found = find_aggregation_cycles(&one);
    let names: Vec<Vec<&str>> = found.iter().map(|circle| circle.iter().map(|key| key.name()).collect()).collect();
    assert_eq!(names, [["a", "b"]]);
}

#[test]
fn rules_that_somebody_else_holds_stay_where_nothing_comes_in() {
    let role = |by_hand: bool, labels: &str| {
        let mut state = state(
            &(aggregated("view", "{to-edit: 'true'}", TO_VIEW, JOBS)
                + &aggregated("edit", "{}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
                + &cluster_role("pods", labels, PODS)
                + &binding("b", None, "view", ("Group", "g"))
                + &binding("c", None, "edit", ("Group", "h"))),
        );
        for role in state.roles.values_mut().filter(|role| role.aggregation.is_some() && !role.rules.is_empty()) {
            role.meta.rules_manager = if by_hand { RulesManager::Other } else { RulesManager::AggregationController };
        }
        state
    };
    let (by_hand, filled) = (role(true, "{}"), role(false, "{}"));
    assert!(
        can(&by_hand, Aggregation::Reconciled, "get jobs.batch")
            && !can(&filled, Aggregation::Reconciled, "get jobs.batch")
    );
    let handed_on = AccessView::new(&by_hand, Aggregation::Reconciled)
        .can(&subject_query("group:h"), &parse_request("get jobs.batch"))
        .decision;
    assert_eq!(handed_on, AccessDecision::Allowed);
    // What comes in is written over them.
    let fed = role(true, "{to-view: 'true'}");
    assert!(can(&fed, Aggregation::Reconciled, "get pods") && !can(&fed, Aggregation::Reconciled, "get jobs.batch"));
}
