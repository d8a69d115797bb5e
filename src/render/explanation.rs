//! The page about one subject, as text and as Markdown. Both have the same parts.

use std::collections::BTreeSet;

use super::markdown_text::MarkdownText;
use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;
use super::text_util::{escape_control, padded, pluralize};
use crate::report::{EntryJson, ExplanationJson, HeldRoleJson, IdentityJson, LocationJson, is_master};

/// The number of namespaces of one role that are listed.
const MAX_NAMESPACES: usize = 8;
/// The width of the first column.
const LABEL_WIDTH: usize = 15;
/// The maximum length of a cell in Markdown.
const MAX_CELL: usize = 300;

/// One part of the page: its title, and its rows.
struct Part {
    title: &'static str,
    /// What is shown if there are no rows; `None`: the part is left out.
    empty: Option<&'static str>,
    rows: Vec<Row>,
}

/// A label, what is true, and the policy line or who manages it.
struct Row {
    label: String,
    text: String,
    place: Option<String>,
}

impl Row {
    fn new(label: impl Into<String>, text: impl Into<String>, place: Option<String>) -> Self {
        Self { label: label.into(), text: text.into(), place }
    }
}

fn parts(explanation: &ExplanationJson) -> Vec<Part> {
    vec![
        Part {
            title: "Login",
            empty: Some("no login: this subject is not an IAM principal"),
            rows: login_rows(explanation),
        },
        Part { title: "Roles", empty: Some("none"), rows: role_rows(explanation) },
        Part {
            title: "Privilege escalation paths",
            empty: Some("none"),
            rows: explanation
                .escalations
                .iter()
                .map(|path| Row::new(path.severity.name(), format!("{}: {}", path.name, path.path), None))
                .collect(),
        },
        Part {
            title: "Access ends",
            empty: None,
            rows: explanation
                .expirations
                .iter()
                .map(|ends| Row::new(&ends.expires, &ends.what, Some(place(&ends.location))))
                .collect(),
        },
        Part {
            title: "Lines of the policy to change",
            empty: None,
            rows: explanation
                .policy_lines
                .iter()
                .map(|line| Row::new(place(&line.location), &line.what, None))
                .collect(),
        },
    ]
}

fn login_rows(explanation: &ExplanationJson) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(reason) = &explanation.not_authenticated {
        rows.push(Row::new("denied", reason, None));
    }
    if explanation.logins.len() > 1 {
        rows.push(Row::new(
            "ambiguous",
            "several entries match, and the authenticator chooses one at each login",
            None,
        ));
    }
    for IdentityJson { username, groups, entry } in &explanation.logins {
        rows.extend(entry.as_ref().map(|entry| Row::new(entry.store(), entry.text(), Some(entry.managed_by_text()))));
        rows.extend(username.as_ref().map(|username| Row::new("username", username, None)));
        if !groups.is_empty() {
            rows.push(Row::new("groups", groups.join(", "), None));
        }
    }
    for inactive in &explanation.inactive_entries {
        let entry: &EntryJson = &inactive.entry;
        let text = format!("{}: {}", entry.text(), inactive.reason);
        rows.push(Row::new("no effect", text, Some(entry.managed_by_text())));
    }
    rows
}

fn role_rows(explanation: &ExplanationJson) -> Vec<Row> {
    let mut rows = Vec::new();
    if is_master(explanation) {
        rows.push(Row::new("everything", "through group system:masters, which bypasses RBAC", None));
    }
    for role in &explanation.roles {
        let HeldRoleJson { kind: _, name, exists, namespaces, through, binding } = role;
        let missing = if *exists { "" } else { " (the role does not exist)" };
        let text = format!("{}{missing}, by {} for {through}", scope(namespaces.as_ref()), binding.text());
        rows.push(Row::new(name, text, Some(binding.managed_by_text())));
    }
    rows
}

/// `in the whole cluster`, `in team-a, team-b and 12 more namespaces`.
fn scope(namespaces: Option<&BTreeSet<String>>) -> String {
    let Some(namespaces) = namespaces else {
        return "in the whole cluster".to_owned();
    };
    let shown: Vec<&str> = namespaces.iter().take(MAX_NAMESPACES).map(String::as_str).collect();
    match namespaces.len().saturating_sub(MAX_NAMESPACES) {
        0 => format!("in {}", shown.join(", ")),
        more => format!("in {} and {}", shown.join(", "), pluralize(more, "more namespace")),
    }
}

fn place(location: &LocationJson) -> String {
    format!("{}:{}", location.file, location.line)
}

fn subject(explanation: &ExplanationJson) -> String {
    match &explanation.principal_name {
        Some(name) => format!("{name} ({})", explanation.subject),
        None => explanation.subject.clone(),
    }
}

/// Returns the page as text.
pub(crate) fn render_explanation(explanation: &ExplanationJson, style: TextStyle) -> TerminalText {
    let title = escape_control(&format!("{} in {}", subject(explanation), explanation.cluster));
    let mut out = TerminalText::from_line(&style.paint(StyleClass::Heading, &title));
    for Part { title, empty, rows } in parts(explanation) {
        if rows.is_empty() && empty.is_none() {
            continue;
        }
        out.blank_line();
        out.line(&style.paint(StyleClass::Heading, title));
        if let Some(empty) = empty.filter(|_| rows.is_empty()) {
            out.line(&format!("  {empty}"));
        }
        for Row { label, text, place } in rows {
            let place = place.map(|place| format!("  {}", style.paint(StyleClass::Location, &escape_control(&place))));
            let label = padded(&escape_control(&label), LABEL_WIDTH);
            out.line(&format!("  {label}  {}{}", escape_control(&text), place.unwrap_or_default()));
        }
    }
    out
}

/// Returns the page as Markdown.
pub(crate) fn render_explanation_markdown(explanation: &ExplanationJson) -> MarkdownText {
    let code = |text: &str| MarkdownText::short_code(text, MAX_CELL);
    let mut out =
        MarkdownText::template("### Access of {} in {}\n", [code(&subject(explanation)), code(&explanation.cluster)]);
    for Part { title, empty, rows } in parts(explanation) {
        if rows.is_empty() && empty.is_none() {
            continue;
        }
        out.push(&MarkdownText::template("\n**{}**\n\n", [MarkdownText::markup(title)]));
        if let Some(empty) = empty.filter(|_| rows.is_empty()) {
            out.push(&MarkdownText::template("{}\n", [MarkdownText::markup(empty)]));
        }
        for Row { label, text, place } in rows {
            let place = place.map(|place| MarkdownText::template(" ({})", [code(&place)])).unwrap_or_default();
            out.push(&MarkdownText::template(
                "- {}: {}{}\n",
                [code(&label), MarkdownText::short_prose(&text, MAX_CELL), place],
            ));
        }
    }
    out
}
