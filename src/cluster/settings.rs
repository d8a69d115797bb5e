//! The limits of connections in time and size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

use tokio::sync::Semaphore;

use super::ClusterError;
use super::connection_log::ConnectionLog;
use super::interrupt::Interrupt;
use super::prompt_turn::PromptTurn;
use crate::aws::CredentialPool;
use crate::files::InputFiles;

/// The shortest time after which a wait for a turn at the terminal is looked at again.
const TURN_CHECK: Duration = Duration::from_millis(50);
/// A request is repeated after a fault. With its repetitions it takes at most this many times the limit of one attempt.
const MAX_ATTEMPT_TIMES: u32 = 3;

/// The settings of every connection of a command.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    pub(crate) timeouts: Timeouts,
    /// The maximum number of bytes of one response.
    pub(crate) max_response: usize,
    pub(crate) log: ConnectionLog,
    pub(crate) interrupt: Interrupt,
    /// The files that the command has read: snapshots and kubeconfig files.
    pub(crate) inputs: InputFiles,
    /// The AWS credentials of the command.
    pub(crate) credentials: CredentialPool,
    /// Held by the credential plugin that can use the terminal.
    pub(super) prompt_turn: PromptTurn,
    /// Held by the request that receives a long response. Each cluster has its own.
    pub(super) long_response: Arc<Semaphore>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self::new(Timeouts::default(), DEFAULT_MAX_RESPONSE, Interrupt::default(), InputFiles::default())
    }
}

impl ConnectionSettings {
    pub(crate) fn new(timeouts: Timeouts, max_response: usize, interrupt: Interrupt, inputs: InputFiles) -> Self {
        Self {
            timeouts,
            max_response,
            log: ConnectionLog::default(),
            interrupt,
            inputs,
            credentials: CredentialPool::default(),
            prompt_turn: PromptTurn::default(),
            long_response: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns the settings of the connections to one cluster.
    pub(crate) fn for_cluster(&self, log: ConnectionLog) -> Self {
        let prompt_turn = self.prompt_turn.for_cluster();
        // A cluster that stops within a long response must not keep others waiting.
        Self { log, prompt_turn, long_response: Arc::new(Semaphore::new(1)), ..self.clone() }
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
        let mut reading = Box::pin(reading);
        let limit = self.timeouts.observation;
        let what = format!("reading {cluster}");
        async move {
            let started = Instant::now();
            loop {
                let left = (limit + self.prompt_turn.waited()).checked_sub(started.elapsed());
                let Some(left) = left else {
                    return Err(ClusterError::TimedOut {
                        what,
                        after: limit,
                        sent: false,
                        limit: TimeLimit::Observation,
                    });
                };
                // The limit grows while the cluster waits for its turn at the terminal.
                if let Ok(result) = tokio::time::timeout(left.max(TURN_CHECK), reading.as_mut()).await {
                    return result;
                }
            }
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
    /// One connection or request to an EKS cluster that was selected by its name.
    EksRequest {
        /// Whether its address can be reached only from its VPC.
        is_private: bool,
    },
    /// One run of a credential plugin.
    Plugin,
    /// A call to AWS, or finding AWS credentials.
    AwsCall,
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
