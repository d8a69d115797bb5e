//! The sessions and the principals of accounts that bindings distinguish, compared with every session of a small universe.

use proptest::prelude::*;

use super::fixture::{ALL_RULES, binding, can, cluster_role, mapped, parse_request, state, subject_query};
use super::oracle;
use super::random::{some_requests, state as random_state, state_pair};
use crate::access::{
    AccessDecision, AccessView, Aggregation, IamIdentity, MappedPrincipal, Request, SessionAttributes, SubjectQuery,
    diff_access, grants_request,
};
use crate::state::State;

const VIEWER: &str = "arn:aws:iam::111122223333:role/viewer";

/// Sessions with every name that the random states can distinguish, and with others.
fn universe() -> Vec<SessionAttributes> {
    let names = ["u1", "u2", "me-x", "me@x", "masters", "nodes", "authenticated", "other", "i-01234567"];
    let keys = [None, Some("ASIAQWERTYUIOP234567")];
    let nodes = [None, Some("ip-10-0-0-1.ec2.internal"), Some("ip-10-0-0-2.ec2.internal")];
    let mut sessions = Vec::new();
    for name in names {
        for key in keys {
            for node in nodes.iter().filter(|node| node.is_none() || name.starts_with("i-")) {
                sessions.push(SessionAttributes {
                    access_key_id: key.map(str::to_owned),
                    ec2_private_dns_name: node.map(str::to_owned),
                    ..SessionAttributes::named(name)
                });
            }
        }
    }
    sessions
}

/// Returns whether every session that is like `session` is one of `variant`.
fn includes(variant: &SessionAttributes, session: &SessionAttributes) -> bool {
    let is_same_name =
        |own: &String| session.name.as_ref().is_some_and(|name| own == name || *own == name.replace('@', "-"));
    variant.name.as_ref().is_none_or(is_same_name)
        && (variant.access_key_id.is_none() || variant.access_key_id == session.access_key_id)
        && (variant.ec2_private_dns_name.is_none() || variant.ec2_private_dns_name == session.ec2_private_dns_name)
}

