//! aws-auth as it is in force before and after: the protected, the first masters and the last admin, and whether
//! anybody is left.

use std::rc::Rc;

use super::allow_flag::AllowFlag;
use super::context::GuardContext;
use super::nodes::is_node_or_fargate;
use super::risk::{GuardKind, Risk, format_request_sets};
use crate::access::{AccessView, Authentication, Identity, MASTERS, MappedPrincipal, RequestSetExcept, SubjectQuery};
use crate::names::WildcardPattern;

/// Principals named one by one.
const MAX_LISTED_PRINCIPALS: usize = 3;

pub(super) fn find_risks(scene: &GuardContext<'_, '_>) -> Vec<Risk> {
    let mut found = check_protected(scene);
    found.extend(check_unreadable_sections(scene));
    let (was, is) = (scene.live_access.principals(), scene.after_access.principals());
    found.extend(check_empty_aws_auth(was, is));
    found.extend(check_last_admin(scene, was, is));
    found.extend(check_new_masters(scene, is));
    found
}

fn check_protected(scene: &GuardContext<'_, '_>) -> Vec<Risk> {
    let limits = &scene.plan.limits.protected;
    if limits.is_empty() {
        return Vec::new();
    }
    // Case does not count to the authenticator.
    let patterns: Vec<WildcardPattern> =
        limits.iter().map(|limit| WildcardPattern::new(&limit.value.to_lowercase())).collect();
    let mut found = Vec::new();
    for principal in scene.live_access.principals() {
        let SubjectQuery::Arn(caller) = &principal.subject else {
            continue;
        };
        let key = caller.comparison_key();
        let limit = patterns.iter().zip(limits).find(|(pattern, _)| pattern.matches(&key));
        if let Some((_, limit)) = limit
            && let Some((so, entry)) = describe_principal_loss(scene, principal)
        {
            let message = format!("{} is protected, and {so}", entry.unwrap_or_else(|| principal.subject.to_string()));
            let danger = Risk::new(GuardKind::Protected, message)
                .with_subject(&principal.subject)
                .with_help(format!("{} protects it", limit.location))
                .with_help(scene.entry_change_hint(&principal.subject));
            found.push(danger.with_allow_flag(AllowFlag::Remove(principal.subject.clone())));
        }
    }
    found
}

/// What a principal loses, and by which entry it had it.
fn describe_principal_loss(
    scene: &GuardContext<'_, '_>,
    principal: &MappedPrincipal,
) -> Option<(String, Option<String>)> {
    let now = scene.after_access.authenticate(&principal.subject);
    let before: Vec<&Identity> = principal.authentication.identities().collect();
    let entry = before.iter().find_map(|one| one.entry()).map(|entry| format!("the aws-auth entry {entry}"));
    let after: Vec<&Identity> = now.identities().collect();
    if !before.is_empty() && (after.is_empty() || has_more_denials(&principal.authentication, &now)) {
        let so = if after.is_empty() { "would not be let in any more" } else { "would be let in by chance alone" };
        return Some((so.to_owned(), entry));
    }
    let same = before == after;
    for was in before {
        for is in after.iter().filter(|is| !same || **is == was) {
            if let Some(so) = describe_identity_loss(scene, was, is) {
                return Some((so, entry));
            }
        }
    }
    None
}

/// Whether logins fail by chance that did not before.
fn has_more_denials(was: &Authentication, is: &Authentication) -> bool {
    let denials = |admission: &Authentication| match admission {
        Authentication::Identity(_) | Authentication::Denied(_) => 0,
        Authentication::Ambiguous(logins) => logins.iter().filter(|login| login.is_err()).count(),
    };
    denials(is) > denials(was)
}

fn describe_identity_loss(scene: &GuardContext<'_, '_>, was: &Identity, is: &Identity) -> Option<String> {
    let is_his = |group: &&crate::access::RenderedName| !is.groups.contains(group);
    let groups: Vec<String> = was.groups.iter().filter(is_his).map(ToString::to_string).collect();
    let change = scene.live_access.diff_identity(was, scene.after_access, is);
    let lost: Vec<RequestSetExcept<'_>> = change.lost.iter().map(|part| part.requests.clone()).collect();
    let mut words = Vec::new();
    if !groups.is_empty() {
        words.push(format!("would not be in {} any more", groups.join(", ")));
    }
    if !lost.is_empty() {
        words.push(format!("would lose {}", format_request_sets(&lost)));
    }
    (!words.is_empty()).then(|| words.join(", and "))
}

