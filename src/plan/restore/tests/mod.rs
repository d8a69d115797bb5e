//! Restores on small clusters.

mod named;
mod random;
mod sequences;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{AppliedWrites, plan_restore};
use crate::diagnostic::{Diagnostic, NoteKind};
use crate::names::ObjectKey;
use crate::plan::{Plan, Step, plan};
use crate::policy::load_policy;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::entry_marks::EntryMarks;
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
    let Plan { policy, limits, invariants, steps, token_cache, .. } = plan;
    AppliedWrites { policy, limits, invariants, before, steps, token_cache }
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
