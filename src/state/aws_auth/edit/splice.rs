//! Splices, which replace byte ranges of a text, and the lines of a text as YAML 1.1 counts them. This module works on
//! bytes and lines and must not depend on YAML nodes.

use std::ops::Range;

/// A byte range of the old text and its replacement.
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

/// Applies splices to a text. Insertions at the same offset keep their order. `None` if two splices overlap.
pub(super) fn apply_splices(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut out = String::with_capacity(text.len() + 256);
    let mut copied_to = 0;
    for splice in splices {
        out.push_str(text.get(copied_to..splice.range.start)?);
        out.push_str(&splice.text);
        copied_to = splice.range.end;
    }
    out.push_str(text.get(copied_to..)?);
    Some(out)
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A text and queries about its lines. Offsets are in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextLines<'t> {
    pub(super) text: &'t str,
    /// The line break for new lines: the first one of the text.
    pub(super) line_break: &'t str,
}

impl<'t> TextLines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let first_break = text.find(is_break).and_then(|offset| text.get(offset..));
        let line_break = match first_break {
            Some(rest) if rest.starts_with("\r\n") => "\r\n",
            Some(rest) if rest.starts_with('\r') => "\r",
            _ => "\n",
        };
        Self { text, line_break }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// Returns the start of the line that contains the offset.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        let before = self.slice(0..offset);
        let last_break = before.char_indices().rev().find(|(_, c)| is_break(*c));
        last_break.map_or(0, |(start, c)| start + c.len_utf8())
    }

    /// Returns the line break at the end of the line that contains the offset, or the end of the text.
    pub(super) fn line_end(&self, offset: usize) -> usize {
        let rest = self.slice(offset..self.text.len());
        rest.find(is_break).map_or(self.text.len(), |length| offset + length)
    }

    /// Returns the end of the line before the one that starts at the offset. `None` if it starts on the first line.
    pub(super) fn line_end_before(&self, line_start: usize) -> Option<usize> {
        let before = self.slice(0..line_start);
        let last = before.chars().next_back().filter(|c| is_break(*c))?;
        let width = if before.ends_with("\r\n") { 2 } else { last.len_utf8() };
        Some(line_start - width)
    }

    /// Returns the start of the next line, or the end of the text.
    pub(super) fn next_line_start(&self, offset: usize) -> usize {
        let end = self.line_end(offset);
        let rest = self.slice(end..self.text.len());
        let width = match rest.chars().next() {
            Some('\r') if rest.starts_with("\r\n") => 2,
            Some(c) => c.len_utf8(),
            None => 0,
        };
        end + width
    }

    /// Returns the column of the offset, if only spaces precede it on its line.
    pub(super) fn indent_at(&self, offset: usize) -> Option<usize> {
        let start = self.line_start(offset);
        let before = self.slice(start..offset);
        let before = before.strip_prefix('\u{feff}').unwrap_or(before);
        before.bytes().all(|byte| byte == b' ').then_some(before.len())
    }

    /// Returns the start of the line that contains the offset, after a byte order mark.
    pub(super) fn line_start_after_bom(&self, offset: usize) -> usize {
        let start = self.line_start(offset);
        let has_bom = self.slice(start..offset).starts_with('\u{feff}');
        start + if has_bom { '\u{feff}'.len_utf8() } else { 0 }
    }

    /// Inserts lines after the line that contains the offset.
    pub(super) fn insert_lines_after(&self, offset: usize, lines: &[String]) -> Splice {
        let next = self.next_line_start(offset);
        if next == self.line_end(offset) {
            return Splice::insert(next, self.with_leading_breaks(lines));
        }
        Splice::insert(next, self.with_trailing_breaks(lines))
    }

    /// Returns the lines, each followed by a line break.
    pub(super) fn with_trailing_breaks(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{line}{}", self.line_break)).collect()
    }

    /// Returns the lines, each preceded by a line break: for the end of a text without a final line break.
    pub(super) fn with_leading_breaks(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{}{line}", self.line_break)).collect()
    }

    /// Returns whether the range contains only spaces, tabs and line breaks.
    pub(super) fn is_whitespace(&self, range: Range<usize>) -> bool {
        self.slice(range).chars().all(|c| is_break(c) || matches!(c, ' ' | '\t'))
    }
}

pub(super) fn indentation(count: usize) -> String {
    " ".repeat(count)
}
