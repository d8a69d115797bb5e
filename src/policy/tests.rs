//! What a policy wants of a cluster, from a tiny text and a tiny cluster.

use std::collections::BTreeMap;

use super::expand::{Desired, expand};
use super::load_policy;
use crate::diagnostic::Diagnostic;
use crate::state::State;
use crate::state::object_meta::Labels;
use crate::state::rbac::Subject;

/// Wants of the policy at noon of 24 November 2026, unless another moment is named.
fn desired_at(now: &str, text: &str, cluster: Option<&str>) -> (Desired, Vec<Diagnostic>) {
    let text = format!("[policy]\nname = \"prod\"\n{text}");
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, faults)| panic!("{faults:#?}"));
    let team = Labels::from([("team".to_owned(), "a".to_owned())]);
    let namespaces = BTreeMap::from([("team-a".to_owned(), team), ("team-b".to_owned(), Labels::new())]);
    let live = State { namespaces, ..State::default() };
    expand(&policy, cluster, &live, now.parse().unwrap()).unwrap_or_else(|found| panic!("{found:#?}"))
}

fn desired(text: &str, cluster: Option<&str>) -> Desired {
    desired_at("2026-11-24T12:00:00Z", text, cluster).0
}

/// `principal as username in groups`.
fn entries(desired: &Desired) -> Vec<String> {
    let shown = |entry: &super::expand::DesiredEntry| {
        format!("{} as {} in {}", entry.principal, entry.username, entry.groups.join(","))
    };
    desired.entries.iter().map(|entry| shown(&entry.value)).collect()
}

/// `ClusterRoleBinding viewers: user alice, group viewers`.
fn bindings(desired: &Desired) -> Vec<String> {
    let subjects = |list: &[Subject]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    desired.bindings.iter().map(|(key, binding)| format!("{key}: {}", subjects(&binding.value.subjects))).collect()
}

const ROLE: &str = "[cluster-roles.viewer]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";

#[test]
fn bare_names_are_of_the_partition_of_each_cluster() {
    let text = r#"
        [clusters.world]
        eks = { name = "a", region = "eu-west-1" }
        account = "111122223333"
        [clusters.china]
        eks = { name = "b", region = "cn-north-1" }
        account = "111122223333"
        [clusters.gov]
        context = "arn:aws-us-gov:eks:us-gov-west-1:111122223333:cluster/c"
        account = "111122223333"
        [clusters.told]
        snapshot = "cluster.yaml"
        partition = "aws-iso"
        account = "111122223333"
        [clusters.unknown]
        snapshot = "cluster.yaml"
        account = "111122223333"
        [principals.r]
        role = "viewer"
        [principals.s]
        sso = { permission-set = "Admin", account = "444455556666", id = "0123456789abcdef" }
        [principals.u]
        user = "alice"
        username = "alice"
    "#;
    let in_partition = |cluster: &str, partition: &str| {
        let role = format!("arn:{partition}:iam::111122223333:role/viewer");
        let sso = format!("arn:{partition}:iam::444455556666:role/AWSReservedSSO_Admin_0123456789abcdef");
        let user = format!("arn:{partition}:iam::111122223333:user/alice");
        let all = [format!("{role} as {role} in "), format!("{sso} as {sso} in "), format!("{user} as alice in ")];
        assert_eq!(entries(&desired(text, Some(cluster))), all, "{cluster}");
    };
    in_partition("world", "aws");
    in_partition("china", "aws-cn");
    in_partition("gov", "aws-us-gov");
    in_partition("told", "aws-iso");
    in_partition("unknown", "aws");
}

#[test]
fn a_bound_principal_is_bound_by_the_username_that_its_entry_has() {
    let text = format!(
        "{ROLE}[principals.v]\nrole = \"arn:aws:iam::111122223333:role/team/viewer\"\n\
         [bindings.b]\ncluster-role = \"viewer\"\nprincipals = [\"v\"]\nusers = [\"bob\"]\n"
    );
    let desired = desired(&text, None);
    let arn = "arn:aws:iam::111122223333:role/viewer";
    assert_eq!(entries(&desired), [format!("{arn} as {arn} in ")]);
    assert_eq!(bindings(&desired), [format!("ClusterRoleBinding b: user {arn}, user bob")]);
}

