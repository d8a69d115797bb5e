//! Plans every cluster of a command. `plan`, `apply` and `drift` have this in common.

use super::args::TargetArgs;
use super::command_error::CommandError;
use super::env::Env;
use super::guards;
use super::missing_permissions;
use super::policy_files::{LoadedPolicy, read_policy};
use super::same_cluster::{ClusterIdentity, ensure_different_clusters};
use super::target::{ClusterConnection, ConnectedCluster, TargetCluster, resolve_targets};
use crate::access::{all_dangling, dangling_after};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::{Diagnostic, InternalError, SourceMap};
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation, PatternMatches};
use crate::lint::{self, LintContext, Vocabulary};
use crate::permissions::MissingPermission;
use crate::plan::{self, AccessComparison, AggregatedRoles, Plan};
use crate::policy::{PolicyIndex, prescan_clusters};
use crate::render::diagnostics;
use crate::render::plan_text::PlanTextOptions;
use crate::render::terminal_text::TerminalText;
use crate::report::{self, PlanDocument, PlanJson, SerializeError};
use crate::state::State;
use crate::state::object::ObjectError;

/// A cluster and the plan for it.
pub(crate) struct ClusterPlan {
    pub(crate) label: String,
    pub(crate) cluster: AnyCluster,
    pub(crate) plan: Plan,
    /// The aggregated roles that the plan writes, as it has found them.
    pub(crate) aggregated_roles: AggregatedRoles,
    /// The digest that `--approved` is compared with.
    pub(crate) digest: String,
    pub(crate) connection: ClusterConnection,
    pub(crate) cluster_name: Option<String>,
    /// The names of principals in the policy, and the policy lines of objects and entries.
    pub(crate) policy_index: PolicyIndex,
    /// The invariants that the plan violates.
    pub(crate) violations: Vec<InvariantViolation>,
    pub(crate) facts: ClusterFacts,
    /// The permissions that the caller lacks for the writes.
    pub(crate) missing_permissions: Vec<MissingPermission>,
    /// The result of the guards.
    pub(crate) guard_report: GuardReport,
    /// The patterns of the policy that match something in the cluster.
    pub(crate) pattern_matches: PatternMatches,
}

impl ClusterPlan {
    /// Returns whether a guard or an invariant refuses the plan.
    pub(crate) fn is_refused(&self) -> bool {
        !self.guard_report.refused.is_empty() || !self.violations.is_empty()
    }

    /// Evaluates a plan that was made earlier, or from a backup, on the current state of the cluster.
    pub(crate) async fn evaluate(
        connected: ConnectedCluster,
        plan: Plan,
        (connection, cluster_name): (ClusterConnection, Option<String>),
        policy_index: PolicyIndex,
        comparison: &AccessComparison<'_>,
        facts: ClusterFacts,
        allow: &[AllowFlag],
    ) -> Result<Self, CommandError> {
        let ConnectedCluster { label, cluster, namespace: _ } = connected;
        let digest = report::digest(&plan)?;
        let aggregated_roles = AggregatedRoles::new(&plan, comparison.live);
        let guard_report = guard::evaluate_guards(&plan, comparison, &facts, allow);
        let violations = guard::check_invariants(&plan.invariants, &policy_index, comparison.after);
        let mut missing_permissions = missing_permissions::caller_missing_permissions(&plan, comparison, &facts)?;
        missing_permissions::retain_denied(&cluster, &mut missing_permissions).await;
        Ok(Self {
            label,
            cluster,
            plan,
            aggregated_roles,
            digest,
            connection,
            cluster_name,
            policy_index,
            violations,
            facts,
            missing_permissions,
            guard_report,
            pattern_matches: PatternMatches::default(),
        })
    }
}

/// The plans of the clusters that could be planned, and the errors of the others.
pub(crate) struct PlanSet {
    pub(crate) loaded: LoadedPolicy,
    pub(crate) cluster_plans: Vec<ClusterPlan>,
    pub(crate) error: Option<CommandError>,
}

