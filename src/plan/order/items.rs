//! The planned changes as moves: each object's next form on the way to its last, and when its turn is.

use super::forms::{BindingForm, RoleForm};
use super::world::OrderWorld;
use super::{PendingWrite, Phase, Turn};
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;

/// How far the replacement of a binding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Old,
    Bridged,
    Gone,
    Back,
}

#[derive(Debug, Clone)]
pub(super) enum OrderItemKind<'s> {
    Role { ix: usize, last: Option<RoleForm<'s>> },
    Binding { ix: usize, last: Option<BindingForm> },
    Replace { ix: usize, last: BindingForm, bridge: Option<usize>, at: Progress },
    Mapping,
}

/// A changed object.
#[derive(Debug, Clone)]
pub(super) struct OrderItem<'s> {
    pub(super) kind: OrderItemKind<'s>,
    /// Its place among the planned.
    pub(super) planned: usize,
    pub(super) narrows: bool,
    pub(super) done: bool,
}

/// The next write of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Final,
    Bridge,
    Away,
    Back,
    BridgeAway,
}

impl OrderItem<'_> {
    pub(super) fn next(&self) -> Act {
        match &self.kind {
            OrderItemKind::Replace { bridge: Some(_), at: Progress::Old, .. } => Act::Bridge,
            OrderItemKind::Replace { at: Progress::Old | Progress::Bridged, .. } => Act::Away,
            OrderItemKind::Replace { at: Progress::Gone, .. } => Act::Back,
            OrderItemKind::Replace { at: Progress::Back, .. } => Act::BridgeAway,
            OrderItemKind::Role { .. } | OrderItemKind::Binding { .. } | OrderItemKind::Mapping => Act::Final,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.kind, self.next()) {
            (_, Act::Bridge) => Phase::GrantBinding,
            (_, Act::Away) => Phase::ReplaceAway,
            (_, Act::Back) => Phase::ReplaceBack,
            (_, Act::BridgeAway) => Phase::BridgeAway,
            (OrderItemKind::Mapping, Act::Final) => Phase::Mapping,
            (OrderItemKind::Role { last: None, .. }, Act::Final) => Phase::TakeRole,
            (OrderItemKind::Binding { last: None, .. }, Act::Final) => Phase::TakeBinding,
            (_, Act::Final) if self.narrows => Phase::Narrow,
            (OrderItemKind::Role { .. }, Act::Final) => Phase::GrantRole,
            (OrderItemKind::Binding { .. } | OrderItemKind::Replace { .. }, Act::Final) => Phase::GrantBinding,
        }
    }
}

/// The items of all that is planned; a bridge is no item of its own.
pub(super) fn items<'s>(
    planned: &'s [PendingWrite],
    after: &'s State,
    world: &mut OrderWorld<'s>,
) -> Vec<OrderItem<'s>> {
    let mut all = Vec::with_capacity(planned.len());
    for (number, one) in planned.iter().enumerate() {
        let key = &one.object;
        let binding = |world: &mut OrderWorld<'s>, key: &ObjectKey| {
            after.bindings.get(key).map(|binding| world.binding_form(key, binding))
        };
        let kind = match (key.kind(), &one.turn) {
            (ObjectKind::ConfigMap | ObjectKind::Namespace, _) => OrderItemKind::Mapping,
            (ObjectKind::ClusterRole | ObjectKind::Role, _) => {
                let last = after.roles.get(key).map(|role| world.role_form(role));
                OrderItemKind::Role { ix: world.role(key), last }
            }
            (ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding, turn) => {
                let ix = world.binding(key, key.namespace());
                match (turn, binding(world, key)) {
                    (Turn::Replace { bridge, .. }, Some(last)) => {
                        let bridge = bridge.as_ref().map(|(bridge, _)| world.binding_beside(bridge, ix));
                        OrderItemKind::Replace { ix, last, bridge, at: Progress::Old }
                    }
                    (_, last) => OrderItemKind::Binding { ix, last },
                }
            }
        };
        let narrows = matches!(&one.turn, Turn::Patch { narrows: true, .. });
        all.push(OrderItem { kind, planned: number, narrows, done: false });
    }
    all
}

/// Brings everything to its last form; answers from where to take it back.
pub(super) fn make_all<'s>(world: &mut OrderWorld<'s>, items: &[OrderItem<'s>]) -> usize {
    let mark = world.mark();
    for item in items {
        match &item.kind {
            OrderItemKind::Role { ix, last } => drop(world.set_role(*ix, last.clone())),
            OrderItemKind::Binding { ix, last } => drop(world.set_binding(*ix, last.clone())),
            OrderItemKind::Replace { ix, last, .. } => drop(world.set_binding(*ix, Some(last.clone()))),
            OrderItemKind::Mapping => {}
        }
    }
    mark
}

/// The subjects of a binding, as it is and as it will be.
pub(super) fn named(world: &OrderWorld<'_>, binding: usize, last: Option<&BindingForm>) -> Vec<usize> {
    let now = world.bindings.get(binding).and_then(|slot| slot.form.as_ref());
    now.into_iter().chain(last).flat_map(|form| form.subjects.iter().copied()).collect()
}

/// The subjects that a role is given to.
pub(super) fn bound(world: &OrderWorld<'_>, role: usize) -> Vec<usize> {
    let forms = world.bindings_of(role).filter_map(|binding| world.bindings.get(binding)?.form.as_ref());
    forms.flat_map(|form| form.subjects.iter().copied()).collect()
}
