//! Whether the rules of an identity cover other rules. The API server checks this before it lets a user write rules into
//! a role, to prevent privilege escalation (kubernetes v1.36.3 `pkg/registry/rbac`).
//!
//! Source: k8s.io/component-helpers v0.36.3 `auth/rbac/validation/policy_comparator.go` (`Covers`, `ruleCovers`). It
//! compares strings, so a list of all verbs does not cover `*`.

use super::access_view::AccessView;
use super::identity::Identity;
use super::request::Request;
use super::rule_match::url_covers;
use crate::state::rbac::Rule;

const WILDCARD: &str = "*";

/// Returns the part of `requested` that no rule of `owned` covers, split into rules with one item in each list.
pub(crate) fn uncovered(owned: &[&Rule], requested: &[Rule]) -> Vec<Rule> {
    let is_covered = |rule: &Rule| owned.iter().any(|owner| rule_covers(owner, rule));
    let not_covered = requested.iter().filter(|rule| !is_covered(rule));
    let mut uncovered: Vec<Rule> = not_covered.flat_map(split_rule).filter(|rule| !is_covered(rule)).collect();
    uncovered.sort();
    uncovered.dedup();
    uncovered
}

/// Splits a rule into rules with one item in each list, as the API server does (`BreakdownRule`).
fn split_rule(rule: &Rule) -> Vec<Rule> {
    let Rule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
    let mut split = Vec::new();
    let only = |item: &String| vec![item.clone()];
    for verb in verbs {
        for group in api_groups {
            for resource in resources {
                let without_name =
                    Rule { verbs: only(verb), api_groups: only(group), resources: only(resource), ..Rule::default() };
                if resource_names.is_empty() {
                    split.push(without_name.clone());
                }
                split.extend(
                    resource_names.iter().map(|name| Rule { resource_names: only(name), ..without_name.clone() }),
                );
            }
        }
        split.extend(non_resource_urls.iter().map(|url| Rule {
            verbs: only(verb),
            non_resource_urls: only(url),
            ..Rule::default()
        }));
    }
    split
}

fn rule_covers(owner: &Rule, rule: &Rule) -> bool {
    let contains_all = |list: &[String], items: &[String]| items.iter().all(|item| list.contains(item));
    let has_wildcard = |list: &[String]| list.iter().any(|item| item == WILDCARD);
    let names_covered = match (owner.resource_names.is_empty(), rule.resource_names.is_empty()) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => contains_all(&owner.resource_names, &rule.resource_names),
    };
    names_covered
        && (has_wildcard(&owner.verbs) || contains_all(&owner.verbs, &rule.verbs))
        && (has_wildcard(&owner.api_groups) || contains_all(&owner.api_groups, &rule.api_groups))
        && (has_wildcard(&owner.resources)
            || rule.resources.iter().all(|resource| resource_covers(&owner.resources, resource)))
        && rule.non_resource_urls.iter().all(|url| owner.non_resource_urls.iter().any(|own| url_covers(own, url)))
}

fn resource_covers(owner: &[String], resource: &str) -> bool {
    let any_resource = resource.split_once('/').map(|(_, subresource)| format!("{WILDCARD}/{subresource}"));
    owner.iter().any(|own| own == resource || any_resource.as_ref() == Some(own))
}

impl<'s> AccessView<'s> {
    /// Returns whether an identity is allowed to make a request.
    pub(crate) fn is_allowed(&self, identity: &Identity, request: &Request) -> bool {
        !self.grant_sources(identity, &self.grants.grants_for_identity(identity), request).is_empty()
    }

    /// Returns the rules of an identity that apply in a namespace, or without a namespace its cluster-wide rules.
    pub(crate) fn rules_in_namespace(&self, identity: &Identity, namespace: Option<&str>) -> Vec<&'s Rule> {
        let grants = self.grants.grants_for_identity(identity);
        let rules = self.rules_of_grants(&grants).into_iter();
        rules
            .filter(|effective| effective.namespace.is_none_or(|own| namespace == Some(own)))
            .map(|effective| effective.path.rule)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..Rule::default()
        }
    }

    fn urls(verbs: &[&str], urls: &[&str]) -> Rule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Rule { verbs: list(verbs), non_resource_urls: list(urls), ..Rule::default() }
    }

    #[track_caller]
    fn covers(owned: &Rule, requested: &Rule) -> bool {
        uncovered(&[owned], std::slice::from_ref(requested)).is_empty()
    }

    #[test]
    fn list_of_all_verbs_does_not_cover_the_wildcard() {
        let all_verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        assert!(!covers(&rule(&all_verbs, &[""], &["pods"], &[]), &rule(&["*"], &[""], &["pods"], &[])));
        assert!(covers(&rule(&["*"], &[""], &["pods"], &[]), &rule(&all_verbs, &[""], &["pods"], &[])));
        assert!(!covers(&rule(&["get"], &[""], &["pods", "pods/log"], &[]), &rule(&["get"], &[""], &["*"], &[])));
        assert!(!covers(&rule(&["get"], &[""], &["pods"], &[]), &rule(&["get"], &["*"], &["pods"], &[])));
    }

    #[test]
    fn subresources_names_and_urls_are_compared_as_the_api_server_does() {
        let scale = rule(&["get"], &["apps"], &["*/scale"], &[]);
        assert!(covers(&scale, &rule(&["get"], &["apps"], &["deployments/scale"], &[])));
        assert!(!covers(&scale, &rule(&["get"], &["apps"], &["deployments"], &[])));
        let named = rule(&["get"], &[""], &["secrets"], &["a", "b"]);
        assert!(covers(&named, &rule(&["get"], &[""], &["secrets"], &["b"])));
        assert!(!covers(&named, &rule(&["get"], &[""], &["secrets"], &[])));
        assert!(covers(&rule(&["get"], &[""], &["secrets"], &[]), &named));
        assert!(covers(&urls(&["get"], &["/api*"]), &urls(&["get"], &["/apis", "/api/*"])));
        assert!(!covers(&urls(&["get"], &["/api"]), &urls(&["get"], &["/api*"])));
        assert!(!covers(&rule(&["*"], &["*"], &["*"], &[]), &urls(&["get"], &["/metrics"])));
    }

    #[test]
    fn several_rules_cover_a_rule_together_and_the_rest_is_reported() {
        let (get, list) = (rule(&["get"], &[""], &["pods"], &[]), rule(&["list"], &[""], &["pods"], &[]));
        let requested = [rule(&["get", "list", "watch"], &[""], &["pods"], &[])];
        assert_eq!(uncovered(&[&get, &list], &requested), [rule(&["watch"], &[""], &["pods"], &[])]);
    }
}
