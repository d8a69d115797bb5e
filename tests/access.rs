//! Who can do what: the section of a plan, and the questions, offline on snapshots.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

#[cfg(test)]
mod common;

use common::rolecall::{Desk, Ran, example};
use serde_json::Value;

const VIEWER: &str = "arn:aws:iam::111122223333:role/viewer";

/// The example on a desk of its own, under the name that is found without being asked for.
fn desk() -> Desk {
    let desk = Desk::offline();
    let read = |name: &str| std::fs::read_to_string(example("cluster-viewer").join(name)).unwrap();
    desk.write("rolecall.toml", &read("access.toml")).write("cluster.yaml", &read("cluster.yaml"));
    desk
}

/// How a question ended: the code, the answer, and what was said beside it.
fn said(desk: &Desk, args: &[&str]) -> String {
    let Ran { code, out, err } = desk.run(args);
    format!("{out}{err}exit {code}\n")
}

fn json(desk: &Desk, args: &[&str]) -> Value {
    let ran = desk.run(&[args, &["--format", "json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}{}", ran.out, ran.err))
}

/// From the heading on, without the digest.
fn section(plan: &str) -> String {
    let from = plan.find("\nAccess\n").unwrap_or_else(|| panic!("no section: {plan}"));
    plan[from + 1..].lines().filter(|line| !line.starts_with("Digest")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_plan_of_every_guide_says_what_looking_at_everything_means() {
    insta::assert_snapshot!(section(&desk().ok(&["plan"])));
}

#[test]
fn a_change_that_changes_no_access_says_so_beside_those_that_do() {
    let desk = desk();
    let unused = "[cluster-roles.unused]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    desk.write("rolecall.toml", &(desk.read("rolecall.toml") + unused));
    let effects = |desk: &Desk| -> Vec<(String, String)> {
        let plan = desk.plan(&[]);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let name = |change: &Value| {
            let target = &change["target"];
            word(if target["entry"].is_null() { &target["object"]["name"] } else { &target["entry"]["principal"] })
        };
        plan["changes"].as_array().unwrap().iter().map(|change| (name(change), word(&change["access"]))).collect()
    };
    let of = |desk: &Desk, effect: &str| -> Vec<String> {
        effects(desk).into_iter().filter(|(_, one)| one == effect).map(|(name, _)| name).collect()
    };
    assert_eq!(of(&desk, "none"), ["unused"]);
    let plan = desk.ok(&["plan"]);
    assert_eq!(plan.matches("no access changes").count(), 1, "{plan}");
    let (_, after) = plan.split_once("ClusterRole        unused").unwrap();
    assert!(after.lines().take(5).any(|line| line == "      no access changes"), "{plan}");
    desk.ok(&["apply", "--auto-approve"]);

    // Renamed, a role and its binding change nothing together, and each by itself would.
    let renamed = desk.read("rolecall.toml");
    let renamed = renamed.replace("cluster-role = \"cluster-viewer\"", "cluster-role = \"looker\"");
    desk.write("rolecall.toml", &renamed.replace("[cluster-roles.cluster-viewer]", "[cluster-roles.looker]"));
    let plan = desk.plan(&[]);
    assert_eq!(plan["access"], serde_json::json!([]), "{plan:#}");
    assert_eq!(of(&desk, "none"), [""; 0]);
    let text = desk.ok(&["plan"]);
    assert_eq!(text.matches("no access changes").count(), 1, "{text}");
}

#[test]
fn a_saved_plan_keeps_its_section_and_drift_has_none() {
    let desk = desk();
    let plan = desk.ok(&["plan", "--out", "saved.json"]);
    let dry = desk.ok(&["apply", "--plan", "saved.json", "--dry-run"]);
    assert_eq!(section(&dry), section(&plan));
    assert!(!desk.run(&["drift"]).out.contains("Access"));
    assert!(json(&desk, &["drift"])["plans"][0]["access"].is_null());
}

#[test]
fn a_change_without_effect_says_so_and_no_change_says_nothing() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    assert!(!desk.ok(&["plan"]).contains("Access"));
    assert_eq!(json(&desk, &["plan"])["plans"][0]["access"], serde_json::json!([]));
    let policy = desk.read("rolecall.toml");
    desk.write(
        "rolecall.toml",
        &policy.replace(
            "rules = [{ verbs = [\"get\", \"list\"], api-groups = [\"*\"], resources = [\"*\"] }]",
            "rules = [\n  { verbs = [\"get\"], api-groups = [\"*\"], resources = [\"*\"] },\n  { verbs = [\"list\"], api-groups = [\"*\"], resources = [\"*\"] },\n]",
        ),
    );
    insta::assert_snapshot!(section(&desk.ok(&["plan"])), @r"
    Access
      no access changes

    Plan: 0 to add, 1 to change, 0 to replace, 0 to remove. 1 object to write. 0 subjects gain access, 0 lose.
    ");
}

#[test]
fn gains_and_losses_stand_side_by_side_with_what_gave_them() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let policy = desk.read("rolecall.toml").replace("members = [\"viewer\", \"alice\"]", "members = [\"viewer\"]");
    let more = "\n[cluster-roles.pods]\nrules = [{ verbs = [\"get\", \"delete\"], resources = [\"pods\"] }]\n\
                [bindings.pods]\ncluster-role = \"pods\"\nnamespaces = [\"default\"]\nprincipals = [\"alice\"]\n\
                service-accounts = [\"ci/deployer\"]\n";
    desk.write("rolecall.toml", &format!("{policy}{more}"));
    insta::assert_snapshot!(section(&desk.ok(&["plan"])));
}

#[test]
fn a_long_section_is_cut_with_a_count() {
    let desk = desk();
    let names: Vec<String> = (0..50).map(|number| format!("many-{number:02}")).collect();
    let principals: String = names.iter().map(|name| format!("\n[principals.{name}]\nrole = \"{name}\"\n")).collect();
    let members: String = names.iter().map(|name| format!(", \"{name}\"")).collect();
    let policy =
        desk.read("rolecall.toml").replace("\"viewer\", \"alice\"", &format!("\"viewer\", \"alice\"{members}"));
    desk.write("rolecall.toml", &format!("{policy}{principals}"));
    let cut = section(&desk.ok(&["plan"]));
    assert!(cut.contains("    … and 32 more subjects, which --full shows\n"), "{cut}");
    assert!(cut.contains("52 subjects gain access, 0 lose."), "{cut}");
    assert!(section(&desk.ok(&["plan", "--full"])).contains("role/many-49 (many-49)"));
    let access = &json(&desk, &["plan"])["plans"][0]["access"];
    assert_eq!((access.as_array().unwrap().len(), access[0]["subjects"].as_array().unwrap().len()), (1, 52));
}

#[test]
fn can_answers_yes_or_no_and_exits_so() {
    let desk = desk();
    assert_eq!(desk.ok(&["can", "viewer", "get", "secrets", "--after"]), "yes\n");
    insta::assert_snapshot!(said(&desk, &["can", "viewer", "get", "secrets"]), @r"
    no
    warning: arn:aws:iam::111122223333:role/viewer is not let in: no entry of aws-auth names it
     |
     = hint: the policy has it: ask of the state that its plan leads to by --after

    exit 1
    ");
    desk.ok(&["apply", "--auto-approve"]);
    for (code, question) in [
        (0, "viewer get secrets"),
        (0, "arn:aws:sts::111122223333:assumed-role/viewer/me list pods -A"),
        (0, "alice get nodes --subresource proxy"),
        (0, "group:cluster-viewer-group list deployments.apps/web -n kube-system"),
        (1, "user:alice get secrets"),
        (1, "alice delete pods"),
        (1, "alice get /metrics"),
        (0, "group:system:masters delete pods"),
        (1, "sa:default/default get pods"),
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).collect();
        let ran = desk.run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (code, ["yes\n", "no\n"][code as usize]), "{question}");
    }
}

#[test]
fn a_yes_is_explained_by_its_chain_and_a_no_by_what_comes_nearest() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let unmanaged = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                     metadata: { name: by-hand, namespace: default }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: gone }\n\
                     subjects: [{ kind: User, apiGroup: rbac.authorization.k8s.io, name: alice }]\n";
    desk.write("cluster.yaml", &format!("{}{unmanaged}", desk.read("cluster.yaml")));
    let mut all = String::new();
    for question in [
        "viewer get secrets",
        "alice delete pods/web",
        "group:system:masters get pods",
        "arn:aws:iam::111122223333:role/none get pods",
        "arn:aws:iam::111122223333:role/eks-nodes get pods",
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).chain(["--explain"]).collect();
        all.push_str(&format!("$ can {question}\n{}\n", said(&desk, &args)));
    }
    insta::assert_snapshot!(all);
    let answer = json(&desk, &["can", "viewer", "get", "secrets"]);
    let by = &answer["clusters"][0]["by"][0];
    assert_eq!(by["binding"]["origin"]["place"]["file"], "rolecall.toml", "{answer:#}");
    assert_eq!(by["rule"]["verbs"], serde_json::json!(["get", "list"]));
}

