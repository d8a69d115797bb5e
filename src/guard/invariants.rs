//! Each invariant against one state: holds, or a refusal with the way that breaks it.

use serde::Serialize;

use super::invariant_checker::InvariantChecker;
use super::violator::{Violator, to_request};
use crate::access::{AccessView, Aggregation, lint_query};
use crate::diagnostic::{Diagnostic, SourceLocation, Span};
use crate::plan::{InvariantSubject, ResolvedInvariant};
use crate::policy::{Assertion, PolicyIndex, RequestSpec};
use crate::state::State;

/// Breakers named one by one on a terminal.
const MAX_LISTED_VIOLATORS: usize = 5;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct InvariantViolation {
    /// Where the invariant stands.
    pub(crate) place: SourceLocation,
    /// Where the policy is at hand.
    #[serde(skip)]
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    /// What was to hold, in words.
    pub(crate) invariant: String,
    pub(crate) breaches: Vec<Violator>,
}

impl InvariantViolation {
    pub(crate) fn to_diagnostic(&self) -> Diagnostic {
        let what = match &self.description {
            Some(text) => format!("{text} ({})", self.invariant),
            None => self.invariant.clone(),
        };
        let error = Diagnostic::error(format!("an invariant does not hold: {what}"));
        let mut error = match self.span {
            Some(span) => error.primary_label(span, ""),
            None => error.with_help(format!("it stands at {}", self.place)),
        };
        for breach in self.breaches.iter().take(MAX_LISTED_VIOLATORS) {
            let name = breach.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            let path =
                if breach.path.is_empty() { String::new() } else { format!(", by {}", breach.path.join(" → ")) };
            error = error.with_help(format!("{}{name} {}{path}", breach.who, breach.what));
        }
        match self.breaches.len().checked_sub(MAX_LISTED_VIOLATORS).filter(|more| *more > 0) {
            Some(more) => error.with_help(format!("… and {more} more, whom --format json names")),
            None => error,
        }
    }
}

/// The invariants that do not hold in a state, and what is odd about them.
pub(crate) fn check_invariants(
    invariants: &[ResolvedInvariant],
    known: &PolicyIndex,
    state: &State,
) -> (Vec<InvariantViolation>, Vec<Diagnostic>) {
    if invariants.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let access = AccessView::new(state, Aggregation::Reconciled);
    let people = InvariantChecker::new(&access, known);
    let refusals = invariants.iter().filter_map(|invariant| check_invariant(&people, invariant)).collect();
    let odd = invariants.iter().flat_map(|invariant| lint_invariant(&access, invariant)).collect();
    (refusals, odd)
}

fn check_invariant(people: &InvariantChecker<'_, '_>, invariant: &ResolvedInvariant) -> Option<InvariantViolation> {
    let ResolvedInvariant { place, span, description, subject, claim } = invariant;
    let meant = people.resolve_subjects(subject, matches!(claim, Assertion::Can(_)));
    let mut breaches = meant.iter().filter_map(|who| match claim {
        Assertion::Can(action) => people.violation_of_can(who, action),
        Assertion::Cannot(action) => people.violation_of_cannot(who, action),
        Assertion::CannotEscalate => people.violation_of_cannot_escalate(who),
    });
    let mut found: Vec<Violator> = breaches.next().into_iter().collect();
    // What the group has, all its members have.
    let whole = |breach: &Violator| matches!(subject, InvariantSubject::Group(_)) && breach.who.starts_with("group:");
    if !found.iter().any(whole) {
        found.extend(breaches);
    }
    let invariant = format!("{} {}", format_subject(subject), format_assertion(claim));
    let (place, span, description) = (place.clone(), *span, description.clone());
    (!found.is_empty()).then_some(InvariantViolation { place, span, description, invariant, breaches: found })
}

fn format_subject(subject: &InvariantSubject) -> String {
    match subject {
        InvariantSubject::Group(name) => format!("group {name}"),
        InvariantSubject::Principal { name, who: _ } => format!("principal {name}"),
        InvariantSubject::User(name) => format!("user {name}"),
        InvariantSubject::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
        InvariantSubject::EveryoneBut(spared) if spared.is_empty() => "everyone".to_owned(),
        InvariantSubject::EveryoneBut(spared) => {
            let names: Vec<&str> = spared.iter().map(|one| one.name.as_str()).collect();
            format!("everyone but {}", names.join(", "))
        }
    }
}

fn format_assertion(claim: &Assertion) -> String {
    match claim {
        Assertion::Can(action) => format!("can {}", to_request(action, None, None)),
        Assertion::Cannot(action) => format!("cannot {}", to_request(action, None, None)),
        Assertion::CannotEscalate => "cannot escalate".to_owned(),
    }
}

/// A word that no cluster knows makes a `cannot` hold for nothing.
fn lint_invariant(access: &AccessView<'_>, invariant: &ResolvedInvariant) -> Vec<Diagnostic> {
    let action: &RequestSpec = match &invariant.claim {
        Assertion::Can(action) | Assertion::Cannot(action) => action,
        Assertion::CannotEscalate => return Vec::new(),
    };
    let found = lint_query(access, None, &to_request(action, None, None)).into_iter().map(|doubt| {
        let warning = Diagnostic::warning(format!("of an invariant: {doubt}"));
        let warning = match invariant.span {
            Some(span) => warning.primary_label(span, ""),
            None => warning.with_help(format!("it stands at {}", invariant.place)),
        };
        doubt.help().into_iter().fold(warning, Diagnostic::with_help)
    });
    if action.resource == "*" { Vec::new() } else { found.collect() }
}