/// A section that could be read, and cannot be after: no word says yes to that.
fn check_unreadable_sections(scene: &GuardContext<'_, '_>) -> Vec<Risk> {
    let was = &scene.live_access.mapping.unreadable;
    let new = scene
        .after_access
        .mapping
        .unreadable
        .iter()
        .filter(|error| !was.iter().any(|one| one.section == error.section));
    let danger = |error: &crate::state::aws_auth::SectionError| {
        let message = format!(
            "`{}` of aws-auth could not be read any more, line {}: {}",
            error.section.key(),
            error.line,
            error.message
        );
        Risk::new(GuardKind::AwsAuth, message).with_help("the authenticator would map nobody of it; plan again")
    };
    new.map(danger).collect()
}

fn check_empty_aws_auth(was: &[Rc<MappedPrincipal>], is: &[Rc<MappedPrincipal>]) -> Option<Risk> {
    let let_in =
        |all: &[Rc<MappedPrincipal>]| all.iter().filter(|one| one.authentication.identities().next().is_some()).count();
    let (before, after) = (let_in(was), let_in(is));
    (before > 0 && after == 0).then(|| {
        let message =
            format!("aws-auth would let nobody in any more: {before} had an entry in force, and none would have one");
        Risk::new(GuardKind::AwsAuth, message)
            .with_help("what is left are the cluster's creator, access entries and certificates")
            .with_allow_flag(AllowFlag::EmptyAwsAuth)
    })
}

fn check_last_admin(
    scene: &GuardContext<'_, '_>,
    was: &[Rc<MappedPrincipal>],
    is: &[Rc<MappedPrincipal>],
) -> Option<Risk> {
    let admin = |access: &AccessView<'_>, principal: &MappedPrincipal| {
        !principal.authentication.identities().any(is_node_or_fargate) && access.can_repair_access(&principal.subject)
    };
    if is.iter().any(|principal| admin(scene.after_access, principal)) {
        return None;
    }
    let before: Vec<String> = was
        .iter()
        // Whom somebody made an admin behind the policy's back was none before that.
        .filter(|principal| admin(scene.live_access, principal) && !scene.is_changed_in_cluster(&principal.subject))
        .map(|principal| principal.subject.to_string())
        .collect();
    if before.is_empty() {
        return None;
    }
    let more = before.len().saturating_sub(MAX_LISTED_PRINCIPALS);
    let named: Vec<String> = before.iter().take(MAX_LISTED_PRINCIPALS).cloned().collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "nobody of aws-auth could repair access any more: of those who may write aws-auth and bindings, {}{more}, none is left",
        named.join(", ")
    );
    Some(
        Risk::new(GuardKind::LastAdmin, message)
            .with_help(
                "what is left are the cluster's creator, access entries and certificates: keep one admin in the policy",
            )
            .with_allow_flag(AllowFlag::LastAdmin),
    )
}

fn check_new_masters(scene: &GuardContext<'_, '_>, is: &[Rc<MappedPrincipal>]) -> Vec<Risk> {
    let may_be = |admission: &Authentication| admission.identities().any(Identity::may_be_in_system_masters);
    let new = is.iter().filter(|principal| {
        may_be(&principal.authentication) && !may_be(&scene.live_access.authenticate(&principal.subject))
    });
    new.map(|principal| {
        let entry = principal.authentication.identities().find(|identity| identity.may_be_in_system_masters());
        let name =
            entry.and_then(Identity::entry).map_or_else(|| principal.subject.to_string(), |one| one.principal.clone());
        let how = match entry.filter(|identity| !identity.is_in_system_masters()) {
            Some(_) => format!(": whoever names the session so is in {MASTERS}"),
            None => String::new(),
        };
        let message = format!("{name} would become {MASTERS}, which may do everything and which no RBAC limits{how}");
        Risk::new(GuardKind::Masters, message)
            .with_subject(&principal.subject)
            .with_help(scene.entry_change_hint(&principal.subject))
            .with_help("bind a group of your own to cluster-admin in its place: that can be taken away again")
            .with_allow_flag(AllowFlag::Masters(principal.subject.clone()))
    })
    .collect()
}
