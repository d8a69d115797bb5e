//! `[cluster-roles]` and `[roles]`: rules, and what the API server refuses of them or never matches.
//!
//! Source of the rules: kubernetes v1.36.3 `pkg/apis/rbac/validation` (refused) and
//! `pkg/apis/rbac/v1/evaluation_helpers.go` (never matches).

use super::clusters::parse_cluster_filter;
use super::error::{Diagnostics, PolicyError};
use super::model::{ClusterRoleContent, ClusterRoleSpec, Located, RoleSpec};
use super::namespaces::parse_namespace_selectors;
use super::table::{PolicyTable, without_spans};
use crate::diagnostic::closest_match;
use crate::names::{is_label_key, is_label_value, path_segment_error, reserved_prefix};
use crate::state::object_meta::Labels;
use crate::state::owner::{AGGREGATE_LABEL_PREFIX, MANAGED_BY_LABEL};
use crate::state::rbac::Rule;

/// Those that the API server and its own authorizers ask about; others are a matter of extensions.
const KNOWN_VERBS: [&str; 14] = [
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
pub(crate) fn check_object_name(kind: &'static str, name: &Located<String>, faults: &mut Diagnostics) {
    if let Some(why) = path_segment_error(&name.value) {
        let fault = PolicyError::InvalidObjectName { kind, name: name.value.clone(), why: why.to_owned() };
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
    faults.push(PolicyError::ReservedObject { name: name.value.clone(), why }, name.span);
}

pub(crate) fn parse_cluster_role(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    faults: &mut Diagnostics,
) -> ClusterRoleSpec {
    table.report_unknown_keys(&["rules", "aggregation", "aggregate-to", "labels", "description", "clusters"], faults);
    check_object_name("ClusterRole", name, faults);
    table.string("description", faults);
    let content = match (table.has("rules"), table.has("aggregation")) {
        (true, true) => {
            let fault = PolicyError::RulesBesideAggregation { table: table.path.clone() };
            faults.push(fault, table.key_span("aggregation"));
            ClusterRoleContent::Rules(Vec::new())
        }
        (false, false) => {
            let what = "`rules` or `aggregation`".to_owned();
            faults.push(PolicyError::MissingKey { table: table.path.clone(), what }, table.span);
            ClusterRoleContent::Rules(Vec::new())
        }
        (true, false) => ClusterRoleContent::Rules(parse_rules(table, false, faults)),
        (false, true) => ClusterRoleContent::Aggregation(parse_aggregation(table, faults)),
    };
    let aggregate_to = table.strings("aggregate-to", faults).unwrap_or_default();
    for role in &aggregate_to {
        let key = format!("{AGGREGATE_LABEL_PREFIX}{}", role.value);
        if !is_label_key(&key) {
            faults.push(
                PolicyError::InvalidLabel { what: "name for an aggregation label", text: role.value.clone() },
                role.span,
            );
        }
    }
    ClusterRoleSpec {
        span: name.span,
        content,
        labels: parse_role_labels(table, Some(&aggregate_to), faults),
        aggregate_to,
        clusters: parse_cluster_filter(table, faults),
    }
}

pub(crate) fn parse_role(name: &Located<String>, table: &PolicyTable<'_>, faults: &mut Diagnostics) -> RoleSpec {
    table.report_unknown_keys(&["rules", "namespaces", "labels", "description", "clusters"], faults);
    check_object_name("Role", name, faults);
    table.string("description", faults);
    for key in ["rules", "namespaces"] {
        if !table.has(key) {
            let what = format!("`{key}`");
            faults.push(PolicyError::MissingKey { table: table.path.clone(), what }, table.span);
        }
    }
    RoleSpec {
        span: name.span,
        namespaces: parse_namespace_selectors(table, faults).unwrap_or_default(),
        rules: parse_rules(table, true, faults),
        labels: parse_role_labels(table, None, faults),
        clusters: parse_cluster_filter(table, faults),
    }
}

fn parse_aggregation(table: &PolicyTable<'_>, faults: &mut Diagnostics) -> Vec<Labels> {
    let selectors = table.tables("aggregation", faults).unwrap_or_default();
    if table.is_empty_list("aggregation") {
        let why = "the API server refuses an aggregation without a selector";
        faults.push(
            PolicyError::EmptyList { path: table.child_path("aggregation"), key: "aggregation", why },
            table.key_span("aggregation"),
        );
    }
    selectors
        .iter()
        .filter_map(|selector| {
            selector.report_unknown_keys(&["match-labels"], faults);
            if !selector.has("match-labels") {
                let what = "`match-labels`".to_owned();
                faults.push(PolicyError::MissingKey { table: selector.path.clone(), what }, selector.span);
                return None;
            }
            let found = parse_labels(selector, "match-labels", faults)?;
            if found.is_empty() {
                let why = "takes the rules of every ClusterRole there is, cluster-admin's too";
                faults.push(PolicyError::MisleadingValue { word: "match-labels = {}".to_owned(), why }, selector.span);
            }
            Some(found)
        })
        .collect()
}

/// Labels that the policy may set: the owner mark is rolecall's. A namespaced Role is aggregated to nothing.
fn parse_role_labels(
    table: &PolicyTable<'_>,
    aggregate_to: Option<&[Located<String>]>,
    faults: &mut Diagnostics,
) -> Labels {
    let found = parse_labels_with_spans(table, "labels", faults).unwrap_or_default();
    for (key, _) in &found {
        let why = match key.value.as_str() {
            "kubernetes.io/bootstrapping" => "it marks what Kubernetes itself writes and puts back",
            MANAGED_BY_LABEL => "by it rolecall marks what it manages",
            name if name.starts_with("rolecall/") => "by it rolecall marks what it manages",
            name => match (name.strip_prefix(AGGREGATE_LABEL_PREFIX), aggregate_to) {
                (None, _) => continue,
                (Some(_), None) => {
                    let why = "ClusterRoles alone are aggregated";
                    faults.push(PolicyError::NeverMatches { word: key.value.clone(), why }, key.span);
                    continue;
                }
                (Some(to), Some(listed)) if listed.iter().any(|role| role.value == to) => {
                    "`aggregate-to` sets it to \"true\" already"
                }
                (Some(_), Some(_)) => continue,
            },
        };
        faults.push(PolicyError::ReservedLabel { key: key.value.clone(), why }, key.span);
    }
    without_spans(&found)
}

/// A table of labels, each held against the rules of Kubernetes.
pub(crate) fn parse_labels(table: &PolicyTable<'_>, key: &str, faults: &mut Diagnostics) -> Option<Labels> {
    parse_labels_with_spans(table, key, faults).map(|found| without_spans(&found))
}

fn parse_labels_with_spans(
    table: &PolicyTable<'_>,
    key: &str,
    faults: &mut Diagnostics,
) -> Option<Vec<(Located<String>, Located<String>)>> {
    let found = table.labels(key, faults)?;
    for (key, value) in &found {
        if !is_label_key(&key.value) {
            faults.push(PolicyError::InvalidLabel { what: "label key", text: key.value.clone() }, key.span);
        }
        if !is_label_value(&value.value) {
            faults.push(PolicyError::InvalidLabel { what: "label value", text: value.value.clone() }, value.span);
        }
    }
    Some(found)
}

fn parse_rules(table: &PolicyTable<'_>, namespaced: bool, faults: &mut Diagnostics) -> Vec<Rule> {
    let found = table.tables("rules", faults).unwrap_or_default();
    found.iter().map(|rule| parse_rule(rule, namespaced, faults)).collect()
}

fn parse_rule(table: &PolicyTable<'_>, namespaced: bool, faults: &mut Diagnostics) -> Rule {
    table.report_unknown_keys(&RULE_KEYS, faults);
    let [verbs, groups, resources, names, urls] = RULE_KEYS.map(|key| table.strings(key, faults).unwrap_or_default());
    if verbs.is_empty() && (!table.has("verbs") || table.is_list("verbs")) {
        let span = if table.has("verbs") { table.key_span("verbs") } else { table.span };
        faults.push(PolicyError::NoVerbs, span);
    }
    let about_urls = !urls.is_empty();
    if about_urls && namespaced {
        faults.push(PolicyError::UrlsInRole, table.key_span("non-resource-urls"));
    }
    match ["api-groups", "resources", "resource-names"].into_iter().find(|key| table.has(key)) {
        Some(key) if about_urls => faults.push(PolicyError::ResourcesAndUrls, table.key_span(key)),
        _ if !about_urls && resources.is_empty() => faults.push(PolicyError::NoResources, table.span),
        _ => {}
    }
    let empty = [
        ("api-groups", "the API server refuses a rule about resources of no group"),
        ("resource-names", "the API server takes it for all names, not for none"),
        ("non-resource-urls", "it allows no URL at all"),
    ];
    for (key, why) in empty.into_iter().filter(|(key, _)| !about_urls && table.is_empty_list(key)) {
        faults.push(PolicyError::EmptyList { path: table.child_path(key), key, why }, table.key_span(key));
    }
    check_never_matching(&verbs, &groups, &resources, &urls, about_urls, faults);
    check_resource_names(&verbs, &names, faults);
    let plain = |list: Vec<Located<String>>| list.into_iter().map(|word| word.value).collect::<Vec<_>>();
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
fn check_never_matching(
    verbs: &[Located<String>],
    groups: &[Located<String>],
    resources: &[Located<String>],
    urls: &[Located<String>],
    about_urls: bool,
    faults: &mut Diagnostics,
) {
    let mut dead = |word: &Located<String>, why: &'static str| {
        faults.push(PolicyError::NeverMatches { word: word.value.clone(), why }, word.span);
    };
    let has_upper = |word: &Located<String>| word.value.chars().any(char::is_uppercase);
    let blank = |word: &Located<String>| word.value.trim() != word.value;
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
        check_verb_typos(verbs, faults);
    }
    let mut dead = |word: &Located<String>, why: &'static str| {
        faults.push(PolicyError::NeverMatches { word: word.value.clone(), why }, word.span);
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
fn check_verb_typos(verbs: &[Located<String>], faults: &mut Diagnostics) {
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase());
    for verb in verbs.iter().filter(|verb| plain(&verb.value) && !KNOWN_VERBS.contains(&verb.value.as_str())) {
        if let Some(near) = closest_match(&verb.value, KNOWN_VERBS) {
            let fault = PolicyError::UnknownVerb { verb: verb.value.clone(), nearest: near.to_owned() };
            faults.push(fault, verb.span);
        }
    }
}

/// Names that mean another thing than they look.
fn check_resource_names(verbs: &[Located<String>], names: &[Located<String>], faults: &mut Diagnostics) {
    for name in names {
        let why = match name.value.as_str() {
            "*" => "is the name of one object: leave `resource-names` out to mean all",
            "" => "allows list and create of everything: leave it out",
            _ => continue,
        };
        faults.push(PolicyError::MisleadingValue { word: name.value.clone(), why }, name.span);
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
        faults.push(PolicyError::MisleadingValue { word: verb.value.clone(), why }, verb.span);
    }
}
