//! Saved plans: `plan --out FILE` wrote them, `apply --plan FILE` makes them happen or refuses.

#![expect(clippy::disallowed_methods, reason = "the plan file is read here")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::args::Place;
use super::failure::Failure;
use super::guarded;
use super::planned::{Planned, unreadable};
use super::target::{Target, Way};
use super::world::World;
use super::write_file;
use crate::cluster::ReadCluster as _;
use crate::cluster::kubeconfig::Wanted;
use crate::diagnostic::Diagnostic;
use crate::guard::Allowance;
use crate::plan::{Plan, Sides};
use crate::policy::Known;
use crate::render::json::{FORMAT_VERSION, insert};

/// Subjects named one by one.
const NAMED: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    plans: Vec<Saved>,
    /// When it was applied.
    used: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Saved {
    name: Option<String>,
    reached_by: Reached,
    digest: String,
    #[serde(default)]
    refusals: Vec<serde::de::IgnoredAny>,
    #[serde(flatten)]
    plan: Plan,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reached {
    CurrentContext(serde::de::IgnoredAny),
    Context(String),
    Eks { name: String, region: String, account: Option<String> },
    Snapshot(Vec<PathBuf>),
}

/// Opens the clusters of a saved plan.
pub(crate) async fn open(
    path: &Path,
    place: &Place,
    allow: &[Allowance],
    world: &World,
) -> Result<Vec<Planned>, Failure> {
    let mut out = Vec::new();
    let mut gone: Vec<Diagnostic> = Vec::new();
    for saved in read(path, world)? {
        let way = match (&place.context, place.snapshots.as_slice()) {
            (Some(context), _) => Way::Live(Wanted::Context(context.clone())),
            (None, []) => way(saved.reached_by),
            (None, files) => Way::Snapshot {
                files: files.iter().map(|file| world.cwd.join(file)).collect(),
                shown: files.join(", "),
            },
        };
        let target = Target::new(saved.name.clone(), way.clone(), place, world);
        let opened = target.open().await?;
        // All clusters are judged before the first of them is written to, and each once more then.
        let (state, seen) = futures::future::join(opened.cluster.observe(), guarded::see(&opened.cluster)).await;
        let state = state?;
        // A plan whose ground has moved has no state after it that could be judged.
        let away = saved.plan.moved(&state);
        if !away.is_empty() {
            gone.extend(moved(&opened.label, &away).found);
            continue;
        }
        let after = saved.plan.after(&state).map_err(|fault| unreadable(&fault))?;
        let sides = Sides::of(&state, &after);
        let known = Known::by_name(&saved.plan.policy);
        let reached = (way, saved.name);
        out.push(Planned::judged(opened, saved.plan, reached, known, &sides, seen, allow).await?);
    }
    if gone.is_empty() { Ok(out) } else { Err(gone.into()) }
}

pub(crate) fn way(reached: Reached) -> Way {
    match reached {
        Reached::CurrentContext(_) => Way::Live(Wanted::Current),
        Reached::Context(name) => Way::Live(Wanted::Context(name)),
        Reached::Eks { name, region, account } => Way::Live(Wanted::Eks { name, region, account }),
        Reached::Snapshot(files) => {
            let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            Way::Snapshot { files, shown }
        }
    }
}

fn read(path: &Path, world: &World) -> Result<Vec<Saved>, Failure> {
    let name = path.display();
    let fault = |why: String, hint: &str| Failure::of(Diagnostic::error(why).hint(hint.to_owned()));
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
    let file: File =
        serde_json::from_value(value).map_err(|error| fault(format!("{name} is not a saved plan: {error}"), again))?;
    if file.plans.iter().any(|saved| saved.plan.digest() != saved.digest) {
        let why = format!("{name} was changed after it was saved: its steps do not have the digest it states");
        return Err(fault(why, again));
    }
    if file.plans.iter().any(|saved| !saved.refusals.is_empty()) {
        let why = format!("{name} is refused by what its policy says must hold: nothing was written");
        return Err(fault(why, "see its `refusals`, mend the policy and plan again").refused());
    }
    if let Some(used) = &file.used {
        let why = format!("{name} was applied already, at {used}: a saved plan is used once");
        return Err(fault(why, again));
    }
    Ok(file.plans)
}

/// A plan is used once: also where everything that it relies on is brought back by hand.
pub(crate) fn mark_used(path: &Path, world: &World) -> Result<(), Failure> {
    let read = std::fs::read_to_string(world.cwd.join(path)).map_err(|error| error.to_string());
    let value = read.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    let mut value = value.map_err(|error| {
        Failure::of(Diagnostic::error(format!("the plan {} cannot be read any more: {error}", path.display())))
    })?;
    insert(&mut value, "used", Value::String(world.now.to_string()));
    write_file(path, &format!("{value:#}\n"), world)
}

/// Nothing is written where something that a plan relies on has moved.
pub(crate) fn moved(label: &str, moved: &[String]) -> Failure {
    let found = moved.iter().map(|what| Diagnostic::error(format!("{label}: {what} since the plan was made")));
    let mut found: Vec<Diagnostic> = found.collect();
    if let Some(last) = found.pop() {
        found.push(last.hint("nothing was written; plan again"));
    }
    found.into()
}

/// Others have moved what a plan does not write, and with it what the plan gives.
pub(crate) fn other_outcome(label: &str, others: &[String]) -> Failure {
    let more = others.len().saturating_sub(NAMED);
    let mut named: Vec<&str> = others.iter().take(NAMED).map(String::as_str).collect();
    let rest = format!("{more} more");
    if more > 0 {
        named.push(&rest);
    }
    let whom = named.join(", ");
    let error = Diagnostic::error(format!(
        "{label}: since the plan was made its writes have come to change something else for {whom}"
    ));
    Failure::of(
        error.hint("roles, bindings or entries that it does not write have moved; nothing was written; plan again"),
    )
}
