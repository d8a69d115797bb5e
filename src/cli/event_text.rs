//! The lines that events of a use case print on stderr: notes, warnings, and the writes of an apply.

use std::time::Duration;

use super::apply_report::describe_outcome;
use crate::cluster::connection_log::ConnectionEvent;
use crate::cluster::settings::duration_text;
use crate::ops::{ClusterTag, EventKind, NoteLevel, OpsEvent};
use crate::plan::format_duration;
use crate::render::diagnostics::render_diagnostics;
use crate::render::style::TextStyle;
use crate::render::terminal_text::TerminalText;
use crate::render::text_util::pluralize;
use crate::state::object_meta::AGGREGATION_CONTROLLER;

/// Returns the lines for an event. If several clusters work at the same time, each line begins with the name of its
/// cluster, since the lines of the clusters alternate.
pub(super) fn render_event(event: &OpsEvent<'_>, has_several_clusters: bool, style: TextStyle) -> Option<TerminalText> {
    let prefix = event.cluster.filter(|_| has_several_clusters).map(prefix);
    let line = |text: String| Some(TerminalText::from_line(&format!("{}{text}", prefix.clone().unwrap_or_default())));
    match &event.kind {
        EventKind::Diagnostics { diagnostics, sources } if !diagnostics.is_empty() => {
            Some(render_diagnostics(diagnostics, sources, style))
        }
        EventKind::Note { level, text } => {
            let level = match level {
                NoteLevel::Note => "note",
                NoteLevel::Warning => "warning",
            };
            let label = event.cluster.map(|cluster| format!("{}: ", cluster.label)).unwrap_or_default();
            Some(TerminalText::from_line(&format!("{level}: {label}{text}")))
        }
        EventKind::BackupWritten(path) => {
            line(format!("Backup written to {0} (restore with: rolecall restore {0})", path.display()))
        }
        EventKind::DryRunFinished { total, checked, rejected, is_live } => {
            line(format!("Dry run: {}", dry_run_summary(*total, *checked, *rejected, *is_live)))
        }
        EventKind::ApplyStarted { .. } if has_several_clusters => line("applying".to_owned()),
        EventKind::ApplyStarted { .. } => {
            let label = event.cluster.map_or("the cluster", |cluster| cluster.label.as_str());
            let mut out = TerminalText::from_line("");
            out.line(&format!("Applying to {label}"));
            Some(out)
        }
        EventKind::StepDone { number, total, step, before: _, outcome } => {
            let width = total.to_string().len();
            line(indented(
                &format!("[{number:>width$}/{total}] {}", describe_outcome(step, outcome)),
                has_several_clusters,
            ))
        }
        EventKind::Waiting { wait, left } if *left >= wait.duration => {
            line(indented(&wait.to_string(), has_several_clusters))
        }
        EventKind::Waiting { left, .. } => {
            line(indented(&format!("{} left", format_duration(*left)), has_several_clusters))
        }
        EventKind::WaitSkipped { wait } => {
            line(indented(&format!("{wait}: skipped, a snapshot has no tokens"), has_several_clusters))
        }
        EventKind::Verified { checks } => {
            line(format!("Verified {} against the API server.", pluralize(*checks, "access check")))
        }
        EventKind::RoleRewritten(role) => {
            let label = event.cluster.map(|cluster| format!("{}: ", cluster.label)).unwrap_or_default();
            let text =
                format!("note: {label}{role} was written again: {AGGREGATION_CONTROLLER} had put old rules into it");
            Some(TerminalText::from_line(&text))
        }
        EventKind::Connection(ConnectionEvent::Ended { description, result, elapsed }) => {
            let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let elapsed = duration_text(Duration::from_millis(milliseconds));
            Some(TerminalText::from_line(&format!("{description} {result} in {elapsed}")))
        }
        EventKind::Diagnostics { .. }
        | EventKind::ClustersStarted { .. }
        | EventKind::ClusterFinished
        | EventKind::ClustersFinished
        | EventKind::ObservationStarted
        | EventKind::ObservationFinished
        | EventKind::ObservationFailed(_)
        | EventKind::Connection(_)
        | EventKind::PlanningStarted
        | EventKind::PlanningFinished { .. }
        | EventKind::PlanningFailed(_)
        | EventKind::DryRunProgress { .. }
        | EventKind::Lease(_)
        | EventKind::StepFailed { .. }
        | EventKind::ConfirmationStarted { .. }
        | EventKind::ConfirmationFinished
        | EventKind::VerificationStarted { .. }
        | EventKind::ApplyFinished { .. } => None,
    }
}

/// The lines below `Applying to` are indented.
fn indented(text: &str, has_several_clusters: bool) -> String {
    if has_several_clusters { text.to_owned() } else { format!("  {text}") }
}

fn prefix(cluster: &ClusterTag) -> String {
    format!("{}: ", cluster.name.as_ref().unwrap_or(&cluster.label))
}

/// `all 5 writes accepted by the API server`.
fn dry_run_summary(total: usize, checked: usize, rejected: usize, is_live: bool) -> String {
    let writes = pluralize(total, "write");
    let checked_by = if is_live { "the API server" } else { "the rules of the API server" };
    let not_checked = match total.saturating_sub(checked) {
        0 => String::new(),
        number => format!(", {number} not checked because they depend on earlier writes"),
    };
    match (rejected, checked) {
        (0, checked) if checked == total && total > 1 => format!("all {writes} accepted by {checked_by}"),
        (0, checked) => format!("{checked} of {writes} accepted by {checked_by}{not_checked}"),
        (rejected, _) => format!("{rejected} of {writes} rejected by {checked_by}{not_checked}"),
    }
}
