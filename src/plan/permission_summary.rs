//! Gained or lost permissions in few lines. A role that is gained as a whole is one line, as are the requests that every
//! authenticated user may make by default.
//!
//! A role is named only if the permissions contain all that it allows, so that its name does not claim too much.

use std::collections::{BTreeMap, BTreeSet};

use super::access_change::{AllowedRequests, GrantedBy};
use crate::access::{AccessView, GrantSource, GrantedRequests, ProductSetData, RequestSet, StringSetData};

/// Fewer permissions of roles than this have a line each.
const MIN_PERMISSIONS: usize = 4;
/// The number of namespaces that a line lists.
const MAX_NAMESPACES: usize = 3;

/// A short description of one or several permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PermissionSummary {
    pub(crate) text: String,
    /// The number of permissions that the text stands for.
    pub(crate) permissions: usize,
    pub(crate) granted_by: Vec<GrantedBy>,
}

/// What the line of a permission is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Own,
    Roles,
    ApiDiscovery,
}

/// Describes permissions, which `view` grants, in few lines. The order of the permissions is kept. `granted` are the same
/// permissions.
pub(super) fn summarize<'s>(
    granted: &[&GrantedRequests<'s>],
    permissions: &[AllowedRequests],
    view: &AccessView<'s>,
) -> Vec<PermissionSummary> {
    let is_long = permissions.len() >= MIN_PERMISSIONS;
    let whole = if is_long { whole_grants(granted, view) } else { BTreeSet::new() };
    let folds_discovery = permissions.iter().filter(|allowed| is_api_discovery(allowed)).nth(1).is_some();
    let line_of = |allowed: &AllowedRequests| {
        if folds_discovery && is_api_discovery(allowed) {
            Line::ApiDiscovery
        } else if !allowed.granted_by.is_empty() && allowed.granted_by.iter().all(|source| whole.contains(source)) {
            Line::Roles
        } else {
            Line::Own
        }
    };
    let mut lines: Vec<Line> = permissions.iter().map(line_of).collect();
    let of_roles = permissions.iter().zip(&lines).filter(|(_, line)| **line == Line::Roles);
    let of_roles: Vec<&AllowedRequests> = of_roles.map(|(allowed, _)| allowed).collect();
    let mut roles = role_lines(&of_roles);
    if of_roles.len() < MIN_PERMISSIONS || roles.len() >= of_roles.len() {
        lines.iter_mut().filter(|line| **line == Line::Roles).for_each(|line| *line = Line::Own);
        roles.clear();
    }
    let mut summaries = Vec::new();
    let mut discovery: Option<PermissionSummary> = None;
    for (allowed, line) in permissions.iter().zip(lines) {
        match line {
            Line::Own => summaries.push(PermissionSummary {
                text: allowed.summary.clone(),
                permissions: 1,
                granted_by: allowed.granted_by.clone(),
            }),
            Line::Roles => summaries.append(&mut roles),
            Line::ApiDiscovery => {
                let known = discovery.get_or_insert_with(|| PermissionSummary {
                    text: "API discovery and reviews of own access".to_owned(),
                    permissions: 0,
                    granted_by: Vec::new(),
                });
                known.permissions += 1;
                for source in &allowed.granted_by {
                    if !known.granted_by.contains(source) {
                        known.granted_by.push(source.clone());
                    }
                }
            }
        }
    }
    summaries.extend(discovery);
    summaries
}

/// Returns the bindings whose role is among the permissions as a whole.
fn whole_grants<'s>(granted: &[&GrantedRequests<'s>], view: &AccessView<'s>) -> BTreeSet<GrantedBy> {
    let sets = granted.iter().map(|granted| &granted.requests).filter(|requests| requests.except.is_empty());
    let sets: Vec<RequestSet<'s>> = sets.map(|requests| requests.set.clone()).collect();
    let mut whole = BTreeMap::new();
    for source in granted.iter().flat_map(|granted| &granted.granted_by) {
        if let GrantSource::Path(path) = source {
            whole
                .entry((path.binding, path.role))
                .or_insert_with(|| view.contain_whole_grant(&sets, (path.binding, path.role)));
        }
    }
    let whole = whole.into_iter().filter(|(_, is_whole)| *is_whole);
    whole.map(|((binding, role), _)| GrantedBy::Binding { binding: binding.clone(), role: role.clone() }).collect()
}

