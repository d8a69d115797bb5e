//! Restores on small clusters: named cases, and random applies with random changes of other clients since.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AppliedWrites, plan_restore, undo_aws_auth_write};
use crate::diagnostic::{Diagnostic, NoteKind};
use crate::names::ObjectKey;
use crate::plan::{Plan, Step, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::aws_auth::{EntryEdit, Section, edit_section, parse_section};
use crate::state::config_map::{AwsAuth, entry_key};
use crate::state::entry_marks::{EntryMarks, entry_id};
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::{
    AcceptedWrite, ObjectVersion, ResolvedPrecondition, WriteRequest, accept, apply_merge_patch, prune_empty,
};

/// The stored objects of a cluster. Each write gives an object a new resourceVersion.
#[derive(Debug, Clone, Default)]
struct TestObjects {
    objects: BTreeMap<ObjectKey, Value>,
    version: usize,
}

impl TestObjects {
    fn state(&self) -> State {
        let mut state = State::default();
        for (key, object) in &self.objects {
            state.insert_object(key, object).unwrap();
        }
        state
    }

    fn write(&mut self, key: &ObjectKey, write: &WriteRequest) {
        let stored = self.objects.get(key).map(|object| (object, ObjectVersion::from_object(object).unwrap()));
        let stored = stored.as_ref().map(|(object, version)| (*object, version));
        let expected =
            stored.map_or(ResolvedPrecondition::Absent, |(_, version)| ResolvedPrecondition::Version(version.clone()));
        match accept(key, stored, true, write, &expected).unwrap_or_else(|error| panic!("{key}: {error} {write:?}")) {
            AcceptedWrite::Stored(mut object) => {
                self.version += 1;
                let uid =
                    object.pointer("/metadata/uid").cloned().unwrap_or_else(|| json!(format!("u{}", self.version)));
                let metadata = json!({ "resourceVersion": self.version.to_string(), "uid": uid });
                apply_merge_patch(&mut object, &json!({ "metadata": metadata }));
                self.objects.insert(key.clone(), object);
            }
            AcceptedWrite::Unchanged => {}
            AcceptedWrite::Deleted => drop(self.objects.remove(key)),
        }
    }

    fn apply<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        for step in steps {
            self.write(&step.object, &step.write);
        }
    }

    fn patch(&mut self, key: &ObjectKey, patch: Value) {
        self.write(key, &WriteRequest::Patch(patch));
    }

    /// The objects without versions.
    fn content(&self) -> BTreeMap<&ObjectKey, Value> {
        let strip = |object: &Value| {
            let mut object = object.clone();
            apply_merge_patch(&mut object, &json!({ "metadata": { "uid": null, "resourceVersion": null } }));
            prune_empty(&object)
        };
        self.objects.iter().map(|(key, object)| (key, strip(object))).collect()
    }

    fn to_lines(&self) -> String {
        self.content().into_iter().map(|(key, object)| format!("\n{key}: {object}")).collect()
    }

    fn text(&self, section: Section) -> String {
        let auth = self.objects.get(&ObjectKey::aws_auth());
        let text = auth.and_then(|auth| auth["data"][section.key()].as_str());
        text.unwrap_or_default().to_owned()
    }

    fn marks(&self) -> EntryMarks {
        self.state().entry_marks()
    }

    /// Applies a policy. Returns what a backup of this apply has.
    fn apply_policy(&mut self, text: &str) -> AppliedWrites {
        let before = self.objects.clone();
        let plan = plan_policy(text, &self.state());
        self.apply(&plan.steps);
        applied_writes(plan, before)
    }
}

fn applied_writes(plan: Plan, before: BTreeMap<ObjectKey, Value>) -> AppliedWrites {
    let Plan { policy, limits, invariants, steps, .. } = plan;
    AppliedWrites { policy, limits, invariants, before, steps }
}

#[track_caller]
fn plan_policy(text: &str, live: &State) -> Plan {
    let files = vec![("policy.toml".to_owned(), text.to_owned())];
    let (policy, _) = load_policy(files).unwrap_or_else(|(_, errors)| panic!("{errors:#?} {text}"));
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    plan(&policy, None, live, now).unwrap_or_else(|errors| panic!("{errors:#?} {text}"))
}

#[track_caller]
fn restore(applied: &AppliedWrites, objects: &mut TestObjects) -> Vec<String> {
    let plan = plan_restore(applied, &objects.state())
        .unwrap_or_else(|errors| panic!("{errors:#?}\nbefore {:#?}\nnow {}", applied.before, objects.to_lines()));
    objects.apply(&plan.steps);
    messages(&plan.warnings)
}

fn messages(diagnostics: &[Diagnostic]) -> Vec<String> {
    let text = |diagnostic: &Diagnostic| {
        let evidence = diagnostic.notes.iter().filter(|note| note.kind == NoteKind::Because);
        let reasons: Vec<&str> = evidence.map(|note| note.text.as_str()).collect();
        format!("{}: {}", diagnostic.message, reasons.join(", "))
    };
    diagnostics.iter().map(text).collect()
}

fn describe(plan: &Plan) -> Vec<String> {
    plan.changes
        .iter()
        .map(|change| {
            let note = change.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!("{:?} {} {}{note}", change.action, change.target.kind_label(), change.target.name())
        })
        .collect()
}

fn arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

fn principal(name: &str, username: &str, groups: &[&str]) -> String {
    format!("[principals.{name}]\nrole = \"{}\"\nusername = \"{username}\"\ngroups = {groups:?}\n", arn(name))
}

fn policy(name: &str, body: &str) -> String {
    format!("[policy]\nname = \"{name}\"\n[groups.g0]\n[groups.g1]\n[groups.g2]\n{body}")
}

/// The ClusterRoles `view` and `edit`.
fn default_roles() -> TestObjects {
    let mut objects = TestObjects::default();
    for name in ["view", "edit"] {
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } },
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": [name] }],
        });
        objects.write(&ObjectKey::cluster_role(name), &WriteRequest::Create(body));
    }
    objects
}

fn config_map(map_roles: &str) -> TestObjects {
    let mut objects = default_roles();
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "aws-auth", "namespace": "kube-system" },
        "data": { "mapRoles": map_roles, "other": "kept" },
    });
    objects.write(&ObjectKey::aws_auth(), &WriteRequest::Create(body));
    objects
}

const FOREIGN: &str = "# machines\n- rolearn: arn:aws:iam::111122223333:role/foreign # ours\n  username: foreign\n";

fn append_entry(objects: &mut TestObjects, name: &str, username: &str) {
    // The last entry that an edit removes leaves an empty list.
    let text: String = objects.text(Section::Roles).split_inclusive('\n').filter(|line| *line != "[]\n").collect();
    let text = format!("{text}# {name}\n- {{rolearn: {}, username: {username}}}\n", arn(name));
    objects.patch(&ObjectKey::aws_auth(), json!({ "data": { "mapRoles": text } }));
}

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
    assert!(text.contains("role/since") && text.contains("role/a,") && !text.contains("role/b"), "{text}");
    let undo = undo_aws_auth_write("ta", Some(&before), write, objects.objects.get(&key)).unwrap();
    assert_eq!(undo.write, None);
}

/// A generator of small numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn subset<T: Copy>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.below(2) == 0).copied().collect()
    }
}

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const PRINCIPALS: [&str; 4] = ["p0", "p1", "p2", "p3"];

fn random_policy(random: &mut Random) -> String {
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
    let entry = |located: &crate::state::aws_auth::LocatedEntry| {
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
