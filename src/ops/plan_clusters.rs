//! Plans the clusters of a command, several at the same time.
//!
//! Parsing a large policy takes as long as reading a cluster, so both are done at the same time. The clusters come from a
//! quick scan of the files. If the parsed policy has other clusters, what was read is not used.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cluster_plan::{ClusterPlan, after_state_error, plan_document};
use super::command_error::CommandError;
use super::context::OpsContext;
use super::guards::{read_cluster_facts, read_node_roles};
use super::loaded_policy::{LoadedPolicy, PolicyFiles};
use super::missing_permissions;
use super::observer::{EventKind, WorkPhase};
use super::parallel::run_clusters;
use super::same_cluster::{ClusterIdentity, ensure_different_clusters};
use super::target::{ClusterConnection, ConnectedCluster, TargetCluster};
use crate::access::{all_dangling, check_nested_aggregation, dangling_after};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::{Diagnostic, InternalError};
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, PatternMatches};
use crate::lint::{self, LintContext, Vocabulary};
use crate::plan::{self, AccessComparison, AggregatedRoles, Plan};
use crate::policy::{ClusterSpec, Policy, PolicyIndex, prescan_clusters};
use crate::report::{self, PlanDocument, SerializeError};
use crate::state::State;

/// The plans of the clusters that could be planned, in the order of the policy, and the errors of the others.
pub(crate) struct PlanSet {
    pub(crate) loaded: LoadedPolicy,
    pub(crate) cluster_plans: Vec<ClusterPlan>,
    pub(crate) error: Option<CommandError>,
    /// How many clusters could not be planned.
    pub(crate) failed: usize,
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

/// How much of a plan is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanDepth {
    /// The changes only, as `drift` needs them, and the invariants in the current state.
    ChangesOnly,
    /// The changes only, and the invariants in the state after them.
    InvariantsAfterChanges,
    /// The changes, their effect on access, and the guards.
    ChangesAndAccess,
}

/// What is planned, and which risks are accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanSettings<'a> {
    pub(crate) depth: PlanDepth,
    pub(crate) allow: &'a [AllowFlag],
    /// Whether the plan has the diff of the text of aws-auth.
    pub(crate) aws_auth_diff: bool,
    /// Whether to look for subjects with full access that no policy manages.
    pub(crate) unmanaged_admins: bool,
}

/// Selects clusters of the policy, which has its relative paths in the given directory.
pub(crate) type ResolveTargets<'a> =
    dyn Fn(&BTreeMap<String, ClusterSpec>, &Path) -> Result<Vec<TargetCluster>, CommandError> + 'a;

/// Whether the policy is parsed, and has the clusters that are being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PolicyStatus {
    Parsing,
    Ready,
    /// The policy is not valid, or has other clusters.
    Abandoned,
}

/// A cluster that was read.
struct ObservedCluster {
    connected: ConnectedCluster,
    state: State,
    facts: ClusterFacts,
}

/// The plan of one cluster, and what identifies the cluster if it could be read.
struct TargetPlan {
    identity: Option<ClusterIdentity>,
    result: Result<ClusterPlan, CommandError>,
}

/// Plans every cluster that `resolve` selects, and reports the warnings.
///
/// # Errors
/// If the policy or the selection is not valid. The errors of single clusters are in the result.
pub(crate) fn plan_clusters(
    files: PolicyFiles,
    resolve: &ResolveTargets<'_>,
    settings: &PlanSettings<'_>,
    context: &OpsContext,
) -> Result<PlanSet, CommandError> {
    let scanned = prescan_clusters(&files.files)
        .and_then(|clusters| resolve(&clusters, &files.base_dir).ok())
        .unwrap_or_default();
    let loaded = OnceLock::new();
    let (sender, policy) = watch::channel(PolicyStatus::Parsing);
    let planner = |policy, targets: &[TargetCluster]| Planner {
        runtime: Handle::current(),
        loaded: &loaded,
        policy,
        settings,
        context,
        is_only_cluster: targets.len() == 1,
    };
    let early = planner(policy, &scanned);
    // The sender is dropped if parsing panics, which ends the threads too.
    let parse = || {
        let sender = sender;
        let targets = files.parse().and_then(|parsed| {
            let loaded = loaded.get_or_init(|| parsed);
            context
                .observer
                .send(EventKind::Diagnostics { diagnostics: &loaded.warnings, sources: &loaded.policy.sources });
            resolve(&loaded.policy.clusters, &loaded.base_dir)
        });
        let is_as_scanned = targets.as_ref().is_ok_and(|targets| *targets == scanned);
        sender.send_replace(if is_as_scanned { PolicyStatus::Ready } else { PolicyStatus::Abandoned });
        targets
    };
    let observe = WorkPhase::Observe;
    let (planned, targets) =
        run_clusters(observe, scanned.iter().collect(), context, |target| early.run(target), parse);
    let targets = targets?;
    let planned = if targets == scanned {
        planned
    } else {
        let late = planner(watch::channel(PolicyStatus::Ready).1, &targets);
        run_clusters(observe, targets.iter().collect(), context, |target| late.run(target), || ()).0
    };
    let planned: Vec<TargetPlan> = planned.into_iter().flatten().collect();
    let loaded = loaded.into_inner().filter(|_| planned.len() == targets.len());
    let loaded = loaded.ok_or_else(|| InternalError::new("a cluster of the policy was not planned"))?;
    combine(loaded, &targets, planned, context)
}

