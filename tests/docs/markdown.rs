//! The fenced code blocks of a Markdown file, with the comment line before them that tells what they are.

use std::path::Path;

use super::{read, root};

/// One piece of a Markdown file. The pieces in order make the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text outside of code blocks, with its line ends.
    Text(String),
    Code(Code),
}

/// A fenced code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    /// The opening line without its line end: fence and language.
    pub(crate) opening: String,
    /// The fence alone: three or more backticks, with the indentation before them.
    pub(crate) fence: String,
    pub(crate) language: String,
    /// The lines between the fences, with their line ends.
    pub(crate) content: String,
    /// The line number of the opening line, from 1.
    pub(crate) line: usize,
    /// Of the comment on the line before the block: `<!-- file: examples/a.toml -->` gives `file: examples/a.toml`.
    pub(crate) directive: Option<String>,
}

/// Splits a Markdown file.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut prose = String::new();
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((at, line)) = lines.next() {
        let opening = line.trim_end();
        let backticks = opening.chars().take_while(|c| *c == '`').count();
        if backticks < 3 {
            prose.push_str(line);
            continue;
        }
        let fence = opening[..backticks].to_owned();
        let directive =
            prose.lines().last().and_then(|last| last.strip_prefix("<!-- ")?.strip_suffix(" -->")).map(str::to_owned);
        let mut content = String::new();
        let mut closed = false;
        for (_, inner) in lines.by_ref() {
            if inner.trim_end() == fence {
                closed = true;
                break;
            }
            content.push_str(inner);
        }
        assert!(closed, "the code block of line {} is not closed", at + 1);
        pieces.push(Piece::Text(std::mem::take(&mut prose)));
        pieces.push(Piece::Code(Code {
            language: opening[backticks..].trim().to_owned(),
            opening: opening.to_owned(),
            fence,
            content,
            line: at + 1,
            directive,
        }));
    }
    pieces.push(Piece::Text(prose));
    pieces
}

/// Joins the pieces to a file.
pub(crate) fn join(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Code(code) => format!("{}\n{}{}\n", code.opening, code.content, code.fence),
        })
        .collect()
}

/// The code blocks of a language in a file.
pub(crate) fn blocks(path: &Path, language: &str) -> Vec<Code> {
    pieces(&read(path))
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Code(code) if code.language == language => Some(code),
            _ => None,
        })
        .collect()
}

/// Replaces the content of every block that quotes a file of the repository by the file.
pub(crate) fn with_quoted_files(pieces: &mut [Piece]) {
    for piece in pieces {
        let Piece::Code(code) = piece else { continue };
        let Some(path) = code.directive.as_deref().and_then(|directive| directive.strip_prefix("file: ")) else {
            continue;
        };
        code.content = quoted(&read(&root().join(path)));
    }
}

/// A file as documents quote it: without the schema line for editors, and without the empty lines after it.
fn quoted(text: &str) -> String {
    match text.strip_prefix("#:schema ").and_then(|rest| rest.split_once('\n')) {
        Some((_, rest)) => rest.trim_start_matches('\n').to_owned(),
        None => text.to_owned(),
    }
}

#[test]
fn pieces_join_to_the_same_file() {
    let text = "a\n<!-- file: b -->\n````yaml\n```\n````\n\n```sh\nx\n```\nend\n";
    let found = pieces(text);
    assert_eq!(join(&found), text);
    let Piece::Code(code) = &found[1] else { panic!("{found:?}") };
    assert_eq!((code.language.as_str(), code.content.as_str(), code.line), ("yaml", "```\n", 3));
    assert_eq!(code.directive.as_deref(), Some("file: b"));
}
