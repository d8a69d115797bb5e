//! What must hold on any state.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::oracle;
use super::random::{everybody, object_rule, pair, questions, some_questions, state};
use crate::access::extent::{Words, without};
use crate::access::ways::{Need, Place, WAYS};
use crate::access::{
    Access, Extent, Identity, Moment, Request, Verdict, WayUp, Who, all_ways_up, contains, delta, delta_of, ways_up,
};

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![Just(Moment::Stored), Just(Moment::Settled)]
}

/// Requests that a need asks for, in the words of the random states, as a client can send them.
fn asking(need: &Need) -> Vec<Request> {
    let namespaces: &[&str] = match need.place {
        Place::Cluster => &[""],
        Place::Namespace => &["n1", "n2", "elsewhere"],
        Place::In(namespace) => &[namespace],
        Place::Any | Place::Itself => &["", "n1", "n2", "elsewhere"],
    };
    let names = if need.place == Place::Itself {
        // What is updated or patched has a name, and so a namespace.
        &["n1", "n2", "a", "other"][..]
    } else if need.names.is_empty() {
        &["", "a", "n1", "other"][..]
    } else {
        need.names
    };
    let mut all = Vec::new();
    for (verb, resource) in need.verbs.iter().flat_map(|verb| need.resources.iter().map(move |one| (verb, one))) {
        for (namespace, name) in namespaces.iter().flat_map(|space| names.iter().map(move |name| (space, name))) {
            all.push(Request::object(verb, need.group, resource).named(name).within(namespace).into_sent());
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn can_answers_as_the_plain_evaluator(state in state(), moment in moments(), asked in some_questions(), indexed in any::<bool>()) {
        let access = Access::of(&state, moment);
        if indexed {
            access.grants.index();
        }
        for who in everybody() {
            for request in &asked {
                let answer = access.can(&who, request);
                let expected = match oracle::allowed(&state, moment, &who, request) {
                    (0, _) => Verdict::No,
                    (some, all) if some == all => Verdict::Yes,
                    _ => Verdict::ByChance,
                };
                prop_assert_eq!(answer.verdict, expected, "{} {}", who, request);
                prop_assert_eq!(answer.by.is_empty(), answer.verdict == Verdict::No);
            }
        }
    }

    #[test]
    fn the_index_finds_what_a_walk_finds(state in state()) {
        let (walked, indexed) = (Access::of(&state, Moment::Stored), Access::of(&state, Moment::Stored));
        indexed.grants.index();
        for who in walked.everybody().into_iter().chain(everybody()) {
            for identity in walked.admit(&who).identities() {
                prop_assert_eq!(walked.grants.held_by(identity), indexed.grants.held_by(identity));
            }
        }
    }

    #[test]
    fn who_can_is_everybody_who_can(state in state(), moment in moments(), asked in some_questions()) {
        let access = Access::of(&state, moment);
        for request in asked.iter().take(6) {
            let answer = access.who_can(request);
            let can = |who: &Who| access.can(who, request).verdict != Verdict::No;
            for who in access.everybody().into_iter().chain(everybody()) {
                let among = access.admit(&who).identities().any(|identity| answer.includes(identity));
                prop_assert_eq!(among, can(&who), "{} {}", who, request);
            }
            let listed: BTreeSet<Who> =
                answer.masters.iter().chain(&answer.principals).map(|principal| principal.who.clone()).collect();
            let expected: BTreeSet<Who> =
                access.principals().iter().map(|principal| principal.who.clone()).filter(can).collect();
            prop_assert_eq!(listed, expected);
            for holder in &answer.holders {
                prop_assert!(can(&Who::of_subject(holder.subject)));
            }
        }
    }

    #[test]
    fn the_delta_is_exact((one, other) in pair(), moment in moments(), asked in some_questions()) {
        let (before, after) = (Access::of(&one, moment), Access::of(&other, moment));
        for who in everybody() {
            let row = delta_of(&before, &after, &who);
            for request in &asked {
                let was = oracle::allowed(&one, moment, &who, request).0 > 0;
                let is = oracle::allowed(&other, moment, &who, request).0 > 0;
                prop_assert_eq!(contains(&row.change.gained, request), is && !was, "{} gains {}", who, request);
                prop_assert_eq!(contains(&row.change.lost, request), was && !is, "{} loses {}", who, request);
            }
        }
    }

    #[test]
    fn the_delta_leaves_nobody_out((one, other) in pair(), moment in moments()) {
        let (before, after) = (Access::of(&one, moment), Access::of(&other, moment));
        let rows = delta(&before, &after);
        for who in before.everybody().into_iter().chain(after.everybody()) {
            let alone = delta_of(&before, &after, &who);
            match rows.iter().find(|row| row.who == who) {
                Some(row) => {
                    prop_assert_eq!(&row.change.gained, &alone.change.gained);
                    prop_assert_eq!(&row.change.lost, &alone.change.lost);
                    prop_assert!(!row.is_empty());
                }
                // The same principal in another spelling, or somebody behind whom a principal stands.
                None => prop_assert!(alone.change.is_empty() || has_other_row(&before, &after, &who), "{} is missing", who),
            }
        }
    }
}

fn has_other_row(before: &Access<'_>, after: &Access<'_>, who: &Who) -> bool {
    let named = |access: &Access<'_>| access.grants.all().any(|grant| Who::of_subject(grant.subject) == *who);
    let stands = |access: &Access<'_>| {
        let is_behind = |identity: &Identity| identity.subjects().any(|subject| Who::of_subject(&subject) == *who);
        access.principals().iter().any(|principal| principal.admission.identities().any(is_behind))
    };
    match who {
        Who::Arn(_) => true,
        Who::Account(_) => false,
        Who::ServiceAccount { .. } => !named(before) && !named(after),
        Who::User(_) | Who::Group(_) => !(named(before) || named(after)) || stands(before) || stands(after),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_can_escalate_is_everybody_who_has_a_way(state in state(), moment in moments()) {
        let access = Access::of(&state, moment);
        let found = all_ways_up(&access);
        // Each is asked by himself, of an access that nobody has asked before.
        let asked = Access::of(&state, moment).everybody().into_iter().map(|who| (ways_up(&Access::of(&state, moment), &who), who));
        let expected: Vec<(Who, Vec<WayUp<'_>>)> =
            asked.filter(|(ways, _)| !ways.is_empty()).map(|(ways, who)| (who, ways)).collect();
        prop_assert_eq!(&found, &expected);
        // And a way that needs one request alone is open to whom the plain evaluator allows one of those.
        for who in access.everybody() {
            let ways = found.iter().find(|(one, _)| *one == who).map(|(_, ways)| ways.as_slice()).unwrap_or_default();
            let is_master = access.admit(&who).identities().any(Identity::is_master);
            let whole = is_master || ways.iter().any(|way| way.name() == "everything");
            for way in &WAYS {
                let [need] = way.needs else { continue };
                let may = asking(need).iter().any(|request| oracle::allowed(&state, moment, &who, request).0 > 0);
                let told = ways.iter().any(|one| one.name() == way.name);
                // All of everything says it all.
                prop_assert!(may == told || whole && may, "{}: {} by {:?}", who, way.name, ways);
            }
        }
    }

    #[test]
    fn no_part_of_a_delta_is_empty_or_in_another((one, other) in pair()) {
        let (before, after) = (Access::of(&one, Moment::Settled), Access::of(&other, Moment::Settled));
        let questions = questions();
        for row in delta(&before, &after) {
            for parts in [&row.change.gained, &row.change.lost] {
                for (place, part) in parts.iter().enumerate() {
                    let inside: Vec<_> = questions.iter().filter(|question| part.region.contains(question)).collect();
                    prop_assert!(!inside.is_empty(), "nothing is in {}", part.region);
                    prop_assert!(!part.by.is_empty());
                    for (other, whole) in parts.iter().enumerate().filter(|(other, _)| *other != place) {
                        let within = whole.region.except.is_empty() && whole.region.extent.covers(&part.region.extent);
                        prop_assert!(!within, "{} is in {}, {}", part.region, whole.region, other);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_left_of_a_rule_is_exact_and_no_part_of_it_empty(
        rule in object_rule(),
        taken in proptest::collection::vec((object_rule(), any::<bool>()), 0..=9),
    ) {
        let scope = |wide: bool| if wide { Words::all() } else { Words::only(["n1"]) };
        let taken: Vec<Extent<'_>> = taken.iter().filter_map(|(rule, wide)| Extent::objects(rule, scope(*wide))).collect();
        let questions = questions();
        if let Some(whole) = Extent::objects(&rule, Words::all()) {
            let left = without(&whole, &taken);
            for question in &questions {
                let expected = whole.contains(question) && !taken.iter().any(|taken| taken.contains(question));
                prop_assert_eq!(left.iter().any(|region| region.contains(question)), expected, "{}", question);
            }
            for region in &left {
                prop_assert!(questions.iter().any(|question| region.contains(question)), "nothing is in {}", region);
            }
        }
    }
}
