//! Plans the way back to a backup.

use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::context::OpsContext;
use super::guards::read_cluster_facts;
use super::target::{ClusterConnection, KubeconfigFlags, TargetCluster};
use crate::access::{auth_mode_warning, dangling_after};
use crate::cluster::ReadCluster as _;
use crate::diagnostic::Diagnostic;
use crate::guard::AllowFlag;
use crate::plan::{AccessComparison, AppliedWrites, plan_restore};
use crate::policy::PolicyIndex;
use crate::report::BackupDocument;

/// Where the cluster of a backup is, and which risks are accepted.
pub(crate) struct RestoreSettings<'a> {
    /// A connection to use instead of the one in the backup.
    pub(crate) connection: Option<ClusterConnection>,
    pub(crate) kubeconfig: KubeconfigFlags<'a>,
    pub(crate) allow: &'a [AllowFlag],
}

/// Reads the cluster of a backup, and plans the writes that take the applied ones back.
pub(crate) async fn plan_cluster_restore(
    backup: &BackupDocument,
    applied: &AppliedWrites,
    settings: RestoreSettings<'_>,
    context: &OpsContext,
) -> Result<ClusterPlan, CommandError> {
    let connection = settings.connection.unwrap_or_else(|| backup.connection.clone().into());
    let target = TargetCluster::new(0, backup.name.clone(), connection, settings.kubeconfig, context);
    let reading = async {
        let connected = target.connect().await?;
        let (state, facts) =
            futures::future::join(connected.cluster.read_state(), read_cluster_facts(&connected.cluster)).await;
        Ok((connected, state?, facts))
    };
    let (connected, state, facts) = target.within_timeout(reading).await?;
    if let (Some(backup_uid), Some(uid)) = (&backup.cluster_uid, &state.cluster_uid)
        && backup_uid != uid
    {
        let message = format!("{} is not the cluster of the backup, which is {}", connected.label, backup.cluster);
        return Err(CommandError::from_diagnostic(
            Diagnostic::error(message).with_help("select the cluster of the backup with --context"),
        ));
    }
    let mut plan = plan_restore(applied, &state).map_err(CommandError::from)?;
    let policy_index = PolicyIndex::from_policy_name(&plan.policy);
    let after = plan.state_after(&state).map_err(|error| after_state_error(&error))?;
    let comparison = AccessComparison::new(&state, &after);
    plan.record_access_changes(&comparison, &policy_index);
    plan.warnings.extend(auth_mode_warning(&state));
    plan.warnings.extend(dangling_after(&state, &after, &plan.policy));
    let name = backup.name.clone();
    ClusterPlan::evaluate(connected, plan, name, policy_index, &comparison, facts, settings.allow).await
}
