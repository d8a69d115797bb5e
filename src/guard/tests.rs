//! Guards against the states on both sides of a plan.

use super::{Allowance, Caller, Known, Nodes, Seen, Verdict, judge};
use crate::plan::{Sides, plan};
use crate::policy::load;
use crate::state::State;
use crate::state::validate::key_of;

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
    for document in crate::yaml::documents(&text).unwrap() {
        let value = document.to_json().unwrap();
        let key = key_of(&value).unwrap().unwrap();
        state.put(&key, &value).unwrap();
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

fn ci() -> String {
    entry("ci", "ci", "admins")
}

/// A policy that lists exactly these principals of aws-auth.
fn only(principals: &str) -> String {
    format!(
        "[policy]\nname = \"prod\"\n[ownership]\naws-auth = \"exclusive\"\nignore = []\n[groups.admins]\n[groups.others]\n{principals}"
    )
}

fn lists(name: &str, username: &str, group: &str) -> String {
    format!(
        "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nusername = \"{username}\"\ngroups = [\"{group}\"]\n"
    )
}

fn lists_nodes() -> &'static str {
    "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/nodes\"\nkind = \"node\"\n"
}

fn known(username: &str, groups: &[&str], arn: Option<&str>) -> Known<Caller> {
    Known::As(Caller {
        username: username.to_owned(),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
        uid: None,
        arn: arn.map(str::to_owned),
    })
}

fn ci_calls() -> Known<Caller> {
    known("ci", &["admins", "system:authenticated"], Some(CI))
}

