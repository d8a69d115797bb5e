//! A fault or a warning as data: what, where, why, what to do. Printed elsewhere.
//!
//! Every room keeps its own typed errors and turns them into this one form at its door. This room may not know what
//! the faults are about, and nothing here prints.

mod source_map;
mod suggest;

pub(crate) use source_map::{SourceLocation, SourceMap, Span};
pub(crate) use suggest::closest_match;

/// How much a diagnostic weighs.
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

/// A fault or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// Lower case, no full stop, names quoted by backticks.
    pub(crate) message: String,
    /// The place in the policy and what stands there, where the fault has one.
    pub(crate) primary: Option<(Span, String)>,
    /// Other places that belong to it.
    pub(crate) secondary: Vec<(Span, String)>,
    /// Source that is not a policy file: (name, line, the line's text), as of aws-auth or a snapshot.
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
