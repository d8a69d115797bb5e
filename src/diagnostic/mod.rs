//! A fault or a warning as data: what, where, why, what to do. Printed elsewhere.
//!
//! Every room keeps its own typed errors and turns them into this one form at its door. This room may not know what
//! the faults are about, and nothing here prints.

mod source;
mod suggest;

pub(crate) use source::{Place, Sources, Span};
pub(crate) use suggest::nearest;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// A fault or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// Lower case, no full stop, names quoted by backticks.
    pub(crate) message: String,
    /// The place in the policy and what stands there, where the fault has one.
    pub(crate) at: Option<(Span, String)>,
    /// Other places that belong to it.
    pub(crate) also: Vec<(Span, String)>,
    /// Source that is not a policy file: (name, line, the line's text), as of aws-auth or a snapshot.
    pub(crate) excerpt: Option<Excerpt>,
    pub(crate) hints: Vec<String>,
}

/// A line of a text that is not a policy file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
            at: None,
            also: Vec::new(),
            excerpt: None,
            hints: Vec::new(),
        }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(crate) fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.at = Some((span, label.into()));
        self
    }

    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    pub(crate) fn excerpt(mut self, excerpt: Excerpt) -> Self {
        self.excerpt = Some(excerpt);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
