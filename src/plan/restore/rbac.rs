//! Takes back the writes of roles and bindings, field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::manual_rules::planned_cluster_roles;
use super::super::schedule::ChangeKind;
use super::super::{Action, ChangeTarget, FieldDiff, bridge, field_diff};
use super::undo_value::{Undo, UndoneMap, Versions, undo_list, undo_map, undo_value};
use super::{RestorePlanner, left_alone, restore_change};
use crate::access::keeps_manual_rules;
use crate::names::ObjectKey;
use crate::state::object::{
    Binding, ObjectError, Role, aggregation_rule_to_json, binding_to_json, role_to_json, subjects_to_json,
};
use crate::state::object_meta::{LAST_APPLIED_ANNOTATION, Labels, ObjectMeta};
use crate::state::owner::{self, MANAGED_BY_LABEL, Owner, POLICY_ANNOTATION};
use crate::state::rbac::{LabelSelector, Rule, same_rules, same_subjects};
use crate::state::undo;
use crate::state::write::apply_merge_patch;

/// Fields of `metadata` that rolecall does not manage and that a client can set.
const UNMANAGED_METADATA: [&str; 2] = ["finalizers", "ownerReferences"];

/// A role or a binding.
trait RbacObject: Clone {
    fn meta(&self) -> &ObjectMeta;
    /// Returns whether the content that an apply can write is equal.
    fn has_same_content(&self, other: &Self) -> bool;
    fn diff(from: Option<&Self>, to: Option<&Self>) -> Vec<FieldDiff>;
    fn to_json(&self, key: &ObjectKey) -> Value;
}

impl RbacObject for Role {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn has_same_content(&self, other: &Self) -> bool {
        OwnRules::from_role(self).is_equal(&OwnRules::from_role(other))
    }

    fn diff(from: Option<&Self>, to: Option<&Self>) -> Vec<FieldDiff> {
        field_diff::diff_role(from, to)
    }

    fn to_json(&self, key: &ObjectKey) -> Value {
        role_to_json(key, self)
    }
}

impl RbacObject for Binding {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn has_same_content(&self, other: &Self) -> bool {
        self.role_ref == other.role_ref && same_subjects(&self.subjects, &other.subjects)
    }

    fn diff(from: Option<&Self>, to: Option<&Self>) -> Vec<FieldDiff> {
        field_diff::diff_binding(from, to)
    }

    fn to_json(&self, key: &ObjectKey) -> Value {
        binding_to_json(key, self)
    }
}

/// The rules of a role, or the selectors of an aggregated role. The aggregation controller writes the rules of an aggregated
/// role, so they are not compared and not restored.
#[derive(Debug, Clone)]
enum OwnRules {
    Rules(Vec<Rule>),
    Aggregated(Vec<LabelSelector>),
}

impl OwnRules {
    fn from_role(role: &Role) -> Self {
        match &role.aggregation {
            Some(selectors) => Self::Aggregated(selectors.clone()),
            None => Self::Rules(role.rules.clone()),
        }
    }

    fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rules(a), Self::Rules(b)) => same_rules(a, b),
            (Self::Aggregated(a), Self::Aggregated(b)) => {
                a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
            }
            (Self::Rules(_), Self::Aggregated(_)) | (Self::Aggregated(_), Self::Rules(_)) => false,
        }
    }

    fn rules(&self) -> Option<&[Rule]> {
        match self {
            Self::Rules(rules) => Some(rules),
            Self::Aggregated(_) => None,
        }
    }
}

/// Returns whether an object is as a version of it: content, labels and annotations.
fn is_same_object<T: RbacObject>(a: &T, b: &T) -> bool {
    a.has_same_content(b) && a.meta().labels == b.meta().labels && a.meta().annotations == b.meta().annotations
}

/// Returns the rules without those that the apply added and with those that it removed. `None` if a rule that it added was
/// changed since.
fn undo_rules(versions: &Versions<OwnRules>, current: &OwnRules) -> Option<Vec<Rule>> {
    let before = versions.before.as_ref()?.rules()?;
    let after = versions.after.as_ref()?.rules()?;
    let current = current.rules()?;
    let is_in = |list: &[Rule], rule: &Rule| {
        list.iter().any(|other| same_rules(std::slice::from_ref(other), std::slice::from_ref(rule)))
    };
    let added: Vec<Rule> = after.iter().filter(|rule| !is_in(before, rule)).cloned().collect();
    if added.iter().any(|rule| !is_in(current, rule)) {
        return None;
    }
    let mut rules: Vec<Rule> = current.iter().filter(|rule| !is_in(&added, rule)).cloned().collect();
    rules.extend(before.iter().filter(|rule| !is_in(after, rule) && !is_in(current, rule)).cloned());
    Some(rules)
}

