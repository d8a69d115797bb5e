//! `rolecall drift`: the differences between the clusters and the policy.

use super::args::DriftArgs;
use super::env::Env;
use super::exit::Exit;
use super::plan_output::{print_plan_set, report_failure};
use super::policy_files::read_policy;
use super::print_error;
use super::refusals::print_refusals;
use super::target::target_resolver;
use crate::ops::{CommandError, PlanDepth, PlanSettings, plan_clusters};
use crate::render::plan_text;

pub(crate) fn run(args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let result = find_and_print(args, env);
    if let Err(error) = &result {
        report_failure("drift", error, &args.output, env)?;
    }
    result
}

fn find_and_print(args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let files = read_policy(args.target.policy.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let settings = PlanSettings { depth: PlanDepth::ChangesOnly, allow: &[], aws_auth_diff: false };
    let plans = plan_clusters(files, &target_resolver(&args.target.connection, &context), &settings, &context)?;
    print_plan_set(("drift", &plans), &args.output, args.full, plan_text::render_drift, env)?;
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
