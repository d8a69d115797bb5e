//! Compares the live state with the policy and makes a plan: the changes for review and the ordered, exact writes.
//!
//! This module is pure. It may not depend on cluster access, the terminal or the clock: the live state and the time are
//! arguments. The steps of a plan are complete, so `apply` makes no decisions of its own.

mod access_change;
mod access_entries;
mod access_severity;
mod aggregated_roles;
mod aws_auth_diff;
mod disclosure;
mod entries;
mod field_diff;
mod fingerprint;
mod guard_limits;
mod manual_rules;
#[cfg(feature = "measure")]
mod measure;
mod migrate;
mod objects;
mod permission_summary;
mod post_apply_check;
mod probes;
mod remainder;
mod removals;
mod resolved_invariant;
mod restore;
mod revocation;
mod schedule;
mod staleness;
mod state_after;
mod step_check;
mod token_wait;
mod unmanaged_admins;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use access_change::{
    AccessChange, AccessComparison, AccessDiff, AccessImpact, AffectedSubject, AllowedRequests, EscalationSummary,
    GrantedBy,
};
pub(crate) use access_severity::{AccessSeverity, change_severities};
pub(crate) use aggregated_roles::AggregatedRoles;
pub(crate) use aws_auth_diff::aws_auth_diff;
pub(crate) use fingerprint::{NamespaceSelection, SavedNamespaceSelector};
pub(crate) use guard_limits::{GuardLimit, GuardLimits};
use jiff::Timestamp;
#[cfg(feature = "measure")]
pub(crate) use measure::count_ordered_steps;
pub(crate) use migrate::{
    ADMIN_POLICY, MigratedPrincipal, Migration, MigrationSettings, MovedPrincipal, StayingEntry, plan_migration,
    state_with_access_entries,
};
pub(crate) use objects::bridge;
pub(crate) use permission_summary::{PermissionSummary, namespaces_text};
pub(crate) use post_apply_check::PostApplyCheck;
pub(crate) use probes::{AccessProbe, AccessWindow, ProbeRequest, TransientAccess, UnprovenAccess};
pub(crate) use resolved_invariant::{
    Exemption, InvariantSubject, ResolvedInvariant, exemption_subjects, invariant_applies,
};
pub(crate) use restore::{AppliedWrites, plan_restore, undo_aws_auth_write};
pub(crate) use step_check::{check_steps, check_waits};
pub(crate) use token_wait::{TokenWait, format_duration};
pub(crate) use unmanaged_admins::unmanaged_admins;

use crate::access::auth_mode_warning;
use crate::diagnostic::{Diagnostic, InternalError, SourceLocation, SourceMap};
use crate::names::ObjectKey;
#[cfg(test)]
use crate::policy::DEFAULT_TOKEN_CACHE;
use crate::policy::Policy;
use crate::policy::expand::expand;
use crate::state::State;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::Section;
use crate::state::object::ObjectError;
use crate::state::object_meta::ObjectWriter;
use crate::state::write::{Precondition, WriteRequest};

/// All changes and writes that bring one cluster to the state that the policy describes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) policy: String,
    /// The uid of the namespace kube-system, if known. It identifies the cluster: a plan is valid only there.
    pub(crate) cluster_uid: Option<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) steps: Vec<Step>,
    /// Waits between the steps, for tokens that an API server has cached.
    pub(crate) waits: Vec<TokenWait>,
    /// How long an API server of the cluster caches a token.
    pub(crate) token_cache: Duration,
    /// Temporary access changes that the steps cause. `apply` refuses them without `--allow-window`.
    pub(crate) windows: Vec<AccessWindow>,
    /// Temporary access changes that could not be ruled out. `apply` refuses them without `--allow-window`.
    pub(crate) unproven: Vec<UnprovenAccess>,
    /// Who gains and loses which access. `None` if the caller did not ask for it.
    pub(crate) access_changes: Option<Vec<AccessChange>>,
    /// The `[guard]` section of the policy. `apply --plan` checks it without the policy.
    pub(crate) limits: GuardLimits,
    /// The `[[invariants]]` of the policy. `apply --plan` checks them without the policy.
    pub(crate) invariants: Vec<ResolvedInvariant>,
    /// The namespaces that the patterns and label selectors of written objects matched when the plan was made.
    pub(crate) namespace_selections: Vec<NamespaceSelection>,
    /// The change to the text of aws-auth as the lines of a unified diff. `None` if the caller did not ask for it.
    pub(crate) aws_auth_diff: Option<Vec<String>>,
    /// Warnings found while planning. They are not saved: they were printed when the plan was made.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A change of one object or aws-auth entry, as shown for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) target: ChangeTarget,
    pub(crate) fields: Vec<FieldDiff>,
    /// The place in the policy. A removal has one only if the object or entry has expired.
    pub(crate) location: Option<SourceLocation>,
    pub(crate) note: Option<String>,
    /// Whether the policy or the cluster has changed.
    pub(crate) origin: ChangeOrigin,
    /// The last writer of the live object.
    pub(crate) last_writer: Option<ObjectWriter>,
    /// Whether the change affects access. `None` if the caller did not ask for it.
    pub(crate) access_impact: Option<AccessImpact>,
}

