//! The dry run: the cluster judges the writes of a plan before the first is made, its admission and its escalation
//! check included, so that what would fail half-way fails before anything is written.
//!
//! A write that stands on an earlier one of the same plan cannot be judged by itself: it is left out, or a no that may
//! come from that is not taken for one.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::stream;
use serde_json::Value;

use super::{MAX_CONCURRENT_WRITES, expected_version};
use crate::access::Identity;
use crate::cluster::{ClusterError, UserInfo, WriteCluster};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::{Plan, Step};
use crate::state::State;
use crate::state::object::{RawBinding, RawSubject, deserialize_object};
use crate::state::write::{Precondition, WriteError, WriteRequest};

/// Writes judged before an apply. A first apply to a large cluster has thousands, mostly alike; judging each would
/// double its time.
pub(crate) const MAX_DRY_RUN_WRITES: usize = 256;

/// What the escalation check says.
const ESCALATION_MESSAGE: &str = "attempting to grant";

/// What the cluster said.
#[derive(Debug, Default)]
pub(crate) struct DryRunResult {
    pub(crate) checked: usize,
    /// By step, in order.
    pub(crate) rejected: Vec<(usize, ClusterError)>,
}

/// Has at most so many writes judged: those of aws-auth first, then of each kind and verb some.
pub(crate) async fn dry_run<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    live: &State,
    caller: Option<&UserInfo>,
    most: usize,
) -> DryRunResult {
    let ground = DryRunContext::for_plan(plan, live, caller);
    let none = std::collections::BTreeMap::new();
    let mut judged: Vec<(usize, &Step)> =
        plan.steps.iter().enumerate().filter(|(number, _)| ground.can_dry_run(plan, *number)).collect();
    if judged.len() > most {
        judged = sample_steps(judged, most);
    }
    let ends = stream::iter(judged.iter().copied())
        .map(|(number, step)| {
            let expected = expected_version(step, &none);
            async move { (number, cluster.dry_run(&step.object, &step.write, &expected).await) }
        })
        .buffer_unordered(MAX_CONCURRENT_WRITES);
    let mut refused: Vec<(usize, ClusterError)> =
        ends.filter_map(|(number, end)| async move { end.err().map(|error| (number, error)) }).collect().await;
    refused.retain(|(number, error)| ground.is_conclusive(plan, *number, error));
    refused.sort_by_key(|(number, _)| *number);
    DryRunResult { checked: judged.len(), rejected: refused }
}

