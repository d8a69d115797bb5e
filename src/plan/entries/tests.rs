//! Plans of aws-auth alone, from a tiny policy and a ConfigMap to what is shown, written and refused.

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

const VIEWER: &str = "
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

fn config_map(data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "aws-auth", "namespace": "kube-system", "uid": "u", "resourceVersion": "7" },
        "data": data,
    })
}

fn roles(text: &str) -> Value {
    config_map(&json!({ "mapRoles": text }))
}

fn planned(name: &str, policy: &str, live: Option<&Value>) -> Result<Plan, Vec<Diagnostic>> {
    let text = format!("[policy]\nname = \"{name}\"\n{policy}");
    let (policy, _) =
        load_policy(vec![("policy.toml".to_owned(), text)]).unwrap_or_else(|(_, faults)| panic!("{faults:#?}"));
    let aws_auth = live.map(|value| AwsAuth::from_json(value).unwrap());
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    plan(&policy, None, &State { aws_auth, ..State::default() }, now)
}

#[track_caller]
fn plan_of(policy: &str, live: &Value) -> Plan {
    planned("prod", policy, Some(live)).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[track_caller]
fn refusals(policy: &str, live: &Value) -> Vec<String> {
    let found = planned("prod", policy, Some(live)).unwrap_err();
    found.into_iter().filter(Diagnostic::is_error).map(|found| found.message).collect()
}

/// The ConfigMap after the plan, as the API server leaves it.
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

fn told(change: &Change) -> String {
    let target = &change.target;
    let note = change.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{:?} {} {}{note}", change.action, target.kind_label(), target.name())
}

fn all_told(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(told).collect()
}

fn warnings(plan: &Plan) -> Vec<&str> {
    plan.warnings.iter().map(|found| found.message.as_str()).collect()
}

/// The live ConfigMap when this policy has been applied to it.
#[track_caller]
fn after(name: &str, policy: &str, live: &Value) -> Value {
    applied(&planned(name, policy, Some(live)).unwrap(), live)
}

#[test]
fn a_missing_config_map_is_created_with_its_entries_and_marks() {
    let plan = planned("prod", VIEWER, None).unwrap();
    let [step] = plan.steps.as_slice() else { panic!("{:#?}", plan.steps) };
    assert_eq!(step.precondition, Precondition::Absent);
    let WriteRequest::Create(body) = &step.write else { panic!("{step:#?}") };
    assert_eq!(body["data"], json!({ "mapRoles": VIEWER_ENTRY }));
    assert!(body["metadata"]["annotations"][ENTRIES_ANNOTATION].is_string());
    assert_eq!(plan.changes[0].action, Action::Create);
    assert!(planned("prod", "", None).unwrap().is_empty());
    assert!(planned("prod", EXCLUSIVE, None).unwrap().is_empty());
}

#[test]
fn an_empty_config_map_gets_the_key() {
    for data in [json!({}), Value::Null, json!({ "mapRoles": "" }), json!({ "mapUsers": "[]\n" })] {
        let live = config_map(&data);
        let after = applied(&plan_of(VIEWER, &live), &live);
        assert_eq!(after["data"]["mapRoles"], VIEWER_ENTRY, "{data}");
        assert_eq!(after["data"]["mapUsers"], data["mapUsers"], "{data}");
    }
}

#[test]
fn a_key_of_binary_data_is_refused() {
    let mut live = config_map(&json!({}));
    live["binaryData"] = json!({ "mapRoles": "W10=" });
    assert_eq!(
        refusals(VIEWER, &live),
        ["aws-auth has `mapRoles` under binaryData, which the authenticator never reads"]
    );
    // Where nothing is to be written there it is a warning, and to a policy without entries no matter.
    assert_eq!(warnings(&plan_of(ALICE, &live)).len(), 1);
    assert!(warnings(&plan_of("", &live)).is_empty());
}

#[test]
fn an_immutable_config_map_is_refused_before_anything_is_written() {
    let mut live = roles(NODES);
    live["immutable"] = json!(true);
    let both = format!("{VIEWER}[cluster-roles.r]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n");
    assert_eq!(refusals(&both, &live), ["aws-auth is immutable: nothing can change its entries"]);
    assert!(plan_of("", &live).is_empty());
}

#[test]
fn an_immutable_config_map_that_is_as_wanted_is_a_warning() {
    let mut live = after("prod", VIEWER, &roles(NODES));
    live["immutable"] = json!(true);
    let plan = plan_of(VIEWER, &live);
    assert!(plan.is_empty());
    assert_eq!(warnings(&plan), ["aws-auth is immutable: nothing can change its entries"]);
    // The marks are no data, so that adopting is possible.
    live["metadata"]["annotations"] = json!({});
    assert_eq!(plan_of(VIEWER, &live).count_changes(Action::Adopt), 1);
}

#[test]
fn a_config_map_that_is_being_deleted_is_refused() {
    let mut live = roles(NODES);
    live["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    live["metadata"]["finalizers"] = json!(["a/b"]);
    assert_eq!(refusals(VIEWER, &live), ["aws-auth is being deleted, and waits for its finalizers: a/b"]);
}

#[test]
fn a_section_that_cannot_be_read_is_refused_with_its_line() {
    let live = roles("- rolearn: a\n  username: {{SessionName}}\n");
    let found = planned("prod", VIEWER, Some(&live)).unwrap_err();
    let excerpt = found[0].excerpt.as_ref().unwrap();
    assert_eq!((excerpt.line, excerpt.text.as_str()), (2, "  username: {{SessionName}}"));
    assert!(found[0].is_error());
    let unconcerned = planned("prod", "", Some(&live)).unwrap();
    assert!(unconcerned.is_empty());
    assert_eq!(unconcerned.warnings.len(), 1);
}

#[test]
fn foreign_entries_keys_and_other_data_stay_byte_for_byte() {
    let live =
        config_map(&json!({ "mapRoles": NODES, "maproles": "ignored", "other": "x\r\n", "mapAccounts": "- '1'" }));
    let plan = plan_of(VIEWER, &live);
    let after = applied(&plan, &live);
    assert_eq!(
        after["data"],
        json!({ "mapRoles": format!("{NODES}{VIEWER_ENTRY}"), "maproles": "ignored", "other": "x\r\n", "mapAccounts": "- '1'" })
    );
    assert_eq!(
        warnings(&plan),
        ["aws-auth has the key `maproles`, which the authenticator ignores: it reads `mapRoles` alone"]
    );
}

#[test]
fn a_second_plan_is_empty_and_removal_gives_back_what_was_there() {
    let live = roles(NODES);
    let with = after("prod", VIEWER, &live);
    assert!(plan_of(VIEWER, &with).is_empty());
    let without = after("prod", "", &with);
    assert_eq!(without["data"], live["data"]);
    assert_eq!(without["metadata"]["annotations"], json!({}));
}

#[test]
fn an_entry_that_is_as_wanted_is_adopted_without_touching_the_text() {
    // Order and repetition of groups do not count, nor does the case of the ARN.
    let text =
        "- groups: [writers, readers, readers]\n  rolearn: arn:aws:iam::111122223333:role/VIEWER\n  username: viewer\n";
    let policy = VIEWER.replace("[\"readers\"]", "[\"readers\", \"writers\"]") + "[groups.writers]\n";
    let live = roles(text);
    let plan = plan_of(&policy, &live);
    assert_eq!(plan.count_changes(Action::Adopt), 1);
    assert!(plan.changes[0].fields.is_empty());
    let WriteRequest::Patch(patch) = &plan.steps[0].write else { panic!("{plan:#?}") };
    assert_eq!(patch.as_object().unwrap().keys().collect::<Vec<_>>(), ["metadata"]);
    let after = applied(&plan, &live);
    assert_eq!(after["data"], live["data"]);
    assert!(plan_of(&policy, &after).is_empty());
}

#[test]
fn an_entry_that_differs_is_adopted_and_changed_in_place() {
    let live = roles("- rolearn: arn:aws:iam::111122223333:role/viewer # ours\n  username: old\n  note: kept\n");
    let plan = plan_of(VIEWER, &live);
    assert_eq!(plan.count_changes(Action::Adopt), 1);
    assert_eq!(
        applied(&plan, &live)["data"]["mapRoles"],
        "- rolearn: arn:aws:iam::111122223333:role/viewer # ours\n  username: viewer\n  note: kept\n  groups:\n    - readers\n"
    );
}

#[test]
fn of_duplicate_roles_the_last_is_kept_and_the_others_go() {
    let shadowed =
        "- rolearn: arn:aws:iam::111122223333:role/Viewer\n  username: shadowed\n  groups: [system:masters]\n";
    let live = roles(&format!("{shadowed}{NODES}{VIEWER_ENTRY}"));
    let plan = plan_of(VIEWER, &live);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/Viewer (line 1: another entry of this principal, beside line 7)",
            "Adopt aws-auth role arn:aws:iam::111122223333:role/viewer (path taken off: arn:aws:iam::111122223333:role/team/viewer)",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], format!("{NODES}{VIEWER_ENTRY}"));
    assert!(warnings(&plan).is_empty());
}

