//! Words that many messages need.

use unicode_width::UnicodeWidthStr as _;

/// `1 change`, `2 changes`.
pub(crate) fn pluralize(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// Column in which the place of a line begins, where the line is short enough.
const LOCATION_COLUMN: usize = 78;

/// Columns that a text takes on a terminal: of most East Asian characters two each.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// The text with blanks up to a number of columns.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The blanks between a line of `used` columns and its place, which stays on the line if the terminal has that width.
pub(crate) fn gap_before_place(used: usize, place: &str, width: Option<usize>) -> String {
    let column = width.map_or(LOCATION_COLUMN, |width| LOCATION_COLUMN.min(width.saturating_sub(columns(place))));
    " ".repeat(column.saturating_sub(used).max(2))
}

/// Text from elsewhere with its control characters made visible, so that no name can paint over a line.
pub(crate) fn escape_control(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(escape_control("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(pluralize(1, "step") + &pluralize(0, "step"), "1 step0 steps");
    }
    #[test]
    fn columns_count_display_width() {
        assert_eq!((columns("abc"), columns("日本"), columns("é")), (3, 4, 1));
        assert_eq!((padded("日本", 6), padded("abc", 2)), ("日本  ".to_owned(), "abc".to_owned()));
    }
    #[test]
    fn a_place_moves_left_on_a_narrow_terminal_and_keeps_two_blanks() {
        assert_eq!(gap_before_place(70, "a.toml:1", None).len(), 8);
        assert_eq!(gap_before_place(60, "a.toml:1", Some(80)).len(), 12);
        assert_eq!(gap_before_place(75, "a.toml:1", Some(80)).len(), 2);
    }
}
