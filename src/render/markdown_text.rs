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
pub(super) fn fill_template<'a>(template: &'static str, parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut parts = parts.into_iter();
    let mut out = String::with_capacity(template.len() + 32);
    for (number, piece) in template.split("{}").enumerate() {
        if number > 0 {
            out.push_str(parts.next().unwrap_or_default());
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
        Self(fill_template(template, parts.iter().map(|part| part.0.as_str())))
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
            } else if opening.is_empty() && punctuation.is_empty() {
                code.push(word);
            } else if core.is_empty() {
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
        let is_harmless = |c: char| matches!(c, ' ' | ',' | ';' | ':' | '(' | ')' | '.');
        let rest = text.trim_start_matches(is_harmless);
        let (start, _) = text.split_at(text.len() - rest.len());
        let inner = rest.trim_end_matches(is_harmless);
        let (inner, end) = rest.split_at(inner.len());
        if start.len() > 2 || end.len() > 2 {
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
        Self(fill_template(template, parts.iter().map(|part| part.0.as_str())))
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
fn escape_foreign(text: &str) -> String {
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
mod tests {
    use comrak::nodes::NodeValue;
    use comrak::{Arena, Options, parse_document};
    use proptest::prelude::*;

    use super::*;

    /// A strict reader: every extension of GitHub and GitLab that gives text a meaning.
    fn options() -> Options<'static> {
        let mut options = Options::default();
        let extension = &mut options.extension;
        extension.strikethrough = true;
        extension.table = true;
        extension.autolink = true;
        extension.tasklist = true;
        extension.superscript = true;
        extension.footnotes = true;
        extension.inline_footnotes = true;
        extension.description_lists = true;
        extension.multiline_block_quotes = true;
        extension.alerts = true;
        extension.math_dollars = true;
        extension.math_code = true;
        extension.shortcodes = true;
        extension.wikilinks_title_after_pipe = true;
        extension.underline = true;
        extension.subscript = true;
        extension.spoiler = true;
        extension.greentext = true;
        extension.highlight = true;
        options.parse.relaxed_autolinks = true;
        options.parse.relaxed_tasklist_matching = true;
        options
    }

    /// Reads Markdown. Returns the text of each table cell or other paragraph, with what is not in a code span.
    fn read(markdown: &str) -> Vec<(String, String)> {
        let arena = Arena::new();
        let root = parse_document(&arena, markdown, &options());
        let mut blocks = Vec::new();
        for node in root.descendants() {
            let value = node.data.borrow().value.clone();
            match value {
                NodeValue::Document
                | NodeValue::Table(_)
                | NodeValue::TableRow(_)
                | NodeValue::Code(_)
                | NodeValue::Text(_)
                | NodeValue::LineBreak
                | NodeValue::CodeBlock(_) => {}
                NodeValue::Paragraph | NodeValue::TableCell => {
                    let (mut all, mut plain) = (String::new(), String::new());
                    for child in node.descendants() {
                        match &child.data.borrow().value {
                            NodeValue::Text(text) => {
                                all.push_str(text);
                                plain.push_str(text);
                            }
                            NodeValue::Code(code) => {
                                all.push_str(&code.literal);
                                plain.push('\u{0}');
                            }
                            _ => {}
                        }
                    }
                    blocks.push((all, plain));
                }
                other => panic!("{markdown:?} has {other:?}"),
            }
        }
        blocks
    }

    fn hostile() -> impl Strategy<Value = String> {
        let fragments = [
            "`",
            "``",
            "```",
            "|",
            "\\",
            "\\|",
            "<script>",
            "<b>",
            "<!--",
            "-->",
            "&amp;",
            "@team",
            "@",
            "#123",
            "GH-1",
            "!12",
            "org/repo#1",
            "https://evil.example",
            "www.evil.example",
            "mailto:a@b.example",
            "a@b.example",
            "ftp://x",
            ":x:",
            ":",
            "![x](y)",
            "[x](y)",
            "[x]: y",
            "[^1]",
            "*",
            "**",
            "_",
            "~~",
            "$x$",
            "$`x`$",
            "\n",
            "\n\n",
            "\r",
            "\t",
            "\u{202e}",
            "\u{200b}",
            "\u{feff}",
            " ",
            "  ",
            "# x",
            "- x",
            "1. x",
            "1)",
            "> x",
            "---",
            "===",
            "| - |",
            "deadbeef",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
            "a",
            "get",
            "(",
            ")",
            ",",
            ";",
            "…",
            "é",
            "日本",
            "[[x]]",
            "||x||",
            "==x==",
            ":::",
            "/url",
            "xmpp:a@b.c",
            "{}",
            "%",
            "^",
            "~1",
            "&1",
            "\\`",
            "##[error]",
        ];
        proptest::collection::vec(proptest::sample::select(fragments.to_vec()), 1..8).prop_map(|parts| parts.concat())
    }

    fn check_plain_text(plain: &str) {
        for word in plain.split([' ', '\u{0}']) {
            let core = word.trim_matches(['(', ')', ',', ';', ':']);
            assert!(core.is_empty() || is_plain_word(core), "{word:?} is not in a code span: {plain:?}");
        }
        assert!(!plain.contains(['@', '#', '!', '/', '<', '&', '\\', '`', '$', '~', '%', '^', '.', '_']), "{plain:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Hostile names give no link, mention, image or HTML, keep the columns of a table, and are shown as escaped.
        #[test]
        fn hostile_text_is_shown_and_has_no_meaning(first in hostile(), second in hostile()) {
            let mut table = MarkdownText::table_row(&[MarkdownText::markup("a"), MarkdownText::markup("b"), MarkdownText::markup("c")]);
            table.push(&MarkdownText::markup("| --- | --- | --- |\n"));
            table.push(&MarkdownText::table_row(&[MarkdownText::code(&first), MarkdownText::prose(&second), MarkdownText::markup("end")]));
            let cells = read(table.as_str());
            prop_assert_eq!(cells.len(), 6, "{}", table.as_str());
            let in_cell = |text: &str| escape_foreign(text).replace("\\|", "\\\\u{7c}");
            prop_assert_eq!(&cells[3].0, &in_cell(&first));
            prop_assert_eq!(&cells[4].0, &in_cell(&second));
            prop_assert_eq!(&cells[5].0, "end");
            check_plain_text(&cells[3].1);
            check_plain_text(&cells[4].1);
            let message = read(MarkdownText::message(&format!("the name `{first}` of {second} is `x`"), 10_000).as_str());
            prop_assert_eq!(message.len(), 1);
            check_plain_text(&message[0].1);
            for text in [MarkdownText::code(&first), MarkdownText::prose(&first)] {
                let blocks = read(text.as_str());
                prop_assert_eq!(blocks.len(), 1, "{}", text.as_str());
                prop_assert_eq!(&blocks[0].0, &escape_foreign(&first));
                check_plain_text(&blocks[0].1);
            }
            let fenced = MarkdownText::fenced("diff", &[first.clone(), second.clone()]);
            prop_assert!(read(fenced.as_str()).is_empty(), "{}", fenced.as_str());
        }

        /// A title and a marker are HTML that ends where it should, and have no markup of the name.
        #[test]
        fn hostile_text_stays_in_titles_and_markers(name in hostile()) {
            let title = HtmlText::template("cluster {}", [HtmlText::short_code(&name, 1000)]);
            let inner = title.0.strip_prefix("cluster <code>").unwrap().strip_suffix("</code>").unwrap();
            prop_assert!(!inner.contains(['<', '>', '`', '@', '\n', ':', '|', '"', '/']), "{}", inner);
            let marker = MarkdownText::marker([("policy", vec![name.as_str()]), ("cluster", vec!["a-b", &name])]);
            let inner = marker.0.strip_prefix("<!-- ").unwrap().strip_suffix(" -->\n").unwrap();
            prop_assert!(!inner.contains(['-', '<', '>', '\n', '\r']), "{}", inner);
        }
    }

    #[test]
    fn prose_is_readable() {
        let prose = |text| MarkdownText::prose(text).0;
        assert_eq!(prose("get, list pods in team-a, team-b"), "get, list pods in `team-a`, `team-b`");
        assert_eq!(prose("group devs must not be able to get secrets"), "group devs must not be able to get secrets");
        assert_eq!(prose("the role arn:aws:iam::1:role/x is removed"), "the role `arn:aws:iam::1:role/x` is removed");
        assert_eq!(prose("limit of 10 (half of a-b)"), "limit of 10 (half of `a-b`)");
        assert_eq!(prose("accede deadbeef @team #1"), "accede `deadbeef @team #1`");
        assert_eq!(prose("x: 1) y"), "x: `1)` y");
        let message = |text| MarkdownText::message(text, 100).0;
        assert_eq!(message("unknown key `x y` in `policy`"), "unknown key `x y` in `policy`");
        assert_eq!(message("`a`, `b` and more (`c`): none"), "`a`, `b` and more (`c`): none");
        assert_eq!(message("a ` b"), "`` a ` b ``".replace("`` a ` b ``", "a `` ` `` b"));
    }

    #[test]
    fn numbers_have_separators() {
        let numbers = [0, 999, 1000, 65_536, 1_234_567].map(|number| MarkdownText::number(number).0);
        assert_eq!(numbers, ["0", "999", "1,000", "65,536", "1,234,567"]);
        assert_eq!(MarkdownText::count(1, "change").0 + &MarkdownText::count(2, "change").0, "1 change2 changes");
    }
}
