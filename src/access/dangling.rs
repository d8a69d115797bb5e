//! Warnings about the bindings and roles of a state: dangling bindings, whose role does not exist, and ClusterRoles that
//! aggregate each other.
//!
//! A dangling binding grants nothing now. It grants the rules of its role as soon as the role is created. This module may
//! not depend on policies, except for the name by which a policy owns objects.

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

/// The number of roles with a warning of their own, and of names in one list.
const MAX_SHOWN: usize = 3;

/// Returns one warning for each set of ClusterRoles that aggregate each other.
pub(crate) fn aggregation_cycles(state: &State) -> Vec<Diagnostic> {
    let warning = |cycle: BTreeSet<&ObjectKey>| {
        let names: Vec<String> = cycle.iter().map(|key| format!("`{}`", key.name())).collect();
        Diagnostic::warning(format!("ClusterRoles aggregate each other: {}", names.join(", ")))
            .with_note("a rule that one of them has had is never removed, because each gets it back from another")
            .with_help("change the aggregationRule or the labels of one of them")
    };
    find_aggregation_cycles(state).into_iter().map(warning).collect()
}

impl AccessView<'_> {
    /// Returns warnings about dangling bindings: all of them, or those whose subjects match one of the identities.
    pub(crate) fn dangling_warnings(&self, identities: Option<&[&Identity]>) -> Vec<Diagnostic> {
        let is_relevant = |subject: &Subject| {
            identities.is_none_or(|identities| identities.iter().any(|identity| identity.matches_subject(subject)))
        };
        missing_role_warnings(&self.dangling_bindings(), &is_relevant)
    }
}

/// Returns warnings about all dangling bindings of a state.
pub(crate) fn all_dangling(state: &State) -> Vec<Diagnostic> {
    missing_role_warnings(&Grants::dangling_in(state), &|_| true)
}

/// Returns warnings about the state after a plan: the policy's own dangling bindings, dangling bindings of other owners
/// that take effect because the plan creates their role, and aggregation cycles.
pub(crate) fn dangling_after(live: &State, after: &State, policy: &str) -> Vec<Diagnostic> {
    let is_owned =
        |key: &ObjectKey, binding: &Binding| matches!(object_owner(key, &binding.meta, policy), Owner::ThisPolicy);
    let dangling = Grants::dangling_in(after).into_iter();
    let owned: Vec<_> = dangling.filter(|(key, binding)| is_owned(key, binding)).collect();
    let mut warnings = missing_role_warnings(&owned, &|_| true);
    let live_dangling = Grants::dangling_in(live).into_iter();
    let still_bound = live_dangling.filter_map(|(key, _)| after.bindings.get_key_value(key));
    let takes_effect = |(key, binding): &(&ObjectKey, &Binding)| {
        !is_owned(key, binding) && binding.role_ref.role_key(key).is_some_and(|role| after.roles.contains_key(&role))
    };
    let taking_effect: Vec<_> = still_bound.filter(takes_effect).collect();
    let new_role = RoleWarning {
        warning: &|role, bindings, subjects| {
            Diagnostic::warning(format!("existing RBAC bindings take effect when {role} is created: {bindings}"))
                .with_note(format!("its rules are also granted to {subjects}, which this policy does not bind"))
        },
        more: &|count| match count {
            1 => "existing RBAC bindings take effect when 1 more role is created".to_owned(),
            _ => format!("existing RBAC bindings take effect when {count} more roles are created"),
        },
    };
    warnings.extend(warnings_by_role(&taking_effect, &|_| true, &new_role));
    warnings.extend(aggregation_cycles(after));
    warnings
}

/// The texts of the warnings about roles and the bindings that reference them.
struct RoleWarning<'a> {
    /// The warning about one role, from the texts for the role, its bindings and their subjects.
    warning: &'a dyn Fn(&str, &str, &str) -> Diagnostic,
    /// The message about the number of roles without a warning of their own.
    more: &'a dyn Fn(usize) -> String,
}

fn missing_role_warnings(
    dangling: &[(&ObjectKey, &Binding)],
    is_relevant: &dyn Fn(&Subject) -> bool,
) -> Vec<Diagnostic> {
    let missing_role = RoleWarning {
        warning: &|role, bindings, subjects| {
            Diagnostic::warning(format!("{role} does not exist, but RBAC bindings reference it: {bindings}"))
                .with_note(format!("pending access: {subjects} will get its rules as soon as it is created"))
        },
        more: &|count| match count {
            1 => "1 more role does not exist, but RBAC bindings reference it".to_owned(),
            _ => format!("{count} more roles do not exist, but RBAC bindings reference them"),
        },
    };
    warnings_by_role(dangling, is_relevant, &missing_role)
}

/// Returns one warning for each of the first roles, and one with the number of the other roles.
fn warnings_by_role(
    bindings: &[(&ObjectKey, &Binding)],
    is_relevant: &dyn Fn(&Subject) -> bool,
    texts: &RoleWarning<'_>,
) -> Vec<Diagnostic> {
    let mut roles: BTreeMap<String, (BTreeSet<String>, BTreeSet<SubjectQuery>)> = BTreeMap::new();
    for (key, binding) in bindings {
        let relevant: Vec<&Subject> = binding.subjects.iter().filter(|subject| is_relevant(subject)).collect();
        if !relevant.is_empty() {
            let (names, subjects) = roles.entry(format_role(key, binding)).or_default();
            names.insert(format_binding(key));
            subjects.extend(relevant.into_iter().map(SubjectQuery::from_subject));
        }
    }
    let more = roles.len().saturating_sub(MAX_SHOWN);
    let mut warnings: Vec<Diagnostic> = roles
        .iter()
        .take(MAX_SHOWN)
        .map(|(role, (names, subjects))| {
            (texts.warning)(role, &join_limited(names.iter()), &join_limited(subjects.iter()))
        })
        .collect();
    if more > 0 {
        warnings.push(Diagnostic::warning((texts.more)(more)));
    }
    warnings
}

fn format_role(key: &ObjectKey, binding: &Binding) -> String {
    match (&binding.role_ref, key.namespace()) {
        (RoleRef::ClusterRole(name), _) => format!("ClusterRole `{name}`"),
        (RoleRef::Role(name), Some(namespace)) => format!("Role `{namespace}/{name}`"),
        (RoleRef::Role(name), None) => format!("Role `{name}` without a namespace"),
        (RoleRef::AccessPolicy(name), _) => format!("AccessPolicy `{name}`"),
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
