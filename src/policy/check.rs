//! Checks across the items of a policy: references are declared, and principals are distinct in each cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::access_entries::check_access_entries;
use super::cluster_filters::{check_bound_roles, check_common_clusters, check_partitions};
use super::clusters::{applies_to_cluster, selected_clusters};
use super::error::{Diagnostics, PolicyError};
use super::model::{ArnDefaults, BindingSpec, ClusterFilter, InvariantSubjectSpec, Located, Policy, RoleRefSpec};
use super::principal_spec::{EntryType, IdentitySpec, PrincipalSpec};
use super::session_names::check_session_names;
use super::table::quote_key;
use super::usernames::{find_templates, has_session_template, is_built_in_group, reserved_group_error};
use crate::diagnostic::{Span, closest_match};
use crate::names::{AccountId, Arn, ArnError, PrincipalKind, is_dns_label, is_dns_subdomain, reserved_prefix};

/// All names that are defined, including those of items with errors, so that a reference to such an item is not
/// reported as undeclared.
#[derive(Debug, Default)]
pub(crate) struct DefinedNames {
    pub(crate) clusters: BTreeMap<String, Span>,
    pub(crate) principals: BTreeMap<String, Span>,
    pub(crate) groups: BTreeMap<String, Span>,
    pub(crate) cluster_roles: BTreeMap<String, Span>,
    pub(crate) roles: BTreeMap<String, Span>,
}

/// A check of references between items.
type ReferenceCheck = fn(&Policy, &DefinedNames, &mut Diagnostics);
/// A check for each cluster.
type ClusterCheck = fn(&Policy, &mut Diagnostics);

const REFERENCE_CHECKS: [ReferenceCheck; 4] =
    [check_cluster_filters, check_group_memberships, check_binding_references, check_invariant_subjects];
const CLUSTER_CHECKS: [ClusterCheck; 8] = [
    check_bare_names,
    check_unique_arns,
    check_unique_usernames,
    check_session_names,
    check_common_clusters,
    check_bound_roles,
    check_partitions,
    check_access_entries,
];

/// Runs all checks. The checks for each cluster are skipped if a cluster has errors, since they would report errors
/// that only follow from those.
pub(crate) fn check_policy(policy: &Policy, defined: &DefinedNames, diagnostics: &mut Diagnostics) {
    for check in REFERENCE_CHECKS {
        check(policy, defined, diagnostics);
    }
    if defined.clusters.len() == policy.clusters.len() {
        for check in CLUSTER_CHECKS {
            check(policy, diagnostics);
        }
    }
}

fn check_cluster_filters(policy: &Policy, defined: &DefinedNames, diagnostics: &mut Diagnostics) {
    let Policy { principals, groups, cluster_roles, roles, bindings, invariants, .. } = policy;
    let clusters = &defined.clusters;
    let filters: Vec<&ClusterFilter> = principals
        .values()
        .map(|item| &item.clusters)
        .chain(groups.values().map(|item| &item.clusters))
        .chain(cluster_roles.values().map(|item| &item.clusters))
        .chain(roles.values().map(|item| &item.clusters))
        .chain(bindings.values().map(|item| &item.clusters))
        .chain(invariants.iter().map(|item| &item.clusters))
        .collect();
    for name in filters.into_iter().flatten().flatten() {
        if !clusters.contains_key(&name.value) {
            let error = PolicyError::UnknownCluster {
                cluster: name.value.clone(),
                nearest: closest_match(&name.value, clusters.keys().map(String::as_str)).map(str::to_owned),
            };
            diagnostics.push(error, name.span);
        }
    }
}

/// Returns what bare names are completed with in a cluster.
pub(crate) fn arn_defaults<'a>(policy: &'a Policy, cluster: Option<&str>) -> ArnDefaults<'a> {
    let target = cluster.and_then(|name| policy.clusters.get(name));
    target.map_or_else(ArnDefaults::default, |target| ArnDefaults {
        account: target.account.as_ref(),
        partition: target.partition,
    })
}

