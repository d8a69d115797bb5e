//! The double of AWS is tested in Go, by clients of the SDK of AWS for Go, so that it is not only checked by the SDK that
//! rolecall uses.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::entry_writers::{EntryWriter, OwnedEntry, Program};
use crate::common::http_client::HttpClient;
use crate::common::shared_cluster::CLUSTER;
use crate::common::{Options, TestCluster, binary, go};

#[test]
fn double_answers_sdk_for_go_as_aws_does() {
    let mut test = Command::new(go::find(&binary::cache_dir().join("go")));
    test.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster"));
    test.args(["test", "-trimpath", "-mod=readonly", "./awsdouble/"]);
    test.envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")]);
    let output = test.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[test]
fn double_refuses_unsigned_requests_and_is_reset_with_cluster() {
    let (_guard, cluster) = CLUSTER.lock();
    let path = format!("/clusters/{}", cluster.cluster_name());
    let (status, answer) = HttpClient::new(cluster.aws(), None).send(None, "GET", &path, None, None);
    assert_eq!((status, answer["message"].as_str()), (403, Some("Missing Authentication Token")));
    let role = "arn:aws:iam::111122223333:role/team/dev";
    let first = cluster.set_iam_principals(&json!([{"arn": role}]));
    let second = cluster.set_iam_principals(&json!([{"arn": role, "recreated": true}]));
    assert_ne!(first, second);
    cluster.reset();
    assert_eq!(cluster.set_iam_principals(&json!([{"arn": role}])), first);
    assert!(cluster.aws_calls().is_empty());
}

const DEV: &str = "arn:aws:sts::111122223333:assumed-role/dev/me@example.com";
const DEV_ROLE: &str = "arn:aws:iam::111122223333:role/team/dev";

fn backend(cluster: &TestCluster, arn: &str) -> String {
    cluster.map(arn).map_or_else(|error| error, |user| user["entry"]["backend"].as_str().unwrap_or("none").to_owned())
}

/// The status of a request with a new token of the identity.
fn status(cluster: &TestCluster, arn: &str, method: &str, path: &str, body: Option<&Value>) -> u16 {
    cluster.request(&cluster.token_for(arn), method, path, None, body).0
}

#[test]
fn mode_decides_which_store_authenticates() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_aws_auth(&json!({"mapRoles": (
        "- rolearn: arn:aws:iam::111122223333:role/dev\n  username: from-aws-auth\n  groups: [a]\n- rolearn: \
         arn:aws:iam::111122223333:role/other\n  username: other\n"
    )}));
    let other = "arn:aws:sts::111122223333:assumed-role/other/x";
    cluster.set_access_entries(&json!([
        {"principal_arn": DEV_ROLE, "username": "team:{{SessionName}}", "groups": ["b"]},
    ]));
    let not_mapped = "Identity is not mapped";
    for (mode, dev_backend, other_backend) in [
        ("CONFIG_MAP", "EKSConfigMap", "EKSConfigMap"),
        ("API_AND_CONFIG_MAP", "AccessEntries", "EKSConfigMap"),
        ("API", "AccessEntries", not_mapped),
    ] {
        cluster.set_authentication_mode(mode);
        let backends = (backend(cluster, DEV), backend(cluster, other));
        assert!(backends.0.contains(dev_backend), "{mode}: {backends:?}");
        assert!(backends.1.to_lowercase().contains(&other_backend.to_lowercase()), "{mode}: {backends:?}");
    }
    let user = cluster.map(DEV).unwrap();
    assert_eq!(user["username"], "team:me-example.com");
    assert_eq!(user["groups"], json!(["b"]));
    // The entry in force has no groups of the dead one, and the role that is created again has no entry.
    assert_eq!(status(cluster, DEV, "GET", "/api", None), 200);
    cluster.set_iam_principals(&json!([{"arn": DEV_ROLE, "recreated": true}]));
    assert_eq!(status(cluster, DEV, "GET", "/api", None), 401);
    cluster.set_authentication_mode("API_AND_CONFIG_MAP");
    assert_eq!(backend(cluster, DEV), "EKSConfigMap");
}

#[test]
fn access_policies_authorize_in_their_scope() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_authentication_mode("API");
    cluster.create_namespace("team-a", &[]);
    cluster.create_namespace("other", &[]);
    let entry = |policy: &str, namespaces: Value| json!([{"principal_arn": DEV_ROLE, "policies": [{"policy": policy, "namespaces": namespaces}]}]);
    let pods = |namespace: &str| format!("/api/v1/namespaces/{namespace}/pods");
    let get = |path: &str| status(cluster, DEV, "GET", path, None);

    cluster.set_access_entries(&entry("AmazonEKSViewPolicy", json!(["team-*"])));
    assert_eq!((get(&pods("team-a")), get(&pods("other")), get("/api/v1/pods")), (200, 403, 403));
    assert_eq!((get("/api/v1/namespaces/team-a/secrets"), get("/metrics")), (403, 403));

    cluster.set_access_entries(&entry("AmazonEKSClusterAdminPolicy", Value::Null));
    assert_eq!((get("/api/v1/pods"), get("/metrics"), get("/api/v1/namespaces/other/secrets")), (200, 200, 200));
    // The rules of this policy are not published: it allows nothing.
    cluster.set_access_entries(&entry("AmazonEKSAutoNodePolicy", Value::Null));
    assert_eq!(get("/api/v1/nodes"), 403);

    // A SubjectAccessReview has the policies of a user only with the extra fields of its identity.
    cluster.set_access_entries(&entry("AmazonEKSViewPolicy", Value::Null));
    let user = cluster.map(DEV).unwrap();
    let review = |extra: &Value| {
        let attributes = json!({"verb": "list", "resource": "pods", "namespace": "other"});
        let spec = json!({"user": user["username"], "groups": user["groups"], "extra": extra,
            "resourceAttributes": attributes});
        let (_, review) = cluster.admin(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            Some(&json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})),
        );
        review["status"].clone()
    };
    assert_eq!(review(&json!({}))["allowed"], false);
    let answer = review(&user["extra"]);
    assert!(
        answer["reason"].as_str().unwrap().starts_with("EKS Access Policy: allowed by ClusterRoleBinding"),
        "{answer}"
    );

    // Impersonation has no extra fields, and so no policies.
    let bearer = format!("Bearer {}", cluster.admin_token());
    let headers = [("authorization", bearer.as_str()), ("impersonate-user", user["username"].as_str().unwrap())];
    assert_eq!(cluster.request_with_headers(&headers, "GET", &pods("other"), None).0, 403);
}

