//! The changes of a plan as lists of a page. A browser lays out only the parts of a long list that are seen.

use super::page_html::PageHtml;
use super::plan_access_html::list_filter;
use super::plan_facts::{PlanFacts, is_outside};
use crate::report::{ActionJson, ChangeJson, DiffOpJson, FieldJson, PlanJson};

/// The number of changes in one part of a list.
const CHUNK: usize = 100;
/// The number of values of a change that are shown before it is unfolded.
const MAX_FIELD_LINES: usize = 12;

/// Returns the changes of each cluster. `None` if there are none.
pub(super) fn changes_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    if facts.totals.changes == 0 {
        return None;
    }
    let mut out = list_filter("change-list", "Filter of the changes");
    out.push(&PageHtml::markup("<div id=\"change-list\">\n"));
    for plan in facts.document.plans.iter().filter(|plan| !plan.changes.is_empty()) {
        if facts.document.plans.len() > 1 {
            out.push(&PageHtml::template("<h3>{}</h3>\n", [PageHtml::text(&plan.cluster)]));
        }
        if facts.is_drift {
            drift_lists(plan, &mut out);
        } else {
            push_list(plan.changes.iter(), &mut out);
        }
    }
    out.push(&PageHtml::markup("</div>\n"));
    Some(out)
}

/// Adds what was changed outside of rolecall, and separately what is not yet applied.
fn drift_lists(plan: &PlanJson, out: &mut PageHtml) {
    let (outside, waiting): (Vec<&ChangeJson>, Vec<&ChangeJson>) =
        plan.changes.iter().partition(|change| is_outside(change));
    for (heading, changes) in [("Changed outside of rolecall", outside), ("Not yet applied", waiting)] {
        if !changes.is_empty() {
            out.push(&PageHtml::template("<h3>{}</h3>\n", [PageHtml::markup(heading)]));
            push_list(changes.into_iter(), out);
        }
    }
}

fn push_list<'a>(mut changes: impl Iterator<Item = &'a ChangeJson>, out: &mut PageHtml) {
    loop {
        let items: Vec<PageHtml> = changes.by_ref().take(CHUNK).map(change_item).collect();
        if items.is_empty() {
            return;
        }
        let items = PageHtml::concat(items);
        out.push(&PageHtml::template(
            "<div class=\"chunk\" data-chunk><ul class=\"changes\">\n{}</ul></div>\n",
            [items],
        ));
    }
}

fn change_item(change: &ChangeJson) -> PageHtml {
    let (class, action) = match change.action {
        ActionJson::Create => ("action add", "+ add"),
        ActionJson::Adopt => ("action change", "= adopt"),
        ActionJson::Update => ("action change", "~ change"),
        ActionJson::Replace => ("action change", "± replace"),
        ActionJson::Delete => ("action remove", "- remove"),
    };
    let place = change.location.as_ref().map(|location| {
        PageHtml::template(
            " <span class=\"via\">{}:{}</span>",
            [PageHtml::text(&location.file), PageHtml::digits(location.line)],
        )
    });
    let note = change
        .note
        .as_ref()
        .map(|note| PageHtml::template(" <span class=\"via\">{}</span>", [PageHtml::message(note)]));
    let writer = change.last_writer.as_ref().filter(|_| is_outside(change)).map(|writer| {
        PageHtml::template(
            " <span class=\"via\">last written by {}, {}</span>",
            [PageHtml::text(&writer.manager), PageHtml::text(&writer.time)],
        )
    });
    let no_effect =
        if change.changes_access == Some(false) { " <span class=\"via\">no effect on access</span>" } else { "" };
    let lines: Vec<PageHtml> = change.fields.iter().flat_map(field_lines).collect();
    PageHtml::template(
        "<li data-item><span class=\"{}\">{}</span> {}{}{}{}{}{}</li>\n",
        [
            PageHtml::markup(class),
            PageHtml::markup(action),
            PageHtml::code(&change.target_text()),
            place.unwrap_or_default(),
            note.unwrap_or_default(),
            writer.unwrap_or_default(),
            PageHtml::markup(no_effect),
            field_list(lines),
        ],
    )
}

/// Returns a line for what is removed from a field, and one for what is added.
fn field_lines(field: &FieldJson) -> Vec<PageHtml> {
    let path = field.path.join(" ");
    let line = |op: DiffOpJson, template: &'static str| {
        let values = field.values.iter().filter(|value| value.op == op);
        let values: Vec<PageHtml> = values.map(|value| PageHtml::text(&value.value)).collect();
        (!values.is_empty())
            .then(|| PageHtml::template(template, [PageHtml::text(&path), PageHtml::join(values, ", ")]))
    };
    let removed = line(DiffOpJson::Remove, "<li class=\"remove\">- {}: {}</li>\n");
    removed.into_iter().chain(line(DiffOpJson::Add, "<li class=\"add\">+ {}: {}</li>\n")).collect()
}

fn field_list(mut lines: Vec<PageHtml>) -> PageHtml {
    if lines.is_empty() {
        return PageHtml::default();
    }
    let rest = lines.split_off(MAX_FIELD_LINES.min(lines.len()));
    let first = PageHtml::template("\n<ul class=\"fields\">\n{}</ul>", [PageHtml::concat(lines)]);
    if rest.is_empty() {
        return first;
    }
    let number = PageHtml::count(rest.len(), "more line");
    PageHtml::template(
        "{}<details><summary>and {}</summary><ul class=\"fields\">\n{}</ul></details>",
        [first, number, PageHtml::concat(rest)],
    )
}

/// Returns the diffs of the text of aws-auth. `None` if no plan has one.
pub(super) fn aws_auth_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let mut out = PageHtml::default();
    for plan in &facts.document.plans {
        let Some(lines) = plan.aws_auth_diff.as_ref().filter(|lines| !lines.is_empty()) else {
            continue;
        };
        if facts.document.plans.len() > 1 {
            out.push(&PageHtml::template("<h3>{}</h3>\n", [PageHtml::text(&plan.cluster)]));
        }
        let lines = lines.iter().map(|line| {
            let template = match line.chars().next() {
                _ if line.starts_with("---") || line.starts_with("+++") => "<span>{}</span>",
                Some('+') => "<span class=\"add\">{}</span>",
                Some('-') => "<span class=\"remove\">{}</span>",
                _ => "<span>{}</span>",
            };
            PageHtml::template(template, [PageHtml::text(line)])
        });
        out.push(&PageHtml::template("<pre tabindex=\"0\"><code>{}</code></pre>\n", [PageHtml::join(lines, "\n")]));
    }
    (!out.is_empty()).then_some(out)
}
