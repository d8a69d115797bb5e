//! Asks until the answers are as they must be, with growing pauses and an end.
//!
//! A yes can hide what it is asked for: of several bindings that allow something the API server names the first that it
//! comes upon. One that comes by what is about to be taken away says nothing of what shall stay, so it is asked again;
//! among ClusterRoleBindings, and among RoleBindings, chance decides anew each time which one is named. A
//! ClusterRoleBinding hides a RoleBinding for good: then the yes must do, once every API server has had time to act.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::MAX_CONCURRENT_WRITES;
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::{AccessProbe, Step};

/// How long an answer is waited for, and how long before the second look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetrySchedule {
    pub(crate) timeout: Duration,
    pub(crate) first_delay: Duration,
    /// How long a yes that comes by what is taken away is asked for again.
    pub(crate) masked_timeout: Duration,
}

impl RetrySchedule {
    pub(crate) fn with_max_timeout(self, total: Duration) -> Self {
        Self { timeout: self.timeout.min(total), ..self }
    }
}

/// Informers follow a write within milliseconds, those of several API servers behind one endpoint within about a second:
/// half as much again is for what cannot be seen, ten seconds are for a cluster in trouble.
pub(crate) const PROBE_SCHEDULE: RetrySchedule = RetrySchedule {
    timeout: Duration::from_secs(10),
    first_delay: Duration::from_millis(20),
    masked_timeout: Duration::from_millis(1500),
};
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Between two asks that chance decides: some thirty of them before the yes must do.
const MAX_MASKED_DELAY: Duration = Duration::from_millis(50);

/// A question and how it must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedAnswer<'a> {
    pub(crate) probe: &'a AccessProbe,
    pub(crate) allowed: bool,
    /// A yes does not count that comes by what these take away.
    pub(crate) next_steps: &'a [&'a Step],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeResult {
    AsExpected,
    /// A yes, by what is about to be taken away.
    Masked,
    Different,
}

impl ExpectedAnswer<'_> {
    async fn probe_once<C: WriteCluster>(&self, cluster: &C) -> Result<ProbeResult, ClusterError> {
        let ruling = cluster.review_access(self.probe).await?;
        let goes = |step: &&Step| ruling.allowed_by.as_ref().is_some_and(|by| step.revokes(&self.probe.request, by));
        Ok(match ruling.allowed == self.allowed {
            false => ProbeResult::Different,
            true if self.next_steps.iter().any(goes) => ProbeResult::Masked,
            true => ProbeResult::AsExpected,
        })
    }
}

/// Places in the list of what is not answered as wanted, once all is or patience ends.
pub(crate) async fn wait_for_answers<C: WriteCluster>(
    cluster: &C,
    wanted: &[ExpectedAnswer<'_>],
    patience: RetrySchedule,
) -> Result<Vec<usize>, ClusterError> {
    let begin = Instant::now();
    let end = begin + patience.timeout;
    let mut pause = patience.first_delay;
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    loop {
        let asked = open.iter().filter_map(|place| Some((*place, wanted.get(*place)?)));
        let mut answers = stream::iter(asked)
            .map(|(place, wanted)| async move { Ok::<_, ClusterError>((place, wanted.probe_once(cluster).await?)) })
            .buffered(MAX_CONCURRENT_WRITES);
        let (mut unseen, mut hidden) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            match answer? {
                (place, ProbeResult::Different) => unseen.push(place),
                (place, ProbeResult::Masked) => hidden.push(place),
                (_, ProbeResult::AsExpected) => {}
            }
        }
        drop(answers);
        let now = Instant::now();
        if now >= end {
            return Ok(unseen);
        }
        if now >= begin + patience.masked_timeout {
            hidden.clear();
        }
        let longest = if hidden.is_empty() { MAX_DELAY } else { MAX_MASKED_DELAY };
        open = unseen;
        open.append(&mut hidden);
        if open.is_empty() {
            return Ok(open);
        }
        tokio::time::sleep(pause.min(longest).min(end.saturating_duration_since(now))).await;
        pause = (pause * 2).min(MAX_DELAY);
    }
}

#[cfg(test)]
mod tests;
