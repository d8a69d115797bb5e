//! One plan for each cluster of a run: what `plan`, `apply` and `drift` have in common.

use super::args::{OutputFormat, TargetArgs};
use super::command_error::CommandError;
use super::env::Env;
use super::guards;
use super::missing_permissions;
use super::policy_files::{LoadedPolicy, read_policy};
use super::print_json;
use super::target::{ClusterConnection, ConnectedCluster, TargetCluster, resolve_targets};
use crate::access::{all_dangling, dangling_after};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::Diagnostic;
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation};
use crate::permissions::MissingPermission;
use crate::plan::{self, AccessComparison, Plan};
use crate::policy::{PolicyIndex, prescan_clusters};
use crate::render::diagnostics;
use crate::render::plan_text::PlanTextOptions;
use crate::report::{self, PlanDocument, PlanJson};
use crate::state::State;
use crate::state::object::ObjectError;

/// A cluster and the plan for it.
pub(crate) struct ClusterPlan {
    pub(crate) label: String,
    pub(crate) cluster: AnyCluster,
    pub(crate) plan: Plan,
    /// By which the plan is approved.
    pub(crate) digest: String,
    pub(crate) connection: ClusterConnection,
    pub(crate) cluster_name: Option<String>,
    /// Whom the policy calls by name, and where it says what is in the cluster.
    pub(crate) policy_index: PolicyIndex,
    /// Why the plan must not be carried out.
    pub(crate) violations: Vec<InvariantViolation>,
    pub(crate) facts: ClusterFacts,
    /// What the caller may not do of it.
    pub(crate) missing_permissions: Vec<MissingPermission>,
    /// What the guards say of it.
    pub(crate) guard_report: GuardReport,
}

impl ClusterPlan {
    /// A plan that was made before, judged on the cluster as it is.
    pub(crate) async fn evaluate(
        opened: ConnectedCluster,
        plan: Plan,
        (way, name): (ClusterConnection, Option<String>),
        known: PolicyIndex,
        sides: &AccessComparison<'_>,
        seen: ClusterFacts,
        allow: &[AllowFlag],
    ) -> Result<Self, CommandError> {
        let ConnectedCluster { label, cluster } = opened;
        let digest = report::digest(&plan)?;
        let verdict = guard::evaluate_guards(&plan, sides, &seen, allow);
        let (refusals, _) = guard::check_invariants(&plan.invariants, &known, sides.after);
        let mut lacks = missing_permissions::caller_missing_permissions(&plan, sides, &seen)?;
        missing_permissions::retain_denied(&cluster, &mut lacks).await;
        Ok(Self {
            label,
            cluster,
            plan,
            digest,
            connection: way,
            cluster_name: name,
            policy_index: known,
            violations: refusals,
            facts: seen,
            missing_permissions: lacks,
            guard_report: verdict,
        })
    }
}

/// The plans of the clusters that could be planned, and why the others could not.
pub(crate) struct PlanSet {
    pub(crate) loaded: LoadedPolicy,
    pub(crate) cluster_plans: Vec<ClusterPlan>,
    pub(crate) error: Option<CommandError>,
}

impl PlanSet {
    /// All plans, or none where one is missing.
    pub(crate) fn into_complete(self) -> Result<(LoadedPolicy, Vec<ClusterPlan>), CommandError> {
        match self.error {
            Some(failure) => Err(failure),
            None => Ok((self.loaded, self.cluster_plans)),
        }
    }

