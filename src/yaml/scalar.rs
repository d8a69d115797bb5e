//! Scans plain and quoted scalars and folds their lines.

use super::cursor::TextPosition;
use super::error::YamlError;
use super::scanner::Scanner;
use super::token::{ScalarStyle, Token, TokenKind};

/// The whitespace after a word. It is content only if another word follows.
#[derive(Default)]
struct PendingWhitespace {
    blanks: String,
    first_break: String,
    more_breaks: String,
    /// After a line break, blanks are indentation and not content.
    has_break: bool,
}

impl PendingWhitespace {
    /// Appends the whitespace as content: one line break becomes a space, several lose the first.
    /// LS and PS are kept.
    fn flush(&mut self, out: &mut String) {
        if !self.has_break {
            out.push_str(&self.blanks);
        } else if self.first_break.starts_with('\n') {
            if self.more_breaks.is_empty() {
                out.push(' ');
            } else {
                out.push_str(&self.more_breaks);
            }
        } else {
            out.push_str(&self.first_break);
            out.push_str(&self.more_breaks);
        }
        self.blanks.clear();
        self.first_break.clear();
        self.more_breaks.clear();
        self.has_break = false;
    }
}

impl Scanner<'_> {
    pub(super) fn scan_plain(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        let mut end = start;
        let mut text = String::new();
        let mut pending = PendingWhitespace::default();
        let indent = self.indent + 1;
        let column = |mark: TextPosition| isize::try_from(mark.column).unwrap_or(isize::MAX);
        loop {
            if self.cursor.is_document_marker() || self.cursor.peek(0) == b'#' {
                break;
            }
            while !self.cursor.is_whitespace_or_end(0) {
                let byte = self.cursor.peek(0);
                if byte == b':' && self.cursor.is_whitespace_or_end(1) {
                    break;
                }
                if self.flow_depth > 0 && matches!(byte, b',' | b'?' | b'[' | b']' | b'{' | b'}') {
                    break;
                }
                pending.flush(&mut text);
                self.cursor.read(&mut text);
                end = self.cursor.position;
            }
            if !(self.cursor.is_blank(0) || self.cursor.is_break(0)) {
                break;
            }
            while self.cursor.is_blank(0) || self.cursor.is_break(0) {
                if self.cursor.is_break(0) {
                    self.read_pending_break(&mut pending);
                    continue;
                }
                if pending.has_break && self.cursor.peek(0) == b'\t' && column(self.cursor.position) < indent {
                    return Err(self.error("found a tab used for indentation; YAML requires spaces"));
                }
                self.read_pending_blank(&mut pending);
            }
            if self.flow_depth == 0 && column(self.cursor.position) < indent {
                break;
            }
        }
        if pending.has_break {
            self.key_allowed = true;
        }
        let style = ScalarStyle::Plain;
        let kind = TokenKind::Scalar { text, style };
        Ok(Token { kind, start, end })
    }

    pub(super) fn scan_quoted(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        let quote = self.cursor.peek(0);
        let mut text = String::new();
        self.cursor.skip();
        loop {
            if self.cursor.is_document_marker() {
                return Err(self.error("found a document marker inside a quoted string"));
            }
            if self.cursor.is_end() {
                return Err(YamlError::new(start, "unterminated quoted string"));
            }
            let mut pending = PendingWhitespace::default();
            while !self.cursor.is_whitespace_or_end(0) {
                let byte = self.cursor.peek(0);
                if quote == b'\'' && byte == b'\'' && self.cursor.peek(1) == b'\'' {
                    text.push('\'');
                    self.cursor.skip_many(2);
                } else if byte == quote {
                    break;
                } else if quote == b'"' && byte == b'\\' && self.cursor.is_break(1) {
                    self.cursor.skip();
                    self.cursor.skip_break();
                    pending.has_break = true;
                    break;
                } else if quote == b'"' && byte == b'\\' {
                    self.scan_escape(&mut text)?;
                } else {
                    self.cursor.read(&mut text);
                }
            }
            if self.cursor.peek(0) == quote {
                break;
            }
            while self.cursor.is_blank(0) || self.cursor.is_break(0) {
                if self.cursor.is_break(0) {
                    self.read_pending_break(&mut pending);
                } else {
                    self.read_pending_blank(&mut pending);
                }
            }
            pending.flush(&mut text);
        }
        self.cursor.skip();
        let end = self.cursor.position;
        let style = if quote == b'"' { ScalarStyle::DoubleQuoted } else { ScalarStyle::SingleQuoted };
        let kind = TokenKind::Scalar { text, style };
        Ok(Token { kind, start, end })
    }

    fn read_pending_break(&mut self, pending: &mut PendingWhitespace) {
        if pending.has_break {
            self.cursor.read_break(&mut pending.more_breaks);
        } else {
            pending.blanks.clear();
            self.cursor.read_break(&mut pending.first_break);
            pending.has_break = true;
        }
    }

    fn read_pending_blank(&mut self, pending: &mut PendingWhitespace) {
        if pending.has_break {
            self.cursor.skip();
        } else {
            self.cursor.read(&mut pending.blanks);
        }
    }

    /// Scans an escape sequence. go-yaml v2 accepts `\'` but not `\/`, so it refuses JSON with escaped slashes.
    fn scan_escape(&mut self, text: &mut String) -> Result<(), YamlError> {
        let start = self.cursor.position;
        let digits = match self.cursor.peek(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            other => {
                let Some(character) = simple_escape(other) else {
                    return Err(YamlError::new(start, "unknown escape sequence in a quoted string"));
                };
                text.push(character);
                self.cursor.skip_many(2);
                return Ok(());
            }
        };
        self.cursor.skip_many(2);
        let mut code = 0_u32;
        for ahead in 0..digits {
            let Some(digit) = char::from(self.cursor.peek(ahead)).to_digit(16) else {
                return Err(YamlError::new(start, "did not find expected hexadecimal digit in an escape sequence"));
            };
            code = code.wrapping_shl(4) | digit;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(YamlError::new(start, "the escape sequence is not a Unicode character"));
        };
        text.push(character);
        self.cursor.skip_many(digits);
        Ok(())
    }
}

fn simple_escape(byte: u8) -> Option<char> {
    Some(match byte {
        b'0' => '\0',
        b'a' => '\x07',
        b'b' => '\x08',
        b't' | b'\t' => '\t',
        b'n' => '\n',
        b'v' => '\x0B',
        b'f' => '\x0C',
        b'r' => '\r',
        b'e' => '\x1B',
        b' ' => ' ',
        b'"' => '"',
        b'\'' => '\'',
        b'\\' => '\\',
        b'N' => '\u{85}',
        b'_' => '\u{A0}',
        b'L' => '\u{2028}',
        b'P' => '\u{2029}',
        _ => return None,
    })
}
