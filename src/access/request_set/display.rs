//! Sets of requests in words: `get, list on every resource, everywhere`, `get secrets in team-a`.

use std::fmt;

use super::product::{ObjectRequestSet, RequestSet, UrlRequestSet};
use super::request_set_except::RequestSetExcept;
use super::resource_set::ResourceSet;
use super::string_set::StringSet;
use super::url_set::UrlSet;

impl fmt::Display for RequestSetExcept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)?;
        for (place, except) in self.except.iter().enumerate() {
            write!(f, "{} {except}", if place == 0 { ", but not" } else { ";" })?;
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
            let what = format_resources(resources, groups);
            let on = if what.starts_with("every ") || !verbs.is_finite() { " on" } else { "" };
            write!(f, "{}{on} {what}{}", format_verbs(verbs), format_names(names))?;
        }
        f.write_str(&format_namespaces(namespaces))
    }
}

impl fmt::Display for UrlRequestSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urls, verbs } = self;
        let what = format_urls(urls);
        let on = if what.starts_with("every ") || !verbs.is_finite() { " on" } else { "" };
        write!(f, "{}{on} {what}", format_verbs(verbs))
    }
}

fn with_exceptions(all: &str, listed: &[String]) -> String {
    if listed.is_empty() { all.to_owned() } else { format!("{all} but {}", listed.join(", ")) }
}

fn replace_empty(words: &[&str], empty: &str) -> Vec<String> {
    words.iter().map(|word| if word.is_empty() { empty.to_owned() } else { (*word).to_owned() }).collect()
}

fn format_verbs(verbs: &StringSet<'_>) -> String {
    match verbs.listed() {
        (listed, true) => with_exceptions("every verb", &replace_empty(listed, "\"\"")),
        (listed, false) => replace_empty(listed, "\"\"").join(", "),
    }
}

fn format_names(names: &StringSet<'_>) -> String {
    match names.listed() {
        ([], true) => String::new(),
        ([""], true) => " by name".to_owned(),
        ([""], false) => " without a name".to_owned(),
        (listed, true) => format!(" not named {}", replace_empty(listed, "nothing").join(", ")),
        (listed, false) => format!(" named {}", replace_empty(listed, "nothing").join(", ")),
    }
}

fn format_namespaces(namespaces: &StringSet<'_>) -> String {
    match namespaces.listed() {
        ([], true) => ", everywhere".to_owned(),
        ([""], true) => ", in every namespace".to_owned(),
        ([""], false) => ", outside namespaces".to_owned(),
        (listed, true) => format!(", everywhere but in {}", replace_empty(listed, "no namespace").join(", ")),
        (listed, false) => format!(" in {}", replace_empty(listed, "no namespace").join(", ")),
    }
}

/// The resources with their API groups: `pods`, `deployments.apps/scale`, `every resource of apps but …`.
fn format_resources(resources: &ResourceSet<'_>, groups: &StringSet<'_>) -> String {
    let suffix = match groups.listed() {
        ([""], false) | ([], true) => "",
        ([group], false) => *group,
        _ => "",
    };
    let mut listed = Vec::new();
    let mut missing = Vec::new();
    let (each, others) = resources.parts();
    for (subresource, words) in each {
        listed.extend(format_resource_names(&words.minus(others), subresource, suffix));
        missing.extend(format_resource_names(&others.minus(words), subresource, suffix));
    }
    let whole = match others.listed() {
        ([], false) => None,
        ([], true) => Some("every resource".to_owned()),
        (names, false) => Some(format!("every subresource of {}", names.join(", "))),
        (names, true) => Some(format!("every resource but {} with all subresources", names.join(", "))),
    };
    let is_listed = whole.is_none();
    let whole = whole.map(|whole| format!("{whole}{}", format_groups(groups)));
    let mut all: Vec<String> = whole.map(|whole| with_exceptions(&whole, &missing)).into_iter().collect();
    all.append(&mut listed);
    let all = all.join(", ");
    if is_listed && suffix.is_empty() && !is_core(groups) { format!("{all}{}", format_groups(groups)) } else { all }
}

fn is_core(groups: &StringSet<'_>) -> bool {
    matches!(groups.listed(), ([""], false))
}

fn format_groups(groups: &StringSet<'_>) -> String {
    match groups.listed() {
        ([], true) => String::new(),
        (listed, true) => format!(" of {}", with_exceptions("every API group", &replace_empty(listed, "core"))),
        (listed, false) => format!(" of {}", replace_empty(listed, "core").join(", ")),
    }
}

