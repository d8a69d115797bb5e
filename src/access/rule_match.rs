//! Whether a rule allows a request, decided as Kubernetes decides it, and which attributes of the request do not match.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/v1/evaluation_helpers.go` and `plugin/pkg/auth/authorizer/rbac/rbac.go`
//! (`RuleAllows`).

use super::request::{ObjectRequest, Request};
use crate::state::rbac::Rule;

pub(super) const WILDCARD: &str = "*";

/// An attribute of a request that a rule or its binding does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RuleMismatch {
    Namespace,
    Verb,
    Name,
    Resource,
    Group,
    Url,
}

/// Returns whether the rule allows the request. The scope of its binding is not considered.
pub(crate) fn rule_allows(rule: &Rule, request: &Request) -> bool {
    match request {
        Request::Object(request) => {
            list_matches(&rule.verbs, &request.verb)
                && list_matches(&rule.api_groups, &request.group)
                && resource_matches(rule, request)
                && name_matches(rule, request)
        }
        Request::Url { verb, path } => list_matches(&rule.verbs, verb) && url_matches(rule, path),
    }
}

/// Returns the attributes of the request that the rule does not match.
pub(super) fn rule_mismatches(rule: &Rule, request: &Request) -> Vec<RuleMismatch> {
    let checks = match request {
        Request::Object(request) => vec![
            (RuleMismatch::Verb, list_matches(&rule.verbs, &request.verb)),
            (RuleMismatch::Name, name_matches(rule, request)),
            (RuleMismatch::Resource, resource_matches(rule, request)),
            (RuleMismatch::Group, list_matches(&rule.api_groups, &request.group)),
        ],
        Request::Url { verb, path } => {
            vec![(RuleMismatch::Verb, list_matches(&rule.verbs, verb)), (RuleMismatch::Url, url_matches(rule, path))]
        }
    };
    checks.into_iter().filter(|(_, matches)| !matches).map(|(mismatch, _)| mismatch).collect()
}

fn list_matches(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == WILDCARD || item == value)
}

fn resource_matches(rule: &Rule, request: &ObjectRequest) -> bool {
    let (resource, subresource) = (request.resource.as_str(), request.subresource.as_str());
    rule.resources.iter().any(|item| match item.strip_prefix(resource) {
        _ if item == WILDCARD => true,
        Some(rest) if subresource.is_empty() && rest.is_empty() => true,
        Some(rest) if !subresource.is_empty() && rest.strip_prefix('/') == Some(subresource) => true,
        _ => !subresource.is_empty() && item.strip_prefix("*/") == Some(subresource),
    })
}

fn name_matches(rule: &Rule, request: &ObjectRequest) -> bool {
    rule.resource_names.is_empty() || rule.resource_names.contains(&request.name)
}

fn url_matches(rule: &Rule, path: &str) -> bool {
    rule.non_resource_urls.iter().any(|url| url_covers(url, path))
}

