//! The limits of connections in time and size, and the report of requests on stderr.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use tokio::sync::Semaphore;

use super::ClusterError;
use super::interrupt::Interrupt;
use crate::files::InputFiles;
use crate::render::text_util::escape_control;

/// On a terminal, a wait that is longer than this is reported.
const TERMINAL_NOTICE: Duration = Duration::from_secs(1);
/// Without a terminal, as in CI, the first wait that is longer than this is reported.
const CI_NOTICE: Duration = Duration::from_secs(5);
/// A request is repeated after a fault. With its repetitions it takes at most this many times the limit of one attempt.
const MAX_ATTEMPT_TIMES: u32 = 3;

/// The settings of every connection of a command.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    pub(crate) timeouts: Timeouts,
    /// The maximum number of bytes of one response.
    pub(crate) max_response: usize,
    pub(crate) log: RequestLog,
    pub(crate) interrupt: Interrupt,
    /// The files that the command has read: snapshots and kubeconfig files.
    pub(crate) inputs: InputFiles,
    /// Held by the request that receives a long response.
    pub(super) long_response: Arc<Semaphore>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self::new(
            Timeouts::default(),
            DEFAULT_MAX_RESPONSE,
            RequestLog::default(),
            Interrupt::default(),
            InputFiles::default(),
        )
    }
}

impl ConnectionSettings {
    pub(crate) fn new(
        timeouts: Timeouts,
        max_response: usize,
        log: RequestLog,
        interrupt: Interrupt,
        inputs: InputFiles,
    ) -> Self {
        Self { timeouts, max_response, log, interrupt, inputs, long_response: Arc::new(Semaphore::new(1)) }
    }

    /// The maximum number of bytes of all lists of one observation: two and a half responses, which is more than a large
    /// cluster has.
    pub(super) fn max_observation_bytes(&self) -> usize {
        self.max_response.saturating_mul(5) / 2
    }

    /// Limits reading a cluster: the connection, its credentials and all of its requests.
    pub(crate) fn within_observation<T>(
        &self,
        cluster: &str,
        reading: impl Future<Output = Result<T, ClusterError>>,
    ) -> impl Future<Output = Result<T, ClusterError>> {
        let reading = Box::pin(reading);
        let limit = self.timeouts.observation;
        let what = format!("reading {cluster}");
        async move {
            tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
                Err(ClusterError::TimedOut { what, after: limit, sent: false, limit: TimeLimit::Observation })
            })
        }
    }
}

/// The log and the inputs are left out: they are the same for all connections of a command, and closures cannot be compared.
impl PartialEq for ConnectionSettings {
    fn eq(&self, other: &Self) -> bool {
        self.timeouts == other.timeouts && self.max_response == other.max_response
    }
}

impl Eq for ConnectionSettings {}

/// The default of `--max-response`.
pub(crate) const DEFAULT_MAX_RESPONSE: usize = 64 << 20;

/// The limit that a wait has reached, by which the user can find the flag that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    /// One connection, request or file.
    Request,
    /// One run of a credential plugin.
    Plugin,
    /// Reading a whole cluster.
    Observation,
}

/// The maximum wait for each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Opening a connection, including TLS, or reading a file of the kubeconfig, which can be a pipe.
    pub(crate) connect: Duration,
    /// One attempt of a request, including the whole response.
    pub(crate) request: Duration,
    /// A credential plugin that cannot prompt the user.
    pub(crate) plugin: Duration,
    /// A credential plugin that can use the terminal, where the user may have to log in.
    pub(crate) interactive_plugin: Duration,
    /// Reading a whole cluster, with the connection and the credentials.
    pub(crate) observation: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            // The default of the API server (`--request-timeout` of kube-apiserver).
            request: Duration::from_mins(1),
            plugin: Duration::from_mins(1),
            interactive_plugin: Duration::from_mins(5),
            observation: Duration::from_mins(5),
        }
    }
}

