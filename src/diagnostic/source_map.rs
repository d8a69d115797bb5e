//! The texts of the policy files, and positions in them.

use std::fmt;
use std::ops::Range;

/// A range of bytes in one of the policy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    file: u32,
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets are limited to 4 GiB. No policy file is that large.
    pub(crate) fn new(file: usize, range: &Range<usize>) -> Self {
        let to_u32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { file: to_u32(file), start: to_u32(range.start), end: to_u32(range.end) }
    }

    pub(crate) fn file(self) -> usize {
        self.file as usize
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A position in a file, displayed as `access.toml:12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceLocation {
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1, in characters.
    pub(crate) column: usize,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One policy file.
#[derive(Debug, Clone)]
struct SourceFile {
    name: String,
    text: String,
    /// The offset of every line.
    line_starts: Vec<usize>,
    /// Whether a column is a number of bytes.
    is_ascii: bool,
}

/// The files of one policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a file and returns its number for [`Span::new`].
    pub(crate) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
        let is_ascii = text.is_ascii();
        self.files.push(SourceFile { name: name.into(), text, line_starts: lines, is_ascii });
        self.files.len() - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn text(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |f| &f.text)
    }

    pub(crate) fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |f| &f.name)
    }

    /// Returns the range of the whole lines that a range of bytes is in, and the number of the first line, counted from 1.
    pub(crate) fn lines(&self, file: usize, range: Range<usize>) -> (Range<usize>, usize) {
        let Some(file) = self.files.get(file) else {
            return (range, 1);
        };
        let line = file.line_starts.partition_point(|offset| *offset <= range.start).max(1);
        let start = file.line_starts.get(line - 1).copied().unwrap_or_default();
        let after = file.line_starts.partition_point(|offset| *offset <= range.end);
        let end = file.line_starts.get(after).copied().unwrap_or(file.text.len());
        (start..end.max(range.end.min(file.text.len())), line)
    }

    pub(crate) fn location(&self, span: Span) -> SourceLocation {
        let Some(file) = self.files.get(span.file()) else {
            return SourceLocation { file: String::new(), line: 1, column: 1 };
        };
        let start = span.range().start;
        let line = file.line_starts.partition_point(|offset| *offset <= start);
        let begin = file.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        SourceLocation {
            file: file.name.clone(),
            line,
            column: 1 + match file.text.get(begin..start) {
                Some(text) if file.is_ascii => text.len(),
                text => text.map_or(0, |text| text.chars().count()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_count_lines_and_characters_from_one() {
        let mut sources = SourceMap::default();
        let file = sources.add("a.toml", "x\näy = 1\n");
        let location = sources.location(Span::new(file, &(4..5)));
        assert_eq!((location.line, location.column), (2, 2));
        assert_eq!(sources.location(Span::new(file, &(0..1))).to_string(), "a.toml:1");
    }
}
