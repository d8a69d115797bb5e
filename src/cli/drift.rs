//! `rolecall drift`: the differences between the clusters and the policy.

use super::args::DriftArgs;
use super::cluster_plan::{PlanDepth, plan_targets};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::plan_output::report_failure;
use super::print_error;
use super::refusals::print_refusals;
use crate::render::plan_text;

pub(crate) async fn run(args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let result = Box::pin(find_and_print(args, env)).await;
    if let Err(error) = &result {
        report_failure("drift", error, &args.output, env)?;
    }
    result
}

async fn find_and_print(args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let plans = plan_targets(&args.target, PlanDepth::ChangesOnly, &[], env).await?;
    plans.print(&args.output, args.full, plan_text::render_drift, env)?;
    let refused = print_refusals(&plans.cluster_plans, &[], &plans.loaded.policy.sources, env);
    if let Some(error) = plans.error {
        print_error(&error, args.output.format.of_errors(), env);
        return Ok(Exit::Failed);
    }
    if refused {
        return Ok(Exit::Refused);
    }
    let has_drift = plans.cluster_plans.iter().any(|cluster_plan| !cluster_plan.plan.is_empty());
    Ok(if has_drift { Exit::ChangesFound } else { Exit::Success })
}
