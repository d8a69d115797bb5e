//! Tests of which entries of aws-auth can become access entries.

use super::entry_move::{EntryMove, KnownArns, StayReason};
use crate::names::{AccountId, Arn};
use crate::state::access_entry_rules::EntryRuleError;
use crate::state::aws_auth::{Entry, EntryPrincipal};

fn entry(arn: &str, username: &str, groups: &[&str]) -> Entry {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Entry { principal: EntryPrincipal::Role(arn.to_owned()), username: username.to_owned(), groups }
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// Returns the entry that a role moves to, without knowledge of paths.
fn try_move(name: &str, username: &str, groups: &[&str]) -> Result<EntryMove, StayReason> {
    let account = AccountId::parse("111122223333");
    EntryMove::new(&entry(&role(name), username, groups), &KnownArns::default(), account.as_ref())
}

#[test]
fn entries_of_nodes_become_entries_of_their_type() {
    const EC2: &str = "system:node:{{EC2PrivateDNSName}}";
    const SESSION: &str = "system:node:{{SessionName}}";
    for (username, groups, expected) in [
        (EC2, &["system:bootstrappers", "system:nodes"][..], "EC2_LINUX"),
        (EC2, &["system:nodes", "system:authenticated", ""], "EC2_LINUX"),
        (EC2, &["system:bootstrappers", "system:nodes", "eks:kube-proxy-windows"], "EC2_WINDOWS"),
        (SESSION, &["system:bootstrappers", "system:nodes", "system:node-proxier"], "FARGATE_LINUX"),
        (SESSION, &["system:bootstrappers", "system:nodes"], "HYBRID_LINUX"),
    ] {
        let moved = try_move("nodes", username, groups).unwrap().entry;
        assert_eq!((moved.entry_type.as_str(), moved.username.as_str()), (expected, username), "{groups:?}");
    }
    for groups in [&["system:nodes", "viewers"][..], &["system:bootstrappers"], &[]] {
        assert!(matches!(try_move("nodes", EC2, groups), Err(StayReason::NodeGroups { .. })), "{groups:?}");
    }
    let foreign = entry("arn:aws:iam::444455556666:role/nodes", EC2, &["system:nodes"]);
    let account = AccountId::parse("111122223333");
    let refused = EntryMove::new(&foreign, &KnownArns::default(), account.as_ref());
    assert!(matches!(refused, Err(StayReason::Rule(EntryRuleError::NodeOfOtherAccount { .. }))), "{refused:?}");
}

#[test]
fn masters_become_an_access_policy_and_keep_their_other_groups() {
    let moved = try_move("admin", "admin", &["system:masters", "a", "system:authenticated", "a", ""]).unwrap();
    assert!(moved.is_admin());
    assert_eq!(moved.entry.groups, ["a"]);
    let china = entry("arn:aws-cn:iam::111122223333:role/admin", "admin", &["system:masters"]);
    let moved = EntryMove::new(&china, &KnownArns::default(), None).unwrap();
    let policies: Vec<&String> = moved.entry.policies.keys().collect();
    assert_eq!(policies, ["arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"]);
}

#[test]
fn what_cannot_move_is_named_with_a_way_out() {
    let cases = [
        ("session-user", "{{SessionName}}", &[][..]),
        ("session-user", "ci-{{SessionName}}", &[]),
        ("account", "x:{{AccountID}}", &[]),
        ("raw", "x:{{SessionNameRaw}}", &[]),
        ("raw", "x:{{SessionName}}:{{AccessKeyID", &[]),
        ("ec2", "x:{{EC2PrivateDNSName}}", &[]),
        ("reserved", "system:admin", &[]),
        ("reserved", "eks:admin", &[]),
        ("group", "x", &["system:monitoring"]),
        ("group", "x", &["a", "eks:admins"]),
        ("group", "x", &["team-{{SessionName}}"]),
        ("AWSServiceRoleForAmazonEMRContainers", "emr", &[]),
        ("AWSReservedSSO_Viewer_0123456789abcdef", "viewer", &[]),
    ];
    let mut listed: Vec<String> = cases
        .iter()
        .map(|(name, username, groups)| {
            let reason = try_move(name, username, groups).unwrap_err();
            assert!(!reason.help().is_empty());
            format!("{name} `{username}` {groups:?}: {reason}\n  {}", reason.help())
        })
        .collect();
    for arn in [
        "arn:aws:iam::111122223333:root",
        "arn:aws:sts::111122223333:federated-user/bob",
        "arn:aws:sts::111122223333:assumed-role/x/y",
    ] {
        let reason = EntryMove::new(&entry(arn, "x", &[]), &KnownArns::default(), None).unwrap_err();
        listed.push(format!("{arn}: {reason}\n  {}", reason.help()));
    }
    let account = Entry { principal: EntryPrincipal::Account("777788889999".into()), ..entry("", "", &[]) };
    assert_eq!(EntryMove::new(&account, &KnownArns::default(), None), Err(StayReason::Account));
    insta::assert_snapshot!(listed.join("\n"));
}

#[test]
fn path_is_taken_from_known_arns() {
    let arn = |text: &str| Arn::parse(text).unwrap();
    let sso =
        "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_A_0123456789abcdef";
    let known = KnownArns::new([arn("arn:aws:iam::111122223333:role/team/Viewer"), arn(sso)]);
    let move_role = |name: &str| EntryMove::new(&entry(&role(name), "x", &[]), &known, None).unwrap();
    let moved = move_role("viewer");
    assert_eq!((moved.entry.principal.as_str(), moved.is_path_unknown), (role("team/Viewer").as_str(), false));
    let moved = move_role("AWSReservedSSO_B_fedcba9876543210");
    assert_eq!(
        moved.entry.principal,
        role("aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_B_fedcba9876543210")
    );
    assert!(move_role("other").is_path_unknown);
    let user = Entry {
        principal: EntryPrincipal::User("arn:aws:iam::111122223333:user/a/bob".into()),
        ..entry("", "bob", &[])
    };
    assert!(!EntryMove::new(&user, &known, None).unwrap().is_path_unknown);
}

#[test]
fn empty_username_becomes_that_of_eks() {
    let moved = try_move("nameless", "", &["a"]).unwrap();
    assert!(moved.has_new_username);
    assert_eq!(moved.entry.username, "arn:aws:sts::111122223333:assumed-role/nameless/{{SessionName}}");
}