impl PlanSet {
    /// Returns all plans.
    ///
    /// # Errors
    /// If a cluster could not be planned.
    pub(crate) fn into_complete(self) -> Result<(LoadedPolicy, Vec<ClusterPlan>), CommandError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok((self.loaded, self.cluster_plans)),
        }
    }

    /// Returns the plans as one document.
    ///
    /// # Errors
    /// If it cannot be serialized.
    pub(crate) fn document(&self) -> Result<PlanDocument, SerializeError> {
        plan_document(&self.cluster_plans, &self.loaded.policy.sources)
    }
}

/// Returns plans as one document.
///
/// # Errors
/// If it cannot be serialized.
pub(crate) fn plan_document(
    cluster_plans: &[ClusterPlan],
    sources: &SourceMap,
) -> Result<PlanDocument, SerializeError> {
    let plan_json = |cluster_plan: &ClusterPlan| {
        PlanJson::new(
            &cluster_plan.plan,
            &cluster_plan.digest,
            (&cluster_plan.label, cluster_plan.cluster_name.as_deref()),
            (&cluster_plan.connection).into(),
            sources,
            &cluster_plan.violations,
            &cluster_plan.guard_report,
        )
    };
    PlanDocument::new(cluster_plans.iter().map(plan_json).collect())
}

/// Prints the plans as text, with an empty line between them.
pub(crate) fn print_plans(
    cluster_plans: &[ClusterPlan],
    full: bool,
    render: fn(&Plan, &PlanTextOptions<'_>) -> TerminalText,
    env: &mut Env,
) {
    for (number, cluster_plan) in cluster_plans.iter().enumerate() {
        let options = PlanTextOptions {
            cluster: &cluster_plan.label,
            digest: &cluster_plan.digest,
            full,
            style: env.stdout_style(),
            width: env.out_width(),
        };
        if number > 0 {
            env.print("");
        }
        env.print_text(&render(&cluster_plan.plan, &options));
    }
}

/// How much of a plan is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanDepth {
    /// The changes only, as `drift` needs them.
    ChangesOnly,
    /// The changes, their effect on access, and the guards.
    ChangesAndAccess,
}

/// The result of observing a cluster.
type ObservedTarget = Result<(ConnectedCluster, State, ClusterFacts), ClusterError>;

/// Plans every cluster that is asked for, and prints the warnings.
pub(crate) async fn plan_targets(
    target_args: &TargetArgs,
    depth: PlanDepth,
    allow: &[AllowFlag],
    env: &mut Env,
) -> Result<PlanSet, CommandError> {
    let files = read_policy(target_args.policy.as_deref(), env)?;
    // Parsing a large policy takes as long as reading a cluster, so both are done at the same time. The clusters come from
    // a quick scan of the files. If the parsed policy has other clusters, what was read is not used.
    let scanned_targets = prescan_clusters(&files.files)
        .and_then(|clusters| resolve_targets(Some((&clusters, &files.base_dir)), &target_args.connection, env).ok())
        .unwrap_or_default();
    // The first poll sends the requests, which other threads complete while this thread parses the policy.
    let observing = async { Ok(observe_targets(&scanned_targets, depth).await) };
    let (early, loaded) = futures::future::try_join(observing, async { files.parse() }).await?;
    loaded.print_warnings(env);
    let targets = resolve_targets(Some((&loaded.policy.clusters, &loaded.base_dir)), &target_args.connection, env)?;
    let observed = if targets == scanned_targets { early } else { observe_targets(&targets, depth).await };
    let identities = targets.iter().zip(&observed).filter_map(|(target, observed)| {
        let (connected, state, _) = observed.as_ref().ok()?;
        let name = target.name.as_deref().unwrap_or(&connected.label);
        Some(ClusterIdentity::new(name, &target.connection, state))
    });
    ensure_different_clusters(&identities.collect::<Vec<_>>())?;
    let mut cluster_plans = Vec::with_capacity(targets.len());
    let mut errors: Option<CommandError> = None;
    for (target, observed) in targets.iter().zip(observed) {
        match plan_target(&loaded, target, observed, (depth, allow), env.now) {
            Ok(cluster_plan) => cluster_plans.push(cluster_plan),
            Err(error) => {
                let error = if targets.len() > 1 { error.with_cluster_name(target.name.as_deref()) } else { error };
                let errors = errors.get_or_insert_with(|| CommandError::new(loaded.policy.sources.clone(), Vec::new()));
                errors.diagnostics.extend(error.diagnostics);
            }
        }
    }
    for ClusterPlan { cluster, missing_permissions, .. } in &mut cluster_plans {
        if !missing_permissions.is_empty() {
            missing_permissions::retain_denied(cluster, missing_permissions).await;
        }
    }
    let clusters: Vec<&PatternMatches> = cluster_plans.iter().map(|plan| &plan.pattern_matches).collect();
    let are_all_clusters = errors.is_none() && targets.len() >= loaded.policy.clusters.len();
    let unmatched = PatternMatches::report(&loaded.policy, &clusters, are_all_clusters);
    if unmatched.iter().any(Diagnostic::is_error) {
        print_plan_warnings(&cluster_plans, &loaded, env);
        return Err(CommandError::new(loaded.policy.sources.clone(), unmatched));
    }
    for cluster_plan in &mut cluster_plans {
        cluster_plan.plan.warnings.extend(unmatched.iter().cloned());
    }
    print_plan_warnings(&cluster_plans, &loaded, env);
    Ok(PlanSet { loaded, cluster_plans, error: errors })
}