impl Change {
    /// Returns whether an existing object or entry is adopted and its content changes.
    pub(crate) fn is_adoption_with_changes(&self) -> bool {
        self.action == Action::Adopt && !self.fields.is_empty()
    }
}

/// What the plan does with an object or an aws-auth entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Create,
    /// It exists and no policy owns it. From now on this policy owns it.
    Adopt,
    Update,
    /// Delete and create again, because a `roleRef` is immutable.
    Replace,
    Delete,
}

/// The object or aws-auth entry that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeTarget {
    Entry { section: Section, principal: String },
    Object(ObjectKey),
}

impl ChangeTarget {
    /// `aws-auth role`, `access entry`, `ClusterRole`.
    pub(crate) fn kind_label(&self) -> &'static str {
        match self {
            Self::Entry { section: Section::Roles, .. } => "aws-auth role",
            Self::Entry { section: Section::Users, .. } => "aws-auth user",
            Self::Entry { section: Section::Accounts, .. } => "aws-auth account",
            Self::Object(key) => key.kind().label(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Entry { principal, .. } => principal.clone(),
            Self::Object(key) => key.path(),
        }
    }
}

/// Why the cluster differs from the policy. `drift` reports these separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeOrigin {
    /// The cluster is as rolecall last wrote it, or rolecall has not written it yet: the policy has changed.
    NotApplied,
    /// The cluster is not as rolecall last wrote it.
    ChangedInCluster,
    /// Rolecall wrote it, and it no longer exists.
    RemovedFromCluster,
}

/// The difference in one field of an object or entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldDiff {
    /// For example `["username"]` or `["rules[0]", "verbs"]`.
    pub(crate) path: Vec<String>,
    pub(crate) values: Vec<ValueDiff>,
}

/// A value of a field, and whether the change adds, removes or keeps it.
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

/// One write to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) object: ObjectKey,
    pub(crate) write: WriteRequest,
    pub(crate) precondition: Precondition,
    /// Steps of one stage do not depend on each other. A stage starts after the previous stage has finished.
    pub(crate) stage: usize,
    /// Requests that the API server must allow before the step is written. Empty if the step does not depend on earlier
    /// steps.
    pub(crate) wait_for: Vec<AccessProbe>,
    /// Describes the step as an infinitive, so that it fits `could not {why}`: `create ClusterRole viewer`.
    pub(crate) description: String,
}

