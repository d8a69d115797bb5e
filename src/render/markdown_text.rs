//! The only type of text that becomes a part of a Markdown document, such as a comment of a pull request.
//!
//! Names come from clusters and policies, where an attacker may choose them. A name must not become a link, a mention of a
//! team, a reference to an issue, an image or HTML, must not break a table, and must not look like another name. So foreign
//! text can only be added as a code span, in which no forge looks for any of these, and what the renderer writes itself is
//! `&'static str`, which a foreign text cannot be.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::terminal_text::escape_command_marks;
use crate::diagnostic::escape_text;

/// Words of only these letters can be the beginning of a commit's hash, which GitHub and GitLab make a link.
const HASH_LETTERS: std::ops::RangeInclusive<char> = 'a'..='f';
/// The shortest beginning of a hash that becomes a link.
const MIN_HASH_LENGTH: usize = 7;
/// What the values of a marker keep as it is. A `-` could end the HTML comment.
const MARKER_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_');

/// Markdown in which foreign text is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MarkdownText(String);

/// Text for a place where Markdown is not read, such as the line of `<summary>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HtmlText(String);

/// The parts of a fenced block.
pub(crate) struct FencedBlock {
    pub(crate) start: MarkdownText,
    pub(crate) items: Vec<MarkdownText>,
    pub(crate) end: MarkdownText,
}

/// Replaces each `{}` of a template by the next part.
pub(super) fn fill_template(template: &'static str, parts: impl IntoIterator<Item = String>) -> String {
    let mut parts = parts.into_iter();
    let mut out = String::with_capacity(template.len() + 32);
    for (number, piece) in template.split("{}").enumerate() {
        if number > 0 {
            out.push_str(&parts.next().unwrap_or_default());
        }
        out.push_str(piece);
    }
    out
}