/// Puts the plans of the clusters together, and reports their warnings.
fn combine(
    loaded: LoadedPolicy,
    targets: &[TargetCluster],
    planned: Vec<TargetPlan>,
    context: &OpsContext,
) -> Result<PlanSet, CommandError> {
    let (identities, results): (Vec<_>, Vec<_>) =
        planned.into_iter().map(|planned| (planned.identity, planned.result)).unzip();
    ensure_different_clusters(&identities.into_iter().flatten().collect::<Vec<_>>())?;
    let (mut cluster_plans, mut failed) = (Vec::with_capacity(targets.len()), 0);
    let mut errors: Option<CommandError> = None;
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(cluster_plan) => cluster_plans.push(cluster_plan),
            Err(error) => {
                failed += 1;
                let error = if targets.len() > 1 { error.with_cluster_name(target.name.as_deref()) } else { error };
                let errors = errors.get_or_insert_with(|| CommandError::new(loaded.policy.sources.clone(), Vec::new()));
                errors.diagnostics.extend(error.diagnostics);
            }
        }
    }
    let clusters: Vec<&PatternMatches> = cluster_plans.iter().map(|plan| &plan.pattern_matches).collect();
    let are_all_clusters = errors.is_none() && targets.len() >= loaded.policy.clusters.len();
    let unmatched = PatternMatches::report(&loaded.policy, &clusters, are_all_clusters);
    if unmatched.iter().any(Diagnostic::is_error) {
        report_warnings(&cluster_plans, &loaded, context);
        return Err(CommandError::new(loaded.policy.sources.clone(), unmatched));
    }
    for cluster_plan in &mut cluster_plans {
        cluster_plan.plan.warnings.extend(unmatched.iter().cloned());
    }
    report_warnings(&cluster_plans, &loaded, context);
    Ok(PlanSet { loaded, cluster_plans, error: errors, failed })
}

fn report_warnings(cluster_plans: &[ClusterPlan], loaded: &LoadedPolicy, context: &OpsContext) {
    let mut reported: Vec<Diagnostic> = Vec::new();
    for ClusterPlan { plan, cluster, connection, .. } in cluster_plans {
        // A warning about a policy line is the same for each cluster, so it is reported once.
        let is_new = |warning: &&Diagnostic| warning.primary.is_none() || !reported.contains(warning);
        let new: Vec<Diagnostic> = plan.warnings.iter().filter(is_new).cloned().collect();
        context.observer.send(EventKind::Diagnostics { diagnostics: &new, sources: &loaded.policy.sources });
        reported.extend(new.into_iter().filter(|warning| warning.primary.is_some()));
        if let (AnyCluster::Snapshot(snapshot), ClusterConnection::Snapshot { display_name, .. }) =
            (cluster, connection)
            && let Some(taken_at) = snapshot.taken_at()
        {
            let age = format_age(taken_at, context.now);
            context.observer.note(&format!("the snapshot {display_name} was taken at {taken_at}{age}"));
        }
    }
}

/// `, 3 days ago`.
fn format_age(taken: &str, now: jiff::Timestamp) -> String {
    let Ok(then) = taken.parse::<jiff::Timestamp>() else {
        return String::new();
    };
    let hours = now.duration_since(then).as_hours();
    match hours {
        ..0 => String::new(),
        0 => ", less than an hour ago".to_owned(),
        1..48 => format!(", {hours} h ago"),
        _ => format!(", {} days ago", hours / 24),
    }
}

