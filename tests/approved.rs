//! What was approved is what happens: a plan is bound to what it relied on, and to nothing else.

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

mod common;

use common::rolecall::{Desk, Ran};
use common::schema::fits_the_schema;

const POLICY: &str = r#"
[policy]
name = "team"
[principals.viewer]
role = "arn:aws:iam::111122223333:role/viewer"
groups = ["viewers"]
[groups.viewers]
[bindings.viewers]
cluster-role = "theirs"
groups = ["viewers"]
[bindings.locals]
cluster-role = "theirs"
groups = ["viewers"]
namespaces = ["team-*", { match-labels = { stage = "prod" } }]
"#;

fn namespace(name: &str, stage: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ stage: {stage} }} }}\n")
}

fn role(name: &str, resource: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: {name} }}\nrules:\n- verbs: \
         [get]\n  apiGroups: [\"\"]\n  resources: [{resource}]\n"
    )
}

fn binding(name: &str, group: &str, role: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{ name: {name} }}\nroleRef: {{ \
         apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role} }}\nsubjects:\n- {{ kind: Group, apiGroup: \
         rbac.authorization.k8s.io, name: {group} }}\n"
    )
}

/// A cluster where nobody of this policy manages the role that it binds.
fn cluster() -> String {
    [role("theirs", "pods"), role("other", "nodes"), namespace("team-a", "dev"), namespace("shop", "prod")].concat()
}

/// Each way to apply what was looked at on one cluster, on another.
fn applied(then: &str, now: &str) -> [(Ran, String); 2] {
    ["saved", "approved"].map(|how| {
        let desk = Desk::offline();
        desk.write("rolecall.toml", POLICY).write("cluster.yaml", then);
        desk.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
        let saved: serde_json::Value = serde_json::from_str(&desk.read("plan.json")).unwrap();
        fits_the_schema(&saved);
        let digest = saved["plans"][0]["digest"].as_str().unwrap().to_owned();
        desk.write("cluster.yaml", now);
        let ran = match how {
            "saved" => desk.run(&["apply", "--plan", "plan.json"]),
            _ => desk.run(&["apply", "--snapshot", "cluster.yaml", "--approved", &digest]),
        };
        (ran, desk.read("cluster.yaml"))
    })
}

#[test]
fn what_has_nothing_to_do_with_a_plan_may_move() {
    let moved = [
        cluster().replace("resources: [nodes]", "resources: [events]"),
        cluster() + &namespace("blog", "dev"),
        cluster() + &binding("admins", "admins", "other"),
        cluster() + &role("more", "services"),
        // The same for everybody by one more way.
        cluster() + &binding("double", "viewers", "theirs"),
    ];
    for now in moved {
        for (ran, after) in applied(&cluster(), &now) {
            assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
            assert!(after.contains("viewers") && after.contains("locals"), "{after}");
        }
    }
}

#[test]
fn what_a_plan_relied_on_may_not() {
    let moved = [
        ("the role that it binds", cluster().replace("resources: [pods]", "resources: [secrets]")),
        ("a namespace that a pattern means", cluster() + &namespace("team-b", "dev")),
        ("a namespace that labels mean", cluster() + &namespace("blog", "prod")),
        ("a label that meant a namespace", cluster().replace("stage: prod", "stage: test")),
        ("what a group gets that he comes into", cluster() + &binding("stray", "viewers", "other")),
    ];
    for (what, now) in moved {
        for (ran, after) in applied(&cluster(), &now) {
            assert_eq!(ran.code, 1, "{what}: {}{}", ran.out, ran.err);
            assert_eq!(after, now, "{what}");
            let said = ["since the plan was made", "another digest than the approved one"];
            assert!(said.iter().any(|said| ran.err.contains(said)), "{what}: {}", ran.err);
        }
    }
}

#[test]
fn a_refusal_names_whom_and_which_namespaces() {
    let [(role, _), _] = applied(&cluster(), &cluster().replace("resources: [pods]", "resources: [secrets]"));
    assert!(role.err.contains("something else for arn:aws:iam::111122223333:role/viewer"), "{}", role.err);
    let [(namespace, _), _] = applied(&cluster(), &(cluster() + &namespace("team-b", "dev")));
    assert!(namespace.err.contains("the names `team-*` now mean other namespaces: + team-b"), "{}", namespace.err);
    let [(label, _), _] = applied(&cluster(), &cluster().replace("stage: prod", "stage: test"));
    assert!(label.err.contains("the labels stage=prod now mean other namespaces: - shop"), "{}", label.err);
}

#[test]
fn a_plan_file_of_another_format_is_refused_with_the_command_that_makes_a_new_one() {
    let desk = Desk::offline();
    desk.write("rolecall.toml", POLICY).write("cluster.yaml", &cluster());
    desk.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
    let saved = desk.read("plan.json");
    let with_version = |version: serde_json::Value| {
        let mut plan: serde_json::Value = serde_json::from_str(&saved).unwrap();
        plan["format-version"] = version;
        plan.to_string()
    };
    let without_version = {
        let mut plan: serde_json::Value = serde_json::from_str(&saved).unwrap();
        plan.as_object_mut().unwrap().remove("format-version");
        plan.to_string()
    };
    for (text, message) in [
        (with_version(1.into()), "plan.json has the format version 1, but this rolecall reads only version 2"),
        (with_version("2".into()), "plan.json has the format version \"2\", but this rolecall reads only version 2"),
        (without_version, "plan.json is not a saved plan: it has no `format-version`"),
        ("{\"format_version\":\"1.2\",\"terraform_version\":\"1.9.0\"}".to_owned(), "it has no `format-version`"),
        ("[]".to_owned(), "plan.json is not a saved plan: it has no `format-version`"),
        ("{ \"format-version\": 2, \"clusters\": [] }".to_owned(), "is not a saved plan: missing field `plans`"),
        (saved[..saved.len() / 2].to_owned(), "plan.json is not a saved plan: it is not JSON: "),
        (String::new(), "plan.json is not a saved plan: it is not JSON: "),
    ] {
        desk.write("plan.json", &text);
        let ran = desk.run(&["apply", "--plan", "plan.json"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        assert!(ran.err.contains(message), "{message}\n{}", ran.err);
        assert!(ran.err.contains("hint: make a new plan with `rolecall plan --out plan.json`"), "{}", ran.err);
    }
    desk.write("plan.json", &saved);
    desk.ok(&["apply", "--plan", "plan.json"]);
    let ran = desk.run(&["apply", "--plan", "plan.json"]);
    assert!(ran.code == 1 && ran.err.contains("plan.json was applied already, at "), "{}", ran.err);
}
