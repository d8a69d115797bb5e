//! Tests of the guards with small states before and after a plan.

mod limits;

use super::{
    AllowFlag, CallerIdentity, ClusterFacts, GuardReport, NodeRoleUse, NodeRoles, NodeSample, Observed, evaluate_guards,
};
use crate::plan::{AccessComparison, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::validate::parse_object_key;

const CI: &str = "arn:aws:sts::111122223333:assumed-role/ci/run-7";

/// Returns a cluster with these entries in mapRoles. The group `admins` is bound to cluster-admin.
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

fn ci() -> String {
    entry("ci", "ci", "admins")
}

/// Returns an exclusive policy with exactly these principals.
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
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), policy.to_owned())]).unwrap_or_else(|(_, errors)| {
        panic!("{errors:#?}");
    });
    let plan = plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    let allow: Vec<AllowFlag> = allow.iter().map(|text| AllowFlag::parse(text).unwrap()).collect();
    let nodes = NodeSample { ec2: vec!["ip-10-0-0-1.ec2.internal".to_owned()], fargate: Vec::new() };
    let node_roles = NodeRoles::new([
        ("arn:aws:iam::111122223333:role/path/Workers".to_owned(), NodeRoleUse::NodeGroup("spot".to_owned())),
        ("not an ARN".to_owned(), NodeRoleUse::AutoMode),
    ]);
    let after = plan.state_after(live).unwrap();
    evaluate_guards(
        &plan,
        &AccessComparison::new(live, &after),
        &ClusterFacts { caller, nodes: Observed::Known(nodes), node_roles: Some(Observed::Known(node_roles)) },
        &allow,
    )
}

/// Returns the guard and the `--allow` flag of each refused risk.
#[track_caller]
fn refused_risks(live: &State, policy: &str, caller: Observed<CallerIdentity>) -> Vec<String> {
    let refused = evaluate(live, policy, caller, &[]).refused;
    let format_risk = |risk: &super::Risk| {
        let guard = serde_json::to_value(crate::report::GuardJson::from(risk.guard)).unwrap();
        let allow = risk.allow.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("{} {}", guard.as_str().unwrap(), allow.replace("arn:aws:iam::111122223333:", ""))
    };
    refused.iter().map(format_risk).collect()
}

#[track_caller]
fn messages(live: &State, policy: &str, caller: Observed<CallerIdentity>) -> String {
    let refused = evaluate(live, policy, caller, &[]).refused;
    let lines =
        refused.iter().flat_map(|risk| std::iter::once(&risk.message).chain(risk.notes.iter().map(|note| &note.text)));
    lines.map(|line| format!("{line}\n")).collect()
}

fn unknown_caller() -> Observed<CallerIdentity> {
    Observed::Unknown("a snapshot has no caller".to_owned())
}

#[test]
fn caller_keeps_its_entry() {
    let live = cluster(&(nodes() + &admin() + &ci()));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    assert_eq!(refused_risks(&live, &kept, ci_caller()), ["caller remove:role/ci"]);
    let with_ci = |group: &str| kept.clone() + &principal_table("ci", "ci", group);
    assert!(refused_risks(&live, &with_ci("admins"), ci_caller()).is_empty());
    let allowed = evaluate(&live, &kept, ci_caller(), &["remove:arn:aws:iam::111122223333:role/ci"]);
    assert!(allowed.refused.is_empty() && allowed.allowed.len() == 1, "{allowed:#?}");
    let other = evaluate(&live, &kept, ci_caller(), &["remove:arn:aws:iam::111122223333:role/admin", "last-admin"]);
    assert_eq!(other.refused.len(), 1, "flags for other risks do not count");
    // The entry remains, but loses the group of administrators.
    assert_eq!(refused_risks(&live, &with_ci("others"), ci_caller()), ["caller remove:role/ci"]);
    let text = messages(&live, &with_ci("others"), ci_caller());
    assert!(text.contains("permissions that you need to restore access\n"), "{text}");
    assert!(text.contains("you are `ci` through the aws-auth entry"), "{text}");
}

