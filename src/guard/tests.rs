//! Guards against the states on both sides of a plan.

use super::{AllowFlag, CallerIdentity, ClusterFacts, GuardReport, NodeSample, Observed, evaluate_guards};
use crate::plan::{AccessComparison, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::validate::parse_object_key;

const CI: &str = "arn:aws:sts::111122223333:assumed-role/ci/run-7";

/// A cluster whose aws-auth has these entries under mapRoles, and an admin role that a group may use.
fn cluster(roles: &str) -> State {
    let text = format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{ name: kube-system, uid: 5d1c0b52 }}
---
apiVersion: v1
kind: Namespace
metadata: {{ name: team-a }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: aws-auth, namespace: kube-system, resourceVersion: "7" }}
data:
  mapRoles: |
{roles}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{ name: cluster-admin }}
rules: [{{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }}, {{ verbs: ["*"], nonResourceURLs: ["*"] }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: admins, resourceVersion: "3" }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }}
subjects: [{{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: admins }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: runner, resourceVersion: "3" }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }}
subjects: [{{ kind: ServiceAccount, namespace: team-a, name: runner }}]
"#
    );
    let mut state = State::default();
    for document in crate::yaml::parse_documents(&text).unwrap() {
        let value = document.to_json().unwrap();
        let key = parse_object_key(&value).unwrap().unwrap();
        state.insert_object(&key, &value).unwrap();
    }
    state
}

fn entry(name: &str, username: &str, groups: &str) -> String {
    format!(
        "    - rolearn: arn:aws:iam::111122223333:role/{name}\n      username: {username}\n      groups: [{groups}]\n"
    )
}

const NODE: &str = "system:node:{{EC2PrivateDNSName}}";
const NODES: &str = "system:bootstrappers, system:nodes";

fn nodes() -> String {
    entry("nodes", NODE, NODES)
}

fn admin() -> String {
    entry("admin", "admin", "admins")
}

fn entry_of_ci() -> String {
    entry("ci", "ci", "admins")
}

/// A policy that lists exactly these principals of aws-auth.
fn exclusive_policy(principals: &str) -> String {
    format!(
        "[policy]\nname = \"prod\"\n[ownership]\naws-auth = \"exclusive\"\nignore = []\n[groups.admins]\n[groups.others]\n{principals}"
    )
}

fn principal_table(name: &str, username: &str, group: &str) -> String {
    format!(
        "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nusername = \"{username}\"\ngroups = [\"{group}\"]\n"
    )
}

fn node_principal_table() -> &'static str {
    "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/nodes\"\nkind = \"node\"\n"
}

fn observed_caller(username: &str, groups: &[&str], arn: Option<&str>) -> Observed<CallerIdentity> {
    Observed::Known(CallerIdentity {
        username: username.to_owned(),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
        uid: None,
        arn: arn.map(str::to_owned),
    })
}

fn ci_caller() -> Observed<CallerIdentity> {
    observed_caller("ci", &["admins", "system:authenticated"], Some(CI))
}

#[track_caller]
fn evaluate(live: &State, policy: &str, caller: Observed<CallerIdentity>, allow: &[&str]) -> GuardReport {
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap_or_else(|(_, found)| {
        panic!("{found:#?}");
    });
    let plan = plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    let allow: Vec<AllowFlag> = allow.iter().map(|text| AllowFlag::parse(text).unwrap()).collect();
    let some = NodeSample { ec2: vec!["ip-10-0-0-1.ec2.internal".to_owned()], fargate: Vec::new() };
    let after = plan.state_after(live).unwrap();
    evaluate_guards(
        &plan,
        &AccessComparison::new(live, &after),
        &ClusterFacts { caller, nodes: Observed::Known(some) },
        &allow,
    )
}

