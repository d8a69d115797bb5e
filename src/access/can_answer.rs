//! The answer to the question whether a subject can make a request, for the requests that exist: a decision of the
//! authorizer about a request that no client can send is not an answer.

use super::access_view::{AccessDecision, AccessView, AllowedVariant, CanResult, NearMiss};
use super::identity::SubjectQuery;
use super::query_lint::QueryLint;
use super::request::{ObjectRequest, Request};
use super::request_scope::{RequestScope, request_scope};
use super::rule_match::RuleMismatch;
use super::unknown_access::UnknownAccess;

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    /// The object can be created by server-side apply, which is a PATCH. A POST is refused, because it has no name and the
    /// rules are limited to names.
    YesByApply,
    /// Only some variants of the subject can, such as the sessions with a certain name.
    YesForSome,
    No,
    /// A rule limited to the name allows `create`, but a POST has no name, and server-side apply also needs `patch`.
    NoWithoutPatch,
    /// Several aws-auth entries match, and only some of them allow the request.
    Ambiguous,
    NotAnswered(UnknownPart),
}

/// What is not known in a question that cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownPart {
    Subject,
    Namespace,
    /// The answer depends on whether the resource is in namespaces.
    Scope,
    /// What the principal may do: see `unknown` of the answer.
    Access,
}

/// The answer to one question, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanAnswer<'s> {
    pub(crate) request: Request,
    pub(crate) verdict: Verdict,
    pub(crate) result: CanResult<'s>,
    /// For a denied request without a name: the names for which a rule allows it.
    pub(crate) allowed_names: Vec<&'s str>,
    /// Why the access of the subject is not known, if the answer depends on it.
    pub(crate) unknown: Vec<UnknownAccess>,
}

impl<'s> AccessView<'s> {
    /// Answers a question. `lints` are about the subject and the namespace: a request of an unknown subject that is denied
    /// is not answered.
    pub(crate) fn answer(&self, query: &SubjectQuery, request: &Request, lints: &[QueryLint]) -> CanAnswer<'s> {
        let result = self.can(query, request);
        let mut verdict = match result.decision {
            AccessDecision::Allowed => Verdict::Yes,
            AccessDecision::SomeVariants => Verdict::YesForSome,
            AccessDecision::Denied => Verdict::No,
            AccessDecision::Ambiguous => Verdict::Ambiguous,
        };
        if let Request::Object(object) = request {
            if verdict == Verdict::Yes && object.is_named_create() {
                verdict = self.verdict_of_named_create(query, request);
            }
            if verdict == Verdict::YesForSome && object.is_named_create() {
                let can_create = |variant: &AllowedVariant<'_>| {
                    self.verdict_of_named_create(&variant.principal.subject, request) != Verdict::NoWithoutPatch
                };
                if !result.allowed_variants.iter().any(can_create) {
                    verdict = Verdict::NoWithoutPatch;
                }
            }
            let scope = request_scope(&self.state().resources, &object.group, &object.resource, &object.verb);
            if scope == RequestScope::Unknown && object.resource != "*" {
                let without_namespace = self.can(query, &request.clone().in_namespace("")).decision;
                if without_namespace != result.decision {
                    verdict = Verdict::NotAnswered(UnknownPart::Scope);
                }
            }
        }
        let unknown_part = lints.iter().find_map(|lint| match lint {
            QueryLint::UnknownSubject { .. } => Some(UnknownPart::Subject),
            QueryLint::UnknownNamespace { .. } => Some(UnknownPart::Namespace),
            QueryLint::OtherSpelling { .. } => None,
        });
        if let Some(part) = unknown_part.filter(|_| verdict == Verdict::No) {
            verdict = Verdict::NotAnswered(part);
        }
        let unknown = self.unknown_part_of(query, request, verdict);
        if !unknown.is_empty() {
            verdict = Verdict::NotAnswered(UnknownPart::Access);
        }
        let allowed_names = if verdict == Verdict::No { allowed_names(&result, request) } else { Vec::new() };
        CanAnswer { request: request.clone(), verdict, result, allowed_names, unknown }
    }

    /// Returns what is not known of the access of a subject, if a verdict depends on it. What a policy allows makes no difference
    /// to a request that something else allows, but with an access entry the principal would be another user.
    fn unknown_part_of(&self, query: &SubjectQuery, request: &Request, verdict: Verdict) -> Vec<UnknownAccess> {
        let mut unknown = self.unknown_access(query, Some(request));
        if verdict == Verdict::No {
            for variant in self.variants(query) {
                unknown.extend(self.unknown_access(&variant.subject, Some(request)));
            }
        }
        unknown.retain(|unknown| verdict != Verdict::Yes || matches!(unknown, UnknownAccess::AccessEntries(_)));
        unknown.sort();
        unknown.dedup();
        unknown
    }

    /// Returns how a subject can create an object of which `create` with its name is allowed.
    fn verdict_of_named_create(&self, query: &SubjectQuery, request: &Request) -> Verdict {
        let is_allowed = |request: &Request| self.can(query, request).decision == AccessDecision::Allowed;
        if is_allowed(&request.clone().with_name("")) {
            Verdict::Yes
        } else if is_allowed(&request.clone().with_verb("patch")) {
            Verdict::YesByApply
        } else {
            Verdict::NoWithoutPatch
        }
    }
}

impl ObjectRequest {
    /// Returns whether this is the creation of an object by its name. A POST has no name. Server-side apply asks for
    /// `create` with the name if the object does not exist (k8s.io/apiserver v0.36.3 `endpoints/handlers/patch.go`).
    pub(crate) fn is_named_create(&self) -> bool {
        self.verb == "create" && self.subresource.is_empty() && !self.name.is_empty()
    }
}

/// Returns the names for which a rule allows a denied request, if nothing else is missing.
fn allowed_names<'s>(result: &CanResult<'s>, request: &Request) -> Vec<&'s str> {
    let Request::Object(ObjectRequest { name, .. }) = request else {
        return Vec::new();
    };
    let names = result.near_misses.iter().filter_map(|miss| match miss {
        NearMiss::Rule { path, mismatch: RuleMismatch::Name } => Some(path.rule.resource_names.iter()),
        NearMiss::Rule { .. } | NearMiss::MissingRole { .. } => None,
    });
    let mut names: Vec<&str> = if name.is_empty() { names.flatten().map(String::as_str).collect() } else { Vec::new() };
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names
}
