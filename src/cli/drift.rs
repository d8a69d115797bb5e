//! `rolecall drift`.

use super::args::Drift;
use super::exit::Exit;
use super::failure::Failure;
use super::planned::{Depth, plans};
use super::refused::say_refusals;
use super::report;
use super::world::World;
use crate::render::text;

pub(crate) async fn run(args: &Drift, world: &mut World) -> Result<Exit, Failure> {
    let plans = plans(&args.scope, Depth::Changes, &[], world).await?;
    plans.print(args.format, args.full, text::drift, world);
    let refused = say_refusals(&plans.planned, &[], &plans.loaded.policy.sources, world);
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
