//! Guards and invariants of a plan in a Markdown document: those that refuse it in the verdict, and all of them below.

use super::markdown_page::{PageSection, SectionPriority};
use super::markdown_text::{HtmlText, MarkdownText};
use super::plan_facts::{PlanFacts, shell_word};
use super::plan_markdown::{MAX_LINE, MAX_MESSAGE, MAX_NAME, join};
use crate::report::{FailedInvariantJson, GuardFindingJson, InvariantJson, LocationJson, PlanJson};

/// The number of refusals in the verdict.
const MAX_REFUSALS: usize = 5;
/// The number of subjects that are listed below a violated invariant.
const MAX_VIOLATIONS: usize = 5;

/// Returns why the plans are refused, for the verdict.
pub(super) fn refusal_lines(facts: &PlanFacts<'_>) -> MarkdownText {
    let plans = &facts.document.plans;
    let mut lines = Vec::new();
    for plan in plans {
        let cluster = if plans.len() > 1 {
            MarkdownText::template("{}: ", [MarkdownText::short_code(&plan.cluster, MAX_NAME)])
        } else {
            MarkdownText::default()
        };
        for FailedInvariantJson { id: _, location, description, invariant, violations } in &plan.failed_invariants {
            let name = description.as_ref().unwrap_or(invariant);
            let because = violations.first().map(|violation| {
                MarkdownText::template(
                    ", because {} {}",
                    [
                        MarkdownText::short_code(&violation.subject, MAX_NAME),
                        MarkdownText::message(&violation.message, MAX_MESSAGE),
                    ],
                )
            });
            lines.push(MarkdownText::template(
                "- {}**Invariant violated:** {} ({}){}\n",
                [
                    cluster.clone(),
                    MarkdownText::short_prose(name, MAX_MESSAGE),
                    place(location),
                    because.unwrap_or_default(),
                ],
            ));
        }
        for GuardFindingJson { id: _, guard, subject: _, message, notes: _, allow } in &plan.guards.refused {
            let accept = allow.as_ref().map(|allow| {
                let flag = format!("--allow {}", shell_word(allow));
                MarkdownText::template(". To accept exactly this: {}", [MarkdownText::short_code(&flag, MAX_MESSAGE)])
            });
            lines.push(MarkdownText::template(
                "- {}**Guard {}:** {}{}\n",
                [
                    cluster.clone(),
                    MarkdownText::code(guard.name()),
                    MarkdownText::message(message, MAX_MESSAGE),
                    accept.unwrap_or_default(),
                ],
            ));
        }
    }
    let more = lines.len().saturating_sub(MAX_REFUSALS);
    lines.truncate(MAX_REFUSALS);
    if more > 0 {
        lines.push(MarkdownText::template("- … and {}\n", [MarkdownText::count(more, "more refusal")]));
    }
    if !lines.is_empty() {
        lines.push(MarkdownText::markup("\n"));
    }
    MarkdownText::join(lines, "")
}

/// Returns one part for each cluster: a line for every guard and every invariant, also for those that pass.
pub(super) fn check_sections(facts: &PlanFacts<'_>) -> Vec<PageSection> {
    let has_clusters = facts.document.plans.len() > 1;
    facts.document.plans.iter().filter_map(|plan| check_section(plan, has_clusters)).collect()
}

