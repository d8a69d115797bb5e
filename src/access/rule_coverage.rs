//! Whether rules that somebody holds cover others, as the API server asks before it lets him write them into a role.
//!
//! Source: k8s.io/component-helpers v0.36.3 `auth/rbac/validation/policy_comparator.go` (`Covers`, `ruleCovers`), which
//! compares word by word: all verbs in a list do not cover `*`. kubernetes v1.36.3 `pkg/registry/rbac` asks it.

use super::access_view::AccessView;
use super::identity::Identity;
use super::request::Request;
use super::rule_match::url_covers;
use crate::state::rbac::Rule;

const WILDCARD: &str = "*";

/// What of the wanted rules is not covered, in as small pieces as are compared.
pub(crate) fn uncovered(held: &[&Rule], wanted: &[Rule]) -> Vec<Rule> {
    let is_covered = |piece: &Rule| held.iter().any(|owner| rule_covers(owner, piece));
    let open = wanted.iter().filter(|rule| !is_covered(rule));
    let mut out: Vec<Rule> = open.flat_map(split_rule).filter(|piece| !is_covered(piece)).collect();
    out.sort();
    out.dedup();
    out
}

/// A rule as rules of one word in each list.
fn split_rule(rule: &Rule) -> Vec<Rule> {
    let Rule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
    let mut out = Vec::new();
    let one = |word: &String| vec![word.clone()];
    for verb in verbs {
        for group in api_groups {
            for resource in resources {
                let piece =
                    Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                if resource_names.is_empty() {
                    out.push(piece.clone());
                }
                out.extend(resource_names.iter().map(|name| Rule { resource_names: one(name), ..piece.clone() }));
            }
        }
        out.extend(non_resource_urls.iter().map(|url| Rule {
            verbs: one(verb),
            non_resource_urls: one(url),
            ..Rule::default()
        }));
    }
    out
}

fn rule_covers(owner: &Rule, sub: &Rule) -> bool {
    let all_of = |list: &[String], words: &[String]| words.iter().all(|word| list.contains(word));
    let any = |list: &[String]| list.iter().any(|word| word == WILDCARD);
    let names = match (owner.resource_names.is_empty(), sub.resource_names.is_empty()) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => all_of(&owner.resource_names, &sub.resource_names),
    };
    names
        && (any(&owner.verbs) || all_of(&owner.verbs, &sub.verbs))
        && (any(&owner.api_groups) || all_of(&owner.api_groups, &sub.api_groups))
        && (any(&owner.resources) || sub.resources.iter().all(|resource| resource_covers(&owner.resources, resource)))
        && sub.non_resource_urls.iter().all(|url| owner.non_resource_urls.iter().any(|own| url_covers(own, url)))
}

fn resource_covers(owner: &[String], resource: &str) -> bool {
    let subresource = resource.split_once('/').map(|(_, sub)| format!("{WILDCARD}/{sub}"));
    owner.iter().any(|own| own == resource || subresource.as_ref() == Some(own))
}

impl<'s> AccessView<'s> {
    /// Whether a rule of RBAC lets somebody who is in do it.
    pub(crate) fn is_allowed(&self, identity: &Identity, request: &Request) -> bool {
        !self.grant_sources(identity, &self.grants.grants_for_identity(identity), request).is_empty()
    }

    /// The rules that count in a namespace, or outside of all.
    pub(crate) fn rules_in_namespace(&self, identity: &Identity, namespace: Option<&str>) -> Vec<&'s Rule> {
        let grants = self.grants.grants_for_identity(identity);
        let held = self.rules_of_grants(&grants).into_iter();
        held.filter(|held| held.namespace.is_none_or(|own| namespace == Some(own))).map(|held| held.path.rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..Rule::default()
        }
    }

    fn urls(verbs: &[&str], urls: &[&str]) -> Rule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Rule { verbs: list(verbs), non_resource_urls: list(urls), ..Rule::default() }
    }

    #[track_caller]
    fn covers(held: &Rule, wanted: &Rule) -> bool {
        uncovered(&[held], std::slice::from_ref(wanted)).is_empty()
    }

    #[test]
    fn all_verbs_in_a_list_do_not_cover_a_star() {
        // Trap 43.
        let every = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        assert!(!covers(&rule(&every, &[""], &["pods"], &[]), &rule(&["*"], &[""], &["pods"], &[])));
        assert!(covers(&rule(&["*"], &[""], &["pods"], &[]), &rule(&every, &[""], &["pods"], &[])));
        assert!(!covers(&rule(&["get"], &[""], &["pods", "pods/log"], &[]), &rule(&["get"], &[""], &["*"], &[])));
        assert!(!covers(&rule(&["get"], &[""], &["pods"], &[]), &rule(&["get"], &["*"], &["pods"], &[])));
    }

    #[test]
    fn subresources_names_and_urls_are_compared_as_they_are_there() {
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
    fn several_rules_cover_one_together_and_what_is_left_is_told() {
        let (get, list) = (rule(&["get"], &[""], &["pods"], &[]), rule(&["list"], &[""], &["pods"], &[]));
        let wanted = [rule(&["get", "list", "watch"], &[""], &["pods"], &[])];
        assert_eq!(uncovered(&[&get, &list], &wanted), [rule(&["watch"], &[""], &["pods"], &[])]);
    }
}
