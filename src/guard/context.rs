//! Evaluates the guards for a plan, with the states before and after it.

use std::collections::BTreeSet;

use super::allow_flag::AllowFlag;
use super::aws_auth;
use super::caller::{self, CallerIdentity};
use super::everyone;
use super::node_roles::NodeRoles;
use super::nodes::{self, NodeSample};
use super::removals;
use super::risk::{GuardKind, Risk, UnevaluatedGuard};
use crate::access::{AccessView, IamIdentity, SubjectQuery};
use crate::diagnostic::{DiagnosticNote, NoteKind};
use crate::names::ObjectKind;
use crate::plan::{AccessComparison, Change, ChangeOrigin, ChangeTarget, Plan};
use crate::state::State;

/// Facts about a cluster that are not part of its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    pub(crate) caller: Observed<CallerIdentity>,
    pub(crate) nodes: Observed<NodeSample>,
    /// `None` if EKS was not asked: the cluster is not known to be one of EKS, or the plan takes nothing from an aws-auth entry.
    pub(crate) node_roles: Option<Observed<NodeRoles>>,
}

impl ClusterFacts {
    /// Returns the caller, if the cluster was asked and has answered.
    pub(crate) fn known_caller(&self) -> Option<&CallerIdentity> {
        self.caller.known()
    }
}

/// A fact that was read from the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Observed<T> {
    Known(T),
    /// The reason why it is not known.
    Unknown(String),
}

impl<T> Observed<T> {
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    pub(crate) fn unknown_reason(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(reason) => Some(reason),
        }
    }
}

impl<T> Default for Observed<T> {
    fn default() -> Self {
        Self::Unknown("the cluster was not asked".to_owned())
    }
}

/// The result of the guards for a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuardReport {
    pub(crate) refused: Vec<Risk>,
    /// Risks that the command line accepts.
    pub(crate) allowed: Vec<Risk>,
    pub(crate) not_evaluated: Vec<UnevaluatedGuard>,
    /// The guards that found no risk. Empty if the guards were not evaluated, as for a plan without changes.
    pub(crate) passed: Vec<GuardKind>,
}

impl GuardReport {
    /// Returns whether a flag of the command line accepts a risk of this plan.
    pub(crate) fn has_use_for(&self, flag: &AllowFlag) -> bool {
        self.allowed.iter().filter_map(|risk| risk.allow.as_ref()).any(|needed| flag.covers(needed))
    }
}

/// A plan with the states before and after it.
pub(super) struct GuardContext<'a, 's> {
    pub(super) plan: &'a Plan,
    pub(super) live: &'s State,
    pub(super) after: &'s State,
    pub(super) live_access: &'a AccessView<'s>,
    pub(super) after_access: &'a AccessView<'s>,
}

/// Evaluates all guards for a plan.
pub(crate) fn evaluate_guards(
    plan: &Plan,
    comparison: &AccessComparison<'_>,
    facts: &ClusterFacts,
    allow: &[AllowFlag],
) -> GuardReport {
    let mut report = GuardReport::default();
    if plan.is_empty() {
        return report;
    }
    let AccessComparison { live, after, live_access, after_access } = comparison;
    let context = GuardContext { plan, live, after, live_access, after_access };
    context.live_access.grants.build_index();
    context.after_access.grants.build_index();
    let mut risks = caller::find_risks(&context, &facts.caller, &mut report.not_evaluated);
    risks.extend(nodes::find_risks(&context, facts, &mut report.not_evaluated));
    risks.extend(aws_auth::find_risks(&context));
    risks.extend(everyone::find_risks(&context));
    risks.extend(removals::check_removals(&context));
    let is_allowed =
        |risk: &Risk| risk.allow.as_ref().is_some_and(|needed| allow.iter().any(|flag| flag.covers(needed)));
    (report.allowed, report.refused) = risks.into_iter().partition(is_allowed);
    let found = report.allowed.iter().chain(&report.refused).map(|risk| risk.guard);
    let not_passed: BTreeSet<GuardKind> = found.chain(report.not_evaluated.iter().map(|guard| guard.guard)).collect();
    report.passed = GuardKind::ALL.into_iter().filter(|guard| !not_passed.contains(guard)).collect();
    report
}

