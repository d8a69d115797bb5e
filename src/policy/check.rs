//! What one part of a policy says of another: every name is declared, and no two principals are one to the cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Faults};
use super::model::{
    At, Binding, BoundRole, ClusterFilter, Home, Identity, InvariantSubject, NodeKind, Policy, Principal,
};
use super::reach::{bound_roles_are_there, partitions_fit, references_meet};
use super::scope::reached;
use super::table::quoted;
use super::usernames::{is_built_in_group, is_of_session, reserved_group, templates};
use crate::diagnostic::{Span, nearest};
use crate::names::{PrincipalKind, reserved_prefix};

/// Every name that is defined, also where its definition is at fault: what names it is right.
#[derive(Debug, Default)]
pub(crate) struct Defined {
    pub(crate) clusters: BTreeMap<String, Span>,
    pub(crate) principals: BTreeMap<String, Span>,
    pub(crate) groups: BTreeMap<String, Span>,
    pub(crate) cluster_roles: BTreeMap<String, Span>,
    pub(crate) roles: BTreeMap<String, Span>,
}

/// References from one part of a policy to another.
type Reference = fn(&Policy, &Defined, &mut Faults);
/// What must hold cluster by cluster.
type InClusters = fn(&Policy, &mut Faults);

const REFERENCES: [Reference; 4] =
    [clusters_are_declared, memberships_are_declared, bindings_are_declared, invariants_are_declared];
const IN_CLUSTERS: [InClusters; 6] =
    [bare_names_have_an_account, arns_differ, usernames_differ, references_meet, bound_roles_are_there, partitions_fit];

/// All of them run, whatever the others find; what a cluster at fault would say is not asked.
pub(crate) fn check(policy: &Policy, defined: &Defined, faults: &mut Faults) {
    for check in REFERENCES {
        check(policy, defined, faults);
    }
    if defined.clusters.len() == policy.clusters.len() {
        for check in IN_CLUSTERS {
            check(policy, faults);
        }
    }
}

fn clusters_are_declared(policy: &Policy, defined: &Defined, faults: &mut Faults) {
    let Policy { principals, groups, cluster_roles, roles, bindings, .. } = policy;
    let clusters = &defined.clusters;
    let filters: Vec<&ClusterFilter> = principals
        .values()
        .map(|item| &item.clusters)
        .chain(groups.values().map(|item| &item.clusters))
        .chain(cluster_roles.values().map(|item| &item.clusters))
        .chain(roles.values().map(|item| &item.clusters))
        .chain(bindings.values().map(|item| &item.clusters))
        .collect();
    for name in filters.into_iter().flatten().flatten() {
        if !clusters.contains_key(&name.value) {
            let fault = Fault::UnknownCluster {
                cluster: name.value.clone(),
                nearest: nearest(&name.value, clusters.keys().map(String::as_str)).map(str::to_owned),
            };
            faults.push(fault, name.span);
        }
    }
}

/// Where bare names are at home in a cluster.
pub(crate) fn home_of<'a>(policy: &'a Policy, cluster: Option<&str>) -> Home<'a> {
    let target = cluster.and_then(|name| policy.clusters.get(name));
    target.map_or_else(Home::default, |target| Home { account: target.account.as_ref(), partition: target.partition })
}

fn bare_names_have_an_account(policy: &Policy, faults: &mut Faults) {
    for principal in policy.principals.values() {
        let (Identity::Role(name) | Identity::User(name)) = &principal.identity.value else {
            continue;
        };
        let clusters = reached(principal.clusters.as_deref(), &policy.clusters);
        if let Some(cluster) = clusters.into_iter().find(|cluster| home_of(policy, *cluster).account.is_none()) {
            let fault = Fault::NoAccount { name: name.clone(), cluster: cluster.map(str::to_owned) };
            faults.push(fault, principal.identity.span);
        }
    }
}

