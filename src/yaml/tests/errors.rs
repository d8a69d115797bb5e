//! The position of errors: line and column count from 1, the column in characters.

use super::parse_error;

#[test]
fn tab_indentation_is_refused() {
    assert_eq!(parse_error("a:\n\tb: c"), "line 2, column 1: found a tab used for indentation; YAML requires spaces");
    assert_eq!(
        parse_error("- rolearn: a\n\tusername: u"),
        "line 2, column 1: found a tab used for indentation; YAML requires spaces"
    );
    assert_eq!(parse_error("a: |\n\tb"), "line 1, column 4: block scalars must be indented with spaces, found a tab");
}

#[test]
fn unquoted_template_at_start_of_value_is_refused() {
    let text = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: {{SessionName}}\n";
    assert_eq!(parse_error(text), "line 2, column 14: a mapping key must be a scalar");
    let text = "- {rolearn: a, username: system:node:{{X}}}\n";
    assert!(parse_error(text).starts_with("line 1, column 38: "), "{}", parse_error(text));
}

#[test]
fn unterminated_scalar_is_reported_at_its_start() {
    assert_eq!(parse_error("a: b\nc: 'd\n\n"), "line 2, column 4: unterminated quoted string");
    assert_eq!(parse_error("a: \"b"), "line 1, column 4: unterminated quoted string");
    assert_eq!(parse_error("a: [b,\n c"), "line 3, column 1: did not find expected ',' or ']'");
}

#[test]
fn columns_count_characters() {
    assert_eq!(parse_error("é: @a"), "line 1, column 4: found a character that cannot start any token");
    assert_eq!(parse_error("😀😀: *a"), "line 1, column 5: unknown anchor `a`");
    assert_eq!(parse_error("\u{feff}a: @b"), "line 1, column 4: found a character that cannot start any token");
}

#[test]
fn lines_count_every_kind_of_line_break() {
    assert_eq!(parse_error("a\r\nb\r\n\r\n: @"), "line 4, column 1: did not find expected `---`");
    assert_eq!(parse_error("- a\r- b\u{85}- @c"), "line 3, column 3: found a character that cannot start any token");
}

#[test]
fn misplaced_keys_and_entries_are_reported_at_their_position() {
    assert_eq!(parse_error("a: b\nc\nd: e"), "line 2, column 1: could not find expected ':'");
    assert_eq!(parse_error("a: b: c"), "line 1, column 5: mapping values are not allowed here");
    assert_eq!(parse_error("a: - b"), "line 1, column 4: block sequence entries are not allowed here");
    assert_eq!(parse_error("- a\nb: c"), "line 2, column 1: did not find expected '-' indicator");
    assert_eq!(parse_error("a: b\n- c"), "line 2, column 1: did not find expected key");
}