/// The bindings of a role, and how many permissions come from it.
#[derive(Default)]
struct RoleLine<'a> {
    /// The namespaces in which the role is bound. `None` is the whole cluster.
    bindings: BTreeMap<Option<&'a str>, BTreeSet<&'a GrantedBy>>,
    permissions: usize,
}

fn role_lines(permissions: &[&AllowedRequests]) -> Vec<PermissionSummary> {
    let mut roles: BTreeMap<(&str, &str), RoleLine<'_>> = BTreeMap::new();
    for allowed in permissions {
        let mut counted = BTreeSet::new();
        for source in &allowed.granted_by {
            if let GrantedBy::Binding { binding, role } = source {
                let key = (role.kind().as_str(), role.name());
                let line = roles.entry(key).or_default();
                line.bindings.entry(binding.namespace()).or_default().insert(source);
                line.permissions += usize::from(counted.insert(key));
            }
        }
    }
    let to_summary = |((kind, name), line): ((&str, &str), RoleLine<'_>)| PermissionSummary {
        text: format!("{kind} {name} {}", scope_text(line.bindings.keys().copied())),
        permissions: line.permissions,
        granted_by: line.bindings.into_values().flatten().cloned().collect(),
    };
    roles.into_iter().map(to_summary).collect()
}

/// `in all namespaces`, `in team-a, team-b`, `in 303 namespaces (team-a, team-b, team-c, …)`.
fn scope_text<'a>(scopes: impl Iterator<Item = Option<&'a str>>) -> String {
    let scopes: Option<Vec<&str>> = scopes.collect();
    scopes.map_or_else(|| "in all namespaces".to_owned(), |namespaces| namespaces_text(&namespaces))
}

/// `in team-a, team-b`, `in 303 namespaces (team-a, team-b, team-c, …)`.
pub(crate) fn namespaces_text(namespaces: &[&str]) -> String {
    match namespaces.get(..MAX_NAMESPACES) {
        Some(first) if namespaces.len() > MAX_NAMESPACES => {
            format!("in {} namespaces ({}, …)", namespaces.len(), first.join(", "))
        }
        _ => format!("in {}", namespaces.join(", ")),
    }
}

/// URLs that `system:discovery` and `system:public-info-viewer` grant by default (kubernetes v1.36.3
/// `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`).
const DISCOVERY_URLS: [&str; 11] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];
/// Resources that `system:basic-user` grants by default.
const OWN_REVIEWS: [&str; 3] = ["selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"];
const REVIEW_GROUPS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Returns whether all of the requests are among those that every authenticated user may make by default.
fn is_api_discovery(allowed: &AllowedRequests) -> bool {
    match &allowed.requests.set {
        ProductSetData::Urls { verbs, patterns } => {
            is_within(verbs, &["get"])
                && patterns
                    .iter()
                    .all(|pattern| !pattern.included || DISCOVERY_URLS.contains(&pattern.pattern.as_str()))
        }
        ProductSetData::Objects { verbs, api_groups, resources, .. } => {
            is_within(verbs, &["create"])
                && is_within(api_groups, &REVIEW_GROUPS)
                && resources.iter().all(|resource| {
                    is_within(&resource.names, &OWN_REVIEWS) && is_within(&resource.subresources, &[""])
                })
        }
    }
}

