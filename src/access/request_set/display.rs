//! Sets of requests as text: `get, list on every resource in all namespaces`, `get secrets in team-a`.
//!
//! `plan::fingerprint` compares access changes by this text, so sets of the same kind that differ must differ in text.

use std::fmt;

use super::product::{ObjectRequestSet, RequestSet, UrlRequestSet};
use super::request_set_except::RequestSetExcept;
use super::resource_set::ResourceSet;
use super::string_set::StringSet;
use super::url_set::UrlSet;
use crate::state::access_policies::UNPUBLISHED_GROUP;

impl fmt::Display for RequestSetExcept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)?;
        for (position, except) in self.except.iter().enumerate() {
            write!(f, "{} {except}", if position == 0 { ", except" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Display for RequestSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(set) => set.fmt(f),
            Self::Urls(set) => set.fmt(f),
        }
    }
}

impl fmt::Display for ObjectRequestSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespaces, resources, groups, names, verbs } = self;
        if verbs.is_all() && resources.is_all() && groups.is_all() && names.is_all() {
            write!(f, "everything")?;
        } else {
            if let (Some(policies), ([UNPUBLISHED_GROUP], false)) = (resources.plain_names(), groups.listed()) {
                let policies = policies.join(", ");
                write!(f, "what {policies} allows (AWS does not publish its rules)")?;
                return f.write_str(&format_namespaces(namespaces));
            }
            let resources = format_resources(resources, groups);
            write!(f, "{}{}", join_verbs(verbs, &resources), format_names(names))?;
        }
        f.write_str(&format_namespaces(namespaces))
    }
}

impl fmt::Display for UrlRequestSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urls, verbs } = self;
        f.write_str(&join_verbs(verbs, &format_urls(urls)))
    }
}

/// `get, list secrets`, but `get, list on every resource` and `every verb on secrets`.
fn join_verbs(verbs: &StringSet<'_>, targets: &str) -> String {
    let on = if targets.starts_with("every ") || !verbs.is_finite() { " on" } else { "" };
    format!("{}{on} {targets}", format_verbs(verbs))
}

fn with_exceptions(all: &str, except: &[String]) -> String {
    if except.is_empty() { all.to_owned() } else { format!("{all} except {}", except.join(", ")) }
}

fn replace_empty(strings: &[&str], replacement: &str) -> Vec<String> {
    strings.iter().map(|string| if string.is_empty() { replacement } else { string }.to_owned()).collect()
}

fn format_verbs(verbs: &StringSet<'_>) -> String {
    match verbs.listed() {
        (listed, true) => with_exceptions("every verb", &replace_empty(listed, "\"\"")),
        (listed, false) => replace_empty(listed, "\"\"").join(", "),
    }
}

/// Returns the names. The empty name is a request without a name, such as a list, and sorts before every other name.
fn format_names(names: &StringSet<'_>) -> String {
    match names.listed() {
        ([], true) => String::new(),
        ([""], true) => " by name".to_owned(),
        (["", named @ ..], true) => format!(" by name except {}", named.join(", ")),
        (named, true) => format!(" not named {}", named.join(", ")),
        ([""], false) => " without a name".to_owned(),
        (["", named @ ..], false) => format!(" without a name or named {}", named.join(", ")),
        (named, false) => format!(" named {}", named.join(", ")),
    }
}

/// The empty namespace is a cluster-scoped request. It sorts before every other namespace.
///
/// The text does not tell whether "all namespaces" includes cluster-scoped requests. Grants always include them, since
/// only a ClusterRoleBinding applies to all namespaces. Only an escalation rule that requires a namespaced request
/// excludes them, and then in each of its paths.
pub(in crate::access) fn format_namespaces(namespaces: &StringSet<'_>) -> String {
    match namespaces.listed() {
        ([] | [""], true) => " in all namespaces".to_owned(),
        (["", except @ ..] | except, true) => format!(" in all namespaces except {}", except.join(", ")),
        ([""], false) => " (cluster-scoped)".to_owned(),
        (["", listed @ ..], false) => format!(" (cluster-scoped) and in {}", listed.join(", ")),
        (listed, false) => format!(" in {}", listed.join(", ")),
    }
}

