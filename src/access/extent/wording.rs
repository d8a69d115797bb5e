//! Sets of requests in words: `get, list on every resource, everywhere`, `get secrets in team-a`.

use std::fmt;

use super::product::{Extent, Objects, Paths};
use super::region::Region;
use super::resources::Resources;
use super::urls::Urls;
use super::words::Words;

impl fmt::Display for Region<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.extent.fmt(f)?;
        for (place, except) in self.except.iter().enumerate() {
            write!(f, "{} {except}", if place == 0 { ", but not" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(set) => set.fmt(f),
            Self::Paths(set) => set.fmt(f),
        }
    }
}

impl fmt::Display for Objects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespaces, resources, groups, names, verbs } = self;
        if verbs.is_all() && resources.is_all() && groups.is_all() && names.is_all() {
            write!(f, "everything")?;
        } else {
            let what = what(resources, groups);
            let on = if what.starts_with("every ") || !verbs.is_finite() { " on" } else { "" };
            write!(f, "{}{on} {what}{}", verb_words(verbs), name_words(names))?;
        }
        f.write_str(&place_words(namespaces))
    }
}

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urls, verbs } = self;
        let what = url_words(urls);
        let on = if what.starts_with("every ") || !verbs.is_finite() { " on" } else { "" };
        write!(f, "{}{on} {what}", verb_words(verbs))
    }
}

fn but(all: &str, listed: &[String]) -> String {
    if listed.is_empty() { all.to_owned() } else { format!("{all} but {}", listed.join(", ")) }
}

fn quoted(words: &[&str], empty: &str) -> Vec<String> {
    words.iter().map(|word| if word.is_empty() { empty.to_owned() } else { (*word).to_owned() }).collect()
}

fn verb_words(verbs: &Words<'_>) -> String {
    match verbs.listed() {
        (listed, true) => but("every verb", &quoted(listed, "\"\"")),
        (listed, false) => quoted(listed, "\"\"").join(", "),
    }
}

fn name_words(names: &Words<'_>) -> String {
    match names.listed() {
        ([], true) => String::new(),
        ([""], true) => " by name".to_owned(),
        ([""], false) => " without a name".to_owned(),
        (listed, true) => format!(" not named {}", quoted(listed, "nothing").join(", ")),
        (listed, false) => format!(" named {}", quoted(listed, "nothing").join(", ")),
    }
}

fn place_words(namespaces: &Words<'_>) -> String {
    match namespaces.listed() {
        ([], true) => ", everywhere".to_owned(),
        ([""], true) => ", in every namespace".to_owned(),
        ([""], false) => ", outside namespaces".to_owned(),
        (listed, true) => format!(", everywhere but in {}", quoted(listed, "no namespace").join(", ")),
        (listed, false) => format!(" in {}", quoted(listed, "no namespace").join(", ")),
    }
}

/// The resources with their API groups: `pods`, `deployments.apps/scale`, `every resource of apps but …`.
fn what(resources: &Resources<'_>, groups: &Words<'_>) -> String {
    let suffix = match groups.listed() {
        ([""], false) | ([], true) => "",
        ([group], false) => *group,
        _ => "",
    };
    let mut listed = Vec::new();
    let mut missing = Vec::new();
    let (each, others) = resources.parts();
    for (subresource, words) in each {
        listed.extend(resource_words(&words.minus(others), subresource, suffix));
        missing.extend(resource_words(&others.minus(words), subresource, suffix));
    }
    let whole = match others.listed() {
        ([], false) => None,
        ([], true) => Some("every resource".to_owned()),
        (names, false) => Some(format!("every subresource of {}", names.join(", "))),
        (names, true) => Some(format!("every resource but {} with all subresources", names.join(", "))),
    };
    let is_listed = whole.is_none();
    let whole = whole.map(|whole| format!("{whole}{}", group_words(groups)));
    let mut all: Vec<String> = whole.map(|whole| but(&whole, &missing)).into_iter().collect();
    all.append(&mut listed);
    let all = all.join(", ");
    if is_listed && suffix.is_empty() && !is_core(groups) { format!("{all}{}", group_words(groups)) } else { all }
}

fn is_core(groups: &Words<'_>) -> bool {
    matches!(groups.listed(), ([""], false))
}

fn group_words(groups: &Words<'_>) -> String {
    match groups.listed() {
        ([], true) => String::new(),
        (listed, true) => format!(" of {}", but("every API group", &quoted(listed, "core"))),
        (listed, false) => format!(" of {}", quoted(listed, "core").join(", ")),
    }
}

fn resource_words(resources: &Words<'_>, subresource: &str, group: &str) -> Vec<String> {
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
            vec![but(&all, &listed)]
        }
    }
}

fn url_words(urls: &Urls<'_>) -> String {
    let mut words = String::new();
    let mut was_in = true;
    let mut first = true;
    for (pattern, inside) in urls.marks() {
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
    use super::super::{Region, without};
    use super::*;
    use crate::state::rbac::Rule;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    fn said(text: &str, namespaces: &Words<'static>) -> String {
        let rule = rule(text);
        let extents = Extent::objects(&rule, namespaces.clone()).into_iter().chain(Extent::paths(&rule));
        extents.map(|extent| extent.to_string()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_rule_reads_like_a_sentence() {
        let (all, team) = (Words::all(), Words::only(["team-a", "team-b"]));
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
        let all = Words::all();
        let left = |of: &str, taken: &[(&str, &Words<'static>)]| {
            let of = rule(of);
            let taken: Vec<(Rule, _)> = taken.iter().map(|(text, namespaces)| (rule(text), *namespaces)).collect();
            let taken: Vec<_> = taken.iter().filter_map(|(rule, all)| Extent::objects(rule, (*all).clone())).collect();
            let regions: Vec<Region<'_>> =
                Extent::objects(&of, Words::all()).iter().flat_map(|extent| without(extent, &taken)).collect();
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
        let team = Words::only(["team-a"]);
        assert_eq!(left(pods, &[(pods, &team)]), "get pods, everywhere but in team-a");
        let more = r#"{"verbs":["get","list"],"apiGroups":[""],"resources":["pods","services"]}"#;
        assert_eq!(left(more, &[(pods, &all)]), "get, list services, everywhere | list pods, everywhere");
        assert_eq!(left(pods, &[(viewer, &all)]), "");
    }
}
