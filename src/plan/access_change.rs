//! The access that subjects gain and lose through a plan, in a form that a saved plan keeps.
//!
//! Subjects with the same gains and losses are grouped. Both states are compared as they are after the controller has
//! filled in the aggregated ClusterRoles; otherwise a delay of the controller would be shown as a change of the plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::access_severity::sort_severe_changes_first;
use super::permission_summary::{self, PermissionSummary};
use super::{Change, ChangeTarget, Plan};
use crate::access::{
    AccessView, Aggregation, EscalationPath, GrantSource, GrantedRequests, MASTERS, MarginalImpact, RequestSetData,
    SubjectDiff, diff_access,
};
use crate::names::ObjectKey;
use crate::policy::PolicyIndex;
use crate::state::State;
use crate::state::aws_auth::Section;

/// Gained and lost access, and the subjects to which it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessChange {
    pub(crate) subjects: Vec<AffectedSubject>,
    pub(crate) diff: AccessDiff,
    /// The gains in few lines. Empty if the caller did not ask for it.
    pub(crate) gain_summary: Vec<PermissionSummary>,
    /// The losses in few lines.
    pub(crate) loss_summary: Vec<PermissionSummary>,
}

/// Whether one change affects access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessImpact {
    /// Access changes if only this change is made, or if the plan is made without it.
    Changes,
    /// Access changes in neither case.
    NoChange,
}

/// A subject whose access changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AffectedSubject {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy.
    pub(crate) name: Option<String>,
}

/// Gained and lost access.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessDiff {
    pub(crate) gains: Vec<AllowedRequests>,
    pub(crate) losses: Vec<AllowedRequests>,
    /// Privilege escalation paths that the plan opens.
    pub(crate) escalations: Vec<EscalationSummary>,
}

/// A set of requests, and what grants or granted it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AllowedRequests {
    /// The set as text, as its `Display` prints it.
    pub(crate) summary: String,
    /// The set as data.
    pub(crate) requests: RequestSetData,
    pub(crate) granted_by: Vec<GrantedBy>,
}

/// A binding and its role, or `system:masters`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GrantedBy {
    /// `system:masters`, which bypasses RBAC.
    Group {
        group: String,
    },
    Binding {
        binding: ObjectKey,
        role: ObjectKey,
    },
}

/// A privilege escalation path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EscalationSummary {
    /// The name of the escalation rule, which does not change between versions.
    pub(crate) name: String,
    /// The path as text: what it leads to and through which objects.
    pub(crate) path: String,
    /// What grants the path, without the namespaces of RoleBindings with the same name but the first. Empty if it follows
    /// from the username or the groups of the subject.
    pub(crate) granted_by: Vec<GrantedBy>,
}

impl Plan {
    /// Sets the access changes of the plan, and for each change whether it affects access.
    pub(crate) fn record_access_changes(&mut self, sides: &AccessComparison<'_>, policy_index: &PolicyIndex) {
        let (live, after) = (sides.live, sides.after);
        // Three independent computations run in parallel: the impact of each half of the changes, and the whole diff.
        let half = self.changes.len() / 2;
        let (first, second) = self.changes.split_at_mut(half);
        self.access_changes = Some(std::thread::scope(|scope| {
            for half in [first, second] {
                scope.spawn(move || set_access_impacts(half, live, after));
            }
            let rows = diff_access(&sides.live_access, &sides.after_access);
            group_access_changes(&rows, policy_index, Some(sides))
        }));
        sort_severe_changes_first(&mut self.changes, self.access_changes.as_deref().unwrap_or_default());
    }
}

/// Sets for each change whether it affects access on its own.
fn set_access_impacts(changes: &mut [Change], live: &State, after: &State) {
    if changes.is_empty() {
        return;
    }
    let AccessComparison { live_access, after_access, .. } = AccessComparison::new(live, after);
    let impact = MarginalImpact::new(&live_access, &after_access);
    for change in changes {
        let affects_access = match &change.target {
            ChangeTarget::Entry { section: Section::Accounts, principal } => impact.account_changes_access(principal),
            ChangeTarget::Entry { section: Section::Roles | Section::Users, principal } => {
                impact.entry_changes_access(principal)
            }
            ChangeTarget::Object(key) => impact.object_changes_access(key),
        };
        change.access_impact = Some(if affects_access { AccessImpact::Changes } else { AccessImpact::NoChange });
    }
}

/// The state before and after a plan, and the access in each.
#[derive(Debug)]
pub(crate) struct AccessComparison<'s> {
    pub(crate) live: &'s State,
    pub(crate) after: &'s State,
    pub(crate) live_access: AccessView<'s>,
    pub(crate) after_access: AccessView<'s>,
}

impl<'s> AccessComparison<'s> {
    pub(crate) fn new(live: &'s State, after: &'s State) -> Self {
        let (live_access, after_access) = AccessView::pair(live, after, Aggregation::Reconciled);
        Self { live, after, live_access, after_access }
    }
}

