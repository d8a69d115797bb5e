//! Removes the stored rules of aggregated ClusterRoles whose selectors find no rules.
//!
//! The aggregation controller writes the rules that it finds, but it does not remove rules of another field manager
//! when it finds none (Kubernetes, pkg/controller/clusterroleaggregation: it applies an empty list, which only gives up
//! its own fields). So a role that becomes aggregated and selects nothing would keep its old rules, and so would an
//! aggregated role whose rules were written by hand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::{object_change, require_as_read};
use super::schedule::{ChangeKind, PendingWrite};
use super::state_after::apply_write;
use super::{Action, ChangeOrigin, ChangeTarget, PlanBuilder, field_diff};
use crate::access::keeps_manual_rules;
use crate::diagnostic::{Diagnostic, InternalError, Span};
use crate::names::{ObjectKey, ObjectKind};
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{ObjectError, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// Adds to the plan that the rules of listed aggregated roles are emptied, if the controller would keep rules that no
/// selected role has.
pub(super) fn plan_manual_rules(builder: &mut PlanBuilder<'_>, desired: &Desired, live: &State) {
    if builder.diagnostics.iter().any(Diagnostic::is_error) {
        return;
    }
    // Only roles that already have rules of another manager can keep them.
    let mut candidates: BTreeSet<&ObjectKey> = desired
        .roles
        .iter()
        .filter(|(_, item)| item.value.role.aggregation.is_some())
        .filter_map(|(key, _)| live.roles.get_key_value(key))
        .filter(|(_, role)| !role.rules.is_empty() && (role.aggregation.is_none() || role.meta.has_manual_rules()))
        .map(|(key, _)| key)
        .collect();
    if candidates.is_empty() {
        return;
    }
    let mut planned = match planned_cluster_roles(&builder.writes, live) {
        Ok(planned) => planned,
        Err(error) => {
            builder.diagnostics.push(super::invalid_object_error(error).into());
            return;
        }
    };
    // An emptied role no longer gives rules to the roles that select it, which can then keep their own.
    loop {
        let kept: Vec<&ObjectKey> =
            candidates.iter().copied().filter(|key| keeps_manual_rules(&planned, key)).collect();
        if kept.is_empty() {
            return;
        }
        for key in kept {
            candidates.remove(key);
            if let Some(role) = planned.roles.get_mut(key) {
                role.rules.clear();
            }
            let (Some(role), Some(item)) = (live.roles.get(key), desired.roles.get(key)) else {
                let error = InternalError::new(format!("{key} is neither live nor desired, but keeps its rules"));
                builder.diagnostics.push(error.into());
                return;
            };
            empty_rules(builder, key, role, item.span, live);
        }
    }
}

/// Returns the ClusterRoles after the writes that are planned so far.
pub(super) fn planned_cluster_roles(writes: &[PendingWrite], live: &State) -> Result<State, ObjectError> {
    let is_cluster_role = |key: &ObjectKey| key.kind() == ObjectKind::ClusterRole;
    let roles = live.roles.iter().filter(|(key, _)| is_cluster_role(key));
    let roles = roles.map(|(key, role)| (key.clone(), role.clone())).collect();
    let mut state = State { roles, ..State::default() };
    for PendingWrite { object, kind, .. } in writes.iter().filter(|write| is_cluster_role(&write.object)) {
        let write = match kind {
            ChangeKind::Create(body) | ChangeKind::Replace { body, .. } => WriteRequest::Create(body.clone()),
            ChangeKind::Patch { patch, .. } => WriteRequest::Patch(patch.clone()),
            ChangeKind::Delete => WriteRequest::Delete,
            ChangeKind::Map { write, .. } => write.clone(),
        };
        apply_write(&mut state, object, &write)?;
    }
    Ok(state)
}

/// Adds to the write of the role that its rules are emptied. Plans a write if the role has none.
fn empty_rules(builder: &mut PlanBuilder<'_>, key: &ObjectKey, role: &Role, span: Span, live: &State) {
    let empty: Value = json!({ "rules": [] });
    // The difference of a role that becomes aggregated already shows its old rules as removed.
    let fields = if role.aggregation.is_some() { field_diff::diff_rules(&role.rules, &[]) } else { Vec::new() };
    let pending = builder.writes.iter_mut().find(|pending| pending.object == *key);
    if let Some(PendingWrite { kind: ChangeKind::Patch { patch, .. }, .. }) = pending {
        apply_merge_patch(patch, &empty);
        let target = ChangeTarget::Object(key.clone());
        if let Some(change) = builder.changes.iter_mut().find(|change| change.target == target) {
            change.fields.splice(0..0, fields);
        }
        return;
    }
    let mut change = object_change(builder, Action::Update, key, Some(span), fields);
    change.origin = origin(live, key, &role.meta);
    change.last_writer.clone_from(&role.meta.last_writer);
    change.note = Some("the selectors find no rules, so the stored rules are removed".to_owned());
    builder.changes.push(change);
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Patch { patch: empty, only_revokes: false },
        precondition: require_as_read(&role.meta),
        description: format!("change {key}"),
    });
}

/// The rules were written in the cluster, unless the plan itself takes the rules away from the selectors.
fn origin(live: &State, key: &ObjectKey, meta: &ObjectMeta) -> ChangeOrigin {
    if meta.last_writer.is_some() && keeps_manual_rules(live, key) {
        ChangeOrigin::ChangedInCluster
    } else {
        ChangeOrigin::NotApplied
    }
}
