//! Waits between two steps of a plan, for tokens that an API server has cached, and until the API servers know of a written
//! access entry.
//!
//! An API server keeps the username and the groups of a token for some time after aws-auth has changed: a webhook answer
//! for `--authentication-token-webhook-cache-ttl`, 2 minutes by default, and a successful authentication for 10 seconds
//! more (kubernetes v1.36.3 `pkg/kubeapiserver/authenticator/config.go`). RBAC is evaluated at each request. A step that
//! changes what the old groups grant must therefore wait until no token has them any more.
//!
//! EKS tells the API servers of access entries with a delay of seconds (Amazon EKS User Guide, "Create access entries"), so a
//! step that takes something away waits after a step that has given it through an access entry.

use std::fmt;
use std::time::Duration;

/// A wait before a step. No write is made meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenWait {
    /// The stage of the wait, in which there are no steps.
    pub(crate) stage: usize,
    /// The index of the first step after the wait.
    pub(crate) before_step: usize,
    pub(crate) duration: Duration,
    /// The principals whose cached tokens would have too much or too little access after that step, or whose access entry was
    /// written before it.
    pub(crate) subjects: Vec<String>,
    /// Whether the wait is for access entries and not for cached tokens.
    pub(crate) is_for_access_entries: bool,
}

/// Formatted as `wait 2m10s for cached tokens` or `wait 2m10s for access entries to take effect`.
impl fmt::Display for TokenWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_for_access_entries { "access entries to take effect" } else { "cached tokens" };
        write!(f, "wait {} for {what}", format_duration(self.duration))
    }
}

/// Formats whole seconds as `2m10s`, `2m` or `45s`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    match (minutes, seconds) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_in_minutes_and_seconds() {
        let text = [0, 45, 60, 120, 130, 3600].map(|seconds| format_duration(Duration::from_secs(seconds)));
        assert_eq!(text, ["0s", "45s", "1m", "2m", "2m10s", "60m"]);
    }
}
