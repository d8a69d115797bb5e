//! A plan as a person reviews it, and the drift of a cluster.

use super::access_changes;
use super::style::{StyleClass, TextStyle};
use super::text_util::{columns, escape_control, gap_before_place, padded, pluralize};
use crate::diagnostic::SourceLocation;
use crate::plan::{AccessImpact, AccessWindow, Action, Change, ChangeOrigin, DiffOp, FieldDiff, Plan, TransientAccess};

/// Changes shown one by one before `--full` is needed.
const MAX_CHANGES: usize = 400;
/// Passing moments shown one by one.
const MAX_WINDOWS: usize = 20;
/// Last column of a note beside its title; a longer one gets its own line.
const NOTE_COLUMN: usize = 92;

/// How a plan is shown.
pub(crate) struct PlanTextOptions<'a> {
    /// `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) full: bool,
    pub(crate) style: TextStyle,
    /// Columns of a terminal; nothing where lines are as long as they are.
    pub(crate) width: Option<usize>,
}

fn action_sign(action: Action) -> (&'static str, StyleClass) {
    match action {
        Action::Create => ("  +", StyleClass::Added),
        Action::Adopt => ("  =", StyleClass::Changed),
        Action::Update => ("  ~", StyleClass::Changed),
        Action::Replace => ("-/+", StyleClass::Changed),
        Action::Delete => ("  -", StyleClass::Removed),
    }
}

/// The plan: what changes, in counts at the end, and its digest.
pub(crate) fn render_plan(plan: &Plan, view: &PlanTextOptions<'_>) -> String {
    let head = format!("{}, policy {}", escape_control(view.cluster), plan.policy);
    if plan.is_empty() {
        return format!("{head}: no changes, the cluster is what the policy says.\n");
    }
    let mut out =
        format!("{}, {}\n\n", view.style.paint(StyleClass::Heading, &head), pluralize(plan.changes.len(), "change"));
    // Where nothing at all changes, the section below says so once.
    let is_mixed = plan.access_changes.as_ref().is_some_and(|access| !access.is_empty());
    push_changes(&plan.changes, is_mixed, view, &mut out);
    if let Some(access) = &plan.access_changes {
        out.push_str(&access_changes::render_access_changes(access, view));
    }
    out.push_str(&render_windows(plan));
    out.push_str(&plan_totals(plan));
    out.push_str(&format!("Digest {}\n", view.digest));
    out
}

/// The moments that no order of the writes avoids.
fn render_windows(plan: &Plan) -> String {
    if plan.windows.is_empty() {
        return String::new();
    }
    let mut out = "Moments that no order of the writes avoids; apply refuses them without --allow-window\n".to_owned();
    for AccessWindow { step, subject, access: fate, request: what, reason: because } in
        plan.windows.iter().take(MAX_WINDOWS)
    {
        let fate = match fate {
            TransientAccess::Gained => "may for a moment",
            TransientAccess::Lost => "may not for a moment",
        };
        let why = plan.steps.get(*step).map(|step| step.description.as_str()).unwrap_or_default();
        let line = format!("{subject}  {fate}  {what}: after `{why}`, since {because}");
        out.push_str(&format!("  !   {}\n", escape_control(&line)));
    }
    if let Some(more) = plan.windows.len().checked_sub(MAX_WINDOWS).filter(|more| *more > 0) {
        out.push_str(&format!("      … and {}\n", pluralize(more, "more moment")));
    }
    out.push('\n');
    out
}

fn push_changes(changes: &[Change], is_mixed: bool, view: &PlanTextOptions<'_>, out: &mut String) {
    let shown = if view.full { changes.len() } else { MAX_CHANGES };
    for change in changes.iter().take(shown) {
        push_change(change, view, out);
        if is_mixed && change.access_impact == Some(AccessImpact::NoChange) {
            out.push_str(&format!("      {}\n", view.style.paint(StyleClass::Location, "no access changes")));
        }
    }
    if let Some(more) = changes.len().checked_sub(shown).filter(|more| *more > 0) {
        out.push_str(&format!("      … and {}, which --full shows\n", pluralize(more, "more change")));
    }
    out.push('\n');
}

fn push_change(change: &Change, view: &PlanTextOptions<'_>, out: &mut String) {
    let style = view.style;
    let (sign, label) = action_sign(change.action);
    let adopted = if change.action == Action::Adopt { "  adopted: nobody owned it" } else { "" };
    let kind = padded(change.target.kind_label(), 18);
    let mut title = format!("{kind} {}{adopted}", escape_control(&change.target.name()));
    let note = change.note.as_deref().map(escape_control).unwrap_or_default();
    let beside = !note.is_empty()
        && columns(&title) + columns(&note) + 2 <= view.width.map_or(NOTE_COLUMN, |width| NOTE_COLUMN.min(width));
    if beside {
        title.push_str(&format!("  {note}"));
    }
    let place = escape_control(&change.location.as_ref().map(short_location).unwrap_or_default());
    let gap = gap_before_place(4 + columns(&title), &place, view.width);
    let place = if place.is_empty() { place } else { format!("{gap}{}", style.paint(StyleClass::Location, &place)) };
    out.push_str(&format!("{} {title}{place}\n", style.paint(label, sign)));
    if !note.is_empty() && !beside {
        out.push_str(&format!("      {note}\n"));
    }
    push_fields(&change.fields, style, out);
}

