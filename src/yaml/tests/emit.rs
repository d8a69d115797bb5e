//! The layout of written YAML, and that it parses back to the same value.

use proptest::prelude::*;
use serde_json::{Map, Number, Value as Json, json as value};

use super::{parse_json, quotes};
use crate::yaml::{parse_documents, to_yaml};

#[test]
fn layout_matches_kubectl() {
    let config_map = value!({
        "apiVersion": "v1",
        "data": {"mapRoles": "- rolearn: a\n  groups:\n  - b\n", "mapUsers": "[]\n", "empty": "", "one": "x"},
        "metadata": {"annotations": {}, "finalizers": [], "name": "aws-auth", "labels": {"a/b": "true"}},
        "rules": [{"verbs": ["get", "*"], "apiGroups": [""]}, [1, [2.5]], null, true],
    });
    insta::assert_snapshot!(to_yaml(&config_map), @r#"
    apiVersion: v1
    data:
      mapRoles: |
        - rolearn: a
          groups:
          - b
      mapUsers: "[]\n"
      empty: ""
      one: x
    metadata:
      annotations: {}
      finalizers: []
      name: aws-auth
      labels:
        a/b: "true"
    rules:
    - verbs:
      - get
      - "*"
      apiGroups:
      - ""
    - - 1
      - - 2.5
    - null
    - true
    "#);
}

#[test]
fn multi_line_string_is_literal_only_without_invisible_characters() {
    let written = |text: &str| to_yaml(&value!({ "a": text }));
    assert_eq!(written("b\nc\n"), "a: |\n  b\n  c\n");
    assert_eq!(written("b\n\n  c"), "a: |-\n  b\n\n    c\n");
    for text in ["b \nc", "b\nc\n\n", " b\nc", "\nb\nc", "b\r\nc", "b\n\tc", "b\u{a0}\nc", "\n", "b\n"] {
        let yaml = written(text);
        assert_eq!(yaml.lines().count(), 1, "{yaml}");
        assert_eq!(parse_json(&yaml), value!({"a": text}));
    }
}

#[test]
fn aws_auth_entries_layout() {
    let entries = value!([{"rolearn": "arn:aws:iam::111122223333:role/a", "username": "{{SessionName}}", "groups": ["system:masters", "y"]}]);
    let written = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: \"{{SessionName}}\"\n  groups:\n  - system:masters\n  - \"y\"\n";
    assert_eq!(to_yaml(&entries), written);
}

fn any_value() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        prop::num::f64::NORMAL.prop_filter_map("finite", Number::from_f64),
        (-1000_i32..1000).prop_filter_map("finite", |n| Number::from_f64(f64::from(n) / 8.0)),
    ];
    let lines = prop::collection::vec(quotes::text(), 0..4).prop_map(|lines| lines.join("\n"));
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number.prop_map(Json::Number),
        quotes::text().prop_map(Json::String),
        lines.prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![9 => quotes::text(), 1 => ".{300,400}"];
        let map = prop::collection::btree_map(key, inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Json::Array),
            map.prop_map(|map| Json::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_round_trips(value in any_value()) {
        let text = to_yaml(&value);
        prop_assert!(text.ends_with('\n') && !text.contains('\r'));
        let parsed = parse_json(&text);
        prop_assert_eq!(&parsed, &value, "{}", text);
        let sorted = to_yaml(&parsed);
        prop_assert_eq!(to_yaml(&parse_json(&sorted)), sorted);
    }

    #[test]
    fn documents_between_markers_round_trip(values in prop::collection::vec(any_value(), 1..4)) {
        let text: String = values.iter().map(|value| format!("---\n{}", to_yaml(value))).collect();
        let parsed: Vec<Json> = parse_documents(&text).unwrap().iter().map(|document| document.to_json().unwrap()).collect();
        prop_assert_eq!(parsed, values, "{}", text);
    }
}
