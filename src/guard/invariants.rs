//! Checks invariants against a state, and reports those that are violated with the grants that violate them.

use super::invariant_checker::InvariantChecker;
use super::violator::{Violator, to_request};
use crate::access::{AccessView, Aggregation, QueryLint, lint_query};
use crate::api_resources::KnownResources;
use crate::diagnostic::{Diagnostic, SourceLocation, Span};
use crate::plan::{InvariantSubject, ResolvedInvariant};
use crate::policy::{Assertion, PolicyIndex, RequestSpec};
use crate::state::State;

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

/// Returns the invariants that a state violates, and warnings about the invariants.
pub(crate) fn check_invariants(
    invariants: &[ResolvedInvariant],
    policy_index: &PolicyIndex,
    state: &State,
) -> (Vec<InvariantViolation>, Vec<Diagnostic>) {
    if invariants.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let access = AccessView::new(state, Aggregation::Reconciled);
    let checker = InvariantChecker::new(&access, policy_index);
    let violations = invariants.iter().filter_map(|invariant| check_invariant(&checker, invariant)).collect();
    let warnings = invariants.iter().flat_map(|invariant| lint_invariant(&access, invariant)).collect();
    (violations, warnings)
}

fn check_invariant(checker: &InvariantChecker<'_, '_>, invariant: &ResolvedInvariant) -> Option<InvariantViolation> {
    let ResolvedInvariant { location, span, description, subject, claim } = invariant;
    let subjects = checker.resolve_subjects(subject, matches!(claim, Assertion::Can(_)));
    let mut remaining = subjects.iter().filter_map(|subject| match claim {
        Assertion::Can(request) => checker.violation_of_can(subject, request),
        Assertion::Cannot(request) => checker.violation_of_cannot(subject, request),
        Assertion::CannotEscalate => checker.violation_of_cannot_escalate(subject),
    });
    let mut violators: Vec<Violator> = remaining.next().into_iter().collect();
    // If the group itself violates the invariant, all of its members do, and need not be listed.
    let is_group_itself =
        |violator: &Violator| matches!(subject, InvariantSubject::Group(_)) && violator.subject.starts_with("group:");
    if !violators.iter().any(is_group_itself) {
        violators.extend(remaining);
    }
    let invariant =
        format!("{} {}", format_subject(subject), format_assertion(claim, &checker.access.state().resources));
    let (location, span, description) = (location.clone(), *span, description.clone());
    (!violators.is_empty()).then_some(InvariantViolation { location, span, description, invariant, violators })
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

/// Warns of names that do not exist in the cluster. With a typo, `cannot` is always satisfied.
fn lint_invariant(access: &AccessView<'_>, invariant: &ResolvedInvariant) -> Vec<Diagnostic> {
    let request: &RequestSpec = match &invariant.claim {
        Assertion::Can(request) | Assertion::Cannot(request) => request,
        Assertion::CannotEscalate => return Vec::new(),
    };
    if request.resource == "*" {
        return Vec::new();
    }
    let lints = lint_query(access, None, &to_request(request, None, None, &access.state().resources)).into_iter();
    let to_warning = |lint: QueryLint| {
        let warning = Diagnostic::warning(format!("invariant: {lint}"));
        let warning = match invariant.span {
            Some(span) => warning.primary_label(span, ""),
            None => warning.with_note(format!("defined at {}", invariant.location)),
        };
        lint.help().into_iter().fold(warning, Diagnostic::with_help)
    };
    lints.map(to_warning).collect()
}
