//! Mapping of IAM principals to usernames and groups through aws-auth.

use super::fixture::{mapped, subject_query};
use crate::access::{
    AccessView, Aggregation, Authentication, DenialReason, EntryStatus, EscalationPath, IdentitySource, RenderedName,
    SubjectQuery, UnmatchableReason, escalation_paths,
};
use crate::state::State;
use crate::state::aws_auth::Section;

const VIEWER: &str = "arn:aws:iam::111122223333:role/viewer";
const BOB: &str = "arn:aws:iam::111122223333:user/bob";

/// Returns the identity of a subject as `username [groups]`, or why it cannot authenticate.
#[track_caller]
fn format_identity(state: &State, subject: &str) -> String {
    match AccessView::new(state, Aggregation::AsStored).authenticate(&subject_query(subject)) {
        Authentication::Identity(identity) => {
            let groups: Vec<&str> = identity.groups.iter().map(RenderedName::as_str).collect();
            format!("{} {groups:?}", identity.username.map_or_else(String::new, |name| name.to_string()))
        }
        Authentication::Denied(
            DenialReason::NoAwsAuth | DenialReason::NoAccessEntry | DenialReason::NotMapped { .. },
        ) => "not mapped".to_owned(),
        Authentication::Denied(DenialReason::NotAnInstance { .. }) => "not an instance".to_owned(),
        Authentication::Ambiguous(identities) => format!("one of {}", identities.len()),
    }
}

fn roles(text: &str) -> State {
    mapped(&[("mapRoles", text)])
}

/// Returns the status of every entry, in their order.
fn statuses(state: &State) -> Vec<EntryStatus> {
    let access = AccessView::new(state, Aggregation::AsStored);
    access.mapping.statuses().iter().map(|(_, status)| status.clone()).collect()
}