fn is_within(set: &StringSetData, allowed: &[&str]) -> bool {
    match set {
        StringSetData::Only(listed) => listed.iter().all(|item| allowed.contains(&item.as_str())),
        StringSetData::AllBut(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::names::{ObjectKey, ObjectKind};
    use crate::plan::{AccessComparison, plan};
    use crate::policy::{PolicyIndex, load_policy};
    use crate::state::State;

    /// A policy that binds the group `devs` to the role `edit` in two namespaces.
    const POLICY: &str = "
[policy]
name = 'prod'
[groups.devs]
[bindings.devs-edit]
cluster-role = 'edit'
namespaces = ['team-a', 'team-b']
groups = ['devs']
";

    fn insert(state: &mut State, kind: ObjectKind, namespace: Option<&str>, name: &str, content: Value) {
        let mut object = content;
        object["metadata"] = json!({ "name": name, "resourceVersion": "1" });
        state.insert_object(&ObjectKey::new(kind, namespace, name).unwrap(), &object).unwrap();
    }

    /// A cluster with a role of five rules.
    fn cluster() -> State {
        let mut state = State::default();
        let rule = |resource: &str, verb: &str| json!({ "verbs": [verb], "apiGroups": [""], "resources": [resource] });
        let rules =
            [rule("pods", "get"), rule("services", "list"), rule("configmaps", "watch"), rule("events", "create")];
        let rules: Vec<Value> = rules.into_iter().chain([rule("secrets", "get")]).collect();
        insert(&mut state, ObjectKind::ClusterRole, None, "edit", json!({ "rules": rules }));
        for namespace in ["team-a", "team-b"] {
            state.namespaces.insert(namespace.to_owned(), std::collections::BTreeMap::new());
        }
        state
    }

    fn bind_group(state: &mut State, name: &str, role: &str, namespace: Option<&str>) {
        let kind = if namespace.is_some() { ObjectKind::RoleBinding } else { ObjectKind::ClusterRoleBinding };
        let group = "rbac.authorization.k8s.io";
        let content = json!({
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": group, "kind": "Group", "name": "devs" }],
        });
        insert(state, kind, namespace, name, content);
    }

    /// Returns the summaries of the gains when the policy is applied.
    fn gains(live: &State, policy: &str) -> Vec<String> {
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap();
        let mut plan = plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
        let after = plan.state_after(live).unwrap();
        plan.record_access_changes(&AccessComparison::new(live, &after), &PolicyIndex::default());
        let changes = plan.access_changes.unwrap();
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        let total: usize = change.gain_summary.iter().map(|summary| summary.permissions).sum();
        assert!(total >= change.diff.gains.len(), "a permission is in no summary");
        change.gain_summary.iter().map(|summary| format!("{} [{}]", summary.text, summary.permissions)).collect()
    }

    #[test]
    fn role_that_is_gained_as_a_whole_is_one_line() {
        assert_eq!(gains(&cluster(), POLICY), ["ClusterRole edit in team-a, team-b [4]"]);
    }

    #[test]
    fn role_that_is_gained_in_part_is_not_named() {
        let mut live = cluster();
        let rule = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] });
        insert(&mut live, ObjectKind::ClusterRole, None, "pods", json!({ "rules": [rule] }));
        bind_group(&mut live, "pods", "pods", None);
        let gained = gains(&live, POLICY);
        assert_eq!(gained.len(), 4, "{gained:?}");
        assert!(gained.iter().all(|line| !line.contains("edit")), "{gained:?}");
    }

    #[test]
    fn role_that_is_gained_as_a_whole_in_one_namespace_only_is_named_there() {
        let mut live = cluster();
        let rule = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] });
        insert(&mut live, ObjectKind::ClusterRole, None, "pods", json!({ "rules": [rule] }));
        bind_group(&mut live, "pods", "pods", Some("team-b"));
        let gained = gains(&live, POLICY);
        assert!(gained.iter().all(|line| !line.contains("team-b") || !line.contains("edit")), "{gained:?}");
    }

    #[test]
    fn default_requests_of_every_user_are_one_line_by_content_not_by_name() {
        let policy = POLICY.replace("'edit'", "'system:discovery'").replace("namespaces = ['team-a', 'team-b']\n", "");
        let mut live = cluster();
        let urls = |paths: &[&str]| json!({ "verbs": ["get"], "nonResourceURLs": paths });
        let reviews = json!({
            "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        });
        let mut rules = vec![urls(&["/api", "/api/*"]), urls(&["/version"]), urls(&["/healthz"]), reviews];
        let role = |rules: &[Value]| json!({ "rules": rules });
        insert(&mut live, ObjectKind::ClusterRole, None, "system:discovery", role(&rules));
        let whole = gains(&live, &policy);
        assert_eq!(whole.len(), 1, "{whole:?}");
        assert!(whole[0].starts_with("API discovery and reviews of own access ["), "{whole:?}");
        rules.push(urls(&["/metrics"]));
        rules.push(json!({ "verbs": ["create"], "apiGroups": [""], "resources": ["pods"] }));
        insert(&mut live, ObjectKind::ClusterRole, None, "system:discovery", role(&rules));
        let changed = gains(&live, &policy);
        assert!(changed.iter().any(|line| line.contains("/metrics")), "{changed:?}");
        assert!(changed.iter().any(|line| line.contains("create pods")), "{changed:?}");
    }
}