#[test]
fn what_stands_twice_is_wanted_once() {
    let text = format!(
        "{ROLE}[groups.g]\nmembers = [\"a\", \"a\"]\n\
         [principals.a]\nuser = \"arn:aws:iam::111122223333:user/a\"\nusername = \"a\"\ngroups = [\"g\"]\n\
         [bindings.b]\ncluster-role = \"viewer\"\ngroups = [\"g\", \"g\"]\nusers = [\"a\"]\nprincipals = [\"a\"]\n\
         service-accounts = [\"ci\", \"team-a/ci\"]\n\
         namespaces = [\"team-a\", \"team-*\", {{ match-labels = {{ team = \"a\" }} }}]\n"
    );
    let desired = desired(&text, None);
    assert_eq!(entries(&desired), ["arn:aws:iam::111122223333:user/a as a in g"]);
    let a = "group g, user a, service account team-a/ci";
    let b = "group g, user a, service account team-b/ci, service account team-a/ci";
    assert_eq!(bindings(&desired), [format!("RoleBinding team-a/b: {a}"), format!("RoleBinding team-b/b: {b}")]);
}

#[test]
fn where_one_end_of_a_reference_is_not_it_is_dropped() {
    let text = format!(
        r#"{ROLE}
        [clusters.a]
        context = "a"
        [clusters.b]
        context = "b"
        [principals.only-a]
        user = "arn:aws:iam::111122223333:user/alice"
        username = "alice"
        clusters = ["a"]
        [principals.both]
        user = "arn:aws:iam::111122223333:user/bob"
        username = "bob"
        groups = ["only-b"]
        [groups.only-b]
        clusters = ["b"]
        [groups.both]
        members = ["only-a"]
        [bindings.mixed]
        cluster-role = "viewer"
        groups = ["only-b", "both"]
        principals = ["only-a", "both"]
        [bindings.only]
        cluster-role = "viewer"
        principals = ["only-a"]
    "#
    );
    let a = desired(&text, Some("a"));
    assert_eq!(
        entries(&a),
        ["arn:aws:iam::111122223333:user/bob as bob in ", "arn:aws:iam::111122223333:user/alice as alice in both"]
    );
    let mixed = "ClusterRoleBinding mixed: group both, user alice, user bob";
    assert_eq!(bindings(&a), [mixed, "ClusterRoleBinding only: user alice"]);
    let b = desired(&text, Some("b"));
    assert_eq!(entries(&b), ["arn:aws:iam::111122223333:user/bob as bob in only-b"]);
    // `only` would bind nobody here: it is not made, and nothing has ended.
    assert_eq!(bindings(&b), ["ClusterRoleBinding mixed: group only-b, group both, user bob"]);
    assert!(b.expired.bindings.is_empty());
}

#[test]
fn a_date_ends_at_midnight_utc_and_a_time_where_it_says() {
    let lasts = |expires: &str, now: &str| {
        let text = format!("[principals.a]\nuser = \"arn:aws:iam::111122223333:user/a\"\nexpires = {expires}\n");
        desired_at(now, &text, None).0.entries.len() == 1
    };
    let ends = |expires: &str, before: &str, at: &str| {
        assert!(lasts(expires, before), "{expires}: too early at {before}");
        assert!(!lasts(expires, at), "{expires}: too late at {at}");
    };
    ends("2026-10-01", "2026-09-30T23:59:59.999999999Z", "2026-10-01T00:00:00Z");
    ends("2026-10-01T12:00:00", "2026-10-01T11:59:59Z", "2026-10-01T12:00:00Z");
    ends("2026-10-01 12:00:00.5", "2026-10-01T12:00:00Z", "2026-10-01T12:00:00.5Z");
    ends("2026-10-01T12:00:00Z", "2026-10-01T11:59:59Z", "2026-10-01T12:00:00Z");
    ends("2026-10-01T00:30:00+02:00", "2026-09-30T22:29:59Z", "2026-09-30T22:30:00Z");
    ends("2026-09-30T23:00:00-05:30", "2026-10-01T04:29:59Z", "2026-10-01T04:30:00Z");
    ends("2028-02-29", "2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z");
}

