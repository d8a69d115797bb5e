//! Warns of sessions that can take a name that the policy gives to others: a username or group with placeholders that
//! renders to the name of another user or group for some session.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{arn_defaults, username_of};
use super::clusters::applies_to_cluster;
use super::error::{Diagnostics, PolicyError};
use super::model::Policy;
use super::principal_spec::{EntryType, PrincipalSpec};
use crate::access::{IamIdentity, sessions_rendering};
use crate::diagnostic::Span;

/// The number of names of which the warning about one template tells.
const MAX_NAMES: usize = 5;

/// A name that the policy uses, and where.
type UsedNames = BTreeMap<String, (Span, &'static str)>;

pub(super) fn check_session_names(policy: &Policy, diagnostics: &mut Diagnostics) {
    let clusters: Vec<Option<&str>> = if policy.clusters.is_empty() {
        vec![None]
    } else {
        policy.clusters.keys().map(|name| Some(name.as_str())).collect()
    };
    let mut reported: BTreeSet<(Span, String)> = BTreeSet::new();
    for cluster in clusters {
        let (users, groups) = used_names(policy, cluster);
        let defaults = arn_defaults(policy, cluster);
        for (name, principal) in &policy.principals {
            let arn = principal.identity.value.resolve_arn(defaults).map(|arn| arn.to_aws_auth());
            let identity = arn.and_then(|arn| IamIdentity::parse(&arn).ok());
            let Some(identity) = identity.filter(|_| applies_to_cluster(principal.clusters.as_deref(), cluster)) else {
                continue;
            };
            let mut templates: Vec<(&str, Span, &UsedNames)> = Vec::new();
            if let Some(username) = principal.username.as_ref().filter(|_| principal.kind == EntryType::Standard) {
                templates.push((&username.value, username.span, &users));
            }
            for group in groups_of(policy, name, principal, cluster) {
                templates.push((group.0, group.1, &groups));
            }
            for (template, span, used) in templates.into_iter().filter(|(template, ..)| template.contains("{{")) {
                let taken = used.iter().filter(|(name, _)| *name != template).filter_map(|(name, place)| {
                    let sessions = sessions_rendering(template, identity.account(), name);
                    sessions
                        .first()
                        .filter(|session| !session.is_any())
                        .map(|session| (name, place, session.to_string()))
                });
                for (name, (place, label), sessions) in taken.take(MAX_NAMES) {
                    if reported.insert((span, name.clone())) {
                        let error = PolicyError::SessionTakesName { name: name.clone(), sessions };
                        diagnostics.push_labeled(error, span, "", &[(*place, label)]);
                    }
                }
            }
        }
    }
}

/// Returns the users and the groups that bindings and other items of the policy name.
fn used_names(policy: &Policy, cluster: Option<&str>) -> (UsedNames, UsedNames) {
    let (mut users, mut groups) = (UsedNames::new(), UsedNames::new());
    for binding in policy.bindings.values() {
        if applies_to_cluster(binding.clusters.as_deref(), cluster) {
            users.extend(binding.users.iter().map(|user| (user.value.clone(), (user.span, "bound here"))));
            groups.extend(binding.groups.iter().map(|group| (group.value.clone(), (group.span, "bound here"))));
        }
    }
    for (name, group) in &policy.groups {
        if applies_to_cluster(group.clusters.as_deref(), cluster) {
            groups.entry(name.clone()).or_insert((group.span, "declared here"));
        }
    }
    for principal in policy.principals.values() {
        if principal.kind == EntryType::Standard
            && applies_to_cluster(principal.clusters.as_deref(), cluster)
            && let Some(username) = username_of(principal, arn_defaults(policy, cluster))
        {
            let span = principal.username.as_ref().map_or(principal.span, |username| username.span);
            users.entry(username).or_insert((span, "the username of another principal"));
        }
    }
    (users, groups)
}

/// Returns the groups of a principal, each with the place that names it.
fn groups_of<'p>(
    policy: &'p Policy,
    name: &str,
    principal: &'p PrincipalSpec,
    cluster: Option<&str>,
) -> Vec<(&'p str, Span)> {
    let own = principal.groups.iter().map(|group| (group.value.as_str(), group.span));
    let declared = policy.groups.iter().filter(|(_, group)| applies_to_cluster(group.clusters.as_deref(), cluster));
    let member_of = declared.filter_map(|(group, spec)| {
        let member = spec.members.iter().find(|member| member.value == *name)?;
        Some((group.as_str(), member.span))
    });
    own.chain(member_of).collect()
}