#[test]
fn access_policy_does_not_count_for_escalation_check() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_authentication_mode("API");
    cluster.create_namespace("team-a", &[]);
    let policy =
        |name: &str| cluster.set_access_entries(&json!([{"principal_arn": DEV_ROLE, "policies": [{"policy": name}]}]));
    let binding = |name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "x"}],
        })
    };
    let create = |name: &str| {
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings";
        status(cluster, DEV, "POST", path, Some(&binding(name)))
    };
    policy("AmazonEKSAdminPolicy");
    assert_eq!(create("a"), 403);
    policy("AmazonEKSClusterAdminPolicy");
    assert_eq!(create("b"), 201);
}

#[test]
fn creator_is_admin_that_no_group_shows() {
    let (_guard, cluster) = CLUSTER.lock();
    assert_eq!(status(cluster, DEV, "GET", "/api/v1/nodes", None), 401);
    cluster.set_eks_cluster(&json!({"creator": "arn:aws:iam::111122223333:role/dev"}));
    assert_eq!(status(cluster, DEV, "GET", "/api/v1/nodes", None), 200);
    assert_eq!(cluster.map(DEV).unwrap()["groups"], json!([]));
    cluster.set_authentication_mode("API_AND_CONFIG_MAP");
    assert_eq!(status(cluster, DEV, "GET", "/api/v1/nodes", None), 401);
}

#[test]
fn node_authorizer_is_asked_first() {
    let cluster = TestCluster::start_with(Options {
        node_authorizer: true,
        aggregation: false,
        cluster_name: "second",
        ..Options::default()
    });
    cluster.set_authentication_mode("API");
    cluster
        .set_access_entries(&json!([{"principal_arn": "arn:aws:iam::111122223333:role/nodes", "type": "EC2_LINUX"}]));
    let node = "arn:aws:sts::111122223333:assumed-role/nodes/i-0123456789abcdef0";
    let user = cluster.map(node).unwrap();
    assert_eq!(user["username"], "system:node:i-0123456789abcdef0.eu-west-1.compute.internal");
    assert_eq!(cluster.cluster_name(), "second");
    assert_eq!(status(&cluster, node, "GET", "/api/v1/services", None), 200);
    assert_eq!(status(&cluster, node, "GET", "/api/v1/namespaces/kube-system/secrets", None), 403);
}

#[test]
fn watch_sees_a_short_gap() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_authentication_mode("API");
    let entry =
        |policies: Value| cluster.set_access_entries(&json!([{"principal_arn": DEV_ROLE, "policies": policies}]));
    let view = json!([{"policy": "AmazonEKSViewPolicy"}]);
    let requests = [
        json!({"resourceAttributes": {"verb": "list", "resource": "pods"}}),
        json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}),
    ];
    entry(view.clone());
    assert_eq!(cluster.answers(&[DEV, "arn:aws:sts::111122223333:assumed-role/none/x"], &requests), ["yn", "--"]);
    let watch = cluster.watch(&[DEV], &requests);
    let histories = watch.stop_without_gaps();
    assert_eq!(histories[0].changes[0].1, "yn");

    let watch = cluster.watch(&[DEV, "arn:aws:sts::111122223333:assumed-role/none/x"], &requests);
    entry(json!([]));
    watch.round();
    cluster.set_access_entries(&json!([{"principal_arn": DEV_ROLE, "deleted": true}]));
    watch.round();
    entry(view);
    let histories = watch.stop();
    let answers: Vec<&str> = histories[0].changes.iter().map(|(_, answers)| answers.as_str()).collect();
    assert_eq!(answers, ["yn", "nn", "--", "yn"]);
    assert_eq!(histories[1].changes.len(), 1, "{histories:?}");
    let requests = requests.map(|request| request.to_string());
    assert_eq!(crate::common::watch::gaps(&histories[0], &requests).len(), 2);
}

#[test]
fn other_programs_keep_their_entries() {
    let (_guard, cluster) = CLUSTER.lock();
    cluster.set_authentication_mode("API_AND_CONFIG_MAP");
    let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let (first, second) = (arn("terraform"), arn("eksctl"));
    cluster.register_iam_principals(&[&first, &second]);
    let terraform =
        EntryWriter::start(cluster, Program::Terraform, &[OwnedEntry::new(&first, &["a"], &["AmazonEKSViewPolicy"])]);
    let eksctl = EntryWriter::start(cluster, Program::Eksctl, &[OwnedEntry::new(&second, &["b"], &[])]);
    let name = cluster.cluster_name();
    let change = json!({"clusterName": name, "principalArn": first, "kubernetesGroups": ["foreign"]});
    cluster.eks_call("UpdateAccessEntry", &change).unwrap();
    terraform.wait_for_round();
    assert!(terraform.stop() > 0);
    assert!(eksctl.stop() > 0);
}
