//! Who gains and loses access, as a table of a page, the worst first.

use std::cmp::Reverse;

use super::page_html::PageHtml;
use super::plan_facts::{PlanFacts, lost_logins};
use super::plan_html::cluster_prefix;
use super::report_html::{folded, severity_html, subject_html, table};
use crate::report::{
    AccessChangeJson, AccessSeverityJson, EscalationJson, GrantSourceJson, PermissionJson, PermissionSummaryJson,
    SubjectJson,
};

/// The number of bindings that a permission names before it is unfolded.
const MAX_SOURCES: usize = 3;
/// The number of rows from which a filter is useful.
const MIN_FILTERED: usize = 8;

/// Returns the rows of all clusters. `None` if the document is of `drift`, which does not compute access.
pub(super) fn access_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    if facts.is_drift || facts.document.plans.is_empty() {
        return None;
    }
    let mut rows: Vec<(AccessSeverityJson, bool, PageHtml)> = Vec::new();
    for plan in &facts.document.plans {
        let prefix = cluster_prefix(facts, plan);
        for change in plan.access.iter().flatten() {
            let is_gain = !change.gains.is_empty() || !change.escalations.is_empty();
            rows.push((change.severity, is_gain, change_row(change, &prefix)));
        }
        for principal in lost_logins(plan) {
            let row = PageHtml::template(
                "<tr data-item><td>{}</td><th scope=\"row\">{}{}</th><td></td><td>can no longer log in (loses no RBAC permissions)</td></tr>\n",
                [severity_html(AccessSeverityJson::Low.name()), prefix.clone(), PageHtml::text(principal)],
            );
            rows.push((AccessSeverityJson::Low, false, row));
        }
    }
    if rows.is_empty() {
        return Some(PageHtml::markup("<p>No subject gains or loses access.</p>\n"));
    }
    rows.sort_by_key(|(severity, is_gain, _)| Reverse((*severity, *is_gain)));
    let number = rows.len();
    let table = table(
        "The access that each subject has after the plan and not before, or before and not after. The worst is first.",
        &["Severity", "Subjects", "Gains", "Loses"],
        rows.into_iter().map(|(_, _, row)| row).collect(),
    );
    let filter = if number < MIN_FILTERED {
        PageHtml::default()
    } else {
        list_filter("access-list", "Filter of the access changes")
    };
    Some(PageHtml::template("{}<div id=\"access-list\">\n{}</div>\n", [filter, table]))
}

/// Returns the input by which the script hides items of a list.
pub(super) fn list_filter(list: &'static str, label: &'static str) -> PageHtml {
    let list = PageHtml::markup(list);
    PageHtml::template(
        concat!(
            "<form class=\"filters\" role=\"search\" aria-label=\"{}\" data-needs-script hidden>\n",
            "<label>Filter <input type=\"search\" data-list=\"{}\" data-status=\"{}-status\" autocomplete=\"off\"></label>\n",
            "</form>\n<p class=\"status\" role=\"status\" id=\"{}-status\"></p>\n",
        ),
        [PageHtml::markup(label), list.clone(), list.clone(), list],
    )
}

fn change_row(change: &AccessChangeJson, prefix: &PageHtml) -> PageHtml {
    let AccessChangeJson { subjects, gains, loses, gains_summary, loses_summary, escalations, severity } = change;
    let names =
        subjects.iter().map(|SubjectJson { subject, principal_name }| subject_html(subject, principal_name.as_deref()));
    let paths = escalations.iter().map(|EscalationJson { name, path, severity }| {
        PageHtml::template(
            "<li>{} escalation path <code>{}</code>: {}</li>\n",
            [severity_html(severity.name()), PageHtml::text(name), PageHtml::text(path)],
        )
    });
    let gains = PageHtml::concat(paths.chain(permission_items(gains, gains_summary, "via")));
    let loses = PageHtml::concat(permission_items(loses, loses_summary, "previously via"));
    PageHtml::template(
        concat!(
            "<tr data-item><td>{}</td><th scope=\"row\">{}{}</th><td><ul class=\"gains\">\n{}</ul></td>",
            "<td><ul class=\"loses\">\n{}</ul></td></tr>\n",
        ),
        [severity_html(severity.name()), prefix.clone(), folded(names.collect()), gains, loses],
    )
}

/// Returns the permissions in few lines, and all of them to unfold if a line stands for several.
fn permission_items(
    permissions: &[PermissionJson],
    summary: &[PermissionSummaryJson],
    via: &'static str,
) -> Vec<PageHtml> {
    let all =
        || permissions.iter().map(|permission| permission_item(&permission.permission, &permission.granted_by, via));
    if summary.is_empty() {
        return all().collect();
    }
    let mut items: Vec<PageHtml> =
        summary.iter().map(|line| permission_item(&line.text, &line.granted_by, via)).collect();
    if summary.iter().any(|line| line.permissions > 1) {
        items.push(PageHtml::template(
            "<li><details><summary>{}</summary><ul class=\"gains\">\n{}</ul></details></li>\n",
            [PageHtml::count(permissions.len(), "permission"), PageHtml::concat(all())],
        ));
    }
    items
}

fn permission_item(permission: &str, granted_by: &[GrantSourceJson], via: &'static str) -> PageHtml {
    let mut sources: Vec<PageHtml> =
        granted_by.iter().take(MAX_SOURCES).map(|source| PageHtml::text(&source_text(source))).collect();
    if let Some(more) = granted_by.len().checked_sub(MAX_SOURCES).filter(|more| *more > 0) {
        sources.push(PageHtml::template("{} more", [PageHtml::number(more)]));
    }
    if sources.is_empty() {
        return PageHtml::template("<li>{}</li>\n", [PageHtml::text(permission)]);
    }
    PageHtml::template(
        "<li>{} <span class=\"via\">{} {}</span></li>\n",
        [PageHtml::text(permission), PageHtml::markup(via), PageHtml::join(sources, ", ")],
    )
}

/// `viewers → cluster-viewer`.
fn source_text(source: &GrantSourceJson) -> String {
    match source {
        GrantSourceJson::Group { group } => group.clone(),
        GrantSourceJson::Binding { binding, role } => format!("{} → {}", binding.path(), role.name),
    }
}
