//! The guards of a run: what they need of the cluster, what the command line says yes to, and what they say.

use super::command_error::CommandError;
use crate::cluster::ReadCluster;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation, Observed, Risk};

/// What the command line says yes to.
pub(crate) fn parse_allow_flags(typed: &[String]) -> Result<Vec<AllowFlag>, CommandError> {
    let (good, bad): (Vec<_>, Vec<_>) = typed.iter().map(|text| AllowFlag::parse(text)).partition(Result::is_ok);
    let bad: Vec<Diagnostic> = bad
        .into_iter()
        .filter_map(Result::err)
        .map(|fault| Diagnostic::error(fault.to_string()).with_help(fault.help()))
        .collect();
    if bad.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(bad.into()) }
}

/// Asks the cluster who the caller is and which nodes it has; what is not answered is not known.
pub(crate) async fn observe_facts(cluster: &impl ReadCluster) -> ClusterFacts {
    let (caller, nodes) = futures::future::join(cluster.whoami(), cluster.sample_nodes()).await;
    let caller = match caller {
        Ok(Some(caller)) => {
            let arn = caller.arn().map(str::to_owned);
            let uid = Some(caller.uid).filter(|uid| !uid.is_empty());
            Observed::Known(guard::CallerIdentity { username: caller.username, groups: caller.groups, uid, arn })
        }
        Ok(None) => Observed::Unknown("a snapshot has no caller, whose own access could go".to_owned()),
        Err(error) => Observed::Unknown(format!("who the caller is the cluster does not say: {}", error.cause())),
    };
    let nodes = match nodes {
        Ok(Some(nodes)) => Observed::Known(nodes),
        Ok(None) => Observed::Unknown("a snapshot does not have them".to_owned()),
        Err(error) => Observed::Unknown(error.cause()),
    };
    ClusterFacts { caller, nodes }
}

/// A cluster that moved into a danger between the plan and its first write.
pub(crate) fn late_refusal(label: &str, verdict: &GuardReport, refusals: &[InvariantViolation]) -> CommandError {
    let dangers = verdict.refused.iter().map(Risk::to_error);
    let found: Vec<Diagnostic> = refusals
        .iter()
        .map(InvariantViolation::to_diagnostic)
        .chain(dangers)
        .map(|mut error| {
            error.message = format!("{label}: {}", error.message);
            error
        })
        .collect();
    CommandError::from(found).into_refusal()
}
