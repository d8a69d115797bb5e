//! Tests that questions, plans, invariants and guards take subjects as the cluster sees them: sessions by their names,
//! usernames with the groups of their entries, nodes with all of their groups, and no principals that cannot exist.

use crate::common::sandbox::{RunOutput, Sandbox};

const OBJECTS: &str = r#"
---
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
---
apiVersion: v1
kind: Namespace
metadata: { name: default }
---
apiVersion: v1
kind: Namespace
metadata: { name: team }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: cluster-admin }
rules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }, { verbs: ["*"], nonResourceURLs: ["*"] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: alice, uid: 5d1c0b53, resourceVersion: "2" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: User, apiGroup: rbac.authorization.k8s.io, name: "dev:alice" }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: operators, uid: 5d1c0b54, resourceVersion: "2" }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: Group, apiGroup: rbac.authorization.k8s.io, name: operators }]
"#;
const DEV: &str = "    - rolearn: arn:aws:iam::111122223333:role/dev\n      username: dev:{{SessionName}}\n";
const ADMIN: &str =
    "    - rolearn: arn:aws:iam::111122223333:role/admin\n      username: admin\n      groups: [system:masters]\n";
const DEV_POLICY: &str = r#"
[policy]
name = "prod"
[principals.dev]
role = "arn:aws:iam::111122223333:role/dev"
username = "dev:{{SessionName}}"
"#;

/// A folder with a snapshot that has these entries in mapRoles, and a policy.
fn sandbox(entries: &str, policy: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    let aws_auth = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system, resourceVersion: \"7\" }}\n\
         data:\n  mapRoles: |\n{entries}"
    );
    sandbox.write("cluster.yaml", &(aws_auth + OBJECTS)).write("rolecall.toml", policy);
    sandbox
}

fn run(sandbox: &Sandbox, args: &str) -> RunOutput {
    let args: Vec<&str> = args.split(' ').chain(["--snapshot", "cluster.yaml"]).collect();
    sandbox.run(&args)
}

/// The stdout and the exit code of a question.
fn answer(sandbox: &Sandbox, args: &str) -> String {
    let output = run(sandbox, args);
    format!("{}exit {}\n", output.stdout, output.exit_code)
}

