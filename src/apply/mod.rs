//! Walks the steps of a plan: stage after stage, each write under its precondition, and stops at the first refusal.
//!
//! Nothing is decided here. The order of the steps is the safety, so a step is never skipped.

pub(crate) mod dry_run;
pub(crate) mod lock;
pub(crate) mod lockout;
pub(crate) mod polling;
pub(crate) mod verification;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use lock::ApplyLock;
use lockout::{AwsAuthBaseline, Lockout};
use polling::{ExpectedAnswer, RetrySchedule, wait_for_answers};

use crate::cluster::{ClusterError, WriteCluster, WriteOutcome};
use crate::names::ObjectKey;
use crate::plan::{AccessProbe, Plan, Step};
use crate::state::write::{ObjectVersion, Precondition, ResolvedPrecondition};

/// Writes in flight within one stage. API priority and fairness gives a client more than this without waiting.
const MAX_CONCURRENT_WRITES: usize = 24;

/// How an apply ended.
#[derive(Debug)]
pub(crate) struct ApplyOutcome {
    /// Steps that ended well, in the order of their ends.
    pub(crate) completed: Vec<usize>,
    /// Of these the ones that found their object to be so already.
    pub(crate) unchanged: usize,
    /// Steps that failed; nothing after their stage was begun.
    pub(crate) failed: Vec<(usize, StepError)>,
}

/// Why an apply stops at a step.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The write failed.
    Write(ClusterError),
    /// What an earlier step grants is not seen to work, and this stage would take away on the strength of it.
    NotEffective(Vec<String>),
    /// It was written, and the caller would have been left outside.
    LockedOut(Box<Lockout>),
    /// Somebody else may have begun.
    LockLost,
}

/// What is watched over while the writes are made.
pub(crate) struct ApplyHooks<'a> {
    pub(crate) schedule: RetrySchedule,
    /// Before a write of aws-auth.
    pub(crate) aws_auth_baseline: Option<&'a AwsAuthBaseline>,
    pub(crate) probe_delays: &'a [Duration],
    pub(crate) lock: Option<&'a ApplyLock>,
}

impl ApplyHooks<'_> {
    /// Waits for what the steps of a stage rely on; answers those that may not be made.
    async fn wait_for_prerequisites<C: WriteCluster>(
        &self,
        stage: &[(usize, &Step)],
        cluster: &C,
    ) -> Vec<(usize, StepError)> {
        let steps: Vec<&Step> = stage.iter().map(|(_, step)| *step).collect();
        let asked: Vec<(usize, &AccessProbe)> =
            stage.iter().flat_map(|(number, step)| step.wait_for.iter().map(|asked| (*number, asked))).collect();
        let wanted: Vec<ExpectedAnswer<'_>> =
            asked.iter().map(|(_, asked)| ExpectedAnswer { probe: asked, allowed: true, next_steps: &steps }).collect();
        let Some((first, _)) = asked.first() else {
            return Vec::new();
        };
        let open = match wait_for_answers(cluster, &wanted, self.schedule).await {
            Ok(open) => open,
            Err(error) => return vec![(*first, StepError::Write(error))],
        };
        let mut told: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (number, asked) in open.into_iter().filter_map(|place| asked.get(place)) {
            told.entry(*number).or_default().push(asked.to_string());
        }
        told.into_iter().map(|(number, told)| (number, StepError::NotEffective(told))).collect()
    }

    async fn check_lockout<C: WriteCluster>(
        &self,
        step: &Step,
        written: &WriteOutcome,
        cluster: &C,
    ) -> Result<(), StepError> {
        match self.aws_auth_baseline {
            Some(before) if step.object == ObjectKey::aws_auth() => before
                .verify_or_restore(cluster, step, written, self.probe_delays)
                .await
                .map_err(|out| StepError::LockedOut(Box::new(out))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Makes the writes of a plan and says of each when it ends.
pub(crate) async fn apply<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    watch: &ApplyHooks<'_>,
    report: impl Fn(&Step, &WriteOutcome),
) -> ApplyOutcome {
    let versions = RefCell::new(BTreeMap::new());
    let stopped = Cell::new(false);
    let mut outcome = ApplyOutcome { completed: Vec::new(), unchanged: 0, failed: Vec::new() };
    let mut stages: BTreeMap<usize, Vec<(usize, &Step)>> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push((number, step));
    }
    for steps in stages.values() {
        outcome.failed = watch.wait_for_prerequisites(steps, cluster).await;
        if !outcome.failed.is_empty() {
            break;
        }
        let mut ends = stream::iter(steps)
            .map(|(number, step)| async {
                // What is on its way when a step fails is waited for; nothing new begins.
                if stopped.get() {
                    return None;
                }
                if watch.lock.is_some_and(ApplyLock::is_lost) {
                    return Some((*number, Err(StepError::LockLost)));
                }
                let expected = expected_version(step, &versions.borrow());
                let end = match cluster.write(&step.object, &step.write, &expected).await {
                    Ok(written) => {
                        report(step, &written);
                        watch.check_lockout(step, &written, cluster).await.map(|()| written)
                    }
                    Err(error) => Err(StepError::Write(error)),
                };
                Some((*number, end))
            })
            .buffer_unordered(MAX_CONCURRENT_WRITES);
        while let Some(end) = ends.next().await {
            let Some((number, end)) = end else {
                continue;
            };
            match end {
                Ok(written) => {
                    outcome.unchanged += usize::from(matches!(written, WriteOutcome::Unchanged(_)));
                    if let WriteOutcome::Stored(Some(version)) | WriteOutcome::Unchanged(Some(version)) = written {
                        versions.borrow_mut().insert(number, version);
                    }
                    outcome.completed.push(number);
                }
                Err(trouble) => {
                    stopped.set(true);
                    outcome.failed.push((number, trouble));
                }
            }
        }
        if stopped.get() {
            break;
        }
    }
    outcome
}

fn expected_version(step: &Step, versions: &BTreeMap<usize, ObjectVersion>) -> ResolvedPrecondition {
    match &step.precondition {
        Precondition::Absent => ResolvedPrecondition::Absent,
        Precondition::Unchanged { uid, resource_version } => ResolvedPrecondition::Version(ObjectVersion {
            uid: uid.clone(),
            resource_version: resource_version.clone(),
        }),
        Precondition::AsWrittenByStep { step } => {
            versions.get(step).cloned().map_or(ResolvedPrecondition::Absent, ResolvedPrecondition::Version)
        }
    }
}

#[cfg(test)]
mod tests;
