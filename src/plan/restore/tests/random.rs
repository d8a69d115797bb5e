//! Random applies with random changes of other clients since.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::plan_restore;
use super::{
    FOREIGN, TestObjects, append_entry, applied_writes, arn, config_map, default_roles, messages, plan_policy, policy,
    principal, restore,
};
use crate::names::ObjectKey;
use crate::state::aws_auth::{EntryEdit, LocatedEntry, Section, edit_section, parse_section};
use crate::state::config_map::entry_key;
use crate::state::entry_marks::entry_id;
use crate::state::write::WriteRequest;

/// A generator of small numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(super) fn subset<T: Copy>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.below(2) == 0).copied().collect()
    }
}

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const PRINCIPALS: [&str; 4] = ["p0", "p1", "p2", "p3"];

pub(super) fn random_policy(random: &mut Random) -> String {
    let mut body = String::new();
    for name in random.subset(&PRINCIPALS) {
        let username = random.pick(&["u0", "u1"]);
        body.push_str(&principal(name, &format!("{name}-{username}"), &random.subset(&GROUPS)));
    }
    for name in random.subset(&["r0", "r1"]) {
        let rules: Vec<String> = random
            .subset(&["pods", "secrets", "nodes"])
            .into_iter()
            .map(|resource| format!("{{ verbs = [\"get\"], resources = [\"{resource}\"] }}"))
            .collect();
        let label = random.pick(&[
            "",
            "labels = { team = \"a\" }\n",
            "labels = { team = \"b\" }\n",
            "aggregate-to = [\"view\"]\n",
        ]);
        body.push_str(&format!("[cluster-roles.{name}]\nrules = [{}]\n{label}", rules.join(", ")));
    }
    for name in random.subset(&["b0", "b1", "b2"]) {
        let role = random.pick(&["view", "edit"]);
        let mut groups = random.subset(&GROUPS);
        groups.retain(|group| *group != "g0");
        groups.push("g0");
        body.push_str(&format!("[bindings.{name}]\ncluster-role = \"{role}\"\ngroups = {groups:?}\n"));
    }
    policy("ta", &body)
}

/// A cluster with objects and entries that no policy owns. The policy can adopt them.
fn random_start(random: &mut Random) -> TestObjects {
    let mut text = FOREIGN.to_owned();
    for name in random.subset(&PRINCIPALS) {
        let groups = random.subset(&["g0", "g1", "old"]).join(", ");
        text.push_str(&format!("- rolearn: {} # {name}\n  groups: [{groups}]\n  username: {name}-u0\n", arn(name)));
    }
    let mut objects = if random.below(6) == 0 { default_roles() } else { config_map(&text) };
    for name in random.subset(&["r0", "r1"]) {
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name, "labels": { "theirs": "1" } },
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }],
        });
        objects.write(&ObjectKey::cluster_role(name), &WriteRequest::Create(body));
    }
    for name in random.subset(&["b0", "b1", "b2"]) {
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "g1" }],
        });
        objects.write(&ObjectKey::binding(None, name), &WriteRequest::Create(body));
    }
    objects
}

