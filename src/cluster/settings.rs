//! How long a connection waits, and what it reports while it works.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use crate::render::text_util::escape_control;

/// After this long without an answer the user is told what is waited for.
pub(super) const DELAY_NOTICE: Duration = Duration::from_secs(1);

/// What every connection of a run is made with.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionSettings {
    pub(crate) timeouts: Timeouts,
    pub(crate) log: RequestLog,
}

/// The log is where a run reports to, and the same for all of its connections.
impl PartialEq for ConnectionSettings {
    fn eq(&self, other: &Self) -> bool {
        self.timeouts == other.timeouts
    }
}

impl Eq for ConnectionSettings {}

/// Longest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// To open a connection, TLS included.
    pub(crate) connect: Duration,
    /// For one try of a request with its whole answer.
    pub(crate) request: Duration,
    /// For a credential plugin that cannot ask anything.
    pub(crate) plugin: Duration,
    /// For one that has the terminal, where a person may have to log in.
    pub(crate) interactive_plugin: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            // The API server itself gives up after a minute (`--request-timeout` of kube-apiserver).
            request: Duration::from_mins(1),
            plugin: Duration::from_mins(1),
            interactive_plugin: Duration::from_mins(5),
        }
    }
}

impl Timeouts {
    /// The same for everything, as `--timeout` sets it.
    pub(crate) fn uniform(timeout: Duration) -> Self {
        Self { connect: timeout, request: timeout, plugin: timeout, interactive_plugin: timeout }
    }
}

/// Takes a line without its end.
type WriteLine = dyn Fn(&str) + Send + Sync;

/// Where requests are reported: each of them with `--verbose`, and what a slow one waits for.
#[derive(Clone, Default)]
pub(crate) struct RequestLog {
    write: Option<Arc<WriteLine>>,
    requests: bool,
    delays: bool,
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog")
            .field("requests", &self.requests)
            .field("delays", &self.delays)
            .finish_non_exhaustive()
    }
}

impl RequestLog {
    /// Writes lines, given without their line end, and as yet reports nothing.
    pub(crate) fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { write: Some(Arc::new(write)), requests: false, delays: false }
    }

    /// Whether each request is reported.
    pub(crate) fn with_requests(self, requests: bool) -> Self {
        Self { requests, ..self }
    }

    /// Whether it is reported what a slow request waits for.
    pub(crate) fn with_delays(self, delays: bool) -> Self {
        Self { delays, ..self }
    }

    /// Reports what ended and how: `GET https://… 200 in 12ms`.
    pub(super) fn ended(&self, what: &str, end: &str, took: Duration) {
        if self.requests
            && let Some(write) = &self.write
        {
            // Durations are for people: whole milliseconds.
            let took = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            write(&escape_control(&format!("{what} {end} in {}", duration_text(took))));
        }
    }

    /// Reports what is waited for.
    pub(super) fn delayed(&self, what: &str) {
        if self.delays
            && let Some(write) = &self.write
        {
            write(&escape_control(&format!("Waiting for {what} ...")));
        }
    }
}

/// `30s`, `1m30s`, in the form that `--timeout` takes.
pub(super) fn duration_text(duration: Duration) -> String {
    if duration.is_zero() {
        return "0ms".to_owned();
    }
    match SignedDuration::try_from(duration) {
        Ok(duration) => SpanPrinter::new().spacing(Spacing::None).duration_to_string(&duration),
        Err(_) => format!("{}s", duration.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_timeout_takes_them() {
        assert_eq!(duration_text(Duration::from_secs(30)), "30s");
        assert_eq!(duration_text(Duration::from_secs(90)), "1m30s");
        assert_eq!(duration_text(Duration::from_millis(1250)), "1s250ms");
        assert_eq!(duration_text(Duration::ZERO), "0ms");
    }
}
