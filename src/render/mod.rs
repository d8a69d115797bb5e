//! Text output: plans, diagnostics and answers. Everything here returns strings; `cli` prints them.

pub(crate) mod access_changes;
pub(crate) mod access_csv;
pub(crate) mod access_graph;
mod access_markdown;
pub(crate) mod access_report;
mod changes_markdown;
mod checks_markdown;
pub(crate) mod diagnostics;
pub(crate) mod file_outline;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod graph_layout;
pub(crate) mod graph_svg;
pub(crate) mod graph_text;
mod html_parts;
mod html_shell;
mod markdown_page;
pub(crate) mod markdown_text;
mod namespace_fold;
pub(crate) mod page_html;
mod plan_access_html;
mod plan_changes_html;
mod plan_checks_html;
pub(crate) mod plan_facts;
pub(crate) mod plan_html;
pub(crate) mod plan_markdown;
pub(crate) mod plan_summary;
pub(crate) mod plan_text;
pub(crate) mod query_answers;
mod query_renderer;
pub(crate) mod report_html;
mod slack_text;
pub(crate) mod style;
pub(crate) mod terminal_text;
pub(crate) mod text_util;
pub(crate) mod wrap;
