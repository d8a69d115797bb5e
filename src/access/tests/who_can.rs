//! `who-can` in any namespace, with grants that are limited to names and namespaces.

use super::fixture::{binding, cluster_role, parse_request, state};
use crate::access::{AccessView, Aggregation, GrantLimit, NamespaceFilter};

/// Returns the subjects that can make a request, each with the limits of its grants.
fn who_can(text: &str, request: &str, filter: &NamespaceFilter) -> Vec<String> {
    let state = state(text);
    let access = AccessView::new(&state, Aggregation::AsStored);
    let request = parse_request(request);
    let result = access.who_can_somewhere(&request, filter);
    let limit_text = |limit: &GrantLimit| {
        let names = if limit.names.is_empty() { "any name".to_owned() } else { limit.names.join(",") };
        let namespace = limit.namespace.as_deref().unwrap_or("everywhere");
        format!("{names} {namespace}{}", if limit.by_apply { " by apply" } else { "" })
    };
    let subject_text = |grants: &crate::access::SubjectGrants<'_>| {
        let limits = GrantLimit::of_paths(&grants.paths, &request, filter);
        format!("{}: {}", grants.subject, limits.iter().map(limit_text).collect::<Vec<_>>().join("; "))
    };
    result.subjects.iter().map(subject_text).collect()
}

const NAMED: &str = "[{verbs: [get, create], apiGroups: [''], resources: [secrets], resourceNames: [db]}]";

#[test]
fn grants_limited_to_names_and_namespaces_are_listed() {
    let text = cluster_role("named", "{}", NAMED)
        + &cluster_role("all", "{}", "[{verbs: [get], apiGroups: [''], resources: [secrets]}]")
        + &binding("b1", Some("team-b"), "named", ("User", "named"))
        + &binding("b2", Some("team-a"), "all", ("User", "local"))
        + &binding("b3", None, "all", ("User", "global"));
    let any = NamespaceFilter::Any;
    assert_eq!(
        who_can(&text, "get secrets", &any),
        ["user global: ", "user local: any name team-a", "user named: db team-b"]
    );
    assert_eq!(who_can(&text, "get secrets named db", &any)[2], "user named: any name team-b");
    assert_eq!(who_can(&text, "get secrets named other", &any).len(), 2);
    assert_eq!(who_can(&text, "create secrets", &any), ["user named: db team-b by apply"]);
    let only = NamespaceFilter::Only("team-b".to_owned());
    assert_eq!(who_can(&text, "get secrets", &only), ["user global: ", "user named: db everywhere"]);
    assert_eq!(who_can(&text, "get secrets", &NamespaceFilter::ClusterWide), ["user global: "]);
}

#[test]
fn role_binding_does_not_allow_cluster_scoped_requests() {
    let rules = "[{verbs: ['*'], apiGroups: ['*'], resources: ['*']}]";
    let text = cluster_role("all", "{}", rules) + &binding("b", Some("team"), "all", ("User", "lead"));
    let any = NamespaceFilter::Any;
    for request in ["get nodes", "list namespaces", "create namespaces", "impersonate users", "get /metrics"] {
        assert_eq!(who_can(&text, request, &any), [""; 0], "{request}");
    }
    assert_eq!(who_can(&text, "get namespaces named other", &any), [""; 0]);
    for request in ["get pods", "get namespaces", "get namespaces named team", "impersonate serviceaccounts"] {
        assert_eq!(who_can(&text, request, &any), ["user lead: any name team"], "{request}");
    }
    let bind = "bind clusterroles.rbac.authorization.k8s.io named cluster-admin";
    assert_eq!(who_can(&text, bind, &any), ["user lead: any name team"]);
    assert_eq!(who_can(&text, bind, &NamespaceFilter::ClusterWide), [""; 0]);
}