/// Finds the first two principals of one cluster that have the same key.
fn collisions<'a>(
    policy: &'a Policy,
    key: impl Fn(&Principal, Option<&str>) -> Option<String>,
    mut report: impl FnMut((&'a String, &'a Principal), (&'a String, &'a Principal), String),
) {
    let no_cluster = [None];
    let clusters: Vec<Option<&str>> = policy.clusters.keys().map(|name| Some(name.as_str())).collect();
    let clusters = if clusters.is_empty() { &no_cluster[..] } else { &clusters };
    let mut reported = BTreeSet::new();
    for cluster in clusters {
        let mut seen: BTreeMap<String, (&String, &Principal)> = BTreeMap::new();
        for item in &policy.principals {
            if !super::scope::is_for(item.1.clusters.as_deref(), *cluster) {
                continue;
            }
            let Some(key) = key(item.1, *cluster) else { continue };
            match seen.get(&key) {
                Some(first) if reported.insert((first.0, item.0)) => report(*first, item, key),
                Some(_) => {}
                None => {
                    seen.insert(key, item);
                }
            }
        }
    }
}

fn arns_differ(policy: &Policy, faults: &mut Faults) {
    let key = |principal: &Principal, cluster: Option<&str>| match &principal.identity.value {
        Identity::Account(id) => Some(id.to_string()),
        identity => identity.arn(home_of(policy, cluster)).map(|arn| arn.key()),
    };
    collisions(policy, key, |one, other, key| {
        let fault = Fault::SameArn {
            word: if key.starts_with("arn:") { "principal" } else { "account" },
            one: one.0.clone(),
            other: other.0.clone(),
        };
        faults.push_with(fault, other.1.identity.span, &key, &[(one.1.identity.span, "the same")]);
    });
}

/// The username that a principal has in a cluster; a whole account has none of its own.
pub(crate) fn username_of(principal: &Principal, home: Home<'_>) -> Option<String> {
    if let Some((template, _)) = principal.kind.needs() {
        return Some(template.to_owned());
    }
    match &principal.username {
        Some(name) => Some(name.value.clone()),
        None => principal.identity.value.arn(home).map(|arn| arn.for_aws_auth()),
    }
}

fn usernames_differ(policy: &Policy, faults: &mut Faults) {
    let key = |principal: &Principal, cluster: Option<&str>| {
        (principal.kind == NodeKind::Person).then(|| username_of(principal, home_of(policy, cluster))).flatten()
    };
    collisions(policy, key, |one, other, username| {
        if one.1.shared_username && other.1.shared_username {
            return;
        }
        let place = |principal: &Principal| match &principal.username {
            Some(name) => (name.span, "here"),
            None => (principal.span, "by default: its ARN"),
        };
        let fault = Fault::SameUsername { username, one: one.0.clone(), other: other.0.clone() };
        let ((span, label), first) = (place(other.1), place(one.1));
        faults.push_with(fault, span, label, &[first]);
    });
}

fn undeclared<'a>(
    kind: &'static str,
    section: &str,
    name: &At<String>,
    known: impl IntoIterator<Item = &'a String>,
) -> Fault {
    Fault::Undeclared {
        kind,
        name: name.value.clone(),
        nearest: nearest(&name.value, known.into_iter().map(String::as_str)).map(str::to_owned),
        add: format!("`[{section}.{}]`", quoted(&name.value)),
    }
}

fn memberships_are_declared(policy: &Policy, defined: &Defined, faults: &mut Faults) {
    for group in policy.groups.values() {
        for member in &group.members {
            match policy.principals.get(&member.value) {
                None if defined.principals.contains_key(&member.value) => {}
                None => {
                    faults.push(undeclared("principal", "principals", member, defined.principals.keys()), member.span);
                }
                Some(Principal { identity: At { value: Identity::Account(_), .. }, .. }) => {
                    faults.push(Fault::AccountInGroup { member: member.value.clone() }, member.span);
                }
                Some(_) => {}
            }
        }
    }
    for (_, group) in policy.groups.iter().filter(|(name, _)| is_of_session(name)) {
        for member in group.members.iter().filter(|member| is_user(policy, &member.value)) {
            faults.push_with(Fault::SessionOfUser, member.span, "", &[(group.span, "declared here")]);
        }
    }
    for (name, principal) in &policy.principals {
        for group in &principal.groups {
            if let Some(found) = policy.groups.get(&group.value) {
                if is_of_session(&group.value) && is_user(policy, name) {
                    faults.push_with(Fault::SessionOfUser, group.span, "", &[(found.span, "declared here")]);
                }
            } else if let Some(why) = reserved_group(&group.value) {
                faults.push(Fault::ReservedGroup { name: group.value.clone(), why }, group.span);
            } else {
                faults.push(undeclared("group", "groups", group, defined.groups.keys()), group.span);
            }
        }
    }
}

