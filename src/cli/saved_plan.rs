//! Saved plans: `plan --out FILE` wrote them, `apply --plan FILE` makes them happen or refuses.

#![expect(clippy::disallowed_methods, reason = "the plan file is read here")]

use serde_json::Value;
use std::path::Path;

use super::args::ConnectionArgs;
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::guards;
use super::target::{ClusterConnection, TargetCluster, snapshot_way};
use super::write_file_atomically;
use crate::cluster::ReadCluster as _;
use crate::cluster::kubeconfig::ContextSelector;
use crate::diagnostic::Diagnostic;
use crate::guard::AllowFlag;
use crate::plan::{AccessComparison, Plan};
use crate::policy::PolicyIndex;
use crate::report::{self, FORMAT_VERSION, PlanDocument, to_text};

const NOT_A_PLAN: &str = "is not a saved plan";

/// Subjects named one by one.
const MAX_LISTED: usize = 5;

/// A plan that was read from a file, and the way to its cluster.
struct SavedPlan {
    name: Option<String>,
    way: ClusterConnection,
    plan: Plan,
}

/// Opens the clusters of a saved plan.
pub(crate) async fn open_saved_plan(
    path: &Path,
    place: &ConnectionArgs,
    allow: &[AllowFlag],
    world: &Env,
) -> Result<Vec<ClusterPlan>, CommandError> {
    let mut out = Vec::new();
    let mut gone: Vec<Diagnostic> = Vec::new();
    for saved in read_saved_plans(path, world)? {
        // A context may come from the environment, and a flag counts before that.
        let way = match (place.snapshots.as_slice(), &place.context) {
            ([], Some(context)) => ClusterConnection::Live(ContextSelector::Named(context.clone())),
            ([], None) => saved.way,
            (files, _) => snapshot_way(files, world),
        };
        let target = TargetCluster::new(saved.name.clone(), way.clone(), place, world);
        let opened = target.connect().await?;
        // All clusters are judged before the first of them is written to, and each once more then.
        let (state, seen) =
            futures::future::join(opened.cluster.observe(), guards::observe_facts(&opened.cluster)).await;
        let state = state?;
        // A plan whose ground has moved has no state after it that could be judged.
        let away = saved.plan.staleness_reasons(&state);
        if !away.is_empty() {
            gone.extend(stale_plan_error(&opened.label, &away).diagnostics);
            continue;
        }
        let after = saved.plan.state_after(&state).map_err(|fault| after_state_error(&fault))?;
        let sides = AccessComparison::new(&state, &after);
        let known = PolicyIndex::from_policy_name(&saved.plan.policy);
        let reached = (way, saved.name);
        out.push(ClusterPlan::evaluate(opened, saved.plan, reached, known, &sides, seen, allow).await?);
    }
    if gone.is_empty() { Ok(out) } else { Err(gone.into()) }
}

fn read_saved_plans(path: &Path, world: &Env) -> Result<Vec<SavedPlan>, CommandError> {
    let name = path.display();
    let again = format!("make a new plan with `rolecall plan --out {name}`");
    let fault = |why: String| CommandError::from_diagnostic(Diagnostic::error(why).with_help(again.clone()));
    let text = std::fs::read_to_string(world.cwd.join(path))
        .map_err(|error| fault(format!("the plan {name} cannot be read: {error}")))?;
    let PlanDocument { plans, applied_at, .. } = parse(&text).map_err(|why| fault(format!("{name} {why}")))?;
    let mut out = Vec::with_capacity(plans.len());
    let mut is_refused = false;
    for saved in plans {
        is_refused |= !saved.failed_invariants.is_empty();
        let (cluster, digest) = (saved.name.clone(), saved.digest.clone());
        let way = saved.connection.clone().into();
        let plan = Plan::try_from(saved).map_err(|error| fault(format!("{name} {NOT_A_PLAN}: {error}")))?;
        if report::digest(&plan)? != digest {
            return Err(fault(format!(
                "{name} was changed after it was saved: its steps do not have the digest it states"
            )));
        }
        out.push(SavedPlan { name: cluster, way, plan });
    }
    if is_refused {
        let error =
            Diagnostic::error(format!("{name} is refused by what its policy says must hold: nothing was written"));
        return Err(CommandError::from_diagnostic(
            error.with_help("see its `failed-invariants`, mend the policy and plan again"),
        )
        .into_refusal());
    }
    if let Some(applied_at) = applied_at {
        return Err(fault(format!("{name} was applied already, at {applied_at}: a saved plan is used once")));
    }
    Ok(out)
}

/// Reads a plan document. What is wrong with another text is said as what follows the name of the file.
fn parse(text: &str) -> Result<PlanDocument, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{NOT_A_PLAN}: it is not JSON: {error}"))?;
    match value.get("format-version") {
        Some(version) if *version == FORMAT_VERSION => {}
        Some(version) => {
            return Err(format!(
                "has the format version {version}, but this rolecall reads only version {FORMAT_VERSION}"
            ));
        }
        None => return Err(format!("{NOT_A_PLAN}: it has no `format-version`")),
    }
    serde_json::from_value(value).map_err(|error| format!("{NOT_A_PLAN}: {error}"))
}

/// A plan is used once: also where everything that it relies on is brought back by hand.
pub(crate) fn mark_applied(path: &Path, world: &Env) -> Result<(), CommandError> {
    let read = std::fs::read_to_string(world.cwd.join(path)).map_err(|error| format!("cannot be read: {error}"));
    let mut document = read.and_then(|text| parse(&text)).map_err(|why| {
        CommandError::from_diagnostic(Diagnostic::error(format!("the plan {} {why}", path.display())))
    })?;
    document.applied_at = Some(world.now.to_string());
    write_file_atomically(path, &to_text(&document)?, world)
}

/// Nothing is written where something that a plan relies on has moved.
pub(crate) fn stale_plan_error(label: &str, moved: &[String]) -> CommandError {
    let found = moved.iter().map(|what| Diagnostic::error(format!("{label}: {what} since the plan was made")));
    let mut found: Vec<Diagnostic> = found.collect();
    if let Some(last) = found.pop() {
        found.push(last.with_help("nothing was written; plan again"));
    }
    found.into()
}

/// Others have moved what a plan does not write, and with it what the plan gives.
pub(crate) fn access_changed_error(label: &str, others: &[String]) -> CommandError {
    let more = others.len().saturating_sub(MAX_LISTED);
    let mut named: Vec<&str> = others.iter().take(MAX_LISTED).map(String::as_str).collect();
    let rest = format!("{more} more");
    if more > 0 {
        named.push(&rest);
    }
    let whom = named.join(", ");
    let error = Diagnostic::error(format!(
        "{label}: since the plan was made its writes have come to change something else for {whom}"
    ));
    CommandError::from_diagnostic(
        error
            .with_help("roles, bindings or entries that it does not write have moved; nothing was written; plan again"),
    )
}
