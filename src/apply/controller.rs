//! Writes of ClusterRoles while the aggregation controller changes their rules.
//!
//! The controller writes an aggregated role after every write to a role that it selects, so a version that the plan
//! relies on may be outdated although no other client has changed the role. Such a write is repeated with the new
//! version. The controller acts on a cache: shortly after a role was taken out of aggregation or deleted, it may still
//! write the old rules over the new ones, or create the role again, because it writes with server-side apply without a
//! precondition. Such roles are read again before the apply ends.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ApplyHooks, StepError};
use crate::apply::lock::ApplyLock;
use crate::cluster::{ClusterError, WriteCluster, WriteOutcome};
use crate::diagnostic::InternalError;
use crate::names::ObjectKey;
use crate::plan::{AggregatedRoles, Plan, Step};
use crate::state::object::{RawRole, Role, deserialize_object};
use crate::state::object_meta::AGGREGATION_CONTROLLER;
use crate::state::write::{ObjectVersion, ResolvedPrecondition, WriteError, WriteRequest};

/// How many times a write is made that conflicts with a write of the controller.
const MAX_TRIES: u32 = 12;
/// The delay before the second try. It doubles with each further one: if the plan changes many roles that the role
/// selects, the controller writes it once for each.
const FIRST_TRY_DELAY: Duration = Duration::from_millis(10);
const MAX_TRY_DELAY: Duration = Duration::from_secs(1);
/// How many times the planned content of a role is written again.
const MAX_REWRITES: usize = 5;
/// The delay between two reads of the roles that the controller may still write.
const READ_DELAY: Duration = Duration::from_millis(100);

/// The ClusterRoles of a plan while it is applied.
pub(super) struct ControllerGuard<'a, C> {
    cluster: &'a C,
    roles: RefCell<AggregatedRoles>,
}

/// A role that is not aggregated after the plan, as it is read again.
enum ReadAgain {
    AsPlanned,
    /// The controller has written it. Holds the write that brings back the planned content, and its precondition.
    WrittenByController(WriteRequest, ResolvedPrecondition),
    /// Another client has written it, with this field manager.
    WrittenBy(String),
}

impl<'a, C: WriteCluster> ControllerGuard<'a, C> {
    pub(super) fn new(cluster: &'a C, roles: AggregatedRoles) -> Self {
        Self { cluster, roles: RefCell::new(roles) }
    }

    /// Makes the write of a step. If the controller has changed the role in between, it is made with the new version.
    pub(super) async fn write(
        &self,
        step: &Step,
        mut expected: ResolvedPrecondition,
    ) -> Result<WriteOutcome, ClusterError> {
        let mut tries = 1;
        loop {
            let error = match self.cluster.write(&step.object, &step.write, &expected).await {
                Ok(written) => {
                    let recorded = self.roles.borrow_mut().record_step(step);
                    recorded.map_err(|error| InternalError::new(format!("{}: {error}", step.object)))?;
                    return Ok(written);
                }
                Err(error) => error,
            };
            match self.version_after_controller(step, &error, &expected, tries).await {
                Some(version) => expected = ResolvedPrecondition::Version(version),
                None => return Err(error),
            }
            tries += 1;
        }
    }

    /// Lets the cluster check the write of a step, like [`Self::write`].
    pub(super) async fn dry_run(&self, step: &Step, mut expected: ResolvedPrecondition) -> Result<(), ClusterError> {
        let mut tries = 1;
        loop {
            let Err(error) = self.cluster.dry_run(&step.object, &step.write, &expected).await else {
                return Ok(());
            };
            match self.version_after_controller(step, &error, &expected, tries).await {
                Some(version) => expected = ResolvedPrecondition::Version(version),
                None => return Err(error),
            }
            tries += 1;
        }
    }

    /// Returns the current version of the role if only the controller has changed it since the expected version, after
    /// a delay. If it cannot be read, the conflict remains the error of the step.
    async fn version_after_controller(
        &self,
        step: &Step,
        error: &ClusterError,
        expected: &ResolvedPrecondition,
        tries: u32,
    ) -> Option<ObjectVersion> {
        let ClusterError::Rejected { refusal: WriteError::Conflict, .. } = error else {
            return None;
        };
        let ResolvedPrecondition::Version(expected) = expected else {
            return None;
        };
        if tries >= MAX_TRIES || !self.roles.borrow().contains(&step.object) {
            return None;
        }
        tokio::time::sleep(delay_after(tries)).await;
        let object = self.cluster.read_with_managers(&step.object).await.ok()??;
        let version = ObjectVersion::from_object(&object)?;
        let role = parse_role(&object).ok()?;
        let is_by_controller =
            self.roles.borrow().is_changed_by_controller(&step.object, &role, has_only_controller_rules(&object));
        (is_by_controller && version.uid == expected.uid).then_some(version)
    }

