//! Tests ownership: which objects and entries a policy changes, adopts, keeps and refuses to change.

use crate::common::sandbox::Sandbox;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: view }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: stray }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: of-helm-binding }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: some-operator }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: "system:thing" }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: helm, labels: { app.kubernetes.io/managed-by: Helm } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: of-helm-binding }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: u }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: stray }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: stray }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: u }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eksctl-nodes
      username: system:node:{{EC2PrivateDNSName}}
    - rolearn: arn:aws:iam::111122223333:role/stray # why
      username: stray
"#;

/// A policy with one principal, one group and one binding of this name, plus the rest.
fn policy(name: &str, rest: &str) -> String {
    format!(
        "[policy]\nname = \"{name}\"\n[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\n\
         groups = [\"{name}\"]\n[groups.{name}]\n[bindings.{name}]\ncluster-role = \"view\"\ngroups = [\"{name}\"]\n{rest}"
    )
}

fn changes(sandbox: &Sandbox, file: &str) -> Vec<String> {
    let plan = sandbox.plan(&[file, "--snapshot", "cluster.yaml"]);
    plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            let target = &change["target"];
            let name = target["entry"]["principal"].as_str().or(target["object"]["name"].as_str()).unwrap();
            let kind = target["object"]["kind"].as_str().unwrap_or("entry");
            format!("{} {kind} {}", change["action"].as_str().unwrap(), name.rsplit('/').next().unwrap())
        })
        .collect()
}

#[test]
fn shared_policy_changes_only_listed_objects() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", ""));
    assert_eq!(changes(&sandbox, "a.toml"), ["create entry a", "create ClusterRoleBinding a"]);
}

#[test]
fn exclusive_policy_keeps_defaults_foreign_objects_and_bound_roles() {
    let sandbox = Sandbox::offline();
    let exclusive = "[ownership]\naws-auth = \"exclusive\"\nrbac = \"exclusive\"\n\
                     ignore = [\"arn:aws:iam::*:role/eksctl-*\", \"ClusterRole/*-operator\"]\n";
    sandbox.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", exclusive));
    assert_eq!(
        changes(&sandbox, "a.toml"),
        [
            "create entry a",
            "delete entry stray",
            "delete ClusterRole stray",
            "create ClusterRoleBinding a",
            "delete ClusterRoleBinding stray"
        ]
    );
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    assert!(changes(&sandbox, "a.toml").is_empty());
    let text = sandbox.read("cluster.yaml");
    assert!(text.contains("eksctl-nodes") && text.contains("some-operator") && !text.contains("role/stray"), "{text}");
}

#[test]
fn policy_does_not_change_objects_of_another_policy() {
    let sandbox = Sandbox::offline();
    let exclusive = "[ownership]\naws-auth = \"exclusive\"\nrbac = \"exclusive\"\n";
    sandbox.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", "")).write("b.toml", &policy("b", exclusive));
    let nodes = "remove:arn:aws:iam::111122223333:role/eksctl-nodes";
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    sandbox.ok(&["apply", "b.toml", "--snapshot", "cluster.yaml", "--auto-approve", "--allow", nodes]);
    for file in ["a.toml", "b.toml"] {
        assert!(changes(&sandbox, file).is_empty(), "{file}: {:?}", changes(&sandbox, file));
    }
    sandbox.write("thief.toml", &policy("a", "").replace("name = \"a\"\n", "name = \"thief\"\n"));
    let output = sandbox.run(&["plan", "thief.toml", "--snapshot", "cluster.yaml"]);
    assert_eq!(output.exit_code, 1);
    for message in [
        "the aws-auth entry of arn:aws:iam::111122223333:role/a is owned by policy `a`",
        "ClusterRoleBinding a is owned by policy `a`",
    ] {
        assert!(output.stderr.contains(message), "{}", output.stderr);
    }
}

#[test]
fn objects_removed_from_the_policy_are_deleted_and_foreign_bindings_reported() {
    let sandbox = Sandbox::offline();
    let role = "[cluster-roles.looking]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    sandbox.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", role));
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let foreign = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: foreign }\n\
                   roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looking }\n";
    let text = sandbox.read("cluster.yaml") + foreign;
    sandbox.write("cluster.yaml", &text).write("a.toml", "[policy]\nname = \"a\"\n");
    let output = sandbox.run(&["plan", "a.toml", "--snapshot", "cluster.yaml"]);
    assert!(
        output
            .stderr
            .contains("ClusterRole looking is removed, but a binding that this policy does not own refers to it"),
        "{}",
        output.stderr
    );
    assert_eq!(
        changes(&sandbox, "a.toml"),
        ["delete entry a", "delete ClusterRole looking", "delete ClusterRoleBinding a"]
    );
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    assert!(!sandbox.read("cluster.yaml").contains("rolecall/"), "a policy that owns nothing leaves no marks");
}

