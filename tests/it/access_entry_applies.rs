//! Applies of access entries on the test cluster, beside other programs that write access entries.

use serde_json::{Value, json};

use crate::common::TestCluster;
use crate::common::entry_writers::{EntryWriter, OwnedEntry, Program};
use crate::common::sandbox::{RunOutput, Sandbox};
use crate::common::shared_cluster::{CLUSTER, cluster};

const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
const AWS_AUTH: &str = "\
- rolearn: arn:aws:iam::111122223333:role/deployer
  username: deployer
  groups: [system:masters]
- rolearn: arn:aws:iam::111122223333:role/old
  username: old
  groups: [applies-readers]
";
const POLICY: &str = r#"
[policy]
name = "applies"
[clusters.test]
eks = { name = "CLUSTER", region = "eu-west-1" }
account = "111122223333"
token-cache = "0s"

[principals.viewer]
role = "arn:aws:iam::111122223333:role/team/viewer"
username = "viewer"
access-policies = [{ policy = "AmazonEKSViewPolicy", namespaces = ["applies-*"] }, { policy = "AmazonEKSAdminViewPolicy", namespaces = ["kube-system"] }]
eks-tags = { team = "payments" }
[principals.old]
role = "old"
username = "old"
[groups.applies-readers]
members = ["old"]
"#;

fn run(cluster: &TestCluster, sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let mut command = sandbox.command(args);
    command.envs(cluster.aws_env(ADMIN)).env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap().into()
}

fn sandbox(cluster: &TestCluster, policy: &str) -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &policy.replace("CLUSTER", cluster.cluster_name()));
    sandbox
}

/// Sets up the cluster with access entries, and registers the roles.
fn prepare(cluster: &TestCluster) {
    let roles = ["deployer", "team/viewer", "old", "terraform", "eksctl", "foreign"];
    let roles = roles.map(|name| format!("arn:aws:iam::111122223333:role/{name}"));
    cluster.register_iam_principals(&roles.each_ref().map(String::as_str));
    cluster.set_authentication_mode("API_AND_CONFIG_MAP");
    cluster.set_aws_auth(&json!({ "mapRoles": AWS_AUTH }));
}

/// Returns the associations of an entry: the policies by name with their namespaces.
#[track_caller]
fn policies(cluster: &TestCluster, principal: &str) -> Vec<String> {
    let input = json!({ "clusterName": cluster.cluster_name(), "principalArn": principal });
    let output = cluster.eks_call("ListAssociatedAccessPolicies", &input).unwrap();
    let policies = output["associatedAccessPolicies"].as_array().unwrap().iter();
    let mut all: Vec<String> = policies
        .map(|policy| {
            let name = policy["policyArn"].as_str().unwrap().rsplit('/').next().unwrap();
            format!("{name} {}", policy["accessScope"]["namespaces"])
        })
        .collect();
    all.sort();
    all
}

fn describe(cluster: &TestCluster, principal: &str) -> Value {
    let input = json!({ "clusterName": cluster.cluster_name(), "principalArn": principal });
    cluster.eks_call("DescribeAccessEntry", &input).unwrap()["accessEntry"].clone()
}

const VIEWER: &str = "arn:aws:iam::111122223333:role/team/viewer";