    /// Reads the roles again that the completed steps have taken out of aggregation or deleted, until the controller can
    /// no longer act on an old cache, and writes them again if it has. Returns the roles that were written again, and
    /// the steps whose result does not last.
    pub(super) async fn settle(
        &self,
        plan: &Plan,
        completed: &[usize],
        hooks: &ApplyHooks<'_>,
    ) -> (Vec<ObjectKey>, Vec<(usize, StepError)>) {
        let (mut rewritten, mut failed) = (Vec::new(), Vec::new());
        let mut roles: Vec<(ObjectKey, usize)> =
            self.roles.borrow().not_aggregated_after(plan, completed).into_iter().collect();
        if roles.is_empty() {
            return (rewritten, failed);
        }
        let mut deadline = Instant::now() + hooks.controller_lag;
        loop {
            let is_last = Instant::now() >= deadline;
            let before = rewritten.len();
            let mut remaining = Vec::with_capacity(roles.len());
            for (key, index) in roles {
                let is_exhausted = rewritten.iter().filter(|other| **other == key).count() >= MAX_REWRITES;
                match self.restore_once(&key, hooks.lock, is_exhausted).await {
                    Ok(is_restored) => {
                        rewritten.extend(is_restored.then(|| key.clone()));
                        remaining.push((key, index));
                    }
                    Err(error) => failed.push((index, error)),
                }
            }
            roles = remaining;
            if rewritten.len() > before {
                deadline = Instant::now() + hooks.controller_lag;
            } else if is_last || roles.is_empty() {
                rewritten.sort();
                rewritten.dedup();
                return (rewritten, failed);
            }
            tokio::time::sleep(READ_DELAY.min(hooks.controller_lag)).await;
        }
    }

    /// Reads a role again, and writes it again if the controller has written it. Returns whether it was written.
    async fn restore_once(
        &self,
        key: &ObjectKey,
        lock: Option<&ApplyLock>,
        is_exhausted: bool,
    ) -> Result<bool, StepError> {
        let (write, expected) = match self.read_again(key).await? {
            ReadAgain::AsPlanned => return Ok(false),
            ReadAgain::WrittenBy(manager) => return Err(StepError::Overwritten(manager)),
            ReadAgain::WrittenByController(..) if is_exhausted => {
                return Err(StepError::Overwritten(AGGREGATION_CONTROLLER.to_owned()));
            }
            ReadAgain::WrittenByController(write, expected) => (write, expected),
        };
        if lock.is_some_and(ApplyLock::is_lost) {
            return Err(StepError::LockLost);
        }
        match self.cluster.write(key, &write, &expected).await {
            // After another write in between, the role is read again.
            Ok(_) | Err(ClusterError::Rejected { refusal: WriteError::Conflict | WriteError::NotFound, .. }) => {
                Ok(true)
            }
            Err(error) => Err(StepError::Write(error)),
        }
    }

    async fn read_again(&self, key: &ObjectKey) -> Result<ReadAgain, StepError> {
        let object = self.cluster.read_with_managers(key).await.map_err(StepError::Write)?;
        let roles = self.roles.borrow();
        let (object, expected) = match (object, roles.get(key)) {
            (None, None) => return Ok(ReadAgain::AsPlanned),
            (None, Some(_)) => return Ok(ReadAgain::WrittenBy("a client that deleted it".to_owned())),
            (Some(object), expected) => (object, expected),
        };
        let invalid = |why: String| StepError::Write(ClusterError::InvalidResponse { what: format!("get {key}"), why });
        // The message of the parser can quote the answer.
        let now = parse_role(&object).map_err(|_| invalid("a field has another type".to_owned()))?;
        let version = ObjectVersion::from_object(&object)
            .ok_or_else(|| invalid("it has no `metadata.resourceVersion`".to_owned()))?;
        let precondition = ResolvedPrecondition::Version(version);
        let is_by_controller = match expected {
            // The deleted role waits for its finalizers.
            None if now.meta.deleting => return Ok(ReadAgain::AsPlanned),
            Some(expected) if expected.meta.deleting => return Ok(ReadAgain::AsPlanned),
            None => managers(&object).all(|manager| manager == AGGREGATION_CONTROLLER),
            Some(expected) if now.rules == expected.rules && now.aggregation == expected.aggregation => {
                return Ok(ReadAgain::AsPlanned);
            }
            Some(_) => roles.is_changed_by_controller(key, &now, has_only_controller_rules(&object)),
        };
        if !is_by_controller {
            let manager = now.meta.last_writer.map_or_else(|| "another client".to_owned(), |writer| writer.manager);
            return Ok(ReadAgain::WrittenBy(manager));
        }
        let write = match expected {
            Some(expected) => WriteRequest::Patch(json!({ "rules": expected.rules })),
            None => WriteRequest::Delete,
        };
        Ok(ReadAgain::WrittenByController(write, precondition))
    }
}

/// Returns the delay after this number of tries.
fn delay_after(tries: u32) -> Duration {
    FIRST_TRY_DELAY.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(MAX_TRY_DELAY)
}

fn parse_role(object: &Value) -> Result<Role, crate::state::object::ObjectError> {
    deserialize_object::<RawRole>(object).map(Role::from)
}

fn managed_fields(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// Returns the field managers of an object. One without a name is an empty string.
fn managers(object: &Value) -> impl Iterator<Item = &str> {
    managed_fields(object).map(|entry| entry.get("manager").and_then(Value::as_str).unwrap_or_default())
}

/// Returns whether the controller has written the rules: it is their only field manager. When it finds no rules, it
/// gives up the field, and rules without a manager are empty.
fn has_only_controller_rules(object: &Value) -> bool {
    let mut with_rules = managed_fields(object).filter(|entry| entry.pointer("/fieldsV1/f:rules").is_some()).peekable();
    if with_rules.peek().is_none() {
        return object.get("rules").and_then(Value::as_array).is_none_or(Vec::is_empty);
    }
    with_rules.all(|entry| entry.get("manager").and_then(Value::as_str) == Some(AGGREGATION_CONTROLLER))
}
