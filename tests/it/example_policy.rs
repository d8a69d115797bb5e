//! The policy that `rolecall schema --example` prints is a working first policy.

use crate::common::sandbox::{Sandbox, example_path};

#[test]
fn example_policy_plans_and_applies_to_a_snapshot() {
    let sandbox = Sandbox::offline();
    let cluster = std::fs::read_to_string(example_path("recipes").join("cluster.yaml")).unwrap();
    sandbox.write("cluster.yaml", &cluster);
    sandbox.write("rolecall.toml", &sandbox.ok(&["schema", "--example"]));
    let plan = sandbox.ok(&["plan", "--snapshot", "cluster.yaml"]);
    assert!(plan.contains("Plan: 6 to add, 0 to change, 0 to replace, 0 to remove."), "{plan}");
    sandbox.ok(&["apply", "--snapshot", "cluster.yaml", "--auto-approve"]);
    let plan = sandbox.ok(&["plan", "--snapshot", "cluster.yaml"]);
    assert!(plan.contains("No changes."), "{plan}");
    assert_eq!(sandbox.run(&["can", "oncall", "get", "pods", "-A", "--snapshot", "cluster.yaml"]).exit_code, 0);
}
