//! Random states with few names, so that roles, bindings and entries often refer to each other.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::access::{Request, SubjectQuery};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::access_entry::{AccessEntries, AccessEntriesStatus, AccessEntry};
use crate::state::access_policies::access_policy_arn;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::config_map::AwsAuth;
use crate::state::object::{Binding, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::rbac::{LabelSelector, RoleRef, Rule, Subject};

const ACCOUNT: &str = "111122223333";

/// Between one and `max` of the words.
fn some(words: &'static [&'static str], max: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(words, 1..=max).prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

pub(super) fn object_rule() -> impl Strategy<Value = Rule> {
    let names = prop_oneof![3 => Just(Vec::new()), 1 => some(&["", "a", "n1"], 2)];
    (
        some(&["get", "list", "create", "*"], 2),
        some(&["", "apps", "*"], 2),
        some(&["pods", "secrets", "pods/log", "*/log", "deployments", "*", "pods/*"], 3),
        names,
    )
        .prop_map(|(verbs, api_groups, resources, resource_names)| Rule {
            verbs,
            api_groups,
            resources,
            resource_names,
            non_resource_urls: Vec::new(),
        })
}

fn url_rule() -> impl Strategy<Value = Rule> {
    (some(&["get", "*"], 1), some(&["/a", "/a*", "/a/b", "*"], 2)).prop_map(|(verbs, non_resource_urls)| Rule {
        verbs,
        non_resource_urls,
        ..Rule::default()
    })
}

fn cluster_rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(prop_oneof![4 => object_rule(), 1 => url_rule()], 0..=3)
}

/// `a1` and `a2` are aggregated roles, and `a1` can select `a2`. The other roles can have the labels that those select.
fn roles() -> impl Strategy<Value = Vec<(ObjectKey, Role)>> {
    let labelled = |labels: Vec<&str>| ObjectMeta {
        labels: labels.into_iter().map(|label| (label.to_owned(), "true".to_owned())).collect(),
        ..ObjectMeta::default()
    };
    let plain = (select(&["c0", "c1", "c2"][..]), cluster_rules(), subsequence(vec!["to-a1", "to-a2"], 0..=2))
        .prop_map(move |(name, rules, labels)| {
            (ObjectKey::cluster_role(name), Role { meta: labelled(labels), rules, aggregation: None })
        });
    let aggregated = (select(&["a1", "a2"][..]), cluster_rules(), any::<bool>(), any::<bool>()).prop_map(
        move |(name, rules, filled, chained)| {
            let selector = LabelSelector {
                match_labels: [(format!("to-{name}"), "true".to_owned())].into(),
                match_expressions: Vec::new(),
            };
            let labels = if chained && name == "a2" { vec!["to-a1"] } else { Vec::new() };
            let rules = if filled { rules } else { Vec::new() };
            (ObjectKey::cluster_role(name), Role { meta: labelled(labels), rules, aggregation: Some(vec![selector]) })
        },
    );
    let local = (select(&["n1", "n2"][..]), vec(object_rule(), 0..=2)).prop_map(|(namespace, rules)| {
        (ObjectKey::role(namespace, "r0"), Role { meta: ObjectMeta::default(), rules, aggregation: None })
    });
    vec(prop_oneof![3 => plain, 1 => aggregated, 1 => local], 0..=6)
}

fn subjects() -> Vec<Subject> {
    let account = |namespace: &str| Subject::ServiceAccount { namespace: namespace.to_owned(), name: "s".to_owned() };
    let groups = [
        "g1",
        "g2",
        "team-me-x",
        "team-me@x",
        "team-me-x-me@x",
        "system:authenticated",
        "system:serviceaccounts:n1",
        "system:masters",
    ];
    let users = [
        "u1",
        "u2",
        "me-x",
        "x:111122223333",
        "key-ASIAQWERTYUIOP234567",
        "system:node:ip-10-0-0-1.ec2.internal",
        "arn:aws:iam::111122223333:role/deploy",
        "system:serviceaccount:n2:s",
    ];
    let groups = groups.map(|name| Subject::Group(name.to_owned()));
    let users = users.map(|name| Subject::User(name.to_owned()));
    groups.into_iter().chain(users).chain([account("n1"), account("n2")]).collect()
}

