//! Walks the steps of a plan: stage after stage, each write under its precondition, and stops at the first refusal.
//!
//! Nothing is decided here. The order of the steps is the safety, so a step is never skipped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;

use crate::cluster::{ClusterError, WriteCluster, Written};
use crate::plan::{Plan, Step};
use crate::state::write::{Expected, Precondition, Version};

/// Writes in flight within one stage. API priority and fairness gives a client more than this without waiting.
const PARALLEL: usize = 16;

/// How an apply ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Steps that ended well, in the order of their ends.
    pub(crate) done: Vec<usize>,
    /// Of these the ones that found their object to be so already.
    pub(crate) unchanged: usize,
    /// Steps that failed; nothing after their stage was begun.
    pub(crate) failed: Vec<(usize, ClusterError)>,
}

/// Makes the writes of a plan and says of each when it ends.
pub(crate) async fn apply<C: WriteCluster>(
    plan: &Plan,
    cluster: &C,
    report: impl Fn(usize, &Step, &Result<Written, ClusterError>),
) -> Outcome {
    let versions = RefCell::new(BTreeMap::new());
    let stopped = Cell::new(false);
    let mut outcome = Outcome { done: Vec::new(), unchanged: 0, failed: Vec::new() };
    let mut stages: BTreeMap<usize, Vec<(usize, &Step)>> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push((number, step));
    }
    for steps in stages.values() {
        let mut ends = stream::iter(steps)
            .map(|(number, step)| async {
                // What is on its way when a step fails is waited for; nothing new begins.
                if stopped.get() {
                    return None;
                }
                let expected = expected(step, &versions.borrow());
                Some((*number, *step, cluster.write(&step.object, &step.write, &expected).await))
            })
            .buffer_unordered(PARALLEL);
        while let Some(end) = ends.next().await {
            let Some((number, step, end)) = end else {
                continue;
            };
            report(number, step, &end);
            match end {
                Ok(written) => {
                    outcome.unchanged += usize::from(matches!(written, Written::Unchanged(_)));
                    if let Written::Stored(Some(version)) | Written::Unchanged(Some(version)) = written {
                        versions.borrow_mut().insert(number, version);
                    }
                    outcome.done.push(number);
                }
                Err(error) => {
                    stopped.set(true);
                    outcome.failed.push((number, error));
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
