//! Tests the access section of a plan and the commands `can`, `who-can` and `access` on snapshots.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers panic on failure and use files, processes and the network"
)]

#[cfg(test)]
mod common;

use common::rolecall::{Desk, Ran, example};
use serde_json::Value;

const VIEWER_ARN: &str = "arn:aws:iam::111122223333:role/viewer";

/// A folder with the `cluster-viewer` example. Its policy is `rolecall.toml`, which commands find without an argument.
fn desk() -> Desk {
    let desk = Desk::offline();
    let read = |name: &str| std::fs::read_to_string(example("cluster-viewer").join(name)).unwrap();
    desk.write("rolecall.toml", &read("access.toml")).write("cluster.yaml", &read("cluster.yaml"));
    desk
}

/// stdout, stderr and the exit code of a command in one text.
fn full_output(desk: &Desk, args: &[&str]) -> String {
    let Ran { code, out, err } = desk.run(args);
    format!("{out}{err}exit {code}\n")
}

fn json(desk: &Desk, args: &[&str]) -> Value {
    let ran = desk.run(&[args, &["--format", "json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}{}", ran.out, ran.err))
}

/// The output of a plan from the heading of the access section on, without the digest.
fn access_section(plan: &str) -> String {
    let from = plan.find("\nAccess\n").unwrap_or_else(|| panic!("no access section: {plan}"));
    plan[from + 1..].lines().filter(|line| !line.starts_with("Digest")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn plan_lists_secrets_and_escalation_paths_of_a_read_everything_role() {
    insta::assert_snapshot!(access_section(&desk().ok(&["plan"])));
}

#[test]
fn plan_marks_each_change_that_changes_no_access() {
    let desk = desk();
    let unused = "[cluster-roles.unused]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    desk.write("rolecall.toml", &(desk.read("rolecall.toml") + unused));
    let effects = |desk: &Desk| -> Vec<(String, bool)> {
        let plan = desk.plan(&[]);
        let owned = |value: &Value| value.as_str().unwrap().to_owned();
        let name = |change: &Value| {
            let target = &change["target"];
            owned(if target["entry"].is_null() { &target["object"]["name"] } else { &target["entry"]["principal"] })
        };
        let changes = plan["changes"].as_array().unwrap().iter();
        changes.map(|change| (name(change), change["changes-access"].as_bool().unwrap())).collect()
    };
    let without_effect = |desk: &Desk| -> Vec<String> {
        effects(desk).into_iter().filter(|(_, changes)| !changes).map(|(name, _)| name).collect()
    };
    assert_eq!(without_effect(&desk), ["unused"]);
    let plan = desk.ok(&["plan"]);
    assert_eq!(plan.matches("no access changes").count(), 1, "{plan}");
    let (_, after) = plan.split_once("ClusterRole        unused").unwrap();
    assert!(after.lines().take(5).any(|line| line == "      no access changes"), "{plan}");
    desk.ok(&["apply", "--auto-approve"]);

    // A role and its binding are renamed. Each change alone would change access, both together do not.
    let renamed = desk.read("rolecall.toml");
    let renamed = renamed.replace("cluster-role = \"cluster-viewer\"", "cluster-role = \"looker\"");
    desk.write("rolecall.toml", &renamed.replace("[cluster-roles.cluster-viewer]", "[cluster-roles.looker]"));
    let plan = desk.plan(&[]);
    assert_eq!(plan["access"], serde_json::json!([]), "{plan:#}");
    assert_eq!(without_effect(&desk), [""; 0]);
    let text = desk.ok(&["plan"]);
    assert_eq!(text.matches("no access changes").count(), 1, "{text}");
}

#[test]
fn saved_plan_keeps_its_access_section_and_drift_has_none() {
    let desk = desk();
    let plan = desk.ok(&["plan", "--out", "saved.json"]);
    let dry_run = desk.ok(&["apply", "--plan", "saved.json", "--dry-run"]);
    assert_eq!(access_section(&dry_run), access_section(&plan));
    assert!(!desk.run(&["drift"]).out.contains("Access"));
    assert!(json(&desk, &["drift"])["plans"][0]["access"].is_null());
}

#[test]
fn access_section_is_printed_only_if_the_plan_has_changes() {
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
    insta::assert_snapshot!(access_section(&desk.ok(&["plan"])), @r"
    Access
      no access changes

    Plan: 0 to add, 1 to change, 0 to replace, 0 to remove. 1 object to write. 0 subjects gain access, 0 lose.
    ");
}

#[test]
fn plan_lists_gained_and_lost_access_with_the_granting_bindings() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let policy = desk.read("rolecall.toml").replace("members = [\"viewer\", \"alice\"]", "members = [\"viewer\"]");
    let more = "\n[cluster-roles.pods]\nrules = [{ verbs = [\"get\", \"delete\"], resources = [\"pods\"] }]\n\
                [bindings.pods]\ncluster-role = \"pods\"\nnamespaces = [\"default\"]\nprincipals = [\"alice\"]\n\
                service-accounts = [\"ci/deployer\"]\n";
    desk.write("rolecall.toml", &format!("{policy}{more}"));
    insta::assert_snapshot!(access_section(&desk.ok(&["plan"])));
}

#[test]
fn long_access_section_is_truncated_with_a_count() {
    let desk = desk();
    let names: Vec<String> = (0..50).map(|number| format!("many-{number:02}")).collect();
    let principals: String = names.iter().map(|name| format!("\n[principals.{name}]\nrole = \"{name}\"\n")).collect();
    let members: String = names.iter().map(|name| format!(", \"{name}\"")).collect();
    let policy =
        desk.read("rolecall.toml").replace("\"viewer\", \"alice\"", &format!("\"viewer\", \"alice\"{members}"));
    desk.write("rolecall.toml", &format!("{policy}{principals}"));
    let truncated = access_section(&desk.ok(&["plan"]));
    assert!(truncated.contains("    … and 32 more subjects, which --full shows\n"), "{truncated}");
    assert!(truncated.contains("52 subjects gain access, 0 lose."), "{truncated}");
    assert!(access_section(&desk.ok(&["plan", "--full"])).contains("role/many-49 (many-49)"));
    let access = &json(&desk, &["plan"])["plans"][0]["access"];
    assert_eq!((access.as_array().unwrap().len(), access[0]["subjects"].as_array().unwrap().len()), (1, 52));
}

#[test]
fn can_prints_yes_or_no_and_exits_0_or_1() {
    let desk = desk();
    assert_eq!(desk.ok(&["can", "viewer", "get", "secrets", "--after"]), "yes\n");
    insta::assert_snapshot!(full_output(&desk, &["can", "viewer", "get", "secrets"]), @r"
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
fn can_explain_shows_the_grant_path_or_the_nearest_rule() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let unmanaged = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
                     metadata: { name: by-hand, namespace: default }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: gone }\n\
                     subjects: [{ kind: User, apiGroup: rbac.authorization.k8s.io, name: alice }]\n";
    desk.write("cluster.yaml", &format!("{}{unmanaged}", desk.read("cluster.yaml")));
    let mut answers = String::new();
    for question in [
        "viewer get secrets",
        "alice delete pods/web",
        "group:system:masters get pods",
        "arn:aws:iam::111122223333:role/none get pods",
        "arn:aws:iam::111122223333:role/eks-nodes get pods",
    ] {
        let args: Vec<&str> = std::iter::once("can").chain(question.split(' ')).chain(["--explain"]).collect();
        answers.push_str(&format!("$ can {question}\n{}\n", full_output(&desk, &args)));
    }
    insta::assert_snapshot!(answers);
    let answer = json(&desk, &["can", "viewer", "get", "secrets"]);
    let grant = &answer["clusters"][0]["granted-by"][0];
    assert_eq!(grant["binding"]["managed-by"]["location"]["file"], "rolecall.toml", "{answer:#}");
    assert_eq!(grant["rule"]["verbs"], serde_json::json!(["get", "list"]));
}

#[test]
fn can_warns_about_unknown_subjects_verbs_resources_and_namespaces() {
    let desk = desk();
    let mut answers = String::new();
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
        answers.push_str(&format!("$ can {question}\n{}\n", full_output(&desk, &args)));
    }
    insta::assert_snapshot!(answers);
    let without_policy = Desk::offline();
    without_policy.write("cluster.yaml", &desk.read("cluster.yaml"));
    let ran = without_policy.run(&["can", "user:a", "get", "pods", "--after", "--snapshot", "cluster.yaml"]);
    assert!(ran.code == 1 && ran.err.contains("there is no policy here"), "{}", ran.err);
    assert_eq!(
        full_output(&without_policy, &["who-can", "list", "--snapshot", "cluster.yaml"]).lines().last(),
        Some("exit 1")
    );
}

#[test]
fn who_can_lists_subjects_and_the_principals_that_match_them() {
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
fn access_lists_all_subjects_or_one() {
    let desk = desk();
    insta::assert_snapshot!(desk.ok(&["access", "--after"]));
    insta::assert_snapshot!(desk.ok(&["access", "alice", "--after", "--explain"]));
    let document = json(&desk, &["access", "--after", "--full"]);
    let masters = document["clusters"][0]["access"].as_array().unwrap().iter();
    let masters = masters.filter(|row| row["subjects"][0]["subject"] == "group:system:masters").count();
    assert_eq!(masters, 1, "{document:#}");
}

#[test]
fn can_with_a_snapshot_needs_no_policy() {
    let desk = Desk::offline();
    desk.write("cluster.yaml", &std::fs::read_to_string(example("cluster-viewer").join("cluster.yaml")).unwrap());
    assert_eq!(desk.run(&["can", "group:system:masters", "get", "pods", "--snapshot", "cluster.yaml"]).out, "yes\n");
}

#[test]
fn aggregation_cycle_is_reported_once() {
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
    assert_eq!(ran.err.matches("take their rules from each other").count(), 1, "{}", ran.err);
    desk.write("rolecall.toml", "[policy]\nname = \"circle\"\n");
    let ran = desk.run(&["plan", "--snapshot", "cluster.yaml"]);
    assert_eq!(ran.err.matches("take their rules from each other").count(), 1, "{}", ran.err);
}

const DANGLING_BINDING: &str = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: by-hand }\n\
                     roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ghost }\n\
                     subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: dev }]\n";

