//! Whose objects and entries are whose: what a policy touches, adopts, spares and refuses.

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

use common::rolecall::Desk;

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

/// Two policies for two teams.
fn policy(name: &str, rest: &str) -> String {
    format!(
        "[policy]\nname = \"{name}\"\n[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\n\
         groups = [\"{name}\"]\n[groups.{name}]\n[bindings.{name}]\ncluster-role = \"view\"\ngroups = [\"{name}\"]\n{rest}"
    )
}

fn changes(desk: &Desk, file: &str) -> Vec<String> {
    let plan = desk.plan(&[file, "--snapshot", "cluster.yaml"]);
    let all = plan["changes"].as_array().unwrap().iter();
    all.map(|change| {
        let target = &change["target"];
        let name = target["entry"]["principal"].as_str().or(target["object"]["name"].as_str()).unwrap();
        let kind = target["object"]["kind"].as_str().unwrap_or("entry");
        format!("{} {kind} {}", change["action"].as_str().unwrap(), name.rsplit('/').next().unwrap())
    })
    .collect()
}

#[test]
fn a_shared_policy_touches_only_what_it_lists() {
    let desk = Desk::offline();
    desk.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", ""));
    assert_eq!(changes(&desk, "a.toml"), ["create entry a", "create ClusterRoleBinding a"]);
}

#[test]
fn an_exclusive_policy_spares_defaults_what_others_manage_and_the_roles_that_stay_bound() {
    let desk = Desk::offline();
    let exclusive = "[ownership]\naws-auth = \"exclusive\"\nrbac = \"exclusive\"\n\
                     ignore = [\"arn:aws:iam::*:role/eksctl-*\", \"ClusterRole/*-operator\"]\n";
    desk.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", exclusive));
    assert_eq!(
        changes(&desk, "a.toml"),
        [
            "create entry a",
            "delete entry stray",
            "delete ClusterRole stray",
            "create ClusterRoleBinding a",
            "delete ClusterRoleBinding stray"
        ]
    );
    desk.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    assert!(changes(&desk, "a.toml").is_empty());
    let text = desk.read("cluster.yaml");
    assert!(text.contains("eksctl-nodes") && text.contains("some-operator") && !text.contains("role/stray"), "{text}");
}

#[test]
fn two_policies_share_a_cluster_and_neither_takes_what_is_the_others() {
    let desk = Desk::offline();
    let exclusive = "[ownership]\naws-auth = \"exclusive\"\nrbac = \"exclusive\"\n";
    desk.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", "")).write("b.toml", &policy("b", exclusive));
    let nodes = "remove:arn:aws:iam::111122223333:role/eksctl-nodes";
    desk.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    desk.ok(&["apply", "b.toml", "--snapshot", "cluster.yaml", "--auto-approve", "--allow", nodes]);
    for file in ["a.toml", "b.toml"] {
        assert!(changes(&desk, file).is_empty(), "{file}: {:?}", changes(&desk, file));
    }
    desk.write("thief.toml", &policy("a", "").replace("name = \"a\"\n", "name = \"thief\"\n"));
    let ran = desk.run(&["plan", "thief.toml", "--snapshot", "cluster.yaml"]);
    assert_eq!(ran.code, 1);
    for owned in [
        "the aws-auth entry of arn:aws:iam::111122223333:role/a is owned by policy `a`",
        "ClusterRoleBinding a is owned by policy `a`",
    ] {
        assert!(ran.err.contains(owned), "{}", ran.err);
    }
}

#[test]
fn what_leaves_the_policy_leaves_the_cluster_and_a_role_under_a_foreign_binding_is_said() {
    let desk = Desk::offline();
    let role = "[cluster-roles.looking]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    desk.write("cluster.yaml", CLUSTER).write("a.toml", &policy("a", role));
    desk.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let foreign = "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: foreign }\n\
                   roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looking }\n";
    let text = desk.read("cluster.yaml") + foreign;
    desk.write("cluster.yaml", &text).write("a.toml", "[policy]\nname = \"a\"\n");
    let ran = desk.run(&["plan", "a.toml", "--snapshot", "cluster.yaml"]);
    assert!(
        ran.err.contains("ClusterRole looking is removed, but a binding that this policy does not own refers to it"),
        "{}",
        ran.err
    );
    assert_eq!(
        changes(&desk, "a.toml"),
        ["delete entry a", "delete ClusterRole looking", "delete ClusterRoleBinding a"]
    );
    desk.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    assert!(!desk.read("cluster.yaml").contains("rolecall/"), "no mark of a policy that owns nothing is left");
}

/// Trap 46.
#[test]
fn the_word_that_keeps_kubernetes_from_putting_a_role_back_stays() {
    let desk = Desk::offline();
    let word = "rbac.authorization.kubernetes.io/autoupdate: \"false\"";
    let role = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{ name: \"{name}\", labels: {{ {labels} }}, annotations: {{ {word} }} }}\n\
             rules: [{{ verbs: [get], apiGroups: [\"\"], resources: [pods] }}]\n"
        )
    };
    let defaults = "kubernetes.io/bootstrapping: rbac-defaults";
    let own = role("system:own", defaults) + &role("admin", defaults) + &role("reader", "a: b");
    desk.write("cluster.yaml", &format!("{CLUSTER}{own}"));
    let rest = "[ownership]\nrbac = \"exclusive\"\n[cluster-roles.reader]\n\
                rules = [{ verbs = [\"get\", \"list\"], resources = [\"pods\"] }]\n";
    desk.write("a.toml", &policy("a", rest));
    let found = changes(&desk, "a.toml");
    assert!(found.contains(&"adopt ClusterRole reader".to_owned()), "{found:?}");
    assert!(!found.iter().any(|change| change.contains("admin") || change.contains("system:")), "{found:?}");
    desk.ok(&["apply", "a.toml", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let text = desk.read("cluster.yaml");
    assert!(
        text.contains("list") && text.matches("rbac.authorization.kubernetes.io/autoupdate").count() == 3,
        "{text}"
    );
}