#[test]
fn a_user_under_map_roles_moves_to_map_users() {
    let role = "- rolearn: arn:aws:iam::111122223333:user/team/Alice\n  username: root\n  groups: [system:masters]\n";
    let live = config_map(&json!({ "mapRoles": format!("{NODES}{role}") }));
    let plan = plan_of(ALICE, &live);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:user/team/Alice (line 4: this principal belongs under mapUsers)",
            "Create aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    let user = "- userarn: arn:aws:iam::111122223333:user/team/Alice\n  username: alice\n  groups:\n    - readers\n";
    let after = applied(&plan, &live);
    assert_eq!(after["data"], json!({ "mapRoles": NODES, "mapUsers": user }));
    let both = config_map(&json!({ "mapRoles": format!("{NODES}{role}"), "mapUsers": user }));
    let plan = plan_of(ALICE, &both);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:user/team/Alice (line 4: it was in force, and this principal belongs under mapUsers)",
            "Adopt aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    assert_eq!(applied(&plan, &both)["data"], json!({ "mapRoles": NODES, "mapUsers": user }));
}

#[test]
fn of_users_that_differ_in_case_one_is_kept_and_the_chance_is_named() {
    let upper = "- userarn: arn:aws:iam::111122223333:user/team/ALICE\n  username: alice\n";
    let lower = "- userarn: arn:aws:iam::111122223333:user/team/alice\n  username: alice\n  groups: [readers]\n";
    let live = config_map(&json!({ "mapUsers": format!("{upper}{lower}") }));
    let plan = plan_of(ALICE, &live);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth user arn:aws:iam::111122223333:user/team/ALICE (line 1: differs in case from line 3, and which one counts is random)",
            "Adopt aws-auth user arn:aws:iam::111122223333:user/team/Alice",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapUsers"], lower);
    let foreign = plan_of(VIEWER, &live);
    assert_eq!(
        warnings(&foreign),
        [
            "aws-auth mapUsers, lines 1 and 3: arn:aws:iam::111122223333:user/team/alice in several spellings, and which one counts is random"
        ]
    );
}

