//! Aggregated ClusterRoles, as stored and after the aggregation controller has run.

use super::fixture::{aggregated, binding, cluster_role, parse_request, state, subject_query};
use crate::access::{AccessDecision, AccessView, Aggregation, GrantSource, find_aggregation_cycles};
use crate::state::object_meta::RulesManager;

const TO_VIEW: &str = "[{matchLabels: {to-view: 'true'}}]";
const PODS: &str = "[{verbs: [get], apiGroups: [''], resources: [pods]}]";
const JOBS: &str = "[{verbs: [get], apiGroups: [batch], resources: [jobs]}]";

fn can(state: &crate::state::State, aggregation: Aggregation, request: &str) -> bool {
    AccessView::new(state, aggregation).can(&subject_query("group:g"), &parse_request(request)).decision
        == AccessDecision::Allowed
}

#[test]
fn stored_rules_apply_until_the_controller_has_run() {
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
    let [GrantSource::Path(path)] = answer.granted_by.as_slice() else {
        panic!("expected one rule: {:?}", answer.granted_by);
    };
    assert_eq!((path.role.name(), path.source.name()), ("view", "pods"));
}

#[test]
fn aggregation_is_transitive() {
    let chain = state(
        &(cluster_role("pods", "{to-view: 'true'}", PODS)
            + &aggregated("view", "{to-edit: 'true'}", TO_VIEW, "[]")
            + &aggregated("edit", "{to-admin: 'true'}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
            + &aggregated("admin", "{}", "[{matchLabels: {to-admin: 'true'}}]", "[]")
            + &binding("b", None, "admin", ("Group", "g"))),
    );
    for aggregation in [Aggregation::AsStored, Aggregation::Reconciled] {
        assert!(can(&chain, aggregation, "get pods") && !can(&chain, aggregation, "get jobs.batch"));
    }
}

#[test]
fn empty_selector_aggregates_every_cluster_role() {
    let state = state(
        &(cluster_role("pods", "{}", PODS)
            + &cluster_role("jobs", "{a: b}", JOBS)
            + &aggregated("all", "{}", "[{}]", "[]")
            + &binding("b", None, "all", ("Group", "g"))),
    );
    assert!(can(&state, Aggregation::Reconciled, "get pods") && can(&state, Aggregation::Reconciled, "get jobs.batch"));
}

#[test]
fn aggregation_cycle_keeps_only_rules_that_all_its_roles_have() {
    let cycle = |rules_of_a: &str, rules_of_b: &str| {
        state(
            &(aggregated("a", "{to-b: 'true'}", "[{matchLabels: {to-a: 'true'}}]", rules_of_a)
                + &aggregated("b", "{to-a: 'true'}", "[{matchLabels: {to-b: 'true'}}]", rules_of_b)
                + &aggregated("c", "{}", "[{matchLabels: {to-a: 'true'}}]", "[]")
                + &cluster_role("pods", "{to-a: 'true'}", PODS)
                + &binding("b", None, "a", ("Group", "g"))
                + &binding("c", None, "c", ("Group", "h"))),
        )
    };
    let both = cycle(JOBS, JOBS);
    assert!(can(&both, Aggregation::Reconciled, "get jobs.batch") && can(&both, Aggregation::Reconciled, "get pods"));
    let selecting_role = AccessView::new(&both, Aggregation::Reconciled)
        .can(&subject_query("group:h"), &parse_request("get jobs.batch"))
        .decision;
    assert_eq!(selecting_role, AccessDecision::Allowed);
    let only_a = cycle(JOBS, "[]");
    assert!(
        !can(&only_a, Aggregation::Reconciled, "get jobs.batch") && can(&only_a, Aggregation::Reconciled, "get pods")
    );
    let cycles = find_aggregation_cycles(&only_a);
    let names: Vec<Vec<&str>> = cycles.iter().map(|cycle| cycle.iter().map(|key| key.name()).collect()).collect();
    assert_eq!(names, [["a", "b"]]);
}

#[test]
fn aggregated_role_keeps_manually_added_rules_if_it_selects_none() {
    let with_manager = |manual: bool, labels: &str| {
        let mut state = state(
            &(aggregated("view", "{to-edit: 'true'}", TO_VIEW, JOBS)
                + &aggregated("edit", "{}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
                + &cluster_role("pods", labels, PODS)
                + &binding("b", None, "view", ("Group", "g"))
                + &binding("c", None, "edit", ("Group", "h"))),
        );
        for role in state.roles.values_mut().filter(|role| role.aggregation.is_some() && !role.rules.is_empty()) {
            role.meta.rules_manager = if manual { RulesManager::Other } else { RulesManager::AggregationController };
        }
        state
    };
    let (manual, filled) = (with_manager(true, "{}"), with_manager(false, "{}"));
    assert!(
        can(&manual, Aggregation::Reconciled, "get jobs.batch")
            && !can(&filled, Aggregation::Reconciled, "get jobs.batch")
    );
    let selecting_role = AccessView::new(&manual, Aggregation::Reconciled)
        .can(&subject_query("group:h"), &parse_request("get jobs.batch"))
        .decision;
    assert_eq!(selecting_role, AccessDecision::Allowed);
    // The controller overwrites the rules as soon as the role selects others.
    let selecting = with_manager(true, "{to-view: 'true'}");
    assert!(can(&selecting, Aggregation::Reconciled, "get pods"));
    assert!(!can(&selecting, Aggregation::Reconciled, "get jobs.batch"));
}
