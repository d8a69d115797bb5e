//! What is odd about the bindings and roles of a state: bindings that wait for a role, roles that gather in a circle.
//!
//! A binding to a role that does not exist gives nothing, and everything the role says at the moment it is born. These
//! are the warnings beside a plan or an answer. They may not know who shows them, nor any policy but by its name.

use std::collections::{BTreeMap, BTreeSet};

use super::access_view::AccessView;
use super::aggregation::find_aggregation_cycles;
use super::grants::Grants;
use super::identity::{Identity, SubjectQuery};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::object::Binding;
use crate::state::owner::{Owner, object_owner};
use crate::state::rbac::{RoleRef, Subject};

/// Roles told one by one, and names in one list.
const MAX_SHOWN: usize = 3;

/// The roles that take their rules from each other.
pub(crate) fn aggregation_cycles(state: &State) -> Vec<Diagnostic> {
    let told = |circle: BTreeSet<&ObjectKey>| {
        let names: Vec<&str> = circle.iter().map(|key| key.name()).collect();
        Diagnostic::warning(format!("the ClusterRoles {} take their rules from each other", names.join(", ")))
            .with_help("what one of them has once had, none of them loses: take one out of the circle")
    };
    find_aggregation_cycles(state).into_iter().map(told).collect()
}

impl AccessView<'_> {
    /// The bindings that wait for their role: all, or those that mean one of some identities.
    pub(crate) fn dangling_warnings(&self, identities: Option<&[&Identity]>) -> Vec<Diagnostic> {
        let is_meant =
            |subject: &Subject| identities.is_none_or(|all| all.iter().any(|one| one.matches_subject(subject)));
        missing_role_warnings(&self.dangling_bindings(), &is_meant)
    }
}

/// Every binding of a state that waits for its role, whosever it is.
pub(crate) fn all_dangling(state: &State) -> Vec<Diagnostic> {
    missing_role_warnings(&Grants::dangling_in(state), &|_| true)
}

/// What a plan of a policy leaves waiting or wakes: its own bindings to roles that are not there, and the bindings of
/// others that come alive by the roles it creates.
pub(crate) fn dangling_after(live: &State, after: &State, policy: &str) -> Vec<Diagnostic> {
    let is_ours = |binding: &Binding| matches!(object_owner(&binding.meta, policy), Owner::ThisPolicy);
    let pending = Grants::dangling_in(after);
    let ours: Vec<_> = pending.into_iter().filter(|(_, binding)| is_ours(binding)).collect();
    let mut found = missing_role_warnings(&ours, &|_| true);
    let woken = Grants::dangling_in(live).into_iter().filter_map(|(key, _)| after.bindings.get_key_value(key));
    let is_woken = |(key, binding): &(&ObjectKey, &Binding)| {
        !is_ours(binding) && binding.role_ref.role_key(key).is_some_and(|role| after.roles.contains_key(&role))
    };
    let woken: Vec<_> = woken.filter(is_woken).collect();
    found.extend(warnings_by_role(&woken, &|_| true, &|role, bindings, subjects| {
        Diagnostic::warning(format!("the new {role} brings bindings to life that waited for it: {bindings}"))
            .with_help(format!("what it says goes to {subjects} too, whom this policy does not bind"))
    }));
    found.extend(aggregation_cycles(after));
    found
}

type RoleWarning<'a> = &'a dyn Fn(&str, &str, &str) -> Diagnostic;

fn missing_role_warnings(pending: &[(&ObjectKey, &Binding)], is_meant: &dyn Fn(&Subject) -> bool) -> Vec<Diagnostic> {
    warnings_by_role(pending, is_meant, &|role, bindings, subjects| {
        Diagnostic::warning(format!("the {role} does not exist; bound to it: {bindings}"))
            .with_help(format!("pending access: {subjects} will have what it says as soon as it is created"))
    })
}

/// One line for each role, and one with the count of the rest.
fn warnings_by_role(
    bindings: &[(&ObjectKey, &Binding)],
    is_meant: &dyn Fn(&Subject) -> bool,
    told: RoleWarning<'_>,
) -> Vec<Diagnostic> {
    let mut roles: BTreeMap<String, (BTreeSet<String>, BTreeSet<SubjectQuery>)> = BTreeMap::new();
    for (key, binding) in bindings {
        let subjects: Vec<&Subject> = binding.subjects.iter().filter(|subject| is_meant(subject)).collect();
        if !subjects.is_empty() {
            let (names, whom) = roles.entry(format_role(key, binding)).or_default();
            names.insert(format_binding(key));
            whom.extend(subjects.into_iter().map(SubjectQuery::from_subject));
        }
    }
    let more = roles.len().saturating_sub(MAX_SHOWN);
    let mut found: Vec<Diagnostic> = roles
        .iter()
        .take(MAX_SHOWN)
        .map(|(role, (names, whom))| told(role, &join_limited(names.iter()), &join_limited(whom.iter())))
        .collect();
    if more > 0 {
        let (roles, are) = if more == 1 { ("role", "is") } else { ("roles", "are") };
        found.push(Diagnostic::warning(format!("{more} more {roles} {are} waited for in the same way")));
    }
    found
}

fn format_role(key: &ObjectKey, binding: &Binding) -> String {
    match (&binding.role_ref, key.namespace()) {
        (RoleRef::ClusterRole(name), _) => format!("ClusterRole `{name}`"),
        (RoleRef::Role(name), Some(namespace)) => format!("Role `{namespace}/{name}`"),
        (RoleRef::Role(name), None) => format!("Role `{name}` of no namespace"),
    }
}

fn format_binding(key: &ObjectKey) -> String {
    let namespace = key.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("`{namespace}{}`", key.name())
}

fn join_limited(names: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let more = names.len().saturating_sub(MAX_SHOWN);
    let shown: Vec<String> = names.take(MAX_SHOWN).map(|name| name.to_string()).collect();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
