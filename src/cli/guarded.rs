//! The guards of a run: what they need of the cluster, what the command line says yes to, and what they say.

use super::failure::Failure;
use crate::cluster::ReadCluster;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, Allowance, Danger, Known, Refusal, Seen, Verdict};

/// What the command line says yes to.
pub(crate) fn allowances(typed: &[String]) -> Result<Vec<Allowance>, Failure> {
    let (good, bad): (Vec<_>, Vec<_>) = typed.iter().map(|text| Allowance::parse(text)).partition(Result::is_ok);
    let bad: Vec<Diagnostic> = bad
        .into_iter()
        .filter_map(Result::err)
        .map(|fault| Diagnostic::error(fault.to_string()).hint(fault.hint()))
        .collect();
    if bad.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(bad.into()) }
}

/// Asks the cluster who the caller is and which nodes it has; what is not answered is not known.
pub(crate) async fn see(cluster: &impl ReadCluster) -> Seen {
    let (caller, nodes) = futures::future::join(cluster.whoami(), cluster.nodes()).await;
    let caller = match caller {
        Ok(Some(caller)) => {
            let arn = caller.arn().map(str::to_owned);
            let uid = Some(caller.uid).filter(|uid| !uid.is_empty());
            Known::As(guard::Caller { username: caller.username, groups: caller.groups, uid, arn })
        }
        Ok(None) => Known::Not("a snapshot has no caller, whose own access could go".to_owned()),
        Err(error) => Known::Not(format!("who the caller is the cluster does not say: {}", error.cause())),
    };
    let nodes = match nodes {
        Ok(Some(nodes)) => Known::As(nodes),
        Ok(None) => Known::Not("a snapshot does not have them".to_owned()),
        Err(error) => Known::Not(error.cause()),
    };
    Seen { caller, nodes }
}

/// A cluster that moved into a danger between the plan and its first write.
pub(crate) fn refused_now(label: &str, verdict: &Verdict, refusals: &[Refusal]) -> Failure {
    let dangers = verdict.refused.iter().map(Danger::refused);
    let found: Vec<Diagnostic> = refusals
        .iter()
        .map(Refusal::diagnostic)
        .chain(dangers)
        .map(|mut error| {
            error.message = format!("{label}: {}", error.message);
            error
        })
        .collect();
    Failure::from(found).refused()
}