/// What the threads need that read and plan the clusters.
struct Planner<'a> {
    runtime: Handle,
    /// Set before the status is [`PolicyStatus::Ready`].
    loaded: &'a OnceLock<LoadedPolicy>,
    policy: watch::Receiver<PolicyStatus>,
    settings: &'a PlanSettings<'a>,
    context: &'a OpsContext,
    is_only_cluster: bool,
}

impl Planner<'_> {
    /// Reads a cluster, and plans it when the policy is parsed. `None` if the policy does not have this cluster.
    fn run(&self, target: &TargetCluster) -> Option<TargetPlan> {
        self.runtime.block_on(async {
            let observed = tokio::select! {
                biased;
                () = self.abandoned() => return None,
                observed = target.within_timeout(self.observe(target)) => observed,
            };
            let mut policy = self.policy.clone();
            let _ = policy.wait_for(|status| *status != PolicyStatus::Parsing).await;
            let is_ready = *policy.borrow() == PolicyStatus::Ready;
            let loaded = self.loaded.get().filter(|_| is_ready)?;
            let observed = match observed {
                Ok(observed) => observed,
                Err(error) => return Some(TargetPlan { identity: None, result: Err(error.into()) }),
            };
            let name = target.name.as_deref().unwrap_or(&observed.connected.label);
            let identity = Some(ClusterIdentity::new(name, &target.connection, &observed.state));
            let result = self.plan(loaded, target, observed).await;
            Some(TargetPlan { identity, result })
        })
    }

    /// Waits until it is known that the policy does not have the clusters that are being read.
    async fn abandoned(&self) {
        let mut policy = self.policy.clone();
        let _ = policy.wait_for(|status| *status == PolicyStatus::Abandoned).await;
        if *policy.borrow() == PolicyStatus::Ready {
            std::future::pending::<()>().await;
        }
    }

    async fn observe(&self, target: &TargetCluster) -> Result<ObservedCluster, ClusterError> {
        let connected = target.connect().await?;
        let facts = async {
            match self.settings.depth {
                PlanDepth::ChangesOnly | PlanDepth::InvariantsAfterChanges => ClusterFacts::default(),
                PlanDepth::ChangesAndAccess => read_cluster_facts(&connected.cluster).await,
            }
        };
        let (state, facts) = futures::future::join(connected.cluster.read_state(), facts).await;
        Ok(ObservedCluster { connected, state: state?, facts })
    }

    async fn plan(
        &self,
        loaded: &LoadedPolicy,
        target: &TargetCluster,
        mut observed: ObservedCluster,
    ) -> Result<ClusterPlan, CommandError> {
        let observer = observed.connected.observer.clone();
        observer.send(EventKind::PlanningStarted);
        let planned = match plan_changes(loaded, target, &mut observed, self.context) {
            Ok(plan) => {
                if self.settings.depth == PlanDepth::ChangesAndAccess {
                    observed.facts.node_roles = read_node_roles(&observed.connected, &plan).await;
                }
                evaluate_plan(loaded, target, (observed, plan), self.settings, self.is_only_cluster, self.context)
            }
            Err(error) => Err(error),
        };
        let mut cluster_plan = planned.inspect_err(|error| observer.send(EventKind::PlanningFailed(error)))?;
        let ClusterPlan { cluster, missing_permissions, .. } = &mut cluster_plan;
        if !missing_permissions.is_empty() {
            missing_permissions::retain_denied(cluster, missing_permissions).await;
        }
        let ClusterPlan { plan, digest, facts, .. } = &cluster_plan;
        observer.send(EventKind::PlanningFinished { plan, digest, caller: facts.known_caller() });
        Ok(cluster_plan)
    }
}

/// Plans the changes and writes.
fn plan_changes(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    observed: &mut ObservedCluster,
    context: &OpsContext,
) -> Result<Plan, CommandError> {
    let state = &mut observed.state;
    let declared = loaded.policy.lint.resources.iter().map(|resource| resource.value.clone());
    state.resources = state.resources.with_declared(declared);
    plan::plan(&loaded.policy, target.name.as_deref(), state, context.now)
        .map_err(|diagnostics| CommandError::new(loaded.policy.sources.clone(), diagnostics))
}

