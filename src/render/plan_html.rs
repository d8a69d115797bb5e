//! A plan or a drift as an HTML page: the verdict first, then who gains and loses access, the worst first, the guards and
//! invariants, and the changes. It is made from the document that `-o json` prints and a plan file holds.

use super::html_parts::{error_banner, table};
use super::html_shell::{HtmlShell, section};
use super::page_html::PageHtml;
use super::plan_access_html::access_part;
use super::plan_changes_html::{aws_auth_part, changes_part};
use super::plan_checks_html::{checks_part, refusals};
use super::plan_facts::{ApprovalFlags, PlanFacts, PlanTotals, PlanVerdict};
use crate::report::{DiagnosticJson, PlanDocument, PlanJson};

/// Returns the document as a page. `errors` are those of the clusters that could not be planned.
pub(crate) fn render_plan_html(document: &PlanDocument, errors: &[DiagnosticJson]) -> PageHtml {
    let facts = PlanFacts::new(document, errors);
    let command = PageHtml::markup(facts.command());
    let policy = PageHtml::text(facts.policy().unwrap_or_default());
    let place = match document.plans.as_slice() {
        [plan] => PageHtml::template("cluster {}", [PageHtml::code(&plan.cluster)]),
        plans => PageHtml::count(plans.len(), "cluster"),
    };
    let header = PageHtml::template(
        "<h1>rolecall {}</h1>\n<p class=\"subtitle\">Policy <code>{}</code>, {}</p>\n",
        [command.clone(), policy.clone(), place],
    );
    let parts = [
        ("clusters", "Clusters", clusters_part(&facts)),
        ("access", "Who gains and loses access", access_part(&facts)),
        ("while", "While it is applied", during_apply_part(&facts)),
        ("apply", "Apply exactly this", approval_part(&facts)),
        ("checks", "Guards and invariants", checks_part(&facts)),
        ("changes", "Changes", changes_part(&facts)),
        ("aws-auth", "Text of aws-auth", aws_auth_part(&facts)),
        ("warnings", "Warnings", warnings_part(&facts)),
    ];
    let mut main = verdict(&facts);
    let mut navigation = Vec::new();
    for (id, heading, content) in parts {
        if let Some(content) = content {
            navigation.push((PageHtml::markup(heading), PageHtml::markup(id)));
            main.push(&section(PageHtml::markup(id), PageHtml::markup(heading), content));
        }
    }
    let footer = PageHtml::markup("<p>Made by rolecall. This page loads nothing and sends nothing.</p>\n");
    let title = PageHtml::template("rolecall {}: {}", [command, policy]);
    HtmlShell { title, header, navigation, main, footer, data: None }.render()
}

/// Returns the page of a command that failed before there was a plan.
pub(crate) fn render_failure_html(command: &'static str, errors: &[DiagnosticJson]) -> PageHtml {
    let command = PageHtml::markup(command);
    let title = PageHtml::template("rolecall {}: failed", [command.clone()]);
    let header = PageHtml::template("<h1>rolecall {}: failed</h1>\n", [command]);
    let footer = PageHtml::markup("<p>Made by rolecall.</p>\n");
    HtmlShell { title, header, navigation: Vec::new(), main: error_banner(errors), footer, data: None }.render()
}

fn verdict(facts: &PlanFacts<'_>) -> PageHtml {
    let PlanTotals { changes, outside, create, adopt, update, replace, delete, gaining, losing } = facts.totals;
    let (class, heading) = match facts.verdict {
        PlanVerdict::Failed => ("alarm", PageHtml::markup("Failed: not all clusters could be planned")),
        PlanVerdict::Refused if facts.is_drift => ("alarm", PageHtml::markup("An invariant is violated")),
        PlanVerdict::Refused => ("alarm", PageHtml::markup("Refused: apply would make no changes")),
        PlanVerdict::NeedsAllowWindow => {
            ("warn", PageHtml::markup("Access changes for a moment: apply needs <code>--allow-window</code>"))
        }
        PlanVerdict::Changes if facts.is_drift => (
            "warn",
            PageHtml::template(
                "{} outside of rolecall, {} not yet applied",
                [PageHtml::count(outside, "change"), PageHtml::number(changes - outside)],
            ),
        ),
        PlanVerdict::Changes => ("warn", PageHtml::count(changes, "change")),
        PlanVerdict::NoChanges => ("good", PageHtml::markup("No changes: the cluster matches the policy")),
    };
    let mut content = PageHtml::template(
        "<p>{} to add, {} to change, {} to replace, {} to remove, {} to adopt.</p>\n",
        [create, update, replace, delete, adopt].map(PageHtml::number),
    );
    if !facts.is_drift {
        content.push(&PageHtml::template(
            "<p>{} gaining access, {} losing access.</p>\n",
            [PageHtml::count(gaining, "subject"), PageHtml::count(losing, "subject")],
        ));
    }
    let escalations = facts.escalations();
    if !escalations.is_empty() {
        let counts = escalations.into_iter().map(|(severity, number)| {
            PageHtml::template("{} {}", [PageHtml::number(number), PageHtml::markup(severity.name())])
        });
        content.push(&PageHtml::template(
            "<p>Privilege escalation paths opened: {}.</p>\n",
            [PageHtml::join(counts, ", ")],
        ));
    }
    content.push(&refusals(facts));
    let banner = PageHtml::template(
        "<div class=\"verdict {}\">\n<h2 id=\"verdict\">{}</h2>\n{}</div>\n",
        [PageHtml::markup(class), heading, content],
    );
    PageHtml::concat([error_banner(facts.errors), banner])
}

