//! Tests of the desired state of small policies for a small cluster.

use std::collections::BTreeMap;

use super::expand::{Desired, expand};
use super::load_policy;
use crate::diagnostic::Diagnostic;
use crate::state::State;
use crate::state::object_meta::Labels;
use crate::state::rbac::Subject;

/// Expands the policy for a cluster with the namespaces `team-a` and `team-b`.
fn desired_at(now: &str, text: &str, cluster: Option<&str>) -> (Desired, Vec<Diagnostic>) {
    let text = format!("[policy]\nname = \"prod\"\n{text}");
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, errors)| panic!("{errors:#?}"));
    let team = Labels::from([("team".to_owned(), "a".to_owned())]);
    let namespaces = BTreeMap::from([("team-a".to_owned(), team), ("team-b".to_owned(), Labels::new())]);
    let live = State { namespaces, ..State::default() };
    expand(&policy, cluster, &live, now.parse().unwrap()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn desired(text: &str, cluster: Option<&str>) -> Desired {
    desired_at("2026-11-24T12:00:00Z", text, cluster).0
}

/// Formats each entry as `PRINCIPAL as USERNAME in GROUPS`.
fn entries(desired: &Desired) -> Vec<String> {
    let format_entry = |entry: &super::expand::DesiredEntry| {
        format!("{} as {} in {}", entry.principal, entry.username, entry.groups.join(","))
    };
    desired.entries.iter().map(|entry| format_entry(&entry.value)).collect()
}

/// Formats each binding as `ClusterRoleBinding viewers: user alice, group viewers`.
fn bindings(desired: &Desired) -> Vec<String> {
    let subjects = |list: &[Subject]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    desired.bindings.iter().map(|(key, binding)| format!("{key}: {}", subjects(&binding.value.subjects))).collect()
}

const ROLE: &str = "[cluster-roles.viewer]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";

#[test]
fn bare_names_use_the_partition_of_each_cluster() {
    let text = r#"
        [clusters.commercial]
        eks = { name = "a", region = "eu-west-1" }
        account = "111122223333"
        [clusters.china]
        eks = { name = "b", region = "cn-north-1" }
        account = "111122223333"
        [clusters.gov]
        context = "arn:aws-us-gov:eks:us-gov-west-1:111122223333:cluster/c"
        account = "111122223333"
        [clusters.explicit]
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
        let expected = [format!("{role} as {role} in "), format!("{sso} as {sso} in "), format!("{user} as alice in ")];
        assert_eq!(entries(&desired(text, Some(cluster))), expected, "{cluster}");
    };
    in_partition("commercial", "aws");
    in_partition("china", "aws-cn");
    in_partition("gov", "aws-us-gov");
    in_partition("explicit", "aws-iso");
    in_partition("unknown", "aws");
}

