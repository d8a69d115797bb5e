//! Plans of aws-auth only: a small policy and a ConfigMap, and the expected changes, writes and errors.

use serde_json::{Value, json};

use crate::diagnostic::Diagnostic;
use crate::plan::{Action, Change, Plan, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::config_map::AwsAuth;
use crate::state::entry_marks::EntryMarks;
use crate::state::object_meta::Labels;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::{AcceptedWrite, ObjectVersion, Precondition, ResolvedPrecondition, WriteRequest, accept};

pub(super) const VIEWER: &str = "
[principals.viewer]
role = \"arn:aws:iam::111122223333:role/team/viewer\"
username = \"viewer\"
groups = [\"readers\"]
[groups.readers]
";
const ALICE: &str = "
[principals.alice]
user = \"arn:aws:iam::111122223333:user/team/Alice\"
username = \"alice\"
groups = [\"readers\"]
[groups.readers]
";
const EXCLUSIVE: &str = "[ownership]\naws-auth = \"exclusive\"\n";
const VIEWER_ENTRY: &str =
    "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: viewer\n  groups:\n    - readers\n";
const NODES: &str = "- rolearn: arn:aws:iam::111122223333:role/eks-nodes # machines\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n";

pub(super) fn config_map(data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "aws-auth", "namespace": "kube-system", "uid": "u", "resourceVersion": "7" },
        "data": data,
    })
}

pub(super) fn roles(text: &str) -> Value {
    config_map(&json!({ "mapRoles": text }))
}

fn try_plan(name: &str, policy: &str, live: Option<&Value>) -> Result<Plan, Vec<Diagnostic>> {
    let text = format!("[policy]\nname = \"{name}\"\n{policy}");
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, errors)| panic!("{errors:#?}"));
    let aws_auth = live.map(|value| AwsAuth::from_json(value).unwrap());
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    plan(&policy, None, &State { aws_auth, ..State::default() }, now)
}