#[track_caller]
fn assert_violated(sandbox: &Sandbox, expected: &str) {
    let output = run(sandbox, "plan");
    assert_eq!(output.exit_code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("invariant violated"), "{}", output.stderr);
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

#[test]
fn sessions_with_a_bound_name_are_in_every_answer() {
    let sandbox = sandbox(&format!("{ADMIN}{DEV}"), DEV_POLICY);
    insta::assert_snapshot!(answer(&sandbox, "can dev get secrets -n team"), @r"
    yes, for sessions named `alice`: arn:aws:iam::111122223333:role/dev (dev) can get secrets in team
    exit 0
    ");
    insta::assert_snapshot!(answer(&sandbox, "can arn:aws:sts::111122223333:assumed-role/dev/bob get secrets"), @r"
    no: arn:aws:iam::111122223333:role/dev for sessions named `bob` (dev) cannot get secrets in default
    exit 1
    ");
    insta::assert_snapshot!(answer(&sandbox, "who-can get secrets -n team"), @r"
    Members of system:masters (full access, bypasses RBAC):
      arn:aws:iam::111122223333:role/admin

    Principals that can get secrets in team:
      arn:aws:iam::111122223333:role/dev for sessions named `alice` (dev)

    Granted by RBAC bindings:
      group operators
        via operators → cluster-admin
      user dev:alice
        via alice → cluster-admin
        members: arn:aws:iam::111122223333:role/dev for sessions named `alice`
    exit 0
    ");
    insta::assert_snapshot!(answer(&sandbox, "access dev"), @r"
    arn:aws:iam::111122223333:role/dev (dev)
      no permissions

    arn:aws:iam::111122223333:role/dev for sessions named `alice` (dev)
      everything in all namespaces
        via alice → cluster-admin
      every verb on every URL
        via alice → cluster-admin
      ! full-admin: equivalent to cluster-admin in all namespaces
      ! aws-auth: can update the aws-auth ConfigMap and map any IAM principal to system:masters: create, patch, update configmaps without a name or named aws-auth in kube-system
    exit 0
    ");
    let json: serde_json::Value = serde_json::from_str(&run(&sandbox, "can dev get secrets -o json").stdout).unwrap();
    assert_eq!(json["clusters"][0]["verdict"], "for-some");
    let subject = "arn:aws:iam::111122223333:role/dev for sessions named `alice`";
    assert_eq!(json["clusters"][0]["allowed-for"][0]["subject"], subject);
}

#[test]
fn plan_names_the_sessions_that_gain_and_lose() {
    let section = |output: RunOutput| {
        let (_, section) = output.stdout.split_once("Who gains and loses access\n").expect(&output.stderr);
        section.split("\n\n").next().unwrap().to_owned()
    };
    insta::assert_snapshot!(section(run(&sandbox(ADMIN, DEV_POLICY), "plan")), @r"
    + arn:aws:iam::111122223333:role/dev for sessions named `alice` (dev)
        gains  everything in all namespaces  via alice → cluster-admin
        gains  every verb on every URL  via alice → cluster-admin
      ! critical  full-admin: equivalent to cluster-admin in all namespaces
      ! critical  aws-auth: can update the aws-auth ConfigMap and map any IAM principal to system:masters: create, patch, update configmaps without a name or named aws-auth in kube-system
    ");
    let exclusive = "[policy]\nname = \"prod\"\n[principals.admin]\nrole = \"arn:aws:iam::111122223333:role/admin\"\n\
                     username = \"admin\"\ngroups = [\"system:masters\"]\n[groups.\"system:masters\"]\n[ownership]\naws-auth = \"exclusive\"\n";
    insta::assert_snapshot!(section(run(&sandbox(&format!("{ADMIN}{DEV}"), exclusive), "plan")), @r"
    - arn:aws:iam::111122223333:role/dev for sessions named `alice`
        loses  everything in all namespaces  previously via alice → cluster-admin
        loses  every verb on every URL  previously via alice → cluster-admin
    - arn:aws:iam::111122223333:role/dev  can no longer log in (loses no RBAC permissions)
    ");
}

#[test]
fn session_names_break_invariants() {
    let invariant = |subject: &str| {
        format!("{DEV_POLICY}[[invariants]]\n{subject}\ncannot = {{ verb = \"get\", resource = \"secrets\" }}\n")
    };
    let expected = "arn:aws:iam::111122223333:role/dev for sessions named `alice` (dev) can get secrets";
    assert_violated(&sandbox(ADMIN, &invariant("principal = \"dev\"")), expected);
    let everyone = |exempt: &str| {
        let exempt = format!("everyone-but = [\"operators\", \"arn:aws:iam::111122223333:role/admin\"{exempt}]");
        invariant(&exempt).replace("[principals.dev]", "[groups.operators]\n[principals.dev]")
    };
    assert_violated(&sandbox(ADMIN, &everyone("")), expected);
    // A session that has the username of an exempted user is exempted.
    let exempted = run(&sandbox(ADMIN, &everyone(", \"user:dev:alice\"")), "plan");
    assert_eq!(exempted.exit_code, 0, "{}", exempted.stderr);
}

#[test]
fn nodes_have_what_their_entries_give() {
    let node = "    - rolearn: arn:aws:iam::111122223333:role/nodes\n      username: system:node:{{EC2PrivateDNSName}}\n      \
                groups: [system:bootstrappers, system:nodes, system:masters]\n";
    let ci = "    - rolearn: arn:aws:iam::111122223333:role/ci\n      username: system:node:{{SessionName}}\n      \
              groups: [system:nodes, operators]\n";
    let policy = "[policy]\nname = \"prod\"\n[groups.new]\n[[invariants]]\n\
                  everyone-but = [\"user:dev:alice\", \"arn:aws:iam::111122223333:role/admin\"]\ncannot = \"escalate\"\n\
                  [cluster-roles.new]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    assert_violated(&sandbox(&format!("{ADMIN}{node}"), policy), "arn:aws:iam::111122223333:role/nodes");
    assert_violated(&sandbox(&format!("{ADMIN}{ci}"), policy), "arn:aws:iam::111122223333:role/ci");
}

#[test]
fn username_includes_the_groups_of_its_entries() {
    let entries = ADMIN.replace("username: admin", "username: bob");
    let policy = "[policy]\nname = \"prod\"\n[[invariants]]\nuser = \"bob\"\n\
                  cannot = { verb = \"get\", resource = \"secrets\" }\n[cluster-roles.new]\n\
                  rules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
    let sandbox = sandbox(&entries, policy);
    insta::assert_snapshot!(answer(&sandbox, "can user:bob get secrets --explain"), @r"
    yes, for arn:aws:iam::111122223333:role/admin: user:bob can get secrets in default
      subject         user:bob
      username        bob
      groups          system:authenticated

      for arn:aws:iam::111122223333:role/admin:
      aws-auth entry  arn:aws:iam::111122223333:role/admin, mapRoles line 1       unmanaged
      username        bob
      groups          system:masters, system:authenticated

      via             group system:masters (bypasses RBAC)
    exit 0
    ");
    assert_violated(&sandbox, "arn:aws:iam::111122223333:role/admin can get secrets");
}

#[test]
fn entries_of_principals_that_cannot_exist_do_not_count() {
    let dead = "    - rolearn: arn:aws:iam::*:role/*\n      username: any\n      groups: [system:masters]\n";
    let policy =
        "[policy]\nname = \"prod\"\n[ownership]\naws-auth = \"exclusive\"\nignore = [\"arn:aws:iam::*:role/[*]\"]\n";
    let sandbox = sandbox(&format!("{dead}{ADMIN}"), policy);
    let who_can = answer(&sandbox, "who-can get secrets");
    assert!(!who_can.contains("role/*"), "{who_can}");
    let access = answer(&sandbox, "access");
    assert!(!access.contains("role/*"), "{access}");
    let plan = run(&sandbox, "plan");
    assert_eq!(plan.exit_code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stderr.contains("removes the last administrator"), "{}", plan.stderr);
}

#[test]
fn principal_of_another_cluster_is_not_an_error() {
    let policy = "[policy]\nname = \"prod\"\n[clusters.a]\nsnapshot = \"cluster.yaml\"\n[clusters.b]\nsnapshot = \"cluster.yaml\"\n\
                  [principals.admins]\nrole = \"arn:aws:iam::111122223333:role/admin\"\nclusters = [\"a\"]\n";
    let sandbox = sandbox(ADMIN, policy);
    let output = sandbox.run(&["can", "admins", "get", "pods"]);
    assert_eq!((output.exit_code, output.stdout.contains("yes")), (0, true), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("principal `admins` is not in this cluster"), "{}", output.stderr);
    let output = sandbox.run(&["can", "admins", "get", "pods", "--cluster", "b"]);
    assert_eq!(output.exit_code, 2);
    assert!(output.stderr.contains("principal `admins` is not in this cluster"), "{}", output.stderr);
}

#[test]
fn missing_aws_auth_and_service_accounts_as_users_are_named() {
    let sandbox = Sandbox::offline();
    let account = OBJECTS.replace(
        "kind: User, apiGroup: rbac.authorization.k8s.io, name: \"dev:alice\"",
        "kind: ServiceAccount, namespace: team, name: bot",
    );
    sandbox.write("cluster.yaml", &account);
    let output = run(&sandbox, "can arn:aws:iam::111122223333:role/dev get pods");
    assert!(output.stderr.contains("the ConfigMap aws-auth does not exist"), "{}", output.stderr);
    let output = run(&sandbox, "can user:system:serviceaccount:team:bot get pods");
    assert_eq!((output.stdout.as_str(), output.exit_code), ("yes: sa:team/bot can get pods in default\n", 0));
    assert!(!output.stderr.contains("unknown subject"), "{}", output.stderr);
}
