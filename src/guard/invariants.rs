//! Each invariant against one state: holds, or a refusal with the way that breaks it.

use serde::Serialize;

use super::breach::{Breach, request};
use super::subjects::People;
use crate::access::{Access, Moment, doubts};
use crate::diagnostic::{Diagnostic, Place, Span};
use crate::policy::{Action, Claim, Invariant, InvariantSubject, Known, Policy, is_for};
use crate::state::State;

/// Breakers named one by one on a terminal.
const NAMED: usize = 5;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// Where the invariant stands.
    pub(crate) place: Place,
    #[serde(skip)]
    pub(crate) span: Span,
    pub(crate) description: Option<String>,
    /// What was to hold, in words.
    pub(crate) invariant: String,
    pub(crate) breaches: Vec<Breach>,
}

impl Refusal {
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let what = match &self.description {
            Some(text) => format!("{text} ({})", self.invariant),
            None => self.invariant.clone(),
        };
        let mut error = Diagnostic::error(format!("an invariant does not hold: {what}")).at(self.span, "");
        for breach in self.breaches.iter().take(NAMED) {
            let name = breach.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            let path =
                if breach.path.is_empty() { String::new() } else { format!(", by {}", breach.path.join(" → ")) };
            error = error.hint(format!("{}{name} {}{path}", breach.who, breach.what));
        }
        match self.breaches.len().checked_sub(NAMED).filter(|more| *more > 0) {
            Some(more) => error.hint(format!("… and {more} more, whom --format json names")),
            None => error,
        }
    }
}

/// The invariants that do not hold in a state, and what is odd about them.
pub(crate) fn of_state(
    policy: &Policy,
    cluster: Option<&str>,
    known: &Known,
    state: &State,
) -> (Vec<Refusal>, Vec<Diagnostic>) {
    if policy.invariants.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let access = Access::of(state, Moment::Settled);
    let people = People::of(&access, known, policy);
    let here = || policy.invariants.iter().filter(|invariant| is_here(policy, cluster, &invariant.subject));
    let refusals = here().filter_map(|invariant| judge(policy, &people, invariant)).collect();
    let odd = here().flat_map(|invariant| oddities(&access, invariant)).collect();
    (refusals, odd)
}

/// Of who is not of the cluster an invariant says nothing there.
fn is_here(policy: &Policy, cluster: Option<&str>, subject: &InvariantSubject) -> bool {
    let filter = match subject {
        InvariantSubject::Group(name) => policy.groups.get(&name.value).map(|group| &group.clusters),
        InvariantSubject::Principal(name) => policy.principals.get(&name.value).map(|one| &one.clusters),
        InvariantSubject::User(_) | InvariantSubject::ServiceAccount(_) | InvariantSubject::EveryoneBut(_) => None,
    };
    filter.is_none_or(|filter| is_for(filter.as_deref(), cluster))
}

fn judge(policy: &Policy, people: &People<'_, '_>, invariant: &Invariant) -> Option<Refusal> {
    let Invariant { span, description, subject, claim } = invariant;
    let meant = people.meant(subject, matches!(claim, Claim::Can(_)));
    let mut breaches = meant.iter().filter_map(|who| match claim {
        Claim::Can(action) => people.cannot(who, action),
        Claim::Cannot(action) => people.can(who, action),
        Claim::CannotEscalate => people.way_up(who),
    });
    let mut found: Vec<Breach> = breaches.next().into_iter().collect();
    // What the group has, all its members have.
    let whole = |breach: &Breach| matches!(subject, InvariantSubject::Group(_)) && breach.who.starts_with("group:");
    if !found.iter().any(whole) {
        found.extend(breaches);
    }
    let place = policy.sources.place(*span);
    let invariant = format!("{} {}", subject_words(subject), claim_words(claim));
    let (span, description) = (*span, description.clone());
    (!found.is_empty()).then_some(Refusal { place, span, description, invariant, breaches: found })
}

fn subject_words(subject: &InvariantSubject) -> String {
    match subject {
        InvariantSubject::Group(name) => format!("group {}", name.value),
        InvariantSubject::Principal(name) => format!("principal {}", name.value),
        InvariantSubject::User(name) => format!("user {}", name.value),
        InvariantSubject::ServiceAccount(account) => {
            let namespace = account.value.namespace.as_deref().unwrap_or_default();
            format!("service account {namespace}/{}", account.value.name)
        }
        InvariantSubject::EveryoneBut(names) if names.is_empty() => "everyone".to_owned(),
        InvariantSubject::EveryoneBut(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
            format!("everyone but {}", names.join(", "))
        }
    }
}

fn claim_words(claim: &Claim) -> String {
    match claim {
        Claim::Can(action) => format!("can {}", request(action, None, None)),
        Claim::Cannot(action) => format!("cannot {}", request(action, None, None)),
        Claim::CannotEscalate => "cannot escalate".to_owned(),
    }
}

/// A word that no cluster knows makes a `cannot` hold for nothing.
fn oddities(access: &Access<'_>, invariant: &Invariant) -> Vec<Diagnostic> {
    let action: &Action = match &invariant.claim {
        Claim::Can(action) | Claim::Cannot(action) => action,
        Claim::CannotEscalate => return Vec::new(),
    };
    let found = doubts(access, None, &request(action, None, None)).into_iter().map(|doubt| {
        let warning = Diagnostic::warning(format!("of an invariant: {doubt}")).at(invariant.span, "");
        doubt.hint().into_iter().fold(warning, Diagnostic::hint)
    });
    if action.resource == "*" { Vec::new() } else { found.collect() }
}
