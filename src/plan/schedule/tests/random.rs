//! Random pairs of small states. They use few names, so that many objects refer to each other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::model::Universe;
use super::owned::{PlanScenario, ScenarioSide, TestOwner, scenario};
use crate::access::tests::random::access_entries;
use crate::access::{Request, SubjectQuery};
use crate::api_resources::KnownResources;
use crate::names::ObjectKey;
use crate::state::aws_auth::{Entry, EntryPrincipal};
use crate::state::config_map::entry_key;
use crate::state::object::{Binding, Role};
use crate::state::object_meta::{Labels, ObjectMeta, RulesManager};
use crate::state::owner::AGGREGATE_LABEL_PREFIX;
use crate::state::rbac::{LabelSelector, RoleRef, Rule, Subject};

/// The features of a random scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScenarioKind {
    Plain,
    Aggregated,
    /// With entries of mapAccounts, so that a principal without an entry can authenticate.
    Account,
    /// With nodes, which keep their username.
    Nodes,
    /// With several entries of one principal, of which one wins or the authenticator picks one at random.
    Duplicates,
    /// With access entries.
    AccessEntries,
}

impl ScenarioKind {
    pub(super) const ALL: [Self; 6] =
        [Self::Plain, Self::Aggregated, Self::Account, Self::Nodes, Self::Duplicates, Self::AccessEntries];

