//! `drift --metrics FILE`: reads the metrics of earlier runs, and writes those of this run.

#![expect(clippy::disallowed_methods, reason = "reads the metrics of earlier runs")]

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env::Env;
use super::write_output;
use crate::diagnostic::{Diagnostic, escape_text};
use crate::files::{OutputKind, is_stdout};
use crate::ops::CommandError;
use crate::render::drift_metrics::{DriftMetrics, DriftRun, MetricsSyntaxError};
use crate::report::PlanDocument;

/// The file, and the metrics that it had before the run.
pub(super) struct MetricsFile {
    path: PathBuf,
    earlier: DriftMetrics,
}

/// What the metrics say of a run.
#[derive(Default)]
pub(super) struct RunResult {
    /// The plans of the clusters that were compared.
    pub(super) document: Option<PlanDocument>,
    /// The clusters of the policy, if they are known.
    pub(super) known: Option<BTreeSet<String>>,
    pub(super) is_success: bool,
}

impl MetricsFile {
    /// Reads the metrics of earlier runs.
    ///
    /// # Errors
    /// If the file cannot be read. The time of the last success would be lost.
    pub(super) fn open(path: &Path, env: &mut Env) -> Result<Self, CommandError> {
        if is_stdout(path) {
            let error = Diagnostic::error("the metrics cannot be written to stdout, which has the result");
            return Err(CommandError::from_diagnostic(error.with_help("name a file: --metrics FILE")));
        }
        let name = path.display();
        let text = match std::fs::read_to_string(env.cwd.join(path)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let error = Diagnostic::error(format!("cannot read the metrics of earlier runs in {name}: {error}"));
                return Err(CommandError::from_diagnostic(error.with_help("name a file that `drift --metrics` wrote")));
            }
        };
        let earlier = DriftMetrics::parse(&text).map_err(|MetricsSyntaxError { line }| {
            let error = Diagnostic::error(format!("{name} has no metrics in line {line}"));
            let error = error
                .with_because("the time of the last successful run is read from the file, and kept if a run fails");
            CommandError::from_diagnostic(error.with_help("delete the file, or name another one"))
        })?;
        Ok(Self { path: path.to_owned(), earlier })
    }

    /// Writes the metrics after a run.
    ///
    /// # Errors
    /// If the file cannot be written. It is unchanged then.
    pub(super) fn write(self, result: &RunResult, env: &mut Env) -> Result<(), CommandError> {
        let RunResult { document, known, is_success } = result;
        let finished = (env.clock)();
        // The clock can have been set back.
        let duration = Duration::try_from(finished.duration_since(env.now)).unwrap_or_default();
        let mut metrics = self.earlier;
        metrics.update(&DriftRun {
            plans: document.as_ref().map(|document| document.plans.as_slice()).unwrap_or_default(),
            known: known.as_ref().map(|names| names.iter().map(|name| escape_text(name)).collect()),
            is_success: *is_success,
            finished,
            duration,
        });
        write_output(&self.path, &metrics.render()?, OutputKind::Metrics, env)
    }
}
