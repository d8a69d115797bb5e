//! Aggregated ClusterRoles: now and once the controller has run.

use super::fixture::{aggregated, ask, binding, cluster_role, state, who};
use crate::access::{Access, By, Moment, Verdict, circles};
use crate::state::meta::Holder;

const TO_VIEW: &str = "[{matchLabels: {to-view: 'true'}}]";
const PODS: &str = "[{verbs: [get], apiGroups: [''], resources: [pods]}]";
const JOBS: &str = "[{verbs: [get], apiGroups: [batch], resources: [jobs]}]";

fn can(state: &crate::state::State, moment: Moment, question: &str) -> bool {
    Access::of(state, moment).can(&who("group:g"), &ask(question)).verdict == Verdict::Yes
}

#[test]
fn stored_rules_answer_until_the_controller_has_run() {
    let text = cluster_role("pods", "{to-view: 'true'}", PODS) + &binding("b", None, "view", ("Group", "g"));
    let filled = state(&(text.clone() + &aggregated("view", "{}", TO_VIEW, JOBS)));
    assert!(can(&filled, Moment::Stored, "get jobs.batch") && !can(&filled, Moment::Stored, "get pods"));
    assert!(can(&filled, Moment::Settled, "get pods") && !can(&filled, Moment::Settled, "get jobs.batch"));
    let empty = state(&(text + &aggregated("view", "{}", TO_VIEW, "[]")));
    assert!(can(&empty, Moment::Stored, "get pods"));
    let access = Access::of(&empty, Moment::Stored);
    let answer = access.can(&who("group:g"), &ask("get pods"));
    let [By::Chain(chain)] = answer.by.as_slice() else {
        panic!("one rule allows it: {:?}", answer.by);
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
    for moment in [Moment::Stored, Moment::Settled] {
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
    assert!(can(&state, Moment::Settled, "get pods") && can(&state, Moment::Settled, "get jobs.batch"));
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
    assert!(can(&both, Moment::Settled, "get jobs.batch") && can(&both, Moment::Settled, "get pods"));
    let through = Access::of(&both, Moment::Settled).can(&who("group:h"), &ask("get jobs.batch")).verdict;
    assert_eq!(through, Verdict::Yes);
    let one = circle(JOBS, "[]");
    assert!(!can(&one, Moment::Settled, "get jobs.batch") && can(&one, Moment::Settled, "get pods"));
    let found = circles(&one);
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
            role.meta.rules_holder = if by_hand { Holder::Another } else { Holder::Controller };
        }
        state
    };
    let (by_hand, filled) = (role(true, "{}"), role(false, "{}"));
    assert!(can(&by_hand, Moment::Settled, "get jobs.batch") && !can(&filled, Moment::Settled, "get jobs.batch"));
    let handed_on = Access::of(&by_hand, Moment::Settled).can(&who("group:h"), &ask("get jobs.batch")).verdict;
    assert_eq!(handed_on, Verdict::Yes);
    // What comes in is written over them.
    let fed = role(true, "{to-view: 'true'}");
    assert!(can(&fed, Moment::Settled, "get pods") && !can(&fed, Moment::Settled, "get jobs.batch"));
}
