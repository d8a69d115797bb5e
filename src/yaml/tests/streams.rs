//! Line breaks, byte order marks, directives and several documents.

use serde_json::{Value as Json, json as value};

use super::{parse_error, parse_json};
use crate::yaml::{parse_documents, parse_first_document};

fn parse_all(text: &str) -> Vec<Json> {
    parse_documents(text).unwrap().iter().map(|document| document.to_json().unwrap()).collect()
}

#[test]
fn all_line_breaks_of_yaml_1_1_are_recognized() {
    for line_break in ["\n", "\r\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"] {
        let text = "a: b\nc:\n- d\n# e\n- f\n".replace('\n', line_break);
        assert_eq!(parse_json(&text), value!({"a": "b", "c": ["d", "f"]}), "{line_break:?}");
    }
}

#[test]
fn line_breaks_inside_scalars_are_normalized() {
    assert_eq!(parse_json("a: |\r\n  b\r\n  c\r\nd: 'e\r\n\r\n  f'\r\n"), value!({"a": "b\nc\n", "d": "e\nf"}));
    assert_eq!(parse_json("a: |\n  b\u{2028}  c\n"), value!({"a": "b\u{2028}c\n"}));
}

#[test]
fn byte_order_mark_is_allowed_only_at_the_start() {
    assert_eq!(parse_json("\u{feff}a: b\n"), value!({"a": "b"}));
    assert_eq!(parse_json("\u{feff}# c\n- a"), value!(["a"]));
    assert_eq!(parse_error("a: b\nc: \u{feff}d"), "line 2, column 4: a byte order mark inside the text is not allowed");
    assert_eq!(parse_error("\u{feff}\u{feff}a"), "line 1, column 1: a byte order mark inside the text is not allowed");
}

#[test]
fn control_characters_are_refused_at_their_position() {
    assert_eq!(parse_error("a: b\n- \u{1}"), "line 2, column 3: control character U+0001 is not allowed");
    assert_eq!(parse_error("é\u{7f}"), "line 1, column 2: control character U+007F is not allowed");
    assert_eq!(parse_error("a\u{0}"), "line 1, column 2: control character U+0000 is not allowed");
}

#[test]
fn text_can_have_any_number_of_documents() {
    assert_eq!(parse_all(""), Vec::<Json>::new());
    assert_eq!(parse_all("# c\n\n"), Vec::<Json>::new());
    assert_eq!(parse_all("---"), [Json::Null]);
    assert_eq!(parse_all("---\n---\n"), [Json::Null, Json::Null]);
    assert_eq!(parse_all("a\n---\nb\n...\n---\n# c\n--- d\n"), [value!("a"), value!("b"), Json::Null, value!("d")]);
    assert_eq!(parse_all("--- |\n  a\n...\n"), [value!("a\n")]);
}

#[test]
fn document_marker_is_recognized_only_at_line_start() {
    assert_eq!(parse_json("a: b --- c\nd: ---e"), value!({"a": "b --- c", "d": "---e"}));
    assert_eq!(parse_all("a\n --- b\n"), [value!("a --- b")]);
    parse_error("a: 'b\n--- c'\n");
}

#[test]
fn only_yaml_1_1_and_tag_directives_are_accepted() {
    assert_eq!(parse_json("%YAML 1.1 # c\n---\na"), value!("a"));
    assert_eq!(parse_error("%YAML 1.2\n---\na"), "line 1, column 1: YAML 1.2 is not supported, only 1.1");
    assert_eq!(parse_error("%YAML 1.1\n%YAML 1.1\n---\na"), "line 2, column 1: duplicate %YAML directive");
    assert_eq!(parse_error("%FOO\n---\na"), "line 1, column 1: unknown directive `%FOO`");
    assert_eq!(parse_error("%YAML 1.1\na"), "line 2, column 1: did not find expected `---`");
}

#[test]
fn first_document_parses_when_the_second_is_invalid() {
    let text = "- a\n---\n- {{ [\n";
    assert_eq!(parse_first_document(text).unwrap().unwrap().to_json().unwrap(), value!(["a"]));
    assert!(parse_documents(text).is_err());
    assert!(parse_first_document("# c").unwrap().is_none());
}
