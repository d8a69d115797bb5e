//! The error for a case that only a bug of rolecall can cause.

use thiserror::Error;

use super::Diagnostic;

/// A lookup or a serialization failed that cannot fail unless rolecall has a bug: for example, a step refers to an
/// object that does not exist.
///
/// It stops the command before the next write. A default value in its place could choose a write or hide access.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{INTERNAL_ERROR}{0}")]
pub(crate) struct InternalError(String);

impl InternalError {
    /// `what` says what does not fit, with the name of the object.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The first words of each internal error.
const INTERNAL_ERROR: &str = "internal error: ";

impl Diagnostic {
    /// Returns whether this is an internal error, which must not be taken for a fault of the policy or the cluster.
    pub(crate) fn is_internal_error(&self) -> bool {
        self.message.starts_with(INTERNAL_ERROR)
    }
}

impl From<&InternalError> for Diagnostic {
    fn from(error: &InternalError) -> Self {
        Self::error(error.to_string()).with_help(
            "this is a bug in rolecall; please report it with this message, the command and the output of `rolecall version`",
        )
    }
}

impl From<InternalError> for Diagnostic {
    fn from(error: InternalError) -> Self {
        Self::from(&error)
    }
}
