//! The API server and the authenticator that decide: a state is written there, and a question answered by them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::{NAMESPACES, RandomCase};
use super::question::{HttpRequest, RandomQuestion, TestCredential, review_attributes};
use crate::access::aggregation::{RoleOverlay, aggregate_rules};
use crate::access::{Aggregation, Request};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::rbac::Rule;
use crate::state::validate::parse_object_key;
use crate::test_cluster::TestCluster;
use crate::test_cluster::cluster::Options;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const OWN_SELECTOR: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const BOOTSTRAP_SELECTOR: &str = "labelSelector=kubernetes.io%2Fbootstrapping%3Drbac-defaults";
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// A username and groups.
pub(super) type ServerIdentity = (String, Vec<String>);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    Allowed,
    Forbidden,
    Unauthenticated,
}

pub(super) struct RealServer {
    pub(super) cluster: TestCluster,
    /// Roles and bindings of Kubernetes itself.
    bootstrap_state: State,
    accounts: BTreeMap<String, String>,
    /// Of the state that is there: a token that was accepted is remembered for a while.
    tokens: RefCell<BTreeMap<String, String>>,
}

impl RealServer {
    pub(super) fn start() -> Self {
        let cluster = TestCluster::start_with(Options { aggregation: true, ..Options::default() });
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
        let mut server = Self { cluster, bootstrap_state: State::default(), accounts, tokens: RefCell::default() };
        let deadline = Instant::now() + CONTROLLER_TIMEOUT;
        while server.cluster.admin("GET", &format!("{RBAC}/clusterroles/view"), None).1["rules"].is_null() {
            assert!(Instant::now() < deadline, "the role `view` stays empty");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut brought = State::default();
        server.list(&mut brought, BOOTSTRAP_SELECTOR);
        server.bootstrap_state = brought;
        server
    }

    /// Makes the case what is there, and nothing else beside what Kubernetes itself brings.
    ///
    /// # Errors
    /// What the API server does not take.
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
            // The controller was about to write a role when it was deleted, and its apply brought it back.
            for _ in 0..5 {
                if status == 409 {
                    cluster.admin("DELETE", &format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()), None);
                    (status, answer) = cluster.admin("POST", &path, Some(object));
                }
            }
            if status == 201 { Ok(()) } else { Err(format!("{path}: {answer}")) }
        })?;
        cluster.set_aws_auth(&case.data());
        Ok(())
    }

    /// The state as the API server has it, once the controller has no more to do by what we know of it.
    ///
    /// # Errors
    /// The aggregated roles where it comes to something else.
    pub(super) fn wait_for_controller(&self) -> Result<State, String> {
        let deadline = Instant::now() + CONTROLLER_TIMEOUT;
        loop {
            let state = self.read_state();
            let unlike: Vec<String> = aggregated_roles(&state)
                .filter(|(key, stored)| computed_rules(&state, key) != *stored)
                .map(|(key, _)| key.to_string())
                .collect();
            if unlike.is_empty() {
                return Ok(state);
            }
            if Instant::now() > deadline {
                return Err(format!("the controller fills {unlike:?} otherwise"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What Kubernetes itself brings changes in its aggregated roles alone, and is long.
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

    /// Whom the API server takes somebody for; nobody where he is not let in.
    pub(super) fn authenticate(&self, door: &TestCredential) -> Option<ServerIdentity> {
        let authenticated = |(user, mut groups): ServerIdentity| {
            let known = ["system:authenticated", "system:unauthenticated"];
            if user != "system:anonymous" && !groups.iter().any(|group| known.contains(&group.as_str())) {
                groups.push(known[0].to_owned());
            }
            (user, groups)
        };
        match door {
            TestCredential::Arn(arn) => {
                let answer = self.cluster.map(arn).ok()?;
                let groups = answer["groups"].as_array().unwrap().iter();
                let groups = groups.map(|group| group.as_str().unwrap().to_owned()).collect();
                Some(authenticated((answer["username"].as_str().unwrap().to_owned(), groups)))
            }
            TestCredential::ServiceAccount(namespace) => {
                let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
                Some(authenticated((format!("system:serviceaccount:{namespace}:s"), groups)))
            }
            TestCredential::Anonymous => {
                Some(("system:anonymous".to_owned(), vec!["system:unauthenticated".to_owned()]))
            }
            TestCredential::Impersonated { user, groups } => Some(authenticated((user.clone(), groups.clone()))),
        }
    }

    /// What the API server says of a question when it is asked about it.
    pub(super) fn review(&self, login: &ServerIdentity, request: &Request) -> bool {
        self.review_status(login, request)["allowed"] == true
    }

    /// The same with its reason.
    pub(super) fn review_status(&self, (user, groups): &ServerIdentity, request: &Request) -> Value {
        let mut spec = review_attributes(request);
        spec["user"] = json!(user);
        spec["groups"] = json!(groups);
        let (status, mut answer) = self.cluster.admin("POST", REVIEWS, Some(&json!({ "spec": spec })));
        assert_eq!(status, 201, "{answer}");
        answer["status"].take()
    }

    /// What it does when somebody comes and does it.
    pub(super) fn send(&self, question: &RandomQuestion, sent: &HttpRequest) -> RequestOutcome {
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
        let body = matches!(sent.method, "POST" | "PUT" | "PATCH").then(|| json!({}));
        if body.is_some() {
            let patch = sent.method == "PATCH";
            let kind = if patch { "application/merge-patch+json" } else { "application/json" };
            headers.push(("content-type", kind.to_owned()));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, answer) = self.cluster.request_with_headers(&headers, sent.method, &sent.path, body.as_ref());
        match status {
            401 => RequestOutcome::Unauthenticated,
            403 if is_authorizer_denial(&answer, &question.request) => RequestOutcome::Forbidden,
            _ => RequestOutcome::Allowed,
        }
    }
}

/// Admission and the checks of a write answer 403 too, once the request itself was allowed.
fn is_authorizer_denial(answer: &Value, request: &Request) -> bool {
    let what = match request {
        Request::Url { path, .. } => format!("path \"{path}\""),
        Request::Object(_) => "resource \"".to_owned(),
    };
    let words = format!(" cannot {} {what}", request.verb());
    answer["message"].as_str().is_some_and(|message| message.contains(&words))
}

/// Objects of a list come without their kind.
fn put_object(state: &mut State, kind: &str, object: &mut Value) {
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    state.insert_object(&parse_object_key(object).unwrap().unwrap(), object).unwrap();
}

/// The aggregated roles and what is stored of each.
pub(super) fn aggregated_roles(state: &State) -> impl Iterator<Item = (&ObjectKey, BTreeSet<&Rule>)> {
    let all = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    all.map(|(key, role)| (key, role.rules.iter().collect()))
}

/// What the controller is to fill in.
pub(super) fn computed_rules<'s>(state: &'s State, key: &'s ObjectKey) -> BTreeSet<&'s Rule> {
    aggregate_rules(RoleOverlay::new(state), key, Aggregation::Reconciled)
        .into_iter()
        .map(|sourced| sourced.rule)
        .collect()
}

/// Does something to all of a list by several hands.
fn try_for_each_parallel<T: Sync>(list: &[T], act: impl Fn(&T) -> Result<(), String> + Sync) -> Result<(), String> {
    std::thread::scope(|scope| {
        let hands: Vec<_> = list
            .chunks(list.len().div_ceil(6).max(1))
            .map(|part| scope.spawn(|| part.iter().try_for_each(&act)))
            .collect();
        hands.into_iter().try_for_each(|hand| hand.join().unwrap())
    })
}