fn bindings() -> impl Strategy<Value = Vec<(ObjectKey, Binding)>> {
    let cluster = select(&["c0", "c1", "c2", "a1", "a2", "ghost"][..]);
    let role = prop_oneof![
        4 => cluster.prop_map(|name| RoleRef::ClusterRole(name.to_owned())),
        1 => select(&["r0", "ghost"][..]).prop_map(|name| RoleRef::Role(name.to_owned())),
    ];
    let namespace = prop_oneof![Just(None), Just(Some("n1")), Just(Some("n2"))];
    let binding = (select(&["b0", "b1", "b2"][..]), namespace, role, subsequence(subjects(), 0..=3));
    let binding = binding.prop_map(|(name, namespace, role_ref, subjects)| {
        (
            ObjectKey::binding(namespace, name),
            Binding { meta: ObjectMeta::default(), role_ref, subjects, namespaces: None },
        )
    });
    vec(binding, 0..=6)
}

fn aws_auth() -> impl Strategy<Value = Option<AwsAuth>> {
    let arns = [
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/Viewer",
        "arn:aws:iam::111122223333:role/team/deploy",
        "arn:aws:iam::111122223333:user/bob",
        "arn:aws:iam::111122223333:user/BOB",
    ];
    let usernames = [
        "u1",
        "u2",
        "",
        "{{SessionName}}",
        "{{SessionNameRaw}}",
        "key-{{AccessKeyID}}",
        "x:{{AccountID}}",
        "system:node:{{EC2PrivateDNSName}}",
        "system:serviceaccount:n1:s",
    ];
    let groups = vec![
        "g1",
        "g2",
        "team-{{SessionName}}",
        "team-{{SessionNameRaw}}",
        "team-{{SessionName}}-{{SessionNameRaw}}",
        "system:{{SessionName}}",
        "",
        "system:masters",
    ];
    let entry = move |key: &'static str| {
        (select(arns.to_vec()), select(usernames.to_vec()), subsequence(groups.clone(), 0..=2))
            .prop_map(move |(arn, username, groups)| json!({ key: arn, "username": username, "groups": groups }))
    };
    let section = |key| vec(entry(key), 0..=3).prop_map(|list| json!(list).to_string());
    let maybe_invalid = |section| prop_oneof![12 => section, 1 => Just("[".to_owned())];
    let accounts = prop_oneof![Just(String::new()), Just(format!("[{ACCOUNT}]"))];
    let data = (maybe_invalid(section("rolearn").boxed()), maybe_invalid(section("userarn").boxed()), accounts);
    let auth = data.prop_map(|(roles, users, accounts)| AwsAuth {
        data: [("mapRoles", roles), ("mapUsers", users), ("mapAccounts", accounts)]
            .map(|(key, text)| (key.to_owned(), text))
            .into(),
        ..AwsAuth::default()
    });
    proptest::option::weighted(0.9, auth)
}

/// Access entries with their associations.
pub(crate) fn access_entries() -> impl Strategy<Value = Vec<AccessEntry>> {
    let arns = [
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/team/deploy",
        "arn:aws:iam::111122223333:role/other/deploy",
        "arn:aws:iam::111122223333:user/bob",
    ];
    let usernames = ["u1", "u2", "x:{{SessionName}}", "x:{{SessionNameRaw}}", "x:{{AccountID}}"];
    let groups = vec!["g1", "g2", "team-{{SessionName}}"];
    let scope = prop_oneof![
        Just(json!({ "type": "cluster" })),
        subsequence(vec!["n1", "n*", "z*", "*2"], 1..=2)
            .prop_map(|namespaces| json!({ "type": "namespace", "namespaces": namespaces })),
    ];
    let policy = select(vec![
        "AmazonEKSViewPolicy",
        "AmazonEKSEditPolicy",
        "AmazonEKSAdminViewPolicy",
        "AmazonEKSClusterAdminPolicy",
        "AmazonEKSComputePolicy",
    ]);
    let policies = btree_map(policy.prop_map(|name| access_policy_arn("aws", name)), scope, 0..=2);
    let entry = (select(arns.to_vec()), select(usernames.to_vec()), subsequence(groups, 0..=2), policies);
    let entry = entry.prop_map(|(arn, username, groups, policies)| {
        let value = json!({
            "metadata": { "name": arn },
            "username": username,
            "kubernetesGroups": groups,
            "accessPolicies": policies,
            "tags": { "n": policies.len().to_string() },
        });
        AccessEntry::from_json(&value).unwrap()
    });
    vec(entry, 0..=3)
}

fn auth_mode() -> impl Strategy<Value = ObservedAuthMode> {
    prop_oneof![
        2 => Just(ObservedAuthMode::NotAsked),
        1 => Just(ObservedAuthMode::Known(ClusterAuthMode::ConfigMap)),
        3 => Just(ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap)),
        1 => Just(ObservedAuthMode::Known(ClusterAuthMode::Api)),
    ]
}