/// Evaluates the effect of a plan: access, guards, invariants and lints.
fn evaluate_plan(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    (observed, mut plan): (ObservedCluster, Plan),
    settings: &PlanSettings<'_>,
    is_only_cluster: bool,
    context: &OpsContext,
) -> Result<ClusterPlan, CommandError> {
    let PlanSettings { depth, allow, aws_auth_diff, unmanaged_admins } = *settings;
    let ObservedCluster { connected, state, facts } = observed;
    let ConnectedCluster { label, cluster, namespace: _, connection, tokens: _, eks: _, observer } = connected;
    let (mut guard_report, mut missing_permissions) = (GuardReport::default(), Vec::new());
    // Building the state after the plan is expensive, so it is skipped for a plan without changes.
    let needs_after = match depth {
        PlanDepth::ChangesOnly => false,
        PlanDepth::InvariantsAfterChanges => !plan.is_empty() && !plan.invariants.is_empty(),
        PlanDepth::ChangesAndAccess => !plan.is_empty(),
    };
    let after = needs_after.then(|| plan.state_after(&state)).transpose().map_err(|error| after_state_error(&error))?;
    let resulting_state = after.as_ref().unwrap_or(&state);
    check_nested_aggregation(resulting_state).map_err(|error| {
        let error = Diagnostic::error(format!("after the plan, {error}"));
        CommandError::from_diagnostic(error.with_help("list the rules of the roles instead"))
    })?;
    // The access in both states is computed at most once.
    let comparison = LazyCell::new(|| AccessComparison::new(&state, resulting_state));
    if depth == PlanDepth::ChangesAndAccess {
        // A large policy takes as long to lint as the access takes to compare.
        let lints = std::thread::scope(|scope| {
            let lints =
                scope.spawn(|| lint_for_cluster(&loaded.policy, target.name.as_deref(), &state, resulting_state));
            if needs_after {
                let principal_names = PolicyIndex::from_principals(&loaded.policy, target.name.as_deref());
                plan.record_access_changes(&comparison, &principal_names);
                plan.aws_auth_diff = aws_auth_diff.then(|| plan::aws_auth_diff(&state, resulting_state));
                guard_report = guard::evaluate_guards(&plan, &comparison, &facts, allow);
                missing_permissions = missing_permissions::caller_missing_permissions(&plan, &comparison, &facts)?;
            }
            Ok::<_, CommandError>(lints.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        plan.access_changes.get_or_insert_default();
        plan.warnings.extend(dangling_after(&state, resulting_state, &plan.policy));
        if lints.iter().any(Diagnostic::is_error) {
            return Err(CommandError::new(loaded.policy.sources.clone(), lints));
        }
        plan.warnings.extend(lints);
    } else {
        plan.warnings.extend(all_dangling(&state));
    }
    let name_errors = if loaded.policy.invariants.is_empty() {
        Vec::new()
    } else {
        guard::check_invariant_names(&loaded.policy, target.name.as_deref(), &comparison)
    };
    if name_errors.iter().any(Diagnostic::is_error) {
        return Err(CommandError::new(loaded.policy.sources.clone(), name_errors));
    }
    plan.warnings.extend(name_errors);
    let has_patterns = !loaded.policy.guard.protected.is_empty() || !loaded.policy.ownership.ignore.is_empty();
    let pattern_matches =
        if has_patterns { PatternMatches::new(&loaded.policy, &comparison) } else { PatternMatches::default() };
    let (mut policy_index, mut violations) = (PolicyIndex::default(), Vec::new());
    if !plan.invariants.is_empty() {
        policy_index = PolicyIndex::from_policy(&loaded.policy, target.name.as_deref(), &state, context.now);
        violations = guard::check_invariants(&plan.invariants, &policy_index, &comparison.after_access);
    }
    let unmanaged_admins = unmanaged_admins.then(|| {
        let policy_index = PolicyIndex::from_policy(&loaded.policy, target.name.as_deref(), &state, context.now);
        plan::unmanaged_admins(&comparison.live_access, &policy_index)
    });
    drop(comparison);
    let aggregated_roles = AggregatedRoles::new(&plan, &state);
    let digest = report::digest(&plan)?;
    if is_only_cluster {
        // The process ends soon, and freeing a large state string by string takes longer than the plan itself. The states
        // of many clusters would need too much memory.
        std::mem::forget((state, after));
    }
    Ok(ClusterPlan {
        label,
        cluster,
        observer,
        plan,
        aggregated_roles,
        digest,
        connection,
        cluster_name: target.name.clone(),
        policy_index,
        violations,
        facts,
        unmanaged_admins,
        missing_permissions,
        guard_report,
        pattern_matches,
    })
}

/// Returns the warnings about the policy in one cluster.
fn lint_for_cluster(policy: &Policy, cluster: Option<&str>, live: &State, after: &State) -> Vec<Diagnostic> {
    let vocabulary = Vocabulary::for_cluster(policy, live);
    lint::lint_policy(LintContext { policy, vocabulary: &vocabulary, cluster: Some((cluster, after)) })
}
