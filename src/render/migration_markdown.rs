//! A migration to access entries as Markdown. Its plan follows as that of `plan -o markdown`.

use super::markdown_text::MarkdownText;
use crate::plan::{Migration, StayingEntry};

/// The longest message.
const MAX_MESSAGE: usize = 2000;

/// Returns the change of the mode, and what stays in aws-auth.
pub(crate) fn render_migration_markdown(migration: &Migration, policy_diff: Option<&[String]>) -> MarkdownText {
    let Migration { plan: _, mode, mode_change, moved, moved_before, staying, without_effect } = migration;
    let mut out = MarkdownText::markup("### Migration to access entries\n\n");
    if let Some(to) = mode_change {
        out.push(&MarkdownText::template(
            "The authentication mode changes from {} to {}. **EKS cannot change it back.**\n\n",
            [MarkdownText::code(mode.as_str()), MarkdownText::code(to.as_str())],
        ));
    }
    out.push(&MarkdownText::template(
        "{} in this plan, {} with an access entry before, {} in aws-auth that stay, {} without effect.\n\n",
        [
            MarkdownText::count(moved.len(), "principal"),
            MarkdownText::count(*moved_before, "principal"),
            MarkdownText::number(staying.len()),
            MarkdownText::number(without_effect.len()),
        ],
    ));
    for StayingEntry { entry, reason } in staying {
        out.push(&MarkdownText::template(
            "- {} stays: {}  \n  {}\n",
            [
                MarkdownText::code(&entry.to_string()),
                MarkdownText::message(&reason.to_string(), MAX_MESSAGE),
                MarkdownText::message(&reason.help(), MAX_MESSAGE),
            ],
        ));
    }
    if let Some(lines) = policy_diff.filter(|lines| !lines.is_empty()) {
        out.push(&MarkdownText::markup("\nThe change of the policy:\n\n"));
        out.push(&MarkdownText::fenced("diff", lines));
    }
    out.push(&MarkdownText::markup("\n"));
    out
}