/// A change that another client makes.
#[derive(Debug, Clone)]
enum ForeignChange {
    AddEntry(&'static str),
    AddGroup(&'static str),
    RemoveEntry(&'static str),
    AddSubject(ObjectKey),
    AddLabel(ObjectKey),
    Delete(ObjectKey),
    OtherPolicy,
}

impl ForeignChange {
    fn random(random: &mut Random) -> Self {
        let binding = ObjectKey::binding(None, random.pick(&["b0", "b1", "b2"]));
        let object =
            if random.below(2) == 0 { binding.clone() } else { ObjectKey::cluster_role(random.pick(&["r0", "r1"])) };
        match random.below(8) {
            0 | 1 => Self::AddEntry(random.pick(&["f0", "f1"])),
            2 => Self::AddGroup(random.pick(&PRINCIPALS)),
            3 => Self::RemoveEntry(random.pick(&PRINCIPALS)),
            4 => Self::AddSubject(binding),
            5 => Self::AddLabel(object),
            6 => Self::Delete(object),
            _ => Self::OtherPolicy,
        }
    }

    fn edit_entry(objects: &mut TestObjects, name: &str, add_group: bool) -> bool {
        let text = objects.text(Section::Roles);
        let entries = parse_section(Section::Roles, &text).unwrap().entries;
        let Some(index) = entries.iter().rposition(|located| entry_key(&located.entry) == arn(name)) else {
            return false;
        };
        let mut entry = entries[index].entry.clone();
        entry.groups.push("x".to_owned());
        let edit = if add_group { EntryEdit::Change { index, entry } } else { EntryEdit::Remove { index } };
        let text = edit_section(Section::Roles, Some(&text), &[edit]).unwrap();
        objects.patch(&ObjectKey::aws_auth(), json!({ "data": { "mapRoles": text } }));
        true
    }

    /// Makes the change. Returns whether it was possible.
    fn make(&self, objects: &mut TestObjects) -> bool {
        let has_aws_auth = objects.objects.contains_key(&ObjectKey::aws_auth());
        match self {
            Self::AddEntry(_) if !has_aws_auth => false,
            Self::AddEntry(name) => {
                append_entry(objects, name, "foreign");
                true
            }
            Self::AddGroup(name) => Self::edit_entry(objects, name, true),
            Self::RemoveEntry(name) => Self::edit_entry(objects, name, false),
            Self::AddSubject(key) => {
                let Some(object) = objects.objects.get(key) else {
                    return false;
                };
                let mut subjects = object["subjects"].as_array().cloned().unwrap_or_default();
                subjects.push(json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "x" }));
                objects.patch(key, json!({ "subjects": subjects }));
                true
            }
            Self::AddLabel(key) if !objects.objects.contains_key(key) => false,
            Self::AddLabel(key) => {
                objects.patch(key, json!({ "metadata": { "labels": { "added": "x" } } }));
                true
            }
            Self::Delete(key) if !objects.objects.contains_key(key) => false,
            Self::Delete(key) => {
                objects.write(key, &WriteRequest::Delete);
                true
            }
            Self::OtherPolicy if !has_aws_auth => false,
            Self::OtherPolicy => {
                let body = "[cluster-roles.of-tb]\nrules = []\n".to_owned() + &principal("dev", "dev", &["g2"]);
                objects.apply_policy(&policy("tb", &body));
                true
            }
        }
    }

    /// The object that the change touches, unless it is about one entry.
    fn object(&self) -> Option<&ObjectKey> {
        match self {
            Self::AddSubject(key) | Self::AddLabel(key) | Self::Delete(key) => Some(key),
            Self::AddEntry(_) | Self::AddGroup(_) | Self::RemoveEntry(_) | Self::OtherPolicy => None,
        }
    }

    /// Returns whether the change is still there. A later change of another client can have undone it.
    fn is_kept(&self, objects: &TestObjects) -> bool {
        let text = objects.text(Section::Roles);
        let entries = parse_section(Section::Roles, &text).unwrap().entries;
        let entry = |name: &str| entries.iter().find(|located| entry_key(&located.entry) == arn(name));
        let object = |key: &ObjectKey| objects.objects.get(key);
        match self {
            Self::AddEntry(name) => {
                text.contains(&format!("# {name}\n- {{rolearn: {}, username: foreign}}\n", arn(name)))
            }
            Self::AddGroup(name) => entry(name).is_some_and(|located| located.entry.groups.contains(&"x".to_owned())),
            Self::RemoveEntry(name) => entry(name).is_none(),
            Self::AddSubject(key) => object(key).is_some_and(|object| object["subjects"].to_string().contains("\"x\"")),
            Self::AddLabel(key) => object(key).is_some_and(|object| object["metadata"]["labels"]["added"] == "x"),
            Self::Delete(key) => object(key).is_none(),
            Self::OtherPolicy => {
                entry("dev").is_some()
                    && objects.marks().owner(entry_id(Section::Roles, &arn("dev"))) == Some("tb")
                    && object(&ObjectKey::cluster_role("of-tb")).is_some()
            }
        }
    }
}

/// The entries of aws-auth with the policy that owns each.
fn entries(objects: &TestObjects) -> BTreeMap<String, (String, BTreeSet<String>, Option<String>)> {
    let marks = objects.marks();
    let parsed = parse_section(Section::Roles, &objects.text(Section::Roles)).unwrap();
    let entry = |located: &LocatedEntry| {
        let key = entry_key(&located.entry);
        let owner = marks.owner(entry_id(Section::Roles, &key)).map(str::to_owned);
        (key, (located.entry.username.clone(), located.entry.groups.iter().cloned().collect(), owner))
    };
    parsed.entries.iter().map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restore_without_other_changes_is_the_old_state_byte_for_byte(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut objects = random_start(&mut random);
        if random.below(3) > 0 {
            objects.apply_policy(&random_policy(&mut random));
        }
        let start = objects.clone();
        let plan = plan_policy(&random_policy(&mut random), &objects.state());
        // An apply that was killed is taken back as well.
        let made = if random.below(2) == 0 { plan.steps.len() } else { random.below(plan.steps.len() + 1) };
        objects.apply(plan.steps.iter().take(made));
        let backup = applied_writes(plan, start.objects.clone());
        let restore_plan = plan_restore(&backup, &objects.state()).unwrap();
        prop_assert_eq!(messages(&restore_plan.warnings), Vec::<String>::new());
        prop_assert_eq!(restore_plan.changes.is_empty(), restore_plan.steps.is_empty());
        objects.apply(&restore_plan.steps);
        prop_assert_eq!(objects.content(), start.content(), "{} of {:#?}", made, backup.steps);
        prop_assert!(plan_restore(&backup, &objects.state()).unwrap().is_empty());
    }

    #[test]
    fn restore_takes_back_the_apply_and_keeps_the_changes_of_others(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut objects = random_start(&mut random);
        if random.below(3) > 0 {
            objects.apply_policy(&random_policy(&mut random));
        }
        let start = objects.clone();
        let backup = objects.apply_policy(&random_policy(&mut random));
        let mut changes = Vec::new();
        // The same changes without the apply in between.
        let mut expected = Some(start.clone());
        for _ in 0..=random.below(4) {
            let change = ForeignChange::random(&mut random);
            if change.make(&mut objects) {
                expected = expected.and_then(|mut objects| change.make(&mut objects).then_some(objects));
                changes.push(change);
            }
        }
        let kept: Vec<ForeignChange> = changes.iter().filter(|change| change.is_kept(&objects)).cloned().collect();
        let marks_of_others = objects.marks().owned_by("tb");
        let with_apply = objects.clone();
        let warnings = restore(&backup, &mut objects);
        let context = || {
            let [start, with_apply, objects] = [&start, &with_apply, &objects].map(TestObjects::to_lines);
            format!("{changes:#?} {warnings:#?}\nstart {start}\nbefore the restore {with_apply}\nrestored {objects}")
        };
        for change in &kept {
            prop_assert!(change.is_kept(&objects), "{change:?} is lost: {}", context());
        }
        prop_assert_eq!(objects.marks().owned_by("tb"), marks_of_others);
        if let (Some(expected), true) = (&expected, warnings.is_empty()) {
            prop_assert!(entries(&objects) == entries(expected), "{:#?} {}", entries(expected), context());
            let rbac = |objects: &TestObjects| {
                let mut content: BTreeMap<ObjectKey, Value> =
                    objects.content().into_iter().map(|(key, object)| (key.clone(), object)).collect();
                content.remove(&ObjectKey::aws_auth());
                for object in content.values_mut() {
                    if let Some(subjects) = object.get_mut("subjects").and_then(Value::as_array_mut) {
                        subjects.sort_by_key(Value::to_string);
                    }
                }
                content
            };
            prop_assert!(rbac(&objects) == rbac(expected), "expected {} {}", expected.to_lines(), context());
        }
        // What no other client touched is as before the apply.
        let (restored, before) = (objects.content(), start.content());
        for key in backup.steps.iter().map(|step| &step.object).filter(|key| **key != ObjectKey::aws_auth()) {
            if !changes.iter().any(|change| change.object() == Some(key)) {
                prop_assert!(restored.get(key) == before.get(key), "{}: {}", key, context());
            }
        }
        let second = plan_restore(&backup, &objects.state()).unwrap();
        prop_assert!(second.is_empty(), "{:#?} {}", second.steps, context());
    }
}
