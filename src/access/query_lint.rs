//! Warnings about names in a query that are probably wrong. A query with a misspelled verb or resource gets a correct "no",
//! which does not answer the intended question.
//!
//! Only the API makes a name known. A rule with a misspelled name grants nothing.

use std::collections::BTreeSet;

use thiserror::Error;

use super::access_view::AccessView;
use super::iam_identity::{IamIdentity, SessionName};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::EntryRef;
use super::question::HTTP_VERBS;
use super::request::{ObjectRequest, Request};
use super::request_scope::OBJECT_VERBS;
use crate::api_resources::KnownResources;
use crate::diagnostic::closest_match;
use crate::state::aws_auth::Section;

/// A name in a query that is probably wrong. The message also reads well after "refers to".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum QueryLint {
    #[error("unknown verb `{name}`: no API has it")]
    UnknownVerb { name: String, nearest: Option<String> },
    #[error("unknown resource `{name}`: no API has it")]
    UnknownResource { name: String, nearest: Option<String> },
    #[error("unknown resource `{resource}` in {}", format_group(group))]
    WrongApiGroup { resource: String, group: String, known: Vec<String> },
    #[error("unknown namespace `{name}`")]
    UnknownNamespace { name: String, nearest: Option<String> },
    #[error("unknown subject `{subject}`: not named in aws-auth or in any RBAC binding")]
    UnknownSubject { subject: SubjectQuery, nearest: Option<String> },
    #[error("no aws-auth entry names `{typed}`, but the entry `{entry}` matches it")]
    OtherSpelling { typed: String, entry: String },
}

impl QueryLint {
    /// Returns the name that was probably intended.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::UnknownVerb { nearest, .. }
            | Self::UnknownResource { nearest, .. }
            | Self::UnknownNamespace { nearest, .. }
            | Self::UnknownSubject { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
            }
            Self::OtherSpelling { entry, .. } => Some(format!(
                "did you mean `{entry}`? the authenticator ignores the path of a role and the case of an ARN"
            )),
            Self::WrongApiGroup { resource, known, .. } => {
                let qualified = |group: &String| {
                    if group.is_empty() { format!("`{resource}`") } else { format!("`{resource}.{group}`") }
                };
                Some(format!("write {}", known.iter().map(qualified).collect::<Vec<_>>().join(" or ")))
            }
        }
    }
}

fn format_group(group: &str) -> String {
    if group.is_empty() { "the core API group".to_owned() } else { format!("API group `{group}`") }
}

/// Returns the names in a query that are probably wrong.
fn lint_query(access: &AccessView<'_>, query: Option<&SubjectQuery>, request: &Request) -> Vec<QueryLint> {
    let mut lints: Vec<QueryLint> = query.and_then(|query| lint_subject_name(access, query)).into_iter().collect();
    let known = &access.grants.state.resources;
    match request {
        Request::Url { verb, .. } => lints.extend(lint_verb(verb, HTTP_VERBS.into_iter().collect())),
        Request::Object(request) => {
            lints.extend(lint_object_verb(known, &request.verb));
            lints.extend(lint_resource(known, request));
            lints.extend(access.lint_namespace(&request.namespace));
        }
    }
    lints
}

impl AccessView<'_> {
    /// Returns a lint if the queried subject does not appear in the cluster state.
    pub(crate) fn lint_subject(&self, query: &SubjectQuery) -> Option<QueryLint> {
        lint_subject_name(self, query)
    }

    /// Returns a lint if the cluster state has no such namespace.
    pub(crate) fn lint_namespace(&self, name: &str) -> Option<QueryLint> {
        let namespaces = &self.grants.state.namespaces;
        // A snapshot may contain no namespaces.
        if namespaces.is_empty() || name.is_empty() || namespaces.contains_key(name) {
            return None;
        }
        let nearest = closest_match(name, namespaces.keys().map(String::as_str)).map(str::to_owned);
        Some(QueryLint::UnknownNamespace { name: name.to_owned(), nearest })
    }
}

/// Returns a lint if the matching aws-auth entry spells the ARN differently than the query.
pub(crate) fn lint_spelling(typed: &str, authentication: &Authentication) -> Option<QueryLint> {
    let iam_identity = IamIdentity::parse(typed).ok()?;
    // An entry names the role of a session, never the session.
    let typed = match iam_identity.session() {
        SessionName::Known(name) if !name.is_empty() => iam_identity.canonical(),
        SessionName::Known(_) | SessionName::Unknown => typed,
    };
    let entries = authentication.identities().filter_map(Identity::entry);
    let entries: Vec<&EntryRef> = entries.filter(|entry| entry.section != Section::Accounts).collect();
    let first = entries.first().filter(|_| entries.iter().all(|entry| entry.principal != typed))?;
    Some(QueryLint::OtherSpelling { typed: typed.to_owned(), entry: first.principal.clone() })
}

