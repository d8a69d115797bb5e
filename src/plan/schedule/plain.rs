//! The strategy `plain`: whole writes, phase by phase, as long as one keeps every subject within its bounds.
//!
//! The writes of one stage all grant, all revoke, or affect different subjects. Then every subset of them leaves each
//! subject between two states that were checked.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{ChangeId, ObjectChange, TargetObject};
use super::identity_classes::ClassId;
use super::scheduler::{AttemptKind, Scheduler};
use super::{PHASES, Phase, internal};
use crate::access::{Direction, RoleId};
use crate::state::object::ObjectError;

/// The result of trying a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptResult {
    Taken,
    Blocked,
    OtherDirection,
}

/// Assigns stages to writes that both grant and revoke. Each is put in the first stage after all stages that affect one
/// of its classes.
struct StageAllocator {
    first: usize,
    last: Option<usize>,
    /// For each class, the last stage that affects it.
    last_stage_of: BTreeMap<ClassId, usize>,
}

impl StageAllocator {
    fn new(first: usize) -> Self {
        Self { first, last: None, last_stage_of: BTreeMap::new() }
    }

    /// Returns the stage of a write that affects these classes. With `keep_order`, a stage of its own after all others.
    fn place(&mut self, affected: &BTreeSet<ClassId>, keep_order: bool) -> usize {
        let after = affected.iter().filter_map(|class| self.last_stage_of.get(class)).max().copied();
        let stage = if keep_order { self.last } else { after }.map_or(self.first, |stage| stage + 1);
        self.last_stage_of.extend(affected.iter().map(|class| (*class, stage)));
        self.last = self.last.max(Some(stage));
        stage
    }
}

impl Scheduler<'_> {
    /// Makes writes until no further write is possible.
    pub(super) fn make_possible_writes(&mut self) -> Result<(), ObjectError> {
        loop {
            let before = self.log.len();
            for phase in PHASES {
                self.make_writes_of_phase(phase)?;
            }
            if self.log.len() == before {
                return Ok(());
            }
        }
    }

    fn make_writes_of_phase(&mut self, phase: Phase) -> Result<(), ObjectError> {
        let changes = self.changes.iter().enumerate().map(|(number, change)| (ChangeId(number), change));
        let remaining: Vec<ChangeId> =
            changes.filter(|(id, change)| !change.is_done && change.next(*id).1 == phase).map(|(id, _)| id).collect();
        if remaining.is_empty() {
            return Ok(());
        }
        let mut left = Vec::new();
        for id in remaining {
            match self.try_next(id, &[Direction::Neutral, Direction::Grows], None)? {
                AttemptResult::Taken | AttemptResult::Blocked => {}
                AttemptResult::OtherDirection => left.push(id),
            }
        }
        self.end_stage();
        let mut mixed = Vec::new();
        for id in left {
            match self.try_next(id, &[Direction::Neutral, Direction::Shrinks], None)? {
                AttemptResult::Taken | AttemptResult::Blocked => {}
                AttemptResult::OtherDirection => mixed.push(id),
            }
        }
        self.end_stage();
        self.make_mixed_writes(mixed)
    }

    /// Makes writes that both grant and revoke.
    fn make_mixed_writes(&mut self, mixed: Vec<ChangeId>) -> Result<(), ObjectError> {
        let (first, start) = (self.stage, self.log.len());
        let mut stages = StageAllocator::new(first);
        for id in mixed {
            self.try_next(id, &[Direction::Mixed], Some(&mut stages))?;
        }
        let writes = self.log.get_mut(start..).ok_or_else(|| internal("a scheduled write does not exist"))?;
        writes.sort_by_key(|write| write.stage);
        let last = self.log.last().filter(|_| self.log.len() > start);
        self.stage = last.map_or(first, |write| write.stage + 1);
        Ok(())
    }

    /// Tries the next write of a change. Undoes it if it has another direction or if a class leaves its bounds.
    fn try_next(
        &mut self,
        id: ChangeId,
        directions: &[Direction],
        stages: Option<&mut StageAllocator>,
    ) -> Result<AttemptResult, ObjectError> {
        let change = self.change(id)?;
        if !self.is_enabled(change) || self.is_blocked(id, AttemptKind::Whole)? {
            return Ok(AttemptResult::Blocked);
        }
        let is_mapping = matches!(change.target, TargetObject::Mapping | TargetObject::AccessEntry { .. });
        let purpose = self.next_purpose(id)?;
        let op = self.change(id)?.op(purpose, self.entry_count())?;
        self.separate_writes_of_entry(&op);
        let Some(applied) = self.verifier.apply(&op)? else {
            return Ok(AttemptResult::Blocked);
        };
        if !is_mapping && !directions.contains(&applied.effect.direction) {
            self.verifier.undo(applied)?;
            return Ok(AttemptResult::OtherDirection);
        }
        if !self.verifier.stay_in_bounds(&applied)? {
            // Any class can change the result of aws-auth, because logins depend on several entries.
            let affected = if is_mapping {
                (0..self.verifier.classes.len()).map(ClassId).collect()
            } else {
                applied.affected.clone()
            };
            self.verifier.undo(applied)?;
            self.block(id, AttemptKind::Whole, &affected)?;
            return Ok(AttemptResult::Blocked);
        }
        if let Some(stages) = stages {
            // After a forced write the order must stay, because it decides which subjects are checked.
            self.stage = stages.place(&applied.affected, !self.verifier.out_of_bounds.is_empty());
        }
        self.record(op, purpose, &applied)?;
        Ok(AttemptResult::Taken)
    }

    /// Returns whether the change can be made now. A binding needs its role, and a role is deleted after all bindings
    /// that stop referring to it.
    pub(super) fn is_enabled(&self, change: &ObjectChange<'_>) -> bool {
        let engine = &self.verifier.engine;
        let is_ready =
            |role: &Option<RoleId>| role.is_none_or(|role| engine.role(role).is_some() || !self.is_created_later(role));
        match &change.target {
            TargetObject::Binding { role, planned: Some(_), .. } | TargetObject::Replace { role, .. } => is_ready(role),
            TargetObject::Role { id, planned: None } => {
                let role = *id;
                let bound: BTreeSet<_> = engine.bindings_of(role).collect();
                let drops_role = |change: &ObjectChange<'_>| match &change.target {
                    TargetObject::Binding { id, role: planned, .. } => bound.contains(id) && *planned != Some(role),
                    TargetObject::Replace { id, .. } => bound.contains(id),
                    TargetObject::Role { .. }
                    | TargetObject::AccessEntry { .. }
                    | TargetObject::Association { .. }
                    | TargetObject::Mapping => false,
                };
                bound.is_empty() || !self.changes.iter().any(|change| !change.is_done && drops_role(change))
            }
            TargetObject::Association { entry, .. } => self.has_access_entry(*entry),
            TargetObject::AccessEntry { id, planned } => self.can_write_access_entry(*id, *planned),
            TargetObject::Role { planned: Some(_), .. }
            | TargetObject::Binding { planned: None, .. }
            | TargetObject::Mapping => true,
        }
    }

    fn is_created_later(&self, role: RoleId) -> bool {
        self.changes.iter().any(|change| {
            !change.is_done && matches!(&change.target, TargetObject::Role { id, planned: Some(_) } if *id == role)
        })
    }
}
