//! Sends requests to an API server, retries transient failures and renews credentials.
//!
//! Errors of the HTTP client are converted to [`ClusterError`] only here. No error contains a token or the output of a
//! credential plugin.

#![expect(clippy::disallowed_types, reason = "the only module that uses the HTTP client")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::lock::Mutex;
use http::{Request, header};
use kube::client::{AuthError, Body};
use kube::{Client, Config};
use prost::Message as _;
use serde_json::Value;

use super::connection_log::ConnectionEvent;
use super::credentials::{CredentialSource, resolve_credentials};
use super::eks::caller_of_refused_token;
use super::files::with_file_timeout;
use super::kubeconfig::{describe_io_error, kubeconfig_error};
use super::protobuf;
use super::response_body::{ReceivedBody, ResponseSize, check_headers, read_body};
use super::retry::{MAX_CONNECT_TRIES, MAX_TRIES, is_outcome_unknown, is_retryable, retry_delay};
use super::safe_errors::{Secrets, describe_auth_error, describe_json_error, describe_tls_setup_error};
use super::settings::{ConnectionSettings, Timeouts};
use super::{ClusterError, ServerOrigin};
use crate::transport::{connection_timed_out, describe_connection_error, is_connect_error};

/// The minimum time that an attempt has in addition to its connection, so that a connection that times out is reported as
/// the cause.
const CONNECT_SLACK: Duration = Duration::from_millis(250);
/// The maximum number of characters of a message of the server. It must be a multiple of four.
const MAX_MESSAGE: usize = 2000;
/// The maximum length of the name of a kind. The longest of Kubernetes 1.36 has 36 characters.
const MAX_KIND: usize = 48;
const STATUS_KIND: &str = "Status";
/// The generation of the first credentials.
const FIRST_GENERATION: usize = 1;
pub(super) const CONTENT_TYPE_JSON: &str = "application/json";
const CONTENT_TYPE_MERGE_PATCH: &str = "application/merge-patch+json";

/// A connection to one API server.
pub(crate) struct ApiClient {
    /// With the credential plugin, if there is one.
    config: Config,
    credentials: CredentialSource,
    origin: ServerOrigin,
    current: Mutex<CurrentClient>,
    server: String,
    settings: ConnectionSettings,
}

/// A client and the generation of its credentials. Each generation has newer credentials than the one before.
#[derive(Clone)]
struct CurrentClient {
    client: Client,
    secrets: Arc<Secrets>,
    generation: usize,
    /// Whether the API server has accepted the credentials for at least one request.
    was_accepted: Arc<AtomicBool>,
    /// When the credentials have to be renewed, if that is known.
    renew_at: Option<Instant>,
}

/// Which response a request accepts.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) content_type: &'static str,
    pub(super) size: ResponseSize,
}

/// A request. It can be sent several times.
pub(super) struct ApiRequest<'a> {
    pub(super) method: &'static str,
    /// The encoded path and query.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// What the request does, such as `list roles`, for messages.
    pub(super) operation: String,
}

/// A response of the API server, which can be an error status.
pub(super) struct ApiResponse {
    pub(super) status: u16,
    pub(super) body: ReceivedBody,
    /// Whether an earlier attempt of the same request may have been executed.
    pub(super) may_have_been_applied: bool,
    /// What the body must not be quoted with.
    secrets: Arc<Secrets>,
}

/// The parts of a Kubernetes Status that describe a failure.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct ApiStatus {
    /// `Status`, or another text if the body is not a Status.
    kind: String,
    pub(super) message: String,
    pub(super) reason: String,
}

/// Why an attempt got no response.
pub(super) enum SendError {
    /// There is no connection: the request was not sent.
    NotConnected(String),
    /// The connection was not made in time, or the response was not complete in time.
    TimedOut { connected: bool, after: Duration },
    /// The connection failed. The request may have been sent.
    Interrupted(String),
    /// A retry would not help.
    Fatal(ClusterError),
}

