//! Executes the steps of a plan stage by stage, each write with its precondition, and stops at the first failure.
//!
//! This module makes no decisions: the plan has fixed every write and its order. Safety depends on the order, so no
//! step is ever skipped.

mod boot_clock;
mod controller;
pub(crate) mod dry_run;
pub(crate) mod lock;
pub(crate) mod lockout;
pub(crate) mod polling;
pub(crate) mod verification;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use controller::ControllerGuard;
use futures::StreamExt as _;
use futures::stream;
use lock::ApplyLock;
use lockout::{AwsAuthBaseline, Lockout};
use polling::{ExpectedAnswer, RetrySchedule, wait_for_answers};
use tokio::time::Instant;

use crate::cluster::settings::ConnectionSettings;
use crate::cluster::{ClusterError, WriteCluster, WriteOutcome};
use crate::diagnostic::InternalError;
use crate::names::ObjectKey;
use crate::plan::{AccessProbe, AggregatedRoles, Plan, Step, TokenWait};
use crate::state::write::{ObjectVersion, Precondition, ResolvedPrecondition};

/// The maximum number of concurrent requests. API priority and fairness allows a client more than this without
/// queueing.
const MAX_CONCURRENT_WRITES: usize = 24;

/// The result of an apply.
#[derive(Debug, Default)]
pub(crate) struct ApplyOutcome {
    /// The indices of the steps that succeeded, in the order in which they finished.
    pub(crate) completed: Vec<usize>,
    /// The number of completed steps whose object already had the planned content.
    pub(crate) unchanged: usize,
    /// The roles that the aggregation controller had written from an old cache, and that were written again.
    pub(crate) rewritten: Vec<ObjectKey>,
    /// The steps that failed. No step of a later stage was started.
    pub(crate) failed: Vec<(usize, StepError)>,
    /// Whether a signal has stopped the apply. The steps that are neither completed nor failed were not started.
    pub(crate) is_interrupted: bool,
    /// The losses of the caller's access that the command line accepts.
    pub(crate) accepted_losses: Vec<String>,
}

/// Why an apply stops at a step.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The write failed.
    Write(ClusterError),
    /// Access that an earlier step grants is not in effect, and this step would revoke access that it replaces. Holds
    /// the reviews that the API server still denies.
    NotEffective(Vec<String>),
    /// The write succeeded, and the caller lost access by it.
    LockedOut(Box<Lockout>),
    /// Another apply may be running.
    LockLost,
    /// The step was written, and this field manager then wrote other content.
    Overwritten(String),
}

/// The checks that are made between the writes.
pub(crate) struct ApplyHooks<'a> {
    pub(crate) schedule: RetrySchedule,
    /// The access of the caller before the write of aws-auth, if the plan has one.
    pub(crate) aws_auth_baseline: Option<&'a AwsAuthBaseline>,
    /// The delays of the lockout check.
    pub(crate) probe_delays: &'a [Duration],
    pub(crate) lock: Option<&'a ApplyLock>,
    /// The aggregated roles as the plan has found them.
    pub(crate) aggregated_roles: Option<&'a AggregatedRoles>,
    /// How long the aggregation controller may act on an old cache.
    pub(crate) controller_lag: Duration,
    /// The limits of the waits, and the signals that end them. `None` in tests.
    pub(crate) connection: Option<&'a ConnectionSettings>,
    /// Whether the cluster caches tokens. A snapshot has none.
    pub(crate) token_waits: TokenWaits,
}

/// Whether an apply makes the waits of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenWaits {
    Wait,
    /// A snapshot has no tokens.
    Skip,
}