fn check_bare_names(policy: &Policy, diagnostics: &mut Diagnostics) {
    for principal in policy.principals.values() {
        let (IdentitySpec::Role(name) | IdentitySpec::User(name)) = &principal.identity.value else {
            continue;
        };
        let clusters = selected_clusters(principal.clusters.as_deref(), &policy.clusters);
        if let Some(cluster) = clusters.into_iter().find(|cluster| arn_defaults(policy, *cluster).account.is_none()) {
            let error = PolicyError::NoAccount { name: name.clone(), cluster: cluster.map(str::to_owned) };
            diagnostics.push(error, principal.identity.span);
        }
    }
}

/// Reports each principal that has the same key as an earlier principal of the same cluster, once for all clusters.
fn find_collisions<'a>(
    policy: &'a Policy,
    key: impl Fn(&PrincipalSpec, Option<&str>) -> Option<String>,
    mut report: impl FnMut((&'a String, &'a PrincipalSpec), (&'a String, &'a PrincipalSpec), String),
) {
    let no_cluster = [None];
    let clusters: Vec<Option<&str>> = policy.clusters.keys().map(|name| Some(name.as_str())).collect();
    let clusters = if clusters.is_empty() { &no_cluster[..] } else { &clusters };
    let mut reported = BTreeSet::new();
    for cluster in clusters {
        let mut seen: BTreeMap<String, (&String, &PrincipalSpec)> = BTreeMap::new();
        for (name, principal) in &policy.principals {
            if !applies_to_cluster(principal.clusters.as_deref(), *cluster) {
                continue;
            }
            let Some(key) = key(principal, *cluster) else { continue };
            match seen.get(&key) {
                Some(first) if reported.insert((first.0, name)) => report(*first, (name, principal), key),
                Some(_) => {}
                None => {
                    seen.insert(key, (name, principal));
                }
            }
        }
    }
}

fn check_unique_arns(policy: &Policy, diagnostics: &mut Diagnostics) {
    let key = |principal: &PrincipalSpec, cluster: Option<&str>| match &principal.identity.value {
        IdentitySpec::Account(id) => Some(id.to_string()),
        identity => identity.resolve_arn(arn_defaults(policy, cluster)).map(|arn| arn.match_key()),
    };
    find_collisions(policy, key, |(first, first_spec), (second, second_spec), key| {
        let noun = if key.starts_with("arn:") { "principal" } else { "account" };
        let error = PolicyError::DuplicatePrincipal { noun, first: first.clone(), second: second.clone() };
        let related = (first_spec.identity.span, "first defined here");
        diagnostics.push_labeled(error, second_spec.identity.span, &key, &[related]);
    });
}

/// Returns the username of a principal in a cluster; `None` for a whole account.
pub(crate) fn username_of(principal: &PrincipalSpec, defaults: ArnDefaults<'_>) -> Option<String> {
    if let Some(template) = principal.kind.node_username() {
        return Some(template.to_owned());
    }
    match &principal.username {
        Some(name) => Some(name.value.clone()),
        None => principal.identity.value.resolve_arn(defaults).map(|arn| arn.to_aws_auth()),
    }
}

/// Returns the usernames of a principal in the clusters of the policy; `None` if the policy has no principal of this name.
pub(crate) fn usernames_of_principal(policy: &Policy, name: &str) -> Option<BTreeSet<String>> {
    let principal = policy.principals.get(name)?;
    let clusters = selected_clusters(principal.clusters.as_deref(), &policy.clusters);
    Some(clusters.into_iter().filter_map(|cluster| username_of(principal, arn_defaults(policy, cluster))).collect())
}

fn check_unique_usernames(policy: &Policy, diagnostics: &mut Diagnostics) {
    let key = |principal: &PrincipalSpec, cluster: Option<&str>| {
        (principal.kind == EntryType::Standard).then(|| username_of(principal, arn_defaults(policy, cluster))).flatten()
    };
    find_collisions(policy, key, |(first, first_spec), (second, second_spec), username| {
        if first_spec.shared_username && second_spec.shared_username {
            return;
        }
        let place = |principal: &PrincipalSpec| match &principal.username {
            Some(name) => (name.span, "username set here"),
            None => (principal.span, "the default username is the ARN"),
        };
        let error = PolicyError::DuplicateUsername { username, first: first.clone(), second: second.clone() };
        let (span, label) = place(second_spec);
        diagnostics.push_labeled(error, span, label, &[place(first_spec)]);
    });
}

