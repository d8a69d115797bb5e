//! Splits large policy files into chunks that are parsed one after the other, so that parsing does not need a TOML tree
//! of the whole file.
//!
//! A chunk starts at a line that looks like a table header. The line can also be part of a multi-line string. The
//! loader therefore parses a file again as a whole if one of its chunks has an error.

use std::collections::BTreeSet;
use std::ops::Range;

/// Minimum size of a chunk. A TOML tree takes about thirty times its text, and a tree of this size fits into the CPU
/// cache.
pub(super) const CHUNK_BYTES: usize = 32 * 1024;

/// Returns the ranges of the chunks, which have at least `min_bytes` each. A small text is one chunk, as is one that
/// defines a table twice.
pub(super) fn split_into_chunks(text: &str, min_bytes: usize) -> Vec<Range<usize>> {
    let whole = || std::iter::once(0..text.len()).collect();
    if text.len() < 2 * min_bytes {
        return whole();
    }
    let mut out = Vec::new();
    let mut headers = BTreeSet::new();
    let (mut start, mut line_start, mut last_item) = (0, 0, "");
    for line in text.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            // The TOML parser reports a duplicate table only if both definitions are in the same chunk.
            if !header.starts_with('[') && !headers.insert(header.trim_end()) {
                return whole();
            }
            let item = item_path(header);
            if item != last_item && line_start - start >= min_bytes {
                out.push(start..line_start);
                start = line_start;
            }
            last_item = item;
        }
        line_start += line.len();
    }
    out.push(start..text.len());
    out
}

/// Returns `principals.viewer` for `principals.viewer.sso]`, so that the tables of one item stay in one chunk.
fn item_path(header: &str) -> &str {
    let path = header.trim_start_matches('[').split(']').next().unwrap_or_default();
    let mut dots = path.match_indices('.').map(|(at, _)| at);
    let end = dots.nth(1).unwrap_or(path.len());
    path.get(..end).unwrap_or(path).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large_text(line: impl Fn(usize) -> String) -> String {
        (0..20_000).map(line).collect()
    }

    #[test]
    fn chunks_start_at_headers_and_cover_the_text() {
        let text = large_text(|n| format!("[principals.p{n}]\nrole = \"r{n}\"\n[principals.p{n}.sso]\n"));
        let chunks = split_into_chunks(&text, CHUNK_BYTES);
        assert!(chunks.len() > 2, "{}", chunks.len());
        let joined: String = chunks.iter().map(|chunk| &text[chunk.clone()]).collect();
        assert_eq!(joined, text);
        for chunk in &chunks[1..] {
            let first = text[chunk.clone()].lines().next().unwrap();
            assert!(first.starts_with("[principals.p") && !first.contains("sso"), "{first}");
        }
    }

    #[test]
    fn small_text_and_duplicate_tables_are_one_chunk() {
        assert_eq!(split_into_chunks("[a]\n[b]\n", CHUNK_BYTES).len(), 1);
        let twice = large_text(|n| format!("[groups.g{}]\n", n % 19_999));
        assert_eq!(split_into_chunks(&twice, CHUNK_BYTES).len(), 1);
    }
}
