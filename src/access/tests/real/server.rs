//! A real API server with a real authenticator: writes a state and answers questions about it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::{EMPTY_NAMESPACE, NAMESPACES, RandomCase};
use super::question::{HttpRequest, RandomQuestion, TestCredential, review_attributes};
use crate::access::aggregation::{RoleOverlay, aggregate_rules};
use crate::access::{Aggregation, Request};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::rbac::Rule;
use crate::state::validate::parse_object_key;
use crate::test_cluster::TestCluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const OWN_SELECTOR: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const BOOTSTRAP_SELECTOR: &str = "labelSelector=kubernetes.io%2Fbootstrapping%3Drbac-defaults";
const CONTROLLER_TIMEOUT: Duration = Duration::from_mins(1);

/// What the API server knows about the sender of a request.
#[derive(Debug, Clone)]
pub(super) struct ServerIdentity {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    /// The extra fields that the authenticator adds. EKS finds the access policies of a principal by them.
    pub(super) extra: Value,
}

impl ServerIdentity {
    pub(super) fn named(user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { user: user.to_owned(), groups, extra: json!({}) }
    }

    /// Adds the group that the API server adds.
    fn authenticated(mut self) -> Self {
        let authentication_groups = ["system:authenticated", "system:unauthenticated"];
        let has_group = self.groups.iter().any(|group| authentication_groups.contains(&group.as_str()));
        if self.user != "system:anonymous" && !has_group {
            self.groups.push(authentication_groups[0].to_owned());
        }
        self
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    Allowed,
    Forbidden,
    Unauthenticated,
}

pub(super) struct RealServer {
    pub(super) cluster: TestCluster,
    /// The roles and bindings that Kubernetes creates.
    bootstrap_state: State,
    /// The token of the service account `s` by namespace.
    accounts: BTreeMap<String, String>,
    /// The tokens of IAM identities for the current state. A new state needs new ones, because the API server caches
    /// the result of authentication by token.
    tokens: RefCell<BTreeMap<String, String>>,
    /// The state that was written last.
    case: RefCell<RandomCase>,
}

impl RealServer {
    pub(super) fn start() -> Self {
        let cluster = TestCluster::start();
        cluster.create_namespace(EMPTY_NAMESPACE, &[]);
        let mut accounts = BTreeMap::new();
        for namespace in NAMESPACES {
            cluster.create_namespace(namespace, &[]);
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
            let (status, answer) = cluster.admin("POST", &path, Some(&json!({ "metadata": { "name": "s" } })));
            assert_eq!(status, 201, "{answer}");
            let (status, answer) = cluster.admin("POST", &format!("{path}/s/token"), Some(&json!({ "spec": {} })));
            assert_eq!(status, 201, "{answer}");
            accounts.insert(namespace.to_owned(), answer["status"]["token"].as_str().unwrap().to_owned());
        }
        let case = RefCell::new(RandomCase::from_value(json!({})));
        let mut server =
            Self { cluster, bootstrap_state: State::default(), accounts, tokens: RefCell::default(), case };
        let deadline = Instant::now() + CONTROLLER_TIMEOUT;
        while server.cluster.admin("GET", &format!("{RBAC}/clusterroles/view"), None).1["rules"].is_null() {
            assert!(Instant::now() < deadline, "the role `view` is still empty");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut bootstrap_state = State::default();
        server.list(&mut bootstrap_state, BOOTSTRAP_SELECTOR);
        server.bootstrap_state = bootstrap_state;
        server
    }

    /// Replaces the state of the server by the case and the objects that Kubernetes creates.
    ///
    /// # Errors
    /// If the API server refuses an object.
    pub(super) fn write_case(&self, case: &RandomCase) -> Result<(), String> {
        self.tokens.borrow_mut().clear();
        let cluster = &self.cluster;
        let mut collections = vec![format!("{RBAC}/clusterrolebindings"), format!("{RBAC}/clusterroles")];
        for namespace in NAMESPACES {
            collections.extend(["rolebindings", "roles"].map(|kind| format!("{RBAC}/namespaces/{namespace}/{kind}")));
        }
        try_for_each_parallel(&collections, |path| {
            let (status, answer) = cluster.admin("DELETE", &format!("{path}?{OWN_SELECTOR}"), None);
            if status == 200 { Ok(()) } else { Err(format!("{path}: {answer}")) }
        })?;
        try_for_each_parallel(case.objects(), |object| {
            let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
            let path = match object["metadata"]["namespace"].as_str() {
                Some(namespace) => format!("{RBAC}/namespaces/{namespace}/{kind}s"),
                None => format!("{RBAC}/{kind}s"),
            };
            let (mut status, mut answer) = cluster.admin("POST", &path, Some(object));
            // The aggregation controller can recreate a deleted role with an apply that was already running.
            for _ in 0..5 {
                if status == 409 {
                    cluster.admin("DELETE", &format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()), None);
                    (status, answer) = cluster.admin("POST", &path, Some(object));
                }
            }
            if status == 201 { Ok(()) } else { Err(format!("{path}: {answer}")) }
        })?;
        cluster.set_aws_auth(&case.data());
        cluster.reset_aws();
        cluster.set_access_entries(&json!(case.access_entries()));
        cluster.set_authentication_mode(case.auth_mode().as_str());
        *self.case.borrow_mut() = case.clone();
        Ok(())
    }