/// Trap 46: with this annotation set to false Kubernetes does not reset a default role at start.
#[test]
fn autoupdate_annotation_is_kept() {
    let sandbox = Sandbox::offline();
    let annotation = "rbac.authorization.kubernetes.io/autoupdate: \"false\"";
    let role = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{ name: \"{name}\", labels: {{ {labels} }}, annotations: {{ {annotation} }} }}\n\
             rules: [{{ verbs: [get], apiGroups: [\"\"], resources: [pods] }}]\n"
        )
    };
    let defaults = "kubernetes.io/bootstrapping: rbac-defaults";
    let roles = role("system:own", defaults) + &role("admin", defaults) + &role("reader", "a: b");
    sandbox.write("cluster.yaml", &format!("{CLUSTER}{roles}"));
    let rest = "[ownership]\nrbac = \"exclusive\"\n[cluster-roles.reader]\n\
                rules = [{ verbs = [\"get\", \"list\"], resources = [\"pods\"] }]\n";
    sandbox.write("a.toml", &policy("a", rest));
    let planned = changes(&sandbox, "a.toml");
    assert!(planned.contains(&"adopt ClusterRole reader".to_owned()), "{planned:?}");
    assert!(!planned.iter().any(|change| change.contains("admin") || change.contains("system:")), "{planned:?}");
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let text = sandbox.read("cluster.yaml");
    assert!(
        text.contains("list") && text.matches("rbac.authorization.kubernetes.io/autoupdate").count() == 3,
        "{text}"
    );
}