/// Returns the resources with their API groups: `pods`, `deployments.apps/scale`, `every resource of API group apps
/// except …`.
fn format_resources(resources: &ResourceSet<'_>, groups: &StringSet<'_>) -> String {
    // A single group is part of the resource's name, as in `kubectl get deployments.apps`. The core group has no name.
    let suffix = match groups.listed() {
        ([group], false) => Some(*group),
        _ => None,
    };
    let mut listed = Vec::new();
    let mut except = Vec::new();
    let (by_subresource, others) = resources.parts();
    for (subresource, names) in by_subresource {
        listed.extend(format_resource_names(&names.difference(others), subresource, suffix));
        except.extend(format_resource_names(&others.difference(names), subresource, suffix));
    }
    let with_all_subresources = match others.listed() {
        ([], false) => None,
        ([], true) => Some("every resource".to_owned()),
        (names, false) => Some(format!("every subresource of {}{}", names.join(", "), format_all_groups(groups))),
        (names, true) => Some(format!("every resource except {} with all subresources", names.join(", "))),
    };
    let Some(with_all_subresources) = with_all_subresources else {
        let listed = listed.join(", ");
        let groups = if suffix.is_some() {
            String::new()
        } else {
            format!("{}{}", format_groups(groups), format_all_groups(groups))
        };
        return format!("{listed}{groups}");
    };
    let first = with_exceptions(&format!("{with_all_subresources}{}", format_groups(groups)), &except);
    std::iter::once(first).chain(listed).collect::<Vec<_>>().join(", ")
}

fn format_groups(groups: &StringSet<'_>) -> String {
    match groups.listed() {
        ([], true) => String::new(),
        (listed, true) => format!(" of {}", with_exceptions("every API group", &replace_empty(listed, "core"))),
        (&[group], false) => format!(" of API group {}", if group.is_empty() { "core" } else { group }),
        (listed, false) => format!(" of API groups {}", replace_empty(listed, "core").join(", ")),
    }
}

