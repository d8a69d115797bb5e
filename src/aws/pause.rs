//! The delays between the repetitions of a call of AWS.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const MAX_DELAY: Duration = Duration::from_secs(5);

/// Delays that double up to a limit. They differ between calls, so that calls that were throttled together are not all
/// repeated together.
pub(super) struct Pause {
    tries: u32,
    /// Percent.
    spread: u32,
}

static NEXT_SPREAD: AtomicU32 = AtomicU32::new(0);

impl Pause {
    pub(super) const FIRST: Duration = Duration::from_millis(200);

    pub(super) fn new() -> Self {
        Self { tries: 0, spread: NEXT_SPREAD.fetch_add(37, Ordering::Relaxed) % 100 }
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.tries)).min(MAX_DELAY);
        self.tries = self.tries.saturating_add(1);
        self.spread = (self.spread * 7 + 13) % 100;
        delay / 2 + delay.saturating_mul(self.spread) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_differ() {
        let delays = || {
            let mut pause = Pause::new();
            std::iter::repeat_with(move || pause.next_delay()).take(40).collect::<Vec<_>>()
        };
        let (first, second) = (delays(), delays());
        assert!(first.iter().all(|delay| *delay >= Pause::FIRST / 2 && *delay <= MAX_DELAY * 3 / 2));
        assert!(first[10..].iter().all(|delay| *delay >= MAX_DELAY / 2));
        assert_ne!(first, second);
    }
}
