//! A plan between two states, and all guards that look at it.

use super::allow_flag::AllowFlag;
use super::aws_auth;
use super::caller::{self, CallerIdentity};
use super::nodes::{self, NodeSample};
use super::removals;
use super::risk::{Risk, UnevaluatedGuard};
use crate::access::{AccessView, SubjectQuery};
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, Change, ChangeOrigin, ChangeTarget, Plan};
use crate::state::State;

/// What of a cluster no state holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    /// Why not, where he is not known.
    pub(crate) caller: Observed<CallerIdentity>,
    pub(crate) nodes: Observed<NodeSample>,
}

/// Something that was asked of the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Observed<T> {
    Known(T),
    /// And why.
    Unknown(String),
}

impl<T> Default for Observed<T> {
    fn default() -> Self {
        Self::Unknown("it was not asked".to_owned())
    }
}

/// What the guards find in a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuardReport {
    pub(crate) refused: Vec<Risk>,
    /// To which the command line says yes.
    pub(crate) allowed: Vec<Risk>,
    pub(crate) not_evaluated: Vec<UnevaluatedGuard>,
}

impl GuardReport {
    /// Whether a word of the command line was needed.
    pub(crate) fn has_use_for(&self, allowance: &AllowFlag) -> bool {
        self.allowed.iter().filter_map(|danger| danger.allow.as_ref()).any(|needed| allowance.covers(needed))
    }
}

/// A plan with the states on both of its sides.
pub(super) struct GuardContext<'a, 's> {
    pub(super) plan: &'a Plan,
    pub(super) live: &'s State,
    pub(super) after: &'s State,
    pub(super) live_access: &'a AccessView<'s>,
    pub(super) after_access: &'a AccessView<'s>,
}

/// Puts a plan to all guards.
pub(crate) fn evaluate_guards(
    plan: &Plan,
    sides: &AccessComparison<'_>,
    seen: &ClusterFacts,
    allow: &[AllowFlag],
) -> GuardReport {
    let mut verdict = GuardReport::default();
    if plan.is_empty() {
        return verdict;
    }
    let AccessComparison { live, after, live_access: was, after_access: is } = sides;
    let scene = GuardContext { plan, live, after, live_access: was, after_access: is };
    scene.live_access.grants.build_index();
    scene.after_access.grants.build_index();
    let mut found = caller::find_risks(&scene, &seen.caller, &mut verdict.not_evaluated);
    found.extend(nodes::find_risks(&scene, &seen.nodes));
    found.extend(aws_auth::find_risks(&scene));
    found.extend(removals::check_removals(&scene));
    let is_allowed = |danger: &Risk| {
        danger.allow.as_ref().is_some_and(|needed| allow.iter().any(|allowance| allowance.covers(needed)))
    };
    (verdict.allowed, verdict.refused) = found.into_iter().partition(is_allowed);
    verdict
}

impl GuardContext<'_, '_> {
    pub(super) fn writes_aws_auth(&self) -> bool {
        let aws_auth = ObjectKey::aws_auth();
        self.plan.steps.iter().any(|step| step.object == aws_auth)
    }

    /// Whether anybody loses anything; where that was not looked at he may.
    pub(super) fn revokes_access(&self) -> bool {
        let lets_in =
            |access: &AccessView<'_>, who: &SubjectQuery| access.authenticate(who).identities().next().is_some();
        let loses =
            self.plan.access_changes.as_ref().is_none_or(|all| all.iter().any(|one| !one.diff.losses.is_empty()));
        loses
            || self
                .live_access
                .principals()
                .iter()
                .any(|one| lets_in(self.live_access, &one.subject) && !lets_in(self.after_access, &one.subject))
    }

    /// What the plan changes in somebody's entries.
    fn entry_changes(&self, who: &SubjectQuery) -> impl Iterator<Item = &Change> {
        let key = match who {
            SubjectQuery::Arn(caller) => Some(caller.comparison_key()),
            SubjectQuery::Account(id) => Some(id.clone()),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => None,
        };
        self.plan.changes.iter().filter(move |change| match &change.target {
            ChangeTarget::Entry { principal, .. } => key.as_ref().is_some_and(|key| principal.to_lowercase() == *key),
            ChangeTarget::Object(_) => false,
        })
    }

    /// Whether somebody's entry is not what the policy wrote: what it gives, the policy never gave.
    pub(super) fn is_changed_in_cluster(&self, who: &SubjectQuery) -> bool {
        matches!(who, SubjectQuery::Arn(_))
            && self.entry_changes(who).any(|change| change.origin == ChangeOrigin::ChangedInCluster)
    }

    /// Where to look for a right that goes.
    pub(super) fn rbac_change_hint(&self) -> String {
        let bindings = self.plan.changes.iter().filter(|change| matches!(change.target, ChangeTarget::Object(_)));
        let places: std::collections::BTreeSet<String> =
            bindings.filter_map(|change| change.location.as_ref()).map(ToString::to_string).take(3).collect();
        if places.is_empty() {
            return format!("the policy `{}` does not list what gives them", self.plan.policy);
        }
        let places: Vec<String> = places.into_iter().collect();
        format!("what changes in roles and bindings stands at {}", places.join(", "))
    }

    /// Where the policy says what becomes of somebody's entry.
    pub(super) fn entry_change_hint(&self, who: &SubjectQuery) -> String {
        if !matches!(who, SubjectQuery::Arn(_) | SubjectQuery::Account(_)) {
            return String::new();
        }
        let place = self.entry_changes(who).find_map(|change| change.location.clone());
        place.map_or_else(
            || format!("the policy `{}` does not list this principal", self.plan.policy),
            |place| format!("{place} says what the entry becomes"),
        )
    }
}
