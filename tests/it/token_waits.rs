//! Tests plans that wait for cached tokens: a principal moves to another group while its old group is bound to another
//! role.

use crate::common::sandbox::Sandbox;
use serde_json::json;

/// Returns a policy in which two principals are in these groups.
fn policy(token_cache: &str, groups: [&str; 2]) -> String {
    let principal = |name: &str, group: &str| {
        format!("[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\ngroups = [\"{group}\"]\n")
    };
    format!(
        "[policy]\nname = \"prod\"\n[clusters.prod]\nsnapshot = \"cluster.yaml\"\n{token_cache}[groups.readers]\n\
         [groups.writers]\n[groups.admins]\n{}{}[cluster-roles.secrets]\n\
         rules = [{{ verbs = [\"get\"], resources = [\"secrets\"] }}]\n[bindings.secrets]\ncluster-role = \"secrets\"\n\
         groups = [\"{}\"]\n",
        principal("alice", groups[0]),
        principal("bob", groups[1]),
        // The group that alice leaves gets access to secrets.
        if groups[0] == "readers" { "admins" } else { "readers" },
    )
}

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, uid: 5d1c0b52 }
";

/// Returns a sandbox in which alice is in the group of readers.
fn sandbox(token_cache: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("cluster.yaml", CLUSTER).write("rolecall.toml", &policy(token_cache, ["readers", "readers"]));
    sandbox.ok(&["apply", "--auto-approve"]);
    sandbox.write("rolecall.toml", &policy(token_cache, ["writers", "readers"]));
    sandbox
}

#[test]
fn plan_shows_the_wait_and_apply_on_a_snapshot_skips_it() {
    let sandbox = sandbox("");
    insta::assert_snapshot!("token_wait_plan", sandbox.ok(&["plan"]));
    let plan = sandbox.plan(&[]);
    let waits = json!([{
        "stage": 1, "before-step": 1, "seconds": 130, "subjects": ["arn:aws:iam::111122223333:role/alice"],
    }]);
    assert_eq!((&plan["waits"], &plan["token-cache"]), (&waits, &json!(130)));
    assert_eq!(plan["steps"].as_array().map(Vec::len), Some(2));
    let output = sandbox.run(&["apply", "--auto-approve"]);
    assert_eq!(output.exit_code, 0, "{}{}", output.stdout, output.stderr);
    let skipped = "wait 2m10s for cached tokens: skipped, a snapshot has no tokens";
    assert!(output.stderr.contains(skipped), "{}", output.stderr);
    let plan = sandbox.ok(&["plan"]);
    assert!(plan.contains("No changes. The cluster matches the policy."), "{plan}");
}

#[test]
fn length_of_a_wait_is_set_per_cluster_and_belongs_to_the_digest() {
    let mut digests = Vec::new();
    for (token_cache, seconds) in
        [("", Some(130)), ("token-cache = \"45s\"\n", Some(45)), ("token-cache = \"0s\"\n", None)]
    {
        let plan = sandbox(token_cache).plan(&[]);
        let waits = plan["waits"].as_array().unwrap();
        assert_eq!(waits.first().and_then(|wait| wait["seconds"].as_u64()), seconds, "{waits:#?}");
        digests.push(plan["digest"].clone());
    }
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2], "{digests:#?}");
}

#[test]
fn token_cache_that_is_no_duration_is_an_error() {
    for wrong in ["2", "-1m", "2h", "1.5s", "soon"] {
        let sandbox = Sandbox::offline();
        let policy = policy(&format!("token-cache = \"{wrong}\"\n"), ["readers", "readers"]);
        sandbox.write("cluster.yaml", CLUSTER).write("rolecall.toml", &policy);
        let output = sandbox.run(&["validate"]);
        assert_eq!(output.exit_code, 1, "{wrong}");
        assert!(output.stderr.contains("a duration in minutes and seconds of at most 1h"), "{}", output.stderr);
    }
}
