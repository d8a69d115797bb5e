//! Real requests for cases that a SubjectAccessReview cannot show: which requests the API server makes of a role, and with
//! which namespace and name.

use std::time::Instant;

use serde_json::{Value, json};

use super::PROPAGATION_TIMEOUT;
use super::case::RandomCase;
use super::server::RealServer;
use crate::access::tests::fixture::parse_request;
use crate::access::{AccessView, Aggregation, EscalationPath, SubjectQuery, Verdict, escalation_paths};
use crate::state::State;

const RBAC: &str = "rbac.authorization.k8s.io";
const NAMESPACE: &str = "real-a";

/// A request of the service account `s` in [`NAMESPACE`].
struct Sample<'a> {
    method: &'static str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Option<Value>,
}

impl<'a> Sample<'a> {
    fn new(method: &'static str, path: &'a str) -> Self {
        Self { method, path, headers: &[], body: None }
    }

    fn with_headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    fn with_body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Returns the status code.
    fn send(&self, server: &RealServer) -> u16 {
        let token = format!("Bearer {}", server.account_token(NAMESPACE));
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(self.headers);
        if self.body.is_some() && !self.headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        server.cluster.request_with_headers(&headers, self.method, self.path, self.body.as_ref()).0
    }
}

const APPLY: &[(&str, &str)] = &[("content-type", "application/apply-patch+yaml")];
const MERGE_PATCH: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];

fn rule(group: &str, verbs: &[&str], resources: &[&str], names: &[&str]) -> Value {
    let mut rule = json!({ "apiGroups": [group], "verbs": verbs, "resources": resources });
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// Writes a ClusterRole with the rules and its binding to the service account: in the namespace, or cluster-wide.
fn grant(server: &RealServer, rules: &[Value], namespace: Option<&str>) -> State {
    let api_version = format!("{RBAC}/v1");
    let mut metadata = json!({ "name": "b0" });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let role =
        json!({ "apiVersion": api_version, "kind": "ClusterRole", "metadata": { "name": "c0" }, "rules": rules });
    let binding = json!({
        "apiVersion": api_version, "kind": kind, "metadata": metadata,
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "c0" },
        "subjects": [{ "kind": "ServiceAccount", "name": "s", "namespace": NAMESPACE }],
    });
    server.write_case(&RandomCase::from_value(json!({ "objects": [role, binding] }))).unwrap();
    server.wait_for_controller().unwrap()
}

