//! The engine against the real thing: random states written to a real API server and a real authenticator, random
//! questions put to them, as reviews and as the requests themselves with the identities' own tokens.
//!
//! `ROLECALL_STATES=1000` writes more of them; `ROLECALL_SEED=7` begins at another. The state of a number is always the
//! same, so a difference comes back with its number as the seed and one state.

pub(crate) mod case;
mod near_questions;
mod program;
mod question;
mod reason;
mod server;

use std::time::{Duration, Instant};

use self::case::{AWS_AUTH, RandomCase};
use self::near_questions::near_questions;
use self::program::CliProgram;
use self::question::{CALLERS, RandomQuestion, TestCredential, random_arn, random_questions};
use self::server::{RealServer, RequestOutcome, ServerIdentity, aggregated_roles, computed_rules};
use super::shrink::{TRIES, shrink};
use crate::access::{
    AccessDecision, AccessView, Aggregation, Authentication, Identity, RenderedName, Request, SubjectQuery,
    find_aggregation_cycles,
};
use crate::state::State;
use crate::state::aws_auth::tests::corpus::TestRng;
use crate::state::aws_auth::tests::env_number;
use crate::state::object_meta::RulesManager;
use crate::yaml::to_yaml;

const QUESTIONS_PER_STATE: usize = 12;
/// And so many near what the state says, of which most can be put as reviews alone.
const NEAR_QUESTIONS_PER_STATE: usize = 24;
/// In one of so many states the program is run too, which begins anew each time.
const CLI_RUN_INTERVAL: u64 = 8;
/// The API server goes by what it has seen of its own store, a moment later.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct ComparisonTally {
    states: usize,
    /// Aggregated roles for which the controller came to what was foretold.
    aggregations: usize,
    /// Callers held against the authenticator's mapper.
    identities: usize,
    authenticated: usize,
    questions: usize,
    /// Those of the questions that were sent as requests too.
    requests: usize,
    requests_allowed: usize,
    allowed: usize,
    unauthenticated: usize,
    ambiguous: usize,
    /// Those of the questions that were put on the command line too.
    cli_runs: usize,
}

/// Whether a name that our answer leaves open may be this one.
fn is_same_name(ours: &RenderedName, theirs: &str) -> bool {
    match ours {
        RenderedName::Literal(text) => text == theirs,
        RenderedName::PerSession(text) => {
            let (head, rest) = text.split_once("{{").unwrap();
            let (_, tail) = rest.rsplit_once("}}").unwrap();
            theirs.len() > head.len() + tail.len() && theirs.starts_with(head) && theirs.ends_with(tail)
        }
    }
}

fn is_same_identity(ours: &Identity, (user, groups): &ServerIdentity) -> bool {
    let username = ours.username.as_ref().is_none_or(|name| is_same_name(name, user));
    let same = ours.groups.iter().zip(groups).all(|(name, group)| is_same_name(name, group));
    username && same && ours.groups.len() == groups.len()
}

/// How our answer and the cluster's differ; nothing where they agree.
fn difference(
    server: &RealServer,
    state: &State,
    question: &RandomQuestion,
    tally: &mut ComparisonTally,
) -> Option<String> {
    let access = AccessView::new(state, Aggregation::AsStored);
    let ours = access.can(&SubjectQuery::parse(&question.subject).unwrap(), &question.request);
    let login = server.authenticate(&question.credential);
    if !is_same_authentication(&ours.authentication, login.as_ref()) {
        return Some(format!("ours: {:?}\ntheirs: {login:?}", ours.authentication));
    }
    if matches!(ours.authentication, Authentication::Ambiguous(_)) {
        tally.ambiguous += 1;
        return None;
    }
    let yes = ours.decision == AccessDecision::Allowed;
    if let Some(login) = &login
        && server.review(login, &question.request) != yes
    {
        return Some(format!("ours: {:?}\ntheirs, by a review: {}", ours.decision, !yes));
    }
    let expected = match (&login, yes) {
        (None, _) => RequestOutcome::Unauthenticated,
        (Some(_), true) => RequestOutcome::Allowed,
        (Some(_), false) => RequestOutcome::Forbidden,
    };
    if let Some(sent) = &question.http_request {
        let outcome = server.send(question, sent);
        if outcome != expected {
            return Some(format!("ours: {:?}\ntheirs, of the request itself: {outcome:?}", ours.decision));
        }
        tally.requests += 1;
        tally.requests_allowed += usize::from(yes);
    }
    tally.allowed += usize::from(yes);
    tally.unauthenticated += usize::from(login.is_none());
    None
}