#[test]
fn caller_without_arn_is_matched_by_username_and_groups() {
    let live = cluster(&(nodes() + &admin() + &entry("ci", "'ci:{{SessionName}}'", "admins")));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    let groups = ["admins", "system:authenticated"];
    assert_eq!(refused_risks(&live, &kept, observed_caller("ci:run-7", &groups, None)), ["caller remove:role/ci"]);
    for other in [
        observed_caller("ci", &groups, None),
        observed_caller("ci:run-7", &["others"], None),
        observed_caller("system:serviceaccount:team-a:runner", &["system:serviceaccounts"], None),
        observed_caller("kubernetes-admin", &["system:masters"], None),
    ] {
        assert!(refused_risks(&live, &kept, other).is_empty());
    }
    let Observed::Known(caller) = observed_caller("ci:run-7", &groups, None) else { unreachable!() };
    let other_uid = Observed::Known(CallerIdentity { uid: Some("5d1c0b52-0000".to_owned()), ..caller });
    assert!(refused_risks(&live, &kept, other_uid).is_empty(), "the UID is of another authenticator");
}

#[test]
fn caller_outside_aws_auth_is_noted_and_keeps_repair_permissions() {
    let live = cluster(&(nodes() + &admin() + &ci()));
    let kept = exclusive_policy(&(node_principal_table().to_owned() + &principal_table("admin", "admin", "admins")));
    let creator =
        || observed_caller("kubernetes-admin", &["system:masters"], Some("arn:aws:iam::111122223333:user/creator"));
    let report = evaluate(&live, &kept, creator(), &[]);
    assert!(report.refused.is_empty(), "{report:#?}");
    assert!(report.not_evaluated[0].reason.contains("are authenticated neither through aws-auth nor"), "{report:#?}");
    // The cluster creator also has an entry, but the entry does not give system:masters.
    let both = || observed_caller("kubernetes-admin", &["system:masters"], Some(CI));
    assert!(refused_risks(&live, &kept, both()).is_empty());
    // With an ARN that cannot be read, the username is all that is known.
    let unreadable = || observed_caller("ci", &["admins", "system:authenticated"], Some("arn:aws:iam::1:role/ci"));
    let report = evaluate(&live, &kept, unreadable(), &[]);
    assert_eq!(report.refused.len(), 1, "{report:#?}");
    assert!(report.not_evaluated[0].reason.contains("by your username only"), "{report:#?}");
    // The reported identity can be a cached answer of the authenticator, so the entry counts.
    let stale = || observed_caller("was-ci", &["others"], Some(CI));
    assert_eq!(refused_risks(&live, &kept, stale()), ["caller remove:role/ci"]);
    assert!(
        messages(&live, &kept, stale())
            .contains("maps your IAM identity, but the cluster authenticates you as `was-ci`")
    );
    // An exclusive policy removes the binding of the service account.
    let runner = || observed_caller("system:serviceaccount:team-a:runner", &["system:serviceaccounts:team-a"], None);
    let strict = kept.clone().replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/admins\"]");
    assert_eq!(refused_risks(&live, &strict, runner()), ["caller remove:sa:team-a/runner"]);
    assert!(refused_risks(&live, &strict, creator()).is_empty(), "no RBAC limits system:masters");
    let allowed = evaluate(&live, &strict, runner(), &["remove:sa:team-a/runner"]);
    assert!(allowed.refused.is_empty(), "{allowed:#?}");
}

#[test]
fn duplicate_entries_are_evaluated_by_the_entry_in_effect() {
    // Trap 25: the last of two entries is in effect. If it is removed, the first one takes effect.
    let doubled = entry("ci", "looks", "others") + &ci();
    let live = cluster(&(nodes() + &admin() + &doubled));
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    assert!(
        refused_risks(&live, &shared(&principal_table("ci", "ci", "admins")), ci_caller()).is_empty(),
        "the shadowed entry is removed"
    );
    assert_eq!(
        refused_risks(&live, &shared(&principal_table("ci", "looks", "others")), ci_caller()),
        ["caller remove:role/ci"]
    );
    // Nodes: the same ARN twice, and the entry in effect is the one for nodes.
    let doubled = entry("Nodes", "admin", "admins") + &nodes();
    let live = cluster(&(admin() + &doubled));
    assert!(refused_risks(&live, &shared(node_principal_table()), unknown_caller()).is_empty());
    let person = "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/nodes\"\nusername = \"admin\"\ngroups = [\"admins\"]\n";
    assert_eq!(refused_risks(&live, &shared(person), unknown_caller()), ["node remove:role/nodes"]);
    // The authenticator ignores case (trap 6).
    let upper = cluster(&(admin() + &entry("NODES", NODE, NODES)));
    assert_eq!(
        refused_risks(&upper, &exclusive_policy(&principal_table("admin", "admin", "admins")), unknown_caller()),
        ["node remove:role/NODES"]
    );
}

