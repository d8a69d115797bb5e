//! Walks the steps of a plan: stage after stage, each write under its precondition, and stops at the first refusal.
//!
//! Nothing is decided here. The order of the steps is the safety, so a step is never skipped.

pub(crate) mod awaiting;
pub(crate) mod confirm;
pub(crate) mod lock;
pub(crate) mod proof;
pub(crate) mod rehearsal;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use awaiting::{Patience, Wanted, unmet};
use confirm::{Before, LockedOut};
use futures::StreamExt as _;
use futures::stream;
use lock::Lock;

use crate::cluster::{ClusterError, WriteCluster, Written};
use crate::names::ObjectKey;
use crate::plan::{Await, Plan, Step};
use crate::state::write::{Expected, Precondition, Version};

/// Writes in flight within one stage. API priority and fairness gives a client more than this without waiting.
const PARALLEL: usize = 24;

/// How an apply ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Steps that ended well, in the order of their ends.
    pub(crate) done: Vec<usize>,
    /// Of these the ones that found their object to be so already.
    pub(crate) unchanged: usize,
    /// Steps that failed; nothing after their stage was begun.
    pub(crate) failed: Vec<(usize, Trouble)>,
}

/// Why an apply stops at a step.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The write failed.
    Write(ClusterError),
    /// What an earlier step grants is not seen to work, and this stage would take away on the strength of it.
    Unseen(Vec<String>),
    /// It was written, and the caller would have been left outside.
    LockedOut(Box<LockedOut>),
    /// Somebody else may have begun.
    LockLost,
}

/// What is watched over while the writes are made.
pub(crate) struct Watch<'a> {
    pub(crate) patience: Patience,
    /// Before a write of aws-auth.
    pub(crate) before: Option<&'a Before>,
    pub(crate) looks: &'a [Duration],
    pub(crate) lock: Option<&'a Lock>,
}

impl Watch<'_> {
    /// Waits for what the steps of a stage rely on; answers those that may not be made.
    async fn unseen<C: WriteCluster>(&self, stage: &[(usize, &Step)], cluster: &C) -> Vec<(usize, Trouble)> {
        let steps: Vec<&Step> = stage.iter().map(|(_, step)| *step).collect();
        let asked: Vec<(usize, &Await)> =
            stage.iter().flat_map(|(number, step)| step.awaits.iter().map(|asked| (*number, asked))).collect();
        let wanted: Vec<Wanted<'_>> =
            asked.iter().map(|(_, asked)| Wanted { asked, allowed: true, before: &steps }).collect();
        let Some((first, _)) = asked.first() else {
            return Vec::new();
        };
        let open = match unmet(cluster, &wanted, self.patience).await {
            Ok(open) => open,
            Err(error) => return vec![(*first, Trouble::Write(error))],
        };
        let mut told: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (number, asked) in open.into_iter().filter_map(|place| asked.get(place)) {
            told.entry(*number).or_default().push(asked.to_string());
        }
        told.into_iter().map(|(number, told)| (number, Trouble::Unseen(told))).collect()
    }

    async fn confirm<C: WriteCluster>(&self, step: &Step, written: &Written, cluster: &C) -> Result<(), Trouble> {
        match self.before {
            Some(before) if step.object == ObjectKey::aws_auth() => before
                .confirm(cluster, step, written, self.looks)
                .await
                .map_err(|out| Trouble::LockedOut(Box::new(out))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Makes the writes of a plan and says of each when it ends.
pub(crate) async fn apply<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    watch: &Watch<'_>,
    report: impl Fn(&Step, &Written),
) -> Outcome {
    let versions = RefCell::new(BTreeMap::new());
    let stopped = Cell::new(false);
    let mut outcome = Outcome { done: Vec::new(), unchanged: 0, failed: Vec::new() };
    let mut stages: BTreeMap<usize, Vec<(usize, &Step)>> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push((number, step));
    }
    for steps in stages.values() {
        outcome.failed = watch.unseen(steps, cluster).await;
        if !outcome.failed.is_empty() {
            break;
        }
        let mut ends = stream::iter(steps)
            .map(|(number, step)| async {
                // What is on its way when a step fails is waited for; nothing new begins.
                if stopped.get() {
                    return None;
                }
                if watch.lock.is_some_and(Lock::is_lost) {
                    return Some((*number, Err(Trouble::LockLost)));
                }
                let expected = expected(step, &versions.borrow());
                let end = match cluster.write(&step.object, &step.write, &expected).await {
                    Ok(written) => {
                        report(step, &written);
                        watch.confirm(step, &written, cluster).await.map(|()| written)
                    }
                    Err(error) => Err(Trouble::Write(error)),
                };
                Some((*number, end))
            })
            .buffer_unordered(PARALLEL);
        while let Some(end) = ends.next().await {
            let Some((number, end)) = end else {
                continue;
            };
            match end {
                Ok(written) => {
                    outcome.unchanged += usize::from(matches!(written, Written::Unchanged(_)));
                    if let Written::Stored(Some(version)) | Written::Unchanged(Some(version)) = written {
                        versions.borrow_mut().insert(number, version);
                    }
                    outcome.done.push(number);
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

fn expected(step: &Step, versions: &BTreeMap<usize, Version>) -> Expected {
    match &step.precondition {
        Precondition::Absent => Expected::Absent,
        Precondition::Unchanged { uid, resource_version } => {
            Expected::Version(Version { uid: uid.clone(), resource_version: resource_version.clone() })
        }
        Precondition::AsWrittenByStep { step } => {
            versions.get(step).cloned().map_or(Expected::Absent, Expected::Version)
        }
    }
}

#[cfg(test)]
mod tests;
