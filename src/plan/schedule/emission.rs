//! Turns scheduled writes into steps: the exact request, the precondition and the description.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::access_entries::{association_patch, describe_association, fields_patch};
use super::changes::{ChangeId, ObjectChange, Op, Purpose, TargetObject};
use super::replay::VerifiedWrite;
use super::{Author, ChangeKind, FirstPrecondition, PendingWrite, internal};
use crate::names::ObjectKey;
use crate::plan::Step;
use crate::plan::entries::aws_auth_edit::{AwsAuthEdit, EntryVariant};
use crate::state::State;
use crate::state::object::ObjectError;
use crate::state::object::{Binding, Role, binding_to_json, role_to_json, subjects_to_json};
use crate::state::object_meta::Labels;
use crate::state::owner::{self, DIGEST_ANNOTATION, Owner};
use crate::state::write::{Precondition, WriteRequest, apply_merge_patch};

/// The version of an object that an update or a deletion requires.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RequiredVersion {
    AsRead { uid: Option<String>, resource_version: String },
    AsWrittenByStep(usize),
}

/// A write that the API server accepts only if the object is as expected. There is no update and no deletion without an
/// expected version.
#[derive(Debug, Clone, PartialEq)]
enum GuardedWrite {
    Create(Value),
    Patch(Value, RequiredVersion),
    Delete(RequiredVersion),
}

impl GuardedWrite {
    fn into_request(self) -> (WriteRequest, Precondition) {
        let precondition = |version| match version {
            RequiredVersion::AsRead { uid, resource_version } => Precondition::Unchanged { uid, resource_version },
            RequiredVersion::AsWrittenByStep(step) => Precondition::AsWrittenByStep { step },
        };
        match self {
            Self::Create(body) => (WriteRequest::Create(body), Precondition::Absent),
            Self::Patch(patch, version) => (WriteRequest::Patch(patch), precondition(version)),
            Self::Delete(version) => (WriteRequest::Delete, precondition(version)),
        }
    }
}

/// The last step that wrote an object, and whether the object exists after it.
#[derive(Debug, Clone, Copy)]
struct LastWrite {
    step: usize,
    exists: bool,
}

pub(super) struct WriteEmitter<'a, 's> {
    changes: &'a [ObjectChange<'s>],
    edit: Option<&'a AwsAuthEdit>,
    live: &'a State,
    author: Author<'a>,
    written: BTreeMap<ObjectKey, LastWrite>,
}

/// An object, its write, and the description of the step.
type DescribedWrite = (ObjectKey, GuardedWrite, String);