fn check_section(plan: &PlanJson, has_clusters: bool) -> Option<PageSection> {
    let guards = &plan.guards;
    let mut items = Vec::new();
    for FailedInvariantJson { id: _, location, description, invariant, violations } in &plan.failed_invariants {
        items.push(invariant_line("- ⛔ invariant {} ({})\n", description.as_ref(), invariant, location));
        for violation in violations.iter().take(MAX_VIOLATIONS) {
            let path = violation.path.iter().map(|part| MarkdownText::code(part));
            items.push(MarkdownText::template(
                "  - {} {}: {}\n",
                [
                    MarkdownText::code(&violation.subject),
                    MarkdownText::message(&violation.message, MAX_LINE),
                    MarkdownText::join(path, " → "),
                ],
            ));
        }
        if let Some(more) = violations.len().checked_sub(MAX_VIOLATIONS).filter(|more| *more > 0) {
            items.push(MarkdownText::template("  - … and {} more\n", [MarkdownText::number(more)]));
        }
    }
    for finding in &guards.refused {
        items.push(guard_line("- ⛔ guard {}: {}\n", finding));
    }
    for finding in &guards.allowed {
        items.push(guard_line("- ⚠️ guard {}, accepted by `--allow`: {}\n", finding));
    }
    for guard in &guards.not_evaluated {
        let name = MarkdownText::code(guard.guard.name());
        items.push(MarkdownText::template(
            "- ❓ guard {}: {}\n",
            [name, MarkdownText::message(&guard.reason, MAX_LINE)],
        ));
    }
    for guard in &guards.passed {
        let name = MarkdownText::code(guard.name());
        items.push(MarkdownText::template("- ✅ guard {}: {}\n", [name, MarkdownText::markup(guard.promise())]));
    }
    let is_violated =
        |invariant: &&InvariantJson| plan.failed_invariants.iter().any(|failed| failed.location == invariant.location);
    let holding: Vec<&InvariantJson> = plan.invariants.iter().filter(|invariant| !is_violated(invariant)).collect();
    for invariant in &holding {
        let (description, sentence) = (invariant.description.as_ref(), invariant.sentence());
        items.push(invariant_line("- ✅ invariant {} ({})\n", description, &sentence, &invariant.location));
    }
    if items.is_empty() {
        return None;
    }
    let (failed, refused) = (plan.failed_invariants.len(), guards.refused.len());
    let cluster = if has_clusters {
        HtmlText::template("{}: ", [HtmlText::short_code(&plan.cluster, MAX_NAME)])
    } else {
        HtmlText::default()
    };
    let not_evaluated = if guards.not_evaluated.is_empty() {
        HtmlText::default()
    } else {
        HtmlText::template(", {} not evaluated", [HtmlText::number(guards.not_evaluated.len())])
    };
    let title = HtmlText::template(
        "{}Guards: {} passed, {} refused{}. Invariants: {} passed, {} violated",
        [
            cluster,
            HtmlText::number(guards.passed.len() + guards.allowed.len()),
            HtmlText::number(refused),
            not_evaluated,
            HtmlText::number(holding.len()),
            HtmlText::number(failed),
        ],
    );
    let is_open = failed + refused > 0;
    Some(PageSection {
        name: MarkdownText::template(
            "guards and invariants of {}",
            [MarkdownText::short_code(&plan.cluster, MAX_NAME)],
        ),
        priority: SectionPriority::Checks,
        start: join(&MarkdownText::markup("\n"), &MarkdownText::details_start(is_open, &title)),
        items,
        end: MarkdownText::details_end(),
        more: |more| MarkdownText::template("- … and {} more\n", [MarkdownText::number(more)]),
    })
}

fn guard_line(template: &'static str, finding: &GuardFindingJson) -> MarkdownText {
    MarkdownText::template(
        template,
        [MarkdownText::code(finding.guard.name()), MarkdownText::message(&finding.message, MAX_LINE)],
    )
}

/// Shows the description, if there is one, and the invariant itself.
fn invariant_line(
    template: &'static str,
    description: Option<&String>,
    sentence: &str,
    location: &LocationJson,
) -> MarkdownText {
    let text = match description {
        Some(description) => {
            MarkdownText::template("{}: {}", [MarkdownText::code(description), MarkdownText::prose(sentence)])
        }
        None => MarkdownText::prose(sentence),
    };
    MarkdownText::template(template, [text, place(location)])
}

/// `` `access.toml:12` ``.
fn place(location: &LocationJson) -> MarkdownText {
    MarkdownText::short_code(&format!("{}:{}", location.file, location.line), MAX_NAME)
}
