//! Repeats SubjectAccessReviews, with growing delays and a timeout, until their answers are as expected.
//!
//! A review that allows a request names only one of the bindings that allow it, the first one that the authorizer
//! finds. If this is a binding that the next steps revoke, the answer does not prove that another binding allows the
//! request: the answer is masked, and the review is repeated. The authorizer checks the ClusterRoleBindings and then
//! the RoleBindings (Kubernetes, pkg/registry/rbac/validation/rule.go, `VisitRulesFor`), each in the order of an
//! informer cache, which is random. A repeated review may therefore name another binding of the same kind, but a
//! ClusterRoleBinding always masks a RoleBinding. For this reason a masked answer is accepted once every API server has
//! had time to see the earlier writes.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::MAX_CONCURRENT_WRITES;
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::{AccessProbe, Step};

/// How often and how long a review is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetrySchedule {
    /// How long a review with an unexpected answer is repeated.
    pub(crate) timeout: Duration,
    /// The delay before the second review. It doubles with each further one.
    pub(crate) first_delay: Duration,
    /// How long a review with a masked answer is repeated.
    pub(crate) masked_timeout: Duration,
}

impl RetrySchedule {
    pub(crate) fn with_max_timeout(self, max: Duration) -> Self {
        Self { timeout: self.timeout.min(max), ..self }
    }
}

/// The informers of an API server see a write within milliseconds, those of several API servers behind one endpoint
/// within about a second. A masked answer waits half a second more than that. Ten seconds leave time for a slow
/// cluster.
pub(crate) const PROBE_SCHEDULE: RetrySchedule = RetrySchedule {
    timeout: Duration::from_secs(10),
    first_delay: Duration::from_millis(20),
    masked_timeout: Duration::from_millis(1500),
};
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The longest delay between two reviews with masked answers. About thirty reviews fit into the `masked_timeout`, so
/// that a binding of the same kind is very likely to be named in one of them.
const MAX_MASKED_DELAY: Duration = Duration::from_millis(50);

/// A review and the answer that it must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedAnswer<'a> {
    pub(crate) probe: &'a AccessProbe,
    pub(crate) allowed: bool,
    /// The steps that are written next. An answer is masked if it names a binding or role that one of them revokes.
    pub(crate) next_steps: &'a [&'a Step],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeResult {
    AsExpected,
    /// As expected, but because of a binding or role that the next steps revoke.
    Masked,
    Different,
}

impl ExpectedAnswer<'_> {
    async fn probe_once<C: WriteCluster>(&self, cluster: &C) -> Result<ProbeResult, ClusterError> {
        let status = cluster.review_access(self.probe).await?;
        let is_revoked_by =
            |step: &&Step| status.allowed_by.as_ref().is_some_and(|reason| step.revokes(&self.probe.request, reason));
        Ok(match status.allowed == self.allowed {
            false => ProbeResult::Different,
            true if self.next_steps.iter().any(is_revoked_by) => ProbeResult::Masked,
            true => ProbeResult::AsExpected,
        })
    }
}

/// Repeats the reviews until every answer is as expected or the schedule ends. Returns the indices of the reviews whose
/// last answer was not as expected.
pub(crate) async fn wait_for_answers<C: WriteCluster>(
    cluster: &C,
    expected: &[ExpectedAnswer<'_>],
    schedule: RetrySchedule,
) -> Result<Vec<usize>, ClusterError> {
    let start = Instant::now();
    let deadline = start + schedule.timeout;
    let mut delay = schedule.first_delay;
    let mut pending: Vec<(usize, &ExpectedAnswer<'_>)> = expected.iter().enumerate().collect();
    loop {
        let mut results = stream::iter(pending)
            .map(|review| async move { Ok::<_, ClusterError>((review, review.1.probe_once(cluster).await?)) })
            .buffered(MAX_CONCURRENT_WRITES);
        let (mut different, mut masked) = (Vec::new(), Vec::new());
        while let Some(result) = results.next().await {
            match result? {
                (review, ProbeResult::Different) => different.push(review),
                (review, ProbeResult::Masked) => masked.push(review),
                (_, ProbeResult::AsExpected) => {}
            }
        }
        drop(results);
        let now = Instant::now();
        if now >= deadline {
            return Ok(different.into_iter().map(|(index, _)| index).collect());
        }
        if now >= start + schedule.masked_timeout {
            masked.clear();
        }
        let max_delay = if masked.is_empty() { MAX_DELAY } else { MAX_MASKED_DELAY };
        pending = different;
        pending.append(&mut masked);
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        tokio::time::sleep(delay.min(max_delay).min(deadline.saturating_duration_since(now))).await;
        delay = (delay * 2).min(MAX_DELAY);
    }
}

#[cfg(test)]
mod tests;