#[track_caller]
fn verdict(live: &State, policy: &str, caller: Known<Caller>, allow: &[&str]) -> Verdict {
    let (policy, _) = load(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap_or_else(|(_, found)| {
        panic!("{found:#?}");
    });
    let plan = plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    let allow: Vec<Allowance> = allow.iter().map(|text| Allowance::parse(text).unwrap()).collect();
    let some = Nodes { ec2: vec!["ip-10-0-0-1.ec2.internal".to_owned()], fargate: Vec::new() };
    let after = plan.after(live).unwrap();
    judge(&plan, &Sides::of(live, &after), &Seen { caller, nodes: Known::As(some) }, &allow)
}

/// Each refusal: the guard, and what says yes.
#[track_caller]
fn refused(live: &State, policy: &str, caller: Known<Caller>) -> Vec<String> {
    let found = verdict(live, policy, caller, &[]).refused;
    let word = |danger: &super::Danger| {
        let guard = serde_json::to_value(danger.guard).unwrap();
        let allow = danger.allow.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("{} {}", guard.as_str().unwrap(), allow.replace("arn:aws:iam::111122223333:", ""))
    };
    found.iter().map(word).collect()
}

#[track_caller]
fn messages(live: &State, policy: &str, caller: Known<Caller>) -> String {
    let found = verdict(live, policy, caller, &[]).refused;
    let lines = found.iter().flat_map(|danger| std::iter::once(&danger.message).chain(&danger.hints));
    lines.map(|line| format!("{line}\n")).collect()
}

fn nobody() -> Known<Caller> {
    Known::Not("a snapshot has no caller".to_owned())
}

#[test]
fn the_callers_entry_stays() {
    let live = cluster(&(nodes() + &admin() + &ci()));
    let kept = only(&(lists_nodes().to_owned() + &lists("admin", "admin", "admins")));
    assert_eq!(refused(&live, &kept, ci_calls()), ["caller remove:role/ci"]);
    let with_ci = |group: &str| kept.clone() + &lists("ci", "ci", group);
    assert!(refused(&live, &with_ci("admins"), ci_calls()).is_empty());
    let allowed = verdict(&live, &kept, ci_calls(), &["remove:arn:aws:iam::111122223333:role/ci"]);
    assert!(allowed.refused.is_empty() && allowed.allowed.len() == 1, "{allowed:#?}");
    let other = verdict(&live, &kept, ci_calls(), &["remove:arn:aws:iam::111122223333:role/admin", "last-admin"]);
    assert_eq!(other.refused.len(), 1, "another yes is no yes");
    // The entry stays, and what it gives goes.
    assert_eq!(refused(&live, &with_ci("others"), ci_calls()), ["caller remove:role/ci"]);
    let said = messages(&live, &with_ci("others"), ci_calls());
    assert!(said.contains("what you repair access with: ") && said.contains("by the aws-auth entry"), "{said}");
}

#[test]
fn without_an_arn_the_caller_is_known_by_what_the_entry_makes_of_him() {
    let live = cluster(&(nodes() + &admin() + &entry("ci", "'ci:{{SessionName}}'", "admins")));
    let kept = only(&(lists_nodes().to_owned() + &lists("admin", "admin", "admins")));
    let groups = ["admins", "system:authenticated"];
    assert_eq!(refused(&live, &kept, known("ci:run-7", &groups, None)), ["caller remove:role/ci"]);
    for stranger in [
        known("ci", &groups, None),
        known("ci:run-7", &["others"], None),
        known("system:serviceaccount:team-a:runner", &["system:serviceaccounts"], None),
        known("kubernetes-admin", &["system:masters"], None),
    ] {
        assert!(refused(&live, &kept, stranger).is_empty());
    }
    let Known::As(by_other) = known("ci:run-7", &groups, None) else { unreachable!() };
    let by_other = Known::As(Caller { uid: Some("5d1c0b52-0000".to_owned()), ..by_other });
    assert!(refused(&live, &kept, by_other).is_empty(), "another authenticator let him in");
}

#[test]
fn who_comes_otherwise_than_by_aws_auth_is_told_so_and_keeps_his_rights() {
    let live = cluster(&(nodes() + &admin() + &ci()));
    let kept = only(&(lists_nodes().to_owned() + &lists("admin", "admin", "admins")));
    let creator = || known("kubernetes-admin", &["system:masters"], Some("arn:aws:iam::111122223333:user/creator"));
    let said = verdict(&live, &kept, creator(), &[]);
    assert!(said.refused.is_empty() && said.unjudged[0].why.contains("otherwise than by aws-auth"), "{said:#?}");
    // The creator has an entry besides, which is not what lets him in as what he is.
    let both = || known("kubernetes-admin", &["system:masters"], Some(CI));
    assert!(refused(&live, &kept, both()).is_empty());
    // Who is reported as somebody else may be remembered as what he was: nobody can tell.
    let stale = || known("was-ci", &["others"], Some(CI));
    assert_eq!(refused(&live, &kept, stale()), ["caller remove:role/ci"]);
    assert!(messages(&live, &kept, stale()).contains("is yours, though the cluster takes you for `was-ci`"));
    // A service account whose binding an exclusive policy takes away.
    let runner = || known("system:serviceaccount:team-a:runner", &["system:serviceaccounts:team-a"], None);
    let strict = kept.clone().replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/admins\"]");
    assert_eq!(refused(&live, &strict, runner()), ["caller remove:sa:team-a/runner"]);
    assert!(refused(&live, &strict, creator()).is_empty(), "no RBAC limits system:masters");
    let yes = verdict(&live, &strict, runner(), &["remove:sa:team-a/runner"]);
    assert!(yes.refused.is_empty(), "{yes:#?}");
}

#[test]
fn a_double_that_shadows_another_is_judged_by_what_comes_into_force() {
    // Trap 25: the last of two is in force; taking it away brings the first back.
    let doubled = entry("ci", "looks", "others") + &ci();
    let live = cluster(&(nodes() + &admin() + &doubled));
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    assert!(refused(&live, &shared(&lists("ci", "ci", "admins")), ci_calls()).is_empty(), "the shadowed one goes");
    assert_eq!(refused(&live, &shared(&lists("ci", "looks", "others")), ci_calls()), ["caller remove:role/ci"]);
    // Nodes: the same ARN twice, the one in force fit for nodes.
    let doubled = entry("Nodes", "admin", "admins") + &nodes();
    let live = cluster(&(admin() + &doubled));
    assert!(refused(&live, &shared(lists_nodes()), nobody()).is_empty());
    let person = "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/nodes\"\nusername = \"admin\"\ngroups = [\"admins\"]\n";
    assert_eq!(refused(&live, &shared(person), nobody()), ["node remove:role/nodes"]);
    // Case does not count (trap 6).
    let upper = cluster(&(admin() + &entry("NODES", NODE, NODES)));
    assert_eq!(refused(&upper, &only(&lists("admin", "admin", "admins")), nobody()), ["node remove:role/NODES"]);
}

