//! What an apply prints: its writes, and when it stops which steps are done, which are not, and the error.

use super::args::OutputFormat;
use super::env::Env;
use super::print_error;
use crate::cluster::WriteOutcome;
use crate::diagnostic::SourceMap;
use crate::ops::{ApplyFailure, CommandError, StepsSummary, SummarizedStep};
use crate::plan::Step;
use crate::render::terminal_text::TerminalText;
use crate::state::write::WriteRequest;

/// The number of steps that are listed. The others are counted.
const MAX_LISTED: usize = 20;

/// What a step did, in the past tense.
pub(super) fn describe_outcome(step: &Step, outcome: &WriteOutcome) -> String {
    let object = &step.object;
    match (outcome, &step.write) {
        (WriteOutcome::Unchanged(_), _) => format!("already up to date: {object}"),
        (WriteOutcome::Terminating(finalizers), _) => {
            format!("deleting {object}: it grants access until its finalizers are removed: {}", finalizers.join(", "))
        }
        (_, WriteRequest::Create(_)) => format!("created {object}"),
        (_, WriteRequest::Patch(_)) => format!("changed {object}"),
        (_, WriteRequest::Delete) => format!("deleted {object}"),
    }
}

/// Returns the steps that were done and those that were not; `no_changes` is printed if none was.
pub(super) fn render_summary(summary: &StepsSummary, no_changes: &str) -> TerminalText {
    let list = |title: &str, steps: &[SummarizedStep], out: &mut TerminalText| {
        if steps.is_empty() {
            return;
        }
        out.line(&format!("{title} ({}):", steps.len()));
        for step in steps.iter().take(MAX_LISTED) {
            let suffix = if step.is_unknown { " (result unknown: the API server did not answer)" } else { "" };
            out.line(&format!("  {}{suffix}", step.description));
        }
        if steps.len() > MAX_LISTED {
            out.line(&format!("  … and {} more", steps.len() - MAX_LISTED));
        }
    };
    let mut out = TerminalText::default();
    out.blank_line();
    list("Done", &summary.done, &mut out);
    if !summary.has_changes() {
        out.line(no_changes);
    }
    list("Done and reverted", &summary.reverted, &mut out);
    list("Done, could not be reverted", &summary.not_reverted, &mut out);
    list("Not done", &summary.not_done, &mut out);
    out.blank_line();
    out
}

/// Prints why the apply of a cluster stopped.
pub(super) fn print_failure(failure: ApplyFailure, no_changes: &str, sources: &SourceMap, env: &mut Env) {
    if let Some(summary) = &failure.summary {
        env.eprint_text(&render_summary(summary, no_changes));
    }
    print_error(&CommandError::new(sources.clone(), failure.error.diagnostics), OutputFormat::Text, env);
}
