//! Roles and bindings: what comes, changes, is adopted, replaced and goes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::order::{Needs, PendingWrite, Turn};
use super::removals::RemovalPlanner;
use super::{Action, Change, ChangeOrigin, ChangeTarget, FieldDiff, PlanBuilder, field_diff};
use crate::diagnostic::{Diagnostic, Span};
use crate::names::ObjectKey;
use crate::policy::OwnershipSpec;
use crate::policy::expand::{Desired, DesiredItem, DesiredRole};
use crate::policy::expiry::Expiration;
use crate::state::State;
use crate::state::merge_join::{EitherOrBoth, merge_join};
use crate::state::object::{Binding, Role, aggregation_rule_to_json, binding_to_json, role_to_json, subjects_to_json};
use crate::state::object_meta::{Labels, ObjectMeta};
use crate::state::owner::{self, DIGEST_ANNOTATION, LABELS_ANNOTATION, Owner};
use crate::state::rbac::{Subject, same_rules, same_subjects};

pub(super) fn plan_objects(draft: &mut PlanBuilder<'_>, desired: &Desired, live: &State, ownership: &OwnershipSpec) {
    let removals = RemovalPlanner::new(draft, desired, live, ownership);
    for (key, side) in merge_join(&desired.roles, &live.roles) {
        match side {
            EitherOrBoth::Left(wanted) => plan_role_creation(draft, key, wanted),
            EitherOrBoth::Both(wanted, role) => plan_role_update(draft, key, wanted, role),
            EitherOrBoth::Right(role) => {
                removals.plan_removal(draft, key, &role.meta, None, || field_diff::diff_role(Some(role), None))
            }
        }
    }
    for (key, side) in merge_join(&desired.bindings, &live.bindings) {
        match side {
            EitherOrBoth::Left(wanted) => plan_binding_creation(draft, key, wanted),
            EitherOrBoth::Both(wanted, binding) => {
                plan_binding_update(draft, key, wanted, binding, live, &desired.expired.users)
            }
            EitherOrBoth::Right(binding) => {
                let end = desired.expired.bindings.get(key);
                removals.plan_removal(draft, key, &binding.meta, end, || field_diff::diff_binding(Some(binding), None));
            }
        }
    }
}

/// Whether the object may be touched at all; why not is a finding.
fn check_manageable(draft: &mut PlanBuilder<'_>, key: &ObjectKey, meta: &ObjectMeta, span: Span) -> bool {
    let refused = if owner::is_built_in(key, meta) {
        Diagnostic::error(format!("{key} belongs to Kubernetes or EKS, which write it back"))
            .with_help("give it another name in the policy")
    } else if let Owner::OtherPolicy(other) = owner::object_owner(meta, draft.policy) {
        Diagnostic::error(format!("{key} is owned by the policy `{other}`"))
            .with_help(format!("take it out of one of the two policies, `{}` or `{other}`", draft.policy))
    } else if meta.deleting {
        Diagnostic::error(format!(
            "{key} is being deleted, and waits for its finalizers: {}",
            meta.finalizers.join(", ")
        ))
        .with_help(
            "it still grants, and nothing can take its name until it is gone: let the finalizers end, then plan again",
        )
    } else {
        return true;
    };
    draft.diagnostics.push(refused.primary_label(span, ""));
    false
}

pub(super) fn require_as_read(meta: &ObjectMeta) -> Needs {
    Needs::AsRead { uid: meta.uid.clone(), resource_version: meta.resource_version.clone().unwrap_or_default() }
}

fn warn_other_manager(draft: &mut PlanBuilder<'_>, key: &ObjectKey, meta: &ObjectMeta, span: Span) {
    if let Some(manager) = owner::other_manager(meta) {
        let warning = Diagnostic::warning(format!("{key} says that {manager} manages it"))
            .primary_label(span, "")
            .with_help(format!("it is adopted; take it out of {manager}, or the two will overwrite each other"));
        draft.diagnostics.push(warning);
    }
}

pub(super) fn object_change(
    draft: &PlanBuilder<'_>,
    action: Action,
    key: &ObjectKey,
    span: Option<Span>,
    fields: Vec<FieldDiff>,
) -> Change {
    Change {
        action,
        target: ChangeTarget::Object(key.clone()),
        fields,
        location: span.map(|span| draft.location(span)),
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: None,
        access_impact: None,
    }
}

fn plan_role_creation(draft: &mut PlanBuilder<'_>, key: &ObjectKey, wanted: &DesiredItem<DesiredRole>) {
    let DesiredRole { role, labels } = &wanted.value;
    let mut marked = role.clone();
    owner::mark_owned(&mut marked.meta, draft.policy, labels, owner::role_digest(role, labels));
    let mut shown = field_diff::diff_role(None, Some(role));
    shown.extend(field_diff::diff_labels(&Labels::new(), labels));
    draft.changes.push(object_change(draft, Action::Create, key, Some(wanted.span), shown));
    draft.writes.push(PendingWrite {
        object: key.clone(),
        turn: Turn::Create(role_to_json(key, &marked)),
        needs: Needs::Absent,
        why: format!("create {key}"),
    });
}

