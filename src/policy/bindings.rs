//! Parses `[bindings]`: which subjects have which role, and in which namespaces.

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
    diagnostics: &mut Diagnostics,
) -> Option<BindingSpec> {
    table.report_unknown_keys(&KEYS, diagnostics);
    let namespaces = parse_namespace_selectors(table, diagnostics);
    check_object_name(if namespaces.is_some() { "RoleBinding" } else { "ClusterRoleBinding" }, name, diagnostics);
    table.string("description", diagnostics);
    let role = parse_role_ref(table, diagnostics);
    if table.has("role") && !table.has("namespaces") {
        diagnostics.push(PolicyError::RoleWithoutNamespace, table.key_span("role"));
    }
    let [groups, users, principals] =
        ["groups", "users", "principals"].map(|key| table.strings(key, diagnostics).unwrap_or_default());
    for name in groups.iter().chain(&users).filter(|name| name.value.is_empty()) {
        diagnostics.push(PolicyError::EmptyName { what: "the name of a subject" }, name.span);
    }
    let accounts = table.strings("service-accounts", diagnostics).unwrap_or_default();
    let has_namespaces = namespaces.is_some();
    let service_accounts: Vec<_> =
        accounts.iter().filter_map(|text| parse_service_account(text, has_namespaces, diagnostics)).collect();
    let subject_keys = ["groups", "users", "principals", "service-accounts"];
    if groups.len() + users.len() + principals.len() + accounts.len() == 0
        && subject_keys.iter().all(|key| !table.has(key) || table.is_list(key))
    {
        diagnostics.push(PolicyError::NoSubjects { table: table.path.clone() }, table.span);
    }
    Some(BindingSpec {
        span: name.span,
        expires: table.expiry("expires", diagnostics),
        clusters: parse_cluster_filter(table, diagnostics),
        role: role?,
        namespaces,
        groups,
        users,
        principals,
        service_accounts,
    })
}

fn parse_role_ref(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Option<Located<RoleRefSpec>> {
    let key = require_exactly_one(table, &["cluster-role", "role"], diagnostics)?;
    let name = table.string(key, diagnostics)?;
    if let Some(reason) = path_segment_error(&name.value) {
        let kind = if key == "role" { "Role" } else { "ClusterRole" };
        diagnostics
            .push(PolicyError::InvalidObjectName { kind, name: name.value, reason: reason.to_owned() }, name.span);
        return None;
    }
    let role = if key == "role" { RoleRefSpec::Role(name.value) } else { RoleRefSpec::ClusterRole(name.value) };
    Some(Located::new(role, name.span))
}

/// Parses `namespace/name`. If `allow_bare_name`, `name` means that account in each namespace of the binding.
pub(crate) fn parse_service_account(
    text: &Located<String>,
    allow_bare_name: bool,
    diagnostics: &mut Diagnostics,
) -> Option<Located<ServiceAccountSpec>> {
    let (namespace, name) = match text.value.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text.value.as_str()),
    };
    let is_valid = namespace.map_or(allow_bare_name, is_dns_label) && is_dns_subdomain(name);
    if !is_valid {
        diagnostics.push(PolicyError::InvalidServiceAccount { text: text.value.clone() }, text.span);
        return None;
    }
    let account = ServiceAccountSpec { namespace: namespace.map(str::to_owned), name: name.to_owned() };
    Some(Located::new(account, text.span))
}
