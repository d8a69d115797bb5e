//! One plan for each cluster of a run: what `plan`, `apply` and `drift` have in common.

use super::args::{Format, Scope};
use super::failure::Failure;
use super::guarded;
use super::lacking;
use super::policy_files::{Loaded, read};
use super::print_json;
use super::target::{Opened, Target, Way, targets};
use super::world::World;
use crate::access::{all_waiting, left_waiting};
use crate::cluster::any::AnyCluster;
use crate::cluster::kubeconfig::Wanted;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::Diagnostic;
use crate::guard::{self, Allowance, Refusal, Seen, Verdict};
use crate::plan::{self, Plan, Sides};
use crate::policy::{Known, glimpse_clusters};
use crate::render::text::View;
use crate::render::{faults, json};
use crate::rights::Lack;
use crate::state::State;
use crate::state::object::ObjectFault;

/// A cluster and the plan for it.
pub(crate) struct Planned {
    pub(crate) label: String,
    pub(crate) cluster: AnyCluster,
    pub(crate) plan: Plan,
    pub(crate) way: Way,
    pub(crate) name: Option<String>,
    /// Whom the policy calls by name, and where it says what is in the cluster.
    pub(crate) known: Known,
    /// Why the plan must not be carried out.
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) seen: Seen,
    /// What the caller may not do of it.
    pub(crate) lacks: Vec<Lack>,
    /// What the guards say of it.
    pub(crate) verdict: Verdict,
}

impl Planned {
    /// A plan that was made before, judged on the cluster as it is.
    pub(crate) async fn judged(
        opened: Opened,
        plan: Plan,
        (way, name): (Way, Option<String>),
        known: Known,
        sides: &Sides<'_>,
        seen: Seen,
        allow: &[Allowance],
    ) -> Result<Self, Failure> {
        let Opened { label, cluster } = opened;
        let verdict = guard::judge(&plan, sides, &seen, allow);
        let (refusals, _) = guard::of_state(&plan.invariants, &known, sides.after);
        let mut lacks = lacking::unheld(&plan, sides, &seen)?;
        lacking::confirm(&cluster, &mut lacks).await;
        Ok(Self { label, cluster, plan, way, name, known, refusals, seen, lacks, verdict })
    }
}

/// The plans of the clusters that could be planned, and why the others could not.
pub(crate) struct Plans {
    pub(crate) loaded: Loaded,
    pub(crate) planned: Vec<Planned>,
    pub(crate) failure: Option<Failure>,
}

impl Plans {
    /// All plans, or none where one is missing.
    pub(crate) fn complete(self) -> Result<(Loaded, Vec<Planned>), Failure> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.loaded, self.planned)),
        }
    }

    /// Prints the plans; a document is printed whole or not at all.
    pub(crate) fn print(&self, format: Format, full: bool, text: fn(&Plan, &View<'_>) -> String, world: &mut World) {
        match format {
            Format::Json if self.failure.is_none() => print_json(&self.to_json(), world),
            Format::Json => {}
            Format::Text => print_text(&self.planned, full, text, world),
        }
    }

    /// The plans as one document.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let one = |planned: &Planned| {
            json::plan(
                &planned.plan,
                &planned.label,
                planned.name.as_deref(),
                &way_json(&planned.way),
                &self.loaded.policy.sources,
                &planned.refusals,
                &planned.verdict,
            )
        };
        json::plans(&self.planned.iter().map(one).collect::<Vec<_>>())
    }
}

/// Prints plans for people, an empty line between them.
pub(crate) fn print_text(planned: &[Planned], full: bool, text: fn(&Plan, &View<'_>) -> String, world: &mut World) {
    for (number, one) in planned.iter().enumerate() {
        let view = View { cluster: &one.label, full, style: world.out_style() };
        let gap = if number > 0 { "\n" } else { "" };
        world.print(&format!("{gap}{}", text(&one.plan, &view)));
    }
}

pub(crate) fn way_json(way: &Way) -> serde_json::Value {
    match way {
        Way::Live(Wanted::Current) => serde_json::json!({ "current-context": true }),
        Way::Live(Wanted::Context(name)) => serde_json::json!({ "context": name }),
        Way::Live(Wanted::Eks { name, region, account }) => {
            serde_json::json!({ "eks": { "name": name, "region": region, "account": account } })
        }
        Way::Snapshot { files, .. } => serde_json::json!({ "snapshot": files }),
    }
}

/// How much of a plan is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What changes, beside what waits in the cluster as it is.
    Changes,
    /// And what that changes in who can do what.
    Access,
}

/// What a cluster answered.
type Answered = Result<(Opened, State, Seen), ClusterError>;

