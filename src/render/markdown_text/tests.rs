//! Hostile text has no meaning in Markdown.

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
