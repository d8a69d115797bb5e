//! `rolecall drift`: the differences between the clusters and the policy.

use std::collections::BTreeSet;

use super::args::DriftArgs;
use super::drift_metrics::{MetricsFile, RunResult};
use super::env::Env;
use super::exit::Exit;
use super::plan_output::{print_plan_set, report_failure};
use super::policy_files::read_policy;
use super::print_error;
use super::refusals::print_refusals;
use super::target::target_resolver;
use crate::ops::{CommandError, PlanDepth, PlanSet, PlanSettings, plan_clusters};
use crate::render::plan_text;

pub(crate) fn run(args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let metrics = args.metrics.as_deref().map(|path| MetricsFile::open(path, env)).transpose()?;
    let result = find_drift(args, env);
    // The result is printed also if the metrics cannot be written.
    let written = match metrics {
        Some(metrics) => metrics.write(&run_result(result.as_ref().ok())?, env),
        None => Ok(()),
    };
    let printed = result.and_then(|plans| print_result(plans, args, env));
    if let Err(error) = &printed {
        report_failure("drift", error, &args.output, env)?;
    }
    let exit = printed?;
    written.map(|()| exit)
}

fn find_drift(args: &DriftArgs, env: &mut Env) -> Result<PlanSet, CommandError> {
    let files = read_policy(args.target.policy.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let settings =
        PlanSettings { depth: PlanDepth::ChangesOnly, allow: &[], aws_auth_diff: false, unmanaged_admins: true };
    plan_clusters(files, &target_resolver(&args.target.connection, &context), &settings, &context)
}

/// Returns what the metrics say of a run. `None`: it failed before a cluster was compared.
fn run_result(plans: Option<&PlanSet>) -> Result<RunResult, CommandError> {
    let Some(plans) = plans else {
        return Ok(RunResult::default());
    };
    let names: BTreeSet<String> = plans.loaded.policy.clusters.keys().cloned().collect();
    let is_success = plans.error.is_none();
    // A policy without `[clusters]` is for the cluster of the context, whose name is not known if it cannot be read.
    let known = (is_success || !names.is_empty()).then_some(names);
    Ok(RunResult { document: Some(plans.document()?), known, is_success })
}

fn print_result(plans: PlanSet, args: &DriftArgs, env: &mut Env) -> Result<Exit, CommandError> {
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
