//! The merge patch that leads an object back to what it was: what access and its marks are made of, and nothing else.

use serde_json::{Map, Value};

use super::write::Write;

/// Fields that belong to the API server, or to one life of an object.
const OF_THE_SERVER: [&str; 8] = [
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
const PARTS: [&str; 6] = ["data", "binaryData", "immutable", "rules", "aggregationRule", "subjects"];
const OF_METADATA: [&str; 2] = ["labels", "annotations"];

/// The body that makes an object anew.
pub(crate) fn anew(object: &Value) -> Value {
    let mut body = object.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !OF_THE_SERVER.contains(&field.as_str()));
    }
    body
}

/// The patch from `now` to `then`; nothing where they do not differ.
pub(crate) fn patch(now: &Value, then: &Value) -> Option<Value> {
    // What an aggregated role has of rules its controller fills in.
    let filled = then.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    let own = PARTS.into_iter().filter(|part| !(filled && *part == "rules"));
    let mut out = changed(own, now, then);
    let metadata = |object: &Value| object.get("metadata").cloned().unwrap_or_default();
    let marks = changed(OF_METADATA.into_iter(), &metadata(now), &metadata(then));
    if !marks.is_empty() {
        out.insert("metadata".to_owned(), Value::Object(marks));
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn changed(parts: impl Iterator<Item = &'static str>, now: &Value, then: &Value) -> Map<String, Value> {
    let part = |object: &Value, name: &str| object.get(name).cloned().unwrap_or_default();
    parts.filter_map(|name| Some((name.to_owned(), difference(&part(now, name), &part(then, name))?))).collect()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn difference(now: &Value, then: &Value) -> Option<Value> {
    match (now, then) {
        _ if now == then || (is_nothing(now) && is_nothing(then)) => None,
        (Value::Object(now), Value::Object(then)) => {
            let gone = now.keys().filter(|key| !then.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let other = then.iter().filter_map(|(key, value)| {
                Some((key.clone(), difference(now.get(key).unwrap_or(&Value::Null), value)?))
            });
            let all: Map<String, Value> = gone.chain(other).collect();
            Some(Value::Object(all))
        }
        (_, then) => Some(then.clone()),
    }
}

/// What undoes a write, where `before` is the object as it was.
pub(crate) fn of(write: &Write, before: Option<&Value>) -> Option<Write> {
    match (write, before) {
        (Write::Create(_), None) => Some(Write::Delete),
        (Write::Patch(body), Some(before)) => {
            let mut after = before.clone();
            super::write::merge(&mut after, body);
            patch(&after, before).map(Write::Patch)
        }
        (Write::Delete, Some(before)) => Some(Write::Create(anew(before))),
        (Write::Create(_), Some(_)) | (Write::Patch(_) | Write::Delete, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::write::{merge, without_empty};

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
            let Some(Write::Patch(back)) = of(&Write::Patch(body.clone()), Some(&before)) else {
                panic!("{body} changes something");
            };
            let mut object = before.clone();
            merge(&mut object, &body);
            assert_ne!(object, before, "{body}");
            merge(&mut object, &back);
            assert_eq!(without_empty(&object), without_empty(&before), "{body} and back by {back}");
        }
    }

    #[test]
    fn rules_that_a_controller_fills_in_are_not_put_back() {
        let then = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1] });
        let now = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] }, "rules": [1, 2] });
        assert_eq!(patch(&now, &then), None);
    }
}
