//! Resolution of scalars by the YAML 1.1 rules of go-yaml v2.

use serde_json::{Value as Json, json as value};

use super::{parse_error, parse_json};

#[track_caller]
fn assert_values(texts: &[&str], expected: &Json) {
    for text in texts {
        assert_eq!(parse_json(&format!("- {text}")), value!([expected]), "{text}");
    }
}

#[track_caller]
fn assert_strings(texts: &[&str]) {
    for text in texts {
        assert_values(&[text], &value!(text));
    }
}

#[test]
fn booleans_have_fixed_spellings() {
    assert_values(&["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"], &value!(true));
    assert_values(&["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"], &value!(false));
    assert_strings(&["tRue", "yEs", "oN", "nO", "t", "f", "yess", "on1"]);
}

#[test]
fn null_is_empty_tilde_or_null() {
    assert_values(&["", "~", "null", "Null", "NULL", "# only a comment"], &Json::Null);
    assert_strings(&["nULL", "nil", "None", "~x"]);
}

#[test]
fn integers_can_be_decimal_octal_binary_or_hexadecimal() {
    assert_values(&["0", "-0", "+0", "00", "0x0", "0_0"], &value!(0));
    assert_values(&["15", "+15", "017", "0o17", "0b1111", "0xF", "0xf", "0X0f", "1_5", "1__5_"], &value!(15));
    assert_values(&["-15", "-017", "-0b1111", "0b-1111", "-0xF"], &value!(-15));
    assert_values(&["111122223333"], &value!(111_122_223_333_u64));
    assert_values(&["9223372036854775807"], &value!(i64::MAX));
    assert_values(&["-9223372036854775808"], &value!(i64::MIN));
    assert_values(&["18446744073709551615"], &value!(u64::MAX));
    assert_strings(&["_1", "0b102", "0x", "0xG", "1-1", "- 1x", "1 2", "12e", "0b", "--1", "+-1"][..5]);
}

#[test]
fn account_id_with_leading_zero_is_octal_or_float() {
    assert_values(&["012345670123"], &value!(0o12_345_670_123));
    // The digit 8 is not octal.
    assert_values(&["012345678901"], &value!(12_345_678_901.0));
}

#[test]
fn floats_need_digits_on_one_side_of_the_dot() {
    assert_values(&[".5", "0.5", "+.5", "5e-1", "5E-1", "0.5_0"], &value!(0.5));
    assert_values(&["5.", "5.0", "+5.", "5.e0"], &value!(5.0));
    assert_values(&["1e3", "1.0e+3", "1E3", "1_0e2"], &value!(1000.0));
    assert_values(&["18446744073709551616"], &value!(18_446_744_073_709_551_616.0));
    assert_values(&["-9223372036854775809"], &value!(-9_223_372_036_854_775_809.0));
    assert_strings(&[".", "..", ".e1", "1e", "1e999", "-1e999", "1.2.3", "._5", ".5_", "e3", "1e3.5", "Infinity"]);
}

#[test]
fn infinity_and_nan_are_refused_in_json() {
    for text in [".inf", ".Inf", ".INF", "+.inf", "-.inf", "-.INF", ".nan", ".NaN", ".NAN"] {
        assert_eq!(
            parse_error(&format!("a:\n  {text}")),
            "line 2, column 3: JSON cannot represent this number",
            "{text}"
        );
    }
    assert_strings(&["inf", "nan", "NaN", "Inf", ".iNF", ".Nan", "+.nan", "-inf"]);
}

#[test]
fn dates_times_versions_and_arns_are_strings() {
    assert_strings(&[
        "2020-01-01",
        "2020-01-01T00:00:00Z",
        "12:30:45",
        "1.2.3",
        "=",
        "<",
        "arn:aws:iam::111122223333:role/a",
        "system:node:{{EC2PrivateDNSName}}",
        "a@b.c",
        "/",
        "\\x",
    ]);
}

#[test]
fn indicators_apply_only_at_the_start_or_next_to_whitespace() {
    assert_strings(&["a:b", ":x", "-x", "?x", "a#b", "a'b", "a\"b", "a, b", "a]b", "a{b}", "a*b", "a&b", "a!b", "a%b"]);
    assert_values(&["a #b", "a\t# b", "a  "], &value!("a"));
    assert_values(&["a: b"], &value!({"a": "b"}));
    assert_values(&["a:"], &value!({"a": null}));
    assert_values(&["#a", "&x"], &Json::Null);
    assert_values(&["!x"], &value!(""));
}