#[test]
fn foreign_entries_that_do_not_count_are_named_with_the_one_that_does() {
    let role = |name: &str| format!("- rolearn: arn:aws:iam::1:{name}\n");
    let user = |name: &str| format!("- userarn: arn:aws:iam::1:{name}\n");
    let roles = [role("role/a"), role("user/u"), role("role/A")].concat();
    let users = [user("user/u"), user("user/v"), user("user/v")].concat();
    let live = config_map(&json!({ "mapRoles": roles, "mapUsers": users, "mapAccounts": "- '1'\n- '1'\n" }));
    assert_eq!(
        warnings(&plan_of("", &live)),
        [
            "aws-auth mapRoles, line 1: arn:aws:iam::1:role/a does not count beside line 3 of mapRoles",
            "aws-auth mapUsers, line 1: arn:aws:iam::1:user/u does not count beside line 2 of mapRoles",
            "aws-auth mapUsers, line 2: arn:aws:iam::1:user/v does not count beside line 3 of mapUsers",
        ]
    );
}

#[test]
fn an_entry_that_another_policy_owns_is_refused_and_its_marks_are_kept() {
    let live = after("team", VIEWER, &roles(NODES));
    assert_eq!(
        refusals(VIEWER, &live),
        ["the aws-auth entry of arn:aws:iam::111122223333:role/viewer is owned by the policy `team`"]
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
    assert!(planned("team", VIEWER, Some(&without)).unwrap().is_empty());
}

#[test]
fn an_exclusive_policy_leaves_only_what_is_listed_ignored_or_of_other_policies() {
    let text = format!(
        "{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl-x\n  username: x\n- sso: {{permissionSetName: Admin, accountID: '111122223333'}}\n- odd\n- rolearn: arn:aws:iam::111122223333:role/stranger\n"
    );
    let live = config_map(&json!({ "mapRoles": text, "mapAccounts": "- '444455556666'\n" }));
    let live = after("team", ALICE, &live);
    let policy =
        format!("{VIEWER}{EXCLUSIVE}ignore = [\"arn:aws:iam::*:role/eksctl-*\", \"arn:aws:iam::*:role/eks-nodes\"]\n");
    let plan = plan_of(&policy, &live);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/stranger (not in the policy, which is exclusive)",
            "Create aws-auth role arn:aws:iam::111122223333:role/viewer (path taken off: arn:aws:iam::111122223333:role/team/viewer)",
            "Delete aws-auth role sso Admin in 111122223333 (not in the policy, which is exclusive)",
            "Delete aws-auth account 444455556666 (not in the policy, which is exclusive)",
        ]
    );
    let after = applied(&plan, &live);
    // What is no entry counts for nobody, and stays.
    let kept =
        format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/eksctl-x\n  username: x\n- odd\n{VIEWER_ENTRY}");
    assert_eq!(after["data"]["mapRoles"], kept);
    assert_eq!(after["data"]["mapUsers"], live["data"]["mapUsers"]);
    assert_eq!(after["data"]["mapAccounts"], "[]\n");
    assert!(plan_of(&policy, &after).is_empty());
}

