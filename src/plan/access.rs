//! What a plan changes in who can do what, in words that a saved plan keeps.
//!
//! Those for whom the same changes are one. Both sides are taken as they are once the controller that fills aggregated
//! roles has run, so that what it is late with is not told as the plan's doing.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Change, Plan, Target};
use crate::access::{Access, Alone, By, MASTERS, Moment, Part, Requests, Row, WayUp, delta};
use crate::names::ObjectKey;
use crate::policy::Known;
use crate::state::State;
use crate::state::aws_auth::Section;

/// What changes for some subjects alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessChange {
    pub(crate) subjects: Vec<Affected>,
    #[serde(flatten)]
    pub(crate) access: Difference,
}

/// What one change has to do with access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// Made alone, or left out of the plan, it changes what somebody may do.
    Some,
    /// It does neither.
    None,
}

/// Somebody for whom something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Affected {
    /// An ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) who: String,
    /// The policy's name for him.
    pub(crate) name: Option<String>,
}

/// What comes and what goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) gains: Vec<Allowed>,
    pub(crate) loses: Vec<Allowed>,
    /// Ways to more power that open.
    pub(crate) ways: Vec<Opened>,
}

/// A set of requests, and what gives it, or gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Allowed {
    /// Such as `get, list on every resource, everywhere`.
    pub(crate) what: String,
    /// The same for machines.
    pub(crate) requests: Requests,
    pub(crate) by: Vec<Giver>,
}

/// A binding and its role, or `system:masters`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Giver {
    /// Of whom RBAC is not asked.
    Group {
        group: String,
    },
    Binding {
        binding: ObjectKey,
        role: ObjectKey,
    },
}

/// A way to more power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// The same in every version.
    pub(crate) name: String,
    /// Where it leads and through what.
    pub(crate) path: String,
}

impl Plan {
    /// Tells what the plan's writes change in who can do what, and which of its changes change nothing in it.
    pub(crate) fn tell_access(&mut self, sides: &Sides<'_>, known: &Known) {
        let (live, after) = (sides.live, sides.after);
        // Each half of the changes by itself, and the whole beside them: none needs what the others find.
        let half = self.changes.len() / 2;
        let (one, other) = self.changes.split_at_mut(half);
        self.access = Some(std::thread::scope(|scope| {
            for half in [one, other] {
                scope.spawn(move || tell_each(half, live, after));
            }
            folded(&delta(&sides.was, &sides.is), known)
        }));
    }
}

/// Tells of each change whether it changes anybody's access by itself.
fn tell_each(changes: &mut [Change], live: &State, after: &State) {
    if changes.is_empty() {
        return;
    }
    let Sides { was, is, .. } = Sides::of(live, after);
    let alone = Alone::between(&was, &is);
    for change in changes {
        let changes = match &change.target {
            Target::Entry { section: Section::Accounts, principal } => alone.account(principal),
            Target::Entry { section: Section::Roles | Section::Users, principal } => alone.entry(principal),
            Target::Object(key) => alone.object(key),
        };
        change.access = Some(if changes { Effect::Some } else { Effect::None });
    }
}

/// The states on both sides of a plan, and who can do what in them.
#[derive(Debug)]
pub(crate) struct Sides<'s> {
    pub(crate) live: &'s State,
    pub(crate) after: &'s State,
    pub(crate) was: Access<'s>,
    pub(crate) is: Access<'s>,
}

impl<'s> Sides<'s> {
    pub(crate) fn of(live: &'s State, after: &'s State) -> Self {
        Self { live, after, was: Access::of(live, Moment::Settled), is: Access::of(after, Moment::Settled) }
    }
}

/// What differs in who can do what, in words.
pub(super) fn folded(rows: &[Row<'_>], known: &Known) -> Vec<AccessChange> {
    let mut changes: Vec<AccessChange> = Vec::new();
    let mut by_source = BTreeMap::new();
    let mut by_content: BTreeMap<Difference, usize> = BTreeMap::new();
    for row in rows {
        let assumed: Vec<Opened> = row.assumed.iter().map(Opened::of).collect();
        // Whoever is bound to the same shares one result: it is put into words once.
        let source = (Rc::as_ptr(&row.change), assumed);
        let place = *by_source.entry(source).or_insert_with_key(|(_, assumed)| {
            let access = Difference::of(row, assumed);
            *by_content.entry(access).or_insert_with_key(|access| {
                changes.push(AccessChange { subjects: Vec::new(), access: access.clone() });
                changes.len() - 1
            })
        });
        if let Some(change) = changes.get_mut(place) {
            let name = known.name_of(&row.who).map(str::to_owned);
            change.subjects.push(Affected { who: row.who.to_string(), name });
        }
    }
    changes
}

impl Difference {
    fn of(row: &Row<'_>, assumed: &[Opened]) -> Self {
        let all = |parts: &[Part<'_>]| parts.iter().map(Allowed::of).collect();
        Self {
            gains: all(&row.change.gained),
            loses: all(&row.change.lost),
            ways: assumed.iter().cloned().chain(row.change.ways.iter().map(Opened::of)).collect(),
        }
    }
}

impl Allowed {
    pub(crate) fn of(part: &Part<'_>) -> Self {
        let mut by: Vec<Giver> = part.by.iter().map(Giver::of).collect();
        by.dedup();
        Self { what: part.region.to_string(), requests: Requests::of(&part.region), by }
    }
}

impl Giver {
    pub(crate) fn of(by: &By<'_>) -> Self {
        match by {
            By::Masters => Self::Group { group: MASTERS.to_owned() },
            By::Chain(chain) => Self::Binding { binding: chain.binding.clone(), role: chain.role.clone() },
        }
    }
}

impl Opened {
    pub(crate) fn of(way: &WayUp<'_>) -> Self {
        Self { name: way.name().to_owned(), path: way.to_string() }
    }
}