/// Each refusal: the guard, and what says yes.
#[track_caller]
fn refused_risks(live: &State, policy: &str, caller: Observed<CallerIdentity>) -> Vec<String> {
    let found = evaluate(live, policy, caller, &[]).refused;
    let word = |danger: &super::Risk| {
        let guard = serde_json::to_value(crate::report::GuardJson::from(danger.guard)).unwrap();
        let allow = danger.allow.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("{} {}", guard.as_str().unwrap(), allow.replace("arn:aws:iam::111122223333:", ""))
    };
    found.iter().map(word).collect()
}

#[track_caller]
fn messages(live: &State, policy: &str, caller: Observed<CallerIdentity>) -> String {
    let found = evaluate(live, policy, caller, &[]).refused;
    let lines = found.iter().flat_map(|danger| std::iter::once(&danger.message).chain(&danger.help));
    lines.map(|line| format!("{line}\n")).collect()
}

fn unknown_caller() -> Observed<CallerIdentity> {
    Observed::Unknown("a snapshot has no caller".to_owned())
}

#[test]
fn the_callers_entry_stays() {
    let live = cluster(&(nodes() + &admin() + &entry_of_ci()));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    assert_eq!(refused_risks(&live, &kept, ci_caller()), ["caller remove:role/ci"]);
    let with_ci = |group: &str| kept.clone() + &principal_table("ci", "ci", group);
    assert!(refused_risks(&live, &with_ci("admins"), ci_caller()).is_empty());
    let allowed = evaluate(&live, &kept, ci_caller(), &["remove:arn:aws:iam::111122223333:role/ci"]);
    assert!(allowed.refused.is_empty() && allowed.allowed.len() == 1, "{allowed:#?}");
    let other = evaluate(&live, &kept, ci_caller(), &["remove:arn:aws:iam::111122223333:role/admin", "last-admin"]);
    assert_eq!(other.refused.len(), 1, "another yes is no yes");
    // The entry stays, and what it gives goes.
    assert_eq!(refused_risks(&live, &with_ci("others"), ci_caller()), ["caller remove:role/ci"]);
    let said = messages(&live, &with_ci("others"), ci_caller());
    assert!(said.contains("what you repair access with: ") && said.contains("by the aws-auth entry"), "{said}");
}

#[test]
fn without_an_arn_the_caller_is_known_by_what_the_entry_makes_of_him() {
    let live = cluster(&(nodes() + &admin() + &entry("ci", "'ci:{{SessionName}}'", "admins")));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    let groups = ["admins", "system:authenticated"];
    assert_eq!(refused_risks(&live, &kept, observed_caller("ci:run-7", &groups, None)), ["caller remove:role/ci"]);
    for stranger in [
        observed_caller("ci", &groups, None),
        observed_caller("ci:run-7", &["others"], None),
        observed_caller("system:serviceaccount:team-a:runner", &["system:serviceaccounts"], None),
        observed_caller("kubernetes-admin", &["system:masters"], None),
    ] {
        assert!(refused_risks(&live, &kept, stranger).is_empty());
    }
    let Observed::Known(by_other) = observed_caller("ci:run-7", &groups, None) else { unreachable!() };
    let by_other = Observed::Known(CallerIdentity { uid: Some("5d1c0b52-0000".to_owned()), ..by_other });
    assert!(refused_risks(&live, &kept, by_other).is_empty(), "another authenticator let him in");
}

