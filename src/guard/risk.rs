//! What a plan does that nobody does by mistake twice: who loses what, and the one word that says yes to it.

use super::allow_flag::AllowFlag;
use crate::access::{RequestSetExcept, SubjectQuery};
use crate::diagnostic::Diagnostic;

/// Sets of requests named one by one.
const MAX_LISTED_SETS: usize = 3;

/// What is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKind {
    /// The caller's own access.
    Caller,
    /// Nodes and Fargate pods.
    Node,
    Protected,
    /// aws-auth maps somebody, and can be read.
    AwsAuth,
    LastAdmin,
    Masters,
    MaxRemovals,
}

/// A danger of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Risk {
    pub(crate) guard: GuardKind,
    /// Who loses or gains; nobody in particular where all do.
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) help: Vec<String>,
    /// What says yes to it; nothing does where no plan may do it.
    pub(crate) allow: Option<AllowFlag>,
}

/// A guard that could not be asked, or that has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnevaluatedGuard {
    pub(crate) guard: GuardKind,
    pub(crate) reason: String,
}

impl Risk {
    pub(super) fn new(guard: GuardKind, message: String) -> Self {
        Self { guard, subject: None, message, help: Vec::new(), allow: None }
    }

    pub(super) fn with_subject(self, who: &SubjectQuery) -> Self {
        Self { subject: Some(who.to_string()), ..self }
    }

    pub(super) fn with_help(mut self, hint: impl Into<String>) -> Self {
        self.help.push(hint.into());
        self
    }

    pub(super) fn with_allow_flag(self, allow: AllowFlag) -> Self {
        Self { allow: Some(allow), ..self }
    }

    /// As an error that refuses.
    pub(crate) fn to_error(&self) -> Diagnostic {
        let error = Diagnostic::error(self.message.clone());
        let error = self.help.iter().cloned().fold(error, Diagnostic::with_help);
        match &self.allow {
            Some(allow) => error.with_help(format!("if this is meant: --allow {allow}")),
            None => error,
        }
    }

    /// As a warning, where the command line says yes.
    pub(crate) fn to_warning(&self) -> Diagnostic {
        let by = self.allow.as_ref().map(|allow| format!(" (--allow {allow})")).unwrap_or_default();
        Diagnostic::warning(format!("allowed{by}: {}", self.message))
    }
}

/// `get configmaps named aws-auth; list roles …`, the first few of them.
pub(super) fn format_request_sets(all: &[RequestSetExcept<'_>]) -> String {
    let mut words: Vec<String> = all.iter().map(ToString::to_string).collect();
    words.dedup();
    let more = words.len().saturating_sub(MAX_LISTED_SETS);
    words.truncate(MAX_LISTED_SETS);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}
