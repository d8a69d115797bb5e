//! The one error of this room: what is wrong, and where in the text.

use super::cursor::TextPosition;

/// A text that go-yaml v2 would not read, with the place a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct YamlError {
    /// Counts from 1.
    pub(crate) line: usize,
    /// Counts characters from 1.
    pub(crate) column: usize,
    /// Lower case, without a full stop.
    pub(crate) message: String,
}

impl YamlError {
    pub(super) fn new(mark: TextPosition, message: impl Into<String>) -> Self {
        Self { line: mark.line + 1, column: mark.column + 1, message: message.into() }
    }
}
