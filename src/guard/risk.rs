//! Risks of a plan: who loses or gains which access, and the `--allow` value that accepts exactly this risk.

use super::allow_flag::AllowFlag;
use crate::access::{RequestSetExcept, SubjectQuery};
use crate::diagnostic::{Diagnostic, DiagnosticNote, NoteKind};

/// How many sets of requests a message lists.
const MAX_LISTED_SETS: usize = 3;

/// The guard that reports a risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKind {
    /// The caller's own access.
    Caller,
    /// Nodes and Fargate pods.
    Node,
    /// The principals in `guard.protected`.
    Protected,
    /// aws-auth can be parsed, and maps at least one principal.
    AwsAuth,
    /// An aws-auth principal that can restore access.
    LastAdmin,
    /// New members of `system:masters`.
    Masters,
    /// New access for anonymous requests, for all authenticated users or for all service accounts.
    Everyone,
    /// The limit `guard.max-removals`, or the default limit.
    MaxRemovals,
    /// The authentication mode of the cluster. Only a migration changes it.
    AuthMode,
    /// Equal access of the principals that a migration moves.
    EqualAccess,
}

impl GuardKind {
    /// Every guard of a plan, in the order in which they are listed.
    pub(super) const ALL: [Self; 8] = [
        Self::Caller,
        Self::Node,
        Self::Protected,
        Self::AwsAuth,
        Self::LastAdmin,
        Self::Masters,
        Self::Everyone,
        Self::MaxRemovals,
    ];
}

/// A risk of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Risk {
    pub(crate) guard: GuardKind,
    /// The subject that loses or gains access; `None` if the risk is not about a single subject.
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) notes: Vec<DiagnosticNote>,
    /// The flag that accepts the risk; `None` if it cannot be accepted.
    pub(crate) allow: Option<AllowFlag>,
}

/// A guard that could not be evaluated, or that does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnevaluatedGuard {
    pub(crate) guard: GuardKind,
    pub(crate) reason: String,
}

impl Risk {
    pub(super) fn new(guard: GuardKind, message: String) -> Self {
        Self { guard, subject: None, message, notes: Vec::new(), allow: None }
    }

    pub(super) fn with_subject(self, subject: &SubjectQuery) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    /// Adds evidence: the fact that makes the message true.
    pub(super) fn with_because(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Because, text: text.into() }])
    }

    /// Adds context that is neither evidence nor advice.
    pub(super) fn with_note(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Note, text: text.into() }])
    }

    /// Adds advice.
    pub(super) fn with_help(self, text: impl Into<String>) -> Self {
        self.with_notes([DiagnosticNote { kind: NoteKind::Help, text: text.into() }])
    }

    pub(super) fn with_notes(mut self, notes: impl IntoIterator<Item = DiagnosticNote>) -> Self {
        self.notes.extend(notes);
        self
    }

    pub(super) fn with_allow_flag(self, allow: AllowFlag) -> Self {
        Self { allow: Some(allow), ..self }
    }

    /// Returns the error of a refused plan.
    pub(crate) fn to_error(&self) -> Diagnostic {
        let error = Diagnostic::error(self.message.clone());
        let error = error.with_notes(self.notes.iter().cloned());
        match &self.allow {
            Some(allow) => error.with_help(format!("to proceed anyway, pass --allow {allow}")),
            None => error,
        }
    }

    /// Returns the warning about a risk that the command line accepts.
    pub(crate) fn to_warning(&self) -> Diagnostic {
        let flag = self.allow.as_ref().map(|allow| format!(" (--allow {allow})")).unwrap_or_default();
        Diagnostic::warning(format!("allowed{flag}: {}", self.message))
    }
}

/// Formats the first [`MAX_LISTED_SETS`] sets, such as `get configmaps named aws-auth; list roles; and 2 more`.
pub(super) fn format_request_sets(sets: &[RequestSetExcept<'_>]) -> String {
    let mut texts: Vec<String> = sets.iter().map(ToString::to_string).collect();
    texts.dedup();
    let more = texts.len().saturating_sub(MAX_LISTED_SETS);
    texts.truncate(MAX_LISTED_SETS);
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join("; ")
}
