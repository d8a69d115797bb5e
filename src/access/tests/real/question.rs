//! Random questions: who asks, by which door he comes, and what he asks for, in the words of a review and where a
//! client can send it as a request too.

use serde_json::{Value, json};

use super::case::NAMESPACES;
use crate::access::Request;
use crate::state::aws_auth::tests::corpus::TestRng;

/// How somebody comes to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TestCredential {
    /// With a token of the identity, through the authenticator.
    Arn(String),
    /// With a token that the API server gave.
    ServiceAccount(String),
    /// Without any.
    Anonymous,
    /// In the place of somebody, whom the admin impersonates.
    Impersonated { user: String, groups: Vec<String> },
}

/// A question and the request that puts it, where there is one.
#[derive(Debug, Clone)]
pub(super) struct RandomQuestion {
    pub(super) subject: String,
    pub(super) credential: TestCredential,
    pub(super) request: Request,
    pub(super) http_request: Option<HttpRequest>,
}

/// What a client sends; nothing of it changes the cluster, or gets as far as to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpRequest {
    pub(super) method: &'static str,
    pub(super) path: String,
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
/// So many of them have an entry in most states.
const MAPPED_CALLERS: usize = 5;

/// Anybody, as STS names him.
pub(super) fn random_arn(dice: &mut TestRng) -> String {
    if dice.one_in(4) {
        let user = dice.pick(&["bob", "Bob", "BOB", "eve", "team/eve", "Team/Eve"]);
        return format!("arn:aws:iam::111122223333:user/{user}");
    }
    let role = dice.pick(&["viewer", "Viewer", "VIEWER", "deploy", "nodes", "AWSReservedSSO_Admin_x_0123456789abcdef"]);
    let sessions =
        &["u1", "g2", "me@example.com", "a+b=c,d.e@f@g-h_i", "i-0123abcd", "i-0123456789abcdef0", "i-012345678"];
    format!("arn:aws:sts::111122223333:assumed-role/{role}/{}", dice.pick(sessions))
}

impl RandomQuestion {
    pub(super) fn random(dice: &mut TestRng) -> Self {
        let (who, door) = random_subject(dice);
        let (request, sent) = match dice.next_below(8) {
            0 => url(dice),
            1 => (review_only(dice), None),
            _ => object(dice),
        };
        Self { subject: who, credential: door, request, http_request: sent }
    }
}

fn random_subject(dice: &mut TestRng) -> (String, TestCredential) {
    let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    match dice.next_below(10) {
        0 => {
            let user = dice.pick(&["u1", "u2", "U1", "of-111122223333", "{{sessionname}}"]);
            (format!("user:{user}"), TestCredential::Impersonated { user: user.to_owned(), groups: Vec::new() })
        }
        1 => {
            let (group, groups): (&str, &[&str]) = match dice.next_below(7) {
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
                TestCredential::Impersonated { user: "somebody".to_owned(), groups: owned(groups) },
            )
        }
        2 | 3 => {
            let namespace = dice.pick(&NAMESPACES);
            let who = match dice.next_below(3) {
                0 => format!("user:system:serviceaccount:{namespace}:s"),
                _ => format!("sa:{namespace}/s"),
            };
            (who, TestCredential::ServiceAccount(namespace.to_owned()))
        }
        4 => ("user:system:anonymous".to_owned(), TestCredential::Anonymous),
        _ => {
            let arn = match dice.next_below(6) {
                0 => random_arn(dice),
                1 => dice.pick(&CALLERS[MAPPED_CALLERS..]).to_owned(),
                _ => dice.pick(&CALLERS[..MAPPED_CALLERS]).to_owned(),
            };
            (arn.clone(), TestCredential::Arn(arn))
        }
    }
}

