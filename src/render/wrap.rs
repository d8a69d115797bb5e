//! Long lines wrapped to the width of the terminal, with a hanging indent.

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The extra indent of a continued line, if no column of the text sets the indent.
const CONTINUATION_INDENT: usize = 2;

/// Wraps each line to the width. Words are never broken, so that an ARN can be copied: a long word can exceed the width.
///
/// A continued line starts below the second column of a line such as `  rule      get pods`. A line without columns is
/// continued with a deeper indent. Escape sequences have no width.
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

/// Returns the indent of a continued line.
fn hanging_indent(line: &str, width: usize) -> usize {
    let plain = anstream::adapter::strip_str(line).to_string();
    let rest = plain.trim_start_matches(' ');
    // A sign such as `+` or `-/+` is not part of the text.
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
        None if sign.is_empty() => start + CONTINUATION_INDENT,
        None => start + 2 * CONTINUATION_INDENT,
    }
    .min(width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_lines_start_below_the_second_column() {
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
    fn words_wider_than_the_line_are_not_broken() {
        let arn = "arn:aws:iam::111122223333:role/a-long-name";
        assert_eq!(wrap(&format!("  by {arn} x"), 20), format!("  by\n    {arn}\n    x"));
    }

    #[test]
    fn escape_sequences_have_no_width_and_wide_characters_have_two_columns() {
        let line = "\u{1b}[32m  +\u{1b}[0m one two";
        assert_eq!(wrap(line, 11), line);
        assert_eq!(wrap("日本 日本 日本", 10), "日本 日本\n  日本");
    }

    #[test]
    fn location_at_the_end_of_a_line_moves_to_the_next_line() {
        let line = format!("  + ClusterRole        viewer{}access.toml:12", " ".repeat(40));
        assert_eq!(wrap(&line, 60), "  + ClusterRole        viewer\n        access.toml:12");
    }
}