    /// Returns the state of the API server once all aggregated roles have the rules that the engine computes for them.
    ///
    /// # Errors
    /// The aggregated roles that still have other rules after the timeout.
    pub(super) fn wait_for_controller(&self) -> Result<State, String> {
        let deadline = Instant::now() + CONTROLLER_TIMEOUT;
        loop {
            let state = self.read_state();
            let differing: Vec<String> = aggregated_roles(&state)
                .filter(|(key, stored)| computed_rules(&state, key) != *stored)
                .map(|(key, _)| key.to_string())
                .collect();
            if differing.is_empty() {
                return Ok(state);
            }
            if Instant::now() > deadline {
                return Err(format!("the controller computed other rules for {differing:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads the state. Of the objects that Kubernetes creates, only the aggregated ClusterRoles change during a test,
    /// so the others are not read again.
    fn read_state(&self) -> State {
        let mut state = self.bootstrap_state.clone();
        self.list(&mut state, OWN_SELECTOR);
        for (key, _) in aggregated_roles(&self.bootstrap_state) {
            let (status, mut role) = self.cluster.admin("GET", &format!("{RBAC}/clusterroles/{}", key.name()), None);
            assert_eq!(status, 200, "{role}");
            put_object(&mut state, key.kind().as_str(), &mut role);
        }
        let (status, map) = self.cluster.admin("GET", AWS_AUTH, None);
        assert_eq!(status, 200, "{map}");
        state.aws_auth = Some(AwsAuth::from_json(&map).unwrap());
        self.case.borrow().add_eks_state(&mut state).unwrap();
        state
    }

    fn list(&self, state: &mut State, selector: &str) {
        for kind in ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"] {
            let path = format!("{RBAC}/{}s?{selector}", kind.to_lowercase());
            let (status, mut list) = self.cluster.admin("GET", &path, None);
            assert_eq!(status, 200, "{list}");
            for object in list["items"].as_array_mut().unwrap() {
                put_object(state, kind, object);
            }
        }
    }

    /// Returns the identity of the credential. `None` if it cannot authenticate.
    pub(super) fn authenticate(&self, credential: &TestCredential) -> Option<ServerIdentity> {
        let identity = match credential {
            TestCredential::Arn(arn) => {
                let answer = self.cluster.map(arn).ok()?;
                let groups = answer["groups"].as_array().unwrap().iter();
                let groups = groups.map(|group| group.as_str().unwrap().to_owned()).collect();
                let user = answer["username"].as_str().unwrap().to_owned();
                ServerIdentity { user, groups, extra: answer["extra"].clone() }
            }
            TestCredential::ServiceAccount(namespace) => ServerIdentity::named(
                &format!("system:serviceaccount:{namespace}:s"),
                &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")],
            ),
            TestCredential::Anonymous => ServerIdentity::named("system:anonymous", &["system:unauthenticated"]),
            TestCredential::Impersonated { user, groups } => {
                ServerIdentity { user: user.clone(), groups: groups.clone(), extra: json!({}) }
            }
        };
        Some(identity.authenticated())
    }

    /// Returns the token of the service account `s` in the namespace.
    pub(super) fn account_token(&self, namespace: &str) -> &str {
        &self.accounts[namespace]
    }

    /// Returns whether a SubjectAccessReview allows the request.
    pub(super) fn review(&self, identity: &ServerIdentity, request: &Request) -> bool {
        self.review_status(identity, request)["allowed"] == true
    }

    /// Returns the status of the SubjectAccessReview, which has a reason.
    pub(super) fn review_status(&self, identity: &ServerIdentity, request: &Request) -> Value {
        let mut spec = review_attributes(request);
        spec["user"] = json!(identity.user);
        spec["groups"] = json!(identity.groups);
        spec["extra"] = identity.extra.clone();
        let (status, mut answer) = self.cluster.admin("POST", REVIEWS, Some(&json!({ "spec": spec })));
        assert_eq!(status, 201, "{answer}");
        answer["status"].take()
    }

    /// Sends the request with the credential of the question.
    pub(super) fn send(&self, question: &RandomQuestion, http_request: &HttpRequest) -> RequestOutcome {
        let mut headers: Vec<(&str, String)> = Vec::new();
        match &question.credential {
            TestCredential::Anonymous => {}
            TestCredential::Arn(arn) => {
                let mut tokens = self.tokens.borrow_mut();
                let token = tokens.entry(arn.clone()).or_insert_with(|| self.cluster.token_for(arn));
                headers.push(("authorization", format!("Bearer {token}")));
            }
            TestCredential::ServiceAccount(namespace) => {
                headers.push(("authorization", format!("Bearer {}", self.accounts[namespace])));
            }
            TestCredential::Impersonated { user, groups } => {
                headers.push(("authorization", format!("Bearer {}", self.cluster.admin_token())));
                headers.push(("impersonate-user", user.clone()));
                headers.extend(groups.iter().map(|group| ("impersonate-group", group.clone())));
            }
        }
        headers.extend(http_request.impersonate.iter().map(|user| ("impersonate-user", user.clone())));
        let body = matches!(http_request.method, "POST" | "PUT" | "PATCH").then(|| json!({}));
        if body.is_some() {
            let is_patch = http_request.method == "PATCH";
            let content_type = if is_patch { "application/merge-patch+json" } else { "application/json" };
            headers.push(("content-type", content_type.to_owned()));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, answer) =
            self.cluster.request_with_headers(&headers, http_request.method, &http_request.path, body.as_ref());
        match status {
            401 => RequestOutcome::Unauthenticated,
            403 if is_authorizer_denial(&answer, &question.request) => RequestOutcome::Forbidden,
            _ => RequestOutcome::Allowed,
        }
    }
}

/// Returns whether the 403 is from the authorizer. Admission control and the escalation check of RBAC also answer 403,
/// but only after the request was authorized.
fn is_authorizer_denial(answer: &Value, request: &Request) -> bool {
    if request.verb() == "impersonate" {
        // The message is about the first check of constrained impersonation or about the last check.
        return answer["message"].as_str().is_some_and(|message| message.contains(" cannot impersonate"));
    }
    let target = match request {
        Request::Url { path, .. } => format!("path \"{path}\""),
        Request::Object(_) => "resource \"".to_owned(),
    };
    let words = format!(" cannot {} {target}", request.verb());
    answer["message"].as_str().is_some_and(|message| message.contains(&words))
}

/// Inserts an object of a list, which has no kind.
fn put_object(state: &mut State, kind: &str, object: &mut Value) {
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    state.insert_object(&parse_object_key(object).unwrap().unwrap(), object).unwrap();
}

/// Returns the aggregated roles and their stored rules.
pub(super) fn aggregated_roles(state: &State) -> impl Iterator<Item = (&ObjectKey, BTreeSet<&Rule>)> {
    let aggregated = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    aggregated.map(|(key, role)| (key, role.rules.iter().collect()))
}

/// Returns the rules that the controller must compute.
pub(super) fn computed_rules<'s>(state: &'s State, key: &'s ObjectKey) -> BTreeSet<&'s Rule> {
    let all = aggregate_rules(RoleOverlay::new(state), Aggregation::Reconciled);
    all.get(key).into_iter().flat_map(|rules| rules.iter()).map(|sourced| sourced.rule).collect()
}

/// Calls `act` for all items on several threads. Returns the first error.
fn try_for_each_parallel<T: Sync>(list: &[T], act: impl Fn(&T) -> Result<(), String> + Sync) -> Result<(), String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = list
            .chunks(list.len().div_ceil(6).max(1))
            .map(|part| scope.spawn(|| part.iter().try_for_each(&act)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}
