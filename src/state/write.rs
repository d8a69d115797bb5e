//! One write, its precondition, and what the API server would answer to it.
//!
//! `accept` is the keystone: the snapshot cluster and every proof about states between writes ask this one function.
//! Where it differs from the real API server it is wrong, and the tests on a real one show it.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::validate;
use crate::names::{ObjectKey, ObjectKind};

/// The exact request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WriteRequest {
    /// POST of a whole object.
    Create(Value),
    /// JSON merge patch, without the precondition: [`Write::body`] adds it.
    Patch(Value),
    Delete,
}

/// What must hold of the object for the write to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    Absent,
    /// The object is the one that was read, unchanged. A snapshot written by hand may lack a uid.
    Unchanged {
        uid: Option<String>,
        resource_version: String,
    },
    /// The object is as an earlier step of this plan left it.
    AsWrittenByStep {
        step: usize,
    },
}

/// A precondition with nothing left open, as the request carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResolvedPrecondition {
    Absent,
    Version(ObjectVersion),
}

/// Which object, and which state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectVersion {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: String,
}

impl ObjectVersion {
    /// The version of an object as the API server answered it.
    pub(crate) fn from_object(object: &Value) -> Option<Self> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self { uid: text("/metadata/uid"), resource_version: text("/metadata/resourceVersion")? })
    }
}

impl WriteRequest {
    /// As RBAC has it.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
        }
    }

    /// The body of the request with the precondition in it; of a DELETE its options.
    pub(crate) fn body(&self, expected: &ResolvedPrecondition) -> Value {
        let version = match expected {
            ResolvedPrecondition::Absent => None,
            ResolvedPrecondition::Version(version) => Some(version),
        };
        match self {
            Self::Create(body) => body.clone(),
            Self::Patch(patch) => {
                let mut body = patch.clone();
                if let Some(version) = version {
                    let mut metadata = json!({ "resourceVersion": version.resource_version });
                    if let Some(uid) = &version.uid {
                        apply_merge_patch(&mut metadata, &json!({ "uid": uid }));
                    }
                    apply_merge_patch(&mut body, &json!({ "metadata": metadata }));
                }
                body
            }
            Self::Delete => {
                let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
                if let Some(version) = version {
                    let mut preconditions = json!({ "resourceVersion": version.resource_version });
                    if let Some(uid) = &version.uid {
                        apply_merge_patch(&mut preconditions, &json!({ "uid": uid }));
                    }
                    apply_merge_patch(&mut options, &json!({ "preconditions": preconditions }));
                }
                options
            }
        }
    }
}

/// The API server's no, in the words of the field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WriteError {
    #[error("it exists already")]
    AlreadyExists,
    #[error("it is being deleted, finalizers hold it up")]
    BeingDeleted,
    #[error("it does not exist any more")]
    NotFound,
    #[error("the namespace `{0}` does not exist")]
    NamespaceNotFound(String),
    #[error("the namespace `{0}` is being deleted, and takes nothing new")]
    NamespaceTerminating(String),
    #[error("it was changed by somebody else since it was read")]
    Conflict,
    #[error("it is invalid: {0}")]
    Invalid(String),
}

/// What a write leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AcceptedWrite {
    Stored(Value),
    /// Nothing to change: the resourceVersion stays.
    Unchanged,
    Deleted,
}

/// What the API server answers to a write on `existing`, whose state `version` is.
///
/// # Errors
/// The refusal, when the object must stay as it is.
pub(crate) fn accept(
    key: &ObjectKey,
    existing: Option<(&Value, &ObjectVersion)>,
    namespace_exists: bool,
    write: &WriteRequest,
    expected: &ResolvedPrecondition,
) -> Result<AcceptedWrite, WriteError> {
    match (write, existing) {
        (WriteRequest::Create(_), Some((object, _))) if is_deleting(object) => Err(WriteError::BeingDeleted),
        (WriteRequest::Create(_), Some(_)) => Err(WriteError::AlreadyExists),
        (WriteRequest::Create(body), None) => {
            if let Some(namespace) = key.namespace().filter(|_| !namespace_exists) {
                return Err(WriteError::NamespaceNotFound(namespace.to_owned()));
            }
            check_valid(key, body.clone()).map(AcceptedWrite::Stored)
        }
        (WriteRequest::Patch(_) | WriteRequest::Delete, None) => Err(WriteError::NotFound),
        (WriteRequest::Patch(patch), Some((object, version))) => {
            check_version(version, expected)?;
            let mut next = object.clone();
            apply_merge_patch(&mut next, patch);
            if prune_empty(&next) == prune_empty(object) {
                return Ok(AcceptedWrite::Unchanged);
            }
            check_immutable_fields(key, object, &next)?;
            let next = check_valid(key, next)?;
            // The last finalizer was all that kept it.
            if is_deleting(&next) && !has_finalizers(&next) {
                Ok(AcceptedWrite::Deleted)
            } else {
                Ok(AcceptedWrite::Stored(next))
            }
        }
        (WriteRequest::Delete, Some((object, version))) => {
            check_version(version, expected)?;
            if has_finalizers(object) {
                let mut next = object.clone();
                apply_merge_patch(&mut next, &json!({ "metadata": { "deletionTimestamp": "1970-01-01T00:00:00Z" } }));
                return Ok(if is_deleting(object) { AcceptedWrite::Unchanged } else { AcceptedWrite::Stored(next) });
            }
            Ok(AcceptedWrite::Deleted)
        }
    }
}

