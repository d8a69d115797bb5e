//! `rolecall drift`.

use super::args::{Drift, Format};
use super::exit::Exit;
use super::failure::Failure;
use super::planned::{Depth, plans};
use super::refused::say_refusals;
use super::world::World;
use super::{print_json, report};
use crate::render::text::{self, View};

pub(crate) async fn run(args: &Drift, world: &mut World) -> Result<Exit, Failure> {
    let plans = plans(&args.scope, Depth::Changes, world).await?;
    match args.format {
        Format::Json if plans.failure.is_none() => print_json(&plans.to_json(), world),
        Format::Json => {}
        Format::Text => {
            for (number, one) in plans.planned.iter().enumerate() {
                let view = View { cluster: &one.label, full: args.full, style: world.out_style() };
                let gap = if number > 0 { "\n" } else { "" };
                world.print(&format!("{gap}{}", text::drift(&one.plan, &view)));
            }
        }
    }
    let refused = say_refusals(&plans.planned, &plans.loaded.policy.sources, world);
    if let Some(failure) = plans.failure {
        report(&failure, args.format, world);
        return Ok(Exit::Failed);
    }
    if refused {
        return Ok(Exit::Refused);
    }
    let drifted = plans.planned.iter().any(|one| !one.plan.is_empty());
    Ok(if drifted { Exit::Changes } else { Exit::Done })
}