impl<'a, 's> WriteEmitter<'a, 's> {
    pub(super) fn new(
        changes: &'a [ObjectChange<'s>],
        edit: Option<&'a AwsAuthEdit>,
        live: &'a State,
        author: Author<'a>,
    ) -> Self {
        Self { changes, edit, live, author, written: BTreeMap::new() }
    }

    pub(super) fn steps(mut self, writes: &[VerifiedWrite<'s>]) -> Result<Vec<Step>, ObjectError> {
        let mut steps = Vec::with_capacity(writes.len());
        for VerifiedWrite { write: scheduled, awaits } in writes {
            let (object, write, description) = self.build_write(&scheduled.op, scheduled.purpose)?;
            let exists = !matches!(write, GuardedWrite::Delete(_));
            self.written.insert(object.clone(), LastWrite { step: steps.len(), exists });
            let (write, precondition) = write.into_request();
            let stage = scheduled.stage;
            steps.push(Step { object, write, precondition, stage, wait_for: awaits.clone(), description });
        }
        Ok(steps)
    }

    fn build_write(&self, op: &Op<'s>, purpose: Purpose<'s>) -> Result<DescribedWrite, ObjectError> {
        match purpose {
            Purpose::CreateTemporary(key) => {
                let body = match op {
                    Op::Role(_, Some(role)) => role_to_json(key, role),
                    Op::Binding(_, Some(binding)) => binding_to_json(key, binding),
                    _ => return Err(internal("a temporary object has no content")),
                };
                Ok((key.clone(), GuardedWrite::Create(body), format!("create temporary {key}")))
            }
            Purpose::DeleteTemporary(key) => {
                Ok((key.clone(), GuardedWrite::Delete(self.written_version(key)?), format!("delete temporary {key}")))
            }
            Purpose::Complete(id) | Purpose::DeleteReplaced(id)
                if matches!(op, Op::AccessEntry(..) | Op::Association(..)) =>
            {
                self.access_entry_write(self.pending(id)?, op)
            }
            Purpose::Complete(id) => self.complete_write(self.pending(id)?),
            Purpose::Part(id) => self.partial_write(self.pending(id)?, op),
            Purpose::CreateBridge(id)
            | Purpose::DeleteReplaced(id)
            | Purpose::RecreateReplaced(id)
            | Purpose::DeleteBridge(id) => self.replacing_write(self.pending(id)?, purpose),
        }
    }

    fn pending(&self, id: ChangeId) -> Result<&'s PendingWrite, ObjectError> {
        let change = self.changes.get(id.0);
        change.map(|change| change.pending).ok_or_else(|| internal("a change does not exist"))
    }

    /// Returns the version that the plan itself wrote.
    fn written_version(&self, key: &ObjectKey) -> Result<RequiredVersion, ObjectError> {
        match self.written.get(key) {
            Some(LastWrite { step, exists: true }) => Ok(RequiredVersion::AsWrittenByStep(*step)),
            Some(_) | None => Err(internal(format!("{key} is written, but does not exist"))),
        }
    }

    /// Returns the version that the next update or deletion of a changed object requires.
    fn version(&self, pending: &PendingWrite) -> Result<RequiredVersion, ObjectError> {
        match &pending.precondition {
            FirstPrecondition::AsRead { uid, resource_version } if !self.written.contains_key(&pending.object) => {
                Ok(RequiredVersion::AsRead { uid: uid.clone(), resource_version: resource_version.clone() })
            }
            FirstPrecondition::AsRead { .. } | FirstPrecondition::Absent => self.written_version(&pending.object),
        }
    }

    fn replacing_write(&self, pending: &PendingWrite, purpose: Purpose<'s>) -> Result<DescribedWrite, ObjectError> {
        let key = &pending.object;
        let ChangeKind::Replace { body, bridge } = &pending.kind else {
            return Err(internal(format!("{key} is not replaced")));
        };
        Ok(match (purpose, bridge) {
            (Purpose::CreateBridge(_), Some((bridge, body))) => {
                let why = format!("create temporary {bridge} to keep access while {} is replaced", key.name());
                (bridge.clone(), GuardedWrite::Create(body.clone()), why)
            }
            (Purpose::DeleteBridge(_), Some((bridge, _))) => {
                let write = GuardedWrite::Delete(self.written_version(bridge)?);
                (bridge.clone(), write, format!("delete temporary {bridge}"))
            }
            (Purpose::DeleteReplaced(_), _) => {
                (key.clone(), GuardedWrite::Delete(self.version(pending)?), format!("delete {key} (old roleRef)"))
            }
            (Purpose::RecreateReplaced(_), _) => {
                (key.clone(), GuardedWrite::Create(body.clone()), format!("create {key} (new roleRef)"))
            }
            _ => return Err(internal(format!("{purpose:?} is no write of {key}"))),
        })
    }

    fn complete_write(&self, pending: &PendingWrite) -> Result<DescribedWrite, ObjectError> {
        let key = &pending.object;
        let is_written = self.written.contains_key(key);
        let mut description = pending.description.clone();
        let write = match &pending.kind {
            // An earlier step has created the object with a part of its content.
            ChangeKind::Create(body) if is_written => {
                description = format!("complete {key}");
                GuardedWrite::Patch(content_patch(body), self.version(pending)?)
            }
            ChangeKind::Create(body) => GuardedWrite::Create(body.clone()),
            ChangeKind::Patch { patch, .. } => {
                let mut patch = patch.clone();
                if is_written {
                    self.restore_digest(pending, &mut patch);
                }
                GuardedWrite::Patch(patch, self.version(pending)?)
            }
            ChangeKind::Delete => GuardedWrite::Delete(self.version(pending)?),
            ChangeKind::Map { edit, .. } if is_written => {
                let planned = vec![EntryVariant::Final; edit.principal_edits.len()];
                let write = edit.write_with(&planned, false);
                let write = write.ok_or_else(|| internal("the planned aws-auth cannot be written"))?;
                self.guard(pending, write)?
            }
            ChangeKind::Map { write, .. } => self.guard(pending, write.clone())?,
            ChangeKind::Replace { .. } | ChangeKind::AccessEntry { .. } => {
                return Err(internal(format!("{key} is written in several writes")));
            }
        };
        Ok((key.clone(), write, description))
    }

    /// Returns the write of an access entry or of one of its associations.
    fn access_entry_write(&self, pending: &PendingWrite, op: &Op<'s>) -> Result<DescribedWrite, ObjectError> {
        let key = &pending.object;
        let live = self.live.access_entries.get(key);
        let exists = match self.written.get(key) {
            Some(LastWrite { exists, .. }) => *exists,
            None => live.is_some(),
        };
        let name = key.name();
        let (write, description) = match op {
            Op::AccessEntry(_, None) => {
                (GuardedWrite::Delete(self.version(pending)?), format!("delete access entry {name}"))
            }
            Op::AccessEntry(_, Some(planned)) if !exists => {
                let mut body = planned.to_json();
                apply_merge_patch(&mut body, &json!({ "accessPolicies": null, "metadata": { "uid": null } }));
                (GuardedWrite::Create(body), format!("create access entry {name}"))
            }
            Op::AccessEntry(_, Some(planned)) => {
                let live = live.ok_or_else(|| internal(format!("{key} is changed, but does not exist")))?;
                let patch = fields_patch(live, planned);
                (GuardedWrite::Patch(patch, self.version(pending)?), format!("change access entry {name}"))
            }
            Op::Association(_, _, policy, association) => {
                let patch = association_patch(policy, *association);
                let description = describe_association(key, policy, *association);
                (GuardedWrite::Patch(patch, self.version(pending)?), description)
            }
            Op::Role(..) | Op::Binding(..) | Op::Mapping(_) => {
                return Err(internal(format!("{op:?} is no write of {key}")));
            }
        };
        Ok((key.clone(), write, description))
    }

    /// Adds the digest of the planned content to a patch that follows partial writes. They have changed the digest, and
    /// the planned patch contains it only if it differs from the digest that was read.
    fn restore_digest(&self, pending: &PendingWrite, patch: &mut Value) {
        let planned = self.changes.iter().find(|change| change.pending.object == pending.object);
        let meta = planned.and_then(|change| match &change.target {
            TargetObject::Role { planned, .. } => planned.map(|role| &role.meta),
            TargetObject::Binding { planned, .. } => planned.map(|binding| &binding.meta),
            TargetObject::Replace { planned, .. } => Some(&planned.meta),
            TargetObject::AccessEntry { .. } | TargetObject::Association { .. } | TargetObject::Mapping => None,
        });
        if let Some(digest) = meta.and_then(|meta| meta.annotations.get(DIGEST_ANNOTATION)) {
            apply_merge_patch(patch, &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }));
        }
    }

    fn guard(&self, pending: &PendingWrite, write: WriteRequest) -> Result<GuardedWrite, ObjectError> {
        Ok(match write {
            WriteRequest::Create(body) => GuardedWrite::Create(body),
            WriteRequest::Patch(patch) => GuardedWrite::Patch(patch, self.version(pending)?),
            WriteRequest::Delete => GuardedWrite::Delete(self.version(pending)?),
        })
    }

    /// Returns a write of intermediate content. An object of the policy keeps its ownership marks, with the digest of
    /// this content.
    fn partial_write(&self, pending: &PendingWrite, op: &Op<'s>) -> Result<DescribedWrite, ObjectError> {
        let key = &pending.object;
        let policy = self.author.policy;
        let (field, content, digest, body) = match op {
            Op::Mapping(variants) => {
                let is_first = !self.written.contains_key(key);
                let write = self.edit.and_then(|edit| edit.write_with(variants, is_first));
                let write = write.ok_or_else(|| internal("a scheduled aws-auth cannot be written"))?;
                let write = self.guard(pending, write)?;
                return Ok((key.clone(), write, "change some of the aws-auth entries".to_owned()));
            }
            Op::Role(_, Some(role)) => {
                let mut role = Role { rules: role.rules.clone(), ..Role::default() };
                let labels = self.live.meta(key).map(owner::content_labels).unwrap_or_default();
                let digest = owner::role_digest(&role, &labels);
                owner::mark_owned(key, &mut role.meta, policy, &Labels::new(), digest.clone());
                ("rules", json!(role.rules), digest, role_to_json(key, &role))
            }
            Op::Binding(_, Some(binding)) => {
                let mut binding = Binding::clone(binding);
                let digest = owner::binding_digest(&binding);
                owner::mark_owned(key, &mut binding.meta, policy, &Labels::new(), digest.clone());
                ("subjects", subjects_to_json(&binding.subjects), digest, binding_to_json(key, &binding))
            }
            Op::Role(_, None) | Op::Binding(_, None) | Op::AccessEntry(..) | Op::Association(..) => {
                return Err(internal(format!("a part of {key} has no content")));
            }
        };
        if matches!(pending.kind, ChangeKind::Create(_)) && !self.written.contains_key(key) {
            let why = format!("create {key} with part of its content");
            return Ok((key.clone(), GuardedWrite::Create(body), why));
        }
        let mut patch = Map::new();
        patch.insert(field.to_owned(), content);
        let mut patch = Value::Object(patch);
        let meta = self.live.meta(key);
        if meta.is_none_or(|meta| owner::object_owner(key, meta, policy) == Owner::ThisPolicy) {
            apply_merge_patch(&mut patch, &json!({ "metadata": { "annotations": { DIGEST_ANNOTATION: digest } } }));
        }
        Ok((key.clone(), GuardedWrite::Patch(patch, self.version(pending)?), format!("change part of {key}")))
    }
}

/// Returns the patch that brings an object to the content of `body`.
fn content_patch(body: &Value) -> Value {
    let mut patch = Map::new();
    for field in ["rules", "subjects", "aggregationRule"] {
        if let Some(value) = body.get(field) {
            patch.insert(field.to_owned(), value.clone());
        }
    }
    let part = |field: &str| body.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    patch.insert("metadata".to_owned(), json!({ "labels": part("labels"), "annotations": part("annotations") }));
    Value::Object(patch)
}
