//! What must hold on any state.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::oracle;
use super::random::{all_requests, all_subjects, object_rule, some_requests, state, state_pair};
use crate::access::escalation_rules::{ESCALATION_RULES, RequiredAccess, RequiredScope};
use crate::access::request_set::{StringSet, subtract};
use crate::access::{
    AccessDecision, AccessView, Aggregation, EscalationPath, Identity, Request, RequestSet, SubjectQuery,
    all_escalation_paths, diff_access, diff_subject, escalation_paths, grants_request,
};

fn aggregations() -> impl Strategy<Value = Aggregation> {
    prop_oneof![Just(Aggregation::AsStored), Just(Aggregation::Reconciled)]
}

/// Requests that a need asks for, in the words of the random states, as a client can send them.
fn requests_for(need: &RequiredAccess) -> Vec<Request> {
    let namespaces: &[&str] = match need.scope {
        RequiredScope::Cluster => &[""],
        RequiredScope::AnyNamespace => &["n1", "n2", "elsewhere"],
        RequiredScope::InNamespace(namespace) => &[namespace],
        RequiredScope::Any | RequiredScope::NamedNamespace => &["", "n1", "n2", "elsewhere"],
    };
    let names = if need.scope == RequiredScope::NamedNamespace {
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
            all.push(
                Request::object(verb, need.group, resource)
                    .with_name(name)
                    .in_namespace(namespace)
                    .into_client_request(),
            );
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn can_answers_as_the_plain_evaluator(state in state(), moment in aggregations(), asked in some_requests(), indexed in any::<bool>()) {
        let access = AccessView::new(&state, moment);
        if indexed {
            access.grants.build_index();
        }
        for who in all_subjects() {
            for request in &asked {
                let answer = access.can(&who, request);
                let expected = match oracle::allowed(&state, moment, &who, request) {
                    (0, _) => AccessDecision::Denied,
                    (some, all) if some == all => AccessDecision::Allowed,
                    _ => AccessDecision::Ambiguous,
                };
                prop_assert_eq!(answer.decision, expected, "{} {}", who, request);
                prop_assert_eq!(answer.granted_by.is_empty(), answer.decision == AccessDecision::Denied);
            }
        }
    }

    #[test]
    fn the_index_finds_what_a_walk_finds(state in state()) {
        let (walked, indexed) = (AccessView::new(&state, Aggregation::AsStored), AccessView::new(&state, Aggregation::AsStored));
        indexed.grants.build_index();
        for who in walked.all_subjects().into_iter().chain(all_subjects()) {
            for identity in walked.authenticate(&who).identities() {
                prop_assert_eq!(walked.grants.grants_for_identity(identity), indexed.grants.grants_for_identity(identity));
            }
        }
    }

    #[test]
    fn who_can_is_everybody_who_can(state in state(), moment in aggregations(), asked in some_requests()) {
        let access = AccessView::new(&state, moment);
        for request in asked.iter().take(6) {
            let answer = access.who_can(request);
            let can = |who: &SubjectQuery| access.can(who, request).decision != AccessDecision::Denied;
            for who in access.all_subjects().into_iter().chain(all_subjects()) {
                let among = access.authenticate(&who).identities().any(|identity| answer.includes(identity));
                prop_assert_eq!(among, can(&who), "{} {}", who, request);
            }
            let listed: BTreeSet<SubjectQuery> =
                answer.system_masters.iter().chain(&answer.principals).map(|principal| principal.subject.clone()).collect();
            let expected: BTreeSet<SubjectQuery> =
                access.principals().iter().map(|principal| principal.subject.clone()).filter(can).collect();
            prop_assert_eq!(listed, expected);
            for holder in &answer.subjects {
                prop_assert!(can(&SubjectQuery::from_subject(holder.subject)));
            }
        }
    }

    #[test]
    fn the_delta_is_exact((one, other) in state_pair(), moment in aggregations(), asked in some_requests()) {
        let (before, after) = (AccessView::new(&one, moment), AccessView::new(&other, moment));
        for who in all_subjects() {
            let row = diff_subject(&before, &after, &who);
            for request in &asked {
                let was = oracle::allowed(&one, moment, &who, request).0 > 0;
                let is = oracle::allowed(&other, moment, &who, request).0 > 0;
                prop_assert_eq!(grants_request(&row.permissions.gained, request), is && !was, "{} gains {}", who, request);
                prop_assert_eq!(grants_request(&row.permissions.lost, request), was && !is, "{} loses {}", who, request);
            }
        }
    }

    #[test]
    fn the_delta_leaves_nobody_out((one, other) in state_pair(), moment in aggregations()) {
        let (before, after) = (AccessView::new(&one, moment), AccessView::new(&other, moment));
        let rows = diff_access(&before, &after);
        for who in before.all_subjects().into_iter().chain(after.all_subjects()) {
            let alone = diff_subject(&before, &after, &who);
            match rows.iter().find(|row| row.subject == who) {
                Some(row) => {
                    prop_assert_eq!(&row.permissions.gained, &alone.permissions.gained);
                    prop_assert_eq!(&row.permissions.lost, &alone.permissions.lost);
                    prop_assert!(!row.is_empty());
                }
                // The same principal in another spelling, or somebody behind whom a principal stands.
                None => prop_assert!(alone.permissions.is_empty() || has_other_diff(&before, &after, &who), "{} is missing", who),
            }
        }
    }
}

fn has_other_diff(before: &AccessView<'_>, after: &AccessView<'_>, who: &SubjectQuery) -> bool {
    let named =
        |access: &AccessView<'_>| access.grants.all().any(|grant| SubjectQuery::from_subject(grant.subject) == *who);
    let stands = |access: &AccessView<'_>| {
        let is_behind =
            |identity: &Identity| identity.subjects().any(|subject| SubjectQuery::from_subject(&subject) == *who);
        access.principals().iter().any(|principal| principal.authentication.identities().any(is_behind))
    };
    match who {
        SubjectQuery::Arn(_) => true,
        SubjectQuery::Account(_) => false,
        SubjectQuery::ServiceAccount { .. } => !named(before) && !named(after),
        SubjectQuery::User(_) | SubjectQuery::Group(_) => {
            !(named(before) || named(after)) || stands(before) || stands(after)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_can_escalate_is_everybody_who_has_a_way(state in state(), moment in aggregations()) {
        let access = AccessView::new(&state, moment);
        let found = all_escalation_paths(&access);
        // Each is asked by himself, of an access that nobody has asked before.
        let asked = AccessView::new(&state, moment).all_subjects().into_iter().map(|who| (escalation_paths(&AccessView::new(&state, moment), &who), who));
        let expected: Vec<(SubjectQuery, Vec<EscalationPath<'_>>)> =
            asked.filter(|(ways, _)| !ways.is_empty()).map(|(ways, who)| (who, ways)).collect();
        prop_assert_eq!(&found, &expected);
        // And a way that needs one request alone is open to whom the plain evaluator allows one of those.
        for who in access.all_subjects() {
            let ways = found.iter().find(|(one, _)| *one == who).map(|(_, ways)| ways.as_slice()).unwrap_or_default();
            let is_master = access.authenticate(&who).identities().any(Identity::is_in_system_masters);
            let whole = is_master || ways.iter().any(|way| way.name() == "full-admin");
            for way in &ESCALATION_RULES {
                let [need] = way.requires else { continue };
                let may = requests_for(need).iter().any(|request| oracle::allowed(&state, moment, &who, request).0 > 0);
                let told = ways.iter().any(|one| one.name() == way.name);
                // All of everything says it all.
                prop_assert!(may == told || whole && may, "{}: {} by {:?}", who, way.name, ways);
            }
        }
    }

    #[test]
    fn no_part_of_a_delta_is_empty_or_in_another((one, other) in state_pair()) {
        let (before, after) = (AccessView::new(&one, Aggregation::Reconciled), AccessView::new(&other, Aggregation::Reconciled));
        let questions = all_requests();
        for row in diff_access(&before, &after) {
            for parts in [&row.permissions.gained, &row.permissions.lost] {
                for (place, part) in parts.iter().enumerate() {
                    let inside: Vec<_> = questions.iter().filter(|question| part.requests.contains(question)).collect();
                    prop_assert!(!inside.is_empty(), "nothing is in {}", part.requests);
                    prop_assert!(!part.granted_by.is_empty());
                    for (other, whole) in parts.iter().enumerate().filter(|(other, _)| *other != place) {
                        let within = whole.requests.except.is_empty() && whole.requests.set.covers(&part.requests.set);
                        prop_assert!(!within, "{} is in {}, {}", part.requests, whole.requests, other);
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
        let scope = |wide: bool| if wide { StringSet::all() } else { StringSet::only(["n1"]) };
        let taken: Vec<RequestSet<'_>> = taken.iter().filter_map(|(rule, wide)| RequestSet::from_rule_objects(rule, scope(*wide))).collect();
        let questions = all_requests();
        if let Some(whole) = RequestSet::from_rule_objects(&rule, StringSet::all()) {
            let left = subtract(&whole, &taken);
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