impl ApiStatus {
    /// Returns whether the body is a Status. A load balancer sends other bodies with the same codes.
    pub(super) fn is_status(&self) -> bool {
        self.kind == STATUS_KIND
    }
}

impl ApiResponse {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the API server says that the object does not exist. A 404 of anything else, such as a proxy or a
    /// wrong address, does not mean that.
    pub(super) fn is_object_not_found(&self) -> bool {
        let status = self.parse_status();
        self.status == 404 && status.is_status() && status.reason == "NotFound"
    }

    /// Returns the failure as the server describes it, on one line. If the body is not a Status, as for code 429, the
    /// body itself is the message.
    pub(super) fn parse_status(&self) -> ApiStatus {
        let body = &self.body.bytes;
        let binary = protobuf::decode_envelope(body).and_then(Result::ok);
        let binary = binary.filter(|envelope| envelope.kind == STATUS_KIND);
        let binary = binary.and_then(|envelope| protobuf::ProtoStatus::decode(envelope.raw).ok());
        let status = match binary {
            Some(protobuf::ProtoStatus { message, reason }) => {
                ApiStatus { kind: STATUS_KIND.to_owned(), message, reason }
            }
            None => serde_json::from_slice(body).unwrap_or_else(|_| ApiStatus {
                message: String::from_utf8_lossy(body).into_owned(),
                ..ApiStatus::default()
            }),
        };
        let words: Vec<&str> = status.message.split_whitespace().collect();
        ApiStatus { message: shorten(&self.secrets.redact(&words.join(" "))), ..status }
    }

    /// Parses the object that the request asked for.
    ///
    /// # Errors
    /// If the response is not JSON, or an object of another kind.
    pub(super) fn parse_object(&self, kind: &str, operation: &str) -> Result<Value, ClusterError> {
        let value: Value = serde_json::from_slice(&self.body.bytes).map_err(|error| ClusterError::InvalidResponse {
            what: operation.to_owned(),
            why: describe_json_error(&error),
        })?;
        check_kind(value.get("kind").and_then(Value::as_str), kind, operation)?;
        Ok(value)
    }
}

/// # Errors
/// If the kind of an object is not the expected one.
pub(super) fn check_kind(found: Option<&str>, expected: &str, operation: &str) -> Result<(), ClusterError> {
    match found {
        Some(found) if found == expected => Ok(()),
        // A server that echoes the request must not make a token appear.
        Some(found) if is_kind_name(found) => {
            Err(invalid(operation, &format!("the API server sent a {found}, not a {expected}")))
        }
        Some(found) if !found.is_empty() => Err(invalid(operation, &format!("it is not a {expected}"))),
        Some(_) | None => Err(invalid(operation, &format!("it is not a {expected}: it has no `kind`"))),
    }
}

/// Returns whether a text can be the name of a kind, and is no credential: those have digits or other characters.
fn is_kind_name(text: &str) -> bool {
    text.len() <= MAX_KIND
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphabetic())
}

pub(super) fn invalid(operation: &str, why: &impl ToString) -> ClusterError {
    ClusterError::InvalidResponse { what: operation.to_owned(), why: shorten(&why.to_string()) }
}

/// Returns the beginning and the end of a long text of a server. Both matter: a message of the API server begins with the
/// object and ends with the reason.
pub(super) fn shorten(text: &str) -> String {
    let length = text.chars().count();
    if length <= MAX_MESSAGE {
        return text.to_owned();
    }
    let start: String = text.chars().take(MAX_MESSAGE * 3 / 4).collect();
    let end: String = text.chars().skip(length - MAX_MESSAGE / 4).collect();
    format!("{start} [{} characters left out] {end}", length - MAX_MESSAGE / 4 * 4)
}

