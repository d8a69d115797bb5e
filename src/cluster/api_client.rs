//! One request to an API server and its answer, with what may be tried again tried again.
//!
//! Errors of the HTTP client become ours here and nowhere else. A token, or what a credentials plugin printed, is in
//! no error.

#![expect(clippy::disallowed_types, reason = "this room is the one that speaks to the API server")]

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::lock::Mutex;
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt as _;
use kube::client::{AuthError, Body};
use kube::{Client, Config};
use prost::Message as _;
use prost::bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ClusterError;
use super::exec_plugin::resolve_credentials;
use super::kubeconfig::{describe_io_error, kubeconfig_error};
use super::protobuf;
use super::retry::{MAX_CONNECT_TRIES, MAX_TRIES, is_outcome_unknown, is_retryable, retry_delay};

use super::settings::{ConnectionSettings, DELAY_NOTICE, Timeouts};

/// So much longer a try may take than its connection, so that a connection that times out is named as the cause.
const CONNECT_SLACK: Duration = Duration::from_millis(250);
const INVALID_TOKEN: &str = "the token of the user has characters that no token has";
/// The number of the first credentials.
const FIRST_GENERATION: usize = 1;
pub(super) const CONTENT_TYPE_JSON: &str = "application/json";
const CONTENT_TYPE_MERGE_PATCH: &str = "application/merge-patch+json";

/// A connection to one API server.
pub(crate) struct ApiClient {
    /// With the plugin in it, should there be one.
    config: Config,
    current: Mutex<CurrentClient>,
    server: String,
    settings: ConnectionSettings,
    /// The user was told that the API server is waited for.
    delay_was_reported: AtomicBool,
}

/// A client and its place among those of this connection: each has newer credentials than the one before.
#[derive(Clone)]
struct CurrentClient {
    client: Client,
    generation: usize,
    /// Some request has been let in with it.
    was_accepted: Arc<AtomicBool>,
}

/// A request, repeatable.
pub(super) struct ApiRequest<'a> {
    pub(super) method: &'static str,
    /// Path and query, encoded.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// Whether another client's work could be taken for this one's if the request were sent twice.
    pub(super) operation: String,
}

/// An answer that is not a failure of the connection.
pub(super) struct ApiResponse {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// An earlier try of the same request may have been carried out.
    pub(super) may_have_been_applied: bool,
}

/// What the API server says about a failure.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct ApiStatus {
    pub(super) message: String,
    pub(super) reason: String,
}

/// Why a try brought no answer.
enum SendError {
    /// Nobody listened: the request was not sent.
    NotConnected(String),
    /// No connection in time, or no whole answer.
    TimedOut { connected: bool, after: Duration },
    /// The request may have been sent.
    Interrupted(String),
    /// Trying again would not help.
    Fatal(ClusterError),
}

impl ApiResponse {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The failure in the server's words, on one line; a body that is no Status, as of 429, is its own words.
    pub(super) fn parse_status(&self) -> ApiStatus {
        let binary = protobuf::decode_envelope(&self.body).and_then(Result::ok);
        let binary = binary.and_then(|raw| protobuf::ProtoStatus::decode(raw).ok());
        let said = match binary {
            Some(protobuf::ProtoStatus { message, reason }) => ApiStatus { message, reason },
            None => serde_json::from_slice(&self.body).unwrap_or_else(|_| ApiStatus {
                message: String::from_utf8_lossy(&self.body).into_owned(),
                reason: String::new(),
            }),
        };
        let words: Vec<&str> = said.message.split_whitespace().collect();
        ApiStatus { message: words.join(" "), ..said }
    }

    pub(super) fn parse_json<T: DeserializeOwned>(&self, what: &str) -> Result<T, ClusterError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClusterError::InvalidResponse { what: what.to_owned(), why: error.to_string() })
    }
}

