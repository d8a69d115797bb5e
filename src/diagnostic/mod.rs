//! Errors and warnings as data: the message, the position, the evidence and the advice.
//!
//! Every module has its own error types and converts them into [`Diagnostic`]. This module may not depend on what the
//! errors are about. `render` prints them.

mod internal_error;
mod lint_id;
mod source_map;
mod suggest;
mod unsafe_chars;

pub(crate) use internal_error::InternalError;
pub(crate) use lint_id::LintId;
pub(crate) use source_map::{SourceLocation, SourceMap, Span};
pub(crate) use suggest::{closest_match, closest_qualified_match};
pub(crate) use unsafe_chars::{escape_text, is_unsafe_char};

/// The severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// What a note below a diagnostic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteKind {
    /// Evidence: the fact that makes the message true.
    Because,
    /// Context that is neither evidence nor advice.
    Note,
    /// Advice: the command to run or the line to write.
    Help,
}

/// A line below a diagnostic, such as `= help: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiagnosticNote {
    pub(crate) kind: NoteKind,
    pub(crate) text: String,
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// The name by which a policy allows or denies a warning; `None` for errors and for warnings about a cluster.
    pub(crate) lint: Option<LintId>,
    /// The first line of the diagnostic. It starts in lower case, has no full stop, and quotes names in backticks.
    pub(crate) message: String,
    /// The position in the policy, and the label to print there.
    pub(crate) primary: Option<(Span, String)>,
    /// Related positions in the policy, and their labels.
    pub(crate) secondary: Vec<(Span, String)>,
    /// The source line of a problem that is not in a policy file but in aws-auth or a snapshot.
    pub(crate) excerpt: Option<Excerpt>,
    /// Shown below the source, in this order.
    pub(crate) notes: Vec<DiagnosticNote>,
}

/// A line of a text that is not a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) name: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1, in characters.
    pub(crate) column: usize,
    pub(crate) text: String,
}

impl Diagnostic {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            lint: None,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            excerpt: None,
            notes: Vec::new(),
        }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Returns a warning that a policy can allow or deny.
    pub(crate) fn lint(id: LintId, message: impl Into<String>) -> Self {
        Self { lint: Some(id), ..Self::warning(message) }
    }

    pub(crate) fn primary_label(mut self, span: Span, label: impl Into<String>) -> Self {
        self.primary = Some((span, label.into()));
        self
    }

    pub(crate) fn secondary_label(mut self, span: Span, label: impl Into<String>) -> Self {
        self.secondary.push((span, label.into()));
        self
    }

    pub(crate) fn with_excerpt(mut self, excerpt: Excerpt) -> Self {
        self.excerpt = Some(excerpt);
        self
    }

    /// Adds evidence: the fact that makes the message true.
    pub(crate) fn with_because(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Because, text: text.into() }])
    }

    /// Adds context that is neither evidence nor advice.
    pub(crate) fn with_note(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Note, text: text.into() }])
    }

    /// Adds advice: the command to run or the line to write.
    pub(crate) fn with_help(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Help, text: text.into() }])
    }

    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = DiagnosticNote>) -> Self {
        self.notes.extend(notes);
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
