//! A refusal names the place where a person has to look: line and column count from 1, the column in characters.

use super::parse_error;

#[test]
fn tabs_do_not_indent() {
    assert_eq!(parse_error("a:\n\tb: c"), "line 2, column 1: a tab cannot indent YAML");
    assert_eq!(parse_error("- rolearn: a\n\tusername: u"), "line 2, column 1: a tab cannot indent YAML");
    assert_eq!(parse_error("a: |\n\tb"), "line 1, column 4: a tab stands where a block text needs blanks");
}

#[test]
fn a_template_at_the_start_of_a_value_is_a_broken_mapping() {
    let text = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: {{SessionName}}\n";
    assert_eq!(parse_error(text), "line 2, column 14: a key must be a scalar");
    let text = "- {rolearn: a, username: system:node:{{X}}}\n";
    assert!(parse_error(text).starts_with("line 1, column 38: "), "{}", parse_error(text));
}

#[test]
fn what_does_not_end_is_shown_where_it_begins() {
    assert_eq!(parse_error("a: b\nc: 'd\n\n"), "line 2, column 4: a quoted text does not end");
    assert_eq!(parse_error("a: \"b"), "line 1, column 4: a quoted text does not end");
    assert_eq!(parse_error("a: [b,\n c"), "line 3, column 1: did not find expected ',' or ']'");
}

#[test]
fn columns_count_characters() {
    assert_eq!(parse_error("é: @a"), "line 1, column 4: found a character that cannot start any token");
    assert_eq!(parse_error("😀😀: *a"), "line 1, column 5: unknown anchor `a`");
    assert_eq!(parse_error("\u{feff}a: @b"), "line 1, column 4: found a character that cannot start any token");
}

#[test]
fn lines_count_by_every_line_end() {
    assert_eq!(parse_error("a\r\nb\r\n\r\n: @"), "line 4, column 1: did not find expected `---`");
    assert_eq!(parse_error("- a\r- b\u{85}- @c"), "line 3, column 3: found a character that cannot start any token");
}

#[test]
fn a_key_without_its_colon_is_named() {
    assert_eq!(parse_error("a: b\nc\nd: e"), "line 2, column 1: could not find expected ':'");
    assert_eq!(parse_error("a: b: c"), "line 1, column 5: mapping values are not allowed here");
    assert_eq!(parse_error("a: - b"), "line 1, column 4: block sequence entries are not allowed here");
    assert_eq!(parse_error("- a\nb: c"), "line 2, column 1: did not find expected '-' indicator");
    assert_eq!(parse_error("a: b\n- c"), "line 2, column 1: did not find expected key");
}
