//! Connects to EKS clusters by their names, with nothing but AWS credentials in the environment: DescribeCluster, tokens
//! that the authenticator accepts, and errors with their causes.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::sandbox::{RunOutput, Sandbox, example_path};
use crate::common::shared_cluster::cluster;

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const STRANGER: &str = "arn:aws:sts::111122223333:assumed-role/stranger/me";
const ROLES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/eks-nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer:{{SessionName}}
  groups: [system:masters]
";

/// A directory without a kubeconfig, and the environment of a runner that has AWS credentials.
struct Runner {
    sandbox: Sandbox,
    env: Vec<(String, String)>,
}

impl Runner {
    #[track_caller]
    fn new(cluster: &TestCluster, arn: &str) -> Self {
        Self::with_env(cluster.aws_env(arn))
    }

    fn with_env(mut env: Vec<(String, String)>) -> Self {
        // Without it, a run without credentials would ask the metadata service of the instance.
        env.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
        Self { sandbox: Sandbox::offline(), env }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, args: &[&str]) -> RunOutput {
        let output = self.command(args).output().unwrap();
        RunOutput {
            exit_code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.exit_code, 0, "rolecall {args:?}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a command that must fail, and returns its stderr.
    #[track_caller]
    fn error(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.exit_code, 1, "rolecall {args:?}\n{}{}", output.stdout, output.stderr);
        output.stderr
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The connection to the default cluster of the double.
fn eks(cluster: &TestCluster) -> String {
    format!("eks = {{ name = {:?}, region = \"eu-west-1\" }}", cluster.cluster_name())
}

/// The policy of the `cluster-viewer` example for this connection.
fn viewer_policy(connection: &str) -> String {
    let text = std::fs::read_to_string(example_path("cluster-viewer").join("access.toml")).unwrap();
    text.replace("snapshot = \"cluster.yaml\"", connection)
}

#[test]
fn main_job_needs_only_aws_credentials() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    let runner = Runner::new(&cluster, ADMIN);
    runner.sandbox.write("rolecall.toml", &viewer_policy(&eks(&cluster)));
    cluster.forget_aws_calls();
    let plan = runner.ok(&["plan", "--out", "plan.json"]);
    assert!(plan.contains(&format!("example (eks eu-west-1/{})", cluster.cluster_name())), "{plan}");
    // One call more than by a kubeconfig.
    assert_eq!(cluster.aws_call_names(), ["DescribeCluster"]);
    let saved: Value = serde_json::from_str(&runner.sandbox.read("plan.json")).unwrap();
    assert_eq!(
        saved["plans"][0]["connection"],
        json!({ "eks": { "name": cluster.cluster_name(), "region": "eu-west-1", "account": "111122223333" } })
    );
    runner.ok(&["apply", "--plan", "plan.json"]);
    assert!(runner.ok(&["plan"]).contains("No changes."));
    runner.ok(&["drift"]);
    cluster.wait_until_synced();
    let viewer = cluster.token_for("arn:aws:sts::111122223333:assumed-role/viewer/me");
    assert_eq!(cluster.request(&viewer, "GET", "/api/v1/pods", None, None).0, 200);
    assert!(runner.ok(&["can", "alice", "get", "pods"]).contains("yes"));
}
