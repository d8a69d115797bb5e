//! The difference in access between two states.

use super::fixture::{ALL_RULES, READ_ALL, READ_SECRETS, aggregated, binding, cluster_role, mapped, state};
use crate::access::{AccessView, Aggregation, diff_access};
use crate::state::State;

/// Returns one line per subject and change: `+` gained, `-` lost, `^` a new escalation path.
fn diff_lines(before: &State, after: &State) -> Vec<String> {
    let (before, after) =
        (AccessView::new(before, Aggregation::Reconciled), AccessView::new(after, Aggregation::Reconciled));
    let mut lines = Vec::new();
    for row in diff_access(&before, &after) {
        for (mark, parts) in [("+", &row.permissions.gained), ("-", &row.permissions.lost)] {
            for part in parts {
                let granted_by: Vec<&str> = part
                    .granted_by
                    .iter()
                    .map(|source| match source {
                        crate::access::GrantSource::SystemMasters => "masters",
                        crate::access::GrantSource::Path(path) => path.binding.name(),
                    })
                    .collect();
                lines.push(format!("{} {mark} {} by {}", row.subject, part.requests, granted_by.join(", ")));
            }
        }
        lines.extend(
            row.permissions
                .escalation_paths
                .iter()
                .chain(&row.identity_paths)
                .map(|path| format!("{} ^ {}", row.subject, path.name())),
        );
    }
    lines
}

fn with_entries(state: &State, roles: &str) -> State {
    State { aws_auth: mapped(&[("mapRoles", roles)]).aws_auth, ..state.clone() }
}

fn entry(name: &str, groups: &str) -> String {
    format!("- rolearn: arn:aws:iam::111122223333:role/{name}\n  username: {name}\n  groups: [{groups}]\n")
}

#[test]
fn new_entry_gains_permissions_of_its_groups() {
    let rbac = state(&(cluster_role("viewer", "{}", READ_ALL) + &binding("viewers", None, "viewer", ("Group", "v"))));
    let (before, after) = (with_entries(&rbac, ""), with_entries(&rbac, &entry("viewer", "v")));
    assert_eq!(
        diff_lines(&before, &after),
        [
            "arn:aws:iam::111122223333:role/viewer + get, list on every resource in all namespaces by viewers",
            "arn:aws:iam::111122223333:role/viewer ^ nodes-proxy",
            "arn:aws:iam::111122223333:role/viewer ^ secrets",
            "arn:aws:iam::111122223333:role/viewer ^ exec",
            "arn:aws:iam::111122223333:role/viewer ^ port-forward",
        ]
    );
    assert_eq!(
        diff_lines(&after, &before),
        ["arn:aws:iam::111122223333:role/viewer - get, list on every resource in all namespaces by viewers"]
    );
}

#[test]
fn moved_entry_and_renamed_binding_change_no_access() {
    let role = cluster_role("viewer", "{}", READ_ALL);
    let original = state(&(role.clone() + &binding("viewers", None, "viewer", ("Group", "v"))));
    let renamed = cluster_role("viewer", "{a: b}", READ_ALL) + &binding("renamed", None, "viewer", ("Group", "v"));
    let (before, after) = (
        with_entries(&original, &entry("a", "v")),
        with_entries(&state(&renamed), &{
            entry("b", "x").replace("- rolearn", "# moved down\n- rolearn") + &entry("a", "v")
        }),
    );
    assert_eq!(diff_lines(&before, &after), [""; 0]);
}

#[test]
fn wider_binding_scope_gains_only_new_namespaces() {
    let role = cluster_role("reader", "{}", READ_SECRETS);
    let narrow = state(&(role.clone() + &binding("b", Some("team-a"), "reader", ("Group", "g"))));
    let wide = state(&(role + &binding("b", None, "reader", ("Group", "g"))));
    assert_eq!(
        diff_lines(&narrow, &wide),
        ["group:g + get secrets in all namespaces except team-a by b", "group:g ^ secrets"]
    );
    assert_eq!(diff_lines(&wide, &narrow), ["group:g - get secrets in all namespaces except team-a by b"]);
}

#[test]
fn equal_bindings_in_several_namespaces_are_merged() {
    let role = cluster_role("reader", "{}", READ_SECRETS);
    let bound =
        |names: &[&str]| names.iter().map(|ns| binding("b", Some(ns), "reader", ("User", "u"))).collect::<String>();
    let (before, after) = (state(&(role.clone() + &bound(&["a"]))), state(&(role + &bound(&["a", "b", "c"]))));
    assert_eq!(diff_lines(&before, &after), ["user:u + get secrets in b, c by b, b", "user:u ^ secrets"]);
}

#[test]
fn aggregation_label_changes_access_of_other_roles() {
    let base = aggregated("view", "{to-edit: 'true'}", "[{matchLabels: {to-view: 'true'}}]", "[]")
        + &aggregated("edit", "{}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
        + &binding("lookers", None, "view", ("Group", "look"))
        + &binding("editors", Some("team"), "edit", ("Group", "edit"));
    let before = state(&(base.clone() + &cluster_role("crd", "{}", READ_SECRETS)));
    let after = state(&(base + &cluster_role("crd", "{to-view: 'true'}", READ_SECRETS)));
    assert_eq!(
        diff_lines(&before, &after),
        [
            "group:edit + get secrets in team by editors",
            "group:edit ^ secrets",
            "group:look + get secrets in all namespaces by lookers",
            "group:look ^ secrets",
        ]
    );
}

#[test]
fn system_masters_gain_excludes_existing_permissions() {
    let rbac = state(&(cluster_role("reader", "{}", READ_SECRETS) + &binding("b", None, "reader", ("Group", "g"))));
    let (before, after) = (with_entries(&rbac, &entry("a", "g")), with_entries(&rbac, &entry("a", "'system:masters'")));
    assert_eq!(
        diff_lines(&before, &after),
        [
            "arn:aws:iam::111122223333:role/a + everything in all namespaces, except get secrets in all namespaces by masters",
            "arn:aws:iam::111122223333:role/a + every verb on every URL by masters",
            "arn:aws:iam::111122223333:role/a ^ system:masters",
        ]
    );
}

#[test]
fn binding_to_system_authenticated_changes_group_and_principals() {
    let role = cluster_role("reader", "{}", READ_SECRETS);
    let bound = role.clone() + &binding("b", None, "reader", ("Group", "system:authenticated"));
    let before = with_entries(&state(&role), &entry("a", "g"));
    let after = with_entries(&state(&bound), &entry("a", "g"));
    let lines: Vec<String> = diff_lines(&before, &after).into_iter().filter(|line| line.contains('+')).collect();
    assert_eq!(
        lines,
        [
            "arn:aws:iam::111122223333:role/a + get secrets in all namespaces by b",
            "group:system:authenticated + get secrets in all namespaces by b",
        ]
    );
}

#[test]
fn lost_permissions_exclude_those_that_remain() {
    let roles = cluster_role("admin", "{}", ALL_RULES) + &cluster_role("reader", "{}", READ_SECRETS);
    let before = state(&(roles.clone() + &binding("b", None, "admin", ("User", "u"))));
    let after = state(&(roles + &binding("b", None, "reader", ("User", "u"))));
    assert_eq!(
        diff_lines(&before, &after),
        [
            "user:u - everything in all namespaces, except get secrets in all namespaces by b",
            "user:u - every verb on every URL by b",
        ]
    );
}
