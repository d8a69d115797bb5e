//! After the last step: asks the cluster whether what the plan promised holds.

use std::time::Duration;

use super::polling::{ExpectedAnswer, RetrySchedule, wait_for_answers};
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::PostApplyCheck;

/// Questions after an apply: enough for every subject of most plans, few enough for a second.
pub(crate) const MAX_CHECKS: usize = 200;

/// How long the controller of aggregated roles is waited for: it runs within a second, or not at all.
const AGGREGATION_TIMEOUT: Duration = Duration::from_secs(1);

/// What the cluster says of the promises.
#[derive(Debug)]
pub(crate) enum Verification {
    Passed(usize),
    /// These do not.
    Failed(Vec<PostApplyCheck>),
    /// It could not be asked.
    NotChecked(ClusterError),
}

pub(crate) async fn verify<C: WriteCluster>(
    promises: &[PostApplyCheck],
    cluster: &C,
    patience: RetrySchedule,
) -> Verification {
    let mut broken = Vec::new();
    for (by_controller, patience) in [(false, patience), (true, patience.with_max_timeout(AGGREGATION_TIMEOUT))] {
        let asked: Vec<&PostApplyCheck> =
            promises.iter().filter(|promise| promise.awaits_aggregation == by_controller).collect();
        let wanted: Vec<ExpectedAnswer<'_>> = asked
            .iter()
            .map(|promise| ExpectedAnswer { probe: &promise.probe, allowed: promise.expect_allowed, next_steps: &[] })
            .collect();
        match wait_for_answers(cluster, &wanted, patience).await {
            Ok(open) => broken.extend(open.into_iter().filter_map(|place| asked.get(place).copied().cloned())),
            Err(error) => return Verification::NotChecked(error),
        }
    }
    if broken.is_empty() { Verification::Passed(promises.len()) } else { Verification::Failed(broken) }
}
