//! What a guard or an invariant says of the plans of a run: after them, and instead of every write.

use super::planned::Planned;
use super::world::World;
use crate::diagnostic::{Diagnostic, Sources};
use crate::guard::{Allowance, Danger, Refusal};
use crate::render::faults;

/// Says what is refused, and whether anything is.
pub(crate) fn say_refusals(planned: &[Planned], allow: &[Allowance], sources: &Sources, world: &mut World) -> bool {
    let several = planned.len() > 1;
    let mut found = Vec::new();
    for one in planned {
        let refusals = one.refusals.iter().map(Refusal::diagnostic);
        let verdict = &one.verdict;
        let dangers = verdict.allowed.iter().map(Danger::allowed).chain(verdict.refused.iter().map(Danger::refused));
        found.extend(refusals.chain(dangers).map(|mut error| {
            if several {
                error.message = format!("{}: {}", one.label, error.message);
            }
            error
        }));
        for unjudged in &verdict.unjudged {
            let label = if several { format!("{}: ", one.label) } else { String::new() };
            world.say(&format!("note: {label}{}\n", unjudged.why));
        }
    }
    let refused = found.iter().any(Diagnostic::is_error);
    let idle = allow.iter().filter(|allowance| !planned.iter().any(|one| one.verdict.needs(allowance)));
    found.extend(idle.map(|allowance| {
        Diagnostic::warning(format!("--allow {allowance} is not needed: the plan does nothing that it says yes to"))
            .hint("leave it out, so that it says yes to nothing that comes later")
    }));
    say(&found, sources, world);
    refused
}

/// Says faults that end no run by themselves.
pub(crate) fn say(found: &[Diagnostic], sources: &Sources, world: &mut World) {
    if !found.is_empty() {
        let text = faults::render(found, sources, world.err_style());
        world.say(&text);
    }
}