/// The labels and annotations that are set back.
struct UndoneMeta {
    labels: UndoneMap,
    annotations: UndoneMap,
}

impl UndoneMeta {
    fn new<T: RbacObject>(versions: &Versions<T>, live: &ObjectMeta) -> Self {
        Self {
            labels: undo_map(&versions.map(|object| object.meta().labels.clone()), &live.labels),
            annotations: undo_map(&versions.map(|object| object.meta().annotations.clone()), &live.annotations),
        }
    }

    fn is_empty(&self) -> bool {
        self.labels.changes.is_empty() && self.annotations.changes.is_empty()
    }

    /// Returns the `metadata` of a merge patch.
    fn to_patch(&self) -> Option<Value> {
        let mut out = Map::new();
        for (field, map) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !map.changes.is_empty() {
                out.insert(field.to_owned(), json!(map.changes));
            }
        }
        (!out.is_empty()).then_some(Value::Object(out))
    }

    fn apply(&self, meta: &mut ObjectMeta) {
        for (map, undone) in [(&mut meta.labels, &self.labels), (&mut meta.annotations, &self.annotations)] {
            for (key, value) in &undone.changes {
                match value {
                    Some(value) => drop(map.insert(key.clone(), value.clone())),
                    None => drop(map.remove(key)),
                }
            }
        }
    }

    /// Returns the fields that are left alone, such as `labels.team`.
    fn conflicts(&self) -> impl Iterator<Item = String> {
        let labels = self.labels.conflicts.iter().map(|key| format!("labels.{key}"));
        labels.chain(self.annotations.conflicts.iter().map(|key| format!("annotations.{key}")))
    }
}

