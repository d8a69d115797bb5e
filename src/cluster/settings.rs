//! The timeouts of connections, and the report of requests on stderr.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use crate::files::InputFiles;
use crate::render::text_util::escape_control;

/// A request that takes longer than this is reported to the user.
pub(super) const DELAY_NOTICE: Duration = Duration::from_secs(1);

/// The settings of every connection of a command.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionSettings {
    pub(crate) timeouts: Timeouts,
    pub(crate) log: RequestLog,
    /// The files that the command has read: snapshots and kubeconfig files.
    pub(crate) inputs: InputFiles,
}

/// The log and the inputs are left out: they are the same for all connections of a command, and closures cannot be compared.
impl PartialEq for ConnectionSettings {
    fn eq(&self, other: &Self) -> bool {
        self.timeouts == other.timeouts
    }
}

impl Eq for ConnectionSettings {}

/// The maximum wait for each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Opening a connection, including TLS.
    pub(crate) connect: Duration,
    /// One attempt of a request, including the whole response.
    pub(crate) request: Duration,
    /// A credential plugin that cannot prompt the user.
    pub(crate) plugin: Duration,
    /// A credential plugin that can use the terminal, where the user may have to log in.
    pub(crate) interactive_plugin: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            // The default of the API server (`--request-timeout` of kube-apiserver).
            request: Duration::from_mins(1),
            plugin: Duration::from_mins(1),
            interactive_plugin: Duration::from_mins(5),
        }
    }
}

impl Timeouts {
    /// Returns the same timeout for everything, as `--timeout` sets it.
    pub(crate) fn uniform(timeout: Duration) -> Self {
        Self { connect: timeout, request: timeout, plugin: timeout, interactive_plugin: timeout }
    }
}

/// Writes a line, which is given without the newline.
type WriteLine = dyn Fn(&str) + Send + Sync;

/// Reports requests: each one with `--verbose`, and slow ones while they are waited for.
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
    /// Returns a log that writes lines, given without the newline. It reports nothing until one of the options is set.
    pub(crate) fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { write: Some(Arc::new(write)), requests: false, delays: false }
    }

    /// Sets whether each request is reported.
    pub(crate) fn with_requests(self, requests: bool) -> Self {
        Self { requests, ..self }
    }

    /// Sets whether slow requests are reported.
    pub(crate) fn with_delays(self, delays: bool) -> Self {
        Self { delays, ..self }
    }

    /// Reports a finished request: `GET https://… 200 in 12ms`.
    pub(super) fn ended(&self, description: &str, result: &str, elapsed: Duration) {
        if self.requests
            && let Some(write) = &self.write
        {
            let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let elapsed = duration_text(Duration::from_millis(milliseconds));
            write(&escape_control(&format!("{description} {result} in {elapsed}")));
        }
    }

    /// Reports that a request is slow.
    pub(super) fn delayed(&self, description: &str) {
        if self.delays
            && let Some(write) = &self.write
        {
            write(&escape_control(&format!("Waiting for {description} ...")));
        }
    }
}

/// `30s` or `1m30s`, as `--timeout` accepts it.
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
    fn durations_are_printed_as_timeout_accepts_them() {
        assert_eq!(duration_text(Duration::from_secs(30)), "30s");
        assert_eq!(duration_text(Duration::from_secs(90)), "1m30s");
        assert_eq!(duration_text(Duration::from_millis(1250)), "1s250ms");
        assert_eq!(duration_text(Duration::ZERO), "0ms");
    }
}
