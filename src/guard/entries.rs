//! aws-auth as it is in force before and after: the protected, the first masters and the last admin, and whether
//! anybody is left.

use std::rc::Rc;

use super::allowance::Allowance;
use super::danger::{Danger, Guard, regions};
use super::nodes::is_machine;
use super::scene::Scene;
use crate::access::{Access, Admission, Identity, MASTERS, Principal, Region, Who};
use crate::names::Pattern;

/// Principals named one by one.
const NAMED: usize = 3;

pub(super) fn dangers(scene: &Scene<'_, '_>) -> Vec<Danger> {
    let mut found = protected(scene);
    found.extend(unreadable(scene));
    let (was, is) = (scene.was.principals(), scene.is.principals());
    found.extend(emptied(was, is));
    found.extend(last_admin(scene, was, is));
    found.extend(masters(scene, is));
    found
}

fn protected(scene: &Scene<'_, '_>) -> Vec<Danger> {
    let limits = &scene.plan.limits.protected;
    if limits.is_empty() {
        return Vec::new();
    }
    // Case does not count to the authenticator.
    let patterns: Vec<Pattern> = limits.iter().map(|limit| Pattern::new(&limit.value.to_lowercase())).collect();
    let mut found = Vec::new();
    for principal in scene.was.principals() {
        let Who::Arn(caller) = &principal.who else {
            continue;
        };
        let key = caller.key();
        let limit = patterns.iter().zip(limits).find(|(pattern, _)| pattern.matches(&key));
        if let Some((_, limit)) = limit
            && let Some((so, entry)) = shrinks(scene, principal)
        {
            let message = format!("{} is protected, and {so}", entry.unwrap_or_else(|| principal.who.to_string()));
            let danger = Danger::new(Guard::Protected, message)
                .of(&principal.who)
                .hint(format!("{} protects it", limit.place))
                .hint(scene.said(&principal.who));
            found.push(danger.unless(Allowance::Remove(principal.who.clone())));
        }
    }
    found
}

/// What a principal loses, and by which entry it had it.
fn shrinks(scene: &Scene<'_, '_>, principal: &Principal) -> Option<(String, Option<String>)> {
    let now = scene.is.admit(&principal.who);
    let before: Vec<&Identity> = principal.admission.identities().collect();
    let entry = before.iter().find_map(|one| one.entry()).map(|entry| format!("the aws-auth entry {entry}"));
    let after: Vec<&Identity> = now.identities().collect();
    if !before.is_empty() && (after.is_empty() || denies_more(&principal.admission, &now)) {
        let so = if after.is_empty() { "would not be let in any more" } else { "would be let in by chance alone" };
        return Some((so.to_owned(), entry));
    }
    let same = before == after;
    for was in before {
        for is in after.iter().filter(|is| !same || **is == was) {
            if let Some(so) = loss(scene, was, is) {
                return Some((so, entry));
            }
        }
    }
    None
}

/// Whether logins fail by chance that did not before.
fn denies_more(was: &Admission, is: &Admission) -> bool {
    let denials = |admission: &Admission| match admission {
        Admission::As(_) | Admission::Denied(_) => 0,
        Admission::ByChance(logins) => logins.iter().filter(|login| login.is_err()).count(),
    };
    denials(is) > denials(was)
}

fn loss(scene: &Scene<'_, '_>, was: &Identity, is: &Identity) -> Option<String> {
    let is_his = |group: &&crate::access::Name| !is.groups.contains(group);
    let groups: Vec<String> = was.groups.iter().filter(is_his).map(ToString::to_string).collect();
    let change = scene.was.change_to(was, scene.is, is);
    let lost: Vec<Region<'_>> = change.lost.iter().map(|part| part.region.clone()).collect();
    let mut words = Vec::new();
    if !groups.is_empty() {
        words.push(format!("would not be in {} any more", groups.join(", ")));
    }
    if !lost.is_empty() {
        words.push(format!("would lose {}", regions(&lost)));
    }
    (!words.is_empty()).then(|| words.join(", and "))
}

/// A section that could be read, and cannot be after: no word says yes to that.
fn unreadable(scene: &Scene<'_, '_>) -> Vec<Danger> {
    let was = &scene.was.mapping.unreadable;
    let new = scene.is.mapping.unreadable.iter().filter(|error| !was.iter().any(|one| one.section == error.section));
    let danger = |error: &crate::state::aws_auth::SectionError| {
        let message = format!(
            "`{}` of aws-auth could not be read any more, line {}: {}",
            error.section.key(),
            error.line,
            error.message
        );
        Danger::new(Guard::AwsAuth, message).hint("the authenticator would map nobody of it; plan again")
    };
    new.map(danger).collect()
}

fn emptied(was: &[Rc<Principal>], is: &[Rc<Principal>]) -> Option<Danger> {
    let let_in = |all: &[Rc<Principal>]| all.iter().filter(|one| one.admission.identities().next().is_some()).count();
    let (before, after) = (let_in(was), let_in(is));
    (before > 0 && after == 0).then(|| {
        let message =
            format!("aws-auth would let nobody in any more: {before} had an entry in force, and none would have one");
        Danger::new(Guard::AwsAuth, message)
            .hint("what is left are the cluster's creator, access entries and certificates")
            .unless(Allowance::EmptyAwsAuth)
    })
}

fn last_admin(scene: &Scene<'_, '_>, was: &[Rc<Principal>], is: &[Rc<Principal>]) -> Option<Danger> {
    let admin = |access: &Access<'_>, principal: &Principal| {
        !principal.admission.identities().any(is_machine) && access.can_repair(&principal.who)
    };
    if is.iter().any(|principal| admin(scene.is, principal)) {
        return None;
    }
    let before: Vec<String> = was
        .iter()
        // Whom somebody made an admin behind the policy's back was none before that.
        .filter(|principal| admin(scene.was, principal) && !scene.changed_live(&principal.who))
        .map(|principal| principal.who.to_string())
        .collect();
    if before.is_empty() {
        return None;
    }
    let more = before.len().saturating_sub(NAMED);
    let named: Vec<String> = before.iter().take(NAMED).cloned().collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "nobody of aws-auth could repair access any more: of those who may write aws-auth and bindings, {}{more}, none is left",
        named.join(", ")
    );
    Some(
        Danger::new(Guard::LastAdmin, message)
            .hint(
                "what is left are the cluster's creator, access entries and certificates: keep one admin in the policy",
            )
            .unless(Allowance::LastAdmin),
    )
}

fn masters(scene: &Scene<'_, '_>, is: &[Rc<Principal>]) -> Vec<Danger> {
    let may_be = |admission: &Admission| admission.identities().any(Identity::may_be_master);
    let new = is.iter().filter(|principal| may_be(&principal.admission) && !may_be(&scene.was.admit(&principal.who)));
    new.map(|principal| {
        let entry = principal.admission.identities().find(|identity| identity.may_be_master());
        let name =
            entry.and_then(Identity::entry).map_or_else(|| principal.who.to_string(), |one| one.principal.clone());
        let how = match entry.filter(|identity| !identity.is_master()) {
            Some(_) => format!(": whoever names the session so is in {MASTERS}"),
            None => String::new(),
        };
        let message = format!("{name} would become {MASTERS}, which may do everything and which no RBAC limits{how}");
        Danger::new(Guard::Masters, message)
            .of(&principal.who)
            .hint(scene.said(&principal.who))
            .hint("bind a group of your own to cluster-admin in its place: that can be taken away again")
            .unless(Allowance::Masters(principal.who.clone()))
    })
    .collect()
}