fn print_plan_warnings(cluster_plans: &[ClusterPlan], loaded: &LoadedPolicy, env: &mut Env) {
    let mut printed: Vec<Diagnostic> = Vec::new();
    for ClusterPlan { plan, cluster, connection, .. } in cluster_plans {
        // A warning about a policy line is the same for each cluster, so it is printed once.
        let is_new = |warning: &&Diagnostic| warning.primary.is_none() || !printed.contains(warning);
        let new: Vec<Diagnostic> = plan.warnings.iter().filter(is_new).cloned().collect();
        env.note_text(&diagnostics::render_diagnostics(&new, &loaded.policy.sources, env.stderr_style()));
        printed.extend(new.into_iter().filter(|warning| warning.primary.is_some()));
        if let (AnyCluster::Snapshot(snapshot), ClusterConnection::Snapshot { display_name, .. }) =
            (cluster, connection)
            && let Some(taken_at) = snapshot.taken_at()
        {
            env.note(&format!(
                "note: the snapshot {display_name} was taken at {taken_at}{}\n",
                format_age(taken_at, env)
            ));
        }
    }
}

/// `, 3 days ago`.
fn format_age(taken: &str, env: &Env) -> String {
    let Ok(then) = taken.parse::<jiff::Timestamp>() else {
        return String::new();
    };
    let hours = env.now.duration_since(then).as_hours();
    match hours {
        ..0 => String::new(),
        0 => ", less than an hour ago".to_owned(),
        1..48 => format!(", {hours} h ago"),
        _ => format!(", {} days ago", hours / 24),
    }
}

async fn observe_targets(targets: &[TargetCluster], depth: PlanDepth) -> Vec<ObservedTarget> {
    let observe = async |target: &TargetCluster| target.within_timeout(observe_target(target, depth)).await;
    futures::future::join_all(targets.iter().map(observe)).await
}

async fn observe_target(target: &TargetCluster, depth: PlanDepth) -> ObservedTarget {
    let connected = target.connect().await?;
    let facts = async {
        match depth {
            PlanDepth::ChangesOnly => ClusterFacts::default(),
            PlanDepth::ChangesAndAccess => guards::read_cluster_facts(&connected.cluster).await,
        }
    };
    let (state, facts) = futures::future::join(connected.cluster.read_state(), facts).await;
    Ok((connected, state?, facts))
}