fn url(dice: &mut TestRng) -> (Request, Option<HttpRequest>) {
    let method = dice.pick(&["GET", "GET", "POST", "PUT", "DELETE"]);
    let path = dice.pick(&[
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
    (Request::url(&method.to_lowercase(), path), Some(HttpRequest { method, path: path.to_owned() }))
}

/// Words that no client sends so, or that other parts of the API server ask about.
fn review_only(dice: &mut TestRng) -> Request {
    let verb = dice.pick(&["*", "GET", "get", "escalate", "bind", "impersonate", "use", "list", ""]);
    let resource = dice.pick(&[
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
    let request = Request::object(verb, dice.pick(&["", "apps", "*", "rbac.authorization.k8s.io"]), resource);
    request.with_name(dice.pick(&["", "a", "*"])).in_namespace(dice.pick(&["", "real-a", "real-b", "real-c", "*"]))
}

/// Group, its path, resource, whether it is in namespaces, and the verbs that a client can ask for.
const RESOURCES: &[(&str, &str, &str, bool, &[&str])] = &[
    ("", "/api/v1", "pods", true, ALL),
    ("", "/api/v1", "secrets", true, ALL),
    ("apps", "/apis/apps/v1", "deployments", true, ALL),
    ("", "/api/v1", "pods/exec", true, &["get", "create"]),
    ("", "/api/v1", "pods/log", true, &["get"]),
    ("", "/api/v1", "pods/eviction", true, &["create"]),
    ("", "/api/v1", "pods/status", true, &["get", "update", "patch"]),
    ("", "/api/v1", "pods/none", true, &["get", "create"]),
    ("", "/api/v1", "configmaps", true, ALL),
    ("", "/api/v1", "serviceaccounts/token", true, &["create"]),
    ("", "/api/v1", "namespaces", false, &["get", "list", "watch", "create", "update", "patch", "delete"]),
    ("", "/api/v1", "nodes", false, ALL),
    ("", "/api/v1", "nodes/proxy", false, &["get", "create"]),
    ("apps", "/apis/apps/v1", "deployments/scale", true, &["get", "update", "patch"]),
    ("apps", "/apis/apps/v1", "statefulsets/scale", true, &["get", "patch"]),
    ("rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1", "clusterroles", false, READ_VERBS),
    ("rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1", "roles", true, READ_VERBS),
    ("none.example", "/apis/none.example/v1", "things", true, ALL),
];
const ALL: &[&str] =
    &["get", "get", "list", "list", "create", "update", "watch", "patch", "delete", "deletecollection"];
/// So many of them are what the roles of a state mostly speak of.
const COMMON_RESOURCES: usize = 4;
const READ_VERBS: &[&str] = &["get", "list", "watch", "create", "delete"];

fn object(dice: &mut TestRng) -> (Request, Option<HttpRequest>) {
    let known = if dice.one_in(3) { RESOURCES.len() } else { COMMON_RESOURCES };
    let (group, root, resource, namespaced, verbs) = RESOURCES[dice.next_below(known)];
    let verb = dice.pick(verbs);
    let (plain, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let collective = matches!(verb, "list" | "watch" | "deletecollection");
    // One that a list asks for by its field selector.
    let name = match (verb, subresource) {
        ("deletecollection", _) | ("create", "") => "",
        _ if collective => dice.pick(&["", "", "a"]),
        _ if plain == "namespaces" => dice.pick(&NAMESPACES),
        _ => dice.pick(&["a", "a", "b", "A"]),
    };
    let over_all = matches!(verb, "list" | "watch") && dice.one_in(3);
    let namespace = if namespaced && !over_all { dice.pick(&NAMESPACES) } else { "" };
    let mut path = root.to_owned();
    if !namespace.is_empty() {
        path.push_str(&format!("/namespaces/{namespace}"));
    }
    path.push_str(&format!("/{plain}"));
    if !collective && !name.is_empty() {
        path.push_str(&format!("/{name}"));
    }
    if !subresource.is_empty() {
        path.push_str(&format!("/{subresource}"));
    }
    let mut query = Vec::new();
    if collective && !name.is_empty() {
        query.push(format!("fieldSelector=metadata.name%3D{name}"));
    }
    match verb {
        // Refused once it is allowed: nobody waits for what happens.
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
    let request = Request::object(verb, group, resource).with_name(name).in_namespace(namespace).into_client_request();
    (request, Some(HttpRequest { method, path }))
}

/// A question as a SubjectAccessReview has it.
pub(super) fn review_attributes(request: &Request) -> Value {
    match request {
        Request::Url { verb, path } => json!({ "nonResourceAttributes": { "verb": verb, "path": path } }),
        Request::Object(asked) => json!({ "resourceAttributes": {
            "verb": asked.verb, "group": asked.group, "resource": asked.resource, "subresource": asked.subresource,
            "name": asked.name, "namespace": asked.namespace,
        } }),
    }
}

/// Several of them about one state, some of them about the same identity.
pub(super) fn random_questions(dice: &mut TestRng, count: usize) -> Vec<RandomQuestion> {
    let mut all: Vec<RandomQuestion> = (0..count).map(|_| RandomQuestion::random(dice)).collect();
    let again = dice.pick(&CALLERS[..MAPPED_CALLERS]);
    for question in all.iter_mut().step_by(4) {
        (question.subject, question.credential) = (again.to_owned(), TestCredential::Arn(again.to_owned()));
    }
    all
}