#[test]
fn unknown_words_are_no_silent_no() {
    let desk = desk();
    let mut all = String::new();
    for question in [
        "vewer get pods",
        "arn:aws:iam::111122223333:group/x get pods",
        "sa:ci get pods",
        "group:system:master get pods",
        "group:x gett pod",
        "group:x get deployments",
        "group:x get pods/exec",
        "group:x get pods -n kube-sytem",
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).collect();
        all.push_str(&format!("$ can {question}\n{}\n", said(&desk, &args)));
    }
    insta::assert_snapshot!(all);
    let after = Desk::offline();
    after.write("cluster.yaml", &desk.read("cluster.yaml"));
    let ran = after.run(&["can", "user:a", "get", "pods", "--after", "--snapshot", "cluster.yaml"]);
    assert!(ran.code == 1 && ran.err.contains("there is no policy here"), "{}", ran.err);
    assert_eq!(said(&after, &["who-can", "list", "--snapshot", "cluster.yaml"]).lines().last(), Some("exit 1"));
}

#[test]
fn who_can_names_everybody_and_who_stands_behind() {
    let desk = desk();
    insta::assert_snapshot!(desk.ok(&["who-can", "get", "secrets", "--after"]), @r"
    Principals that may get secrets in default:
      arn:aws:iam::111122223333:role/viewer (viewer)
      arn:aws:iam::111122223333:user/alice (alice)

    By bindings:
      group cluster-viewer-group
        by cluster-viewers → cluster-viewer
        behind it: arn:aws:iam::111122223333:role/viewer, arn:aws:iam::111122223333:user/alice
    ");
    assert_eq!(desk.ok(&["who-can", "get", "secrets"]), "No binding lets anybody get secrets in default.\n");
    insta::assert_snapshot!(desk.ok(&["who-can", "get", "secrets", "--after", "--explain", "-A"]));
    insta::assert_snapshot!(desk.ok(&["who-can", "escalate", "--after"]));
    assert_eq!(desk.ok(&["who-can", "escalate"]), "Nobody has a way to more power.\n");
}

#[test]
fn access_shows_everybody_or_one() {
    let desk = desk();
    insta::assert_snapshot!(desk.ok(&["access", "--after"]));
    insta::assert_snapshot!(desk.ok(&["access", "alice", "--after", "--explain"]));
    let all = json(&desk, &["access", "--after", "--full"]);
    let masters = all["clusters"][0]["access"].as_array().unwrap().iter();
    let masters = masters.filter(|row| row["subjects"][0]["who"] == "group:system:masters").count();
    assert_eq!(masters, 1, "{all:#}");
}

#[test]
fn a_policy_without_its_cluster_file_needs_none() {
    let desk = Desk::offline();
    desk.write("cluster.yaml", &std::fs::read_to_string(example("cluster-viewer").join("cluster.yaml")).unwrap());
    assert_eq!(desk.run(&["can", "group:system:masters", "get", "pods", "--snapshot", "cluster.yaml"]).out, "yes\n");
}

#[test]
fn roles_that_gather_from_each_other_are_told_once() {
    let desk = Desk::offline();
    let role = |name: &str, from: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{ name: {name}, labels: {{ is: {name} }} }}\n\
             aggregationRule: {{ clusterRoleSelectors: [{{ matchLabels: {{ is: {from} }} }}] }}\n"
        )
    };
    desk.write("cluster.yaml", &format!("{}{}", role("one", "other"), role("other", "one")));
    let ran = desk.run(&["who-can", "get", "pods", "--snapshot", "cluster.yaml"]);
    assert_eq!(ran.err.matches("ClusterRoles aggregate each other: `one`, `other`").count(), 1, "{}", ran.err);
    desk.write("rolecall.toml", "[policy]\nname = \"circle\"\n");
    let ran = desk.run(&["plan", "--snapshot", "cluster.yaml"]);
    assert_eq!(ran.err.matches("ClusterRoles aggregate each other: `one`, `other`").count(), 1, "{}", ran.err);
}

