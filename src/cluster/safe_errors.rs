//! What may appear in an error about a connection.
//!
//! The TLS library, the HTTP client, the parser of the kubeconfig and credential plugins have seen keys, tokens and
//! passwords, and some of their messages quote them. None of their messages is printed. This module knows the kinds of
//! their errors, and has its own words for each; an unknown kind has only a general word. [`Secrets`] removes credentials
//! from the messages of the API server, which could echo a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::client::{AuthError, RustlsTlsError};
use kube::config::AuthInfo;
use serde_json::Value;

use crate::state::object::ObjectError;

/// Shorter texts are no credentials, and removing them would make messages unreadable.
const MIN_SECRET_LENGTH: usize = 4;
const REDACTED: &str = "<redacted>";

/// The credentials of a connection. They are never printed.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Returns the credentials that the client sends.
    pub(super) fn from_auth_info(auth_info: &AuthInfo) -> Self {
        // kube does not export the type of its secrets, so they are read from JSON.
        let auth = serde_json::to_value(auth_info).unwrap_or_default();
        let text = |key: &str| auth.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut secrets: Vec<String> = ["token", "password", "client-key-data"].into_iter().filter_map(text).collect();
        if let (Some(username), Some(password)) = (text("username"), text("password")) {
            secrets.push(STANDARD.encode(format!("{username}:{password}")));
        }
        let mut secrets: Vec<String> = secrets.into_iter().map(|secret| secret.trim().to_owned()).collect();
        secrets.retain(|secret| secret.len() >= MIN_SECRET_LENGTH);
        // A secret can contain another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// Returns a message of the API server without the credentials.
    pub(super) fn redact(&self, message: &str) -> String {
        let mut out = message.to_owned();
        for secret in &self.0 {
            out = out.replace(secret.as_str(), REDACTED);
        }
        out
    }
}

/// Returns what is wrong with the certificates and the key of a connection.
pub(super) fn describe_tls_setup_error(error: &RustlsTlsError) -> &'static str {
    match error {
        RustlsTlsError::InvalidIdentityPem(_) => "the client certificate or its key is not in PEM format",
        RustlsTlsError::MissingPrivateKey => "the client key is not a PEM private key",
        RustlsTlsError::MissingCertificate => "the client certificate is not a PEM certificate",
        RustlsTlsError::InvalidPrivateKey(_) => {
            "the client key does not fit the client certificate, or is not supported"
        }
        RustlsTlsError::UnknownPrivateKeyFormat => "the format of the client key is not supported",
        RustlsTlsError::AddRootCertificate(_) => "the certificate authority of the cluster is not a valid certificate",
        RustlsTlsError::NoValidNativeRootCA(_) => {
            "it has no certificate authority, and the system has no usable certificates"
        }
        RustlsTlsError::InvalidServerName(_) => "the `tls-server-name` of the cluster is not a host name",
    }
}

/// Returns why the client has no credentials.
pub(super) fn describe_auth_error(error: &AuthError) -> &'static str {
    match error {
        AuthError::InvalidBasicAuth(_) => "the username or password of the user has invalid characters",
        AuthError::InvalidBearerToken(_) | AuthError::ParseTokenKey(_) => {
            "the token of the user has invalid characters"
        }
        AuthError::MissingCommand => "the `exec` entry of the user has no `command`",
        AuthError::NoValidNativeRootCA(_) => "the system has no usable certificates",
        _ => "the authentication method of the user is not supported or failed",
    }
}

/// Returns where a JSON text is not as expected, without quoting it.
pub(super) fn describe_json_error(error: &serde_json::Error) -> String {
    let problem = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
        serde_json::error::Category::Data => "a field has another type",
    };
    format!("{problem} (line {}, column {})", error.line(), error.column())
}

/// Returns why an answer of the server is not an object of its kind, without quoting it.
pub(super) fn describe_object_error(error: &ObjectError) -> String {
    match error {
        ObjectError::Malformed(_) => "a field has another type".to_owned(),
        ObjectError::Invalid(_) => "the kind of its role or of a subject is none of Kubernetes".to_owned(),
        ObjectError::Internal(error) => error.to_string(),
    }
}

/// The known reasons why a credential plugin for AWS fails: a part of its stderr, and our words.
const PLUGIN_FAILURES: [(&[&str], &str); 12] = [
    (&["sso", "expired"], "its SSO session has expired: run `aws sso login`"),
    (&["error loading sso token"], "it has no SSO session: run `aws sso login`"),
    (&["token has expired and refresh failed"], "its SSO session has expired: run `aws sso login`"),
    (&["expiredtoken"], "its AWS credentials have expired"),
    (&["unable to locate credentials"], "it found no AWS credentials"),
    (&["nocredentialproviders"], "it found no AWS credentials"),
    (&["could not be found", "profile"], "its AWS profile does not exist"),
    (&["invalidclienttokenid"], "AWS does not know its access key"),
    (&["unrecognizedclient"], "AWS does not know its access key"),
    (&["accessdenied"], "AWS denied the access"),
    (&["could not connect to the endpoint"], "it cannot connect to AWS"),
    (&["you must specify a region"], "it has no AWS region"),
];

/// Returns why a credential plugin failed. Its stderr can contain credentials, so none of it is printed.
pub(super) fn describe_plugin_failure(stderr: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(stderr).to_lowercase();
    let known = PLUGIN_FAILURES.iter().find(|(parts, _)| parts.iter().all(|part| text.contains(part)));
    match known {
        Some((_, words)) => words,
        None if text.trim().is_empty() => "it printed no reason",
        None => "its error output is not shown, because it can contain credentials",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_failures_have_own_words() {
        let sso = b"Error when retrieving token from sso: Token has expired and refresh failed";
        assert_eq!(describe_plugin_failure(sso), "its SSO session has expired: run `aws sso login`");
        assert!(describe_plugin_failure(b"panic: SECRET").starts_with("its error output is not shown"));
    }

    #[test]
    fn messages_of_the_server_have_no_credentials() {
        let auth = serde_json::json!({ "token": "tok-123", "username": "me", "password": "pass-123" });
        let secrets = Secrets::from_auth_info(&serde_json::from_value(auth).unwrap());
        let basic = STANDARD.encode("me:pass-123");
        let echoed = format!("Bearer tok-123, Basic {basic} and pass-123");
        assert_eq!(secrets.redact(&echoed), "Bearer <redacted>, Basic <redacted> and <redacted>");
    }
}
