//! Compares the live state with the policy and makes a plan: the changes for review and the ordered, exact writes.
//!
//! This module is pure. It may not depend on cluster access, the terminal or the clock: the live state and the time are
//! arguments. The steps of a plan are complete, so `apply` makes no decisions of its own.

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

pub(crate) use access_change::{
    AccessChange, AccessComparison, AccessImpact, AffectedSubject, AllowedRequests, EscalationSummary, GrantedBy,
};
pub(crate) use fingerprint::NamespaceSelection;
pub(crate) use guard_limits::GuardLimits;
use jiff::Timestamp;
pub(crate) use objects::bridge;
pub(crate) use post_apply_check::PostApplyCheck;
pub(crate) use probes::{AccessProbe, AccessWindow, ProbeRequest, TransientAccess};
pub(crate) use resolved_invariant::{Exemption, InvariantSubject, ResolvedInvariant};
pub(crate) use restore::{ObjectVersions, plan_restore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, SourceLocation, SourceMap};
use crate::names::ObjectKey;
use crate::policy::Policy;
use crate::policy::expand::expand;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::object_meta::ObjectWriter;
use crate::state::write::{Precondition, WriteRequest};

/// All changes and writes that bring one cluster to the state that the policy describes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Plan {
    pub(crate) policy: String,
    /// The uid of the namespace kube-system, if known. It identifies the cluster: a plan is valid only there.
    pub(crate) cluster_uid: Option<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) steps: Vec<Step>,
    /// Temporary access changes that no order of the steps avoids. `apply` refuses them without `--allow-window`.
    #[serde(default)]
    pub(crate) windows: Vec<AccessWindow>,
    /// Who gains and loses which access. `None` if the caller did not ask for it.
    #[serde(default)]
    pub(crate) access: Option<Vec<AccessChange>>,
    /// The `[guard]` section of the policy. `apply --plan` checks it without the policy.
    #[serde(default, rename = "guarded")]
    pub(crate) limits: GuardLimits,
    /// The `[[invariants]]` of the policy. `apply --plan` checks them without the policy.
    #[serde(default)]
    pub(crate) invariants: Vec<ResolvedInvariant>,
    /// The namespaces that the patterns and label selectors of written objects matched when the plan was made.
    #[serde(default)]
    pub(crate) selected: Vec<NamespaceSelection>,
    /// Warnings found while planning. They are not saved: they were printed when the plan was made.
    #[serde(skip)]
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A change of one object or aws-auth entry, as shown for review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) target: ChangeTarget,
    pub(crate) fields: Vec<FieldDiff>,
    /// The place in the policy. A removal has one only if the object or entry has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<SourceLocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// Whether the policy or the cluster has changed.
    pub(crate) origin: ChangeOrigin,
    /// The last writer of the live object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_writer: Option<ObjectWriter>,
    /// Whether the change affects access. `None` if the caller did not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<AccessImpact>,
}

/// What the plan does with an object or an aws-auth entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// Why the cluster differs from the policy. `drift` reports these separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChangeOrigin {
    /// The cluster is as rolecall last wrote it, or rolecall has not written it yet: the policy has changed.
    Pending,
    /// The cluster is not as rolecall last wrote it.
    ChangedLive,
    /// Rolecall wrote it, and it no longer exists.
    RemovedLive,
}

/// The difference in one field of an object or entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FieldDiff {
    /// For example `["username"]` or `["rules[0]", "verbs"]`.
    pub(crate) path: Vec<String>,
    pub(crate) items: Vec<ValueDiff>,
}

/// A value of a field, and whether the change adds, removes or keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ValueDiff {
    pub(crate) fate: DiffOp,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiffOp {
    Stays,
    Added,
    Removed,
}

/// One write to the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Step {
    pub(crate) object: ObjectKey,
    pub(crate) write: WriteRequest,
    pub(crate) precondition: Precondition,
    /// Steps of one stage do not depend on each other. A stage starts after the previous stage has finished.
    pub(crate) stage: usize,
    /// Requests that the API server must allow before the step is written. Empty if the step does not depend on earlier
    /// steps.
    #[serde(default)]
    pub(crate) awaits: Vec<AccessProbe>,
    /// Describes the step as an infinitive, so that it fits `could not {why}`: `create ClusterRole viewer`.
    pub(crate) why: String,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn count_changes(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// The SHA-256 digest of everything that an approval covers: the cluster, the steps, the temporary access changes,
    /// the access that each subject gains and loses, the matched namespaces, the guard limits and the invariants.
    pub(crate) fn digest(&self) -> String {
        let access = fingerprint::AccessFingerprint::from_changes(self.access.as_deref().unwrap_or_default());
        let assumptions = (!access.is_empty() || !self.selected.is_empty()).then_some((access, &self.selected));
        let writes = (&self.policy, &self.cluster_uid, &self.steps, &self.windows, assumptions);
        let content = if !self.invariants.is_empty() {
            let invariants: Vec<_> = self.invariants.iter().map(ResolvedInvariant::digest_content).collect();
            serde_json::to_vec(&(writes, self.limits.digest_content(), invariants))
        } else if self.limits.is_empty() {
            serde_json::to_vec(&writes)
        } else {
            serde_json::to_vec(&(writes, self.limits.digest_content()))
        };
        let content = content.unwrap_or_default();
        let hash = Sha256::digest(content);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

/// Collects changes, writes and diagnostics while a plan is made.
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
            builder
        });
        entries::plan_entries(&mut builder, &desired, live.aws_auth.as_ref(), &policy.ownership);
        objects.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    builder.merge(objects);
    if builder.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(builder.diagnostics);
    }
    let author = order::Author { policy: &policy.name.value };
    let (steps, windows) = match order::order(builder.writes, live, author) {
        Ok(ordered) => ordered,
        Err(error) => {
            return Err(vec![Diagnostic::error(format!("a planned object is invalid: {error}"))]);
        }
    };
    let selected = NamespaceSelection::for_steps(policy, cluster, &steps, live);
    let mut changes = builder.changes;
    changes.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(Plan {
        policy: policy.name.value.clone(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        windows,
        access: None,
        limits: GuardLimits::from_policy(policy),
        invariants: ResolvedInvariant::resolve_all(policy, cluster),
        selected,
        warnings: builder.diagnostics,
    })
}