fn attributes(principal: &MappedPrincipal) -> SessionAttributes {
    match &principal.subject {
        SubjectQuery::Arn(identity) => identity.session_attributes(),
        other => panic!("{other} has no session"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_allowed_session_is_found(state in random_state(), requests in some_requests()) {
        let access = AccessView::new(&state, Aggregation::AsStored);
        let role = IamIdentity::parse(VIEWER).unwrap();
        let is_allowed = |identity: &IamIdentity, request: &Request| {
            oracle::allowed(&state, Aggregation::AsStored, &SubjectQuery::Arn(identity.clone()), request).0 > 0
        };
        for request in &requests {
            let answer = access.can(&SubjectQuery::Arn(role.clone()), request);
            if matches!(answer.decision, AccessDecision::Allowed | AccessDecision::Ambiguous) {
                continue;
            }
            for session in universe() {
                if is_allowed(&role.with_session(&session).unwrap(), request) {
                    let is_found =
                        answer.allowed_variants.iter().any(|variant| includes(&attributes(&variant.principal), &session));
                    prop_assert!(is_found, "{} {}: {:?}", session, request, answer.allowed_variants);
                }
            }
            // The principal index and a single query have the same variants.
            let listed = access.who_can(request);
            let listed = listed.principals.iter().chain(&listed.system_masters);
            // An entry can spell the ARN in another case.
            let listed: Vec<String> = listed.map(|principal| principal.subject.to_string().to_lowercase()).collect();
            for variant in &answer.allowed_variants {
                let subject = variant.principal.subject.to_string();
                prop_assert!(listed.contains(&subject.to_lowercase()), "{} {}", subject, request);
            }
        }
    }

    #[test]
    fn diff_names_every_session_that_gains_or_loses((first, second) in state_pair(), requests in some_requests()) {
        let aggregation = Aggregation::AsStored;
        let (before, after) = AccessView::pair(&first, &second, aggregation);
        let diffs = diff_access(&before, &after);
        let role = IamIdentity::parse(VIEWER).unwrap();
        let rows: Vec<_> = diffs
            .iter()
            .filter_map(|row| match &row.subject {
                SubjectQuery::Arn(identity) if identity.comparison_key() == role.comparison_key() => {
                    Some((identity.session_attributes(), row))
                }
                _ => None,
            })
            .collect();
        // Without an entry of its own, the role is one of the principals of its account.
        let account = diffs.iter().find(|row| row.subject == SubjectQuery::Account("111122223333".to_owned()));
        for session in universe() {
            let subject = SubjectQuery::Arn(role.with_session(&session).unwrap());
            for request in &requests {
                let was_allowed = oracle::allowed(&first, aggregation, &subject, request).0 > 0;
                let is_allowed = oracle::allowed(&second, aggregation, &subject, request).0 > 0;
                let rows = rows.iter().filter(|(variant, _)| includes(variant, &session)).map(|(_, row)| *row);
                let mut rows = rows.chain(account);
                let is_reported = if is_allowed && !was_allowed {
                    rows.any(|row| grants_request(&row.permissions.gained, request))
                } else if was_allowed && !is_allowed {
                    rows.any(|row| grants_request(&row.permissions.lost, request))
                } else {
                    true
                };
                prop_assert!(is_reported, "{} {}", subject, request);
            }
        }
    }
}

/// A state in which one role has a template, and cluster-admin is bound to one user.
fn bound_user(mapping: &[(&str, &str)], user: &str) -> State {
    let mut state = state(&(cluster_role("admin", "{}", ALL_RULES) + &binding("b", None, "admin", ("User", user))));
    state.aws_auth = mapped(mapping).aws_auth;
    state
}

fn decision(state: &State, subject: &str) -> String {
    let access = AccessView::new(state, Aggregation::AsStored);
    let answer = access.can(&subject_query(subject), &parse_request("get secrets -n team"));
    let variants: Vec<String> =
        answer.allowed_variants.iter().map(|variant| variant.principal.subject.to_string()).collect();
    format!("{:?} {}", answer.decision, variants.join("; "))
}

#[test]
fn session_with_a_bound_name_has_the_access_of_the_binding() {
    let entry = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: dev:{{SessionName}}\n";
    let state = bound_user(&[("mapRoles", entry)], "dev:alice");
    assert_eq!(decision(&state, VIEWER), format!("SomeVariants {VIEWER} for sessions named `alice`"));
    assert_eq!(decision(&state, "arn:aws:sts::111122223333:assumed-role/viewer/alice"), "Allowed ");
    assert_eq!(decision(&state, "arn:aws:sts::111122223333:assumed-role/viewer/bob"), "Denied ");
    assert!(can(&state, "user:dev:alice", "get secrets"));
    // A session name has at least two characters.
    let short = bound_user(&[("mapRoles", entry)], "dev:a");
    assert_eq!(decision(&short, VIEWER), "Denied ");
}

#[test]
fn session_name_can_be_a_group_that_is_not_bound() {
    let entry =
        "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n  groups: ['system:{{SessionName}}']\n";
    assert_eq!(
        decision(&mapped(&[("mapRoles", entry)]), VIEWER),
        format!("SomeVariants {VIEWER} for sessions named `masters`")
    );
}

#[test]
fn username_includes_the_groups_of_the_entries_that_give_it() {
    let entry = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: bob\n  groups: [system:masters]\n";
    let state = mapped(&[("mapRoles", entry)]);
    assert_eq!(decision(&state, "user:bob"), format!("SomeVariants {VIEWER}"));
    assert_eq!(decision(&state, "user:eve"), "Denied ");
    let account = entry.replace("bob", "system:serviceaccount:team:bot");
    assert_eq!(decision(&mapped(&[("mapRoles", &account)]), "sa:team/bot"), format!("SomeVariants {VIEWER}"));
    let template = entry.replace("bob", "dev:{{SessionName}}");
    assert_eq!(
        decision(&mapped(&[("mapRoles", &template)]), "user:dev:bob"),
        format!("SomeVariants {VIEWER} for sessions named `bob`")
    );
}

#[test]
fn principal_of_a_mapped_account_has_the_access_of_its_arn() {
    let accounts = [("mapAccounts", "- '111122223333'\n")];
    for arn in [VIEWER, "arn:aws:iam::111122223333:user/team/Bob", "arn:aws:iam::111122223333:root"] {
        let state = bound_user(&accounts, arn);
        assert_eq!(decision(&state, "account:111122223333"), format!("SomeVariants {arn}"));
        assert_eq!(decision(&state, arn), "Allowed ");
    }
    for arn in ["arn:aws:iam::111122223333:role/team/viewer", "arn:aws:iam::444455556666:role/viewer", "arn:x"] {
        assert_eq!(decision(&bound_user(&accounts, arn), "account:111122223333"), "Denied ", "{arn}");
    }
}

#[test]
fn entries_of_principals_that_cannot_exist_are_dead() {
    for arn in ["arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/*", "arn:aws:iam::11112222333:role/viewer"] {
        let entry = format!("- rolearn: '{arn}'\n  username: x\n  groups: [system:masters]\n");
        let state = mapped(&[("mapRoles", &entry), ("mapAccounts", "- '*'\n- '1234'\n")]);
        let access = AccessView::new(&state, Aggregation::AsStored);
        assert!(access.principals_and_variants().is_empty(), "{arn}");
        assert!(access.who_can(&parse_request("get secrets")).system_masters.is_empty());
        let statuses = access.mapping.statuses().iter().map(|(_, status)| format!("{status:?}"));
        assert!(statuses.clone().all(|status| status.starts_with("Unmatchable(InvalidArn(")), "{arn}");
        assert_eq!(statuses.count(), 3);
    }
}
