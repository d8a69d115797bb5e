//! Why a comment was not posted. No error has the token or a text of the HTTP client.

use std::time::Duration;

use thiserror::Error;

/// Why a request to a forge failed.
#[derive(Debug, Error)]
pub(crate) enum ForgeError {
    #[error("the text has no marker of rolecall in its first line")]
    NoMarker,
    #[error("the URL of the API, {url}, {why}")]
    InvalidUrl { url: String, why: &'static str },
    #[error("the token has characters that HTTP does not allow")]
    InvalidToken,
    #[error("cannot {operation}: the forge answers with code {status}{}", message_suffix(.message))]
    Status {
        operation: &'static str,
        status: u16,
        /// The message of the forge without the token. It can be empty.
        message: String,
    },
    #[error("cannot {operation}: the forge redirects to another address, which is not followed")]
    Redirect { operation: &'static str },
    #[error("cannot {operation}: {server} did not answer within {} s", .after.as_secs())]
    TimedOut { operation: &'static str, server: String, after: Duration },
    #[error("cannot {operation}: {server} is not reachable: {why}")]
    Unreachable { operation: &'static str, server: String, why: String, sent: bool },
    #[error("cannot {operation}: the response has more than {limit} bytes")]
    TooLong { operation: &'static str, limit: usize },
    #[error("cannot {operation}: the response is not valid: {why}")]
    Invalid { operation: &'static str, why: &'static str },
    #[error("the comment does not list the digests of the plans: it is about too many clusters")]
    TooManyDigests,
    #[error("there are more than {0} comments, and the comment of rolecall is not among the first")]
    TooManyComments(usize),
}

fn message_suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl ForgeError {
    pub(super) fn invalid(operation: &'static str, why: &'static str) -> Self {
        Self::Invalid { operation, why }
    }

    /// Returns whether the request may have been executed.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500,
            Self::TimedOut { .. }
            | Self::Unreachable { sent: true, .. }
            | Self::TooLong { .. }
            | Self::Invalid { .. } => true,
            Self::NoMarker
            | Self::TooManyDigests
            | Self::InvalidUrl { .. }
            | Self::InvalidToken
            | Self::Redirect { .. }
            | Self::Unreachable { sent: false, .. }
            | Self::TooManyComments(_) => false,
        }
    }
}