/// The metadata part of a patch that marks an object and brings its labels to what is wanted.
fn metadata_patch(meta: &ObjectMeta, policy: &str, wanted: &Labels, counted: &Labels, digest: &str) -> Value {
    let mut marked = ObjectMeta::default();
    owner::mark_owned(&mut marked, policy, wanted, digest.to_owned());
    let differs = |from: &Labels, key: &String, value: &String| from.get(key) != Some(value);
    let mut labels: Map<String, Value> = marked
        .labels
        .iter()
        .filter(|(key, value)| differs(&meta.labels, key, value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    labels.extend(counted.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
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

/// Whether live is still what rolecall wrote.
fn change_origin(meta: &ObjectMeta, digest_now: &str) -> ChangeOrigin {
    match meta.annotations.get(DIGEST_ANNOTATION) {
        Some(written) if written != digest_now => ChangeOrigin::ChangedInCluster,
        _ => ChangeOrigin::NotApplied,
    }
}

fn plan_role_update(draft: &mut PlanBuilder<'_>, key: &ObjectKey, wanted: &DesiredItem<DesiredRole>, live: &Role) {
    if !check_manageable(draft, key, &live.meta, wanted.span) {
        return;
    }
    let DesiredRole { role, labels } = &wanted.value;
    let counted = owner::content_labels(&live.meta);
    let content_same = match (&live.aggregation, &role.aggregation) {
        (Some(one), Some(other)) => {
            let set = |list: &[_]| list.iter().cloned().collect::<std::collections::BTreeSet<_>>();
            set(one.as_slice()) == set(other.as_slice())
        }
        (None, None) => same_rules(&live.rules, &role.rules),
        _ => false,
    };
    let mut wrong_labels = counted.clone();
    for key in labels.keys() {
        if let Some(value) = live.meta.labels.get(key) {
            wrong_labels.insert(key.clone(), value.clone());
        }
    }
    let same = content_same && wrong_labels == *labels;
    let ours = owner::object_owner(&live.meta, draft.policy) == Owner::ThisPolicy;
    if same && ours {
        return;
    }
    let mut patch = Map::new();
    let digest = owner::role_digest(role, labels);
    patch.insert("metadata".to_owned(), metadata_patch(&live.meta, draft.policy, labels, &counted, &digest));
    if !content_same {
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
    let mut shown = if content_same { Vec::new() } else { field_diff::diff_role(Some(live), Some(role)) };
    shown.extend(field_diff::diff_labels(&wrong_labels, labels));
    if !ours {
        warn_other_manager(draft, key, &live.meta, wanted.span);
    }
    let narrows = role.aggregation.is_none()
        && live.aggregation.is_none()
        && labels.keys().all(|key| counted.contains_key(key))
        && role
            .rules
            .iter()
            .all(|rule| live.rules.iter().any(|old| same_rules(std::slice::from_ref(old), std::slice::from_ref(rule))));
    push_update(
        draft,
        key,
        wanted.span,
        ours,
        shown,
        live,
        Value::Object(patch),
        narrows,
        change_origin(&live.meta, &owner::role_digest(live, &counted)),
    );
}

/// What live roles and bindings have in common.
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
    draft: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    span: Span,
    ours: bool,
    fields: Vec<FieldDiff>,
    live: &impl HasMeta,
    patch: Value,
    narrows: bool,
    origin: ChangeOrigin,
) {
    let action = if ours { Action::Update } else { Action::Adopt };
    let mut shown = object_change(draft, action, key, Some(span), fields);
    shown.origin = if ours { origin } else { ChangeOrigin::NotApplied };
    shown.last_writer.clone_from(&live.meta().last_writer);
    draft.changes.push(shown);
    draft.writes.push(PendingWrite {
        object: key.clone(),
        turn: Turn::Patch { patch, narrows },
        needs: require_as_read(live.meta()),
        why: format!("{} {key}", if ours { "change" } else { "adopt" }),
    });
}

fn with_ownership_marks(draft: &PlanBuilder<'_>, binding: &Binding) -> Binding {
    let mut marked = binding.clone();
    owner::mark_owned(&mut marked.meta, draft.policy, &Labels::new(), owner::binding_digest(binding));
    marked
}

fn plan_binding_creation(draft: &mut PlanBuilder<'_>, key: &ObjectKey, wanted: &DesiredItem<Binding>) {
    let body = binding_to_json(key, &with_ownership_marks(draft, &wanted.value));
    let shown = field_diff::diff_binding(None, Some(&wanted.value));
    draft.changes.push(object_change(draft, Action::Create, key, Some(wanted.span), shown));
    draft.writes.push(PendingWrite {
        object: key.clone(),
        turn: Turn::Create(body),
        needs: Needs::Absent,
        why: format!("create {key}"),
    });
}

fn plan_binding_update(
    draft: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    wanted: &DesiredItem<Binding>,
    live: &Binding,
    all: &State,
    ended: &BTreeMap<String, Expiration>,
) {
    if !check_manageable(draft, key, &live.meta, wanted.span) {
        return;
    }
    let new = &wanted.value;
    let ours = owner::object_owner(&live.meta, draft.policy) == Owner::ThisPolicy;
    let from = || change_origin(&live.meta, &owner::binding_digest(live));
    if live.role_ref != new.role_ref {
        plan_binding_replacement(draft, key, wanted, live, all, if ours { from() } else { ChangeOrigin::NotApplied });
        return;
    }
    let same = same_subjects(&live.subjects, &new.subjects);
    if same && ours {
        return;
    }
    let mut patch = Map::new();
    let digest = owner::binding_digest(new);
    patch.insert(
        "metadata".to_owned(),
        metadata_patch(&live.meta, draft.policy, &Labels::new(), &Labels::new(), &digest),
    );
    if !same {
        patch.insert("subjects".to_owned(), subjects_to_json(&new.subjects));
    }
    if !ours {
        warn_other_manager(draft, key, &live.meta, wanted.span);
    }
    let narrows = new.subjects.iter().all(|subject| live.subjects.contains(subject));
    let shown = field_diff::diff_binding(Some(live), Some(new));
    push_update(draft, key, wanted.span, ours, shown, live, Value::Object(patch), narrows, from());
    let goes = |name: &&String| {
        let user = Subject::User((*name).clone());
        live.subjects.contains(&user) && !new.subjects.contains(&user)
    };
    let notes: Vec<&str> =
        ended.keys().filter(goes).filter_map(|name| ended.get(name)).map(|end| end.reason.as_str()).collect();
    if let Some(shown) = draft.changes.last_mut().filter(|_| !notes.is_empty()) {
        shown.note = Some(notes.join(", "));
    }
}

/// The binding that holds the access while one of another roleRef takes this name; the first whose name is free serves.
pub(crate) fn bridge(key: &ObjectKey, number: u32) -> ObjectKey {
    key.with_name(&match number {
        1 => format!("{}-rolecall-bridge", key.name()),
        n => format!("{}-rolecall-bridge-{n}", key.name()),
    })
}

/// A roleRef cannot be changed: a bridge under another name holds the new access while the name is made anew. The bridge
/// of an apply that was stopped serves again, and goes with what the policy does not list.
fn plan_binding_replacement(
    draft: &mut PlanBuilder<'_>,
    key: &ObjectKey,
    wanted: &DesiredItem<Binding>,
    live: &Binding,
    all: &State,
    from: ChangeOrigin,
) {
    if !live.meta.finalizers.is_empty() {
        let held = live.meta.finalizers.join(", ");
        let error = Diagnostic::error(format!("{key} cannot be replaced: its finalizers would hold it up: {held}"));
        let hint = "its roleRef cannot be changed, and deleted it would block its own name: take the finalizers off, or \
                    give the binding another name in the policy";
        draft.diagnostics.push(error.primary_label(wanted.span, "").with_help(hint));
        return;
    }
    let serves = |bridge: &Binding| {
        bridge.role_ref == wanted.value.role_ref
            && same_subjects(&bridge.subjects, &wanted.value.subjects)
            && owner::object_owner(&bridge.meta, draft.policy) == Owner::ThisPolicy
            && !bridge.meta.deleting
    };
    let free = |bridge: &ObjectKey| all.bindings.get(bridge).is_none_or(serves);
    let mut bridges = (1..).map(|number| bridge(key, number));
    let Some(bridge) = bridges.find(free) else {
        return;
    };
    let mut shown = object_change(
        draft,
        Action::Replace,
        key,
        Some(wanted.span),
        field_diff::diff_binding(Some(live), Some(&wanted.value)),
    );
    shown.note = Some("roleRef cannot be changed: replaced without a gap".to_owned());
    shown.origin = from;
    shown.last_writer.clone_from(&live.meta.last_writer);
    draft.changes.push(shown);
    let body = |key: &ObjectKey| binding_to_json(key, &with_ownership_marks(draft, &wanted.value));
    let made = (!all.bindings.contains_key(&bridge)).then(|| (bridge.clone(), body(&bridge)));
    let turn = Turn::Replace { body: body(key), bridge: made };
    draft.writes.push(PendingWrite {
        object: key.clone(),
        turn,
        needs: require_as_read(&live.meta),
        why: format!("replace {key}"),
    });
}
