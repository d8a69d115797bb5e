//! Plans a restore: takes back what one apply wrote, and nothing that other clients wrote since.
//!
//! A backup has each object as it was before the apply, and the writes of the apply. Every field, label and aws-auth entry
//! that an object still has as the apply wrote it is set back. What was changed since is left alone and reported. The result
//! is a plan like any other: its writes are ordered, and the guards and invariants of the policy are evaluated on it.

mod access_entries;
mod aws_auth;
mod entries;
mod rbac;
mod undo_value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use aws_auth::undo_aws_auth_write;
use serde_json::Value;
use undo_value::Versions;

use super::schedule::{self, PendingWrite};
use super::{Action, Change, ChangeOrigin, ChangeTarget, FieldDiff, GuardLimits, Plan, ResolvedInvariant, Step};
use crate::diagnostic::Diagnostic;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::State;
use crate::state::access_entry::AccessEntry;
use crate::state::config_map::AwsAuth;
use crate::state::object::{ObjectError, RawBinding, RawRole, Role, deserialize_object};
use crate::state::write::{Precondition, WriteRequest, apply_merge_patch};

/// What one apply wrote, and the limits and invariants of its policy.
#[derive(Debug, Clone)]
pub(crate) struct AppliedWrites {
    pub(crate) policy: String,
    pub(crate) limits: GuardLimits,
    pub(crate) invariants: Vec<ResolvedInvariant>,
    /// The objects before the apply. An object that is not here did not exist.
    pub(crate) before: BTreeMap<ObjectKey, Value>,
    pub(crate) steps: Vec<Step>,
    /// How long an API server of the cluster caches a token.
    pub(crate) token_cache: Duration,
}

impl AppliedWrites {
    /// Returns the versions of each object that the apply wrote.
    ///
    /// # Errors
    /// If a write does not fit the object before it: the backup is incomplete.
    fn object_versions(&self) -> Result<BTreeMap<&ObjectKey, Versions<Value>>, Vec<Diagnostic>> {
        let mut all: BTreeMap<&ObjectKey, Versions<Value>> = BTreeMap::new();
        for Step { object, write, precondition, .. } in &self.steps {
            let before = self.before.get(object);
            let is_first = !all.contains_key(object);
            let fits = match precondition {
                Precondition::Absent => !is_first || before.is_none(),
                Precondition::Unchanged { .. } => !is_first || before.is_some(),
                Precondition::AsWrittenByStep { .. } => !is_first,
            };
            let latest = all.get(object).map_or(before, |versions| versions.after.as_ref());
            let after = match (write, latest) {
                (WriteRequest::Create(body), None) => Some(body.clone()),
                (WriteRequest::Patch(patch), Some(latest)) => {
                    let mut after = latest.clone();
                    apply_merge_patch(&mut after, patch);
                    Some(after)
                }
                (WriteRequest::Delete, Some(_)) => None,
                _ => return Err(vec![incomplete_backup(object)]),
            };
            if !fits {
                return Err(vec![incomplete_backup(object)]);
            }
            match all.get_mut(object) {
                Some(versions) => {
                    let earlier = std::mem::replace(&mut versions.after, after);
                    versions.intermediate.push(earlier);
                }
                None => {
                    all.insert(object, Versions { before: before.cloned(), intermediate: Vec::new(), after });
                }
            }
        }
        Ok(all)
    }

    /// Returns whether the apply deleted an object to create it again, and stopped in between. Then a temporary object, which
    /// the apply creates and later deletes, still exists.
    fn stopped_before_recreating(&self, key: &ObjectKey, live: &State) -> bool {
        let is_creation = |step: &Step| step.object == *key && matches!(step.write, WriteRequest::Create(_));
        let Some(position) = self.steps.iter().rposition(is_creation) else {
            return false;
        };
        let is_temporary = |object: &ObjectKey| *object != *key && !self.before.contains_key(object);
        let mut later = self.steps.iter().skip(position + 1).filter(|step| is_temporary(&step.object));
        later.any(|step| step.write == WriteRequest::Delete && live.meta(&step.object).is_some())
    }
}

fn incomplete_backup(object: &ObjectKey) -> Diagnostic {
    Diagnostic::error(format!("the backup is incomplete: its writes of {object} do not fit the content that it has"))
        .with_note("no changes were made")
        .with_help("use an unchanged file that `rolecall apply --backup DIR` wrote")
}