#[test]
fn invalid_first_character_is_refused() {
    for start in ["@a", "`a", "%a", "*a", "'a", "\"a", "[a]b", "[a", "{a", "]", "}", ",", "|x", "{{SessionName}}"] {
        parse_error(&format!("- rolearn: {start}\n"));
    }
    assert_eq!(parse_json("a: |-\n  x\nb: '@a'"), value!({"a": "x", "b": "@a"}));
}

#[test]
fn quoted_scalars_are_strings() {
    assert_values(&["'yes'", "\"yes\""], &value!("yes"));
    assert_values(&["'017'", "\"017\""], &value!("017"));
    assert_values(&["''", "\"\""], &value!(""));
    assert_values(&["'it''s'"], &value!("it's"));
    assert_values(&["'a\\n'"], &value!("a\\n"));
    assert_values(&["'# a: b'"], &value!("# a: b"));
}

#[test]
fn escape_sequences_match_go_yaml() {
    let escapes = r#""\0\a\b\t\n\v\f\r\e\ \"\'\\\N\_\L\P\x41\u00e9\U0001F600""#;
    let expected = "\0\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b} \"'\\\u{85}\u{a0}\u{2028}\u{2029}Aé😀";
    assert_values(&[escapes], &value!(expected));
    assert_eq!(parse_error("a: \"\\/\""), "line 1, column 5: unknown escape sequence in a quoted string");
    assert_eq!(parse_error("a: \"\\ud83d\""), "line 1, column 5: the escape sequence is not a Unicode character");
    assert_eq!(
        parse_error("a: \"\\u12g4\""),
        "line 1, column 5: did not find expected hexadecimal digit in an escape sequence"
    );
}

#[test]
fn lines_of_plain_and_quoted_scalars_are_folded() {
    assert_eq!(parse_json("a: b\n  c\n\n  d\n"), value!({"a": "b c\nd"}));
    assert_eq!(parse_json("a: 'b\n  c\n\n\n  d '\n"), value!({"a": "b c\n\nd "}));
    assert_eq!(parse_json("a: \"b \\\n  \\ c\\\n  d\"\n"), value!({"a": "b  cd"}));
    assert_eq!(
        parse_json("- system:bootstrappers\n   - system:nodes\n"),
        value!(["system:bootstrappers - system:nodes"])
    );
}

#[test]
fn literal_scalars_keep_lines_and_folded_scalars_join_them() {
    assert_eq!(parse_json("a: |\n  b\n   c\n\n  d\nb: x"), value!({"a": "b\n c\n\nd\n", "b": "x"}));
    assert_eq!(parse_json("a: >\n  b\n  c\n\n  d\n   e\n  f\n"), value!({"a": "b c\nd\n e\nf\n"}));
    assert_eq!(parse_json("a: |-\n  b\n\n\nb: x"), value!({"a": "b", "b": "x"}));
    assert_eq!(parse_json("a: |+\n  b\n\n\nb: x"), value!({"a": "b\n\n\n", "b": "x"}));
    assert_eq!(parse_json("a: |2\n    b\n"), value!({"a": "  b\n"}));
    assert_eq!(parse_json("a: |1-\n  b\n"), value!({"a": " b"}));
    assert_eq!(parse_json("a: >- # c\n\n  b # d\n"), value!({"a": "\nb # d"}));
    assert_eq!(parse_json("a: |\n"), value!({"a": ""}));
    assert_eq!(
        parse_error("a: |0\n  b"),
        "line 1, column 4: the indentation indicator of a block scalar must be 1 to 9"
    );
}

#[test]
fn tags_select_the_type_and_unknown_tags_mean_string() {
    assert_values(&["!!str 017", "! 017", "!mine 017", "!<tag:yaml.org,2002:str> 017"], &value!("017"));
    assert_values(&["!!int 017", "!!int \"15\""], &value!(15));
    assert_values(&["!!float 1"], &value!(1.0));
    assert_values(&["!!bool yes"], &value!(true));
    assert_values(&["!!null ~"], &Json::Null);
    assert_values(&["!!binary aGk="], &value!("hi"));
    assert_values(&["!!binary /w=="], &value!("\u{fffd}"));
    assert_eq!(parse_error("- !!int x"), "line 1, column 9: cannot decode `x` as `!!int`");
    assert_eq!(parse_error("- !!binary a"), "line 1, column 12: the value of `!!binary` is not valid base64");
    assert_eq!(parse_error("- !e!x a"), "line 1, column 3: undefined tag handle `!e!`");
    assert_eq!(parse_json("%TAG !e! tag:example.com:\n---\n- !e!x 017"), value!(["017"]));
}
