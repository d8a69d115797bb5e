//! Characters that can change what a reader or a terminal makes of the text around them.

/// Returns whether a character can change what a reader or a terminal makes of the text around it.
pub(crate) fn is_unsafe_char(c: char) -> bool {
    // Controls: C0 with newline and escape, DEL, and C1.
    c.is_control()
        || matches!(c,
            // Invisible: soft hyphen, grapheme joiner, fillers, zero-width characters, word joiner, BOM.
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{2800}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Direction of the text (bidi).
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, annotations, tags and variation selectors.
            | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
            // Spaces that look like an ASCII space or like nothing.
            | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
            // Noncharacters and private use: what they look like depends on the font.
            | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// Returns a text with its unsafe characters escaped, as in a Rust string: `\n`, `\u{202e}`.
pub(crate) fn escape_text(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.chars().any(is_unsafe_char) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe_char(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_characters_are_kept() {
        for text in ["plain text", "é日本語", "Привет", "→ … “x”", "日本 (東京)"] {
            assert_eq!(escape_text(text), text);
        }
        assert_eq!(escape_text("a\tb\u{a0}c"), "a\\tb\\u{a0}c");
    }
}
