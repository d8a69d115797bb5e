//! The error of a command: diagnostics and the source files that they refer to. It is printed once, at the end.

use crate::cluster::ClusterError;
use crate::diagnostic::{Diagnostic, InternalError, SourceMap};
use crate::report::SerializeError;

/// Why a command failed.
#[derive(Debug, Default)]
pub(crate) struct CommandError {
    pub(crate) sources: SourceMap,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether a guard or an invariant refused the plan. It has an exit code of its own.
    pub(crate) is_refusal: bool,
    /// Whether another client has changed what the plan relies on. A new plan can succeed.
    pub(crate) is_lost_race: bool,
}

impl CommandError {
    pub(crate) fn new(sources: SourceMap, diagnostics: Vec<Diagnostic>) -> Self {
        Self { sources, diagnostics, ..Self::default() }
    }

    /// Returns an error that does not refer to a policy file.
    pub(crate) fn from_diagnostic(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], ..Self::default() }
    }

    /// Marks the error as a refusal by a guard or an invariant.
    pub(crate) fn into_refusal(self) -> Self {
        Self { is_refusal: true, ..self }
    }

    /// Marks the error as the result of a change by another client.
    pub(crate) fn into_lost_race(self) -> Self {
        Self { is_lost_race: true, ..self }
    }

    /// Adds the name of the cluster to the messages, for a policy that has clusters. Messages about a policy file are left
    /// as they are.
    pub(crate) fn with_cluster_name(mut self, name: Option<&str>) -> Self {
        if let Some(name) = name {
            for diagnostic in &mut self.diagnostics {
                if diagnostic.primary.is_none() {
                    diagnostic.message = format!("cluster `{name}`: {}", diagnostic.message);
                }
            }
        }
        self
    }
}

impl From<ClusterError> for CommandError {
    fn from(error: ClusterError) -> Self {
        Self::from_diagnostic(error.to_diagnostic())
    }
}

impl From<Vec<Diagnostic>> for CommandError {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, ..Self::default() }
    }
}

impl From<SerializeError> for CommandError {
    fn from(error: SerializeError) -> Self {
        InternalError::from(error).into()
    }
}

impl From<InternalError> for CommandError {
    fn from(error: InternalError) -> Self {
        Self::from_diagnostic(error.into())
    }
}
