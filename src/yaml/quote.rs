//! How a text is written as one scalar that every reader takes for the same text: go-yaml v2 and v3,
//! YAML 1.1 and 1.2, and JSON's quotes.

use super::resolve::{ScalarValue, resolve_plain_scalar};

/// Words that YAML 1.1 gives a meaning, whatever go-yaml v2 does with them, in lower case.
const RESERVED_WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Whether a text may stand without quotes, in block and in flow style alike.
pub(crate) fn is_plain_safe(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "._/@+=:-".contains(c))
        && is_unambiguous_text(text)
}

/// As [`is_plain_safe`], for block style, where `,` and braces behind the first place are harmless.
fn is_block_plain_safe(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "._/@+=,:{}-".contains(c))
        && is_unambiguous_text(text)
}

fn is_unambiguous_text(text: &str) -> bool {
    !text.ends_with(':')
        && !RESERVED_WORDS.contains(&text.to_ascii_lowercase().as_str())
        && matches!(resolve_plain_scalar(text), ScalarValue::Text(_))
}

/// The text as a scalar on one line: plain where that is safe, else in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    if is_block_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
}

/// In double quotes, valid as YAML and as JSON.
pub(crate) fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if needs_unicode_escape(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Refused by readers, a line break to some, or unseen by people: control characters, other line
/// breaks, byte order marks, blanks of odd width and marks that turn the direction of writing.
fn needs_unicode_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{A0}'
                | '\u{AD}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{2069}'
                | '\u{FEFF}'
                | '\u{FFFE}'
                | '\u{FFFF}'
        )
}
