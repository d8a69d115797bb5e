//! Finds the first definition of a duplicate key or table in a TOML text. The TOML parser reports only the second one.
//!
//! The search reads the text line by line and does not parse all of TOML. It only adds a label to an error, so it may miss
//! a definition.

use std::collections::BTreeMap;
use std::ops::Range;

/// Whether a message of the TOML parser reports a duplicate key or table.
pub(super) fn is_duplicate(message: &str) -> bool {
    message.starts_with("duplicate key")
}

/// The definitions of tables and keys in a text, by their paths.
pub(super) struct Definitions<'a> {
    text: &'a str,
    /// The path of each definition and the range of its last key, in the order of the text.
    all: Vec<(String, Range<usize>)>,
    /// For each path the range of its first definition.
    first: BTreeMap<String, Range<usize>>,
    /// The ranges of the lines with table headers.
    header_lines: Vec<Range<usize>>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let all = definitions(text);
        let mut first = BTreeMap::new();
        for (path, range) in &all {
            first.entry(path.clone()).or_insert_with(|| range.clone());
        }
        let headers = lines(text).filter(|(_, line)| line.trim_start().starts_with('['));
        let header_lines = headers.map(|(start, line)| start..start + line.len()).collect();
        Self { text, all, first, header_lines }
    }

    /// Returns the first definition of the key or table that has a duplicate at the offset `at`.
    pub(super) fn first_before(&self, at: usize) -> Option<Range<usize>> {
        let next = self.all.partition_point(|(_, range)| range.start <= at);
        match self.all.get(next.checked_sub(1)?).filter(|(_, range)| range.contains(&at)) {
            Some((path, _)) => self.first.get(path).filter(|range| range.end <= at).cloned(),
            None => first_in_inline_table(self.text, at),
        }
    }

    /// Whether the offset `at` is in the body of a duplicate table. The parser reports the keys of such a table as
    /// duplicates as well. `duplicates` has the offsets of all duplicate errors, sorted.
    pub(super) fn is_in_duplicate_table(&self, at: usize, duplicates: &[usize]) -> bool {
        let next = self.header_lines.partition_point(|line| line.start <= at);
        let Some(header) = next.checked_sub(1).and_then(|last| self.header_lines.get(last)) else {
            return false;
        };
        let first_error = duplicates.partition_point(|error| *error < header.start);
        at >= header.end && duplicates.get(first_error).is_some_and(|error| header.contains(error))
    }
}

/// Returns the first definition of the key at the offset `at` in an inline table: the same key earlier in its line.
fn first_in_inline_table(text: &str, at: usize) -> Option<Range<usize>> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let key: &str = text.get(at..)?.split(['=', ' ', '\t']).next().filter(|key| !key.is_empty())?;
    let line = text.get(line_start..at)?;
    let is_key = |offset: usize| {
        let before = line.get(..offset).unwrap_or_default();
        let after = line.get(offset + key.len()..).unwrap_or_default();
        before.ends_with(['{', ',', ' ']) && after.trim_start().starts_with('=')
    };
    let offset = line.match_indices(key).map(|(offset, _)| offset).find(|offset| is_key(*offset))?;
    let start = line_start + offset;
    Some(start..start + key.len())
}

/// Returns the full path of each table header and of each key at the start of a line, with the range of its last key.
fn definitions(text: &str) -> Vec<(String, Range<usize>)> {
    let mut out = Vec::new();
    let mut table = String::new();
    for (number, (start, line)) in lines(text).enumerate() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        if let Some(header) = content.strip_prefix("[[") {
            // Each `[[header]]` starts a new table, so its keys are not duplicates of those of the table before.
            table = format!("{}#{number}", normalize_path(header.split(']').next().unwrap_or_default()));
        } else if let Some(header) = content.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            table = normalize_path(header);
            out.push((table.clone(), last_key(start + indent + 1, header)));
        } else if let Some((key, _)) = content.split_once('=').filter(|_| !content.starts_with('#')) {
            let path = format!("{table}.{}", normalize_path(key));
            out.push((path, last_key(start + indent, key)));
        }
    }
    out
}

/// Removes blanks and quotes: `a . "b"` becomes `a.b`.
fn normalize_path(path: &str) -> String {
    path.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect()
}

/// Returns the range of the last key of a dotted path that starts at the offset `start`.
fn last_key(start: usize, path: &str) -> Range<usize> {
    let path = path.trim_end();
    let after_dot = path.rfind('.').map_or(0, |dot| dot + 1);
    let key = path.get(after_dot..).unwrap_or_default();
    let blanks = key.len() - key.trim_start().len();
    start + after_dot + blanks..start + path.len()
}

/// Returns the lines, each with its start offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the line number and the text of the first definition, for the last occurrence of `second`.
    fn first<'a>(text: &'a str, second: &str) -> Option<(usize, &'a str)> {
        let at = text.rfind(second).unwrap();
        Definitions::new(text)
            .first_before(at)
            .map(|range| (text[..range.start].matches('\n').count() + 1, &text[range]))
    }

    #[test]
    fn first_table_key_and_inline_key_are_found() {
        assert_eq!(first("[a.b]\nx = 1\n[c]\n[a.\"b\"]\n", "\"b\""), Some((1, "b")));
        assert_eq!(first("[a]\nx = 1\n[b]\nx = 2\nx = 3\n", "x"), Some((4, "x")));
        assert_eq!(first("[a]\nb = { x = 1, yx = 2, x = 3 }\n", "x ="), Some((2, "x")));
        assert_eq!(first("[[a]]\nx = 1\n[[a]]\nx = 1\nx = 2\n", "x"), Some((4, "x")));
        assert_eq!(first("[a]\nb = 1\n[a.b]\n", "b"), Some((2, "b")));
    }

    #[test]
    fn keys_of_a_duplicate_table_are_recognized() {
        let text = "[a]\nx = 1\n[a]\nx = 2\n[b]\ny = 1\ny = 2\n";
        let header = text.rfind("a]").unwrap();
        let definitions = Definitions::new(text);
        assert!(definitions.is_in_duplicate_table(text.find("x = 2").unwrap(), &[header]));
        assert!(!definitions.is_in_duplicate_table(text.find("y = 2").unwrap(), &[header]));
        assert!(!definitions.is_in_duplicate_table(header, &[header]));
    }
}
