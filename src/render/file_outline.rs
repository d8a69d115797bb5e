//! What a backup or a snapshot has, as a title and a few lines.

use super::html_shell::HtmlShell;
use super::markdown_page::{MarkdownPage, PageSection, SectionPriority};
use super::markdown_text::MarkdownText;
use super::page_html::PageHtml;
use super::slack_text::SlackText;
use super::terminal_text::TerminalText;

/// The maximum length of a line.
const MAX_LINE: usize = 400;
/// The number of lines in a summary.
const MAX_SUMMARY_LINES: usize = 6;

/// The title and the lines.
#[derive(Debug)]
pub(crate) struct FileOutline {
    kind: &'static str,
    name: String,
    lines: Vec<String>,
}

impl FileOutline {
    /// `kind` is what the file is, such as `Backup`.
    pub(crate) fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned(), lines: Vec::new() }
    }

    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = String>) {
        self.lines.extend(lines);
    }

    pub(crate) fn to_text(&self) -> TerminalText {
        let mut out = TerminalText::from_line(&format!("{} {}", self.kind, self.name));
        for line in &self.lines {
            out.line(&format!("  {line}"));
        }
        out
    }

    /// Returns Markdown with at most `max` characters.
    pub(crate) fn to_markdown(&self, max: usize) -> MarkdownText {
        let title = [MarkdownText::markup(self.kind), MarkdownText::short_code(&self.name, MAX_LINE)];
        let lines =
            self.lines.iter().map(|line| MarkdownText::template("- {}\n", [MarkdownText::short_prose(line, MAX_LINE)]));
        let page = MarkdownPage {
            verdict: MarkdownText::template("### {} {}\n\n", title),
            sections: vec![PageSection {
                name: MarkdownText::markup("lines"),
                priority: SectionPriority::Changes,
                start: MarkdownText::default(),
                items: lines.collect(),
                end: MarkdownText::default(),
                more: |more| MarkdownText::template("- … and {} more\n", [MarkdownText::number(more)]),
            }],
            cut_advice: MarkdownText::markup("Run `rolecall show` to see everything."),
        };
        page.render(max)
    }

    pub(crate) fn to_html(&self) -> PageHtml {
        let lines = self.lines.iter().map(|line| PageHtml::template("<li>{}</li>\n", [PageHtml::text(line)]));
        let title = PageHtml::template("{} {}", [PageHtml::markup(self.kind), PageHtml::text(&self.name)]);
        HtmlShell {
            header: PageHtml::template("<h1>{}</h1>\n", [title.clone()]),
            title,
            navigation: Vec::new(),
            main: PageHtml::template("<ul>\n{}</ul>\n", [PageHtml::concat(lines)]),
            footer: PageHtml::markup("<p>Made by rolecall.</p>\n"),
            data: None,
        }
        .render()
    }

    pub(crate) fn to_summary(&self) -> SlackText {
        let title = [SlackText::markup(self.kind), SlackText::code(&self.name, MAX_LINE)];
        let mut out = SlackText::template("*{}* {}\n", title);
        for line in self.lines.iter().take(MAX_SUMMARY_LINES) {
            out.push(&SlackText::template("{}\n", [SlackText::code(line, MAX_LINE)]));
        }
        if let Some(more) = self.lines.len().checked_sub(MAX_SUMMARY_LINES).filter(|more| *more > 0) {
            out.push(&SlackText::template("and {}\n", [SlackText::count(more, "more line")]));
        }
        out
    }
}