/// Plans every cluster that is asked for; warnings are said.
pub(crate) async fn plans(
    scope: &Scope,
    depth: Depth,
    allow: &[Allowance],
    world: &mut World,
) -> Result<Plans, Failure> {
    let texts = read(scope.policy.as_deref(), world)?;
    // A large policy takes as long to understand as a cluster to answer: both at once. Should the glimpse have been
    // wrong, what was seen is not used.
    let guessed = glimpse_clusters(&texts.files)
        .and_then(|clusters| targets(Some((&clusters, &texts.folder)), &scope.place, world).ok())
        .unwrap_or_default();
    // The questions are on their way when the policy is begun; they are asked from other threads.
    let asked = async { Ok(observe(&guessed, depth).await) };
    let (early, loaded) = futures::future::try_join(asked, async { texts.parse() }).await?;
    loaded.say_warnings(world);
    let targets = targets(Some((&loaded.policy.clusters, &loaded.folder)), &scope.place, world)?;
    let seen = if targets == guessed { early } else { observe(&targets, depth).await };
    let mut planned = Vec::with_capacity(targets.len());
    let mut failure: Option<Failure> = None;
    for (target, seen) in targets.iter().zip(seen) {
        match plan_one(&loaded, target, seen, (depth, allow), world.now) {
            Ok(plan) => planned.push(plan),
            Err(found) => {
                let found = if targets.len() > 1 { found.in_cluster(target.name.as_deref()) } else { found };
                let all = failure.get_or_insert_with(|| Failure::new(loaded.policy.sources.clone(), Vec::new()));
                all.found.extend(found.found);
            }
        }
    }
    for one in planned.iter_mut().filter(|one| !one.lacks.is_empty()) {
        lacking::confirm(&one.cluster, &mut one.lacks).await;
    }
    let mut said: Vec<Diagnostic> = Vec::new();
    for one in &planned {
        // What is of the policy is the same for each of its clusters.
        let is_new = |found: &&Diagnostic| found.at.is_none() || !said.contains(found);
        let new: Vec<Diagnostic> = one.plan.warnings.iter().filter(is_new).cloned().collect();
        world.say(&faults::render(&new, &loaded.policy.sources, world.err_style()));
        said.extend(new.into_iter().filter(|found| found.at.is_some()));
        if let (AnyCluster::Snapshot(snapshot), Way::Snapshot { shown, .. }) = (&one.cluster, &one.way)
            && let Some(taken) = snapshot.taken()
        {
            world.say(&format!("note: the snapshot {shown} is of {taken}{}\n", age(taken, world)));
        }
    }
    Ok(Plans { loaded, planned, failure })
}

/// `, 3 days ago`.
fn age(taken: &str, world: &World) -> String {
    let Ok(then) = taken.parse::<jiff::Timestamp>() else {
        return String::new();
    };
    let hours = world.now.duration_since(then).as_hours();
    match hours {
        ..0 => String::new(),
        0 => ", less than an hour ago".to_owned(),
        1..48 => format!(", {hours} h ago"),
        _ => format!(", {} days ago", hours / 24),
    }
}

async fn observe(targets: &[Target], depth: Depth) -> Vec<Answered> {
    let one = async |target: &Target| {
        let opened = target.open().await?;
        let seen = async {
            match depth {
                Depth::Changes => Seen::default(),
                Depth::Access => guarded::see(&opened.cluster).await,
            }
        };
        let (state, seen) = futures::future::join(opened.cluster.observe(), seen).await;
        Ok((opened, state?, seen))
    };
    futures::future::join_all(targets.iter().map(one)).await
}

fn plan_one(
    loaded: &Loaded,
    target: &Target,
    answered: Answered,
    (depth, allow): (Depth, &[Allowance]),
    now: jiff::Timestamp,
) -> Result<Planned, Failure> {
    let (opened, state, seen) = answered?;
    let mut plan = plan::plan(&loaded.policy, target.name.as_deref(), &state, now)
        .map_err(|found| Failure::new(loaded.policy.sources.clone(), found))?;
    let (mut verdict, mut lacks) = (Verdict::default(), Vec::new());
    // Where nothing changes, two large states need not be built to say so.
    let writes = depth == Depth::Access && !plan.is_empty();
    let after = writes.then(|| plan.after(&state)).transpose().map_err(|fault| unreadable(&fault))?;
    if let Some(after) = &after {
        let names = Known::names(&loaded.policy, target.name.as_deref());
        let sides = Sides::of(&state, after);
        plan.tell_access(&sides, &names);
        verdict = guard::judge(&plan, &sides, &seen, allow);
        lacks = lacking::unheld(&plan, &sides, &seen)?;
    }
    let judged = after.as_ref().unwrap_or(&state);
    if depth == Depth::Access {
        plan.access.get_or_insert_default();
        plan.warnings.extend(left_waiting(&state, judged, &plan.policy));
    } else {
        plan.warnings.extend(all_waiting(&state));
    }
    let known = if plan.invariants.is_empty() {
        Known::default()
    } else {
        Known::of(&loaded.policy, target.name.as_deref(), &state, now)
    };
    let (refusals, odd) = guard::of_state(&plan.invariants, &known, judged);
    plan.warnings.extend(odd);
    // The run ends soon: giving back a large state string by string would take longer than the plan.
    std::mem::forget((state, after));
    let (way, name) = (target.way.clone(), target.name.clone());
    Ok(Planned { label: opened.label, cluster: opened.cluster, plan, way, name, known, refusals, seen, lacks, verdict })
}

/// A plan whose own writes are none: a defect.
pub(crate) fn unreadable(fault: &ObjectFault) -> Failure {
    Failure::of(Diagnostic::error(format!("the state after the plan cannot be told: {fault}")))
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self { found, ..Self::default() }
    }
}
