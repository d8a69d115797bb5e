//! Tests the guards: `plan` and every mode of `apply` refuse dangerous changes unless `--allow` accepts them, and a refused
//! apply writes nothing.

use crate::common::TestCluster;
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::schema::assert_matches_plan_schema;
use crate::common::shared_cluster::cluster;
use serde_json::{Value, json};

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const CI: &str = "arn:aws:sts::111122223333:assumed-role/ci/run-7";

const MAP_ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/ci
  username: ci
  groups: [admins]
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass
  groups: [system:masters]
";

/// An exclusive policy with the nodes, the CI runner and a break-glass role.
const POLICY: &str = r#"
[policy]
name = "prod"
[ownership]
aws-auth = "exclusive"
[guard]
protected = ["arn:aws:iam::*:role/break-*"]
max-removals = 1
[groups.admins]
[groups."system:masters"]
[principals.nodes]
role = "arn:aws:iam::111122223333:role/eks-nodes"
kind = "node"
[principals.ci]
role = "arn:aws:iam::111122223333:role/ci"
username = "ci"
groups = ["admins"]
[principals.break-glass]
role = "arn:aws:iam::111122223333:role/break-glass"
username = "break-glass"
groups = ["system:masters"]
"#;

/// The policy without these principals.
fn policy_without(names: &[&str]) -> String {
    let mut parts: Vec<&str> = POLICY.split("[principals.").collect();
    parts.retain(|part| !names.iter().any(|name| part.starts_with(&format!("{name}]"))));
    parts.join("[principals.")
}

fn offline(policy: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    let indented: String = MAP_ROLES.lines().map(|line| format!("    {line}\n")).collect();
    let cluster = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system, resourceVersion: \"7\" }}\n\
         data:\n  mapRoles: |\n{indented}"
    );
    sandbox.write("cluster.yaml", &cluster).write("rolecall.toml", policy);
    sandbox
}

fn with_snapshot<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--snapshot", "cluster.yaml"]].concat()
}

#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let output = sandbox.run(args);
    assert_eq!(output.exit_code, 3, "{args:?}\n{}{}", output.stdout, output.stderr);
    output
}

#[test]
fn guard_refusal_names_the_lost_access_and_the_allow_value() {
    let sandbox = offline(&policy_without(&["nodes", "ci", "break-glass"]));
    let output = refused(&sandbox, &with_snapshot(&["plan", "rolecall.toml"]));
    insta::assert_snapshot!(output.stderr);
    assert!(output.stdout.contains("Digest sha256:"), "a refused plan is still printed\n{}", output.stdout);
    let masters =
        POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\"\ngroups = [\"system:masters\"]");
    insta::assert_snapshot!(refused(&offline(&masters), &with_snapshot(&["plan"])).stderr);
}

#[test]
fn every_apply_mode_refuses_and_each_allow_value_accepts_one_risk() {
    let sandbox = offline(&policy_without(&["nodes", "ci"]));
    let before = sandbox.read("cluster.yaml");
    let both_flags = ["--allow", "remove:arn:aws:iam::111122223333:role/eks-nodes", "--allow", "removals:2"];
    // `--allow` values that were passed to `plan` are not saved in the file.
    sandbox.ok(&with_snapshot(&[&["plan", "--out", "saved.json"], &both_flags[..]].concat()));
    let digest = sandbox.read("saved.json");
    let digest = serde_json::from_str::<Value>(&digest).unwrap()["plans"][0]["digest"].as_str().unwrap().to_owned();
    let applies: [&[&str]; 4] = [
        &["apply", "--auto-approve", "--snapshot", "cluster.yaml"],
        &["apply", "--plan", "saved.json"],
        &["apply", "--approved", &digest, "--snapshot", "cluster.yaml"],
        &["apply", "--dry-run", "--snapshot", "cluster.yaml"],
    ];
    for apply in applies {
        for flags in [&[][..], &both_flags[..2], &both_flags[2..], &["--allow", "empty-aws-auth"]] {
            let output = refused(&sandbox, &[apply, flags].concat());
            assert!(output.stderr.contains("Refused. No changes were made."), "{}", output.stderr);
            assert_eq!(sandbox.read("cluster.yaml"), before);
        }
    }
    for apply in &applies[1..3] {
        sandbox.write("cluster.yaml", &before);
        let output = sandbox.run(&[apply, &both_flags[..]].concat());
        assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
        assert!(
            output.stderr.contains("warning: allowed (--allow removals:2): this plan removes 2 entries"),
            "{}",
            output.stderr
        );
        assert!(!sandbox.read("cluster.yaml").contains("eks-nodes"));
    }
}

