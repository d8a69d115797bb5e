//! Anchors, aliases and merge keys.

use serde_json::json as value;

use super::{parse_error, parse_json};
use crate::yaml::{Decoded, parse_documents};

#[test]
fn an_alias_is_what_its_anchor_is() {
    assert_eq!(parse_json("- &a [x, z]\n- *a\n- b: *a"), value!([["x", "z"], ["x", "z"], {"b": ["x", "z"]}]));
    assert_eq!(parse_json("&k a: &v 017\nb: *v\nc: *k"), value!({"a": 15, "b": 15, "c": "a"}));
    assert_eq!(parse_json("- &a x\n- *a\n- &a z\n- *a"), value!(["x", "x", "z", "z"]));
    assert_eq!(parse_json("- &a\n- *a"), value!([null, null]));
    assert_eq!(parse_json("- &a !!str 1\n- !!str &b 2\n- [*a, *b]"), value!(["1", "2", ["1", "2"]]));
}

#[test]
fn an_anchor_must_come_first_and_not_hold_itself() {
    assert_eq!(parse_error("- *a\n- &a x"), "line 1, column 3: unknown anchor `a`");
    assert_eq!(parse_error("&a [x, *a]"), "line 1, column 8: the anchor `a` contains itself");
    assert_eq!(parse_error("a: &x {b: *x}"), "line 1, column 11: the anchor `x` contains itself");
    parse_error("- & x");
    parse_error("- &é x");
}

#[test]
fn an_anchor_ends_with_its_document() {
    assert_eq!(parse_error("- &a x\n---\n- *a"), "line 3, column 3: unknown anchor `a`");
}

#[test]
fn a_merge_key_yields_to_what_stands_behind_it_and_beats_what_stands_before() {
    let base = "- &m {a: 1, b: 2}\n";
    let second = |entry: &str| parse_json(&format!("{base}- {entry}"))[1].clone();
    assert_eq!(second("{<<: *m, b: 3}"), value!({"a": 1, "b": 3}));
    assert_eq!(second("{b: 3, <<: *m}"), value!({"a": 1, "b": 2}));
    assert_eq!(second("<<: [{a: 5}, *m]\n  c: 4"), value!({"a": 5, "b": 2, "c": 4}));
    assert_eq!(second("<<: {b: {c: d}}"), value!({"b": {"c": "d"}}));
    assert_eq!(second("\"<<\": *m"), value!({"<<": {"a": 1, "b": 2}}));
    assert_eq!(second("!!merge <<: *m"), value!({"a": 1, "b": 2}));
    assert_eq!(parse_error("a: x\n<<: y"), "line 2, column 5: `<<` needs a mapping or a list of mappings");
}

#[test]
fn a_field_knows_whether_it_came_by_a_merge_and_where_it_was_written() {
    let documents = parse_documents("- &m {a: 1}\n- <<: *m\n  b: 2\n").unwrap();
    let resolved = documents[0].decode().unwrap();
    let Decoded::Sequence(items) = resolved.content else { panic!("{resolved:?}") };
    let Decoded::Mapping(fields) = &items[1].content else { panic!("{items:?}") };
    let told: Vec<_> =
        fields.iter().map(|field| (field.name.as_str(), field.merged, field.written_value.line)).collect();
    assert_eq!(told, [("a", true, 1), ("b", false, 3)]);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let tens = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("- &a{level} [{tens}]\n"));
    }
    assert!(parse_error(&bomb).ends_with("the document repeats too much by aliases"), "{}", parse_error(&bomb));
    let big = format!("- &a {}\n{}", "x".repeat(1 << 20), "- *a\n".repeat(100));
    assert!(parse_error(&big).ends_with("the document repeats too much by aliases"));
}