/// Sets the authentication mode and, in the modes that have them, the access entries.
fn set_access_entries(state: &mut State, mode: ObservedAuthMode, entries: Vec<AccessEntry>) {
    let has_entries = matches!(mode, ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::Api));
    state.auth_mode = mode;
    state.access_entries.status = AccessEntriesStatus::Known;
    for entry in entries.into_iter().filter(|_| has_entries) {
        state.insert_access_entry(entry);
    }
}

pub(super) fn state() -> impl Strategy<Value = State> {
    (aws_auth(), roles(), bindings(), auth_mode(), access_entries()).prop_map(
        |(aws_auth, roles, bindings, auth_mode, entries)| {
            let mut state = State {
                aws_auth,
                roles: roles.into_iter().collect(),
                bindings: bindings.into_iter().collect(),
                ..State::default()
            };
            // A cluster lists all of its namespaces.
            state.namespaces.extend(["n1", "n2", "z"].map(|name| (name.to_owned(), BTreeMap::new())));
            set_access_entries(&mut state, auth_mode, entries);
            state
        },
    )
}

/// Returns two states. The second is the first with some parts replaced by those of a third.
pub(crate) fn state_pair() -> impl Strategy<Value = (State, State)> {
    let parts = btree_map(0..5_usize, any::<bool>(), 5);
    (state(), state(), parts, vec(any::<bool>(), 16)).prop_map(|(first, third, parts, coins)| {
        let mut second = first.clone();
        let replaces = |part: usize| parts.get(&part) == Some(&true);
        if replaces(0) {
            second.aws_auth = third.aws_auth;
        }
        let mut coins = coins.into_iter().cycle();
        let mut coin = || coins.next() == Some(true);
        if replaces(1) {
            second.roles.retain(|_, _| coin());
        }
        if replaces(2) {
            second.roles.extend(third.roles.into_iter().filter(|_| coin()));
        }
        if replaces(3) {
            second.bindings.retain(|_, _| coin());
            second.bindings.extend(third.bindings.into_iter().filter(|_| coin()));
        }
        if replaces(4) {
            let third = third.access_entries.iter().map(|(_, entry)| entry);
            let kept = first.access_entries.iter().map(|(_, entry)| entry).filter(|_| coin());
            let entries = kept.chain(third).cloned().collect();
            second.access_entries = AccessEntries::default();
            let mode = second.auth_mode.clone();
            set_access_entries(&mut second, mode, entries);
        }
        (first, second)
    })
}

pub(super) fn all_subjects() -> Vec<SubjectQuery> {
    [
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:sts::111122223333:assumed-role/viewer/me@x",
        "arn:aws:sts::111122223333:assumed-role/viewer/me-x",
        "arn:aws:sts::111122223333:assumed-role/viewer/masters",
        "arn:aws:sts::111122223333:assumed-role/viewer/i-01234567",
        "arn:aws:iam::111122223333:role/team/deploy",
        "arn:aws:iam::111122223333:user/bob",
        "arn:aws:iam::444455556666:user/eve",
        "account:111122223333",
        "user:u1",
        "user:u2",
        "user:system:anonymous",
        "group:g1",
        "group:team-me-x",
        "group:system:authenticated",
        "group:system:masters",
        "sa:n1/s",
        "sa:n2/s",
    ]
    .iter()
    .map(|text| SubjectQuery::parse(text).unwrap())
    .collect()
}

/// Returns one request for every combination of names that the random rules and bindings can distinguish. `z` is a name
/// that none of them has.
pub(super) fn all_requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for verb in ["get", "list", "create", "z"] {
        for group in ["", "apps", "z"] {
            for resource in ["pods", "secrets", "deployments", "z", "pods/log", "secrets/log", "pods/z", "z/z"] {
                for name in ["", "a", "n1", "z"] {
                    for namespace in ["", "n1", "n2", "z"] {
                        requests.push(Request::object(verb, group, resource).with_name(name).in_namespace(namespace));
                    }
                }
            }
        }
    }
    for verb in ["get", "z"] {
        for path in ["/", "/a", "/ax", "/a/b", "/a/bx"] {
            requests.push(Request::url(verb, path));
        }
    }
    requests
}

pub(super) fn some_requests() -> impl Strategy<Value = Vec<Request>> {
    let (urls, objects): (Vec<Request>, Vec<Request>) =
        all_requests().into_iter().partition(|request| matches!(request, Request::Url { .. }));
    vec(prop_oneof![5 => select(objects), 1 => select(urls)], 24)
}
