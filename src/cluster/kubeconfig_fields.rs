//! Checks the fields of the kubeconfig that a connection is made from, before the TLS library sees them. A fault is
//! reported with its field, and never with its value.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use kube::config::{AuthInfo, Cluster, Kubeconfig, NamedContext};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::ClusterError;
use super::files::read_bytes;
use super::kubeconfig::describe_io_error;

/// A field and the user or cluster that has it.
struct FieldOwner<'a> {
    /// `user` or `cluster`.
    kind: &'static str,
    name: &'a str,
}

impl FieldOwner<'_> {
    fn error(&self, field: &str, problem: impl Into<String>) -> ClusterError {
        let why = format!("{field} of {} `{}` {}", self.kind, self.name, problem.into());
        ClusterError::InvalidKubeconfig { why }
    }

    /// Returns the content of a field that is base64 data, or of the file that another field names. `None` if the
    /// kubeconfig has neither. The data takes precedence, as in kubectl.
    fn load<'f>(
        &self,
        data: (&'f str, Option<&str>),
        file: (&'f str, Option<&str>),
    ) -> Result<Option<(&'f str, Vec<u8>)>, ClusterError> {
        if let (field, Some(text)) = data {
            let content = STANDARD.decode(text.trim()).map_err(|_| self.error(field, "is not valid base64"))?;
            return Ok(Some((field, content)));
        }
        let (field, Some(path)) = file else {
            return Ok(None);
        };
        let path = Path::new(path);
        let content = read(path)
            .map_err(|error| self.error(field, format!("cannot be read: {}", describe_io_error(&error, path))))?;
        Ok(content.map(|content| (field, content)))
    }
}

/// Reads a file. `None` if it is a pipe or a device: its content can be read only once, by the connection.
fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    if std::fs::metadata(path)?.is_file() { read_bytes(path).map(Some) } else { Ok(None) }
}

/// Returns whether a text has certificates, and nothing that the TLS library would refuse.
pub(super) fn is_pem_certificate(content: &[u8]) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    certificates.is_ok_and(|certificates| !certificates.is_empty())
}

/// Returns whether a text has an unencrypted private key.
pub(super) fn is_pem_private_key(content: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(content).is_ok()
}

/// Returns whether a text can be sent in an `Authorization` header.
pub(super) fn is_header_value(token: &str) -> bool {
    HeaderValue::from_str(token).is_ok()
}

/// Checks the cluster and the user of a context.
pub(super) fn check_fields(kubeconfig: &Kubeconfig, context: &NamedContext) -> Result<(), ClusterError> {
    let Some(context) = &context.context else {
        return Ok(());
    };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
    if let Some(cluster) = cluster.and_then(|named| named.cluster.as_ref()) {
        check_cluster(&FieldOwner { kind: "cluster", name: &context.cluster }, cluster)?;
    }
    let user = context.user.as_deref().unwrap_or_default();
    let auth = kubeconfig.auth_infos.iter().find(|named| named.name == user);
    match auth.and_then(|named| named.auth_info.as_ref()) {
        Some(auth) => check_user(&FieldOwner { kind: "user", name: user }, auth),
        None => Ok(()),
    }
}

fn check_cluster(owner: &FieldOwner<'_>, cluster: &Cluster) -> Result<(), ClusterError> {
    let Cluster { server, certificate_authority, certificate_authority_data, proxy_url, .. } = cluster;
    let parse = |field: &str, text: &str| text.parse::<Uri>().map_err(|_| owner.error(field, "is not a URL"));
    if let Some(server) = server {
        parse("server", server)?;
    }
    if let Some(proxy_url) = proxy_url.as_ref().filter(|url| !url.is_empty()) {
        let scheme = parse("proxy-url", proxy_url)?.scheme_str().map(str::to_owned);
        if !["http", "https", "socks5"].contains(&scheme.as_deref().unwrap_or_default()) {
            return Err(owner.error("proxy-url", "does not start with http://, https:// or socks5://"));
        }
    }
    let authority = owner.load(
        ("certificate-authority-data", certificate_authority_data.as_deref()),
        ("certificate-authority", certificate_authority.as_deref()),
    )?;
    match authority {
        Some((field, content)) if !is_pem_certificate(&content) => Err(owner.error(field, "is not a PEM certificate")),
        Some(_) | None => Ok(()),
    }
}

fn check_user(owner: &FieldOwner<'_>, auth: &AuthInfo) -> Result<(), ClusterError> {
    // kube does not export the type of its secrets, so they are read from JSON.
    let json = serde_json::to_value(auth).unwrap_or_default();
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    for field in ["token", "username", "password"] {
        if text(field).is_some_and(|value| field != "password" && !is_header_value(value)) {
            return Err(owner.error(field, "has characters that a header cannot have"));
        }
    }
    let token_file = owner.load(("tokenFile", None), ("tokenFile", auth.token_file.as_deref()))?;
    if let Some((field, content)) = token_file
        && !std::str::from_utf8(&content).is_ok_and(|token| is_header_value(token.trim()))
    {
        return Err(owner.error(field, "names a file that is not a token"));
    }
    let certificate = owner.load(
        ("client-certificate-data", text("client-certificate-data")),
        ("client-certificate", text("client-certificate")),
    )?;
    let key = owner.load(("client-key-data", text("client-key-data")), ("client-key", text("client-key")))?;
    if let Some((field, content)) = &certificate
        && !is_pem_certificate(content)
    {
        return Err(owner.error(field, "is not a PEM certificate"));
    }
    if let Some((field, content)) = &key
        && !is_pem_private_key(content)
    {
        return Err(owner.error(field, "is not a PEM private key"));
    }
    match (certificate, key) {
        (Some((field, _)), None) => Err(owner.error(field, "has no client-key")),
        (None, Some((field, _))) => Err(owner.error(field, "has no client-certificate")),
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}
