//! Anchors, aliases and merge keys.

use serde_json::json as value;

use super::{parse_error, parse_json};
use crate::yaml::{Decoded, parse_documents};

#[test]
fn alias_resolves_to_latest_anchor() {
    assert_eq!(parse_json("- &a [x, z]\n- *a\n- b: *a"), value!([["x", "z"], ["x", "z"], {"b": ["x", "z"]}]));
    assert_eq!(parse_json("&k a: &v 017\nb: *v\nc: *k"), value!({"a": 15, "b": 15, "c": "a"}));
    assert_eq!(parse_json("- &a x\n- *a\n- &a z\n- *a"), value!(["x", "x", "z", "z"]));
    assert_eq!(parse_json("- &a\n- *a"), value!([null, null]));
    assert_eq!(parse_json("- &a !!str 1\n- !!str &b 2\n- [*a, *b]"), value!(["1", "2", ["1", "2"]]));
}

#[test]
fn alias_before_or_inside_its_anchor_is_refused() {
    assert_eq!(parse_error("- *a\n- &a x"), "line 1, column 3: unknown anchor `a`");
    assert_eq!(parse_error("&a [x, *a]"), "line 1, column 8: anchor `a` contains itself");
    assert_eq!(parse_error("a: &x {b: *x}"), "line 1, column 11: anchor `x` contains itself");
    parse_error("- & x");
    parse_error("- &é x");
}

#[test]
fn anchor_is_not_visible_in_next_document() {
    assert_eq!(parse_error("- &a x\n---\n- *a"), "line 3, column 3: unknown anchor `a`");
}

#[test]
fn merge_key_overrides_earlier_keys_and_yields_to_later_keys() {
    let base = "- &m {a: 1, b: 2}\n";
    let second = |entry: &str| parse_json(&format!("{base}- {entry}"))[1].clone();
    assert_eq!(second("{<<: *m, b: 3}"), value!({"a": 1, "b": 3}));
    assert_eq!(second("{b: 3, <<: *m}"), value!({"a": 1, "b": 2}));
    assert_eq!(second("<<: [{a: 5}, *m]\n  c: 4"), value!({"a": 5, "b": 2, "c": 4}));
    assert_eq!(second("<<: {b: {c: d}}"), value!({"b": {"c": "d"}}));
    assert_eq!(second("\"<<\": *m"), value!({"<<": {"a": 1, "b": 2}}));
    assert_eq!(second("!!merge <<: *m"), value!({"a": 1, "b": 2}));
    assert_eq!(
        parse_error("a: x\n<<: y"),
        "line 2, column 5: the value of `<<` must be a mapping or a list of mappings"
    );
}

#[test]
fn fields_record_merge_and_source_line() {
    let documents = parse_documents("- &m {a: 1}\n- <<: *m\n  b: 2\n").unwrap();
    let resolved = documents[0].decode().unwrap();
    let Decoded::Sequence(items) = resolved.content else { panic!("{resolved:?}") };
    let Decoded::Mapping(fields) = &items[1].content else { panic!("{items:?}") };
    let fields: Vec<_> =
        fields.iter().map(|field| (field.name.as_str(), field.merged, field.written_value.line)).collect();
    assert_eq!(fields, [("a", true, 1), ("b", false, 3)]);
}

#[test]
fn excessive_aliasing_is_refused() {
    let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let tens = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("- &a{level} [{tens}]\n"));
    }
    assert!(parse_error(&bomb).ends_with("document contains excessive aliasing"), "{}", parse_error(&bomb));
    let big = format!("- &a {}\n{}", "x".repeat(1 << 20), "- *a\n".repeat(100));
    assert!(parse_error(&big).ends_with("document contains excessive aliasing"));
}