const GUEST: &str = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: by-hand }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ghost }\n\
                     subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: dev }]\n";

#[test]
fn a_binding_to_a_missing_role_is_pending_access_in_every_answer_about_whom_it_means() {
    let desk = desk();
    desk.write("cluster.yaml", &format!("{}{GUEST}", desk.read("cluster.yaml")));
    let told = "warning: ClusterRole `ghost` does not exist, but bindings reference it: `by-hand`";
    for (args, is_told) in [
        (&["can", "group:dev", "get", "pods"][..], true),
        (&["can", "group:system:masters", "get", "pods"], false),
        (&["who-can", "get", "pods"], true),
        (&["access"], true),
        (&["access", "group:dev"], true),
        (&["access", "sa:default/default"], false),
        (&["plan"], false),
        (&["drift"], true),
    ] {
        let ran = desk.run(args);
        assert_eq!(ran.err.matches(told).count(), usize::from(is_told), "{args:?}: {}", ran.err);
        let said = ran.err.contains("pending access: group:dev will get its rules as soon as it is created");
        assert_eq!(said, is_told, "{args:?}: {}", ran.err);
    }
    let answer = json(&desk, &["who-can", "get", "pods"]);
    let warnings = answer["clusters"][0]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|one| told.ends_with(one["message"].as_str().unwrap())), "{answer:#}");
}

