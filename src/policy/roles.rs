//! Parses `[cluster-roles]` and `[roles]`, and reports rules that the API server rejects, or accepts and never matches.
//!
//! Sources: kubernetes v1.36.3 `pkg/apis/rbac/validation` (rejected) and `pkg/apis/rbac/v1/evaluation_helpers.go`
//! (never matches).

use super::clusters::parse_cluster_filter;
use super::error::{Diagnostics, PolicyError};
use super::model::{ClusterRoleContent, ClusterRoleSpec, Located, RoleSpec, RuleSpec};
use super::namespaces::parse_namespace_selectors;
use super::table::{PolicyTable, without_spans};
use crate::diagnostic::LintId;
use crate::names::{is_label_key, is_label_value, path_segment_error, reserved_prefix};
use crate::state::object_meta::Labels;
use crate::state::owner::{AGGREGATE_LABEL_PREFIX, MANAGED_BY_LABEL};

/// Verbs that requests for URLs never have: the API server takes those from the HTTP method.
const RESOURCE_ONLY_VERBS: [&str; 5] = ["list", "watch", "create", "update", "deletecollection"];
const CORE_GROUP: &str = "the core group is the empty string";
const SUBRESOURCE_WILDCARD: &str = "`*` is not a wildcard for subresources";
const RULE_KEYS: [&str; 5] = ["verbs", "api-groups", "resources", "resource-names", "non-resource-urls"];

/// Reports a name that RBAC rejects, or that is reserved for Kubernetes or EKS.
pub(crate) fn check_object_name(kind: &'static str, name: &Located<String>, diagnostics: &mut Diagnostics) {
    if let Some(reason) = path_segment_error(&name.value) {
        let error = PolicyError::InvalidObjectName { kind, name: name.value.clone(), reason: reason.to_owned() };
        diagnostics.push(error, name.span);
    }
    let reason = match reserved_prefix(&name.value) {
        Some("eks:") => "EKS manages `eks:` objects and restores them",
        Some(_) => "Kubernetes manages `system:` objects and restores them",
        None if kind == "ClusterRole" && crate::state::owner::DEFAULT_CLUSTER_ROLES.contains(&name.value.as_str()) => {
            "Kubernetes manages this default role and restores it"
        }
        None => return,
    };
    diagnostics.push(PolicyError::ReservedObject { name: name.value.clone(), reason }, name.span);
}

pub(crate) fn parse_cluster_role(
    name: &Located<String>,
    table: &PolicyTable<'_>,
    diagnostics: &mut Diagnostics,
) -> ClusterRoleSpec {
    table.report_unknown_keys(
        &["rules", "aggregation", "aggregate-to", "labels", "description", "clusters"],
        diagnostics,
    );
    check_object_name("ClusterRole", name, diagnostics);
    table.string("description", diagnostics);
    let content = match (table.has("rules"), table.has("aggregation")) {
        (true, true) => {
            let error = PolicyError::RulesBesideAggregation { table: table.path.clone() };
            diagnostics.push(error, table.key_span("aggregation"));
            ClusterRoleContent::Rules(Vec::new())
        }
        (false, false) => {
            let keys = "`rules` or `aggregation`".to_owned();
            diagnostics.push(PolicyError::MissingKey { table: table.path.clone(), keys }, table.span);
            ClusterRoleContent::Rules(Vec::new())
        }
        (true, false) => ClusterRoleContent::Rules(parse_rules(table, false, diagnostics)),
        (false, true) => ClusterRoleContent::Aggregation(parse_aggregation(table, diagnostics)),
    };
    let aggregate_to = table.strings("aggregate-to", diagnostics).unwrap_or_default();
    for role in &aggregate_to {
        let key = format!("{AGGREGATE_LABEL_PREFIX}{}", role.value);
        if !is_label_key(&key) {
            diagnostics.push(
                PolicyError::InvalidLabel { kind: "name in an aggregation label", text: role.value.clone() },
                role.span,
            );
        }
    }
    ClusterRoleSpec {
        span: name.span,
        content,
        labels: parse_role_labels(table, Some(&aggregate_to), diagnostics),
        aggregate_to,
        clusters: parse_cluster_filter(table, diagnostics),
    }
}

