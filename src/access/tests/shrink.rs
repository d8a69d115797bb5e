//! Makes a state that shows a difference as small as shows it still, so that a person can read why.

use serde_json::Value;

/// How often the server may be asked, at most, about one difference.
pub(super) const TRIES: usize = 400;

/// Takes away list elements and optional fields as long as `differs` says yes of the rest, the large parts first.
pub(super) fn shrink(whole: &Value, tries: usize, differs: &mut dyn FnMut(&Value) -> bool) -> Value {
    let mut smallest = whole.clone();
    let mut left = tries;
    loop {
        let before = smallest.clone();
        for list in places(&smallest) {
            shrink_list(&mut smallest, &list, &mut left, differs);
        }
        if smallest == before || left == 0 {
            return smallest;
        }
    }
}

/// The lists and maps of a value, outer ones before what is in them.
fn places(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        let escape = |key: &String| key.replace('~', "~0").replace('/', "~1");
        match value.pointer(&path) {
            Some(Value::Array(list)) => found.extend((0..list.len()).map(|index| format!("{path}/{index}"))),
            Some(Value::Object(map)) => found.extend(map.keys().map(|key| format!("{path}/{}", escape(key)))),
            _ => {}
        }
        at += 1;
    }
    found.retain(|path| value.pointer(path).is_some_and(|one| one.is_array() || one.is_object()));
    found
}

/// Halves first, then quarters, at last single elements.
fn shrink_list(whole: &mut Value, place: &str, left: &mut usize, differs: &mut dyn FnMut(&Value) -> bool) {
    let length = |whole: &Value| match whole.pointer(place) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    };
    let mut chunk = length(whole);
    while chunk > 0 {
        let mut from = 0;
        while from < length(whole) && *left > 0 {
            let mut without = whole.clone();
            match without.pointer_mut(place) {
                Some(Value::Array(list)) => {
                    list.drain(from..(from + chunk).min(list.len()));
                }
                Some(Value::Object(map)) => {
                    let gone: Vec<String> = map.keys().skip(from).take(chunk).cloned().collect();
                    map.retain(|key, _| !gone.contains(key));
                }
                _ => return,
            }
            *left -= 1;
            if differs(&without) {
                *whole = without;
            } else {
                from += chunk;
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

    /// An evaluator that is wrong in one point: it takes `pods/*` for the subresources of pods.
    fn wrong(case: &RandomCase) -> bool {
        let state = case.to_state().unwrap();
        let log = parse_request(LOG);
        let shown = |rule: &crate::state::rbac::Rule| {
            let mut rule = rule.clone();
            if rule.resources.iter().any(|word| word == "pods/*") {
                rule.resources.push("pods/log".to_owned());
            }
            rule_allows(&rule, &log)
        };
        let access = AccessView::new(&state, Aggregation::AsStored);
        let counts = |namespace: Option<&str>| namespace.is_none_or(|namespace| namespace == "real-a");
        access
            .effective_rules(&subject_query("user:u1"))
            .iter()
            .any(|held| counts(held.namespace) && shown(held.path.rule))
    }

    fn right(case: &RandomCase) -> bool {
        let state = case.to_state().unwrap();
        let access = AccessView::new(&state, Aggregation::AsStored);
        access.can(&subject_query("user:u1"), &parse_request(LOG)).decision == AccessDecision::Allowed
    }

    #[test]
    fn what_a_wrong_evaluator_gets_wrong_shrinks_to_one_word_of_each() {
        let found = (0..1000)
            .map(RandomCase::random)
            .find(|case| case.to_state().is_ok() && wrong(case) != right(case))
            .unwrap();
        let mut asked = 0;
        let small = shrink(found.value(), TRIES, &mut |value| {
            asked += 1;
            let case = RandomCase::from_value(value.clone());
            case.is_valid() && wrong(&case) != right(&case)
        });
        let objects = small["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 2, "{small:#}");
        let (binding, role): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(|one| one["roleRef"].is_object());
        assert_eq!(binding[0]["subjects"].as_array().unwrap().len(), 1, "{small:#}");
        assert_eq!(role[0]["rules"].as_array().unwrap().len(), 1, "{small:#}");
        assert_eq!(role[0]["rules"][0]["resources"], json!(["pods/*"]));
        assert_eq!(role[0]["rules"][0]["verbs"].as_array().unwrap().len(), 1);
        assert!(small["awsAuth"].as_object().is_none_or(serde_json::Map::is_empty), "{small:#}");
        assert!(asked <= TRIES && found.value().to_string().len() > 2 * small.to_string().len());
    }

    #[test]
    fn it_asks_no_more_often_than_it_may() {
        let whole = json!({ "objects": (0..500).collect::<Vec<_>>() });
        let mut asked = 0;
        let small = shrink(&whole, 30, &mut |_| {
            asked += 1;
            false
        });
        assert_eq!((small, asked), (whole, 30));
    }
}
