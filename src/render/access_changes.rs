//! The section of a plan that lists who gains and who loses which access.

use std::cmp::Reverse;

use super::plan_text::{PlanTextOptions, sensitive_count};
use super::style::StyleClass;
use super::terminal_text::TerminalText;
use super::text_util::{columns, escape_control, padded, pluralize};
use crate::plan::{
    AccessChange, AccessImpact, AccessSeverity, Action, AffectedSubject, AllowedRequests, Change, ChangeTarget,
    EscalationSummary, GrantedBy, PermissionSummary,
};
use crate::report::AccessSeverityJson;
use crate::state::aws_auth::Section;

/// Changes, subjects of one change and lines of one change that are shown without `--full`.
const MAX_SHOWN: [usize; 3] = [100, 20, 40];
/// The maximum width of a line that has both the subject and its only change.
const MAX_INLINE_WIDTH: usize = 140;
/// The width of the longest severity.
const SEVERITY_WIDTH: usize = "critical".len();
/// The maximum number of bindings named in one line.
const MAX_SOURCES: usize = 3;

/// Returns the section with its heading. `plan_changes` are the changes of the same plan.
pub(crate) fn render_access_changes(
    changes: &[AccessChange],
    plan_changes: &[Change],
    options: &PlanTextOptions<'_>,
) -> TerminalText {
    let PlanTextOptions { full, style, .. } = *options;
    let mut out = TerminalText::from_line(&style.paint(StyleClass::Heading, "Who gains and loses access"));
    let [max_changes, max_subjects, max_lines] = if full { [usize::MAX; 3] } else { MAX_SHOWN };
    let lost_logins = lost_logins(changes, plan_changes);
    if changes.is_empty() && lost_logins.is_empty() {
        out.line("  no access changes");
    }
    // The changes are sorted by severity. Severe ones are shown with all subjects and lines.
    let severe = changes.iter().take_while(|change| change.severity() >= AccessSeverity::High).count();
    let shown = max_changes.max(severe);
    for (number, change) in changes.iter().take(shown).enumerate() {
        let limits = if number < severe { [usize::MAX; 2] } else { [max_subjects, max_lines] };
        push_access_change(change, limits, options, &mut out);
    }
    push_more_changes(changes.get(shown..).unwrap_or_default(), &mut out);
    let sign = style.paint(StyleClass::Removed, "-");
    for principal in lost_logins.iter().take(max_changes) {
        out.line(&format!("  {sign} {}  can no longer log in (loses no RBAC permissions)", escape_control(principal)));
    }
    push_more(lost_logins.len(), max_changes, "more lost login", "  ", &mut out);
    if !full && has_summaries(changes) {
        out.line(&style.paint(StyleClass::Location, "  (--full lists the permissions of each role)"));
    }
    out.blank_line();
    out
}

/// Returns the principals that lose their last aws-auth entry and with it no permission.
fn lost_logins<'a>(changes: &[AccessChange], plan_changes: &'a [Change]) -> Vec<&'a str> {
    let is_listed = |principal: &str| {
        let mut subjects = changes.iter().flat_map(|change| &change.subjects);
        subjects.any(|affected| affected.subject.eq_ignore_ascii_case(principal))
    };
    let mut principals: Vec<&str> = plan_changes
        .iter()
        .filter(|change| change.action == Action::Delete && change.access_impact == Some(AccessImpact::Changes))
        .filter_map(|change| match &change.target {
            ChangeTarget::Entry { section: Section::Roles | Section::Users, principal } => Some(principal.as_str()),
            ChangeTarget::Entry { section: Section::Accounts, .. } | ChangeTarget::Object(_) => None,
        })
        .filter(|principal| !is_listed(principal))
        .collect();
    principals.dedup();
    principals
}

/// `1 subject gains access, 2 lose.` `plan_changes` are the changes of the same plan.
pub(crate) fn access_totals(changes: &[AccessChange], plan_changes: &[Change]) -> String {
    let count_subjects = |is_counted: fn(&AccessChange) -> bool| -> usize {
        changes.iter().filter(|change| is_counted(change)).map(|change| change.subjects.len()).sum()
    };
    let gaining = count_subjects(|change| !change.diff.gains.is_empty());
    let losing = count_subjects(|change| !change.diff.losses.is_empty()) + lost_logins(changes, plan_changes).len();
    let verb = |number, singular, plural| if number == 1 { singular } else { plural };
    format!(
        "{} {} access, {losing} {}.",
        pluralize(gaining, "subject"),
        verb(gaining, "gains", "gain"),
        verb(losing, "loses", "lose")
    )
}

fn push_more(total: usize, shown: usize, noun: &str, indent: &str, out: &mut TerminalText) {
    if let Some(more) = total.checked_sub(shown).filter(|more| *more > 0) {
        out.line(&format!("{indent}… and {} (use --full to show them)", pluralize(more, noun)));
    }
}