impl Timeouts {
    /// Returns the timeouts that the flags set: `request` for each connection, request and plugin, and `observation`.
    pub(crate) fn from_flags(request: Option<Duration>, observation: Option<Duration>) -> Self {
        let default = Self::default();
        Self {
            connect: request.unwrap_or(default.connect),
            request: request.unwrap_or(default.request),
            plugin: request.unwrap_or(default.plugin),
            interactive_plugin: request.unwrap_or(default.interactive_plugin),
            observation: observation.unwrap_or(default.observation),
        }
    }

    /// The maximum duration of a request with its repetitions.
    pub(super) fn request_with_retries(&self) -> Duration {
        self.request.max(self.connect).saturating_mul(MAX_ATTEMPT_TIMES)
    }

    /// The maximum duration of the confirmation that the caller still has access, with all of its requests.
    pub(crate) fn confirmation(&self) -> Duration {
        self.request.saturating_mul(2)
    }
}

/// Writes a line, which is given without the newline.
type WriteLine = dyn Fn(&str) + Send + Sync;

/// Reports requests: each one with `--verbose`, and slow ones while they are waited for.
#[derive(Clone, Default)]
pub(crate) struct RequestLog {
    write: Option<Arc<WriteLine>>,
    requests: bool,
    notices: DelayNotices,
}

/// Which waits are reported.
#[derive(Debug, Clone, Default)]
enum DelayNotices {
    #[default]
    Off,
    /// Every wait, on a terminal.
    Each,
    /// The first one. Holds whether it was reported.
    Once(Arc<AtomicBool>),
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog")
            .field("requests", &self.requests)
            .field("notices", &self.notices)
            .finish_non_exhaustive()
    }
}

impl RequestLog {
    /// Returns a log that writes lines, given without the newline. It reports nothing until one of the options is set.
    pub(crate) fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { write: Some(Arc::new(write)), requests: false, notices: DelayNotices::Off }
    }

    /// Sets whether each request is reported.
    pub(crate) fn with_requests(self, requests: bool) -> Self {
        Self { requests, ..self }
    }

    /// Reports the waits that are long: on a terminal each one, and otherwise the first.
    pub(crate) fn with_delays(self, is_terminal: bool) -> Self {
        let notices = if is_terminal { DelayNotices::Each } else { DelayNotices::Once(Arc::default()) };
        Self { notices, ..self }
    }

    /// Reports a finished request: `GET https://… 200 in 12ms`.
    pub(crate) fn ended(&self, description: &str, result: &str, elapsed: Duration) {
        if self.requests
            && let Some(write) = &self.write
        {
            let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let elapsed = duration_text(Duration::from_millis(milliseconds));
            write(&escape_control(&format!("{description} {result} in {elapsed}")));
        }
    }

    /// Waits for the future. If that takes long, reports what it waits for and the limit of the wait.
    pub(crate) fn watch<T>(
        &self,
        description: &str,
        limit: Duration,
        waiting: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        self.watch_after(Duration::ZERO, description, limit, waiting)
    }

    /// Like [`Self::watch`], for work that takes `expected` without any delay.
    pub(crate) fn watch_after<T>(
        &self,
        expected: Duration,
        description: &str,
        limit: Duration,
        waiting: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        let mut waiting = Box::pin(waiting);
        async move {
            let notice = match &self.notices {
                DelayNotices::Off => return waiting.await,
                DelayNotices::Each => TERMINAL_NOTICE,
                DelayNotices::Once(_) => CI_NOTICE,
            };
            match tokio::time::timeout(expected + notice, waiting.as_mut()).await {
                Ok(result) => result,
                Err(_) => {
                    self.report_wait(description, limit);
                    waiting.await
                }
            }
        }
    }

    fn report_wait(&self, description: &str, limit: Duration) {
        let is_new = match &self.notices {
            DelayNotices::Once(reported) => !reported.swap(true, Ordering::Relaxed),
            DelayNotices::Off | DelayNotices::Each => true,
        };
        if let Some(write) = self.write.as_ref().filter(|_| is_new) {
            let limit = duration_text(limit);
            write(&escape_control(&format!("Waiting for {description} (at most {limit}) ...")));
        }
    }
}

/// `30s` or `1m30s`, as `--timeout` accepts it.
pub(crate) fn duration_text(duration: Duration) -> String {
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
