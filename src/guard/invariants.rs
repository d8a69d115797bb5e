//! Checks invariants against a state, and reports those that are violated with the grants that violate them.

use std::collections::BTreeSet;

use super::invariant_checker::InvariantChecker;
use super::violator::{Violator, to_request};
use crate::access::{AccessView, IamIdentity, SubjectQuery};
use crate::api_resources::KnownResources;
use crate::diagnostic::{Diagnostic, SourceLocation, Span};
use crate::plan::{InvariantSubject, ResolvedInvariant};
use crate::policy::{Assertion, PolicyIndex};

/// How many violators a message lists.
const MAX_LISTED_VIOLATORS: usize = 5;

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvariantViolation {
    /// Where the policy defines the invariant.
    pub(crate) location: SourceLocation,
    /// The same place as a span; `None` for a saved plan, which has no policy sources.
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    pub(crate) subject: InvariantSubject,
    pub(crate) claim: Assertion,
    /// The invariant as a sentence.
    pub(crate) invariant: String,
    pub(crate) violators: Vec<Violator>,
}

impl InvariantViolation {
    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        let name = self.description.as_ref().unwrap_or(&self.invariant);
        let mut error = Diagnostic::error(format!("invariant violated: \"{name}\""));
        if let Some(span) = self.span {
            error = error.primary_label(span, "");
        }
        for violator in self.violators.iter().take(MAX_LISTED_VIOLATORS) {
            error = error.with_because(violator.to_string());
        }
        let more = self.violators.len().saturating_sub(MAX_LISTED_VIOLATORS);
        if more > 0 {
            error = error.with_note(format!("and {more} more; --format json lists all of them"));
        }
        if self.description.is_some() {
            error = error.with_note(format!("the invariant: {}", self.invariant));
        }
        if self.span.is_none() {
            error = error.with_note(format!("defined at {}", self.location));
        }
        error
    }
}

/// Returns the invariants that a state violates.
pub(crate) fn check_invariants(
    invariants: &[ResolvedInvariant],
    policy_index: &PolicyIndex,
    access: &AccessView<'_>,
) -> Vec<InvariantViolation> {
    let checker = InvariantChecker::new(access, policy_index);
    invariants.iter().filter_map(|invariant| check_invariant(&checker, invariant)).collect()
}

fn check_invariant(checker: &InvariantChecker<'_, '_>, invariant: &ResolvedInvariant) -> Option<InvariantViolation> {
    let ResolvedInvariant { location, span, description, subject, claim } = invariant;
    let subjects = checker.resolve_subjects(subject, matches!(claim, Assertion::Can(_)));
    let mut violating: BTreeSet<IamIdentity> = BTreeSet::new();
    let mut remaining = subjects.iter().filter_map(|subject| {
        // If a role violates the invariant, all of its sessions do, and need not be listed.
        if let SubjectQuery::Arn(identity) = subject
            && violating.contains(&identity.in_any_session())
        {
            return None;
        }
        let violator = match claim {
            Assertion::Can(request) => checker.violation_of_can(subject, request),
            Assertion::Cannot(request) => checker.violation_of_cannot(subject, request),
            Assertion::CannotEscalate => checker.violation_of_cannot_escalate(subject),
        };
        if let (SubjectQuery::Arn(identity), Some(_)) = (subject, &violator) {
            violating.insert(identity.clone());
        }
        violator
    });
    let mut violators: Vec<Violator> = remaining.next().into_iter().collect();
    if violators.is_empty() {
        violators.extend(checker.unknown_access_entries(subject));
    }
    // If the group itself violates the invariant, all of its members do, and need not be listed.
    let is_group_itself =
        |violator: &Violator| matches!(subject, InvariantSubject::Group(_)) && violator.subject.starts_with("group:");
    if !violators.iter().any(is_group_itself) {
        violators.extend(remaining);
    }
    let invariant =
        format!("{} {}", format_subject(subject), format_assertion(claim, &checker.access.state().resources));
    (!violators.is_empty()).then(|| InvariantViolation {
        location: location.clone(),
        span: *span,
        description: description.clone(),
        subject: subject.clone(),
        claim: claim.clone(),
        invariant,
        violators,
    })
}

fn format_subject(subject: &InvariantSubject) -> String {
    match subject {
        InvariantSubject::Group(name) => format!("group {name}"),
        InvariantSubject::Principal { name, subject: _ } => format!("principal {name}"),
        InvariantSubject::User(name) => format!("user {name}"),
        InvariantSubject::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
        InvariantSubject::EveryoneBut(exemptions) if exemptions.is_empty() => "everyone".to_owned(),
        InvariantSubject::EveryoneBut(exemptions) => {
            let names: Vec<&str> = exemptions.iter().map(|exemption| exemption.name.as_str()).collect();
            format!("everyone but {}", names.join(", "))
        }
    }
}

fn format_assertion(assertion: &Assertion, known: &KnownResources) -> String {
    match assertion {
        Assertion::Can(request) => format!("must be able to {}", to_request(request, None, None, known)),
        Assertion::Cannot(request) => format!("must not be able to {}", to_request(request, None, None, known)),
        Assertion::CannotEscalate => "must not have a privilege escalation path".to_owned(),
    }
}
