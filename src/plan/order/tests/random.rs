//! Pairs of small dense states: few names, so that everything meets everything.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::model::{Universe, auth_of};
use crate::access::{Request, Who};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::{Entry, Principal};
use crate::state::mapping::AwsAuth;
use crate::state::meta::Meta;
use crate::state::object::{Binding, Role};
use crate::state::rbac::{RoleRef, Rule, Selector, Subject};

/// One side: a state and the entries of aws-auth.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) state: State,
    pub(super) entries: Vec<Entry>,
}

/// What a pair of sides may have in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Aggregated,
    /// The account is let in as a whole, so that who has no entry is still somebody.
    Account,
    /// Machines among the principals, which keep their username.
    Machines,
}

impl Kind {
    /// A safe order always exists.
    pub(super) fn is_safe(self) -> bool {
        matches!(self, Self::Plain | Self::Account)
    }
}

pub(super) fn rule(verb: &str, resource: &str) -> Rule {
    Rule {
        verbs: vec![verb.to_owned()],
        api_groups: vec![String::new()],
        resources: vec![resource.to_owned()],
        ..Rule::default()
    }
}

fn url(path: &str) -> Rule {
    Rule { verbs: vec!["get".to_owned()], non_resource_urls: vec![path.to_owned()], ..Rule::default() }
}

fn rules(most: usize) -> impl Strategy<Value = Vec<Rule>> {
    let all = vec![
        rule("get", "pods"),
        rule("list", "pods"),
        rule("*", "pods"),
        rule("get", "secrets"),
        rule("get", "*"),
        url("/a"),
        url("/a*"),
    ];
    subsequence(all, 0..=most)
}

fn local_rules() -> impl Strategy<Value = Vec<Rule>> {
    subsequence(vec![rule("get", "pods"), rule("list", "pods"), rule("get", "*")], 0..=2)
}

fn entry(kind: Kind) -> impl Strategy<Value = Entry> {
    let arns = ["viewer", "deploy", "admin"].map(|name| format!("arn:aws:iam::111122223333:role/{name}"));
    let usernames = ["u0", "u1", "u2", "", "{{SessionName}}"];
    let groups = vec!["g0", "g1", "g2", "team-{{SessionName}}", "system:masters"];

    (select(arns.to_vec()), select(usernames.to_vec()), subsequence(groups, 0..=2))
        .prop_map(|(arn, username, groups)| Entry {
            principal: Principal::Role(arn),
            username: username.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
        })
        .prop_map(move |entry| machine(kind, entry))
}

/// The entry of a node in the place of one of the roles.
fn machine(kind: Kind, mut entry: Entry) -> Entry {
    if kind == Kind::Machines && matches!(&entry.principal, Principal::Role(arn) if arn.ends_with("/admin")) {
        entry.username = "system:node:{{EC2PrivateDNSName}}".to_owned();
        entry.groups.retain(|group| group != "system:masters");
        entry.groups.push("system:nodes".to_owned());
    }
    entry
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    let groups = ["g0", "g1", "g2", "team-x", "system:authenticated"].map(|name| Subject::Group(name.to_owned()));
    let users = ["u0", "u1", "x", "arn:aws:iam::111122223333:role/viewer"].map(|name| Subject::User(name.to_owned()));
    let account = Subject::ServiceAccount { namespace: "n1".to_owned(), name: "s".to_owned() };
    subsequence(groups.into_iter().chain(users).chain([account]).collect::<Vec<_>>(), 0..=3)
}

fn roles(kind: Kind) -> impl Strategy<Value = BTreeMap<ObjectKey, Role>> {
    let labels = if kind == Kind::Aggregated { vec!["to-a"] } else { Vec::new() };
    let labels = subsequence(labels.clone(), 0..=labels.len());
    let plain = (select(&["r0", "r1", "r2"][..]), rules(2), labels).prop_map(|(name, rules, labels)| {
        let labels = labels.into_iter().map(|label| (label.to_owned(), "true".to_owned())).collect();
        let meta = Meta { labels, ..Meta::default() };
        (ObjectKey::cluster_role(name), Role { meta, rules, aggregation: None })
    });
    let local = (Just("n1"), local_rules()).prop_map(|(namespace, rules)| {
        (ObjectKey::role(namespace, "r0"), Role { meta: Meta::default(), rules, aggregation: None })
    });
    let all = (vec(plain, 1..=3), proptest::option::of(local));
    all.prop_map(move |(plain, local)| {
        let mut all: BTreeMap<ObjectKey, Role> = plain.into_iter().chain(local).collect();
        if kind == Kind::Aggregated {
            let selector =
                Selector { match_labels: [("to-a".to_owned(), "true".to_owned())].into(), ..Selector::default() };
            let role = Role { aggregation: Some(vec![selector]), ..Role::default() };
            all.insert(ObjectKey::cluster_role("a"), role);
        }
        all
    })
}