/// What an apply does next or has done, for its progress output.
#[derive(Debug)]
pub(crate) enum ApplyEvent<'a> {
    /// A write was made. Holds the version of the object before it.
    Written(&'a Step, Option<&'a ObjectVersion>, &'a WriteOutcome),
    /// A step has failed. Its write may have been made: [`StepError`] says so.
    Failed(&'a Step, &'a StepError),
    /// After the write of aws-auth, the access of the caller is checked for at most this time.
    Confirming(Duration),
    Confirmed,
    /// A wait begins, or goes on for this long.
    Waiting(&'a TokenWait, Duration),
    /// A snapshot needs no wait.
    WaitSkipped(&'a TokenWait),
}

/// How often the rest of a wait is reported.
const WAIT_REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// How often a wait checks whether the apply must stop.
const WAIT_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The controller sees a write within a second, as the informers of an API server do. Half a second more, as for a
/// masked answer.
pub(crate) const CONTROLLER_LAG: Duration = Duration::from_millis(1500);

impl ApplyHooks<'_> {
    fn is_interrupted(&self) -> bool {
        self.connection.is_some_and(|connection| connection.interrupt.is_requested())
    }

    /// Waits for the future, or for a signal. `None` after a signal.
    async fn or_stop<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        match self.connection {
            Some(connection) => connection.interrupt.or_stop(waiting).await,
            None => Some(waiting.await),
        }
    }

    /// Waits until the access that the steps of a stage rely on is in effect. Returns the steps that must not be
    /// written.
    async fn wait_for_prerequisites<C: WriteCluster>(
        &self,
        stage: &[(usize, &Step)],
        cluster: &C,
    ) -> Vec<(usize, StepError)> {
        let steps: Vec<&Step> = stage.iter().map(|(_, step)| *step).collect();
        let probes: Vec<(usize, &AccessProbe)> =
            stage.iter().flat_map(|(index, step)| step.wait_for.iter().map(|probe| (*index, probe))).collect();
        let expected: Vec<ExpectedAnswer<'_>> =
            probes.iter().map(|(_, probe)| ExpectedAnswer { probe, allowed: true, next_steps: &steps }).collect();
        let Some((first, _)) = probes.first() else {
            return Vec::new();
        };
        let pending = match wait_for_answers(cluster, &expected, self.schedule).await {
            Ok(pending) => pending,
            Err(error) => return vec![(*first, StepError::Write(error))],
        };
        let mut denied: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (_, (index, probe)) in probes.iter().enumerate().filter(|(position, _)| pending.contains(position)) {
            denied.entry(*index).or_default().push(probe.to_string());
        }
        denied.into_iter().map(|(index, probes)| (index, StepError::NotEffective(probes))).collect()
    }

    /// Makes the waits before a stage. Returns the step that must not be written because the Lease was lost meanwhile.
    async fn wait_for_tokens(
        &self,
        waits: &[&TokenWait],
        on_event: &impl Fn(ApplyEvent<'_>),
    ) -> Option<(usize, StepError)> {
        for wait in waits {
            if self.token_waits == TokenWaits::Skip {
                on_event(ApplyEvent::WaitSkipped(wait));
                continue;
            }
            let end = Instant::now() + wait.duration;
            let mut next_report = Instant::now();
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if self.lock.is_some_and(ApplyLock::is_lost) {
                    return Some((wait.before_step, StepError::LockLost));
                }
                if Instant::now() >= next_report {
                    on_event(ApplyEvent::Waiting(wait, left));
                    next_report += WAIT_REPORT_INTERVAL;
                }
                tokio::time::sleep(left.min(WAIT_CHECK_INTERVAL)).await;
            }
        }
        None
    }

    /// Makes a write. After a write of aws-auth the access of the caller is checked, and the write is taken back if the
    /// caller has lost access. `write` makes the write.
    async fn write_and_confirm<C: WriteCluster>(
        &self,
        step: &Step,
        cluster: &C,
        on_event: &impl Fn(ApplyEvent<'_>),
        write: impl AsyncFnOnce() -> Result<WriteOutcome, StepError>,
    ) -> Result<(WriteOutcome, Option<String>), StepError> {
        let Some(baseline) = self.aws_auth_baseline.filter(|_| step.object == ObjectKey::aws_auth()) else {
            return write().await.map(|written| (written, None));
        };
        let before = cluster.read(&step.object).await.map_err(StepError::Write)?;
        let written = write().await?;
        let default = ConnectionSettings::default();
        let connection = self.connection.unwrap_or(&default);
        let limit = connection.timeouts.confirmation();
        on_event(ApplyEvent::Confirming(limit));
        let confirming = baseline.verify_or_revert(cluster, step, before, &written, (self.probe_delays, limit));
        let description = "the confirmation that you still have access after the change of aws-auth";
        // The delays between the checks are a wait of a few seconds in any case.
        let delays: Duration = self.probe_delays.iter().sum();
        let confirmed = connection.log.watch_after(delays, description, limit, confirming).await;
        if confirmed.is_ok() {
            on_event(ApplyEvent::Confirmed);
        }
        confirmed.map(|loss| (written, loss)).map_err(|lockout| StepError::LockedOut(Box::new(lockout)))
    }
}

/// Makes the writes and the waits of a plan, and calls `on_event` after each successful write and in each wait.
pub(crate) async fn apply<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    hooks: &ApplyHooks<'_>,
    on_event: impl Fn(ApplyEvent<'_>),
) -> ApplyOutcome {
    let guard = ControllerGuard::new(cluster, hooks.aggregated_roles.cloned().unwrap_or_default());
    let versions = RefCell::new(BTreeMap::new());
    let stopped = Cell::new(false);
    let mut outcome = ApplyOutcome::default();
    let mut stages: BTreeMap<usize, Vec<(usize, &Step)>> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push((index, step));
    }
    let mut next_stage = 0;
    for (stage, steps) in &stages {
        let waits: Vec<&TokenWait> =
            plan.waits.iter().filter(|wait| (next_stage..*stage).contains(&wait.stage)).collect();
        next_stage = stage + 1;
        let prerequisites = async {
            match hooks.wait_for_tokens(&waits, &on_event).await {
                Some(failed) => vec![failed],
                None => hooks.wait_for_prerequisites(steps, cluster).await,
            }
        };
        match hooks.or_stop(prerequisites).await {
            Some(failed) => outcome.failed = failed,
            None => outcome.is_interrupted = true,
        }
        if !outcome.failed.is_empty() || outcome.is_interrupted {
            break;
        }
        let mut results = stream::iter(steps)
            .map(|(index, step)| async {
                // After a failure no new write is started. Writes that are already in flight are completed.
                if stopped.get() || hooks.is_interrupted() {
                    return None;
                }
                if hooks.lock.is_some_and(ApplyLock::is_lost) {
                    return Some((*index, Err(StepError::LockLost)));
                }
                let expected = expected_version(step, &versions.borrow());
                let write = async || {
                    let expected = expected.map_err(|error| StepError::Write(error.into()))?;
                    let before = expected.version().cloned();
                    let written = guard.write(step, expected).await.map_err(StepError::Write)?;
                    on_event(ApplyEvent::Written(step, before.as_ref(), &written));
                    Ok(written)
                };
                Some((*index, hooks.write_and_confirm(step, cluster, &on_event, write).await))
            })
            .buffer_unordered(MAX_CONCURRENT_WRITES);
        while let Some(result) = results.next().await {
            let Some((index, result)) = result else {
                continue;
            };
            match result {
                Ok((written, loss)) => {
                    outcome.accepted_losses.extend(loss);
                    outcome.unchanged += usize::from(matches!(written, WriteOutcome::Unchanged(_)));
                    if let WriteOutcome::Stored(version) | WriteOutcome::Unchanged(version) = written {
                        versions.borrow_mut().insert(index, version);
                    }
                    outcome.completed.push(index);
                }
                Err(error) => {
                    stopped.set(true);
                    outcome.failed.push((index, error));
                }
            }
        }
        outcome.is_interrupted = hooks.is_interrupted();
        if stopped.get() || outcome.is_interrupted {
            break;
        }
    }
    if !outcome.failed.iter().any(|(_, error)| matches!(error, StepError::LockLost)) {
        let (rewritten, failed) = guard.settle(plan, &outcome.completed, hooks).await;
        outcome.rewritten = rewritten;
        outcome.failed.extend(failed);
    }
    for (index, error) in &outcome.failed {
        if let Some(step) = plan.steps.get(*index) {
            on_event(ApplyEvent::Failed(step, error));
        }
    }
    outcome
}

/// Returns the precondition of a step with the versions that the earlier steps have produced.
///
/// # Errors
/// The step refers to a step that has not left an object. Without its version the write would have no precondition.
fn expected_version(
    step: &Step,
    versions: &BTreeMap<usize, ObjectVersion>,
) -> Result<ResolvedPrecondition, InternalError> {
    Ok(match &step.precondition {
        Precondition::Absent => ResolvedPrecondition::Absent,
        Precondition::Unchanged { uid, resource_version } => ResolvedPrecondition::Version(ObjectVersion {
            uid: uid.clone(),
            resource_version: resource_version.clone(),
        }),
        Precondition::AsWrittenByStep { step: earlier } => {
            let version = versions.get(earlier).cloned().ok_or_else(|| {
                let description = &step.description;
                InternalError::new(format!("`{description}` relies on step {earlier}, which has left no object"))
            })?;
            ResolvedPrecondition::Version(version)
        }
    })
}

#[cfg(test)]
mod tests;