#[test]
fn many_missing_roles_are_folded_with_a_count() {
    let desk = desk();
    let all: String = (0..9)
        .map(|number| GUEST.replace("ghost", &format!("ghost-{number}")).replace("by-hand", &format!("by-{number}")))
        .collect();
    let twice = GUEST.replace("ghost", "ghost-0");
    desk.write("cluster.yaml", &format!("{}{all}{twice}", desk.read("cluster.yaml")));
    let ran = desk.run(&["access"]);
    assert_eq!(ran.err.matches("does not exist, but bindings reference it").count(), 3, "{}", ran.err);
    assert!(ran.err.contains("bindings reference it: `by-0`, `by-hand`\n"), "{}", ran.err);
    assert!(ran.err.contains("6 more roles do not exist, but bindings reference them"), "{}", ran.err);
}

#[test]
fn a_plan_tells_whose_bindings_come_alive_by_the_role_it_creates() {
    let desk = desk();
    desk.write("cluster.yaml", &format!("{}{}", desk.read("cluster.yaml"), GUEST.replace("ghost", "cluster-viewer")));
    let ran = desk.run(&["plan"]);
    let told = "existing bindings take effect when ClusterRole `cluster-viewer` is created: `by-hand`";
    assert_eq!(ran.err.matches(told).count(), 1, "{}", ran.err);
    let plan = json(&desk, &["plan"]);
    let warnings = plan["plans"][0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().filter(|one| one["message"] == told).count(), 1, "{plan:#}");
    desk.ok(&["apply", "--auto-approve"]);
    assert!(!desk.run(&["plan"]).err.contains("existing bindings take effect"));
}

