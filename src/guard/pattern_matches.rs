//! Which patterns of `guard.protected` and `ownership.ignore` match something in a cluster. A pattern that matches
//! nothing protects nothing.

use crate::access::{AccessView, SubjectQuery};
use crate::diagnostic::{Diagnostic, LintId, closest_qualified_match};
use crate::names::WildcardPattern;
use crate::plan::AccessComparison;
use crate::policy::Policy;

/// The patterns of a policy that match something in one cluster, by their position in the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PatternMatches {
    protected: Vec<bool>,
    ignore: Vec<bool>,
    /// The principals of the cluster, for suggestions.
    principals: Vec<String>,
}

impl PatternMatches {
    /// Compares the patterns with the principals before and after a plan, and with the objects before it. Entries of
    /// aws-auth that can never match a principal do not count for `protected`.
    pub(crate) fn new(policy: &Policy, comparison: &AccessComparison<'_>) -> Self {
        let (protected, ignore) = (&policy.guard.protected, &policy.ownership.ignore);
        let views = [&comparison.live_access, &comparison.after_access];
        let principals = views.into_iter().flat_map(AccessView::principals);
        let keys: Vec<(String, String)> = principals
            .filter_map(|principal| match &principal.subject {
                SubjectQuery::Arn(identity) => Some((identity.comparison_key(), identity.to_string())),
                _ => None,
            })
            .collect();
        let is_protecting = |pattern: &WildcardPattern| {
            // The authenticator ignores case.
            let pattern = WildcardPattern::new(&pattern.as_str().to_lowercase());
            keys.iter().any(|(key, _)| pattern.matches(key))
        };
        let entries: Vec<&str> = views
            .iter()
            .flat_map(|access| access.mapping.statuses())
            .map(|(entry, _)| entry.principal.as_str())
            .collect();
        Self {
            protected: protected.iter().map(|pattern| is_protecting(&pattern.value)).collect(),
            ignore: ignore
                .iter()
                .map(|pattern| {
                    entries.iter().any(|entry| pattern.value.matches_entry(entry))
                        || comparison.live.rbac_objects().any(|(key, _)| pattern.value.matches_object(key))
                })
                .collect(),
            principals: keys.into_iter().map(|(_, text)| text).collect(),
        }
    }

    /// Returns an error for each pattern of `protected`, and a warning for each pattern of `ignore`, that matches nothing
    /// in any of the clusters. `are_all_clusters` is whether the policy has no other clusters: a pattern can be for one of
    /// those, so it is only a warning then.
    pub(crate) fn report(policy: &Policy, clusters: &[&Self], are_all_clusters: bool) -> Vec<Diagnostic> {
        if clusters.is_empty() {
            return Vec::new();
        }
        let is_unmatched = |index: usize, of: fn(&Self) -> &Vec<bool>| {
            !clusters.iter().any(|cluster| of(cluster).get(index).copied().unwrap_or_default())
        };
        let scope = if are_all_clusters { "" } else { " of the planned clusters" };
        let mut diagnostics = Vec::new();
        for (index, pattern) in policy.guard.protected.iter().enumerate() {
            if !is_unmatched(index, |cluster| &cluster.protected) {
                continue;
            }
            let text = pattern.value.as_str();
            let message = format!("protected pattern `{text}` matches no principal{scope}");
            let base = if are_all_clusters { Diagnostic::error(message) } else { Diagnostic::warning(message) };
            let base = base
                .primary_label(pattern.span, "")
                .with_because("no entry before or after this plan is for such a principal, so it protects nothing");
            let principals = clusters.iter().flat_map(|cluster| &cluster.principals).map(String::as_str);
            diagnostics.push(match closest_qualified_match(text, principals) {
                Some(near) => base.with_help(format!("did you mean `{near}`?")),
                None => base.with_help("correct the pattern, or remove it"),
            });
        }
        for (index, pattern) in policy.ownership.ignore.iter().enumerate() {
            if is_unmatched(index, |cluster| &cluster.ignore) {
                let message = format!("ignore pattern `{}` matches nothing{scope}", pattern.value.as_str());
                diagnostics.push(
                    Diagnostic::lint(LintId::UnmatchedIgnore, message)
                        .primary_label(pattern.span, "")
                        .with_because("no entry, role or binding of the cluster matches it")
                        .with_help("correct the pattern, or remove it"),
                );
            }
        }
        policy.lint.apply(diagnostics)
    }
}
