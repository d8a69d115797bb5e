//! One difference alone, against whole states in which nothing else differs.

use std::collections::BTreeSet;
use std::mem::discriminant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::random::state_pair;
use crate::access::{AccessView, Aggregation, Authentication, Identity, MarginalImpact, SubjectQuery, diff_access};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::{Entry, EntryPrincipal, Section};
use crate::state::config_map::{AwsAuth, principal_text};

/// The first state with one piece as the second has it.
fn with_object(one: &State, other: &State, key: &ObjectKey) -> State {
    let mut state = one.clone();
    state.roles.remove(key);
    state.bindings.remove(key);
    state.roles.extend(other.roles.get_key_value(key).map(|(key, role)| (key.clone(), role.clone())));
    state.bindings.extend(other.bindings.get_key_value(key).map(|(key, binding)| (key.clone(), binding.clone())));
    state
}

fn entries(state: &State, section: Section) -> Vec<Entry> {
    match state.aws_auth.as_ref().map(|auth| auth.parse_section(section)) {
        Some(Ok(reading)) => reading.entries.into_iter().map(|found| found.entry).collect(),
        Some(Err(error)) => error.partial_entries,
        None => Vec::new(),
    }
}

/// The first state with the entries of one principal as the second has them.
fn with_entries(one: &State, other: &State, principal: &str) -> State {
    let is_his = |entry: &Entry| principal_text(entry).eq_ignore_ascii_case(principal);
    let text = |section: Section| {
        let kept = entries(one, section).into_iter().filter(|entry| !is_his(entry));
        let list: Vec<Value> = kept
            .chain(entries(other, section).into_iter().filter(is_his))
            .map(|Entry { principal, username, groups }| match principal {
                EntryPrincipal::Role(arn) => json!({ "rolearn": arn, "username": username, "groups": groups }),
                EntryPrincipal::User(arn) => json!({ "userarn": arn, "username": username, "groups": groups }),
                EntryPrincipal::Account(id) => json!(id),
                EntryPrincipal::Sso(_) => panic!("no such entries are made"),
            })
            .collect();
        (section.key().to_owned(), json!(list).to_string())
    };
    let data = Section::ALL.into_iter().map(text).collect();
    State { aws_auth: Some(AwsAuth { data, ..AwsAuth::default() }), ..one.clone() }
}

fn changes_access(one: &State, other: &State) -> bool {
    !diff_access(&AccessView::new(one, Aggregation::Reconciled), &AccessView::new(other, Aggregation::Reconciled))
        .is_empty()
}

/// Whether the login itself is another: let in or not, by chance or not, as a machine or not.
fn is_other_login(one: &State, other: &State, who: &SubjectQuery) -> bool {
    let sides = [one, other].map(|state| AccessView::new(state, Aggregation::Reconciled).authenticate(who));
    let is_node = |admission: &Authentication| admission.identities().any(Identity::is_node);
    discriminant(&sides[0]) != discriminant(&sides[1]) || is_node(&sides[0]) != is_node(&sides[1])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_object_alone_is_judged_as_two_whole_states_are((one, other) in state_pair()) {
        let (before, after) = (AccessView::new(&one, Aggregation::Reconciled), AccessView::new(&other, Aggregation::Reconciled));
        let alone = MarginalImpact::new(&before, &after);
        let keys: BTreeSet<&ObjectKey> = [&one, &other].iter().flat_map(|s| s.roles.keys().chain(s.bindings.keys())).collect();
        for key in keys {
            let expected = changes_access(&one, &with_object(&one, &other, key)) || changes_access(&other, &with_object(&other, &one, key));
            prop_assert_eq!(alone.object_changes_access(key), expected, "{}", key);
        }
    }

    #[test]
    fn the_entries_of_a_principal_are_judged_as_two_whole_states_are((one, other) in state_pair()) {
        let (before, after) = (AccessView::new(&one, Aggregation::Reconciled), AccessView::new(&other, Aggregation::Reconciled));
        let alone = MarginalImpact::new(&before, &after);
        let all = [&one, &other].into_iter().flat_map(|state| Section::ALL.map(|section| entries(state, section)));
        let principals: BTreeSet<String> = all.flatten().map(|entry| principal_text(&entry)).collect();
        for principal in principals {
            let is_account = !principal.starts_with("arn:");
            let who = SubjectQuery::parse(&if is_account { format!("account:{principal}") } else { principal.clone() }).unwrap();
            let says = if is_account { alone.account_changes_access(&principal) } else { alone.entry_changes_access(&principal) };
            let (alone, left_out) = (with_entries(&one, &other, &principal), with_entries(&other, &one, &principal));
            let changes = changes_access(&one, &alone) || changes_access(&other, &left_out);
            let login = is_other_login(&one, &alone, &who) || is_other_login(&other, &left_out, &who);
            prop_assert!(says || !changes, "{} changes something", principal);
            // A way up that closes is no line of the delta.
            let closes = changes_access(&alone, &one) || changes_access(&left_out, &other);
            prop_assert!(!says || changes || closes || login, "{} changes nothing", principal);
        }
    }
}