#[test]
fn binding_to_a_missing_role_is_pending_access_of_its_subjects() {
    let desk = desk();
    desk.write("cluster.yaml", &format!("{}{DANGLING_BINDING}", desk.read("cluster.yaml")));
    let message = "warning: the ClusterRole `ghost` does not exist; bound to it: `by-hand`";
    for (args, is_reported) in [
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
        assert_eq!(ran.err.matches(message).count(), usize::from(is_reported), "{args:?}: {}", ran.err);
        let is_pending = ran.err.contains("pending access: group:dev will have what it says as soon as it is created");
        assert_eq!(is_pending, is_reported, "{args:?}: {}", ran.err);
    }
    let answer = json(&desk, &["who-can", "get", "pods"]);
    let warnings = answer["clusters"][0]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| message.ends_with(warning["message"].as_str().unwrap())), "{answer:#}");
}

#[test]
fn many_missing_roles_are_summarized_with_a_count() {
    let desk = desk();
    let dangling: String = (0..9)
        .map(|number| {
            DANGLING_BINDING.replace("ghost", &format!("ghost-{number}")).replace("by-hand", &format!("by-{number}"))
        })
        .collect();
    let second_binding = DANGLING_BINDING.replace("ghost", "ghost-0");
    desk.write("cluster.yaml", &format!("{}{dangling}{second_binding}", desk.read("cluster.yaml")));
    let ran = desk.run(&["access"]);
    assert_eq!(ran.err.matches("does not exist; bound to it").count(), 3, "{}", ran.err);
    assert!(ran.err.contains("bound to it: `by-0`, `by-hand`\n"), "{}", ran.err);
    assert!(ran.err.contains("6 more roles are waited for in the same way"), "{}", ran.err);
}

