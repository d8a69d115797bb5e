//! The verifier's run over all scheduled writes, from the live state: the subjects that each write brings outside their
//! bounds, the waits for cached tokens, the stages that are safe in any order, and the requests that must be allowed
//! before a write.

use std::collections::{BTreeMap, BTreeSet};

use super::access_bounds::{AccessBounds, Violation};
use super::changes::{Op, ScheduledWrite};
use super::identity_classes::{ClassId, Login};
use super::internal;
use super::verifier::{AppliedWrite, Verifier};
use crate::access::{AggregatedRules, Direction, RequestSet, RequestSetExcept};
use crate::plan::probes::{AccessProbe, AccessWindow, TransientAccess, UnprovenAccess};
use crate::state::object::ObjectError;

/// The maximum number of probes before one step, and before a write of aws-auth, which affects many subjects.
const MAX_PROBES: usize = 4;
const MAX_MAPPING_PROBES: usize = 16;

/// A verified write, with the probes that must succeed before it.
#[derive(Debug)]
pub(super) struct VerifiedWrite<'s> {
    pub(super) write: ScheduledWrite<'s>,
    pub(super) awaits: Vec<AccessProbe>,
}

#[derive(Default)]
pub(super) struct ReplayedSchedule<'s> {
    pub(super) writes: Vec<VerifiedWrite<'s>>,
    pub(super) waits: Vec<PlacedWait>,
    pub(super) windows: Vec<AccessWindow>,
    pub(super) unproven: Vec<UnprovenAccess>,
}

/// A wait for cached tokens, with its position in the order.
#[derive(Debug)]
pub(super) struct PlacedWait {
    pub(super) stage: usize,
    /// The number of writes before the wait.
    pub(super) before_write: usize,
    /// The principals whose cached tokens the next write would bring outside their bounds.
    pub(super) subjects: Vec<String>,
    pub(super) is_for_access_entries: bool,
}

/// What the writes of a stage do.
#[derive(Debug, Default)]
struct StageEffects {
    directions: BTreeMap<ClassId, Direction>,
    is_order_dependent: bool,
}

impl StageEffects {
    /// Returns whether the stage is safe in any order together with another write: for each class, all writes grant or
    /// all revoke. Then every subset of the stage is between two states that were checked.
    fn allows(&self, applied: &AppliedWrite) -> bool {
        let is_monotone = |class: &ClassId| {
            let earlier = self.directions.get(class);
            earlier.is_none_or(|earlier| earlier.and(applied.effect.direction) != Direction::Mixed)
        };
        (self.directions.is_empty() || !self.is_order_dependent && !applied.effect.is_order_dependent)
            && applied.affected.iter().all(is_monotone)
    }

    fn add(&mut self, applied: &AppliedWrite) {
        self.is_order_dependent |= applied.effect.is_order_dependent;
        for class in &applied.affected {
            let direction = self.directions.entry(*class).or_default();
            *direction = direction.and(applied.effect.direction);
        }
    }
}

/// Follows the writes from the live state.
pub(super) fn replay<'s>(
    verifier: &mut Verifier<'s>,
    log: Vec<ScheduledWrite<'s>>,
) -> Result<ReplayedSchedule<'s>, ObjectError> {
    let mut replayed = ReplayedSchedule::default();
    let mut seen_probes: BTreeSet<(usize, AccessProbe)> = BTreeSet::new();
    let mut effects = StageEffects::default();
    let (mut added_stages, mut stage) = (0_usize, 0_usize);
    // The classes to which access entries have given something of which an API server may not know yet.
    let mut unsettled: BTreeSet<ClassId> = BTreeSet::new();
    for mut write in log {
        let mut applied = apply(verifier, &write.op)?;
        write.stage += added_stages;
        let mut is_in_bounds = verifier.stay_in_bounds(&applied)?;
        if !is_in_bounds {
            let out = verifier.classes_out_of_bounds(&applied.affected)?;
            verifier.undo(applied)?;
            let cached = verifier.expire_cached_tokens();
            applied = apply(verifier, &write.op)?;
            let still_out = verifier.classes_out_of_bounds(&applied.affected)?;
            let waiting: BTreeSet<ClassId> = &(&out - &still_out) - &verifier.out_of_bounds;
            if waiting.is_empty() {
                verifier.undo(applied)?;
                verifier.restore_logins(cached)?;
                applied = apply(verifier, &write.op)?;
            } else {
                is_in_bounds = still_out.is_empty();
                added_stages += replayed.place_wait(&mut write, stage, &waiting, verifier, false)?;
                unsettled.clear();
            }
        }
        let waiting: BTreeSet<ClassId> = unsettled.intersection(&applied.affected).copied().collect();
        let revokes = matches!(applied.effect.direction, Direction::Shrinks | Direction::Mixed);
        if revokes && !waiting.is_empty() && verifier.caches_tokens {
            added_stages += replayed.place_wait(&mut write, stage, &waiting, verifier, true)?;
            unsettled.clear();
        }
        if matches!(write.op, Op::AccessEntry(..) | Op::Association(..))
            && matches!(applied.effect.direction, Direction::Grows | Direction::Mixed)
        {
            unsettled.extend(applied.affected.iter().copied());
        }
        if write.stage != stage {
            effects = StageEffects::default();
        } else if !effects.allows(&applied) {
            effects = StageEffects::default();
            added_stages += 1;
            write.stage += 1;
        }
        effects.add(&applied);
        stage = write.stage;
        let is_mapping = matches!(write.op, Op::Mapping(_) | Op::AccessEntry(..));
        // The first write cannot depend on an earlier one.
        let awaits = if replayed.writes.is_empty() {
            Vec::new()
        } else {
            probes(verifier, &applied, is_mapping, |probe| seen_probes.insert((stage, probe.clone())))?
        };
        if !is_in_bounds {
            verifier.mark_out_of_bounds(&applied.affected)?;
        }
        let affected = if verifier.out_of_bounds.is_empty() {
            BTreeSet::new()
        } else {
            verifier.with_same_logins(&applied.affected)?
        };
        for class in affected.intersection(&verifier.out_of_bounds) {
            replayed.add_violations(verifier, *class)?;
        }
        replayed.writes.push(VerifiedWrite { write, awaits });
    }
    Ok(replayed)
}

