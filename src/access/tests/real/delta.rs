//! Compares the difference in access between two states with what the API server allows before and after.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PROPAGATION_TIMEOUT;
use super::case::{ACCESS_ENTRIES, AUTH_MODE, AWS_AUTH, RandomCase};
use super::near_questions::{entry_questions, near_questions};
use super::question::{RandomQuestion, random_questions};
use super::random_entries::{known_to_match, principal_name};
use super::server::RealServer;
use crate::access::diff::{diff_access, diff_subject};
use crate::access::effective_permissions::grants_request;
use crate::access::request_scope::OBJECT_VERBS;
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, Request, RequestScope, SubjectQuery, request_scope,
};
use crate::api_resources::KnownResources;
use crate::state::State;
use crate::state::aws_auth::tests::corpus::TestRng;
use crate::state::aws_auth::tests::env_number;
use crate::yaml::to_yaml;

const QUESTIONS_PER_PAIR: usize = 12;

#[derive(Debug, Default)]
struct DeltaTally {
    pairs: usize,
    questions: usize,
    gained: usize,
    lost: usize,
}

/// Whether a request is allowed before and after.
type Transition = (bool, bool);

/// Returns the second state of a pair: a random state that keeps about half of the objects of the first.
fn changed_case(case: &RandomCase, seed: u64) -> RandomCase {
    let mut rng = TestRng::new(seed);
    let other = RandomCase::random(!seed);
    let id = |object: &Value| {
        (object["kind"].clone(), object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone())
    };
    let mut objects: Vec<Value> = case.objects().iter().filter(|_| rng.one_in(2)).cloned().collect();
    let added: Vec<Value> =
        other.objects().iter().filter(|object| objects.iter().all(|kept| id(kept) != id(object))).cloned().collect();
    objects.extend(added);
    let source = if rng.one_in(3) { case } else { &other };
    let kept = case.access_entries().iter().filter(|_| rng.one_in(2));
    let mut entries: Vec<Value> = kept.cloned().collect();
    let is_new = |added: &&Value| entries.iter().all(|kept| principal_name(kept) != principal_name(added));
    let added: Vec<Value> = other.access_entries().iter().filter(is_new).cloned().collect();
    entries.extend(added);
    let mode = if rng.one_in(2) { case } else { &other }.auth_mode();
    RandomCase::from_value(json!({
        "objects": objects, (AWS_AUTH): source.value()[AWS_AUTH], (AUTH_MODE): mode.as_str(), (ACCESS_ENTRIES): known_to_match(&entries),
    }))
}

/// Asks the API server. `None` if the authenticator chooses between several entries at random.
fn allowed_by_server(server: &RealServer, state: &State, question: &RandomQuestion) -> Option<bool> {
    let access = AccessView::new(state, Aggregation::AsStored);
    let query = SubjectQuery::parse(&question.subject).unwrap();
    if matches!(access.authenticate(&query), Authentication::Ambiguous(_)) {
        return None;
    }
    let identity = server.authenticate(&question.credential);
    Some(identity.is_some_and(|identity| server.review(&identity, &question.request)))
}

/// Returns what the difference says about a question.
fn stated_transition(before: &State, after: &State, question: &RandomQuestion, was_allowed: bool) -> Transition {
    let (before, after) = AccessView::pair(before, after, Aggregation::AsStored);
    let query = SubjectQuery::parse(&question.subject).unwrap();
    let diff = diff_subject(&before, &after, &query);
    let gained = grants_request(&diff.permissions.gained, &question.request);
    let lost = grants_request(&diff.permissions.lost, &question.request);
    assert!(!(gained && lost), "{query}: {} is gained and lost", question.request);
    if let SubjectQuery::Arn(identity) = &query {
        // The difference lists the role, the role's sessions of this name, or the account of mapAccounts.
        let is_same = |subject: &SubjectQuery| match subject {
            SubjectQuery::Arn(listed) => listed.comparison_key() == identity.comparison_key(),
            SubjectQuery::Account(id) => id == identity.account(),
            SubjectQuery::User(_) | SubjectQuery::Group(_) | SubjectQuery::ServiceAccount { .. } => false,
        };
        let is_listed = diff_access(&before, &after).iter().any(|diff| is_same(&diff.subject));
        assert!(is_listed || !(gained || lost), "{query} is not listed; {}", question.request);
    }
    ((was_allowed || lost) && !gained, (was_allowed || gained) && !lost)
}