const EXPIRING: &str = r#"
    [principals.alice]
    user = "arn:aws:iam::111122223333:user/Alice"
    username = "alice"
    expires = 2026-10-01
    [principals.partner]
    account = "444455556666"
    expires = 2026-10-01T06:00:00Z
    [principals.bob]
    user = "arn:aws:iam::111122223333:user/bob"
    username = "bob"
    [bindings.both]
    cluster-role = "viewer"
    principals = ["alice", "bob"]
    [bindings.alone]
    cluster-role = "viewer"
    principals = ["alice"]
    [bindings.short]
    cluster-role = "viewer"
    users = ["carol"]
    namespaces = ["team-*"]
    expires = 2026-10-01
"#;

#[test]
fn what_has_expired_is_not_wanted_and_says_why() {
    let text = format!("{ROLE}{EXPIRING}");
    let (before, soon) = desired_at("2026-09-30T12:00:00Z", &text, None);
    assert_eq!(before.entries.len(), 3);
    assert_eq!(before.bindings.len(), 4);
    assert!(before.expired.entries.is_empty() && before.expired.bindings.is_empty() && before.expired.users.is_empty());
    let said: Vec<&str> = soon.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "`principals.alice` expires on 2026-10-01, in 12 h",
            "`principals.partner` expires at 2026-10-01T06:00:00Z, in 18 h",
            "`bindings.short` expires on 2026-10-01, in 12 h",
        ]
    );
    assert!(soon.iter().all(|found| !found.is_error() && found.primary.is_some()));

    let (after, soon) = desired_at("2026-10-01T12:00:00Z", &text, None);
    assert_eq!(soon, []);
    assert_eq!(entries(&after), ["arn:aws:iam::111122223333:user/bob as bob in "]);
    assert_eq!(bindings(&after), ["ClusterRoleBinding both: user bob"]);
    let notes = |all: &mut dyn Iterator<Item = (String, String)>| {
        all.map(|(what, note)| format!("{what}: {note}")).collect::<Vec<_>>()
    };
    let ended = &after.expired;
    assert_eq!(
        notes(&mut ended.entries.iter().map(|(key, end)| (key.clone(), end.reason.clone()))),
        [
            "444455556666: expired at 2026-10-01T06:00:00Z",
            "arn:aws:iam::111122223333:user/alice: expired on 2026-10-01"
        ]
    );
    assert_eq!(
        notes(&mut ended.bindings.iter().map(|(key, end)| (key.to_string(), end.reason.clone()))),
        [
            "ClusterRoleBinding alone: binds nobody any more: alice expired on 2026-10-01",
            "RoleBinding team-a/short: expired on 2026-10-01",
            "RoleBinding team-b/short: expired on 2026-10-01",
        ]
    );
    assert_eq!(ended.users.get("alice").unwrap().reason, "alice expired on 2026-10-01");
}

#[test]
fn an_expired_binding_needs_neither_its_role_nor_its_namespaces() {
    let text =
        "[bindings.b]\ncluster-role = \"gone\"\nusers = [\"a\"]\nnamespaces = [\"gone\"]\nexpires = 2026-10-01\n";
    let (desired, found) = desired_at("2026-10-01T00:00:00Z", text, None);
    assert!(desired.bindings.is_empty() && found.is_empty());
}

#[test]
fn a_definition_at_fault_hides_no_other_fault() {
    let faults = |text: &str| {
        let text = format!("[policy]\nname = \"prod\"\n{text}");
        let (_, found) = load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_err();
        found.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    // The broken principal is declared all the same; the typo beside it is not.
    let found = faults(
        "[principals.a]\nrole = 1\n[groups.g]\nmembers = [\"a\", \"b\"]\n\
         [bindings.b]\ncluster-role = \"view\"\nprincipals = [\"a\"]\n",
    );
    assert_eq!(
        found,
        ["`principals.a.role` must be a string, here stands a number", "there is no principal `b` in the policy"]
    );
    // Whether the bare name has an account, only the broken cluster could tell.
    let found = faults("[clusters.c]\ncontext = 1\n[principals.a]\nrole = \"a\"\nclusters = [\"c\"]\n");
    assert_eq!(found, ["`clusters.c.context` must be a string, here stands a number"]);
}
