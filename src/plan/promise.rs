//! What a plan promises, as questions that an API server can answer once it is carried out: for each subject something
//! that it gains, and something that it loses.
//!
//! A bounded number, spread over the subjects. Only what the rules alone decide is asked: whom a template names is known
//! at no login but his own, and who has no entry any more is stopped before any rule is.

use std::collections::BTreeSet;

use super::{Await, Plan};
use crate::access::{Access, Admission, Identity, Moment, Part, Request, Row, Verdict, Who, delta};
use crate::state::State;
use crate::state::object::ObjectFault;

/// A question and the answer that the plan promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    /// As people know him.
    pub(crate) who: String,
    pub(crate) asked: Await,
    pub(crate) allowed: bool,
}

impl Plan {
    /// At most so many of its promises.
    ///
    /// # Errors
    /// A write that is none.
    pub(crate) fn promises(&self, live: &State, most: usize) -> Result<Vec<Promise>, ObjectFault> {
        let after = self.after(live)?;
        let (was, is) = (Access::of(live, Moment::Settled), Access::of(&after, Moment::Settled));
        let rows = delta(&was, &is);
        let mut queues: Vec<Vec<Promise>> = rows.iter().map(|row| of_row(row, &is)).collect();
        let mut out = Vec::new();
        let mut seen = BTreeSet::new();
        let longest = queues.iter().map(Vec::len).max().unwrap_or_default();
        for turn in 0..longest {
            for promise in queues.iter_mut().filter_map(|queue| queue.get_mut(turn)) {
                if out.len() == most {
                    return Ok(out);
                }
                if seen.insert(promise.asked.clone()) {
                    out.push(promise.clone());
                }
            }
        }
        Ok(out)
    }
}

/// Gains and losses of one subject in turn.
fn of_row(row: &Row<'_>, is: &Access<'_>) -> Vec<Promise> {
    let Admission::As(identity) = &row.after else {
        return Vec::new();
    };
    let Some((username, groups)) = literal(identity) else {
        return Vec::new();
    };
    let change = &row.change;
    let asked = |part: &Part<'_>, allowed: bool| -> Option<Promise> {
        let request = part.region.example()?;
        (decided(&row.who, &request, is)? == allowed).then(|| Promise {
            who: row.who.to_string(),
            asked: Await { username: username.clone(), groups: groups.clone(), question: request.into() },
            allowed,
        })
    };
    let gains = change.gained.iter().filter_map(|part| asked(part, true));
    let losses = change.lost.iter().filter_map(|part| asked(part, false));
    let (gains, losses): (Vec<_>, Vec<_>) = (gains.collect(), losses.collect());
    let mut out = Vec::with_capacity(gains.len() + losses.len());
    for turn in 0..gains.len().max(losses.len()) {
        out.extend(gains.get(turn).cloned());
        out.extend(losses.get(turn).cloned());
    }
    out
}

/// Username and groups, where a login does not decide about them.
fn literal(identity: &Identity) -> Option<(Option<String>, Vec<String>)> {
    let username = match &identity.username {
        Some(name) => Some(name.literal()?.to_owned()),
        None => None,
    };
    let groups = identity.groups.iter().map(|name| name.literal().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    Some((username, groups))
}

/// What the state after the plan says of the request itself.
fn decided(who: &Who, request: &Request, is: &Access<'_>) -> Option<bool> {
    match is.can(who, request).verdict {
        Verdict::Yes => Some(true),
        Verdict::No => Some(false),
        Verdict::ByChance => None,
    }
}