/// EKS says that a node group uses the role, although its entry has neither the username nor the groups of a node.
#[test]
fn role_that_eks_uses_for_nodes_keeps_its_entry() {
    let live = cluster(&(admin() + &ci() + &entry("workers", "workers", "custom-nodes")));
    let without =
        exclusive_policy(&(principal_table("admin", "admin", "admins") + &principal_table("ci", "ci", "admins")));
    assert_eq!(refused_risks(&live, &without, ci_caller()), ["node remove:role/workers"]);
    let text = messages(&live, &without, ci_caller());
    assert!(
        text.contains("removes the aws-auth entry of your nodes (arn:aws:iam::111122223333:role/workers, "),
        "{text}"
    );
    assert!(text.contains("the managed node group spot uses this role"), "{text}");
}

#[test]
fn entries_of_nodes_and_fargate_stay_usable() {
    let fargate = entry("fargate", "'system:node:{{SessionName}}'", &format!("{NODES}, system:node-proxier"));
    let windows = entry("windows", NODE, &format!("{NODES}, eks:kube-proxy-windows"));
    let live = cluster(&(nodes() + &fargate + &windows + &admin()));
    let none = exclusive_policy(&principal_table("admin", "admin", "admins"));
    assert_eq!(
        refused_risks(&live, &none, unknown_caller()),
        ["node remove:role/fargate", "node remove:role/nodes", "node remove:role/windows"]
    );
    let text = messages(&live, &none, unknown_caller());
    assert!(
        text.contains("removes the aws-auth entry of your nodes (arn:aws:iam::111122223333:role/nodes, "),
        "{text}"
    );
    assert!(text.contains("nodes will become NotReady within 15 minutes"), "{text}");
    assert!(text.contains("the cluster has nodes, such as ip-10-0-0-1.ec2.internal"), "{text}");
    assert!(text.contains("the cluster has no Fargate nodes at the moment"), "{text}");
    assert!(text.contains("no aws-auth entry for nodes is left"), "{text}");
    let kind = |name: &str, kind: &str| {
        format!("[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nkind = \"{kind}\"\n")
    };
    let all = |fargate: &str, windows: &str| {
        none.clone() + &kind("nodes", "node") + &kind("fargate", fargate) + &kind("windows", windows)
    };
    assert!(refused_risks(&live, &all("fargate", "windows-node"), unknown_caller()).is_empty());
    assert_eq!(refused_risks(&live, &all("node", "windows-node"), unknown_caller()), ["node remove:role/fargate"]);
    assert_eq!(refused_risks(&live, &all("fargate", "node"), unknown_caller()), ["node remove:role/windows"]);
    let text = messages(&live, &all("fargate", "node"), unknown_caller());
    assert!(text.contains("without the groups eks:kube-proxy-windows"), "{text}");
}

#[test]
fn protected_principals_lose_nothing() {
    let live = cluster(&(nodes() + &admin() + &ci()));
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
    let text = messages(&live, &guarded("arn:*:role/ci", &rest), unknown_caller());
    assert!(
        text.contains("role/ci can no longer authenticate\nthe policy protects this principal at policy.toml:"),
        "{text}"
    );
    assert!(refused_risks(&live, &guarded("arn:aws:iam::*:role/d*", &rest), unknown_caller()).is_empty());
    // A binding that grants access to the protected principal is removed.
    let strict = guarded("arn:aws:iam::*:role/ci", &ci_is("admins"));
    let strict = strict.replace("ignore = []", "rbac = \"exclusive\"\nignore = [\"ClusterRoleBinding/runner\"]");
    assert_eq!(refused_risks(&live, &strict, unknown_caller()), ["protected remove:role/ci", "last-admin last-admin"]);
}

