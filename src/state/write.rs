//! One write, its precondition, and the API server's answer to it.
//!
//! [`accept`] predicts the API server's answer. The snapshot cluster and every check of the states between two writes
//! rely on it. Any difference from the real API server is a bug; the tests against a real API server look for one.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::access_entry_write::{changed_entry, created_entry};
use super::validate;
use crate::diagnostic::InternalError;
use crate::names::{ObjectKey, ObjectKind};

/// The exact request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WriteRequest {
    /// POST of a whole object.
    Create(Value),
    /// JSON merge patch without the precondition, which [`WriteRequest::body`] adds.
    Patch(Value),
    Delete,
}

/// What must be true of the object for the write to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    Absent,
    /// The object is unchanged since it was read. In a snapshot written by hand it may lack a uid.
    Unchanged {
        uid: Option<String>,
        resource_version: String,
    },
    /// The object is as an earlier step of this plan left it.
    AsWrittenByStep {
        step: usize,
    },
}

/// A precondition with the version filled in, as the request carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResolvedPrecondition {
    Absent,
    Version(ObjectVersion),
}

impl ResolvedPrecondition {
    /// Returns the version of the object before the write. `None` if there is no object.
    pub(crate) fn version(&self) -> Option<&ObjectVersion> {
        match self {
            Self::Absent => None,
            Self::Version(version) => Some(version),
        }
    }
}

/// One version of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectVersion {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: String,
}

impl ObjectVersion {
    /// Returns the version of an object in the API server's JSON. `None` if it has no resourceVersion.
    pub(crate) fn from_object(object: &Value) -> Option<Self> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self { uid: text("/metadata/uid"), resource_version: text("/metadata/resourceVersion")? })
    }
}

impl WriteRequest {
    /// Returns the RBAC verb that authorizes the request.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
        }
    }

    /// Returns the body of the request with its precondition. For a DELETE these are its `DeleteOptions`.
    ///
    /// # Errors
    /// The precondition does not fit the write. The API server would make a patch or a deletion without a version
    /// whatever the object is by then.
    pub(crate) fn body(&self, expected: &ResolvedPrecondition) -> Result<Value, InternalError> {
        let version_fields = |version: &ObjectVersion| {
            let mut fields = json!({ "resourceVersion": version.resource_version });
            if let Some(uid) = &version.uid {
                apply_merge_patch(&mut fields, &json!({ "uid": uid }));
            }
            fields
        };
        match (self, expected) {
            (Self::Create(body), ResolvedPrecondition::Absent) => Ok(body.clone()),
            (Self::Patch(patch), ResolvedPrecondition::Version(version)) => {
                let mut body = patch.clone();
                apply_merge_patch(&mut body, &json!({ "metadata": version_fields(version) }));
                Ok(body)
            }
            (Self::Delete, ResolvedPrecondition::Version(version)) => Ok(json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": version_fields(version),
            })),
            (Self::Create(_), ResolvedPrecondition::Version(_)) => {
                Err(InternalError::new("a create has the version of an object as its precondition"))
            }
            (Self::Patch(_) | Self::Delete, ResolvedPrecondition::Absent) => {
                Err(InternalError::new(format!("a {} has no version as its precondition", self.verb())))
            }
        }
    }
}

/// Why the API server rejects a write. The texts follow the name of the object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WriteError {
    #[error("it already exists")]
    AlreadyExists,
    #[error("it is being deleted and still has finalizers")]
    BeingDeleted,
    #[error("it no longer exists")]
    NotFound,
    #[error("namespace `{0}` does not exist")]
    NamespaceNotFound(String),
    #[error("namespace `{0}` is being deleted, and no object can be created in it")]
    NamespaceTerminating(String),
    #[error("it was changed by another client after it was read")]
    Conflict,
    #[error("invalid object: {0}")]
    Invalid(String),
}

/// The result of a write that the API server accepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AcceptedWrite {
    Stored(Value),
    /// The write changes nothing, and the object keeps its resourceVersion.
    Unchanged,
    Deleted,
}

