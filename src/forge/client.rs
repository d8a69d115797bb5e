//! Sends requests to the API of a forge, with limits on time and size. Redirects are not followed, so that the token is sent
//! only to the address of the API.

#![expect(clippy::disallowed_types, reason = "sends requests with the HTTP client that also connects to clusters")]

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::Value;

use super::error::ForgeError;
use crate::cluster::settings::ConnectionSettings;
use crate::cluster::{is_retryable, retry_delay};
use crate::diagnostic::escape_text;
use crate::transport::{describe_connection_error, is_connect_error};

/// The maximum number of tries of one request.
const MAX_TRIES: u32 = 4;
/// The maximum number of characters of a message of the forge.
const MAX_MESSAGE: usize = 300;
/// GitHub refuses requests without it.
const USER_AGENT: &str = concat!("rolecall/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
/// Redacted texts are at least this long. A shorter token is refused by every forge.
const MIN_TOKEN: usize = 4;

/// A token. It is never printed.
#[derive(Clone)]
pub(crate) struct ForgeToken(String);

impl ForgeToken {
    pub(crate) fn new(token: &str) -> Self {
        Self(token.trim().to_owned())
    }

    /// Returns a text of the forge without the token, which it could echo, on one line.
    fn redact(&self, text: &str) -> String {
        let text = if self.0.len() < MIN_TOKEN { text.to_owned() } else { text.replace(&self.0, "<redacted>") };
        let words: Vec<&str> = text.split_whitespace().collect();
        escape_text(&words.join(" ")).chars().take(MAX_MESSAGE).collect()
    }
}

impl fmt::Debug for ForgeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForgeToken")
    }
}

/// A connection to the API of a forge.
pub(crate) struct ForgeClient {
    client: Client,
    api_path: String,
    server: String,
    authorization: HeaderValue,
    token: ForgeToken,
    settings: ConnectionSettings,
}

/// A response with its body.
struct ForgeResponse {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
}