fn format_resource_names(resources: &StringSet<'_>, subresource: &str, group: &str) -> Vec<String> {
    let one = |resource: &str| {
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{resource}{dot}{group}{slash}{subresource}")
    };
    match resources.listed() {
        (listed, false) => listed.iter().map(|resource| one(resource)).collect(),
        (listed, true) => {
            let all = if subresource.is_empty() {
                "every resource itself".to_owned()
            } else {
                format!("every resource's {subresource}")
            };
            let listed: Vec<String> = listed.iter().map(|resource| one(resource)).collect();
            vec![with_exceptions(&all, &listed)]
        }
    }
}

fn format_urls(urls: &UrlSet<'_>) -> String {
    let mut words = String::new();
    let mut was_in = true;
    let mut first = true;
    for (pattern, inside) in urls.patterns() {
        let text = pattern.to_string();
        let text = if text == "*" { "every URL".to_owned() } else { text };
        let link = match (first, was_in, inside) {
            (true, ..) => "",
            (false, true, false) => " but not ",
            (false, false, true) => ", and ",
            (false, ..) => ", ",
        };
        words.push_str(link);
        words.push_str(&text);
        (was_in, first) = (inside, false);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::{RequestSetExcept, subtract};
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    fn said(text: &str, namespaces: &StringSet<'static>) -> String {
        let rule = rule(text);
        let extents = RequestSet::from_rule_objects(&rule, namespaces.clone())
            .into_iter()
            .chain(RequestSet::from_rule_urls(&rule));
        extents.map(|extent| extent.to_string()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_rule_reads_like_a_sentence() {
        let (all, team) = (StringSet::all(), StringSet::only(["team-a", "team-b"]));
        let cases = [
            (
                r#"{"verbs":["list","get"],"apiGroups":["*"],"resources":["*"]}"#,
                &all,
                "get, list on every resource, everywhere",
            ),
            (r#"{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}"#, &team, "get secrets in team-a, team-b"),
            (r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}"#, &all, "everything, everywhere"),
            (
                r#"{"verbs":["*"],"apiGroups":["apps"],"resources":["*"]}"#,
                &team,
                "every verb on every resource of apps in team-a, team-b",
            ),
            (
                r#"{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments/scale","jobs"]}"#,
                &team,
                "get jobs.apps, deployments.apps/scale in team-a, team-b",
            ),
            (
                r#"{"verbs":["get"],"apiGroups":["","apps"],"resources":["pods"],"resourceNames":["a"]}"#,
                &all,
                "get pods of core, apps named a, everywhere",
            ),
            (
                r#"{"verbs":["update"],"apiGroups":["*"],"resources":["*/scale"]}"#,
                &all,
                "update on every resource's scale, everywhere",
            ),
            (r#"{"verbs":["get"],"nonResourceURLs":["/metrics","/api/*"]}"#, &all, "get /api/*, /metrics"),
            (r#"{"verbs":["*"],"nonResourceURLs":["*"]}"#, &all, "every verb on every URL"),
        ];
        for (text, namespaces, words) in cases {
            assert_eq!(said(text, namespaces), words);
        }
    }

    #[test]
    fn what_is_left_reads_as_parts_or_with_exceptions() {
        let all = StringSet::all();
        let left = |of: &str, taken: &[(&str, &StringSet<'static>)]| {
            let of = rule(of);
            let taken: Vec<(Rule, _)> = taken.iter().map(|(text, namespaces)| (rule(text), *namespaces)).collect();
            let taken: Vec<_> =
                taken.iter().filter_map(|(rule, all)| RequestSet::from_rule_objects(rule, (*all).clone())).collect();
            let regions: Vec<RequestSetExcept<'_>> = RequestSet::from_rule_objects(&of, StringSet::all())
                .iter()
                .flat_map(|extent| subtract(extent, &taken))
                .collect();
            regions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
        };
        let viewer = r#"{"verbs":["get","list"],"apiGroups":["*"],"resources":["*"]}"#;
        let secrets = r#"{"verbs":["get","list"],"apiGroups":["*"],"resources":["secrets"]}"#;
        assert_eq!(left(viewer, &[(secrets, &all)]), "get, list on every resource but secrets, everywhere");
        let pods = r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}"#;
        assert_eq!(
            left(viewer, &[(pods, &all)]),
            "get, list on every resource, everywhere, but not get pods, everywhere"
        );
        let team = StringSet::only(["team-a"]);
        assert_eq!(left(pods, &[(pods, &team)]), "get pods, everywhere but in team-a");
        let more = r#"{"verbs":["get","list"],"apiGroups":[""],"resources":["pods","services"]}"#;
        assert_eq!(left(more, &[(pods, &all)]), "get, list services, everywhere | list pods, everywhere");
        assert_eq!(left(pods, &[(viewer, &all)]), "");
    }
}
