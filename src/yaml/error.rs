//! The error of the YAML parser: a message and its location in the text.

use super::cursor::TextPosition;

/// Why a text is refused, with the position to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct YamlError {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1, in characters.
    pub(crate) column: usize,
    /// Lower case, without a full stop.
    pub(crate) message: String,
}

impl YamlError {
    pub(super) fn new(mark: TextPosition, message: impl Into<String>) -> Self {
        Self { line: mark.line + 1, column: mark.column + 1, message: message.into() }
    }
}