impl ApiClient {
    /// Prepares a connection and takes credentials; nothing is sent yet.
    pub(crate) async fn new(mut config: Config, settings: ConnectionSettings) -> Result<Self, ClusterError> {
        config.default_retry = false;
        config.connect_timeout = Some(settings.timeouts.connect);
        // A whole try has its limit here, which may be longer than the client's own for a part of it.
        config.read_timeout = None;
        config.write_timeout = None;
        let server = format!(
            "{}://{}",
            config.cluster_url.scheme_str().unwrap_or("https"),
            // Without a user and password, should somebody have put them there.
            config.cluster_url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or(""))
        );
        let client = build_client(&config, &server, &settings).await?;
        let current = Mutex::new(CurrentClient { client, generation: FIRST_GENERATION, was_accepted: Arc::default() });
        Ok(Self { config, current, server, settings, delay_was_reported: AtomicBool::new(false) })
    }

    /// Another connection to the same server, with credentials of this moment.
    pub(super) async fn reconnect(&self) -> Result<Self, ClusterError> {
        Self::new(self.config.clone(), self.settings.clone()).await
    }

    /// Whether a plugin makes the credentials, and makes others each time.
    pub(super) fn has_exec_plugin(&self) -> bool {
        self.config.auth_info.exec.is_some()
    }

    /// New credentials: a token lives for a quarter of an hour, an apply may live longer. Of the requests that an old
    /// token has failed the first renews it, and the others wait for that.
    async fn renew_credentials(&self, failed: usize) -> Result<(), ClusterError> {
        let mut current = self.current.lock().await;
        if current.generation == failed {
            let client = build_client(&self.config, &self.server, &self.settings).await?;
            *current = CurrentClient { client, generation: failed + 1, was_accepted: Arc::default() };
        }
        Ok(())
    }

    /// Sends until an answer comes that is not transient.
    pub(super) async fn send(&self, ask: &ApiRequest<'_>) -> Result<ApiResponse, ClusterError> {
        self.send_accepting(ask, CONTENT_TYPE_JSON).await
    }

    /// As [`Self::send`], with the forms of answer that are read.
    pub(super) async fn send_accepting(
        &self,
        ask: &ApiRequest<'_>,
        accept: &'static str,
    ) -> Result<ApiResponse, ClusterError> {
        let mut after_uncertainty = false;
        let mut renewed = false;
        let mut timed_out = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = self.current.lock().await.clone();
            let end = self.try_reported(&current.client, ask, accept).await;
            if end.as_ref().is_ok_and(|(status, _, _)| *status != 401) {
                current.was_accepted.store(true, Ordering::Relaxed);
            }
            // New credentials that nobody was ever let in with are not made anew.
            let renewable = current.generation == FIRST_GENERATION || current.was_accepted.load(Ordering::Relaxed);
            match end {
                Ok((401, _, _)) if !renewed && renewable => {
                    renewed = true;
                    self.renew_credentials(current.generation).await?;
                }
                Ok((401, _, bytes)) => {
                    let answer = ApiResponse { status: 401, body: bytes, may_have_been_applied: after_uncertainty };
                    let why = answer.parse_status().message;
                    return Err(ClusterError::Unauthorized { server: self.server.clone(), why });
                }
                Ok((status, retry_after, _)) if is_retryable(status) && tries < MAX_TRIES => {
                    after_uncertainty |= is_outcome_unknown(status);
                    tokio::time::sleep(retry_delay(tries, retry_after.as_deref())).await;
                }
                Ok((status, _, bytes)) => {
                    after_uncertainty |= is_outcome_unknown(status);
                    return Ok(ApiResponse { status, body: bytes, may_have_been_applied: after_uncertainty });
                }
                Err(SendError::NotConnected(_)) if tries < MAX_CONNECT_TRIES => {
                    tokio::time::sleep(retry_delay(tries, None)).await;
                }
                Err(SendError::Interrupted(_)) if tries < MAX_TRIES => {
                    after_uncertainty = true;
                    tokio::time::sleep(retry_delay(tries, None)).await;
                }
                // Of a write a second try learns whether the first was made. A read that timed out once is not worth
                // the same wait again.
                Err(SendError::TimedOut { connected: true, .. }) if ask.method != "GET" && !timed_out => {
                    after_uncertainty = true;
                    timed_out = true;
                }
                Err(no_answer) => return Err(no_answer.into_cluster_error(&self.server, &ask.operation)),
            }
        }
    }

    /// One try, reported as the user wants it.
    async fn try_reported(
        &self,
        client: &Client,
        ask: &ApiRequest<'_>,
        accept: &'static str,
    ) -> Result<(u16, Option<String>, Bytes), SendError> {
        let started = Instant::now();
        let mut exchange = pin!(self.send_once(client, ask, accept));
        let end = match tokio::time::timeout(DELAY_NOTICE, exchange.as_mut()).await {
            Ok(end) => end,
            Err(_) => {
                if !self.delay_was_reported.swap(true, Ordering::Relaxed) {
                    self.settings.log.delayed(&format!("the API server at {} to {}", self.server, ask.operation));
                }
                exchange.await
            }
        };
        let words = match &end {
            Ok((status, _, _)) => status.to_string(),
            Err(SendError::TimedOut { .. }) => "timed out".to_owned(),
            Err(SendError::NotConnected(_)) => "could not connect".to_owned(),
            Err(SendError::Interrupted(_) | SendError::Fatal(_)) => "failed".to_owned(),
        };
        let url = format!("{}{}{}", self.server, self.config.cluster_url.path().trim_end_matches('/'), ask.path);
        self.settings.log.ended(&format!("{} {url}", ask.method), &words, started.elapsed());
        end
    }

    async fn send_once(
        &self,
        client: &Client,
        ask: &ApiRequest<'_>,
        accept: &'static str,
    ) -> Result<(u16, Option<String>, Bytes), SendError> {
        let mut request = Request::builder().method(ask.method).uri(ask.path).header(header::ACCEPT, accept);
        if ask.body.is_some() {
            let kind = if ask.method == "PATCH" { CONTENT_TYPE_MERGE_PATCH } else { CONTENT_TYPE_JSON };
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let body = ask.body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Body::from(body.into_bytes())).map_err(|error| {
            SendError::Fatal(ClusterError::InvalidResponse { what: ask.operation.clone(), why: error.to_string() })
        })?;
        let Timeouts { connect, request: limit, .. } = self.settings.timeouts;
        let started = Instant::now();
        let exchange = async {
            let response = client.send(request).await.map_err(|error| {
                if connection_timed_out(&error) && started.elapsed() >= connect {
                    return SendError::TimedOut { connected: false, after: connect };
                }
                classify_error(error, &self.server)
            })?;
            let status = response.status().as_u16();
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            // Piece by piece into one buffer: a long list is not held twice.
            let mut body = pin!(response.into_body());
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| SendError::Interrupted(error.to_string()))?;
                bytes.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
            }
            Ok((status, retry_after, Bytes::from(bytes)))
        };
        tokio::time::timeout(limit.max(connect + CONNECT_SLACK), exchange)
            .await
            .unwrap_or(Err(SendError::TimedOut { connected: true, after: limit }))
    }
}

