//! What no plan may do unless the command line says so: refused by plan and by every apply, with nothing written.

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

use common::TestCluster;
use common::reset::cluster;
use common::rolecall::{Desk, Ran};
use common::schema::fits_the_schema;
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

/// An exclusive policy that knows the nodes, the runner and the role for emergencies.
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

/// The policy without some of its principals.
fn without(names: &[&str]) -> String {
    let mut parts: Vec<&str> = POLICY.split("[principals.").collect();
    parts.retain(|part| !names.iter().any(|name| part.starts_with(&format!("{name}]"))));
    parts.join("[principals.")
}

fn offline(policy: &str) -> Desk {
    let desk = Desk::offline();
    let indented: String = MAP_ROLES.lines().map(|line| format!("    {line}\n")).collect();
    let cluster = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: aws-auth, namespace: kube-system, resourceVersion: \"7\" }}\n\
         data:\n  mapRoles: |\n{indented}"
    );
    desk.write("cluster.yaml", &cluster).write("rolecall.toml", policy);
    desk
}

fn snapshot<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--snapshot", "cluster.yaml"]].concat()
}

#[track_caller]
fn refused(desk: &Desk, args: &[&str]) -> Ran {
    let ran = desk.run(args);
    assert_eq!(ran.code, 3, "{args:?}\n{}{}", ran.out, ran.err);
    ran
}

#[test]
fn each_danger_is_told_with_who_loses_what_and_the_word_that_says_yes() {
    let desk = offline(&without(&["nodes", "ci", "break-glass"]));
    let ran = refused(&desk, &snapshot(&["plan", "rolecall.toml"]));
    insta::assert_snapshot!(ran.err);
    assert!(ran.out.contains("Digest sha256:"), "the plan is shown all the same\n{}", ran.out);
    let masters =
        POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\"\ngroups = [\"system:masters\"]");
    insta::assert_snapshot!(refused(&offline(&masters), &snapshot(&["plan"])).err);
}

#[test]
fn every_apply_refuses_and_each_yes_is_to_one_thing() {
    let desk = offline(&without(&["nodes", "ci"]));
    let before = desk.read("cluster.yaml");
    let yes = ["--allow", "remove:arn:aws:iam::111122223333:role/eks-nodes", "--allow", "removals:2"];
    // Saved with both words, and they are not in the file.
    desk.ok(&snapshot(&[&["plan", "--out", "saved.json"], &yes[..]].concat()));
    let digest = desk.read("saved.json");
    let digest = serde_json::from_str::<Value>(&digest).unwrap()["plans"][0]["digest"].as_str().unwrap().to_owned();
    let applies: [&[&str]; 4] = [
        &["apply", "--auto-approve", "--snapshot", "cluster.yaml"],
        &["apply", "--plan", "saved.json"],
        &["apply", "--approved", &digest, "--snapshot", "cluster.yaml"],
        &["apply", "--dry-run", "--snapshot", "cluster.yaml"],
    ];
    for apply in applies {
        for some in [&[][..], &yes[..2], &yes[2..], &["--allow", "empty-aws-auth"]] {
            let ran = refused(&desk, &[apply, some].concat());
            assert!(ran.err.contains("Refused: nothing was written."), "{}", ran.err);
            assert_eq!(desk.read("cluster.yaml"), before);
        }
    }
    for apply in &applies[1..3] {
        desk.write("cluster.yaml", &before);
        let ran = desk.run(&[apply, &yes[..]].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("warning: allowed (--allow removals:2): this plan removes 2 entries"), "{}", ran.err);
        assert!(!desk.read("cluster.yaml").contains("eks-nodes"));
    }
}