pub(crate) fn parse_role(name: &Located<String>, table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> RoleSpec {
    table.report_unknown_keys(&["rules", "namespaces", "labels", "description", "clusters"], diagnostics);
    check_object_name("Role", name, diagnostics);
    table.string("description", diagnostics);
    for key in ["rules", "namespaces"] {
        if !table.has(key) {
            let keys = format!("`{key}`");
            diagnostics.push(PolicyError::MissingKey { table: table.path.clone(), keys }, table.span);
        }
    }
    RoleSpec {
        span: name.span,
        namespaces: parse_namespace_selectors(table, diagnostics).unwrap_or_default(),
        rules: parse_rules(table, true, diagnostics),
        labels: parse_role_labels(table, None, diagnostics),
        clusters: parse_cluster_filter(table, diagnostics),
    }
}

fn parse_aggregation(table: &PolicyTable<'_>, diagnostics: &mut Diagnostics) -> Vec<Located<Labels>> {
    let selectors = table.tables("aggregation", diagnostics).unwrap_or_default();
    if table.is_empty_list("aggregation") {
        let reason = "the API server rejects an aggregation rule without selectors";
        diagnostics.push(
            PolicyError::EmptyList { path: table.child_path("aggregation"), key: "aggregation", reason },
            table.key_span("aggregation"),
        );
    }
    selectors
        .iter()
        .filter_map(|selector| {
            selector.report_unknown_keys(&["match-labels"], diagnostics);
            if !selector.has("match-labels") {
                let keys = "`match-labels`".to_owned();
                diagnostics.push(PolicyError::MissingKey { table: selector.path.clone(), keys }, selector.span);
                return None;
            }
            let labels = parse_labels(selector, "match-labels", diagnostics)?;
            if labels.is_empty() {
                let reason = "aggregates the rules of all ClusterRoles, including cluster-admin";
                let help = "add a label of the roles that are intended";
                diagnostics.push(
                    PolicyError::MisleadingValue {
                        lint: LintId::MisleadingValue,
                        value: "match-labels = {}".to_owned(),
                        reason,
                        help,
                    },
                    selector.span,
                );
            }
            Some(Located::new(labels, selector.span))
        })
        .collect()
}

/// Parses the labels of a role. Labels that mark ownership are reserved, and aggregation labels only work on
/// ClusterRoles.
fn parse_role_labels(
    table: &PolicyTable<'_>,
    aggregate_to: Option<&[Located<String>]>,
    diagnostics: &mut Diagnostics,
) -> Labels {
    let labels = parse_labels_with_spans(table, "labels", diagnostics).unwrap_or_default();
    for (key, _) in &labels {
        let reason = match key.value.as_str() {
            "kubernetes.io/bootstrapping" => "it marks the objects that Kubernetes manages and restores",
            MANAGED_BY_LABEL => "it marks the objects that rolecall manages",
            name if name.starts_with("rolecall/") => "it marks the objects that rolecall manages",
            name => match (name.strip_prefix(AGGREGATE_LABEL_PREFIX), aggregate_to) {
                (None, _) => continue,
                (Some(_), None) => {
                    let reason = "only ClusterRoles are aggregated";
                    let error =
                        PolicyError::NeverMatches { kind: "label", value: key.value.clone(), reason, help: None };
                    diagnostics.push(error, key.span);
                    continue;
                }
                (Some(to), Some(listed)) if listed.iter().any(|role| role.value == to) => {
                    "`aggregate-to` already sets it to \"true\""
                }
                (Some(_), Some(_)) => continue,
            },
        };
        diagnostics.push(PolicyError::ReservedLabel { key: key.value.clone(), reason }, key.span);
    }
    without_spans(&labels)
}

/// Parses a table of labels, and reports those that Kubernetes rejects.
pub(crate) fn parse_labels(table: &PolicyTable<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<Labels> {
    parse_labels_with_spans(table, key, diagnostics).map(|labels| without_spans(&labels))
}

fn parse_labels_with_spans(
    table: &PolicyTable<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Located<String>, Located<String>)>> {
    let labels = table.labels(key, diagnostics)?;
    for (key, value) in &labels {
        if !is_label_key(&key.value) {
            diagnostics.push(PolicyError::InvalidLabel { kind: "label key", text: key.value.clone() }, key.span);
        }
        if !is_label_value(&value.value) {
            diagnostics.push(PolicyError::InvalidLabel { kind: "label value", text: value.value.clone() }, value.span);
        }
    }
    Some(labels)
}

fn parse_rules(table: &PolicyTable<'_>, namespaced: bool, diagnostics: &mut Diagnostics) -> Vec<RuleSpec> {
    let rules = table.tables("rules", diagnostics).unwrap_or_default();
    rules.iter().map(|rule| parse_rule(rule, namespaced, diagnostics)).collect()
}

fn parse_rule(table: &PolicyTable<'_>, namespaced: bool, diagnostics: &mut Diagnostics) -> RuleSpec {
    table.report_unknown_keys(&RULE_KEYS, diagnostics);
    let [verbs, groups, resources, names, urls] =
        RULE_KEYS.map(|key| table.strings(key, diagnostics).unwrap_or_default());
    if verbs.is_empty() && (!table.has("verbs") || table.is_list("verbs")) {
        let span = if table.has("verbs") { table.key_span("verbs") } else { table.span };
        diagnostics.push(PolicyError::NoVerbs, span);
    }
    let has_urls = !urls.is_empty();
    if has_urls && namespaced {
        diagnostics.push(PolicyError::UrlsInRole, table.key_span("non-resource-urls"));
    }
    match ["api-groups", "resources", "resource-names"].into_iter().find(|key| table.has(key)) {
        Some(key) if has_urls => diagnostics.push(PolicyError::ResourcesAndUrls, table.key_span(key)),
        _ if !has_urls && resources.is_empty() => diagnostics.push(PolicyError::NoResources, table.span),
        _ => {}
    }
    let lists = [
        ("api-groups", "the API server rejects a rule for resources of no API group"),
        ("resource-names", "the API server treats an empty list as all names"),
        ("non-resource-urls", "the rule would allow no URL"),
    ];
    for (key, reason) in lists.into_iter().filter(|(key, _)| !has_urls && table.is_empty_list(key)) {
        diagnostics.push(PolicyError::EmptyList { path: table.child_path(key), key, reason }, table.key_span(key));
    }
    check_never_matching(&verbs, &groups, &resources, &urls, diagnostics);
    check_resource_names(&verbs, &names, diagnostics);
    RuleSpec {
        verbs,
        api_groups: table.has("api-groups").then_some(groups),
        resources,
        resource_names: names,
        non_resource_urls: urls,
    }
}

/// Reports values that the API server accepts, and that no request matches.
fn check_never_matching(
    verbs: &[Located<String>],
    groups: &[Located<String>],
    resources: &[Located<String>],
    urls: &[Located<String>],
    diagnostics: &mut Diagnostics,
) {
    let mut report = |kind: &'static str, item: &Located<String>, reason: &'static str| {
        let help = match reason {
            CORE_GROUP => Some("write `api-groups = [\"\"]`"),
            SUBRESOURCE_WILDCARD => Some("list each subresource, or write `*` by itself for everything"),
            _ => None,
        };
        diagnostics.push(PolicyError::NeverMatches { kind, value: item.value.clone(), reason, help }, item.span);
    };
    let has_upper_case = |item: &Located<String>| item.value.chars().any(char::is_uppercase);
    let has_outer_whitespace = |item: &Located<String>| item.value.trim() != item.value;
    for verb in verbs {
        if verb.value.is_empty() {
            report("verb", verb, "every request has a verb");
        } else if has_upper_case(verb) {
            report("verb", verb, "verbs are lowercase");
        } else if has_outer_whitespace(verb) {
            report("verb", verb, "the verb has leading or trailing whitespace");
        } else if verb.value.contains(',') {
            report("verb", verb, "each verb must be a separate string");
        } else if verb.value.len() > 1 && verb.value.contains('*') {
            report("verb", verb, "in `verbs`, `*` is a wildcard only by itself");
        } else if !urls.is_empty() && RESOURCE_ONLY_VERBS.contains(&verb.value.as_str()) {
            report("verb", verb, "the verbs for URLs are HTTP methods: get, head, post, put, patch, delete, options");
        }
    }
    for group in groups {
        if has_upper_case(group) {
            report("API group", group, "API groups are lowercase");
        } else if has_outer_whitespace(group) {
            report("API group", group, "the API group has leading or trailing whitespace");
        } else if group.value.contains('/') {
            report("API group", group, "an API group is written without its version");
        } else if group.value == "v1" || group.value == "core" {
            report("API group", group, CORE_GROUP);
        } else if group.value.len() > 1 && group.value.contains('*') {
            report("API group", group, "in `api-groups`, `*` is a wildcard only by itself");
        }
    }
    for item in resources {
        let (resource, subresource) = match item.value.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (item.value.as_str(), None),
        };
        if item.value.is_empty() {
            report("resource", item, "the name of a resource is never empty");
        } else if has_upper_case(item) {
            report("resource", item, "resource names are plural and lowercase");
        } else if has_outer_whitespace(item) {
            report("resource", item, "the resource has leading or trailing whitespace");
        } else if item.value.contains(',') {
            report("resource", item, "each resource must be a separate string");
        } else if subresource.is_some_and(|name| name.contains('*')) {
            report("resource", item, SUBRESOURCE_WILDCARD);
        } else if resource.len() > 1 && resource.contains('*') {
            report("resource", item, "in `resources`, `*` is a wildcard only by itself");
        } else if subresource == Some("") || resource.is_empty() {
            report("resource", item, "a subresource is written `pods/log`");
        } else if resource.contains('.') {
            report("resource", item, "the API group of a resource belongs in `api-groups`");
        }
    }
    for url in urls {
        if url.value != "*" && !url.value.starts_with('/') {
            report("non-resource URL", url, "non-resource URLs start with `/`");
        } else if url.value.trim_end_matches('*').contains('*') {
            report("non-resource URL", url, "in a URL, `*` is a wildcard only at the end");
        }
    }
}

/// Warns of `resource-names` that do not do what they seem to do.
fn check_resource_names(verbs: &[Located<String>], names: &[Located<String>], diagnostics: &mut Diagnostics) {
    for name in names {
        let (reason, help) = match name.value.as_str() {
            "*" => (
                "in `resource-names` is the name of one object, not a wildcard",
                "remove `resource-names` to allow all names",
            ),
            "" => (
                "in `resource-names` allows every request without a name, such as list and create",
                "remove the empty name",
            ),
            _ => continue,
        };
        diagnostics.push(
            PolicyError::MisleadingValue { lint: LintId::MisleadingValue, value: name.value.clone(), reason, help },
            name.span,
        );
    }
    if names.is_empty() {
        return;
    }
    for verb in verbs {
        let (lint, reason) = match verb.value.as_str() {
            "create" => (
                LintId::ResourceNamesWithCreate,
                "with `resource-names` works only for server-side apply, since a POST has no name",
            ),
            "deletecollection" => (
                LintId::ResourceNamesWithCreate,
                "with `resource-names` is never allowed, since the request has no name",
            ),
            "list" | "watch" => (
                LintId::ResourceNamesWithList,
                "with `resource-names` is allowed only with the field selector `metadata.name=…`",
            ),
            _ => continue,
        };
        let help = "for all objects, move the verb to a rule without `resource-names`";
        diagnostics.push(PolicyError::MisleadingValue { lint, value: verb.value.clone(), reason, help }, verb.span);
    }
}
