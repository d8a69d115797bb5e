//! Receives a response up to a limit, so that a server cannot fill the memory.

use std::pin::pin;

use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use prost::bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::ClusterError;
use super::api_client::{SendError, invalid};
use super::settings::ConnectionSettings;
use crate::transport::describe_connection_error;

/// A response longer than this is received while no other one is, so that several do not fill the memory.
const LONG_LIST: usize = 4 << 20;
/// As [`LONG_LIST`]. A JSON value needs up to 36 times the memory of its text.
const LONG_OBJECT: usize = 1 << 20;
/// The maximum size of an object, or of the API discovery. A cluster with a thousand custom resources has 3 MiB.
const MAX_OBJECT_RESPONSE: usize = 6 << 20;

/// How large a response can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseSize {
    /// One object, which etcd stores with at most 1.5 MiB, or a few small ones.
    Object,
    /// A page of a list.
    List,
}

impl ResponseSize {
    /// Returns the maximum size, and the size from which a response is received while no other one is.
    fn limits(self, settings: &ConnectionSettings) -> (usize, usize) {
        match self {
            Self::Object => (settings.max_response.min(MAX_OBJECT_RESPONSE), LONG_OBJECT),
            Self::List => (settings.max_response, LONG_LIST),
        }
    }
}

/// A complete body. A long one keeps other long ones waiting until it is dropped.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

/// # Errors
/// If a successful response has an encoding that was not asked for. A load balancer or a login page answers any request
/// with HTML, and a compressed body can be much larger than what was sent.
pub(super) fn check_headers(status: u16, headers: &HeaderMap, operation: &str) -> Result<(), ClusterError> {
    if !(200..300).contains(&status) {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    if let Some(encoding) = text(header::CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        let name = known_name(&encoding, &["gzip", "deflate", "br", "zstd", "compress"]);
        return Err(invalid(operation, &format!("it has the encoding {name}, which was not asked for")));
    }
    let content_type = text(header::CONTENT_TYPE);
    let media_type = content_type.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim());
    match media_type.filter(|text| !["application/json", "application/vnd.kubernetes.protobuf"].contains(text)) {
        Some(media_type) => {
            let name = known_name(media_type, &["text/html", "text/plain", "text/xml", "application/xml"]);
            let why = format!("it has the content type {name}, which is not one of the API server");
            Err(invalid(operation, &why))
        }
        None => Ok(()),
    }
}

/// Returns a text of a header if it is one of these. A server that echoes the request must not make a token appear.
fn known_name(text: &str, known: &[&str]) -> String {
    if known.contains(&text) { format!("`{text}`") } else { "of another name".to_owned() }
}

/// Receives the body. Frames are appended to one buffer, so that a long list is not in memory twice.
pub(super) async fn read_body(
    response: Response<Body>,
    operation: &str,
    size: ResponseSize,
    settings: &ConnectionSettings,
) -> Result<ReceivedBody, SendError> {
    let (limit, long_response) = size.limits(settings);
    let too_long = || {
        SendError::Fatal(ClusterError::ResponseTooLong {
            what: operation.to_owned(),
            limit,
            is_list: size == ResponseSize::List,
        })
    };
    let announced = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_long());
    }
    let mut permit = None;
    let mut body = pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SendError::Interrupted(describe_connection_error(&error)))?;
        let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
        let length = bytes.len() + data.len();
        if length > limit {
            return Err(too_long());
        }
        if length > long_response && permit.is_none() {
            permit = settings.long_response.clone().acquire_owned().await.ok();
            // Growing would copy the buffer, which needs both copies in memory.
            bytes.reserve_exact(announced.unwrap_or(limit).saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(data);
    }
    Ok(ReceivedBody { bytes: Bytes::from(bytes), _permit: permit })
}
