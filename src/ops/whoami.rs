//! Asks clusters who the caller is.

use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::context::OpsContext;
use super::observer::WorkPhase;
use super::parallel::run_clusters;
use super::target::TargetCluster;
use crate::cluster::{ClusterError, ReadCluster as _, UserInfo};

/// Returns the label of each cluster, and the user that it authenticates the caller as. A snapshot has no caller.
///
/// # Errors
/// The errors of all clusters that do not answer.
pub(crate) fn whoami(
    targets: &[TargetCluster],
    context: &OpsContext,
) -> Result<Vec<(String, Option<UserInfo>)>, CommandError> {
    let runtime = Handle::current();
    let ask = |target| runtime.block_on(Box::pin(ask_cluster(target)));
    let (results, ()) = run_clusters(WorkPhase::Observe, targets.iter().collect(), context, ask, || ());
    let (mut answers, mut errors) = (Vec::with_capacity(targets.len()), Vec::new());
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                errors.extend(CommandError::from(error).with_cluster_name(target.name.as_deref()).diagnostics);
            }
        }
    }
    if errors.is_empty() { Ok(answers) } else { Err(errors.into()) }
}

async fn ask_cluster(target: &TargetCluster) -> Result<(String, Option<UserInfo>), ClusterError> {
    let asking = async {
        let connected = target.connect().await?;
        let caller = connected.cluster.whoami().await?;
        Ok((connected.label, caller))
    };
    target.within_timeout(asking).await
}
