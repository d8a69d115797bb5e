//! Asks until the answers are as they must be, with growing pauses and an end.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::PARALLEL;
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::Await;

/// How long an answer is waited for, and how long before the second look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) total: Duration,
    pub(crate) first: Duration,
}

impl Patience {
    pub(crate) fn at_most(self, total: Duration) -> Self {
        Self { total: self.total.min(total), ..self }
    }
}

/// Informers follow a write within milliseconds; ten seconds are for a cluster in trouble.
pub(crate) const PATIENCE: Patience = Patience { total: Duration::from_secs(10), first: Duration::from_millis(20) };
const LONGEST: Duration = Duration::from_secs(1);

/// Places in the list of what is not answered as wanted, once all is or patience ends.
pub(crate) async fn unmet<C: WriteCluster>(
    cluster: &C,
    wanted: &[(&Await, bool)],
    patience: Patience,
) -> Result<Vec<usize>, ClusterError> {
    let end = Instant::now() + patience.total;
    let mut pause = patience.first;
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    loop {
        let asked = open.iter().filter_map(|place| Some((*place, wanted.get(*place)?)));
        let mut answers = stream::iter(asked)
            .map(|(place, (asked, allowed))| async move {
                let answer = cluster.review(asked).await?;
                Ok::<_, ClusterError>((answer != *allowed).then_some(place))
            })
            .buffered(PARALLEL);
        let mut still = Vec::new();
        while let Some(answer) = answers.next().await {
            still.extend(answer?);
        }
        drop(answers);
        open = still;
        if open.is_empty() || Instant::now() >= end {
            return Ok(open);
        }
        tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LONGEST);
    }
}