fn undeclared_error<'a>(
    kind: &'static str,
    section: &str,
    name: &Located<String>,
    known: impl IntoIterator<Item = &'a String>,
) -> PolicyError {
    PolicyError::Undeclared {
        kind,
        name: name.value.clone(),
        nearest: closest_match(&name.value, known.into_iter().map(String::as_str)).map(str::to_owned),
        add: format!("`[{section}.{}]`", quote_key(&name.value)),
    }
}

fn check_group_memberships(policy: &Policy, defined: &DefinedNames, diagnostics: &mut Diagnostics) {
    for group in policy.groups.values() {
        for member in &group.members {
            match policy.principals.get(&member.value) {
                None if defined.principals.contains_key(&member.value) => {}
                None => {
                    diagnostics.push(
                        undeclared_error("principal", "principals", member, defined.principals.keys()),
                        member.span,
                    );
                }
                Some(PrincipalSpec { identity: Located { value: IdentitySpec::Account(_), .. }, .. }) => {
                    diagnostics.push(PolicyError::AccountInGroup { member: member.value.clone() }, member.span);
                }
                Some(_) => {}
            }
        }
    }
    for (_, group) in policy.groups.iter().filter(|(name, _)| has_session_template(name)) {
        for member in group.members.iter().filter(|member| is_iam_user(policy, &member.value)) {
            diagnostics.push_labeled(
                PolicyError::SessionTemplateForUser,
                member.span,
                "",
                &[(group.span, "declared here")],
            );
        }
    }
    for (name, principal) in &policy.principals {
        for group in &principal.groups {
            if let Some(spec) = policy.groups.get(&group.value) {
                if has_session_template(&group.value) && is_iam_user(policy, name) {
                    diagnostics.push_labeled(
                        PolicyError::SessionTemplateForUser,
                        group.span,
                        "",
                        &[(spec.span, "declared here")],
                    );
                }
            } else if let Some(error) = reserved_group_error(&group.value) {
                diagnostics.push(error, group.span);
            } else {
                diagnostics.push(undeclared_error("group", "groups", group, defined.groups.keys()), group.span);
            }
        }
    }
}

fn is_iam_user(policy: &Policy, principal: &str) -> bool {
    policy.principals.get(principal).is_some_and(|principal| match &principal.identity.value {
        IdentitySpec::User(_) => true,
        IdentitySpec::Arn(arn) => arn.kind() == PrincipalKind::User,
        IdentitySpec::Role(_) | IdentitySpec::Sso { .. } | IdentitySpec::Account(_) => false,
    })
}

fn check_binding_references(policy: &Policy, defined: &DefinedNames, diagnostics: &mut Diagnostics) {
    for binding in policy.bindings.values() {
        for group in &binding.groups {
            if !defined.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                diagnostics.push(undeclared_error("group", "groups", group, defined.groups.keys()), group.span);
            }
        }
        for (kind, names) in [("group", &binding.groups), ("user", &binding.users)] {
            for name in names.iter().filter(|name| find_templates(&name.value).next().is_some()) {
                diagnostics.push(PolicyError::TemplateInSubjectName { kind, name: name.value.clone() }, name.span);
            }
        }
        check_bound_principals(policy, defined, binding, diagnostics);
        check_bound_role(defined, binding, diagnostics);
    }
}

fn check_bound_principals(
    policy: &Policy,
    defined: &DefinedNames,
    binding: &BindingSpec,
    diagnostics: &mut Diagnostics,
) {
    for name in &binding.principals {
        let Some(principal) = policy.principals.get(&name.value) else {
            if !defined.principals.contains_key(&name.value) {
                diagnostics
                    .push(undeclared_error("principal", "principals", name, defined.principals.keys()), name.span);
            }
            continue;
        };
        if matches!(principal.identity.value, IdentitySpec::Account(_)) {
            diagnostics.push(PolicyError::BoundAccount { principal: name.value.clone() }, name.span);
            continue;
        }
        let username = username_of(principal, ArnDefaults::default()).unwrap_or_default();
        if find_templates(&username).next().is_some() {
            diagnostics.push(PolicyError::BoundTemplateUsername { principal: name.value.clone(), username }, name.span);
        }
    }
}

