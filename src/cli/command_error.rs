//! Why a command ends without its result: faults, and the files that they point into. Printed once, at the end.

use crate::cluster::ClusterError;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::report::SerializeError;

/// Faults with their sources.
#[derive(Debug, Default)]
pub(crate) struct CommandError {
    pub(crate) sources: SourceMap,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// A guard or an invariant stands behind it.
    pub(crate) is_refusal: bool,
}

impl CommandError {
    pub(crate) fn new(sources: SourceMap, found: Vec<Diagnostic>) -> Self {
        Self { sources, diagnostics: found, is_refusal: false }
    }

    /// A fault that points into no policy file.
    pub(crate) fn from_diagnostic(found: Diagnostic) -> Self {
        Self { diagnostics: vec![found], ..Self::default() }
    }

    /// The same as a refusal.
    pub(crate) fn into_refusal(self) -> Self {
        Self { is_refusal: true, ..self }
    }

    /// Says of which cluster it is, where a policy names several.
    pub(crate) fn with_cluster_name(mut self, name: Option<&str>) -> Self {
        if let Some(name) = name {
            for one in &mut self.diagnostics {
                if one.primary.is_none() {
                    one.message = format!("cluster `{name}`: {}", one.message);
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
impl From<SerializeError> for CommandError {
    fn from(error: SerializeError) -> Self {
        Self::from_diagnostic(
            Diagnostic::error(error.to_string()).with_help("this is a bug of rolecall: please report it"),
        )
    }
}