/// From each kind and verb in turn, so that none is left out.
fn sample_steps(all: Vec<(usize, &Step)>, most: usize) -> Vec<(usize, &Step)> {
    let mut rounds: std::collections::BTreeMap<(ObjectKind, &'static str), usize> = std::collections::BTreeMap::new();
    let mut ranked: Vec<(usize, (usize, &Step))> = all
        .into_iter()
        .map(|(number, step)| {
            let round = rounds.entry((step.object.kind(), step.write.verb())).or_default();
            *round += 1;
            (*round, (number, step))
        })
        .collect();
    ranked.sort_by_key(|(round, (number, _))| (*round, *number));
    ranked.into_iter().take(most).map(|(_, step)| step).collect()
}

/// What earlier steps of a plan put under later ones.
struct DryRunContext {
    /// Roles that some step writes.
    written_roles: BTreeSet<ObjectKey>,
    /// Steps whose object an earlier one has written.
    repeated_steps: BTreeSet<usize>,
    /// The first step by which the caller himself may come to more.
    caller_gains_at: Option<usize>,
}

impl DryRunContext {
    fn for_plan(plan: &Plan, live: &State, caller: Option<&UserInfo>) -> Self {
        let is_role = |kind| matches!(kind, ObjectKind::ClusterRole | ObjectKind::Role);
        let written =
            plan.steps.iter().filter(|step| is_role(step.object.kind()) && step.write != WriteRequest::Delete);
        let roles = written.map(|step| step.object.clone()).collect();
        let caller_gains = caller.and_then(|caller| {
            let caller = Identity::from_user_info(&caller.username, &caller.groups);
            let own = caller_roles(live, &caller);
            plan.steps.iter().position(|step| match &step.write {
                WriteRequest::Create(body) | WriteRequest::Patch(body) => {
                    has_subject(&step.object, body, &caller) || own.contains(&step.object)
                }
                WriteRequest::Delete => false,
            })
        });
        let mut objects = BTreeSet::new();
        let steps = plan.steps.iter().enumerate();
        let repeated = steps.filter(|(_, step)| !objects.insert(&step.object)).map(|(number, _)| number).collect();
        Self { written_roles: roles, repeated_steps: repeated, caller_gains_at: caller_gains }
    }

    fn can_dry_run(&self, plan: &Plan, number: usize) -> bool {
        let Some(step) = plan.steps.get(number) else {
            return false;
        };
        match step.precondition {
            Precondition::AsWrittenByStep { .. } => false,
            // Its name is free only once an earlier step has made room.
            Precondition::Absent | Precondition::Unchanged { .. } => !self.repeated_steps.contains(&number),
        }
    }

    /// Whether a no stays one when the earlier steps have been made.
    fn is_conclusive(&self, plan: &Plan, number: usize, error: &ClusterError) -> bool {
        let Some(step) = plan.steps.get(number) else {
            return false;
        };
        let (about_rights, about_the_role) = match error {
            ClusterError::Forbidden { why, .. } => {
                (!why.contains("admission webhook"), why.contains(ESCALATION_MESSAGE))
            }
            ClusterError::Rejected { refusal: WriteError::NotFound, .. } => {
                let binds = matches!(step.object.kind(), ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding)
                    && matches!(step.write, WriteRequest::Create(_));
                (binds, binds)
            }
            // A webhook that cannot judge without acting has judged nothing.
            ClusterError::Rejected { refusal: WriteError::Invalid(why), .. } => {
                return !why.contains("does not support dry run");
            }
            ClusterError::Rejected { .. }
            | ClusterError::InvalidKubeconfig { .. }
            | ClusterError::ContextNotFound { .. }
            | ClusterError::EksContextNotFound { .. }
            | ClusterError::AmbiguousEksContext { .. }
            | ClusterError::Unreachable { .. }
            | ClusterError::TimedOut { .. }
            | ClusterError::Unauthorized { .. }
            | ClusterError::CredentialPlugin { .. }
            | ClusterError::UnexpectedStatus { .. }
            | ClusterError::InvalidResponse { .. }
            | ClusterError::SnapshotIo { .. }
            | ClusterError::InvalidSnapshot { .. }
            | ClusterError::SnapshotChanged { .. } => return true,
        };
        let stands_on_a_role = self.bound_role(step).is_some_and(|role| self.written_roles.contains(&role));
        let may_gain = self.caller_gains_at.is_some_and(|first| first < number);
        !(about_the_role && stands_on_a_role || about_rights && may_gain)
    }

    /// The role that a binding gives; a patch does not say it, and then any written role may be it.
    fn bound_role(&self, step: &Step) -> Option<ObjectKey> {
        match &step.write {
            WriteRequest::Create(body) => {
                let binding = deserialize_object::<RawBinding>(body).ok()?.into_binding().ok()?;
                binding.role_ref.role_key(&step.object)
            }
            WriteRequest::Patch(_)
                if matches!(step.object.kind(), ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding) =>
            {
                self.written_roles.first().cloned()
            }
            WriteRequest::Patch(_) | WriteRequest::Delete => None,
        }
    }
}

/// The roles that the caller has now; all, where one of them gathers others.
fn caller_roles(live: &State, caller: &Identity) -> BTreeSet<ObjectKey> {
    let held =
        live.bindings.iter().filter(|(_, binding)| binding.subjects.iter().any(|one| caller.matches_subject(one)));
    let own: BTreeSet<ObjectKey> = held.filter_map(|(key, binding)| binding.role_ref.role_key(key)).collect();
    let gathers = |key: &ObjectKey| live.roles.get(key).is_some_and(|role| role.aggregation.is_some());
    if own.iter().any(gathers) { live.roles.keys().cloned().chain(own).collect() } else { own }
}

/// Whether a binding's body names the caller.
fn has_subject(key: &ObjectKey, body: &Value, caller: &Identity) -> bool {
    let own = key.namespace().unwrap_or_default();
    let subjects = body.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let subjects =
        subjects.filter_map(|subject| deserialize_object::<RawSubject>(subject).ok()?.into_subject(own).ok());
    subjects.into_iter().any(|subject| caller.matches_subject(&subject))
}
