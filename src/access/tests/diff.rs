//! What a change of state is said to change in access.

use super::fixture::{ALL_RULES, aggregated, binding, cluster_role, mapped, state};
use crate::access::{AccessView, Aggregation, diff_access};
use crate::state::State;

const VIEWER: &str = "[{verbs: [get, list], apiGroups: ['*'], resources: ['*']}]";
const SECRETS: &str = "[{verbs: [get], apiGroups: [''], resources: [secrets]}]";

/// One line per subject and part: `group:g + get secrets in team by b`.
fn said(before: &State, after: &State) -> Vec<String> {
    let (before, after) =
        (AccessView::new(before, Aggregation::Reconciled), AccessView::new(after, Aggregation::Reconciled));
    let mut lines = Vec::new();
    for row in diff_access(&before, &after) {
        for (mark, parts) in [("+", &row.permissions.gained), ("-", &row.permissions.lost)] {
            for part in parts {
                let by: Vec<&str> = part
                    .granted_by
                    .iter()
                    .map(|by| match by {
                        crate::access::GrantSource::SystemMasters => "masters",
                        crate::access::GrantSource::Path(chain) => chain.binding.name(),
                    })
                    .collect();
                lines.push(format!("{} {mark} {} by {}", row.subject, part.requests, by.join(", ")));
            }
        }
        lines.extend(
            row.permissions
                .escalation_paths
                .iter()
                .chain(&row.identity_paths)
                .map(|way| format!("{} ^ {}", row.subject, way.name())),
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
fn a_new_entry_gains_what_its_groups_have() {
    let rbac = state(&(cluster_role("viewer", "{}", VIEWER) + &binding("viewers", None, "viewer", ("Group", "v"))));
    let (before, after) = (with_entries(&rbac, ""), with_entries(&rbac, &entry("viewer", "v")));
    assert_eq!(
        said(&before, &after),
        [
            "arn:aws:iam::111122223333:role/viewer + get, list on every resource in all namespaces by viewers",
            "arn:aws:iam::111122223333:role/viewer ^ nodes-proxy",
            "arn:aws:iam::111122223333:role/viewer ^ secrets",
            "arn:aws:iam::111122223333:role/viewer ^ exec",
            "arn:aws:iam::111122223333:role/viewer ^ port-forward",
        ]
    );
    assert_eq!(
        said(&after, &before),
        ["arn:aws:iam::111122223333:role/viewer - get, list on every resource in all namespaces by viewers"]
    );
}

#[test]
fn another_line_comment_or_binding_name_changes_no_access() {
    let role = cluster_role("viewer", "{}", VIEWER);
    let one = state(&(role.clone() + &binding("viewers", None, "viewer", ("Group", "v"))));
    let other = cluster_role("viewer", "{a: b}", VIEWER) + &binding("renamed", None, "viewer", ("Group", "v"));
    let (before, after) = (
        with_entries(&one, &entry("a", "v")),
        with_entries(&state(&other), &{
            entry("b", "x").replace("- rolearn", "# moved down\n- rolearn") + &entry("a", "v")
        }),
    );
    assert_eq!(said(&before, &after), [""; 0]);
}

#[test]
fn a_wider_scope_gains_all_but_the_old_one() {
    let role = cluster_role("reader", "{}", SECRETS);
    let narrow = state(&(role.clone() + &binding("b", Some("team-a"), "reader", ("Group", "g"))));
    let wide = state(&(role + &binding("b", None, "reader", ("Group", "g"))));
    assert_eq!(
        said(&narrow, &wide),
        ["group:g + get secrets in all namespaces except team-a by b", "group:g ^ secrets"]
    );
    assert_eq!(said(&wide, &narrow), ["group:g - get secrets in all namespaces except team-a by b"]);
}

#[test]
fn equal_bindings_of_many_namespaces_are_one_line() {
    let role = cluster_role("reader", "{}", SECRETS);
    let bound =
        |names: &[&str]| names.iter().map(|ns| binding("b", Some(ns), "reader", ("User", "u"))).collect::<String>();
    let (before, after) = (state(&(role.clone() + &bound(&["a"]))), state(&(role + &bound(&["a", "b", "c"]))));
    assert_eq!(said(&before, &after), ["user:u + get secrets in b, c by b, b", "user:u ^ secrets"]);
}

#[test]
fn a_label_on_a_role_changes_what_others_may_do() {
    let base = aggregated("view", "{to-edit: 'true'}", "[{matchLabels: {to-view: 'true'}}]", "[]")
        + &aggregated("edit", "{}", "[{matchLabels: {to-edit: 'true'}}]", "[]")
        + &binding("lookers", None, "view", ("Group", "look"))
        + &binding("editors", Some("team"), "edit", ("Group", "edit"));
    let before = state(&(base.clone() + &cluster_role("crd", "{}", SECRETS)));
    let after = state(&(base + &cluster_role("crd", "{to-view: 'true'}", SECRETS)));
    assert_eq!(
        said(&before, &after),
        [
            "group:edit + get secrets in team by editors",
            "group:edit ^ secrets",
            "group:look + get secrets in all namespaces by lookers",
            "group:look ^ secrets",
        ]
    );
}

#[test]
fn masters_gain_everything_beyond_what_they_had() {
    let rbac = state(&(cluster_role("reader", "{}", SECRETS) + &binding("b", None, "reader", ("Group", "g"))));
    let (before, after) = (with_entries(&rbac, &entry("a", "g")), with_entries(&rbac, &entry("a", "'system:masters'")));
    assert_eq!(
        said(&before, &after),
        [
            "arn:aws:iam::111122223333:role/a + everything in all namespaces, except get secrets in all namespaces by masters",
            "arn:aws:iam::111122223333:role/a + every verb on every URL by masters",
            "arn:aws:iam::111122223333:role/a ^ system:masters",
        ]
    );
}

#[test]
fn a_binding_to_all_is_told_of_the_group_and_of_everybody() {
    let role = cluster_role("reader", "{}", SECRETS);
    let bound = role.clone() + &binding("b", None, "reader", ("Group", "system:authenticated"));
    let before = with_entries(&state(&role), &entry("a", "g"));
    let after = with_entries(&state(&bound), &entry("a", "g"));
    let lines: Vec<String> = said(&before, &after).into_iter().filter(|line| line.contains('+')).collect();
    assert_eq!(
        lines,
        [
            "arn:aws:iam::111122223333:role/a + get secrets in all namespaces by b",
            "group:system:authenticated + get secrets in all namespaces by b",
        ]
    );
}

#[test]
fn an_admin_who_becomes_an_editor_keeps_what_is_said_after_the_but() {
    let roles = cluster_role("admin", "{}", ALL_RULES) + &cluster_role("reader", "{}", SECRETS);
    let before = state(&(roles.clone() + &binding("b", None, "admin", ("User", "u"))));
    let after = state(&(roles + &binding("b", None, "reader", ("User", "u"))));
    assert_eq!(
        said(&before, &after),
        [
            "user:u - everything in all namespaces, except get secrets in all namespaces by b",
            "user:u - every verb on every URL by b",
        ]
    );
}
