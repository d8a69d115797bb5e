//! Compares the access engine with a real API server and a real authenticator. The tests write random states with aws-auth and
//! access entries in every authentication mode, and ask random questions, as SubjectAccessReviews and as real requests with
//! the tokens of the identities.
//!
//! `ROLECALL_STATES=1000` sets the number of states, `ROLECALL_SEED=7` the first seed. A seed always gives the same
//! state, so a failure is reproduced with its seed and one state.

pub(crate) mod case;
mod delta;
mod near_questions;
mod program;
mod question;
mod random_entries;
mod reason;
mod scopes;
mod server;

use std::time::{Duration, Instant};

use self::case::{ACCESS_ENTRIES, AUTH_MODE, AWS_AUTH, RandomCase};
use self::near_questions::{entry_questions, near_questions};
use self::program::CliProgram;
use self::question::{CALLERS, RandomQuestion, TestCredential, random_arn, random_questions};
use self::random_entries::has_unpublished_rules;
use self::server::{RealServer, RequestOutcome, ServerIdentity, aggregated_roles, computed_rules};
use super::shrink::{MAX_ATTEMPTS, shrink};
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, GrantSource, Identity, RenderedName, Request,
    SubjectQuery, UnknownPart, Verdict, find_aggregation_cycles,
};
use crate::api_resources::ApiResources;
use crate::names::ObjectKind;
use crate::state::State;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};
use crate::state::aws_auth::tests::corpus::TestRng;
use crate::state::aws_auth::tests::env_number;
use crate::state::object_meta::RulesManager;
use crate::yaml::to_yaml;

const QUESTIONS_PER_STATE: usize = 12;
/// Questions derived from the bindings and rules of the state. Most of them are possible only as reviews.
const NEAR_QUESTIONS_PER_STATE: usize = 24;
/// Questions derived from the access entries and access policies of the state.
const ENTRY_QUESTIONS_PER_STATE: usize = 12;
/// The program runs for one of this many states, because starting it is slow.
const CLI_RUN_INTERVAL: u64 = 8;
/// The authorizer of the API server reads RBAC objects from a cache that lags behind the writes.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct ComparisonTally {
    states: usize,
    /// Aggregated roles whose rules the controller computed as predicted.
    aggregations: usize,
    /// Callers compared with the authenticator's mapper.
    identities: usize,
    authenticated: usize,
    questions: usize,
    /// Questions that were also sent as requests.
    requests: usize,
    requests_allowed: usize,
    allowed: usize,
    /// Questions about a principal that authenticates with its access entry.
    through_entry: usize,
    /// Of the allowed questions and requests, those that nothing but an access policy allows.
    allowed_by_policy: usize,
    requests_by_policy: usize,
    /// Questions whose answer depends on the unpublished rules of an access policy.
    not_answered: usize,
    unauthenticated: usize,
    ambiguous: usize,
    /// Questions that were also asked on the command line.
    cli_runs: usize,
}

/// Returns whether the name is the same, or one of the names that a session can give it.
fn is_same_name(ours: &RenderedName, theirs: &str) -> bool {
    match ours {
        RenderedName::Literal(text) => text == theirs,
        RenderedName::AccountPrincipal { .. } => ours.can_equal(theirs),
        RenderedName::PerSession(text) => {
            let (head, rest) = text.split_once("{{").unwrap();
            let (_, tail) = rest.rsplit_once("}}").unwrap();
            theirs.len() > head.len() + tail.len() && theirs.starts_with(head) && theirs.ends_with(tail)
        }
    }
}

fn is_same_identity(ours: &Identity, theirs: &ServerIdentity) -> bool {
    let username = ours.username.as_ref().is_none_or(|name| is_same_name(name, &theirs.user));
    let same = ours.groups.iter().zip(&theirs.groups).all(|(name, group)| is_same_name(name, group));
    username && same && ours.groups.len() == theirs.groups.len()
}

