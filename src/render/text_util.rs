//! Helpers for text: plurals, padding by display width, and control characters.

use unicode_width::UnicodeWidthStr as _;

use crate::diagnostic::escape_text;

/// `1 change`, `2 changes`.
pub(crate) fn pluralize(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// The column in which the location at the end of a line begins, if the line is short enough.
const LOCATION_COLUMN: usize = 78;

/// Returns the display width of a text on a terminal. Most East Asian characters take two columns.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// Returns the text with spaces up to the display width.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Returns the spaces between a line of `used` columns and its location. On a narrow terminal the location moves left.
pub(crate) fn gap_before_location(used: usize, location: &str, width: Option<usize>) -> String {
    let column = width.map_or(LOCATION_COLUMN, |width| LOCATION_COLUMN.min(width.saturating_sub(columns(location))));
    " ".repeat(column.saturating_sub(used).max(2))
}

/// Returns a foreign text with its unsafe characters escaped. The width of the result can be measured.
pub(crate) fn escape_control(text: &str) -> String {
    escape_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape_control("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(pluralize(1, "step") + &pluralize(0, "step"), "1 step0 steps");
    }
    #[test]
    fn columns_count_display_width() {
        assert_eq!((columns("abc"), columns("日本"), columns("é")), (3, 4, 1));
        assert_eq!((padded("日本", 6), padded("abc", 2)), ("日本  ".to_owned(), "abc".to_owned()));
    }
    #[test]
    fn location_moves_left_on_a_narrow_terminal_and_keeps_two_spaces() {
        assert_eq!(gap_before_location(70, "a.toml:1", None).len(), 8);
        assert_eq!(gap_before_location(60, "a.toml:1", Some(80)).len(), 12);
        assert_eq!(gap_before_location(75, "a.toml:1", Some(80)).len(), 2);
    }
}