/// Groups the subjects of `rows` by their gained and lost access. With the states that were compared, the result has the
/// summaries.
pub(super) fn group_access_changes<'s>(
    rows: &[SubjectDiff<'s>],
    policy_index: &PolicyIndex,
    sides: Option<&AccessComparison<'s>>,
) -> Vec<AccessChange> {
    let mut changes: Vec<AccessChange> = Vec::new();
    let mut by_source = BTreeMap::new();
    let mut by_content: BTreeMap<AccessDiff, usize> = BTreeMap::new();
    for row in rows {
        let identity_paths: Vec<EscalationSummary> =
            row.identity_paths.iter().map(EscalationSummary::from_path).collect();
        // Subjects with the same bindings share one result, which is rendered once.
        let source = (Rc::as_ptr(&row.permissions), identity_paths);
        let position = *by_source.entry(source).or_insert_with_key(|(_, identity_paths)| {
            let [gained, lost] =
                [&row.permissions.gained, &row.permissions.lost].map(|permissions| SortedPermissions::new(permissions));
            let access = AccessDiff::new(row, identity_paths, gained.allowed, lost.allowed);
            *by_content.entry(access).or_insert_with_key(|access| {
                let gain_summary = sides
                    .map(|sides| permission_summary::summarize(&gained.granted, &access.gains, &sides.after_access))
                    .unwrap_or_default();
                let loss_summary = sides
                    .map(|sides| permission_summary::summarize(&lost.granted, &access.losses, &sides.live_access))
                    .unwrap_or_default();
                changes.push(AccessChange { subjects: Vec::new(), diff: access.clone(), gain_summary, loss_summary });
                changes.len() - 1
            })
        });
        if let Some(change) = changes.get_mut(position) {
            let name = policy_index.principal_name(&row.subject).map(str::to_owned);
            change.subjects.push(AffectedSubject { subject: row.subject.to_string(), name });
        }
    }
    changes.sort_by_key(|change| Reverse(change.severity()));
    changes
}

/// The permissions of a row, the most severe first, and as a plan keeps them.
struct SortedPermissions<'a, 's> {
    granted: Vec<&'a GrantedRequests<'s>>,
    allowed: Vec<AllowedRequests>,
}

impl<'a, 's> SortedPermissions<'a, 's> {
    fn new(permissions: &'a [GrantedRequests<'s>]) -> Self {
        let mut pairs: Vec<_> = permissions.iter().map(|granted| (granted, AllowedRequests::new(granted))).collect();
        pairs.sort_by_key(|(_, allowed)| Reverse(allowed.severity()));
        let (granted, allowed) = pairs.into_iter().unzip();
        Self { granted, allowed }
    }
}

impl AccessDiff {
    fn new(
        row: &SubjectDiff<'_>,
        identity_paths: &[EscalationSummary],
        gains: Vec<AllowedRequests>,
        losses: Vec<AllowedRequests>,
    ) -> Self {
        let paths = row.permissions.escalation_paths.iter().map(EscalationSummary::from_path);
        Self { gains, losses, escalations: identity_paths.iter().cloned().chain(paths).collect() }
    }
}

impl AllowedRequests {
    pub(crate) fn new(granted: &GrantedRequests<'_>) -> Self {
        let mut by: Vec<GrantedBy> = granted.granted_by.iter().map(GrantedBy::from_grant_source).collect();
        by.dedup();
        Self {
            summary: granted.requests.to_string(),
            requests: RequestSetData::from_request_set(&granted.requests),
            granted_by: by,
        }
    }
}

impl GrantedBy {
    pub(crate) fn from_grant_source(source: &GrantSource<'_>) -> Self {
        match source {
            GrantSource::SystemMasters => Self::Group { group: MASTERS.to_owned() },
            GrantSource::Path(path) => Self::Binding { binding: path.binding.clone(), role: path.role.clone() },
        }
    }
}

impl EscalationSummary {
    pub(crate) fn from_path(path: &EscalationPath<'_>) -> Self {
        let granted_by = match path {
            EscalationPath::Rules { granted_by, .. } => {
                one_of_each_name(granted_by.iter().map(GrantedBy::from_grant_source))
            }
            EscalationPath::Identity(_) => Vec::new(),
        };
        Self { name: path.name().to_owned(), path: path.to_string(), granted_by }
    }
}

/// Keeps the first of the bindings that have the same name and role in several namespaces.
fn one_of_each_name(sources: impl Iterator<Item = GrantedBy>) -> Vec<GrantedBy> {
    let mut names = BTreeSet::new();
    let is_new = |source: &GrantedBy| {
        names.insert(match source {
            GrantedBy::Group { group } => (group.clone(), None),
            GrantedBy::Binding { binding, role } => {
                (binding.name().to_owned(), Some((role.kind(), role.name().to_owned())))
            }
        })
    };
    sources.filter(is_new).collect()
}

impl fmt::Display for GrantedBy {
    /// Without the namespaces of a binding and a role, which are one of several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { group } => write!(f, "group {group}"),
            Self::Binding { binding, role } => {
                write!(f, "{} {} to {} {}", binding.kind().as_str(), binding.name(), role.kind().as_str(), role.name())
            }
        }
    }
}