impl ApiClient {
    /// Prepares a connection and gets credentials. No request is sent yet.
    pub(super) async fn new(
        mut config: Config,
        credentials: CredentialSource,
        origin: ServerOrigin,
        settings: ConnectionSettings,
    ) -> Result<Self, ClusterError> {
        config.default_retry = false;
        config.connect_timeout = Some(settings.timeouts.connect);
        // A whole attempt has its own timeout, which can be longer than the client's timeouts for its parts.
        config.read_timeout = None;
        config.write_timeout = None;
        let server = format!(
            "{}://{}",
            config.cluster_url.scheme_str().unwrap_or("https"),
            // The URL can contain a user and a password, which must not be printed.
            config.cluster_url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or(""))
        );
        let current = build_client(&config, &credentials, (&server, origin), &settings).await?;
        Ok(Self { config, credentials, origin, current: Mutex::new(current), server, settings })
    }

    /// Returns a new connection to the same server, with new credentials.
    pub(super) async fn reconnect(&self) -> Result<Self, ClusterError> {
        Self::new(self.config.clone(), self.credentials.clone(), self.origin, self.settings.clone()).await
    }

    /// Returns whether the credentials are tokens that rolecall or a credential plugin makes, so that there can be new ones.
    pub(super) fn can_renew_token(&self) -> bool {
        match self.credentials {
            CredentialSource::Eks(_) => true,
            CredentialSource::Kubeconfig => self.config.auth_info.exec.is_some(),
        }
    }

    pub(super) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Gets new credentials. An EKS token expires after 15 minutes, and an apply can take longer. Several requests can fail
    /// with the same token: the first one renews it, and the others wait.
    async fn renew_credentials(&self, failed_generation: usize) -> Result<(), ClusterError> {
        let mut current = self.current.lock().await;
        if current.generation == failed_generation {
            let origin = (self.server.as_str(), self.origin);
            let renewed = build_client(&self.config, &self.credentials, origin, &self.settings).await?;
            *current = CurrentClient { generation: failed_generation + 1, ..renewed };
        }
        Ok(())
    }

    /// Returns the client with credentials that have not ended.
    async fn current_client(&self) -> Result<CurrentClient, ClusterError> {
        let current = self.current.lock().await.clone();
        if current.renew_at.is_none_or(|time| Instant::now() < time) {
            return Ok(current);
        }
        self.renew_credentials(current.generation).await?;
        Ok(self.current.lock().await.clone())
    }

    /// Returns the error for credentials that were refused twice.
    async fn unauthorized(&self, why: String) -> Result<ClusterError, ClusterError> {
        let caller = match &self.credentials {
            CredentialSource::Eks(source) => caller_of_refused_token(source).await?,
            CredentialSource::Kubeconfig => None,
        };
        Ok(ClusterError::Unauthorized { server: self.server.clone(), why, caller })
    }

    /// Sends a request, and retries transient failures.
    pub(super) async fn send(&self, request: &ApiRequest<'_>) -> Result<ApiResponse, ClusterError> {
        self.send_accepting(request, Accepted { content_type: CONTENT_TYPE_JSON, size: ResponseSize::Object }).await
    }

    /// Like [`Self::send`], with the accepted content types and size of the response.
    pub(super) async fn send_accepting(
        &self,
        request: &ApiRequest<'_>,
        accept: Accepted,
    ) -> Result<ApiResponse, ClusterError> {
        let after = self.settings.timeouts.request_with_retries();
        let description = format!("the API server at {} to {}", self.server, request.operation);
        let sending = tokio::time::timeout(after, self.send_with_retries(request, accept));
        self.settings.log.watch(&description, after, sending).await.unwrap_or_else(|_| {
            let what = format!("the request to {} at {}, with its repetitions,", request.operation, self.server);
            Err(ClusterError::TimedOut { what, after, sent: true, limit: self.origin.request_limit() })
        })
    }

    async fn send_with_retries(&self, request: &ApiRequest<'_>, accept: Accepted) -> Result<ApiResponse, ClusterError> {
        let mut may_have_been_applied = false;
        let mut renewed = false;
        let mut timed_out = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = self.current_client().await?;
            let result = self.send_and_log(&current.client, request, accept).await;
            if result.as_ref().is_ok_and(|(status, _, _)| *status != 401) {
                current.was_accepted.store(true, Ordering::Relaxed);
            }
            // Renewed credentials that were never accepted are not renewed again.
            let is_renewable = current.generation == FIRST_GENERATION || current.was_accepted.load(Ordering::Relaxed);
            match result {
                Ok((401, _, _)) if !renewed && is_renewable => {
                    renewed = true;
                    self.credentials.prepare_renewal().await;
                    self.renew_credentials(current.generation).await?;
                }
                Ok((401, _, bytes)) => {
                    let response =
                        ApiResponse { status: 401, body: bytes, may_have_been_applied, secrets: current.secrets };
                    let why = response.parse_status().message;
                    return Err(self.unauthorized(why).await?);
                }
                Ok((status, retry_after, _)) if is_retryable(status) && tries < MAX_TRIES => {
                    may_have_been_applied |= is_outcome_unknown(status);
                    let delay = retry_delay(tries, retry_after.as_deref());
                    self.wait_to_retry(request, &format!("status {status}"), delay).await;
                }
                Ok((status, _, bytes)) => {
                    may_have_been_applied |= is_outcome_unknown(status);
                    return Ok(ApiResponse { status, body: bytes, may_have_been_applied, secrets: current.secrets });
                }
                Err(SendError::NotConnected(why)) if tries < MAX_CONNECT_TRIES => {
                    self.wait_to_retry(request, &why, retry_delay(tries, None)).await;
                }
                Err(SendError::Interrupted(why)) if tries < MAX_TRIES => {
                    may_have_been_applied = true;
                    self.wait_to_retry(request, &why, retry_delay(tries, None)).await;
                }
                // A second attempt of a write finds out whether the first one was executed. A read that timed out is not
                // repeated: it would probably time out again.
                Err(SendError::TimedOut { connected: true, .. }) if request.method != "GET" && !timed_out => {
                    may_have_been_applied = true;
                    timed_out = true;
                }
                Err(error) => {
                    return Err(error.into_cluster_error((&self.server, self.origin), &request.operation));
                }
            }
        }
    }

    async fn wait_to_retry(&self, request: &ApiRequest<'_>, reason: &str, delay: Duration) {
        let operation = request.operation.as_str();
        self.settings.log.send(&ConnectionEvent::RetryScheduled { operation, reason, delay });
        tokio::time::sleep(delay).await;
    }

    /// Makes one attempt, and reports it.
    async fn send_and_log(
        &self,
        client: &Client,
        request: &ApiRequest<'_>,
        accept: Accepted,
    ) -> Result<(u16, Option<String>, ReceivedBody), SendError> {
        let started = Instant::now();
        let result = self.send_once(client, request, accept).await;
        let outcome = match &result {
            Ok((status, _, _)) => status.to_string(),
            Err(SendError::TimedOut { .. }) => "timed out".to_owned(),
            Err(SendError::NotConnected(_)) => "could not connect".to_owned(),
            Err(SendError::Interrupted(_) | SendError::Fatal(_)) => "failed".to_owned(),
        };
        let url = format!("{}{}{}", self.server, self.config.cluster_url.path().trim_end_matches('/'), request.path);
        self.settings.log.ended(&format!("{} {url}", request.method), &outcome, started.elapsed());
        result
    }

    async fn send_once(
        &self,
        client: &Client,
        request: &ApiRequest<'_>,
        accept: Accepted,
    ) -> Result<(u16, Option<String>, ReceivedBody), SendError> {
        let ApiRequest { method, path, body, operation } = request;
        let mut builder = Request::builder().method(*method).uri(*path).header(header::ACCEPT, accept.content_type);
        if body.is_some() {
            let content_type = if *method == "PATCH" { CONTENT_TYPE_MERGE_PATCH } else { CONTENT_TYPE_JSON };
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = builder.body(Body::from(body.into_bytes())).map_err(|_| {
            let why = "the request has characters that HTTP does not allow".to_owned();
            SendError::Fatal(ClusterError::InvalidResponse { what: operation.clone(), why })
        })?;
        let Timeouts { connect, request: limit, .. } = self.settings.timeouts;
        let started = Instant::now();
        let exchange = async {
            let response = client.send(request).await.map_err(|error| {
                if connection_timed_out(&error) && started.elapsed() >= connect {
                    return SendError::TimedOut { connected: false, after: connect };
                }
                classify_error(error, (&self.server, self.origin))
            })?;
            let status = response.status().as_u16();
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            check_headers(status, response.headers(), operation).map_err(SendError::Fatal)?;
            let body = read_body(response, operation, accept.size, &self.settings).await?;
            Ok((status, retry_after, body))
        };
        tokio::time::timeout(limit.max(connect + CONNECT_SLACK), exchange)
            .await
            .unwrap_or(Err(SendError::TimedOut { connected: true, after: limit }))
    }
}

