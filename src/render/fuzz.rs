//! What is true of every message. The targets of [`crate::fuzz`] call this with the errors of arbitrary input.

use super::diagnostics::render_diagnostics;
use super::style::TextStyle;
use crate::diagnostic::{Diagnostic, SourceMap, is_unsafe_char};

/// A longer message hides what it says, and fills the log of a CI system.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Renders each diagnostic alone.
///
/// # Errors
/// The property that does not hold: a message has an upper limit, and no character that changes the text around it.
pub(crate) fn check_diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap) -> Result<(), String> {
    for diagnostic in diagnostics {
        let text = render_diagnostics(std::slice::from_ref(diagnostic), sources, TextStyle::Plain);
        let text = text.to_output(TextStyle::Plain);
        if text.len() > MAX_MESSAGE_BYTES {
            let start: String = text.chars().take(400).collect();
            return Err(format!("a message of {} bytes: {start}", text.len()));
        }
        if let Some(c) = text.chars().find(|c| *c != '\n' && is_unsafe_char(*c)) {
            return Err(format!("a message has {c:?}: {text:?}"));
        }
        if diagnostic.is_internal_error() {
            return Err(format!("an internal error: {text}"));
        }
    }
    Ok(())
}
