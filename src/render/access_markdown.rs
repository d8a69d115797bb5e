//! Who gains and loses access, as a table of a Markdown document, the worst first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::markdown_page::{PageSection, SectionPriority};
use super::markdown_text::{HtmlText, MarkdownText};
use super::plan_facts::{PlanFacts, lost_logins};
use super::plan_markdown::{MAX_MESSAGE, MAX_NAME, join};
use crate::report::{
    AccessChangeJson, AccessSeverityJson, EscalationJson, GrantSourceJson, PermissionJson, PermissionSummaryJson,
    PlanJson, SubjectJson,
};

/// The number of lines in the cell of a row. The others are in the part that lists everything.
const MAX_ROW_LINES: usize = 5;
/// The number of subjects in the cell of a row.
const MAX_ROW_SUBJECTS: usize = 4;
/// The number of bindings that one line names.
const MAX_SOURCES: usize = 3;
/// The number of subjects that the verdict names.
const MAX_VERDICT_SUBJECTS: usize = 2;

/// A row of the table. The same row of several clusters is shown once.
struct AccessRow {
    severity: AccessSeverityJson,
    is_gain: bool,
    subjects: MarkdownText,
    lines: MarkdownText,
    clusters: Vec<MarkdownText>,
}

/// Returns the worst gain and the worst loss of all clusters, a line each, for the verdict.
pub(super) fn worst_changes(facts: &PlanFacts<'_>) -> MarkdownText {
    let mut out = MarkdownText::default();
    if let Some(change) = facts.worst_gain() {
        let gain = match (change.escalations.first(), change.gains.first()) {
            (Some(path), _) => MarkdownText::short_prose(&path.path, MAX_MESSAGE),
            (None, Some(gain)) => {
                let summary = change.gains_summary.first().map_or(&gain.permission, |summary| &summary.text);
                MarkdownText::short_prose(summary, MAX_MESSAGE)
            }
            (None, None) => MarkdownText::default(),
        };
        out.push(&MarkdownText::template(
            "\n**Worst gain: {}.** {}: {}\n",
            [severity_text(change.severity), short_subjects(&change.subjects), gain],
        ));
    }
    if let Some(change) = facts.worst_loss()
        && let Some(loss) = change.loses.first()
    {
        let summary = change.loses_summary.first().map_or(&loss.permission, |summary| &summary.text);
        out.push(&MarkdownText::template(
            "\n**Worst loss:** {}: {}\n",
            [short_subjects(&change.subjects), MarkdownText::short_prose(summary, MAX_MESSAGE)],
        ));
    }
    let escalations = facts.escalations();
    if !escalations.is_empty() {
        let counts = escalations.into_iter().map(|(severity, count)| {
            MarkdownText::template("{} {}", [MarkdownText::number(count), severity_text(severity)])
        });
        out.push(&MarkdownText::template(
            "\nPrivilege escalation paths opened: {}.\n",
            [MarkdownText::join(counts, ", ")],
        ));
    }
    out
}

/// Returns the table, and what does not fit into its cells.
pub(super) fn access_sections(facts: &PlanFacts<'_>) -> Vec<PageSection> {
    let plans = &facts.document.plans;
    let has_clusters = plans.len() > 1;
    let rows = access_rows(facts);
    if rows.is_empty() {
        return Vec::new();
    }
    let header = if has_clusters {
        "\n#### Who gains and loses access\n\n| Severity | Who | Access | Clusters |\n| --- | --- | --- | --- |\n"
    } else {
        "\n#### Who gains and loses access\n\n| Severity | Who | Access |\n| --- | --- | --- |\n"
    };
    let items = rows.into_iter().map(|row| {
        let AccessRow { severity, is_gain: _, subjects, lines, clusters } = row;
        let severity = match severity {
            AccessSeverityJson::Critical => MarkdownText::markup("🔴 **critical**"),
            AccessSeverityJson::High => MarkdownText::markup("🟠 **high**"),
            AccessSeverityJson::Medium => MarkdownText::markup("🟡 medium"),
            AccessSeverityJson::Low => MarkdownText::markup("⚪ low"),
        };
        let mut cells = vec![severity, subjects, lines];
        if has_clusters {
            cells.push(limited(clusters, MAX_ROW_SUBJECTS, "cluster"));
        }
        MarkdownText::table_row(&cells)
    });
    let mut sections = vec![PageSection {
        name: MarkdownText::markup("rows of the access table"),
        priority: SectionPriority::Access,
        start: MarkdownText::markup(header),
        items: items.collect(),
        end: MarkdownText::default(),
        more: |more| MarkdownText::template("\n… and {}\n", [MarkdownText::count(more, "more row")]),
    }];
    sections.extend(plans.iter().filter_map(all_access_section));
    sections
}

