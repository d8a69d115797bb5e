//! Rights that whoever runs a plan lacks: told before anything is written, and not by the write that meets it.

use std::collections::BTreeSet;

use super::failure::Failure;
use super::planned::{Planned, unreadable};
use crate::access::{ObjectRequest, Request};
use crate::cluster::{ClusterError, ReadCluster};
use crate::diagnostic::{Diagnostic, Severity};
use crate::guard::{Known, Seen};
use crate::plan::{Plan, Sides};
use crate::render::words::count;
use crate::rights::{Lack, Runner, wanted};

/// Lacks told one by one.
const NAMED: usize = 5;
/// Requests asked about one by one. Beyond it stands a caller who may do nearly nothing, and it has been said.
const ASKED: usize = 100;

/// What RBAC does not allow the caller of a plan; nothing where he is not known.
pub(crate) fn unheld(plan: &Plan, sides: &Sides<'_>, seen: &Seen) -> Result<Vec<Lack>, Failure> {
    match &seen.caller {
        Known::As(caller) => {
            let runner = Runner { username: caller.username.clone(), groups: caller.groups.clone() };
            wanted(plan, sides, &runner).map_err(|fault| unreadable(&fault))
        }
        Known::Not(_) => Ok(Vec::new()),
    }
}

/// Keeps what no other authorizer allows either. A cluster that does not answer has not said no.
pub(crate) async fn confirm(cluster: &impl ReadCluster, lacks: &mut Vec<Lack>) {
    lacks.truncate(ASKED);
    let requests: Vec<Request> = lacks.iter().map(|lack| lack.request.clone()).collect();
    match denied(cluster, &requests).await {
        Ok(Some(denied)) => lacks.retain(|lack| denied.contains(&lack.request)),
        Ok(None) | Err(_) => lacks.clear(),
    }
}

/// The requests that the cluster does not allow: of a kind at once where it allows all of it.
pub(crate) async fn denied(
    cluster: &impl ReadCluster,
    requests: &[Request],
) -> Result<Option<BTreeSet<Request>>, ClusterError> {
    let wide: BTreeSet<Request> = requests.iter().map(widened).collect();
    let wide: Vec<Request> = wide.into_iter().collect();
    let Some(answers) = cluster.allows(&wide).await? else {
        return Ok(None);
    };
    let open = |request: &Request| wide.iter().zip(&answers).any(|(one, yes)| *yes && *one == widened(request));
    let left: Vec<Request> = requests.iter().filter(|request| !open(request)).cloned().collect();
    let Some(answers) = cluster.allows(&left).await? else {
        return Ok(None);
    };
    Ok(Some(left.into_iter().zip(answers).filter(|(_, yes)| !yes).map(|(request, _)| request).collect()))
}

/// The same request for every object of the kind.
fn widened(request: &Request) -> Request {
    match request {
        Request::Object(request) => {
            Request::Object(ObjectRequest { name: String::new(), namespace: String::new(), ..request.clone() })
        }
        Request::Url { .. } => request.clone(),
    }
}

/// What the caller of a plan lacks, all in one.
pub(crate) fn told(one: &Planned, severity: Severity) -> Option<Diagnostic> {
    if one.lacks.is_empty() {
        return None;
    }
    let steps: BTreeSet<usize> = one.lacks.iter().map(|lack| lack.step).collect();
    let writes = count(one.plan.steps.len(), "write");
    let message = format!("{}: you lack the rights for {} of {writes}", one.label, steps.len());
    let mut out = Diagnostic { severity, ..Diagnostic::error(message) };
    for lack in one.lacks.iter().take(NAMED) {
        let why = one.plan.steps.get(lack.step).map_or("", |step| step.why.as_str());
        out = out.hint(format!("to {why} you need {}", words(lack)));
    }
    if let Some(more) = one.lacks.len().checked_sub(NAMED).filter(|more| *more > 0) {
        out = out.hint(format!("… and {more} more"));
    }
    Some(out.hint("`rolecall permissions` prints the roles that give them"))
}

/// `escalate clusterroles named x, or to hold verbs get; …`.
pub(crate) fn words(lack: &Lack) -> String {
    let rules: Vec<String> = lack.rules.iter().take(NAMED).map(ToString::to_string).collect();
    let more = lack.rules.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {}", count(more, "more rule")) } else { String::new() };
    match rules.as_slice() {
        [] => lack.request.to_string(),
        rules => format!("{}, or to hold yourself: {}{more}", lack.request, rules.join(" | ")),
    }
}