#[test]
fn removals_above_the_limit_are_refused() {
    let live = cluster(&(nodes() + &admin() + &ci() + &entry("a", "a", "others") + &entry("b", "b", "others")));
    let kept = node_principal_table().to_owned() + &principal_table("admin", "admin", "admins");
    let with_limit = |limit: &str| exclusive_policy(&kept) + &format!("[guard]\nmax-removals = {limit}\n");
    assert!(refused_risks(&live, &with_limit("3"), unknown_caller()).is_empty());
    assert_eq!(refused_risks(&live, &with_limit("2"), unknown_caller()), ["max-removals removals:3"]);
    // The policy owns nothing yet, so the total is the three entries that the plan removes.
    assert_eq!(refused_risks(&live, &with_limit("\"99%\""), unknown_caller()), ["max-removals removals:3"]);
    assert!(refused_risks(&live, &with_limit("\"100%\""), unknown_caller()).is_empty());
    assert!(evaluate(&live, &with_limit("0"), unknown_caller(), &["removals:3"]).refused.is_empty());
    assert_eq!(evaluate(&live, &with_limit("0"), unknown_caller(), &["removals:2"]).refused.len(), 1);
    let text = messages(&live, &with_limit("1"), unknown_caller());
    let expected =
        "this plan removes 3 entries and objects, more than max-removals allows (1)\nthe limit is set at policy.toml:";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn percentage_is_relative_to_what_the_policy_owns() {
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
fn last_admin_and_empty_aws_auth_are_refused() {
    let live = cluster(&(admin() + &ci()));
    assert_eq!(
        refused_risks(&live, &exclusive_policy(""), unknown_caller()),
        ["aws-auth empty-aws-auth", "last-admin last-admin"]
    );
    let shared = |rest: &str| format!("[policy]\nname = \"prod\"\n[groups.admins]\n[groups.others]\n{rest}");
    let demoted = shared(&(principal_table("admin", "admin", "others") + &principal_table("ci", "ci", "others")));
    assert_eq!(refused_risks(&live, &demoted, unknown_caller()), ["last-admin last-admin"]);
    assert!(
        refused_risks(&live, &shared(&principal_table("admin", "admin", "others")), unknown_caller()).is_empty(),
        "an administrator is left"
    );
    // A cluster without an administrator cannot lose one.
    let plain = cluster(&nodes());
    let first = shared(&principal_table("a", "a", "others"));
    assert!(refused_risks(&plain, &first, unknown_caller()).is_empty());
    assert_eq!(
        refused_risks(&plain, &exclusive_policy(""), unknown_caller()),
        ["node remove:role/nodes", "aws-auth empty-aws-auth"]
    );
}

#[test]
fn new_members_of_system_masters_are_refused() {
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
        "it already was a member"
    );
    assert!(
        refused_risks(&live, &shared(&principal_table("root", "root", "admins")), unknown_caller()).is_empty(),
        "removing a member is no risk"
    );
}

#[test]
fn unreadable_aws_auth_is_refused_with_any_allow_flag() {
    let live = cluster(&(nodes() + &admin()));
    let (policy, _) = load_policy(vec![("policy.toml".to_owned(), exclusive_policy(node_principal_table()))]).unwrap();
    let mut plan = plan(&policy, None, &live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap();
    for step in &mut plan.steps {
        step.write = crate::state::write::WriteRequest::Patch(serde_json::json!({ "data": { "mapRoles": "- a: [" } }));
    }
    let flags = ["empty-aws-auth", "last-admin", "remove:arn:aws:iam::111122223333:role/nodes"];
    let flags: Vec<AllowFlag> = flags.iter().map(|text| AllowFlag::parse(text).unwrap()).collect();
    let after = plan.state_after(&live).unwrap();
    let report = evaluate_guards(&plan, &AccessComparison::new(&live, &after), &ClusterFacts::default(), &flags);
    assert_eq!(report.refused.len(), 1, "{report:#?}");
    assert!(report.refused[0].message.contains("makes `mapRoles` of aws-auth unreadable"), "{report:#?}");
    assert_eq!(report.allowed.len(), 3, "{report:#?}");
}
