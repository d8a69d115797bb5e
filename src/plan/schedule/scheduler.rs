//! Runs the strategies until every change is made, and has the verifier follow the result.

use std::collections::{BTreeMap, BTreeSet};

use super::access_entries::planned_namespaces;
use super::changes::{ChangeId, ObjectChange, Op, PlannedChanges, Purpose, ScheduledWrite, TargetObject};
use super::emission::WriteEmitter;
use super::identity_classes::{BoundsId, ClassId};
use super::objects::ObjectArena;
use super::replay::{ReplayedSchedule, replay};
use super::verifier::{AppliedWrite, PlannedRules, Verifier, VerifierCheckpoint};
use super::{Author, ChangeKind, PendingWrite, internal};
use crate::access::{AccessEngine, KnownNamespaces};
use crate::plan::Step;
use crate::state::State;
use crate::state::object::ObjectError;

/// The kind of write that was tried for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptKind {
    Whole,
    Shrink,
    Grow,
}

/// Writes that were not possible, with the bounds of the affected classes. They are tried again after the access of one
/// of these classes has changed.
#[derive(Debug)]
struct BlockedWrites {
    blocked: BTreeMap<(ChangeId, AttemptKind), (usize, BTreeSet<BoundsId>)>,
    /// For each bounds, the number of writes at the last change of a class that has them.
    last_changed: Vec<usize>,
}

pub(super) struct Scheduler<'s> {
    pub(super) author: Author<'s>,
    pub(super) arena: &'s ObjectArena,
    pub(super) verifier: Verifier<'s>,
    pub(super) changes: Vec<ObjectChange<'s>>,
    /// The rules that changed roles grant in the planned state.
    pub(super) planned_rules: PlannedRules,
    pub(super) log: Vec<ScheduledWrite<'s>>,
    pub(super) stage: usize,
    blocked: BlockedWrites,
}

/// The progress of a scheduler, to be restored if a strategy does not help.
pub(super) struct SchedulerCheckpoint<'s> {
    verifier: VerifierCheckpoint<'s>,
    changes: Vec<ObjectChange<'s>>,
    log: Vec<ScheduledWrite<'s>>,
    stage: usize,
}

/// Orders the writes.
pub(super) fn schedule<'s>(
    planned: &'s [PendingWrite],
    live: &'s State,
    arena: &'s ObjectArena,
    author: Author<'s>,
    caches_tokens: bool,
) -> Result<(Vec<Step>, ReplayedSchedule<'s>), ObjectError> {
    let mut scheduler = Scheduler::new(planned, live, arena, author)?;
    let start = scheduler.checkpoint();
    scheduler.run()?;
    // If a token with its first identity is outside its bounds at the end, every order needs a wait.
    let always_waits = !scheduler.verifier.live_logins_are_in_bounds()?;
    let mut replayed = scheduler.replay(&start, caches_tokens)?;
    if !replayed.waits.is_empty() && !always_waits && scheduler.find_order_without_waits(&start)? {
        replayed = scheduler.replay(&start, caches_tokens)?;
    }
    let Scheduler { verifier, changes, .. } = &scheduler;
    let steps = WriteEmitter::new(changes, verifier.edit, live, author).steps(&replayed.writes)?;
    Ok((steps, replayed))
}

impl<'s> Scheduler<'s> {
    fn new(
        planned: &'s [PendingWrite],
        live: &'s State,
        arena: &'s ObjectArena,
        author: Author<'s>,
    ) -> Result<Self, ObjectError> {
        let mut namespaces = KnownNamespaces::new([live]);
        namespaces.extend(planned_namespaces(planned, arena)?);
        let mut engine = AccessEngine::with_namespaces(live, namespaces)?;
        let planned_changes = PlannedChanges::new(planned, live, arena, &mut engine)?;
        let edit = planned.iter().find_map(|pending| match &pending.kind {
            ChangeKind::Map { edit, .. } => Some(&**edit),
            ChangeKind::Create(_)
            | ChangeKind::Patch { .. }
            | ChangeKind::Delete
            | ChangeKind::Replace { .. }
            | ChangeKind::AccessEntry { .. } => None,
        });
        let (verifier, planned_rules) = Verifier::new(engine, live, &planned_changes, edit)?;
        let blocked = BlockedWrites { blocked: BTreeMap::new(), last_changed: vec![0; verifier.count_bounds()] };
        let changes = planned_changes.changes;
        Ok(Self { author, arena, verifier, changes, planned_rules, log: Vec::new(), stage: 0, blocked })
    }

    /// Makes all changes. Tokens with a former identity are not considered: a wait is always possible.
    fn run(&mut self) -> Result<(), ObjectError> {
        loop {
            self.make_possible_writes()?;
            if self.is_done() {
                return Ok(());
            }
            let before = self.log.len();
            let is_changed = self.split_write()? || self.use_temporaries()?;
            if !is_changed || self.log.len() == before {
                self.force_write()?;
            }
        }
    }

    fn split_write(&mut self) -> Result<bool, ObjectError> {
        Ok(self.revoke_partially()?
            || self.grant_partially()?
            || self.change_entries_partially()?
            || self.delete_without_bridge()?)
    }

    /// Makes all changes so that no token leaves its bounds, also not with a former identity. Returns whether that is
    /// possible without temporary objects.
    fn find_order_without_waits(&mut self, start: &SchedulerCheckpoint<'s>) -> Result<bool, ObjectError> {
        self.restore(start)?;
        self.verifier.caches_tokens = true;
        loop {
            self.make_possible_writes()?;
            if self.is_done() {
                return Ok(true);
            }
            if !self.split_write()? {
                return Ok(false);
            }
        }
    }

