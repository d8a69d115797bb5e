//! A place in the text that only moves forward. It counts bytes for our spans, and lines, columns
//! and characters because YAML's rules are about those. It knows characters, not tokens.

use super::error::YamlError;

/// A position, counted from 0 in every unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TextPosition {
    /// In bytes from the start of the text.
    pub(super) offset: usize,
    /// In characters; the limit on the length of a key is counted so.
    pub(super) chars: usize,
    pub(super) line: usize,
    /// In characters from the start of the line.
    pub(super) column: usize,
}

pub(super) struct Cursor<'t> {
    text: &'t str,
    pub(super) position: TextPosition,
}

impl<'t> Cursor<'t> {
    /// Refuses what YAML forbids anywhere, so that no later step meets it.
    pub(super) fn new(text: &'t str) -> Result<Self, YamlError> {
        let mut cursor = Self { text, position: TextPosition::default() };
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        cursor.position.offset = text.len() - body.len();
        if let Some((offset, found)) = body.char_indices().find(|(_, c)| !is_allowed_char(*c)) {
            let message = if found == '\u{feff}' {
                "a byte order mark inside the text is not allowed".to_owned()
            } else {
                format!("the control character U+{:04X} is not allowed", found as u32)
            };
            let target = cursor.position.offset + offset;
            while cursor.position.offset < target {
                if cursor.is_break(0) {
                    cursor.skip_break();
                } else {
                    cursor.skip();
                }
            }
            return Err(YamlError::new(cursor.position, message));
        }
        Ok(cursor)
    }

    /// The byte that many bytes ahead; 0, which the text cannot hold, past its end.
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        let bytes = self.text.as_bytes();
        bytes.get(self.position.offset + ahead).copied().unwrap_or(0)
    }

    pub(super) fn is_end(&self) -> bool {
        self.position.offset >= self.text.len()
    }

    /// Space or tab.
    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), b' ' | b'\t')
    }

    /// A line break as YAML 1.1 counts them: LF, CR, NEL, LS, PS.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        match self.peek(ahead) {
            b'\n' | b'\r' => true,
            0xC2 => self.peek(ahead + 1) == 0x85,
            0xE2 => self.peek(ahead + 1) == 0x80 && matches!(self.peek(ahead + 2), 0xA8 | 0xA9),
            _ => false,
        }
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.peek(ahead) == 0 || self.is_break(ahead)
    }

    pub(super) fn is_whitespace_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// A letter, digit, `_` or `-`, as in anchors and directives.
    pub(super) fn is_word_char(&self) -> bool {
        let byte = self.peek(0);
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    }

    /// `---` or `...` alone at the start of a line ends a document, even inside a scalar.
    pub(super) fn is_document_marker(&self) -> bool {
        let first = self.peek(0);
        self.position.column == 0
            && matches!(first, b'-' | b'.')
            && self.peek(1) == first
            && self.peek(2) == first
            && self.is_whitespace_or_end(3)
    }

    /// Steps over one character that is no line break.
    pub(super) fn skip(&mut self) {
        if !self.is_end() {
            self.position.offset += self.char_width();
            self.position.chars += 1;
            self.position.column += 1;
        }
    }

    pub(super) fn skip_many(&mut self, count: usize) {
        for _ in 0..count {
            self.skip();
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }

    /// Steps over a comment if one begins here.
    pub(super) fn skip_comment(&mut self) {
        if self.peek(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
    }

    /// Steps over one line break, CR LF being one.
    pub(super) fn skip_break(&mut self) {
        if self.is_end() {
            return;
        }
        let pair = self.peek(0) == b'\r' && self.peek(1) == b'\n';
        self.position.offset += if pair { 2 } else { self.char_width() };
        self.position.chars += if pair { 2 } else { 1 };
        self.position.column = 0;
        self.position.line += 1;
    }

    /// Moves one character into `out`.
    pub(super) fn read(&mut self, out: &mut String) {
        let end = self.position.offset + self.char_width();
        out.push_str(self.text.get(self.position.offset..end).unwrap_or_default());
        self.skip();
    }

    /// Moves one line break into `out`: every kind becomes LF, but LS and PS stay.
    pub(super) fn read_break(&mut self, out: &mut String) {
        if self.peek(0) == 0xE2 {
            let end = self.position.offset + 3;
            out.push_str(self.text.get(self.position.offset..end).unwrap_or_default());
        } else {
            out.push('\n');
        }
        self.skip_break();
    }

    fn char_width(&self) -> usize {
        match self.peek(0) {
            0..=0x7F => 1,
            0x80..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0.. => 4,
        }
    }
}

/// go-yaml v2 `readerc.go` refuses all others. The byte order mark it takes at places that depend
/// on its read buffer, so a second one is refused here.
fn is_allowed_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..) && c != '\u{feff}'
}