impl MarkdownText {
    /// Returns what the renderer itself writes.
    pub(crate) fn markup(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the template with each `{}` replaced by the next part.
    pub(crate) fn template<const N: usize>(template: &'static str, parts: [Self; N]) -> Self {
        Self(fill_template(template, parts.into_iter().map(|part| part.0)))
    }

    /// Returns a foreign text as a code span.
    pub(crate) fn code(text: &str) -> Self {
        let text = escape_foreign(text);
        if text.is_empty() {
            return Self::markup("(empty)");
        }
        let fence = "`".repeat(longest_run(&text, '`') + 1);
        let is_blank = text.bytes().all(|byte| byte == b' ');
        // A space at both ends is removed by the reader, and a backtick would belong to the fence.
        let needs_spaces =
            text.starts_with('`') || text.ends_with('`') || (text.starts_with(' ') && text.ends_with(' ') && !is_blank);
        let space = if needs_spaces { " " } else { "" };
        Self(format!("{fence}{space}{text}{space}{fence}"))
    }

    /// Like [`Self::code`], with at most `max` characters and an ellipsis.
    pub(crate) fn short_code(text: &str, max: usize) -> Self {
        Self::code(&shorten(text, max))
    }

    /// Returns a sentence in which plain words stay as they are and every other word is a code span.
    pub(crate) fn prose(text: &str) -> Self {
        let text = escape_foreign(text);
        let is_spaced = text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
        if text.is_empty() || is_spaced {
            return Self::code(&text);
        }
        // Neighbouring words that are not plain share a code span.
        let mut words: Vec<Self> = Vec::new();
        let mut code: Vec<&str> = Vec::new();
        for word in text.split(' ') {
            let (core, punctuation) = split_punctuation(word);
            let (opening, core) = core.strip_prefix('(').map_or(("", core), |core| ("(", core));
            if is_plain_word(core) {
                words.extend(take_code(&mut code));
                words.push(Self(word.to_owned()));
            } else if core.is_empty() || opening.is_empty() && punctuation.is_empty() {
                code.push(word);
            } else {
                if !opening.is_empty() {
                    words.extend(take_code(&mut code));
                }
                code.push(core);
                let joined = code.join(" ");
                code.clear();
                words.push(Self(format!("{opening}{}{punctuation}", Self::code(&joined).0)));
            }
        }
        words.extend(take_code(&mut code));
        Self::join(words, " ")
    }

    /// Like [`Self::prose`], with at most `max` characters and an ellipsis.
    pub(crate) fn short_prose(text: &str, max: usize) -> Self {
        Self::prose(&shorten(text, max))
    }

    /// Returns a message of rolecall, in which names are between backticks, with at most `max` characters and an ellipsis.
    pub(crate) fn message(text: &str, max: usize) -> Self {
        let text = shorten(text, max);
        let pieces: Vec<&str> = text.split('`').collect();
        if pieces.len().is_multiple_of(2) || pieces.iter().skip(1).step_by(2).any(|piece| piece.is_empty()) {
            return Self::prose(&text);
        }
        let mut out = Self::default();
        for (number, piece) in pieces.into_iter().enumerate() {
            out.push(&if number.is_multiple_of(2) { Self::between_names(piece) } else { Self::code(piece) });
        }
        out
    }

    /// Returns the part of a message between two names.
    fn between_names(text: &str) -> Self {
        // A number with a `)` or `.` at the beginning of a line is a list, so they are harmless only after a name.
        let rest = text.trim_start_matches([' ', ',', ';', ':', '(', ')', '.']);
        let (start, _) = text.split_at(text.len() - rest.len());
        let inner = rest.trim_end_matches([' ', ',', ';', ':', '(']);
        let (inner, end) = rest.split_at(inner.len());
        if start.len() > 3 || end.len() > 3 {
            return Self::prose(text);
        }
        let inner = if inner.is_empty() { String::new() } else { Self::prose(inner).0 };
        Self(format!("{start}{inner}{end}"))
    }

    pub(crate) fn number(number: usize) -> Self {
        let digits = number.to_string();
        let mut out = String::new();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        Self(out)
    }

    /// `1 change`, `2 changes`.
    pub(crate) fn count(number: usize, noun: &'static str) -> Self {
        Self(format!("{} {noun}{}", Self::number(number).0, if number == 1 { "" } else { "s" }))
    }

    pub(crate) fn join(parts: impl IntoIterator<Item = Self>, separator: &'static str) -> Self {
        let parts: Vec<String> = parts.into_iter().map(|part| part.0).collect();
        Self(parts.join(separator))
    }

    /// Returns one row of a table with its newline.
    pub(crate) fn table_row(cells: &[Self]) -> Self {
        // The reader of a table removes the backslash, also in a code span. What it makes of a backslash in front of it differs
        // between forges, so such a `|` is shown by its code.
        let escape_cell = |cell: &Self| cell.0.replace("\\|", "\\\\u{7c}").replace('|', "\\|");
        let cells: Vec<String> = cells.iter().map(escape_cell).collect();
        Self(format!("| {} |\n", cells.join(" | ")))
    }

    /// Returns lines of foreign text in a fenced block, with its newline.
    pub(crate) fn fenced(language: &'static str, lines: &[String]) -> Self {
        let FencedBlock { start, items, end } = Self::fenced_block(language, &[lines.to_vec()]);
        let items: String = items.into_iter().map(|item| item.0).collect();
        Self(start.0 + &items + &end.0)
    }

    /// Like [`Self::fenced`], in parts of which some can be left out.
    pub(crate) fn fenced_block(language: &'static str, items: &[Vec<String>]) -> FencedBlock {
        let items: Vec<Self> =
            items.iter().map(|lines| Self(lines.iter().map(|line| escape_foreign(line) + "\n").collect())).collect();
        let longest = items.iter().map(|item| longest_run(&item.0, '`')).max().unwrap_or_default();
        let fence = "`".repeat((longest + 1).max(3));
        FencedBlock { start: Self(format!("{fence}{language}\n")), items, end: Self(fence + "\n") }
    }

    /// The beginning of a part that the reader can unfold.
    pub(crate) fn details_start(is_open: bool, title: &HtmlText) -> Self {
        let open = if is_open { " open" } else { "" };
        Self(format!("<details{open}>\n<summary>{}</summary>\n\n", title.0))
    }

    /// The end of [`Self::details_start`].
    pub(crate) fn details_end() -> Self {
        Self::markup("\n</details>\n")
    }

    /// Returns a hidden line by which a later version of the same comment is recognized.
    pub(crate) fn marker<'a>(values: impl IntoIterator<Item = (&'static str, Vec<&'a str>)>) -> Self {
        let mut out = "<!-- rolecall:".to_owned();
        for (key, values) in values {
            let values = values.into_iter().map(|value| utf8_percent_encode(value, MARKER_VALUE).to_string());
            out.push_str(&format!(" {key}={}", values.collect::<Vec<String>>().join(",")));
        }
        Self(out + " -->\n")
    }