#[test]
fn a_shared_policy_removes_nothing_that_it_does_not_own() {
    let live = roles(&format!("{NODES}- rolearn: arn:aws:iam::111122223333:role/stranger\n"));
    assert!(plan_of("", &live).is_empty());
    let with = after("prod", VIEWER, &live);
    assert_eq!(plan_of("", &with).count_changes(Action::Delete), 1);
}

#[test]
fn a_removal_says_which_entry_still_maps_the_principal() {
    let live = after("prod", ALICE, &roles(NODES));
    let mut doubled = live.clone();
    doubled["data"]["mapRoles"] =
        json!(format!("{NODES}- rolearn: arn:aws:iam::111122223333:user/team/alice\n  username: root\n"));
    assert_eq!(
        all_told(&plan_of("", &doubled)),
        [
            "Delete aws-auth user arn:aws:iam::111122223333:user/team/Alice (line 4 of mapRoles still maps this principal)"
        ]
    );
}

#[test]
fn all_duplicates_of_an_owned_entry_go_with_it() {
    let mut live = after("prod", VIEWER, &roles(NODES));
    let text = live["data"]["mapRoles"].as_str().unwrap();
    live["data"]["mapRoles"] = json!(format!("- rolearn: arn:aws:iam::111122223333:role/viewer\n{text}"));
    let plan = plan_of("", &live);
    assert_eq!(
        all_told(&plan),
        [
            "Delete aws-auth role arn:aws:iam::111122223333:role/viewer (line 1: another entry of this principal, which would come into force)",
            "Delete aws-auth role arn:aws:iam::111122223333:role/viewer",
        ]
    );
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], NODES);
}