#[track_caller]
pub(super) fn plan_policy(policy: &str, live: &Value) -> Plan {
    try_plan("prod", policy, Some(live)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[track_caller]
fn errors(policy: &str, live: &Value) -> Vec<String> {
    let diagnostics = try_plan("prod", policy, Some(live)).unwrap_err();
    diagnostics.into_iter().filter(Diagnostic::is_error).map(|error| error.message).collect()
}

/// Returns the ConfigMap after the plan, as the API server stores it.
#[track_caller]
fn applied(plan: &Plan, live: &Value) -> Value {
    let [step] = plan.steps.as_slice() else { panic!("{:#?}", plan.steps) };
    let version = ObjectVersion::from_object(live).unwrap();
    let now = ResolvedPrecondition::Version(version.clone());
    match accept(&step.object, Some((live, &version)), true, &step.write, &now) {
        Ok(AcceptedWrite::Stored(value)) => value,
        answer => panic!("{answer:?}"),
    }
}

fn describe_change(change: &Change) -> String {
    let target = &change.target;
    let note = change.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{:?} {} {}{note}", change.action, target.kind_label(), target.name())
}

fn describe_changes(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(describe_change).collect()
}

fn warnings(plan: &Plan) -> Vec<&str> {
    plan.warnings.iter().map(|warning| warning.message.as_str()).collect()
}

/// Returns the live ConfigMap after this policy has been applied to it.
#[track_caller]
fn after(name: &str, policy: &str, live: &Value) -> Value {
    applied(&try_plan(name, policy, Some(live)).unwrap(), live)
}

#[test]
fn missing_config_map_is_created_with_entries_and_ownership_marks() {
    let plan = try_plan("prod", VIEWER, None).unwrap();
    let [step] = plan.steps.as_slice() else { panic!("{:#?}", plan.steps) };
    assert_eq!(step.precondition, Precondition::Absent);
    let WriteRequest::Create(body) = &step.write else { panic!("{step:#?}") };
    assert_eq!(body["data"], json!({ "mapRoles": VIEWER_ENTRY }));
    assert!(body["metadata"]["annotations"][ENTRIES_ANNOTATION].is_string());
    assert_eq!(plan.changes[0].action, Action::Create);
    assert!(try_plan("prod", "", None).unwrap().is_empty());
    assert!(try_plan("prod", EXCLUSIVE, None).unwrap().is_empty());
}

#[test]
fn missing_section_is_added_to_an_existing_config_map() {
    for data in [json!({}), Value::Null, json!({ "mapRoles": "" }), json!({ "mapUsers": "[]\n" })] {
        let live = config_map(&data);
        let after = applied(&plan_policy(VIEWER, &live), &live);
        assert_eq!(after["data"]["mapRoles"], VIEWER_ENTRY, "{data}");
        assert_eq!(after["data"]["mapUsers"], data["mapUsers"], "{data}");
    }
}

#[test]
fn section_in_binary_data_is_refused() {
    let mut live = config_map(&json!({}));
    live["binaryData"] = json!({ "mapRoles": "W10=" });
    assert_eq!(errors(VIEWER, &live), ["aws-auth has `mapRoles` in binaryData, which the authenticator does not read"]);
    // It is a warning if the plan does not edit the section, and nothing if the policy has no entries.
    assert_eq!(warnings(&plan_policy(ALICE, &live)).len(), 1);
    assert!(warnings(&plan_policy("", &live)).is_empty());
}

#[test]
fn immutable_config_map_that_must_change_is_refused() {
    let mut live = roles(NODES);
    live["immutable"] = json!(true);
    let both = format!("{VIEWER}[cluster-roles.r]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n");
    assert_eq!(errors(&both, &live), ["aws-auth is immutable, so its entries cannot be changed"]);
    assert!(plan_policy("", &live).is_empty());
}

#[test]
fn immutable_config_map_without_changes_is_a_warning() {
    let mut live = after("prod", VIEWER, &roles(NODES));
    live["immutable"] = json!(true);
    let plan = plan_policy(VIEWER, &live);
    assert!(plan.is_empty());
    assert_eq!(warnings(&plan), ["aws-auth is immutable, so its entries cannot be changed"]);
    // Ownership marks are in an annotation, which an immutable ConfigMap allows to change.
    live["metadata"]["annotations"] = json!({});
    assert_eq!(plan_policy(VIEWER, &live).count_changes(Action::Adopt), 1);
}

#[test]
fn config_map_that_is_being_deleted_is_refused() {
    let mut live = roles(NODES);
    live["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    live["metadata"]["finalizers"] = json!(["a/b"]);
    assert_eq!(errors(VIEWER, &live), ["aws-auth is being deleted and waits for its finalizers: a/b"]);
}

#[test]
fn unreadable_section_is_refused_with_its_line() {
    let live = roles("- rolearn: a\n  username: {{SessionName}}\n");
    let errors = try_plan("prod", VIEWER, Some(&live)).unwrap_err();
    let excerpt = errors[0].excerpt.as_ref().unwrap();
    assert_eq!((excerpt.line, excerpt.text.as_str()), (2, "  username: {{SessionName}}"));
    assert!(errors[0].is_error());
    let unrelated = try_plan("prod", "", Some(&live)).unwrap();
    assert!(unrelated.is_empty());
    assert_eq!(unrelated.warnings.len(), 1);
}

#[test]
fn unowned_entries_and_other_keys_stay_byte_for_byte() {
    let live = config_map(
        &json!({ "mapRoles": NODES, "maproles": "ignored", "other": "x\r\n", "mapAccounts": "- '111122223333'" }),
    );
    let plan = plan_policy(VIEWER, &live);
    let after = applied(&plan, &live);
    assert_eq!(
        after["data"],
        json!({ "mapRoles": format!("{NODES}{VIEWER_ENTRY}"), "maproles": "ignored", "other": "x\r\n", "mapAccounts": "- '111122223333'" })
    );
    assert_eq!(warnings(&plan), ["aws-auth key `maproles` is ignored: the authenticator only reads `mapRoles`"]);
}

#[test]
fn second_plan_is_empty_and_removing_the_entry_restores_the_original_text() {
    let live = roles(NODES);
    let with = after("prod", VIEWER, &live);
    assert!(plan_policy(VIEWER, &with).is_empty());
    let without = after("prod", "", &with);
    assert_eq!(without["data"], live["data"]);
    assert_eq!(without["metadata"]["annotations"], json!({}));
}

#[test]
fn matching_entry_is_adopted_without_changing_the_text() {
    // The order and repetition of groups and the case of the ARN make no difference.
    let text =
        "- groups: [writers, readers, readers]\n  rolearn: arn:aws:iam::111122223333:role/VIEWER\n  username: viewer\n";
    let policy = VIEWER.replace("[\"readers\"]", "[\"readers\", \"writers\"]") + "[groups.writers]\n";
    let live = roles(text);
    let plan = plan_policy(&policy, &live);
    assert_eq!(plan.count_changes(Action::Adopt), 1);
    assert!(plan.changes[0].fields.is_empty());
    let WriteRequest::Patch(patch) = &plan.steps[0].write else { panic!("{plan:#?}") };
    assert_eq!(patch.as_object().unwrap().keys().collect::<Vec<_>>(), ["metadata"]);
    let after = applied(&plan, &live);
    assert_eq!(after["data"], live["data"]);
    assert!(plan_policy(&policy, &after).is_empty());
}

#[test]
fn differing_entry_is_adopted_and_changed_in_place() {
    let live = roles("- rolearn: arn:aws:iam::111122223333:role/viewer # ours\n  username: old\n  note: kept\n");
    let plan = plan_policy(VIEWER, &live);
    assert_eq!(plan.changes[0].action, Action::Adopt);
    assert_eq!((plan.count_changes(Action::Adopt), plan.count_changes(Action::Update)), (0, 1));
    assert_eq!(
        applied(&plan, &live)["data"]["mapRoles"],
        "- rolearn: arn:aws:iam::111122223333:role/viewer # ours\n  username: viewer\n  note: kept\n  groups:\n    - readers\n"
    );
}

#[test]
fn last_of_duplicate_roles_is_kept() {
    let shadowed =
        "- rolearn: arn:aws:iam::111122223333:role/Viewer\n  username: shadowed\n  groups: [system:masters]\n";
    let live = roles(&format!("{shadowed}{NODES}{VIEWER_ENTRY}"));
    let plan = plan_policy(VIEWER, &live);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/Viewer (line 1: duplicates line 7 (the last entry wins))",
            "Adopt aws-auth role arn:aws:iam::111122223333:role/viewer (IAM path removed (aws-auth does not support paths): arn:aws:iam::111122223333:role/team/viewer)",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], format!("{NODES}{VIEWER_ENTRY}"));
    assert!(warnings(&plan).is_empty());
}

#[test]
fn user_in_map_roles_is_moved_to_map_users() {
    let role = "- rolearn: arn:aws:iam::111122223333:user/team/Alice\n  username: root\n  groups: [system:masters]\n";
    let live = config_map(&json!({ "mapRoles": format!("{NODES}{role}") }));
    let plan = plan_policy(ALICE, &live);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:user/team/Alice (line 4: mapUsers is the correct section for this principal)",
            "Create aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    let user = "- userarn: arn:aws:iam::111122223333:user/team/Alice\n  username: alice\n  groups:\n    - readers\n";
    let after = applied(&plan, &live);
    assert_eq!(after["data"], json!({ "mapRoles": NODES, "mapUsers": user }));
    let both = config_map(&json!({ "mapRoles": format!("{NODES}{role}"), "mapUsers": user }));
    let plan = plan_policy(ALICE, &both);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:user/team/Alice (line 4: overrides line 1 of mapUsers, the correct section for this principal)",
            "Adopt aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    assert_eq!(applied(&plan, &both)["data"], json!({ "mapRoles": NODES, "mapUsers": user }));
}

#[test]
fn last_of_users_that_differ_in_case_is_kept() {
    let upper = "- userarn: arn:aws:iam::111122223333:user/team/ALICE\n  username: alice\n";
    let lower = "- userarn: arn:aws:iam::111122223333:user/team/alice\n  username: alice\n  groups: [readers]\n";
    let live = config_map(&json!({ "mapUsers": format!("{upper}{lower}") }));
    let plan = plan_policy(ALICE, &live);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth user arn:aws:iam::111122223333:user/team/ALICE (line 1: the ARN differs from line 3 only in letter case; which entry the authenticator uses is not defined)",
            "Adopt aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapUsers"], lower);
    let unrelated = plan_policy(VIEWER, &live);
    assert_eq!(
        warnings(&unrelated),
        ["aws-auth mapUsers, lines 1 and 3: several entries match arn:aws:iam::111122223333:user/team/alice"]
    );
}

