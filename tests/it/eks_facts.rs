//! What EKS says about the nodes of a cluster: roles that it uses for them are guarded like entries of nodes.

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::cluster;

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer
  groups: [system:masters]
- rolearn: arn:aws:iam::111122223333:role/workers
  username: workers
  groups: [my-nodes]
";
const WITHOUT_WORKERS: &str = "\
[policy]
name = \"test\"
[groups.\"system:masters\"]
[clusters.test]
eks = { name = \"CLUSTER\", region = \"eu-west-1\" }
[ownership]
aws-auth = \"exclusive\"
[principals.deployer]
role = \"arn:aws:iam::111122223333:role/deployer\"
username = \"deployer\"
groups = [\"system:masters\"]
";

fn plan(cluster: &TestCluster, policy: &str) -> RunOutput {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &policy.replace("CLUSTER", cluster.cluster_name()));
    let mut command = sandbox.command(&["plan"]);
    let output = command.envs(cluster.aws_env(ADMIN)).env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    RunOutput {
        exit_code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn node_group(role: &str) -> Value {
    json!({ "nodegroupName": "spot", "nodeRole": role })
}

#[test]
fn role_of_a_node_group_keeps_its_entry() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    cluster.set_eks_cluster(&json!({ "nodegroups": [node_group("arn:aws:iam::111122223333:role/eks/workers")] }));
    let refused = plan(&cluster, WITHOUT_WORKERS);
    assert_eq!(refused.exit_code, 3, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("because: the managed node group spot uses this role"), "{}", refused.stderr);

    // The rights to list them are optional.
    cluster.add_aws_faults(
        &json!([{ "call": "ListNodegroups", "code": "AccessDeniedException", "status": 403, "times": 0 }]),
    );
    let unknown = plan(&cluster, WITHOUT_WORKERS);
    assert_eq!(unknown.exit_code, 0, "{}{}", unknown.stdout, unknown.stderr);
    assert!(unknown.stderr.contains("you are not allowed to call eks:ListNodegroups"), "{}", unknown.stderr);

    // EKS is asked only if a plan takes something from an entry.
    cluster.forget_aws_calls();
    let added = format!(
        "{WITHOUT_WORKERS}[principals.workers]\nrole = \"arn:aws:iam::111122223333:role/workers\"\nusername = \"workers\"\n\
         groups = [\"my-nodes\"]\n[principals.other]\nrole = \"arn:aws:iam::111122223333:role/other\"\nusername = \"other\"\n\
         groups = [\"my-nodes\"]\n[groups.my-nodes]\n"
    );
    assert_eq!(plan(&cluster, &added).exit_code, 0);
    let calls = cluster.aws_call_names();
    assert!(!calls.iter().any(|call| call.contains("Nodegroup")), "{calls:?}");
}
