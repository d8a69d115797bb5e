//! Text output: plans, diagnostics and answers. Everything here returns strings; `cli` prints them.

pub(crate) mod access_changes;
mod access_markdown;
pub(crate) mod access_report;
mod changes_markdown;
mod checks_markdown;
pub(crate) mod diagnostics;
pub(crate) mod drift_metrics;
pub(crate) mod explanation;
pub(crate) mod file_outline;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub(crate) mod junit;
mod junit_report;
mod markdown_page;
pub(crate) mod markdown_text;
mod namespace_fold;
pub(crate) mod plan_facts;
pub(crate) mod plan_markdown;
pub(crate) mod plan_summary;
pub(crate) mod plan_text;
pub(crate) mod query_answers;
mod query_renderer;
pub(crate) mod sarif;
mod sarif_log;
mod slack_text;
pub(crate) mod style;
pub(crate) mod terminal_text;
pub(crate) mod test_text;
pub(crate) mod text_util;
pub(crate) mod wrap;
