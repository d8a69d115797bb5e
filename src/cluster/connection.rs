//! One request to an API server and its answer, with what may be tried again tried again.
//!
//! Errors of the HTTP client become ours here and nowhere else. A token, or what a credentials plugin printed, is in
//! no error.

#![expect(clippy::disallowed_types, reason = "this room is the one that speaks to the API server")]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
use super::kubeconfig::{unread, unusable};
use super::plugin::resolved;
use super::protobuf;
use super::retry::{CONNECT_TRIES, TRIES, is_transient, is_uncertain, wait};

/// Longest that one try may take: the API server itself gives up after a minute (`--request-timeout`).
const PATIENCE: Duration = Duration::from_secs(70);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const NO_TOKEN: &str = "the token of the user has characters that no token has";
/// The number of the first credentials.
const FIRST: usize = 1;
pub(super) const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A connection to one API server.
pub(crate) struct Connection {
    /// With the plugin in it, should there be one.
    config: Config,
    current: Mutex<Current>,
    server: String,
}

/// A client and its place among those of this connection: each has newer credentials than the one before.
#[derive(Clone)]
struct Current {
    client: Client,
    number: usize,
    /// Some request has been let in with it.
    has_worked: Arc<AtomicBool>,
}

/// A request, repeatable.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    /// Path and query, encoded.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// Whether another client's work could be taken for this one's if the request were sent twice.
    pub(super) what: String,
}

/// An answer that is not a failure of the connection.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) bytes: Bytes,
    /// An earlier try of the same request may have been carried out.
    pub(super) after_uncertainty: bool,
}

/// What the API server says about a failure.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) message: String,
    pub(super) reason: String,
}

/// Why a try brought no answer.
enum NoAnswer {
    /// Nobody listened: the request was not sent.
    Unconnected(String),
    /// The request may have been sent.
    Broken(String),
    /// Trying again would not help.
    Final(ClusterError),
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The failure in the server's words, on one line; a body that is no Status, as of 429, is its own words.
    pub(super) fn failure(&self) -> Status {
        let binary = protobuf::content(&self.bytes).and_then(Result::ok);
        let binary = binary.and_then(|raw| protobuf::Failure::decode(raw).ok());
        let said = match binary {
            Some(protobuf::Failure { message, reason }) => Status { message, reason },
            None => serde_json::from_slice(&self.bytes).unwrap_or_else(|_| Status {
                message: String::from_utf8_lossy(&self.bytes).into_owned(),
                reason: String::new(),
            }),
        };
        let words: Vec<&str> = said.message.split_whitespace().collect();
        Status { message: words.join(" "), ..said }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T, ClusterError> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| ClusterError::Unreadable { what: what.to_owned(), why: error.to_string() })
    }
}

