//! `[bindings]`: who gets which role where.

use super::fault::{Fault, Faults};
use super::model::{At, Binding, BoundRole, ServiceAccount};
use super::namespaces::namespaces;
use super::roles::object_name;
use super::scope::{exactly_one, filter};
use super::table::Table;
use crate::names::{is_dns_label, is_dns_subdomain, path_segment_fault};

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

pub(crate) fn binding(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> Option<Binding> {
    table.only(&KEYS, faults);
    let namespaces = namespaces(table, faults);
    object_name(if namespaces.is_some() { "RoleBinding" } else { "ClusterRoleBinding" }, name, faults);
    table.string("description", faults);
    let role = bound_role(table, faults);
    if table.has("role") && !table.has("namespaces") {
        faults.push(Fault::RoleWithoutNamespace, table.key_span("role"));
    }
    let [groups, users, principals] =
        ["groups", "users", "principals"].map(|key| table.strings(key, faults).unwrap_or_default());
    for word in groups.iter().chain(&users).filter(|word| word.value.is_empty()) {
        faults.push(Fault::EmptyName { what: "the name of a subject" }, word.span);
    }
    let accounts = table.strings("service-accounts", faults).unwrap_or_default();
    let has_namespaces = namespaces.is_some();
    let service_accounts: Vec<_> =
        accounts.iter().filter_map(|text| service_account(text, has_namespaces, faults)).collect();
    let subjects = ["groups", "users", "principals", "service-accounts"];
    if groups.len() + users.len() + principals.len() + accounts.len() == 0
        && subjects.iter().all(|key| !table.has(key) || table.is_list(key))
    {
        faults.push(Fault::NoSubjects { table: table.path.clone() }, table.span);
    }
    Some(Binding {
        span: name.span,
        expires: table.expiry("expires", faults),
        clusters: filter(table, faults),
        role: role?,
        namespaces,
        groups,
        users,
        principals,
        service_accounts,
    })
}

fn bound_role(table: &Table<'_>, faults: &mut Faults) -> Option<At<BoundRole>> {
    let which = exactly_one(table, &["cluster-role", "role"], faults)?;
    let name = table.string(which, faults)?;
    if let Some(why) = path_segment_fault(&name.value) {
        let kind = if which == "role" { "Role" } else { "ClusterRole" };
        faults.push(Fault::ObjectName { kind, name: name.value, why: why.to_owned() }, name.span);
        return None;
    }
    let role = if which == "role" { BoundRole::Role(name.value) } else { BoundRole::ClusterRole(name.value) };
    Some(At::new(role, name.span))
}

/// `namespace/name`, or the name alone where `own_namespace` can stand in.
pub(crate) fn service_account(
    text: &At<String>,
    own_namespace: bool,
    faults: &mut Faults,
) -> Option<At<ServiceAccount>> {
    let (namespace, name) = match text.value.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text.value.as_str()),
    };
    let fits = namespace.map_or(own_namespace, is_dns_label) && is_dns_subdomain(name);
    if !fits {
        faults.push(Fault::ServiceAccount { text: text.value.clone() }, text.span);
        return None;
    }
    let account = ServiceAccount { namespace: namespace.map(str::to_owned), name: name.to_owned() };
    Some(At::new(account, text.span))
}
