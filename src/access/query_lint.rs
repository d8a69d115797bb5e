//! Warnings about subjects and namespaces of a query that are probably wrong. A query with a misspelled name gets a correct
//! "no", which does not answer the intended question.

use thiserror::Error;

use super::access_view::AccessView;
use super::iam_identity::{IamIdentity, SessionName};
use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::EntryRef;
use crate::diagnostic::closest_match;
use crate::state::aws_auth::Section;

/// A name in a query that is probably wrong. The message also reads well after "refers to".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum QueryLint {
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
            Self::UnknownNamespace { nearest, .. } | Self::UnknownSubject { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
            }
            Self::OtherSpelling { entry, .. } => Some(format!(
                "did you mean `{entry}`? the authenticator ignores the path of a role and the case of an ARN"
            )),
        }
    }
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
    let entries: Vec<&EntryRef> = entries.filter(|entry| entry.section() != Some(Section::Accounts)).collect();
    let first = entries.first().filter(|_| entries.iter().all(|entry| entry.principal != typed))?;
    Some(QueryLint::OtherSpelling { typed: typed.to_owned(), entry: first.principal.clone() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Aggregation;
    use crate::state::State;

    #[test]
    fn unknown_names_are_reported_with_the_nearest_known_name() {
        let mut state = State::default();
        state.namespaces.insert("team".to_owned(), std::collections::BTreeMap::new());
        let access = AccessView::new(&state, Aggregation::AsStored);
        let text = |lint: Option<QueryLint>| {
            lint.map(|lint| format!("{lint}; {}", lint.help().unwrap_or_default())).unwrap_or_default()
        };
        let subject = |text: &str| SubjectQuery::parse(text).unwrap();
        assert_eq!(
            text(access.lint_subject(&subject("group:system:master"))),
            "unknown subject `group:system:master`: not named in aws-auth or in any RBAC binding; \
             did you mean `group:system:masters`?"
        );
        assert_eq!(text(access.lint_namespace("teem")), "unknown namespace `teem`; did you mean `team`?");
        assert_eq!(text(access.lint_namespace("team")), "");
        // Every namespace has this service account.
        assert_eq!(text(access.lint_subject(&subject("sa:team/default"))), "");
        assert_ne!(text(access.lint_subject(&subject("sa:team/other"))), "");
    }
}