/// Returns the API server's answer to a write. `existing` is the object before the write with its version, if it
/// exists.
///
/// # Errors
/// The API server rejects the write, and the object is not changed.
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
            if key.kind() == ObjectKind::AccessEntry {
                let entry = created_entry(body, None).map_err(WriteError::Invalid)?;
                return check_valid(key, entry.to_json()).map(AcceptedWrite::Stored);
            }
            check_valid(key, body.clone()).map(AcceptedWrite::Stored)
        }
        (WriteRequest::Patch(_) | WriteRequest::Delete, None) => Err(WriteError::NotFound),
        (WriteRequest::Patch(patch), Some((object, version))) => {
            check_version(version, expected)?;
            let mut next = object.clone();
            apply_merge_patch(&mut next, patch);
            if key.kind() == ObjectKind::AccessEntry {
                let entry = changed_entry(object, &next).map_err(WriteError::Invalid)?;
                let is_unchanged = entry.meta.resource_version.as_deref() == Some(version.resource_version.as_str());
                return Ok(if is_unchanged {
                    AcceptedWrite::Unchanged
                } else {
                    AcceptedWrite::Stored(entry.to_json())
                });
            }
            if prune_empty(&next) == prune_empty(object) {
                return Ok(AcceptedWrite::Unchanged);
            }
            check_immutable_fields(key, object, &next)?;
            let next = check_valid(key, next)?;
            // An object that is being deleted disappears with its last finalizer.
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
        ResolvedPrecondition::Version(expected) if expected == version => Ok(()),
        ResolvedPrecondition::Version(_) => Err(WriteError::Conflict),
    }
}

fn check_valid(key: &ObjectKey, value: Value) -> Result<Value, WriteError> {
    match validate::validation_error(key, &value) {
        Some(reason) => Err(WriteError::Invalid(reason)),
        None => Ok(value),
    }
}

fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// Checks immutable fields: a roleRef cannot change (`ValidateRoleBindingUpdate`, after defaulting), nor can the data
/// of an immutable ConfigMap.
fn check_immutable_fields(key: &ObjectKey, old: &Value, new: &Value) -> Result<(), WriteError> {
    let field_at = |value: &Value, path: &str| value.pointer(path).cloned().unwrap_or_default();
    let changed = |path: &&str| field_at(old, path) != field_at(new, path);
    match key.kind() {
        ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => {
            if ["/roleRef/kind", "/roleRef/name"].iter().any(changed) {
                return Err(WriteError::Invalid("roleRef: cannot change roleRef".to_owned()));
            }
        }
        ObjectKind::ConfigMap => {
            let immutable = field_at(old, "/immutable") == json!(true);
            if immutable && ["/data", "/binaryData", "/immutable"].iter().any(changed) {
                return Err(WriteError::Invalid("data: field is immutable when `immutable` is set".to_owned()));
            }
        }
        ObjectKind::Namespace
        | ObjectKind::AccessEntry
        | ObjectKind::ClusterRole
        | ObjectKind::Role
        | ObjectKind::AccessPolicy
        | ObjectKind::AccessPolicyAssociation => {}
    }
    Ok(())
}

/// Applies a JSON merge patch (RFC 7396).
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

