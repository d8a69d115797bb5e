//! Random questions: a subject, a credential of it, and a request, as a review and, if a client can send it, as an HTTP
//! request.

use serde_json::{Value, json};

use super::case::{EMPTY_NAMESPACE, NAMESPACES};
use crate::access::Request;
use crate::api_resources::KnownResources;
use crate::state::aws_auth::tests::corpus::TestRng;

/// How a subject authenticates to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TestCredential {
    /// A token of the IAM identity, through the authenticator.
    Arn(String),
    /// A token of the service account `s` in this namespace.
    ServiceAccount(String),
    /// No credential.
    Anonymous,
    /// The admin impersonates the user and groups.
    Impersonated { user: String, groups: Vec<String> },
}

/// A question, and the HTTP request for it if a client can send one.
#[derive(Debug, Clone)]
pub(super) struct RandomQuestion {
    pub(super) subject: String,
    pub(super) credential: TestCredential,
    pub(super) request: Request,
    pub(super) http_request: Option<HttpRequest>,
}

/// A request that changes nothing in the cluster: it is a dry run, or invalid once it is authorized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpRequest {
    pub(super) method: &'static str,
    pub(super) path: String,
    /// The user that the request impersonates. The question is then whether the subject can impersonate it.
    pub(super) impersonate: Option<String>,
}

pub(super) const CALLERS: &[&str] = &[
    "arn:aws:sts::111122223333:assumed-role/viewer/me@example.com",
    "arn:aws:sts::111122223333:assumed-role/deploy/session",
    "arn:aws:sts::111122223333:assumed-role/deploy/u1",
    "arn:aws:iam::111122223333:user/bob",
    "arn:aws:iam::111122223333:user/team/eve",
    "arn:aws:sts::111122223333:assumed-role/nodes/i-0123456789abcdef0",
    "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/me@example.com",
    "arn:aws:iam::111122223333:root",
    "arn:aws:sts::111122223333:federated-user/fed",
    "arn:aws:iam::444455556666:user/mallory",
    "arn:aws:sts::012345678901:assumed-role/Other/me",
];
/// The first of [`CALLERS`] have an entry in most states.
const MAPPED_CALLERS: usize = 5;

/// Returns the ARN of a random caller, as STS reports it.
pub(super) fn random_arn(rng: &mut TestRng) -> String {
    if rng.one_in(4) {
        let user = rng.pick(&["bob", "Bob", "BOB", "eve", "team/eve", "Team/Eve"]);
        return format!("arn:aws:iam::111122223333:user/{user}");
    }
    let role = rng.pick(&["viewer", "Viewer", "VIEWER", "deploy", "nodes", "AWSReservedSSO_Admin_x_0123456789abcdef"]);
    let sessions =
        &["u1", "g2", "me@example.com", "a+b=c,d.e@f@g-h_i", "i-0123abcd", "i-0123456789abcdef0", "i-012345678"];
    format!("arn:aws:sts::111122223333:assumed-role/{role}/{}", rng.pick(sessions))
}

impl RandomQuestion {
    pub(super) fn random(rng: &mut TestRng) -> Self {
        let (subject, credential) = random_subject(rng);
        let (request, http_request) = match rng.next_below(9) {
            0 => url(rng),
            1 => (review_only(rng), None),
            // The credential of an impersonated user cannot impersonate another one.
            2 if !matches!(credential, TestCredential::Impersonated { .. }) => impersonation(rng),
            _ => object(rng),
        };
        Self { subject, credential, request, http_request }
    }
}

