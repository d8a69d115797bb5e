//! Single cases of restores.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::{plan_restore, undo_aws_auth_write};
use super::{
    FOREIGN, TestObjects, append_entry, applied_writes, arn, config_map, default_roles, describe, plan_policy, policy,
    principal, restore,
};
use crate::names::ObjectKey;
use crate::state::aws_auth::{Section, parse_section};
use crate::state::config_map::AwsAuth;
use crate::state::entry_marks::entry_id;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::WriteRequest;

#[test]
fn only_the_entries_and_marks_of_the_apply_are_taken_back() {
    let mut objects = config_map(FOREIGN);
    let backup = objects.apply_policy(&policy("ta", &principal("viewer", "viewer", &["g0"])));
    append_entry(&mut objects, "newnodes", "nodes");
    objects.apply_policy(&policy("tb", &principal("dev", "dev", &["g1"])));
    let plan = plan_restore(&backup, &objects.state()).unwrap();
    assert_eq!(describe(&plan), ["Delete aws-auth role arn:aws:iam::111122223333:role/viewer"]);
    let marks_of_tb = objects.marks().owned_by("tb");
    assert_eq!(restore(&backup, &mut objects), Vec::<String>::new());
    let text = objects.text(Section::Roles);
    assert!(text.starts_with(FOREIGN) && text.contains("# newnodes\n"), "{text}");
    assert!(text.contains("role/dev") && !text.contains("role/viewer"), "{text}");
    assert_eq!(objects.marks().owned_by("tb"), marks_of_tb);
    assert!(objects.marks().owned_by("ta").is_empty());
    assert!(plan_restore(&backup, &objects.state()).unwrap().is_empty());
}

#[test]
fn entry_that_is_added_again_has_its_comments_although_others_have_written() {
    let lines = format!(
        "- rolearn: {} # asked for in TICKET-1\n  username: viewer\n  groups:\n  # read only\n  - g0\n  team: a\n",
        arn("viewer")
    );
    let mut objects = config_map(&format!("{FOREIGN}{lines}"));
    objects.apply_policy(&policy("ta", &principal("viewer", "viewer", &["g0"])));
    let backup = objects.apply_policy(&policy("ta", ""));
    assert!(!objects.text(Section::Roles).contains("TICKET-1"));
    append_entry(&mut objects, "newnodes", "nodes");
    let text = objects.text(Section::Roles);
    assert_eq!(restore(&backup, &mut objects), Vec::<String>::new());
    assert_eq!(objects.text(Section::Roles), format!("{text}{lines}"));
}

#[test]
fn what_was_changed_since_is_left_alone_and_reported_by_name() {
    let mut objects = config_map(FOREIGN);
    objects.apply_policy(&policy("ta", &principal("old", "old", &["g0"])));
    let body = format!(
        "{}{}[cluster-roles.r]\nrules = [{{ verbs = [\"get\"], resources = [\"pods\"] }}]\n",
        principal("viewer", "viewer", &["g0"]),
        principal("admin", "admin", &["g0"])
    );
    let backup = objects.apply_policy(&policy("ta", &body));
    let text = objects.text(Section::Roles).replace("username: viewer", "username: changed");
    objects.patch(&ObjectKey::aws_auth(), json!({ "data": { "mapRoles": text } }));
    append_entry(&mut objects, "old", "other");
    objects.patch(&ObjectKey::cluster_role("r"), json!({ "metadata": { "labels": { "team": "x" } } }));
    let before = objects.content();
    let text = before[&ObjectKey::aws_auth()]["data"]["mapRoles"].as_str().unwrap().to_owned();
    let warnings = restore(&backup, &mut objects);
    assert_eq!(
        warnings,
        [
            "aws-auth role arn:aws:iam::111122223333:role/old is not added again: it was changed since the apply",
            "aws-auth role arn:aws:iam::111122223333:role/viewer is not removed: it was changed since the apply",
            "ClusterRole r is not deleted: it was changed since the apply",
        ]
    );
    let restored = objects.text(Section::Roles);
    assert!(text.contains("role/admin") && !restored.contains("role/admin"), "{restored}");
    assert!(restored.contains("username: changed") && restored.contains("username: other"), "{restored}");
    assert!(objects.objects.contains_key(&ObjectKey::cluster_role("r")));
    // The entry that is left alone still has its owner.
    let id = entry_id(Section::Roles, &arn("viewer"));
    assert_eq!(objects.marks().owner(id), Some("ta"));
}

