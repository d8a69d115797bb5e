//! Strings written as scalars that parse back to the same string.

use proptest::prelude::*;
use serde_json::json as value;

use super::parse_json;
use crate::yaml::{double_quoted, is_plain_safe, quoted};

/// Random strings that often contain characters and words that are special in YAML.
pub(super) fn text() -> impl Strategy<Value = String> {
    let special = r"[-?:,\[\]{}#&*!|>'%@`\\/=<~\t\r\n .+_0-9eExXoObinfyYnN\x{85}\x{a0}\x{2028}\x{2029}\x{feff}\x{fffd}\x{1}\x{7f}é😀]{0,8}";
    let words = "(yes|No|on|~|null|\\.inf|\\.nan|017|0x1F|1e3|<<|=|---|\\.\\.\\.|2020-01-01|\\{\\{SessionName\\}\\})";
    prop_oneof![3 => special, 1 => words, 1 => ".*", 1 => "[a-zA-Z0-9._/@+=,:{}-]{0,20}"]
}

#[test]
fn only_unambiguous_names_are_plain() {
    for plain in
        ["admin", "system:node:{{EC2PrivateDNSName}}", "arn:aws:iam::111122223333:role/a", "a,b", "a-b_c@d+e=f"]
    {
        assert_eq!(quoted(plain), plain);
    }
    for (text, written) in [
        ("", "\"\""),
        ("yes", "\"yes\""),
        ("NO", "\"NO\""),
        ("y", "\"y\""),
        ("tRue", "\"tRue\""),
        ("nan", "\"nan\""),
        ("017", "\"017\""),
        ("{{SessionName}}", "\"{{SessionName}}\""),
        ("a:", "\"a:\""),
        ("a b", "\"a b\""),
        ("-", "\"-\""),
        ("é", "\"é\""),
        ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ("a\tb\r\n", "\"a\\tb\\r\\n\""),
        ("\u{0}\u{85}\u{2028}\u{feff}\u{202e}", "\"\\u0000\\u0085\\u2028\\ufeff\\u202e\""),
    ] {
        assert_eq!(quoted(text), written, "{text:?}");
    }
    assert!(is_plain_safe("system:masters"));
    assert!(!is_plain_safe("a,b") && !is_plain_safe("{{X}}") && !is_plain_safe("a{b}") && !is_plain_safe("yes"));
}

proptest! {
    #[test]
    fn quoted_string_round_trips_as_key_item_and_value(text in text()) {
        for written in [quoted(&text), double_quoted(&text)] {
            prop_assert!(!written.contains(['\n', '\r']));
            let yaml = format!("{written}: x\nlist:\n- {written} # c\n- k: {written}");
            let expected = value!({text.clone(): "x", "list": [text, {"k": text}]});
            prop_assume!(text != "list");
            prop_assert_eq!(parse_json(&yaml), expected, "{}", yaml);
        }
    }

    #[test]
    fn double_quoted_string_round_trips_in_flow_style_and_json(text in text()) {
        let written = double_quoted(&text);
        prop_assert_eq!(parse_json(&format!("[{written},{written}]")), value!([text, text]));
        prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text.clone());
        if is_plain_safe(&text) {
            prop_assert_eq!(parse_json(&format!("{{{text}: [{text}]}}")), value!({text.clone(): [text]}));
        }
    }
}
