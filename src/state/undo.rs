//! The merge patch that leads an object back to what it was: what access and its marks are made of, and nothing else.

use serde_json::{Map, Value};

use super::write::WriteRequest;

/// Fields that belong to the API server, or to one life of an object.
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
/// What a write of rolecall can change: of an object, and of its metadata.
const CONTENT_FIELDS: [&str; 6] = ["data", "binaryData", "immutable", "rules", "aggregationRule", "subjects"];
const METADATA_FIELDS: [&str; 2] = ["labels", "annotations"];

/// The body that makes an object anew.
pub(crate) fn strip_server_fields(object: &Value) -> Value {
    let mut body = object.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVER_FIELDS.contains(&field.as_str()));
    }
    body
}

/// The patch from `now` to `then`; nothing where they do not differ.
pub(crate) fn create_merge_patch(now: &Value, then: &Value) -> Option<Value> {
    // What an aggregated role has of rules its controller fills in.
    let filled = then.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    let own = CONTENT_FIELDS.into_iter().filter(|part| !(filled && *part == "rules"));
    let mut out = changed_fields(own, now, then);
    let metadata = |object: &Value| object.get("metadata").cloned().unwrap_or_default();
    let marks = changed_fields(METADATA_FIELDS.into_iter(), &metadata(now), &metadata(then));
    if !marks.is_empty() {
        out.insert("metadata".to_owned(), Value::Object(marks));
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn changed_fields(parts: impl Iterator<Item = &'static str>, now: &Value, then: &Value) -> Map<String, Value> {
    let part = |object: &Value, name: &str| object.get(name).cloned().unwrap_or_default();
    parts.filter_map(|name| Some((name.to_owned(), merge_patch_value(&part(now, name), &part(then, name))?))).collect()
}

fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn merge_patch_value(now: &Value, then: &Value) -> Option<Value> {
    match (now, then) {
        _ if now == then || (is_empty_value(now) && is_empty_value(then)) => None,
        (Value::Object(now), Value::Object(then)) => {
            let gone = now.keys().filter(|key| !then.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let other = then.iter().filter_map(|(key, value)| {
                Some((key.clone(), merge_patch_value(now.get(key).unwrap_or(&Value::Null), value)?))
            });
            let all: Map<String, Value> = gone.chain(other).collect();
            Some(Value::Object(all))
        }
        (_, then) => Some(then.clone()),
    }
}

/// What undoes a write, where `before` is the object as it was.
pub(crate) fn inverse_write(write: &WriteRequest, before: Option<&Value>) -> Option<WriteRequest> {
    match (write, before) {
        (WriteRequest::Create(_), None) => Some(WriteRequest::Delete),
        (WriteRequest::Patch(body), Some(before)) => {
            let mut after = before.clone();
            super::write::apply_merge_patch(&mut after, body);
            create_merge_patch(&after, before).map(WriteRequest::Patch)
        }
        (WriteRequest::Delete, Some(before)) => Some(WriteRequest::Create(strip_server_fields(before))),
        (WriteRequest::Create(_), Some(_)) | (WriteRequest::Patch(_) | WriteRequest::Delete, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::write::{apply_merge_patch, prune_empty};

    #[test]
    fn a_patch_and_its_undoing_leave_every_byte() {
        let before = json!({
            "metadata": { "name": "aws-auth", "annotations": { "kept": "yes", "rolecall/entries": "old" }, "uid": "u" },
            "data": { "mapRoles": "- a # why\r\n", "mapUsers": "", "other": "kept" },
        });
        for body in [
            json!({ "data": { "mapRoles": "x", "mapUsers": null, "mapAccounts": "new" } }),
            json!({ "metadata": { "annotations": { "rolecall/entries": null }, "labels": { "l": "1" } } }),
            json!({ "data": null, "metadata": { "annotations": null } }),
        ] {
            let Some(WriteRequest::Patch(back)) = inverse_write(&WriteRequest::Patch(body.clone()), Some(&before))
            else {
                panic!("{body} changes something");
            };
            let mut object = before.clone();
            apply_merge_patch(&mut object, &body);
            assert_ne!(object, before, "{body}");
            apply_merge_patch(&mut object, &back);
            assert_eq!(prune_empty(&object), prune_empty(&before), "{body} and back by {back}");
        }
    }

    #[test]
    fn rules_that_a_controller_fills_in_are_not_put_back() {
        let then = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1] });
        let now = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1, 2] });
        assert_eq!(create_merge_patch(&now, &then), None);
    }
}
