//! The strategy `split`: partial writes of an object, for when its planned content would bring a subject outside its
//! bounds.
//!
//! Each adds or removes a part that the planned content has or lacks, so every partial write is a step towards it.

use std::collections::BTreeSet;

use super::changes::{ChangeId, Op, Purpose, ReplaceProgress, TargetObject};
use super::identity_classes::ClassId;
use super::scheduler::{AttemptKind, Scheduler};
use crate::access::{BindingId, RoleId};
use crate::state::object::ObjectError;
use crate::state::object::{Binding, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::rbac::{Rule, Subject, same_rules, same_subjects};

/// Whether a partial write removes or adds parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartialChange {
    Shrink,
    Grow,
}

impl PartialChange {
    fn attempt_kind(self) -> AttemptKind {
        match self {
            Self::Shrink => AttemptKind::Shrink,
            Self::Grow => AttemptKind::Grow,
        }
    }

    /// Returns the parts to remove or to add, each once.
    fn parts<T: Clone + PartialEq>(self, now: &[T], planned: &[T]) -> Vec<T> {
        let (from, to) = match self {
            Self::Shrink => (now, planned),
            Self::Grow => (planned, now),
        };
        let mut parts: Vec<T> = Vec::new();
        for part in from.iter().filter(|part| !to.contains(part)) {
            if !parts.contains(part) {
                parts.push(part.clone());
            }
        }
        parts
    }

    /// Returns the list without or with the parts.
    fn apply<T: Clone + PartialEq>(self, now: &[T], parts: &[T]) -> Vec<T> {
        match self {
            Self::Shrink => now.iter().filter(|part| !parts.contains(part)).cloned().collect(),
            Self::Grow => now.iter().chain(parts).cloned().collect(),
        }
    }
}

impl<'s> Scheduler<'s> {
    /// Removes from objects what their planned content lacks and no class requires. If several objects affect the same
    /// class, only one of them is changed.
    pub(super) fn revoke_partially(&mut self) -> Result<bool, ObjectError> {
        self.change_partially(PartialChange::Shrink)
    }

    /// Adds to objects what their planned content has and the bounds allow now. If several objects affect the same
    /// class, only one of them is changed.
    pub(super) fn grant_partially(&mut self) -> Result<bool, ObjectError> {
        self.change_partially(PartialChange::Grow)
    }

    fn change_partially(&mut self, partial: PartialChange) -> Result<bool, ObjectError> {
        let mut used = BTreeSet::new();
        let before = self.log.len();
        let (roles, bindings): (Vec<_>, Vec<_>) =
            self.remaining().into_iter().partition(|(_, change)| matches!(change.target, TargetObject::Role { .. }));
        // Bindings first: a binding can be changed for each subject, and a role affects the subjects of all its
        // bindings.
        for (id, change) in bindings.into_iter().chain(roles) {
            match (&change.target, partial) {
                (TargetObject::Binding { id: binding, role, planned }, _) => {
                    self.change_part_of_binding(id, *binding, (*role, *planned), partial, &mut used)?;
                }
                (
                    TargetObject::Replace {
                        id: binding,
                        progress: ReplaceProgress::NotStarted | ReplaceProgress::BridgeCreated,
                        ..
                    },
                    PartialChange::Shrink,
                ) => self.change_part_of_binding(id, *binding, (None, None), partial, &mut used)?,
                (TargetObject::Role { id: role, planned }, _) => {
                    self.change_part_of_role(id, *role, *planned, partial, &mut used)?;
                }
                (
                    TargetObject::Replace { .. }
                    | TargetObject::AccessEntry { .. }
                    | TargetObject::Association { .. }
                    | TargetObject::Mapping,
                    _,
                ) => {}
            }
        }
        self.end_stage();
        Ok(self.log.len() > before)
    }

    /// Makes the largest change of one object that keeps all classes within their bounds: each part in turn, if not all
    /// together. `to_op` returns the write with some of the parts. Returns the write that was applied, and its classes.
    fn apply_parts<T: Clone>(
        &mut self,
        (id, kind): (ChangeId, AttemptKind),
        used: &mut BTreeSet<ClassId>,
        parts: &[T],
        to_op: impl Fn(&[T]) -> Op<'s>,
    ) -> Result<Option<(Op<'s>, BTreeSet<ClassId>)>, ObjectError> {
        if parts.is_empty() || self.is_blocked(id, kind)? {
            return Ok(None);
        }
        let mut kept: Vec<T> = Vec::new();
        let mut kept_op = None;
        let mut affected = BTreeSet::new();
        let (mut is_in_use, mut rejected) = (false, BTreeSet::new());
        let each = parts.iter().map(std::slice::from_ref);
        let attempts = (parts.len() > 1).then_some(parts).into_iter().chain(each);
        for added in attempts {
            let tried: Vec<T> = kept.iter().chain(added).cloned().collect();
            let op = to_op(&tried);
            let Some(applied) = self.verifier.apply(&op)? else {
                continue;
            };
            // A change that affects no class makes no progress.
            let conflicts = applied.affected.is_empty() || applied.affected.iter().any(|class| used.contains(class));
            if !conflicts && self.verifier.stay_in_bounds(&applied)? {
                affected.extend(applied.affected);
                kept = tried;
                kept_op = Some(op);
                if added.len() == parts.len() {
                    break;
                }
            } else {
                is_in_use |= conflicts && added.len() == 1;
                rejected.extend(applied.affected.iter().copied());
                self.verifier.undo(applied)?;
            }
        }
        match &kept_op {
            Some(_) => used.extend(affected.iter().copied()),
            None if is_in_use => {}
            None => self.block(id, kind, &rejected)?,
        }
        Ok(kept_op.map(|op| (op, affected)))
    }

