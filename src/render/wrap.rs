//! Long lines wrapped to the width of the terminal, with a hanging indent.

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Columns that a continued line is indented beyond its first line, where no column of text sets the indent.
const CONTINUATION: usize = 2;

/// The text with no line wider than this, as far as its words allow: an ARN is never broken, so that it can be copied.
///
/// A continued line begins below the second column of a line such as `  rule      get pods`, or else deeper than its
/// first line. Escape sequences take no columns.
pub(crate) fn wrap(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if display_width(line) <= width {
            out.push_str(line);
        } else {
            let indent = " ".repeat(hanging_indent(line, width));
            let options = Options::new(width)
                .subsequent_indent(&indent)
                .break_words(false)
                .word_separator(WordSeparator::AsciiSpace)
                .word_splitter(WordSplitter::NoHyphenation)
                .wrap_algorithm(WrapAlgorithm::FirstFit);
            out.push_str(&textwrap::wrap(line, options).join("\n"));
        }
        out.push_str(end);
    }
    out
}

/// Columns before the text of a continued line.
fn hanging_indent(line: &str, width: usize) -> usize {
    let plain = anstream::adapter::strip_str(line).to_string();
    let rest = plain.trim_start_matches(' ');
    // A sign such as `+` or `-/+` is not yet the text.
    let (sign, text) = match rest.split_once(' ') {
        Some((sign, text)) if !sign.contains(char::is_alphanumeric) => (sign, text.trim_start_matches(' ')),
        _ => ("", rest),
    };
    let start = display_width(&plain) - display_width(text);
    let second = text.find("  ").map(|at| {
        let (first, rest) = text.split_at(at);
        let gap = rest.len() - rest.trim_start_matches(' ').len();
        start + display_width(first) + gap
    });
    match second.filter(|column| *column <= width / 3) {
        Some(column) => column,
        None if sign.is_empty() => start + CONTINUATION,
        None => start + 2 * CONTINUATION,
    }
    .min(width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_lines_begin_below_the_second_column() {
        let line = "    verbs  get, list, watch, create, update\n";
        assert_eq!(wrap(line, 34), "    verbs  get, list, watch,\n           create, update\n");
        assert_eq!(wrap(line, 80), line);
    }

    #[test]
    fn continued_lines_without_columns_are_indented_deeper() {
        assert_eq!(wrap("one two three four", 10), "one two\n  three\n  four");
        assert_eq!(wrap("  one two three four", 14), "  one two\n    three four");
    }

    #[test]
    fn words_wider_than_the_line_stay_whole() {
        let arn = "arn:aws:iam::111122223333:role/a-long-name";
        assert_eq!(wrap(&format!("  by {arn} x"), 20), format!("  by\n    {arn}\n    x"));
    }

    #[test]
    fn escape_sequences_take_no_columns_and_wide_characters_two() {
        let line = "\u{1b}[32m  +\u{1b}[0m one two";
        assert_eq!(wrap(line, 11), line);
        assert_eq!(wrap("日本 日本 日本", 10), "日本 日本\n  日本");
    }

    #[test]
    fn a_place_at_the_end_of_a_line_moves_to_the_next() {
        let line = format!("  + ClusterRole        viewer{}access.toml:12", " ".repeat(40));
        assert_eq!(wrap(&line, 60), "  + ClusterRole        viewer\n        access.toml:12");
    }
}
