//! The text of `plan` and `drift`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::access_changes;
use super::namespace_fold::{FoldedItem, fold_namespaces};
use super::plan_legend::legend;
use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;
use super::text_util::{columns, escape_control, gap_before_location, padded, pluralize};
use crate::diagnostic::SourceLocation;
use crate::plan::{
    AccessChange, AccessImpact, AccessSeverity, AccessWindow, Action, Change, ChangeOrigin, ChangeTarget, DiffOp,
    FieldDiff, Plan, TransientAccess, change_severities, namespaces_text,
};
use crate::report::PlanJson;

/// The number of changes that are shown without `--full`.
const MAX_CHANGES: usize = 400;
/// The number of temporary access changes that are shown.
const MAX_WINDOWS: usize = 20;
/// The number of subjects of a wait that are shown.
const MAX_WAIT_SUBJECTS: usize = 3;
/// The maximum width of a title together with its note. A longer note is printed on the next line.
const NOTE_COLUMN: usize = 92;

/// The options of the text output, and what it needs besides the plan.
pub(crate) struct PlanTextOptions<'a> {
    /// The label of the cluster, such as `prod (eks eu-west-1/prod)`.
    pub(crate) cluster: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) full: bool,
    pub(crate) style: TextStyle,
    /// The width of the terminal, or `None` if lines are not wrapped.
    pub(crate) width: Option<usize>,
    /// Whether the signs are explained, because a person reads the text on a terminal.
    pub(crate) legend: bool,
    /// The results of the guards and invariants, if they were evaluated.
    pub(crate) checks: Option<CheckCounts>,
}

/// The numbers of guards and invariants by result.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CheckCounts {
    pub(crate) invariants: usize,
    pub(crate) violated: usize,
    pub(crate) passed: usize,
    pub(crate) refused: usize,
    pub(crate) allowed: usize,
    pub(crate) not_evaluated: usize,
}

impl From<&PlanJson> for CheckCounts {
    fn from(plan: &PlanJson) -> Self {
        Self {
            invariants: plan.invariants.len(),
            violated: plan.failed_invariants.len(),
            passed: plan.guards.passed.len(),
            refused: plan.guards.refused.len(),
            allowed: plan.guards.allowed.len(),
            not_evaluated: plan.guards.not_evaluated.len(),
        }
    }
}

impl CheckCounts {
    /// `Invariants: 3 hold. Guards: 7 passed, 1 not evaluated.`
    fn to_line(self) -> String {
        let Self { invariants, violated, passed, refused, allowed, not_evaluated } = self;
        let list = |counts: &[(usize, &str)]| {
            let listed = counts.iter().filter(|(number, _)| *number > 0);
            listed.map(|(number, text)| format!("{number} {text}")).collect::<Vec<_>>().join(", ")
        };
        let invariants = match invariants {
            0 => String::new(),
            all => format!("Invariants: {}. ", list(&[(all - violated.min(all), "hold"), (violated, "violated")])),
        };
        let refused_by = if refused == 1 { "refuses the plan" } else { "refuse the plan" };
        let guards = list(&[
            (passed, "passed"),
            (refused, refused_by),
            (allowed, "accepted with --allow"),
            (not_evaluated, "not evaluated"),
        ]);
        format!("{invariants}Guards: {}.", if guards.is_empty() { "none" } else { &guards })
    }
}

fn action_sign(action: Action) -> (&'static str, StyleClass) {
    match action {
        Action::Create => ("  +", StyleClass::Added),
        Action::Adopt | Action::Update => ("  ~", StyleClass::Changed),
        Action::Replace => ("-/+", StyleClass::Changed),
        Action::Delete => ("  -", StyleClass::Removed),
    }
}

/// Returns the changes, their effect on access, the totals and the digest.
pub(crate) fn render_plan(plan: &Plan, options: &PlanTextOptions<'_>) -> TerminalText {
    render_changes(plan, &plan_title(plan, options), "No changes. The cluster matches the policy.", options)
}

