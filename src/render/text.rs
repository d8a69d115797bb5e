//! A plan as a person reviews it, and the drift of a cluster.

use super::delta;
use super::style::{Label, Style};
use super::words::{count, visible};
use crate::diagnostic::Place;
use crate::plan::{Action, Change, Effect, Fate, Field, Origin, Plan};

/// Changes shown one by one before `--full` is needed.
const SHOWN: usize = 400;
const PLACE_COLUMN: usize = 78;
/// Last column of a note beside its title; a longer one gets its own line.
const NOTE_COLUMN: usize = 92;

/// How a plan is shown.
pub(crate) struct View<'a> {
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: &'a str,
    pub(crate) full: bool,
    pub(crate) style: Style,
}

fn sign(action: Action) -> (&'static str, Label) {
    match action {
        Action::Create => ("  +", Label::Added),
        Action::Adopt => ("  =", Label::Changed),
        Action::Update => ("  ~", Label::Changed),
        Action::Replace => ("-/+", Label::Changed),
        Action::Delete => ("  -", Label::Removed),
    }
}

/// The plan: what changes, in counts at the end, and its digest.
pub(crate) fn plan(plan: &Plan, view: &View<'_>) -> String {
    let head = format!("{}, policy {}", visible(view.cluster), plan.policy);
    if plan.is_empty() {
        return format!("{head}: no changes, the cluster is what the policy says.\n");
    }
    let mut out = format!("{}, {}\n\n", view.style.paint(Label::Heading, &head), count(plan.changes.len(), "change"));
    // Where nothing at all changes, the section below says so once.
    let is_mixed = plan.access.as_ref().is_some_and(|access| !access.is_empty());
    changes(&plan.changes, is_mixed, view, &mut out);
    if let Some(access) = &plan.access {
        out.push_str(&delta::section(access, view.full, view.style));
    }
    out.push_str(&totals(plan));
    out.push_str(&format!("Digest {}\n", plan.digest()));
    out
}

fn changes(changes: &[Change], is_mixed: bool, view: &View<'_>, out: &mut String) {
    let shown = if view.full { changes.len() } else { SHOWN };
    for change in changes.iter().take(shown) {
        one(change, view.style, out);
        if is_mixed && change.access == Some(Effect::None) {
            out.push_str(&format!("      {}\n", view.style.paint(Label::Place, "no access changes")));
        }
    }
    if let Some(more) = changes.len().checked_sub(shown).filter(|more| *more > 0) {
        out.push_str(&format!("      … and {}, which --full shows\n", count(more, "more change")));
    }
    out.push('\n');
}

fn one(change: &Change, style: Style, out: &mut String) {
    let (sign, label) = sign(change.action);
    let adopted = if change.action == Action::Adopt { "  adopted: nobody owned it" } else { "" };
    let mut title = visible(&format!("{:<18} {}{adopted}", change.target.kind_word(), change.target.name()));
    let note = change.note.as_deref().map(visible).unwrap_or_default();
    let beside = !note.is_empty() && title.chars().count() + note.chars().count() + 2 <= NOTE_COLUMN;
    if beside {
        title.push_str(&format!("  {note}"));
    }
    let place = change.place.as_ref().map(short).unwrap_or_default();
    let pad = " ".repeat(PLACE_COLUMN.saturating_sub(4 + title.chars().count()).max(2));
    let place = if place.is_empty() { place } else { format!("{pad}{}", style.paint(Label::Place, &visible(&place))) };
    out.push_str(&format!("{} {title}{place}\n", style.paint(label, sign)));
    if !note.is_empty() && !beside {
        out.push_str(&format!("      {note}\n"));
    }
    fields(&change.fields, style, out);
}

/// The file without its folder: the files of a policy lie in one.
fn short(place: &Place) -> String {
    format!("{}:{}", place.file.rsplit('/').next().unwrap_or_default(), place.line)
}

fn fields(fields: &[Field], style: Style, out: &mut String) {
    let width = fields.iter().filter_map(|field| field.path.last()).map(|word| word.chars().count()).max().unwrap_or(0);
    let mut group: Option<&str> = None;
    for field in fields {
        let (first, word) = match field.path.as_slice() {
            [group, word] => (Some(group.as_str()), word),
            [word] => (None, word),
            _ => continue,
        };
        if first != group {
            if let Some(first) = first {
                out.push_str(&format!("      {}\n", visible(first)));
            }
            group = first;
        }
        let indent = if first.is_some() { "        " } else { "      " };
        out.push_str(&format!("{indent}{:<width$}  {}\n", visible(word), values(field, style)));
    }
}

/// `get, list, + watch`, or `old → new` where one value takes the place of another.
fn values(field: &Field, style: Style) -> String {
    if let [from, to] = field.items.as_slice()
        && from.fate == Fate::Removed
        && to.fate == Fate::Added
        && matches!(field.path.last().map(String::as_str), Some("username" | "roleRef"))
    {
        let from = style.paint(Label::Removed, &visible(&from.value));
        return format!("{from} → {}", style.paint(Label::Added, &visible(&to.value)));
    }
    let all_new = field.items.iter().all(|item| item.fate == Fate::Added);
    let words: Vec<String> = field
        .items
        .iter()
        .map(|item| {
            let value = visible(&item.value);
            match item.fate {
                Fate::Stays => value,
                Fate::Added if all_new => style.paint(Label::Added, &value),
                Fate::Added => style.paint(Label::Added, &format!("+ {value}")),
                Fate::Removed => style.paint(Label::Removed, &format!("- {value}")),
            }
        })
        .collect();
    words.join(", ")
}

fn totals(plan: &Plan) -> String {
    let adopted = match plan.count(Action::Adopt) {
        0 => String::new(),
        number => format!(", {number} to adopt"),
    };
    let access = plan.access.as_ref().map(|access| format!(" {}", delta::totals(access))).unwrap_or_default();
    format!(
        "Plan: {} to add, {} to change, {} to replace, {} to remove{adopted}. {} to write.{access}\n",
        plan.count(Action::Create),
        plan.count(Action::Update),
        plan.count(Action::Replace),
        plan.count(Action::Delete),
        count(plan.steps.len(), "object"),
    )
}

/// What differs, who changed it and when, apart from what was merged and not applied.
pub(crate) fn drift(plan: &Plan, view: &View<'_>) -> String {
    let head = format!("{}, policy {}", visible(view.cluster), plan.policy);
    if plan.is_empty() {
        return format!("{head}: no drift, the cluster is what the policy says.\n");
    }
    let (behind, pending): (Vec<Change>, Vec<Change>) =
        plan.changes.iter().cloned().partition(|change| change.origin != Origin::Pending);
    let mut out = format!("{}\n\n", view.style.paint(Label::Heading, &head));
    if !behind.is_empty() {
        out.push_str(&format!(
            "Changed in the cluster behind the policy's back ({}); apply puts back:\n",
            behind.len()
        ));
        for change in &behind {
            one(change, view.style, &mut out);
            if let Some(writer) = &change.last_writer {
                out.push_str(&format!(
                    "      last written by {} at {}\n",
                    visible(&writer.manager),
                    visible(&writer.time)
                ));
            }
        }
        out.push('\n');
    }
    if !pending.is_empty() {
        out.push_str(&format!("In the policy and not applied yet ({}):\n", pending.len()));
        changes(&pending, false, view, &mut out);
    }
    let sum = format!("Drift: {} changed in the cluster, {} not applied yet.\n", behind.len(), pending.len());
    out.push_str(&sum);
    out
}