    fn change_part_of_binding(
        &mut self,
        id: ChangeId,
        binding: BindingId,
        (role, planned): (Option<RoleId>, Option<&'s Binding>),
        partial: PartialChange,
        used: &mut BTreeSet<ClassId>,
    ) -> Result<(), ObjectError> {
        let now = self.verifier.engine.binding(binding);
        let Some(role_ref) = now.or(planned).map(|binding| binding.role_ref.clone()) else {
            return Ok(());
        };
        let is_possible = match partial {
            PartialChange::Shrink => now.is_some(),
            PartialChange::Grow => role.is_some_and(|role| self.verifier.engine.role(role).is_some()),
        };
        if !is_possible {
            return Ok(());
        }
        let subjects = |binding: Option<&'s Binding>| binding.map_or(&[][..], |binding| &binding.subjects);
        let parts: Vec<Subject> = partial.parts(subjects(now), subjects(planned));
        let arena = self.arena;
        let to_op = |parts: &[Subject]| {
            let subjects = partial.apply(subjects(now), parts);
            let part = Binding { meta: ObjectMeta::default(), role_ref: role_ref.clone(), subjects, namespaces: None };
            Op::Binding(binding, Some(arena.add_binding(part)))
        };
        let Some((op, affected)) = self.apply_parts((id, partial.attempt_kind()), used, &parts, to_op)? else {
            return Ok(());
        };
        let is_complete = planned
            .zip(self.verifier.engine.binding(binding))
            .is_some_and(|(planned, now)| same_subjects(&planned.subjects, &now.subjects));
        self.record_part(id, is_complete, op, &affected)
    }

    fn change_part_of_role(
        &mut self,
        id: ChangeId,
        role: RoleId,
        planned: Option<&'s Role>,
        partial: PartialChange,
        used: &mut BTreeSet<ClassId>,
    ) -> Result<(), ObjectError> {
        let is_aggregated = |role: &Role| role.aggregation.is_some();
        let Some(now) = self.verifier.engine.role(role).filter(|now| !is_aggregated(now)) else {
            return Ok(());
        };
        if planned.is_some_and(is_aggregated) || planned.is_none() && partial == PartialChange::Grow {
            return Ok(());
        }
        let parts: Vec<Rule> = partial.parts(&now.rules, planned.map_or(&[], |planned| &planned.rules));
        let arena = self.arena;
        let to_op = |parts: &[Rule]| {
            let rules = partial.apply(&now.rules, parts);
            Op::Role(role, Some(arena.add_role(Role { meta: now.meta.clone(), rules, aggregation: None })))
        };
        let Some((op, affected)) = self.apply_parts((id, partial.attempt_kind()), used, &parts, to_op)? else {
            return Ok(());
        };
        let is_complete = planned.zip(self.verifier.engine.role(role)).is_some_and(|(planned, now)| {
            same_rules(&planned.rules, &now.rules) && planned.meta.labels == now.meta.labels
        });
        self.record_part(id, is_complete, op, &affected)
    }

    /// Records a partial write, or the complete one if nothing is missing.
    fn record_part(
        &mut self,
        id: ChangeId,
        is_complete: bool,
        op: Op<'s>,
        affected: &BTreeSet<ClassId>,
    ) -> Result<(), ObjectError> {
        if is_complete {
            let op = self.change(id)?.op(Purpose::Complete(id), self.entry_count())?;
            self.record_classes(op, Purpose::Complete(id), affected)
        } else {
            self.record_classes(op, Purpose::Part(id), affected)
        }
    }

    /// Deletes a binding that is to be replaced before its bridge exists, if no class requires its access.
    pub(super) fn delete_without_bridge(&mut self) -> Result<bool, ObjectError> {
        for (id, change) in self.remaining() {
            let TargetObject::Replace { progress: ReplaceProgress::NotStarted, bridge: Some(_), .. } = &change.target
            else {
                continue;
            };
            let purpose = Purpose::DeleteReplaced(id);
            let op = change.op(purpose, self.entry_count())?;
            let kind = (id, AttemptKind::Shrink);
            let applied = self.apply_parts(kind, &mut BTreeSet::new(), &[()], |_| op.clone())?;
            if let Some((op, affected)) = applied {
                self.record_classes(op, purpose, &affected)?;
                self.end_stage();
                return Ok(true);
            }
        }
        Ok(false)
    }
}
