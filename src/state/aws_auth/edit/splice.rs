//! Pieces of text that replace others, and where lines begin and end by YAML 1.1's count. It knows
//! bytes and lines, no YAML.

use std::ops::Range;

/// Bytes of the old text and what stands there in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

impl Splice {
    pub(super) fn replace(range: Range<usize>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { range, text }
    }

    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self::replace(at..at, text)
    }

    pub(super) fn delete(range: Range<usize>) -> Self {
        Self::replace(range, "")
    }
}

/// Applies splices of one text, in the order they were made where they share a place. `None` if
/// two of them claim the same byte.
pub(super) fn apply_splices(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut out = String::with_capacity(text.len() + 256);
    let mut at = 0;
    for splice in splices {
        out.push_str(text.get(at..splice.range.start)?);
        out.push_str(&splice.text);
        at = splice.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The text with questions about its lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextLines<'t> {
    pub(super) text: &'t str,
    /// What ends a line here.
    pub(super) line_break: &'t str,
}

impl<'t> TextLines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let first = text.find(is_break).and_then(|at| text.get(at..));
        let line_break = match first {
            Some(rest) if rest.starts_with("\r\n") => "\r\n",
            Some(rest) if rest.starts_with('\r') => "\r",
            _ => "\n",
        };
        Self { text, line_break }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        let before = self.slice(0..at);
        let last = before.char_indices().rev().find(|(_, c)| is_break(*c));
        last.map_or(0, |(at, c)| at + c.len_utf8())
    }

    /// Where the line's break stands, or the end of the text.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let rest = self.slice(at..self.text.len());
        rest.find(is_break).map_or(self.text.len(), |found| at + found)
    }

    /// Where the next line begins, or the end of the text.
    pub(super) fn next_line_start(&self, at: usize) -> usize {
        let end = self.line_end(at);
        let rest = self.slice(end..self.text.len());
        let width = match rest.chars().next() {
            Some('\r') if rest.starts_with("\r\n") => 2,
            Some(c) => c.len_utf8(),
            None => 0,
        };
        end + width
    }

    /// The column of a place if nothing but blanks stands before it on its line.
    pub(super) fn indent_at(&self, at: usize) -> Option<usize> {
        let start = self.line_start(at);
        let before = self.slice(start..at);
        let before = before.strip_prefix('\u{feff}').unwrap_or(before);
        before.bytes().all(|byte| byte == b' ').then_some(before.len())
    }

    /// Where a line that holds this place begins, behind a byte order mark.
    pub(super) fn line_start_after_bom(&self, at: usize) -> usize {
        let start = self.line_start(at);
        let marked = self.slice(start..at).starts_with('\u{feff}');
        start + if marked { '\u{feff}'.len_utf8() } else { 0 }
    }

    /// New lines behind the line that holds this place.
    pub(super) fn insert_lines_after(&self, at: usize, lines: &[String]) -> Splice {
        let next = self.next_line_start(at);
        if next == self.line_end(at) {
            return Splice::insert(next, self.with_leading_breaks(lines));
        }
        Splice::insert(next, self.with_trailing_breaks(lines))
    }

    /// Each line with its break behind it.
    pub(super) fn with_trailing_breaks(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{line}{}", self.line_break)).collect()
    }

    /// Each line with a break before it, for the end of a text that has none.
    pub(super) fn with_leading_breaks(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{}{line}", self.line_break)).collect()
    }

    /// Nothing but blanks and breaks.
    pub(super) fn is_whitespace(&self, range: Range<usize>) -> bool {
        self.slice(range).chars().all(|c| is_break(c) || matches!(c, ' ' | '\t'))
    }
}

pub(super) fn spaces(count: usize) -> String {
    " ".repeat(count)
}
