//! Which subjects a list of everything has, and which of them belong to Kubernetes or EKS itself.

use crate::access::{AccessView, Identity, SubjectQuery};
use crate::names::reserved_prefix;

/// Returns whether a subject belongs to Kubernetes or EKS itself. Such subjects are shown with `--full` only.
pub(crate) fn is_system_subject(subject: &SubjectQuery) -> bool {
    match subject {
        SubjectQuery::User(name) | SubjectQuery::Group(name) => reserved_prefix(name).is_some(),
        SubjectQuery::ServiceAccount { namespace, .. } => namespace == "kube-system",
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) => false,
    }
}

/// Returns whether a subject gets a row. A username or group that only aws-auth entries give, and that no binding
/// names, is covered by the rows of the principals of these entries.
pub(crate) fn has_own_row(access: &AccessView<'_>, subject: &SubjectQuery) -> bool {
    match subject {
        SubjectQuery::User(_) | SubjectQuery::Group(_) => {
            access.authenticate(subject).identities().any(Identity::is_in_system_masters) || access.has_rules(subject)
        }
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) | SubjectQuery::ServiceAccount { .. } => true,
    }
}