impl ForgeClient {
    /// `proxy` is the URL of an HTTP proxy.
    ///
    /// # Errors
    /// If the URL is not one of an API, or would send the token without encryption.
    pub(crate) fn new(
        api_url: &str,
        token: ForgeToken,
        proxy: Option<&str>,
        settings: ConnectionSettings,
    ) -> Result<Self, ForgeError> {
        let invalid = |why| ForgeError::InvalidUrl { url: escape_text(without_password(api_url)), why };
        let uri: Uri = api_url.trim_end_matches('/').parse().map_err(|_| invalid("is not a URL"))?;
        let authority = uri.authority().ok_or_else(|| invalid("is not a URL"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("has a username or a password"));
        }
        if uri.query().is_some() {
            return Err(invalid("has a query"));
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(authority.host()) => {}
            _ => return Err(invalid("does not begin with https://")),
        }
        let server = format!("{}://{authority}", uri.scheme_str().unwrap_or("https"));
        let mut config = Config::new(server.parse().map_err(|_| invalid("is not a URL"))?);
        config.default_retry = false;
        config.connect_timeout = Some(settings.timeouts.connect);
        config.read_timeout = None;
        config.write_timeout = None;
        config.proxy_url = match proxy {
            Some(proxy) => Some(proxy.parse().map_err(|_| invalid("has a proxy whose URL is not valid"))?),
            None => None,
        };
        let client =
            Client::try_from(config).map_err(|_| invalid("cannot be connected to: TLS or the proxy is not set up"))?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.0)).map_err(|_| ForgeError::InvalidToken)?;
        authorization.set_sensitive(true);
        let api_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { client, api_path, server, authorization, token, settings })
    }

    /// Sends a request to a path below the URL of the API, and returns the JSON of the response. A request that can be repeated
    /// is repeated after a failure of the server.
    ///
    /// # Errors
    /// If there is no successful response.
    pub(super) async fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        operation: &'static str,
    ) -> Result<Value, ForgeError> {
        let path = format!("{}{path}", self.api_path);
        self.send_repeatedly(method, &path, body, operation).await
    }

    /// Sends a query to the GraphQL API of GitHub: `/graphql`, or `/api/graphql` beside the `/api/v3` of GitHub Enterprise Server.
    pub(super) async fn send_graphql(&self, query: &Value, operation: &'static str) -> Result<Value, ForgeError> {
        let path = format!("{}/graphql", self.api_path.strip_suffix("/v3").unwrap_or(&self.api_path));
        self.send_repeatedly("POST", &path, Some(query), operation).await
    }

    async fn send_repeatedly(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        operation: &'static str,
    ) -> Result<Value, ForgeError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let result = self.send_once(method, path, body, operation).await;
            let delay = match &result {
                Ok(ForgeResponse { status, retry_after, .. }) => {
                    // GitHub limits the rate also with code 403. A rejected request was not executed.
                    let is_rejected = *status == 429 || (*status == 403 && retry_after.is_some());
                    let is_failure = is_retryable(*status) && method != "POST";
                    (is_rejected || is_failure).then(|| retry_delay(tries, retry_after.as_deref()))
                }
                Err(ForgeError::Unreachable { sent: false, .. }) => Some(retry_delay(tries, None)),
                Err(ForgeError::Unreachable { .. }) if method != "POST" => Some(retry_delay(tries, None)),
                Err(_) => None,
            };
            match delay.filter(|_| tries < MAX_TRIES) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return self.read_answer(result?, operation),
            }
        }
    }

    fn read_answer(&self, response: ForgeResponse, operation: &'static str) -> Result<Value, ForgeError> {
        let ForgeResponse { status, body, .. } = response;
        match status {
            200..=299 => serde_json::from_slice(&body).map_err(|_| ForgeError::invalid(operation, "it is not JSON")),
            300..=399 => Err(ForgeError::Redirect { operation }),
            _ => {
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                let message = ["message", "error"].into_iter().find_map(|key| answer.get(key));
                let message = match message {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Null) | None => String::new(),
                    Some(other) => other.to_string(),
                };
                Err(ForgeError::Status { operation, status, message: self.token.redact(&message) })
            }
        }
    }

    async fn send_once(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
        operation: &'static str,
    ) -> Result<ForgeResponse, ForgeError> {
        let started = std::time::Instant::now();
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, JSON)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::AUTHORIZATION, self.authorization.clone());
        if body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, JSON);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = builder
            .body(Body::from(body.into_bytes()))
            .map_err(|_| ForgeError::invalid(operation, "the request has characters that HTTP does not allow"))?;
        let unreachable = |error: &(dyn std::error::Error + 'static), sent| {
            let (server, why) = (self.server.clone(), describe_connection_error(error));
            ForgeError::Unreachable { operation, server, why, sent }
        };
        let exchange = async {
            let response =
                self.client.send(request).await.map_err(|error| unreachable(&error, !is_connect_error(&error)))?;
            let status = response.status().as_u16();
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let limit = self.settings.max_response;
            let body = read_within(response, limit).await.map_err(|error| match error {
                Some(error) => unreachable(&error, true),
                None => ForgeError::TooLong { operation, limit },
            })?;
            Ok(ForgeResponse { status, retry_after, body })
        };
        let limit: Duration = self.settings.timeouts.request;
        let description = format!("{operation} at {}", self.server);
        let watched = self.settings.log.watch(&description, limit, tokio::time::timeout(limit, exchange));
        let result = watched
            .await
            .unwrap_or_else(|_| Err(ForgeError::TimedOut { operation, server: self.server.clone(), after: limit }));
        let outcome = result.as_ref().map_or_else(|_| "failed".to_owned(), |response| response.status.to_string());
        self.settings.log.ended(&format!("{method} {}{path}", self.server), &outcome, started.elapsed());
        result
    }
}

/// Reads the body. `None` as an error means that it is longer than the limit.
async fn read_within(response: Response<Body>, limit: usize) -> Result<Vec<u8>, Option<kube::Error>> {
    let mut body = pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Some)?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(None);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Returns the URL without a user and a password, which must not be printed.
fn without_password(url: &str) -> &str {
    url.rsplit('@').next().unwrap_or_default()
}