/// Returns the text of a plan that takes back an apply.
pub(crate) fn render_restore(plan: &Plan, options: &PlanTextOptions<'_>) -> TerminalText {
    render_changes(
        plan,
        &plan_title(plan, options),
        "No changes. The cluster has nothing that can be taken back.",
        options,
    )
}

/// `prod (eks eu-west-1/prod), policy platform`.
pub(super) fn plan_title(plan: &Plan, options: &PlanTextOptions<'_>) -> String {
    format!("{}, policy {}", escape_control(options.cluster), plan.policy)
}

pub(super) fn render_changes(
    plan: &Plan,
    title: &str,
    no_changes: &str,
    options: &PlanTextOptions<'_>,
) -> TerminalText {
    if plan.is_empty() {
        return TerminalText::from_line(&format!("{title}: {no_changes}"));
    }
    let mut out = TerminalText::from_line(&format!(
        "{}, {}",
        options.style.paint(StyleClass::Heading, title),
        pluralize(plan.changes.len(), "change")
    ));
    out.blank_line();
    // If no change of the plan changes access, the access section says so once for all of them.
    let marks_no_impact = plan.access_changes.as_ref().is_some_and(|access| !access.is_empty());
    let access = plan.access_changes.as_deref().unwrap_or_default();
    push_changes((&plan.changes, access), marks_no_impact, options, &mut out);
    out.append(&render_aws_auth_diff(plan, options.style));
    if let Some(access) = &plan.access_changes {
        out.append(&access_changes::render_access_changes(access, &plan.changes, options));
    }
    out.append(&render_waits(plan));
    out.append(&render_windows(plan, options.full));
    out.append(&render_unproven(plan));
    if let Some(legend) = options.legend.then(|| legend(&out, options.style)).flatten() {
        out.line(&legend);
        out.blank_line();
    }
    if let Some(checks) = options.checks {
        out.line(&checks.to_line());
    }
    out.line(&plan_totals(plan));
    out.line(&format!("Digest {}", options.digest));
    out
}

/// Returns the change to the text of aws-auth, if it was asked for.
fn render_aws_auth_diff(plan: &Plan, style: TextStyle) -> TerminalText {
    let Some(lines) = plan.aws_auth_diff.as_ref().filter(|lines| !lines.is_empty()) else {
        return TerminalText::default();
    };
    let mut out = TerminalText::from_line(&style.paint(StyleClass::Heading, "Text of aws-auth"));
    for line in lines {
        let line = escape_control(line);
        let line = match line.chars().next() {
            Some('+') => style.paint(StyleClass::Added, &line),
            Some('-') => style.paint(StyleClass::Removed, &line),
            Some('@') => style.paint(StyleClass::Location, &line),
            _ => line,
        };
        out.line(&format!("  {line}"));
    }
    out.blank_line();
    out
}

/// Returns the access that subjects gain or lose only while the plan is applied.
fn render_windows(plan: &Plan, full: bool) -> TerminalText {
    if plan.windows.is_empty() {
        return TerminalText::default();
    }
    let mut out = TerminalText::from_line("Temporary access changes (pass --allow-window to accept)");
    // Access that is gained is never cut.
    let (gained, lost): (Vec<_>, Vec<_>) =
        plan.windows.iter().partition(|window| window.access == TransientAccess::Gained);
    let shown = if full { lost.len() } else { MAX_WINDOWS.saturating_sub(gained.len()) };
    for AccessWindow { step, subject, access, request, reason } in
        gained.into_iter().chain(lost.iter().copied().take(shown))
    {
        let effect = match access {
            TransientAccess::Gained => "temporarily gains",
            TransientAccess::Lost => "temporarily loses",
        };
        let last_step = step_description(plan, *step);
        let line = format!("{subject}  {effect}  {request}: after `{last_step}`, because {reason}");
        out.line(&format!("  !   {}", escape_control(&line)));
    }
    if let Some(more) = lost.len().checked_sub(shown).filter(|more| *more > 0) {
        let more = pluralize(more, "more temporary change");
        out.line(&format!("      … and {more}, in which access is lost (use --full to show them)"));
    }
    out.blank_line();
    out
}

