//! Prints why guards and invariants refuse the plans of a command.

use super::env::Env;
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard::{AllowFlag, InvariantViolation, Risk};
use crate::ops::ClusterPlan;
use crate::render::diagnostics::render_diagnostics;
use crate::render::text_util::pluralize;

/// Prints the refusals and the unused `--allow` flags. Returns whether a plan is refused.
pub(crate) fn print_refusals(
    cluster_plans: &[ClusterPlan],
    allow: &[AllowFlag],
    sources: &SourceMap,
    env: &mut Env,
) -> bool {
    let prefix = |cluster_plan: &ClusterPlan| {
        if cluster_plans.len() > 1 { format!("{}: ", cluster_plan.label) } else { String::new() }
    };
    let mut diagnostics = Vec::new();
    for cluster_plan in cluster_plans {
        let prefix = prefix(cluster_plan);
        let violations = cluster_plan.violations.iter().map(InvariantViolation::to_diagnostic);
        let report = &cluster_plan.guard_report;
        let risks = report.allowed.iter().map(Risk::to_warning).chain(report.refused.iter().map(Risk::to_error));
        diagnostics.extend(violations.chain(risks).map(|mut diagnostic| {
            diagnostic.message.insert_str(0, &prefix);
            diagnostic
        }));
        for guard in &report.not_evaluated {
            env.note(&format!("note: {prefix}{}\n", guard.reason));
        }
    }
    let is_refused = diagnostics.iter().any(Diagnostic::is_error);
    let is_used = |flag: &AllowFlag| cluster_plans.iter().any(|plan| plan.guard_report.has_use_for(flag));
    diagnostics.extend(allow.iter().filter(|flag| !is_used(flag)).map(|flag| {
        Diagnostic::warning(format!("unused --allow {flag}: this plan does not trigger that guard"))
            .with_help("remove the flag")
    }));
    print_diagnostics(&diagnostics, sources, env);
    is_refused
}

/// Prints which plans have temporary access changes, or changes that could not be ruled out. Returns whether there are any.
pub(crate) fn print_access_windows(cluster_plans: &[ClusterPlan], sources: &SourceMap, env: &mut Env) -> bool {
    let mut errors = Vec::new();
    let mut push = |message| {
        let help = "apply the policy change in two parts, or pass --allow-window to accept";
        errors.push(Diagnostic::error(message).with_help(help));
    };
    for ClusterPlan { label, plan, .. } in cluster_plans {
        if !plan.windows.is_empty() {
            let changes = pluralize(plan.windows.len(), "temporary access change");
            push(format!("{label}: rolecall found no order without {changes}, see the plan above"));
        }
        if !plan.unproven.is_empty() {
            let changes = pluralize(plan.unproven.len(), "temporary access change");
            push(format!("{label}: rolecall could not rule out {changes}, see the plan above"));
        }
    }
    print_diagnostics(&errors, sources, env);
    !errors.is_empty()
}

/// Prints diagnostics that do not end the command by themselves. With `--quiet` only errors are printed.
pub(crate) fn print_diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap, env: &mut Env) {
    let shown: Vec<Diagnostic> =
        diagnostics.iter().filter(|diagnostic| diagnostic.is_error() || !env.is_quiet()).cloned().collect();
    if !shown.is_empty() {
        env.eprint_text(&render_diagnostics(&shown, sources, env.stderr_style()));
    }
}
