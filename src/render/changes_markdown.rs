//! The changes of a plan as a block of a Markdown document in the colors of a diff, and the table of a drift.
//!
//! Each value of a field has its own line, so that a changed value does not mark the others, and a `-` at the beginning of a
//! line always means a removal.

use super::markdown_page::{PageSection, SectionPriority};
use super::markdown_text::{HtmlText, MarkdownText};
use super::namespace_fold::{FoldedItem, fold_namespaces};
use super::plan_facts::{PlanFacts, is_outside};
use super::plan_markdown::{HtmlTitle, MAX_NAME, join};
use crate::report::{ActionJson, ChangeJson, DiffOpJson, DriftJson, FieldJson, PlanJson, TargetJson};

/// A cluster with at most so many changes is unfolded.
const MAX_OPEN_CHANGES: usize = 20;
/// The number of namespaces that a change names that is the same in several.
const MAX_NAMESPACES: usize = 5;

/// Returns one part for each cluster with its changes.
pub(super) fn change_sections(facts: &PlanFacts<'_>) -> Vec<PageSection> {
    let plans = facts.document.plans.iter().filter(|plan| !plan.changes.is_empty());
    plans.flat_map(|plan| std::iter::once(change_section(plan)).chain(aws_auth_section(plan))).collect()
}

/// The change to the text of aws-auth, if it was asked for.
fn aws_auth_section(plan: &PlanJson) -> Option<PageSection> {
    let lines = plan.aws_auth_diff.as_ref().filter(|lines| !lines.is_empty())?;
    let lines: Vec<Vec<String>> = lines.iter().map(|line| vec![line.clone()]).collect();
    let block = MarkdownText::fenced_block("diff", &lines);
    let title = HtmlText::template("{}: text of aws-auth", [HtmlText::short_code(&plan.cluster, MAX_NAME)]);
    Some(PageSection {
        name: MarkdownText::template("lines of aws-auth of {}", [MarkdownText::short_code(&plan.cluster, MAX_NAME)]),
        priority: SectionPriority::AwsAuth,
        start: MarkdownText::template("\n{}{}", [MarkdownText::details_start(false, &title), block.start]),
        items: block.items,
        end: join(&block.end, &MarkdownText::details_end()),
        more: |more| MarkdownText::template("… and {}\n", [MarkdownText::count(more, "more line")]),
    })
}

fn change_section(plan: &PlanJson) -> PageSection {
    let lines: Vec<Vec<String>> = fold_changes(&plan.changes).iter().map(change_lines).collect();
    let block = MarkdownText::fenced_block("diff", &lines);
    let title = HtmlTitle::ClusterCount(plan, plan.changes.len(), "change").text();
    let start = MarkdownText::details_start(plan.changes.len() <= MAX_OPEN_CHANGES, &title);
    PageSection {
        name: MarkdownText::template("changes of {}", [MarkdownText::short_code(&plan.cluster, MAX_NAME)]),
        priority: SectionPriority::Changes,
        start: MarkdownText::template("\n{}{}", [start, block.start]),
        items: block.items,
        end: join(&block.end, &MarkdownText::details_end()),
        more: |more| MarkdownText::template("… and {}\n", [MarkdownText::count(more, "more change")]),
    }
}

/// Joins changes that differ only in their namespace. They keep the order of the plan.
fn fold_changes(changes: &[ChangeJson]) -> Vec<FoldedItem<'_, ChangeJson>> {
    fold_namespaces(changes, |change| match &change.target {
        TargetJson::Object(object) => {
            let key =
                (object.kind_name(), &object.name, &change.action, &change.fields, &change.note, &change.location);
            Some((format!("{key:?}"), object.namespace.as_deref()?))
        }
        TargetJson::Entry(_) => None,
    })
}

fn sign(action: ActionJson) -> char {
    match action {
        ActionJson::Create => '+',
        ActionJson::Delete => '-',
        // GitHub shows a line that begins with `!` in orange.
        ActionJson::Update | ActionJson::Replace => '!',
        ActionJson::Adopt => ' ',
    }
}

fn change_lines(group: &FoldedItem<'_, ChangeJson>) -> Vec<String> {
    let FoldedItem { item: change, namespaces } = group;
    let is_adoption_with_changes = matches!(change.action, ActionJson::Adopt) && !change.fields.is_empty();
    let action = if is_adoption_with_changes { ActionJson::Update } else { change.action };
    let label = match change.action {
        ActionJson::Create | ActionJson::Update | ActionJson::Delete => "",
        ActionJson::Replace => "  [replace]",
        ActionJson::Adopt if is_adoption_with_changes => "  [adopt]",
        ActionJson::Adopt => "  [adopt, no change]",
    };
    let place = change.location.as_ref().map(|location| format!("  ({}:{})", location.file, location.line));
    let note = change.note.as_ref().map(|note| format!("  {note}")).unwrap_or_default();
    let target = target_text(change, namespaces);
    let mut lines = vec![format!("{} {target}{label}{note}{}", sign(action), place.unwrap_or_default())];
    let mut parent = None;
    for field in &change.fields {
        field_lines(field, change.action, &mut parent, &mut lines);
    }
    lines
}