/// Returns the temporary access changes that could not be ruled out.
fn render_unproven(plan: &Plan) -> TerminalText {
    if plan.unproven.is_empty() {
        return TerminalText::default();
    }
    let mut out = TerminalText::from_line("Not proven (pass --allow-window to accept)");
    for unproven in plan.unproven.iter().take(MAX_WINDOWS) {
        let (step, reason) = (step_description(plan, unproven.step), &unproven.reason);
        let line = format!("rolecall could not prove that {unproven}: after `{step}`, because {reason}");
        out.line(&format!("  ?   {}", escape_control(&line)));
    }
    if let Some(more) = plan.unproven.len().checked_sub(MAX_WINDOWS).filter(|more| *more > 0) {
        out.line(&format!("      … and {more} more that could not be proven"));
    }
    out.blank_line();
    out
}

/// Returns the waits for cached tokens, each with the principals and the step after it.
fn render_waits(plan: &Plan) -> TerminalText {
    if plan.waits.is_empty() {
        return TerminalText::default();
    }
    let mut out = TerminalText::from_line("Waits, because an API server keeps the old groups of a token for some time");
    for wait in &plan.waits {
        let shown: Vec<&str> = wait.subjects.iter().take(MAX_WAIT_SUBJECTS).map(String::as_str).collect();
        let more = match wait.subjects.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {}", pluralize(more, "more subject")),
        };
        let next_step = step_description(plan, wait.before_step);
        let line = format!("{wait} of {}{more}: before `{next_step}`", shown.join(", "));
        out.line(&format!("  …   {}", escape_control(&line)));
    }
    out.blank_line();
    out
}

fn step_description(plan: &Plan, step: usize) -> &str {
    plan.steps.get(step).map_or("a step", |step| step.description.as_str())
}

/// A change with its severity.
type ListedChange<'a> = (&'a Change, AccessSeverity);

/// Prints the changes. The same change in several namespaces is one line. If there are too many, the ones with the least
/// effect on access are left out and counted.
fn push_changes(
    (changes, access): (&[Change], &[AccessChange]),
    marks_no_impact: bool,
    options: &PlanTextOptions<'_>,
    out: &mut TerminalText,
) {
    let listed: Vec<ListedChange<'_>> = changes.iter().zip(change_severities(changes, access)).collect();
    let mut folded = fold_namespaces(&listed, |change| if options.full { None } else { fold_key(change) });
    let mut shown = folded.len();
    if !options.full && folded.len() > MAX_CHANGES {
        folded.sort_by_key(|group| Reverse(group.item.1));
        let severe = folded.iter().filter(|group| group.item.1 >= AccessSeverity::High).count();
        shown = severe.max(MAX_CHANGES);
    }
    for FoldedItem { item: (change, _), namespaces } in folded.iter().take(shown) {
        push_change(change, namespaces, options, out);
        if marks_no_impact && change.access_impact == Some(AccessImpact::NoChange) {
            out.line(&format!("      {}", options.style.paint(StyleClass::Location, "no access changes")));
        }
    }
    let left_out = folded.get(shown..).unwrap_or_default();
    if !left_out.is_empty() {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut count, mut severities) = (0, Vec::new());
        for FoldedItem { item: (change, severity), namespaces } in left_out {
            let number = namespaces.len().max(1);
            *kinds.entry(change.target.kind_label()).or_default() += number;
            count += number;
            severities.extend(std::iter::repeat_n(*severity, number));
        }
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let sensitive = sensitive_count(severities.into_iter());
        let more = pluralize(count, "more change");
        out.line(&format!("      … and {more}: {}; {sensitive} (use --full to show them)", kinds.join(", ")));
    }
    out.blank_line();
}

/// Returns all of a change but its namespace, and the namespace.
fn fold_key<'a>((change, severity): &'a ListedChange<'a>) -> Option<(String, &'a str)> {
    let Change { action, target, fields, location, note, origin, last_writer, access_impact } = change;
    let ChangeTarget::Object(key) = target else {
        return None;
    };
    let place = location.as_ref().map(|location| (&location.file, location.line));
    let object = (key.kind(), key.name(), action, fields, place, note);
    Some((format!("{:?}", (object, origin, last_writer, access_impact, severity)), key.namespace()?))
}

