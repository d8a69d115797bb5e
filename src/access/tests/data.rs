//! Serialized request sets, evaluated by an independent implementation of their schema.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::{binding, cluster_role, state};
use super::random::{all_requests, state_pair};
use crate::access::{AccessView, Aggregation, Request, RequestSetData, diff_access};
use crate::report::RequestsJson;
use crate::state::State;

fn lists(words: &Value, word: &str) -> bool {
    let among = |list: &Value| list.as_array().unwrap().iter().any(|one| one == word);
    match (words.get("only"), words.get("all-except")) {
        (Some(only), None) => among(only),
        (None, Some(but)) => !among(but),
        _ => panic!("not a set of strings: {words}"),
    }
}

fn matches(pattern: &str, url: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == url, |begin| url.starts_with(begin))
}

fn in_set(set: &Value, request: &Request) -> bool {
    match request {
        Request::Object(asked) => set.get("resource").is_some_and(|set| {
            let resource =
                |one: &Value| lists(&one["names"], &asked.resource) && lists(&one["subresources"], &asked.subresource);
            lists(&set["verbs"], &asked.verb)
                && lists(&set["api-groups"], &asked.group)
                && lists(&set["resource-names"], &asked.name)
                && lists(&set["namespaces"], &asked.namespace)
                && set["resources"].as_array().unwrap().iter().any(resource)
        }),
        Request::Url { verb, path } => set.get("non-resource").is_some_and(|set| {
            let mut patterns = set["urls"].as_array().unwrap().iter();
            let last = patterns.rfind(|one| matches(one["pattern"].as_str().unwrap(), path));
            lists(&set["verbs"], verb) && last.is_some_and(|one| one["included"] == true)
        }),
    }
}

fn contains(requests: &Value, request: &Request) -> bool {
    let except = requests["except"].as_array().unwrap();
    in_set(&requests["set"], request) && !except.iter().any(|set| in_set(set, request))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn serialized_request_set_matches_the_same_requests((first, second) in state_pair()) {
        let (before, after) = AccessView::pair(&first, &second, Aggregation::Reconciled);
        let all_requests = all_requests();
        for row in diff_access(&before, &after) {
            for part in row.permissions.gained.iter().chain(&row.permissions.lost) {
                let requests = RequestSetData::from_request_set(&part.requests);
                let data = serde_json::to_value(RequestsJson::from(&requests)).unwrap();
                for request in &all_requests {
                    let expected = part.requests.contains(request);
                    prop_assert_eq!(contains(&data, request), expected, "{}: {} in {}", part.requests, request, data);
                }
                let read = serde_json::from_value::<RequestsJson>(data).unwrap();
                prop_assert_eq!(RequestSetData::from(read), requests);
            }
        }
    }
}

#[test]
fn serialized_request_set_has_exceptions() {
    let reader = |rules: &str| state(&(cluster_role("r", "{}", rules) + &binding("b", None, "r", ("Group", "g"))));
    let gained = |before: &State, after: &State| -> Vec<Value> {
        let (before, after) =
            (AccessView::new(before, Aggregation::Reconciled), AccessView::new(after, Aggregation::Reconciled));
        let rows = diff_access(&before, &after);
        let parts = rows.iter().flat_map(|row| &row.permissions.gained);
        parts
            .map(|part| {
                serde_json::to_value(RequestsJson::from(&RequestSetData::from_request_set(&part.requests))).unwrap()
            })
            .collect()
    };
    let pods = reader("[{verbs: [get], apiGroups: [''], resources: [pods]}]");
    let all =
        reader("[{verbs: [get], apiGroups: ['*'], resources: ['*']}, {verbs: [get], nonResourceURLs: ['/api/*']}]");
    assert_eq!(
        gained(&pods, &all),
        [
            json!({
                "set": { "resource": {
                    "verbs": { "only": ["get"] },
                    "api-groups": { "all-except": [] },
                    "resources": [{ "names": { "all-except": [] }, "subresources": { "all-except": [] } }],
                    "resource-names": { "all-except": [] },
                    "namespaces": { "all-except": [] },
                } },
                "except": [{ "resource": {
                    "verbs": { "only": ["get"] },
                    "api-groups": { "only": [""] },
                    "resources": [{ "names": { "only": ["pods"] }, "subresources": { "only": [""] } }],
                    "resource-names": { "all-except": [] },
                    "namespaces": { "all-except": [] },
                } }],
            }),
            json!({
                "set": { "non-resource": {
                    "verbs": { "only": ["get"] },
                    "urls": [{ "pattern": "/api/*", "included": true }],
                } },
                "except": [],
            }),
        ]
    );
}
