//! What EKS says about a cluster: roles that it uses for nodes are guarded like entries of nodes, snapshots keep it for
//! offline plans, and clusters that read access entries have a warning.

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

fn run(cluster: &TestCluster, sandbox: &Sandbox, args: &[&str]) -> RunOutput {
    let mut command = sandbox.command(args);
    let output = command.envs(cluster.aws_env(ADMIN)).env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    output.into()
}

fn plan(cluster: &TestCluster, policy: &str) -> RunOutput {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &policy.replace("CLUSTER", cluster.cluster_name()));
    run(cluster, &sandbox, &["plan"])
}

/// A directory with a snapshot of the cluster, and what taking it printed on stderr.
#[track_caller]
fn snapshot(cluster: &TestCluster) -> (Sandbox, String) {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", &WITHOUT_WORKERS.replace("CLUSTER", cluster.cluster_name()));
    let taken = run(cluster, &sandbox, &["snapshot", "--out", "cluster.yaml"]);
    assert_eq!(taken.exit_code, 0, "{}", taken.stderr);
    (sandbox, taken.stderr)
}

/// Returns the document about EKS of a snapshot.
#[track_caller]
fn eks_document(snapshot: &str) -> &str {
    let mut documents = snapshot.split("---\n").filter(|document| document.contains("kind: EksCluster\n"));
    match (documents.next(), documents.next()) {
        (Some(document), None) => document,
        _ => panic!("not one document about EKS:\n{snapshot}"),
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

#[test]
fn offline_plan_knows_the_node_roles_of_the_snapshot() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    cluster.set_eks_cluster(&json!({ "nodegroups": [node_group("arn:aws:iam::111122223333:role/eks/workers")] }));
    let (sandbox, stderr) = snapshot(&cluster);
    assert!(!stderr.contains("does not have"), "{stderr}");
    let text = sandbox.read("cluster.yaml");
    let document = eks_document(&text);
    let expected = format!(
        "apiVersion: rolecall/v1\nkind: EksCluster\narn: arn:aws:eks:eu-west-1:111122223333:cluster/{}\n\
         version: \"1.36\"\nauthentication-mode: CONFIG_MAP\nnode-roles:\n\
         - role: arn:aws:iam::111122223333:role/eks/workers\n  node-group: spot\n",
        cluster.cluster_name()
    );
    assert_eq!(document, expected);
    let shown = sandbox.ok(&["show", "cluster.yaml"]);
    for line in ["  authentication mode CONFIG_MAP\n", "  1 role that EKS uses for nodes\n", "  1 ConfigMap\n"] {
        assert!(shown.contains(line) && !shown.contains("EksCluster"), "{shown}");
    }
    assert!(sandbox.ok(&["whoami", "--snapshot", "cluster.yaml"]).contains("  mode          CONFIG_MAP\n"));

    // No credentials from here on.
    let refused = sandbox.run(&["plan", "--snapshot", "cluster.yaml"]);
    assert_eq!(refused.exit_code, 3, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("because: the managed node group spot uses this role"), "{}", refused.stderr);
    let role = "remove:arn:aws:iam::111122223333:role/workers";
    let args = ["apply", "--snapshot", "cluster.yaml", "--auto-approve", "--allow", role];
    let applied = sandbox.run(&args);
    assert_eq!(applied.exit_code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(eks_document(&sandbox.read("cluster.yaml")), document, "the document keeps its bytes");

    // A list has the document as well.
    let json = sandbox.ok(&["snapshot", "--snapshot", "cluster.yaml", "-o", "json"]);
    sandbox.write("cluster.json", &json);
    let again = sandbox.ok(&["snapshot", "--snapshot", "cluster.json"]);
    // JSON documents have their keys in alphabetical order.
    let words = |text: &str| {
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(words(eks_document(&again)), words(document));
}

#[test]
fn snapshot_says_which_facts_it_does_not_have() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    cluster.add_aws_faults(
        &json!([{ "call": "ListNodegroups", "code": "AccessDeniedException", "status": 403, "times": 0 }]),
    );
    let (sandbox, stderr) = snapshot(&cluster);
    let denied = "you are not allowed to call eks:ListNodegroups";
    assert!(stderr.contains(&format!("the snapshot does not have the node-roles of EKS: {denied}")), "{stderr}");
    let text = sandbox.read("cluster.yaml");
    let document = eks_document(&text);
    assert!(document.contains(&format!("unknown:\n- field: node-roles\n  reason: \"{denied}")), "{document}");
    let planned = sandbox.run(&["plan", "--snapshot", "cluster.yaml"]);
    assert_eq!(planned.exit_code, 0, "{}{}", planned.stdout, planned.stderr);
    assert!(planned.stderr.contains("not those of the roles that EKS uses"), "{}", planned.stderr);
    assert!(planned.stderr.contains(&format!("the snapshot does not have them: {denied}")), "{}", planned.stderr);

    // A kubeconfig does not say in which account the cluster is.
    cluster.add_aws_faults(&json!([]));
    let name = cluster.cluster_name();
    let kubeconfig = |server: &str| {
        json!({ "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{ "name": "a", "cluster": { "server": server, "certificate-authority": cluster.ca_file() } }],
            "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
            "users": [{ "name": "a", "user": { "exec": { "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "aws", "args": ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", name] } } }] })
    };
    let sandbox = Sandbox::with_kubeconfig_text(&kubeconfig(cluster.server()).to_string());
    let taken = run(&cluster, &sandbox, &["snapshot"]);
    assert!(
        eks_document(&taken.stdout).contains("authentication-mode: CONFIG_MAP\n"),
        "{}{}",
        taken.stdout,
        taken.stderr
    );
    let other = cluster.server().replace("127.0.0.1", "localhost");
    sandbox.write("kubeconfig", &kubeconfig(&other).to_string());
    let taken = run(&cluster, &sandbox, &["snapshot"]);
    let document = eks_document(&taken.stdout);
    for field in ["arn", "version", "authentication-mode", "node-roles"] {
        assert!(document.contains(&format!("- field: {field}\n")), "{document}");
    }
    assert!(document.contains("its endpoint is not the server of the kubeconfig"), "{document}");
    let planned =
        sandbox.write("cluster.yaml", &taken.stdout).run(&["who-can", "get", "pods", "--snapshot", "cluster.yaml"]);
    assert!(
        planned.stderr.contains("warning: the authentication mode of the cluster is not known"),
        "{}",
        planned.stderr
    );
}

#[test]
fn cluster_whose_access_entries_cannot_be_read_has_a_warning() {
    let cluster = cluster();
    cluster.set_aws_auth(&json!({ "mapRoles": ROLES }));
    cluster.set_access_entries(&json!([{ "principal_arn": "arn:aws:iam::111122223333:role/deployer",
        "username": "deployer", "groups": [], "policies": [{ "policy": "AmazonEKSClusterAdminPolicy" }] }]));
    for mode in ["API_AND_CONFIG_MAP", "API"] {
        cluster.set_authentication_mode(mode);
        cluster.add_aws_faults(&json!([{ "call": "ListAccessEntries", "code": "AccessDeniedException", "status": 403,
            "message": "no" }]));
        let (sandbox, _) = snapshot(&cluster);
        // A principal of the policy would need to know whether it has an entry.
        let policy = WITHOUT_WORKERS.split("[principals.deployer]").next().unwrap().replace("exclusive", "shared");
        sandbox.write("rolecall.toml", &policy.replace("CLUSTER", cluster.cluster_name()));
        let warning = "warning: the access entries of the cluster are not known\n";
        for args in [
            &["plan"][..],
            &["drift"],
            &["can", "user:deployer", "get", "pods"],
            &["who-can", "get", "pods"],
            &["access"],
            &["explain", "user:deployer"],
        ] {
            let live = run(&cluster, &sandbox, args);
            let offline = sandbox.run(&[args, &["--snapshot", "cluster.yaml"]].concat());
            for output in [live, offline] {
                let count = output.stderr.matches(warning).count();
                assert_eq!(count, 1, "{mode} {args:?}\n{}{}", output.stdout, output.stderr);
            }
        }
        let report = sandbox.ok(&["report", "--snapshot", "cluster.yaml", "-o", "json"]);
        assert!(report.contains(warning.trim().trim_start_matches("warning: ")), "{report}");
    }
}

#[test]
fn snapshot_with_an_invalid_document_about_eks_is_refused_with_its_line() {
    let sandbox = Sandbox::offline();
    for (document, error) in [
        ("apiVersion: rolecall/v2\nkind: EksCluster\n", "EksCluster of rolecall/v2 is of a newer rolecall"),
        (
            "apiVersion: rolecall/v1\nkind: EksCluster\narn: prod\nversion: \"1.36\"\n",
            "EksCluster: arn: expected the ARN of an EKS cluster",
        ),
    ] {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kube-system\n";
        sandbox.write("cluster.yaml", &format!("{namespace}---\n{document}"));
        let output = sandbox.run(&["access", "--snapshot", "cluster.yaml"]);
        assert_eq!(output.exit_code, 1, "{}", output.stdout);
        assert!(output.stderr.contains(error) && output.stderr.contains("cluster.yaml:6"), "{}", output.stderr);
    }
}
