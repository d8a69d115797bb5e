//! Lints on roles, groups and aggregation rules that have no effect, because nothing refers to them.
//!
//! Without a cluster, only the references of the policy are known. The warnings say so.

use std::collections::BTreeSet;

use super::LintContext;
use crate::diagnostic::{Diagnostic, LintId, Span, closest_match};
use crate::names::{ObjectKey, ObjectKind, reserved_prefix};
use crate::policy::{ClusterRoleContent, ClusterRoleSpec, Policy, RoleRefSpec};
use crate::state::State;
use crate::state::object_meta::Labels;
use crate::state::owner::{AGGREGATE_LABEL_PREFIX, DEFAULT_CLUSTER_ROLES};
use crate::state::rbac::{RoleRef, Subject};

pub(super) fn lint_usage(context: LintContext<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = lint_aggregations(context);
    diagnostics.extend(lint_unused_roles(context));
    diagnostics.extend(lint_unbound_groups(context));
    diagnostics
}

/// Says what is not known without a cluster.
fn with_offline_note(context: LintContext<'_>, lint: Diagnostic, what: &str) -> Diagnostic {
    if context.cluster.is_some() {
        lint
    } else {
        lint.with_note(format!("{what} that only the cluster has are not known here; `plan` knows them"))
    }
}

fn lint_aggregations(context: LintContext<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (name, role) in
        context.policy.cluster_roles.iter().filter(|(_, role)| context.applies(role.clusters.as_deref()))
    {
        let ClusterRoleContent::Aggregation(selectors) = &role.content else {
            continue;
        };
        for selector in selectors {
            let matches = |labels: &Labels| selector.value.iter().all(|(key, value)| labels.get(key) == Some(value));
            let in_policy = context.policy.cluster_roles.iter().any(|(other, role)| {
                other != name && context.applies(role.clusters.as_deref()) && matches(&all_labels(role))
            });
            let in_state = context.state().is_some_and(|state| {
                let others =
                    state.roles.iter().filter(|(key, _)| key.kind() == ObjectKind::ClusterRole && key.name() != name);
                others.into_iter().any(|(_, role)| matches(&role.meta.labels))
            });
            let is_default = context.cluster.is_none() && selector.value.keys().all(|key| is_default_label(key));
            if in_policy || in_state || is_default {
                continue;
            }
            let lint = Diagnostic::lint(
                LintId::AggregationSelectsNothing,
                format!("`{name}` selects no ClusterRole with {}", format_labels(&selector.value)),
            );
            let lint = with_offline_note(context, lint.primary_label(selector.span, ""), "roles");
            let nearest = nearest_label(context, &selector.value);
            diagnostics.push(match nearest {
                Some(near) => lint.with_help(format!("did you mean {near}?")),
                None => lint.with_help("set the label in `labels` of the roles to aggregate"),
            });
        }
    }
    diagnostics
}

fn all_labels(role: &ClusterRoleSpec) -> Labels {
    let aggregate =
        role.aggregate_to.iter().map(|to| (format!("{AGGREGATE_LABEL_PREFIX}{}", to.value), "true".to_owned()));
    role.labels.clone().into_iter().chain(aggregate).collect()
}

/// Returns whether the label is one of those that Kubernetes puts on roles of its own.
fn is_default_label(key: &str) -> bool {
    key.strip_prefix(AGGREGATE_LABEL_PREFIX).is_some_and(|role| DEFAULT_CLUSTER_ROLES.contains(&role))
}

fn format_labels(labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
    labels.join(", ")
}

/// Returns the most similar label of the policy's roles.
fn nearest_label(context: LintContext<'_>, wanted: &Labels) -> Option<String> {
    let labels = context.policy.cluster_roles.values().flat_map(all_labels);
    let known: BTreeSet<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let wanted = wanted.iter().map(|(key, value)| format!("{key}={value}"));
    let nearest = wanted
        .filter(|label| !known.contains(label))
        .find_map(|label| closest_match(&label, known.iter().map(String::as_str)).map(str::to_owned));
    nearest.map(|label| format!("`{label}`"))
}