#[test]
fn plan_warns_about_dangling_bindings_that_a_new_role_activates() {
    let desk = desk();
    desk.write(
        "cluster.yaml",
        &format!("{}{}", desk.read("cluster.yaml"), DANGLING_BINDING.replace("ghost", "cluster-viewer")),
    );
    let ran = desk.run(&["plan"]);
    let message = "the new ClusterRole `cluster-viewer` brings bindings to life that waited for it: `by-hand`";
    assert_eq!(ran.err.matches(message).count(), 1, "{}", ran.err);
    let plan = json(&desk, &["plan"]);
    let warnings = plan["plans"][0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().filter(|warning| warning["message"] == message).count(), 1, "{plan:#}");
    desk.ok(&["apply", "--auto-approve"]);
    assert!(!desk.run(&["plan"]).err.contains("brings bindings to life"));
}

#[test]
fn plan_refuses_a_policy_binding_to_a_role_that_does_not_exist() {
    let desk = desk();
    let binding = "\n[bindings.extra]\ncluster-role = \"ghost\"\nprincipals = [\"alice\"]\n";
    desk.write("rolecall.toml", &(desk.read("rolecall.toml") + binding));
    let ran = desk.run(&["plan"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("`ghost` is neither in the policy nor in the cluster"), "{}", ran.err);
}

#[test]
fn unknown_subject_suggests_one_of_another_account_kind_or_spelling() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    for typed in [
        "arn:aws:iam::111122223334:role/viewer",
        "arn:aws:iam::111122223333:role/vewer",
        "arn:aws:iam::111122223333:user/viewer",
        "arn:aws:iam::999999999999:role/viewer",
    ] {
        let ran = desk.run(&["can", typed, "get", "pods"]);
        assert!(ran.err.contains("did you mean `arn:aws:iam::111122223333:role/viewer`?"), "{typed}: {}", ran.err);
    }
    let ran = desk.run(&["can", "user:cluster-viewer-group", "get", "pods"]);
    assert!(ran.err.contains("did you mean `group:cluster-viewer-group`?"), "{}", ran.err);
}

