//! `[cluster-roles]` and `[roles]`: rules, and what the API server refuses of them or never matches.
//!
//! Source of the rules: kubernetes v1.36.3 `pkg/apis/rbac/validation` (refused) and
//! `pkg/apis/rbac/v1/evaluation_helpers.go` (never matches).

use super::fault::{Fault, Faults};
use super::model::{At, ClusterRole, ClusterRoleContent, Role};
use super::namespaces::namespaces;
use super::scope::filter;
use super::table::{Table, plain};
use crate::diagnostic::nearest;
use crate::names::{is_label_key, is_label_value, path_segment_fault, reserved_prefix};
use crate::state::meta::Labels;
use crate::state::owner::{AGGREGATE_PREFIX, MANAGED_BY};
use crate::state::rbac::Rule;

/// Those that the API server and its own authorizers ask about; others are a matter of extensions.
const VERBS: [&str; 14] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
    "use",
];
const RULE_KEYS: [&str; 5] = ["verbs", "api-groups", "resources", "resource-names", "non-resource-urls"];

/// Holds the name of an object that the policy defines against RBAC and against what is not the policy's to define.
pub(crate) fn object_name(kind: &'static str, name: &At<String>, faults: &mut Faults) {
    if let Some(why) = path_segment_fault(&name.value) {
        let fault = Fault::ObjectName { kind, name: name.value.clone(), why: why.to_owned() };
        faults.push(fault, name.span);
    }
    let why = match reserved_prefix(&name.value) {
        Some("eks:") => "EKS writes `eks:` objects and puts them back",
        Some(_) => "Kubernetes writes `system:` objects and puts them back",
        None if kind == "ClusterRole" && crate::state::owner::DEFAULT_CLUSTER_ROLES.contains(&name.value.as_str()) => {
            "Kubernetes writes this default role and puts it back"
        }
        None => return,
    };
    faults.push(Fault::ReservedObject { name: name.value.clone(), why }, name.span);
}

