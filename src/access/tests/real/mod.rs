//! The engine against the real thing: random states written to a real API server and a real authenticator, random
//! questions put to them, as reviews and as the requests themselves with the identities' own tokens.
//!
//! `ROLECALL_STATES=1000` writes more of them; `ROLECALL_SEED=7` begins at another. The state of a number is always the
//! same, so a difference comes back with its number as the seed and one state.

pub(crate) mod case;
mod near;
mod program;
mod question;
mod reason;
mod server;

use std::time::{Duration, Instant};

use self::case::{AWS_AUTH, Case};
use self::near::near;
use self::program::Program;
use self::question::{CALLERS, Door, Question, caller, questions};
use self::server::{Login, Outcome, Server, aggregated, gathered};
use super::shrink::{TRIES, shrink};
use crate::access::{Access, Admission, Identity, Moment, Name, Request, Verdict, Who, circles};
use crate::state::State;
use crate::state::aws_auth::tests::corpus::Dice;
use crate::state::aws_auth::tests::number;
use crate::state::meta::Holder;
use crate::yaml::to_yaml;

const PER_STATE: usize = 12;
/// And so many near what the state says, of which most can be put as reviews alone.
const NEAR: usize = 24;
/// In one of so many states the program is run too, which begins anew each time.
const SAID: u64 = 8;
/// The API server goes by what it has seen of its own store, a moment later.
const LATER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Tally {
    states: usize,
    /// Aggregated roles for which the controller came to what was foretold.
    foretold: usize,
    /// Callers held against the authenticator's mapper.
    identities: usize,
    identities_let_in: usize,
    questions: usize,
    /// Those of the questions that were sent as requests too.
    requests: usize,
    requests_allowed: usize,
    yes: usize,
    not_let_in: usize,
    by_chance: usize,
    /// Those of the questions that were put on the command line too.
    said: usize,
}

/// Whether a name that our answer leaves open may be this one.
fn is_name(ours: &Name, theirs: &str) -> bool {
    match ours {
        Name::Literal(text) => text == theirs,
        Name::Open(text) => {
            let (head, rest) = text.split_once("{{").unwrap();
            let (_, tail) = rest.rsplit_once("}}").unwrap();
            theirs.len() > head.len() + tail.len() && theirs.starts_with(head) && theirs.ends_with(tail)
        }
    }
}

fn is_login(ours: &Identity, (user, groups): &Login) -> bool {
    let username = ours.username.as_ref().is_none_or(|name| is_name(name, user));
    let same = ours.groups.iter().zip(groups).all(|(name, group)| is_name(name, group));
    username && same && ours.groups.len() == groups.len()
}

/// How our answer and the cluster's differ; nothing where they agree.
fn difference(server: &Server, state: &State, question: &Question, tally: &mut Tally) -> Option<String> {
    let access = Access::of(state, Moment::Stored);
    let ours = access.can(&Who::parse(&question.who).unwrap(), &question.request);
    let login = server.login(&question.door);
    if !is_admission(&ours.admission, login.as_ref()) {
        return Some(format!("ours: {:?}\ntheirs: {login:?}", ours.admission));
    }
    if matches!(ours.admission, Admission::ByChance(_)) {
        tally.by_chance += 1;
        return None;
    }
    let yes = ours.verdict == Verdict::Yes;
    if let Some(login) = &login
        && server.review(login, &question.request) != yes
    {
        return Some(format!("ours: {:?}\ntheirs, by a review: {}", ours.verdict, !yes));
    }
    let expected = match (&login, yes) {
        (None, _) => Outcome::NotLetIn,
        (Some(_), true) => Outcome::Allowed,
        (Some(_), false) => Outcome::Forbidden,
    };
    if let Some(sent) = &question.sent {
        let outcome = server.outcome(question, sent);
        if outcome != expected {
            return Some(format!("ours: {:?}\ntheirs, of the request itself: {outcome:?}", ours.verdict));
        }
        tally.requests += 1;
        tally.requests_allowed += usize::from(yes);
    }
    tally.yes += usize::from(yes);
    tally.not_let_in += usize::from(login.is_none());
    None
}