#[test]
fn label_of_default_objects_on_a_copy_has_no_effect() {
    let sandbox = Sandbox::offline();
    let role = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
                metadata: { name: view-copy, labels: { kubernetes.io/bootstrapping: rbac-defaults } }\n\
                rules: [{ verbs: [get], apiGroups: [\"\"], resources: [pods] }]\n";
    sandbox.write("cluster.yaml", &format!("{CLUSTER}{role}"));
    let rest = "[cluster-roles.view-copy]\nrules = [{ verbs = [\"get\", \"list\"], resources = [\"pods\"] }]\n";
    sandbox.write("a.toml", &policy("a", rest));
    let planned = changes(&sandbox, "a.toml");
    assert!(planned.contains(&"adopt ClusterRole view-copy".to_owned()), "{planned:?}");
}

/// Adoption can take access away, so it is shown and counted like any other change.
#[test]
fn adoption_that_changes_content_is_shown_as_a_change() {
    let cluster = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system }
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/same
      username: same
    - rolearn: arn:aws:iam::111122223333:role/keep
      username: keep
      groups: [system:masters]
  mapUsers: |
    - userarn: arn:aws:iam::111122223333:user/bob
      username: bob
      groups: [system:masters]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader }
rules: [{ verbs: [get], apiGroups: [""], resources: [pods] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: readers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers }]
"#;
    let policy = r#"
[policy]
name = "prod"
[principals.same]
role = "arn:aws:iam::111122223333:role/same"
username = "same"
groups = ["readers"]
[principals.bob]
user = "arn:aws:iam::111122223333:user/bob"
username = "robert"
[groups.readers]
[cluster-roles.reader]
rules = [{ verbs = ["get"], resources = ["pods"] }, { verbs = ["get"], resources = ["services"] }]
[bindings.readers]
cluster-role = "reader"
groups = ["readers"]
"#;
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", cluster).write("rolecall.toml", policy);
    let text = sandbox.ok(&["plan", "--snapshot", "cluster.yaml"]);
    insta::assert_snapshot!(text.split("Digest").next().unwrap());
    let summary = &sandbox.plan(&["--snapshot", "cluster.yaml"])["summary"];
    assert_eq!((&summary["adopt"], &summary["update"]), (&1.into(), &3.into()), "{summary}");
}

/// A principal that loses its only entry loses its login, even if no binding grants it anything.
#[test]
fn lost_login_without_permissions_is_an_access_change() {
    let sandbox = Sandbox::offline();
    let exclusive =
        "[policy]\nname = \"a\"\n[ownership]\naws-auth = \"exclusive\"\nignore = [\"arn:aws:iam::*:role/eksctl-*\"]\n";
    sandbox.write("cluster.yaml", CLUSTER).write("a.toml", exclusive);
    let text = sandbox.ok(&["plan", "a.toml", "--snapshot", "cluster.yaml"]);
    assert!(
        text.contains("  - arn:aws:iam::111122223333:role/stray  can no longer log in (loses no RBAC permissions)\n"),
        "{text}"
    );
    assert!(!text.contains("no access changes") && text.contains("0 subjects gain access, 1 loses."), "{text}");
}

/// A ClusterRole as `kubectl get` prints it, with these labels and annotations.
fn cluster_role(name: &str, labels: &str, annotations: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {{ name: \"{name}\", labels: {{ {labels} }}, annotations: {{ {annotations} }} }}\n\
         rules: [{{ verbs: [get], apiGroups: [\"\"], resources: [pods] }}]\n"
    )
}

/// A mark that was copied, by `kubectl annotate` or with the whole object, is no ownership. Built-in objects and objects
/// of other tools are kept even with a mark that is valid.
#[test]
fn copied_marks_remove_nothing() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER);
    sandbox.write(
        "a.toml",
        &policy("a", "[cluster-roles.reader]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n"),
    );
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let applied = sandbox.read("cluster.yaml");
    let owned = applied.split("---\n").find(|document| document.contains("name: reader\n")).unwrap().to_owned();
    let value = |key: &str| {
        let line = owned.lines().find(|line| line.trim_start().starts_with(&format!("{key}:"))).unwrap();
        line.trim().to_owned()
    };
    let valid = format!("{}, {}, {}", value("rolecall/policy"), value("rolecall/object"), value("rolecall/digest"));
    let managed = "app.kubernetes.io/managed-by: rolecall";
    let mut objects = String::new();
    // The mark alone, on objects of Kubernetes, EKS, and others.
    for name in ["system:discovery", "edit", "eks:addon-manager", "plain"] {
        objects += &cluster_role(name, managed, "rolecall/policy: a");
    }
    // Whole copies under another name, made by `sed`.
    for name in ["reader2", "system:node"] {
        objects += "---\n";
        objects += &owned.replace("reader", name).replace("name: system:node", "name: \"system:node\"");
    }
    objects += &cluster_role("addon", "addonmanager.kubernetes.io/mode: Reconcile", &valid);
    objects += &cluster_role("chart", "app.kubernetes.io/managed-by: Helm", &valid);
    sandbox.write("cluster.yaml", &format!("{applied}{objects}"));
    let plan = sandbox.ok(&["plan", "a.toml", "--snapshot", "cluster.yaml"]);
    assert!(plan.contains("No changes"), "{plan}");
    let warnings = sandbox.command(&["plan", "a.toml", "--snapshot", "cluster.yaml"]).output().unwrap();
    let warnings = String::from_utf8(warnings.stderr).unwrap();
    for name in ["reader2", "system:node", "addon", "chart", "plain", "eks:addon-manager"] {
        assert!(warnings.contains(&format!("ClusterRole {name}\n")), "{name} is not reported:\n{warnings}");
    }
    // Adoption writes a mark of the object's own.
    sandbox.write(
        "a.toml",
        &policy("a", "[cluster-roles.plain]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n"),
    );
    assert_eq!(changes(&sandbox, "a.toml"), ["adopt ClusterRole plain", "delete ClusterRole reader"]);
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    sandbox.write("a.toml", &policy("a", ""));
    assert_eq!(changes(&sandbox, "a.toml"), ["delete ClusterRole plain"]);
}

/// Marks of versions without an identity: a listed object gets its mark by adoption without other changes, and no object
/// is removed because of such a mark.
#[test]
fn marks_without_identity_are_renewed_and_remove_nothing() {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER);
    let roles: String = (0..8)
        .map(|n| format!("[cluster-roles.r{n}]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n"))
        .collect();
    sandbox.write("a.toml", &policy("a", &roles));
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let applied = sandbox.read("cluster.yaml");
    let is_identity = |line: &&str| line.trim_start().starts_with("rolecall/object");
    assert_eq!(applied.lines().filter(is_identity).count(), 9);
    let old: String = applied.lines().filter(|line| !is_identity(line)).map(|line| format!("{line}\n")).collect();
    sandbox.write("cluster.yaml", &old);
    // Another policy does not take them over.
    sandbox.write("b.toml", &policy("b", &roles));
    let refused = sandbox.command(&["plan", "b.toml", "--snapshot", "cluster.yaml"]).output().unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains("ClusterRole r0 is owned by policy `a`"));
    sandbox.write("a.toml", &policy("a", ""));
    assert_eq!(changes(&sandbox, "a.toml"), ["adopt ClusterRoleBinding a"]);
    sandbox.write("a.toml", &policy("a", &roles));
    assert_eq!(changes(&sandbox, "a.toml").len(), 9);
    sandbox.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    sandbox.write("a.toml", &policy("a", ""));
    assert_eq!(changes(&sandbox, "a.toml").len(), 8);
}