    /// Returns whether a safe order always exists.
    pub(super) fn is_safe(self) -> bool {
        !matches!(self, Self::Aggregated | Self::AccessEntries)
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

/// Returns the labels that the aggregated role `a` selects.
pub(super) fn aggregated_labels() -> Labels {
    [(format!("{AGGREGATE_LABEL_PREFIX}a"), "true".to_owned())].into()
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
    subsequence(vec![rule("get", "pods"), rule("list", "pods"), rule("get", "*"), rule("get", "nodes")], 0..=2)
}

fn principals(kind: ScenarioKind) -> Vec<EntryPrincipal> {
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let user = "arn:aws:iam::111122223333:user/team/bob".to_owned();
    let mut all: Vec<EntryPrincipal> =
        ["viewer", "deploy", "admin"].map(|name| EntryPrincipal::Role(role(name))).into();
    // Both sections accept ARNs of roles and users.
    all.extend([
        EntryPrincipal::User(user.clone()),
        EntryPrincipal::Role(user.clone()),
        EntryPrincipal::User(role("viewer")),
    ]);
    match kind {
        ScenarioKind::Duplicates => {
            all.extend([EntryPrincipal::Role(role("VIEWER")), EntryPrincipal::User(user.to_uppercase())]);
        }
        ScenarioKind::Account => {
            all.extend(["111122223333", "444455556666"].map(|id| EntryPrincipal::Account(id.to_owned())));
        }
        ScenarioKind::Plain | ScenarioKind::Aggregated | ScenarioKind::Nodes | ScenarioKind::AccessEntries => {}
    }
    all
}

fn entry(kind: ScenarioKind) -> impl Strategy<Value = Entry> {
    let usernames = ["u0", "u1", "u2", "", "{{SessionName}}", "system:serviceaccount:n1:s"];
    let groups = vec![
        "g0",
        "g1",
        "g2",
        "team-{{SessionName}}",
        "t-{{SessionName}}-{{SessionNameRaw}}",
        "{{AccountID}}-{{SessionNameRaw}}",
        "system:masters",
    ];

    (select(principals(kind)), select(usernames.to_vec()), subsequence(groups, 0..=2))
        .prop_map(|(principal, username, groups)| match principal {
            EntryPrincipal::Account(_) => Entry { principal, username: String::new(), groups: Vec::new() },
            EntryPrincipal::Role(_) | EntryPrincipal::User(_) | EntryPrincipal::Sso(_) => Entry {
                principal,
                username: username.to_owned(),
                groups: groups.into_iter().map(str::to_owned).collect(),
            },
        })
        .prop_map(move |entry| with_node_entry(kind, entry))
}

/// Turns the entry of one of the roles into an entry of nodes.
fn with_node_entry(kind: ScenarioKind, mut entry: Entry) -> Entry {
    if kind == ScenarioKind::Nodes && matches!(&entry.principal, EntryPrincipal::Role(arn) if arn.ends_with("/admin")) {
        entry.username = "system:node:{{EC2PrivateDNSName}}".to_owned();
        entry.groups.retain(|group| group != "system:masters");
        entry.groups.push("system:nodes".to_owned());
    }
    entry
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    let groups = [
        "g0",
        "g1",
        "g2",
        "team-xx",
        "t-xx-xx",
        "t-a-b-a@b",
        "111122223333-xx",
        "system:authenticated",
        "system:nodes",
        "system:serviceaccounts",
        "system:serviceaccounts:n1",
    ];
    let users = [
        "u0",
        "u1",
        "xx",
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/VIEWER",
        "arn:aws:iam::111122223333:user/team/bob",
        "system:serviceaccount:n1:s",
    ];
    let groups = groups.map(|name| Subject::Group(name.to_owned()));
    let users = users.map(|name| Subject::User(name.to_owned()));
    let account = Subject::ServiceAccount { namespace: "n1".to_owned(), name: "s".to_owned() };
    subsequence(groups.into_iter().chain(users).chain([account]).collect::<Vec<_>>(), 0..=3)
}

fn roles(kind: ScenarioKind) -> impl Strategy<Value = BTreeMap<ObjectKey, Role>> {
    let labels = if kind == ScenarioKind::Aggregated { vec![aggregated_labels()] } else { Vec::new() };
    let labels = subsequence(labels.clone(), 0..=labels.len());
    let plain = (select(&["r0", "r1", "r2"][..]), rules(2), labels).prop_map(|(name, rules, labels)| {
        let labels = labels.into_iter().flatten().collect();
        let meta = ObjectMeta { labels, ..ObjectMeta::default() };
        (ObjectKey::cluster_role(name), Role { meta, rules, aggregation: None })
    });
    let local = (Just("n1"), local_rules()).prop_map(|(namespace, rules)| {
        (ObjectKey::role(namespace, "r0"), Role { meta: ObjectMeta::default(), rules, aggregation: None })
    });
    let all = (vec(plain, 1..=3), proptest::option::of(local), rules(1));
    all.prop_map(move |(plain, local, manual_rules)| {
        let mut all: BTreeMap<ObjectKey, Role> = plain.into_iter().chain(local).collect();
        if kind == ScenarioKind::Aggregated {
            let selector = LabelSelector { match_labels: aggregated_labels(), ..LabelSelector::default() };
            let mut role = Role { aggregation: Some(vec![selector]), ..Role::default() };
            if !manual_rules.is_empty() {
                role.rules = manual_rules;
                role.meta.rules_manager = RulesManager::Other;
            }
            all.insert(ObjectKey::cluster_role("a"), role);
        }
        all
    })
}

fn bindings(kind: ScenarioKind) -> impl Strategy<Value = BTreeMap<ObjectKey, Binding>> {
    let cluster: &[&str] = if kind == ScenarioKind::Aggregated { &["r0", "r1", "a"] } else { &["r0", "r1", "r2"] };
    let role = select(cluster).prop_map(|name| RoleRef::ClusterRole(name.to_owned()));
    let cluster_wide = (select(&["b0", "b1", "b2"][..]), Just(None), role.clone(), subjects());
    let local_role = prop_oneof![role, Just(RoleRef::Role("r0".to_owned()))];
    let namespaced = (select(&["b0", "b1"][..]), Just(Some("n1")), local_role, subjects());
    let binding = prop_oneof![3 => cluster_wide, 1 => namespaced].prop_map(|(name, namespace, role_ref, subjects)| {
        (
            ObjectKey::binding(namespace, name),
            Binding { meta: ObjectMeta::default(), role_ref, subjects, namespaces: None },
        )
    });
    vec(binding, 1..=4).prop_map(|all| all.into_iter().collect())
}

fn side(kind: ScenarioKind) -> impl Strategy<Value = ScenarioSide> {
    let most = if kind == ScenarioKind::Duplicates { 5 } else { 3 };
    let all = (vec(entry(kind), 0..=most), roles(kind), bindings(kind), access_entries());
    all.prop_map(move |(mut entries, roles, bindings, mut access_entries)| {
        let mut seen = BTreeSet::new();
        entries.retain(|entry| kind == ScenarioKind::Duplicates || seen.insert(entry_key(entry)));
        let mut seen = BTreeSet::new();
        access_entries.retain(|entry| kind == ScenarioKind::AccessEntries && seen.insert(entry.principal().to_owned()));
        ScenarioSide { roles, bindings, entries, access_entries }
    })
}

/// Returns a scenario of two random sides. The second side keeps parts of the first, and some parts of the first have
/// other owners.
pub(super) fn pair(kind: ScenarioKind) -> impl Strategy<Value = PlanScenario> {
    let owner = select(vec![
        TestOwner::ThisPolicy,
        TestOwner::ThisPolicy,
        TestOwner::ThisPolicy,
        TestOwner::Unowned,
        TestOwner::OtherPolicy,
    ]);
    let all = (side(kind), side(kind), vec(proptest::bool::weighted(0.4), 24), vec(owner, 24));
    all.prop_map(move |(before, mut after, keeps, owner)| {
        let mut keeps = keeps.into_iter().cycle();
        let mut keep = move || keeps.next().unwrap_or_default();
        for (key, role) in &before.roles {
            if keep() {
                after.roles.insert(key.clone(), role.clone());
            }
        }
        for (key, binding) in &before.bindings {
            if keep() {
                after.bindings.insert(key.clone(), binding.clone());
            }
        }
        for entry in &before.entries {
            if keep() {
                after.entries.retain(|known| entry_key(known) != entry_key(entry));
                after.entries.push(entry.clone());
            }
        }
        for entry in &before.access_entries {
            if keep() {
                after.access_entries.retain(|known| known.principal() != entry.principal());
                after.access_entries.push(entry.clone());
            }
        }
        let mut owner = owner.into_iter().cycle();
        scenario(before, after, move || owner.next().unwrap_or(TestOwner::ThisPolicy))
    })
}

/// Returns a scenario in which objects and entries are only added, and the same one backwards, in which they are only
/// removed.
pub(super) fn addition() -> impl Strategy<Value = [PlanScenario; 2]> {
    (side(ScenarioKind::Plain), side(ScenarioKind::Plain)).prop_map(|(few, mut many)| {
        many.entries.retain(|entry| few.entries.iter().all(|known| entry_key(known) != entry_key(entry)));
        many.entries.splice(0..0, few.entries.clone());
        many.roles.extend(few.roles.clone());
        many.bindings.extend(few.bindings.clone());
        let own = || TestOwner::ThisPolicy;
        [scenario(few.clone(), many.clone(), own), scenario(many, few, own)]
    })
}

pub(super) fn universe() -> Universe {
    let subjects = [
        "arn:aws:iam::111122223333:role/viewer",
        "arn:aws:iam::111122223333:role/VIEWER",
        "arn:aws:iam::111122223333:role/deploy",
        "arn:aws:iam::111122223333:role/admin",
        "arn:aws:sts::111122223333:assumed-role/viewer/xx",
        "arn:aws:sts::111122223333:assumed-role/viewer/a@b",
        "arn:aws:sts::111122223333:assumed-role/viewer/a-b",
        "arn:aws:sts::111122223333:assumed-role/viewer/u0",
        "arn:aws:sts::111122223333:assumed-role/viewer/u1",
        "arn:aws:sts::111122223333:assumed-role/deploy/xx",
        "arn:aws:sts::111122223333:assumed-role/deploy/a@b",
        "arn:aws:sts::111122223333:assumed-role/deploy/u0",
        "arn:aws:sts::111122223333:assumed-role/deploy/u1",
        "arn:aws:sts::111122223333:assumed-role/admin/xx",
        "arn:aws:sts::111122223333:assumed-role/admin/a@b",
        "arn:aws:sts::111122223333:assumed-role/admin/u0",
        "arn:aws:sts::111122223333:assumed-role/admin/u1",
        "arn:aws:sts::111122223333:assumed-role/admin/i-0123456789abcdef0",
        "arn:aws:iam::111122223333:user/team/bob",
        "arn:aws:iam::111122223333:user/team/BOB",
        "arn:aws:iam::444455556666:role/other",
        "arn:aws:iam::111122223333:user/bob",
        "account:111122223333",
        "account:444455556666",
        "user:arn:aws:iam::111122223333:role/viewer",
        "user:arn:aws:iam::111122223333:user/team/bob",
        "user:u0",
        "user:u1",
        "user:xx",
        "group:g0",
        "group:g1",
        "group:g2",
        "group:team-xx",
        "group:t-xx-xx",
        "group:t-a-b-a@b",
        "group:system:authenticated",
        "group:system:nodes",
        "group:system:serviceaccounts",
        "group:system:serviceaccounts:n1",
        "sa:n1/s",
        "sa:n1/t",
        "sa:n2/s",
    ];
    let mut requests = Vec::new();
    for (verb, resource) in [
        ("get", "pods"),
        ("list", "pods"),
        ("z", "pods"),
        ("get", "secrets"),
        ("get", "nodes"),
        ("get", "z"),
        ("z", "z"),
    ] {
        // A cluster-scoped resource has no namespace, so no API server receives such a request.
        let namespaces = if resource == "nodes" { &[""][..] } else { &["", "n1"] };
        for namespace in namespaces {
            // A request for a cluster-scoped resource has no namespace.
            let request = Request::object(verb, "", resource).in_namespace(namespace);
            requests.push(request.into_client_request(&KnownResources::default()));
        }
    }
    requests.extend(["/a", "/ab", "/z"].map(|path| Request::url("get", path)));
    Universe { subjects: subjects.iter().map(|text| SubjectQuery::parse(text).unwrap()).collect(), requests }
}
