//! Writes that bring a subject outside its bounds, for when no strategy finds an order that avoids it. The verifier
//! reports them as windows.
//!
//! Writes that are only unsafe until the controller of aggregated roles has run are preferred.

use super::changes::{ChangeId, ObjectChange};
use super::internal;
use super::scheduler::Scheduler;
use crate::access::AggregatedRules;
use crate::state::object::ObjectError;

impl<'s> Scheduler<'s> {
    /// Makes a write that brings a class outside its bounds.
    pub(super) fn force_write(&mut self) -> Result<(), ObjectError> {
        let mut remaining = self.remaining();
        if remaining.iter().any(|(_, change)| self.is_enabled(change)) {
            remaining.retain(|(_, change)| self.is_enabled(change));
        }
        remaining.sort_by_key(|(id, change)| change.next(*id).1);
        let mut chosen = remaining.first();
        for candidate in &remaining {
            if self.is_safe_after_reconcile(candidate)? {
                chosen = Some(candidate);
                break;
            }
        }
        let Some((id, change)) = chosen else {
            return Err(internal("no write is left, but not all changes are made"));
        };
        let purpose = self.next_purpose(*id)?;
        let op = change.op(purpose, self.entry_count())?;
        self.end_stage();
        let applied = self.verifier.apply(&op)?;
        let applied = applied.ok_or_else(|| internal("the planned aws-auth cannot be written"))?;
        self.verifier.mark_out_of_bounds(&applied.affected)?;
        self.record(op, purpose, &applied)?;
        self.unblock();
        self.end_stage();
        Ok(())
    }

    /// Returns whether all classes are within their bounds after the next write of a change and a run of the controller.
    fn is_safe_after_reconcile(&mut self, (id, change): &(ChangeId, ObjectChange<'s>)) -> Result<bool, ObjectError> {
        let purpose = self.next_purpose(*id)?;
        let Some(applied) = self.verifier.apply(&change.op(purpose, self.entry_count())?)? else {
            return Ok(false);
        };
        let mut is_safe = true;
        for class in &applied.affected {
            is_safe &= self.verifier.violations(*class, AggregatedRules::Reconciled, 1)?.is_empty();
        }
        self.verifier.undo(applied)?;
        Ok(is_safe)
    }
}