fn invalid_object(key: &ObjectKey, error: &ObjectError) -> Diagnostic {
    Diagnostic::error(format!("the backup has an invalid {key}: {error}"))
        .with_help("use an unchanged file that `rolecall apply --backup DIR` wrote")
}

/// Plans the writes that take back an apply. The warnings of the plan name what is left alone.
///
/// # Errors
/// If the backup is incomplete, or if aws-auth cannot be edited.
pub(crate) fn plan_restore(applied: &AppliedWrites, live: &State) -> Result<Plan, Vec<Diagnostic>> {
    let mut planner = RestorePlanner::new(applied, live);
    for (key, versions) in applied.object_versions()? {
        let invalid = |error: ObjectError| vec![invalid_object(key, &error)];
        match key.kind() {
            ObjectKind::ClusterRole | ObjectKind::Role => {
                let role = |value: &Value| deserialize_object::<RawRole>(value).map(Role::from);
                planner.undo_role(key, &versions.try_map(role).map_err(invalid)?);
            }
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
                let binding = |value: &Value| deserialize_object::<RawBinding>(value)?.into_binding();
                planner.undo_binding(key, &versions.try_map(binding).map_err(invalid)?);
            }
            ObjectKind::ConfigMap => {
                planner.undo_aws_auth(&versions.try_map(AwsAuth::from_json).map_err(invalid)?)?;
            }
            ObjectKind::AccessEntry => {
                planner
                    .undo_access_entry(key, &versions.try_map(AccessEntry::from_json).map_err(invalid)?)
                    .map_err(invalid)?;
            }
            // No plan writes these.
            ObjectKind::Namespace | ObjectKind::AccessPolicy | ObjectKind::AccessPolicyAssociation => {
                return Err(vec![incomplete_backup(key)]);
            }
        }
    }
    planner.empty_rules_that_no_selector_finds().map_err(|error| vec![super::invalid_object_error(error).into()])?;
    let RestorePlanner { mut changes, writes, warnings, .. } = planner;
    changes.sort_by(|a, b| a.target.cmp(&b.target));
    let author = schedule::Author { policy: &applied.policy };
    let schedule::OrderedSteps { steps, waits, windows, unproven } =
        super::order_writes(writes, live, author, applied.token_cache)
            .map_err(|error| vec![super::invalid_object_error(error).into()])?;
    Ok(Plan {
        policy: applied.policy.clone(),
        cluster_uid: live.cluster_uid.clone(),
        changes,
        steps,
        waits,
        token_cache: applied.token_cache,
        windows,
        unproven,
        access_changes: None,
        limits: applied.limits.clone(),
        invariants: applied.invariants.clone(),
        namespace_selections: Vec::new(),
        aws_auth_diff: None,
        warnings,
    })
}

/// Collects the changes, writes and warnings of a restore.
struct RestorePlanner<'a> {
    applied: &'a AppliedWrites,
    policy: &'a str,
    live: &'a State,
    changes: Vec<Change>,
    writes: Vec<PendingWrite>,
    warnings: Vec<Diagnostic>,
}

impl<'a> RestorePlanner<'a> {
    fn new(applied: &'a AppliedWrites, live: &'a State) -> Self {
        Self { applied, policy: &applied.policy, live, changes: Vec::new(), writes: Vec::new(), warnings: Vec::new() }
    }

    fn push_write(&mut self, key: &ObjectKey, verb: &str, kind: schedule::ChangeKind) {
        let meta = self.live.meta(key);
        self.writes.push(PendingWrite {
            object: key.clone(),
            kind,
            precondition: meta.map_or(schedule::FirstPrecondition::Absent, super::objects::require_as_read),
            description: format!("{verb} {key}"),
        });
    }
}

/// Returns a warning that an object, an entry or a field is not restored. `action` is the part of the restore that is left
/// out, such as `deleted`.
fn left_alone(name: &str, action: &str, reason: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(format!("{name} is not {action}"))
        .with_because(reason)
        .with_help("if it has to go back as well, change it by hand or in the policy that owns it")
}

fn restore_change(action: Action, target: ChangeTarget, fields: Vec<FieldDiff>) -> Change {
    Change {
        action,
        target,
        fields,
        location: None,
        note: None,
        origin: ChangeOrigin::NotApplied,
        last_writer: None,
        access_impact: None,
    }
}