/// Returns whether the API server can ask about the request: a cluster-scoped resource with a verb that exists, and not the
/// creation of a namespace in which there is a RoleBinding.
fn is_possible(request: &Request, known: &KnownResources) -> bool {
    let Request::Object(object) = request else {
        return true;
    };
    let is_known_verb =
        OBJECT_VERBS.iter().chain(&["bind", "escalate", "impersonate"]).any(|verb| *verb == object.verb);
    let is_known = request_scope(known, &object.group, &object.resource, &object.verb) != RequestScope::Unknown;
    // No request has the subresource or the namespace `*`.
    object.subresource != "*"
        && object.namespace != "*"
        && (!known.can_be_cluster_scoped(&object.resource)
            || is_known && is_known_verb && !(object.resource == "namespaces" && object.is_named_create()))
}

/// Writes both states of a pair and compares the stated and the real difference.
fn compare_pair(server: &RealServer, seed: u64, tally: &mut DeltaTally) {
    let case = RandomCase::random(seed);
    let changed = changed_case(&case, seed);
    let mut rng = TestRng::new(seed);
    let mut questions = random_questions(&mut rng, QUESTIONS_PER_PAIR);
    questions.extend(near_questions(&case, &mut rng, QUESTIONS_PER_PAIR));
    questions.extend(near_questions(&changed, &mut rng, QUESTIONS_PER_PAIR));
    questions.extend(entry_questions(&case, &mut rng, QUESTIONS_PER_PAIR / 2));
    questions.extend(entry_questions(&changed, &mut rng, QUESTIONS_PER_PAIR / 2));
    // The difference is about requests that exist.
    let known = KnownResources::default();
    for question in &mut questions {
        question.request = question.request.clone().into_client_request(&known);
    }
    questions.retain(|question| is_possible(&question.request, &known));
    let write = |case: &RandomCase| {
        server.write_case(case).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        server.wait_for_controller().unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    };
    let before = write(&case);
    // The caches of the API server need a moment. Other tests prove that `can` then has its answer.
    let access = AccessView::new(&before, Aggregation::AsStored);
    let was_allowed: Vec<Option<bool>> = questions
        .iter()
        .map(|question| {
            let query = SubjectQuery::parse(&question.subject).unwrap();
            let ours = access.can(&query, &question.request).decision == AccessDecision::Allowed;
            wait_for(
                || allowed_by_server(server, &before, question),
                |theirs| theirs.is_none_or(|theirs| theirs == ours),
            )
        })
        .collect();
    let after = write(&changed);
    for (question, was_allowed) in questions.iter().zip(was_allowed) {
        let Some(was_allowed) = was_allowed else { continue };
        let stated = stated_transition(&before, &after, question, was_allowed);
        let is_allowed = wait_for(
            || allowed_by_server(server, &after, question),
            |theirs| theirs.is_none_or(|theirs| theirs == stated.1),
        );
        let Some(is_allowed) = is_allowed else { continue };
        assert_eq!(
            stated,
            (was_allowed, is_allowed),
            "the difference and the API server differ; reproduce with ROLECALL_SEED={seed} ROLECALL_STATES=1\n{} {}\n{}\n{}",
            question.subject,
            question.request,
            to_yaml(case.value()),
            to_yaml(changed.value()),
        );
        tally.questions += 1;
        tally.gained += usize::from(!was_allowed && is_allowed);
        tally.lost += usize::from(was_allowed && !is_allowed);
    }
    tally.pairs += 1;
}

/// Returns the first accepted value, or the last value after the caches had time to update.
fn wait_for<T>(mut read: impl FnMut() -> T, is_accepted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PROPAGATION_TIMEOUT;
    loop {
        let value = read();
        if is_accepted(&value) || Instant::now() > deadline {
            return value;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stated_difference_matches_the_api_server_before_and_after() {
    let server = RealServer::start();
    let first: u64 = env_number("ROLECALL_SEED", 1);
    let pairs: u64 = env_number("ROLECALL_STATES", 10);
    let mut tally = DeltaTally::default();
    for seed in first..first + pairs {
        compare_pair(&server, seed, &mut tally);
    }
    println!("{tally:?}: no difference");
    if pairs >= 10 {
        assert!(tally.gained > 10 && tally.lost > 10, "{tally:?}");
    }
}
