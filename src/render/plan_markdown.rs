//! A plan or a drift as Markdown, for the comment of a pull request and for the summary of a job: the verdict first, then who
//! gains and loses access, and what can be unfolded. It is made from the document that `-o json` prints and a plan file holds.

use super::access_markdown::{access_sections, worst_changes};
use super::changes_markdown::{change_sections, drift_sections};
use super::checks_markdown::{check_sections, refusal_lines};
use super::markdown_page::{MarkdownPage, PageSection, SectionPriority};
use super::markdown_text::MarkdownText;
use super::plan_facts::{ApprovalFlags, PlanFacts, PlanTotals, PlanVerdict};
use crate::report::{DiagnosticJson, PlanDocument, PlanJson};

/// The longest comment of GitHub, in characters. It is the default limit.
pub(crate) const DEFAULT_MAX_CHARS: usize = 65_536;
/// The smallest limit: the verdict always fits into it.
pub(crate) const MIN_MAX_CHARS: usize = 10_000;
/// The maximum length of a name in the verdict.
pub(super) const MAX_NAME: usize = 120;
/// The maximum length of a message in the verdict.
pub(super) const MAX_MESSAGE: usize = 300;
/// The maximum length of a message elsewhere.
pub(super) const MAX_LINE: usize = 2000;
/// The number of errors in the verdict.
const MAX_ERRORS: usize = 5;
/// The number of clusters that the marker names. More are counted, so that the marker stays short.
const MAX_MARKER_CLUSTERS: usize = 20;
/// The maximum number of digests that the hidden line lists, so that the verdict fits.
const MAX_MARKER_DIGESTS: usize = 40;
/// What the hidden line has instead of more digests.
pub(crate) const TOO_MANY_DIGESTS: &str = "too_many";

/// Returns the document as Markdown with at most `max` characters. `errors` are those of the clusters that could not be
/// planned.
pub(crate) fn render_plan_markdown(document: &PlanDocument, errors: &[DiagnosticJson], max: usize) -> MarkdownText {
    let facts = PlanFacts::new(document, errors);
    let mut page = MarkdownPage { verdict: verdict(&facts), sections: Vec::new(), cut_advice: cut_advice(&facts) };
    page.sections.extend(cluster_section(&facts));
    if facts.is_drift {
        page.sections.extend(drift_sections(&facts));
    } else {
        page.sections.extend(access_sections(&facts));
    }
    page.sections.extend(during_apply_section(&facts));
    page.sections.extend(approval_section(&facts));
    page.sections.extend(check_sections(&facts));
    page.sections.extend(change_sections(&facts));
    page.sections.extend(warning_sections(&facts));
    page.render(max)
}

/// Returns the Markdown of a command that failed before there was a plan.
pub(crate) fn render_failure_markdown(command: &'static str, errors: &[DiagnosticJson]) -> MarkdownText {
    let mut out = MarkdownText::marker([("failed", vec![command])]);
    out.push(&MarkdownText::template("### ❌ rolecall {}: failed\n\n", [MarkdownText::markup(command)]));
    out.push(&error_lines(errors));
    out
}

/// Returns the hidden line by which a comment is updated in place: the policy and the clusters.
fn plan_marker(facts: &PlanFacts<'_>) -> MarkdownText {
    let mut clusters: Vec<&str> =
        facts.document.plans.iter().map(|plan| plan.name.as_deref().unwrap_or(plan.cluster.as_str())).collect();
    let number = clusters.len().to_string();
    if clusters.len() > MAX_MARKER_CLUSTERS {
        clusters.truncate(MAX_MARKER_CLUSTERS);
        clusters.push(&number);
    }
    let policy = facts.policy().into_iter().collect();
    MarkdownText::marker([("command", vec![facts.command()]), ("policy", policy), ("cluster", clusters)])
}

