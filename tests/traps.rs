//! What surprises people about aws-auth, RBAC and the API server, by number, and the tests that hold each: the place to
//! begin when one of them is in doubt.

#![allow(
    clippy::allow_attributes,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what helps tests fails by panic and touches the world, as tests do"
)]

use std::path::{Path, PathBuf};

/// The number, what happens, and where that is tested: the file, and the names of tests in it.
type Trap = (u8, &'static str, &'static [(&'static str, &'static [&'static str])]);

const IDENTITIES: &str = "src/access/tests/identities.rs";
const MATCHES: &str = "src/access/rule_match.rs";
const TRAPS: &str = "src/access/tests/traps.rs";
const AGGREGATED: &str = "src/access/tests/aggregated.rs";
const ENTRIES: &str = "src/plan/entries/tests.rs";
const PERMISSIONS: &str = "tests/permissions.rs";
const FAULTS: &str = "tests/faults.rs";

const ALL: &[Trap] = &[
    (
        1,
        "a YAML error in mapRoles: no role maps any more, the other sections do",
        &[
            (IDENTITIES, &["an_error_in_a_section_maps_nobody_of_it_and_spares_the_others"]),
            (ENTRIES, &["a_section_that_cannot_be_read_is_refused_with_its_line"]),
        ],
    ),
    (2, "a string as groups is no group", &[(IDENTITIES, &["a_wrong_type_blanks_its_field"])]),
    (3, "a number, a yes, a null as username is the empty name", &[(IDENTITIES, &["a_wrong_type_blanks_its_field"])]),
    (
        4,
        "`.inf` or a template at the start of a value empties the section",
        &[(IDENTITIES, &["what_yaml_or_json_cannot_hold_empties_the_section"])],
    ),
    (5, "keys count in any case, lower case first", &[(IDENTITIES, &["keys_count_in_any_case_and_lower_case_wins"])]),
    (
        6,
        "of doubles the last wins; of users in other case one by chance",
        &[
            (
                IDENTITIES,
                &["of_a_role_the_last_entry_wins_in_whatever_case", "of_users_in_other_case_one_answers_by_chance"],
            ),
            (ENTRIES, &["of_users_that_differ_in_case_one_is_kept_and_the_chance_is_named"]),
        ],
    ),
    (
        7,
        "another case of a data key is ignored, and stays",
        &[
            (IDENTITIES, &["keys_count_in_any_case_and_lower_case_wins"]),
            (ENTRIES, &["foreign_entries_keys_and_other_data_stay_byte_for_byte"]),
        ],
    ),
    (8, "a user under mapRoles beats mapUsers", &[(IDENTITIES, &["a_user_under_map_roles_beats_map_users"])]),
    (
        9,
        "a role with a path never matches",
        &[
            (IDENTITIES, &["spellings_that_sts_never_shows_never_match"]),
            ("src/names/arn.rs", &["a_role_loses_its_path_for_aws_auth_and_a_user_keeps_it"]),
            ("tests/access.rs", &["an_arn_that_differs_in_path_or_case_is_answered_with_the_spelling_of_aws_auth"]),
        ],
    ),
    (
        10,
        "sessions, instance profiles, IAM groups and blanks never match",
        &[
            (IDENTITIES, &["spellings_that_sts_never_shows_never_match"]),
            ("src/names/arn.rs", &["what_the_authenticator_never_matches_is_a_fault"]),
        ],
    ),
    (
        11,
        "root is not the account, and an account gives nothing but admission",
        &[(IDENTITIES, &["root_is_the_root_user_and_an_account_gives_nothing_but_admission"])],
    ),
    (
        12,
        "an account keeps its zero",
        &[(IDENTITIES, &["root_is_the_root_user_and_an_account_gives_nothing_but_admission"])],
    ),
    (
        13,
        "`sso` entries never match; the role that stands for the permission set does",
        &[
            (IDENTITIES, &["sso_patterns_never_match_on_eks"]),
            (
                "tests/main_job.rs",
                &["a_role_ref_changes_roles_stand_in_two_namespaces_and_sso_and_aggregation_work_for_real"],
            ),
        ],
    ),
    (
        14,
        "a pattern of one permission set takes others that begin so: none is taken for a match",
        &[(IDENTITIES, &["sso_patterns_never_match_on_eks"])],
    ),
    (
        15,
        "`@` of a session turns into `-`; a template of machines denies people",
        &[(
            IDENTITIES,
            &["templates_are_rendered_in_the_username_and_in_every_group", "an_entry_for_machines_denies_people"],
        )],
    ),
    (
        16,
        "templates of groups are no literal groups",
        &[(IDENTITIES, &["templates_are_rendered_in_the_username_and_in_every_group"])],
    ),
    (
        17,
        "usernames of the cluster itself work",
        &[(IDENTITIES, &["usernames_of_the_cluster_itself_work_and_are_ways_up"])],
    ),
    (
        18,
        "empty and double groups stay",
        &[
            (IDENTITIES, &["templates_are_rendered_in_the_username_and_in_every_group"]),
            (
                "src/state/aws_auth/tests/nasty.rs",
                &["nasty_texts_keep_every_foreign_byte_through_every_edit_and_read_as_planned"],
            ),
        ],
    ),
    (
        25,
        "the guard judges the mapping in force",
        &[
            ("src/guard/tests.rs", &["a_double_that_shadows_another_is_judged_by_what_comes_into_force"]),
            ("tests/guards.rs", &["a_double_is_judged_by_which_entry_the_authenticator_obeys"]),
        ],
    ),
    (
        28,
        "a token that was seen outlives its entry, and no new one does",
        &[("tests/safe.rs", &["a_session_outlives_its_entry_which_is_said_and_no_new_one_begins"])],
    ),
    (
        32,
        "`pods/*` grants nothing, `*` every subresource; `*` and the empty one as names",
        &[(
            MATCHES,
            &[
                "wildcard_matches_subresources_and_a_resource_name_does_not",
                "wildcard_after_a_slash_matches_nothing",
                "resource_names_are_exact_and_the_empty_name_matches_requests_without_a_name",
            ],
        )],
    ),
    (
        33,
        "words in upper case are accepted and dead",
        &[
            (MATCHES, &["verbs_and_resources_are_case_sensitive"]),
            ("tests/policies.rs", &["what_is_wrong_with_a_policy_is_said_as_reviewed"]),
        ],
    ),
    (
        34,
        "a name limits what has one",
        &[
            (TRAPS, &["names_limit_what_has_a_name"]),
            (MATCHES, &["resource_names_are_exact_and_the_empty_name_matches_requests_without_a_name"]),
        ],
    ),
    (
        35,
        "cluster-admin in a namespace deletes the namespace and reads no node",
        &[(TRAPS, &["a_role_binding_to_cluster_admin_is_no_cluster_admin"])],
    ),
    (
        37,
        "a binding to a missing role comes alive with it",
        &[
            (TRAPS, &["a_binding_to_a_missing_role_is_pending_and_comes_alive_with_it"]),
            (
                "tests/access.rs",
                &[
                    "a_binding_to_a_missing_role_is_pending_access_in_every_answer_about_whom_it_means",
                    "a_plan_tells_whose_bindings_come_alive_by_the_role_it_creates",
                ],
            ),
        ],
    ),
    (
        38,
        "an empty selector takes every role; a label changes what others may do",
        &[
            (AGGREGATED, &["an_empty_selector_takes_every_cluster_role"]),
            ("src/access/tests/delta.rs", &["a_label_on_a_role_changes_what_others_may_do"]),
        ],
    ),
    (
        40,
        "without `escalate` a label is forbidden too",
        &[(PERMISSIONS, &["without_escalate_a_label_and_a_shrink_are_as_forbidden_as_a_gain"])],
    ),
    (41, "without `bind` a subject stays", &[(PERMISSIONS, &["without_bind_a_subject_stays_and_a_binding_may_go"])]),
    (
        42,
        "`escalate` by name creates nothing",
        &[(PERMISSIONS, &["escalate_by_name_changes_a_role_and_does_not_create_it"])],
    ),
    (
        43,
        "all verbs are not a star",
        &[("src/access/rule_coverage.rs", &["list_of_all_verbs_does_not_cover_the_wildcard"])],
    ),
    (44, "masters are beside RBAC, and come first", &[(TRAPS, &["masters_need_no_rules_and_come_first"])]),
    (45, "names of any letters", &[("tests/writing.rs", &["names_of_any_letters_reach_the_server_and_come_back"])]),
    (
        46,
        "the word that keeps Kubernetes from putting a role back stays",
        &[("tests/ownership.rs", &["the_word_that_keeps_kubernetes_from_putting_a_role_back_stays"])],
    ),
    (
        47,
        "who looks at everything reads secrets and reaches the kubelet",
        &[
            (TRAPS, &["a_viewer_of_everything_reads_secrets_and_reaches_the_kubelet"]),
            ("tests/invariants.rs", &["the_viewer_of_every_guide_reads_secrets_and_the_path_says_how"]),
            ("tests/access.rs", &["the_plan_of_every_guide_says_what_looking_at_everything_means"]),
        ],
    ),
    (
        48,
        "edit in kube-system is cluster-admin",
        &[("src/access/tests/ways.rs", &["edit_in_kube_system_is_cluster_admin_by_way_of_aws_auth"])],
    ),
    (
        49,
        "a review wants the group of everybody",
        &[(
            "src/access/tests/real/mod.rs",
            &["a_review_that_leaves_out_the_group_of_everybody_says_no_to_what_everybody_may"],
        )],
    ),
    (
        50,
        "RBAC does not show what access entries give",
        &[("src/guard/tests.rs", &["who_comes_otherwise_than_by_aws_auth_is_told_so_and_keeps_his_rights"])],
    ),
    (
        55,
        "turned away, out of date, not yet seen",
        &[
            (
                FAULTS,
                &[
                    "retry_after_is_waited_for",
                    "a_token_that_expires_in_the_middle_is_renewed_once",
                    "a_right_granted_a_moment_ago_is_waited_for",
                ],
            ),
            ("tests/writing.rs", &["a_list_whose_moment_is_forgotten_starts_over"]),
        ],
    ),
    (
        57,
        "times of a Lease have six digits",
        &[
            ("src/cluster/lease.rs", &["a_micro_time_has_exactly_six_digits"]),
            ("tests/safe.rs", &["a_lease_is_held_while_the_writes_go_on_and_given_back"]),
        ],
    ),
    (
        67,
        "without controllers the roles that gather are empty",
        &[(AGGREGATED, &["stored_rules_answer_until_the_controller_has_run"])],
    ),
];

fn source(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_test_of_a_trap_is_there() {
    for (number, what, places) in ALL {
        assert!(!places.is_empty(), "{number}: {what}");
        for (file, tests) in *places {
            let text = source(file);
            for test in *tests {
                let is_there = text
                    .lines()
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .windows(2)
                    .any(|two| two[0] == "#[test]" && two[1] == format!("fn {test}() {{"));
                assert!(is_there, "{number}, {what}: {file} has no test {test}");
            }
        }
    }
}

#[test]
fn each_number_stands_once_and_in_order() {
    assert!(ALL.windows(2).all(|two| two[0].0 < two[1].0));
}