#[test]
fn entries_of_nodes_and_fargate_stay_and_stay_fit() {
    let fargate = entry("fargate", "'system:node:{{SessionName}}'", &format!("{NODES}, system:node-proxier"));
    let windows = entry("windows", NODE, &format!("{NODES}, eks:kube-proxy-windows"));
    let live = cluster(&(nodes() + &fargate + &windows + &admin()));
    let none = only(&lists("admin", "admin", "admins"));
    assert_eq!(
        refused(&live, &none, nobody()),
        ["node remove:role/fargate", "node remove:role/nodes", "node remove:role/windows"]
    );
    let said = messages(&live, &none, nobody());
    assert!(said.contains("nodes are in the cluster, such as ip-10-0-0-1.ec2.internal"), "{said}");
    assert!(said.contains("no Fargate nodes are in the cluster at the moment"), "{said}");
    assert!(said.contains("no entry for nodes is left"), "{said}");
    let kind = |name: &str, kind: &str| {
        format!("[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nkind = \"{kind}\"\n")
    };
    let all = |fargate: &str, windows: &str| {
        none.clone() + &kind("nodes", "node") + &kind("fargate", fargate) + &kind("windows", windows)
    };
    assert!(refused(&live, &all("fargate", "windows-node"), nobody()).is_empty());
    assert_eq!(refused(&live, &all("node", "windows-node"), nobody()), ["node remove:role/fargate"]);
    assert_eq!(refused(&live, &all("fargate", "node"), nobody()), ["node remove:role/windows"]);
    let said = messages(&live, &all("fargate", "node"), nobody());
    assert!(said.contains("without the groups eks:kube-proxy-windows"), "{said}");
}

#[test]
fn the_protected_lose_nothing() {
    let live = cluster(&(nodes() + &admin() + &ci()));
    let rest = lists_nodes().to_owned() + &lists("admin", "admin", "admins");
    let guarded = |pattern: &str, rest: &str| only(rest) + &format!("[guard]\nprotected = [\"{pattern}\"]\n");
    let ci_is = |group: &str| rest.clone() + &lists("ci", "ci", group);
    for pattern in
        ["arn:aws:iam::111122223333:role/team/ci", "arn:aws:iam::111122223333:role/CI", "arn:aws:iam::*:role/c*"]
    {
        assert_eq!(refused(&live, &guarded(pattern, &rest), nobody()), ["protected remove:role/ci"], "{pattern}");
        assert_eq!(refused(&live, &guarded(pattern, &ci_is("others")), nobody()), ["protected remove:role/ci"]);
        assert!(refused(&live, &guarded(pattern, &ci_is("admins")), nobody()).is_empty());
    }
    let said = messages(&live, &guarded("arn:*:role/ci", &rest), nobody());
    assert!(said.contains("is protected, and would not be let in any more\npolicy.toml:"), "{said}");
    assert!(refused(&live, &guarded("arn:aws:iam::*:role/d*", &rest), nobody()).is_empty());
    // What a binding gave them goes.
    let strict = guarded("arn:aws:iam::*:role/ci", &ci_is("admins"));
    let strict = strict.replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/runner\"]");
    assert_eq!(refused(&live, &strict, nobody()), ["protected remove:role/ci", "last-admin last-admin"]);
}

#[test]
fn removals_are_counted_and_held_against_the_limit() {
    let live = cluster(&(nodes() + &admin() + &ci() + &entry("a", "a", "others") + &entry("b", "b", "others")));
    let kept = lists_nodes().to_owned() + &lists("admin", "admin", "admins");
    let most = |limit: &str| only(&kept) + &format!("[guard]\nmax-removals = {limit}\n");
    assert!(refused(&live, &most("3"), nobody()).is_empty());
    assert_eq!(refused(&live, &most("2"), nobody()), ["max-removals removals:3"]);
    // Nothing is owned yet: all of three go of the three that are in its hand.
    assert_eq!(refused(&live, &most("\"99%\""), nobody()), ["max-removals removals:3"]);
    assert!(refused(&live, &most("\"100%\""), nobody()).is_empty());
    assert!(verdict(&live, &most("0"), nobody(), &["removals:3"]).refused.is_empty());
    assert_eq!(verdict(&live, &most("0"), nobody(), &["removals:2"]).refused.len(), 1);
    let said = messages(&live, &most("1"), nobody());
    assert!(said.starts_with("the plan removes 3 entries and objects, and 1 may go\npolicy.toml:"), "{said}");
}

