//! Lints on cluster-scoped resources in rules that apply in namespaces only: in a Role, and in a ClusterRole to which only
//! RoleBindings refer.

use super::LintContext;
use super::rule_lints::{RuleTarget, resolve_targets};
use crate::api_resources::{ApiResource, ResourceScope};
use crate::diagnostic::{Diagnostic, LintId, Span};
use crate::policy::{BindingSpec, ClusterRoleContent, Located, RoleRefSpec, RuleSpec};
use crate::state::rbac::{RBAC_GROUP, RoleRef};

/// The verbs of requests for a single Namespace. They are requests in that namespace, so a Role there can allow them
/// (k8s.io/apiserver `endpoints/request/requestinfo.go`).
const VERBS_OF_OWN_NAMESPACE: [&str; 5] = ["get", "update", "patch", "delete", "*"];

pub(super) fn lint_scopes(context: LintContext<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for role in context.policy.roles.values().filter(|role| context.applies(role.clusters.as_deref())) {
        for rule in &role.rules {
            for word in cluster_scoped_words(context, rule) {
                let message = format!("`{}` is cluster-scoped, so a Role cannot grant access to it", word.value);
                diagnostics.push(
                    Diagnostic::lint(LintId::ClusterScopedInRole, message)
                        .primary_label(word.span, "")
                        .with_because("a Role grants access to objects in its namespace")
                        .with_help("move it to a role in `[cluster-roles]`, and bind that without `namespaces`"),
                );
            }
        }
    }
    for (name, role) in &context.policy.cluster_roles {
        let ClusterRoleContent::Rules(rules) = &role.content else {
            continue;
        };
        let is_selectable = !role.aggregate_to.is_empty() || !role.labels.is_empty();
        if !context.applies(role.clusters.as_deref()) || is_selectable {
            continue;
        }
        let Some(binding) = only_bound_in_namespaces(context, name) else {
            continue;
        };
        for rule in rules {
            for (word, span) in cluster_scoped_words(context, rule)
                .map(|word| (word.value.clone(), word.span))
                .chain(rule.non_resource_urls.iter().map(|url| (url.value.clone(), url.span)))
            {
                diagnostics.push(lint_bound_in_namespaces(name, &word, span, binding));
            }
        }
    }
    diagnostics
}

fn lint_bound_in_namespaces(role: &str, word: &str, span: Span, binding: &BindingSpec) -> Diagnostic {
    let what = if word.starts_with('/') || word == "*" { "in no namespace" } else { "cluster-scoped" };
    let message = format!("`{word}` is {what}, and `{role}` is bound in namespaces only");
    Diagnostic::lint(LintId::ClusterScopedInRole, message)
        .primary_label(span, "")
        .secondary_label(binding.span, "bound here")
        .with_because("a binding in a namespace grants access to objects in that namespace")
        .with_help("move it to a role of its own, and bind that without `namespaces`")
}

/// Returns a binding of the role in namespaces, if no binding grants the role in the whole cluster.
fn only_bound_in_namespaces<'a>(context: LintContext<'a>, role: &str) -> Option<&'a BindingSpec> {
    let is_of_role = |binding: &&BindingSpec| {
        context.applies(binding.clusters.as_deref())
            && matches!(&binding.role.value, RoleRefSpec::ClusterRole(name) if name == role)
    };
    let bindings: Vec<&BindingSpec> = context.policy.bindings.values().filter(is_of_role).collect();
    let is_cluster_wide = bindings.iter().any(|binding| binding.namespaces.is_none());
    let is_bound_elsewhere = context.state().is_some_and(|state| {
        let role = RoleRef::ClusterRole(role.to_owned());
        state.bindings.iter().any(|(key, binding)| key.namespace().is_none() && binding.role_ref == role)
    });
    if is_cluster_wide || is_bound_elsewhere { None } else { bindings.first().copied() }
}

/// Returns the words of a rule that stand for cluster-scoped resources only, without those that a binding in a namespace
/// can grant in part.
fn cluster_scoped_words<'a>(context: LintContext<'a>, rule: &'a RuleSpec) -> impl Iterator<Item = &'a Located<String>> {
    let targets = resolve_targets(context.vocabulary, rule);
    let is_dead = move |target: &RuleTarget<'_>| match target {
        RuleTarget::Resources(resources, _) => {
            resources.iter().all(|resource| resource.scope == ResourceScope::Cluster)
                && !resources.iter().any(|resource| has_effect_in_namespace(resource, rule))
        }
        RuleTarget::All(..) | RuleTarget::Opaque => false,
    };
    rule.resources.iter().zip(targets).filter(move |(_, target)| is_dead(target)).map(|(word, _)| word)
}

fn has_effect_in_namespace(resource: &ApiResource, rule: &RuleSpec) -> bool {
    let has_verb = |verbs: &[&str]| rule.verbs.iter().any(|verb| verbs.contains(&verb.value.as_str()));
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => has_verb(&VERBS_OF_OWN_NAMESPACE),
        // The API server asks for `bind` in the namespace of the RoleBinding that is created.
        (RBAC_GROUP, "clusterroles") => has_verb(&["bind", "*"]),
        _ => false,
    }
}
