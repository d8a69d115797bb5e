//! Lists the traps of aws-auth, RBAC and the API server by number, with the tests that cover each. The numbers are used in
//! comments of tests. The test fails if a listed test does not exist.

use std::path::Path;

/// A trap: its number, what happens, and the tests that cover it.
type Trap = (u8, &'static str, &'static [(&'static str, &'static [&'static str])]);

// A place is a file or a directory. A directory means a module, so that a test may move within its module.
const ACCESS: &str = "src/access";
const AWS_DOUBLE: &str = "tests/it/aws_double.rs";
const ENTRIES: &str = "src/plan/entries";
const GUARD: &str = "src/guard";
const NAMES: &str = "src/names";
const PERMISSIONS: &str = "tests/it/permissions.rs";
const REQUEST_FAULTS: &str = "tests/it/request_faults.rs";

const TRAPS: &[Trap] = &[
    (
        1,
        "a YAML error in mapRoles disables all its entries and none of the other sections",
        &[
            (ACCESS, &["invalid_section_maps_nothing_and_others_still_apply"]),
            (ENTRIES, &["unreadable_section_is_refused_with_its_line"]),
        ],
    ),
    (2, "a string as `groups` is no group", &[(ACCESS, &["field_of_wrong_type_is_empty"])]),
    (
        3,
        "a number, a boolean or null as username is the empty username",
        &[(ACCESS, &["field_of_wrong_type_is_empty"])],
    ),
    (
        4,
        "a value `.inf`, or one that starts with a template, disables the section",
        &[(ACCESS, &["value_that_yaml_or_json_cannot_represent_empties_the_section"])],
    ),
    (
        5,
        "keys match in any case, and the lower-case key wins",
        &[(ACCESS, &["entry_keys_ignore_case_and_lower_case_wins"])],
    ),
    (
        6,
        "of duplicate entries the last wins; of users that differ in case one wins at random",
        &[
            (
                ACCESS,
                &["last_role_entry_wins_regardless_of_case", "user_entries_that_differ_only_in_case_are_ambiguous"],
            ),
            (ENTRIES, &["last_of_users_that_differ_in_case_is_kept"]),
        ],
    ),
    (
        7,
        "a data key in another case is ignored and kept",
        &[
            (ACCESS, &["entry_keys_ignore_case_and_lower_case_wins"]),
            (ENTRIES, &["unowned_entries_and_other_keys_stay_byte_for_byte"]),
        ],
    ),
    (8, "a user in mapRoles wins over mapUsers", &[(ACCESS, &["user_in_map_roles_wins_over_map_users"])]),
    (
        9,
        "a role ARN with a path never matches",
        &[
            (ACCESS, &["arns_that_sts_never_reports_never_match"]),
            (NAMES, &["aws_auth_arn_omits_role_path_and_keeps_user_path"]),
            ("tests/it/access.rs", &["arn_with_other_path_or_case_is_answered_with_the_aws_auth_spelling"]),
        ],
    ),
    (
        10,
        "ARNs of sessions, instance profiles and IAM groups, and ARNs with blanks, never match",
        &[(ACCESS, &["arns_that_sts_never_reports_never_match"]), (NAMES, &["arns_that_never_match_are_refused"])],
    ),
    (
        11,
        "root is the root user and not the account; a mapped account only authenticates, without groups",
        &[(ACCESS, &["root_arn_is_the_root_user_and_account_entry_gives_no_groups"])],
    ),
    (
        12,
        "an account number keeps its leading zero",
        &[(ACCESS, &["root_arn_is_the_root_user_and_account_entry_gives_no_groups"])],
    ),
    (
        13,
        "`sso` entries never match; the role of the permission set does",
        &[
            (ACCESS, &["sso_patterns_never_match_on_eks"]),
            ("tests/it/end_to_end.rs", &["role_ref_change_namespaced_roles_sso_and_aggregation_work"]),
        ],
    ),
    (
        14,
        "a pattern for a permission set also matches others with the same prefix, so that none counts as a match",
        &[(ACCESS, &["sso_patterns_never_match_on_eks"])],
    ),
    (
        15,
        "`@` in a session name becomes `-`; a node template denies users",
        &[(
            ACCESS,
            &["templates_are_rendered_in_username_and_groups", "node_entry_denies_sessions_that_are_not_instances"],
        )],
    ),
    (16, "templates in groups are rendered", &[(ACCESS, &["templates_are_rendered_in_username_and_groups"])]),
    (
        17,
        "reserved usernames of the cluster work in aws-auth",
        &[(ACCESS, &["reserved_usernames_are_accepted_and_are_escalation_paths"])],
    ),
    (
        18,
        "empty and duplicate groups are kept",
        &[
            (ACCESS, &["templates_are_rendered_in_username_and_groups"]),
            ("src/state/aws_auth", &["edited_samples_keep_all_other_text_and_have_the_requested_entries"]),
        ],
    ),
    (
        25,
        "the guards use the entry in force",
        &[
            (GUARD, &["duplicate_entries_are_evaluated_by_the_entry_in_effect"]),
            ("tests/it/guards.rs", &["guard_judges_duplicate_entries_by_the_entry_in_force"]),
        ],
    ),
    (
        27,
        "an access entry makes the aws-auth entry of its principal dead, and the mode API every entry",
        &[
            (AWS_DOUBLE, &["mode_decides_which_store_authenticates"]),
            ("src/plan/access_entries", &["aws_auth_entries_that_access_entries_shadow_are_named"]),
            ("tests/it/access_entry_policies.rs", &["aws_auth_is_left_alone_in_the_mode_api"]),
        ],
    ),
    (
        28,
        "a cached token works after its entry is removed, and a new one does not",
        &[("tests/it/safe_apply.rs", &["cached_token_outlives_its_entry_and_apply_reports_it"])],
    ),
    (
        32,
        "`pods/*` grants nothing and `*` every subresource; in resourceNames `*` and the empty string are exact names",
        &[(
            ACCESS,
            &[
                "wildcard_matches_subresources_and_a_resource_name_does_not",
                "wildcard_after_a_slash_matches_nothing",
                "resource_names_are_exact_and_the_empty_name_matches_requests_without_a_name",
            ],
        )],
    ),
    (
        33,
        "verbs and resources in upper case are accepted and never match",
        &[
            (ACCESS, &["verbs_and_resources_are_case_sensitive"]),
            ("tests/it/policies.rs", &["refused_policies_have_the_expected_errors"]),
        ],
    ),
    (
        34,
        "resourceNames limit only requests with a name",
        &[
            (ACCESS, &["resource_names_do_not_match_requests_without_name"]),
            (ACCESS, &["resource_names_are_exact_and_the_empty_name_matches_requests_without_a_name"]),
        ],
    ),
    (
        35,
        "cluster-admin in a RoleBinding can delete the namespace and cannot get nodes",
        &[(ACCESS, &["role_binding_to_cluster_admin_grants_only_its_namespace"])],
    ),
    (
        37,
        "a binding to a missing role grants access as soon as the role is created",
        &[
            (ACCESS, &["dangling_binding_grants_access_once_its_role_exists"]),
            (
                "tests/it/access.rs",
                &[
                    "binding_to_a_missing_role_is_pending_access_of_its_subjects",
                    "plan_warns_about_dangling_bindings_that_a_new_role_activates",
                ],
            ),
        ],
    ),
    (
        38,
        "an empty selector matches every role; a label on a role changes the access of other roles",
        &[
            (ACCESS, &["empty_selector_aggregates_every_cluster_role"]),
            (ACCESS, &["aggregation_label_changes_access_of_other_roles"]),
        ],
    ),
    (
        40,
        "without `escalate` even a new label on a role is forbidden",
        &[(PERMISSIONS, &["without_escalate_a_label_change_is_as_forbidden_as_a_rule_change"])],
    ),
    (
        41,
        "without `bind` a subject cannot be removed",
        &[(PERMISSIONS, &["without_bind_a_subject_cannot_be_removed_but_a_binding_can"])],
    ),
    (
        42,
        "`escalate` with a resource name does not allow creation",
        &[(PERMISSIONS, &["escalate_limited_to_a_name_allows_updates_but_not_creation"])],
    ),
    (43, "a list of all verbs does not cover `*`", &[(ACCESS, &["list_of_all_verbs_does_not_cover_the_wildcard"])]),
    (
        44,
        "system:masters bypasses RBAC and is checked first",
        &[(ACCESS, &["system_masters_need_no_rules_and_are_listed_first"])],
    ),
    (
        45,
        "RBAC names have almost any character",
        &[("tests/it/reads_and_writes.rs", &["names_with_special_characters_round_trip"])],
    ),
    (
        46,
        "the annotation that stops Kubernetes from resetting a default role is kept",
        &[("tests/it/ownership.rs", &["autoupdate_annotation_is_kept"])],
    ),
    (
        47,
        "get and list on everything reads secrets and reaches the kubelet",
        &[
            (ACCESS, &["wildcard_viewer_can_read_secrets_and_reach_the_kubelet"]),
            ("tests/it/invariants.rs", &["failed_invariant_shows_the_grant_path"]),
            ("tests/it/access.rs", &["plan_lists_secrets_and_escalation_paths_of_a_read_everything_role"]),
        ],
    ),
    (48, "edit in kube-system is cluster-admin", &[(ACCESS, &["edit_in_kube_system_can_change_aws_auth"])]),
    (
        49,
        "a SubjectAccessReview needs the group system:authenticated",
        &[(ACCESS, &["review_without_system_authenticated_denies_what_the_group_allows"])],
    ),
    (
        50,
        "RBAC does not show the access of access entries, impersonation drops it, and the escalation check ignores it",
        &[
            (GUARD, &["caller_outside_aws_auth_is_noted_and_keeps_repair_permissions"]),
            (
                AWS_DOUBLE,
                &["access_policies_authorize_in_their_scope", "access_policy_does_not_count_for_escalation_check"],
            ),
        ],
    ),
    (
        55,
        "429 with Retry-After, expired tokens and lists, and permissions that do not work yet",
        &[
            (
                REQUEST_FAULTS,
                &[
                    "retry_after_header_is_honored",
                    "token_that_expires_during_apply_is_renewed_once",
                    "apply_retries_until_a_new_permission_takes_effect",
                ],
            ),
            ("tests/it/reads_and_writes.rs", &["list_with_an_expired_continue_token_starts_over"]),
        ],
    ),
    (
        57,
        "times of a Lease have six fractional digits",
        &[
            ("src/cluster", &["micro_time_has_exactly_six_decimal_places"]),
            ("tests/it/safe_apply.rs", &["lease_is_held_during_writes_and_released"]),
        ],
    ),
    (
        64,
        "a role that is created again is not authenticated by its old access entry",
        &[(AWS_DOUBLE, &["mode_decides_which_store_authenticates"])],
    ),
    (
        67,
        "without the controller aggregated roles have no rules",
        &[(ACCESS, &["stored_rules_apply_until_the_controller_has_run"])],
    ),
];

/// The texts of the Rust files at a place.
fn source_files(place: &Path) -> Vec<String> {
    if place.is_file() {
        return vec![std::fs::read_to_string(place).unwrap()];
    }
    let entries = std::fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"));
    paths.flat_map(|path| source_files(&path)).collect()
}

/// Whether a text has a test with this name: `#[test]`, perhaps more attributes and comments, then the function. In
/// `proptest!` the function has parameters.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let functions = lines.iter().enumerate().filter(|(_, line)| line.starts_with(&function));
    functions.into_iter().any(|(number, _)| {
        let above = lines[..number].iter().rev();
        above.take_while(|line| line.starts_with("#[") || line.starts_with("//")).any(|line| *line == "#[test]")
    })
}

#[test]
fn every_test_that_covers_a_trap_exists() {
    let mut missing = Vec::new();
    for (number, trap, places) in TRAPS {
        assert!(!places.is_empty(), "{number}: {trap}");
        for (place, tests) in *places {
            let files = source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(place));
            for test in *tests {
                if !files.iter().any(|text| has_test(text, test)) {
                    missing.push(format!("{number}, {trap}: {place} has no test {test}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn trap_numbers_are_unique_and_sorted() {
    assert!(TRAPS.windows(2).all(|pair| pair[0].0 < pair[1].0));
}
