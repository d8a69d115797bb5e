//! Plans the changes and writes of roles and bindings: create, adopt, update, replace and remove.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::removals::RemovalPlanner;
use super::schedule::{ChangeKind, FirstPrecondition, PendingWrite};
use super::{Action, Change, ChangeOrigin, ChangeTarget, FieldDiff, PlanBuilder, field_diff};
use crate::diagnostic::{Diagnostic, InternalError, Span};
use crate::names::ObjectKey;
use crate::policy::OwnershipSpec;
use crate::policy::expand::{Desired, DesiredItem, DesiredRole};
use crate::policy::expiry::Expiration;
use crate::state::State;
use crate::state::merge_join::{EitherOrBoth, merge_join};
use crate::state::object::{Binding, Role, aggregation_rule_to_json, binding_to_json, role_to_json, subjects_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, DIGEST_ANNOTATION, LABELS_ANNOTATION, Owner, OwnershipMark};
use crate::state::rbac::{Subject, canonical_rules, same_rules, same_subjects};

pub(super) fn plan_objects(builder: &mut PlanBuilder<'_>, desired: &Desired, live: &State, ownership: &OwnershipSpec) {
    let removals = RemovalPlanner::new(builder, desired, live, ownership);
    for (key, side) in merge_join(&desired.roles, &live.roles) {
        match side {
            EitherOrBoth::Left(item) => plan_role_creation(builder, key, item),
            EitherOrBoth::Both(item, role) => plan_role_update(builder, key, item, role),
            EitherOrBoth::Right(role) => {
                removals.plan_removal(builder, key, &role.meta, None, || field_diff::diff_role(Some(role), None));
            }
        }
    }
    removals.warn_kept_objects(builder, desired, live);
    for (key, side) in merge_join(&desired.bindings, &live.bindings) {
        match side {
            EitherOrBoth::Left(item) => plan_binding_creation(builder, key, item),
            EitherOrBoth::Both(item, binding) => {
                plan_binding_update(builder, key, item, binding, live, &desired.expired.users);
            }
            EitherOrBoth::Right(binding) => {
                let end = desired.expired.bindings.get(key);
                removals
                    .plan_removal(builder, key, &binding.meta, end, || field_diff::diff_binding(Some(binding), None));
            }
        }
    }
}

/// Returns whether the plan may change the object. If not, adds an error.
fn check_manageable(builder: &mut PlanBuilder<'_>, key: &ObjectKey, meta: &ObjectMeta, span: Span) -> bool {
    let error = if owner::is_built_in(key) {
        Diagnostic::error(format!("{key} is managed by Kubernetes or EKS, which revert changes to it"))
            .with_help("use another name in the policy")
    } else if let Owner::OtherPolicy(other) = owner::object_owner(key, meta, builder.policy) {
        Diagnostic::error(format!("{key} is owned by policy `{other}`"))
            .with_help(format!("remove {key} from one of the two policies, `{}` or `{other}`", builder.policy))
    } else if meta.deleting {
        Diagnostic::error(format!(
            "{key} is being deleted and waits for its finalizers: {}",
            meta.finalizers.join(", ")
        ))
        .with_note("until it is deleted, it grants access and blocks its name")
        .with_help("wait until the finalizers are removed, or remove them, then plan again")
    } else {
        return true;
    };
    builder.diagnostics.push(error.primary_label(span, ""));
    false
}

pub(super) fn require_as_read(meta: &ObjectMeta) -> FirstPrecondition {
    FirstPrecondition::AsRead {
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
    }
}

fn warn_other_manager(builder: &mut PlanBuilder<'_>, key: &ObjectKey, meta: &ObjectMeta, span: Span) {
    if let Some(manager) = owner::other_manager(meta) {
        let warning = Diagnostic::warning(format!("{key} is adopted, but is labeled as managed by {manager}"))
            .primary_label(span, "")
            .with_help(format!("remove it from {manager}; otherwise both tools overwrite each other's changes"));
        builder.diagnostics.push(warning);
    }
}

pub(super) fn object_change(
    builder: &PlanBuilder<'_>,
    action: Action,
    key: &ObjectKey,
    span: Option<Span>,
    fields: Vec<FieldDiff>,
) -> Change {
    Change {
        action,
        target: ChangeTarget::Object(key.clone()),
        fields,
        location: span.map(|span| builder.location(span)),
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: None,
        access_impact: None,
    }
}

