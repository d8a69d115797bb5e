//! The known pitfalls of access entries: which store counts, what is not known, and where access policies do not count.

use super::fixture::{ALL_RULES, binding, cluster_role, parse_request, state, subject_query};
use crate::access::{AccessDecision, AccessView, Aggregation, UnknownAccess, UnknownPart, Verdict};
use crate::state::State;
use crate::state::access_entry::AccessEntriesStatus;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};

const DEPLOY: &str = "arn:aws:iam::111122223333:role/deploy";

/// Returns the YAML of the access entry of the role `deploy`, which has a path. `policies` are in flow style.
fn entry(groups: &str, policies: &str) -> String {
    format!(
        "---\napiVersion: rolecall/v1\nkind: AccessEntry\nmetadata: {{name: 'arn:aws:iam::111122223333:role/ci/deploy'}}\n\
         username: deployer\nkubernetesGroups: {groups}\naccessPolicies: {policies}\n"
    )
}

fn policy(name: &str, scope: &str) -> String {
    format!("{{'arn:aws:eks::aws:cluster-access-policy/{name}': {scope}}}")
}

const CLUSTER: &str = "{type: cluster}";
const AWS_AUTH: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: aws-auth, namespace: kube-system}\n\
    data:\n  mapRoles: '[{rolearn: \"arn:aws:iam::111122223333:role/deploy\", username: old, groups: [admins]}]'\n";

fn cluster(mode: ClusterAuthMode, documents: &str) -> State {
    let mut state = state(documents);
    state.auth_mode = ObservedAuthMode::Known(mode);
    state.access_entries.status = AccessEntriesStatus::Known;
    state
}

fn admins() -> String {
    cluster_role("all", "{}", ALL_RULES) + &binding("b", None, "all", ("Group", "admins"))
}

#[track_caller]
fn verdict(state: &State, subject: &str, request: &str) -> Verdict {
    let access = AccessView::new(state, Aggregation::AsStored);
    access.answer(&subject_query(subject), &parse_request(request), &[]).verdict
}

#[test]
fn access_entry_takes_precedence_over_aws_auth_and_can_take_access_away() {
    let documents = admins() + AWS_AUTH + &entry("[]", "{}");
    let both = cluster(ClusterAuthMode::ApiAndConfigMap, &documents);
    assert_eq!(verdict(&both, DEPLOY, "get nodes"), Verdict::No);
    let only_config_map = cluster(ClusterAuthMode::ConfigMap, &documents);
    assert_eq!(verdict(&only_config_map, DEPLOY, "get nodes"), Verdict::Yes);
    // In the mode API, an entry of aws-auth maps nothing.
    let api = cluster(ClusterAuthMode::Api, &(admins() + AWS_AUTH));
    assert_eq!(verdict(&api, DEPLOY, "get nodes"), Verdict::No);
    let access = AccessView::new(&api, Aggregation::AsStored);
    assert!(access.principals().is_empty(), "{:?}", access.principals());
}

#[test]
fn access_policy_is_of_the_entry_and_not_of_its_username_or_groups() {
    let policies = policy("AmazonEKSClusterAdminPolicy", CLUSTER);
    let state = cluster(ClusterAuthMode::Api, &entry("[deployers]", &policies));
    assert_eq!(verdict(&state, DEPLOY, "get nodes"), Verdict::Yes);
    // Impersonating the username or the group does not give it: only the principal itself has it.
    assert_eq!(verdict(&state, "user:deployer", "get nodes"), Verdict::YesForSome);
    assert_eq!(verdict(&state, "group:deployers", "get nodes"), Verdict::No);
}

#[test]
fn namespaces_of_an_access_policy_can_be_patterns() {
    let scope = "{type: namespace, namespaces: ['team-*']}";
    let policies = policy("AmazonEKSViewPolicy", scope);
    let state = cluster(ClusterAuthMode::Api, &entry("[]", &policies));
    assert_eq!(verdict(&state, DEPLOY, "get pods -n team-new"), Verdict::Yes);
    assert_eq!(verdict(&state, DEPLOY, "get pods -n team"), Verdict::No);
    assert_eq!(verdict(&state, DEPLOY, "list pods"), Verdict::No);
    assert_eq!(verdict(&state, DEPLOY, "get secrets -n team-a"), Verdict::No);
    assert_eq!(verdict(&state, DEPLOY, "get /metrics"), Verdict::No);
}

#[test]
fn what_an_access_policy_without_published_rules_allows_is_not_answered() {
    let scope = "{type: namespace, namespaces: [web]}";
    let policies = policy("PolicyOfTheFuture", scope);
    let state = cluster(ClusterAuthMode::Api, &(admins() + &entry("[]", &policies)));
    assert_eq!(verdict(&state, DEPLOY, "get pods -n web"), Verdict::NotAnswered(UnknownPart::Access));
    assert_eq!(verdict(&state, DEPLOY, "get pods -n other"), Verdict::No);
    let access = AccessView::new(&state, Aggregation::AsStored);
    let unknown = access.unknown_access(&subject_query(DEPLOY), None);
    assert_eq!(unknown, [UnknownAccess::Policy("PolicyOfTheFuture".to_owned())]);
    // What something else allows is known.
    let state = cluster(ClusterAuthMode::Api, &(admins() + &entry("[admins]", &policies)));
    assert_eq!(verdict(&state, DEPLOY, "get pods -n web"), Verdict::Yes);
}

#[test]
fn nothing_is_answered_for_a_principal_while_the_access_entries_are_not_known() {
    let mut state = cluster(ClusterAuthMode::ApiAndConfigMap, &(admins() + AWS_AUTH));
    assert_eq!(verdict(&state, DEPLOY, "get nodes"), Verdict::Yes);
    state.access_entries.status = AccessEntriesStatus::Unknown("you are not allowed".to_owned());
    for subject in [DEPLOY, "arn:aws:iam::111122223333:role/other"] {
        assert_eq!(verdict(&state, subject, "get nodes"), Verdict::NotAnswered(UnknownPart::Access), "{subject}");
    }
    // A group and a service account have no access entry.
    assert_eq!(verdict(&state, "group:admins", "get nodes"), Verdict::Yes);
    assert_eq!(verdict(&state, "sa:a/b", "get nodes"), Verdict::No);
}

#[test]
fn two_entries_of_one_role_name_are_ambiguous() {
    let other = entry("[admins]", "{}").replace("/ci/", "/old/");
    let state = cluster(ClusterAuthMode::Api, &(admins() + &entry("[]", "{}") + &other));
    let access = AccessView::new(&state, Aggregation::AsStored);
    let answer = access.can(&subject_query(DEPLOY), &parse_request("get nodes"));
    assert_eq!(answer.decision, AccessDecision::Ambiguous);
}