/// Returns the rows of all clusters, the worst first, and gains before losses.
fn access_rows(facts: &PlanFacts<'_>) -> Vec<AccessRow> {
    let mut rows: Vec<AccessRow> = Vec::new();
    let mut known: BTreeMap<(MarkdownText, MarkdownText), usize> = BTreeMap::new();
    let mut add = |row: AccessRow| {
        let key = (row.subjects.clone(), row.lines.clone());
        match known.get(&key).and_then(|index| rows.get_mut(*index)) {
            Some(same) => same.clusters.extend(row.clusters),
            None => {
                known.insert(key, rows.len());
                rows.push(row);
            }
        }
    };
    for plan in &facts.document.plans {
        let cluster = MarkdownText::short_code(plan.name.as_deref().unwrap_or(&plan.cluster), MAX_NAME);
        for change in plan.access.iter().flatten() {
            let lines = row_lines(change, LineDetail::Summarized);
            add(AccessRow {
                severity: change.severity,
                is_gain: !change.gains.is_empty() || !change.escalations.is_empty(),
                subjects: limited(change.subjects.iter().map(subject_text).collect(), MAX_ROW_SUBJECTS, "subject"),
                lines: limited(lines, MAX_ROW_LINES, "line"),
                clusters: vec![cluster.clone()],
            });
        }
        for principal in lost_logins(plan) {
            add(AccessRow {
                severity: AccessSeverityJson::Low,
                is_gain: false,
                subjects: MarkdownText::short_code(principal, MAX_NAME),
                lines: MarkdownText::markup("can no longer log in (loses no RBAC permissions)"),
                clusters: vec![cluster.clone()],
            });
        }
    }
    rows.sort_by_key(|row| Reverse((row.severity, row.is_gain)));
    rows
}

/// Whether permissions that are gained or lost as a role are one line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineDetail {
    Summarized,
    Full,
}

fn row_lines(change: &AccessChangeJson, detail: LineDetail) -> Vec<MarkdownText> {
    let escalations = change.escalations.iter().map(|EscalationJson { name, path, severity, .. }| {
        let sign = if *severity == AccessSeverityJson::Critical { "🔴 {}: {}" } else { "🟠 {}: {}" };
        MarkdownText::template(sign, [MarkdownText::code(name), MarkdownText::short_prose(path, MAX_MESSAGE)])
    });
    let gains = permission_lines(("**gains** {}{}", " via {}"), &change.gains, &change.gains_summary, detail);
    let losses =
        permission_lines(("**loses** {}{}", " previously via {}"), &change.loses, &change.loses_summary, detail);
    escalations.chain(gains).chain(losses).collect()
}

fn permission_lines(
    templates: (&'static str, &'static str),
    permissions: &[PermissionJson],
    summary: &[PermissionSummaryJson],
    detail: LineDetail,
) -> Vec<MarkdownText> {
    if detail == LineDetail::Full || summary.is_empty() {
        let lines = permissions.iter();
        return lines.map(|gain| permission_line(templates, &gain.permission, 1, &gain.granted_by)).collect();
    }
    summary.iter().map(|line| permission_line(templates, &line.text, line.permissions, &line.granted_by)).collect()
}

fn permission_line(
    (template, via): (&'static str, &'static str),
    text: &str,
    permissions: usize,
    granted_by: &[GrantSourceJson],
) -> MarkdownText {
    let sources =
        granted_by.iter().take(MAX_SOURCES).map(|source| MarkdownText::short_code(&source_text(source), MAX_NAME));
    let mut sources: Vec<MarkdownText> = sources.collect();
    if let Some(more) = granted_by.len().checked_sub(MAX_SOURCES).filter(|more| *more > 0) {
        sources.push(MarkdownText::template("{} more", [MarkdownText::number(more)]));
    }
    let via = if sources.is_empty() {
        MarkdownText::default()
    } else {
        MarkdownText::template(via, [MarkdownText::join(sources, ", ")])
    };
    let mut text = MarkdownText::short_prose(text, MAX_MESSAGE);
    if permissions > 1 {
        text = MarkdownText::template("{} ({})", [text, MarkdownText::count(permissions, "permission")]);
    }
    MarkdownText::template(template, [text, via])
}