/// Whether the cluster takes somebody for one of those whom we know.
fn is_same_authentication(ours: &Authentication, theirs: Option<&ServerIdentity>) -> bool {
    let is_one = |ours: Option<&Identity>| match (ours, theirs) {
        (Some(identity), Some(login)) => is_same_identity(identity, login),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    match ours {
        Authentication::Identity(identity) => is_one(Some(identity)),
        Authentication::Denied(_) => is_one(None),
        Authentication::Ambiguous(logins) => logins.iter().any(|one| is_one(one.as_ref().ok())),
    }
}

/// Some callers, held against the authenticator's own mapper.
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

/// What the program says on the command line, once live and once of a snapshot.
fn cli_difference(
    program: &CliProgram,
    state: &State,
    questions: &[RandomQuestion],
    tally: &mut ComparisonTally,
) -> Option<String> {
    let access = AccessView::new(state, Aggregation::AsStored);
    program.snapshot();
    let asked =
        questions.iter().filter(|question| question.http_request.is_some()).take(4).zip([true, false, false, false]);
    asked.into_iter().find_map(|(question, live)| {
        let ours = access.can(&SubjectQuery::parse(&question.subject).unwrap(), &question.request);
        let expected =
            (ours.decision == AccessDecision::Allowed, !matches!(ours.authentication, Authentication::Denied(_)));
        let said = program.can(question, live);
        tally.cli_runs += 1;
        (said != Ok(expected)).then(|| format!("{} {}: {expected:?}, {said:?}", question.subject, question.request))
    })
}

/// Likewise, when what was written has had the time to arrive.
fn lasting_difference(
    server: &RealServer,
    state: &mut State,
    question: &RandomQuestion,
    wait: Duration,
    tally: &mut ComparisonTally,
) -> Option<String> {
    let deadline = Instant::now() + wait;
    loop {
        let found = difference(server, state, question, tally)?;
        if Instant::now() > deadline {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(10));
        match server.wait_for_controller() {
            Ok(now) => *state = now,
            Err(why) => return Some(why),
        }
    }
}

/// The smallest state that still shows the difference, for a person to read.
fn shrink_case(server: &RealServer, case: &RandomCase, differs: &dyn Fn(&mut State) -> bool) -> String {
    let small = shrink(case.value(), TRIES, &mut |value| {
        let case = RandomCase::from_value(value.clone());
        let there = case.is_valid() && server.write_case(&case).is_ok();
        there && server.wait_for_controller().is_ok_and(|mut state| differs(&mut state))
    });
    let small = RandomCase::from_value(small);
    let objects: String = small.objects().iter().map(|object| format!("---\n{}", to_yaml(object))).collect();
    format!("{objects}---\n{}", to_yaml(&serde_json::json!({ (AWS_AUTH): small.data() })))
}

/// Writes the state of a number and puts questions about it.
fn compare(server: &RealServer, program: &CliProgram, seed: u64, tally: &mut ComparisonTally) {
    let case = RandomCase::random(seed);
    server.write_case(&case).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let mut state =
        server.wait_for_controller().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{}", to_yaml(case.value())));
    let mut before = state.clone();
    before.roles.extend(case.to_state().unwrap().roles);
    for role in before.roles.values_mut().filter(|role| !role.rules.is_empty() && role.aggregation.is_some()) {
        role.meta.rules_manager = RulesManager::Other;
    }
    // In a circle it hangs on the order of the writes what a rule that was there before becomes.
    if find_aggregation_cycles(&before).is_empty() {
        for (key, stored) in
            aggregated_roles(&state).filter(|(key, _)| key.name().starts_with('a') && key.name().len() == 2)
        {
            assert_eq!(computed_rules(&before, key), stored, "seed {seed}: {key}\n{}", to_yaml(case.value()));
            tally.aggregations += 1;
        }
    }
    let mut dice = TestRng::new(!seed);
    let others = (0..CALLERS.len()).map(|_| random_arn(&mut dice));
    let callers: Vec<String> = CALLERS.iter().copied().map(str::to_owned).chain(others).collect();
    if let Some(found) = identity_difference(server, &state, &callers, tally) {
        let small = shrink_case(server, &case, &|state| {
            identity_difference(server, state, &callers, &mut ComparisonTally::default()).is_some()
        });
        panic!("somebody is taken for another; ROLECALL_SEED={seed} ROLECALL_STATES=1 asks again\n{found}\n{small}");
    }
    let questions = random_questions(&mut dice, QUESTIONS_PER_STATE);
    let near = near_questions(&case, &mut dice, NEAR_QUESTIONS_PER_STATE);
    for question in questions.iter().chain(&near) {
        if let Some(found) = lasting_difference(server, &mut state, question, PROPAGATION_TIMEOUT, tally) {
            let soon = Duration::from_millis(300);
            let small = shrink_case(server, &case, &|state| {
                lasting_difference(server, state, question, soon, &mut ComparisonTally::default()).is_some()
            });
            panic!(
                "an answer differs; ROLECALL_SEED={seed} ROLECALL_STATES=1 asks again\n{} {}\n{:?}\n{found}\n{small}",
                question.subject, question.request, question.http_request
            );
        }
        tally.questions += 1;
    }
    if seed.is_multiple_of(CLI_RUN_INTERVAL)
        && let Some(found) = cli_difference(program, &state, &questions, tally)
    {
        panic!("the program says otherwise, ROLECALL_SEED={seed}\n{found}\n{}", to_yaml(case.value()));
    }
    tally.states += 1;
}

#[test]
fn the_engine_answers_as_the_cluster_does() {
    let server = RealServer::start();
    let program = CliProgram::new(&server);
    let first: u64 = env_number("ROLECALL_SEED", 1);
    let states: u64 = env_number("ROLECALL_STATES", 60);
    let mut tally = ComparisonTally::default();
    for seed in first..first + states {
        compare(&server, &program, seed, &mut tally);
    }
    println!("{tally:?}: no difference");
    // Answers of every sort, or it would prove little.
    let ComparisonTally {
        aggregations: foretold,
        identities,
        authenticated: identities_let_in,
        questions,
        requests,
        requests_allowed,
        allowed: yes,
        ..
    } = tally;
    if states >= 50 {
        assert!(yes * 5 > questions && yes * 5 < questions * 4, "{yes} of {questions} were yes");
        assert!(requests_allowed * 6 > requests && requests * 5 > questions, "{requests_allowed} of {requests}");
        assert!(identities_let_in * 4 > identities && identities_let_in * 10 < identities * 9, "{identities_let_in}");
        assert!(tally.ambiguous > 0 && tally.unauthenticated > 0 && foretold > 20);
    }
}

/// Trap 49.
#[test]
fn a_review_that_leaves_out_the_group_of_everybody_says_no_to_what_everybody_may() {
    let server = RealServer::start();
    server.write_case(&RandomCase::from_value(serde_json::json!({ "objects": [] }))).unwrap();
    let state = server.wait_for_controller().unwrap();
    let question = RandomQuestion {
        subject: "user:u1".to_owned(),
        credential: TestCredential::Impersonated { user: "u1".to_owned(), groups: Vec::new() },
        request: Request::object("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
        http_request: None,
    };
    assert!(!server.review(&("u1".to_owned(), Vec::new()), &question.request));
    assert_eq!(difference(&server, &state, &question, &mut ComparisonTally::default()), None);
    let answer = AccessView::new(&state, Aggregation::AsStored)
        .can(&SubjectQuery::parse(&question.subject).unwrap(), &question.request);
    assert_eq!(answer.decision, AccessDecision::Allowed);
}

#[test]
fn the_doors_are_those_of_the_questions() {
    let mut dice = TestRng::new(1);
    let all = random_questions(&mut dice, 400);
    let count = |is: fn(&TestCredential) -> bool| all.iter().filter(|question| is(&question.credential)).count();
    assert!(
        count(|door| matches!(door, TestCredential::Arn(_))) > 100
            && count(|door| *door == TestCredential::Anonymous) > 10
    );
    assert!(all.iter().all(|question| SubjectQuery::parse(&question.subject).is_ok()));
}