/// Returns the difference between our answer and that of the cluster. `None` if they agree.
fn difference(
    server: &RealServer,
    state: &State,
    question: &RandomQuestion,
    tally: &mut ComparisonTally,
) -> Option<String> {
    let access = AccessView::new(state, Aggregation::AsStored);
    let query = SubjectQuery::parse(&question.subject).unwrap();
    let ours = access.can(&query, &question.request);
    let identity = server.authenticate(&question.credential);
    if !is_same_authentication(&ours.authentication, identity.as_ref()) {
        return Some(format!("ours: {:?}\ntheirs: {identity:?}", ours.authentication));
    }
    if matches!(ours.authentication, Authentication::Ambiguous(_)) {
        tally.ambiguous += 1;
        return None;
    }
    if has_unpublished_rules(state, &ours.authentication, &question.request) {
        let verdict = access.answer(&query, &question.request, &[]).verdict;
        if verdict == Verdict::No {
            return Some("ours: no, although an access policy has unpublished rules".to_owned());
        }
        tally.not_answered += usize::from(verdict == Verdict::NotAnswered(UnknownPart::Access));
    }
    let allowed = ours.decision == AccessDecision::Allowed;
    let is_by_policy = allowed && ours.granted_by.iter().all(is_access_policy);
    if let Some(identity) = &identity
        && server.review(identity, &question.request) != allowed
    {
        return Some(format!("ours: {:?}\nallowed by their review: {}", ours.decision, !allowed));
    }
    if allowed && let Some(missing) = variant_difference(&access, question) {
        return Some(missing);
    }
    let expected = match (&identity, allowed) {
        (None, _) => RequestOutcome::Unauthenticated,
        (Some(_), true) => RequestOutcome::Allowed,
        (Some(_), false) => RequestOutcome::Forbidden,
    };
    if let Some(http_request) = &question.http_request {
        let outcome = server.send(question, http_request);
        if outcome != expected {
            return Some(format!("ours: {:?}\ntheir response to the request: {outcome:?}", ours.decision));
        }
        tally.requests += 1;
        tally.requests_allowed += usize::from(allowed);
        tally.requests_by_policy += usize::from(is_by_policy);
    }
    tally.allowed += usize::from(allowed);
    tally.allowed_by_policy += usize::from(is_by_policy);
    tally.through_entry +=
        usize::from(ours.authentication.identities().any(|identity| identity.access_entry().is_some()));
    tally.unauthenticated += usize::from(identity.is_none());
    None
}

fn is_access_policy(source: &GrantSource<'_>) -> bool {
    matches!(source, GrantSource::Path(path) if path.role.kind() == ObjectKind::AccessPolicy)
}

/// Returns why the answers about the role, the account or the username of an allowed session do not count the session.
fn variant_difference(access: &AccessView<'_>, question: &RandomQuestion) -> Option<String> {
    let SubjectQuery::Arn(session) = SubjectQuery::parse(&question.subject).unwrap() else {
        return None;
    };
    let authentication = access.authenticate(&SubjectQuery::Arn(session.clone()));
    let through_account = authentication.identities().any(|identity| {
        identity.entry().is_some_and(|entry| entry.section() == Some(crate::state::aws_auth::Section::Accounts))
    });
    let mut queries = vec![SubjectQuery::Arn(session.in_any_session())];
    queries.extend(through_account.then(|| SubjectQuery::Account(session.account().to_owned())));
    let usernames = authentication.identities().filter_map(|identity| identity.username.as_ref()?.as_literal());
    queries.extend(usernames.map(SubjectQuery::from_username));
    queries.into_iter().find_map(|query| {
        let answer = access.can(&query, &question.request);
        (answer.decision == AccessDecision::Denied).then(|| format!("{session} is allowed, and {query} is not"))
    })
}

/// Returns whether the cluster's identity is one of those that we consider possible.
fn is_same_authentication(ours: &Authentication, theirs: Option<&ServerIdentity>) -> bool {
    let is_same = |ours: Option<&Identity>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => is_same_identity(ours, theirs),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    match ours {
        Authentication::Identity(identity) => is_same(Some(identity)),
        Authentication::Denied(_) => is_same(None),
        Authentication::Ambiguous(identities) => identities.iter().any(|identity| is_same(identity.as_ref().ok())),
    }
}

/// Returns the first caller for which we and the authenticator's mapper differ.
fn identity_difference(
    server: &RealServer,
    state: &State,
    callers: &[String],
    tally: &mut ComparisonTally,
) -> Option<String> {
    let access = AccessView::new(state, Aggregation::AsStored);
    callers.iter().find_map(|arn| {
        let ours = Authentication::for_query(&SubjectQuery::parse(arn).unwrap(), &access.mapping);
        let theirs = server.authenticate(&TestCredential::Arn(arn.clone()));
        if !is_same_authentication(&ours, theirs.as_ref()) {
            return Some(format!("{arn}\nours: {ours:?}\ntheirs: {theirs:?}"));
        }
        tally.identities += 1;
        tally.authenticated += usize::from(theirs.is_some());
        None
    })
}