fn random_subject(rng: &mut TestRng) -> (String, TestCredential) {
    let to_owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    match rng.next_below(10) {
        0 => {
            let user = rng.pick(&["u1", "u2", "U1", "of-111122223333", "{{sessionname}}"]);
            (format!("user:{user}"), TestCredential::Impersonated { user: user.to_owned(), groups: Vec::new() })
        }
        1 => {
            let (group, groups): (&str, &[&str]) = match rng.next_below(7) {
                0 => ("system:masters", &["system:masters"]),
                1 => ("system:authenticated", &["system:authenticated"]),
                2 => ("system:unauthenticated", &["system:unauthenticated"]),
                3 => ("system:serviceaccounts:real-a", &["system:serviceaccounts:real-a", "system:serviceaccounts"]),
                4 => ("G1", &["G1"]),
                5 => ("g2", &["g2"]),
                _ => ("g1", &["g1"]),
            };
            (
                format!("group:{group}"),
                TestCredential::Impersonated { user: "test-user".to_owned(), groups: to_owned(groups) },
            )
        }
        2 | 3 => {
            let namespace = rng.pick(&NAMESPACES);
            let subject = match rng.next_below(3) {
                0 => format!("user:system:serviceaccount:{namespace}:s"),
                _ => format!("sa:{namespace}/s"),
            };
            (subject, TestCredential::ServiceAccount(namespace.to_owned()))
        }
        4 => ("user:system:anonymous".to_owned(), TestCredential::Anonymous),
        _ => {
            let arn = match rng.next_below(6) {
                0 => random_arn(rng),
                1 => rng.pick(&CALLERS[MAPPED_CALLERS..]).to_owned(),
                _ => rng.pick(&CALLERS[..MAPPED_CALLERS]).to_owned(),
            };
            (arn.clone(), TestCredential::Arn(arn))
        }
    }
}

fn url(rng: &mut TestRng) -> (Request, Option<HttpRequest>) {
    let method = rng.pick(&["GET", "GET", "POST", "PUT", "DELETE"]);
    let path = rng.pick(&[
        "/metrics/x",
        "/metrics/slis",
        "/a",
        "/ab",
        "/a/b",
        "/a*b",
        "/version",
        "/version/",
        "/healthz",
        "/healthz/ping",
        "/livez",
        "/",
        "/api",
        "/api/",
        "/apis",
        "/apis/x",
        "/api/v1",
        "/apis/apps/v1",
        "/z",
    ]);
    let http_request = HttpRequest { method, path: path.to_owned(), impersonate: None };
    (Request::url(&method.to_lowercase(), path), Some(http_request))
}

/// Returns the impersonation of a user or a service account.
fn impersonation(rng: &mut TestRng) -> (Request, Option<HttpRequest>) {
    let namespace = rng.pick(&NAMESPACES);
    let user = rng.pick(&["u1", "a", "s"]);
    let is_account = rng.one_in(2);
    let request = if is_account {
        Request::object("impersonate", "", "serviceaccounts").with_name("s").in_namespace(namespace)
    } else {
        // The namespace is that of the question. The API server asks without one.
        Request::object("impersonate", "", "users").with_name(user).in_namespace(namespace)
    };
    let name = if is_account { format!("system:serviceaccount:{namespace}:s") } else { user.to_owned() };
    let http_request = HttpRequest { method: "GET", path: "/rolecall-test".to_owned(), impersonate: Some(name) };
    (request.into_client_request(&KnownResources::default()), Some(http_request))
}

/// Returns a request that no client sends, or that other parts of the API server ask the authorizer about.
fn review_only(rng: &mut TestRng) -> Request {
    let verb = rng.pick(&["*", "GET", "get", "escalate", "bind", "impersonate", "use", "list", ""]);
    let resource = rng.pick(&[
        "*",
        "pods",
        "PODS",
        "pods/*",
        "pods/log",
        "*/scale",
        "things/scale",
        "things",
        "clusterroles",
        "roles",
        "users",
    ]);
    let request = Request::object(verb, rng.pick(&["", "apps", "*", "rbac.authorization.k8s.io"]), resource);
    request.with_name(rng.pick(&["", "a", "*"])).in_namespace(rng.pick(&["", "real-a", "real-b", EMPTY_NAMESPACE, "*"]))
}