#[test]
fn invalid_section_maps_nothing_and_others_still_apply() {
    let state = mapped(&[
        ("mapRoles", &format!("- rolearn: {VIEWER}\n  username: viewer\n\tgroups: []\n")),
        ("mapUsers", &format!("- userarn: {BOB}\n  username: bob\n")),
    ]);
    assert_eq!(format_identity(&state, VIEWER), "not mapped");
    assert_eq!(format_identity(&state, BOB), r#"bob ["system:authenticated"]"#);
    let access = AccessView::new(&state, Aggregation::AsStored);
    assert_eq!(access.mapping.unreadable.iter().map(|error| error.section).collect::<Vec<_>>(), [Section::Roles]);
}

#[test]
fn field_of_wrong_type_is_empty() {
    let text = roles(&format!("- rolearn: {VIEWER}\n  username: viewer\n  groups: admins\n"));
    assert_eq!(format_identity(&text, VIEWER), r#"viewer ["system:authenticated"]"#);
    for username in ["0123", "yes", "y", "1e3", "~"] {
        let number = roles(&format!("- rolearn: {VIEWER}\n  username: {username}\n  groups: [g]\n"));
        assert_eq!(format_identity(&number, VIEWER), r#" ["g", "system:authenticated"]"#, "{username}");
    }
}

#[test]
fn value_that_yaml_or_json_cannot_represent_empties_the_section() {
    for username in [".inf", "{{SessionName}}"] {
        let state = roles(&format!("- rolearn: {VIEWER}\n  username: {username}\n"));
        assert_eq!(format_identity(&state, VIEWER), "not mapped", "{username}");
    }
}

#[test]
fn entry_keys_ignore_case_and_lower_case_wins() {
    let both = roles(&format!("- roleARN: x\n  rolearn: {VIEWER}\n  Groups: [upper]\n  groups: [lower]\n"));
    assert_eq!(format_identity(&both, VIEWER), r#" ["lower", "system:authenticated"]"#);
    let alone = roles(&format!("- roleARN: {VIEWER}\n  Groups: [upper]\n"));
    assert_eq!(format_identity(&alone, VIEWER), r#" ["upper", "system:authenticated"]"#);
    let key = mapped(&[("maproles", &format!("- rolearn: {VIEWER}\n"))]);
    assert_eq!(format_identity(&key, VIEWER), "not mapped");
}

#[test]
fn last_role_entry_wins_regardless_of_case() {
    let upper = VIEWER.replace("viewer", "Viewer");
    let state = roles(&format!("- rolearn: {VIEWER}\n  username: first\n- rolearn: {upper}\n  username: last\n"));
    assert_eq!(format_identity(&state, VIEWER), r#"last ["system:authenticated"]"#);
    assert!(matches!(statuses(&state).as_slice(), [EntryStatus::Shadowed { .. }, EntryStatus::Active]));
}

#[test]
fn user_entries_that_differ_only_in_case_are_ambiguous() {
    let users = |second: &str| {
        mapped(&[(
            "mapUsers",
            &format!("- userarn: {BOB}\n  username: first\n- userarn: {second}\n  username: last\n"),
        )])
    };
    assert_eq!(format_identity(&users(BOB), BOB), r#"last ["system:authenticated"]"#);
    let state = users(&BOB.replace("bob", "Bob"));
    assert_eq!(format_identity(&state, BOB), "one of 2");
    assert!(matches!(statuses(&state).as_slice(), [EntryStatus::Ambiguous, EntryStatus::Ambiguous]));
}

#[test]
fn user_in_map_roles_wins_over_map_users() {
    let state = mapped(&[
        ("mapRoles", &format!("- rolearn: {BOB}\n  username: as-role\n")),
        ("mapUsers", &format!("- userarn: {BOB}\n  username: as-user\n")),
    ]);
    assert_eq!(format_identity(&state, BOB), r#"as-role ["system:authenticated"]"#);
    assert!(matches!(statuses(&state).as_slice(), [EntryStatus::Active, EntryStatus::Shadowed { .. }]));
    let role = mapped(&[("mapUsers", &format!("- userarn: {VIEWER}\n  username: viewer\n"))]);
    assert_eq!(format_identity(&role, VIEWER), r#"viewer ["system:authenticated"]"#);
}

#[test]
fn arns_that_sts_never_reports_never_match() {
    let path = VIEWER.replace("role/", "role/team/");
    for (text, caller) in [
        (path.as_str(), path.as_str()),
        ("arn:aws:sts::111122223333:assumed-role/viewer/me", VIEWER),
        ("arn:aws:iam::111122223333:instance-profile/viewer", VIEWER),
        ("arn:aws:iam::111122223333:group/viewer", VIEWER),
        (" arn:aws:iam::111122223333:role/viewer", VIEWER),
    ] {
        let state = roles(&format!("- rolearn: '{text}'\n  username: viewer\n"));
        assert_eq!(format_identity(&state, caller), "not mapped", "{text}");
        assert!(matches!(statuses(&state).as_slice(), [EntryStatus::Unmatchable(_)]), "{text}");
    }
    let state = roles(&format!("- rolearn: {path}\n"));
    let Authentication::Denied(DenialReason::NotMapped { near_misses }) =
        AccessView::new(&state, Aggregation::AsStored).authenticate(&subject_query(&path))
    else {
        panic!("expected no match");
    };
    assert_eq!(near_misses[0].1, UnmatchableReason::NonCanonicalArn { canonical: VIEWER.into() });
}

#[test]
fn root_arn_is_the_root_user_and_account_entry_gives_no_groups() {
    let root = "arn:aws:iam::111122223333:root";
    let state = roles(&format!("- rolearn: {root}\n  username: root\n"));
    assert_eq!(format_identity(&state, root), r#"root ["system:authenticated"]"#);
    assert_eq!(format_identity(&state, VIEWER), "not mapped");
    let account = mapped(&[("mapAccounts", "- 012345678901\n")]);
    let caller = "arn:aws:sts::012345678901:assumed-role/Viewer/me";
    assert_eq!(format_identity(&account, caller), r#"arn:aws:iam::012345678901:role/Viewer ["system:authenticated"]"#);
    assert_eq!(format_identity(&account, VIEWER), "not mapped");
    let access = AccessView::new(&account, Aggregation::AsStored);
    assert_eq!(access.mapping.account_ids().collect::<Vec<_>>(), ["012345678901"]);
}

#[test]
fn sso_patterns_never_match_on_eks() {
    let role = "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef";
    for partition in ["", ", partition: aws"] {
        let sso = format!("{{permissionSetName: Admin, accountID: '111122223333'{partition}}}");
        let state = roles(&format!("- sso: {sso}\n  username: admin\n  groups: ['system:masters']\n"));
        assert_eq!(format_identity(&state, role), "not mapped");
        assert_eq!(format_identity(&state, &role.replace("_Admin_", "_Admin_extra_")), "not mapped");
        assert_eq!(statuses(&state), [EntryStatus::Unmatchable(UnmatchableReason::Sso)]);
    }
    assert_eq!(format_identity(&roles(&format!("- rolearn: {role}\n")), role), r#" ["system:authenticated"]"#);
}

#[test]
fn templates_are_rendered_in_username_and_groups() {
    let state = roles(&format!(
        "- rolearn: {VIEWER}\n  username: 'v:{{{{SessionName}}}}'\n  groups: ['team-{{{{SessionName}}}}', '', '', g]\n"
    ));
    let me = "arn:aws:sts::111122223333:assumed-role/viewer/me@x";
    assert_eq!(format_identity(&state, me), r#"v:me-x ["team-me-x", "", "", "g", "system:authenticated"]"#);
    let Authentication::Identity(identity) =
        AccessView::new(&state, Aggregation::AsStored).authenticate(&subject_query(VIEWER))
    else {
        panic!("expected a match");
    };
    // For a role without a session name the group is not known, so it is not a literal group.
    assert_eq!(identity.groups[0], RenderedName::PerSession("team-{{SessionName}}".into()));
    assert!(!identity.is_in_group("team-{{SessionName}}") && identity.is_in_group("g"));
}

#[test]
fn node_entry_denies_sessions_that_are_not_instances() {
    let node = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n";
    let state = roles(node);
    assert_eq!(format_identity(&state, "arn:aws:sts::111122223333:assumed-role/viewer/me"), "not an instance");
    assert!(format_identity(&state, VIEWER).starts_with("system:node:{{EC2PrivateDNSName}} "));
    // The node template is not reported as a reserved username, because only instances match it.
    assert_eq!(escalation_paths(&AccessView::new(&state, Aggregation::AsStored), &subject_query(VIEWER)), []);
}

#[test]
fn reserved_usernames_are_accepted_and_are_escalation_paths() {
    let paths_of = |username: &str| {
        let state = roles(&format!("- rolearn: {VIEWER}\n  username: '{username}'\n  groups: []\n"));
        let paths = escalation_paths(&AccessView::new(&state, Aggregation::AsStored), &subject_query(VIEWER));
        paths.iter().map(EscalationPath::name).collect::<Vec<_>>()
    };
    for username in ["system:kube-controller-manager", "system:node:x", "system:serviceaccount:kube-system:x"] {
        assert_eq!(paths_of(username), ["reserved-username"], "{username}");
    }
    assert_eq!(paths_of("{{SessionName}}"), ["session-chosen-name"]);
    assert_eq!(paths_of("viewer:{{SessionName}}"), [""; 0]);
}

#[test]
fn every_identity_except_anonymous_is_in_system_authenticated() {
    let state = State::default();
    assert_eq!(format_identity(&state, "user:alice"), r#"alice ["system:authenticated"]"#);
    assert_eq!(format_identity(&state, "user:system:anonymous"), r#"system:anonymous ["system:unauthenticated"]"#);
    assert_eq!(format_identity(&state, "group:dev"), r#" ["dev", "system:authenticated"]"#);
    let account = r#"system:serviceaccount:ci:bot ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]"#;
    assert_eq!(format_identity(&state, "sa:ci/bot"), account);
    assert_eq!(format_identity(&state, "user:system:serviceaccount:ci:bot"), account);
    let anonymous = roles(&format!("- rolearn: {VIEWER}\n  username: system:anonymous\n  groups: [g]\n"));
    assert_eq!(format_identity(&anonymous, VIEWER), r#"system:anonymous ["g"]"#);
}

#[test]
fn identity_has_line_of_its_entry() {
    let state = roles(&format!("# nodes\n\n- rolearn: {VIEWER}\n  username: viewer\n"));
    let Authentication::Identity(identity) =
        AccessView::new(&state, Aggregation::AsStored).authenticate(&subject_query(VIEWER))
    else {
        panic!("expected a match");
    };
    let IdentitySource::Entry(entry) = identity.source else {
        panic!("expected an entry");
    };
    assert_eq!(entry.to_string(), format!("{VIEWER}, mapRoles line 3"));
}

#[test]
fn subject_display_parses_back() {
    for text in [VIEWER, "user:alice", "group:system:masters", "sa:ci/bot", "account:111122223333"] {
        assert_eq!(subject_query(text).to_string(), text);
    }
    assert_eq!(SubjectQuery::parse("alice").unwrap_err().to_string(), "unknown subject `alice`");
    assert!(SubjectQuery::parse("sa:bot").is_err() && SubjectQuery::parse("user:").is_err());
}