impl Connection {
    /// Prepares a connection and takes credentials; nothing is sent yet.
    pub(crate) async fn new(mut config: Config) -> Result<Self, ClusterError> {
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_PATIENCE);
        let server = format!(
            "{}://{}",
            config.cluster_url.scheme_str().unwrap_or("https"),
            // Without a user and password, should somebody have put them there.
            config.cluster_url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or(""))
        );
        let client = client(&config, &server).await?;
        Ok(Self { config, current: Mutex::new(Current { client, number: FIRST, has_worked: Arc::default() }), server })
    }

    /// Another connection to the same server, with credentials of this moment.
    pub(super) async fn anew(&self) -> Result<Self, ClusterError> {
        Self::new(self.config.clone()).await
    }

    /// Whether a plugin makes the credentials, and makes others each time.
    pub(super) fn has_plugin(&self) -> bool {
        self.config.auth_info.exec.is_some()
    }

    /// New credentials: a token lives for a quarter of an hour, an apply may live longer. Of the requests that an old
    /// token has failed the first renews it, and the others wait for that.
    async fn renew(&self, failed: usize) -> Result<(), ClusterError> {
        let mut current = self.current.lock().await;
        if current.number == failed {
            let client = client(&self.config, &self.server).await?;
            *current = Current { client, number: failed + 1, has_worked: Arc::default() };
        }
        Ok(())
    }

    /// Sends until an answer comes that is not transient.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Answer, ClusterError> {
        self.send_accepting(ask, JSON).await
    }

    /// As [`Self::send`], with the forms of answer that are read.
    pub(super) async fn send_accepting(&self, ask: &Ask<'_>, accept: &'static str) -> Result<Answer, ClusterError> {
        let mut after_uncertainty = false;
        let mut renewed = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let current = self.current.lock().await.clone();
            let end = self.try_once(&current.client, ask, accept).await;
            if end.as_ref().is_ok_and(|(status, _, _)| *status != 401) {
                current.has_worked.store(true, Ordering::Relaxed);
            }
            // New credentials that nobody was ever let in with are not made anew.
            let renewable = current.number == FIRST || current.has_worked.load(Ordering::Relaxed);
            match end {
                Ok((401, _, _)) if !renewed && renewable => {
                    renewed = true;
                    self.renew(current.number).await?;
                }
                Ok((401, _, bytes)) => {
                    let answer = Answer { status: 401, bytes, after_uncertainty };
                    let why = answer.failure().message;
                    return Err(ClusterError::Unauthorized { server: self.server.clone(), why });
                }
                Ok((status, retry_after, _)) if is_transient(status) && tries < TRIES => {
                    after_uncertainty |= is_uncertain(status);
                    tokio::time::sleep(wait(tries, retry_after.as_deref())).await;
                }
                Ok((status, _, bytes)) => {
                    after_uncertainty |= is_uncertain(status);
                    return Ok(Answer { status, bytes, after_uncertainty });
                }
                Err(NoAnswer::Unconnected(_)) if tries < CONNECT_TRIES => {
                    tokio::time::sleep(wait(tries, None)).await;
                }
                Err(NoAnswer::Broken(_)) if tries < TRIES => {
                    after_uncertainty = true;
                    tokio::time::sleep(wait(tries, None)).await;
                }
                Err(no_answer) => return Err(no_answer.into_error(&self.server)),
            }
        }
    }

    async fn try_once(
        &self,
        client: &Client,
        ask: &Ask<'_>,
        accept: &'static str,
    ) -> Result<(u16, Option<String>, Bytes), NoAnswer> {
        let mut request = Request::builder().method(ask.method).uri(ask.path).header(header::ACCEPT, accept);
        if ask.body.is_some() {
            let kind = if ask.method == "PATCH" { MERGE_PATCH } else { JSON };
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let body = ask.body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Body::from(body.into_bytes())).map_err(|error| {
            NoAnswer::Final(ClusterError::Unreadable { what: ask.what.clone(), why: error.to_string() })
        })?;
        let exchange = async {
            let response = client.send(request).await.map_err(|error| translate(error, &self.server))?;
            let status = response.status().as_u16();
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            // Piece by piece into one buffer: a long list is not held twice.
            let mut body = pin!(response.into_body());
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| NoAnswer::Broken(error.to_string()))?;
                bytes.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
            }
            Ok((status, retry_after, Bytes::from(bytes)))
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(NoAnswer::Broken(format!("no answer within {} s", PATIENCE.as_secs()))))
    }
}

async fn client(config: &Config, server: &str) -> Result<Client, ClusterError> {
    let config = resolved(config.clone()).await?;
    // The client takes a token's bytes unseen, and would go down with the program.
    let auth = serde_json::to_value(&config.auth_info).unwrap_or_default();
    if auth.get("token").and_then(Value::as_str).is_some_and(|token| HeaderValue::from_str(token).is_err()) {
        return Err(ClusterError::Kubeconfig { why: NO_TOKEN.to_owned() });
    }
    Client::try_from(config).map_err(|error| translate(error, server).into_error(server))
}

impl NoAnswer {
    fn into_error(self, server: &str) -> ClusterError {
        match self {
            Self::Unconnected(why) | Self::Broken(why) => ClusterError::Unreachable { server: server.to_owned(), why },
            Self::Final(error) => error,
        }
    }
}

fn translate(error: kube::Error, server: &str) -> NoAnswer {
    match error {
        kube::Error::InferKubeconfig(error) => NoAnswer::Final(unusable(&error)),
        kube::Error::Auth(error) => NoAnswer::Final(credentials(&error)),
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            let why = "its proxy speaks neither http nor socks5".to_owned();
            NoAnswer::Final(ClusterError::Unreachable { server: server.to_owned(), why })
        }
        other => {
            let words = chain(&other);
            if was_unconnected(&other) { NoAnswer::Unconnected(words) } else { NoAnswer::Broken(words) }
        }
    }
}

/// Whether the connection was never made: no such host, nobody listens, no trust.
fn was_unconnected(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = cause.source();
    }
    false
}

fn credentials(error: &AuthError) -> ClusterError {
    match error {
        AuthError::ParseTokenKey(_) | AuthError::InvalidBearerToken(_) => {
            ClusterError::Kubeconfig { why: NO_TOKEN.to_owned() }
        }
        AuthError::ReadTokenFile(error, path) => ClusterError::Kubeconfig { why: unread(error, path) },
        other => ClusterError::Credentials { why: other.to_string() },
    }
}

/// The words of an error and of its causes, each once, without the names of the client's own types.
fn chain(error: &kube::Error) -> String {
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