/// API group, path, resource, whether it is namespaced, and the verbs that a client can use.
const RESOURCES: &[(&str, &str, &str, bool, &[&str])] = &[
    ("", "/api/v1", "pods", true, ALL_VERBS),
    ("", "/api/v1", "secrets", true, ALL_VERBS),
    ("apps", "/apis/apps/v1", "deployments", true, ALL_VERBS),
    ("", "/api/v1", "pods/exec", true, &["get", "create"]),
    ("", "/api/v1", "pods/log", true, &["get"]),
    ("", "/api/v1", "pods/eviction", true, &["create"]),
    ("", "/api/v1", "pods/status", true, &["get", "update", "patch"]),
    ("", "/api/v1", "pods/none", true, &["get", "create"]),
    ("", "/api/v1", "configmaps", true, ALL_VERBS),
    ("", "/api/v1", "serviceaccounts/token", true, &["create"]),
    ("", "/api/v1", "namespaces", false, &["get", "list", "watch", "create", "update", "patch", "delete"]),
    ("", "/api/v1", "nodes", false, ALL_VERBS),
    ("", "/api/v1", "nodes/proxy", false, &["get", "create"]),
    ("", "/api/v1", "persistentvolumes", false, ALL_VERBS),
    ("networking.k8s.io", "/apis/networking.k8s.io/v1", "servicecidrs", false, ALL_VERBS),
    ("apps", "/apis/apps/v1", "deployments/scale", true, &["get", "update", "patch"]),
    ("apps", "/apis/apps/v1", "statefulsets/scale", true, &["get", "patch"]),
    ("rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1", "clusterroles", false, READ_VERBS),
    ("rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1", "roles", true, READ_VERBS),
    ("none.example", "/apis/none.example/v1", "things", true, ALL_VERBS),
];
const ALL_VERBS: &[&str] =
    &["get", "get", "list", "list", "create", "update", "watch", "patch", "delete", "deletecollection"];
/// The first of [`RESOURCES`] are those that the rules of a random state usually have.
const COMMON_RESOURCES: usize = 4;
const READ_VERBS: &[&str] = &["get", "list", "watch", "create", "delete"];

fn object(rng: &mut TestRng) -> (Request, Option<HttpRequest>) {
    let count = if rng.one_in(3) { RESOURCES.len() } else { COMMON_RESOURCES };
    let (group, root, resource, namespaced, verbs) = RESOURCES[rng.next_below(count)];
    let verb = rng.pick(verbs);
    let (base, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let is_collection = matches!(verb, "list" | "watch" | "deletecollection");
    // A collection request has a name if its field selector selects one.
    let name = match (verb, subresource) {
        ("deletecollection", _) | ("create", "") => "",
        _ if is_collection => rng.pick(&["", "", "a"]),
        _ if base == "namespaces" => rng.pick(&NAMESPACES),
        _ => rng.pick(&["a", "a", "b", "A"]),
    };
    let all_namespaces = matches!(verb, "list" | "watch") && rng.one_in(3);
    let namespace = if namespaced && !all_namespaces { rng.pick(&NAMESPACES) } else { "" };
    let mut path = root.to_owned();
    if !namespace.is_empty() {
        path.push_str(&format!("/namespaces/{namespace}"));
    }
    path.push_str(&format!("/{base}"));
    if !is_collection && !name.is_empty() {
        path.push_str(&format!("/{name}"));
    }
    if !subresource.is_empty() {
        path.push_str(&format!("/{subresource}"));
    }
    let mut query = Vec::new();
    if is_collection && !name.is_empty() {
        query.push(format!("fieldSelector=metadata.name%3D{name}"));
    }
    match verb {
        // The invalid version ends the watch once it is authorized.
        "watch" => query.push("watch=true&resourceVersion=none&timeoutSeconds=1".to_owned()),
        "get" | "list" => {}
        _ => query.push("dryRun=All".to_owned()),
    }
    if !query.is_empty() {
        path.push_str(&format!("?{}", query.join("&")));
    }
    let method = match verb {
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        _ => "GET",
    };
    let request = Request::object(verb, group, resource)
        .with_name(name)
        .in_namespace(namespace)
        .into_client_request(&KnownResources::default());
    (request, Some(HttpRequest { method, path, impersonate: None }))
}

/// Returns the attributes of the request in the spec of a SubjectAccessReview.
pub(super) fn review_attributes(request: &Request) -> Value {
    match request {
        Request::Url { verb, path } => json!({ "nonResourceAttributes": { "verb": verb, "path": path } }),
        Request::Object(object) => json!({ "resourceAttributes": {
            "verb": object.verb, "group": object.group, "resource": object.resource, "subresource": object.subresource,
            "name": object.name, "namespace": object.namespace,
        } }),
    }
}

/// Returns several questions. Every fourth one is about the same identity.
pub(super) fn random_questions(rng: &mut TestRng, count: usize) -> Vec<RandomQuestion> {
    let mut questions: Vec<RandomQuestion> = (0..count).map(|_| RandomQuestion::random(rng)).collect();
    let caller = rng.pick(&CALLERS[..MAPPED_CALLERS]);
    for question in questions.iter_mut().step_by(4) {
        (question.subject, question.credential) = (caller.to_owned(), TestCredential::Arn(caller.to_owned()));
    }
    questions
}