fn verdict(facts: &PlanFacts<'_>) -> MarkdownText {
    // The marker of a plan without all of its clusters would be another one than that of the plan before.
    let mut out = match facts.verdict {
        PlanVerdict::Failed => MarkdownText::marker([("failed", vec![facts.command()])]),
        _ => plan_marker(facts),
    };
    // `comment --digests` reads them again.
    match facts.approvable_digests() {
        digests if digests.is_empty() => {}
        digests if digests.len() > MAX_MARKER_DIGESTS => {
            out.push(&MarkdownText::marker([("approve", vec![TOO_MANY_DIGESTS])]));
        }
        digests => out.push(&MarkdownText::marker([("approve", digests)])),
    }
    let PlanTotals { changes, outside, .. } = facts.totals;
    let command = MarkdownText::markup(facts.command());
    let heading = match facts.verdict {
        PlanVerdict::Failed => MarkdownText::template("### ❌ rolecall {}: failed\n\n", [command]),
        PlanVerdict::Refused if facts.is_drift => {
            MarkdownText::template("### ⛔ rolecall {}: an invariant is violated\n\n", [command])
        }
        PlanVerdict::Refused => {
            MarkdownText::template("### ⛔ rolecall {}: refused, `apply` would make no changes\n\n", [command])
        }
        PlanVerdict::NeedsAllowWindow => MarkdownText::template(
            "### ⚠️ rolecall {}: access changes for a moment, `apply` needs `--allow-window`\n\n",
            [command],
        ),
        PlanVerdict::Changes if facts.is_drift => MarkdownText::template(
            "### ⚠️ rolecall drift: {} outside of rolecall, {} not yet applied\n\n",
            [MarkdownText::count(outside, "change"), MarkdownText::number(changes - outside)],
        ),
        PlanVerdict::Changes => {
            MarkdownText::template("### 📝 rolecall {}: {}\n\n", [command, MarkdownText::count(changes, "change")])
        }
        PlanVerdict::NoChanges if facts.is_drift => MarkdownText::markup("### ✅ rolecall drift: none\n\n"),
        PlanVerdict::NoChanges => MarkdownText::template("### ✅ rolecall {}: no changes\n\n", [command]),
    };
    out.push(&heading);
    out.push(&error_lines(facts.errors));
    out.push(&refusal_lines(facts));
    if facts.verdict == PlanVerdict::NoChanges {
        out.push(&MarkdownText::template("{} matches the policy.\n", [place(facts)]));
    } else if !facts.document.plans.is_empty() {
        out.push(&MarkdownText::template("{}: {}\n", [place(facts), totals_text(facts)]));
    }
    if !facts.is_drift {
        out.push(&worst_changes(facts));
    }
    out
}

/// ``Policy `platform`, cluster `prod` ``.
fn place(facts: &PlanFacts<'_>) -> MarkdownText {
    let policy = MarkdownText::short_code(facts.policy().unwrap_or_default(), MAX_NAME);
    match facts.document.plans.as_slice() {
        [plan] => {
            MarkdownText::template("Policy {}, cluster {}", [policy, MarkdownText::short_code(&plan.cluster, MAX_NAME)])
        }
        plans => MarkdownText::template("Policy {}, {}", [policy, MarkdownText::count(plans.len(), "cluster")]),
    }
}

fn totals_text(facts: &PlanFacts<'_>) -> MarkdownText {
    let PlanTotals { create, adopt, update, replace, delete, gaining, losing, .. } = facts.totals;
    let changes = MarkdownText::template(
        "**{} to add, {} to change, {} to replace, {} to remove, {} to adopt.**",
        [create, update, replace, delete, adopt].map(MarkdownText::number),
    );
    if facts.is_drift {
        return changes;
    }
    let gain = MarkdownText::markup(if gaining == 1 { "gains" } else { "gain" });
    let lose = MarkdownText::markup(if losing == 1 { "loses" } else { "lose" });
    MarkdownText::template(
        "{} {} {} access, {} {}.",
        [changes, MarkdownText::count(gaining, "subject"), gain, MarkdownText::number(losing), lose],
    )
}