/// Returns the value without nulls, empty lists and empty maps. The API server omits these or stores null for them.
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
    use crate::state::access_entry::AccessEntry;

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
    fn patch_without_changes_still_needs_the_version_that_was_read() {
        let (key, value, version) = role();
        let noop = WriteRequest::Patch(json!({ "rules": value["rules"] }));
        let current = ResolvedPrecondition::Version(version.clone());
        let stale = ResolvedPrecondition::Version(ObjectVersion { resource_version: "6".into(), ..version.clone() });
        let recreated = ResolvedPrecondition::Version(ObjectVersion { uid: Some("v".into()), ..version.clone() });
        let answer = |expected: &ResolvedPrecondition| accept(&key, Some((&value, &version)), true, &noop, expected);
        assert_eq!(answer(&current), Ok(AcceptedWrite::Unchanged));
        assert_eq!(answer(&stale), Err(WriteError::Conflict));
        assert_eq!(answer(&recreated), Err(WriteError::Conflict));
        assert_eq!(accept(&key, None, true, &noop, &current), Err(WriteError::NotFound));
    }

    #[test]
    fn role_with_finalizer_survives_deletion_and_cannot_be_created_again() {
        let (key, mut value, version) = role();
        apply_merge_patch(&mut value, &json!({ "metadata": { "finalizers": ["x/y"] } }));
        let current = ResolvedPrecondition::Version(version.clone());
        let deletion = accept(&key, Some((&value, &version)), true, &WriteRequest::Delete, &current);
        let Ok(AcceptedWrite::Stored(terminating)) = deletion else {
            panic!("the finalizer must keep the role: {deletion:?}");
        };
        let create = WriteRequest::Create(role().1);
        let answer = accept(&key, Some((&terminating, &version)), true, &create, &ResolvedPrecondition::Absent);
        assert_eq!(answer, Err(WriteError::BeingDeleted));
    }

    #[test]
    fn role_ref_is_immutable_and_namespace_must_exist() {
        let key = ObjectKey::binding(Some("ns"), "b");
        let value = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": "b", "namespace": "ns", "resourceVersion": "1" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" },
        });
        let version = ObjectVersion::from_object(&value).unwrap();
        let current = ResolvedPrecondition::Version(version.clone());
        let patch = WriteRequest::Patch(json!({ "roleRef": { "name": "other" } }));
        assert!(matches!(accept(&key, Some((&value, &version)), true, &patch, &current), Err(WriteError::Invalid(_))));
        let create = WriteRequest::Create(value.clone());
        assert_eq!(
            accept(&key, None, false, &create, &ResolvedPrecondition::Absent),
            Err(WriteError::NamespaceNotFound("ns".into()))
        );
        assert_eq!(accept(&key, None, true, &create, &ResolvedPrecondition::Absent), Ok(AcceptedWrite::Stored(value)));
    }

    #[test]
    fn access_entry_is_written_as_eks_stores_it() {
        let principal = "arn:aws:iam::111122223333:role/ci";
        let key = ObjectKey::cluster_scoped(ObjectKind::AccessEntry, principal);
        let body = json!({ "metadata": { "name": principal }, "kubernetesGroups": ["b"], "tags": { "team": "x" } });
        let create = WriteRequest::Create(body);
        let created = accept(&key, None, false, &create, &ResolvedPrecondition::Absent);
        let Ok(AcceptedWrite::Stored(stored)) = created else { panic!("{created:?}") };
        assert_eq!(stored["username"], json!("arn:aws:sts::111122223333:assumed-role/ci/{{SessionName}}"));

        let version = AccessEntry::version(&stored).unwrap();
        let current = ResolvedPrecondition::Version(version.clone());
        let patch = |patch: Value| accept(&key, Some((&stored, &version)), true, &WriteRequest::Patch(patch), &current);
        assert_eq!(patch(json!({ "kubernetesGroups": ["b", "b"] })), Ok(AcceptedWrite::Unchanged));
        let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
        let changed = patch(json!({ "accessPolicies": { policy: { "type": "cluster" } }, "tags": { "team": null } }));
        let Ok(AcceptedWrite::Stored(changed)) = changed else { panic!("{changed:?}") };
        assert_eq!((&changed["accessPolicies"][policy]["type"], &changed["tags"]), (&json!("cluster"), &json!({})));
        for invalid in [
            json!({ "type": "EC2_LINUX" }),
            json!({ "metadata": { "name": "arn:aws:iam::111122223333:role/other" } }),
            json!({ "kubernetesGroups": ["system:masters"] }),
        ] {
            assert!(matches!(patch(invalid), Err(WriteError::Invalid(_))));
        }
        let delete = accept(
            &key,
            Some((&changed, &AccessEntry::version(&changed).unwrap())),
            true,
            &WriteRequest::Delete,
            &current,
        );
        assert_eq!(delete, Err(WriteError::Conflict));
    }

    #[test]
    fn null_in_a_merge_patch_removes_the_field() {
        let mut value = json!({ "a": { "b": 1, "c": 2 }, "d": [1] });
        apply_merge_patch(&mut value, &json!({ "a": { "b": null, "e": { "f": null } }, "d": [2] }));
        assert_eq!(value, json!({ "a": { "c": 2, "e": {} }, "d": [2] }));
    }
}