pub(crate) fn cluster_role(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> ClusterRole {
    table.only(&["rules", "aggregation", "aggregate-to", "labels", "description", "clusters"], faults);
    object_name("ClusterRole", name, faults);
    table.string("description", faults);
    let content = match (table.has("rules"), table.has("aggregation")) {
        (true, true) => {
            let fault = Fault::RulesBesideAggregation { table: table.path.clone() };
            faults.push(fault, table.key_span("aggregation"));
            ClusterRoleContent::Rules(Vec::new())
        }
        (false, false) => {
            let what = "`rules` or `aggregation`".to_owned();
            faults.push(Fault::Missing { table: table.path.clone(), what }, table.span);
            ClusterRoleContent::Rules(Vec::new())
        }
        (true, false) => ClusterRoleContent::Rules(rules(table, false, faults)),
        (false, true) => ClusterRoleContent::Aggregation(aggregation(table, faults)),
    };
    let aggregate_to = table.strings("aggregate-to", faults).unwrap_or_default();
    for role in &aggregate_to {
        let key = format!("{AGGREGATE_PREFIX}{}", role.value);
        if !is_label_key(&key) {
            faults.push(Fault::Label { what: "name for an aggregation label", text: role.value.clone() }, role.span);
        }
    }
    ClusterRole {
        span: name.span,
        content,
        labels: own_labels(table, Some(&aggregate_to), faults),
        aggregate_to,
        clusters: filter(table, faults),
    }
}

pub(crate) fn role(name: &At<String>, table: &Table<'_>, faults: &mut Faults) -> Role {
    table.only(&["rules", "namespaces", "labels", "description", "clusters"], faults);
    object_name("Role", name, faults);
    table.string("description", faults);
    for key in ["rules", "namespaces"] {
        if !table.has(key) {
            let what = format!("`{key}`");
            faults.push(Fault::Missing { table: table.path.clone(), what }, table.span);
        }
    }
    Role {
        span: name.span,
        namespaces: namespaces(table, faults).unwrap_or_default(),
        rules: rules(table, true, faults),
        labels: own_labels(table, None, faults),
        clusters: filter(table, faults),
    }
}

fn aggregation(table: &Table<'_>, faults: &mut Faults) -> Vec<Labels> {
    let selectors = table.tables("aggregation", faults).unwrap_or_default();
    if table.is_empty_list("aggregation") {
        let why = "the API server refuses an aggregation without a selector";
        faults.push(
            Fault::EmptyList { path: table.child_path("aggregation"), key: "aggregation", why },
            table.key_span("aggregation"),
        );
    }
    selectors
        .iter()
        .filter_map(|selector| {
            selector.only(&["match-labels"], faults);
            if !selector.has("match-labels") {
                let what = "`match-labels`".to_owned();
                faults.push(Fault::Missing { table: selector.path.clone(), what }, selector.span);
                return None;
            }
            let found = labels(selector, "match-labels", faults)?;
            if found.is_empty() {
                let why = "takes the rules of every ClusterRole there is, cluster-admin's too";
                faults.push(Fault::Surprising { word: "match-labels = {}".to_owned(), why }, selector.span);
            }
            Some(found)
        })
        .collect()
}

/// Labels that the policy may set: the owner mark is rolecall's. A namespaced Role is aggregated to nothing.
fn own_labels(table: &Table<'_>, aggregate_to: Option<&[At<String>]>, faults: &mut Faults) -> Labels {
    let found = placed_labels(table, "labels", faults).unwrap_or_default();
    for (key, _) in &found {
        let why = match key.value.as_str() {
            "kubernetes.io/bootstrapping" => "it marks what Kubernetes itself writes and puts back",
            MANAGED_BY => "by it rolecall marks what it manages",
            name if name.starts_with("rolecall/") => "by it rolecall marks what it manages",
            name => match (name.strip_prefix(AGGREGATE_PREFIX), aggregate_to) {
                (None, _) => continue,
                (Some(_), None) => {
                    let why = "ClusterRoles alone are aggregated";
                    faults.push(Fault::Dead { word: key.value.clone(), why }, key.span);
                    continue;
                }
                (Some(to), Some(listed)) if listed.iter().any(|role| role.value == to) => {
                    "`aggregate-to` sets it to \"true\" already"
                }
                (Some(_), Some(_)) => continue,
            },
        };
        faults.push(Fault::ReservedLabel { key: key.value.clone(), why }, key.span);
    }
    plain(&found)
}

/// A table of labels, each held against the rules of Kubernetes.
pub(crate) fn labels(table: &Table<'_>, key: &str, faults: &mut Faults) -> Option<Labels> {
    placed_labels(table, key, faults).map(|found| plain(&found))
}

fn placed_labels(table: &Table<'_>, key: &str, faults: &mut Faults) -> Option<Vec<(At<String>, At<String>)>> {
    let found = table.labels(key, faults)?;
    for (key, value) in &found {
        if !is_label_key(&key.value) {
            faults.push(Fault::Label { what: "label key", text: key.value.clone() }, key.span);
        }
        if !is_label_value(&value.value) {
            faults.push(Fault::Label { what: "label value", text: value.value.clone() }, value.span);
        }
    }
    Some(found)
}

fn rules(table: &Table<'_>, namespaced: bool, faults: &mut Faults) -> Vec<Rule> {
    let found = table.tables("rules", faults).unwrap_or_default();
    found.iter().map(|rule| one_rule(rule, namespaced, faults)).collect()
}

fn one_rule(table: &Table<'_>, namespaced: bool, faults: &mut Faults) -> Rule {
    table.only(&RULE_KEYS, faults);
    let [verbs, groups, resources, names, urls] = RULE_KEYS.map(|key| table.strings(key, faults).unwrap_or_default());
    if verbs.is_empty() && (!table.has("verbs") || table.is_list("verbs")) {
        let span = if table.has("verbs") { table.key_span("verbs") } else { table.span };
        faults.push(Fault::NoVerbs, span);
    }
    let about_urls = !urls.is_empty();
    if about_urls && namespaced {
        faults.push(Fault::UrlsInRole, table.key_span("non-resource-urls"));
    }
    match ["api-groups", "resources", "resource-names"].into_iter().find(|key| table.has(key)) {
        Some(key) if about_urls => faults.push(Fault::ResourcesAndUrls, table.key_span(key)),
        _ if !about_urls && resources.is_empty() => faults.push(Fault::NoResources, table.span),
        _ => {}
    }
    let empty = [
        ("api-groups", "the API server refuses a rule about resources of no group"),
        ("resource-names", "the API server takes it for all names, not for none"),
        ("non-resource-urls", "it allows no URL at all"),
    ];
    for (key, why) in empty.into_iter().filter(|(key, _)| !about_urls && table.is_empty_list(key)) {
        faults.push(Fault::EmptyList { path: table.child_path(key), key, why }, table.key_span(key));
    }
    dead_words(&verbs, &groups, &resources, &urls, about_urls, faults);
    surprising_names(&verbs, &names, faults);
    let plain = |list: Vec<At<String>>| list.into_iter().map(|word| word.value).collect::<Vec<_>>();
    let core_group = !about_urls && !table.has("api-groups");
    Rule {
        verbs: plain(verbs),
        api_groups: if core_group { vec![String::new()] } else { plain(groups) },
        resources: plain(resources),
        resource_names: plain(names),
        non_resource_urls: plain(urls),
    }
}

/// Words that the API server takes and that no request ever matches.
fn dead_words(
    verbs: &[At<String>],
    groups: &[At<String>],
    resources: &[At<String>],
    urls: &[At<String>],
    about_urls: bool,
    faults: &mut Faults,
) {
    let mut dead = |word: &At<String>, why: &'static str| {
        faults.push(Fault::Dead { word: word.value.clone(), why }, word.span);
    };
    let has_upper = |word: &At<String>| word.value.chars().any(char::is_uppercase);
    let blank = |word: &At<String>| word.value.trim() != word.value;
    for word in verbs {
        if word.value.is_empty() {
            dead(word, "a verb is never empty");
        } else if has_upper(word) {
            dead(word, "verbs are lower case");
        } else if blank(word) || word.value.contains(',') {
            dead(word, "one verb stands in one string");
        } else if word.value.len() > 1 && word.value.contains('*') {
            dead(word, "`*` alone stands for all verbs");
        } else if about_urls && ["list", "watch", "create", "update", "deletecollection"].contains(&word.value.as_str())
        {
            dead(word, "the verbs of URLs are HTTP methods: get, head, post, put, patch, delete, options");
        }
    }
    if !about_urls {
        unknown_verbs(verbs, faults);
    }
    let mut dead = |word: &At<String>, why: &'static str| {
        faults.push(Fault::Dead { word: word.value.clone(), why }, word.span);
    };
    for word in groups {
        if has_upper(word) || blank(word) {
            dead(word, "API groups are lower case, without blanks");
        } else if word.value.contains('/') {
            dead(word, "an API group stands without its version");
        } else if word.value == "v1" || word.value == "core" {
            dead(word, "the core group is the empty string");
        } else if word.value.len() > 1 && word.value.contains('*') {
            dead(word, "`*` alone stands for all API groups");
        }
    }
    for word in resources {
        let (first, rest) = word.value.split_once('/').map_or((word.value.as_str(), None), |(a, b)| (a, Some(b)));
        if word.value.is_empty() {
            dead(word, "a resource is never empty");
        } else if has_upper(word) {
            dead(word, "resources are plural and lower case");
        } else if blank(word) || word.value.contains(',') {
            dead(word, "one resource stands in one string");
        } else if rest.is_some_and(|sub| sub.contains('*')) {
            dead(word, "`*` does not stand for subresources: name each, or write `*` alone for everything");
        } else if first.len() > 1 && first.contains('*') {
            dead(word, "`*` stands for all resources, or for none");
        } else if rest == Some("") || first.is_empty() {
            dead(word, "a subresource is written `pods/log`");
        } else if first.contains('.') {
            dead(word, "the API group of a resource stands in `api-groups`");
        }
    }
    for word in urls {
        let stem = word.value.trim_end_matches('*');
        if word.value != "*" && !word.value.starts_with('/') {
            dead(word, "URLs begin with `/`");
        } else if stem.contains('*') {
            dead(word, "a `*` has a meaning at the end alone");
        }
    }
}

