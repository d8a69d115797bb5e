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

use super::PARALLEL;
use crate::cluster::{ClusterError, WriteCluster};
use crate::plan::{Await, Step};

/// How long an answer is waited for, and how long before the second look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) total: Duration,
    pub(crate) first: Duration,
    /// How long a yes that comes by what is taken away is asked for again.
    pub(crate) hidden: Duration,
}

impl Patience {
    pub(crate) fn at_most(self, total: Duration) -> Self {
        Self { total: self.total.min(total), ..self }
    }
}

/// Informers follow a write within milliseconds, those of several API servers behind one endpoint within about a second:
/// half as much again is for what cannot be seen, ten seconds are for a cluster in trouble.
pub(crate) const PATIENCE: Patience =
    Patience { total: Duration::from_secs(10), first: Duration::from_millis(20), hidden: Duration::from_millis(1500) };
const LONGEST: Duration = Duration::from_secs(1);
/// Between two asks that chance decides: some thirty of them before the yes must do.
const LONGEST_BY_CHANCE: Duration = Duration::from_millis(50);

/// A question and how it must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) asked: &'a Await,
    pub(crate) allowed: bool,
    /// A yes does not count that comes by what these take away.
    pub(crate) before: &'a [&'a Step],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    AsWanted,
    /// A yes, by what is about to be taken away.
    Hidden,
    Not,
}

impl Wanted<'_> {
    async fn look<C: WriteCluster>(&self, cluster: &C) -> Result<Seen, ClusterError> {
        let ruling = cluster.review(self.asked).await?;
        let goes = |step: &&Step| ruling.by.as_ref().is_some_and(|by| step.takes(&self.asked.question, by));
        Ok(match ruling.allowed == self.allowed {
            false => Seen::Not,
            true if self.before.iter().any(goes) => Seen::Hidden,
            true => Seen::AsWanted,
        })
    }
}

/// Places in the list of what is not answered as wanted, once all is or patience ends.
pub(crate) async fn unmet<C: WriteCluster>(
    cluster: &C,
    wanted: &[Wanted<'_>],
    patience: Patience,
) -> Result<Vec<usize>, ClusterError> {
    let begin = Instant::now();
    let end = begin + patience.total;
    let mut pause = patience.first;
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    loop {
        let asked = open.iter().filter_map(|place| Some((*place, wanted.get(*place)?)));
        let mut answers = stream::iter(asked)
            .map(|(place, wanted)| async move { Ok::<_, ClusterError>((place, wanted.look(cluster).await?)) })
            .buffered(PARALLEL);
        let (mut unseen, mut hidden) = (Vec::new(), Vec::new());
        while let Some(answer) = answers.next().await {
            match answer? {
                (place, Seen::Not) => unseen.push(place),
                (place, Seen::Hidden) => hidden.push(place),
                (_, Seen::AsWanted) => {}
            }
        }
        drop(answers);
        let now = Instant::now();
        if now >= end {
            return Ok(unseen);
        }
        if now >= begin + patience.hidden {
            hidden.clear();
        }
        let longest = if hidden.is_empty() { LONGEST } else { LONGEST_BY_CHANCE };
        open = unseen;
        open.append(&mut hidden);
        if open.is_empty() {
            return Ok(open);
        }
        tokio::time::sleep(pause.min(longest).min(end.saturating_duration_since(now))).await;
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests;
