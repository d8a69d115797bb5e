//! The store of each principal, its username there, and what the stores cannot have.

use super::*;

const PLAIN: &str = "[principals.viewer]\nrole = \"arn:aws:iam::111122223333:role/team/viewer\"\n";
const PLAIN_ENTRY: &str = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n";
const EKS_NAME: &str = "arn:aws:sts::111122223333:assumed-role/viewer/{{SessionName}}";
const AWS_AUTH_NAME: &str = "arn:aws:iam::111122223333:role/viewer";

fn in_cluster(authentication: &str, policy: &str) -> String {
    format!("[clusters.c]\nsnapshot = \"c.yaml\"\nauthentication = \"{authentication}\"\n{policy}")
}

#[test]
fn principal_stays_in_its_store() {
    let changes = |live: &State| {
        let planned = plan_of(PLAIN, live);
        assert!(!planned.diagnostics.iter().any(Diagnostic::is_error), "{:#?}", planned.diagnostics);
        planned.changes.iter().map(|change| change.lines().next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let both = [
        "Adopt aws-auth role arn:aws:iam::111122223333:role/viewer (IAM path removed (aws-auth does not support paths): \
         arn:aws:iam::111122223333:role/team/viewer)",
        "Adopt access entry arn:aws:iam::111122223333:role/team/viewer",
    ];
    let live_entry = [entry(VIEWER_ARN, &json!({ "username": EKS_NAME }))];
    assert_eq!(changes(&state("API_AND_CONFIG_MAP", &[], PLAIN_ENTRY)), [both[0]]);
    assert_eq!(changes(&state("API_AND_CONFIG_MAP", &live_entry, "")), [both[1]]);
    assert_eq!(changes(&state("API_AND_CONFIG_MAP", &live_entry, PLAIN_ENTRY)), both);
    assert_eq!(changes(&state("API", &live_entry, PLAIN_ENTRY)), [both[1]]);
    assert_eq!(changes(&state("CONFIG_MAP", &[], PLAIN_ENTRY)), [both[0]]);
}

#[test]
fn username_is_that_of_the_store_unless_the_principal_is_known_by_another() {
    let username = |policy: &str, live: &State| plan_of(policy, live).after(VIEWER_ARN)["username"].clone();
    let empty = || state("API_AND_CONFIG_MAP", &[], "");
    assert_eq!(username(PLAIN, &empty()), EKS_NAME);
    // It has the other name already, or has an entry in aws-auth.
    let moved = state("API", &[entry(VIEWER_ARN, &json!({ "username": AWS_AUTH_NAME }))], "");
    assert_eq!(username(PLAIN, &moved), AWS_AUTH_NAME);
    let moving = state("API_AND_CONFIG_MAP", &[], PLAIN_ENTRY);
    assert_eq!(username(&in_cluster("access-entries", PLAIN), &moving), AWS_AUTH_NAME);
    assert_eq!(username(&in_cluster("both", PLAIN), &empty()), AWS_AUTH_NAME);
    // A binding names it, by its key or by its username.
    for subject in ["principals = [\"viewer\"]", "users = [\"arn:aws:iam::111122223333:role/viewer\"]"] {
        let bound = format!("{PLAIN}[bindings.b]\ncluster-role = \"view\"\n{subject}\n");
        let mut live = state("API", &[entry(VIEWER_ARN, &json!({ "username": EKS_NAME }))], "");
        let view = json!({ "metadata": { "name": "view" }, "rules": [] });
        live.insert_object(&ObjectKey::cluster_role("view"), &view).unwrap();
        assert_eq!(username(&bound, &live), AWS_AUTH_NAME, "{subject}");
        apply(&bound, &live);
    }
    // Any other name of the live entry is not that of the principal.
    let odd = state("API", &[entry(VIEWER_ARN, &json!({ "username": "admin" }))], "");
    assert_eq!(username(PLAIN, &odd), EKS_NAME);
}

#[test]
fn moved_principal_keeps_its_name_and_loses_its_owned_aws_auth_entry() {
    let moving = in_cluster("access-entries", PLAIN);
    let live = state("API_AND_CONFIG_MAP", &[], PLAIN_ENTRY);
    let planned = plan_of(&moving, &live);
    // The entry of aws-auth has no owner, so it stays.
    insta::assert_snapshot!(planned.changes(), @r"
    Create access entry arn:aws:iam::111122223333:role/team/viewer
      username: +arn:aws:iam::111122223333:role/viewer
    ");
    insta::assert_snapshot!(prose(&planned.diagnostics), @r"
    warning: the aws-auth entry of arn:aws:iam::111122223333:role/viewer has no effect
      because: an access entry takes precedence over the aws-auth entry of its principal
    ");
    // After the move its name does not change again.
    apply(PLAIN, &state("API", &[plan_of(&moving, &live).after(VIEWER_ARN).clone()], ""));
}

#[test]
fn aws_auth_entries_that_access_entries_shadow_are_named() {
    let live = state(
        "API_AND_CONFIG_MAP",
        &[entry(VIEWER_ARN, &json!({})), entry("arn:aws:iam::111122223333:role/path/other", &json!({}))],
        &format!("{PLAIN_ENTRY}- rolearn: arn:aws:iam::111122223333:role/Other\n  username: o\n"),
    );
    insta::assert_snapshot!(prose(&plan_of("", &live).diagnostics), @r"
    warning: 2 aws-auth entries have no effect
      note: arn:aws:iam::111122223333:role/Other
      note: arn:aws:iam::111122223333:role/viewer
      because: an access entry takes precedence over the aws-auth entry of its principal
    ");
    let only_aws_auth = in_cluster("aws-auth", PLAIN);
    assert_eq!(plan_of(&only_aws_auth, &live).messages().last(), Some(&"2 aws-auth entries have no effect"));
    // Kept equal in both stores.
    assert_eq!(
        plan_of(&in_cluster("both", PLAIN), &live).messages(),
        ["the aws-auth entry of arn:aws:iam::111122223333:role/Other has no effect"]
    );
}

#[test]
fn bare_and_sso_names_find_the_entry_with_its_path() {
    let sso =
        "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef";
    let policy = "[principals.admins]\nsso = { permission-set = \"Admin\", account = \"111122223333\", id = \"0123456789abcdef\" }\n";
    let live = state("API", &[entry(sso, &json!({ "username": "x" }))], "");
    assert!(plan_of(policy, &live).changes().starts_with(&format!("Adopt access entry {sso}\n")));
    apply(policy, &live);
    insta::assert_snapshot!(prose(&plan_of(policy, &state("API", &[], "")).diagnostics), @r#"
    error: the access entry of permission set `Admin` needs the `region` of IAM Identity Center
      because: an access entry needs the ARN with its path, which contains the region
      help: add the home region of IAM Identity Center to `sso`, such as `region = "eu-west-1"`
    "#);
    let region = policy.replace("id =", "region = \"eu-west-1\", id =");
    assert!(plan_of(&region, &state("API", &[], "")).changes().starts_with(&format!("Create access entry {sso}\n")));
    let in_both = [entry(sso, &json!({})), entry(&sso.replace("eu-west-1/", ""), &json!({}))];
    insta::assert_snapshot!(prose(&plan_of(policy, &state("API", &in_both, "")).diagnostics), @r"
    error: access entry of `admins`: several access entries match the role without its path
      because: a role that is created again can have another path, and the old entry stays
      note: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef
      note: arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef
      help: write the ARN with its path, as IAM shows it
    ");
}

#[test]
fn store_that_the_mode_does_not_have_is_an_error() {
    let problem = |authentication: &str, mode: &str| {
        let planned = plan_of(&in_cluster(authentication, PLAIN), &state(mode, &[], ""));
        assert!(planned.diagnostics.iter().all(|diagnostic| diagnostic.primary.is_some()));
        prose(&planned.diagnostics)
    };
    insta::assert_snapshot!(problem("access-entries", "CONFIG_MAP"), @r#"
    error: `authentication = "access-entries"` is not possible: the cluster has no access entries
      because: its authentication mode is CONFIG_MAP
      help: write `authentication = "aws-auth"`, or change the mode first: aws eks update-cluster-config --name NAME --access-config authenticationMode=API_AND_CONFIG_MAP
      note: the mode cannot be changed back
    "#);
    insta::assert_snapshot!(problem("aws-auth", "API"), @r#"
    error: `authentication = "aws-auth"` is not possible: the cluster does not read aws-auth
      because: its authentication mode is API, which cannot be changed back
      help: write `authentication = "access-entries"`
    "#);
    assert!(problem("both", "API").starts_with("error: `authentication = \"both\"` is not possible"));
    assert!(problem("both", "CONFIG_MAP").starts_with("error: `authentication = \"both\"` is not possible"));
    for (authentication, mode) in [
        ("aws-auth", "CONFIG_MAP"),
        ("aws-auth", "API_AND_CONFIG_MAP"),
        ("both", "API_AND_CONFIG_MAP"),
        ("access-entries", "API"),
    ] {
        assert_eq!(problem_count(authentication, mode), 0, "{authentication} {mode}");
    }
}

fn problem_count(authentication: &str, mode: &str) -> usize {
    plan_of(&in_cluster(authentication, PLAIN), &state(mode, &[], "")).diagnostics.len()
}

#[test]
fn unknown_access_entries_are_an_error_where_they_decide() {
    let mut live = state("API_AND_CONFIG_MAP", &[], "");
    live.access_entries.status =
        AccessEntriesStatus::Unknown("you are not allowed to call eks:ListAccessEntries".to_owned());
    insta::assert_snapshot!(prose(&plan_of(PLAIN, &live).diagnostics), @r"
    error: the access entries of the cluster are not known
      because: you are not allowed to call eks:ListAccessEntries
      note: which principals have an access entry decides where the policy's principals are
      help: allow eks:ListAccessEntries, eks:DescribeAccessEntry and eks:ListAssociatedAccessPolicies on the cluster
    ");
    assert!(plan_of(&in_cluster("aws-auth", PLAIN), &live).diagnostics.is_empty());
    assert!(plan_of("", &live).diagnostics.is_empty());
    live.access_entries.status = AccessEntriesStatus::NotAsked;
    insta::assert_snapshot!(prose(&plan_of(&in_cluster("both", PLAIN), &live).diagnostics), @r"
    error: the access entries of the cluster are not known
      because: EKS was not asked for them
      help: connect with `eks = { name = …, region = … }` in `[clusters]`, or with `--eks NAME`
    ");
}

#[test]
fn principals_that_only_access_entries_can_map_are_refused_in_aws_auth() {
    let live = state("CONFIG_MAP", &[], "");
    insta::assert_snapshot!(prose(&plan_of(VIEWER, &live).diagnostics), @r"
    error: `viewer` has access policies, but no access entry
      because: the authentication mode of the cluster is CONFIG_MAP
      note: aws-auth gives a principal groups, and cannot give it access policies
      help: change the mode first: aws eks update-cluster-config --name NAME --access-config authenticationMode=API_AND_CONFIG_MAP
    ");
    let auto = NODES.replace("\"node\"", "\"auto-node\"");
    insta::assert_snapshot!(prose(&plan_of(&auto, &live).diagnostics), @r#"
    error: `workers` has `kind = "auto-node"`, but no access entry
      because: the authentication mode of the cluster is CONFIG_MAP
      note: EKS documents no aws-auth entry for such nodes
      help: change the mode first: aws eks update-cluster-config --name NAME --access-config authenticationMode=API_AND_CONFIG_MAP
    "#);
    let moving = state("API_AND_CONFIG_MAP", &[], PLAIN_ENTRY);
    insta::assert_snapshot!(prose(&plan_of(VIEWER, &moving).diagnostics), @r#"
    error: `viewer` has access policies, but no access entry
      because: the principal is in aws-auth, and a plan does not move it on its own
      note: aws-auth gives a principal groups, and cannot give it access policies
      help: write `authentication = "access-entries"` or `authentication = "both"` for the cluster
    "#);
    let account = "[principals.partner]\naccount = \"444455556666\"\n";
    insta::assert_snapshot!(prose(&plan_of(account, &state("API", &[], "")).diagnostics), @r#"
    error: `partner` is a whole account, which cannot have an access entry
      because: an access entry is for one IAM role or user
      help: list the IAM roles and users of the account individually, with `role = …` or `user = …`
      help: while the cluster reads aws-auth, `authentication = "both"` keeps the account there
    "#);
    assert_eq!(
        plan_of(&in_cluster("both", account), &state("API_AND_CONFIG_MAP", &[], "")).changes(),
        "Create aws-auth account 444455556666"
    );
    assert!(plan_of(account, &state("API_AND_CONFIG_MAP", &[], "")).diagnostics.is_empty());
}

#[test]
fn masters_group_is_refused_with_the_access_policy_to_use() {
    let policy = format!("{PLAIN}groups = [\"system:masters\"]\n[groups.\"system:masters\"]\n");
    insta::assert_snapshot!(prose(&plan_of(&policy, &state("API", &[], "")).diagnostics), @r#"
    error: access entry of `viewer`: a group of an access entry must not start with `system:`: `system:masters`
      because: the authorizer of EKS gives such access, not a group
      help: write `access-policies = [{ policy = "AmazonEKSClusterAdminPolicy" }]` instead of the group
    "#);
    assert!(plan_of(&policy, &state("API_AND_CONFIG_MAP", &[], PLAIN_ENTRY)).diagnostics.is_empty());
}

#[test]
fn aws_auth_entry_of_another_policy_is_not_shadowed() {
    let owned = {
        let live = state("CONFIG_MAP", &[], PLAIN_ENTRY);
        let planned = plan_of(&format!("[policy]\nname = \"other\"\n{PLAIN}"), &live);
        let [
            PendingWrite {
                kind: ChangeKind::Map { write: crate::state::write::WriteRequest::Patch(patch), .. }, ..
            },
        ] = planned.writes.as_slice()
        else {
            panic!("{:?}", planned.writes)
        };
        let mut value = json!({ "metadata": { "name": "aws-auth", "uid": "u", "resourceVersion": "7" }, "data": { "mapRoles": PLAIN_ENTRY } });
        crate::state::write::apply_merge_patch(&mut value, patch);
        value
    };
    let mut live = state("API_AND_CONFIG_MAP", &[], "");
    live.insert_object(&ObjectKey::aws_auth(), &owned).unwrap();
    let planned = plan_of(&in_cluster("access-entries", PLAIN), &live);
    assert_eq!(
        planned.messages(),
        ["the aws-auth entry of arn:aws:iam::111122223333:role/team/viewer is owned by policy `other`"]
    );
}
