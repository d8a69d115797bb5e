//! Plans a migration to access entries, and changes the authentication mode.

use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::context::OpsContext;
use super::guards::read_cluster_facts;
use super::loaded_policy::LoadedPolicy;
use super::target::{ConnectedCluster, TargetCluster};
use crate::access::{auth_mode_warning, dangling_after};
use crate::cluster::{ReadCluster as _, WriteCluster as _};
use crate::guard::{self, AllowFlag, Observed};
use crate::names::{AccountId, Arn};
use crate::plan::{
    self, AccessComparison, GuardLimits, MigratedPrincipal, Migration, MigrationSettings, ResolvedInvariant,
    plan_migration, state_with_access_entries,
};
use crate::policy::{DEFAULT_TOKEN_CACHE, PolicyIndex, principals_in_cluster};
use crate::state::auth_mode::ClusterAuthMode;

/// What is migrated, and which risks are accepted.
pub(crate) struct MigrateSettings<'a> {
    pub(crate) policy: Option<&'a LoadedPolicy>,
    /// Whether the policy is written for access entries already, so that its plan is the migration.
    pub(crate) from_policy: bool,
    pub(crate) finish: bool,
    /// ARNs as IAM has them.
    pub(crate) arns: &'a [Arn],
    pub(crate) allow: &'a [AllowFlag],
}

/// The migration of a cluster, with its evaluated plan.
pub(crate) struct ClusterMigration {
    pub(crate) cluster_plan: ClusterPlan,
    /// Its plan is that of `cluster_plan`, without what was evaluated.
    pub(crate) migration: Migration,
}

/// Reads a cluster, and plans a stage of its migration.
pub(crate) async fn plan_cluster_migration(
    target: &TargetCluster,
    settings: &MigrateSettings<'_>,
    context: &OpsContext,
) -> Result<ClusterMigration, CommandError> {
    let reading = async {
        let connected = target.connect().await?;
        let (state, facts) =
            futures::future::join(connected.cluster.read_state(), read_cluster_facts(&connected.cluster)).await;
        Ok((connected, state?, facts))
    };
    let (connected, live, facts) = target.within_timeout(reading).await?;
    let (state, mode) = state_with_access_entries(&live).map_err(|error| CommandError::from_diagnostic(*error))?;
    let name = target.name.as_deref();
    let policy = settings.policy.map(|loaded| &loaded.policy);
    let mut migration = match policy.filter(|_| settings.from_policy) {
        Some(policy) => {
            let plan = plan::plan(policy, name, &state, context.now)
                .map_err(|diagnostics| CommandError::new(policy.sources.clone(), diagnostics))?;
            Migration::from_policy_plan(plan, mode)
        }
        None => {
            let with_sources = |diagnostics| match policy {
                Some(policy) => CommandError::new(policy.sources.clone(), diagnostics),
                None => CommandError::from(diagnostics),
            };
            let invariants = policy.map(|policy| ResolvedInvariant::resolve_all(policy, name, &state));
            let principals = policy.map(|policy| principals_in_cluster(policy, name)).unwrap_or_default();
            let migration = MigrationSettings {
                finish: settings.finish,
                policy: policy.map(|policy| policy.name.value.clone()),
                principals: principals.into_iter().map(|(arn, tags)| MigratedPrincipal { arn, tags }).collect(),
                arns: settings.arns.to_vec(),
                account: cluster_account(&connected),
                limits: policy.map(GuardLimits::from_policy).unwrap_or_default(),
                invariants: invariants.transpose().map_err(with_sources)?.unwrap_or_default(),
                token_cache: policy.map_or(DEFAULT_TOKEN_CACHE, |policy| policy.token_cache(name)),
            };
            plan_migration(&migration, &state, mode).map_err(with_sources)?
        }
    };
    let policy_index = match policy {
        Some(policy) => PolicyIndex::from_policy(policy, name, &state, context.now),
        None => PolicyIndex::from_policy_name(&migration.plan.policy),
    };
    let mut plan = migration.plan.clone();
    let after = plan.state_after(&state).map_err(|error| after_state_error(&error))?;
    let comparison = AccessComparison::new(&state, &after);
    plan.record_access_changes(&comparison, &policy_index);
    plan.warnings.extend(auth_mode_warning(&state));
    plan.warnings.extend(dangling_after(&state, &after, &plan.policy));
    migration.plan = plan.clone();
    let mut cluster_plan =
        ClusterPlan::evaluate(connected, plan, target.name.clone(), policy_index, &comparison, facts, settings.allow)
            .await?;
    if let Some(to) = &migration.mode_change {
        cluster_plan.guard_report.add(guard::auth_mode_risk(&migration.mode, to), settings.allow);
    }
    if !settings.from_policy {
        for risk in guard::equal_access_risks(migration.plan.access_changes.as_deref().unwrap_or_default()) {
            cluster_plan.guard_report.add(risk, settings.allow);
        }
    }
    Ok(ClusterMigration { cluster_plan, migration })
}

/// Returns the account of the cluster, as far as EKS was asked. Only its roles can be those of nodes.
fn cluster_account(connected: &ConnectedCluster) -> Option<AccountId> {
    let described = connected.eks.as_ref().map(|cluster| cluster.arn.clone());
    let arn = described.or_else(|| match connected.cluster.snapshot_eks_facts()?.arn {
        Observed::Known(arn) => Some(arn),
        Observed::Unknown(_) => None,
    })?;
    AccountId::parse(arn.split(':').nth(4)?)
}

/// Changes the authentication mode of a cluster, and waits until EKS has made the change. It cannot be changed back.
pub(crate) async fn change_auth_mode(cluster_plan: &ClusterPlan, mode: &ClusterAuthMode) -> Result<(), CommandError> {
    cluster_plan.cluster.change_auth_mode(mode).await?;
    Ok(cluster_plan.cluster.flush().await?)
}
