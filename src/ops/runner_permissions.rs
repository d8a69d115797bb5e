//! The roles that a run of rolecall needs, and which of their permissions the caller lacks.

use super::cluster_plan::after_state_error;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::loaded_policy::LoadedPolicy;
use super::missing_permissions::denied_requests;
use super::target::{ConnectedCluster, TargetCluster};
use crate::cluster::{ClusterError, ReadCluster as _};
use crate::diagnostic::{Diagnostic, InternalError};
use crate::permissions::{ApplyUser, MinimalRoles, MissingPermission, check_plan_permissions};
use crate::plan::{self, AccessComparison, Plan};
use crate::policy::expand::expand;
use crate::state::State;

/// The permissions that the caller of a cluster lacks.
pub(crate) struct CallerPermissions {
    pub(crate) username: String,
    pub(crate) missing: Vec<MissingPermission>,
}

/// Connects to the cluster and reads its state. The state is empty if the caller is not allowed to read it and
/// `may_be_unreadable`: a check of permissions has to find that.
pub(crate) async fn read_cluster(
    target: &TargetCluster,
    may_be_unreadable: bool,
) -> Result<(ConnectedCluster, State), CommandError> {
    let reading = async {
        let connected = target.connect().await?;
        let state = match connected.cluster.read_state().await {
            Err(ClusterError::Forbidden { .. }) if may_be_unreadable => State::default(),
            result => result?,
        };
        Ok((connected, state))
    };
    Ok(target.within_timeout(reading).await?)
}

/// Returns the roles for applying a policy to a state, and the plan that they allow.
///
/// # Errors
/// If no plan can be made.
pub(crate) fn roles_for_apply(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    state: &State,
    context: &OpsContext,
) -> Result<(MinimalRoles, Plan), CommandError> {
    let (policy, name) = (&loaded.policy, target.name.as_deref());
    let to_error = |diagnostics| CommandError::new(policy.sources.clone(), diagnostics);
    let (desired, _) = expand(policy, name, state, context.now).map_err(to_error)?;
    let plan = plan::plan(policy, name, state, context.now).map_err(to_error)?;
    let roles = MinimalRoles::for_apply(&desired, state, &plan).map_err(|error| after_state_error(&error))?;
    Ok((roles, plan))
}

/// Asks the cluster which permissions of the roles the caller lacks, and finds those that the plan takes away before it
/// needs them.
///
/// # Errors
/// If the cluster is a snapshot, or does not answer.
pub(crate) async fn caller_permissions(
    (roles, plan): (&MinimalRoles, Option<&Plan>),
    connected: &ConnectedCluster,
    state: &State,
) -> Result<CallerPermissions, CommandError> {
    let Some(caller) = connected.cluster.whoami().await? else {
        let error = Diagnostic::error("--check needs a live cluster: a snapshot has no caller");
        return Err(CommandError::from_diagnostic(error.with_help("use a live cluster, or omit --check")));
    };
    let user = ApplyUser { username: caller.username, groups: caller.groups };
    let mut missing = roles.missing_permissions(state, &user);
    let requests: Vec<_> = missing.iter().map(|permission| permission.request.clone()).collect();
    // A cluster with a caller answers access reviews. Without the answers, nothing would be missing.
    let denied = denied_requests(&connected.cluster, &requests).await?;
    let denied =
        denied.ok_or_else(|| InternalError::new(format!("{} has a caller, but no reviews", connected.label)))?;
    missing.retain(|permission| denied.contains(&permission.request));
    if let Some(plan) = plan {
        missing.extend(revoked_permissions(plan, state, &user)?);
    }
    Ok(CallerPermissions { username: user.username, missing })
}

/// Returns the permissions that the caller has now, and that the plan takes away before it needs them.
fn revoked_permissions(plan: &Plan, live: &State, user: &ApplyUser) -> Result<Vec<MissingPermission>, CommandError> {
    let after = plan.state_after(live).map_err(|error| after_state_error(&error))?;
    let comparison = AccessComparison::new(live, &after);
    let mut missing = check_plan_permissions(plan, &comparison, user).map_err(|error| after_state_error(&error))?;
    missing.retain(|permission| permission.is_revoked_by_plan);
    Ok(missing)
}
