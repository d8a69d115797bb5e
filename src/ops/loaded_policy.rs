//! The policy of a command: its files, and what they are parsed to.

use std::path::{Path, PathBuf};

use super::command_error::CommandError;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::policy::{self, Policy};
use crate::render::text_util::pluralize;

/// A loaded policy and the directory against which its relative paths are resolved.
pub(crate) struct LoadedPolicy {
    pub(crate) policy: Policy,
    pub(crate) base_dir: PathBuf,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The files of a policy before they are parsed.
pub(crate) struct PolicyFiles {
    /// The names for messages, and the contents.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) base_dir: PathBuf,
    /// The link, if the policy was read through a link to a file outside its directory. The link can come from a pull
    /// request, and lead to a file with secrets: then no error shows content.
    pub(crate) leading_out: Option<PathBuf>,
}

impl PolicyFiles {
    /// Parses and validates the files.
    ///
    /// # Errors
    /// All errors of the policy.
    pub(crate) fn parse(self) -> Result<LoadedPolicy, CommandError> {
        match policy::load_policy(self.files) {
            Ok((policy, warnings)) => Ok(LoadedPolicy { policy, base_dir: self.base_dir, warnings }),
            Err((sources, diagnostics)) => Err(match self.leading_out {
                None => CommandError::new(sources, diagnostics),
                Some(link) => hidden_errors(&link, &sources, &diagnostics),
            }),
        }
    }
}

/// Returns the place of the first error without content of the file.
fn hidden_errors(link: &Path, sources: &SourceMap, diagnostics: &[Diagnostic]) -> CommandError {
    let errors: Vec<&Diagnostic> = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    let first = errors.iter().find_map(|error| error.primary.as_ref()).map(|(span, _)| sources.location(*span).line);
    let line = first.map(|line| format!(", the first in line {line}")).unwrap_or_default();
    let message = format!("the policy {} is not valid: {}{line}", link.display(), pluralize(errors.len(), "error"));
    CommandError::from_diagnostic(
        Diagnostic::error(message)
            .with_note("the errors are not shown, because the path is a link to a file outside its directory")
            .with_help("name the file itself on the command line to see them"),
    )
}