#[test]
fn bound_principal_is_bound_by_its_username() {
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
fn duplicates_are_removed() {
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
fn references_to_items_of_other_clusters_are_dropped() {
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
    // `only` would have no subjects here. It is not created, and it has not expired.
    assert_eq!(bindings(&b), ["ClusterRoleBinding mixed: group only-b, group both, user bob"]);
    assert!(b.expired.bindings.is_empty());
}

#[test]
fn date_expires_at_midnight_utc_and_time_at_its_offset() {
    let is_active = |expires: &str, now: &str| {
        let text = format!("[principals.a]\nuser = \"arn:aws:iam::111122223333:user/a\"\nexpires = {expires}\n");
        desired_at(now, &text, None).0.entries.len() == 1
    };
    let assert_expires = |expires: &str, before: &str, at: &str| {
        assert!(is_active(expires, before), "{expires} has expired at {before}");
        assert!(!is_active(expires, at), "{expires} has not expired at {at}");
    };
    assert_expires("2026-10-01", "2026-09-30T23:59:59.999999999Z", "2026-10-01T00:00:00Z");
    assert_expires("2026-10-01T12:00:00", "2026-10-01T11:59:59Z", "2026-10-01T12:00:00Z");
    assert_expires("2026-10-01 12:00:00.5", "2026-10-01T12:00:00Z", "2026-10-01T12:00:00.5Z");
    assert_expires("2026-10-01T12:00:00Z", "2026-10-01T11:59:59Z", "2026-10-01T12:00:00Z");
    assert_expires("2026-10-01T00:30:00+02:00", "2026-09-30T22:29:59Z", "2026-09-30T22:30:00Z");
    assert_expires("2026-09-30T23:00:00-05:30", "2026-10-01T04:29:59Z", "2026-10-01T04:30:00Z");
    assert_expires("2028-02-29", "2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z");
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
fn expired_items_are_removed_with_a_reason() {
    let text = format!("{ROLE}{EXPIRING}");
    let (before, soon) = desired_at("2026-09-30T12:00:00Z", &text, None);
    assert_eq!(before.entries.len(), 3);
    assert_eq!(before.bindings.len(), 4);
    assert!(before.expired.entries.is_empty() && before.expired.bindings.is_empty() && before.expired.users.is_empty());
    let warnings: Vec<&str> = soon.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "`principals.alice` expires on 2026-10-01, in 12 h",
            "`principals.partner` expires at 2026-10-01T06:00:00Z, in 18 h",
            "`bindings.short` expires on 2026-10-01, in 12 h",
        ]
    );
    assert!(soon.iter().all(|warning| !warning.is_error() && warning.primary.is_some()));

    let (after, soon) = desired_at("2026-10-01T12:00:00Z", &text, None);
    assert_eq!(soon, []);
    assert_eq!(entries(&after), ["arn:aws:iam::111122223333:user/bob as bob in "]);
    assert_eq!(bindings(&after), ["ClusterRoleBinding both: user bob"]);
    let reasons = |items: &mut dyn Iterator<Item = (String, String)>| {
        items.map(|(item, reason)| format!("{item}: {reason}")).collect::<Vec<_>>()
    };
    let expired = &after.expired;
    assert_eq!(
        reasons(&mut expired.entries.iter().map(|(key, end)| (key.clone(), end.reason.clone()))),
        [
            "444455556666: expired at 2026-10-01T06:00:00Z",
            "arn:aws:iam::111122223333:user/alice: expired on 2026-10-01"
        ]
    );
    assert_eq!(
        reasons(&mut expired.bindings.iter().map(|(key, end)| (key.to_string(), end.reason.clone()))),
        [
            "ClusterRoleBinding alone: all subjects have expired: alice expired on 2026-10-01",
            "RoleBinding team-a/short: expired on 2026-10-01",
            "RoleBinding team-b/short: expired on 2026-10-01",
        ]
    );
    assert_eq!(expired.users.get("alice").unwrap().reason, "alice expired on 2026-10-01");
}

#[test]
fn expired_binding_needs_neither_role_nor_namespaces() {
    let text =
        "[bindings.b]\ncluster-role = \"gone\"\nusers = [\"a\"]\nnamespaces = [\"gone\"]\nexpires = 2026-10-01\n";
    let (desired, warnings) = desired_at("2026-10-01T00:00:00Z", text, None);
    assert!(desired.bindings.is_empty() && warnings.is_empty());
}

#[test]
fn item_with_error_is_declared_and_other_errors_are_reported() {
    let errors = |text: &str| {
        let text = format!("[policy]\nname = \"prod\"\n{text}");
        let (_, errors) = load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_err();
        errors.into_iter().map(|error| error.message).collect::<Vec<_>>()
    };
    // `a` has an error, but is declared. `b` is not.
    let messages = errors(
        "[principals.a]\nrole = 1\n[groups.g]\nmembers = [\"a\", \"b\"]\n\
         [bindings.b]\ncluster-role = \"view\"\nprincipals = [\"a\"]\n",
    );
    assert_eq!(
        messages,
        ["`principals.a.role`: expected a string, found an integer", "principal `b` is not declared in the policy"]
    );
    // Whether the bare name has an account depends on the cluster, which has an error.
    let messages = errors("[clusters.c]\ncontext = 1\n[principals.a]\nrole = \"a\"\nclusters = [\"c\"]\n");
    assert_eq!(messages, ["`clusters.c.context`: expected a string, found an integer"]);
}