#[test]
fn overridden_unowned_entries_are_warnings() {
    let role = |name: &str| format!("- rolearn: arn:aws:iam::111122223333:{name}\n");
    let user = |name: &str| format!("- userarn: arn:aws:iam::111122223333:{name}\n");
    let roles = [role("role/a"), role("user/u"), role("role/A")].concat();
    let users = [user("user/u"), user("user/v"), user("user/v")].concat();
    let live = config_map(
        &json!({ "mapRoles": roles, "mapUsers": users, "mapAccounts": "- '111122223333'\n- '111122223333'\n" }),
    );
    assert_eq!(
        warnings(&plan_policy("", &live)),
        [
            "aws-auth mapRoles, line 1: arn:aws:iam::111122223333:role/a never matches, line 3 of mapRoles wins",
            "aws-auth mapUsers, line 1: arn:aws:iam::111122223333:user/u never matches, line 2 of mapRoles wins",
            "aws-auth mapUsers, line 2: arn:aws:iam::111122223333:user/v never matches, line 3 of mapUsers wins",
        ]
    );
}

#[test]
fn entry_of_another_policy_is_refused_and_its_ownership_mark_is_kept() {
    let live = after("team", VIEWER, &roles(NODES));
    assert_eq!(
        errors(VIEWER, &live),
        ["the aws-auth entry of arn:aws:iam::111122223333:role/viewer is owned by policy `team`"]
    );
    let both = after("prod", ALICE, &live);
    let owners = |value: &Value| {
        let text = value["metadata"]["annotations"][ENTRIES_ANNOTATION].as_str().unwrap();
        let marks =
            EntryMarks::from_annotations(&Labels::from([(ENTRIES_ANNOTATION.to_owned(), text.to_owned())])).unwrap();
        (marks.owned_by("team").len(), marks.owned_by("prod").len())
    };
    assert_eq!(owners(&both), (1, 1));
    let without = after("prod", "", &both);
    assert_eq!(owners(&without), (1, 0));
    assert!(try_plan("team", VIEWER, Some(&without)).unwrap().is_empty());
}

