//! Writes a string as one scalar that every reader resolves to the same string: go-yaml v2 and v3,
//! and parsers of YAML 1.1 and 1.2.

use super::resolve::{ScalarValue, resolve_plain_scalar};

/// Words that YAML 1.1 does not resolve to strings, in lower case, even if go-yaml v2 does.
const RESERVED_WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Returns whether a string needs no quotes, in block style and in flow style.
pub(crate) fn is_plain_safe(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "._/@+=:-".contains(c))
        && is_unambiguous_text(text)
}

/// Returns whether a string needs no quotes in block style, where `,` and braces are allowed after the first character.
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

/// Returns the string as a scalar on one line of block style: plain if that is safe, otherwise in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    if is_block_plain_safe(text) { text.to_owned() } else { double_quoted(text) }
}

/// Returns the string in double quotes, valid as YAML and as JSON.
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

/// Returns whether a character is refused or read as a line break by some reader, or is invisible: control
/// characters, Unicode line breaks, byte order marks, unusual spaces and bidirectional controls.
fn needs_unicode_escape(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{A0}'
                | '\u{AD}'
                | '\u{61C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFFE}'
                | '\u{FFFF}'
        )
}
