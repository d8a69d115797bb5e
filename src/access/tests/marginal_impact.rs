//! The impact of a single change, compared with the difference of two states that differ only in this change.

use std::collections::BTreeSet;
use std::mem::discriminant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::entries;
use super::random::state_pair;
use crate::access::{AccessView, Aggregation, Authentication, Identity, MarginalImpact, SubjectQuery, diff_access};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::{Entry, EntryPrincipal, Section};
use crate::state::config_map::{AwsAuth, principal_text};

/// `base` with the object `key` of `source`.
fn with_object(base: &State, source: &State, key: &ObjectKey) -> State {
    let mut state = base.clone();
    state.roles.remove(key);
    state.bindings.remove(key);
    state.roles.extend(source.roles.get_key_value(key).map(|(key, role)| (key.clone(), role.clone())));
    state.bindings.extend(source.bindings.get_key_value(key).map(|(key, binding)| (key.clone(), binding.clone())));
    state
}

/// `base` with the entries of `principal` in `source`.
fn with_entries(base: &State, source: &State, principal: &str) -> State {
    let is_same_principal = |entry: &Entry| principal_text(entry).eq_ignore_ascii_case(principal);
    let text = |section: Section| {
        let (base, source) = (entries(base, section), entries(source, section));
        let kept = base.iter().filter(|entry| !is_same_principal(entry));
        let list: Vec<Value> = kept
            .chain(source.iter().filter(|entry| is_same_principal(entry)))
            .cloned()
            .map(|Entry { principal, username, groups }| match principal {
                EntryPrincipal::Role(arn) => json!({ "rolearn": arn, "username": username, "groups": groups }),
                EntryPrincipal::User(arn) => json!({ "userarn": arn, "username": username, "groups": groups }),
                EntryPrincipal::Account(id) => json!(id),
                EntryPrincipal::Sso(_) => panic!("the random states have no such entries"),
            })
            .collect();
        (section.key().to_owned(), json!(list).to_string())
    };
    let data = Section::ALL.into_iter().map(text).collect();
    State { aws_auth: Some(AwsAuth { data, ..AwsAuth::default() }), ..base.clone() }
}

fn changes_access(before: &State, after: &State) -> bool {
    let (before, after) = AccessView::pair(before, after, Aggregation::Reconciled);
    !diff_access(&before, &after).is_empty()
}

/// Returns whether the authentication has another outcome (allowed, denied or ambiguous), or only one of them is a
/// node.
fn changes_authentication(before: &State, after: &State, subject: &SubjectQuery) -> bool {
    let [before, after] =
        [before, after].map(|state| AccessView::new(state, Aggregation::Reconciled).authenticate(subject));
    let is_node = |authentication: &Authentication| authentication.identities().any(Identity::is_node);
    discriminant(&before) != discriminant(&after) || is_node(&before) != is_node(&after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn object_impact_matches_diff_of_whole_states((first, second) in state_pair()) {
        let (before, after) = AccessView::pair(&first, &second, Aggregation::Reconciled);
        let impact = MarginalImpact::new(&before, &after);
        let keys: BTreeSet<&ObjectKey> = [&first, &second].iter().flat_map(|s| s.roles.keys().chain(s.bindings.keys())).collect();
        for key in keys {
            let expected = changes_access(&first, &with_object(&first, &second, key)) || changes_access(&second, &with_object(&second, &first, key));
            prop_assert_eq!(impact.object_changes_access(key), expected, "{}", key);
        }
    }

    #[test]
    fn entry_impact_matches_diff_of_whole_states((first, second) in state_pair()) {
        let (before, after) = AccessView::pair(&first, &second, Aggregation::Reconciled);
        let impact = MarginalImpact::new(&before, &after);
        let entries = [&first, &second].into_iter().flat_map(|state| Section::ALL.map(|section| entries(state, section)));
        let principals: BTreeSet<String> = entries.flat_map(|entries| entries.iter().map(principal_text).collect::<Vec<_>>()).collect();
        for principal in principals {
            let is_account = !principal.starts_with("arn:");
            let subject = SubjectQuery::parse(&if is_account { format!("account:{principal}") } else { principal.clone() }).unwrap();
            let reported = if is_account { impact.account_changes_access(&principal) } else { impact.entry_changes_access(&principal) };
            // The change applied alone to the first state, and reverted alone in the second state.
            let (applied, reverted) = (with_entries(&first, &second, &principal), with_entries(&second, &first, &principal));
            let changes = changes_access(&first, &applied) || changes_access(&second, &reverted);
            let authentication = changes_authentication(&first, &applied, &subject) || changes_authentication(&second, &reverted, &subject);
            prop_assert!(reported || !changes, "{} changes something", principal);
            // The diff lists only escalation paths that open. The reverse diff shows those that close.
            let closes = changes_access(&applied, &first) || changes_access(&reverted, &second);
            prop_assert!(!reported || changes || closes || authentication, "{} changes nothing", principal);
        }
    }
}
