//! A plan or a drift in a few lines for a chat: the verdict, the numbers, the worst change, and how to apply it.

use super::plan_facts::{ApprovalFlags, PlanFacts, PlanTotals, PlanVerdict, is_outside};
use super::slack_text::SlackText;
use crate::report::{AccessChangeJson, DiagnosticJson, PlanDocument, PlanJson};

/// The maximum length of a name.
const MAX_NAME: usize = 100;
/// The maximum length of a message.
const MAX_MESSAGE: usize = 200;
/// The number of reasons for which plans are refused.
const MAX_REASONS: usize = 3;
/// The number of objects changed outside of rolecall that are named.
const MAX_OUTSIDE: usize = 4;
/// The number of clusters that are named.
const MAX_CLUSTERS: usize = 5;
/// The maximum length of the command that applies the plan. A longer one is left out.
const MAX_COMMAND: usize = 600;

/// Returns the summary. `errors` are those of the clusters that could not be planned.
pub(crate) fn render_plan_summary(document: &PlanDocument, errors: &[DiagnosticJson]) -> SlackText {
    let facts = PlanFacts::new(document, errors);
    let PlanTotals { changes, create, adopt, update, replace, delete, gaining, losing, outside } = facts.totals;
    let result = match facts.verdict {
        PlanVerdict::Failed => SlackText::markup("failed"),
        PlanVerdict::Refused if facts.is_drift => SlackText::markup("an invariant is violated"),
        PlanVerdict::Refused => SlackText::markup("refused"),
        PlanVerdict::NeedsAllowWindow => SlackText::markup("needs --allow-window"),
        PlanVerdict::Changes if facts.is_drift => SlackText::template(
            "{} outside of rolecall, {} not yet applied",
            [SlackText::count(outside, "change"), SlackText::number(changes - outside)],
        ),
        PlanVerdict::Changes => SlackText::count(changes, "change"),
        PlanVerdict::NoChanges => SlackText::markup("no changes"),
    };
    let mut out =
        SlackText::template("*rolecall {}: {}*{}\n", [SlackText::markup(facts.command()), result, place(&facts)]);
    if changes > 0 {
        let numbers = [create, update, replace, delete, adopt].map(SlackText::number);
        out.push(&SlackText::template("{} to add, {} to change, {} to replace, {} to remove, {} to adopt", numbers));
        if !facts.is_drift {
            let gain = SlackText::markup(if gaining == 1 { "gains" } else { "gain" });
            let lose = SlackText::markup(if losing == 1 { "loses" } else { "lose" });
            out.push(&SlackText::template(
                "; {} {} access, {} {}",
                [SlackText::count(gaining, "subject"), gain, SlackText::number(losing), lose],
            ));
        }
        out.push(&SlackText::markup("\n"));
    }
    push_reasons(&facts, &mut out);
    push_outside_changes(&facts, &mut out);
    if let Some(change) = facts.worst_gain() {
        let text = match (change.escalations.first(), change.gains.first()) {
            (Some(path), _) => &path.path,
            (None, Some(gain)) => &gain.permission,
            (None, None) => return out,
        };
        out.push(&SlackText::template(
            "Worst gain ({}): {}: {}\n",
            [SlackText::markup(change.severity.name()), subjects(change), SlackText::code(text, MAX_MESSAGE)],
        ));
    }
    let is_applicable =
        matches!(facts.verdict, PlanVerdict::Changes | PlanVerdict::NeedsAllowWindow) && !facts.is_drift;
    let command = format!("rolecall apply {}", ApprovalFlags::new(facts.document).to_words().join(" "));
    if is_applicable && command.len() <= MAX_COMMAND {
        out.push(&SlackText::template("Apply exactly this: {}\n", [SlackText::code(&command, MAX_COMMAND)]));
    }
    out
}