/// One row for each of several clusters.
fn clusters_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let plans = &facts.document.plans;
    if plans.len() < 2 {
        return None;
    }
    let rows = plans.iter().map(|plan| {
        let PlanTotals { changes, create, adopt, update, replace, delete, gaining, losing, .. } = PlanTotals::new(plan);
        let result = if plan.is_refused() {
            "refused"
        } else if plan.needs_allow_window() {
            "needs --allow-window"
        } else if changes > 0 {
            "changes"
        } else {
            "no changes"
        };
        let numbers = [create, update + adopt, replace, delete, gaining, losing];
        let numbers = numbers.map(|number| PageHtml::template("<td>{}</td>", [PageHtml::number(number)]));
        PageHtml::template(
            "<tr><th scope=\"row\">{}</th><td>{}</td>{}</tr>\n",
            [PageHtml::text(&plan.cluster), PageHtml::markup(result), PageHtml::concat(numbers)],
        )
    });
    Some(table(
        "The result for each cluster.",
        &["Cluster", "Result", "Add", "Change", "Replace", "Remove", "Gain access", "Lose access"],
        rows.collect(),
    ))
}

/// What happens only while the plan is applied: temporary access, what is not proven, and waits.
fn during_apply_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let mut items = Vec::new();
    for plan in &facts.document.plans {
        let step = |step: usize| PageHtml::text(plan.steps.get(step).map_or("a step", |step| step.reason.as_str()));
        for transient in &plan.transient_access {
            let effect = if transient.effect.is_gain() { "gains" } else { "loses" };
            items.push(PageHtml::template(
                "<li>{} temporarily <strong>{}</strong> {}: after {}, because {}</li>\n",
                [
                    PageHtml::text(&transient.subject),
                    PageHtml::markup(effect),
                    PageHtml::text(&transient.permission),
                    step(transient.step),
                    PageHtml::message(&transient.reason),
                ],
            ));
        }
        for unproven in &plan.not_proven {
            let effect = if unproven.effect.is_gain() { "gain" } else { "lose" };
            items.push(PageHtml::template(
                "<li>Not proven: {} may temporarily <strong>{}</strong> {}: after {}, because {}</li>\n",
                [
                    PageHtml::text(&unproven.subject),
                    PageHtml::markup(effect),
                    PageHtml::text(&unproven.permission),
                    step(unproven.step),
                    PageHtml::message(&unproven.reason),
                ],
            ));
        }
        for wait in &plan.waits {
            let seconds = usize::try_from(wait.seconds).unwrap_or(usize::MAX);
            items.push(PageHtml::template(
                "<li>A wait of {} for cached tokens of {}: before {}</li>\n",
                [
                    PageHtml::count(seconds, "second"),
                    PageHtml::count(wait.subjects.len(), "subject"),
                    step(wait.before_step),
                ],
            ));
        }
    }
    (!items.is_empty()).then(|| PageHtml::template("<ul>\n{}</ul>\n", [PageHtml::concat(items)]))
}

/// The command that makes exactly the changes of the document.
fn approval_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let has_changes = facts.totals.changes > 0;
    if facts.is_drift || !has_changes || matches!(facts.verdict, PlanVerdict::Failed | PlanVerdict::Refused) {
        return None;
    }
    let flags = ApprovalFlags::new(facts.document).to_words();
    let lines =
        std::iter::once(PageHtml::markup("rolecall apply")).chain(flags.iter().map(|flag| PageHtml::text(flag)));
    Some(PageHtml::template(
        concat!(
            "<p>It is refused if the policy, or an object that it relies on, has changed.</p>\n",
            "<pre tabindex=\"0\"><code>{}</code></pre>\n",
        ),
        [PageHtml::join(lines, " \\\n  ")],
    ))
}

fn warnings_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let plans = &facts.document.plans;
    let warnings = plans.iter().flat_map(|plan| plan.warnings.iter().map(move |warning| (plan, warning)));
    let items: Vec<PageHtml> = warnings
        .map(|(plan, warning)| {
            let place = warning.location.as_ref().map(|location| {
                PageHtml::template(
                    " (<code>{}:{}</code>)",
                    [PageHtml::text(&location.file), PageHtml::digits(location.line)],
                )
            });
            let message = PageHtml::message(&warning.message);
            PageHtml::template("<li>{}{}{}</li>\n", [cluster_prefix(facts, plan), message, place.unwrap_or_default()])
        })
        .collect();
    (!items.is_empty()).then(|| PageHtml::template("<ul>\n{}</ul>\n", [PageHtml::concat(items)]))
}

/// `prod: ` if the document has several clusters.
pub(super) fn cluster_prefix(facts: &PlanFacts<'_>, plan: &PlanJson) -> PageHtml {
    if facts.document.plans.len() < 2 {
        return PageHtml::default();
    }
    PageHtml::template("{}: ", [PageHtml::text(plan.name.as_deref().unwrap_or(&plan.cluster))])
}