#[test]
fn who_comes_otherwise_than_by_aws_auth_is_told_so_and_keeps_his_rights() {
    let live = cluster(&(nodes() + &admin() + &entry_of_ci()));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    let creator =
        || observed_caller("kubernetes-admin", &["system:masters"], Some("arn:aws:iam::111122223333:user/creator"));
    let said = evaluate(&live, &kept, creator(), &[]);
    assert!(
        said.refused.is_empty() && said.not_evaluated[0].reason.contains("otherwise than by aws-auth"),
        "{said:#?}"
    );
    // The creator has an entry besides, which is not what lets him in as what he is.
    let both = || observed_caller("kubernetes-admin", &["system:masters"], Some(CI));
    assert!(refused_risks(&live, &kept, both()).is_empty());
    // Who is reported as somebody else may be remembered as what he was: nobody can tell.
    let stale = || observed_caller("was-ci", &["others"], Some(CI));
    assert_eq!(refused_risks(&live, &kept, stale()), ["caller remove:role/ci"]);
    assert!(messages(&live, &kept, stale()).contains("is yours, though the cluster takes you for `was-ci`"));
    // A service account whose binding an exclusive policy takes away.
    let runner = || observed_caller("system:serviceaccount:team-a:runner", &["system:serviceaccounts:team-a"], None);
    let strict = kept.clone().replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/admins\"]");
    assert_eq!(refused_risks(&live, &strict, runner()), ["caller remove:sa:team-a/runner"]);
    assert!(refused_risks(&live, &strict, creator()).is_empty(), "no RBAC limits system:masters");
    let yes = evaluate(&live, &strict, runner(), &["remove:sa:team-a/runner"]);
    assert!(yes.refused.is_empty(), "{yes:#?}");
}

#[test]
fn a_double_that_shadows_another_is_judged_by_what_comes_into_force() {
    // Trap 25: the last of two is in force; taking it away brings the first back.
    let doubled = entry("ci", "looks", "others") + &entry_of_ci();
    let live = cluster(&(nodes() + &admin() + &doubled));
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    assert!(
        refused_risks(&live, &shared(&principal_table("ci", "ci", "admins")), ci_caller()).is_empty(),
        "the shadowed one goes"
    );
    assert_eq!(
        refused_risks(&live, &shared(&principal_table("ci", "looks", "others")), ci_caller()),
        ["caller remove:role/ci"]
    );
    // Nodes: the same ARN twice, the one in force fit for nodes.
    let doubled = entry("Nodes", "admin", "admins") + &nodes();
    let live = cluster(&(admin() + &doubled));
    assert!(refused_risks(&live, &shared(node_principal_table()), unknown_caller()).is_empty());
    let person = "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/nodes\"\nusername = \"admin\"\ngroups = [\"admins\"]\n";
    assert_eq!(refused_risks(&live, &shared(person), unknown_caller()), ["node remove:role/nodes"]);
    // Case does not count (trap 6).
    let upper = cluster(&(admin() + &entry("NODES", NODE, NODES)));
    assert_eq!(
        refused_risks(&upper, &exclusive_policy(&principal_table("admin", "admin", "admins")), unknown_caller()),
        ["node remove:role/NODES"]
    );
}

#[test]
fn entries_of_nodes_and_fargate_stay_and_stay_fit() {
    let fargate = entry("fargate", "'system:node:{{SessionName}}'", &format!("{NODES}, system:node-proxier"));
    let windows = entry("windows", NODE, &format!("{NODES}, eks:kube-proxy-windows"));
    let live = cluster(&(nodes() + &fargate + &windows + &admin()));
    let none = exclusive_policy(&principal_table("admin", "admin", "admins"));
    assert_eq!(
        refused_risks(&live, &none, unknown_caller()),
        ["node remove:role/fargate", "node remove:role/nodes", "node remove:role/windows"]
    );
    let said = messages(&live, &none, unknown_caller());
    assert!(said.contains("nodes are in the cluster, such as ip-10-0-0-1.ec2.internal"), "{said}");
    assert!(said.contains("no Fargate nodes are in the cluster at the moment"), "{said}");
    assert!(said.contains("no entry for nodes is left"), "{said}");
    let kind = |name: &str, kind: &str| {
        format!("[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nkind = \"{kind}\"\n")
    };
    let all = |fargate: &str, windows: &str| {
        none.clone() + &kind("nodes", "node") + &kind("fargate", fargate) + &kind("windows", windows)
    };
    assert!(refused_risks(&live, &all("fargate", "windows-node"), unknown_caller()).is_empty());
    assert_eq!(refused_risks(&live, &all("node", "windows-node"), unknown_caller()), ["node remove:role/fargate"]);
    assert_eq!(refused_risks(&live, &all("fargate", "node"), unknown_caller()), ["node remove:role/windows"]);
    let said = messages(&live, &all("fargate", "node"), unknown_caller());
    assert!(said.contains("without the groups eks:kube-proxy-windows"), "{said}");
}