    /// Has the verifier follow all writes from the start.
    fn replay(
        &mut self,
        start: &SchedulerCheckpoint<'s>,
        caches_tokens: bool,
    ) -> Result<ReplayedSchedule<'s>, ObjectError> {
        self.verifier.restore(&start.verifier)?;
        self.verifier.caches_tokens = caches_tokens;
        replay(&mut self.verifier, self.log.clone())
    }

    pub(super) fn is_done(&self) -> bool {
        self.changes.iter().all(|change| change.is_done)
    }

    pub(super) fn change(&self, id: ChangeId) -> Result<&ObjectChange<'s>, ObjectError> {
        self.changes.get(id.0).ok_or_else(|| internal("a change does not exist"))
    }

    /// Returns the next write of a change. An access entry of another type is deleted before it is created.
    pub(super) fn next_purpose(&self, id: ChangeId) -> Result<Purpose<'s>, ObjectError> {
        let change = self.change(id)?;
        if let TargetObject::AccessEntry { id: entry, .. } = &change.target
            && self.verifier.entries.get(*entry)?.is_replaced()
        {
            return Ok(Purpose::DeleteReplaced(id));
        }
        Ok(change.next(id).0)
    }

    /// Returns the changes that are not complete.
    pub(super) fn remaining(&self) -> Vec<(ChangeId, ObjectChange<'s>)> {
        let all = self.changes.iter().enumerate().filter(|(_, change)| !change.is_done);
        all.map(|(number, change)| (ChangeId(number), change.clone())).collect()
    }

    pub(super) fn mapping_remains(&self) -> bool {
        self.changes.iter().any(|change| !change.is_done && matches!(change.target, TargetObject::Mapping))
    }

    pub(super) fn entry_count(&self) -> usize {
        self.verifier.variants.len()
    }

    /// Ends the stage: the next write starts a new one.
    pub(super) fn end_stage(&mut self) {
        if self.log.last().is_some_and(|write| write.stage == self.stage) {
            self.stage += 1;
        }
    }

    /// Makes a write if all classes stay within their bounds.
    pub(super) fn try_write(&mut self, op: Op<'s>, purpose: Purpose<'s>) -> Result<bool, ObjectError> {
        let Some(applied) = self.verifier.apply(&op)? else {
            return Ok(false);
        };
        if !self.verifier.stay_in_bounds(&applied)? {
            self.verifier.undo(applied)?;
            return Ok(false);
        }
        self.record(op, purpose, &applied)?;
        Ok(true)
    }

    /// Records a write that was applied.
    pub(super) fn record(
        &mut self,
        op: Op<'s>,
        purpose: Purpose<'s>,
        applied: &AppliedWrite,
    ) -> Result<(), ObjectError> {
        self.record_classes(op, purpose, &applied.affected)
    }

    pub(super) fn record_classes(
        &mut self,
        op: Op<'s>,
        purpose: Purpose<'s>,
        affected: &BTreeSet<ClassId>,
    ) -> Result<(), ObjectError> {
        // All entries are in one object, so its write has a stage of its own.
        let is_mapping = matches!(op, Op::Mapping(_));
        if is_mapping {
            self.end_stage();
        }
        self.log.push(ScheduledWrite { stage: self.stage, op, purpose });
        if is_mapping {
            self.end_stage();
        }
        for bounds in self.verifier.bounds_ids(affected)? {
            let last_changed = self.blocked.last_changed.get_mut(bounds.0);
            *last_changed.ok_or_else(|| internal("an identity class has no bounds"))? = self.log.len();
        }
        match purpose {
            Purpose::Complete(id)
            | Purpose::Part(id)
            | Purpose::CreateBridge(id)
            | Purpose::DeleteReplaced(id)
            | Purpose::RecreateReplaced(id)
            | Purpose::DeleteBridge(id) => {
                let change = self.changes.get_mut(id.0);
                change.ok_or_else(|| internal("a change does not exist"))?.advance(purpose);
            }
            Purpose::CreateTemporary(_) | Purpose::DeleteTemporary(_) => {}
        }
        Ok(())
    }

    /// Returns whether a write was not possible and no affected class has changed since.
    pub(super) fn is_blocked(&self, id: ChangeId, kind: AttemptKind) -> Result<bool, ObjectError> {
        let BlockedWrites { blocked, last_changed } = &self.blocked;
        let Some((at, affected)) = blocked.get(&(id, kind)) else {
            return Ok(false);
        };
        for bounds in affected {
            let last_changed = last_changed.get(bounds.0);
            if last_changed.ok_or_else(|| internal("an identity class has no bounds"))? > at {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn block(
        &mut self,
        id: ChangeId,
        kind: AttemptKind,
        affected: &BTreeSet<ClassId>,
    ) -> Result<(), ObjectError> {
        let bounds = self.verifier.bounds_ids(affected)?;
        self.blocked.blocked.insert((id, kind), (self.log.len(), bounds));
        Ok(())
    }

    /// Allows all writes to be tried again.
    pub(super) fn unblock(&mut self) {
        self.blocked.blocked.clear();
    }

    pub(super) fn checkpoint(&self) -> SchedulerCheckpoint<'s> {
        SchedulerCheckpoint {
            verifier: self.verifier.checkpoint(),
            changes: self.changes.clone(),
            log: self.log.clone(),
            stage: self.stage,
        }
    }

    pub(super) fn restore(&mut self, saved: &SchedulerCheckpoint<'s>) -> Result<(), ObjectError> {
        self.verifier.restore(&saved.verifier)?;
        self.changes.clone_from(&saved.changes);
        self.log.clone_from(&saved.log);
        self.stage = saved.stage;
        self.unblock();
        self.blocked.last_changed.fill(0);
        Ok(())
    }
}
