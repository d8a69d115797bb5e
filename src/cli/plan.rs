//! `rolecall plan`.

use super::args::Plan;
use super::exit::Exit;
use super::failure::Failure;
use super::guarded::allowances;
use super::lacking;
use super::planned::{Depth, plans};
use super::refused::{say, say_refusals};
use super::world::World;
use super::{report, write_file};
use crate::diagnostic::Severity;
use crate::render::text;

pub(crate) async fn run(args: &Plan, world: &mut World) -> Result<Exit, Failure> {
    let allow = allowances(&args.allow)?;
    let mut plans = plans(&args.scope, Depth::Access, &allow, world).await?;
    let lacks: Vec<_> = plans.planned.iter().filter_map(|one| lacking::told(one, Severity::Warning)).collect();
    for one in &mut plans.planned {
        let told = lacking::told(one, Severity::Warning);
        one.plan.warnings.extend(told);
    }
    let changes = plans.planned.iter().any(|one| !one.plan.is_empty());
    plans.print(args.format, args.full, text::plan, world);
    say(&lacks, &plans.loaded.policy.sources, world);
    let refused = say_refusals(&plans.planned, &allow, &plans.loaded.policy.sources, world);
    // A plan for some of the clusters is shown, but neither saved nor taken for an answer.
    if let Some(failure) = plans.failure {
        report(&failure, args.format, world);
        return Ok(Exit::Failed);
    }
    if refused {
        if let Some(path) = &args.out {
            world.say(&format!("{} was not saved: the plan is refused\n", path.display()));
        }
        return Ok(Exit::Refused);
    }
    if let Some(path) = &args.out {
        write_file(path, &format!("{:#}\n", plans.to_json()), world)?;
        // The file says yes to nothing: whoever applies it does.
        let allow: String = args.allow.iter().map(|text| format!(" --allow {text}")).collect();
        world.say(&format!(
            "Saved to {0}; `rolecall apply --plan {0}{allow}` makes these writes and no others\n",
            path.display()
        ));
    }
    // The run ends here: giving back a large policy string by string would take longer than printing it.
    std::mem::forget((plans.loaded, plans.planned));
    Ok(if changes && args.detailed_exitcode { Exit::Changes } else { Exit::Done })
}