async fn build_client(config: &Config, server: &str, settings: &ConnectionSettings) -> Result<Client, ClusterError> {
    let config = resolve_credentials(config.clone(), settings).await?;
    // The client takes a token's bytes unseen, and would go down with the program.
    let auth = serde_json::to_value(&config.auth_info).unwrap_or_default();
    if auth.get("token").and_then(Value::as_str).is_some_and(|token| HeaderValue::from_str(token).is_err()) {
        return Err(ClusterError::InvalidKubeconfig { why: INVALID_TOKEN.to_owned() });
    }
    Client::try_from(config).map_err(|error| classify_error(error, server).into_cluster_error(server, "connect"))
}

impl SendError {
    /// `what`: what the request was to do, such as `list roles`.
    fn into_cluster_error(self, server: &str, what: &str) -> ClusterError {
        match self {
            Self::TimedOut { connected, after } => {
                let what = if connected {
                    format!("the request to {what} at {server}")
                } else {
                    format!("connecting to the API server at {server}")
                };
                ClusterError::TimedOut { what, after, sent: connected, by_plugin: false }
            }
            Self::NotConnected(why) | Self::Interrupted(why) => {
                ClusterError::Unreachable { server: server.to_owned(), why }
            }
            Self::Fatal(error) => error,
        }
    }
}

fn classify_error(error: kube::Error, server: &str) -> SendError {
    match error {
        kube::Error::InferKubeconfig(error) => SendError::Fatal(kubeconfig_error(&error)),
        kube::Error::Auth(error) => SendError::Fatal(credentials_error(&error)),
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            let why = "its proxy speaks neither http nor socks5".to_owned();
            SendError::Fatal(ClusterError::Unreachable { server: server.to_owned(), why })
        }
        other => {
            let words = error_chain(&other);
            if is_connect_error(&other) { SendError::NotConnected(words) } else { SendError::Interrupted(words) }
        }
    }
}

/// Whether the client gave up on a connection.
fn connection_timed_out(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut timed_out = false;
    while let Some(cause) = next {
        timed_out |= cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::TimedOut);
        next = cause.source();
    }
    timed_out && is_connect_error(error)
}

/// Whether the connection was never made: no such host, nobody listens, no trust.
fn is_connect_error(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = cause.source();
    }
    false
}

fn credentials_error(error: &AuthError) -> ClusterError {
    match error {
        AuthError::ParseTokenKey(_) | AuthError::InvalidBearerToken(_) => {
            ClusterError::InvalidKubeconfig { why: INVALID_TOKEN.to_owned() }
        }
        AuthError::ReadTokenFile(error, path) => {
            ClusterError::InvalidKubeconfig { why: describe_io_error(error, path) }
        }
        other => ClusterError::CredentialPlugin { why: other.to_string() },
    }
}

/// The words of an error and of its causes, each once, without the names of the client's own types.
fn error_chain(error: &kube::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        let words = cause.to_string();
        // `client error (Connect)`: that it is one the message says already.
        let is_wrapper = cause.is::<hyper_util::client::legacy::Error>() && cause.source().is_some();
        if !is_wrapper && !said.iter().any(|known| known.contains(&words)) {
            said.push(words);
        }
        next = cause.source();
    }
    if said.is_empty() {
        said.push(error.to_string());
    }
    said.join(": ")
}