/// `3 with wildcards, secrets or other sensitive access`, for items that are left out.
pub(crate) fn sensitive_count(severities: impl Iterator<Item = AccessSeverity>) -> String {
    let number = match severities.filter(|severity| *severity > AccessSeverity::Low).count() {
        0 => "none".to_owned(),
        number => number.to_string(),
    };
    format!("{number} with wildcards, secrets or other sensitive access")
}

/// Prints a change, which is the same in several namespaces.
fn push_change(change: &Change, namespaces: &[&str], options: &PlanTextOptions<'_>, out: &mut TerminalText) {
    let style = options.style;
    let (sign, class) = action_sign(change.action);
    let adoption = match change.action {
        Action::Adopt if change.is_adoption_with_changes() => "  [adopt]",
        Action::Adopt => "  [adopt, no change]",
        Action::Create | Action::Update | Action::Replace | Action::Delete => "",
    };
    let kind = padded(change.target.kind_label(), 18);
    let target = match (&change.target, namespaces) {
        (ChangeTarget::Object(key), [_, _, ..]) => format!("{} {}", key.name(), namespaces_text(namespaces)),
        (target, _) => target.name(),
    };
    let mut title = format!("{kind} {}{adoption}", escape_control(&target));
    let note = change.note.as_deref().map(escape_control).unwrap_or_default();
    let is_inline = !note.is_empty()
        && columns(&title) + columns(&note) + 2 <= options.width.map_or(NOTE_COLUMN, |width| NOTE_COLUMN.min(width));
    if is_inline {
        title.push_str(&format!("  {note}"));
    }
    let location = escape_control(&change.location.as_ref().map(short_location).unwrap_or_default());
    let gap = gap_before_location(4 + columns(&title), &location, options.width);
    let location =
        if location.is_empty() { location } else { format!("{gap}{}", style.paint(StyleClass::Location, &location)) };
    out.line(&format!("{} {title}{location}", style.paint(class, sign)));
    if !note.is_empty() && !is_inline {
        out.line(&format!("      {note}"));
    }
    push_fields(change, style, out);
}

/// Returns the file without its directory, since all files of a policy are in one directory.
fn short_location(location: &SourceLocation) -> String {
    format!("{}:{}", location.file.rsplit('/').next().unwrap_or_default(), location.line)
}

fn push_fields(change: &Change, style: TextStyle, out: &mut TerminalText) {
    let fields = &change.fields;
    let labels = fields.iter().filter_map(|field| field.path.last());
    let width = labels.map(|label| columns(&escape_control(label))).max().unwrap_or(0);
    let mut group: Option<&str> = None;
    for field in fields {
        let (parent, label) = match field.path.as_slice() {
            [parent, label] => (Some(parent.as_str()), label),
            [label] => (None, label),
            _ => continue,
        };
        if parent != group {
            if let Some(parent) = parent {
                out.line(&format!("      {}", escape_control(parent)));
            }
            group = parent;
        }
        let indent = if parent.is_some() { "        " } else { "      " };
        out.line(&format!(
            "{indent}{}  {}",
            padded(&escape_control(label), width),
            field_values(field, change.action, style)
        ));
    }
}

/// `get, list, + watch`, or `old → new` if the field has one value and it is replaced. The values of a new object or entry are
/// all added, so they have no sign.
fn field_values(field: &FieldDiff, action: Action, style: TextStyle) -> String {
    if let [from, to] = field.values.as_slice()
        && from.op == DiffOp::Remove
        && to.op == DiffOp::Add
        && matches!(field.path.last().map(String::as_str), Some("username" | "roleRef" | "type"))
    {
        let from = style.paint(StyleClass::Removed, &escape_control(&from.value));
        return format!("{from} → {}", style.paint(StyleClass::Added, &escape_control(&to.value)));
    }
    let values: Vec<String> = field
        .values
        .iter()
        .map(|item| {
            let value = escape_control(&item.value);
            match item.op {
                DiffOp::Keep => value,
                DiffOp::Add if action == Action::Create => style.paint(StyleClass::Added, &value),
                DiffOp::Add => style.paint(StyleClass::Added, &format!("+ {value}")),
                DiffOp::Remove => style.paint(StyleClass::Removed, &format!("- {value}")),
            }
        })
        .collect();
    values.join(", ")
}

