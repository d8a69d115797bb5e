//! Saved plans: `plan --out FILE` wrote them, `apply --plan FILE` makes them happen or refuses.

#![expect(clippy::disallowed_methods, reason = "the plan file is read here")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::args::ConnectionArgs;
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::guards;
use super::target::{ClusterConnection, TargetCluster};
use super::write_file_atomically;
use crate::cluster::ReadCluster as _;
use crate::cluster::kubeconfig::ContextSelector;
use crate::diagnostic::Diagnostic;
use crate::guard::AllowFlag;
use crate::plan::{AccessComparison, Plan};
use crate::policy::PolicyIndex;
use crate::render::json::{FORMAT_VERSION, insert_key};

/// Subjects named one by one.
const MAX_LISTED: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SavedPlanFile {
    plans: Vec<SavedPlan>,
    /// When it was applied.
    used: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SavedPlan {
    name: Option<String>,
    reached_by: SavedConnection,
    digest: String,
    #[serde(default)]
    refusals: Vec<serde::de::IgnoredAny>,
    #[serde(flatten)]
    plan: Plan,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SavedConnection {
    CurrentContext(serde::de::IgnoredAny),
    Context(String),
    Eks { name: String, region: String, account: Option<String> },
    Snapshot(Vec<PathBuf>),
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
        let way = match (&place.context, place.snapshots.as_slice()) {
            (Some(context), _) => ClusterConnection::Live(ContextSelector::Named(context.clone())),
            (None, []) => to_connection(saved.reached_by),
            (None, files) => ClusterConnection::Snapshot {
                files: files.iter().map(|file| world.cwd.join(file)).collect(),
                display_name: files.join(", "),
            },
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

pub(crate) fn to_connection(reached: SavedConnection) -> ClusterConnection {
    match reached {
        SavedConnection::CurrentContext(_) => ClusterConnection::Live(ContextSelector::Current),
        SavedConnection::Context(name) => ClusterConnection::Live(ContextSelector::Named(name)),
        SavedConnection::Eks { name, region, account } => {
            ClusterConnection::Live(ContextSelector::Eks { name, region, account })
        }
        SavedConnection::Snapshot(files) => {
            let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            ClusterConnection::Snapshot { files, display_name: shown }
        }
    }
}

fn read_saved_plans(path: &Path, world: &Env) -> Result<Vec<SavedPlan>, CommandError> {
    let name = path.display();
    let fault =
        |why: String, hint: &str| CommandError::from_diagnostic(Diagnostic::error(why).with_help(hint.to_owned()));
    let again = "save it anew by `rolecall plan --out FILE`";
    let text = std::fs::read_to_string(world.cwd.join(path))
        .map_err(|error| fault(format!("the plan {name} cannot be read: {error}"), again))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| fault(format!("{name} is not a whole saved plan: {error}"), again))?;
    let version = value.get("format-version").and_then(Value::as_u64);
    if version != Some(u64::from(FORMAT_VERSION)) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        let why = format!("{name} has the format version {found}, this rolecall reads {FORMAT_VERSION}");
        return Err(fault(why, again));
    }
    let file: SavedPlanFile =
        serde_json::from_value(value).map_err(|error| fault(format!("{name} is not a saved plan: {error}"), again))?;
    if file.plans.iter().any(|saved| saved.plan.digest() != saved.digest) {
        let why = format!("{name} was changed after it was saved: its steps do not have the digest it states");
        return Err(fault(why, again));
    }
    if file.plans.iter().any(|saved| !saved.refusals.is_empty()) {
        let why = format!("{name} is refused by what its policy says must hold: nothing was written");
        return Err(fault(why, "see its `refusals`, mend the policy and plan again").into_refusal());
    }
    if let Some(used) = &file.used {
        let why = format!("{name} was applied already, at {used}: a saved plan is used once");
        return Err(fault(why, again));
    }
    Ok(file.plans)
}

/// A plan is used once: also where everything that it relies on is brought back by hand.
pub(crate) fn mark_applied(path: &Path, world: &Env) -> Result<(), CommandError> {
    let read = std::fs::read_to_string(world.cwd.join(path)).map_err(|error| error.to_string());
    let value = read.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    let mut value = value.map_err(|error| {
        CommandError::from_diagnostic(Diagnostic::error(format!(
            "the plan {} cannot be read any more: {error}",
            path.display()
        )))
    })?;
    insert_key(&mut value, "used", Value::String(world.now.to_string()));
    write_file_atomically(path, &format!("{value:#}\n"), world)
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