fn is_user(policy: &Policy, principal: &str) -> bool {
    policy.principals.get(principal).is_some_and(|principal| match &principal.identity.value {
        Identity::User(_) => true,
        Identity::Arn(arn) => arn.kind() == PrincipalKind::User,
        Identity::Role(_) | Identity::Sso { .. } | Identity::Account(_) => false,
    })
}

fn bindings_are_declared(policy: &Policy, defined: &Defined, faults: &mut Faults) {
    for binding in policy.bindings.values() {
        for group in &binding.groups {
            if !defined.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                faults.push(undeclared("group", "groups", group, defined.groups.keys()), group.span);
            }
        }
        for (kind, names) in [("group", &binding.groups), ("user", &binding.users)] {
            for name in names.iter().filter(|name| templates(&name.value).next().is_some()) {
                faults.push(Fault::BoundTemplateName { kind, name: name.value.clone() }, name.span);
            }
        }
        bound_principals(policy, defined, binding, faults);
        bound_role(defined, binding, faults);
    }
}

fn bound_principals(policy: &Policy, defined: &Defined, binding: &Binding, faults: &mut Faults) {
    for name in &binding.principals {
        let Some(principal) = policy.principals.get(&name.value) else {
            if !defined.principals.contains_key(&name.value) {
                faults.push(undeclared("principal", "principals", name, defined.principals.keys()), name.span);
            }
            continue;
        };
        if matches!(principal.identity.value, Identity::Account(_)) {
            faults.push(Fault::BoundAccount { principal: name.value.clone() }, name.span);
            continue;
        }
        let username = username_of(principal, Home::default()).unwrap_or_default();
        if templates(&username).next().is_some() {
            faults.push(Fault::BoundTemplate { principal: name.value.clone(), username }, name.span);
        }
    }
}

/// A role that the policy does not define may be the cluster's: only a likely typo is said here, the rest by plan.
fn bound_role(defined: &Defined, binding: &Binding, faults: &mut Faults) {
    let (kind, name, near) = match &binding.role.value {
        BoundRole::ClusterRole(name) if !defined.cluster_roles.contains_key(name) => {
            let built_in = crate::state::owner::DEFAULT_CLUSTER_ROLES;
            if built_in.contains(&name.as_str()) || reserved_prefix(name).is_some() {
                return;
            }
            ("ClusterRole", name, nearest(name, defined.cluster_roles.keys().map(String::as_str).chain(built_in)))
        }
        BoundRole::Role(name) if !defined.roles.contains_key(name) => {
            ("Role", name, nearest(name, defined.roles.keys().map(String::as_str)))
        }
        BoundRole::ClusterRole(_) | BoundRole::Role(_) => return,
    };
    if let Some(near) = near {
        let fault = Fault::NotOurs { kind, name: name.clone(), nearest: near.to_owned() };
        faults.push(fault, binding.role.span);
    }
}

fn invariants_are_declared(policy: &Policy, defined: &Defined, faults: &mut Faults) {
    for invariant in &policy.invariants {
        match &invariant.subject {
            InvariantSubject::Group(group) => {
                if !defined.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                    faults.push(undeclared("group", "groups", group, defined.groups.keys()), group.span);
                }
            }
            InvariantSubject::Principal(name) => {
                if !defined.principals.contains_key(&name.value) {
                    faults.push(undeclared("principal", "principals", name, defined.principals.keys()), name.span);
                }
            }
            InvariantSubject::EveryoneBut(names) => {
                for name in names {
                    let known = defined.principals.contains_key(&name.value)
                        || defined.groups.contains_key(&name.value)
                        || is_built_in_group(&name.value)
                        || name.value.contains([':', '/']);
                    if !known {
                        let all = defined.principals.keys().chain(defined.groups.keys());
                        faults.push(undeclared("principal or group", "principals", name, all), name.span);
                    }
                }
            }
            InvariantSubject::User(_) | InvariantSubject::ServiceAccount(_) => {}
        }
    }
}