fn apply<'s>(verifier: &mut Verifier<'s>, op: &Op<'s>) -> Result<AppliedWrite<'s>, ObjectError> {
    verifier.apply(op)?.ok_or_else(|| internal("a scheduled aws-auth cannot be written"))
}

impl ReplayedSchedule<'_> {
    /// Adds a wait before a write, in a stage without writes after `stage`. Returns by how many stages the write moves.
    fn place_wait(
        &mut self,
        write: &mut ScheduledWrite<'_>,
        stage: usize,
        waiting: &BTreeSet<ClassId>,
        verifier: &Verifier<'_>,
        is_for_access_entries: bool,
    ) -> Result<usize, ObjectError> {
        let first_free = if self.writes.is_empty() { 0 } else { stage + 1 };
        let after_wait = write.stage.max(first_free + 1);
        let moved = after_wait - write.stage;
        write.stage = after_wait;
        let subjects: Result<BTreeSet<String>, ObjectError> =
            waiting.iter().map(|id| Ok(verifier.class(*id)?.who.to_string())).collect();
        let subjects = subjects?.into_iter().collect();
        let (stage, before_write) = (write.stage - 1, self.writes.len());
        self.waits.push(PlacedWait { stage, before_write, subjects, is_for_access_entries });
        Ok(moved)
    }

    /// Adds the requests with which a class is outside its bounds after the next write, or may be. Each is added once.
    fn add_violations(&mut self, verifier: &Verifier<'_>, id: ClassId) -> Result<(), ObjectError> {
        let subject = verifier.class(id)?.who.to_string();
        let step = self.writes.len();
        let is_safe_after_reconcile = verifier.violations(id, AggregatedRules::Reconciled, 1)?.is_empty();
        for violation in verifier.violations(id, AggregatedRules::WithStale, MAX_PROBES)? {
            let Violation { access, requests, is_proven } = violation;
            let request = RequestSetExcept { set: requests, except: Vec::new() }.to_string();
            let subject = subject.clone();
            if is_proven {
                let reason = if access == TransientAccess::Gained && is_safe_after_reconcile {
                    "the controller that fills in aggregated ClusterRoles runs later"
                } else {
                    "rolecall found no order without it"
                };
                let window = AccessWindow { step, subject, access, request, reason: reason.to_owned() };
                let is_same = |other: &AccessWindow| AccessWindow { step, ..other.clone() } == window;
                if !self.windows.iter().any(is_same) {
                    self.windows.push(window);
                }
            } else {
                let reason = "its rules have too many parts to compare".to_owned();
                let unproven = UnprovenAccess { step, subject, access, request, reason };
                let is_same = |other: &UnprovenAccess| UnprovenAccess { step, ..other.clone() } == unproven;
                if !self.unproven.iter().any(is_same) {
                    self.unproven.push(unproven);
                }
            }
        }
        Ok(())
    }
}

/// Returns the requests that the API server must allow before a write: those of the lower bound that only earlier writes
/// of the plan grant. `is_new` returns whether no other write of the stage awaits the probe.
fn probes(
    verifier: &Verifier<'_>,
    applied: &AppliedWrite,
    is_mapping: bool,
    mut is_new: impl FnMut(&AccessProbe) -> bool,
) -> Result<Vec<AccessProbe>, ObjectError> {
    let (max_probes, revoking_effect) =
        if is_mapping { (MAX_MAPPING_PROBES, None) } else { (MAX_PROBES, Some(&applied.effect)) };
    let mut awaits = Vec::new();
    if !matches!(applied.effect.direction, Direction::Shrinks | Direction::Mixed) {
        return Ok(awaits);
    }
    for id in &applied.affected {
        let class = verifier.class(*id)?;
        let bounds: &AccessBounds<'_> = verifier.bounds_of(class)?;
        // A write of aws-auth does not change what a cached token may do.
        let cached = if is_mapping { &[][..] } else { &class.tokens.cached };
        for login in class.tokens.current.iter().chain(cached) {
            if awaits.len() >= max_probes || !can_be_probed(login) {
                continue;
            }
            let engine = &verifier.engine;
            let (scopes, required) = bounds.granted_by_plan(login, revoking_effect, engine, max_probes - awaits.len());
            if required.is_empty() {
                continue;
            }
            let now = engine.observable_rules(&scopes, &login.subjects);
            let now: Vec<_> = now.into_iter().map(|scoped_rule| engine.request_sets(scoped_rule)).collect();
            for request in required.iter().map(RequestSet::sample) {
                if now.iter().flat_map(|all| all.iter()).any(|requests| requests.contains(&request)) {
                    let (username, groups) = (login.username.clone(), login.groups.clone());
                    let probe = AccessProbe { username, groups, request: request.into() };
                    if is_new(&probe) {
                        awaits.push(probe);
                    }
                }
            }
        }
    }
    Ok(awaits)
}

fn can_be_probed(login: &Login) -> bool {
    !login.subjects.is_in_system_masters && (login.username.is_some() || !login.groups.is_empty())
}
