//! The write that undoes another write, and the merge patch between two versions of an object.
//!
//! A patch contains the fields that rolecall itself writes, and no others.

use serde_json::{Map, Value};

use super::write::WriteRequest;
use crate::diagnostic::InternalError;

/// Metadata fields that the API server sets. They cannot be carried over to a re-created object.
const SERVER_FIELDS: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
/// The top-level fields that a write of rolecall can change. `roleRef` is immutable.
const CONTENT_FIELDS: [&str; 6] = ["data", "binaryData", "immutable", "rules", "aggregationRule", "subjects"];
/// The fields of `metadata` that a write of rolecall can change.
const METADATA_FIELDS: [&str; 2] = ["labels", "annotations"];

/// Returns the request body that re-creates an object.
pub(crate) fn strip_server_fields(object: &Value) -> Value {
    let mut body = object.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVER_FIELDS.contains(&field.as_str()));
    }
    body
}

/// Returns the JSON merge patch (RFC 7396) that turns `from` into `to`. `None` if they do not differ.
pub(crate) fn create_merge_patch(from: &Value, to: &Value) -> Option<Value> {
    // The aggregation controller fills in the rules of an aggregated role, so they are not restored. A role that becomes
    // aggregated would keep its other rules if the controller finds none, so these are.
    let is_aggregated = |object: &Value| object.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    let stays_aggregated = is_aggregated(from) && is_aggregated(to);
    let fields = CONTENT_FIELDS.into_iter().filter(|field| !(stays_aggregated && *field == "rules"));
    let mut patch = changed_fields(fields, from, to);
    let metadata = |object: &Value| object.get("metadata").cloned().unwrap_or_default();
    let metadata_patch = changed_fields(METADATA_FIELDS.into_iter(), &metadata(from), &metadata(to));
    if !metadata_patch.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata_patch));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn changed_fields(names: impl Iterator<Item = &'static str>, from: &Value, to: &Value) -> Map<String, Value> {
    let field = |object: &Value, name: &str| object.get(name).cloned().unwrap_or_default();
    names.filter_map(|name| Some((name.to_owned(), merge_patch_value(&field(from, name), &field(to, name))?))).collect()
}

fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn merge_patch_value(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        _ if from == to || (is_empty_value(from) && is_empty_value(to)) => None,
        (Value::Object(from), Value::Object(to)) => {
            let removed = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = to.iter().filter_map(|(key, value)| {
                Some((key.clone(), merge_patch_value(from.get(key).unwrap_or(&Value::Null), value)?))
            });
            let fields: Map<String, Value> = removed.chain(changed).collect();
            Some(Value::Object(fields))
        }
        (_, to) => Some(to.clone()),
    }
}

/// Returns the write that undoes `write`. `before` is the object before `write`; `None` if it did not exist.
///
/// Returns `None` if there is nothing to undo.
///
/// # Errors
/// `write` does not fit `before`: it creates an object that exists, or changes one that does not.
pub(crate) fn inverse_write(
    write: &WriteRequest,
    before: Option<&Value>,
) -> Result<Option<WriteRequest>, InternalError> {
    Ok(match (write, before) {
        (WriteRequest::Create(_), None) => Some(WriteRequest::Delete),
        (WriteRequest::Patch(body), Some(before)) => {
            let mut after = before.clone();
            super::write::apply_merge_patch(&mut after, body);
            create_merge_patch(&after, before).map(WriteRequest::Patch)
        }
        (WriteRequest::Delete, Some(before)) => Some(WriteRequest::Create(strip_server_fields(before))),
        (WriteRequest::Create(_), Some(_)) | (WriteRequest::Patch(_) | WriteRequest::Delete, None) => {
            let existed = if before.is_some() { "existed" } else { "did not exist" };
            let verb = write.verb();
            return Err(InternalError::new(format!("a {verb} cannot be undone: the object {existed} before it")));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::write::{apply_merge_patch, prune_empty};

    #[test]
    fn inverse_of_a_patch_restores_the_object() {
        let before = json!({
            "metadata": { "name": "aws-auth", "annotations": { "kept": "yes", "rolecall/entries": "old" }, "uid": "u" },
            "data": { "mapRoles": "- a # why\r\n", "mapUsers": "", "other": "kept" },
        });
        for body in [
            json!({ "data": { "mapRoles": "x", "mapUsers": null, "mapAccounts": "new" } }),
            json!({ "metadata": { "annotations": { "rolecall/entries": null }, "labels": { "l": "1" } } }),
            json!({ "data": null, "metadata": { "annotations": null } }),
        ] {
            let inverse = inverse_write(&WriteRequest::Patch(body.clone()), Some(&before));
            let Ok(Some(WriteRequest::Patch(inverse))) = inverse else {
                panic!("{body} has no inverse");
            };
            let mut object = before.clone();
            apply_merge_patch(&mut object, &body);
            assert_ne!(object, before, "{body}");
            apply_merge_patch(&mut object, &inverse);
            assert_eq!(prune_empty(&object), prune_empty(&before), "{body}, then {inverse}");
        }
    }

    #[test]
    fn rules_of_an_aggregated_role_are_not_restored() {
        let before = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1] });
        let now = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1, 2] });
        assert_eq!(create_merge_patch(&now, &before), None);
        let plain = json!({ "rules": [1, 2] });
        let patch = create_merge_patch(&plain, &before).unwrap();
        assert_eq!(patch, json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1] }));
        let empty = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": null });
        assert_eq!(create_merge_patch(&plain, &empty).unwrap()["rules"], Value::Null);
    }
}