/// Counts the changes that are left out.
fn push_more_changes(changes: &[AccessChange], out: &mut TerminalText) {
    if changes.is_empty() {
        return;
    }
    let gain = changes.iter().filter(|change| !change.diff.gains.is_empty()).count();
    let lose = changes.iter().filter(|change| !change.diff.losses.is_empty()).count();
    let sensitive = sensitive_count(changes.iter().map(AccessChange::severity));
    let more = pluralize(changes.len(), "more access change");
    out.line(&format!("  … and {more}: {gain} gain, {lose} lose; {sensitive} (use --full to show them)"));
}

fn push_access_change(
    change: &AccessChange,
    [max_subjects, max_lines]: [usize; 2],
    options: &PlanTextOptions<'_>,
    out: &mut TerminalText,
) {
    let style = options.style;
    let AccessChange { subjects, diff, gain_summary, loss_summary } = change;
    let (sign, class) = match (diff.gains.is_empty(), diff.losses.is_empty()) {
        (false, true) => ("+", StyleClass::Added),
        (true, false) => ("-", StyleClass::Removed),
        (false, false) => ("~", StyleClass::Changed),
        (true, true) => ("!", StyleClass::Changed),
    };
    let sign = style.paint(class, sign);
    let gains = grant_lines(("gains", "via"), &diff.gains, gain_summary, options.full);
    let losses = grant_lines(("loses", "previously via"), &diff.losses, loss_summary, options.full);
    let lines: Vec<String> = gains.into_iter().chain(losses).collect();
    match (subjects.as_slice(), lines.as_slice()) {
        ([subject], [line])
            if columns(&subject_text(subject)) + columns(line) + 6
                <= options.width.map_or(MAX_INLINE_WIDTH, |width| MAX_INLINE_WIDTH.min(width)) =>
        {
            out.line(&format!("  {sign} {}  {line}", subject_text(subject)));
        }
        (subjects, lines) => {
            for (number, subject) in subjects.iter().take(max_subjects).enumerate() {
                let sign = if number == 0 { &sign } else { " " };
                out.line(&format!("  {sign} {}", subject_text(subject)));
            }
            push_more(subjects.len(), max_subjects, "more subject", "    ", out);
            for line in lines.iter().take(max_lines) {
                out.line(&format!("      {line}"));
            }
            push_more(lines.len(), max_lines, "more line", "      ", out);
        }
    }
    let mut escalations: Vec<&EscalationSummary> = diff.escalations.iter().collect();
    escalations.sort_by_key(|escalation| Reverse(escalation.severity()));
    for escalation in escalations {
        let severity = padded(AccessSeverityJson::from(escalation.severity()).name(), SEVERITY_WIDTH);
        let severity = style.paint(StyleClass::Removed, &format!("! {severity}"));
        out.line(&format!("    {severity}  {}: {}", escalation.name, escape_control(&escalation.path)));
    }
}

fn subject_text(affected: &AffectedSubject) -> String {
    let name = affected.name.as_ref().map(|name| format!(" ({})", escape_control(name))).unwrap_or_default();
    format!("{}{name}", escape_control(&affected.subject))
}

/// Returns a line for each permission, or for each summary of several unless everything is shown.
fn grant_lines(
    (verb, preposition): (&str, &str),
    permissions: &[AllowedRequests],
    summary: &[PermissionSummary],
    full: bool,
) -> Vec<String> {
    let line = |text: &str, granted_by: &[GrantedBy]| {
        format!("{verb}  {}{}", escape_control(text), sources_suffix(preposition, granted_by))
    };
    if full || summary.is_empty() {
        return permissions.iter().map(|allowed| line(&allowed.summary, &allowed.granted_by)).collect();
    }
    let text_of = |summary: &PermissionSummary| match summary.permissions {
        1 => summary.text.clone(),
        number => format!("{} ({})", summary.text, pluralize(number, "permission")),
    };
    summary.iter().map(|summary| line(&text_of(summary), &summary.granted_by)).collect()
}

/// Returns whether some permissions are summarized, so that `--full` shows more.
fn has_summaries(changes: &[AccessChange]) -> bool {
    let mut all = changes.iter().flat_map(|change| change.gain_summary.iter().chain(&change.loss_summary));
    all.any(|summary| summary.permissions > 1)
}

/// `  via viewers → cluster-viewer`.
fn sources_suffix(preposition: &str, sources: &[GrantedBy]) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let names: Vec<String> = sources.iter().take(MAX_SOURCES).map(granted_by_text).collect();
    let more = sources.len().saturating_sub(MAX_SOURCES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("  {preposition} {}{more}", names.join(", "))
}

/// `viewers → cluster-viewer`.
pub(crate) fn granted_by_text(source: &GrantedBy) -> String {
    match source {
        GrantedBy::Group { group } => escape_control(group),
        GrantedBy::Binding { binding, role } => escape_control(&format!("{} → {}", binding.path(), role.name())),
    }
}
