//! Rights that whoever runs a plan lacks: told before anything is written, and not by the write that meets it.

use std::collections::BTreeSet;

use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use crate::access::{ObjectRequest, Request};
use crate::cluster::{ClusterError, ReadCluster};
use crate::diagnostic::{Diagnostic, Severity};
use crate::guard::{ClusterFacts, Observed};
use crate::permissions::{ApplyUser, MissingPermission, check_plan_permissions};
use crate::plan::{AccessComparison, Plan};
use crate::render::text_util::pluralize;

/// Lacks told one by one.
const MAX_LISTED: usize = 5;
/// Requests asked about one by one. Beyond it stands a caller who may do nearly nothing, and it has been said.
const MAX_REVIEWED: usize = 100;

/// What RBAC does not allow the caller of a plan; nothing where he is not known.
pub(crate) fn caller_missing_permissions(
    plan: &Plan,
    sides: &AccessComparison<'_>,
    seen: &ClusterFacts,
) -> Result<Vec<MissingPermission>, CommandError> {
    match &seen.caller {
        Observed::Known(caller) => {
            let runner = ApplyUser { username: caller.username.clone(), groups: caller.groups.clone() };
            check_plan_permissions(plan, sides, &runner).map_err(|fault| after_state_error(&fault))
        }
        Observed::Unknown(_) => Ok(Vec::new()),
    }
}

/// Keeps what no other authorizer allows either. A cluster that does not answer has not said no.
pub(crate) async fn retain_denied(cluster: &impl ReadCluster, lacks: &mut Vec<MissingPermission>) {
    lacks.truncate(MAX_REVIEWED);
    let requests: Vec<Request> = lacks.iter().map(|lack| lack.request.clone()).collect();
    match denied_requests(cluster, &requests).await {
        Ok(Some(denied)) => lacks.retain(|lack| denied.contains(&lack.request)),
        Ok(None) | Err(_) => lacks.clear(),
    }
}

/// The requests that the cluster does not allow: of a kind at once where it allows all of it.
pub(crate) async fn denied_requests(
    cluster: &impl ReadCluster,
    requests: &[Request],
) -> Result<Option<BTreeSet<Request>>, ClusterError> {
    let wide: BTreeSet<Request> = requests.iter().map(for_all_objects).collect();
    let wide: Vec<Request> = wide.into_iter().collect();
    let Some(answers) = cluster.check_own_access(&wide).await? else {
        return Ok(None);
    };
    let open = |request: &Request| wide.iter().zip(&answers).any(|(one, yes)| *yes && *one == for_all_objects(request));
    let left: Vec<Request> = requests.iter().filter(|request| !open(request)).cloned().collect();
    let Some(answers) = cluster.check_own_access(&left).await? else {
        return Ok(None);
    };
    Ok(Some(left.into_iter().zip(answers).filter(|(_, yes)| !yes).map(|(request, _)| request).collect()))
}

/// The same request for every object of the kind.
fn for_all_objects(request: &Request) -> Request {
    match request {
        Request::Object(request) => {
            Request::Object(ObjectRequest { name: String::new(), namespace: String::new(), ..request.clone() })
        }
        Request::Url { .. } => request.clone(),
    }
}

/// What the caller of a plan lacks, all in one.
pub(crate) fn to_diagnostic(one: &ClusterPlan, severity: Severity) -> Option<Diagnostic> {
    if one.missing_permissions.is_empty() {
        return None;
    }
    let steps: BTreeSet<usize> = one.missing_permissions.iter().map(|lack| lack.step).collect();
    let writes = pluralize(one.plan.steps.len(), "write");
    let message = format!("{}: you lack the rights for {} of {writes}", one.label, steps.len());
    let mut out = Diagnostic { severity, ..Diagnostic::error(message) };
    for lack in one.missing_permissions.iter().take(MAX_LISTED) {
        let why = one.plan.steps.get(lack.step).map_or("", |step| step.description.as_str());
        out = out.with_help(format!("to {why} you need {}", describe_missing_permission(lack)));
    }
    if let Some(more) = one.missing_permissions.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        out = out.with_help(format!("… and {more} more"));
    }
    Some(out.with_help("`rolecall permissions` prints the roles that give them"))
}

/// `escalate clusterroles named x, or to hold verbs get; …`.
pub(crate) fn describe_missing_permission(lack: &MissingPermission) -> String {
    let rules: Vec<String> = lack.missing_rules.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    let more = lack.missing_rules.len().saturating_sub(MAX_LISTED);
    let more = if more > 0 { format!(" and {}", pluralize(more, "more rule")) } else { String::new() };
    match rules.as_slice() {
        [] => lack.request.to_string(),
        rules => format!("{}, or to hold yourself: {}{more}", lack.request, rules.join(" | ")),
    }
}
