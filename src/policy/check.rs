//! What one part of a policy says of another: every name is declared, and no two principals are one to the cluster.

use std::collections::BTreeMap;

use super::fault::{Fault, Faults};
use super::model::{At, Binding, BoundRole, ClusterFilter, Identity, InvariantSubject, NodeKind, Policy, Principal};
use super::scope::reached;
use super::usernames::{is_built_in_group, templates};
use crate::diagnostic::nearest;
use crate::names::AccountId;

/// A check of the whole policy.
type Check = fn(&Policy, &mut Faults);

/// All of them run, whatever the others find.
const CHECKS: [Check; 7] = [
    clusters_are_declared,
    bare_names_have_an_account,
    arns_differ,
    usernames_differ,
    memberships_are_declared,
    bindings_are_declared,
    invariants_are_declared,
];

pub(crate) fn check(policy: &Policy, faults: &mut Faults) {
    for check in CHECKS {
        check(policy, faults);
    }
}

fn clusters_are_declared(policy: &Policy, faults: &mut Faults) {
    let Policy { principals, groups, cluster_roles, roles, bindings, clusters, .. } = policy;
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

/// The account that a bare name means in a cluster.
pub(crate) fn account_of<'a>(policy: &'a Policy, cluster: Option<&str>) -> Option<&'a AccountId> {
    policy.clusters.get(cluster?).and_then(|target| target.account.as_ref())
}

fn bare_names_have_an_account(policy: &Policy, faults: &mut Faults) {
    for principal in policy.principals.values() {
        let (Identity::Role(name) | Identity::User(name)) = &principal.identity.value else {
            continue;
        };
        let clusters = reached(principal.clusters.as_deref(), &policy.clusters);
        if let Some(cluster) = clusters.into_iter().find(|cluster| account_of(policy, *cluster).is_none()) {
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
    let mut reported = std::collections::BTreeSet::new();
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
        identity => identity.arn(account_of(policy, cluster)).map(|arn| arn.key()),
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
pub(crate) fn username_of(principal: &Principal, account: Option<&AccountId>) -> Option<String> {
    if let Some((template, _)) = principal.kind.needs() {
        return Some(template.to_owned());
    }
    match &principal.username {
        Some(name) => Some(name.value.clone()),
        None => principal.identity.value.arn(account).map(|arn| arn.for_aws_auth()),
    }
}

fn usernames_differ(policy: &Policy, faults: &mut Faults) {
    let key = |principal: &Principal, cluster: Option<&str>| {
        (principal.kind == NodeKind::Person).then(|| username_of(principal, account_of(policy, cluster))).flatten()
    };
    collisions(policy, key, |one, other, username| {
        if one.1.shared_username && other.1.shared_username {
            return;
        }
        let span = |principal: &Principal| principal.username.as_ref().map_or(principal.span, |name| name.span);
        let fault = Fault::SameUsername { username, one: one.0.clone(), other: other.0.clone() };
        faults.push_with(fault, span(other.1), "", &[(span(one.1), "the same")]);
    });
}

fn undeclared<'a>(
    kind: &'static str,
    section: &str,
    name: &At<String>,
    known: impl IntoIterator<Item = &'a String>,
) -> Fault {
    let quoted = if name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        name.value.clone()
    } else {
        format!("{:?}", name.value)
    };
    Fault::Undeclared {
        kind,
        name: name.value.clone(),
        nearest: nearest(&name.value, known.into_iter().map(String::as_str)).map(str::to_owned),
        add: format!("`[{section}.{quoted}]`"),
    }
}

fn memberships_are_declared(policy: &Policy, faults: &mut Faults) {
    for group in policy.groups.values() {
        for member in &group.members {
            match policy.principals.get(&member.value) {
                None => {
                    faults.push(undeclared("principal", "principals", member, policy.principals.keys()), member.span)
                }
                Some(Principal { identity: At { value: Identity::Account(_), .. }, .. }) => {
                    faults.push(Fault::AccountInGroup { member: member.value.clone() }, member.span);
                }
                Some(_) => {}
            }
        }
    }
    for principal in policy.principals.values() {
        for group in &principal.groups {
            if !policy.groups.contains_key(&group.value) {
                faults.push(undeclared("group", "groups", group, policy.groups.keys()), group.span);
            }
        }
    }
}

fn bindings_are_declared(policy: &Policy, faults: &mut Faults) {
    for binding in policy.bindings.values() {
        for group in &binding.groups {
            if !policy.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                faults.push(undeclared("group", "groups", group, policy.groups.keys()), group.span);
            }
        }
        bound_principals(policy, binding, faults);
        bound_role(policy, binding, faults);
    }
}

fn bound_principals(policy: &Policy, binding: &Binding, faults: &mut Faults) {
    for name in &binding.principals {
        let Some(principal) = policy.principals.get(&name.value) else {
            faults.push(undeclared("principal", "principals", name, policy.principals.keys()), name.span);
            continue;
        };
        if matches!(principal.identity.value, Identity::Account(_)) {
            faults.push(Fault::BoundAccount { principal: name.value.clone() }, name.span);
            continue;
        }
        let username = username_of(principal, None).unwrap_or_default();
        if templates(&username).next().is_some() {
            faults.push(Fault::BoundTemplate { principal: name.value.clone(), username }, name.span);
        }
    }
}

/// A role that the policy does not define may be the cluster's: only a likely typo is said here, the rest by plan.
fn bound_role(policy: &Policy, binding: &Binding, faults: &mut Faults) {
    let (name, near) = match &binding.role.value {
        BoundRole::ClusterRole(name) if !policy.cluster_roles.contains_key(name) => {
            let built_in = ["cluster-admin", "admin", "edit", "view"];
            if built_in.contains(&name.as_str()) || is_built_in_group(name) {
                return;
            }
            (name, nearest(name, policy.cluster_roles.keys().map(String::as_str).chain(built_in)))
        }
        BoundRole::Role(name) if !policy.roles.contains_key(name) => {
            (name, nearest(name, policy.roles.keys().map(String::as_str)))
        }
        BoundRole::ClusterRole(_) | BoundRole::Role(_) => return,
    };
    if near.is_some() {
        let why = "is not a role of this policy, it must be one of the cluster";
        faults.push_with(Fault::Surprising { word: name.clone(), why }, binding.role.span, "", &[]);
    }
}

fn invariants_are_declared(policy: &Policy, faults: &mut Faults) {
    for invariant in &policy.invariants {
        match &invariant.subject {
            InvariantSubject::Group(group) => {
                if !policy.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                    faults.push(undeclared("group", "groups", group, policy.groups.keys()), group.span);
                }
            }
            InvariantSubject::Principal(name) => {
                if !policy.principals.contains_key(&name.value) {
                    faults.push(undeclared("principal", "principals", name, policy.principals.keys()), name.span);
                }
            }
            InvariantSubject::EveryoneBut(names) => {
                for name in names {
                    let known = policy.principals.contains_key(&name.value)
                        || policy.groups.contains_key(&name.value)
                        || is_built_in_group(&name.value)
                        || name.value.contains([':', '/']);
                    if !known {
                        let all = policy.principals.keys().chain(policy.groups.keys());
                        faults.push(undeclared("principal or group", "principals", name, all), name.span);
                    }
                }
            }
            InvariantSubject::User(_) | InvariantSubject::ServiceAccount(_) => {}
        }
    }
}