#[test]
fn the_protected_lose_nothing() {
    let live = cluster(&(nodes() + &admin() + &entry_of_ci()));
    let rest = node_principal_table().to_owned() + &principal_table("admin", "admin", "admins");
    let guarded =
        |pattern: &str, rest: &str| exclusive_policy(rest) + &format!("[guard]\nprotected = [\"{pattern}\"]\n");
    let ci_is = |group: &str| rest.clone() + &principal_table("ci", "ci", group);
    for pattern in
        ["arn:aws:iam::111122223333:role/team/ci", "arn:aws:iam::111122223333:role/CI", "arn:aws:iam::*:role/c*"]
    {
        assert_eq!(
            refused_risks(&live, &guarded(pattern, &rest), unknown_caller()),
            ["protected remove:role/ci"],
            "{pattern}"
        );
        assert_eq!(
            refused_risks(&live, &guarded(pattern, &ci_is("others")), unknown_caller()),
            ["protected remove:role/ci"]
        );
        assert!(refused_risks(&live, &guarded(pattern, &ci_is("admins")), unknown_caller()).is_empty());
    }
    let said = messages(&live, &guarded("arn:*:role/ci", &rest), unknown_caller());
    assert!(said.contains("is protected, and would not be let in any more\npolicy.toml:"), "{said}");
    assert!(refused_risks(&live, &guarded("arn:aws:iam::*:role/d*", &rest), unknown_caller()).is_empty());
    // What a binding gave them goes.
    let strict = guarded("arn:aws:iam::*:role/ci", &ci_is("admins"));
    let strict = strict.replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/runner\"]");
    assert_eq!(refused_risks(&live, &strict, unknown_caller()), ["protected remove:role/ci", "last-admin last-admin"]);
}

#[test]
fn removals_are_counted_and_held_against_the_limit() {
    let live =
        cluster(&(nodes() + &admin() + &entry_of_ci() + &entry("a", "a", "others") + &entry("b", "b", "others")));
    let kept = node_principal_table().to_owned() + &principal_table("admin", "admin", "admins");
    let most = |limit: &str| exclusive_policy(&kept) + &format!("[guard]\nmax-removals = {limit}\n");
    assert!(refused_risks(&live, &most("3"), unknown_caller()).is_empty());
    assert_eq!(refused_risks(&live, &most("2"), unknown_caller()), ["max-removals removals:3"]);
    // Nothing is owned yet: all of three go of the three that are in its hand.
    assert_eq!(refused_risks(&live, &most("\"99%\""), unknown_caller()), ["max-removals removals:3"]);
    assert!(refused_risks(&live, &most("\"100%\""), unknown_caller()).is_empty());
    assert!(evaluate(&live, &most("0"), unknown_caller(), &["removals:3"]).refused.is_empty());
    assert_eq!(evaluate(&live, &most("0"), unknown_caller(), &["removals:2"]).refused.len(), 1);
    let said = messages(&live, &most("1"), unknown_caller());
    assert!(said.starts_with("the plan removes 3 entries and objects, and 1 may go\npolicy.toml:"), "{said}");
}