#[test]
fn a_node_role_that_is_listed_is_adopted_as_it_is() {
    let policy = "[principals.nodes]\nrole = \"arn:aws:iam::111122223333:role/eks-nodes\"\nkind = \"node\"\n";
    let live = roles(NODES);
    let plan = plan_of(policy, &live);
    assert_eq!(all_told(&plan), ["Adopt aws-auth role arn:aws:iam::111122223333:role/eks-nodes"]);
    assert_eq!(applied(&plan, &live)["data"]["mapRoles"], NODES);
    let bare = roles("- rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: {SessionName: x}\n");
    let text = applied(&plan_of(policy, &bare), &bare)["data"]["mapRoles"].clone();
    assert_eq!(
        text,
        "- rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n    - system:bootstrappers\n    - system:nodes\n"
    );
}

#[test]
fn entries_are_found_again_after_another_tool_rewrote_the_text() {
    let live = after("prod", VIEWER, &roles(NODES));
    let mut rewritten = live.clone();
    rewritten["data"]["mapRoles"] = json!(
        "- groups:\n  - readers\n  rolearn: arn:aws:iam::111122223333:role/viewer\n  username: viewer\n- groups:\n  - system:bootstrappers\n  - system:nodes\n  rolearn: arn:aws:iam::111122223333:role/eks-nodes\n  username: system:node:{{EC2PrivateDNSName}}\n"
    );
    assert!(plan_of(VIEWER, &rewritten).is_empty());
    assert_eq!(plan_of("", &rewritten).count_changes(Action::Delete), 1);
}

#[test]
fn marks_of_other_hands_are_refused_and_not_written_over() {
    let mut live = roles(NODES);
    live["metadata"]["annotations"] = json!({ ENTRIES_ANNOTATION: "{\"team\": \"broken\"}" });
    assert_eq!(refusals(VIEWER, &live), ["the annotation `rolecall/entries` of aws-auth cannot be read"]);
    assert!(plan_of("", &live).is_empty());
}

#[test]
fn a_config_map_that_would_exceed_one_mebibyte_is_refused() {
    let comment = format!("# {}\n", "x".repeat(1_048_576 - NODES.len() - 3));
    let full = roles(&format!("{comment}{NODES}"));
    assert_eq!(
        refusals(VIEWER, &full),
        [format!("aws-auth would have {} bytes, and a ConfigMap has at most 1048576", 1_048_576 + VIEWER_ENTRY.len())]
    );
    let other = config_map(&json!({ "mapRoles": NODES, "other": "x".repeat(1_048_576 - NODES.len()) }));
    assert_eq!(refusals(VIEWER, &other).len(), 1);
    // Removing is always possible.
    let mut owned = after("prod", VIEWER, &roles(NODES));
    owned["data"]["other"] = json!("x".repeat(1_048_576 - NODES.len()));
    assert_eq!(plan_of("", &owned).count_changes(Action::Delete), 1);
}

#[test]
fn an_anchor_that_others_use_is_an_error_that_names_the_lines() {
    let live = roles(
        "- &base\n  rolearn: arn:aws:iam::111122223333:role/viewer\n  username: old\n- <<: *base\n  rolearn: b\n",
    );
    assert_eq!(
        refusals(VIEWER, &live),
        [
            "`mapRoles` of aws-auth cannot be edited without touching what is not the policy's: the anchor `base` on line 1 is used on line 4"
        ]
    );
}