/// Sends the request until its status code is the expected one.
#[track_caller]
fn expect_status(server: &RealServer, sample: &Sample<'_>, expected: &[u16]) {
    let deadline = Instant::now() + PROPAGATION_TIMEOUT;
    loop {
        let status = sample.send(server);
        if expected.contains(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "{} {}: {status}, expected {expected:?}", sample.method, sample.path);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn verdict(state: &State, request: &str) -> Verdict {
    let access = AccessView::new(state, Aggregation::AsStored);
    access.answer(&SubjectQuery::parse("sa:real-a/s").unwrap(), &parse_request(request), &[]).verdict
}

fn path_names(state: &State) -> Vec<&'static str> {
    let access = AccessView::new(state, Aggregation::AsStored);
    let paths = escalation_paths(&access, &SubjectQuery::parse("sa:real-a/s").unwrap());
    paths.iter().map(EscalationPath::name).collect()
}

#[test]
fn api_server_makes_the_requests_that_the_engine_assumes() {
    let server = RealServer::start();
    bind_and_escalate(&server);
    impersonation(&server);
    named_create(&server);
    cluster_scoped_resources(&server);
    immutable_fields(&server);
}

fn bind_and_escalate(server: &RealServer) {
    let path = format!("/apis/{RBAC}/v1/namespaces/{NAMESPACE}/rolebindings?dryRun=All");
    let binding = json!({
        "metadata": { "name": "new" },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "User", "apiGroup": RBAC, "name": "lead" }],
    });
    let create = Sample::new("POST", &path).with_body(binding);
    let question = "bind clusterroles.rbac.authorization.k8s.io -n real-a named cluster-admin";
    let write = rule(RBAC, &["create"], &["rolebindings"], &[]);
    let state = grant(server, &[rule(RBAC, &["bind"], &["clusterroles"], &[]), write.clone()], Some(NAMESPACE));
    expect_status(server, &create, &[201]);
    assert_eq!((verdict(&state, question), path_names(&state)), (Verdict::Yes, vec!["bind"]));
    let state = grant(server, &[write], Some(NAMESPACE));
    expect_status(server, &create, &[403]);
    assert_eq!(verdict(&state, question), Verdict::No);
    // A ClusterRole is in no namespace, and neither is the check of `escalate` on it.
    let path = format!("/apis/{RBAC}/v1/clusterroles/c0?dryRun=All");
    let patch = Sample::new("PATCH", &path).with_headers(MERGE_PATCH).with_body(json!({ "rules": [] }));
    let state = grant(server, &[rule(RBAC, &["escalate", "patch"], &["clusterroles"], &[])], Some(NAMESPACE));
    expect_status(server, &patch, &[403]);
    let question = "escalate clusterroles.rbac.authorization.k8s.io -n real-a named c0";
    assert_eq!((verdict(&state, question), path_names(&state)), (Verdict::No, Vec::new()));
    // A POST is checked without a name.
    let path = format!("/apis/{RBAC}/v1/clusterroles?dryRun=All");
    let role = json!({ "metadata": { "name": "c1" }, "rules": [rule("", &["get"], &["secrets"], &[])] });
    let create = Sample::new("POST", &path).with_body(role);
    let write = rule(RBAC, &["create"], &["clusterroles"], &[]);
    let state = grant(server, &[rule(RBAC, &["escalate"], &["clusterroles"], &["c1"]), write], None);
    expect_status(server, &create, &[403]);
    assert_eq!(path_names(&state), [""; 0]);
}

fn impersonation(server: &RealServer) {
    let get = |headers| Sample::new("GET", "/rolecall-test").with_headers(headers);
    let (user, user_with_group) =
        ([("impersonate-user", "u1")], [("impersonate-user", "u1"), ("impersonate-group", "g")]);
    let account = [("impersonate-user", "system:serviceaccount:real-b:s")];
    let account_with_group = [account[0], ("impersonate-group", "system:masters")];
    // Status 403 is that of the impersonation, or of the path, which the impersonated user cannot get either. With
    // `system:masters` the path does not exist.
    let state = grant(server, &[rule("", &["impersonate"], &["users", "groups"], &[])], Some(NAMESPACE));
    expect_status(server, &get(&user), &[403]);
    assert_eq!(
        (verdict(&state, "impersonate users -n real-a named u1"), path_names(&state)),
        (Verdict::No, Vec::new())
    );
    let state = grant(server, &[rule("", &["impersonate"], &["groups"], &[])], None);
    expect_status(server, &get(&user_with_group), &[403]);
    expect_status(server, &get(&account_with_group), &[403]);
    assert_eq!(path_names(&state), [""; 0]);
    let state = grant(server, &[rule("", &["impersonate"], &["groups", "serviceaccounts"], &[])], None);
    expect_status(server, &get(&account_with_group), &[404]);
    assert_eq!(path_names(&state), ["impersonate-groups", "impersonate-service-accounts"]);
    let state = grant(server, &[rule("", &["impersonate"], &["serviceaccounts"], &[])], Some("real-b"));
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let spec = json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } } });
    expect_status(server, &Sample::new("POST", reviews).with_headers(&account).with_body(spec), &[201]);
    assert_eq!(verdict(&state, "impersonate serviceaccounts -n real-b named s"), Verdict::Yes);
    assert_eq!(path_names(&state), ["impersonate-service-accounts"]);
}

