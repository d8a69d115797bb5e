//! Warnings about what a policy grants: words that no API knows, rules and bindings without effect, and subjects that are
//! probably not intended. Each has a stable name, by which `[lint]` of the policy allows or denies it.
//!
//! Without a cluster, the words are those of Kubernetes itself and of `[lint] resources`. A rule's own spelling never
//! makes a word known.

mod binding_lints;
mod invariant_words;
mod rule_lints;
mod rule_scope;
mod subject_lints;
#[cfg(test)]
mod tests;
mod usage_lints;
mod verb_lints;
mod vocabulary;

pub(crate) use invariant_words::{check_invariant_words, resolve_assertion};
pub(crate) use subject_lints::is_defined_group;
pub(crate) use vocabulary::Vocabulary;

use crate::diagnostic::Diagnostic;
use crate::policy::{ClusterRoleContent, Located, Policy, RuleSpec, applies_to_cluster};
use crate::state::State;

/// What the lints of a policy are about: the policy alone, or one cluster.
#[derive(Clone, Copy)]
pub(crate) struct LintContext<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) vocabulary: &'a Vocabulary<'a>,
    /// The name of the cluster, and its state after the plan. `None` if no cluster is known.
    pub(crate) cluster: Option<(Option<&'a str>, &'a State)>,
}

/// Returns the warnings about a policy, in the order of its files. Those that the policy denies are errors.
pub(crate) fn lint_policy(context: LintContext<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for rule in rules(context) {
        diagnostics.extend(rule_lints::lint_rule(context.vocabulary, rule));
    }
    diagnostics.extend(rule_scope::lint_scopes(context));
    diagnostics.extend(binding_lints::lint_bindings(context));
    diagnostics.extend(usage_lints::lint_usage(context));
    diagnostics.sort_by_key(|diagnostic| diagnostic.primary.as_ref().map(|(span, _)| *span));
    context.policy.lint.apply(diagnostics)
}

impl<'a> LintContext<'a> {
    fn applies(&self, filter: Option<&[Located<String>]>) -> bool {
        self.cluster.is_none_or(|(cluster, _)| applies_to_cluster(filter, cluster))
    }

    fn state(&self) -> Option<&'a State> {
        self.cluster.map(|(_, state)| state)
    }
}

/// Returns all rules of the policy's roles.
fn rules(context: LintContext<'_>) -> impl Iterator<Item = &RuleSpec> {
    let Policy { cluster_roles, roles, .. } = context.policy;
    let of_cluster_roles = cluster_roles.values().filter(move |role| context.applies(role.clusters.as_deref()));
    let of_cluster_roles = of_cluster_roles.flat_map(|role| match &role.content {
        ClusterRoleContent::Rules(rules) => rules.as_slice(),
        ClusterRoleContent::Aggregation(_) => &[],
    });
    let of_roles = roles.values().filter(move |role| context.applies(role.clusters.as_deref()));
    of_cluster_roles.chain(of_roles.flat_map(|role| &role.rules))
}
