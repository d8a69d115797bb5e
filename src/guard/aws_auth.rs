//! Guards that compare aws-auth as the authenticator applies it before and after a plan: protected principals, new
//! members of `system:masters`, the last administrator, and whether any principal can still authenticate.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::allow_flag::AllowFlag;
use super::context::GuardContext;
use super::nodes::is_node_or_fargate;
use super::risk::{GuardKind, Risk, format_request_sets};
use crate::access::{AccessView, Authentication, Identity, MASTERS, MappedPrincipal, RequestSetExcept, SubjectQuery};
use crate::names::WildcardPattern;
use crate::state::aws_auth::SectionError;

/// How many principals a message lists.
const MAX_LISTED_PRINCIPALS: usize = 3;
const OTHER_LOGINS: &str = "the cluster creator, access entries and certificates are not affected";

pub(super) fn find_risks(context: &GuardContext<'_, '_>) -> Vec<Risk> {
    let mut risks = check_protected(context);
    risks.extend(check_unreadable_sections(context));
    let (before, after) = (context.live_access.principals(), context.after_access.principals());
    risks.extend(check_empty_aws_auth(before, after));
    risks.extend(check_last_admin(context));
    risks.extend(check_new_masters(context, after));
    risks
}

fn check_protected(context: &GuardContext<'_, '_>) -> Vec<Risk> {
    let limits = &context.plan.limits.protected;
    if limits.is_empty() {
        return Vec::new();
    }
    // The authenticator ignores case.
    let patterns: Vec<WildcardPattern> =
        limits.iter().map(|limit| WildcardPattern::new(&limit.value.to_lowercase())).collect();
    let mut risks = Vec::new();
    let mut reported: BTreeSet<&SubjectQuery> = BTreeSet::new();
    for principal in context.live_access.principals_and_variants() {
        let SubjectQuery::Arn(identity) = &principal.subject else {
            continue;
        };
        // The sessions of a role follow the role.
        if principal.variant_of.as_ref().is_some_and(|role| reported.contains(role)) {
            continue;
        }
        let key = identity.comparison_key();
        let limit = patterns.iter().zip(limits).find(|(pattern, _)| pattern.matches(&key));
        if let Some((_, limit)) = limit
            && let Some(loss) = describe_principal_loss(context, principal)
        {
            let message = format!("protected principal {} {loss}", principal.subject);
            let mut risk = Risk::new(GuardKind::Protected, message)
                .with_subject(&principal.subject)
                .with_because(format!("the policy protects this principal at {}", limit.location))
                .with_notes(context.entry_change_note(&principal.subject));
            if let Some(entry) = principal.authentication.identities().find_map(Identity::entry) {
                risk = risk.with_note(format!("the principal authenticates through the {}", entry.with_store()));
            }
            risks.push(risk.with_allow_flag(AllowFlag::Remove(principal.subject.clone())));
            reported.insert(&principal.subject);
        }
    }
    risks
}

/// Describes what a principal loses, if anything.
fn describe_principal_loss(context: &GuardContext<'_, '_>, principal: &MappedPrincipal) -> Option<String> {
    let authentication = context.after_access.authenticate(&principal.subject);
    let before: Vec<&Identity> = principal.authentication.identities().collect();
    let after: Vec<&Identity> = authentication.identities().collect();
    if !before.is_empty() && after.is_empty() {
        return Some("can no longer authenticate".to_owned());
    }
    if !before.is_empty() && has_more_denials(&principal.authentication, &authentication) {
        return Some(
            "matches several aws-auth entries after this plan, and some of them do not let it authenticate".to_owned(),
        );
    }
    let is_unchanged = before == after;
    for before in before {
        for after in after.iter().filter(|after| !is_unchanged || **after == before) {
            if let Some(loss) = describe_identity_loss(context, before, after) {
                return Some(loss);
            }
        }
    }
    None
}

/// Returns whether more of the matching entries deny access after the plan than before it.
fn has_more_denials(before: &Authentication, after: &Authentication) -> bool {
    let denials = |authentication: &Authentication| match authentication {
        Authentication::Identity(_) | Authentication::Denied(_) => 0,
        Authentication::Ambiguous(logins) => logins.iter().filter(|login| login.is_err()).count(),
    };
    denials(after) > denials(before)
}

fn describe_identity_loss(context: &GuardContext<'_, '_>, before: &Identity, after: &Identity) -> Option<String> {
    let lost_groups: Vec<String> =
        before.groups.iter().filter(|group| !after.groups.contains(group)).map(ToString::to_string).collect();
    let change = context.live_access.diff_identity(before, context.after_access, after);
    let lost: Vec<RequestSetExcept<'_>> = change.lost.iter().map(|part| part.requests.clone()).collect();
    let mut losses = Vec::new();
    if !lost_groups.is_empty() {
        losses.push(format!("is no longer in {}", lost_groups.join(", ")));
    }
    if !lost.is_empty() {
        losses.push(format!("loses permissions: {}", format_request_sets(&lost)));
    }
    (!losses.is_empty()).then(|| losses.join(", and "))
}

