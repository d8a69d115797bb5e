//! Large files in pieces: what is read of one is given back before the next, so that a policy of a large company takes
//! neither the memory nor the time of one tree of all of it.
//!
//! A piece begins at a table's header. Whether that was one is seen by the reading: where a piece has any fault, the file
//! is read again as a whole, and what that says counts.

use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes of a piece. A tree takes some thirty times its text, and that much stays near the processor.
const CHUNK_BYTES: usize = 32 * 1024;

/// The pieces of a text; a small one, or one that is written in an unusual way, is one piece.
pub(super) fn split_into_chunks(text: &str) -> Vec<Range<usize>> {
    let whole = || std::iter::once(0..text.len()).collect();
    if text.len() < 2 * CHUNK_BYTES {
        return whole();
    }
    let mut out = Vec::new();
    let mut headers = BTreeSet::new();
    let (mut start, mut at, mut last) = (0, 0, "");
    for line in text.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            // TOML forbids one table to be written twice, and apart from each other the two would not be noticed.
            if !header.starts_with('[') && !headers.insert(header.trim_end()) {
                return whole();
            }
            let item = item_path(header);
            if item != last && at - start >= CHUNK_BYTES {
                out.push(start..at);
                start = at;
            }
            last = item;
        }
        at += line.len();
    }
    out.push(start..text.len());
    out
}

/// `principals.viewer` of `principals.viewer.sso]`: the tables of one item stay together.
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
    fn pieces_begin_at_headers_and_make_up_the_text() {
        let text = large_text(|n| format!("[principals.p{n}]\nrole = \"r{n}\"\n[principals.p{n}.sso]\n"));
        let pieces = split_into_chunks(&text);
        assert!(pieces.len() > 2, "{}", pieces.len());
        let joined: String = pieces.iter().map(|piece| &text[piece.clone()]).collect();
        assert_eq!(joined, text);
        for piece in &pieces[1..] {
            let first = text[piece.clone()].lines().next().unwrap();
            assert!(first.starts_with("[principals.p") && !first.contains("sso"), "{first}");
        }
    }

    #[test]
    fn a_small_text_and_one_with_a_table_twice_stay_whole() {
        assert_eq!(split_into_chunks("[a]\n[b]\n").len(), 1);
        let twice = large_text(|n| format!("[groups.g{}]\n", n % 19_999));
        assert_eq!(split_into_chunks(&twice).len(), 1);
    }
}