/// Returns the first difference between the engine and `rolecall can`, on the live cluster and on a snapshot.
fn cli_difference(
    program: &CliProgram,
    state: &State,
    questions: &[RandomQuestion],
    tally: &mut ComparisonTally,
) -> Option<String> {
    let access = AccessView::new(state, Aggregation::AsStored);
    program.snapshot(state);
    // The program connects without AWS, so it does not know the access entries of the live cluster.
    let is_live = [state.auth_mode == ObservedAuthMode::Known(ClusterAuthMode::ConfigMap), false, false, false];
    let sampled = questions.iter().filter(|question| is_askable(question)).take(4).zip(is_live);
    sampled.into_iter().find_map(|(question, live)| {
        let ours = access.can(&SubjectQuery::parse(&question.subject).unwrap(), &question.request);
        let expected = (ours.decision, !matches!(ours.authentication, Authentication::Denied(_)));
        let actual = program.can(question, live);
        tally.cli_runs += 1;
        (actual != Ok(expected))
            .then(|| format!("{} {}: expected {expected:?}, found {actual:?}", question.subject, question.request))
    })
}

/// Returns whether the command line can ask the question: it knows the words, and a client can send the request.
fn is_askable(question: &RandomQuestion) -> bool {
    let is_known = |request: &Request| match request {
        Request::Url { .. } => true,
        Request::Object(object) => {
            let resource = ApiResources::builtin().get(&object.group, &object.resource);
            // The name of a POST decides nothing.
            !object.is_named_create()
                && resource.is_some_and(|resource| {
                    object.subresource.is_empty() || resource.has_subresource(&object.subresource)
                })
        }
    };
    question.http_request.is_some() && is_known(&question.request)
}

/// Returns a [`difference`] that remains after the API server's caches had time to update.
fn lasting_difference(
    server: &RealServer,
    state: &mut State,
    question: &RandomQuestion,
    wait: Duration,
    tally: &mut ComparisonTally,
) -> Option<String> {
    let deadline = Instant::now() + wait;
    loop {
        let difference = difference(server, state, question, tally)?;
        if Instant::now() > deadline {
            return Some(difference);
        }
        std::thread::sleep(Duration::from_millis(10));
        match server.wait_for_controller() {
            Ok(current) => *state = current,
            Err(error) => return Some(error),
        }
    }
}

/// Returns a small state that still shows the difference, as YAML.
fn shrink_case(server: &RealServer, case: &RandomCase, differs: &dyn Fn(&mut State) -> bool) -> String {
    let small = shrink(case.value(), MAX_ATTEMPTS, &mut |value| {
        let case = RandomCase::from_value(value.clone());
        let written = case.is_valid() && server.write_case(&case).is_ok();
        written && server.wait_for_controller().is_ok_and(|mut state| differs(&mut state))
    });
    let small = RandomCase::from_value(small);
    let objects: String = small.objects().iter().map(|object| format!("---\n{}", to_yaml(object))).collect();
    let others = serde_json::json!({
        (AWS_AUTH): small.data(), (AUTH_MODE): small.auth_mode().as_str(), (ACCESS_ENTRIES): small.access_entries(),
    });
    format!("{objects}---\n{}", to_yaml(&others))
}