/// Returns whether a URL pattern matches a path or covers another pattern. `*` is a wildcard at the end of a pattern
/// only.
pub(super) fn url_covers(pattern: &str, url: &str) -> bool {
    pattern == url || pattern.ends_with('*') && url.starts_with(pattern.trim_end_matches('*'))
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
            non_resource_urls: Vec::new(),
        }
    }

    /// Returns whether a rule with these resources allows `get` on the resource.
    fn allows_get(resources: &[&str], resource: &str) -> bool {
        rule_allows(&rule(&["get"], &[""], resources, &[]), &Request::object("get", "", resource))
    }

    #[test]
    fn wildcard_matches_subresources_and_a_resource_name_does_not() {
        assert!(allows_get(&["*"], "pods") && allows_get(&["*"], "pods/log"));
        assert!(allows_get(&["pods"], "pods") && !allows_get(&["pods"], "pods/log"));
        assert!(allows_get(&["pods/log"], "pods/log") && !allows_get(&["pods/log"], "pods"));
        assert!(allows_get(&["*/scale"], "anything/scale") && !allows_get(&["*/scale"], "anything"));
        assert!(!allows_get(&["*/scale"], "anything/upscale"));
    }

    #[test]
    fn wildcard_after_a_slash_matches_nothing() {
        assert!(!allows_get(&["pods/*"], "pods") && !allows_get(&["pods/*"], "pods/log"));
    }

    #[test]
    fn verbs_and_resources_are_case_sensitive() {
        assert!(!allows_get(&["PODS"], "pods"));
        let upper_case = rule(&["GET", "Get"], &[""], &["pods"], &[]);
        assert!(!rule_allows(&upper_case, &Request::object("get", "", "pods")));
    }

    #[test]
    fn verb_wildcard_matches_every_verb_and_listed_verbs_do_not_match_the_wildcard() {
        let wildcard = rule(&["*"], &["rbac.authorization.k8s.io"], &["clusterroles"], &[]);
        let request = |verb: &str| Request::object(verb, "rbac.authorization.k8s.io", "clusterroles");
        assert!(["get", "escalate", "bind", "anything", "*"].iter().all(|verb| rule_allows(&wildcard, &request(verb))));
        let listed = rule(&["get", "list"], &["rbac.authorization.k8s.io"], &["clusterroles"], &[]);
        assert!(!rule_allows(&listed, &request("*")));
    }

    #[test]
    fn resource_names_are_exact_and_the_empty_name_matches_requests_without_a_name() {
        let named = rule(&["create", "get", "list", "patch"], &[""], &["secrets"], &["db"]);
        let request = |verb: &str| Request::object(verb, "", "secrets");
        // A POST has no name. Server-side apply and a list with a field selector have one.
        assert!(!rule_allows(&named, &request("create")) && rule_allows(&named, &request("create").with_name("db")));
        assert!(!rule_allows(&named, &request("list")) && rule_allows(&named, &request("list").with_name("db")));
        assert!(
            rule_allows(&named, &request("patch").with_name("db"))
                && !rule_allows(&named, &request("get").with_name("other"))
        );
        let asterisk = rule(&["get"], &[""], &["secrets"], &["*"]);
        assert!(
            !rule_allows(&asterisk, &request("get").with_name("db"))
                && rule_allows(&asterisk, &request("get").with_name("*"))
        );
        let empty = rule(&["list", "create", "get"], &[""], &["secrets"], &[""]);
        assert!(rule_allows(&empty, &request("list")) && rule_allows(&empty, &request("create")));
        assert!(!rule_allows(&empty, &request("get").with_name("db")));
    }

    #[test]
    fn wildcard_in_a_url_matches_at_the_end_only() {
        let urls = |urls: &[&str]| Rule {
            verbs: vec!["get".into()],
            non_resource_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Rule::default()
        };
        let get = |rule: &Rule, path: &str| rule_allows(rule, &Request::url("get", path));
        assert!(get(&urls(&["*"]), "/metrics") && get(&urls(&["/a*"]), "/a") && get(&urls(&["/a*"]), "/a/b"));
        assert!(get(&urls(&["/a**"]), "/ab") && get(&urls(&["/a*b"]), "/a*b") && !get(&urls(&["/a*b"]), "/axb"));
        assert!(!get(&urls(&["/a/*"]), "/a") && !get(&urls(&["/metrics"]), "/metrics/x"));
        assert!(!rule_allows(&urls(&["*"]), &Request::object("get", "", "pods")));
    }

    #[test]
    fn mismatches_name_the_attributes_that_do_not_match() {
        let rule = rule(&["get"], &[""], &["secrets"], &["db"]);
        let request = Request::object("list", "", "secrets").with_name("other");
        assert_eq!(rule_mismatches(&rule, &request), [RuleMismatch::Verb, RuleMismatch::Name]);
    }
}