#[test]
fn unused_allow_value_is_a_warning_and_unknown_value_an_error() {
    let sandbox = offline(POLICY);
    let output = sandbox.run(&with_snapshot(&["plan", "--allow", "last-admin"]));
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    assert!(
        output.stderr.contains("warning: unused --allow last-admin: this plan does not trigger that guard"),
        "{}",
        output.stderr
    );
    for value in ["force", "all", "remove", "remove:everyone", "removals:x"] {
        let output = sandbox.run(&with_snapshot(&["plan", "--allow", value]));
        assert_eq!((output.exit_code, output.stdout.as_str()), (1, ""), "{value}: {}", output.stderr);
        assert!(output.stderr.contains("help:"), "{}", output.stderr);
    }
}

#[test]
fn drift_is_not_guarded_and_plan_json_lists_all_guards() {
    let sandbox = offline(&policy_without(&["nodes", "ci"]));
    assert_eq!(sandbox.run(&with_snapshot(&["drift"])).exit_code, 2);
    let output =
        refused(&sandbox, &with_snapshot(&["plan", "--format", "json", "--out", "no.json", "--allow", "removals:2"]));
    assert!(!sandbox.path("no.json").exists());
    let plan: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_matches_plan_schema(&plan);
    let guards = &plan["plans"][0]["guards"];
    assert_eq!(guards["refused"][0]["guard"], "node");
    assert_eq!(guards["refused"][0]["allow"], "remove:arn:aws:iam::111122223333:role/eks-nodes");
    assert_eq!(guards["allowed"][0]["allow"], "removals:2");
    assert_eq!(guards["not-evaluated"][0]["guard"], "caller");
    assert_eq!(plan["plans"][0]["limits"]["max-removals"]["value"], "1");
    // The guards also check a plan that was saved by redirecting stdout.
    sandbox.write("saved.json", &output.stdout);
    refused(&sandbox, &["apply", "--plan", "saved.json"]);
    // A plan whose limits were removed no longer has its digest.
    let mut tampered = plan.clone();
    tampered["plans"][0]["limits"] = json!({ "protected": [], "max-removals": null });
    sandbox.write("bent.json", &tampered.to_string());
    let output = sandbox.run(&["apply", "--plan", "bent.json"]);
    assert_eq!(output.exit_code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("was changed after it was saved"), "{}", output.stderr);
}

/// Prepares a cluster with two nodes and a cluster-admin binding for the group `admins`. The kubeconfig is that of [`CI`].
fn prepare(cluster: &TestCluster, map_roles: &str) -> Sandbox {
    cluster.set_aws_auth(&json!({ "mapRoles": map_roles }));
    cluster.kubectl(&["create", "clusterrolebinding", "admins", "--clusterrole=cluster-admin", "--group=admins"]);
    for (name, labels) in
        [("ip-10-0-0-1", json!({})), ("fargate-ip-10-0-0-2", json!({ "eks.amazonaws.com/compute-type": "fargate" }))]
    {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
        cluster.admin("POST", "/api/v1/nodes", Some(&node));
    }
    Sandbox::with_kubeconfig(cluster.kubeconfig_for(CI))
}

#[test]
fn guard_refusal_writes_nothing_to_a_real_cluster() {
    let cluster = cluster();
    let sandbox = prepare(&cluster, MAP_ROLES);
    let before = cluster.object_metadata();
    let exclusive = |limit: &str| {
        POLICY.replace("[ownership]\n", "[ownership]\nrbac = \"exclusive\"\n").replace("max-removals = 1", limit)
    };
    let demoted = POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\"");
    let masters =
        POLICY.replace("groups = [\"admins\"]\n[principals.break", "groups = [\"system:masters\"]\n[principals.break");
    let cases = [
        (
            policy_without(&["ci"]),
            "you are `ci` through the aws-auth entry arn:aws:iam::111122223333:role/ci, mapRoles line 4",
        ),
        (demoted, "this plan removes permissions that you need to restore access"),
        (exclusive(""), "this plan removes permissions that you need to restore access"),
        (policy_without(&["nodes"]), "the cluster has nodes, such as ip-10-0-0-1"),
        (
            policy_without(&["break-glass"]),
            "protected principal arn:aws:iam::111122223333:role/break-glass can no longer authenticate \
             | = because: the policy protects this principal at rolecall.toml:7 = because: policy `prod` does not list this principal \
             = note: the principal authenticates through the aws-auth entry arn:aws:iam::111122223333:role/break-glass, \
             mapRoles line 7",
        ),
        (
            policy_without(&["break-glass", "nodes"]),
            "this plan removes 2 entries and objects, more than max-removals allows (1)",
        ),
        (
            policy_without(&["break-glass", "nodes", "ci"]),
            "applying this plan would leave no principal able to authenticate through aws-auth (currently: 3)",
        ),
        (policy_without(&["break-glass", "ci"]), "No IAM principal in aws-auth could restore access afterwards."),
        (masters, "this plan adds arn:aws:iam::111122223333:role/ci to system:masters"),
    ];
    for (policy, message) in cases {
        sandbox.write("rolecall.toml", &policy);
        for command in [&["plan"][..], &["apply", "--auto-approve"]] {
            let output = refused(&sandbox, command);
            let unwrapped = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(unwrapped.contains(message), "{message}\n{}", output.stderr);
        }
        assert_eq!(cluster.object_metadata(), before, "{message}");
    }
    // With the `--allow` value the plan is applied.
    sandbox.write("rolecall.toml", &policy_without(&["nodes"]));
    sandbox.ok(&["apply", "--auto-approve", "--allow", "remove:arn:aws:iam::111122223333:role/eks-nodes"]);
    assert!(!cluster.admin("GET", AWS_AUTH, None).1.to_string().contains("eks-nodes"));
}

