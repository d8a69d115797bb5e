//! States from the text of a snapshot.

use std::collections::BTreeMap;

use crate::access::{AccessDecision, AccessView, Aggregation, Request, SubjectQuery};
use crate::names::ObjectKind;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::object::{RawBinding, RawRole, deserialize_object};
use crate::state::validate::parse_object_key;

/// The state of which this is the YAML.
#[track_caller]
pub(super) fn state(text: &str) -> State {
    let mut state = State::default();
    for document in crate::yaml::parse_documents(text).unwrap() {
        let value = document.to_json().unwrap();
        let Some(key) = parse_object_key(&value).unwrap() else {
            panic!("not of the state: {value}");
        };
        match key.kind() {
            ObjectKind::Namespace => {
                state.namespaces.insert(key.name().to_owned(), BTreeMap::default());
            }
            ObjectKind::ConfigMap => state.aws_auth = Some(AwsAuth::from_json(&value).unwrap()),
            ObjectKind::ClusterRole | ObjectKind::Role => {
                let role: RawRole = deserialize_object(&value).unwrap();
                state.roles.insert(key, role.into());
            }
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                let binding: RawBinding = deserialize_object(&value).unwrap();
                state.bindings.insert(key, binding.into_binding().unwrap());
            }
        }
    }
    state
}

/// A state with these texts under aws-auth.
pub(super) fn mapped(sections: &[(&str, &str)]) -> State {
    let data = sections.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    State { aws_auth: Some(AwsAuth { data, ..AwsAuth::default() }), ..State::default() }
}

/// YAML of a ClusterRole; `labels` and `rules` in flow style.
pub(super) fn cluster_role(name: &str, labels: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: '{name}', labels: {labels}}}\nrules: {rules}\n"
    )
}

pub(super) fn aggregated(name: &str, labels: &str, selector: &str, rules: &str) -> String {
    cluster_role(name, labels, rules) + &format!("aggregationRule: {{clusterRoleSelectors: {selector}}}\n")
}

/// YAML of a binding of a ClusterRole to one subject, as `Group g`, in one namespace or cluster-wide.
pub(super) fn binding(name: &str, namespace: Option<&str>, role: &str, subject: (&str, &str)) -> String {
    let (kind, place) = match namespace {
        Some(namespace) => ("RoleBinding", format!(", namespace: {namespace}")),
        None => ("ClusterRoleBinding", String::new()),
    };
    let subject = format!("{{kind: {}, name: '{}'}}", subject.0, subject.1);
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}{place}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\nsubjects: [{subject}]\n"
    )
}

pub(super) const ALL_RULES: &str =
    "[{verbs: ['*'], apiGroups: ['*'], resources: ['*']}, {verbs: ['*'], nonResourceURLs: ['*']}]";

#[track_caller]
pub(super) fn subject_query(text: &str) -> SubjectQuery {
    SubjectQuery::parse(text).unwrap()
}

/// A question as on the command line: `get pods/log -n team`, `get deployments.apps`, `get /metrics`.
#[track_caller]
pub(super) fn parse_request(text: &str) -> Request {
    let mut words = text.split(' ');
    let (verb, what) = (words.next().unwrap(), words.next().unwrap());
    if what.starts_with('/') {
        return Request::url(verb, what);
    }
    let (resource, subresource) = what.split_once('/').map_or((what, String::new()), |(r, s)| (r, format!("/{s}")));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut request = Request::object(verb, group, &format!("{resource}{subresource}"));
    while let Some(flag) = words.next() {
        let word = words.next().unwrap();
        request = if flag == "-n" { request.in_namespace(word) } else { request.with_name(word) };
    }
    request.into_client_request()
}

#[track_caller]
pub(super) fn can(state: &State, subject: &str, request: &str) -> bool {
    AccessView::new(state, Aggregation::AsStored).can(&subject_query(subject), &parse_request(request)).decision
        == AccessDecision::Allowed
}
