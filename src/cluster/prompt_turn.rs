//! The turn of a credential plugin that can use the terminal. Clusters are read at the same time, and two plugins that
//! prompt at the same time would read each other's answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as TurnMutex, MutexGuard as TurnGuard};

/// Clones share the turn. The time that a cluster waits for it does not count for its limit: the plugin of another
/// cluster can wait for a person.
#[derive(Debug, Clone, Default)]
pub(super) struct PromptTurn {
    turn: Arc<TurnMutex<()>>,
    waited: Arc<Mutex<WaitedTime>>,
}

#[derive(Debug, Default)]
struct WaitedTime {
    ended: Duration,
    waiting_since: Option<Instant>,
}

impl PromptTurn {
    /// Returns a turn for another cluster, which waits for the same terminal.
    pub(super) fn for_cluster(&self) -> Self {
        Self { turn: self.turn.clone(), waited: Arc::default() }
    }

    /// Waits until no other plugin uses the terminal.
    pub(super) async fn take(&self) -> TurnGuard<'_, ()> {
        let _waiting = Waiting::start(&self.waited);
        self.turn.lock().await
    }

    /// Returns how long this cluster has waited for its turns.
    pub(super) fn waited(&self) -> Duration {
        let waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        waited.ended + waited.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Adds the time until it is dropped.
struct Waiting<'a>(&'a Mutex<WaitedTime>);

impl<'a> Waiting<'a> {
    fn start(waited: &'a Mutex<WaitedTime>) -> Self {
        waited.lock().unwrap_or_else(PoisonError::into_inner).waiting_since = Some(Instant::now());
        Self(waited)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = waited.waiting_since.take() {
            waited.ended += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_follow_each_other_and_the_wait_is_counted() {
        let first = PromptTurn::default();
        let second = first.for_cluster();
        let turn = first.take().await;
        assert!(tokio::time::timeout(Duration::from_millis(50), second.take()).await.is_err());
        assert!(second.waited() >= Duration::from_millis(50));
        assert!(first.waited() < second.waited());
        drop(turn);
        let before = second.waited();
        let _turn = second.take().await;
        assert!(second.waited() >= before);
    }
}