#[test]
fn entries_are_applied_in_as_many_calls_as_needed_and_a_second_plan_is_empty() {
    let cluster = cluster();
    prepare(&cluster);
    let directory = sandbox(&cluster, POLICY);
    let apply = run(&cluster, &directory, &["apply", "--auto-approve"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let view = r#"AmazonEKSViewPolicy ["applies-*"]"#;
    assert_eq!(policies(&cluster, VIEWER), [r#"AmazonEKSAdminViewPolicy ["kube-system"]"#, view]);
    let entry = describe(&cluster, VIEWER);
    assert_eq!((&entry["username"], &entry["tags"]["team"]), (&json!("viewer"), &json!("payments")), "{entry}");
    let again = run(&cluster, &directory, &["plan", "--detailed-exitcode"]);
    assert_eq!(again.exit_code, 0, "{}\n{}", again.stdout, again.stderr);

    // One policy less, and another scope: each is one call.
    let changed = POLICY
        .replace(r#", { policy = "AmazonEKSAdminViewPolicy", namespaces = ["kube-system"] }"#, "")
        .replace("applies-*", "applies-a");
    let directory = sandbox(&cluster, &changed);
    cluster.forget_aws_calls();
    let apply = run(&cluster, &directory, &["apply", "--auto-approve"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    assert_eq!(policies(&cluster, VIEWER), [r#"AmazonEKSViewPolicy ["applies-a"]"#]);
    let calls = cluster.aws_call_names();
    let count = |name: &str| calls.iter().filter(|call| *call == name).count();
    assert_eq!((count("AssociateAccessPolicy"), count("DisassociateAccessPolicy")), (1, 1), "{calls:?}");
    assert_eq!((count("CreateAccessEntry"), count("DeleteAccessEntry")), (0, 0), "{calls:?}");

    // Without the principal, its entry disappears.
    let directory = sandbox(&cluster, changed.split("[principals.viewer]").next().unwrap());
    let apply = run(&cluster, &directory, &["apply", "--auto-approve", "--allow", &format!("remove:{VIEWER}")]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let input = json!({ "clusterName": cluster.cluster_name(), "principalArn": VIEWER });
    assert!(cluster.eks_call("DescribeAccessEntry", &input).is_err());
}

#[test]
fn other_writers_of_access_entries_lose_nothing() {
    let (_guard, cluster) = CLUSTER.lock();
    prepare(cluster);
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let owned = |name: &str| OwnedEntry::new(&arn(name), &["applies-readers"], &["AmazonEKSViewPolicy"]);
    cluster.set_access_entries(&json!([{
        "principal_arn": arn("foreign"),
        "username": "foreign",
        "groups": ["x"],
        "tags": { "owner": "hands", "app.kubernetes.io/managed-by": "nothing" },
        "policies": [{ "policy": "AmazonEKSEditPolicy", "namespaces": ["a-*", "b"] }],
    }]));
    let foreign = || (describe(cluster, &arn("foreign")), policies(cluster, &arn("foreign")));
    let before = foreign();
    let terraform = EntryWriter::start(cluster, Program::Terraform, &[owned("terraform")]);
    let eksctl = EntryWriter::start(cluster, Program::Eksctl, &[owned("eksctl")]);
    let variants = [POLICY.to_owned(), POLICY.replace("applies-*", "applies-b").replace("payments", "shop")];
    for round in 0..6 {
        let directory = sandbox(cluster, &variants[round % 2]);
        let apply = run(cluster, &directory, &["apply", "--auto-approve"]);
        assert_eq!(apply.exit_code, 0, "round {round}: {}\n{}", apply.stdout, apply.stderr);
        terraform.wait_for_round();
        eksctl.wait_for_round();
    }
    let rounds = (terraform.stop(), eksctl.stop());
    assert!(rounds.0 > 10 && rounds.1 > 10, "{rounds:?}");
    assert_eq!(foreign(), before);
    assert_eq!(policies(cluster, &arn("terraform")), [r#"AmazonEKSViewPolicy []"#]);
    let again = run(cluster, &sandbox(cluster, &variants[1]), &["plan", "--detailed-exitcode"]);
    assert_eq!(again.exit_code, 0, "{}\n{}", again.stdout, again.stderr);
}

#[test]
fn restore_takes_back_an_apply_and_keeps_what_others_wrote_since() {
    let cluster = cluster();
    prepare(&cluster);
    cluster.set_access_entries(&json!([{
        "principal_arn": VIEWER,
        "username": "before",
        "groups": ["a"],
        "tags": { "owner": "hands" },
        "policies": [{ "policy": "AmazonEKSEditPolicy", "namespaces": ["b"] }],
    }]));
    let directory =
        sandbox(&cluster, &POLICY.replace("[principals.old]", "[principals.new]").replace("\"old\"", "\"foreign\""));
    directory.write(
        "rolecall.toml",
        &directory.read("rolecall.toml").replace("members = [\"foreign\"]", "members = [\"new\"]"),
    );
    let apply = run(&cluster, &directory, &["apply", "--auto-approve", "--backup", "backups"]);
    assert_eq!(apply.exit_code, 0, "{}\n{}", apply.stdout, apply.stderr);
    let foreign = "arn:aws:iam::111122223333:role/foreign";
    assert_eq!(describe(&cluster, foreign)["kubernetesGroups"], json!(["applies-readers"]));
    // Another client adds a policy and a tag.
    let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy";
    let input = json!({ "clusterName": cluster.cluster_name(), "principalArn": VIEWER, "policyArn": policy,
        "accessScope": { "type": "namespace", "namespaces": ["c"] } });
    cluster.eks_call("AssociateAccessPolicy", &input).unwrap();
    let backup = std::fs::read_dir(directory.path("backups")).unwrap().next().unwrap().unwrap().path();
    let restore = run(&cluster, &directory, &["restore", backup.to_str().unwrap(), "--auto-approve"]);
    assert_eq!(restore.exit_code, 0, "{}\n{}", restore.stdout, restore.stderr);
    let entry = describe(&cluster, VIEWER);
    assert_eq!((&entry["username"], &entry["kubernetesGroups"]), (&json!("before"), &json!(["a"])), "{entry}");
    assert_eq!(entry["tags"], json!({ "owner": "hands" }));
    assert_eq!(policies(&cluster, VIEWER), [r#"AmazonEKSAdminPolicy ["c"]"#, r#"AmazonEKSEditPolicy ["b"]"#]);
    let input = json!({ "clusterName": cluster.cluster_name(), "principalArn": foreign });
    assert!(cluster.eks_call("DescribeAccessEntry", &input).is_err());
}
