//! What is true of every policy and saved plan. [`crate::fuzz`] calls this with arbitrary texts.

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard;
use crate::lint::{self, LintContext, Vocabulary};
use crate::ops::parse_saved_plan;
use crate::plan::{self, AccessComparison, AggregatedRoles, Plan, check_steps, check_waits};
use crate::policy::fuzz::check_chunks;
use crate::policy::{load_policy, prescan_clusters};
use crate::render::fuzz::check_diagnostics;
use crate::report::{self, PlanDocument, to_text, to_value};
use crate::state::State;

/// The clusters of a policy that plans are made for.
const MAX_CLUSTERS: usize = 2;
/// 2026-01-01.
const NOW_SECONDS: i64 = 1_767_225_600;

/// Loads and checks a policy, and plans it for a cluster.
///
/// # Errors
/// The property that does not hold.
pub(crate) fn check_policy(text: &str, live: &State) -> Result<(), String> {
    check_chunks(text)?;
    let files = vec![("rolecall.toml".to_owned(), text.to_owned())];
    prescan_clusters(&files);
    let (policy, warnings) = match load_policy(files) {
        Ok(loaded) => loaded,
        Err((sources, diagnostics)) => return check_diagnostics(&diagnostics, &sources),
    };
    let check = |diagnostics: &[Diagnostic]| check_diagnostics(diagnostics, &policy.sources);
    check(&warnings)?;
    let now = Timestamp::from_second(NOW_SECONDS).map_err(|error| error.to_string())?;
    let vocabulary = Vocabulary::builtin(&policy);
    check(&lint::lint_policy(LintContext { policy: &policy, vocabulary: &vocabulary, cluster: None }))?;
    check(&lint::check_invariant_words(&policy, &vocabulary))?;
    match guard::check_invariants_statically(&policy, now) {
        Ok(violations) => check(&violations.iter().map(guard::InvariantViolation::to_diagnostic).collect::<Vec<_>>())?,
        Err(errors) => check(&errors)?,
    }
    let clusters = policy.clusters.keys().map(|name| Some(name.as_str()));
    for cluster in clusters.chain([None]).take(MAX_CLUSTERS) {
        match plan::plan(&policy, cluster, live, now) {
            Ok(plan) => {
                check(&plan.warnings)?;
                let after = plan.state_after(live).map_err(|error| format!("the plan cannot be applied: {error}"))?;
                let again = plan::plan(&policy, cluster, &after, now);
                let again = again.map_err(|errors| format!("no second plan: {errors:?}"))?;
                if !again.steps.is_empty() {
                    return Err(format!("after the plan, another one has steps: {:?}", again.steps));
                }
            }
            Err(errors) => check(&errors)?,
        }
    }
    Ok(())
}

/// Reads a saved plan as it is, and with its digests renewed.
///
/// # Errors
/// The property that does not hold.
pub(crate) fn check_plan_file(text: &str, live: &State) -> Result<(), String> {
    if let Err(reason) = parse_saved_plan(text) {
        check_diagnostics(&[Diagnostic::error(reason)], &SourceMap::default())?;
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Ok(());
    };
    let Ok(document) = PlanDocument::deserialize(&value) else {
        return Ok(());
    };
    let document = PlanDocument::new(document.plans).map_err(|error| error.to_string())?;
    let signed = to_text(&document).map_err(|error| error.to_string())?;
    let again = parse_saved_plan(&signed).map_err(|reason| format!("a written plan {reason}:\n{signed}"))?;
    if to_value(&again).ok() != to_value(&document).ok() {
        return Err(format!("a written plan is read as another one:\n{signed}"));
    }
    for saved in again.plans {
        if let Ok(plan) = Plan::try_from(saved) {
            check_saved_plan(plan, live)?;
        }
    }
    Ok(())
}

fn check_saved_plan(mut plan: Plan, live: &State) -> Result<(), String> {
    report::digest(&plan).map_err(|error| error.to_string())?;
    if check_steps(&plan.steps).is_err() || check_waits(&plan.waits, &plan.steps).is_err() {
        return Ok(());
    }
    let reasons = plan.staleness_reasons(live, &AggregatedRoles::default());
    if !reasons.is_empty() {
        return check_diagnostics(
            &reasons.into_iter().map(Diagnostic::error).collect::<Vec<_>>(),
            &SourceMap::default(),
        );
    }
    let Ok(after) = plan.state_after(live) else {
        return Ok(());
    };
    let comparison = AccessComparison::new(live, &after);
    if plan.undisclosed_write(live, &after).is_none() {
        plan.renew_access_changes(&comparison);
    }
    Ok(())
}
