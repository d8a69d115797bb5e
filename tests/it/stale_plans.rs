//! Tests when an approved or saved plan is stale: if an object that it relies on has changed, and only then. Also tests
//! which plan files are read.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::schema::assert_matches_plan_schema;

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

/// A cluster with the role that the policy binds but does not manage.
fn cluster() -> String {
    [role("theirs", "pods"), role("other", "nodes"), namespace("team-a", "dev"), namespace("shop", "prod")].concat()
}

/// Plans on one state of the cluster and applies to another: with the saved plan, and with the approved digest.
fn apply_plan_made_on(planned_on: &str, applied_to: &str) -> [(RunOutput, String); 2] {
    ["saved", "approved"].map(|mode| {
        let sandbox = Sandbox::offline();
        sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", planned_on);
        sandbox.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
        let saved: serde_json::Value = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
        assert_matches_plan_schema(&saved);
        let digest = saved["plans"][0]["digest"].as_str().unwrap().to_owned();
        sandbox.write("cluster.yaml", applied_to);
        let output = match mode {
            "saved" => sandbox.run(&["apply", "--plan", "plan.json"]),
            _ => sandbox.run(&["apply", "--snapshot", "cluster.yaml", "--approved", &digest]),
        };
        (output, sandbox.read("cluster.yaml"))
    })
}

#[test]
fn plan_stays_valid_when_unrelated_objects_change() {
    let changed_clusters = [
        cluster().replace("resources: [nodes]", "resources: [events]"),
        cluster() + &namespace("blog", "dev"),
        cluster() + &binding("admins", "admins", "other"),
        cluster() + &role("more", "services"),
        // A second binding that grants the same.
        cluster() + &binding("double", "viewers", "theirs"),
    ];
    for changed in changed_clusters {
        for (output, after) in apply_plan_made_on(&cluster(), &changed) {
            assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
            assert!(after.contains("viewers") && after.contains("locals"), "{after}");
        }
    }
}

#[test]
fn plan_is_stale_when_objects_that_it_relies_on_change() {
    let changed_clusters = [
        ("the role that it binds", cluster().replace("resources: [pods]", "resources: [secrets]")),
        ("a namespace that a pattern matches", cluster() + &namespace("team-b", "dev")),
        ("a namespace that labels match", cluster() + &namespace("blog", "prod")),
        ("a label by which a namespace matched", cluster().replace("stage: prod", "stage: test")),
        ("the access of a group that the principal joins", cluster() + &binding("stray", "viewers", "other")),
    ];
    for (change, changed) in changed_clusters {
        for (output, after) in apply_plan_made_on(&cluster(), &changed) {
            assert_eq!(output.exit_code, 1, "{change}: {}{}", output.stdout, output.stderr);
            assert_eq!(after, changed, "{change}");
            let messages = [
                "since the plan was made",
                "the plan would now change other access than it did when it was made",
                "the plan does not match the approved digest",
            ];
            assert!(messages.iter().any(|message| output.stderr.contains(message)), "{change}: {}", output.stderr);
        }
    }
}

#[test]
fn staleness_error_names_the_principal_and_the_namespaces() {
    let [(role, _), _] =
        apply_plan_made_on(&cluster(), &cluster().replace("resources: [pods]", "resources: [secrets]"));
    assert!(
        role.stderr.contains("its access changes are different for arn:aws:iam::111122223333:role/viewer"),
        "{}",
        role.stderr
    );
    let [(namespace, _), _] = apply_plan_made_on(&cluster(), &(cluster() + &namespace("team-b", "dev")));
    assert!(
        namespace
            .stderr
            .contains("the namespaces that match pattern `team-*` have changed (+ team-b) since the plan was made"),
        "{}",
        namespace.stderr
    );
    let [(label, _), _] = apply_plan_made_on(&cluster(), &cluster().replace("stage: prod", "stage: test"));
    assert!(
        label.stderr.contains(
            "the namespaces that match label selector `stage=prod` have changed (- shop) since the plan was made"
        ),
        "{}",
        label.stderr
    );
}

