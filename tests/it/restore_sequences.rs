//! Random sequences of applies by two policies, changes of other clients, and restores of any earlier backup, on the test
//! cluster. The same on small clusters in memory is `plan::restore::tests::sequences`.

use serde_json::{Value, json};

use super::runner_permissions::Random;
use crate::common::TestCluster;
use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;

const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const MERGE: Option<&str> = Some("application/merge-patch+json");
const FOREIGN: &str = "# theirs\n- rolearn: arn:aws:iam::111122223333:role/foreign # why\n  username: foreign\n";

/// The changes of a plan, without the last writer of each object, which a restore is.
fn changes(sandbox: &Sandbox, policy: &str) -> Value {
    let mut changes = sandbox.plan(&[policy])["changes"].clone();
    for change in changes.as_array_mut().unwrap() {
        change.as_object_mut().unwrap().remove("last-writer");
    }
    changes
}

/// The number of sequences.
fn sequences() -> u64 {
    std::env::var("ROLECALL_CLUSTER_SEQUENCES").ok().and_then(|number| number.parse().ok()).unwrap_or(5)
}

fn random_policy(random: &mut Random, name: &str) -> String {
    let mut text = format!(
        "[policy]\nname = \"{name}\"\n[clusters.test]\ncontext = \"admin\"\ntoken-cache = \"0s\"\n[groups.g0]\n[groups.g1]\n"
    );
    for number in random.subset(&["0", "1", "2"]) {
        let groups: Vec<String> = random.subset(&["g0", "g1"]).iter().map(|group| format!("\"{group}\"")).collect();
        text += &format!(
            "[principals.{name}{number}]\nrole = \"arn:aws:iam::111122223333:role/{name}{number}\"\ngroups = [{}]\n",
            groups.join(", ")
        );
    }
    for number in random.subset(&["0", "1"]) {
        let resource = ["pods", "services", "nodes"][random.below(3)];
        text += &format!(
            "[cluster-roles.{name}{number}]\nrules = [{{ verbs = [\"get\"], resources = [\"{resource}\"] }}]\n\
             [bindings.{name}{number}]\ncluster-role = \"{}\"\ngroups = [\"g{number}\"]\n",
            if random.below(3) == 0 { "view".to_owned() } else { format!("{name}{number}") }
        );
    }
    text
}

const FLAGS: [&str; 8] = [
    "--auto-approve",
    "--allow-window",
    "--allow",
    "last-admin",
    "--allow",
    "empty-aws-auth",
    "--allow",
    "removals:50",
];

fn run_sequence(seed: u64, cluster: &TestCluster) {
    cluster.reset();
    cluster.set_aws_auth(&json!({ "mapRoles": FOREIGN, "other": "kept" }));
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let mut random = Random::new(seed + 1);
    let mut entries = vec![FOREIGN.to_owned()];
    let mut objects: Vec<(String, Value)> = Vec::new();
    let mut backups: Vec<(usize, String)> = Vec::new();
    let mut applied = [false, false];
    let mut log = Vec::new();
    for number in 0..8 {
        match random.below(5) {
            operation @ (0 | 1) => {
                let file = ["ta.toml", "tb.toml"][operation];
                let text = random_policy(&mut random, ["ta", "tb"][operation]);
                sandbox.write(file, &text);
                log.push(format!("apply {text}"));
                let output = sandbox.run(&[&["apply", file, "--backup", "kept"], &FLAGS[..]].concat());
                assert_eq!(output.exit_code, 0, "{seed}: {log:#?}\n{}", output.stderr);
                applied[operation] = true;
                if let Some(path) = output.stderr.split("rolecall restore ").nth(1) {
                    backups.push((operation, path.split(')').next().unwrap().to_owned()));
                }
            }
            2 => {
                log.push(format!("foreign change {number}"));
                let entry =
                    format!("# f{number}\n- {{rolearn: 'arn:aws:iam::111122223333:role/f{number}', username: f}}\n");
                let stored = cluster.admin("GET", AWS_AUTH, None).1["data"]["mapRoles"].as_str().unwrap().to_owned();
                let patch = json!({ "data": { "mapRoles": stored + &entry } });
                assert_eq!(cluster.request(cluster.admin_token(), "PATCH", AWS_AUTH, MERGE, Some(&patch)).0, 200);
                entries.push(entry);
                let role = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "metadata": { "name": format!("theirs{number}") },
                });
                let (_, stored) = cluster.admin("POST", ROLES, Some(&role));
                objects.push((format!("{ROLES}/theirs{number}"), stored));
            }
            _ if backups.is_empty() => continue,
            _ => {
                let (owner, file) = backups[random.below(backups.len())].clone();
                log.push(format!("restore {file}"));
                let other = 1 - owner;
                let plan = || applied[other].then(|| changes(&sandbox, ["ta.toml", "tb.toml"][other]));
                let before = plan();
                let output = sandbox.run(&[&["restore", &file], &FLAGS[..]].concat());
                assert_eq!(output.exit_code, 0, "{seed}: {log:#?}\n{}", output.stderr);
                assert_eq!(plan(), before, "{seed}: {log:#?}");
            }
        }
        let stored = cluster.admin("GET", AWS_AUTH, None).1;
        assert_eq!(stored["data"]["other"], "kept", "{seed}: {log:#?}");
        for entry in &entries {
            assert!(stored["data"]["mapRoles"].as_str().unwrap().contains(entry), "{seed}: {entry} {log:#?}");
        }
        for (path, object) in &objects {
            assert_eq!(&cluster.admin("GET", path, None).1, object, "{seed}: {log:#?}");
        }
    }
}

#[test]
fn sequences_of_applies_and_restores_keep_what_others_wrote() {
    let cluster = cluster();
    (0..sequences()).for_each(|seed| run_sequence(seed, &cluster));
}
