//! Text output: plans, diagnostics and answers. Everything here returns strings; `cli` prints them.

pub(crate) mod access_changes;
pub(crate) mod access_report;
pub(crate) mod diagnostics;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub(crate) mod plan_text;
pub(crate) mod query_answers;
mod query_renderer;
pub(crate) mod style;
pub(crate) mod terminal_text;
pub(crate) mod text_util;
pub(crate) mod wrap;