/// Verbs that look like a typo of one that counts. Extensions have verbs of their own.
fn unknown_verbs(verbs: &[At<String>], faults: &mut Faults) {
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase());
    for verb in verbs.iter().filter(|verb| plain(&verb.value) && !VERBS.contains(&verb.value.as_str())) {
        if let Some(near) = nearest(&verb.value, VERBS) {
            let fault = Fault::UnknownVerb { verb: verb.value.clone(), nearest: near.to_owned() };
            faults.push(fault, verb.span);
        }
    }
}

/// Names that mean another thing than they look.
fn surprising_names(verbs: &[At<String>], names: &[At<String>], faults: &mut Faults) {
    for name in names {
        let why = match name.value.as_str() {
            "*" => "is the name of one object: leave `resource-names` out to mean all",
            "" => "allows list and create of everything: leave it out",
            _ => continue,
        };
        faults.push(Fault::Surprising { word: name.value.clone(), why }, name.span);
    }
    if names.is_empty() {
        return;
    }
    for verb in verbs {
        let why = match verb.value.as_str() {
            "create" => "has no name yet when a POST asks: with `resource-names` it works for server-side apply alone",
            "deletecollection" => "has no name: with `resource-names` it is never allowed",
            "list" | "watch" => "beside `resource-names` is allowed only with the field selector `metadata.name=…`",
            _ => continue,
        };
        faults.push(Fault::Surprising { word: verb.value.clone(), why }, verb.span);
    }
}
