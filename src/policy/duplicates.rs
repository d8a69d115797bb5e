//! Where a key or a table of a TOML text that is defined twice was defined first. The parser names the second place alone.

use std::collections::BTreeMap;
use std::ops::Range;

/// Whether this is the parser's message for a key or table that is defined a second time.
pub(super) fn is_duplicate(message: &str) -> bool {
    message.starts_with("duplicate key")
}

/// The tables and keys of a text, each with the places where it is defined.
pub(super) struct Definitions<'a> {
    text: &'a str,
    /// Paths with the places of their last words, in the order of the text.
    all: Vec<(String, Range<usize>)>,
    /// The first place of each path.
    first: BTreeMap<String, Range<usize>>,
    /// Lines of table headers.
    headers: Vec<Range<usize>>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let all = definitions(text);
        let mut first = BTreeMap::new();
        for (path, range) in &all {
            first.entry(path.clone()).or_insert_with(|| range.clone());
        }
        let headers = lines(text).filter(|(_, line)| line.trim_start().starts_with('['));
        let headers = headers.map(|(start, line)| start..start + line.len()).collect();
        Self { text, all, first, headers }
    }

    /// The first definition of what is defined again at `at`.
    pub(super) fn first_before(&self, at: usize) -> Option<Range<usize>> {
        let next = self.all.partition_point(|(_, range)| range.start <= at);
        match self.all.get(next.checked_sub(1)?).filter(|(_, range)| range.contains(&at)) {
            Some((path, _)) => self.first.get(path).filter(|range| range.end <= at).cloned(),
            None => first_in_line(self.text, at),
        }
    }

    /// Whether an error at `at` is only a consequence: the parser reads on in a table that it found to be a duplicate,
    /// and reports its keys as well. `duplicates` are the places of all such errors, sorted.
    pub(super) fn is_in_duplicate_table(&self, at: usize, duplicates: &[usize]) -> bool {
        let next = self.headers.partition_point(|line| line.start <= at);
        let Some(header) = next.checked_sub(1).and_then(|last| self.headers.get(last)) else {
            return false;
        };
        let error = duplicates.partition_point(|other| *other < header.start);
        at >= header.end && duplicates.get(error).is_some_and(|other| header.contains(other))
    }
}

/// In a table on one line: the same word before a `=`.
fn first_in_line(text: &str, at: usize) -> Option<Range<usize>> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let key: &str = text.get(at..)?.split(['=', ' ', '\t']).next().filter(|key| !key.is_empty())?;
    let before = text.get(start..at)?;
    let is_key = |found: usize| {
        let rest = before.get(found + key.len()..).unwrap_or_default();
        let ahead = before.get(..found).unwrap_or_default();
        rest.trim_start().starts_with('=') && ahead.ends_with(['{', ',', ' '])
    };
    let found = before.match_indices(key).map(|(found, _)| found).find(|found| is_key(*found))?;
    Some(start + found..start + found + key.len())
}

/// The full path of each table header and of each key that begins a line, with the place of its last word.
fn definitions(text: &str) -> Vec<(String, Range<usize>)> {
    let mut out = Vec::new();
    let mut table = String::new();
    for (number, (start, line)) in lines(text).enumerate() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        if let Some(header) = content.strip_prefix("[[") {
            // Each table of an array is a new one.
            table = format!("{}#{number}", normalized(header.split(']').next().unwrap_or_default()));
        } else if let Some(header) = content.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default();
            table = normalized(header);
            out.push((table.clone(), last_word(start + indent + 1, header)));
        } else if let Some((key, _)) = content.split_once('=').filter(|_| !content.starts_with('#')) {
            let path = format!("{table}.{}", normalized(key));
            out.push((path, last_word(start + indent, key)));
        }
    }
    out
}

/// `a.b` of `a . "b"`.
fn normalized(path: &str) -> String {
    path.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect()
}

/// The place of the last word of a dotted path that begins at `start`.
fn last_word(start: usize, path: &str) -> Range<usize> {
    let path = path.trim_end();
    let at = path.rfind('.').map_or(0, |dot| dot + 1);
    let word = path.get(at..).unwrap_or_default();
    let at = at + word.len() - word.trim_start().len();
    start + at..start + path.len()
}

/// Lines with their starts.
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
    fn keys_of_a_duplicate_table_are_consequences() {
        let text = "[a]\nx = 1\n[a]\nx = 2\n[b]\ny = 1\ny = 2\n";
        let header = text.rfind("a]").unwrap();
        let definitions = Definitions::new(text);
        assert!(definitions.is_in_duplicate_table(text.find("x = 2").unwrap(), &[header]));
        assert!(!definitions.is_in_duplicate_table(text.find("y = 2").unwrap(), &[header]));
        assert!(!definitions.is_in_duplicate_table(header, &[header]));
    }
}
