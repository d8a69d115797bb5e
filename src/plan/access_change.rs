//! What a plan changes in who can do what, in words that a saved plan keeps.
//!
//! Those for whom the same changes are one. Both sides are taken as they are once the controller that fills aggregated
//! roles has run, so that what it is late with is not told as the plan's doing.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Change, ChangeTarget, Plan};
use crate::access::{
    AccessView, Aggregation, EscalationPath, GrantSource, GrantedRequests, MASTERS, MarginalImpact, RequestSetData,
    SubjectDiff, diff_access,
};
use crate::names::ObjectKey;
use crate::policy::PolicyIndex;
use crate::state::State;
use crate::state::aws_auth::Section;

/// What changes for some subjects alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessChange {
    pub(crate) subjects: Vec<AffectedSubject>,
    pub(crate) diff: AccessDiff,
}

/// What one change has to do with access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessImpact {
    /// Made alone, or left out of the plan, it changes what somebody may do.
    Changes,
    /// It does neither.
    NoChange,
}

/// Somebody for whom something changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AffectedSubject {
    /// An ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The policy's name for him.
    pub(crate) name: Option<String>,
}

/// What comes and what goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessDiff {
    pub(crate) gains: Vec<AllowedRequests>,
    pub(crate) losses: Vec<AllowedRequests>,
    /// Ways to more power that open.
    pub(crate) escalations: Vec<EscalationSummary>,
}

/// A set of requests, and what gives it, or gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AllowedRequests {
    /// Such as `get, list on every resource, everywhere`.
    pub(crate) summary: String,
    /// The same for machines.
    pub(crate) requests: RequestSetData,
    pub(crate) granted_by: Vec<GrantedBy>,
}

/// A binding and its role, or `system:masters`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantedBy {
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EscalationSummary {
    /// The same in every version.
    pub(crate) name: String,
    /// Where it leads and through what.
    pub(crate) path: String,
}

impl Plan {
    /// Tells what the plan's writes change in who can do what, and which of its changes change nothing in it.
    pub(crate) fn record_access_changes(&mut self, sides: &AccessComparison<'_>, known: &PolicyIndex) {
        let (live, after) = (sides.live, sides.after);
        // Each half of the changes by itself, and the whole beside them: none needs what the others find.
        let half = self.changes.len() / 2;
        let (one, other) = self.changes.split_at_mut(half);
        self.access_changes = Some(std::thread::scope(|scope| {
            for half in [one, other] {
                scope.spawn(move || set_access_impacts(half, live, after));
            }
            group_access_changes(&diff_access(&sides.live_access, &sides.after_access), known)
        }));
    }
}

/// Tells of each change whether it changes anybody's access by itself.
fn set_access_impacts(changes: &mut [Change], live: &State, after: &State) {
    if changes.is_empty() {
        return;
    }
    let AccessComparison { live_access: was, after_access: is, .. } = AccessComparison::new(live, after);
    let alone = MarginalImpact::new(&was, &is);
    for change in changes {
        let changes = match &change.target {
            ChangeTarget::Entry { section: Section::Accounts, principal } => alone.account_changes_access(principal),
            ChangeTarget::Entry { section: Section::Roles | Section::Users, principal } => {
                alone.entry_changes_access(principal)
            }
            ChangeTarget::Object(key) => alone.object_changes_access(key),
        };
        change.access_impact = Some(if changes { AccessImpact::Changes } else { AccessImpact::NoChange });
    }
}

/// The states on both sides of a plan, and who can do what in them.
#[derive(Debug)]
pub(crate) struct AccessComparison<'s> {
    pub(crate) live: &'s State,
    pub(crate) after: &'s State,
    pub(crate) live_access: AccessView<'s>,
    pub(crate) after_access: AccessView<'s>,
}

impl<'s> AccessComparison<'s> {
    pub(crate) fn new(live: &'s State, after: &'s State) -> Self {
        Self {
            live,
            after,
            live_access: AccessView::new(live, Aggregation::Reconciled),
            after_access: AccessView::new(after, Aggregation::Reconciled),
        }
    }
}

/// What differs in who can do what, in words.
pub(super) fn group_access_changes(rows: &[SubjectDiff<'_>], known: &PolicyIndex) -> Vec<AccessChange> {
    let mut changes: Vec<AccessChange> = Vec::new();
    let mut by_source = BTreeMap::new();
    let mut by_content: BTreeMap<AccessDiff, usize> = BTreeMap::new();
    for row in rows {
        let assumed: Vec<EscalationSummary> = row.identity_paths.iter().map(EscalationSummary::from_path).collect();
        // Whoever is bound to the same shares one result: it is put into words once.
        let source = (Rc::as_ptr(&row.permissions), assumed);
        let place = *by_source.entry(source).or_insert_with_key(|(_, assumed)| {
            let access = AccessDiff::new(row, assumed);
            *by_content.entry(access).or_insert_with_key(|access| {
                changes.push(AccessChange { subjects: Vec::new(), diff: access.clone() });
                changes.len() - 1
            })
        });
        if let Some(change) = changes.get_mut(place) {
            let name = known.principal_name(&row.subject).map(str::to_owned);
            change.subjects.push(AffectedSubject { subject: row.subject.to_string(), name });
        }
    }
    changes
}

impl AccessDiff {
    fn new(row: &SubjectDiff<'_>, assumed: &[EscalationSummary]) -> Self {
        let all = |parts: &[GrantedRequests<'_>]| parts.iter().map(AllowedRequests::new).collect();
        Self {
            gains: all(&row.permissions.gained),
            losses: all(&row.permissions.lost),
            escalations: assumed
                .iter()
                .cloned()
                .chain(row.permissions.escalation_paths.iter().map(EscalationSummary::from_path))
                .collect(),
        }
    }
}

impl AllowedRequests {
    pub(crate) fn new(part: &GrantedRequests<'_>) -> Self {
        let mut by: Vec<GrantedBy> = part.granted_by.iter().map(GrantedBy::from_source).collect();
        by.dedup();
        Self {
            summary: part.requests.to_string(),
            requests: RequestSetData::from_request_set(&part.requests),
            granted_by: by,
        }
    }
}

impl GrantedBy {
    pub(crate) fn from_source(by: &GrantSource<'_>) -> Self {
        match by {
            GrantSource::SystemMasters => Self::Group { group: MASTERS.to_owned() },
            GrantSource::Path(chain) => Self::Binding { binding: chain.binding.clone(), role: chain.role.clone() },
        }
    }
}

impl EscalationSummary {
    pub(crate) fn from_path(way: &EscalationPath<'_>) -> Self {
        Self { name: way.name().to_owned(), path: way.to_string() }
    }
}