    /// Prints the plans; a document is printed whole or not at all.
    pub(crate) fn print(
        &self,
        format: OutputFormat,
        full: bool,
        text: fn(&Plan, &PlanTextOptions<'_>) -> String,
        world: &mut Env,
    ) -> Result<(), CommandError> {
        match format {
            OutputFormat::Json if self.error.is_none() => print_json(&self.document(), world)?,
            OutputFormat::Json => {}
            OutputFormat::Text => print_plans(&self.cluster_plans, full, text, world),
        }
        Ok(())
    }

    /// The plans as one document.
    pub(crate) fn document(&self) -> PlanDocument {
        let one = |planned: &ClusterPlan| {
            PlanJson::new(
                &planned.plan,
                &planned.digest,
                (&planned.label, planned.cluster_name.as_deref()),
                (&planned.connection).into(),
                &self.loaded.policy.sources,
                &planned.violations,
                &planned.guard_report,
            )
        };
        PlanDocument::new(self.cluster_plans.iter().map(one).collect())
    }
}

/// Prints plans for people, an empty line between them.
pub(crate) fn print_plans(
    planned: &[ClusterPlan],
    full: bool,
    text: fn(&Plan, &PlanTextOptions<'_>) -> String,
    world: &mut Env,
) {
    for (number, one) in planned.iter().enumerate() {
        let view = PlanTextOptions {
            cluster: &one.label,
            digest: &one.digest,
            full,
            style: world.stdout_style(),
            width: world.out_width(),
        };
        let gap = if number > 0 { "\n" } else { "" };
        world.print_wrapped(&format!("{gap}{}", text(&one.plan, &view)));
    }
}

/// How much of a plan is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanDepth {
    /// What changes, beside what waits in the cluster as it is.
    ChangesOnly,
    /// And what that changes in who can do what.
    ChangesAndAccess,
}

/// What a cluster answered.
type ObservedTarget = Result<(ConnectedCluster, State, ClusterFacts), ClusterError>;

/// Plans every cluster that is asked for; warnings are said.
pub(crate) async fn plan_targets(
    scope: &TargetArgs,
    depth: PlanDepth,
    allow: &[AllowFlag],
    world: &mut Env,
) -> Result<PlanSet, CommandError> {
    let texts = read_policy(scope.policy.as_deref(), world)?;
    // A large policy takes as long to understand as a cluster to answer: both at once. Should the glimpse have been
    // wrong, what was seen is not used.
    let guessed = prescan_clusters(&texts.files)
        .and_then(|clusters| resolve_targets(Some((&clusters, &texts.base_dir)), &scope.connection, world).ok())
        .unwrap_or_default();
    // The questions are on their way when the policy is begun; they are asked from other threads.
    let asked = async { Ok(observe_targets(&guessed, depth).await) };
    let (early, loaded) = futures::future::try_join(asked, async { texts.parse() }).await?;
    loaded.print_warnings(world);
    let targets = resolve_targets(Some((&loaded.policy.clusters, &loaded.base_dir)), &scope.connection, world)?;
    let seen = if targets == guessed { early } else { observe_targets(&targets, depth).await };
    let mut planned = Vec::with_capacity(targets.len());
    let mut failure: Option<CommandError> = None;
    for (target, seen) in targets.iter().zip(seen) {
        match plan_target(&loaded, target, seen, (depth, allow), world.now) {
            Ok(plan) => planned.push(plan),
            Err(found) => {
                let found = if targets.len() > 1 { found.with_cluster_name(target.name.as_deref()) } else { found };
                let all = failure.get_or_insert_with(|| CommandError::new(loaded.policy.sources.clone(), Vec::new()));
                all.diagnostics.extend(found.diagnostics);
            }
        }
    }
    for one in planned.iter_mut().filter(|one| !one.missing_permissions.is_empty()) {
        missing_permissions::retain_denied(&one.cluster, &mut one.missing_permissions).await;
    }
    let mut said: Vec<Diagnostic> = Vec::new();
    for one in &planned {
        // What is of the policy is the same for each of its clusters.
        let is_new = |found: &&Diagnostic| found.primary.is_none() || !said.contains(found);
        let new: Vec<Diagnostic> = one.plan.warnings.iter().filter(is_new).cloned().collect();
        world.note(&diagnostics::render_diagnostics(&new, &loaded.policy.sources, world.stderr_style()));
        said.extend(new.into_iter().filter(|found| found.primary.is_some()));
        if let (AnyCluster::Snapshot(snapshot), ClusterConnection::Snapshot { display_name: shown, .. }) =
            (&one.cluster, &one.connection)
            && let Some(taken) = snapshot.taken_at()
        {
            world.note(&format!("note: the snapshot {shown} is of {taken}{}\n", format_age(taken, world)));
        }
    }
    Ok(PlanSet { loaded, cluster_plans: planned, error: failure })
}

/// `, 3 days ago`.
fn format_age(taken: &str, world: &Env) -> String {
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

async fn observe_targets(targets: &[TargetCluster], depth: PlanDepth) -> Vec<ObservedTarget> {
    let one = async |target: &TargetCluster| {
        let opened = target.connect().await?;
        let seen = async {
            match depth {
                PlanDepth::ChangesOnly => ClusterFacts::default(),
                PlanDepth::ChangesAndAccess => guards::observe_facts(&opened.cluster).await,
            }
        };
        let (state, seen) = futures::future::join(opened.cluster.observe(), seen).await;
        Ok((opened, state?, seen))
    };
    futures::future::join_all(targets.iter().map(one)).await
}

fn plan_target(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    answered: ObservedTarget,
    (depth, allow): (PlanDepth, &[AllowFlag]),
    now: jiff::Timestamp,
) -> Result<ClusterPlan, CommandError> {
    let (opened, state, seen) = answered?;
    let mut plan = plan::plan(&loaded.policy, target.name.as_deref(), &state, now)
        .map_err(|found| CommandError::new(loaded.policy.sources.clone(), found))?;
    let (mut verdict, mut lacks) = (GuardReport::default(), Vec::new());
    // Where nothing changes, two large states need not be built to say so.
    let writes = depth == PlanDepth::ChangesAndAccess && !plan.is_empty();
    let after = writes.then(|| plan.state_after(&state)).transpose().map_err(|fault| after_state_error(&fault))?;
    if let Some(after) = &after {
        let names = PolicyIndex::from_principals(&loaded.policy, target.name.as_deref());
        let sides = AccessComparison::new(&state, after);
        plan.record_access_changes(&sides, &names);
        verdict = guard::evaluate_guards(&plan, &sides, &seen, allow);
        lacks = missing_permissions::caller_missing_permissions(&plan, &sides, &seen)?;
    }
    let judged = after.as_ref().unwrap_or(&state);
    if depth == PlanDepth::ChangesAndAccess {
        plan.access_changes.get_or_insert_default();
        plan.warnings.extend(dangling_after(&state, judged, &plan.policy));
    } else {
        plan.warnings.extend(all_dangling(&state));
    }
    let known = if plan.invariants.is_empty() {
        PolicyIndex::default()
    } else {
        PolicyIndex::from_policy(&loaded.policy, target.name.as_deref(), &state, now)
    };
    let (refusals, odd) = guard::check_invariants(&plan.invariants, &known, judged);
    plan.warnings.extend(odd);
    // The run ends soon: giving back a large state string by string would take longer than the plan.
    std::mem::forget((state, after));
    let (way, name) = (target.connection.clone(), target.name.clone());
    let digest = report::digest(&plan)?;
    Ok(ClusterPlan {
        label: opened.label,
        cluster: opened.cluster,
        plan,
        digest,
        connection: way,
        cluster_name: name,
        policy_index: known,
        violations: refusals,
        facts: seen,
        missing_permissions: lacks,
        guard_report: verdict,
    })
}

/// A plan whose own writes are none: a defect.
pub(crate) fn after_state_error(fault: &ObjectError) -> CommandError {
    CommandError::from_diagnostic(Diagnostic::error(format!("the state after the plan cannot be told: {fault}")))
}

impl From<Vec<Diagnostic>> for CommandError {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self { diagnostics: found, ..Self::default() }
    }
}
