//! Converts a saved plan back to the plan that `apply` executes.

use std::time::Duration;

use super::InvalidDocument;
use super::access::{AccessChangeJson, EscalationJson, GrantSourceJson, PermissionJson, PermissionSummaryJson};
use super::change::{
    ActionJson, ChangeJson, DiffOpJson, DriftJson, EntryTargetJson, FieldJson, FieldValueJson, TargetJson,
};
use super::common::parse_subject;
use super::guard::{
    ExemptionJson, InvariantJson, InvariantPrincipalJson, InvariantSubjectJson, LimitJson, LimitsJson,
    NamespaceSelectionJson, NamespaceSelectorJson, RequiredActionJson, RequirementJson, ServiceAccountJson,
};
use super::plan::PlanJson;
use super::step::{AccessProbeJson, StepJson, TransientAccessJson, UnprovenAccessJson};
use crate::plan::{
    AccessChange, AccessDiff, AccessImpact, AccessProbe, AccessWindow, Action, AffectedSubject, AllowedRequests,
    Change, ChangeOrigin, ChangeTarget, DiffOp, EscalationSummary, Exemption, FieldDiff, GrantedBy, GuardLimit,
    GuardLimits, InvariantSubject, NamespaceSelection, PermissionSummary, Plan, ResolvedInvariant,
    SavedNamespaceSelector, Step, TokenWait, UnprovenAccess, ValueDiff,
};
use crate::policy::{Assertion, RequestSpec};
use crate::state::object_meta::ObjectWriter;

/// Converts all items.
///
/// # Errors
/// The first item that is invalid.
fn convert_all<T: TryFrom<J, Error = InvalidDocument>, J>(list: Vec<J>) -> Result<Vec<T>, InvalidDocument> {
    list.into_iter().map(T::try_from).collect()
}

impl TryFrom<PlanJson> for Plan {
    type Error = InvalidDocument;

    fn try_from(plan: PlanJson) -> Result<Self, InvalidDocument> {
        Ok(Self {
            policy: plan.policy,
            cluster_uid: plan.cluster_uid,
            changes: convert_all(plan.changes)?,
            steps: convert_all(plan.steps)?,
            waits: plan.waits.into_iter().map(TokenWait::from).collect(),
            token_cache: Duration::from_secs(plan.token_cache),
            windows: plan.transient_access.into_iter().map(AccessWindow::from).collect(),
            unproven: plan.not_proven.into_iter().map(UnprovenAccess::from).collect(),
            access_changes: plan.access.map(convert_all).transpose()?,
            limits: plan.limits.into(),
            invariants: convert_all(plan.invariants)?,
            namespace_selections: plan.namespace_selections.into_iter().map(NamespaceSelection::from).collect(),
            aws_auth_diff: plan.aws_auth_diff,
            // The warnings were printed when the plan was made.
            warnings: Vec::new(),
        })
    }
}

impl TryFrom<ChangeJson> for Change {
    type Error = InvalidDocument;

    fn try_from(change: ChangeJson) -> Result<Self, InvalidDocument> {
        let ChangeJson { action, target, fields, location, note, drift, last_writer, changes_access } = change;
        Ok(Self {
            action: match action {
                ActionJson::Create => Action::Create,
                ActionJson::Adopt => Action::Adopt,
                ActionJson::Update => Action::Update,
                ActionJson::Replace => Action::Replace,
                ActionJson::Delete => Action::Delete,
            },
            target: match target {
                TargetJson::Entry(EntryTargetJson { section, principal }) => {
                    ChangeTarget::Entry { section: section.into(), principal }
                }
                TargetJson::Object(object) => ChangeTarget::Object(object.try_into()?),
            },
            fields: fields.into_iter().map(FieldDiff::from).collect(),
            location: location.map(Into::into),
            note,
            origin: match drift {
                DriftJson::None => ChangeOrigin::NotApplied,
                DriftJson::ChangedInCluster => ChangeOrigin::ChangedInCluster,
                DriftJson::DeletedInCluster => ChangeOrigin::RemovedFromCluster,
            },
            last_writer: last_writer.map(|writer| ObjectWriter { manager: writer.manager, time: writer.time }),
            access_impact: changes_access
                .map(|changes| if changes { AccessImpact::Changes } else { AccessImpact::NoChange }),
        })
    }
}

impl From<FieldJson> for FieldDiff {
    fn from(field: FieldJson) -> Self {
        let value = |FieldValueJson { op, value }| {
            let op = match op {
                DiffOpJson::Unchanged => DiffOp::Keep,
                DiffOpJson::Add => DiffOp::Add,
                DiffOpJson::Remove => DiffOp::Remove,
            };
            ValueDiff { op, value }
        };
        Self { path: field.path, values: field.values.into_iter().map(value).collect() }
    }
}

impl TryFrom<AccessChangeJson> for AccessChange {
    type Error = InvalidDocument;

    fn try_from(change: AccessChangeJson) -> Result<Self, InvalidDocument> {
        let AccessChangeJson { subjects, gains, loses, gains_summary, loses_summary, escalations, severity: _ } =
            change;
        let to_summary = |EscalationJson { id: _, name, path, severity: _, granted_by }| {
            Ok(EscalationSummary { name, path, granted_by: convert_all(granted_by)? })
        };
        Ok(Self {
            subjects: subjects.into_iter().map(AffectedSubject::from).collect(),
            diff: AccessDiff {
                gains: convert_all(gains)?,
                losses: convert_all(loses)?,
                escalations: escalations.into_iter().map(to_summary).collect::<Result<_, InvalidDocument>>()?,
            },
            gain_summary: convert_all(gains_summary)?,
            loss_summary: convert_all(loses_summary)?,
        })
    }
}

