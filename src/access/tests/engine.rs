//! The engine, whose objects change in place, against a view of the changed state.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random::{all_requests, all_subjects, state_pair};
use crate::access::{
    AccessDecision, AccessEngine, AccessView, AggregatedRules, Aggregation, Authentication, Identity, KnownNamespaces,
    Request, SubjectQuery, SubjectSet, find_aggregation_cycles,
};
use crate::state::State;

/// Returns the subjects with one identity outside of `system:masters`.
fn identities(access: &AccessView<'_>) -> Vec<(SubjectQuery, Identity)> {
    let identity = |subject: SubjectQuery| match access.authenticate(&subject) {
        Authentication::Identity(identity) if !identity.is_in_system_masters() => Some((subject, identity)),
        _ => None,
    };
    all_subjects().into_iter().filter_map(identity).collect()
}

fn allowed_by_engine(engine: &AccessEngine<'_>, identities: &[(SubjectQuery, Identity)]) -> BTreeSet<(usize, usize)> {
    let mut allowed = BTreeSet::new();
    for (number, (_, identity)) in identities.iter().enumerate() {
        let subjects = SubjectSet { subjects: engine.matching_subjects(identity), is_in_system_masters: false };
        let rules = engine.scoped_rules(&subjects, AggregatedRules::Reconciled);
        let sets: Vec<_> = rules.into_iter().map(|rule| engine.request_sets(rule)).collect();
        let is_allowed = |request: &Request| sets.iter().any(|sets| sets.iter().any(|set| set.contains(request)));
        let requests = all_requests().into_iter().enumerate().filter(|(_, request)| is_allowed(request));
        allowed.extend(requests.map(|(request, _)| (number, request)));
    }
    allowed
}

fn allowed_by_view(access: &AccessView<'_>, identities: &[(SubjectQuery, Identity)]) -> BTreeSet<(usize, usize)> {
    let mut allowed = BTreeSet::new();
    for (number, (subject, _)) in identities.iter().enumerate() {
        let is_allowed = |request: &Request| access.can(subject, request).decision == AccessDecision::Allowed;
        let requests = all_requests().into_iter().enumerate().filter(|(_, request)| is_allowed(request));
        allowed.extend(requests.map(|(request, _)| (number, request)));
    }
    allowed
}

/// Returns whether the rules of aggregated roles depend on earlier states.
fn depends_on_history(state: &State) -> bool {
    state.roles.values().any(|role| role.meta.has_manual_rules()) || !find_aggregation_cycles(state).is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn changes_of_the_engine_have_the_effect_of_the_changed_state_and_can_be_undone((first, second) in state_pair()) {
        let (before, after) =
            AccessView::pair(&first, &second, Aggregation::Reconciled);
        let identities = identities(&before);
        let mut engine = AccessEngine::with_namespaces(&first, KnownNamespaces::new([&first, &second])).unwrap();
        let start = engine.mark();
        let allowed = allowed_by_engine(&engine, &identities);
        prop_assert_eq!(&allowed, &allowed_by_view(&before, &identities));

        let roles: Vec<_> = first.all_roles().chain(second.all_roles()).map(|(key, _)| (engine.role_id(key), second.find_role(key).map(|(_, role)| role))).collect();
        let bindings: Vec<_> = first.all_bindings().chain(second.all_bindings()).map(|(key, _)| (engine.binding_id(key), second.bindings.get(key).or_else(|| second.access_entries.find_association(key)))).collect();
        engine.set_all(roles.clone(), bindings.clone()).unwrap();
        if !depends_on_history(&first) && !depends_on_history(&second) {
            let authentications = identities.iter().map(|(subject, _)| after.authenticate(subject));
            let is_same = authentications.zip(&identities).all(|(now, (_, identity))| now == Authentication::Identity(identity.clone()));
            if is_same {
                prop_assert_eq!(&allowed_by_engine(&engine, &identities), &allowed_by_view(&after, &identities));
            }
        }
        engine.undo(start).unwrap();
        prop_assert_eq!(&allowed, &allowed_by_engine(&engine, &identities));

        // One by one, with an effect that explains every difference.
        let mut now = allowed.clone();
        for (id, role) in roles {
            let effect = engine.set_role(id, role).unwrap();
            let next = allowed_by_engine(&engine, &identities);
            for (number, _) in now.symmetric_difference(&next) {
                let subjects = engine.matching_subjects(&identities[*number].1);
                prop_assert!(!effect.gained(&subjects).is_empty() || !effect.lost(&subjects).is_empty());
            }
            now = next;
        }
        for (id, binding) in bindings {
            let effect = engine.set_binding(id, binding).unwrap();
            let next = allowed_by_engine(&engine, &identities);
            for (number, _) in now.symmetric_difference(&next) {
                let subjects = engine.matching_subjects(&identities[*number].1);
                prop_assert!(!effect.gained(&subjects).is_empty() || !effect.lost(&subjects).is_empty());
            }
            now = next;
        }
        engine.undo(start).unwrap();
        prop_assert_eq!(&allowed, &allowed_by_engine(&engine, &identities));
    }
}
