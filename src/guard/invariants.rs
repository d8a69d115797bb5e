//! Each invariant against one state: holds, or a refusal with the way that breaks it.

use serde::Serialize;

use super::invariant_checker::InvariantChecker;
use super::violator::{Breach, to_request};
use crate::access::{AccessView, Aggregation, lint_query};
use crate::diagnostic::{Diagnostic, Place, Span};
use crate::plan::{Meant, MustHold};
use crate::policy::{Action, Claim, PolicyIndex};
use crate::state::State;

/// Breakers named one by one on a terminal.
const MAX_LISTED_VIOLATORS: usize = 5;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// Where the invariant stands.
    pub(crate) place: Place,
    /// Where the policy is at hand.
    #[serde(skip)]
    pub(crate) span: Option<Span>,
    pub(crate) description: Option<String>,
    /// What was to hold, in words.
    pub(crate) invariant: String,
    pub(crate) breaches: Vec<Breach>,
}

impl Refusal {
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
    invariants: &[MustHold],
    known: &PolicyIndex,
    state: &State,
) -> (Vec<Refusal>, Vec<Diagnostic>) {
    if invariants.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let access = AccessView::new(state, Aggregation::Reconciled);
    let people = InvariantChecker::new(&access, known);
    let refusals = invariants.iter().filter_map(|invariant| check_invariant(&people, invariant)).collect();
    let odd = invariants.iter().flat_map(|invariant| lint_invariant(&access, invariant)).collect();
    (refusals, odd)
}

fn check_invariant(people: &InvariantChecker<'_, '_>, invariant: &MustHold) -> Option<Refusal> {
    let MustHold { place, span, description, subject, claim } = invariant;
    let meant = people.resolve_subjects(subject, matches!(claim, Claim::Can(_)));
    let mut breaches = meant.iter().filter_map(|who| match claim {
        Claim::Can(action) => people.violation_of_can(who, action),
        Claim::Cannot(action) => people.violation_of_cannot(who, action),
        Claim::CannotEscalate => people.violation_of_cannot_escalate(who),
    });
    let mut found: Vec<Breach> = breaches.next().into_iter().collect();
    // What the group has, all its members have.
    let whole = |breach: &Breach| matches!(subject, Meant::Group(_)) && breach.who.starts_with("group:");
    if !found.iter().any(whole) {
        found.extend(breaches);
    }
    let invariant = format!("{} {}", format_subject(subject), format_assertion(claim));
    let (place, span, description) = (place.clone(), *span, description.clone());
    (!found.is_empty()).then_some(Refusal { place, span, description, invariant, breaches: found })
}

fn format_subject(subject: &Meant) -> String {
    match subject {
        Meant::Group(name) => format!("group {name}"),
        Meant::Principal { name, who: _ } => format!("principal {name}"),
        Meant::User(name) => format!("user {name}"),
        Meant::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
        Meant::EveryoneBut(spared) if spared.is_empty() => "everyone".to_owned(),
        Meant::EveryoneBut(spared) => {
            let names: Vec<&str> = spared.iter().map(|one| one.name.as_str()).collect();
            format!("everyone but {}", names.join(", "))
        }
    }
}

fn format_assertion(claim: &Claim) -> String {
    match claim {
        Claim::Can(action) => format!("can {}", to_request(action, None, None)),
        Claim::Cannot(action) => format!("cannot {}", to_request(action, None, None)),
        Claim::CannotEscalate => "cannot escalate".to_owned(),
    }
}

/// A word that no cluster knows makes a `cannot` hold for nothing.
fn lint_invariant(access: &AccessView<'_>, invariant: &MustHold) -> Vec<Diagnostic> {
    let action: &Action = match &invariant.claim {
        Claim::Can(action) | Claim::Cannot(action) => action,
        Claim::CannotEscalate => return Vec::new(),
    };
    let found = lint_query(access, None, &to_request(action, None, None)).into_iter().map(|doubt| {
        let warning = Diagnostic::warning(format!("of an invariant: {doubt}"));
        let warning = match invariant.span {
            Some(span) => warning.primary_label(span, ""),
            None => warning.with_help(format!("it stands at {}", invariant.place)),
        };
        doubt.hint().into_iter().fold(warning, Diagnostic::with_help)
    });
    if action.resource == "*" { Vec::new() } else { found.collect() }
}