fn plan_role_creation(builder: &mut PlanBuilder<'_>, key: &ObjectKey, desired: &DesiredItem<DesiredRole>) {
    let DesiredRole { role, labels } = &desired.value;
    let mut marked = role.clone();
    owner::mark_owned(key, &mut marked.meta, builder.policy, labels, owner::role_digest(role, labels));
    let mut fields = field_diff::diff_role(None, Some(role));
    fields.extend(field_diff::diff_labels(&Labels::new(), labels));
    builder.changes.push(object_change(builder, Action::Create, key, Some(desired.span), fields));
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Create(role_to_json(key, &marked)),
        precondition: FirstPrecondition::Absent,
        description: format!("create {key}"),
    });
}

/// Returns the `metadata` of a merge patch that marks the object as owned and sets its labels to `desired`. `managed`
/// are the live labels that the policy controls; those that are not desired are removed.
fn metadata_patch(
    (key, meta): (&ObjectKey, &ObjectMeta),
    policy: &str,
    desired: &Labels,
    managed: &Labels,
    digest: &str,
) -> Value {
    let mut marked = ObjectMeta::default();
    owner::mark_owned(key, &mut marked, policy, desired, digest.to_owned());
    let differs = |from: &Labels, key: &String, value: &String| from.get(key) != Some(value);
    let mut labels: Map<String, Value> = marked
        .labels
        .iter()
        .filter(|(key, value)| differs(&meta.labels, key, value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    labels.extend(managed.keys().filter(|key| !desired.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    let mut annotations: Map<String, Value> = marked
        .annotations
        .iter()
        .filter(|(key, value)| differs(&meta.annotations, key, value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    if meta.annotations.contains_key(LABELS_ANNOTATION) && !marked.annotations.contains_key(LABELS_ANNOTATION) {
        annotations.insert(LABELS_ANNOTATION.to_owned(), Value::Null);
    }
    let mut out = Map::new();
    if !labels.is_empty() {
        out.insert("labels".to_owned(), Value::Object(labels));
    }
    if !annotations.is_empty() {
        out.insert("annotations".to_owned(), Value::Object(annotations));
    }
    Value::Object(out)
}

/// A note for a listed object that another client has made from an owned one.
fn copied_mark_note(key: &ObjectKey, meta: &ObjectMeta) -> Option<String> {
    let is_copied = matches!(owner::ownership_mark(key, meta), OwnershipMark::Copied(_));
    is_copied.then(|| "its ownership mark was copied from another object".to_owned())
}

/// Returns whether the object has changed since rolecall wrote it. The digest annotation records the content that was
/// written.
fn change_origin(meta: &ObjectMeta, live_digest: &str) -> ChangeOrigin {
    match meta.annotations.get(DIGEST_ANNOTATION) {
        Some(written_digest) if written_digest != live_digest => ChangeOrigin::ChangedInCluster,
        _ => ChangeOrigin::NotApplied,
    }
}

fn plan_role_update(builder: &mut PlanBuilder<'_>, key: &ObjectKey, desired: &DesiredItem<DesiredRole>, live: &Role) {
    if !check_manageable(builder, key, &live.meta, desired.span) {
        return;
    }
    let DesiredRole { role, labels } = &desired.value;
    let managed_labels = owner::content_labels(&live.meta);
    let has_same_rules = match (&live.aggregation, &role.aggregation) {
        (Some(live), Some(desired)) => {
            let to_set = |list: &[_]| list.iter().cloned().collect::<std::collections::BTreeSet<_>>();
            to_set(live.as_slice()) == to_set(desired.as_slice())
        }
        (None, None) => same_rules(&live.rules, &role.rules),
        _ => false,
    };
    // The live values of the labels that the policy controls now or controlled before.
    let mut live_labels = managed_labels.clone();
    for key in labels.keys() {
        if let Some(value) = live.meta.labels.get(key) {
            live_labels.insert(key.clone(), value.clone());
        }
    }
    let is_unchanged = has_same_rules && live_labels == *labels;
    let is_owned = owner::object_owner(key, &live.meta, builder.policy) == Owner::ThisPolicy;
    if is_unchanged && is_owned {
        return;
    }
    let mut patch = Map::new();
    let digest = owner::role_digest(role, labels);
    patch.insert(
        "metadata".to_owned(),
        metadata_patch((key, &live.meta), builder.policy, labels, &managed_labels, &digest),
    );
    if !has_same_rules {
        match &role.aggregation {
            Some(selectors) => {
                patch.insert("aggregationRule".to_owned(), aggregation_rule_to_json(selectors));
            }
            None => {
                patch.insert("rules".to_owned(), json!(role.rules));
                if live.aggregation.is_some() {
                    patch.insert("aggregationRule".to_owned(), Value::Null);
                }
            }
        }
    }
    let mut fields = if has_same_rules { Vec::new() } else { field_diff::diff_role(Some(live), Some(role)) };
    fields.extend(field_diff::diff_labels(&live_labels, labels));
    if !is_owned {
        warn_other_manager(builder, key, &live.meta, desired.span);
    }
    let only_revokes = role.aggregation.is_none()
        && live.aggregation.is_none()
        && labels.keys().all(|key| managed_labels.contains_key(key))
        && canonical_rules(&role.rules).is_subset(&canonical_rules(&live.rules));
    push_update(
        builder,
        key,
        desired.span,
        is_owned,
        fields,
        live,
        Value::Object(patch),
        only_revokes,
        change_origin(&live.meta, &owner::role_digest(live, &managed_labels)),
    );
}

/// The metadata of a live role or binding.
trait HasMeta {
    fn meta(&self) -> &ObjectMeta;
}

impl HasMeta for Role {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl HasMeta for Binding {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

#[expect(clippy::too_many_arguments, reason = "one write and the change that shows it, from two callers")]
fn push_update(
    builder: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    span: Span,
    is_owned: bool,
    fields: Vec<FieldDiff>,
    live: &impl HasMeta,
    patch: Value,
    only_revokes: bool,
    origin: ChangeOrigin,
) {
    let action = if is_owned { Action::Update } else { Action::Adopt };
    let mut change = object_change(builder, action, key, Some(span), fields);
    change.origin = if is_owned { origin } else { ChangeOrigin::NotApplied };
    change.note = copied_mark_note(key, live.meta());
    change.last_writer.clone_from(&live.meta().last_writer);
    builder.changes.push(change);
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Patch { patch, only_revokes },
        precondition: require_as_read(live.meta()),
        description: format!("{} {key}", if is_owned { "change" } else { "adopt" }),
    });
}

fn with_ownership_marks(builder: &PlanBuilder<'_>, key: &ObjectKey, binding: &Binding) -> Binding {
    let mut marked = binding.clone();
    owner::mark_owned(key, &mut marked.meta, builder.policy, &Labels::new(), owner::binding_digest(binding));
    marked
}

fn plan_binding_creation(builder: &mut PlanBuilder<'_>, key: &ObjectKey, desired: &DesiredItem<Binding>) {
    let body = binding_to_json(key, &with_ownership_marks(builder, key, &desired.value));
    let fields = field_diff::diff_binding(None, Some(&desired.value));
    builder.changes.push(object_change(builder, Action::Create, key, Some(desired.span), fields));
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Create(body),
        precondition: FirstPrecondition::Absent,
        description: format!("create {key}"),
    });
}

fn plan_binding_update(
    builder: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    desired: &DesiredItem<Binding>,
    live: &Binding,
    live_state: &State,
    expired_users: &BTreeMap<String, Expiration>,
) {
    if !check_manageable(builder, key, &live.meta, desired.span) {
        return;
    }
    let new = &desired.value;
    let is_owned = owner::object_owner(key, &live.meta, builder.policy) == Owner::ThisPolicy;
    let origin = || change_origin(&live.meta, &owner::binding_digest(live));
    if live.role_ref != new.role_ref {
        let origin = if is_owned { origin() } else { ChangeOrigin::NotApplied };
        plan_binding_replacement(builder, key, desired, live, live_state, origin);
        return;
    }
    let has_same_subjects = same_subjects(&live.subjects, &new.subjects);
    if has_same_subjects && is_owned {
        return;
    }
    let mut patch = Map::new();
    let digest = owner::binding_digest(new);
    patch.insert(
        "metadata".to_owned(),
        metadata_patch((key, &live.meta), builder.policy, &Labels::new(), &Labels::new(), &digest),
    );
    if !has_same_subjects {
        patch.insert("subjects".to_owned(), subjects_to_json(&new.subjects));
    }
    if !is_owned {
        warn_other_manager(builder, key, &live.meta, desired.span);
    }
    let only_revokes = new.subjects.iter().all(|subject| live.subjects.contains(subject));
    let fields = field_diff::diff_binding(Some(live), Some(new));
    push_update(builder, key, desired.span, is_owned, fields, live, Value::Object(patch), only_revokes, origin());
    let is_removed = |name: &str| {
        let user = Subject::User(name.to_owned());
        live.subjects.contains(&user) && !new.subjects.contains(&user)
    };
    let notes: Vec<&str> = expired_users
        .iter()
        .filter(|(name, _)| is_removed(name))
        .map(|(_, expiration)| expiration.reason.as_str())
        .collect();
    if let Some(change) = builder.changes.last_mut().filter(|_| !notes.is_empty()) {
        change.note = Some(change.note.take().into_iter().chain([notes.join(", ")]).collect::<Vec<_>>().join(", "));
    }
}

/// Returns the name of a bridge: a temporary binding that grants the new access while the binding `key` is deleted and
/// created with another roleRef. Names are numbered from 1; the first unused one is taken.
pub(crate) fn bridge(key: &ObjectKey, number: u32) -> ObjectKey {
    key.with_name(&match number {
        1 => format!("{}-rolecall-bridge", key.name()),
        n => format!("{}-rolecall-bridge-{n}", key.name()),
    })
}

/// Replaces a binding, because its roleRef is immutable. A bridge grants the new access meanwhile. The bridge of an
/// interrupted apply is reused; the plan removes it, because the policy does not list it.
fn plan_binding_replacement(
    builder: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    desired: &DesiredItem<Binding>,
    live: &Binding,
    live_state: &State,
    origin: ChangeOrigin,
) {
    if !live.meta.finalizers.is_empty() {
        let finalizers = live.meta.finalizers.join(", ");
        builder.diagnostics.push(
            Diagnostic::error(format!("{key} cannot be replaced: its finalizers block the deletion: {finalizers}"))
                .primary_label(desired.span, "")
                .with_because("a roleRef is immutable, so the binding must be deleted and created again")
                .with_help("remove the finalizers, or use another binding name in the policy"),
        );
        return;
    }
    let is_reusable = |key: &ObjectKey, bridge: &Binding| {
        bridge.role_ref == desired.value.role_ref
            && same_subjects(&bridge.subjects, &desired.value.subjects)
            && owner::object_owner(key, &bridge.meta, builder.policy) == Owner::ThisPolicy
            && !bridge.meta.deleting
    };
    let is_usable = |bridge: &ObjectKey| live_state.bindings.get(bridge).is_none_or(|live| is_reusable(bridge, live));
    let mut bridges = (1..).map(|number| bridge(key, number));
    let Some(bridge) = bridges.find(is_usable) else {
        builder.diagnostics.push(InternalError::new(format!("{key}: there is no free name for a bridge")).into());
        return;
    };
    let mut change = object_change(
        builder,
        Action::Replace,
        key,
        Some(desired.span),
        field_diff::diff_binding(Some(live), Some(&desired.value)),
    );
    let is_owned = owner::object_owner(key, &live.meta, builder.policy) == Owner::ThisPolicy;
    let adoption = match copied_mark_note(key, &live.meta) {
        Some(note) => format!("existing object, adopted; {note}; "),
        None if is_owned => String::new(),
        None => "existing object, adopted; ".to_owned(),
    };
    change.note = Some(format!("{adoption}roleRef is immutable: replaced without interrupting access"));
    change.origin = origin;
    change.last_writer.clone_from(&live.meta.last_writer);
    builder.changes.push(change);
    let body = |key: &ObjectKey| binding_to_json(key, &with_ownership_marks(builder, key, &desired.value));
    let new_bridge = (!live_state.bindings.contains_key(&bridge)).then(|| (bridge.clone(), body(&bridge)));
    let kind = ChangeKind::Replace { body: body(key), bridge: new_bridge };
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind,
        precondition: require_as_read(&live.meta),
        description: format!("replace {key}"),
    });
}
