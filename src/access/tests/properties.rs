//! Properties of the access engine on random states.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::oracle;
use super::random::{all_requests, all_subjects, object_rule, some_requests, state, state_pair};
use crate::access::GrantSource;
use crate::access::escalation_rules::{ESCALATION_RULES, RequiredAccess, RequiredScope};
use crate::access::request_set::{StringSet, subtract};
use crate::access::{
    AccessDecision, AccessView, Aggregation, EscalationPath, Identity, MappedPrincipal, Request, RequestSet,
    SubjectQuery, all_escalation_paths, diff_access, diff_subject, escalation_paths, grants_request,
};
use crate::names::ObjectKind;

fn aggregations() -> impl Strategy<Value = Aggregation> {
    prop_oneof![Just(Aggregation::AsStored), Just(Aggregation::Reconciled)]
}

/// Returns requests that the required access covers, with the names of the random states, as a client can send them.
fn requests_for(required: &RequiredAccess) -> Vec<Request> {
    let namespaces: &[&str] = match required.scope {
        RequiredScope::Cluster => &[""],
        RequiredScope::AnyNamespace => &["n1", "n2", "elsewhere"],
        RequiredScope::InNamespace(namespace) => &[namespace],
        RequiredScope::Any | RequiredScope::NamedNamespace => &["", "n1", "n2", "elsewhere"],
    };
    let names = if required.scope == RequiredScope::NamedNamespace {
        // An update or patch of a Namespace has its name, which is also the namespace of the request.
        &["n1", "n2", "a", "other"][..]
    } else if required.names.is_empty() {
        &["", "a", "n1", "other"][..]
    } else {
        &["", "aws-auth"]
    };
    let mut requests = Vec::new();
    for (verb, resource) in
        required.verbs.iter().flat_map(|verb| required.resources.iter().map(move |resource| (verb, resource)))
    {
        // A request of some verbs always has a name, and the POST of an object has none.
        let is_possible = |name: &&str| match *verb {
            "list" | "watch" | "deletecollection" => true,
            "create" if !resource.contains('/') => name.is_empty() || !required.verbs.contains(&"patch"),
            _ => !name.is_empty(),
        };
        let names: Vec<&str> = names.iter().copied().filter(is_possible).collect();
        for (namespace, name) in namespaces.iter().flat_map(|space| names.iter().map(move |name| (space, name))) {
            requests.push(
                Request::object(verb, required.group, resource)
                    .with_name(name)
                    .in_namespace(namespace)
                    .into_client_request(&crate::api_resources::KnownResources::default()),
            );
        }
    }
    requests
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn can_matches_oracle(state in state(), aggregation in aggregations(), requests in some_requests(), indexed in any::<bool>()) {
        let access = AccessView::new(&state, aggregation);
        if indexed {
            access.grants.build_index();
        }
        for subject in all_subjects() {
            for request in &requests {
                let answer = access.can(&subject, request);
                let expected = match oracle::allowed(&state, aggregation, &subject, request) {
                    (0, _) => AccessDecision::Denied,
                    (allowed, total) if allowed == total => AccessDecision::Allowed,
                    _ => AccessDecision::Ambiguous,
                };
                let own = if answer.allowed_variants.is_empty() { answer.decision } else { AccessDecision::Denied };
                prop_assert_eq!(own, expected, "{} {}", subject, request);
                prop_assert_eq!(answer.granted_by.is_empty(), own == AccessDecision::Denied);
                prop_assert_eq!(answer.decision == AccessDecision::SomeVariants, !answer.allowed_variants.is_empty());
                for variant in &answer.allowed_variants {
                    let subject = &variant.principal.subject;
                    prop_assert!(oracle::allowed(&state, aggregation, subject, request).0 > 0, "{} {}", subject, request);
                }
            }
        }
    }

    #[test]
    fn indexed_lookup_matches_linear_search(state in state()) {
        let (linear, indexed) = (AccessView::new(&state, Aggregation::AsStored), AccessView::new(&state, Aggregation::AsStored));
        indexed.grants.build_index();
        for subject in linear.all_subjects().into_iter().chain(all_subjects()) {
            for identity in linear.authenticate(&subject).identities() {
                prop_assert_eq!(linear.grants.grants_for_identity(identity), indexed.grants.grants_for_identity(identity));
            }
        }
    }

    #[test]
    fn who_can_matches_can_for_all_subjects(state in state(), aggregation in aggregations(), requests in some_requests()) {
        let access = AccessView::new(&state, aggregation);
        for request in requests.iter().take(6) {
            let answer = access.who_can(request);
            let can = |subject: &SubjectQuery| oracle::allowed(&state, aggregation, subject, request).0 > 0;
            for subject in access.all_subjects().into_iter().chain(all_subjects()) {
                let is_included = access.authenticate(&subject).identities().any(|identity| answer.includes(identity));
                prop_assert_eq!(is_included, can(&subject), "{} {}", subject, request);
            }
            let listed: BTreeSet<SubjectQuery> =
                answer.system_masters.iter().chain(&answer.principals).map(|principal| principal.subject.clone()).collect();
            // The variants of a principal that is allowed are not listed.
            let is_listed = |principal: &&std::rc::Rc<MappedPrincipal>| {
                can(&principal.subject) && !principal.variant_of.as_ref().is_some_and(can)
            };
            let expected: BTreeSet<SubjectQuery> =
                access.principals_and_variants().iter().filter(is_listed).map(|principal| principal.subject.clone()).collect();
            prop_assert_eq!(listed, expected);
            for bound in &answer.subjects {
                prop_assert!(can(&SubjectQuery::from_subject(bound.subject)));
            }
        }
    }

    #[test]
    fn subject_diff_matches_oracle((first, second) in state_pair(), aggregation in aggregations(), requests in some_requests()) {
        let (before, after) = AccessView::pair(&first, &second, aggregation);
        for subject in all_subjects() {
            let row = diff_subject(&before, &after, &subject);
            for request in &requests {
                let before = oracle::allowed(&first, aggregation, &subject, request).0 > 0;
                let after = oracle::allowed(&second, aggregation, &subject, request).0 > 0;
                prop_assert_eq!(grants_request(&row.permissions.gained, request), after && !before, "{} gains {}", subject, request);
                prop_assert_eq!(grants_request(&row.permissions.lost, request), before && !after, "{} loses {}", subject, request);
            }
        }
    }

    #[test]
    fn access_diff_includes_every_changed_subject((first, second) in state_pair(), aggregation in aggregations()) {
        let (before, after) = AccessView::pair(&first, &second, aggregation);
        let rows = diff_access(&before, &after);
        for subject in before.all_subjects().into_iter().chain(after.all_subjects()) {
            let single = diff_subject(&before, &after, &subject);
            match rows.iter().find(|row| row.subject == subject) {
                Some(row) => {
                    prop_assert_eq!(&row.permissions.gained, &single.permissions.gained);
                    prop_assert_eq!(&row.permissions.lost, &single.permissions.lost);
                    prop_assert!(!row.is_empty());
                }
                // The row of the same access has another subject.
                None => prop_assert!(single.permissions.is_empty() || has_other_row(&before, &after, &subject), "{} is missing", subject),
            }
        }
    }
}

