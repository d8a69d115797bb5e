//! The answers to questions about requests that exist.

use super::fixture::{binding, cluster_role, parse_request, state, subject_query};
use crate::access::{AccessView, Aggregation, QueryLint, UnknownPart, Verdict};

fn verdict(rules: &str, request: &str) -> Verdict {
    let state = state(&(cluster_role("r", "{}", rules) + &binding("b", Some("team"), "r", ("User", "u"))));
    let access = AccessView::new(&state, Aggregation::AsStored);
    access.answer(&subject_query("user:u"), &parse_request(request), &[]).verdict
}

#[test]
fn named_create_is_possible_by_post_or_by_server_side_apply() {
    let rule = |verbs: &str, names: &str| {
        format!("[{{verbs: [{verbs}], apiGroups: [''], resources: [configmaps], resourceNames: [{names}]}}]")
    };
    let create = "create configmaps named a -n team";
    assert_eq!(verdict(&rule("create", ""), create), Verdict::Yes);
    assert_eq!(verdict(&rule("create, patch", "a"), create), Verdict::YesByApply);
    assert_eq!(verdict(&rule("create", "a"), create), Verdict::NoWithoutPatch);
    assert_eq!(verdict(&rule("create, patch", "b"), create), Verdict::No);
    assert_eq!(verdict(&rule("create, patch", "a"), "create configmaps -n team"), Verdict::No);
}

#[test]
fn request_of_a_resource_with_unknown_scope_is_answered_if_both_scopes_agree() {
    let rules = "[{verbs: [get], apiGroups: [example.com], resources: [widgets]}]";
    assert_eq!(verdict(rules, "get widgets.example.com -n team"), Verdict::NotAnswered(UnknownPart::Scope));
    assert_eq!(verdict(rules, "list widgets.example.com -n team"), Verdict::No);
}

#[test]
fn denied_request_of_an_unknown_subject_is_not_answered() {
    let state = state("");
    let access = AccessView::new(&state, Aggregation::AsStored);
    let (query, request) = (subject_query("user:u"), parse_request("get pods -n team"));
    let lints: Vec<QueryLint> = access.lint_subject(&query).into_iter().collect();
    let verdict = access.answer(&query, &request, &lints).verdict;
    assert_eq!(verdict, Verdict::NotAnswered(UnknownPart::Subject));
}
