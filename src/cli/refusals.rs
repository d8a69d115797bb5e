//! What a guard or an invariant says of the plans of a run: after them, and instead of every write.

use super::cluster_plan::ClusterPlan;
use super::env::Env;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard::{AllowFlag, InvariantViolation, Risk};
use crate::render::diagnostics;
use crate::render::text_util::pluralize;

/// Says what is refused, and whether anything is.
pub(crate) fn print_refusals(
    planned: &[ClusterPlan],
    allow: &[AllowFlag],
    sources: &SourceMap,
    world: &mut Env,
) -> bool {
    let several = planned.len() > 1;
    let mut found = Vec::new();
    for one in planned {
        let refusals = one.violations.iter().map(InvariantViolation::to_diagnostic);
        let verdict = &one.guard_report;
        let dangers = verdict.allowed.iter().map(Risk::to_warning).chain(verdict.refused.iter().map(Risk::to_error));
        found.extend(refusals.chain(dangers).map(|mut error| {
            if several {
                error.message = format!("{}: {}", one.label, error.message);
            }
            error
        }));
        for unjudged in &verdict.not_evaluated {
            let label = if several { format!("{}: ", one.label) } else { String::new() };
            world.note(&format!("note: {label}{}\n", unjudged.reason));
        }
    }
    let refused = found.iter().any(Diagnostic::is_error);
    let idle = allow.iter().filter(|allowance| !planned.iter().any(|one| one.guard_report.has_use_for(allowance)));
    found.extend(idle.map(|allowance| {
        Diagnostic::warning(format!("--allow {allowance} is not needed: the plan does nothing that it says yes to"))
            .with_help("leave it out, so that it says yes to nothing that comes later")
    }));
    print_diagnostics(&found, sources, world);
    refused
}

/// Says of which plans no order of the writes keeps everybody within what both sides allow, and whether there are any.
pub(crate) fn print_access_windows(planned: &[ClusterPlan], sources: &SourceMap, world: &mut Env) -> bool {
    let with = planned.iter().filter(|one| !one.plan.windows.is_empty());
    let found: Vec<Diagnostic> = with
        .map(|one| {
            let moments = pluralize(one.plan.windows.len(), "moment");
            Diagnostic::error(format!("{}: {moments} that no order of the writes avoids, shown above", one.label))
                .with_help("apply it in two parts, or say --allow-window")
        })
        .collect();
    print_diagnostics(&found, sources, world);
    !found.is_empty()
}

/// Says faults that end no run by themselves.
pub(crate) fn print_diagnostics(found: &[Diagnostic], sources: &SourceMap, world: &mut Env) {
    let shown: Vec<Diagnostic> = found.iter().filter(|one| one.is_error() || !world.is_quiet()).cloned().collect();
    if !shown.is_empty() {
        let text = diagnostics::render_diagnostics(&shown, sources, world.stderr_style());
        world.eprint(&text);
    }
}