fn lint_unused_roles(context: LintContext<'_>) -> Vec<Diagnostic> {
    let Policy { cluster_roles, roles, bindings, .. } = context.policy;
    let bound: BTreeSet<&RoleRefSpec> = bindings
        .values()
        .filter(|binding| context.applies(binding.clusters.as_deref()))
        .map(|binding| &binding.role.value)
        .collect();
    let bound_in_state: BTreeSet<&RoleRef> = context
        .state()
        .into_iter()
        .flat_map(|state| state.bindings.values())
        .map(|binding| &binding.role_ref)
        .collect();
    let mut diagnostics = Vec::new();
    for (name, role) in cluster_roles.iter().filter(|(_, role)| context.applies(role.clusters.as_deref())) {
        let is_bound = bound.contains(&RoleRefSpec::ClusterRole(name.clone()))
            || bound_in_state.contains(&RoleRef::ClusterRole(name.clone()));
        if !is_bound && !is_selected(context, name, role) {
            diagnostics.push(unused_role(context, "ClusterRole", name, role.span));
        }
    }
    for (name, role) in roles.iter().filter(|(_, role)| context.applies(role.clusters.as_deref())) {
        let is_bound =
            bound.contains(&RoleRefSpec::Role(name.clone())) || bound_in_state.contains(&RoleRef::Role(name.clone()));
        if !is_bound {
            diagnostics.push(unused_role(context, "Role", name, role.span));
        }
    }
    diagnostics
}

/// Returns whether an aggregated role can select the role.
fn is_selected(context: LintContext<'_>, name: &str, role: &ClusterRoleSpec) -> bool {
    let labels = all_labels(role);
    let in_policy = context.policy.cluster_roles.values().any(|other| match &other.content {
        ClusterRoleContent::Aggregation(selectors) => {
            selectors.iter().any(|selector| selector.value.iter().all(|(key, value)| labels.get(key) == Some(value)))
        }
        ClusterRoleContent::Rules(_) => false,
    });
    let is_selected_by = |state: &State| {
        let key = ObjectKey::cluster_role(name);
        let others = state.roles.iter().filter(|(other, _)| **other != key);
        others.into_iter().any(|(_, other)| {
            other
                .aggregation
                .as_ref()
                .is_some_and(|selectors| selectors.iter().any(|selector| selector.matches(&labels)))
        })
    };
    match context.state() {
        Some(state) => in_policy || is_selected_by(state),
        None => in_policy || labels.keys().any(|key| key.starts_with(AGGREGATE_LABEL_PREFIX)),
    }
}

fn unused_role(context: LintContext<'_>, kind: &str, name: &str, span: Span) -> Diagnostic {
    let lint =
        Diagnostic::lint(LintId::UnusedRole, format!("no binding refers to {kind} `{name}`")).primary_label(span, "");
    with_offline_note(context, lint, "bindings").with_help("bind it in `[bindings]`, or remove it")
}

fn lint_unbound_groups(context: LintContext<'_>) -> Vec<Diagnostic> {
    let Policy { groups, bindings, .. } = context.policy;
    // A policy without bindings only gives groups to principals. Others bind them.
    if context.cluster.is_none() && bindings.is_empty() {
        return Vec::new();
    }
    let bound: BTreeSet<&str> = bindings
        .values()
        .filter(|binding| context.applies(binding.clusters.as_deref()))
        .flat_map(|binding| &binding.groups)
        .map(|group| group.value.as_str())
        .collect();
    let bound_in_state: BTreeSet<&str> = context
        .state()
        .into_iter()
        .flat_map(|state| state.bindings.values())
        .flat_map(|binding| &binding.subjects)
        .filter_map(|subject| match subject {
            Subject::Group(name) => Some(name.as_str()),
            Subject::User(_) | Subject::ServiceAccount { .. } | Subject::AccessEntry(_) => None,
        })
        .collect();
    // A group with a template is many groups, and Kubernetes itself grants access to groups with a reserved name.
    let can_be_bound = |name: &str| reserved_prefix(name).is_none() && !name.contains("{{");
    groups
        .iter()
        .filter(|(name, group)| context.applies(group.clusters.as_deref()) && can_be_bound(name))
        .filter(|(name, _)| !bound.contains(name.as_str()) && !bound_in_state.contains(name.as_str()))
        .filter(|(_, group)| group.access_policies.is_empty())
        .map(|(name, group)| {
            let lint = Diagnostic::lint(LintId::UnboundGroup, format!("no binding grants access to group `{name}`"))
                .primary_label(group.span, "");
            with_offline_note(context, lint, "bindings").with_help("bind it in `[bindings]`, or remove it")
        })
        .collect()
}