    pub(crate) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// The length in bytes, which is at least the number of characters by any count.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl HtmlText {
    /// Returns the template with each `{}` replaced by the next part.
    pub(crate) fn template<const N: usize>(template: &'static str, parts: [Self; N]) -> Self {
        Self(fill_template(template, parts.into_iter().map(|part| part.0)))
    }

    /// Returns a foreign text as code, with at most `max` characters and an ellipsis.
    pub(crate) fn short_code(text: &str, max: usize) -> Self {
        let mut out = "<code>".to_owned();
        for c in shorten(text, max).chars() {
            if c.is_ascii_punctuation() {
                out.push_str(&format!("&#{};", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        Self(out + "</code>")
    }

    /// `1 change`, `2 changes`.
    pub(crate) fn count(number: usize, noun: &'static str) -> Self {
        Self(MarkdownText::count(number, noun).0)
    }

    pub(crate) fn number(number: usize) -> Self {
        Self(MarkdownText::number(number).0)
    }
}

/// Escapes characters that cannot be seen, and commands of a CI system, in whose log the text is printed too.
pub(super) fn escape_foreign(text: &str) -> String {
    escape_command_marks(&escape_text(text))
}

/// Returns the escaped text with at most `max` characters.
pub(super) fn shorten(text: &str, max: usize) -> String {
    let text = escape_foreign(text);
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text,
    }
}

fn take_code(code: &mut Vec<&str>) -> Option<MarkdownText> {
    let joined = code.join(" ");
    let is_empty = code.is_empty();
    code.clear();
    (!is_empty).then(|| MarkdownText::code(&joined))
}

/// Splits a word from the punctuation at its end that has no meaning in Markdown.
fn split_punctuation(word: &str) -> (&str, &str) {
    let core = word.trim_end_matches([',', ';', ':', ')']);
    let (core, punctuation) = word.split_at(core.len());
    // `1)` begins a list.
    let is_list = punctuation.contains(')') && core.bytes().all(|byte| byte.is_ascii_digit());
    // Two colons can end the name of an emoji, and one that begins it is in the word before.
    let is_odd = punctuation.matches([':', ')']).count() > 1;
    if is_list || is_odd { (word, "") } else { (core, punctuation) }
}

/// Returns whether no forge gives the word a meaning.
fn is_plain_word(word: &str) -> bool {
    let is_hash =
        word.len() >= MIN_HASH_LENGTH && word.chars().all(|c| HASH_LETTERS.contains(&c) || c.is_ascii_digit());
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    !word.is_empty() && !is_hash && (is_word || is_number)
}

fn longest_run(text: &str, c: char) -> usize {
    let mut longest = 0;
    let mut current = 0;
    for found in text.chars() {
        current = if found == c { current + 1 } else { 0 };
        longest = longest.max(current);
    }
    longest
}

#[cfg(test)]
mod tests;