#[test]
fn a_binding_of_the_policy_to_a_role_that_is_nowhere_is_refused() {
    let desk = desk();
    let bound = "\n[bindings.extra]\ncluster-role = \"ghost\"\nprincipals = [\"alice\"]\n";
    desk.write("rolecall.toml", &(desk.read("rolecall.toml") + bound));
    let ran = desk.run(&["plan"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("`ghost` is neither in the policy nor in the cluster"), "{}", ran.err);
}

#[test]
fn an_unknown_subject_finds_the_one_of_another_account_kind_or_spelling() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    for near in [
        "arn:aws:iam::111122223334:role/viewer",
        "arn:aws:iam::111122223333:role/vewer",
        "arn:aws:iam::111122223333:user/viewer",
        "arn:aws:iam::999999999999:role/viewer",
    ] {
        let ran = desk.run(&["can", near, "get", "pods"]);
        assert!(ran.err.contains("did you mean `arn:aws:iam::111122223333:role/viewer`?"), "{near}: {}", ran.err);
    }
    let ran = desk.run(&["can", "user:cluster-viewer-group", "get", "pods"]);
    assert!(ran.err.contains("did you mean `group:cluster-viewer-group`?"), "{}", ran.err);
}

#[test]
fn an_arn_that_differs_in_path_or_case_is_answered_with_the_spelling_of_aws_auth() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let told = |typed: &str, args: &[&str]| {
        let ran = desk.run(args);
        let message = format!("no aws-auth entry names `{typed}`, but the entry `{VIEWER}` matches it");
        assert_eq!(ran.err.contains(&message), ran.err.contains(&format!("did you mean `{VIEWER}`?")), "{}", ran.err);
        ran.err.contains(&message)
    };
    let session = |role: &str| format!("arn:aws:sts::111122223333:assumed-role/{role}/me");
    for typed in ["role/team/viewer", "role/other/Viewer", "role/Viewer", "role/other/VIEWER"] {
        let typed = VIEWER.replace("role/viewer", typed);
        assert!(told(&typed, &["can", &typed, "get", "pods"]), "{typed}");
        assert!(told(&typed, &["access", &typed]), "{typed}");
    }
    assert!(told(&VIEWER.replace("viewer", "VIEWER"), &["can", &session("VIEWER"), "get", "pods"]));
    // As it stands there, by a session of it, and by its name.
    for typed in [VIEWER, &session("viewer"), "viewer"] {
        assert!(!told(typed, &["can", typed, "get", "pods"]), "{typed}");
    }
    let bob = "- userarn: arn:aws:iam::111122223333:user/team/bob\n      username: bob\n";
    let users = format!("data:\n  mapUsers: |\n    {bob}");
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system }}\n{users}");
    desk.write("users.yaml", &map);
    // A user's path counts: another one is somebody else.
    for (typed, is_let_in) in [("user/bob", false), ("user/Team/Bob", true)] {
        let typed = format!("arn:aws:iam::111122223333:{typed}");
        let ran = desk.run(&["can", &typed, "get", "pods", "--snapshot", "users.yaml"]);
        assert_eq!(ran.err.contains("is not let in"), !is_let_in, "{}", ran.err);
        assert!(ran.err.contains("did you mean `arn:aws:iam::111122223333:user/team/bob`?"), "{typed}: {}", ran.err);
    }
}
