//! Guards and invariants of a plan in a page: those that refuse it in the verdict, and all of them in their own part.

use super::page_html::PageHtml;
use super::plan_facts::{PlanFacts, shell_word};
use super::plan_html::cluster_prefix;
use crate::report::{FailedInvariantJson, GuardFindingJson, InvariantJson, LocationJson, PlanJson};

/// The number of subjects that are listed below a violated invariant.
const MAX_VIOLATIONS: usize = 20;

/// Returns why the plans are refused, for the verdict.
pub(super) fn refusals(facts: &PlanFacts<'_>) -> PageHtml {
    let mut items = Vec::new();
    for plan in &facts.document.plans {
        let prefix = cluster_prefix(facts, plan);
        for FailedInvariantJson { location, description, invariant, .. } in &plan.failed_invariants {
            let name = PageHtml::message(description.as_ref().unwrap_or(invariant));
            items.push(PageHtml::template(
                "<li>{}invariant violated: {} ({})</li>\n",
                [prefix.clone(), name, place(location)],
            ));
        }
        for GuardFindingJson { guard, message, allow, .. } in &plan.guards.refused {
            let accept = allow.as_ref().map(|allow| {
                let flag = format!("--allow {}", shell_word(allow));
                PageHtml::template(". To accept exactly this: {}", [PageHtml::code(&flag)])
            });
            items.push(PageHtml::template(
                "<li>{}guard <code>{}</code>: {}{}</li>\n",
                [
                    prefix.clone(),
                    PageHtml::markup(guard.name()),
                    PageHtml::message(message),
                    accept.unwrap_or_default(),
                ],
            ));
        }
    }
    if items.is_empty() {
        return PageHtml::default();
    }
    PageHtml::template("<ul>\n{}</ul>\n", [PageHtml::concat(items)])
}

/// Returns a line for every guard and every invariant, also for those that pass.
pub(super) fn checks_part(facts: &PlanFacts<'_>) -> Option<PageHtml> {
    let mut out = PageHtml::default();
    for plan in &facts.document.plans {
        let items = check_items(plan);
        if items.is_empty() {
            continue;
        }
        if facts.document.plans.len() > 1 {
            out.push(&PageHtml::template("<h3>{}</h3>\n", [PageHtml::text(&plan.cluster)]));
        }
        out.push(&PageHtml::template("<ul class=\"checks\">\n{}</ul>\n", [PageHtml::concat(items)]));
    }
    (!out.is_empty()).then_some(out)
}

fn check_items(plan: &PlanJson) -> Vec<PageHtml> {
    let mut items = Vec::new();
    let failed = "<li><span class=\"severity critical\">violated</span> invariant {} ({}){}</li>\n";
    for FailedInvariantJson { location, description, invariant, violations, id: _ } in &plan.failed_invariants {
        let mut violators: Vec<PageHtml> = violations
            .iter()
            .take(MAX_VIOLATIONS)
            .map(|violation| {
                let path = violation.path.iter().map(|part| PageHtml::text(part));
                PageHtml::template(
                    "<li>{} {}: {}</li>\n",
                    [
                        PageHtml::code(&violation.subject),
                        PageHtml::message(&violation.message),
                        PageHtml::join(path, " → "),
                    ],
                )
            })
            .collect();
        if let Some(more) = violations.len().checked_sub(MAX_VIOLATIONS).filter(|more| *more > 0) {
            violators.push(PageHtml::template("<li>and {} more</li>\n", [PageHtml::number(more)]));
        }
        let violators = PageHtml::template("<ul>\n{}</ul>", [PageHtml::concat(violators)]);
        let sentence = invariant_text(description.as_ref(), invariant);
        items.push(PageHtml::template(failed, [sentence, place(location), violators]));
    }
    let guards = &plan.guards;
    for (template, findings) in [
        ("<li><span class=\"severity critical\">refused</span> guard <code>{}</code>: {}</li>\n", &guards.refused),
        (
            "<li><span class=\"severity medium\">accepted</span> guard <code>{}</code>, by <code>--allow</code>: {}</li>\n",
            &guards.allowed,
        ),
    ] {
        for GuardFindingJson { guard, message, .. } in findings {
            items.push(PageHtml::template(template, [PageHtml::markup(guard.name()), PageHtml::message(message)]));
        }
    }
    for guard in &guards.not_evaluated {
        items.push(PageHtml::template(
            "<li><span class=\"severity medium\">not evaluated</span> guard <code>{}</code>: {}</li>\n",
            [PageHtml::markup(guard.guard.name()), PageHtml::message(&guard.reason)],
        ));
    }
    for guard in &guards.passed {
        items.push(PageHtml::template(
            "<li><span class=\"severity low\">passed</span> guard <code>{}</code>: {}</li>\n",
            [PageHtml::markup(guard.name()), PageHtml::markup(guard.promise())],
        ));
    }
    let is_violated =
        |invariant: &&InvariantJson| plan.failed_invariants.iter().any(|failed| failed.location == invariant.location);
    for invariant in plan.invariants.iter().filter(|invariant| !is_violated(invariant)) {
        let sentence = invariant_text(invariant.description.as_ref(), &invariant.sentence());
        items.push(PageHtml::template(
            "<li><span class=\"severity low\">passed</span> invariant {} ({})</li>\n",
            [sentence, place(&invariant.location)],
        ));
    }
    items
}

fn invariant_text(description: Option<&String>, sentence: &str) -> PageHtml {
    match description {
        Some(description) => PageHtml::template("{}: {}", [PageHtml::text(description), PageHtml::text(sentence)]),
        None => PageHtml::text(sentence),
    }
}

/// `access.toml:12`.
fn place(location: &LocationJson) -> PageHtml {
    PageHtml::template("<code>{}:{}</code>", [PageHtml::text(&location.file), PageHtml::digits(location.line)])
}
