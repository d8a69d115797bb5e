//! What all connections have in common: proxies, and the words for errors.
//!
//! The TLS library and the HTTP client have seen keys, tokens and passwords, and some of their messages quote them. None of
//! their messages is printed. This module knows the kinds of their errors, and has its own words for each; an unknown kind
//! has only a general word.

mod proxy;

use std::error::Error;
use std::io;

pub(crate) use proxy::{bypasses_proxy, proxy_for};

/// Returns why a request got no response.
pub(crate) fn describe_connection_error(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    collect_words(error, &mut words);
    match words.pop() {
        // The innermost cause says most.
        Some(innermost) => innermost,
        None => "the connection failed".to_owned(),
    }
}

fn collect_words(error: &(dyn Error + 'static), words: &mut Vec<String>) {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            words.extend(io_words(error));
            // `source` of an io::Error skips the error that it wraps.
            if let Some(inner) = error.get_ref() {
                collect_words(inner, words);
            }
        } else if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            words.push(tls_words(error));
            return;
        } else if let Some(known) = known_words(&cause.to_string()) {
            words.push(known.to_owned());
        }
        next = cause.source();
    }
}

fn io_words(error: &io::Error) -> Option<String> {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "the connection was reset",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => {
            "the connection was closed"
        }
        io::ErrorKind::UnexpectedEof => "the connection was closed before the response was complete",
        io::ErrorKind::TimedOut => "the connection timed out",
        io::ErrorKind::HostUnreachable => "the host is unreachable",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => "the network is unreachable",
        io::ErrorKind::AddrNotAvailable => "the address is not available",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => {
            // The text of an error of the operating system depends only on its code.
            return error.raw_os_error().map(|code| io::Error::from_raw_os_error(code).to_string());
        }
    };
    Some(known.to_owned())
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError as Certificate, Error as Tls};
    let known = match error {
        Tls::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => {
                "the certificate of the server is not signed by a trusted certificate authority"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => "the certificate of the server has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the certificate of the server is not valid yet"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the certificate of the server is for another name"
            }
            Certificate::Revoked => "the certificate of the server is revoked",
            _ => "the certificate of the server is not valid",
        },
        Tls::AlertReceived(alert) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => "the server rejected the client certificate",
            AlertDescription::CertificateRequired => "the server requires a client certificate",
            AlertDescription::ProtocolVersion => "the server does not support TLS 1.2 or 1.3",
            _ => "the server ended the TLS handshake",
        },
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } => "the server does not speak TLS",
        Tls::PeerIncompatible(_) => "the server does not support the TLS versions or ciphers of rolecall",
        Tls::NoCertificatesPresented => "the server presented no certificate",
        _ => "the TLS handshake failed",
    };
    known.to_owned()
}

/// Returns our words for messages of hyper and its connectors, whose types are private. They are compared as a whole, so
/// that no part of an unknown message is printed.
fn known_words(message: &str) -> Option<&'static str> {
    Some(match message {
        "dns error" | "Not a valid domain name" => "the host name cannot be resolved",
        "invalid dns name" => "the host name is not valid",
        "connection closed before message completed" | "channel closed" | "connection error" => {
            "the connection was closed before the response was complete"
        }
        "error reading a body from connection" => "the response was cut off",
        "message head is too large" => "the head of the response is too large",
        "invalid HTTP version parsed" | "invalid HTTP header parsed" | "invalid HTTP status-code parsed" => {
            "the response is not HTTP"
        }
        "invalid HTTP version parsed (found HTTP2 preface)" | "http2 error" => "the HTTP/2 connection failed",
        "tunnel error: proxy authorization required" | "SOCKS error: credentials not accepted" => {
            "the proxy rejected the credentials of its URL"
        }
        "tunnel error: unsuccessful" | "tunnel error: proxy response headers too long" => {
            "the proxy refused the connection"
        }
        "tunnel error: unexpected end of file" => "the proxy closed the connection",
        "tunnel error: failed to create underlying connection"
        | "SOCKS error: failed to create underlying connection" => "cannot connect to the proxy",
        _ if message.starts_with("tunnel error: ") || message.starts_with("SOCKS error: ") => "the proxy failed",
        _ => return None,
    })
}

/// Returns whether the connection attempt timed out.
pub(crate) fn connection_timed_out(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    let mut timed_out = false;
    while let Some(cause) = next {
        timed_out |= cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        next = cause.source();
    }
    timed_out && is_connect_error(error)
}

/// Returns whether the connection failed: an unknown host, a closed port, or an untrusted certificate.
pub(crate) fn is_connect_error(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_messages_are_never_printed() {
        let secret = io::Error::other("key 0x1234 SECRET");
        assert_eq!(describe_connection_error(&secret), "the connection failed");
        let tls = rustls::Error::General("SECRET".to_owned());
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, tls);
        assert_eq!(describe_connection_error(&wrapped), "the TLS handshake failed");
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(certificate));
        assert!(describe_connection_error(&wrapped).contains("certificate authority"));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(describe_connection_error(&refused), "connection refused");
    }
}