/// Returns the summary of a command that failed before there was a plan.
pub(crate) fn render_failure_summary(command: &'static str, errors: &[DiagnosticJson]) -> SlackText {
    let mut out = SlackText::template("*rolecall {}: failed*\n", [SlackText::markup(command)]);
    let reasons: Vec<(&'static str, &str)> =
        errors.iter().map(|error| ("Error: {}\n", error.message.as_str())).collect();
    push_texts(&reasons, &mut out);
    out
}

/// Returns the policy and the clusters with changes, or all clusters if none has.
fn place(facts: &PlanFacts<'_>) -> SlackText {
    let Some(policy) = facts.policy() else {
        return SlackText::default();
    };
    let plans = &facts.document.plans;
    let changing: Vec<&PlanJson> = plans.iter().filter(|plan| !plan.changes.is_empty() || plan.is_refused()).collect();
    let shown = if changing.is_empty() { plans.iter().collect() } else { changing };
    let mut out = SlackText::template(", policy {}, ", [SlackText::code(policy, MAX_NAME)]);
    for (number, plan) in shown.iter().take(MAX_CLUSTERS).enumerate() {
        out.push(&SlackText::markup(if number == 0 { "" } else { ", " }));
        out.push(&SlackText::code(plan.name.as_deref().unwrap_or(&plan.cluster), MAX_NAME));
    }
    if let Some(more) = shown.len().checked_sub(MAX_CLUSTERS).filter(|more| *more > 0) {
        out.push(&SlackText::template(" and {}", [SlackText::count(more, "more cluster")]));
    }
    if plans.len() > 1 {
        out.push(&SlackText::template(" of {}", [SlackText::count(plans.len(), "cluster")]));
    }
    out
}

/// Adds the errors, the violated invariants and the guards that refuse the plans.
fn push_reasons(facts: &PlanFacts<'_>, out: &mut SlackText) {
    let errors = facts.errors.iter().map(|error| ("Error: {}\n", error.message.as_str()));
    let plans = &facts.document.plans;
    let invariants = plans.iter().flat_map(|plan| &plan.failed_invariants).map(|failed| {
        let name = failed.description.as_ref().unwrap_or(&failed.invariant);
        ("Invariant violated: {}\n", name.as_str())
    });
    let guards = plans.iter().flat_map(|plan| &plan.guards.refused);
    let guards = guards.map(|finding| ("Refused by a guard: {}\n", finding.message.as_str()));
    let reasons: Vec<(&'static str, &str)> = errors.chain(invariants).chain(guards).collect();
    push_texts(&reasons, out);
}

fn push_texts(reasons: &[(&'static str, &str)], out: &mut SlackText) {
    for (template, text) in reasons.iter().take(MAX_REASONS) {
        out.push(&SlackText::template(template, [SlackText::code(text, MAX_MESSAGE)]));
    }
    if let Some(more) = reasons.len().checked_sub(MAX_REASONS).filter(|more| *more > 0) {
        out.push(&SlackText::template("and {}\n", [SlackText::count(more, "more reason")]));
    }
}

/// Adds the first objects that were changed outside of rolecall.
fn push_outside_changes(facts: &PlanFacts<'_>, out: &mut SlackText) {
    if !facts.is_drift || facts.totals.outside == 0 {
        return;
    }
    let changes = facts.document.plans.iter().flat_map(|plan| &plan.changes).filter(|change| is_outside(change));
    out.push(&SlackText::markup("Changed outside of rolecall: "));
    for (number, change) in changes.take(MAX_OUTSIDE).enumerate() {
        out.push(&SlackText::markup(if number == 0 { "" } else { ", " }));
        out.push(&SlackText::code(&change.target_text(), MAX_NAME));
    }
    if let Some(more) = facts.totals.outside.checked_sub(MAX_OUTSIDE).filter(|more| *more > 0) {
        out.push(&SlackText::template(" and {} more", [SlackText::number(more)]));
    }
    out.push(&SlackText::markup("\n"));
}

fn subjects(change: &AccessChangeJson) -> SlackText {
    let Some(first) = change.subjects.first() else {
        return SlackText::default();
    };
    let name = SlackText::code(first.principal_name.as_deref().unwrap_or(&first.subject), MAX_NAME);
    match change.subjects.len() - 1 {
        0 => name,
        more => SlackText::template("{} and {}", [name, SlackText::count(more, "more subject")]),
    }
}
