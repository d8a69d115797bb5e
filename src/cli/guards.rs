//! The guards of a run: what they need of the cluster, what the command line says yes to, and what they say.

use super::command_error::CommandError;
use crate::cluster::ReadCluster;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation, Observed, Risk};

/// What the command line says yes to.
pub(crate) fn parse_allow_flags(typed: &[String]) -> Result<Vec<AllowFlag>, CommandError> {
    if let Some(failure) = typed.iter().find_map(|text| several_in_one(text)) {
        return Err(failure);
    }
    let (good, bad): (Vec<_>, Vec<_>) = typed.iter().map(|text| AllowFlag::parse(text)).partition(Result::is_ok);
    let bad: Vec<Diagnostic> = bad
        .into_iter()
        .filter_map(Result::err)
        .map(|fault| Diagnostic::error(fault.to_string()).with_help(fault.help()))
        .collect();
    if bad.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(bad.into()) }
}

/// IAM names can have commas, so `remove:ARN,b` is one value. With another ARN or another risk behind a comma it is not.
fn several_in_one(text: &str) -> Option<CommandError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (first, rest) = parts.split_first()?;
    let is_another = |part: &&str| part.starts_with("arn:") || AllowFlag::parse(part).is_ok();
    if !rest.iter().any(is_another) {
        return None;
    }
    let kind = first.split_once(':').map(|(kind, _)| kind).unwrap_or_default();
    let flags = parts.iter().map(|part| {
        if part.starts_with("arn:") { format!("--allow {kind}:{part}") } else { format!("--allow {part}") }
    });
    let error = Diagnostic::error(format!("--allow {text} has several values, separated by commas"));
    Some(CommandError::from_diagnostic(
        error.with_help(format!("repeat the flag: {}", flags.collect::<Vec<_>>().join(" "))),
    ))
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
