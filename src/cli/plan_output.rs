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
        OutputFormat::Text => print_plans(&plans.cluster_plans, full, render, env),
    }
    Ok(())
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
