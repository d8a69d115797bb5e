//! The HTTP client of the SDK: the one that also connects to clusters, with the same TLS library, proxies and limits.

#![expect(clippy::disallowed_types, reason = "sends requests with the HTTP client that also connects to clusters")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{Response, Uri};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;

use super::errors::AwsError;
use super::settings::AwsCallContext;
use crate::transport::{connection_timed_out, proxy_for};

/// The variable that names a file with certificate authorities, as in the AWS CLI.
const AUTHORITIES_VARIABLE: &str = "AWS_CA_BUNDLE";
/// The largest file of certificates. That of a system has 250 kilobytes.
const MAX_BUNDLE: u64 = 8 << 20;
/// The largest answer that is received. A page of a list has a few kilobytes.
const MAX_RESPONSE: usize = 8 << 20;

/// Why a request has no answer, apart from the errors of the connection.
#[derive(Debug, Error)]
enum ClientError {
    #[error("the request cannot be sent")]
    InvalidRequest,
    #[error("the answer is too long")]
    TooLong,
    #[error("the request timed out")]
    TimedOut,
}

/// Makes connectors that share their connections.
#[derive(Debug, Clone)]
pub(super) struct AwsHttpClient {
    clients: Clients,
}

/// A host, and the limit of a connection to it.
type ClientKey = (String, Option<Duration>);

/// One client for each host, since a client has one proxy.
#[derive(Clone)]
struct Clients {
    by_host: Arc<Mutex<BTreeMap<ClientKey, Client>>>,
    vars: Arc<BTreeMap<String, String>>,
    /// The certificates of the authorities that are trusted, in DER. `None` for those of the system.
    authorities: Option<Vec<Vec<u8>>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl AwsHttpClient {
    /// # Errors
    /// If the file that `AWS_CA_BUNDLE` names has no certificates.
    pub(super) fn new(context: &AwsCallContext) -> Result<Self, AwsError> {
        let authorities = context.var(AUTHORITIES_VARIABLE).map(read_authorities).transpose()?;
        Ok(Self { clients: Clients { by_host: Arc::default(), vars: Arc::new(context.vars.clone()), authorities } })
    }
}

/// Reads the certificates of a PEM file.
fn read_authorities(path: &str) -> Result<Vec<Vec<u8>>, AwsError> {
    let invalid = || AwsError::CertificateBundle { path: path.to_owned() };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|_| invalid())?;
    file.take(MAX_BUNDLE).read_to_end(&mut bytes).map_err(|_| invalid())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(invalid)?;
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

impl HttpClient for AwsHttpClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let (connect, read) = (settings.connect_timeout(), settings.read_timeout());
        SharedHttpConnector::new(AwsConnector { clients: self.clients.clone(), connect, read })
    }
}

#[derive(Debug)]
struct AwsConnector {
    clients: Clients,
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl Clients {
    /// Returns the client for a host. Its certificates are those of the system.
    fn for_host(&self, uri: &Uri, connect: Option<Duration>) -> Result<Client, ConnectorError> {
        let invalid = || ConnectorError::user(ClientError::InvalidRequest.into());
        let (scheme, authority) = (uri.scheme_str().ok_or_else(invalid)?, uri.authority().ok_or_else(invalid)?);
        let base = format!("{scheme}://{authority}/");
        let mut clients = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(base.clone(), connect)) {
            return Ok(client.clone());
        }
        let mut config = Config::new(base.parse().map_err(|_| invalid())?);
        config.default_retry = false;
        config.disable_compression = true;
        config.connect_timeout = connect;
        config.read_timeout = None;
        config.write_timeout = None;
        config.proxy_url = proxy_for(uri, &self.vars);
        config.root_cert.clone_from(&self.authorities);
        let client = Client::try_from(config).map_err(|error| ConnectorError::io(error.into()))?;
        clients.insert((base, connect), client.clone());
        Ok(client)
    }
}

impl HttpConnector for AwsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (clients, connect, read) = (self.clients.clone(), self.connect, self.read);
        HttpConnectorFuture::new_boxed(Box::pin(async move {
            let sending = send(&clients, connect, request);
            match read {
                None => sending.await,
                Some(limit) => tokio::time::timeout(limit + connect.unwrap_or_default(), sending)
                    .await
                    .unwrap_or_else(|_| Err(ConnectorError::timeout(ClientError::TimedOut.into()))),
            }
        }))
    }
}

async fn send(
    clients: &Clients,
    connect: Option<Duration>,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let invalid = || ConnectorError::user(ClientError::InvalidRequest.into());
    let request = request.try_into_http1x().map_err(|_| invalid())?;
    let client = clients.for_host(request.uri(), connect)?;
    let (parts, body) = request.into_parts();
    let bytes = body.bytes().ok_or_else(invalid)?.to_vec();
    let response = client.send(http::Request::from_parts(parts, Body::from(bytes))).await.map_err(connector_error)?;
    let (parts, body) = response.into_parts();
    let body = read_within(body).await?;
    HttpResponse::try_from(Response::from_parts(parts, SdkBody::from(body)))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

/// The SDK repeats a request after both. That is safe: the calls read, obtain credentials, or have the same effect when they
/// are made again.
fn connector_error(error: kube::Error) -> ConnectorError {
    if connection_timed_out(&error) { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}

async fn read_within(body: Body) -> Result<Vec<u8>, ConnectorError> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ConnectorError::io(error.into()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > MAX_RESPONSE {
                return Err(ConnectorError::other(ClientError::TooLong.into(), None));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}