/// Returns a client of the first generation, with the credentials that it sends.
async fn build_client(
    config: &Config,
    credentials: &CredentialSource,
    (server, origin): (&str, ServerOrigin),
    settings: &ConnectionSettings,
) -> Result<CurrentClient, ClusterError> {
    let (config, renew_at) = resolve_credentials(config.clone(), credentials, settings).await?;
    let secrets = Arc::new(Secrets::from_auth_info(&config.auth_info));
    let owned_server = server.to_owned();
    // Reads the files of the client certificate.
    let client = with_file_timeout("the files of the kubeconfig user", settings, move || {
        let server = (owned_server.as_str(), origin);
        Client::try_from(config).map_err(|error| classify_error(error, server).into_cluster_error(server, "connect"))
    })
    .await?;
    Ok(CurrentClient { client, secrets, generation: FIRST_GENERATION, was_accepted: Arc::default(), renew_at })
}

impl SendError {
    /// `operation` is what the request does, such as `list roles`.
    fn into_cluster_error(self, (server, origin): (&str, ServerOrigin), operation: &str) -> ClusterError {
        match self {
            Self::TimedOut { connected, after } => {
                let what = if connected {
                    format!("the request to {operation} at {server}")
                } else {
                    format!("connecting to the API server at {server}")
                };
                ClusterError::TimedOut { what, after, sent: connected, limit: origin.request_limit() }
            }
            Self::NotConnected(why) | Self::Interrupted(why) => {
                ClusterError::Unreachable { server: server.to_owned(), why, origin }
            }
            Self::Fatal(error) => error,
        }
    }
}

fn classify_error(error: kube::Error, (server, origin): (&str, ServerOrigin)) -> SendError {
    match error {
        kube::Error::InferKubeconfig(error) => SendError::Fatal(kubeconfig_error(&error)),
        kube::Error::Auth(error) => SendError::Fatal(credentials_error(&error)),
        kube::Error::RustlsTls(error) => {
            SendError::Fatal(ClusterError::InvalidKubeconfig { why: describe_tls_setup_error(&error).to_owned() })
        }
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            let why = "the proxy is neither an HTTP nor a SOCKS5 proxy".to_owned();
            SendError::Fatal(ClusterError::Unreachable { server: server.to_owned(), why, origin })
        }
        other => {
            let message = describe_connection_error(&other);
            if is_connect_error(&other) { SendError::NotConnected(message) } else { SendError::Interrupted(message) }
        }
    }
}

fn credentials_error(error: &AuthError) -> ClusterError {
    match error {
        AuthError::ReadTokenFile(error, path) => {
            ClusterError::InvalidKubeconfig { why: describe_io_error(error, path) }
        }
        other => ClusterError::InvalidKubeconfig { why: describe_auth_error(other).to_owned() },
    }
}