/// Writes the state of a seed and compares all answers about it.
fn compare(server: &RealServer, program: &CliProgram, seed: u64, tally: &mut ComparisonTally) {
    let case = RandomCase::random(seed);
    server.write_case(&case).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut state =
        server.wait_for_controller().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", to_yaml(case.value())));
    let mut before = state.clone();
    before.roles.extend(case.to_state().unwrap().roles);
    for role in before.roles.values_mut().filter(|role| !role.rules.is_empty() && role.aggregation.is_some()) {
        role.meta.rules_manager = RulesManager::Other;
    }
    // In an aggregation cycle the result depends on the order in which the controller processes the roles.
    if find_aggregation_cycles(&before).is_empty() {
        for (key, stored) in
            aggregated_roles(&state).filter(|(key, _)| key.name().starts_with('a') && key.name().len() == 2)
        {
            assert_eq!(computed_rules(&before, key), stored, "seed {seed}: {key}\n{}", to_yaml(case.value()));
            tally.aggregations += 1;
        }
    }
    let mut rng = TestRng::new(!seed);
    let random_callers = (0..CALLERS.len()).map(|_| random_arn(&mut rng));
    let callers: Vec<String> = CALLERS.iter().copied().map(str::to_owned).chain(random_callers).collect();
    if let Some(difference) = identity_difference(server, &state, &callers, tally) {
        let small = shrink_case(server, &case, &|state| {
            identity_difference(server, state, &callers, &mut ComparisonTally::default()).is_some()
        });
        panic!("identities differ; reproduce with ROLECALL_SEED={seed} ROLECALL_STATES=1\n{difference}\n{small}");
    }
    let questions = random_questions(&mut rng, QUESTIONS_PER_STATE);
    let derived = near_questions(&case, &mut rng, NEAR_QUESTIONS_PER_STATE);
    let about_entries = entry_questions(&case, &mut rng, ENTRY_QUESTIONS_PER_STATE);
    for question in questions.iter().chain(&derived).chain(&about_entries) {
        if let Some(difference) = lasting_difference(server, &mut state, question, PROPAGATION_TIMEOUT, tally) {
            let short_timeout = Duration::from_millis(300);
            let small = shrink_case(server, &case, &|state| {
                lasting_difference(server, state, question, short_timeout, &mut ComparisonTally::default()).is_some()
            });
            panic!(
                "answers differ; reproduce with ROLECALL_SEED={seed} ROLECALL_STATES=1\n{} {}\n{:?}\n{difference}\n{small}",
                question.subject, question.request, question.http_request
            );
        }
        tally.questions += 1;
    }
    if seed.is_multiple_of(CLI_RUN_INTERVAL)
        && let Some(difference) = cli_difference(program, &state, &questions, tally)
    {
        panic!("the program and the engine differ, ROLECALL_SEED={seed}\n{difference}\n{}", to_yaml(case.value()));
    }
    tally.states += 1;
}

#[test]
fn can_matches_the_api_server_on_random_states() {
    let server = RealServer::start();
    let program = CliProgram::new(&server);
    let first: u64 = env_number("ROLECALL_SEED", 1);
    let states: u64 = env_number("ROLECALL_STATES", 50);
    let mut tally = ComparisonTally::default();
    for seed in first..first + states {
        compare(&server, &program, seed, &mut tally);
    }
    println!("{tally:?}: no difference");
    // The comparison proves little unless all kinds of answers occur.
    let ComparisonTally {
        aggregations, identities, authenticated, questions, requests, requests_allowed, allowed, ..
    } = tally;
    if states >= 50 {
        assert!(allowed * 5 > questions && allowed * 5 < questions * 4, "{allowed} of {questions} allowed");
        assert!(requests_allowed * 6 > requests && requests * 5 > questions, "{requests_allowed} of {requests}");
        assert!(authenticated * 4 > identities && authenticated * 10 < identities * 9, "{authenticated}");
        assert!(tally.through_entry * 8 > questions && tally.allowed_by_policy * 40 > questions, "{tally:?}");
        assert!(tally.requests_by_policy * 40 > requests, "{tally:?}");
        assert!(tally.ambiguous > 0 && tally.not_answered > 0 && tally.unauthenticated > 0 && aggregations > 20);
    }
}

/// A SubjectAccessReview evaluates exactly the groups that it names. It does not add `system:authenticated`.
#[test]
fn review_without_system_authenticated_denies_what_the_group_allows() {
    let server = RealServer::start();
    server.write_case(&RandomCase::from_value(serde_json::json!({ "objects": [] }))).unwrap();
    let state = server.wait_for_controller().unwrap();
    let question = RandomQuestion {
        subject: "user:u1".to_owned(),
        credential: TestCredential::Impersonated { user: "u1".to_owned(), groups: Vec::new() },
        request: Request::object("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
        http_request: None,
    };
    assert!(!server.review(&ServerIdentity::named("u1", &[]), &question.request));
    assert_eq!(difference(&server, &state, &question, &mut ComparisonTally::default()), None);
    let answer = AccessView::new(&state, Aggregation::AsStored)
        .can(&SubjectQuery::parse(&question.subject).unwrap(), &question.request);
    assert_eq!(answer.decision, AccessDecision::Allowed);
}

#[test]
fn random_questions_use_all_kinds_of_credentials() {
    let mut rng = TestRng::new(1);
    let questions = random_questions(&mut rng, 400);
    let count = |matches: fn(&TestCredential) -> bool| {
        questions.iter().filter(|question| matches(&question.credential)).count()
    };
    assert!(
        count(|credential| matches!(credential, TestCredential::Arn(_))) > 100
            && count(|credential| *credential == TestCredential::Anonymous) > 10
    );
    assert!(questions.iter().all(|question| SubjectQuery::parse(&question.subject).is_ok()));
}