/// Whether the cluster takes somebody for one of those whom we know.
fn is_admission(ours: &Admission, theirs: Option<&Login>) -> bool {
    let is_one = |ours: Option<&Identity>| match (ours, theirs) {
        (Some(identity), Some(login)) => is_login(identity, login),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    match ours {
        Admission::As(identity) => is_one(Some(identity)),
        Admission::Denied(_) => is_one(None),
        Admission::ByChance(logins) => logins.iter().any(|one| is_one(one.as_ref().ok())),
    }
}

/// Some callers, held against the authenticator's own mapper.
fn identities(server: &Server, state: &State, callers: &[String], tally: &mut Tally) -> Option<String> {
    let access = Access::of(state, Moment::Stored);
    callers.iter().find_map(|arn| {
        let ours = Admission::of(&Who::parse(arn).unwrap(), &access.mapping);
        let theirs = server.login(&Door::Arn(arn.clone()));
        if !is_admission(&ours, theirs.as_ref()) {
            return Some(format!("{arn}\nours: {ours:?}\ntheirs: {theirs:?}"));
        }
        tally.identities += 1;
        tally.identities_let_in += usize::from(theirs.is_some());
        None
    })
}

/// What the program says on the command line, once live and once of a snapshot.
fn said(program: &Program, state: &State, questions: &[Question], tally: &mut Tally) -> Option<String> {
    let access = Access::of(state, Moment::Stored);
    program.snapshot();
    let asked = questions.iter().filter(|question| question.sent.is_some()).take(4).zip([true, false, false, false]);
    asked.into_iter().find_map(|(question, live)| {
        let ours = access.can(&Who::parse(&question.who).unwrap(), &question.request);
        let expected = (ours.verdict == Verdict::Yes, !matches!(ours.admission, Admission::Denied(_)));
        let said = program.says(question, live);
        tally.said += 1;
        (said != Ok(expected)).then(|| format!("{} {}: {expected:?}, {said:?}", question.who, question.request))
    })
}

/// Likewise, when what was written has had the time to arrive.
fn lasting(
    server: &Server,
    state: &mut State,
    question: &Question,
    wait: Duration,
    tally: &mut Tally,
) -> Option<String> {
    let deadline = Instant::now() + wait;
    loop {
        let found = difference(server, state, question, tally)?;
        if Instant::now() > deadline {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(10));
        match server.settled() {
            Ok(now) => *state = now,
            Err(why) => return Some(why),
        }
    }
}

/// The smallest state that still shows the difference, for a person to read.
fn smallest(server: &Server, case: &Case, differs: &dyn Fn(&mut State) -> bool) -> String {
    let small = shrink(case.value(), TRIES, &mut |value| {
        let case = Case::of(value.clone());
        let there = case.is_whole() && server.arrange(&case).is_ok();
        there && server.settled().is_ok_and(|mut state| differs(&mut state))
    });
    let small = Case::of(small);
    let objects: String = small.objects().iter().map(|object| format!("---\n{}", to_yaml(object))).collect();
    format!("{objects}---\n{}", to_yaml(&serde_json::json!({ (AWS_AUTH): small.data() })))
}

/// Writes the state of a number and puts questions about it.
fn compare(server: &Server, program: &Program, seed: u64, tally: &mut Tally) {
    let case = Case::random(seed);
    server.arrange(&case).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let mut state = server.settled().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{}", to_yaml(case.value())));
    let mut before = state.clone();
    before.roles.extend(case.written().unwrap().roles);
    for role in before.roles.values_mut().filter(|role| !role.rules.is_empty() && role.aggregation.is_some()) {
        role.meta.rules_holder = Holder::Another;
    }
    // In a circle it hangs on the order of the writes what a rule that was there before becomes.
    if circles(&before).is_empty() {
        for (key, stored) in aggregated(&state).filter(|(key, _)| key.name().starts_with('a') && key.name().len() == 2)
        {
            assert_eq!(gathered(&before, key), stored, "seed {seed}: {key}\n{}", to_yaml(case.value()));
            tally.foretold += 1;
        }
    }
    let mut dice = Dice::new(!seed);
    let others = (0..CALLERS.len()).map(|_| caller(&mut dice));
    let callers: Vec<String> = CALLERS.iter().copied().map(str::to_owned).chain(others).collect();
    if let Some(found) = identities(server, &state, &callers, tally) {
        let small =
            smallest(server, &case, &|state| identities(server, state, &callers, &mut Tally::default()).is_some());
        panic!("somebody is taken for another; ROLECALL_SEED={seed} ROLECALL_STATES=1 asks again\n{found}\n{small}");
    }
    let questions = questions(&mut dice, PER_STATE);
    let near = near(&case, &mut dice, NEAR);
    for question in questions.iter().chain(&near) {
        if let Some(found) = lasting(server, &mut state, question, LATER, tally) {
            let soon = Duration::from_millis(300);
            let small = smallest(server, &case, &|state| {
                lasting(server, state, question, soon, &mut Tally::default()).is_some()
            });
            panic!(
                "an answer differs; ROLECALL_SEED={seed} ROLECALL_STATES=1 asks again\n{} {}\n{:?}\n{found}\n{small}",
                question.who, question.request, question.sent
            );
        }
        tally.questions += 1;
    }
    if seed.is_multiple_of(SAID)
        && let Some(found) = said(program, &state, &questions, tally)
    {
        panic!("the program says otherwise, ROLECALL_SEED={seed}\n{found}\n{}", to_yaml(case.value()));
    }
    tally.states += 1;
}

#[test]
fn the_engine_answers_as_the_cluster_does() {
    let server = Server::start();
    let program = Program::beside(&server);
    let first: u64 = number("ROLECALL_SEED", 1);
    let states: u64 = number("ROLECALL_STATES", 60);
    let mut tally = Tally::default();
    for seed in first..first + states {
        compare(&server, &program, seed, &mut tally);
    }
    println!("{tally:?}: no difference");
    // Answers of every sort, or it would prove little.
    let Tally { foretold, identities, identities_let_in, questions, requests, requests_allowed, yes, .. } = tally;
    if states >= 50 {
        assert!(yes * 5 > questions && yes * 5 < questions * 4, "{yes} of {questions} were yes");
        assert!(requests_allowed * 6 > requests && requests * 5 > questions, "{requests_allowed} of {requests}");
        assert!(identities_let_in * 4 > identities && identities_let_in * 10 < identities * 9, "{identities_let_in}");
        assert!(tally.by_chance > 0 && tally.not_let_in > 0 && foretold > 20);
    }
}

/// Trap 49.
#[test]
fn a_review_that_leaves_out_the_group_of_everybody_says_no_to_what_everybody_may() {
    let server = Server::start();
    server.arrange(&Case::of(serde_json::json!({ "objects": [] }))).unwrap();
    let state = server.settled().unwrap();
    let question = Question {
        who: "user:u1".to_owned(),
        door: Door::As { user: "u1".to_owned(), groups: Vec::new() },
        request: Request::object("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
        sent: None,
    };
    assert!(!server.review(&("u1".to_owned(), Vec::new()), &question.request));
    assert_eq!(difference(&server, &state, &question, &mut Tally::default()), None);
    let answer = Access::of(&state, Moment::Stored).can(&Who::parse(&question.who).unwrap(), &question.request);
    assert_eq!(answer.verdict, Verdict::Yes);
}

#[test]
fn the_doors_are_those_of_the_questions() {
    let mut dice = Dice::new(1);
    let all = questions(&mut dice, 400);
    let count = |is: fn(&Door) -> bool| all.iter().filter(|question| is(&question.door)).count();
    assert!(count(|door| matches!(door, Door::Arn(_))) > 100 && count(|door| *door == Door::Nobody) > 10);
    assert!(all.iter().all(|question| Who::parse(&question.who).is_ok()));
}
