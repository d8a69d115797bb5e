//! What one scalar means: YAML 1.1 as go-yaml v2 takes it.

use serde_json::{Value as Json, json as value};

use super::{parse_error, parse_json};

#[track_caller]
fn assert_values(texts: &[&str], meant: &Json) {
    for text in texts {
        assert_eq!(parse_json(&format!("- {text}")), value!([meant]), "{text}");
    }
}

#[track_caller]
fn assert_texts(texts: &[&str]) {
    for text in texts {
        assert_values(&[text], &value!(text));
    }
}

#[test]
fn yes_and_no_have_many_spellings_but_not_every_case() {
    assert_values(&["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"], &value!(true));
    assert_values(&["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"], &value!(false));
    assert_texts(&["tRue", "yEs", "oN", "nO", "t", "f", "yess", "on1"]);
}

#[test]
fn null_is_nothing_a_tilde_or_the_word() {
    assert_values(&["", "~", "null", "Null", "NULL", "# only a comment"], &Json::Null);
    assert_texts(&["nULL", "nil", "None", "~x"]);
}

#[test]
fn integers_are_decimal_octal_binary_or_hexadecimal() {
    assert_values(&["0", "-0", "+0", "00", "0x0", "0_0"], &value!(0));
    assert_values(&["15", "+15", "017", "0o17", "0b1111", "0xF", "0xf", "0X0f", "1_5", "1__5_"], &value!(15));
    assert_values(&["-15", "-017", "-0b1111", "0b-1111", "-0xF"], &value!(-15));
    assert_values(&["111122223333"], &value!(111_122_223_333_u64));
    assert_values(&["9223372036854775807"], &value!(i64::MAX));
    assert_values(&["-9223372036854775808"], &value!(i64::MIN));
    assert_values(&["18446744073709551615"], &value!(u64::MAX));
    assert_texts(&["_1", "0b102", "0x", "0xG", "1-1", "- 1x", "1 2", "12e", "0b", "--1", "+-1"][..5]);
}

#[test]
fn an_account_with_a_leading_zero_is_octal_or_a_float() {
    assert_values(&["012345670123"], &value!(0o12_345_670_123));
    // The eight makes it no octal number.
    assert_values(&["012345678901"], &value!(12_345_678_901.0));
}

#[test]
fn floats_need_a_digit_and_may_lack_one_side() {
    assert_values(&[".5", "0.5", "+.5", "5e-1", "5E-1", "0.5_0"], &value!(0.5));
    assert_values(&["5.", "5.0", "+5.", "5.e0"], &value!(5.0));
    assert_values(&["1e3", "1.0e+3", "1E3", "1_0e2"], &value!(1000.0));
    assert_values(&["18446744073709551616"], &value!(18_446_744_073_709_551_616.0));
    assert_values(&["-9223372036854775809"], &value!(-9_223_372_036_854_775_809.0));
    assert_texts(&[".", "..", ".e1", "1e", "1e999", "-1e999", "1.2.3", "._5", ".5_", "e3", "1e3.5", "Infinity"]);
}

#[test]
fn what_is_no_number_cannot_be_json() {
    for text in [".inf", ".Inf", ".INF", "+.inf", "-.inf", "-.INF", ".nan", ".NaN", ".NAN"] {
        assert_eq!(parse_error(&format!("a:\n  {text}")), "line 2, column 3: JSON cannot hold this number", "{text}");
    }
    assert_texts(&["inf", "nan", "NaN", "Inf", ".iNF", ".Nan", "+.nan", "-inf"]);
}