/// Returns whether the diff reports the access of this subject in the row of another subject: an ARN in another
/// spelling, or a user or group that a principal maps to.
fn has_other_row(before: &AccessView<'_>, after: &AccessView<'_>, subject: &SubjectQuery) -> bool {
    let is_bound = |access: &AccessView<'_>| {
        access.grants.all().any(|grant| SubjectQuery::from_subject(grant.subject) == *subject)
    };
    let is_mapped = |access: &AccessView<'_>| {
        let has_subject =
            |identity: &Identity| identity.subjects().any(|other| SubjectQuery::from_subject(&other) == *subject);
        access.principals_and_variants().iter().any(|principal| principal.authentication.identities().any(has_subject))
    };
    match subject {
        SubjectQuery::Arn(_) => true,
        SubjectQuery::Account(_) => false,
        SubjectQuery::ServiceAccount { .. } => !is_bound(before) && !is_bound(after),
        SubjectQuery::User(_) | SubjectQuery::Group(_) => {
            !(is_bound(before) || is_bound(after)) || is_mapped(before) || is_mapped(after)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_escalation_paths_match_single_queries_and_oracle(state in state(), aggregation in aggregations()) {
        let access = AccessView::new(&state, aggregation);
        let all_paths = all_escalation_paths(&access);
        // A new view for each subject, so that no cached result is shared.
        let single_queries = AccessView::new(&state, aggregation).all_subjects().into_iter().map(|subject| (escalation_paths(&AccessView::new(&state, aggregation), &subject), subject));
        let expected: Vec<(SubjectQuery, Vec<EscalationPath<'_>>)> =
            single_queries.filter(|(paths, _)| !paths.is_empty()).map(|(paths, subject)| (subject, paths)).collect();
        prop_assert_eq!(&all_paths, &expected);
        // A rule with a single requirement applies to exactly the subjects that the oracle allows one of its requests.
        for subject in access.all_subjects() {
            let paths = all_paths.iter().find(|(other, _)| *other == subject).map(|(_, paths)| paths.as_slice()).unwrap_or_default();
            let in_masters = access.authenticate(&subject).identities().any(Identity::is_in_system_masters);
            let has_full_access = in_masters || paths.iter().any(|path| path.name() == "full-admin");
            for rule in &ESCALATION_RULES {
                let [required] = rule.requires else { continue };
                let is_allowed = requests_for(required).iter().any(|request| oracle::allowed(&state, aggregation, &subject, request).0 > 0);
                let is_reported = paths.iter().any(|path| path.name() == rule.name);
                // Full access is reported as one path, in place of the others.
                prop_assert!(is_allowed == is_reported || has_full_access && is_allowed, "{}: {} in {:?}", subject, rule.name, paths);
            }
        }
    }

    #[test]
    fn diff_parts_are_neither_empty_nor_redundant((first, second) in state_pair()) {
        let (before, after) = AccessView::pair(&first, &second, Aggregation::Reconciled);
        let all_requests = all_requests();
        for row in diff_access(&before, &after) {
            for parts in [&row.permissions.gained, &row.permissions.lost] {
                for (index, part) in parts.iter().enumerate() {
                    let contained: Vec<_> = all_requests.iter().filter(|request| part.requests.contains(request)).collect();
                    // The access policies of EKS have resources that no random request is for.
                    let is_by_policy = part.granted_by.iter().all(|source| matches!(source,
                        GrantSource::Path(path) if path.role.kind() == ObjectKind::AccessPolicy));
                    prop_assert!(!contained.is_empty() || is_by_policy, "{} is empty", part.requests);
                    prop_assert!(!part.granted_by.is_empty());
                    for (_, other) in parts.iter().enumerate().filter(|(other_index, _)| *other_index != index) {
                        let is_covered = other.requests.except.is_empty() && other.requests.set.covers(&part.requests.set);
                        prop_assert!(!is_covered, "{} is in {}", part.requests, other.requests);
                    }
                }
            }
        }
    }

    #[test]
    fn subtract_is_exact_and_returns_no_empty_parts(
        rule in object_rule(),
        subtracted in proptest::collection::vec((object_rule(), any::<bool>()), 0..=9),
    ) {
        let namespaces = |cluster_wide: bool| if cluster_wide { StringSet::all() } else { StringSet::only(["n1"]) };
        let subtracted: Vec<RequestSet<'_>> = subtracted.iter().filter_map(|(rule, cluster_wide)| RequestSet::from_rule_objects(rule, namespaces(*cluster_wide))).collect();
        let all_requests = all_requests();
        if let Some(whole) = RequestSet::from_rule_objects(&rule, StringSet::all()) {
            let remainder = subtract(&whole, &subtracted);
            for request in &all_requests {
                let expected = whole.contains(request) && !subtracted.iter().any(|set| set.contains(request));
                prop_assert_eq!(remainder.iter().any(|part| part.contains(request)), expected, "{}", request);
            }
            for part in &remainder {
                prop_assert!(all_requests.iter().any(|request| part.contains(request)), "{} is empty", part);
            }
        }
    }
}