/// `viewers → cluster-viewer`.
fn source_text(source: &GrantSourceJson) -> String {
    match source {
        GrantSourceJson::Group { group } => group.clone(),
        GrantSourceJson::Binding { binding, role } => format!("{} → {}", binding.path(), role.name),
    }
}

/// The name in the policy, and below it the ARN.
fn subject_text(subject: &SubjectJson) -> MarkdownText {
    let SubjectJson { subject, principal_name } = subject;
    let subject = MarkdownText::short_code(subject, MAX_MESSAGE);
    match principal_name {
        Some(name) => MarkdownText::template("**{}**<br>{}", [MarkdownText::short_code(name, MAX_NAME), subject]),
        None => subject,
    }
}

fn short_subjects(subjects: &[SubjectJson]) -> MarkdownText {
    let names = subjects.iter().map(|SubjectJson { subject, principal_name }| {
        MarkdownText::short_code(principal_name.as_deref().unwrap_or(subject), MAX_NAME)
    });
    let mut names: Vec<MarkdownText> = names.take(MAX_VERDICT_SUBJECTS).collect();
    if let Some(more) = subjects.len().checked_sub(MAX_VERDICT_SUBJECTS).filter(|more| *more > 0) {
        names.push(MarkdownText::template("{} more", [MarkdownText::number(more)]));
    }
    MarkdownText::join(names, ", ")
}

/// Returns the first parts of a cell, a line each, and counts the others.
fn limited(mut parts: Vec<MarkdownText>, max: usize, noun: &'static str) -> MarkdownText {
    let more = parts.len().saturating_sub(max);
    parts.truncate(max);
    if more > 0 {
        let noun = MarkdownText::template(
            "{}{}",
            [MarkdownText::markup(noun), MarkdownText::markup(if more == 1 { "" } else { "s" })],
        );
        parts.push(MarkdownText::template("… and {} more {}", [MarkdownText::number(more), noun]));
    }
    MarkdownText::join(parts, "<br>")
}

/// Lists everything of the changes that do not fit into a row.
fn all_access_section(plan: &PlanJson) -> Option<PageSection> {
    let access = plan.access.as_deref().unwrap_or_default();
    let is_long = |change: &&AccessChangeJson| {
        change.subjects.len() > MAX_ROW_SUBJECTS
            || row_lines(change, LineDetail::Summarized).len() > MAX_ROW_LINES
            || change.gains_summary.iter().chain(&change.loses_summary).any(|summary| summary.permissions > 1)
    };
    let items: Vec<MarkdownText> = access.iter().filter(is_long).map(full_item).collect();
    if items.is_empty() {
        return None;
    }
    let cluster = HtmlText::short_code(&plan.cluster, MAX_NAME);
    let title = HtmlText::template("{}: all lines of the long rows", [cluster]);
    Some(PageSection {
        name: MarkdownText::template("long rows of {}", [MarkdownText::short_code(&plan.cluster, MAX_NAME)]),
        priority: SectionPriority::AllAccess,
        start: join(&MarkdownText::markup("\n"), &MarkdownText::details_start(false, &title)),
        items,
        end: MarkdownText::details_end(),
        more: |more| MarkdownText::template("- … and {}\n", [MarkdownText::count(more, "more row")]),
    })
}

fn full_item(change: &AccessChangeJson) -> MarkdownText {
    let subjects = change.subjects.iter().map(|SubjectJson { subject, principal_name }| match principal_name {
        Some(name) => MarkdownText::template("{} ({})", [MarkdownText::code(name), MarkdownText::code(subject)]),
        None => MarkdownText::code(subject),
    });
    let mut out = MarkdownText::template("- {}\n", [MarkdownText::join(subjects, ", ")]);
    for line in row_lines(change, LineDetail::Full) {
        out.push(&MarkdownText::template("  - {}\n", [line]));
    }
    out
}

pub(super) fn severity_text(severity: AccessSeverityJson) -> MarkdownText {
    MarkdownText::markup(severity.name())
}