#[test]
fn exclusive_policy_removes_unlisted_entries_that_are_neither_ignored_nor_owned_by_other_policies() {
    let text = format!(
        "{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl-x\n  username: x\n- sso: {{permissionSetName: Admin, accountID: '111122223333'}}\n- odd\n- rolearn: arn:aws:iam::111122223333:role/stranger\n"
    );
    let live = config_map(&json!({ "mapRoles": text, "mapAccounts": "- '444455556666'\n" }));
    let live = after("team", ALICE, &live);
    let policy =
        format!("{VIEWER}{EXCLUSIVE}ignore = [\"arn:aws:iam::*:role/eksctl-*\", \"arn:aws:iam::*:role/eks-nodes\"]\n");
    let plan = plan_policy(&policy, &live);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/stranger (not in the policy, and ownership.aws-auth = \"exclusive\")",
            "Create aws-auth role arn:aws:iam::111122223333:role/viewer (IAM path removed (aws-auth does not support paths): arn:aws:iam::111122223333:role/team/viewer)",
            "Delete aws-auth role sso Admin in 111122223333 (not in the policy, and ownership.aws-auth = \"exclusive\")",
            "Delete aws-auth account 444455556666 (not in the policy, and ownership.aws-auth = \"exclusive\")",
        ]
    );
    let after = applied(&plan, &live);
    // A list element that is not an entry has no effect and stays.
    let kept =
        format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl-x\n  username: x\n- odd\n{VIEWER_ENTRY}");
    assert_eq!(after["data"]["mapRoles"], kept);
    assert_eq!(after["data"]["mapUsers"], live["data"]["mapUsers"]);
    assert_eq!(after["data"]["mapAccounts"], "[]\n");
    assert!(plan_policy(&policy, &after).is_empty());
}

