//! The planned changes as items of the search: the final content of each object, its next write and the phase of that
//! write.

use super::access_model::AccessModel;
use super::contents::{BindingForm, RoleForm};
use super::{ChangeKind, PendingWrite, Phase};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;

/// The progress of replacing a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplaceProgress {
    NotStarted,
    BridgeCreated,
    OldDeleted,
    NewCreated,
}

#[derive(Debug, Clone)]
pub(super) enum OrderItemKind<'s> {
    Role { ix: usize, last: Option<RoleForm<'s>> },
    Binding { ix: usize, last: Option<BindingForm> },
    Replace { ix: usize, last: BindingForm, bridge: Option<usize>, progress: ReplaceProgress },
    Mapping,
}

/// A changed object.
#[derive(Debug, Clone)]
pub(super) struct OrderItem<'s> {
    pub(super) kind: OrderItemKind<'s>,
    /// The index among the pending writes.
    pub(super) planned: usize,
    pub(super) only_revokes: bool,
    pub(super) done: bool,
}

/// The next write of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemWrite {
    Final,
    CreateBridge,
    DeleteOld,
    CreateNew,
    DeleteBridge,
}

/// The kind of write that was tried for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptKind {
    Whole,
    Shrink,
    Grow,
}

/// The result of trying a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptResult {
    Taken,
    Blocked,
    /// The write has another direction.
    OtherDirection,
}

impl OrderItem<'_> {
    pub(super) fn next(&self) -> ItemWrite {
        match &self.kind {
            OrderItemKind::Replace { bridge: Some(_), progress: ReplaceProgress::NotStarted, .. } => {
                ItemWrite::CreateBridge
            }
            OrderItemKind::Replace {
                progress: ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated, ..
            } => ItemWrite::DeleteOld,
            OrderItemKind::Replace { progress: ReplaceProgress::OldDeleted, .. } => ItemWrite::CreateNew,
            OrderItemKind::Replace { progress: ReplaceProgress::NewCreated, .. } => ItemWrite::DeleteBridge,
            OrderItemKind::Role { .. } | OrderItemKind::Binding { .. } | OrderItemKind::Mapping => ItemWrite::Final,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.kind, self.next()) {
            (_, ItemWrite::CreateBridge) => Phase::GrantBinding,
            (_, ItemWrite::DeleteOld) => Phase::DeleteReplaced,
            (_, ItemWrite::CreateNew) => Phase::RecreateReplaced,
            (_, ItemWrite::DeleteBridge) => Phase::DeleteBridge,
            (OrderItemKind::Mapping, ItemWrite::Final) => Phase::Mapping,
            (OrderItemKind::Role { last: None, .. }, ItemWrite::Final) => Phase::DeleteRole,
            (OrderItemKind::Binding { last: None, .. }, ItemWrite::Final) => Phase::DeleteBinding,
            (_, ItemWrite::Final) if self.only_revokes => Phase::RevokePart,
            (OrderItemKind::Role { .. }, ItemWrite::Final) => Phase::GrantRole,
            (OrderItemKind::Binding { .. } | OrderItemKind::Replace { .. }, ItemWrite::Final) => Phase::GrantBinding,
        }
    }
}

/// Returns the items of all pending writes. A bridge belongs to the item of its binding.
pub(super) fn items<'s>(
    planned: &'s [PendingWrite],
    after: &'s State,
    model: &mut AccessModel<'s>,
) -> Vec<OrderItem<'s>> {
    let mut all = Vec::with_capacity(planned.len());
    for (number, pending) in planned.iter().enumerate() {
        let key = &pending.object;
        let binding = |model: &mut AccessModel<'s>, key: &ObjectKey| {
            after.bindings.get(key).map(|binding| model.binding_form(key, binding))
        };
        let kind = match (key.kind(), &pending.kind) {
            (ObjectKind::ConfigMap | ObjectKind::Namespace, _) => OrderItemKind::Mapping,
            (ObjectKind::ClusterRole | ObjectKind::Role, _) => {
                let last = after.roles.get(key).map(|role| model.role_form(role));
                OrderItemKind::Role { ix: model.role(key), last }
            }
            (ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding, kind) => {
                let ix = model.binding(key, key.namespace());
                match (kind, binding(model, key)) {
                    (ChangeKind::Replace { bridge, .. }, Some(last)) => {
                        let bridge = bridge.as_ref().map(|(bridge, _)| model.binding_beside(bridge, ix));
                        OrderItemKind::Replace { ix, last, bridge, progress: ReplaceProgress::NotStarted }
                    }
                    (_, last) => OrderItemKind::Binding { ix, last },
                }
            }
        };
        let only_revokes = matches!(&pending.kind, ChangeKind::Patch { only_revokes: true, .. });
        all.push(OrderItem { kind, planned: number, only_revokes, done: false });
    }
    all
}

/// Sets all objects to their final content. Returns the mark for undoing it.
pub(super) fn apply_final_contents<'s>(model: &mut AccessModel<'s>, items: &[OrderItem<'s>]) -> usize {
    let mark = model.mark();
    for item in items {
        match &item.kind {
            OrderItemKind::Role { ix, last } => drop(model.set_role(*ix, last.clone())),
            OrderItemKind::Binding { ix, last } => drop(model.set_binding(*ix, last.clone())),
            OrderItemKind::Replace { ix, last, .. } => drop(model.set_binding(*ix, Some(last.clone()))),
            OrderItemKind::Mapping => {}
        }
    }
    mark
}

/// Returns the current and the final subjects of a binding.
pub(super) fn binding_subjects(model: &AccessModel<'_>, binding: usize, last: Option<&BindingForm>) -> Vec<usize> {
    let now = model.bindings.get(binding).and_then(|slot| slot.form.as_ref());
    now.into_iter().chain(last).flat_map(|form| form.subjects.iter().copied()).collect()
}

/// Returns the subjects of all bindings to a role.
pub(super) fn role_subjects(model: &AccessModel<'_>, role: usize) -> Vec<usize> {
    let forms = model.bindings_of(role).filter_map(|binding| model.bindings.get(binding)?.form.as_ref());
    forms.flat_map(|form| form.subjects.iter().copied()).collect()
}