fn plan_totals(plan: &Plan) -> String {
    let adoptions = match plan.count_changes(Action::Adopt) {
        0 => String::new(),
        number => format!(", {number} to adopt"),
    };
    let changed_adoptions = match plan.changes.iter().filter(|change| change.is_adoption_with_changes()).count() {
        0 => String::new(),
        number => format!(" ({number} adopt)"),
    };
    let waits = match plan.waits.as_slice() {
        [] => String::new(),
        waits => format!(", {}", pluralize(waits.len(), "wait")),
    };
    let access = plan
        .access_changes
        .as_ref()
        .map(|access| format!(" {}", access_changes::access_totals(access, &plan.changes)))
        .unwrap_or_default();
    format!(
        "Plan: {} to add, {} to change{changed_adoptions}, {} to replace, {} to remove{adoptions}. {} to write{waits}.{access}",
        plan.count_changes(Action::Create),
        plan.count_changes(Action::Update),
        plan.count_changes(Action::Replace),
        plan.count_changes(Action::Delete),
        pluralize(plan.steps.len(), "object"),
    )
}

/// What was changed outside of rolecall, by which field manager and when, and separately what is not yet applied.
pub(crate) fn render_drift(plan: &Plan, options: &PlanTextOptions<'_>) -> TerminalText {
    let title = format!("{}, policy {}", escape_control(options.cluster), plan.policy);
    if plan.is_empty() {
        return TerminalText::from_line(&format!("{title}: No drift. The cluster matches the policy."));
    }
    let (outside, not_applied): (Vec<Change>, Vec<Change>) =
        plan.changes.iter().cloned().partition(|change| change.origin != ChangeOrigin::NotApplied);
    let mut out = TerminalText::from_line(&options.style.paint(StyleClass::Heading, &title));
    out.blank_line();
    if !outside.is_empty() {
        out.line(&format!("Changed outside of rolecall ({}). \"apply\" will revert these:", outside.len()));
        let listed: Vec<ListedChange<'_>> = outside.iter().map(|change| (change, AccessSeverity::Low)).collect();
        for FoldedItem { item: (change, _), namespaces } in
            fold_namespaces(&listed, |change| if options.full { None } else { fold_key(change) })
        {
            push_change(change, &namespaces, options, &mut out);
            if let Some(writer) = &change.last_writer {
                out.line(&format!(
                    "      last written by {} at {}",
                    escape_control(&writer.manager),
                    escape_control(&writer.time)
                ));
            }
        }
        out.blank_line();
    }
    if !not_applied.is_empty() {
        out.line(&format!("Not yet applied ({}):", not_applied.len()));
        push_changes((&not_applied, &[]), false, options, &mut out);
    }
    out.line(&format!("Drift: {} changed outside of rolecall, {} not yet applied.", outside.len(), not_applied.len()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::UnprovenAccess;

    #[test]
    fn access_that_is_not_proven_is_listed_apart_from_windows() {
        let mut plan = Plan::for_steps(Vec::new());
        let unproven = |access| UnprovenAccess {
            step: 0,
            subject: "group:readers".to_owned(),
            access,
            request: "get secrets".to_owned(),
            reason: "its rules have too many parts to compare".to_owned(),
        };
        plan.unproven = vec![unproven(TransientAccess::Gained), unproven(TransientAccess::Lost)];
        assert_eq!(render_windows(&plan, false).to_output(TextStyle::Plain), "");
        insta::assert_snapshot!(render_unproven(&plan).to_output(TextStyle::Plain), @"
        Not proven (pass --allow-window to accept)
          ?   rolecall could not prove that group:readers does not gain get secrets: after `a step`, because its rules have too many parts to compare
          ?   rolecall could not prove that group:readers keeps get secrets: after `a step`, because its rules have too many parts to compare
        ");
    }
}
