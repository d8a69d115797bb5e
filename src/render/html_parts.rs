//! Parts that the pages have in common: tables, subjects, severities and errors.

use super::page_html::PageHtml;
use crate::report::DiagnosticJson;

/// The number of subjects that a cell shows before it is unfolded.
const MAX_SUBJECTS: usize = 8;
/// The number of rows in one part of a long table.
const CHUNK: usize = 100;

/// Says which clusters the report does not have.
pub(super) fn error_banner(errors: &[DiagnosticJson]) -> PageHtml {
    if errors.is_empty() {
        return PageHtml::default();
    }
    let items = errors.iter().map(|error| {
        let place = error.location.as_ref().map(|location| {
            PageHtml::template(
                " (<code>{}:{}</code>)",
                [PageHtml::text(&location.file), PageHtml::digits(location.line)],
            )
        });
        PageHtml::template("<li>{}{}</li>\n", [PageHtml::message(&error.message), place.unwrap_or_default()])
    });
    PageHtml::template(
        "<div class=\"verdict alarm\">\n<h2>Not complete: {}</h2>\n<ul>\n{}</ul>\n</div>\n",
        [PageHtml::count(errors.len(), "error"), PageHtml::concat(items)],
    )
}

pub(super) fn severity_html(name: &'static str) -> PageHtml {
    PageHtml::template("<span class=\"severity {}\">{}</span>", [PageHtml::markup(name), PageHtml::markup(name)])
}

/// The name in the policy, with the full name after it.
pub(super) fn subject_html(subject: &str, principal_name: Option<&str>) -> PageHtml {
    match principal_name {
        Some(name) => PageHtml::template(
            "<strong>{}</strong> <span class=\"via\">{}</span>",
            [PageHtml::text(name), PageHtml::text(subject)],
        ),
        None => PageHtml::text(subject),
    }
}

/// Returns the first parts of a cell, a line each, and the others to unfold.
pub(super) fn folded(mut parts: Vec<PageHtml>) -> PageHtml {
    let rest = parts.split_off(MAX_SUBJECTS.min(parts.len()));
    let first = PageHtml::join(parts, "<br>");
    if rest.is_empty() {
        return first;
    }
    let number = PageHtml::number(rest.len());
    PageHtml::template(
        "{}<details><summary>and {} more</summary>{}</details>",
        [first, number, PageHtml::join(rest, "<br>")],
    )
}

/// Returns a table with a caption and the headings of its columns.
pub(super) fn table(caption: &'static str, columns: &[&'static str], rows: Vec<PageHtml>) -> PageHtml {
    table_of(&PageHtml::markup(caption), columns, rows)
}

/// Like [`table`], with a caption that has foreign text.
pub(super) fn table_of(caption: &PageHtml, columns: &[&'static str], rows: Vec<PageHtml>) -> PageHtml {
    let columns =
        columns.iter().map(|column| PageHtml::template("<th scope=\"col\">{}</th>", [PageHtml::markup(column)]));
    let columns = PageHtml::concat(columns);
    let is_long = rows.len() > CHUNK;
    let number = rows.len();
    let mut rows = rows.into_iter();
    let mut tables = Vec::new();
    // A browser lays out only the parts of a long table that are seen.
    for first in (0..number.max(1)).step_by(CHUNK) {
        let range = if is_long {
            let last = (first + CHUNK).min(number);
            PageHtml::template(
                " ({} to {} of {})",
                [PageHtml::number(first + 1), PageHtml::number(last), PageHtml::number(number)],
            )
        } else {
            PageHtml::default()
        };
        tables.push(PageHtml::template(
            concat!(
                "<div class=\"{}\" data-chunk><table>\n<caption>{}{}</caption>\n<thead><tr>{}</tr></thead>\n",
                "<tbody>\n{}</tbody>\n</table></div>\n",
            ),
            [
                PageHtml::markup(if is_long { "chunk" } else { "" }),
                caption.clone(),
                range,
                columns.clone(),
                PageHtml::concat(rows.by_ref().take(CHUNK)),
            ],
        ));
    }
    PageHtml::template(
        "<div class=\"scroll\" role=\"group\" aria-label=\"{}\" tabindex=\"0\">\n{}</div>\n",
        [caption.clone(), PageHtml::concat(tables)],
    )
}