fn target_text(change: &ChangeJson, namespaces: &[&str]) -> String {
    match (&change.target, namespaces) {
        (TargetJson::Entry(_), _) | (TargetJson::Object(_), [] | [_]) => change.target_text(),
        (TargetJson::Object(object), namespaces) => {
            let listed: Vec<&str> = namespaces.iter().take(MAX_NAMESPACES).copied().collect();
            let more = match namespaces.len() - listed.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (kind, number) = (object.kind_name(), namespaces.len());
            format!("{kind} {} in {number} namespaces: {}{more}", object.name, listed.join(", "))
        }
    }
}

fn field_lines<'a>(field: &'a FieldJson, action: ActionJson, parent: &mut Option<&'a str>, lines: &mut Vec<String>) {
    let (new_parent, label) = match field.path.as_slice() {
        [parent, label] => (Some(parent.as_str()), label),
        [label] => (None, label),
        _ => return,
    };
    if new_parent != *parent {
        if let Some(new_parent) = new_parent {
            lines.push(format!("      {new_parent}"));
        }
        *parent = new_parent;
    }
    let indent = if new_parent.is_some() { "      " } else { "    " };
    let values = |op: DiffOpJson| -> Vec<&str> {
        field.values.iter().filter(|value| value.op == op).map(|value| value.value.as_str()).collect()
    };
    if matches!(action, ActionJson::Create) {
        lines.push(format!("+ {indent}{label}  {}", values(DiffOpJson::Add).join(", ")));
        return;
    }
    let unchanged = values(DiffOpJson::Unchanged);
    if !unchanged.is_empty() {
        lines.push(format!("  {indent}{label}  {}", unchanged.join(", ")));
    }
    lines.extend(values(DiffOpJson::Remove).iter().map(|value| format!("- {indent}{label}  {value}")));
    lines.extend(values(DiffOpJson::Add).iter().map(|value| format!("+ {indent}{label}  {value}")));
}

/// Returns the table of what was changed outside of rolecall, and when.
pub(super) fn drift_sections(facts: &PlanFacts<'_>) -> Vec<PageSection> {
    let has_clusters = facts.document.plans.len() > 1;
    let mut items = Vec::new();
    for plan in &facts.document.plans {
        for change in plan.changes.iter().filter(|change| is_outside(change)) {
            let what = match change.drift {
                DriftJson::DeletedInCluster => "deleted",
                DriftJson::ChangedInCluster | DriftJson::None => "changed",
            };
            let target = target_text(change, &[]);
            let writer = change.last_writer.as_ref().map(|writer| {
                MarkdownText::template(
                    "{} at {}",
                    [
                        MarkdownText::short_code(&writer.manager, MAX_NAME),
                        MarkdownText::short_code(&writer.time, MAX_NAME),
                    ],
                )
            });
            let place = change
                .location
                .as_ref()
                .map(|location| MarkdownText::short_code(&format!("{}:{}", location.file, location.line), MAX_NAME));
            let mut cells = vec![
                MarkdownText::markup(what),
                MarkdownText::code(&target),
                writer.unwrap_or_else(|| MarkdownText::markup("not recorded")),
                place.unwrap_or_else(|| MarkdownText::markup("not in the policy")),
            ];
            if has_clusters {
                cells.push(MarkdownText::short_code(&plan.cluster, MAX_NAME));
            }
            items.push(MarkdownText::table_row(&cells));
        }
    }
    if items.is_empty() {
        return Vec::new();
    }
    let header = if has_clusters {
        "\n#### Changed outside of rolecall\n\n`apply` reverts these.\n\n| What | Object | Last writer | Policy | Cluster |\n| --- | --- | --- | --- | --- |\n"
    } else {
        "\n#### Changed outside of rolecall\n\n`apply` reverts these.\n\n| What | Object | Last writer | Policy |\n| --- | --- | --- | --- |\n"
    };
    vec![PageSection {
        name: MarkdownText::markup("changes outside of rolecall"),
        priority: SectionPriority::Access,
        start: MarkdownText::markup(header),
        items,
        end: MarkdownText::default(),
        more: |more| MarkdownText::template("\n… and {}\n", [MarkdownText::count(more, "more change")]),
    }]
}