fn check_version(version: &ObjectVersion, expected: &ResolvedPrecondition) -> Result<(), WriteError> {
    match expected {
        ResolvedPrecondition::Absent => Err(WriteError::Conflict),
        ResolvedPrecondition::Version(wanted) if wanted == version => Ok(()),
        ResolvedPrecondition::Version(_) => Err(WriteError::Conflict),
    }
}

fn check_valid(key: &ObjectKey, value: Value) -> Result<Value, WriteError> {
    match validate::validation_error(key, &value) {
        Some(why) => Err(WriteError::Invalid(why)),
        None => Ok(value),
    }
}

fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// A roleRef never changes (`ValidateRoleBindingUpdate`, after defaulting); an immutable ConfigMap keeps its data.
fn check_immutable_fields(key: &ObjectKey, old: &Value, new: &Value) -> Result<(), WriteError> {
    let part = |value: &Value, field: &str| value.pointer(field).cloned().unwrap_or_default();
    match key.kind() {
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            let same = ["/roleRef/kind", "/roleRef/name"].iter().all(|field| part(old, field) == part(new, field));
            if !same {
                return Err(WriteError::Invalid("roleRef: cannot change roleRef".to_owned()));
            }
        }
        ObjectKind::ConfigMap => {
            let frozen = part(old, "/immutable") == json!(true);
            if frozen && ["/data", "/binaryData", "/immutable"].iter().any(|field| part(old, field) != part(new, field))
            {
                return Err(WriteError::Invalid("data: field is immutable when `immutable` is set".to_owned()));
            }
        }
        ObjectKind::Namespace | ObjectKind::ClusterRole | ObjectKind::Role => {}
    }
    Ok(())
}

/// JSON merge patch, RFC 7396.
pub(crate) fn apply_merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(map) = target {
        for (field, value) in fields {
            if value.is_null() {
                map.shift_remove(field);
            } else {
                apply_merge_patch(map.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// Without what the server leaves out or keeps as null: empty lists and empty maps.
pub(crate) fn prune_empty(value: &Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(field, value)| (field.clone(), prune_empty(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> (ObjectKey, Value, ObjectVersion) {
        let value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "r", "uid": "u", "resourceVersion": "7" },
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }],
        });
        let version = ObjectVersion::from_object(&value).unwrap();
        (ObjectKey::cluster_role("r"), value, version)
    }

    #[test]
    fn a_patch_needs_the_version_that_was_read_even_where_it_changes_nothing() {
        let (key, value, version) = role();
        let noop = WriteRequest::Patch(json!({ "rules": value["rules"] }));
        let now = ResolvedPrecondition::Version(version.clone());
        let stale = ResolvedPrecondition::Version(ObjectVersion { resource_version: "6".into(), ..version.clone() });
        let other = ResolvedPrecondition::Version(ObjectVersion { uid: Some("v".into()), ..version.clone() });
        let ask = |expected: &ResolvedPrecondition| accept(&key, Some((&value, &version)), true, &noop, expected);
        assert_eq!(ask(&now), Ok(AcceptedWrite::Unchanged));
        assert_eq!(ask(&stale), Err(WriteError::Conflict));
        assert_eq!(ask(&other), Err(WriteError::Conflict));
        assert_eq!(accept(&key, None, true, &noop, &now), Err(WriteError::NotFound));
    }

    #[test]
    fn a_finalizer_keeps_a_deleted_role_and_blocks_its_successor() {
        let (key, mut value, version) = role();
        apply_merge_patch(&mut value, &json!({ "metadata": { "finalizers": ["x/y"] } }));
        let now = ResolvedPrecondition::Version(version.clone());
        let Ok(AcceptedWrite::Stored(left)) = accept(&key, Some((&value, &version)), true, &WriteRequest::Delete, &now)
        else {
            panic!("it must stay");
        };
        let create = WriteRequest::Create(role().1);
        let answer = accept(&key, Some((&left, &version)), true, &create, &ResolvedPrecondition::Absent);
        assert_eq!(answer, Err(WriteError::BeingDeleted));
    }

    #[test]
    fn a_role_ref_cannot_change_and_a_namespace_must_exist() {
        let key = ObjectKey::binding(Some("ns"), "b");
        let value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "b", "namespace": "ns", "resourceVersion": "1" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" },
        });
        let version = ObjectVersion::from_object(&value).unwrap();
        let now = ResolvedPrecondition::Version(version.clone());
        let patch = WriteRequest::Patch(json!({ "roleRef": { "name": "other" } }));
        assert!(matches!(accept(&key, Some((&value, &version)), true, &patch, &now), Err(WriteError::Invalid(_))));
        let create = WriteRequest::Create(value.clone());
        assert_eq!(
            accept(&key, None, false, &create, &ResolvedPrecondition::Absent),
            Err(WriteError::NamespaceNotFound("ns".into()))
        );
        assert_eq!(accept(&key, None, true, &create, &ResolvedPrecondition::Absent), Ok(AcceptedWrite::Stored(value)));
    }

    #[test]
    fn a_merge_patch_takes_null_away() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "d": [1] });
        apply_merge_patch(&mut value, &json!({ "a": { "b": null, "e": { "f": null } }, "d": [2] }));
        assert_eq!(value, json!({ "a": { "c": 2, "e": {} }, "d": [2] }));
    }
}
