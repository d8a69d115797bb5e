//! Who gains and loses access, as a table of a page, the worst first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::html_parts::{folded, severity_html, subject_html, table};
use super::page_html::PageHtml;
use super::plan_facts::{PlanFacts, lost_logins};
use super::plan_html::cluster_prefix;
use crate::report::{
    AccessChangeJson, AccessSeverityJson, EscalationJson, GrantSourceJson, PermissionJson, PermissionSummaryJson,
    SubjectJson,
};

/// The number of bindings that a permission names before it is unfolded.
const MAX_SOURCES: usize = 3;
/// The number of rows from which a filter is useful.
const MIN_FILTERED: usize = 8;

/// What a row says but for what grants it. Subjects that get the same through different bindings share a row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RowText<'a> {
    escalations: Vec<(&'a str, &'a str)>,
    gains: Vec<&'a str>,
    loses: Vec<&'a str>,
}

/// The changes of a row, each with the prefix of its cluster.
type RowChanges<'a> = Vec<(PageHtml, &'a AccessChangeJson)>;

/// Returns the rows of all clusters. `None` if the document is of `drift`, which does not compute access.
pub(super) fn access_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    if facts.is_drift || facts.document.plans.is_empty() {
        return None;
    }
    let mut groups: Vec<RowChanges<'_>> = Vec::new();
    let mut known: BTreeMap<RowText<'_>, usize> = BTreeMap::new();
    let mut rows: Vec<(AccessSeverityJson, bool, PageHtml)> = Vec::new();
    for plan in &facts.document.plans {
        let prefix = cluster_prefix(facts, plan);
        for change in plan.access.iter().flatten() {
            let position = *known.entry(RowText::new(change)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(position) {
                group.push((prefix.clone(), change));
            }
        }
        for principal in lost_logins(plan) {
            let row = PageHtml::template(
                "<tr data-item><td>{}</td><th scope=\"row\">{}{}</th><td></td><td>can no longer log in (loses no RBAC permissions)</td></tr>\n",
                [severity_html(AccessSeverityJson::Low.name()), prefix.clone(), PageHtml::text(principal)],
            );
            rows.push((AccessSeverityJson::Low, false, row));
        }
    }
    for group in &groups {
        if let Some((_, change)) = group.first() {
            let is_gain = !change.gains.is_empty() || !change.escalations.is_empty();
            rows.push((change.severity, is_gain, change_row(change, group)));
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

impl<'a> RowText<'a> {
    fn new(change: &'a AccessChangeJson) -> Self {
        let escalations = change.escalations.iter().map(|path| (path.name.as_str(), path.path.as_str()));
        let texts = |permissions: &'a [PermissionJson], summary: &'a [PermissionSummaryJson]| -> Vec<&'a str> {
            let permissions = permissions.iter().map(|permission| permission.permission.as_str());
            permissions.chain(summary.iter().map(|line| line.text.as_str())).collect()
        };
        Self {
            escalations: escalations.collect(),
            gains: texts(&change.gains, &change.gains_summary),
            loses: texts(&change.loses, &change.loses_summary),
        }
    }
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

fn change_row(first: &AccessChangeJson, changes: &RowChanges<'_>) -> PageHtml {
    let AccessChangeJson { escalations, severity, .. } = first;
    let names = changes.iter().flat_map(|(prefix, change)| {
        change.subjects.iter().map(|SubjectJson { subject, principal_name }| {
            PageHtml::concat([prefix.clone(), subject_html(subject, principal_name.as_deref())])
        })
    });
    let paths = escalations.iter().map(|EscalationJson { name, path, severity, .. }| {
        PageHtml::template(
            "<li>{} escalation path <code>{}</code>: {}</li>\n",
            [severity_html(severity.name()), PageHtml::text(name), PageHtml::text(path)],
        )
    });
    let gains = permission_items(changes, |change| (&change.gains, &change.gains_summary), "via");
    let loses = permission_items(changes, |change| (&change.loses, &change.loses_summary), "previously via");
    PageHtml::template(
        concat!(
            "<tr data-item><td>{}</td><th scope=\"row\">{}</th><td><ul class=\"gains\">\n{}</ul></td>",
            "<td><ul class=\"loses\">\n{}</ul></td></tr>\n",
        ),
        [
            severity_html(severity.name()),
            folded(names.collect()),
            PageHtml::concat(paths.chain(gains)),
            PageHtml::concat(loses),
        ],
    )
}

/// Returns the permissions in few lines, and all of them to unfold if a line stands for several. The changes have the same
/// texts.
fn permission_items(
    changes: &RowChanges<'_>,
    select: for<'c> fn(&'c AccessChangeJson) -> (&'c [PermissionJson], &'c [PermissionSummaryJson]),
    via: &'static str,
) -> Vec<PageHtml> {
    let selected: Vec<(&[PermissionJson], &[PermissionSummaryJson])> =
        changes.iter().map(|(_, change)| select(change)).collect();
    let Some((permissions, summary)) = selected.first() else {
        return Vec::new();
    };
    let all = || -> Vec<PageHtml> {
        let items = permissions.iter().enumerate().map(|(number, permission)| {
            let same = selected.iter().filter_map(|(permissions, _)| permissions.get(number));
            permission_item(&permission.permission, same.flat_map(|permission| &permission.granted_by), via)
        });
        items.collect()
    };
    if summary.is_empty() {
        return all();
    }
    let items = summary.iter().enumerate().map(|(number, line)| {
        let same = selected.iter().filter_map(|(_, summary)| summary.get(number));
        permission_item(&line.text, same.flat_map(|line| &line.granted_by), via)
    });
    let mut items: Vec<PageHtml> = items.collect();
    if summary.iter().any(|line| line.permissions > 1) {
        items.push(PageHtml::template(
            "<li><details><summary>{}</summary><ul class=\"gains\">\n{}</ul></details></li>\n",
            [PageHtml::count(permissions.len(), "permission"), PageHtml::concat(all())],
        ));
    }
    items
}

fn permission_item<'a>(
    permission: &str,
    granted_by: impl Iterator<Item = &'a GrantSourceJson>,
    via: &'static str,
) -> PageHtml {
    let sources: BTreeSet<String> = granted_by.map(source_text).collect();
    let mut shown: Vec<PageHtml> = sources.iter().take(MAX_SOURCES).map(|source| PageHtml::text(source)).collect();
    if let Some(more) = sources.len().checked_sub(MAX_SOURCES).filter(|more| *more > 0) {
        shown.push(PageHtml::template("{} more", [PageHtml::number(more)]));
    }
    if shown.is_empty() {
        return PageHtml::template("<li>{}</li>\n", [PageHtml::text(permission)]);
    }
    PageHtml::template(
        "<li>{} <span class=\"via\">{} {}</span></li>\n",
        [PageHtml::text(permission), PageHtml::markup(via), PageHtml::join(shown, ", ")],
    )
}

/// `viewers → cluster-viewer`.
fn source_text(source: &GrantSourceJson) -> String {
    match source {
        GrantSourceJson::Group { group } => group.clone(),
        GrantSourceJson::Binding { binding, role } => format!("{} → {}", binding.path(), role.name),
    }
}