impl TryFrom<PermissionSummaryJson> for PermissionSummary {
    type Error = InvalidDocument;

    fn try_from(summary: PermissionSummaryJson) -> Result<Self, InvalidDocument> {
        let PermissionSummaryJson { text, permissions, granted_by } = summary;
        Ok(Self { text, permissions, granted_by: convert_all(granted_by)? })
    }
}

impl TryFrom<PermissionJson> for AllowedRequests {
    type Error = InvalidDocument;

    fn try_from(permission: PermissionJson) -> Result<Self, InvalidDocument> {
        let PermissionJson { permission, requests, granted_by } = permission;
        Ok(Self { summary: permission, requests: requests.into(), granted_by: convert_all(granted_by)? })
    }
}

impl TryFrom<GrantSourceJson> for GrantedBy {
    type Error = InvalidDocument;

    fn try_from(source: GrantSourceJson) -> Result<Self, InvalidDocument> {
        Ok(match source {
            GrantSourceJson::Group { group } => Self::Group { group },
            GrantSourceJson::Binding { binding, role } => {
                Self::Binding { binding: binding.try_into()?, role: role.try_into()? }
            }
        })
    }
}

impl TryFrom<StepJson> for Step {
    type Error = InvalidDocument;

    fn try_from(step: StepJson) -> Result<Self, InvalidDocument> {
        let StepJson { object, write, precondition, stage, wait_for, reason } = step;
        let to_probe =
            |AccessProbeJson { username, groups, request }| AccessProbe { username, groups, request: request.into() };
        Ok(Self {
            object: object.try_into()?,
            write: write.into(),
            precondition: precondition.into(),
            stage,
            wait_for: wait_for.into_iter().map(to_probe).collect(),
            description: reason,
        })
    }
}

impl From<TransientAccessJson> for AccessWindow {
    fn from(transient: TransientAccessJson) -> Self {
        let TransientAccessJson { step, subject, effect, permission, reason } = transient;
        Self { step, subject, access: effect.into(), request: permission, reason }
    }
}

impl From<UnprovenAccessJson> for UnprovenAccess {
    fn from(unproven: UnprovenAccessJson) -> Self {
        let UnprovenAccessJson { step, subject, effect, permission, reason } = unproven;
        Self { step, subject, access: effect.into(), request: permission, reason }
    }
}

impl From<LimitsJson> for GuardLimits {
    fn from(limits: LimitsJson) -> Self {
        let to_limit = |LimitJson { value, location }| GuardLimit { value, location: location.into() };
        let LimitsJson { protected, max_removals } = limits;
        Self { protected: protected.into_iter().map(to_limit).collect(), max_removals: max_removals.map(to_limit) }
    }
}

impl TryFrom<InvariantJson> for ResolvedInvariant {
    type Error = InvalidDocument;

    fn try_from(invariant: InvariantJson) -> Result<Self, InvalidDocument> {
        let InvariantJson { location, description, subject, requirement } = invariant;
        Ok(Self {
            location: location.into(),
            span: None,
            description,
            subject: subject.try_into()?,
            claim: requirement.into(),
        })
    }
}

impl TryFrom<InvariantSubjectJson> for InvariantSubject {
    type Error = InvalidDocument;

    fn try_from(subject: InvariantSubjectJson) -> Result<Self, InvalidDocument> {
        Ok(match subject {
            InvariantSubjectJson::Group(name) => Self::Group(name),
            InvariantSubjectJson::Principal(InvariantPrincipalJson { name, subject }) => {
                Self::Principal { name, subject: subject.as_deref().map(parse_subject).transpose()? }
            }
            InvariantSubjectJson::User(name) => Self::User(name),
            InvariantSubjectJson::ServiceAccount(ServiceAccountJson { namespace, name }) => {
                Self::ServiceAccount { namespace, name }
            }
            InvariantSubjectJson::EveryoneBut(exemptions) => Self::EveryoneBut(convert_all(exemptions)?),
        })
    }
}

impl TryFrom<ExemptionJson> for Exemption {
    type Error = InvalidDocument;

    fn try_from(exemption: ExemptionJson) -> Result<Self, InvalidDocument> {
        let ExemptionJson { name, subjects } = exemption;
        let subjects = subjects.iter().map(|subject| parse_subject(subject)).collect::<Result<_, _>>()?;
        Ok(Self { name, subjects })
    }
}

impl From<RequirementJson> for Assertion {
    fn from(requirement: RequirementJson) -> Self {
        let to_request =
            |RequiredActionJson { verb, resource, name, namespace }| RequestSpec { verb, resource, name, namespace };
        match requirement {
            RequirementJson::Can(action) => Self::Can(to_request(action)),
            RequirementJson::Cannot(action) => Self::Cannot(to_request(action)),
            RequirementJson::CannotEscalate => Self::CannotEscalate,
        }
    }
}

impl From<NamespaceSelectionJson> for NamespaceSelection {
    fn from(selection: NamespaceSelectionJson) -> Self {
        let NamespaceSelectionJson { selector, namespaces } = selection;
        let selector = match selector {
            NamespaceSelectorJson::Glob(glob) => SavedNamespaceSelector::Glob(glob),
            NamespaceSelectorJson::MatchLabels(labels) => {
                SavedNamespaceSelector::MatchLabels(labels.into_iter().collect())
            }
        };
        Self { selector, namespaces }
    }
}
