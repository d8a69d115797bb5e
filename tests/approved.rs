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
    assert!(
        namespace.err.contains("the namespaces that match pattern `team-*` have changed (+ team-b)"),
        "{}",
        namespace.err
    );
    let [(label, _), _] = applied(&cluster(), &cluster().replace("stage: prod", "stage: test"));
    assert!(
        label.err.contains("the namespaces that match label selector `stage=prod` have changed (- shop)"),
        "{}",
        label.err
    );
}
