//! A plan between two states, and all guards that look at it.

use super::allowance::Allowance;
use super::caller::{self, Caller};
use super::danger::{Danger, Unjudged};
use super::entries;
use super::nodes::{self, Nodes};
use super::removals;
use crate::access::{Access, Who};
use crate::names::ObjectKey;
use crate::plan::{Change, Origin, Plan, Sides, Target};
use crate::state::State;

/// What of a cluster no state holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Why not, where he is not known.
    pub(crate) caller: Known<Caller>,
    pub(crate) nodes: Known<Nodes>,
}

/// Something that was asked of the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Known<T> {
    As(T),
    /// And why.
    Not(String),
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self::Not("it was not asked".to_owned())
    }
}

/// What the guards find in a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) refused: Vec<Danger>,
    /// To which the command line says yes.
    pub(crate) allowed: Vec<Danger>,
    pub(crate) unjudged: Vec<Unjudged>,
}

impl Verdict {
    /// Whether a word of the command line was needed.
    pub(crate) fn needs(&self, allowance: &Allowance) -> bool {
        self.allowed.iter().filter_map(|danger| danger.allow.as_ref()).any(|needed| allowance.covers(needed))
    }
}

/// A plan with the states on both of its sides.
pub(super) struct Scene<'a, 's> {
    pub(super) plan: &'a Plan,
    pub(super) live: &'s State,
    pub(super) after: &'s State,
    pub(super) was: &'a Access<'s>,
    pub(super) is: &'a Access<'s>,
}

/// Puts a plan to all guards.
pub(crate) fn judge(plan: &Plan, sides: &Sides<'_>, seen: &Seen, allow: &[Allowance]) -> Verdict {
    let mut verdict = Verdict::default();
    if plan.is_empty() {
        return verdict;
    }
    let Sides { live, after, was, is } = sides;
    let scene = Scene { plan, live, after, was, is };
    scene.was.grants.index();
    scene.is.grants.index();
    let mut found = caller::dangers(&scene, &seen.caller, &mut verdict.unjudged);
    found.extend(nodes::dangers(&scene, &seen.nodes));
    found.extend(entries::dangers(&scene));
    found.extend(removals::danger(&scene));
    let is_allowed = |danger: &Danger| {
        danger.allow.as_ref().is_some_and(|needed| allow.iter().any(|allowance| allowance.covers(needed)))
    };
    (verdict.allowed, verdict.refused) = found.into_iter().partition(is_allowed);
    verdict
}

impl Scene<'_, '_> {
    pub(super) fn writes_aws_auth(&self) -> bool {
        let aws_auth = ObjectKey::aws_auth();
        self.plan.steps.iter().any(|step| step.object == aws_auth)
    }

    /// Whether anybody loses anything; where that was not looked at he may.
    pub(super) fn takes_away(&self) -> bool {
        let lets_in = |access: &Access<'_>, who: &Who| access.admit(who).identities().next().is_some();
        let loses = self.plan.access.as_ref().is_none_or(|all| all.iter().any(|one| !one.access.loses.is_empty()));
        loses || self.was.principals().iter().any(|one| lets_in(self.was, &one.who) && !lets_in(self.is, &one.who))
    }

    /// What the plan changes in somebody's entries.
    fn changes_of(&self, who: &Who) -> impl Iterator<Item = &Change> {
        let key = match who {
            Who::Arn(caller) => Some(caller.key()),
            Who::Account(id) => Some(id.clone()),
            Who::User(_) | Who::Group(_) | Who::ServiceAccount { .. } => None,
        };
        self.plan.changes.iter().filter(move |change| match &change.target {
            Target::Entry { principal, .. } => key.as_ref().is_some_and(|key| principal.to_lowercase() == *key),
            Target::Object(_) => false,
        })
    }

    /// Whether somebody's entry is not what the policy wrote: what it gives, the policy never gave.
    pub(super) fn changed_live(&self, who: &Who) -> bool {
        matches!(who, Who::Arn(_)) && self.changes_of(who).any(|change| change.origin == Origin::ChangedLive)
    }

    /// Where to look for a right that goes.
    pub(super) fn said_of_rights(&self) -> String {
        let bindings = self.plan.changes.iter().filter(|change| matches!(change.target, Target::Object(_)));
        let places: std::collections::BTreeSet<String> =
            bindings.filter_map(|change| change.place.as_ref()).map(ToString::to_string).take(3).collect();
        if places.is_empty() {
            return format!("the policy `{}` does not list what gives them", self.plan.policy);
        }
        let places: Vec<String> = places.into_iter().collect();
        format!("what changes in roles and bindings stands at {}", places.join(", "))
    }

    /// Where the policy says what becomes of somebody's entry.
    pub(super) fn said(&self, who: &Who) -> String {
        if !matches!(who, Who::Arn(_) | Who::Account(_)) {
            return String::new();
        }
        let place = self.changes_of(who).find_map(|change| change.place.clone());
        place.map_or_else(
            || format!("the policy `{}` does not list this principal", self.plan.policy),
            |place| format!("{place} says what the entry becomes"),
        )
    }
}