/// Reports sections that the authenticator can parse before the plan, and not after it. No flag accepts this risk.
fn check_unreadable_sections(context: &GuardContext<'_, '_>) -> Vec<Risk> {
    let unreadable_before = &context.live_access.mapping.unreadable;
    let new_errors = context
        .after_access
        .mapping
        .unreadable
        .iter()
        .filter(|error| !unreadable_before.iter().any(|before| before.section == error.section));
    let to_risk = |error: &SectionError| {
        let message = format!(
            "this plan makes `{}` of aws-auth unreadable, line {}: {}",
            error.section.key(),
            error.line,
            error.message
        );
        Risk::new(GuardKind::AwsAuth, message)
            .with_because("the authenticator ignores all entries of a section that it cannot parse")
            .with_help("plan again")
    };
    new_errors.map(to_risk).collect()
}

fn check_empty_aws_auth(before: &[Rc<MappedPrincipal>], after: &[Rc<MappedPrincipal>]) -> Option<Risk> {
    let count_authenticated = |principals: &[Rc<MappedPrincipal>]| {
        principals.iter().filter(|principal| principal.authentication.identities().next().is_some()).count()
    };
    let (before, after) = (count_authenticated(before), count_authenticated(after));
    (before > 0 && after == 0).then(|| {
        let message = format!(
            "applying this plan would leave no principal able to authenticate through aws-auth (currently: {before})"
        );
        Risk::new(GuardKind::AwsAuth, message).with_note(OTHER_LOGINS).with_allow_flag(AllowFlag::EmptyAwsAuth)
    })
}

fn check_last_admin(context: &GuardContext<'_, '_>) -> Option<Risk> {
    // A session of a role with a certain name is an administrator only if there is no better one: it is not known that
    // such a session can be opened.
    let principals = |access: &AccessView<'_>| access.principals().to_vec();
    let (before, after) = (principals(context.live_access), principals(context.after_access));
    find_last_admin_loss(context, &before, &after).or_else(|| {
        let sessions = |access: &AccessView<'_>| {
            let principals = access.principals_and_variants().iter();
            principals.filter(|principal| principal.variant_of.is_some()).cloned().collect::<Vec<_>>()
        };
        let all_after = context.after_access.principals_and_variants();
        find_last_admin_loss(context, &sessions(context.live_access), all_after)
    })
}

fn find_last_admin_loss(
    context: &GuardContext<'_, '_>,
    before: &[Rc<MappedPrincipal>],
    after: &[Rc<MappedPrincipal>],
) -> Option<Risk> {
    let is_admin = |access: &AccessView<'_>, principal: &MappedPrincipal| {
        !principal.authentication.identities().any(is_node_or_fargate) && access.can_repair_access(&principal.subject)
    };
    if after.iter().any(|principal| is_admin(context.after_access, principal)) {
        return None;
    }
    let admins: Vec<String> = before
        .iter()
        // A principal that became an administrator outside of rolecall does not count: the policy never made it one.
        .filter(|principal| {
            is_admin(context.live_access, principal) && !context.is_changed_in_cluster(&principal.subject)
        })
        .map(|principal| principal.subject.to_string())
        .collect();
    if admins.is_empty() {
        return None;
    }
    let mut listed: Vec<String> = admins.iter().take(MAX_LISTED_PRINCIPALS).cloned().collect();
    let more = admins.len().saturating_sub(MAX_LISTED_PRINCIPALS);
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    let noun = if admins.len() == 1 { "administrator" } else { "administrators" };
    let message = format!(
        "this plan removes the last {noun} in aws-auth ({}). No IAM principal in aws-auth could restore access afterwards.",
        listed.join(", ")
    );
    let risk = Risk::new(GuardKind::LastAdmin, message)
        .with_because("no other IAM principal in aws-auth can update the aws-auth ConfigMap and RBAC bindings")
        .with_note(OTHER_LOGINS)
        .with_help("keep at least one administrator in the policy")
        .with_allow_flag(AllowFlag::LastAdmin);
    Some(risk)
}

fn check_new_masters(context: &GuardContext<'_, '_>, after: &[Rc<MappedPrincipal>]) -> Vec<Risk> {
    let may_be_in_masters =
        |authentication: &Authentication| authentication.identities().any(Identity::may_be_in_system_masters);
    let new_members = after.iter().filter(|principal| {
        may_be_in_masters(&principal.authentication)
            && !may_be_in_masters(&context.live_access.authenticate(&principal.subject))
    });
    let to_risk = |principal: &Rc<MappedPrincipal>| {
        let identity = principal.authentication.identities().find(|identity| identity.may_be_in_system_masters());
        let name = identity
            .and_then(Identity::entry)
            .map_or_else(|| principal.subject.to_string(), |entry| entry.principal.clone());
        let message =
            format!("this plan adds {name} to {MASTERS}: full cluster access that RBAC cannot restrict or revoke");
        let mut risk = Risk::new(GuardKind::Masters, message).with_subject(&principal.subject);
        if identity.is_some_and(|identity| !identity.is_in_system_masters()) {
            risk = risk.with_because(format!("a caller can choose a session name that puts it in {MASTERS}"));
        }
        risk.with_notes(context.entry_change_note(&principal.subject))
            .with_help("bind a group of your own to cluster-admin instead; that access can be revoked")
            .with_allow_flag(AllowFlag::Masters(principal.subject.clone()))
    };
    new_members.map(to_risk).collect()
}