fn named_create(server: &RealServer) {
    let collection = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let (post_path, apply_path) =
        (format!("{collection}?dryRun=All"), format!("{collection}/x?dryRun=All&fieldManager=t&force=true"));
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" } });
    let post = Sample::new("POST", &post_path).with_body(map.clone());
    let apply = Sample::new("PATCH", &apply_path).with_headers(APPLY).with_body(map);
    let question = "create configmaps -n real-a named x";
    let state = grant(server, &[rule("", &["create", "patch"], &["configmaps"], &["x"])], Some(NAMESPACE));
    expect_status(server, &apply, &[201]);
    expect_status(server, &post, &[403]);
    assert_eq!(verdict(&state, question), Verdict::YesByApply);
    let state = grant(server, &[rule("", &["create"], &["configmaps"], &["x"])], Some(NAMESPACE));
    expect_status(server, &apply, &[403]);
    expect_status(server, &post, &[403]);
    assert_eq!(verdict(&state, question), Verdict::NoWithoutPatch);
    let state = grant(server, &[rule("", &["create"], &["configmaps"], &[])], Some(NAMESPACE));
    expect_status(server, &post, &[201]);
    assert_eq!(verdict(&state, question), Verdict::Yes);
    // The empty name in a rule is a request without a name.
    let path = "/api/v1/namespaces/kube-system/configmaps/aws-auth?dryRun=All";
    let patch = Sample::new("PATCH", path).with_headers(MERGE_PATCH).with_body(json!({ "data": {} }));
    let state = grant(server, &[rule("", &["patch", "update"], &["configmaps"], &[""])], None);
    expect_status(server, &patch, &[403]);
    assert_eq!(path_names(&state), [""; 0]);
}

fn cluster_scoped_resources(server: &RealServer) {
    let all = json!({ "apiGroups": ["*"], "verbs": ["*"], "resources": ["*"] });
    let state = grant(server, &[all], Some(NAMESPACE));
    let own = format!("/api/v1/namespaces/{NAMESPACE}");
    expect_status(server, &Sample::new("GET", &own), &[200]);
    assert_eq!(verdict(&state, "get namespaces named real-a"), Verdict::Yes);
    // The deprecated path of a watch has the name of the namespace too. The invalid version ends the watch.
    let watch = format!("/api/v1/watch/namespaces/{NAMESPACE}?resourceVersion=none&timeoutSeconds=1");
    assert_ne!(Sample::new("GET", &watch).send(server), 403);
    for (path, question) in [
        ("/api/v1/namespaces", "list namespaces"),
        ("/api/v1/namespaces/real-b", "get namespaces named real-b"),
        ("/api/v1/nodes/n", "get nodes named n -n real-a"),
        ("/api/v1/nodes/n/proxy/", "get nodes/proxy named n -n real-a"),
        ("/api/v1/pods", "list pods"),
        ("/apis/networking.k8s.io/v1/servicecidrs/x", "get servicecidrs.networking.k8s.io named x -n real-a"),
        ("/apis/resource.k8s.io/v1/deviceclasses/x", "get deviceclasses.resource.k8s.io named x -n real-a"),
        ("/metrics", "get /metrics"),
    ] {
        expect_status(server, &Sample::new("GET", path), &[403]);
        assert_eq!(verdict(&state, question), Verdict::No, "{question}");
    }
}

/// The API server refuses the changes that an escalation path would need.
fn immutable_fields(server: &RealServer) {
    let create = |path: &str, object: Value| {
        let (status, answer) = server.cluster.admin("POST", path, Some(&object));
        assert_eq!(status, 201, "{answer}");
    };
    let patch = |path: &str, patch: Value| {
        let headers = [
            ("authorization", format!("Bearer {}", server.cluster.admin_token())),
            ("content-type", "application/merge-patch+json".to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.cluster.request_with_headers(&headers, "PATCH", path, Some(&patch)).0
    };
    let jobs = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs");
    let container = json!({ "name": "c", "image": "i" });
    create(
        &jobs,
        json!({
            "metadata": { "name": "j" },
            "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } },
        }),
    );
    let template = json!({ "spec": { "template": { "spec": { "serviceAccountName": "s" } } } });
    assert_eq!(patch(&format!("{jobs}/j"), template), 422);
    create(
        "/api/v1/persistentvolumes",
        json!({
            "metadata": { "name": "v" },
            "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/a" } },
        }),
    );
    assert_eq!(patch("/api/v1/persistentvolumes/v", json!({ "spec": { "hostPath": { "path": "/b" } } })), 422);
}