#[test]
fn fields_that_others_changed_since_are_kept() {
    let bind = |groups: &str| {
        policy(
            "ta",
            &format!("[bindings.b]\ncluster-role = \"view\"\ngroups = {groups}\n{}", principal("p", "p", &["g0"])),
        )
    };
    let mut objects = config_map(FOREIGN);
    objects.apply_policy(&bind("[\"g0\"]"));
    let changed = bind("[\"g1\"]").replace("username = \"p\"", "username = \"q\"").replace("[\"g0\"]\n", "[\"g2\"]\n");
    let backup = objects.apply_policy(&changed);
    let binding = ObjectKey::binding(None, "b");
    let mut subjects = objects.objects[&binding]["subjects"].clone();
    subjects
        .as_array_mut()
        .unwrap()
        .push(json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "x" }));
    objects.patch(&binding, json!({ "subjects": subjects, "metadata": { "labels": { "theirs": "1" } } }));
    let text = objects.text(Section::Roles).replace("username: q", "username: theirs");
    objects.patch(&ObjectKey::aws_auth(), json!({ "data": { "mapRoles": text } }));
    let warnings = restore(&backup, &mut objects);
    assert_eq!(
        warnings,
        [
            "`username` of aws-auth role arn:aws:iam::111122223333:role/p is not restored: it was changed since the apply"
        ]
    );
    let state = objects.state();
    let subjects: Vec<String> = state.bindings[&binding].subjects.iter().map(ToString::to_string).collect();
    assert_eq!(subjects, ["user x", "group g0"]);
    assert_eq!(state.bindings[&binding].meta.labels["theirs"], "1");
    let entries = parse_section(Section::Roles, &objects.text(Section::Roles)).unwrap().entries;
    let entry = &entries.last().unwrap().entry;
    assert_eq!((entry.username.as_str(), entry.groups.as_slice()), ("theirs", &["g0".to_owned()][..]));
}

#[test]
fn objects_that_another_policy_owns_by_now_are_left_alone() {
    let mut objects = config_map(FOREIGN);
    let body = format!("[cluster-roles.r]\nrules = []\n{}", principal("p", "p", &["g0"]));
    let backup = objects.apply_policy(&policy("ta", &body));
    // `ta` gives both up, and `tb` adopts them.
    let role = ObjectKey::cluster_role("r");
    objects.patch(&role, json!({ "metadata": { "annotations": { "rolecall/policy": null } } }));
    objects.patch(&ObjectKey::aws_auth(), json!({ "metadata": { "annotations": { ENTRIES_ANNOTATION: null } } }));
    objects.apply_policy(&policy("tb", &body));
    let before = objects.content().into_iter().map(|(key, object)| (key.clone(), object)).collect::<BTreeMap<_, _>>();
    let warnings = restore(&backup, &mut objects);
    assert_eq!(
        warnings,
        [
            "aws-auth role arn:aws:iam::111122223333:role/p is not removed: policy `tb` owns it since the apply",
            "ClusterRole r is not deleted: policy `tb` owns it since the apply",
        ]
    );
    assert_eq!(objects.content(), before.iter().map(|(key, object)| (key, object.clone())).collect());
}

#[test]
fn interrupted_replacement_of_a_binding_is_taken_back() {
    let bind = |role: &str| policy("ta", &format!("[bindings.b]\ncluster-role = \"{role}\"\ngroups = [\"g0\"]\n"));
    let mut objects = default_roles();
    objects.apply_policy(&bind("view"));
    let plan = plan_policy(&bind("edit"), &objects.state());
    let start = objects.clone();
    let binding = ObjectKey::binding(None, "b");
    for killed_after in 0..=plan.steps.len() {
        let mut objects = start.clone();
        objects.apply(plan.steps.iter().take(killed_after));
        let backup = applied_writes(plan.clone(), start.objects.clone());
        assert_eq!(restore(&backup, &mut objects), Vec::<String>::new(), "{killed_after}");
        assert_eq!(objects.content(), start.content(), "{killed_after}");
    }
    // After the whole apply, a missing binding was deleted by another client.
    objects.apply(&plan.steps);
    objects.write(&binding, &WriteRequest::Delete);
    let backup = applied_writes(plan, start.objects);
    let warnings = restore(&backup, &mut objects);
    assert_eq!(warnings, ["ClusterRoleBinding b is not created again: it was deleted since the apply"]);
}

