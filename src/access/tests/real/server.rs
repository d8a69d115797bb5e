//! The API server and the authenticator that decide: a state is written there, and a question answered by them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::{Case, NAMESPACES};
use super::question::{Door, Question, Sent, attributes};
use crate::access::aggregation::{Roles, gather};
use crate::access::{Moment, Request};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::mapping::AwsAuth;
use crate::state::rbac::Rule;
use crate::state::validate::key_of;
use crate::test_cluster::TestCluster;
use crate::test_cluster::cluster::Options;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const OURS: &str = "labelSelector=kubernetes.io%2Fbootstrapping%21%3Drbac-defaults";
const THEIRS: &str = "labelSelector=kubernetes.io%2Fbootstrapping%3Drbac-defaults";
const PATIENCE: Duration = Duration::from_secs(10);

/// A username and groups.
pub(super) type Login = (String, Vec<String>);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Forbidden,
    NotLetIn,
}

pub(super) struct Server {
    pub(super) cluster: TestCluster,
    /// Roles and bindings of Kubernetes itself.
    brought: State,
    accounts: BTreeMap<String, String>,
    /// Of the state that is there: a token that was accepted is remembered for a while.
    tokens: RefCell<BTreeMap<String, String>>,
}

impl Server {
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
        let mut server = Self { cluster, brought: State::default(), accounts, tokens: RefCell::default() };
        let deadline = Instant::now() + PATIENCE;
        while server.cluster.admin("GET", &format!("{RBAC}/clusterroles/view"), None).1["rules"].is_null() {
            assert!(Instant::now() < deadline, "the role `view` stays empty");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut brought = State::default();
        server.list(&mut brought, THEIRS);
        server.brought = brought;
        server
    }

    /// Makes the case what is there, and nothing else beside what Kubernetes itself brings.
    ///
    /// # Errors
    /// What the API server does not take.
    pub(super) fn arrange(&self, case: &Case) -> Result<(), String> {
        self.tokens.borrow_mut().clear();
        let cluster = &self.cluster;
        let mut collections = vec![format!("{RBAC}/clusterrolebindings"), format!("{RBAC}/clusterroles")];
        for namespace in NAMESPACES {
            collections.extend(["rolebindings", "roles"].map(|kind| format!("{RBAC}/namespaces/{namespace}/{kind}")));
        }
        at_once(&collections, |path| {
            let (status, answer) = cluster.admin("DELETE", &format!("{path}?{OURS}"), None);
            if status == 200 { Ok(()) } else { Err(format!("{path}: {answer}")) }
        })?;
        at_once(case.objects(), |object| {
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
    pub(super) fn settled(&self) -> Result<State, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.observed();
            let unlike: Vec<String> = aggregated(&state)
                .filter(|(key, stored)| gathered(&state, key) != *stored)
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
    fn observed(&self) -> State {
        let mut state = self.brought.clone();
        self.list(&mut state, OURS);
        for (key, _) in aggregated(&self.brought) {
            let (status, mut role) = self.cluster.admin("GET", &format!("{RBAC}/clusterroles/{}", key.name()), None);
            assert_eq!(status, 200, "{role}");
            put(&mut state, key.kind().word(), &mut role);
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
                put(state, kind, object);
            }
        }
    }

    /// Whom the API server takes somebody for; nobody where he is not let in.
    pub(super) fn login(&self, door: &Door) -> Option<Login> {
        let authenticated = |(user, mut groups): Login| {
            let known = ["system:authenticated", "system:unauthenticated"];
            if user != "system:anonymous" && !groups.iter().any(|group| known.contains(&group.as_str())) {
                groups.push(known[0].to_owned());
            }
            (user, groups)
        };
        match door {
            Door::Arn(arn) => {
                let answer = self.cluster.map(arn).ok()?;
                let groups = answer["groups"].as_array().unwrap().iter();
                let groups = groups.map(|group| group.as_str().unwrap().to_owned()).collect();
                Some(authenticated((answer["username"].as_str().unwrap().to_owned(), groups)))
            }
            Door::ServiceAccount(namespace) => {
                let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
                Some(authenticated((format!("system:serviceaccount:{namespace}:s"), groups)))
            }
            Door::Nobody => Some(("system:anonymous".to_owned(), vec!["system:unauthenticated".to_owned()])),
            Door::As { user, groups } => Some(authenticated((user.clone(), groups.clone()))),
        }
    }

    /// What the API server says of a question when it is asked about it.
    pub(super) fn review(&self, login: &Login, request: &Request) -> bool {
        self.ruling(login, request)["allowed"] == true
    }

    /// The same with its reason.
    pub(super) fn ruling(&self, (user, groups): &Login, request: &Request) -> Value {
        let mut spec = attributes(request);
        spec["user"] = json!(user);
        spec["groups"] = json!(groups);
        let (status, mut answer) = self.cluster.admin("POST", REVIEWS, Some(&json!({ "spec": spec })));
        assert_eq!(status, 201, "{answer}");
        answer["status"].take()
    }

    /// What it does when somebody comes and does it.
    pub(super) fn outcome(&self, question: &Question, sent: &Sent) -> Outcome {
        let mut headers: Vec<(&str, String)> = Vec::new();
        match &question.door {
            Door::Nobody => {}
            Door::Arn(arn) => {
                let mut tokens = self.tokens.borrow_mut();
                let token = tokens.entry(arn.clone()).or_insert_with(|| self.cluster.token_for(arn));
                headers.push(("authorization", format!("Bearer {token}")));
            }
            Door::ServiceAccount(namespace) => {
                headers.push(("authorization", format!("Bearer {}", self.accounts[namespace])));
            }
            Door::As { user, groups } => {
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
        let (status, answer) = self.cluster.request_with(&headers, sent.method, &sent.path, body.as_ref());
        match status {
            401 => Outcome::NotLetIn,
            403 if is_of_the_authorizer(&answer, &question.request) => Outcome::Forbidden,
            _ => Outcome::Allowed,
        }
    }
}

/// Admission and the checks of a write answer 403 too, once the request itself was allowed.
fn is_of_the_authorizer(answer: &Value, request: &Request) -> bool {
    let what = match request {
        Request::Url { path, .. } => format!("path \"{path}\""),
        Request::Object(_) => "resource \"".to_owned(),
    };
    let words = format!(" cannot {} {what}", request.verb());
    answer["message"].as_str().is_some_and(|message| message.contains(&words))
}

/// Objects of a list come without their kind.
fn put(state: &mut State, kind: &str, object: &mut Value) {
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    state.put(&key_of(object).unwrap().unwrap(), object).unwrap();
}

/// The aggregated roles and what is stored of each.
pub(super) fn aggregated(state: &State) -> impl Iterator<Item = (&ObjectKey, BTreeSet<&Rule>)> {
    let all = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    all.map(|(key, role)| (key, role.rules.iter().collect()))
}

/// What the controller is to fill in.
pub(super) fn gathered<'s>(state: &'s State, key: &'s ObjectKey) -> BTreeSet<&'s Rule> {
    gather(Roles::of(state), key, Moment::Settled).into_iter().map(|sourced| sourced.rule).collect()
}

/// Does something to all of a list by several hands.
fn at_once<T: Sync>(list: &[T], act: impl Fn(&T) -> Result<(), String> + Sync) -> Result<(), String> {
    std::thread::scope(|scope| {
        let hands: Vec<_> = list
            .chunks(list.len().div_ceil(6).max(1))
            .map(|part| scope.spawn(|| part.iter().try_for_each(&act)))
            .collect();
        hands.into_iter().try_for_each(|hand| hand.join().unwrap())
    })
}