#[test]
fn shared_policy_removes_only_entries_that_it_owns() {
    let live = roles(&format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/stranger\n"));
    assert!(plan_policy("", &live).is_empty());
    let with = after("prod", VIEWER, &live);
    assert_eq!(plan_policy("", &with).count_changes(Action::Delete), 1);
}

#[test]
fn removal_notes_the_entry_that_still_maps_the_principal() {
    let live = after("prod", ALICE, &roles(NODES));
    let mut doubled = live.clone();
    doubled["data"]["mapRoles"] =
        json!(format!("{NODES}- rolearn: arn:aws:iam::111122223333:user/team/alice\n  username: root\n"));
    assert_eq!(
        describe_changes(&plan_policy("", &doubled)),
        [
            "Delete aws-auth user arn:aws:iam::111122223333:user/team/Alice (line 4 of mapRoles still maps this principal)"
        ]
    );
}

#[test]
fn duplicates_of_a_removed_entry_are_removed_with_it() {
    let mut live = after("prod", VIEWER, &roles(NODES));
    let text = live["data"]["mapRoles"].as_str().unwrap();
    live["data"]["mapRoles"] = json!(format!("- rolearn: arn:aws:iam::111122223333:role/viewer\n{text}"));
    let plan = plan_policy("", &live);
    assert_eq!(
        describe_changes(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/viewer (line 1: duplicate of a removed entry, would take effect if kept)",
            "Delete aws-auth role arn:aws:iam::111122223333:role/viewer",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], NODES);
}

#[test]
fn node_role_is_adopted_with_the_node_username_and_groups() {
    let policy = "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/eks-nodes\"\nkind = \"node\"\n";
    let live = roles(NODES);
    let plan = plan_policy(policy, &live);
    assert_eq!(describe_changes(&plan), ["Adopt aws-auth role arn:aws:iam::111122223333:role/eks-nodes"]);
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], NODES);
    let bare = roles("- rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: {SessionName: x}\n");
    let text = applied(&plan_policy(policy, &bare), &bare)["data"]["mapRoles"].clone();
    assert_eq!(
        text,
        "- rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n    - system:bootstrappers\n    - system:nodes\n"
    );
}

#[test]
fn entries_are_still_owned_after_another_tool_rewrites_the_text() {
    let live = after("prod", VIEWER, &roles(NODES));
    let mut rewritten = live.clone();
    rewritten["data"]["mapRoles"] = json!(
        "- groups:\n  - readers\n  rolearn: arn:aws:iam::111122223333:role/viewer\n  username: viewer\n- groups:\n  - system:bootstrappers\n  - system:nodes\n  rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: system:node:{{EC2PrivateDNSName}}\n"
    );
    assert!(plan_policy(VIEWER, &rewritten).is_empty());
    assert_eq!(plan_policy("", &rewritten).count_changes(Action::Delete), 1);
}

#[test]
fn invalid_ownership_marks_are_refused_and_not_overwritten() {
    let mut live = roles(NODES);
    live["metadata"]["annotations"] = json!({ ENTRIES_ANNOTATION: "{\"team\": \"broken\"}" });
    assert_eq!(errors(VIEWER, &live), ["the annotation `rolecall/entries` of aws-auth cannot be read"]);
    assert!(plan_policy("", &live).is_empty());
}

#[test]
fn config_map_over_one_mebibyte_is_refused() {
    let comment = format!("# {}\n", "x".repeat(1_048_576 - NODES.len() - 3));
    let full = roles(&format!("{comment}{NODES}"));
    assert_eq!(
        errors(VIEWER, &full),
        [format!("aws-auth would be {} bytes, but a ConfigMap has at most 1048576", 1_048_576 + VIEWER_ENTRY.len())]
    );
    let other = config_map(&json!({ "mapRoles": NODES, "other": "x".repeat(1_048_576 - NODES.len()) }));
    assert_eq!(errors(VIEWER, &other).len(), 1);
    // Removing an entry is always possible, although the ConfigMap is too large.
    let mut owned = after("prod", VIEWER, &roles(NODES));
    owned["data"]["other"] = json!("x".repeat(1_048_576 - NODES.len()));
    assert_eq!(plan_policy("", &owned).count_changes(Action::Delete), 1);
}

#[test]
fn anchor_that_another_entry_uses_is_an_error_with_both_lines() {
    let live = roles(
        "- &base\n  rolearn: arn:aws:iam::111122223333:role/viewer\n  username: old\n- <<: *base\n  rolearn: b\n",
    );
    assert_eq!(
        errors(VIEWER, &live),
        ["aws-auth `mapRoles` cannot be edited: the anchor `base` on line 1 is used on line 4"]
    );
}