#[test]
fn rules_of_aggregated_roles_are_left_to_their_controller() {
    let plain = policy("ta", "[cluster-roles.r]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n");
    let aggregated = policy("ta", "[cluster-roles.r]\naggregation = [{ match-labels = { none = \"x\" } }]\n");
    let role = ObjectKey::cluster_role("r");
    for (before, after) in [(&plain, &aggregated), (&aggregated, &plain)] {
        let mut objects = default_roles();
        objects.apply_policy(before);
        let start = objects.clone();
        let backup = objects.apply_policy(after);
        assert_ne!(objects.content(), start.content());
        assert_eq!(restore(&backup, &mut objects), Vec::<String>::new());
        // No rule of the plain role is left in the aggregated role, which selects nothing.
        assert_eq!(objects.content(), start.content());
    }
    // Rules that the controller has filled in since are neither a conflict nor restored.
    let mut objects = default_roles();
    objects.apply_policy(&aggregated);
    let backup = objects.apply_policy(&aggregated.replace("\"x\"", "\"y\""));
    let rules = json!([{ "verbs": ["get"], "apiGroups": [""], "resources": ["services"] }]);
    objects.patch(&role, json!({ "rules": rules }));
    assert_eq!(restore(&backup, &mut objects), Vec::<String>::new());
    let stored = &objects.objects[&role];
    assert_eq!(stored["rules"], rules);
    assert_eq!(stored["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]["none"], "x");
}

#[test]
fn backup_without_the_object_of_a_write_is_refused() {
    let mut objects = config_map(FOREIGN);
    let mut backup = objects.apply_policy(&policy("ta", &principal("p", "p", &["g0"])));
    backup.before.clear();
    let errors = plan_restore(&backup, &objects.state()).unwrap_err();
    assert_eq!(
        errors[0].message,
        "the backup is incomplete: its writes of ConfigMap kube-system/aws-auth do not fit the content that it has"
    );
}

#[test]
fn limits_and_invariants_of_the_policy_are_part_of_the_plan() {
    let mut objects = config_map(FOREIGN);
    let text = policy(
        "ta",
        "[guard]\nprotected = [\"arn:aws:iam::111122223333:role/foreign\"]\n[[invariants]]\ngroup = \"g0\"\ncannot = \"escalate\"\n[cluster-roles.r]\nrules = []\n",
    );
    let backup = objects.apply_policy(&text);
    let plan = plan_restore(&backup, &objects.state()).unwrap();
    assert_eq!(plan.limits.protected.len(), 1);
    assert_eq!(plan.invariants.len(), 1);
}

#[test]
fn one_write_of_aws_auth_is_taken_back_from_what_others_wrote_since() {
    let mut objects = config_map(FOREIGN);
    objects.apply_policy(&policy("ta", &principal("a", "a", &["g0"])));
    let key = ObjectKey::aws_auth();
    let before = objects.objects[&key].clone();
    let plan = plan_policy(&policy("ta", &principal("b", "b", &["g0"])), &objects.state());
    let write = &plan.steps[0].write;
    objects.write(&key, write);
    append_entry(&mut objects, "since", "since");
    let undo = undo_aws_auth_write("ta", Some(&before), write, objects.objects.get(&key)).unwrap();
    assert!(undo.warnings.is_empty());
    objects.write(&key, &undo.write.unwrap());
    let text = objects.text(Section::Roles);
    // The entry has the lines that it had.
    assert!(
        text.contains("role/since") && text.contains("role/a\n  username: a\n") && !text.contains("role/b"),
        "{text}"
    );
    let undo = undo_aws_auth_write("ta", Some(&before), write, objects.objects.get(&key)).unwrap();
    assert_eq!(undo.write, None);
}

#[test]
fn created_config_map_is_deleted_only_if_no_other_client_wrote_it() {
    let text = policy("ta", &principal("p", "p", &["g0"]));
    let mut objects = TestObjects::default();
    let backup = objects.apply_policy(&text);
    let mut written = objects.clone();
    assert_eq!(restore(&backup, &mut objects), Vec::<String>::new());
    assert!(objects.objects.is_empty());
    append_entry(&mut written, "since", "since");
    assert_eq!(restore(&backup, &mut written), Vec::<String>::new());
    let auth = AwsAuth::from_json(&written.objects[&ObjectKey::aws_auth()]).unwrap();
    assert_eq!(auth.data["mapRoles"], format!("# since\n- {{rolearn: {}, username: since}}\n", arn("since")));
}