impl Plan {
    /// A plan that consists of these steps.
    #[cfg(test)]
    pub(crate) fn for_steps(steps: Vec<Step>) -> Self {
        Self {
            policy: "p".to_owned(),
            cluster_uid: None,
            changes: Vec::new(),
            steps,
            waits: Vec::new(),
            token_cache: DEFAULT_TOKEN_CACHE,
            windows: Vec::new(),
            unproven: Vec::new(),
            access_changes: None,
            limits: GuardLimits::default(),
            invariants: Vec::new(),
            namespace_selections: Vec::new(),
            aws_auth_diff: None,
            warnings: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the number of changes with this action. An adoption that changes the content counts as an update.
    pub(crate) fn count_changes(&self, action: Action) -> usize {
        let counted_as = |change: &Change| {
            if change.is_adoption_with_changes() { Action::Update } else { change.action }
        };
        self.changes.iter().filter(|change| counted_as(change) == action).count()
    }

    /// For each subject whose access changes, a fingerprint of the change.
    pub(crate) fn access_fingerprints(&self) -> BTreeMap<&str, String> {
        fingerprint::AccessFingerprint::from_changes(self.access_changes.as_deref().unwrap_or_default())
            .into_fingerprints()
    }
}

/// Collects changes, writes and diagnostics while a plan is made.
struct PlanBuilder<'a> {
    policy: &'a str,
    sources: &'a SourceMap,
    changes: Vec<Change>,
    writes: Vec<schedule::PendingWrite>,
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

/// The body of a planned write is not valid for its kind, although the plan has made it.
pub(crate) fn invalid_object_error(error: ObjectError) -> InternalError {
    match error {
        ObjectError::Internal(error) => error,
        ObjectError::Malformed(why) | ObjectError::Invalid(why) => {
            InternalError::new(format!("a planned object is invalid: {why}"))
        }
    }
}

/// Returns the ordered steps, the waits between them, and the temporary access changes that they cause.
///
/// # Errors
/// If the body of a write is not valid for its kind.
fn order_writes(
    writes: Vec<schedule::PendingWrite>,
    live: &State,
    author: schedule::Author<'_>,
    token_cache: Duration,
) -> Result<schedule::OrderedSteps, ObjectError> {
    let mut ordered = schedule::order(writes, live, author, token_cache)?;
    // Without a window, the state before a step allows all that the step waits for.
    if !ordered.windows.is_empty() {
        probes::remove_impossible_probes(&mut ordered.steps, live)?;
    }
    check_steps(&ordered.steps)?;
    check_waits(&ordered.waits, &ordered.steps)?;
    Ok(ordered)
}

/// Plans the changes and writes that bring `live` to the state that the policy describes for `cluster` at the time
/// `now`.
///
/// # Errors
/// All reasons why no plan can be made, not only the first.
pub(crate) fn plan(
    policy: &Policy,
    cluster: Option<&str>,
    live: &State,
    now: Timestamp,
) -> Result<Plan, Vec<Diagnostic>> {
    let (desired, warnings) = expand(policy, cluster, live, now)?;
    let mut builder = PlanBuilder::new(policy);
    builder.diagnostics = warnings;
    // The two are independent, and parsing a large aws-auth takes as long as comparing all roles.
    let objects = std::thread::scope(|scope| {
        let objects = scope.spawn(|| {
            let mut builder = PlanBuilder::new(policy);
            objects::plan_objects(&mut builder, &desired, live, &policy.ownership);
            manual_rules::plan_manual_rules(&mut builder, &desired, live);
            builder
        });
        // In the mode API the cluster does not read aws-auth.
        if live.auth_mode == ObservedAuthMode::Known(ClusterAuthMode::Api) {
            builder.diagnostics.extend(access_entries::unread_aws_auth_warning(live));
        } else {
            entries::plan_entries(&mut builder, &desired, live.aws_auth.as_ref(), &policy.ownership);
        }
        access_entries::plan_access_entries(&mut builder, &desired, live, &policy.ownership);
        objects.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    builder.merge(objects);
    let invariants = ResolvedInvariant::resolve_all(policy, cluster, live).unwrap_or_else(|errors| {
        builder.diagnostics.extend(errors);
        Vec::new()
    });
    if builder.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(builder.diagnostics);
    }
    let author = schedule::Author { policy: &policy.name.value };
    let token_cache = policy.token_cache(cluster);
    let schedule::OrderedSteps { steps, waits, windows, unproven } =
        match order_writes(builder.writes, live, author, token_cache) {
            Ok(ordered) => ordered,
            Err(error) => return Err(vec![invalid_object_error(error).into()]),
        };
    let selected = NamespaceSelection::for_steps(policy, cluster, &steps, live);
    let mut changes = builder.changes;
    changes.sort_by(|a, b| a.target.cmp(&b.target));
    access_severity::sort_severe_changes_first(&mut changes, &[]);
    Ok(Plan {
        policy: policy.name.value.clone(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        waits,
        token_cache,
        windows,
        unproven,
        access_changes: None,
        limits: GuardLimits::from_policy(policy),
        invariants,
        namespace_selections: selected,
        aws_auth_diff: None,
        warnings: auth_mode_warning(live).into_iter().chain(builder.diagnostics).collect(),
    })
}
