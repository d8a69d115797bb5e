//! Builders of states, roles, bindings and requests for the tests.

use crate::access::{AccessDecision, AccessView, Aggregation, Request, SubjectQuery};
use crate::api_resources::KnownResources;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::validate::parse_object_key;

/// Returns a state from the YAML of its objects.
#[track_caller]
pub(super) fn state(text: &str) -> State {
    let mut state = State::default();
    for document in crate::yaml::parse_documents(text).unwrap() {
        let value = document.to_json().unwrap();
        let Some(key) = parse_object_key(&value).unwrap() else {
            panic!("not a kind of the state: {value}");
        };
        state.insert_object(&key, &value).unwrap();
    }
    state
}

/// Returns a state with only aws-auth, from the keys and texts of its data.
pub(super) fn mapped(sections: &[(&str, &str)]) -> State {
    let data = sections.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    State { aws_auth: Some(AwsAuth { data, ..AwsAuth::default() }), ..State::default() }
}

/// Returns the YAML of a ClusterRole. `labels` and `rules` are in flow style.
pub(super) fn cluster_role(name: &str, labels: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: '{name}', labels: {labels}}}\nrules: {rules}\n"
    )
}

/// Returns the YAML of an aggregated ClusterRole. All arguments except the name are in flow style.
pub(super) fn aggregated(name: &str, labels: &str, selector: &str, rules: &str) -> String {
    cluster_role(name, labels, rules) + &format!("aggregationRule: {{clusterRoleSelectors: {selector}}}\n")
}

/// Returns the YAML of a binding of a ClusterRole to one subject, which is a kind and a name. Without a namespace it is
/// a ClusterRoleBinding.
pub(super) fn binding(name: &str, namespace: Option<&str>, role: &str, subject: (&str, &str)) -> String {
    let (kind, metadata) = match namespace {
        Some(namespace) => ("RoleBinding", format!(", namespace: {namespace}")),
        None => ("ClusterRoleBinding", String::new()),
    };
    let subject = format!("{{kind: {}, name: '{}'}}", subject.0, subject.1);
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}{metadata}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\nsubjects: [{subject}]\n"
    )
}

/// The rules of cluster-admin.
pub(super) const ALL_RULES: &str =
    "[{verbs: ['*'], apiGroups: ['*'], resources: ['*']}, {verbs: ['*'], nonResourceURLs: ['*']}]";
pub(super) const READ_ALL: &str = "[{verbs: [get, list], apiGroups: ['*'], resources: ['*']}]";
pub(super) const READ_SECRETS: &str = "[{verbs: [get], apiGroups: [''], resources: [secrets]}]";

#[track_caller]
pub(super) fn subject_query(text: &str) -> SubjectQuery {
    SubjectQuery::parse(text).unwrap()
}

/// Returns a request such as `get pods/log -n team`, `get deployments.apps`, `get secrets named db` or `get /metrics`.
#[track_caller]
pub(super) fn parse_request(text: &str) -> Request {
    let mut words = text.split(' ');
    let (verb, target) = (words.next().unwrap(), words.next().unwrap());
    if target.starts_with('/') {
        return Request::url(verb, target);
    }
    let (resource, subresource) = target.split_once('/').map_or((target, String::new()), |(r, s)| (r, format!("/{s}")));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut request = Request::object(verb, group, &format!("{resource}{subresource}"));
    while let Some(flag) = words.next() {
        let word = words.next().unwrap();
        request = if flag == "-n" { request.in_namespace(word) } else { request.with_name(word) };
    }
    request.into_client_request(&KnownResources::default())
}

#[track_caller]
pub(super) fn can(state: &State, subject: &str, request: &str) -> bool {
    AccessView::new(state, Aggregation::AsStored).can(&subject_query(subject), &parse_request(request)).decision
        == AccessDecision::Allowed
}
