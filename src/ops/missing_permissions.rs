//! The permissions that the caller lacks for a plan. They are reported before the first write.

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

/// The number of missing permissions, and of rules of each, that are listed. The others are counted.
const MAX_LISTED: usize = 5;
/// The maximum number of requests that the API server is asked about. A caller that lacks more has nearly no
/// permissions, and the first ones show it.
const MAX_REVIEWED: usize = 100;

/// Returns the requests of a plan that RBAC does not allow the caller. Empty if the caller is not known.
pub(crate) fn caller_missing_permissions(
    plan: &Plan,
    comparison: &AccessComparison<'_>,
    facts: &ClusterFacts,
) -> Result<Vec<MissingPermission>, CommandError> {
    match &facts.caller {
        Observed::Known(caller) => {
            let user = ApplyUser { username: caller.username.clone(), groups: caller.groups.clone() };
            check_plan_permissions(plan, comparison, &user).map_err(|error| after_state_error(&error))
        }
        Observed::Unknown(_) => Ok(Vec::new()),
    }
}

/// Keeps only the permissions that the API server denies too, since another authorizer can allow a request, and those
/// that the plan takes away. If the cluster does not answer, no others are reported as missing.
pub(crate) async fn retain_denied(cluster: &impl ReadCluster, missing: &mut Vec<MissingPermission>) {
    missing.truncate(MAX_REVIEWED);
    let asked = missing.iter().filter(|permission| !permission.is_revoked_by_plan);
    let requests: Vec<Request> = asked.map(|permission| permission.request.clone()).collect();
    let denied = denied_requests(cluster, &requests).await.ok().flatten().unwrap_or_default();
    missing.retain(|permission| permission.is_revoked_by_plan || denied.contains(&permission.request));
}

/// Returns the requests that the API server denies, or `None` for a snapshot. Asks first about all objects of each
/// kind, which answers most requests at once.
pub(crate) async fn denied_requests(
    cluster: &impl ReadCluster,
    requests: &[Request],
) -> Result<Option<BTreeSet<Request>>, ClusterError> {
    let kinds: BTreeSet<Request> = requests.iter().map(for_all_objects).collect();
    let kinds: Vec<Request> = kinds.into_iter().collect();
    let Some(answers) = cluster.check_own_access(&kinds).await? else {
        return Ok(None);
    };
    let allowed_kinds: BTreeSet<Request> =
        kinds.into_iter().zip(answers).filter(|(_, is_allowed)| *is_allowed).map(|(kind, _)| kind).collect();
    let remaining: Vec<Request> =
        requests.iter().filter(|request| !allowed_kinds.contains(&for_all_objects(request))).cloned().collect();
    let Some(answers) = cluster.check_own_access(&remaining).await? else {
        return Ok(None);
    };
    let denied = remaining.into_iter().zip(answers).filter(|(_, is_allowed)| !is_allowed);
    Ok(Some(denied.map(|(request, _)| request).collect()))
}

/// Returns the same request for every object of the kind.
fn for_all_objects(request: &Request) -> Request {
    match request {
        Request::Object(request) => {
            Request::Object(ObjectRequest { name: String::new(), namespace: String::new(), ..request.clone() })
        }
        Request::Url { .. } => request.clone(),
    }
}

/// Returns one diagnostic with all permissions that the caller lacks for a plan. It is a warning if the caller has all of
/// them now: another authorizer than RBAC can allow the requests when they are made.
pub(crate) fn to_diagnostic(cluster_plan: &ClusterPlan, severity: Severity) -> Option<Diagnostic> {
    let ClusterPlan { label, plan, missing_permissions: missing, .. } = cluster_plan;
    if missing.is_empty() {
        return None;
    }
    let steps: BTreeSet<usize> = missing.iter().map(|permission| permission.step).collect();
    let writes = pluralize(plan.steps.len(), "write");
    let message = format!("{label}: you lack permissions for {} of {writes}", steps.len());
    let severity =
        if missing.iter().all(|permission| permission.is_revoked_by_plan) { Severity::Warning } else { severity };
    let mut diagnostic = Diagnostic { severity, ..Diagnostic::error(message) };
    for permission in missing.iter().take(MAX_LISTED) {
        let description = plan.steps.get(permission.step).map_or("", |step| step.description.as_str());
        diagnostic =
            diagnostic.with_because(format!("to {description}, you need: {}", describe_missing_permission(permission)));
    }
    if let Some(more) = missing.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        diagnostic = diagnostic.with_note(format!("{} missing", pluralize(more, "more permission")));
    }
    Some(diagnostic.with_help("run `rolecall permissions` to print the roles that grant these permissions"))
}

/// `escalate clusterroles named x, or these permissions: verbs get; …`.
pub(crate) fn describe_missing_permission(permission: &MissingPermission) -> String {
    let rules: Vec<String> = permission.missing_rules.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    let more = permission.missing_rules.len().saturating_sub(MAX_LISTED);
    let more = if more > 0 { format!(" and {}", pluralize(more, "more rule")) } else { String::new() };
    let when = if permission.is_revoked_by_plan { "; you have it now, and this plan takes it away first" } else { "" };
    match rules.as_slice() {
        [] => format!("{}{when}", permission.request),
        rules => format!("{}, or these permissions: {}{more}{when}", permission.request, rules.join(" | ")),
    }
}
