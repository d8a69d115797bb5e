//! What is not known of the access of a subject: an answer that rests on it would be a guess.

use super::access_view::AccessView;
use super::grant_scope::GrantScope;
use super::identity::SubjectQuery;
use super::request::Request;
use crate::state::access_policies::is_opaque;
use crate::state::rbac::RoleRef;

/// Why it is not known whether a subject is allowed to make a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnknownAccess {
    /// The principal has an access policy whose rules AWS does not publish.
    Policy(String),
    /// The access entries of the cluster are not known: one of them can give the principal other access.
    AccessEntries(String),
}

/// Formatted as `AWS does not publish the rules of AmazonEKSComputePolicy`.
impl std::fmt::Display for UnknownAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "AWS does not publish the rules of {name}"),
            Self::AccessEntries(reason) => write!(f, "the access entries of the cluster are not known: {reason}"),
        }
    }
}

impl AccessView<'_> {
    /// Returns why it is not known whether a subject is allowed to make a request, if that is not known. If there is no request, why
    /// it is not known what the subject is allowed. Its variants are not considered.
    pub(crate) fn unknown_access(&self, query: &SubjectQuery, request: Option<&Request>) -> Vec<UnknownAccess> {
        let mut unknown = Vec::new();
        if let (SubjectQuery::Arn(_) | SubjectQuery::Account(_), Some(reason)) =
            (query, &self.mapping.unknown_access_entries)
        {
            unknown.push(UnknownAccess::AccessEntries(reason.clone()));
        }
        let authentication = self.authenticate(query);
        for grant in authentication.identities().flat_map(|identity| self.grants.grants_for_identity(identity)) {
            if let RoleRef::AccessPolicy(name) = &grant.binding.role_ref
                && request.is_none_or(|request| can_apply(grant.scope(), request))
                && self
                    .grants
                    .role_for_grant(&grant)
                    .is_some_and(|role| role.sourced_rules().any(|rule| is_opaque(rule.rule)))
            {
                unknown.push(UnknownAccess::Policy(name.clone()));
            }
        }
        unknown.sort();
        unknown.dedup();
        unknown
    }

    /// Returns the principals with an access policy whose rules AWS does not publish.
    pub(crate) fn principals_with_unknown_policies(&self) -> Vec<(&SubjectQuery, Vec<UnknownAccess>)> {
        let unknown = |query| (query, self.unknown_access(query, None));
        let principals = self.principals().iter().map(|principal| unknown(&principal.subject));
        principals
            .filter(|(_, unknown)| unknown.iter().any(|unknown| matches!(unknown, UnknownAccess::Policy(_))))
            .collect()
    }
}

/// Returns whether a grant in this scope can allow a request. A request without a namespace can be one in any namespace.
fn can_apply(scope: GrantScope<'_>, request: &Request) -> bool {
    match request.namespace() {
        Some(namespace) => scope.contains(Some(namespace)),
        None => true,
    }
}