fn lint_verb(verb: &str, known: BTreeSet<&str>) -> Option<QueryLint> {
    if verb == "*" || known.contains(verb) {
        return None;
    }
    let nearest = closest_match(verb, known).map(str::to_owned);
    Some(QueryLint::UnknownVerb { name: verb.to_owned(), nearest })
}

fn lint_subject_name(access: &AccessView<'_>, query: &SubjectQuery) -> Option<QueryLint> {
    match query {
        // The result of the query reports that no aws-auth entry matches.
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) => return None,
        // Every namespace has this service account.
        SubjectQuery::ServiceAccount { namespace, name }
            if name == "default" && access.grants.state.namespaces.contains_key(namespace) =>
        {
            return None;
        }
        SubjectQuery::ServiceAccount { .. } | SubjectQuery::User(_) | SubjectQuery::Group(_) => {}
    }
    let subjects = access.all_subjects();
    if subjects.contains(query) {
        return None;
    }
    let known: Vec<String> = subjects.iter().map(ToString::to_string).collect();
    let typed = query.to_string();
    // The same name of another kind or namespace: a group instead of a user, or another service account.
    let bare_name = |text: &str| text.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let same_name = || known.iter().map(String::as_str).find(|known| bare_name(known) == bare_name(&typed));
    let nearest = closest_match(&typed, known.iter().map(String::as_str)).or_else(same_name).map(str::to_owned);
    Some(QueryLint::UnknownSubject { subject: query.clone(), nearest })
}

fn lint_object_verb(known: &KnownResources, verb: &str) -> Option<QueryLint> {
    let verbs = known.all().iter().flat_map(|resource| &resource.verbs).map(String::as_str);
    if verb.starts_with("impersonate") {
        return None;
    }
    lint_verb(verb, verbs.chain(OBJECT_VERBS).chain(["use"]).collect())
}

fn lint_resource(known: &KnownResources, request: &ObjectRequest) -> Option<QueryLint> {
    let ObjectRequest { resource, group, .. } = request;
    let is_known = || known.all().get(group, resource).is_some() || known.is_only_declared(group, resource);
    if resource == "*" || is_known() {
        return None;
    }
    let groups = known.all().groups_of(resource);
    if groups.is_empty() {
        let plurals = known.all().iter().map(|resource| resource.plural.as_str());
        let nearest = closest_match(resource, plurals).map(str::to_owned);
        return Some(QueryLint::UnknownResource { name: resource.clone(), nearest });
    }
    // Kubernetes has removed the group `extensions`.
    let served = groups.into_iter().filter(|group| *group != "extensions");
    let known = served.map(str::to_owned).collect();
    Some(QueryLint::WrongApiGroup { resource: resource.clone(), group: group.clone(), known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Aggregation;
    use crate::state::State;

    fn lint(subject: Option<&str>, request: &Request) -> Vec<String> {
        let mut state = State::default();
        state.namespaces.insert("team".to_owned(), std::collections::BTreeMap::new());
        let access = AccessView::new(&state, Aggregation::AsStored);
        let query = subject.map(|text| SubjectQuery::parse(text).unwrap());
        let lints = lint_query(&access, query.as_ref(), request);
        lints.iter().map(|lint| format!("{lint}; {}", lint.help().unwrap_or_default())).collect()
    }

    #[test]
    fn unknown_names_are_reported_with_the_nearest_known_name() {
        assert_eq!(lint(None, &Request::object("get", "", "pods/log").in_namespace("team")), [""; 0]);
        assert_eq!(
            lint(Some("group:system:master"), &Request::object("gett", "", "pod").in_namespace("teem")),
            [
                "unknown subject `group:system:master`: not named in aws-auth or in any RBAC binding; \
                 did you mean `group:system:masters`?",
                "unknown verb `gett`: no API has it; did you mean `get`?",
                "unknown resource `pod`: no API has it; did you mean `pods`?",
                "unknown namespace `teem`; did you mean `team`?",
            ]
        );
        assert_eq!(
            lint(None, &Request::object("get", "", "deployments")),
            ["unknown resource `deployments` in the core API group; write `deployments.apps`"]
        );
        assert_eq!(lint(None, &Request::url("list", "/metrics")).len(), 1);
    }
}