/// The file without its folder: the files of a policy lie in one.
fn short_location(place: &SourceLocation) -> String {
    format!("{}:{}", place.file.rsplit('/').next().unwrap_or_default(), place.line)
}

fn push_fields(fields: &[FieldDiff], style: TextStyle, out: &mut String) {
    let words = fields.iter().filter_map(|field| field.path.last());
    let width = words.map(|word| columns(&escape_control(word))).max().unwrap_or(0);
    let mut group: Option<&str> = None;
    for field in fields {
        let (first, word) = match field.path.as_slice() {
            [group, word] => (Some(group.as_str()), word),
            [word] => (None, word),
            _ => continue,
        };
        if first != group {
            if let Some(first) = first {
                out.push_str(&format!("      {}\n", escape_control(first)));
            }
            group = first;
        }
        let indent = if first.is_some() { "        " } else { "      " };
        out.push_str(&format!("{indent}{}  {}\n", padded(&escape_control(word), width), field_values(field, style)));
    }
}

/// `get, list, + watch`, or `old → new` where one value takes the place of another.
fn field_values(field: &FieldDiff, style: TextStyle) -> String {
    if let [from, to] = field.values.as_slice()
        && from.op == DiffOp::Remove
        && to.op == DiffOp::Add
        && matches!(field.path.last().map(String::as_str), Some("username" | "roleRef"))
    {
        let from = style.paint(StyleClass::Removed, &escape_control(&from.value));
        return format!("{from} → {}", style.paint(StyleClass::Added, &escape_control(&to.value)));
    }
    let all_new = field.values.iter().all(|item| item.op == DiffOp::Add);
    let words: Vec<String> = field
        .values
        .iter()
        .map(|item| {
            let value = escape_control(&item.value);
            match item.op {
                DiffOp::Keep => value,
                DiffOp::Add if all_new => style.paint(StyleClass::Added, &value),
                DiffOp::Add => style.paint(StyleClass::Added, &format!("+ {value}")),
                DiffOp::Remove => style.paint(StyleClass::Removed, &format!("- {value}")),
            }
        })
        .collect();
    words.join(", ")
}

fn plan_totals(plan: &Plan) -> String {
    let adopted = match plan.count_changes(Action::Adopt) {
        0 => String::new(),
        number => format!(", {number} to adopt"),
    };
    let access = plan
        .access_changes
        .as_ref()
        .map(|access| format!(" {}", access_changes::access_totals(access)))
        .unwrap_or_default();
    format!(
        "Plan: {} to add, {} to change, {} to replace, {} to remove{adopted}. {} to write.{access}\n",
        plan.count_changes(Action::Create),
        plan.count_changes(Action::Update),
        plan.count_changes(Action::Replace),
        plan.count_changes(Action::Delete),
        pluralize(plan.steps.len(), "object"),
    )
}

/// What differs, who changed it and when, apart from what was merged and not applied.
pub(crate) fn render_drift(plan: &Plan, view: &PlanTextOptions<'_>) -> String {
    let head = format!("{}, policy {}", escape_control(view.cluster), plan.policy);
    if plan.is_empty() {
        return format!("{head}: no drift, the cluster is what the policy says.\n");
    }
    let (behind, pending): (Vec<Change>, Vec<Change>) =
        plan.changes.iter().cloned().partition(|change| change.origin != ChangeOrigin::NotApplied);
    let mut out = format!("{}\n\n", view.style.paint(StyleClass::Heading, &head));
    if !behind.is_empty() {
        out.push_str(&format!(
            "Changed in the cluster behind the policy's back ({}); apply puts back:\n",
            behind.len()
        ));
        for change in &behind {
            push_change(change, view, &mut out);
            if let Some(writer) = &change.last_writer {
                out.push_str(&format!(
                    "      last written by {} at {}\n",
                    escape_control(&writer.manager),
                    escape_control(&writer.time)
                ));
            }
        }
        out.push('\n');
    }
    if !pending.is_empty() {
        out.push_str(&format!("In the policy and not applied yet ({}):\n", pending.len()));
        push_changes(&pending, false, view, &mut out);
    }
    let sum = format!("Drift: {} changed in the cluster, {} not applied yet.\n", behind.len(), pending.len());
    out.push_str(&sum);
    out
}
