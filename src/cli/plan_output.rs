//! Prints the plans of a command.

use super::args::OutputFormat;
use super::env::Env;
use super::print_json;
use crate::ops::{ClusterPlan, CommandError, PlanSet};
use crate::plan::Plan;
use crate::render::plan_text::PlanTextOptions;
use crate::render::terminal_text::TerminalText;

/// Prints the plans. A JSON document is printed only if all clusters could be planned.
pub(crate) fn print_plan_set(
    plans: &PlanSet,
    format: OutputFormat,
    full: bool,
    render: fn(&Plan, &PlanTextOptions<'_>) -> TerminalText,
    env: &mut Env,
) -> Result<(), CommandError> {
    match format {
        OutputFormat::Json if plans.error.is_none() => print_json(&plans.document()?, env)?,
        OutputFormat::Json => {}
        OutputFormat::Text => {
            print_plans(&plans.cluster_plans, full, render, env);
            if let Some(summary) = summarize(plans) {
                env.print("");
                env.print(&summary);
            }
        }
    }
    Ok(())
}

/// `5 clusters: 3 with changes, 1 without changes, 1 failed`. `None` for one cluster, whose plan says it.
fn summarize(plans: &PlanSet) -> Option<String> {
    let total = plans.cluster_plans.len() + plans.failed;
    let unchanged = plans.cluster_plans.iter().filter(|cluster_plan| cluster_plan.plan.is_empty()).count();
    let changed = plans.cluster_plans.len() - unchanged;
    let counts = [(changed, "with changes"), (unchanged, "without changes"), (plans.failed, "failed")];
    let counts: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, text)| format!("{number} {text}")).collect();
    (total > 1).then(|| format!("{total} clusters: {}", counts.join(", ")))
}

/// Prints the plans as text, with an empty line between them.
pub(crate) fn print_plans(
    cluster_plans: &[ClusterPlan],
    full: bool,
    render: fn(&Plan, &PlanTextOptions<'_>) -> TerminalText,
    env: &mut Env,
) {
    for (number, cluster_plan) in cluster_plans.iter().enumerate() {
        let options = PlanTextOptions {
            cluster: &cluster_plan.label,
            digest: &cluster_plan.digest,
            full,
            style: env.stdout_style(),
            width: env.out_width(),
        };
        if number > 0 {
            env.print("");
        }
        env.print_text(&render(&cluster_plan.plan, &options));
    }
}