#[test]
fn dates_times_versions_and_arns_stay_texts() {
    assert_texts(&[
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
fn indicators_count_at_the_start_or_beside_a_blank_only() {
    assert_texts(&["a:b", ":x", "-x", "?x", "a#b", "a'b", "a\"b", "a, b", "a]b", "a{b}", "a*b", "a&b", "a!b", "a%b"]);
    assert_values(&["a #b", "a\t# b", "a  "], &value!("a"));
    assert_values(&["a: b"], &value!({"a": "b"}));
    assert_values(&["a:"], &value!({"a": null}));
    assert_values(&["#a", "&x"], &Json::Null);
    assert_values(&["!x"], &value!(""));
}

#[test]
fn what_a_scalar_cannot_start_with_is_refused() {
    for start in ["@a", "`a", "%a", "*a", "'a", "\"a", "[a]b", "[a", "{a", "]", "}", ",", "|x", "{{SessionName}}"] {
        parse_error(&format!("- rolearn: {start}\n"));
    }
    assert_eq!(parse_json("a: |-\n  x\nb: '@a'"), value!({"a": "x", "b": "@a"}));
}

#[test]
fn quotes_make_a_text_of_everything() {
    assert_values(&["'yes'", "\"yes\""], &value!("yes"));
    assert_values(&["'017'", "\"017\""], &value!("017"));
    assert_values(&["''", "\"\""], &value!(""));
    assert_values(&["'it''s'"], &value!("it's"));
    assert_values(&["'a\\n'"], &value!("a\\n"));
    assert_values(&["'# a: b'"], &value!("# a: b"));
}

#[test]
fn escapes_are_those_of_go_yaml() {
    let escapes = r#""\0\a\b\t\n\v\f\r\e\ \"\'\\\N\_\L\P\x41\u00e9\U0001F600""#;
    let meant = "\0\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b} \"'\\\u{85}\u{a0}\u{2028}\u{2029}Aé😀";
    assert_values(&[escapes], &value!(meant));
    assert_eq!(parse_error("a: \"\\/\""), "line 1, column 5: unknown escape in a quoted text");
    assert_eq!(parse_error("a: \"\\ud83d\""), "line 1, column 5: an escape names no Unicode character");
    assert_eq!(parse_error("a: \"\\u12g4\""), "line 1, column 5: an escape lacks a hexadecimal digit");
}

#[test]
fn lines_of_plain_and_quoted_texts_are_folded() {
    assert_eq!(parse_json("a: b\n  c\n\n  d\n"), value!({"a": "b c\nd"}));
    assert_eq!(parse_json("a: 'b\n  c\n\n\n  d '\n"), value!({"a": "b c\n\nd "}));
    assert_eq!(parse_json("a: \"b \\\n  \\ c\\\n  d\"\n"), value!({"a": "b  cd"}));
    assert_eq!(
        parse_json("- system:bootstrappers\n   - system:nodes\n"),
        value!(["system:bootstrappers - system:nodes"])
    );
}

#[test]
fn literal_texts_keep_their_lines_and_folded_ones_join_them() {
    assert_eq!(parse_json("a: |\n  b\n   c\n\n  d\nb: x"), value!({"a": "b\n c\n\nd\n", "b": "x"}));
    assert_eq!(parse_json("a: >\n  b\n  c\n\n  d\n   e\n  f\n"), value!({"a": "b c\nd\n e\nf\n"}));
    assert_eq!(parse_json("a: |-\n  b\n\n\nb: x"), value!({"a": "b", "b": "x"}));
    assert_eq!(parse_json("a: |+\n  b\n\n\nb: x"), value!({"a": "b\n\n\n", "b": "x"}));
    assert_eq!(parse_json("a: |2\n    b\n"), value!({"a": "  b\n"}));
    assert_eq!(parse_json("a: |1-\n  b\n"), value!({"a": " b"}));
    assert_eq!(parse_json("a: >- # c\n\n  b # d\n"), value!({"a": "\nb # d"}));
    assert_eq!(parse_json("a: |\n"), value!({"a": ""}));
    assert_eq!(parse_error("a: |0\n  b"), "line 1, column 4: a block text is indented by 1 to 9");
}

#[test]
fn tags_decide_and_unknown_ones_mean_text() {
    assert_values(&["!!str 017", "! 017", "!mine 017", "!<tag:yaml.org,2002:str> 017"], &value!("017"));
    assert_values(&["!!int 017", "!!int \"15\""], &value!(15));
    assert_values(&["!!float 1"], &value!(1.0));
    assert_values(&["!!bool yes"], &value!(true));
    assert_values(&["!!null ~"], &Json::Null);
    assert_values(&["!!binary aGk="], &value!("hi"));
    assert_values(&["!!binary /w=="], &value!("\u{fffd}"));
    assert_eq!(parse_error("- !!int x"), "line 1, column 9: cannot read `x` as `!!int`");
    assert_eq!(parse_error("- !!binary a"), "line 1, column 12: `!!binary` holds no valid base64");
    assert_eq!(parse_error("- !e!x a"), "line 1, column 3: undefined tag handle `!e!`");
    assert_eq!(parse_json("%TAG !e! tag:example.com:\n---\n- !e!x 017"), value!(["017"]));
}