#[test]
fn a_share_is_of_what_the_policy_owns() {
    let live = cluster(&(nodes() + &admin() + &entry("a", "a", "others") + &entry("b", "b", "others")));
    let shared = |rest: &str| {
        format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n[guard]\nmax-removals = \"50%\"\n{rest}")
    };
    let all = [lists("admin", "admin", "admins"), lists("a", "a", "others"), lists("b", "b", "others")];
    let (policy, _) = load(vec![("policy.toml".to_owned(), shared(&all.concat()))]).unwrap();
    let adopted = plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap().after(&live).unwrap();
    assert!(refused(&adopted, &shared(&all[..2].concat()), nobody()).is_empty(), "1 of 3");
    assert_eq!(refused(&adopted, &shared(&all[..1].concat()), nobody()), ["max-removals removals:2"], "2 of 3");
}

#[test]
fn somebody_stays_mapped_and_somebody_can_repair() {
    let live = cluster(&(admin() + &ci()));
    assert_eq!(refused(&live, &only(""), nobody()), ["aws-auth empty-aws-auth", "last-admin last-admin"]);
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    let demoted = shared(&(lists("admin", "admin", "others") + &lists("ci", "ci", "others")));
    assert_eq!(refused(&live, &demoted, nobody()), ["last-admin last-admin"]);
    assert!(refused(&live, &shared(&lists("admin", "admin", "others")), nobody()).is_empty(), "one is left");
    // Who has no admin has none to lose, and nobody is let in before the first entry.
    let plain = cluster(&nodes());
    let first = shared(&lists("a", "a", "others"));
    assert!(refused(&plain, &first, nobody()).is_empty());
    assert_eq!(refused(&plain, &only(""), nobody()), ["node remove:role/nodes", "aws-auth empty-aws-auth"]);
}

#[test]
fn masters_are_made_by_name_alone() {
    let live = cluster(&(nodes() + &admin() + &entry("root", "root", "system:masters")));
    let shared =
        |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.\"system:masters\"]\n{rest}");
    let new = shared(&lists("ci", "ci", "system:masters"));
    assert_eq!(refused(&live, &new, nobody()), ["masters masters:role/ci"]);
    assert!(verdict(&live, &new, nobody(), &["masters:arn:aws:iam::111122223333:role/ci"]).refused.is_empty());
    assert_eq!(verdict(&live, &new, nobody(), &["masters:arn:aws:iam::111122223333:role/root"]).refused.len(), 1);
    assert!(refused(&live, &shared(&lists("root", "root", "system:masters")), nobody()).is_empty(), "it was before");
    assert!(refused(&live, &shared(&lists("root", "root", "admins")), nobody()).is_empty(), "one less is no danger");
}

#[test]
fn an_aws_auth_that_could_not_be_read_any_more_is_refused_whatever_is_allowed() {
    let live = cluster(&(nodes() + &admin()));
    let (policy, _) = load(vec![("policy.toml".to_owned(), only(lists_nodes()))]).unwrap();
    let mut plan = plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    for step in &mut plan.steps {
        step.write = crate::state::write::Write::Patch(serde_json::json!({ "data": { "mapRoles": "- a: [" } }));
    }
    let yes = ["empty-aws-auth", "last-admin", "remove:arn:aws:iam::111122223333:role/nodes"];
    let yes: Vec<Allowance> = yes.iter().map(|text| Allowance::parse(text).unwrap()).collect();
    let after = plan.after(&live).unwrap();
    let found = judge(&plan, &Sides::of(&live, &after), &Seen::default(), &yes);
    assert_eq!(found.refused.len(), 1, "{found:#?}");
    assert!(found.refused[0].message.contains("`mapRoles` of aws-auth could not be read any more"), "{found:#?}");
    assert_eq!(found.allowed.len(), 3, "{found:#?}");
}
