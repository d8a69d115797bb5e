//! `[bindings]`: who gets which role where.

use super::clusters::{parse_cluster_filter, require_exactly_one};
use super::error::{Diagnostics, PolicyError};
use super::model::{BindingSpec, Located, RoleRefSpec, ServiceAccountSpec};
use super::namespaces::parse_namespace_selectors;
use super::roles::check_object_name;
use super::table::PolicyTable;
use crate::names::{is_dns_label, is_dns_subdomain, path_segment_error};

const KEYS: [&str; 10] = [
    "cluster-role",
    "role",
    "namespaces",
    "groups",
    "users",
    "principals",
    "service-accounts",
    "expires",
    "clusters",
    "description",
];

pub(crate) fn parse_binding(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    faults: &mut Diagnostics,
) -> Option<BindingSpec> {
    table.report_unknown_keys(&KEYS, faults);
    let namespaces = parse_namespace_selectors(table, faults);
    check_object_name(if namespaces.is_some() { "RoleBinding" } else { "ClusterRoleBinding" }, name, faults);
    table.string("description", faults);
    let role = parse_role_ref(table, faults);
    if table.has("role") && !table.has("namespaces") {
        faults.push(PolicyError::RoleWithoutNamespace, table.key_span("role"));
    }
    let [groups, users, principals] =
        ["groups", "users", "principals"].map(|key| table.strings(key, faults).unwrap_or_default());
    for word in groups.iter().chain(&users).filter(|word| word.value.is_empty()) {
        faults.push(PolicyError::EmptyName { what: "the name of a subject" }, word.span);
    }
    let accounts = table.strings("service-accounts", faults).unwrap_or_default();
    let has_namespaces = namespaces.is_some();
    let service_accounts: Vec<_> =
        accounts.iter().filter_map(|text| parse_service_account(text, has_namespaces, faults)).collect();
    let subjects = ["groups", "users", "principals", "service-accounts"];
    if groups.len() + users.len() + principals.len() + accounts.len() == 0
        && subjects.iter().all(|key| !table.has(key) || table.is_list(key))
    {
        faults.push(PolicyError::NoSubjects { table: table.path.clone() }, table.span);
    }
    Some(BindingSpec {
        span: name.span,
        expires: table.expiry("expires", faults),
        clusters: parse_cluster_filter(table, faults),
        role: role?,
        namespaces,
        groups,
        users,
        principals,
        service_accounts,
    })
}

fn parse_role_ref(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Option<Located<RoleRefSpec>> {
    let which = require_exactly_one(table, &["cluster-role", "role"], faults)?;
    let name = table.string(which, faults)?;
    if let Some(why) = path_segment_error(&name.value) {
        let kind = if which == "role" { "Role" } else { "ClusterRole" };
        faults.push(PolicyError::InvalidObjectName { kind, name: name.value, why: why.to_owned() }, name.span);
        return None;
    }
    let role = if which == "role" { RoleRefSpec::Role(name.value) } else { RoleRefSpec::ClusterRole(name.value) };
    Some(Located::new(role, name.span))
}

/// `namespace/name`, or the name alone where `own_namespace` can stand in.
pub(crate) fn parse_service_account(
    text: &Located<String>,
    own_namespace: bool,
    faults: &mut Diagnostics,
) -> Option<Located<ServiceAccountSpec>> {
    let (namespace, name) = match text.value.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text.value.as_str()),
    };
    let fits = namespace.map_or(own_namespace, is_dns_label) && is_dns_subdomain(name);
    if !fits {
        faults.push(PolicyError::InvalidServiceAccount { text: text.value.clone() }, text.span);
        return None;
    }
    let account = ServiceAccountSpec { namespace: namespace.map(str::to_owned), name: name.to_owned() };
    Some(Located::new(account, text.span))
}
