//! Lists the EKS clusters of AWS accounts, beside those of the policy.

use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::context::OpsContext;
use super::observer::WorkPhase;
use super::parallel::run_clusters;
use crate::aws::AwsSettings;
use crate::cluster::eks::{EksClusterList, list_eks_clusters};

/// Where clusters are looked for, and the clusters of the policy there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterScope {
    pub(crate) aws: AwsSettings,
    /// The names in the policy, by the name in EKS.
    pub(crate) policy_names: BTreeMap<String, Vec<String>>,
}

/// Returns the clusters of each scope.
///
/// # Errors
/// The errors of all scopes that cannot be listed.
pub(crate) fn list_scopes(
    scopes: Vec<ClusterScope>,
    context: &OpsContext,
) -> Result<Vec<(ClusterScope, EksClusterList)>, CommandError> {
    let runtime = Handle::current();
    let list = |scope: ClusterScope| {
        let settings = context.connection.for_cluster(context.observer.connection_log());
        let listed = runtime.block_on(list_eks_clusters(scope.aws.clone(), &context.vars, &settings));
        listed.map(|listed| (scope, listed))
    };
    let (results, ()) = run_clusters(WorkPhase::Observe, scopes, context, list, || ());
    let (mut lists, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(list) => lists.push(list),
            Err(error) => errors.extend(CommandError::from(error).diagnostics),
        }
    }
    if errors.is_empty() { Ok(lists) } else { Err(errors.into()) }
}