fn error_lines(errors: &[DiagnosticJson]) -> MarkdownText {
    let mut out = MarkdownText::default();
    for error in errors.iter().take(MAX_ERRORS) {
        out.push(&MarkdownText::template("- **Error:** {}", [MarkdownText::message(&error.message, MAX_MESSAGE)]));
        if let Some(location) = &error.location {
            let place = format!("{}:{}", location.file, location.line);
            out.push(&MarkdownText::template(" ({})", [MarkdownText::short_code(&place, MAX_NAME)]));
        }
        out.push(&MarkdownText::markup("\n"));
    }
    if let Some(more) = errors.len().checked_sub(MAX_ERRORS).filter(|more| *more > 0) {
        out.push(&MarkdownText::template("- … and {}\n", [MarkdownText::count(more, "more error")]));
    }
    if !errors.is_empty() {
        out.push(&MarkdownText::markup("\n"));
    }
    out
}

fn cut_advice(facts: &PlanFacts<'_>) -> MarkdownText {
    MarkdownText::template("Run `rolecall {} --full` to see everything.", [MarkdownText::markup(facts.command())])
}

/// One row for each of several clusters.
fn cluster_section(facts: &PlanFacts<'_>) -> Option<PageSection> {
    let plans = &facts.document.plans;
    if plans.len() < 2 {
        return None;
    }
    let items = plans.iter().map(|plan| {
        let totals = PlanTotals::new(plan);
        let result = if plan.is_refused() {
            "⛔ refused"
        } else if plan.needs_allow_window() {
            "⚠️ needs `--allow-window`"
        } else if totals.changes > 0 {
            "📝 changes"
        } else {
            "✅ no changes"
        };
        let numbers =
            [totals.create, totals.update + totals.adopt, totals.replace, totals.delete, totals.gaining, totals.losing];
        let mut cells = vec![MarkdownText::short_code(&plan.cluster, MAX_NAME), MarkdownText::markup(result)];
        cells.extend(numbers.map(MarkdownText::number));
        MarkdownText::table_row(&cells)
    });
    Some(PageSection {
        name: MarkdownText::markup("clusters"),
        priority: SectionPriority::Clusters,
        start: MarkdownText::markup(
            "\n| Cluster | Result | Add | Change | Replace | Remove | Gain access | Lose access |\n| --- | --- | --: | --: | --: | --: | --: | --: |\n",
        ),
        items: items.collect(),
        end: MarkdownText::default(),
        more: |more| MarkdownText::template("\n… and {}\n", [MarkdownText::count(more, "more cluster")]),
    })
}

/// What happens only while the plan is applied: temporary access, what is not proven, and waits.
fn during_apply_section(facts: &PlanFacts<'_>) -> Option<PageSection> {
    let mut items = Vec::new();
    for plan in &facts.document.plans {
        let step = |step: usize| plan.steps.get(step).map_or("a step", |step| step.reason.as_str());
        for transient in &plan.transient_access {
            let [subject, permission] =
                [&transient.subject, &transient.permission].map(|text| MarkdownText::prose(text));
            items.push(MarkdownText::template(
                "- ⚠️ {} temporarily **{}** {}: after {}, because {}\n",
                [
                    subject,
                    MarkdownText::markup(if transient.effect.is_gain() { "gains" } else { "loses" }),
                    permission,
                    MarkdownText::prose(step(transient.step)),
                    MarkdownText::prose(&transient.reason),
                ],
            ));
        }
        for unproven in &plan.not_proven {
            items.push(MarkdownText::template(
                "- ❓ not proven: {} may temporarily {} {}: after {}, because {}\n",
                [
                    MarkdownText::prose(&unproven.subject),
                    MarkdownText::markup(if unproven.effect.is_gain() { "gain" } else { "lose" }),
                    MarkdownText::prose(&unproven.permission),
                    MarkdownText::prose(step(unproven.step)),
                    MarkdownText::prose(&unproven.reason),
                ],
            ));
        }
        for wait in &plan.waits {
            let seconds = usize::try_from(wait.seconds).unwrap_or(usize::MAX);
            items.push(MarkdownText::template(
                "- ⏳ a wait of {} for cached tokens of {}: before {}\n",
                [
                    MarkdownText::count(seconds, "second"),
                    MarkdownText::count(wait.subjects.len(), "subject"),
                    MarkdownText::prose(step(wait.before_step)),
                ],
            ));
        }
    }
    (!items.is_empty()).then(|| PageSection {
        name: MarkdownText::markup("temporary changes and waits"),
        priority: SectionPriority::DuringApply,
        start: MarkdownText::markup("\n#### While it is applied\n\n"),
        items,
        end: MarkdownText::default(),
        more: |more| MarkdownText::template("- … and {} more\n", [MarkdownText::number(more)]),
    })
}