impl GuardContext<'_, '_> {
    /// Returns whether the plan writes aws-auth or an access entry.
    pub(super) fn writes_entries(&self) -> bool {
        let has_entries = |kind: ObjectKind| matches!(kind, ObjectKind::ConfigMap | ObjectKind::AccessEntry);
        self.plan.steps.iter().any(|step| has_entries(step.object.kind()))
    }

    /// Returns whether any subject loses access. True if the plan has no access diff, since then it is not known.
    pub(super) fn revokes_access(&self) -> bool {
        let can_authenticate = |access: &AccessView<'_>, subject: &SubjectQuery| {
            access.authenticate(subject).identities().next().is_some()
        };
        let revokes_permissions = self
            .plan
            .access_changes
            .as_ref()
            .is_none_or(|changes| changes.iter().any(|change| !change.diff.losses.is_empty()));
        let revokes_login = |subject: &SubjectQuery| {
            can_authenticate(self.live_access, subject) && !can_authenticate(self.after_access, subject)
        };
        revokes_permissions || self.live_access.principals().iter().any(|principal| revokes_login(&principal.subject))
    }

    /// Returns the changes of the plan to the access entry and the aws-auth entries of a subject.
    fn entry_changes(&self, subject: &SubjectQuery) -> impl Iterator<Item = &Change> {
        let key = match subject {
            SubjectQuery::Arn(identity) => Some(identity.comparison_key()),
            SubjectQuery::Account(id) => Some(id.clone()),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => None,
        };
        self.plan.changes.iter().filter(move |change| match &change.target {
            ChangeTarget::Entry { principal, .. } => key.as_ref().is_some_and(|key| principal.to_lowercase() == *key),
            ChangeTarget::Object(object) if object.kind() == ObjectKind::AccessEntry => {
                let identity = IamIdentity::from_access_entry(object.name());
                key.as_ref().is_some_and(|key| identity.comparison_key() == *key)
            }
            ChangeTarget::Object(_) => false,
        })
    }

    /// Returns whether an aws-auth entry of the subject was changed outside of rolecall, so that the policy never
    /// granted what it grants now.
    pub(super) fn is_changed_in_cluster(&self, subject: &SubjectQuery) -> bool {
        matches!(subject, SubjectQuery::Arn(_))
            && self.entry_changes(subject).any(|change| change.origin == ChangeOrigin::ChangedInCluster)
    }

    /// Returns where the policy changes roles and bindings, for permissions that the plan revokes.
    pub(super) fn rbac_change_note(&self) -> DiagnosticNote {
        let is_rbac = |change: &&Change| matches!(&change.target, ChangeTarget::Object(key) if key.kind().is_rbac());
        let changes = self.plan.changes.iter().filter(is_rbac);
        let places: BTreeSet<String> =
            changes.filter_map(|change| change.location.as_ref()).map(ToString::to_string).take(3).collect();
        if places.is_empty() {
            let text = format!("policy `{}` does not list what grants them", self.plan.policy);
            return DiagnosticNote { kind: NoteKind::Because, text };
        }
        let places: Vec<String> = places.into_iter().collect();
        let text = format!("changes to RBAC roles and bindings come from {}", places.join(", "));
        DiagnosticNote { kind: NoteKind::Note, text }
    }

    /// Returns where the change to the aws-auth entry of a subject comes from; `None` for subjects that cannot have
    /// one.
    pub(super) fn entry_change_note(&self, subject: &SubjectQuery) -> Option<DiagnosticNote> {
        if !matches!(subject, SubjectQuery::Arn(_) | SubjectQuery::Account(_)) {
            return None;
        }
        let place = self.entry_changes(subject).find_map(|change| change.location.as_ref());
        Some(match place {
            Some(place) => DiagnosticNote { kind: NoteKind::Note, text: format!("this change comes from {place}") },
            None => DiagnosticNote {
                kind: NoteKind::Because,
                text: format!("policy `{}` does not list this principal", self.plan.policy),
            },
        })
    }
}
