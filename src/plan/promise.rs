//! What a plan promises, as questions that an API server can answer once it is carried out: for each subject something
//! that it gains, and something that it loses.
//!
//! A bounded number, spread over the subjects. Only what the rules alone decide is asked: whom a template names is known
//! at no login but his own, and who has no entry any more is stopped before any rule is.

use std::collections::BTreeSet;

use super::{Await, Sides};
use crate::access::{Access, Admission, Answer, By, Identity, Moment, Part, Row, Verdict};
use crate::state::State;

/// A question and the answer that the plan promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    /// As people know him.
    pub(crate) who: String,
    pub(crate) asked: Await,
    pub(crate) allowed: bool,
    /// Only when the controller that fills aggregated ClusterRoles has run, which is the cluster's part.
    pub(crate) by_controller: bool,
}

/// At most so many promises of what changes between two sides.
pub(super) fn promises(rows: &[Row<'_>], sides: &Sides<'_>, most: usize) -> Vec<Promise> {
    let stored = Access::of(sides.after, Moment::Stored);
    let mut subjects: Vec<_> = rows.iter().filter_map(asked_of).collect();
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    while !subjects.is_empty() {
        // One of each subject in turn.
        subjects.retain_mut(|(row, identity, changes)| {
            let Some((part, allowed)) = changes.next() else {
                return false;
            };
            let promise = promised(row, identity, part, allowed, &sides.is, (sides.after, &stored));
            out.extend(promise.filter(|promise| out.len() < most && seen.insert(promise.asked.clone())));
            out.len() < most
        });
    }
    out
}

type Changes<'a, 's> = Box<dyn Iterator<Item = (&'a Part<'s>, bool)> + 'a>;

/// A subject who can be asked about, with his gains and losses in turn.
fn asked_of<'a, 's>(row: &'a Row<'s>) -> Option<(&'a Row<'s>, Literal, Changes<'a, 's>)> {
    let Admission::As(identity) = &row.after else {
        return None;
    };
    let gains = row.change.gained.iter().map(|part| (part, true));
    let losses = row.change.lost.iter().map(|part| (part, false));
    Some((row, literal(identity)?, Box::new(in_turn(gains, losses))))
}

fn in_turn<T>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut one, mut other, mut first) = (one.fuse(), other.fuse(), false);
    std::iter::from_fn(move || {
        first = !first;
        if first { one.next().or_else(|| other.next()) } else { other.next().or_else(|| one.next()) }
    })
}

fn promised(
    row: &Row<'_>,
    (username, groups): &Literal,
    part: &Part<'_>,
    allowed: bool,
    is: &Access<'_>,
    (after, stored): (&State, &Access<'_>),
) -> Option<Promise> {
    let request = part.region.example()?;
    let answer = is.can(&row.who, &request);
    let is_now = if allowed {
        answer.by.iter().any(|by| is_written(by, after))
    } else {
        stored.can(&row.who, &request).verdict == Verdict::No
    };
    (decided(&answer)? == allowed).then(|| Promise {
        who: row.who.to_string(),
        by_controller: !is_now,
        asked: Await { username: username.clone(), groups: groups.clone(), question: request.into() },
        allowed,
    })
}

/// Username and groups of a login.
type Literal = (Option<String>, Vec<String>);

/// Username and groups, where a login does not decide about them.
fn literal(identity: &Identity) -> Option<Literal> {
    let username = match &identity.username {
        Some(name) => Some(name.literal()?.to_owned()),
        None => None,
    };
    let groups = identity.groups.iter().map(|name| name.literal().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    Some((username, groups))
}

/// Whether the very role that is bound has the rule, which is not so before it has come in from others.
fn is_written(by: &By<'_>, after: &State) -> bool {
    match by {
        By::Chain(chain) => after.roles.get(chain.role).is_some_and(|role| role.rules.contains(chain.rule)),
        By::Masters => true,
    }
}

/// What the state after the plan says of the request itself.
fn decided(answer: &Answer<'_>) -> Option<bool> {
    match answer.verdict {
        Verdict::Yes => Some(true),
        Verdict::No => Some(false),
        Verdict::ByChance => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::tests::oracle;
    use crate::access::tests::random::pair;
    use crate::access::{Request, delta};

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_promised_is_so_afterwards((live, after) in pair(), most in 0_usize..60) {
            let sides = Sides::of(&live, &after);
                let promises = promises(&delta(&sides.was, &sides.is), &sides, most);
            prop_assert!(promises.len() <= most);
            for promise in &promises {
                let request = Request::from(&promise.asked.question);
                let login = (promise.asked.username.clone(), promise.asked.groups.clone());
                let allowed = |moment| oracle::allows(&after, moment, &login, &request);
                prop_assert_eq!(allowed(Moment::Settled), promise.allowed, "{} {}", promise.who, request);
                let at_once = promise.by_controller || allowed(Moment::Stored) == promise.allowed;
                prop_assert!(at_once, "{} {}", promise.who, request);
            }
        }
    }
}
