//! Why a command ends without its result: faults, and the files that they point into. Printed once, at the end.

use crate::cluster::ClusterError;
use crate::diagnostic::{Diagnostic, Sources};

/// Faults with their sources.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    pub(crate) sources: Sources,
    pub(crate) found: Vec<Diagnostic>,
    /// A guard or an invariant stands behind it.
    pub(crate) refused: bool,
}

impl Failure {
    pub(crate) fn new(sources: Sources, found: Vec<Diagnostic>) -> Self {
        Self { sources, found, refused: false }
    }

    /// A fault that points into no policy file.
    pub(crate) fn of(found: Diagnostic) -> Self {
        Self { found: vec![found], ..Self::default() }
    }

    /// The same as a refusal.
    pub(crate) fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// Says of which cluster it is, where a policy names several.
    pub(crate) fn in_cluster(mut self, name: Option<&str>) -> Self {
        if let Some(name) = name {
            for one in &mut self.found {
                if one.at.is_none() {
                    one.message = format!("cluster `{name}`: {}", one.message);
                }
            }
        }
        self
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self::of(error.diagnostic())
    }
}