#[test]
fn a_share_is_of_what_the_policy_owns() {
    let live = cluster(&(nodes() + &admin() + &entry("a", "a", "others") + &entry("b", "b", "others")));
    let shared = |rest: &str| {
        format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n[guard]\nmax-removals = \"50%\"\n{rest}")
    };
    let all = [
        principal_table("admin", "admin", "admins"),
        principal_table("a", "a", "others"),
        principal_table("b", "b", "others"),
    ];
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), shared(&all.concat()))]).unwrap();
    let adopted =
        plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().state_after(&live).unwrap();
    assert!(refused_risks(&adopted, &shared(&all[..2].concat()), unknown_caller()).is_empty(), "1 of 3");
    assert_eq!(
        refused_risks(&adopted, &shared(&all[..1].concat()), unknown_caller()),
        ["max-removals removals:2"],
        "2 of 3"
    );
}

#[test]
fn somebody_stays_mapped_and_somebody_can_repair() {
    let live = cluster(&(admin() + &entry_of_ci()));
    assert_eq!(
        refused_risks(&live, &exclusive_policy(""), unknown_caller()),
        ["aws-auth empty-aws-auth", "last-admin last-admin"]
    );
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    let demoted = shared(&(principal_table("admin", "admin", "others") + &principal_table("ci", "ci", "others")));
    assert_eq!(refused_risks(&live, &demoted, unknown_caller()), ["last-admin last-admin"]);
    assert!(
        refused_risks(&live, &shared(&principal_table("admin", "admin", "others")), unknown_caller()).is_empty(),
        "one is left"
    );
    // Who has no admin has none to lose, and nobody is let in before the first entry.
    let plain = cluster(&nodes());
    let first = shared(&principal_table("a", "a", "others"));
    assert!(refused_risks(&plain, &first, unknown_caller()).is_empty());
    assert_eq!(
        refused_risks(&plain, &exclusive_policy(""), unknown_caller()),
        ["node remove:role/nodes", "aws-auth empty-aws-auth"]
    );
}

#[test]
fn masters_are_made_by_name_alone() {
    let live = cluster(&(nodes() + &admin() + &entry("root", "root", "system:masters")));
    let shared =
        |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.\"system:masters\"]\n{rest}");
    let new = shared(&principal_table("ci", "ci", "system:masters"));
    assert_eq!(refused_risks(&live, &new, unknown_caller()), ["masters masters:role/ci"]);
    assert!(evaluate(&live, &new, unknown_caller(), &["masters:arn:aws:iam::111122223333:role/ci"]).refused.is_empty());
    assert_eq!(
        evaluate(&live, &new, unknown_caller(), &["masters:arn:aws:iam::111122223333:role/root"]).refused.len(),
        1
    );
    assert!(
        refused_risks(&live, &shared(&principal_table("root", "root", "system:masters")), unknown_caller()).is_empty(),
        "it was before"
    );
    assert!(
        refused_risks(&live, &shared(&principal_table("root", "root", "admins")), unknown_caller()).is_empty(),
        "one less is no danger"
    );
}

#[test]
fn an_aws_auth_that_could_not_be_read_any_more_is_refused_whatever_is_allowed() {
    let live = cluster(&(nodes() + &admin()));
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), exclusive_policy(node_principal_table()))]).unwrap();
    let mut plan = plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    for step in &mut plan.steps {
        step.write = crate::state::write::WriteRequest::Patch(serde_json::json!({ "data": { "mapRoles": "- a: [" } }));
    }
    let yes = ["empty-aws-auth", "last-admin", "remove:arn:aws:iam::111122223333:role/nodes"];
    let yes: Vec<AllowFlag> = yes.iter().map(|text| AllowFlag::parse(text).unwrap()).collect();
    let after = plan.state_after(&live).unwrap();
    let found = evaluate_guards(&plan, &AccessComparison::new(&live, &after), &ClusterFacts::default(), &yes);
    assert_eq!(found.refused.len(), 1, "{found:#?}");
    assert!(found.refused[0].message.contains("`mapRoles` of aws-auth could not be read any more"), "{found:#?}");
    assert_eq!(found.allowed.len(), 3, "{found:#?}");
}