#[test]
fn a_yes_that_nothing_needs_is_told_and_one_that_means_nothing_is_an_error() {
    let desk = offline(POLICY);
    let ran = desk.run(&snapshot(&["plan", "--allow", "last-admin"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("warning: --allow last-admin is not needed"), "{}", ran.err);
    for word in ["force", "all", "remove", "remove:everybody", "removals:x"] {
        let ran = desk.run(&snapshot(&["plan", "--allow", word]));
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{word}: {}", ran.err);
        assert!(ran.err.contains("help:"), "{}", ran.err);
    }
}

#[test]
fn drift_does_not_refuse_and_json_has_all_of_it() {
    let desk = offline(&without(&["nodes", "ci"]));
    assert_eq!(desk.run(&snapshot(&["drift"])).code, 2);
    let ran = refused(&desk, &snapshot(&["plan", "--format", "json", "--out", "no.json", "--allow", "removals:2"]));
    assert!(!desk.path("no.json").exists());
    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    fits_the_schema(&plan);
    let guards = &plan["plans"][0]["guards"];
    assert_eq!(guards["refused"][0]["guard"], "node");
    assert_eq!(guards["refused"][0]["allow"], "remove:arn:aws:iam::111122223333:role/eks-nodes");
    assert_eq!(guards["allowed"][0]["allow"], "removals:2");
    assert_eq!(guards["unjudged"][0]["guard"], "caller");
    assert_eq!(plan["plans"][0]["guarded"]["max-removals"]["value"], "1");
    // Redirected and applied, it is judged again.
    desk.write("saved.json", &ran.out);
    refused(&desk, &["apply", "--plan", "saved.json"]);
    // Whoever takes the limits out of it has another plan.
    let mut bent = plan.clone();
    bent["plans"][0]["guarded"] = json!({ "protected": [], "max-removals": null });
    desk.write("bent.json", &bent.to_string());
    let ran = desk.run(&["apply", "--plan", "bent.json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("was changed after it was saved"), "{}", ran.err);
}

/// A cluster with two nodes whose admins are a group.
fn begin(cluster: &TestCluster, map_roles: &str) -> Desk {
    cluster.set_aws_auth(&json!({ "mapRoles": map_roles }));
    cluster.kubectl(&["create", "clusterrolebinding", "admins", "--clusterrole=cluster-admin", "--group=admins"]);
    for (name, labels) in
        [("ip-10-0-0-1", json!({})), ("fargate-ip-10-0-0-2", json!({ "eks.amazonaws.com/compute-type": "fargate" }))]
    {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
        cluster.admin("POST", "/api/v1/nodes", Some(&node));
    }
    Desk::with_kubeconfig(cluster.kubeconfig_for(CI))
}

#[test]
fn on_a_real_cluster_every_refusal_leaves_every_version_as_it_was() {
    let cluster = cluster();
    let desk = begin(&cluster, MAP_ROLES);
    let before = cluster.versions();
    let strict = |rest: &str| {
        POLICY.replace("[ownership]\n", "[ownership]\nrbac = \"exclusive\"\n").replace("max-removals = 1", rest)
    };
    let demoted = POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\"");
    let masters =
        POLICY.replace("groups = [\"admins\"]\n[principals.break", "groups = [\"system:masters\"]\n[principals.break");
    let cases = [
        (
            without(&["ci"]),
            "you are `ci` through the aws-auth entry arn:aws:iam::111122223333:role/ci, mapRoles line 4",
        ),
        (demoted, "this plan removes permissions that you need to restore access"),
        (strict(""), "this plan removes permissions that you need to restore access"),
        (without(&["nodes"]), "the cluster has nodes, such as ip-10-0-0-1"),
        (
            without(&["break-glass"]),
            "protected principal arn:aws:iam::111122223333:role/break-glass can no longer authenticate",
        ),
        (
            without(&["break-glass", "nodes"]),
            "this plan removes 2 entries and objects, more than max-removals allows (1)",
        ),
        (
            without(&["break-glass", "nodes", "ci"]),
            "after this plan, no principal can authenticate through aws-auth (3 can now)",
        ),
        (without(&["break-glass", "ci"]), "this plan removes the last aws-auth administrator"),
        (masters, "this plan adds arn:aws:iam::111122223333:role/ci to system:masters"),
    ];
    for (policy, words) in cases {
        desk.write("rolecall.toml", &policy);
        for command in [&["plan"][..], &["apply", "--auto-approve"]] {
            let ran = refused(&desk, command);
            let flat = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(words), "{words}\n{}", ran.err);
        }
        assert_eq!(cluster.versions(), before, "{words}");
    }
    // And with the word it is done.
    desk.write("rolecall.toml", &without(&["nodes"]));
    desk.ok(&["apply", "--auto-approve", "--allow", "remove:arn:aws:iam::111122223333:role/eks-nodes"]);
    assert!(!cluster.admin("GET", AWS_AUTH, None).1.to_string().contains("eks-nodes"));
}

/// Trap 25: the mapping in force, as the real authenticator has it.
#[test]
fn a_double_is_judged_by_which_entry_the_authenticator_obeys() {
    let cluster = cluster();
    let shadowed = "- rolearn: arn:aws:iam::111122223333:role/ci\n  username: looks\n  groups: [lookers]\n";
    let desk = begin(&cluster, &format!("{shadowed}{MAP_ROLES}"));
    assert_eq!(cluster.map(CI).unwrap()["username"], "ci", "the last of two is in force");
    let before = cluster.versions();
    let shared = |username: &str, group: &str| {
        format!(
            "[policy]\nname = \"prod\"\n[groups.admins]\n[groups.lookers]\n[principals.ci]\n\
             role = \"arn:aws:iam::111122223333:role/ci\"\nusername = \"{username}\"\ngroups = [\"{group}\"]\n"
        )
    };
    desk.write("rolecall.toml", &shared("looks", "lookers"));
    let ran = refused(&desk, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("permissions that you need to restore access"), "{}", ran.err);
    assert_eq!(cluster.versions(), before);
    // The one that nobody obeys may go.
    desk.write("rolecall.toml", &shared("ci", "admins"));
    desk.ok(&["apply", "--auto-approve"]);
    cluster.wait_until_read();
    assert_eq!(cluster.map(CI).unwrap()["groups"][0], "admins");
}

#[test]
fn what_others_change_while_a_plan_waits_is_judged_again() {
    let cluster = cluster();
    let desk = begin(&cluster, MAP_ROLES);
    // The runner gives up its entry's group while a binding of its username still makes it an admin.
    cluster.kubectl(&["create", "clusterrolebinding", "by-name", "--clusterrole=cluster-admin", "--user=ci"]);
    desk.write("rolecall.toml", &POLICY.replace("username = \"ci\"\ngroups = [\"admins\"]", "username = \"ci\""));
    desk.ok(&["plan", "--out", "saved.json"]);
    cluster.kubectl(&["delete", "clusterrolebinding", "by-name"]);
    let before = cluster.versions();
    let ran = refused(&desk, &["apply", "--plan", "saved.json"]);
    assert!(ran.err.contains("this plan removes permissions that you need to restore access"), "{}", ran.err);
    assert_eq!(cluster.versions(), before);
}
