//! A position in the text that only moves forward. It counts bytes for the spans of nodes, and
//! lines, columns and characters because YAML's rules use those. It knows characters, not tokens.

use super::error::YamlError;

/// A position, counted from 0 in every unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TextPosition {
    /// In bytes from the start of the text.
    pub(super) offset: usize,
    /// In characters from the start of the text: YAML limits the length of a key in characters.
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
    /// Returns a cursor at the start of the text, after a byte order mark.
    ///
    /// # Errors
    /// The first character that YAML forbids everywhere, so that the scanner need not check again.
    pub(super) fn new(text: &'t str) -> Result<Self, YamlError> {
        let mut cursor = Self { text, position: TextPosition::default() };
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        cursor.position.offset = text.len() - body.len();
        if let Some((offset, forbidden)) = body.char_indices().find(|(_, c)| !is_allowed_char(*c)) {
            let message = if forbidden == '\u{feff}' {
                "a byte order mark inside the text is not allowed".to_owned()
            } else {
                format!("control character U+{:04X} is not allowed", forbidden as u32)
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

    /// Returns the byte `ahead` bytes after the cursor. 0 means the end, as no valid text contains a 0 byte.
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

    /// Returns a line break of YAML 1.1: LF, CR, NEL, LS or PS.
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

    /// Returns a letter, a digit, `_` or `-`: the characters of anchors and directive names.
    pub(super) fn is_word_char(&self) -> bool {
        let byte = self.peek(0);
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    }

    /// `---` or `...` at the start of a line, followed by whitespace. It ends a document even inside a scalar.
    pub(super) fn is_document_marker(&self) -> bool {
        let first = self.peek(0);
        self.position.column == 0
            && matches!(first, b'-' | b'.')
            && self.peek(1) == first
            && self.peek(2) == first
            && self.is_whitespace_or_end(3)
    }

    /// Skips one character that is not a line break.
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

    /// Skips a comment if one starts here.
    pub(super) fn skip_comment(&mut self) {
        if self.peek(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
    }

    /// Skips one line break. CR LF is one.
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

    /// Skips one character and appends it to `out`.
    pub(super) fn read(&mut self, out: &mut String) {
        let end = self.position.offset + self.char_width();
        out.push_str(self.text.get(self.position.offset..end).unwrap_or_default());
        self.skip();
    }

    /// Skips one line break and appends it to `out`: LS and PS unchanged, every other one as LF.
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

/// Returns the characters that go-yaml v2 accepts (`readerc.go`). Whether it accepts a byte order mark inside
/// the text depends on where its read buffer ends, so that one is refused here.
fn is_allowed_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{FFFD}' | '\u{10000}'..) && c != '\u{feff}'
}
