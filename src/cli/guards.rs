//! The guards of a command: the facts that they need from the cluster, the `--allow` flags, and late refusals.

use super::command_error::CommandError;
use crate::cluster::ReadCluster;
use crate::diagnostic::Diagnostic;
use crate::guard::{self, AllowFlag, ClusterFacts, GuardReport, InvariantViolation, Observed, Risk};

/// Parses the values of `--allow`.
///
/// # Errors
/// All values that are not valid.
pub(crate) fn parse_allow_flags(values: &[String]) -> Result<Vec<AllowFlag>, CommandError> {
    if let Some(error) = values.iter().find_map(|value| comma_separated_error(value)) {
        return Err(error);
    }
    let mut flags = Vec::with_capacity(values.len());
    let mut errors = Vec::new();
    for value in values {
        match AllowFlag::parse(value) {
            Ok(flag) => flags.push(flag),
            Err(error) => errors.push(Diagnostic::error(error.to_string()).with_help(error.help())),
        }
    }
    if errors.is_empty() { Ok(flags) } else { Err(errors.into()) }
}

/// Returns the error for several values in one flag. IAM names can have commas, so `remove:ARN,b` is one value. It is
/// an error only if an ARN or another risk follows a comma.
fn comma_separated_error(text: &str) -> Option<CommandError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (first, rest) = parts.split_first()?;
    let is_other_value = |part: &&str| part.starts_with("arn:") || AllowFlag::parse(part).is_ok();
    if !rest.iter().any(is_other_value) {
        return None;
    }
    let kind = first.split_once(':').map(|(kind, _)| kind).unwrap_or_default();
    let flags = parts.iter().map(|part| {
        if part.starts_with("arn:") { format!("--allow {kind}:{part}") } else { format!("--allow {part}") }
    });
    let error = Diagnostic::error(format!("invalid value `{text}` for `--allow`: several values, separated by commas"));
    Some(CommandError::from_diagnostic(
        error.with_help(format!("repeat the flag: {}", flags.collect::<Vec<_>>().join(" "))),
    ))
}

/// Asks the cluster who the caller is and which nodes exist. A question that the cluster does not answer is unknown.
pub(crate) async fn read_cluster_facts(cluster: &impl ReadCluster) -> ClusterFacts {
    let (caller, nodes) = futures::future::join(cluster.whoami(), cluster.sample_nodes()).await;
    let caller = match caller {
        Ok(Some(caller)) => {
            let arn = caller.arn().map(str::to_owned);
            let uid = Some(caller.uid).filter(|uid| !uid.is_empty());
            Observed::Known(guard::CallerIdentity { username: caller.username, groups: caller.groups, uid, arn })
        }
        Ok(None) => Observed::Unknown("lock-out check skipped: a snapshot has no caller".to_owned()),
        Err(error) => Observed::Unknown(format!(
            "lock-out check skipped: the cluster does not report who you are: {}",
            error.cause()
        )),
    };
    let nodes = match nodes {
        Ok(Some(nodes)) => Observed::Known(nodes),
        Ok(None) => Observed::Unknown("a snapshot does not include Node objects".to_owned()),
        Err(error) => Observed::Unknown(error.cause()),
    };
    ClusterFacts { caller, nodes }
}

/// Returns the refusal of a plan whose effect has become risky since it was made, because the cluster has changed.
pub(crate) fn late_refusal(label: &str, guard_report: &GuardReport, violations: &[InvariantViolation]) -> CommandError {
    let risks = guard_report.refused.iter().map(Risk::to_error);
    let errors: Vec<Diagnostic> = violations
        .iter()
        .map(InvariantViolation::to_diagnostic)
        .chain(risks)
        .map(|mut error| {
            error.message = format!("{label}: {}", error.message);
            error
        })
        .collect();
    CommandError::from(errors).into_refusal()
}
