//! Lists and mappings in block style and flow style.

use serde_json::json as value;

use super::{parse_error, parse_json};

#[test]
fn list_can_start_in_column_of_its_key() {
    assert_eq!(parse_json("a:\n- b\n- c\nd: e"), value!({"a": ["b", "c"], "d": "e"}));
    assert_eq!(parse_json("a:\n  - b\n  -\n  - c"), value!({"a": ["b", null, "c"]}));
    assert_eq!(parse_json("- - a\n  - b\n-\n  - c\n- - - d"), value!([["a", "b"], ["c"], [["d"]]]));
}

#[test]
fn any_deeper_column_nests() {
    assert_eq!(parse_json("a:\n     b: c\n     d:\n      e: f"), value!({"a": {"b": "c", "d": {"e": "f"}}}));
    assert_eq!(parse_json("-    a: b\n     c: d"), value!([{"a": "b", "c": "d"}]));
    assert_eq!(parse_error("a:\n    b: c\n  d: e"), "line 3, column 3: did not find expected key");
    assert_eq!(parse_error("-    a: b\n   c: d"), "line 2, column 4: did not find expected '-' indicator");
}

#[test]
fn json_is_valid_yaml() {
    let text = r#"{"a": [1, 2.5, true, null, "x\ty\u00e9"], "b": {}, "c": [], "d":"e", "f":1}"#;
    assert_eq!(parse_json(text), serde_json::from_str::<serde_json::Value>(text).unwrap());
}

#[test]
fn flow_collections_allow_line_breaks_trailing_commas_and_comments() {
    assert_eq!(parse_json("[a, # b\n c,\n]"), value!(["a", "c"]));
    assert_eq!(
        parse_json("{a: b, c, d: , ? e : f, \"g\":h,}"),
        value!({"a": "b", "c": null, "d": null, "e": "f", "g": "h"})
    );
    assert_eq!(parse_json("[a: b, ? c, {d}]"), value!([{"a": "b"}, {"c": null}, {"d": null}]));
    assert_eq!(parse_json("a: [b, [c], {d: [e]}]"), value!({"a": ["b", ["c"], {"d": ["e"]}]}));
    assert_eq!(parse_json("[a b, c]"), value!(["a b", "c"]));
    assert_eq!(parse_json("{a:b}"), value!({"a:b": null}));
    parse_error("[a,, b]");
    parse_error("[a b: c");
    parse_error("{a: b}}");
}

#[test]
fn explicit_key_without_value_is_null() {
    assert_eq!(parse_json("? a\n: b\n? c\nd: e"), value!({"a": "b", "c": null, "d": "e"}));
    assert_eq!(parse_json("? |\n  a\n: - b\n  - c"), value!({"a\n": ["b", "c"]}));
}

#[test]
fn keys_become_strings_and_last_duplicate_wins() {
    assert_eq!(parse_json("a: 1\nb: 2\na: 3"), value!({"a": 3, "b": 2}));
    assert_eq!(parse_json("1: a\nyes: b\n1.5: c\n017: d"), value!({"1": "a", "15": "d", "1.5": "c", "true": "b"}));
    assert_eq!(parse_json("1: a\n\"1\": b"), value!({"1": "b"}));
    assert_eq!(parse_error("~: a"), "line 1, column 1: a mapping key cannot be null");
    assert_eq!(parse_error("[a]: b"), "line 1, column 1: a mapping key must be a scalar");
    assert_eq!(parse_error("? [a]\n: b"), "line 1, column 3: a mapping key must be a scalar");
    assert_eq!(parse_error("18446744073709551615: a"), "line 1, column 1: a mapping key cannot be a number this large");
}

#[test]
fn json_keys_are_sorted() {
    let keys = |text| parse_json(text).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("username: a\nUsername: b\nrolearn: c"), ["Username", "rolearn", "username"]);
}

#[test]
fn nesting_depth_is_limited() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    parse_json(&deep(120));
    assert_eq!(parse_error(&deep(200)), "line 1, column 129: nested more than 128 levels deep");
    parse_error(&"[".repeat(100_000));
    parse_error(&"- ".repeat(100_000));
    parse_error(&"? ".repeat(100_000));
}
