//! Reduces a counterexample to a small one that still shows the difference, so that the cause is easy to read.

use serde_json::Value;

/// The limit on attempts per difference. Every attempt writes a state to the API server.
pub(super) const MAX_ATTEMPTS: usize = 400;

/// Removes list items and map keys, large parts first, and keeps every removal after which `differs` still returns
/// true.
pub(super) fn shrink(whole: &Value, max_attempts: usize, differs: &mut dyn FnMut(&Value) -> bool) -> Value {
    let mut smallest = whole.clone();
    let mut remaining = max_attempts;
    loop {
        let before = smallest.clone();
        for path in collection_paths(&smallest) {
            shrink_collection(&mut smallest, &path, &mut remaining, differs);
        }
        if smallest == before || remaining == 0 {
            return smallest;
        }
    }
}

/// Returns the JSON pointers to all arrays and objects in `value`, outer ones first.
fn collection_paths(value: &Value) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
        match value.pointer(&path) {
            Some(Value::Array(list)) => paths.extend((0..list.len()).map(|index| format!("{path}/{index}"))),
            Some(Value::Object(map)) => paths.extend(map.keys().map(|key| format!("{path}/{}", escape(key)))),
            _ => {}
        }
        next += 1;
    }
    paths.retain(|path| value.pointer(path).is_some_and(|value| value.is_array() || value.is_object()));
    paths
}

/// Tries to remove the whole list or map, then halves, then quarters, and finally single elements.
fn shrink_collection(whole: &mut Value, path: &str, remaining: &mut usize, differs: &mut dyn FnMut(&Value) -> bool) {
    let length = |whole: &Value| match whole.pointer(path) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    };
    let mut chunk = length(whole);
    while chunk > 0 {
        let mut start = 0;
        while start < length(whole) && *remaining > 0 {
            let mut candidate = whole.clone();
            match candidate.pointer_mut(path) {
                Some(Value::Array(list)) => {
                    list.drain(start..(start + chunk).min(list.len()));
                }
                Some(Value::Object(map)) => {
                    let removed: Vec<String> = map.keys().skip(start).take(chunk).cloned().collect();
                    map.retain(|key, _| !removed.contains(key));
                }
                _ => return,
            }
            *remaining -= 1;
            if differs(&candidate) {
                *whole = candidate;
            } else {
                start += chunk;
            }
        }
        chunk /= 2;
    }
}

mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::tests::fixture::{parse_request, subject_query};
    use crate::access::tests::real::case::RandomCase;
    use crate::access::{AccessDecision, AccessView, Aggregation, rule_allows};

    const LOG: &str = "get pods/log named a -n real-a";

    /// Returns an evaluator with one bug: `pods/*` matches the subresources of pods.
    fn allows_with_bug(case: &RandomCase) -> bool {
        let state = case.to_state().unwrap();
        let log = parse_request(LOG);
        let allows = |rule: &crate::state::rbac::Rule| {
            let mut rule = rule.clone();
            if rule.resources.iter().any(|word| word == "pods/*") {
                rule.resources.push("pods/log".to_owned());
            }
            rule_allows(&rule, &log)
        };
        let access = AccessView::new(&state, Aggregation::AsStored);
        let in_scope = |namespace: Option<&str>| namespace.is_none_or(|namespace| namespace == "real-a");
        access
            .effective_rules(&subject_query("user:u1"))
            .iter()
            .any(|granted| in_scope(granted.namespace) && allows(granted.path.rule))
    }

    fn allows(case: &RandomCase) -> bool {
        let state = case.to_state().unwrap();
        let access = AccessView::new(&state, Aggregation::AsStored);
        access.can(&subject_query("user:u1"), &parse_request(LOG)).decision == AccessDecision::Allowed
    }

    #[test]
    fn counterexample_shrinks_to_one_binding_and_one_rule() {
        let counterexample = (0..1000)
            .map(RandomCase::random)
            .find(|case| case.to_state().is_ok() && allows_with_bug(case) != allows(case))
            .unwrap();
        let mut attempts = 0;
        let small = shrink(counterexample.value(), MAX_ATTEMPTS, &mut |value| {
            attempts += 1;
            let case = RandomCase::from_value(value.clone());
            case.is_valid() && allows_with_bug(&case) != allows(&case)
        });
        let objects = small["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 2, "{small:#}");
        let (binding, role): (Vec<&Value>, Vec<&Value>) =
            objects.iter().partition(|object| object["roleRef"].is_object());
        assert_eq!(binding[0]["subjects"].as_array().unwrap().len(), 1, "{small:#}");
        assert_eq!(role[0]["rules"].as_array().unwrap().len(), 1, "{small:#}");
        assert_eq!(role[0]["rules"][0]["resources"], json!(["pods/*"]));
        assert_eq!(role[0]["rules"][0]["verbs"].as_array().unwrap().len(), 1);
        assert!(small["awsAuth"].as_object().is_none_or(serde_json::Map::is_empty), "{small:#}");
        assert!(attempts <= MAX_ATTEMPTS && counterexample.value().to_string().len() > 2 * small.to_string().len());
    }

    #[test]
    fn shrink_respects_limit_of_attempts() {
        let whole = json!({ "objects": (0..500).collect::<Vec<_>>() });
        let mut attempts = 0;
        let small = shrink(&whole, 30, &mut |_| {
            attempts += 1;
            false
        });
        assert_eq!((small, attempts), (whole, 30));
    }
}