#[test]
fn plan_file_of_another_format_is_refused_with_the_command_for_a_new_one() {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", &cluster());
    sandbox.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
    let saved = sandbox.read("plan.json");
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
    let drift = sandbox.run(&["drift", "--snapshot", "cluster.yaml", "-o", "json"]).stdout;
    for (text, message) in [
        (with_version(1.into()), "plan.json has the format version 1, but this rolecall reads only version 2"),
        (with_version("2".into()), "plan.json has the format version \"2\", but this rolecall reads only version 2"),
        (without_version, "plan.json is not a saved plan: it has no `format-version`"),
        ("{\"format_version\":\"1.2\",\"terraform_version\":\"1.9.0\"}".to_owned(), "it has no `format-version`"),
        ("[]".to_owned(), "plan.json is not a saved plan: it has no `format-version`"),
        ("{ \"format-version\": 2, \"clusters\": [] }".to_owned(), "is not a saved plan: missing field `plans`"),
        (saved[..saved.len() / 2].to_owned(), "plan.json is not a saved plan: it is not JSON: "),
        (String::new(), "plan.json is not a saved plan: it is empty"),
        ("\n".to_owned(), "plan.json is not a saved plan: it is empty"),
        ("{ \"format-version\": 2, \"plans\": [] }".to_owned(), "is not a saved plan: missing field `content-digest`"),
        (sealed(&serde_json::json!({ "format-version": 2, "plans": [] })), "it has no plan for any cluster"),
        (drift, "is not a saved plan: it is the output of `rolecall drift`"),
    ] {
        sandbox.write("plan.json", &text);
        let output = sandbox.run(&["apply", "--plan", "plan.json"]);
        assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""), "{}", output.stderr);
        assert!(output.stderr.contains(message), "{message}\n{}", output.stderr);
        assert!(
            output.stderr.contains("help: make a plan with `rolecall plan POLICY --out plan.json`"),
            "{}",
            output.stderr
        );
    }
    sandbox.write("plan.json", &saved);
    sandbox.ok(&["apply", "--plan", "plan.json"]);
    let output = sandbox.run(&["apply", "--plan", "plan.json"]);
    assert!(output.exit_code == 1 && output.stderr.contains("plan.json was already applied at "), "{}", output.stderr);
}

/// The text of a plan document, with a content digest that fits it.
fn sealed(document: &Value) -> String {
    let mut document = document.clone();
    document.as_object_mut().unwrap().shift_remove("content-digest");
    let hash: String = Sha256::digest(document.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    document["content-digest"] = json!(format!("sha256:{hash}"));
    document.to_string()
}

/// A sandbox with a saved plan that creates and changes objects and entries, and the plan.
fn sandbox_with_plan() -> (Sandbox, Value) {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", &(cluster() + &binding("viewers", "old", "theirs")));
    sandbox.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
    let saved = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
    (sandbox, saved)
}

/// What apply prints comes from `changes`, `access` and others. An edit of any of them is refused, and none is written.
#[test]
fn plan_file_with_other_changes_is_refused() {
    let (sandbox, saved) = sandbox_with_plan();
    let before = sandbox.read("cluster.yaml");
    let assert_refused = |text: &str, args: &[&str], message: &str| {
        sandbox.write("plan.json", text);
        let output = sandbox.run(&[&["apply", "--plan", "plan.json"], args].concat());
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(message), "{message}\n{}", output.stderr);
        assert_eq!(sandbox.read("cluster.yaml"), before);
    };
    let digest = saved["plans"][0]["digest"].as_str().unwrap();
    for key in ["changes", "access", "warnings", "name", "connection", "guards", "limits", "policy", "summary"] {
        let mut edited = saved.clone();
        edited["plans"][0].as_object_mut().unwrap().shift_remove(key);
        assert_refused(&edited.to_string(), &[], "plan.json ");
    }
    // A program that edits the file can also compute its content digest.
    let mut emptied = saved.clone();
    emptied["plans"][0]["changes"] = json!([]);
    assert_refused(&emptied.to_string(), &[], "was changed after it was saved: its content digest does not match");
    assert_refused(&sealed(&emptied), &[], "the digest does not match the writes and changes");
    let mut access = saved.clone();
    access["plans"][0]["access"] = json!([]);
    assert_refused(&sealed(&access), &[], "the digest does not match the writes and changes");
    // The digest that was approved belongs to another plan.
    let other = format!("sha256:{}", "0".repeat(64));
    assert_refused(&saved.to_string(), &["--approved", &other], "plan.json is not the plan that was approved");
    sandbox.write("plan.json", &serde_json::to_string_pretty(&saved).unwrap());
    sandbox.ok(&["apply", "--plan", "plan.json", "--approved", digest]);
    // The mark of its application is under the digest as well.
    let mut applied: Value = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
    applied.as_object_mut().unwrap().shift_remove("applied-at");
    sandbox.write("plan.json", &applied.to_string());
    let output = sandbox.run(&["apply", "--plan", "plan.json"]);
    assert!(output.stderr.contains("its content digest does not match"), "{}", output.stderr);
}