/// Warns of a likely typo in the name of a role. Other roles that the policy does not define can exist in the cluster,
/// which only `plan` can check.
fn check_bound_role(defined: &DefinedNames, binding: &BindingSpec, diagnostics: &mut Diagnostics) {
    let (kind, name, near) = match &binding.role.value {
        RoleRefSpec::ClusterRole(name) if !defined.cluster_roles.contains_key(name) => {
            let built_in = crate::state::owner::DEFAULT_CLUSTER_ROLES;
            if built_in.contains(&name.as_str()) || reserved_prefix(name).is_some() {
                return;
            }
            ("ClusterRole", name, closest_match(name, defined.cluster_roles.keys().map(String::as_str).chain(built_in)))
        }
        RoleRefSpec::Role(name) if !defined.roles.contains_key(name) => {
            ("Role", name, closest_match(name, defined.roles.keys().map(String::as_str)))
        }
        RoleRefSpec::ClusterRole(_) | RoleRefSpec::Role(_) => return,
    };
    if let Some(near) = near {
        let error = PolicyError::LikelyRoleTypo { kind, name: name.clone(), nearest: near.to_owned() };
        diagnostics.push(error, binding.role.span);
    }
}

fn check_invariant_subjects(policy: &Policy, defined: &DefinedNames, diagnostics: &mut Diagnostics) {
    for invariant in &policy.invariants {
        match &invariant.subject {
            InvariantSubjectSpec::Group(group) => {
                if !defined.groups.contains_key(&group.value) && !is_built_in_group(&group.value) {
                    diagnostics.push(undeclared_error("group", "groups", group, defined.groups.keys()), group.span);
                }
            }
            InvariantSubjectSpec::Principal(name) => {
                if !defined.principals.contains_key(&name.value) {
                    diagnostics
                        .push(undeclared_error("principal", "principals", name, defined.principals.keys()), name.span);
                }
            }
            InvariantSubjectSpec::EveryoneBut(names) => {
                for name in names {
                    if let Some(error) = exemption_error(&name.value) {
                        diagnostics.push(error, name.span);
                        continue;
                    }
                    let is_known = defined.principals.contains_key(&name.value)
                        || defined.groups.contains_key(&name.value)
                        || is_built_in_group(&name.value)
                        || name.value.contains([':', '/']);
                    if !is_known {
                        let known = defined.principals.keys().chain(defined.groups.keys());
                        diagnostics.push(undeclared_error("principal or group", "principals", name, known), name.span);
                    }
                }
            }
            InvariantSubjectSpec::User(_) | InvariantSubjectSpec::ServiceAccount(_) => {}
        }
    }
}

/// Returns the error of a name in `everyone-but` that has the form of a subject and can be none, such as an ARN with a
/// wildcard.
fn exemption_error(text: &str) -> Option<PolicyError> {
    let arn_error = |reason: ArnError| PolicyError::Arn { text: text.to_owned(), reason };
    match text.split_once(':')? {
        ("arn", _) => match Arn::parse(text) {
            Ok(_) => None,
            // A session stands for its role.
            Err(ArnError::AssumedRole { role }) => Arn::parse(&role).err().map(arn_error),
            Err(reason) => Some(arn_error(reason)),
        },
        ("account", id) => AccountId::parse(id).is_none().then(|| arn_error(ArnError::InvalidAccount(id.to_owned()))),
        ("sa", account) => {
            let parts = account.split_once('/');
            let is_valid = parts.is_some_and(|(namespace, name)| is_dns_label(namespace) && is_dns_subdomain(name));
            (!is_valid).then(|| PolicyError::InvalidServiceAccount { text: text.to_owned() })
        }
        _ => None,
    }
}