/// Trap 25: the real authenticator decides which entry is in force.
#[test]
fn guard_judges_duplicate_entries_by_the_entry_in_force() {
    let cluster = cluster();
    let shadowed = "- rolearn: arn:aws:iam::111122223333:role/ci\n  username: looks\n  groups: [lookers]\n";
    let sandbox = prepare(&cluster, &format!("{shadowed}{MAP_ROLES}"));
    assert_eq!(cluster.map(CI).unwrap()["username"], "ci", "the last duplicate is in force");
    let before = cluster.object_metadata();
    let shared = |username: &str, group: &str| {
        format!(
            "[policy]\nname = \"prod\"\n[groups.admins]\n[groups.lookers]\n[principals.ci]\n\
             role = \"arn:aws:iam::111122223333:role/ci\"\nusername = \"{username}\"\ngroups = [\"{group}\"]\n"
        )
    };
    sandbox.write("rolecall.toml", &shared("looks", "lookers"));
    let output = refused(&sandbox, &["apply", "--auto-approve"]);
    assert!(
        output.stderr.contains("this plan removes permissions that you need to restore access"),
        "{}",
        output.stderr
    );
    assert_eq!(cluster.object_metadata(), before);
    // The shadowed duplicate may be removed.
    sandbox.write("rolecall.toml", &shared("ci", "admins"));
    sandbox.ok(&["apply", "--auto-approve"]);
    cluster.wait_until_synced();
    assert_eq!(cluster.map(CI).unwrap()["groups"][0], "admins");
}

#[test]
fn saved_plan_is_guarded_again_on_the_current_cluster() {
    let cluster = cluster();
    let sandbox = prepare(&cluster, MAP_ROLES);
    // The plan removes the group of the runner's entry. A binding of its username still makes the runner an admin.
    cluster.kubectl(&["create", "clusterrolebinding", "by-name", "--clusterrole=cluster-admin", "--user=ci"]);
    sandbox.write("rolecall.toml", &POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\""));
    sandbox.ok(&["plan", "--out", "saved.json"]);
    cluster.kubectl(&["delete", "clusterrolebinding", "by-name"]);
    let before = cluster.object_metadata();
    let output = refused(&sandbox, &["apply", "--plan", "saved.json"]);
    assert!(
        output.stderr.contains("this plan removes permissions that you need to restore access"),
        "{}",
        output.stderr
    );
    assert_eq!(cluster.object_metadata(), before);
}

#[test]
fn grant_to_everyone_needs_its_flag() {
    let policy = POLICY.to_owned()
        + "[cluster-roles.reader]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n\
           [bindings.open]\ncluster-role = \"reader\"\ngroups = [\"system:unauthenticated\"]\n";
    let sandbox = offline(&policy);
    let output = sandbox.run(&with_snapshot(&["plan"]));
    assert_eq!(output.exit_code, 3, "{}", output.stderr);
    let text = &output.stderr;
    assert!(text.contains("pass --allow everyone:system:unauthenticated"), "{text}");
    assert!(text.contains("warning[binding-to-anonymous]"), "{text}");
    let allow = "--allow=everyone:system:unauthenticated";
    assert_eq!(sandbox.run(&with_snapshot(&["apply", "--auto-approve"])).exit_code, 3);
    sandbox.ok(&with_snapshot(&["plan", allow]));
    sandbox.ok(&with_snapshot(&["apply", "--auto-approve", allow]));
    assert_eq!(sandbox.run(&with_snapshot(&["plan"])).exit_code, 0, "nothing more is granted");
}
