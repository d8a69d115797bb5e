//! Post-apply verification: checks against the cluster whether the planned access is in effect.

use std::time::Duration;

use super::polling::{ExpectedAnswer, RetrySchedule, wait_for_answers};
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::PostApplyCheck;

/// The maximum number of checks after an apply: enough for every subject of most plans, and done within a second.
pub(crate) const MAX_CHECKS: usize = 200;

/// How long a check that depends on an aggregated ClusterRole is repeated. The aggregation controller updates the role
/// within a second if it runs at all.
const AGGREGATION_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of the checks after an apply.
#[derive(Debug)]
pub(crate) enum Verification {
    /// All checks passed; the number of checks.
    Passed(usize),
    /// These checks failed.
    Failed(Vec<PostApplyCheck>),
    /// The cluster did not answer.
    NotChecked(ClusterError),
}

pub(crate) async fn verify<C: WriteCluster>(
    checks: &[PostApplyCheck],
    cluster: &C,
    schedule: RetrySchedule,
) -> Verification {
    let mut failed = Vec::new();
    for (awaits_aggregation, schedule) in [(false, schedule), (true, schedule.with_max_timeout(AGGREGATION_TIMEOUT))] {
        let checks: Vec<&PostApplyCheck> =
            checks.iter().filter(|check| check.awaits_aggregation == awaits_aggregation).collect();
        let expected: Vec<ExpectedAnswer<'_>> = checks
            .iter()
            .map(|check| ExpectedAnswer { probe: &check.probe, allowed: check.expect_allowed, next_steps: &[] })
            .collect();
        match wait_for_answers(cluster, &expected, schedule).await {
            Ok(pending) => {
                let is_pending = |(index, _): &(usize, &PostApplyCheck)| pending.contains(index);
                failed.extend(checks.into_iter().enumerate().filter(is_pending).map(|(_, check)| check.clone()));
            }
            Err(error) => return Verification::NotChecked(error),
        }
    }
    if failed.is_empty() { Verification::Passed(checks.len()) } else { Verification::Failed(failed) }
}