#[test]
fn arn_with_other_path_or_case_is_answered_with_the_aws_auth_spelling() {
    let desk = desk();
    desk.ok(&["apply", "--auto-approve"]);
    let reports_spelling = |typed: &str, args: &[&str]| {
        let ran = desk.run(args);
        let message = format!("no entry of aws-auth names `{typed}`: that of `{VIEWER_ARN}` answers for it");
        assert_eq!(
            ran.err.contains(&message),
            ran.err.contains(&format!("did you mean `{VIEWER_ARN}`?")),
            "{}",
            ran.err
        );
        ran.err.contains(&message)
    };
    let session = |role: &str| format!("arn:aws:sts::111122223333:assumed-role/{role}/me");
    for typed in ["role/team/viewer", "role/other/Viewer", "role/Viewer", "role/other/VIEWER"] {
        let typed = VIEWER_ARN.replace("role/viewer", typed);
        assert!(reports_spelling(&typed, &["can", &typed, "get", "pods"]), "{typed}");
        assert!(reports_spelling(&typed, &["access", &typed]), "{typed}");
    }
    assert!(reports_spelling(&VIEWER_ARN.replace("viewer", "VIEWER"), &["can", &session("VIEWER"), "get", "pods"]));
    // The spelling of aws-auth, a session of that role, and the name in the policy.
    for typed in [VIEWER_ARN, &session("viewer"), "viewer"] {
        assert!(!reports_spelling(typed, &["can", typed, "get", "pods"]), "{typed}");
    }
    let bob = "- userarn: arn:aws:iam::111122223333:user/team/bob\n      username: bob\n";
    let users = format!("data:\n  mapUsers: |\n    {bob}");
    let aws_auth =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system }}\n{users}");
    desk.write("users.yaml", &aws_auth);
    // The path is part of the ARN of a user: with another path it is another user. The case is ignored.
    for (typed, can_authenticate) in [("user/bob", false), ("user/Team/Bob", true)] {
        let typed = format!("arn:aws:iam::111122223333:{typed}");
        let ran = desk.run(&["can", &typed, "get", "pods", "--snapshot", "users.yaml"]);
        assert_eq!(ran.err.contains("is not let in"), !can_authenticate, "{}", ran.err);
        assert!(ran.err.contains("did you mean `arn:aws:iam::111122223333:user/team/bob`?"), "{typed}: {}", ran.err);
    }
}
