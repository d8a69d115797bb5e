//! From live and wanted state to an ordered list of exact writes, and to what a person reviews of them.
//!
//! Pure: this room may not know clusters, terminals or the clock. A plan is so specific that carrying it out leaves
//! nothing to decide.

mod access_change;
mod entries;
mod field_diff;
mod fingerprint;
mod guard_limits;
mod objects;
mod order;
mod post_apply_check;
mod probes;
mod removals;
mod resolved_invariant;
mod restore;
mod revocation;
mod staleness;
mod state_after;

use std::collections::BTreeMap;

pub(crate) use access_change::{
    AccessChange, AccessComparison, AccessDiff, AccessImpact, AffectedSubject, AllowedRequests, EscalationSummary,
    GrantedBy,
};
pub(crate) use fingerprint::{NamespaceSelection, SavedNamespaceSelector};
pub(crate) use guard_limits::{GuardLimit, GuardLimits};
use jiff::Timestamp;
pub(crate) use objects::bridge;
pub(crate) use post_apply_check::PostApplyCheck;
pub(crate) use probes::{AccessProbe, AccessWindow, ProbeRequest, TransientAccess};
pub(crate) use resolved_invariant::{Exemption, InvariantSubject, ResolvedInvariant};
pub(crate) use restore::{ObjectVersions, plan_restore};

use crate::diagnostic::{Diagnostic, SourceLocation, SourceMap};
use crate::names::ObjectKey;
use crate::policy::Policy;
use crate::policy::expand::expand;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::object_meta::ObjectWriter;
use crate::state::write::{Precondition, WriteRequest};

/// Everything that leads one cluster from what is to what the policy says.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) policy: String,
    /// The uid of kube-system, where known: a plan is for this cluster alone.
    pub(crate) cluster_uid: Option<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) steps: Vec<Step>,
    /// The moments that no order of the steps avoids: `apply` refuses them unless they are allowed.
    pub(crate) windows: Vec<AccessWindow>,
    /// What the steps change in who can do what, where it was asked for.
    pub(crate) access_changes: Option<Vec<AccessChange>>,
    /// What the policy asks to guard: judged by whoever carries the plan out, without the policy at hand.
    pub(crate) limits: GuardLimits,
    /// What the policy says must hold: judged likewise.
    pub(crate) invariants: Vec<ResolvedInvariant>,
    /// Which namespaces the patterns and labels of what it writes meant.
    pub(crate) namespace_selections: Vec<NamespaceSelection>,
    /// Of the planning; a saved plan has said them.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// One change as a reviewer thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) target: ChangeTarget,
    pub(crate) fields: Vec<FieldDiff>,
    /// Where the policy says so; a removal has one only where something has expired.
    pub(crate) location: Option<SourceLocation>,
    pub(crate) note: Option<String>,
    /// How the live side came to differ.
    pub(crate) origin: ChangeOrigin,
    /// Who wrote the live object last.
    pub(crate) last_writer: Option<ObjectWriter>,
    /// What it has to do with access, where that was asked for.
    pub(crate) access_impact: Option<AccessImpact>,
}

/// What happens to an object or an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Create,
    /// It exists and nobody owns it: from now on the policy does.
    Adopt,
    Update,
    /// A roleRef cannot be changed.
    Replace,
    Delete,
}

/// The object or the entry of aws-auth that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeTarget {
    Entry { section: Section, principal: String },
    Object(ObjectKey),
}

impl ChangeTarget {
    /// `aws-auth role`, `ClusterRole`.
    pub(crate) fn kind_label(&self) -> &'static str {
        match self {
            Self::Entry { section: Section::Roles, .. } => "aws-auth role",
            Self::Entry { section: Section::Users, .. } => "aws-auth user",
            Self::Entry { section: Section::Accounts, .. } => "aws-auth account",
            Self::Object(key) => key.kind().as_str(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Entry { principal, .. } => principal.clone(),
            Self::Object(key) => key.path(),
        }
    }
}

/// How live came to differ from the policy: what `drift` tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeOrigin {
    /// Live is what was written, or nothing was yet: the policy has moved on.
    NotApplied,
    /// Live is not what was written.
    ChangedInCluster,
    /// It was written, and is gone.
    RemovedFromCluster,
}

/// One field of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldDiff {
    /// `username`, or `rules[0]` and below it `verbs`.
    pub(crate) path: Vec<String>,
    pub(crate) values: Vec<ValueDiff>,
}

/// One value of a field and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueDiff {
    pub(crate) op: DiffOp,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiffOp {
    Keep,
    Add,
    Remove,
}

/// One write, complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) object: ObjectKey,
    pub(crate) write: WriteRequest,
    pub(crate) precondition: Precondition,
    /// Steps of one stage do not depend on each other; a stage begins when the one before has ended.
    pub(crate) stage: usize,
    /// What must be seen to work before it is written; none: it relies on no earlier step.
    pub(crate) wait_for: Vec<AccessProbe>,
    /// What it is for, in words.
    pub(crate) description: String,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn count_changes(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// For each subject whose access changes, a fingerprint of the change.
    pub(crate) fn access_fingerprints(&self) -> BTreeMap<&str, String> {
        fingerprint::AccessFingerprint::from_changes(self.access_changes.as_deref().unwrap_or_default())
            .into_fingerprints()
    }
}

/// What the rooms below give and take while a plan is made.
struct PlanBuilder<'a> {
    policy: &'a str,
    sources: &'a SourceMap,
    changes: Vec<Change>,
    writes: Vec<order::PendingWrite>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> PlanBuilder<'a> {
    fn new(policy: &'a Policy) -> Self {
        Self {
            policy: &policy.name.value,
            sources: &policy.sources,
            changes: Vec::new(),
            writes: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.writes.extend(other.writes);
        self.diagnostics.extend(other.diagnostics);
    }

    fn location(&self, span: crate::diagnostic::Span) -> SourceLocation {
        self.sources.location(span)
    }
}

/// Plans the way from `live` to what the policy wants of `cluster` at the moment `now`.
///
/// # Errors
/// Everything for which no plan can be made, all at once.
pub(crate) fn plan(
    policy: &Policy,
    cluster: Option<&str>,
    live: &State,
    now: Timestamp,
) -> Result<Plan, Vec<Diagnostic>> {
    let (desired, warnings) = expand(policy, cluster, live, now)?;
    let mut draft = PlanBuilder::new(policy);
    draft.diagnostics = warnings;
    // Neither knows of the other, and to read a large aws-auth takes as long as to compare all roles.
    let objects = std::thread::scope(|scope| {
        let objects = scope.spawn(|| {
            let mut draft = PlanBuilder::new(policy);
            objects::plan_objects(&mut draft, &desired, live, &policy.ownership);
            draft
        });
        entries::plan_entries(&mut draft, &desired, live.aws_auth.as_ref(), &policy.ownership);
        objects.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    draft.merge(objects);
    if draft.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(draft.diagnostics);
    }
    let author = order::Author { policy: &policy.name.value };
    let (steps, windows) = match order::order(draft.writes, live, author) {
        Ok(made) => made,
        Err(fault) => {
            return Err(vec![Diagnostic::error(format!("a planned object cannot be read back: {fault}"))]);
        }
    };
    let selected = NamespaceSelection::for_steps(policy, cluster, &steps, live);
    let mut changes = draft.changes;
    changes.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(Plan {
        policy: policy.name.value.clone(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        windows,
        access_changes: None,
        limits: GuardLimits::from_policy(policy),
        invariants: ResolvedInvariant::resolve_all(policy, cluster),
        namespace_selections: selected,
        warnings: draft.diagnostics,
    })
}
