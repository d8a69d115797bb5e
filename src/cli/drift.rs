//! `rolecall drift`.

use super::args::DriftArgs;
use super::cluster_plan::{PlanDepth, plan_targets};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::print_error;
use super::refusals::print_refusals;
use crate::render::plan_text;

pub(crate) async fn run(args: &DriftArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let plans = plan_targets(&args.target, PlanDepth::ChangesOnly, &[], world).await?;
    plans.print(args.format, args.full, plan_text::render_drift, world)?;
    let refused = print_refusals(&plans.cluster_plans, &[], &plans.loaded.policy.sources, world);
    if let Some(failure) = plans.error {
        print_error(&failure, args.format, world);
        return Ok(Exit::Failed);
    }
    if refused {
        return Ok(Exit::Refused);
    }
    let drifted = plans.cluster_plans.iter().any(|one| !one.plan.is_empty());
    Ok(if drifted { Exit::ChangesFound } else { Exit::Success })
}
