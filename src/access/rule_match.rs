//! Whether one rule allows one request, word for word as Kubernetes decides it, and what it lacks where it does not.
//!
//! Source: kubernetes v1.36.3 `pkg/apis/rbac/v1/evaluation_helpers.go` and `plugin/pkg/auth/authorizer/rbac/rbac.go`
//! (`RuleAllows`).

use super::request::{ObjectRequest, Request};
use crate::state::rbac::Rule;

pub(super) const WILDCARD: &str = "*";

/// A part of a request that a rule does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RuleMismatch {
    Namespace,
    Verb,
    Name,
    Resource,
    Group,
    Url,
}

/// Whether the rule allows the request, where its binding counts.
pub(crate) fn rule_allows(rule: &Rule, request: &Request) -> bool {
    match request {
        Request::Object(asked) => {
            list_matches(&rule.verbs, &asked.verb)
                && list_matches(&rule.api_groups, &asked.group)
                && resource_matches(rule, asked)
                && name_matches(rule, asked)
        }
        Request::Url { verb, path } => list_matches(&rule.verbs, verb) && url_matches(rule, path),
    }
}

/// What the rule lacks; nothing of a rule that is about something else altogether.
pub(super) fn rule_mismatches(rule: &Rule, request: &Request) -> Vec<RuleMismatch> {
    let checks = match request {
        Request::Object(asked) => vec![
            (RuleMismatch::Verb, list_matches(&rule.verbs, &asked.verb)),
            (RuleMismatch::Name, name_matches(rule, asked)),
            (RuleMismatch::Resource, resource_matches(rule, asked)),
            (RuleMismatch::Group, list_matches(&rule.api_groups, &asked.group)),
        ],
        Request::Url { verb, path } => {
            vec![(RuleMismatch::Verb, list_matches(&rule.verbs, verb)), (RuleMismatch::Url, url_matches(rule, path))]
        }
    };
    checks.into_iter().filter(|(_, held)| !held).map(|(lack, _)| lack).collect()
}

fn list_matches(words: &[String], asked: &str) -> bool {
    words.iter().any(|word| word == WILDCARD || word == asked)
}

fn resource_matches(rule: &Rule, asked: &ObjectRequest) -> bool {
    let (resource, subresource) = (asked.resource.as_str(), asked.subresource.as_str());
    rule.resources.iter().any(|word| match word.strip_prefix(resource) {
        _ if word == WILDCARD => true,
        Some(rest) if subresource.is_empty() && rest.is_empty() => true,
        Some(rest) if !subresource.is_empty() && rest.strip_prefix('/') == Some(subresource) => true,
        _ => !subresource.is_empty() && word.strip_prefix("*/") == Some(subresource),
    })
}

fn name_matches(rule: &Rule, asked: &ObjectRequest) -> bool {
    rule.resource_names.is_empty() || rule.resource_names.contains(&asked.name)
}

fn url_matches(rule: &Rule, path: &str) -> bool {
    rule.non_resource_urls.iter().any(|url| url_covers(url, path))
}

/// Stars at the end of a pattern stand for any rest, and nowhere else for anything: for a path as for another pattern.
pub(super) fn url_covers(pattern: &str, url: &str) -> bool {
    pattern == url || pattern.ends_with('*') && url.starts_with(pattern.trim_end_matches('*'))
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
            non_resource_urls: Vec::new(),
        }
    }

    fn gets(resources: &[&str], asked: &str) -> bool {
        rule_allows(&rule(&["get"], &[""], resources, &[]), &Request::object("get", "", asked))
    }

    #[test]
    fn a_star_takes_subresources_and_a_resource_does_not() {
        assert!(gets(&["*"], "pods") && gets(&["*"], "pods/log"));
        assert!(gets(&["pods"], "pods") && !gets(&["pods"], "pods/log"));
        assert!(gets(&["pods/log"], "pods/log") && !gets(&["pods/log"], "pods"));
        assert!(gets(&["*/scale"], "anything/scale") && !gets(&["*/scale"], "anything"));
        assert!(!gets(&["*/scale"], "anything/upscale"));
    }

    #[test]
    fn a_star_behind_a_resource_matches_nothing() {
        assert!(!gets(&["pods/*"], "pods") && !gets(&["pods/*"], "pods/log"));
    }

    #[test]
    fn words_are_compared_with_their_case() {
        assert!(!gets(&["PODS"], "pods"));
        let shout = rule(&["GET", "Get"], &[""], &["pods"], &[]);
        assert!(!rule_allows(&shout, &Request::object("get", "", "pods")));
    }

    #[test]
    fn a_verb_star_is_every_verb_and_all_verbs_are_not_a_star() {
        let star = rule(&["*"], &["rbac.authorization.k8s.io"], &["clusterroles"], &[]);
        let ask = |verb: &str| Request::object(verb, "rbac.authorization.k8s.io", "clusterroles");
        assert!(["get", "escalate", "bind", "anything", "*"].iter().all(|verb| rule_allows(&star, &ask(verb))));
        let listed = rule(&["get", "list"], &["rbac.authorization.k8s.io"], &["clusterroles"], &[]);
        assert!(!rule_allows(&listed, &ask("*")));
    }

    #[test]
    fn names_are_exact_and_no_name_is_a_name() {
        let one = rule(&["create", "get", "list", "patch"], &[""], &["secrets"], &["db"]);
        let ask = |verb: &str| Request::object(verb, "", "secrets");
        // A POST has no name; apply and a list by field selector have.
        assert!(!rule_allows(&one, &ask("create")) && rule_allows(&one, &ask("create").with_name("db")));
        assert!(!rule_allows(&one, &ask("list")) && rule_allows(&one, &ask("list").with_name("db")));
        assert!(rule_allows(&one, &ask("patch").with_name("db")) && !rule_allows(&one, &ask("get").with_name("other")));
        let star = rule(&["get"], &[""], &["secrets"], &["*"]);
        assert!(!rule_allows(&star, &ask("get").with_name("db")) && rule_allows(&star, &ask("get").with_name("*")));
        let empty = rule(&["list", "create", "get"], &[""], &["secrets"], &[""]);
        assert!(rule_allows(&empty, &ask("list")) && rule_allows(&empty, &ask("create")));
        assert!(!rule_allows(&empty, &ask("get").with_name("db")));
    }

    #[test]
    fn a_star_in_a_url_counts_at_the_end_alone() {
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
    fn a_near_rule_says_what_it_lacks() {
        let near = rule(&["get"], &[""], &["secrets"], &["db"]);
        let asked = Request::object("list", "", "secrets").with_name("other");
        assert_eq!(rule_mismatches(&near, &asked), [RuleMismatch::Verb, RuleMismatch::Name]);
    }
}