/// Returns the labels without the mark of the owner.
fn shown_labels(meta: &ObjectMeta) -> Labels {
    meta.labels
        .iter()
        .filter(|(key, _)| *key != MANAGED_BY_LABEL)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl RestorePlanner<'_> {
    pub(super) fn undo_role(&mut self, key: &ObjectKey, versions: &Versions<Role>) {
        let live = self.live.roles.get(key);
        let Some((before, live)) = self.undo_existence(key, versions, live) else {
            return;
        };
        let contents = versions.map(OwnRules::from_role);
        let current = OwnRules::from_role(live);
        let meta = UndoneMeta::new(versions, &live.meta);
        let mut conflicts: Vec<String> = meta.conflicts().collect();
        let mut restored = live.clone();
        meta.apply(&mut restored.meta);
        let mut patch = Map::new();
        let content = match undo_value(&contents, Some(&current), OwnRules::is_equal) {
            Undo::Nothing => None,
            // Both versions exist, so the content is never removed.
            Undo::Set(content) => content,
            Undo::Conflict => {
                let rules = undo_rules(&contents, &current);
                if rules.is_none() {
                    conflicts.push(if before.aggregation.is_some() { "aggregationRule" } else { "rules" }.to_owned());
                }
                rules.map(OwnRules::Rules)
            }
        };
        let content_is_kept = content.is_none();
        match content {
            Some(OwnRules::Rules(rules)) => {
                patch.insert("rules".to_owned(), json!(rules));
                if live.aggregation.is_some() {
                    patch.insert("aggregationRule".to_owned(), Value::Null);
                }
                (restored.rules, restored.aggregation) = (rules, None);
            }
            Some(OwnRules::Aggregated(selectors)) => {
                patch.insert("aggregationRule".to_owned(), aggregation_rule_to_json(&selectors));
                restored.aggregation = Some(selectors);
            }
            None => {}
        }
        // The rules of an aggregated role belong to its controller, unless the apply has emptied rules written by hand.
        let mut rule_fields = Vec::new();
        let rules = versions.map(|role| role.rules.clone());
        let are_aggregated = before.aggregation.is_some() && live.aggregation.is_some();
        match undo_value(&rules, Some(&live.rules), |a, b| same_rules(a, b)) {
            Undo::Set(Some(rules)) if are_aggregated && content_is_kept => {
                patch.insert("rules".to_owned(), json!(rules));
                rule_fields = field_diff::diff_rules(&live.rules, &rules);
                restored.rules = rules;
            }
            Undo::Set(_) | Undo::Nothing | Undo::Conflict => {}
        }
        let sets_no_label = meta.labels.changes.values().all(Option::is_none);
        let only_revokes = live.aggregation.is_none()
            && restored.aggregation.is_none()
            && sets_no_label
            && restored.rules.iter().all(|rule| {
                live.rules.iter().any(|old| same_rules(std::slice::from_ref(old), std::slice::from_ref(rule)))
            });
        self.push_field_conflicts(key, &conflicts);
        if !patch.is_empty() || !meta.is_empty() {
            patch.extend(meta.to_patch().map(|metadata| ("metadata".to_owned(), metadata)));
            let kind = ChangeKind::Patch { patch: Value::Object(patch), only_revokes };
            self.push_update(key, live, &restored, rule_fields, kind);
        }
    }

    /// Empties the rules of roles that become aggregated again and whose selectors find no rules. The controller does not
    /// write an empty list, so the rules that they have now would stay.
    pub(super) fn empty_rules_that_no_selector_finds(&mut self) -> Result<(), ObjectError> {
        let planned = planned_cluster_roles(&self.writes, self.live)?;
        for write in &mut self.writes {
            if let ChangeKind::Patch { patch, .. } = &mut write.kind
                && patch.get("aggregationRule").is_some()
                && keeps_manual_rules(&planned, &write.object)
            {
                apply_merge_patch(patch, &json!({ "rules": [] }));
            }
        }
        Ok(())
    }

    pub(super) fn undo_binding(&mut self, key: &ObjectKey, versions: &Versions<Binding>) {
        let live = self.live.bindings.get(key);
        let Some((_, live)) = self.undo_existence(key, versions, live) else {
            return;
        };
        let meta = UndoneMeta::new(versions, &live.meta);
        let mut conflicts: Vec<String> = meta.conflicts().collect();
        let mut restored = live.clone();
        meta.apply(&mut restored.meta);
        let subjects = undo_list(&versions.map(|binding| binding.subjects.clone()), &live.subjects);
        if let Some(subjects) = &subjects {
            restored.subjects.clone_from(subjects);
        }
        match undo_value(&versions.map(|binding| binding.role_ref.clone()), Some(&live.role_ref), PartialEq::eq) {
            Undo::Nothing | Undo::Set(None) => {}
            Undo::Set(Some(role_ref)) if live.meta.finalizers.is_empty() => restored.role_ref = role_ref,
            Undo::Set(Some(_)) => {
                let finalizers = live.meta.finalizers.join(", ");
                let reason = format!("its finalizers block the deletion, and a roleRef is immutable: {finalizers}");
                self.warnings.push(left_alone(&format!("`roleRef` of {key}"), "restored", reason));
            }
            Undo::Conflict => conflicts.push("roleRef".to_owned()),
        }
        self.push_field_conflicts(key, &conflicts);
        if restored.role_ref != live.role_ref {
            let kind = self.replacement(key, &restored);
            self.push_write(key, "replace", kind);
            let mut change = restore_change(
                Action::Replace,
                ChangeTarget::Object(key.clone()),
                field_diff::diff_binding(Some(live), Some(&restored)),
            );
            change.note = Some("roleRef is immutable: replaced without interrupting access".to_owned());
            self.changes.push(change);
        } else if subjects.is_some() || !meta.is_empty() {
            let mut patch = Map::new();
            patch.extend(meta.to_patch().map(|metadata| ("metadata".to_owned(), metadata)));
            if let Some(subjects) = &subjects {
                patch.insert("subjects".to_owned(), subjects_to_json(subjects));
            }
            let only_revokes = restored.subjects.iter().all(|subject| live.subjects.contains(subject));
            let kind = ChangeKind::Patch { patch: Value::Object(patch), only_revokes };
            self.push_update(key, live, &restored, Vec::new(), kind);
        }
    }

    /// Takes back the creation or the deletion of an object. Returns the object before the apply and now, if it existed and
    /// exists, so that its fields can be set back.
    fn undo_existence<'o, T: RbacObject>(
        &mut self,
        key: &ObjectKey,
        versions: &'o Versions<T>,
        live: Option<&'o T>,
    ) -> Option<(&'o T, &'o T)> {
        let name = key.to_string();
        let Some(live) = live else {
            let before = versions.before.as_ref()?;
            if versions.after.is_none() || self.applied.stopped_before_recreating(key, self.live) {
                self.push_recreation(key, before);
            } else {
                self.warnings.push(left_alone(&name, "created again", "it was deleted since the apply"));
            }
            return None;
        };
        if versions.before.as_ref().is_some_and(|before| is_same_object(before, live)) {
            return None;
        }
        let is_as_written = versions.written().flatten().any(|written| is_same_object(written, live));
        let action = if versions.before.is_none() { "deleted" } else { "restored" };
        if live.meta().deleting {
            let reason =
                format!("it is being deleted and waits for its finalizers: {}", live.meta().finalizers.join(", "));
            self.warnings.push(left_alone(&name, action, reason));
            return None;
        }
        let owner_before = versions.before.as_ref().map(|before| owner::object_owner(key, before.meta(), self.policy));
        if let Owner::OtherPolicy(other) = owner::object_owner(key, live.meta(), self.policy)
            && owner_before != Some(Owner::OtherPolicy(other.clone()))
        {
            self.warnings.push(left_alone(&name, action, format!("policy `{other}` owns it since the apply")));
            return None;
        }
        match &versions.before {
            None if is_as_written => {
                self.push_write(key, "delete", ChangeKind::Delete);
                let fields = T::diff(Some(live), None);
                self.changes.push(restore_change(Action::Delete, ChangeTarget::Object(key.clone()), fields));
                None
            }
            // A temporary object of the apply, whose name another client has taken.
            None if versions.after.is_none() => None,
            None => {
                self.warnings.push(left_alone(&name, action, "it was changed since the apply"));
                None
            }
            Some(_) if versions.after.is_none() && !is_as_written => {
                self.warnings.push(left_alone(
                    &name,
                    action,
                    "it was created again since the apply, with other content",
                ));
                None
            }
            Some(before) => Some((before, live)),
        }
    }

    fn push_recreation<T: RbacObject>(&mut self, key: &ObjectKey, before: &T) {
        // The backup also has fields that rolecall does not manage, such as finalizers.
        let stored = self.applied.before.get(key).map(undo::strip_server_fields);
        let body = stored.unwrap_or_else(|| before.to_json(key));
        self.push_write(key, "create", ChangeKind::Create(body));
        let fields = T::diff(None, Some(before));
        self.changes.push(restore_change(Action::Create, ChangeTarget::Object(key.clone()), fields));
    }

    /// `rule_fields` are changes that the difference of the objects does not show.
    fn push_update<T: RbacObject>(
        &mut self,
        key: &ObjectKey,
        live: &T,
        restored: &T,
        rule_fields: Vec<FieldDiff>,
        kind: ChangeKind,
    ) {
        self.push_write(key, "change", kind);
        let mut fields = T::diff(Some(live), Some(restored));
        fields.extend(rule_fields);
        fields.extend(field_diff::diff_labels(&shown_labels(live.meta()), &shown_labels(restored.meta())));
        let is_released = live.meta().annotations.contains_key(POLICY_ANNOTATION)
            && !restored.meta().annotations.contains_key(POLICY_ANNOTATION);
        let mut change = restore_change(Action::Update, ChangeTarget::Object(key.clone()), fields);
        change.note = if is_released {
            Some("will no longer be managed by this policy".to_owned())
        } else {
            change.fields.is_empty().then(|| "only the marks of an owner change".to_owned())
        };
        self.changes.push(change);
    }

    fn push_field_conflicts(&mut self, key: &ObjectKey, fields: &[String]) {
        for field in fields {
            let warning = left_alone(&format!("`{field}` of {key}"), "restored", "it was changed since the apply");
            self.warnings.push(warning);
        }
    }

    /// Returns the replacement of a binding by one with another roleRef. A bridge grants the restored access meanwhile. It has
    /// the marks of the policy, so that the next plan removes it if the restore is interrupted.
    fn replacement(&self, key: &ObjectKey, restored: &Binding) -> ChangeKind {
        let mut body = binding_to_json(key, restored);
        let before = self.applied.before.get(key);
        for field in UNMANAGED_METADATA {
            if let Some(value) = before.and_then(|before| before.pointer(&format!("/metadata/{field}"))) {
                apply_merge_patch(&mut body, &json!({ "metadata": { field: value } }));
            }
        }
        let last_applied =
            before.and_then(|before| before.get("metadata")?.get("annotations")?.get(LAST_APPLIED_ANNOTATION));
        if let Some(value) = last_applied {
            apply_merge_patch(&mut body, &json!({ "metadata": { "annotations": { LAST_APPLIED_ANNOTATION: value } } }));
        }
        let mut names = (1..).map(|number| bridge(key, number));
        let bridge = names.find(|bridge| !self.live.bindings.contains_key(bridge)).map(|bridge| {
            let mut marked = Binding { meta: ObjectMeta::default(), ..restored.clone() };
            owner::mark_owned(&bridge, &mut marked.meta, self.policy, &Labels::new(), owner::binding_digest(restored));
            let body = binding_to_json(&bridge, &marked);
            (bridge, body)
        });
        ChangeKind::Replace { body, bridge }
    }
}