/// The command that makes exactly the changes of the document.
fn approval_section(facts: &PlanFacts<'_>) -> Option<PageSection> {
    let has_changes = facts.totals.changes > 0;
    if facts.is_drift || !has_changes || matches!(facts.verdict, PlanVerdict::Failed | PlanVerdict::Refused) {
        return None;
    }
    let command = format!("rolecall apply {}", ApprovalFlags::new(facts.document).to_words().join(" \\\n  "));
    let lines: Vec<String> = command.lines().map(str::to_owned).collect();
    let block = MarkdownText::fenced("sh", &lines);
    Some(PageSection {
        name: MarkdownText::markup("commands to apply it"),
        priority: SectionPriority::Approval,
        start: MarkdownText::markup(
            "\n#### Apply exactly this\n\nIt is refused if the policy, or an object that it relies on, has changed.\n\n",
        ),
        // The command is shown whole or not at all.
        items: vec![block],
        end: MarkdownText::default(),
        more: |_| MarkdownText::default(),
    })
}

fn warning_sections(facts: &PlanFacts<'_>) -> Vec<PageSection> {
    let sections = facts.document.plans.iter().filter(|plan| !plan.warnings.is_empty()).map(|plan| {
        let items = plan.warnings.iter().map(|warning| {
            let place = warning.location.as_ref().map(|location| format!("{}:{}", location.file, location.line));
            let place = place.map(|place| MarkdownText::template(" ({})", [MarkdownText::code(&place)]));
            let message = MarkdownText::message(&warning.message, MAX_LINE);
            MarkdownText::template("- {}{}\n", [message, place.unwrap_or_default()])
        });
        let title = match facts.document.plans.as_slice() {
            [_] => HtmlTitle::Count(plan.warnings.len(), "warning").text(),
            _ => HtmlTitle::ClusterCount(plan, plan.warnings.len(), "warning").text(),
        };
        PageSection {
            name: MarkdownText::markup("warnings"),
            priority: SectionPriority::Warnings,
            start: join(&MarkdownText::markup("\n"), &MarkdownText::details_start(false, &title)),
            items: items.collect(),
            end: MarkdownText::details_end(),
            more: |more| MarkdownText::template("- … and {} more\n", [MarkdownText::number(more)]),
        }
    });
    sections.collect()
}

/// The titles of parts that can be unfolded.
pub(super) enum HtmlTitle<'a> {
    /// `3 warnings`.
    Count(usize, &'static str),
    /// `prod: 3 warnings`.
    ClusterCount(&'a PlanJson, usize, &'static str),
}

impl HtmlTitle<'_> {
    pub(super) fn text(&self) -> super::markdown_text::HtmlText {
        use super::markdown_text::HtmlText;
        match self {
            Self::Count(number, noun) => HtmlText::count(*number, noun),
            Self::ClusterCount(plan, number, noun) => HtmlText::template(
                "{}: {}",
                [HtmlText::short_code(&plan.cluster, MAX_NAME), HtmlText::count(*number, noun)],
            ),
        }
    }
}

pub(super) fn join(first: &MarkdownText, second: &MarkdownText) -> MarkdownText {
    MarkdownText::template("{}{}", [first.clone(), second.clone()])
}