fn plan_target(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    observed: ObservedTarget,
    (depth, allow): (PlanDepth, &[AllowFlag]),
    now: jiff::Timestamp,
) -> Result<ClusterPlan, CommandError> {
    let (ConnectedCluster { label, cluster, namespace: _ }, mut state, facts) = observed?;
    let declared = loaded.policy.lint.resources.iter().map(|resource| resource.value.clone());
    state.resources = state.resources.with_declared(declared);
    let mut plan = plan::plan(&loaded.policy, target.name.as_deref(), &state, now)
        .map_err(|diagnostics| CommandError::new(loaded.policy.sources.clone(), diagnostics))?;
    let (mut guard_report, mut missing_permissions) = (GuardReport::default(), Vec::new());
    // Building the state after the plan is expensive, so it is skipped for a plan without changes.
    let needs_after = depth == PlanDepth::ChangesAndAccess && !plan.is_empty();
    let after = needs_after.then(|| plan.state_after(&state)).transpose().map_err(|error| after_state_error(&error))?;
    if let Some(after) = &after {
        let principal_names = PolicyIndex::from_principals(&loaded.policy, target.name.as_deref());
        let comparison = AccessComparison::new(&state, after);
        plan.record_access_changes(&comparison, &principal_names);
        guard_report = guard::evaluate_guards(&plan, &comparison, &facts, allow);
        missing_permissions = missing_permissions::caller_missing_permissions(&plan, &comparison, &facts)?;
    }
    let resulting_state = after.as_ref().unwrap_or(&state);
    if depth == PlanDepth::ChangesAndAccess {
        plan.access_changes.get_or_insert_default();
        plan.warnings.extend(dangling_after(&state, resulting_state, &plan.policy));
        let vocabulary = Vocabulary::for_cluster(&loaded.policy, &state);
        let lints = lint::lint_policy(LintContext {
            policy: &loaded.policy,
            vocabulary: &vocabulary,
            cluster: Some((target.name.as_deref(), resulting_state)),
        });
        if lints.iter().any(Diagnostic::is_error) {
            return Err(CommandError::new(loaded.policy.sources.clone(), lints));
        }
        plan.warnings.extend(lints);
    } else {
        plan.warnings.extend(all_dangling(&state));
    }
    let name_errors = guard::check_invariant_names(&loaded.policy, target.name.as_deref(), &state, resulting_state);
    if name_errors.iter().any(Diagnostic::is_error) {
        return Err(CommandError::new(loaded.policy.sources.clone(), name_errors));
    }
    plan.warnings.extend(name_errors);
    let pattern_matches = PatternMatches::new(&loaded.policy, &state, resulting_state);
    let policy_index = if plan.invariants.is_empty() {
        PolicyIndex::default()
    } else {
        PolicyIndex::from_policy(&loaded.policy, target.name.as_deref(), &state, now)
    };
    let violations = guard::check_invariants(&plan.invariants, &policy_index, resulting_state);
    let aggregated_roles = AggregatedRoles::new(&plan, &state);
    // The process ends soon, and freeing a large state string by string takes longer than the plan itself.
    std::mem::forget((state, after));
    let digest = report::digest(&plan)?;
    Ok(ClusterPlan {
        label,
        cluster,
        plan,
        aggregated_roles,
        digest,
        connection: target.connection.clone(),
        cluster_name: target.name.clone(),
        policy_index,
        violations,
        facts,
        missing_permissions,
        guard_report,
        pattern_matches,
    })
}

/// Returns the writes of a plan lead to an invalid object, which is a bug in rolecall.
pub(crate) fn after_state_error(error: &ObjectError) -> CommandError {
    match error {
        ObjectError::Internal(error) => error.clone().into(),
        ObjectError::Malformed(_) | ObjectError::Invalid(_) => {
            InternalError::new(format!("cannot compute the state after the plan: {error}")).into()
        }
    }
}

impl From<Vec<Diagnostic>> for CommandError {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, ..Self::default() }
    }
}