/// Returns the words for all API groups. Without them, a resource is in the core group.
fn format_all_groups(groups: &StringSet<'_>) -> &'static str {
    if groups.is_all() { " of every API group" } else { "" }
}

/// Returns the resources with one subresource. The empty subresource is the resource itself. `only_group` is the only API
/// group of the set.
fn format_resource_names(resources: &StringSet<'_>, subresource: &str, only_group: Option<&str>) -> Vec<String> {
    let group = only_group.unwrap_or_default();
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if subresource.is_empty() { "" } else { "/" };
    let format_name = |resource: &str| format!("{resource}{dot}{group}{slash}{subresource}");
    let (listed, all_but) = resources.listed();
    let listed: Vec<String> = listed.iter().map(|resource| format_name(resource)).collect();
    if !all_but {
        return listed;
    }
    // A rule can name all resources with one subresource, as `*/scale`, but not all resources without subresources.
    let all = match (subresource.is_empty(), only_group) {
        (false, _) => format_name("*"),
        (true, None) => "every resource without its subresources".to_owned(),
        (true, Some("")) => "every resource of API group core without its subresources".to_owned(),
        (true, Some(group)) => format!("every resource of API group {group} without its subresources"),
    };
    vec![with_exceptions(&all, &listed)]
}

fn format_urls(urls: &UrlSet<'_>) -> String {
    let mut text = String::new();
    let mut previous = None;
    for (pattern, included) in urls.patterns() {
        text.push_str(match (previous, included) {
            (None, _) => "",
            (Some(true), false) => " except ",
            (Some(false), true) => ", plus ",
            (Some(_), _) => ", ",
        });
        let pattern = pattern.to_string();
        text.push_str(if pattern == "*" { "every URL" } else { &pattern });
        previous = Some(included);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{RequestSetExcept, subtract};
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    fn format_rule(text: &str, namespaces: &StringSet<'static>) -> String {
        let rule = rule(text);
        let sets = RequestSet::from_rule_objects(&rule, namespaces.clone())
            .into_iter()
            .chain(RequestSet::from_rule_urls(&rule));
        sets.map(|set| set.to_string()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn rules_are_formatted_as_text() {
        let (all, team) = (StringSet::all(), StringSet::only(["team-a", "team-b"]));
        let cases = [
            (
                r#"{"verbs":["list","get"],"apiGroups":["*"],"resources":["*"]}"#,
                &all,
                "get, list on every resource in all namespaces",
            ),
            (r#"{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}"#, &team, "get secrets in team-a, team-b"),
            (r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}"#, &all, "everything in all namespaces"),
            (
                r#"{"verbs":["*"],"apiGroups":["apps"],"resources":["*"]}"#,
                &team,
                "every verb on every resource of API group apps in team-a, team-b",
            ),
            (
                r#"{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments/scale","jobs"]}"#,
                &team,
                "get jobs.apps, deployments.apps/scale in team-a, team-b",
            ),
            (
                r#"{"verbs":["get"],"apiGroups":["","apps"],"resources":["pods"],"resourceNames":["a"]}"#,
                &all,
                "get pods of API groups core, apps named a in all namespaces",
            ),
            (
                r#"{"verbs":["update"],"apiGroups":["*"],"resources":["*/scale"]}"#,
                &all,
                "update */scale of every API group in all namespaces",
            ),
            (
                r#"{"verbs":["get"],"apiGroups":["*"],"resources":["pods","pods/log"]}"#,
                &team,
                "get pods, pods/log of every API group in team-a, team-b",
            ),
            (r#"{"verbs":["get"],"nonResourceURLs":["/metrics","/api/*"]}"#, &all, "get /api/*, /metrics"),
            (r#"{"verbs":["*"],"nonResourceURLs":["*"]}"#, &all, "every verb on every URL"),
        ];
        for (text, namespaces, expected) in cases {
            assert_eq!(format_rule(text, namespaces), expected);
        }
    }

    #[test]
    fn empty_names_and_namespaces_are_spelled_out() {
        let names = |set: StringSet<'_>| format_names(&set);
        assert_eq!(names(StringSet::only(["", "aws-auth"])), " without a name or named aws-auth");
        assert_eq!(names(StringSet::all_but(["", "aws-auth"])), " by name except aws-auth");
        assert_eq!(names(StringSet::all_but(["aws-auth"])), " not named aws-auth");
        let namespaces = |set: StringSet<'_>| format_namespaces(&set);
        assert_eq!(namespaces(StringSet::only([""])), " (cluster-scoped)");
        assert_eq!(namespaces(StringSet::only(["", "team-a"])), " (cluster-scoped) and in team-a");
        assert_eq!(namespaces(StringSet::all_but([""])), " in all namespaces");
        assert_eq!(namespaces(StringSet::all_but(["", "team-a"])), " in all namespaces except team-a");
    }

    #[test]
    fn urls_are_formatted_from_short_to_long() {
        let urls = UrlSet::all().difference(&UrlSet::from_rule(["/api*"])).union(&UrlSet::from_rule(["/api/v1"]));
        assert_eq!(format_urls(&urls), "every URL except /api*, plus /api/v1");
        assert_eq!(format_urls(&UrlSet::from_rule(["/metrics", "/api/*"])), "/api/*, /metrics");
    }

    #[test]
    fn differences_are_formatted_as_parts_or_with_exceptions() {
        let all = StringSet::all();
        let format_difference = |text: &str, removed: &[(&str, &StringSet<'static>)]| {
            let minuend = rule(text);
            let removed: Vec<(Rule, _)> = removed.iter().map(|(text, namespaces)| (rule(text), *namespaces)).collect();
            let removed: Vec<_> = removed
                .iter()
                .filter_map(|(rule, namespaces)| RequestSet::from_rule_objects(rule, (*namespaces).clone()))
                .collect();
            let parts: Vec<RequestSetExcept<'_>> = RequestSet::from_rule_objects(&minuend, StringSet::all())
                .iter()
                .flat_map(|set| subtract(set, &removed))
                .collect();
            parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
        };
        let viewer = r#"{"verbs":["get","list"],"apiGroups":["*"],"resources":["*"]}"#;
        let secrets = r#"{"verbs":["get","list"],"apiGroups":["*"],"resources":["secrets"]}"#;
        assert_eq!(
            format_difference(viewer, &[(secrets, &all)]),
            "get, list on every resource except secrets in all namespaces"
        );
        let pods = r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}"#;
        assert_eq!(
            format_difference(viewer, &[(pods, &all)]),
            "get, list on every resource in all namespaces, except get pods in all namespaces"
        );
        let team = StringSet::only(["team-a"]);
        assert_eq!(format_difference(pods, &[(pods, &team)]), "get pods in all namespaces except team-a");
        let more = r#"{"verbs":["get","list"],"apiGroups":[""],"resources":["pods","services"]}"#;
        assert_eq!(
            format_difference(more, &[(pods, &all)]),
            "get, list services in all namespaces | list pods in all namespaces"
        );
        assert_eq!(format_difference(pods, &[(viewer, &all)]), "");
    }
}
