//! `rolecall plan`.

use super::args::PlanArgs;
use super::cluster_plan::{PlanDepth, plan_targets};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::missing_permissions;
use super::refusals::{print_diagnostics, print_refusals};
use super::{print_error, write_file_atomically};
use crate::diagnostic::Severity;
use crate::render::plan_text;
use crate::report::to_text;

pub(crate) async fn run(args: &PlanArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let allow = parse_allow_flags(&args.allow)?;
    let mut plans = plan_targets(&args.target, PlanDepth::ChangesAndAccess, &allow, world).await?;
    let lacks: Vec<_> = plans
        .cluster_plans
        .iter()
        .filter_map(|one| missing_permissions::to_diagnostic(one, Severity::Warning))
        .collect();
    for one in &mut plans.cluster_plans {
        let told = missing_permissions::to_diagnostic(one, Severity::Warning);
        one.plan.warnings.extend(told);
    }
    let changes = plans.cluster_plans.iter().any(|one| !one.plan.is_empty());
    plans.print(args.format, args.full, plan_text::render_plan, world)?;
    print_diagnostics(&lacks, &plans.loaded.policy.sources, world);
    let refused = print_refusals(&plans.cluster_plans, &allow, &plans.loaded.policy.sources, world);
    // A plan for some of the clusters is shown, but neither saved nor taken for an answer.
    if let Some(failure) = plans.error {
        print_error(&failure, args.format, world);
        return Ok(Exit::Failed);
    }
    if refused {
        if let Some(path) = &args.out {
            world.eprint(&format!("{} was not saved: the plan is refused\n", path.display()));
        }
        return Ok(Exit::Refused);
    }
    if let Some(path) = &args.out {
        write_file_atomically(path, &to_text(&plans.document())?, world)?;
        // The file says yes to nothing: whoever applies it does.
        let allow: String = args.allow.iter().map(|text| format!(" --allow {text}")).collect();
        world.note(&format!(
            "Saved to {0}; `rolecall apply --plan {0}{allow}` makes these writes and no others\n",
            path.display()
        ));
    }
    // The run ends here: giving back a large policy string by string would take longer than printing it.
    std::mem::forget((plans.loaded, plans.cluster_plans));
    Ok(if changes && args.detailed_exitcode { Exit::ChangesFound } else { Exit::Success })
}