fn bindings(kind: Kind) -> impl Strategy<Value = BTreeMap<ObjectKey, Binding>> {
    let cluster: &[&str] = if kind == Kind::Aggregated { &["r0", "r1", "a"] } else { &["r0", "r1", "r2"] };
    let role = select(cluster).prop_map(|name| RoleRef::ClusterRole(name.to_owned()));
    let everywhere = (select(&["b0", "b1", "b2"][..]), Just(None), role.clone(), subjects());
    let local_role = prop_oneof![role, Just(RoleRef::Role("r0".to_owned()))];
    let inside = (select(&["b0", "b1"][..]), Just(Some("n1")), local_role, subjects());
    let one = prop_oneof![3 => everywhere, 1 => inside].prop_map(|(name, namespace, role_ref, subjects)| {
        (ObjectKey::binding(namespace, name), Binding { meta: Meta::default(), role_ref, subjects })
    });
    vec(one, 1..=4).prop_map(|all| all.into_iter().collect())
}

fn side(kind: Kind) -> impl Strategy<Value = Side> {
    (vec(entry(kind), 0..=3), roles(kind), bindings(kind)).prop_map(move |(entries, roles, bindings)| {
        let mut seen = std::collections::BTreeSet::new();
        let entries: Vec<Entry> =
            entries.into_iter().filter(|entry| seen.insert(format!("{:?}", entry.principal))).collect();
        Side {
            state: State { aws_auth: Some(auth_with(kind, &entries)), roles, bindings, ..State::default() },
            entries,
        }
    })
}

/// Two sides, of which the second keeps some parts of the first.
pub(super) fn pair(kind: Kind) -> impl Strategy<Value = (Side, Side)> {
    (side(kind), side(kind), vec(proptest::bool::weighted(0.4), 24)).prop_map(move |(one, mut other, coins)| {
        let mut coins = coins.into_iter().cycle();
        let mut coin = move || coins.next().unwrap_or_default();
        for (key, role) in &one.state.roles {
            if coin() {
                other.state.roles.insert(key.clone(), role.clone());
            }
        }
        for (key, binding) in &one.state.bindings {
            if coin() {
                other.state.bindings.insert(key.clone(), binding.clone());
            }
        }
        for entry in &one.entries {
            if coin() {
                other.entries.retain(|known| known.principal != entry.principal);
                other.entries.push(entry.clone());
            }
        }
        other.state.aws_auth = Some(auth_with(kind, &other.entries));
        (settled(one), settled(other))
    })
}

fn auth_with(kind: Kind, entries: &[Entry]) -> AwsAuth {
    let mut auth = auth_of(entries);
    if kind == Kind::Account {
        auth.data.insert("mapAccounts".to_owned(), "- \"111122223333\"\n".to_owned());
    }
    auth
}

/// As a controller has left it.
fn settled(mut side: Side) -> Side {
    let keys: Vec<ObjectKey> =
        side.state.roles.iter().filter(|(_, role)| role.aggregation.is_some()).map(|(key, _)| key.clone()).collect();
    for key in keys {
        let rules = crate::access::tests::oracle::rules(&side.state, crate::access::Moment::Settled, &key);
        side.state.roles.get_mut(&key).unwrap().rules = rules;
    }
    side
}

pub(super) fn universe() -> Universe {
    let everybody = [
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/deploy",
        "arn:aws:iam::111122223333:role/admin",
        "arn:aws:sts::111122223333:assumed-role/viewer/x",
        "arn:aws:sts::111122223333:assumed-role/deploy/u0",
        "account:111122223333",
        "user:arn:aws:iam::111122223333:role/viewer",
        "user:u0",
        "user:u1",
        "user:x",
        "group:g0",
        "group:g1",
        "group:g2",
        "group:team-x",
        "group:system:authenticated",
        "sa:n1/s",
    ];
    let mut requests = Vec::new();
    for (verb, resource) in
        [("get", "pods"), ("list", "pods"), ("z", "pods"), ("get", "secrets"), ("get", "z"), ("z", "z")]
    {
        for namespace in ["", "n1"] {
            requests.push(Request::object(verb, "", resource).within(namespace));
        }
    }
    requests.extend(["/a", "/ab", "/z"].map(|path| Request::url("get", path)));
    Universe { everybody: everybody.iter().map(|text| Who::parse(text).unwrap()).collect(), requests }
}
