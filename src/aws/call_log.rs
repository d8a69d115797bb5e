//! Reports each HTTP request to AWS, and notes how far the clock of this machine is off.
//!
//! The SDK sends the calls of services and of credential providers through one HTTP client, so this is the one place that
//! sees all of them. Only the method, the address without its query, the name of the action and the status are reported.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The longest name of an action.
const MAX_ACTION: usize = 64;
/// The value of [`ClockOffset`] before the first answer.
const UNKNOWN: i64 = i64::MIN;

type ReceiveCall = dyn Fn(&str, &str, Duration) + Send + Sync;

/// Receives the description, the result and the duration of each request to AWS.
#[derive(Clone)]
pub(crate) struct AwsCallLog(Arc<ReceiveCall>);

impl fmt::Debug for AwsCallLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCallLog").finish_non_exhaustive()
    }
}

impl AwsCallLog {
    pub(crate) fn new(receive: impl Fn(&str, &str, Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }
}

/// How far the clock of this machine is ahead of AWS, by the header `Date` of the last answer.
#[derive(Debug, Clone)]
pub(super) struct ClockOffset(Arc<AtomicI64>);

impl Default for ClockOffset {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl ClockOffset {
    fn record(&self, date: &str) {
        if let Ok(theirs) = DateTimeParser::new().parse_timestamp(date) {
            self.0.store(Timestamp::now().as_second() - theirs.as_second(), Ordering::Relaxed);
        }
    }

    /// Seconds; negative if the clock is behind. `None` before the first answer.
    pub(super) fn seconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)
    }
}

/// An HTTP client that reports its requests.
#[derive(Debug, Clone)]
pub(super) struct LoggedHttpClient {
    inner: SharedHttpClient,
    log: AwsCallLog,
    clock: ClockOffset,
}

impl LoggedHttpClient {
    pub(super) fn new(inner: impl HttpClient + 'static, log: AwsCallLog, clock: ClockOffset) -> Self {
        Self { inner: SharedHttpClient::new(inner), log, clock }
    }
}

impl HttpClient for LoggedHttpClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(LoggedConnector { inner, log: self.log.clone(), clock: self.clock.clone() })
    }
}

#[derive(Debug)]
struct LoggedConnector {
    inner: SharedHttpConnector,
    log: AwsCallLog,
    clock: ClockOffset,
}

/// Reports a request when it ends, also if it is dropped because its time is over.
struct ActiveCall {
    log: AwsCallLog,
    description: String,
    result: String,
    started: Instant,
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        (self.log.0)(&self.description, &self.result, self.started.elapsed());
    }
}

impl HttpConnector for LoggedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let description = describe_request(request.method(), request.uri(), request.body().bytes());
        let mut active =
            ActiveCall { log: self.log.clone(), description, result: "timed out".to_owned(), started: Instant::now() };
        let clock = self.clock.clone();
        let sending = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let result = sending.await;
            active.result = match &result {
                Ok(response) => {
                    if let Some(date) = response.headers().get("date") {
                        clock.record(date);
                    }
                    response.status().as_u16().to_string()
                }
                Err(error) if error.is_timeout() => "timed out".to_owned(),
                Err(_) => "failed".to_owned(),
            };
            drop(active);
            result
        })
    }
}

/// `GET https://eks.eu-west-1.amazonaws.com/clusters/prod`, or `POST https://sts.eu-west-1.amazonaws.com/
/// (GetCallerIdentity)`. The query of a presigned URL is a credential, and a form can have one, so neither is in the text.
fn describe_request(method: &str, uri: &str, body: Option<&[u8]>) -> String {
    let address = match uri.parse::<Uri>() {
        Ok(uri) => {
            // A configured endpoint can have a user and a password.
            let host =
                uri.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
            format!("{}://{host}{}", uri.scheme_str().unwrap_or("https"), uri.path())
        }
        Err(_) => "AWS".to_owned(),
    };
    match body.and_then(form_action) {
        Some(action) => format!("{method} {address} ({action})"),
        None => format!("{method} {address}"),
    }
}

/// Returns the action of a call of the query protocol.
fn form_action(body: &[u8]) -> Option<&str> {
    let action = body.strip_prefix(b"Action=")?.split(|byte| *byte == b'&').next()?;
    let is_name = action.len() <= MAX_ACTION && action.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(action).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_has_neither_the_query_nor_the_body() {
        let describe = |uri: &str, body: Option<&[u8]>| describe_request("GET", uri, body);
        assert_eq!(
            describe("https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&X-Amz-Signature=abc", None),
            "GET https://sts.eu-west-1.amazonaws.com/"
        );
        assert_eq!(
            describe("https://u:pw@example.test/x", Some(b"Action=AssumeRole&ExternalId=secret")),
            "GET https://example.test/x (AssumeRole)"
        );
        assert_eq!(describe("https://example.test/", Some(b"{\"clientSecret\":1}")), "GET https://example.test/");
        assert_eq!(describe("https://example.test/", Some(b"Action=a b&x")), "GET https://example.test/");
        assert_eq!(describe("not a URL", None), "GET AWS");
    }

    #[test]
    fn clock_offset_is_known_after_an_answer_with_a_date() {
        let clock = ClockOffset::default();
        assert_eq!(clock.seconds(), None);
        clock.record("tomorrow");
        assert_eq!(clock.seconds(), None);
        clock.record("Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(clock.seconds().is_some_and(|seconds| seconds > 1_700_000_000));
    }
}
