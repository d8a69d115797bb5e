//! Scans anchors, aliases, tags and `%` directives.

use super::cursor::TextPosition;
use super::error::YamlError;
use super::scanner::Scanner;
use super::token::{Token, TokenKind};

impl Scanner<'_> {
    pub(super) fn scan_anchor(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        let is_alias = self.cursor.peek(0) == b'*';
        self.cursor.skip();
        let name = self.read_word();
        let end = self.cursor.position;
        let closed = self.cursor.is_whitespace_or_end(0)
            || matches!(self.cursor.peek(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !closed {
            let token = if is_alias { "alias" } else { "anchor" };
            let message = format!("the name of an {token} can only contain letters, digits, `-` and `_`");
            return Err(YamlError::new(start, message));
        }
        let kind = if is_alias { TokenKind::Alias(name) } else { TokenKind::Anchor(name) };
        Ok(Token { kind, start, end })
    }

    pub(super) fn scan_tag(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        let (handle, suffix);
        if self.cursor.peek(1) == b'<' {
            self.cursor.skip_many(2);
            handle = String::new();
            suffix = self.scan_tag_uri(start, "", false)?;
            if self.cursor.peek(0) != b'>' {
                return Err(YamlError::new(start, "did not find expected '>' at the end of the tag"));
            }
            self.cursor.skip();
        } else {
            let head = self.scan_tag_handle(start, false)?;
            if head.len() > 1 && head.ends_with('!') {
                suffix = self.scan_tag_uri(start, "", false)?;
                handle = head;
            } else {
                let rest = self.scan_tag_uri(start, head.trim_start_matches('!'), true)?;
                // A lone `!` is a tag of its own, not a handle.
                (handle, suffix) =
                    if rest.is_empty() { (String::new(), "!".to_owned()) } else { ("!".to_owned(), rest) };
            }
        }
        if !self.cursor.is_whitespace_or_end(0) {
            return Err(YamlError::new(start, "expected whitespace after the tag"));
        }
        let end = self.cursor.position;
        let kind = TokenKind::Tag { handle, suffix };
        Ok(Token { kind, start, end })
    }

    pub(super) fn scan_directive(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        self.cursor.skip();
        let name = self.read_word();
        if name.is_empty() || !self.cursor.is_whitespace_or_end(0) {
            return Err(YamlError::new(start, "could not find expected directive name"));
        }
        self.cursor.skip_blanks();
        let kind = match name.as_str() {
            "YAML" => {
                let major = self.scan_version_number(start)?;
                if self.cursor.peek(0) != b'.' {
                    return Err(YamlError::new(start, "the %YAML directive requires a version"));
                }
                self.cursor.skip();
                let minor = self.scan_version_number(start)?;
                TokenKind::VersionDirective { major, minor }
            }
            "TAG" => {
                let handle = self.scan_tag_handle(start, true)?;
                if !self.cursor.is_blank(0) {
                    return Err(YamlError::new(start, "the %TAG directive requires a prefix"));
                }
                self.cursor.skip_blanks();
                let prefix = self.scan_tag_uri(start, "", false)?;
                if !self.cursor.is_whitespace_or_end(0) {
                    return Err(YamlError::new(start, "expected whitespace after the tag"));
                }
                TokenKind::TagDirective { handle, prefix }
            }
            _ => return Err(YamlError::new(start, format!("unknown directive `%{name}`"))),
        };
        let end = self.cursor.position;
        self.finish_header_line(start)?;
        Ok(Token { kind, start, end })
    }

    /// Skips the rest of the line of a directive or a block scalar's header, which can only be a comment.
    pub(super) fn finish_header_line(&mut self, start: TextPosition) -> Result<(), YamlError> {
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_break_or_end(0) {
            return Err(YamlError::new(start, "did not find expected comment or line break"));
        }
        self.cursor.skip_break();
        Ok(())
    }

    fn read_word(&mut self) -> String {
        let mut word = String::new();
        while self.cursor.is_word_char() {
            self.cursor.read(&mut word);
        }
        word
    }

    fn scan_version_number(&mut self, start: TextPosition) -> Result<u8, YamlError> {
        let mut value = 0_u8;
        let mut digits = 0;
        while self.cursor.peek(0).is_ascii_digit() {
            digits += 1;
            if digits > 2 {
                return Err(YamlError::new(start, "the version number in the `%YAML` directive is too long"));
            }
            value = value * 10 + (self.cursor.peek(0) - b'0');
            self.cursor.skip();
        }
        if digits == 0 {
            return Err(YamlError::new(start, "the %YAML directive requires a version"));
        }
        Ok(value)
    }

    fn scan_tag_handle(&mut self, start: TextPosition, directive: bool) -> Result<String, YamlError> {
        let mut handle = String::new();
        if self.cursor.peek(0) != b'!' {
            return Err(YamlError::new(start, "did not find expected '!' of the tag"));
        }
        self.cursor.read(&mut handle);
        while self.cursor.is_word_char() {
            self.cursor.read(&mut handle);
        }
        if self.cursor.peek(0) == b'!' {
            self.cursor.read(&mut handle);
        } else if directive && handle != "!" {
            return Err(YamlError::new(start, "did not find expected '!' of the tag"));
        }
        Ok(handle)
    }

    fn scan_tag_uri(&mut self, start: TextPosition, head: &str, may_be_empty: bool) -> Result<String, YamlError> {
        let mut uri = head.as_bytes().to_vec();
        let mut is_complete = may_be_empty;
        loop {
            let byte = self.cursor.peek(0);
            if byte == b'%' {
                self.scan_uri_escape(start, &mut uri)?;
            } else if self.cursor.is_word_char() || b";/?:@&=+$,.!~*'()[]".contains(&byte) {
                uri.push(byte);
                self.cursor.skip();
            } else {
                break;
            }
            is_complete = true;
        }
        if !is_complete {
            return Err(YamlError::new(start, "did not find expected tag URI"));
        }
        Ok(String::from_utf8_lossy(&uri).into_owned())
    }

    /// Scans one character whose bytes are written as `%xx`.
    fn scan_uri_escape(&mut self, start: TextPosition, uri: &mut Vec<u8>) -> Result<(), YamlError> {
        let mut remaining = 0;
        loop {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(self.cursor.peek(1)), digit(self.cursor.peek(2)));
            let (b'%', Some(high), Some(low)) = (self.cursor.peek(0), high, low) else {
                return Err(YamlError::new(start, "a `%` in a tag must be followed by two hexadecimal digits"));
            };
            let octet = u8::try_from(high * 16 + low).unwrap_or_default();
            if remaining == 0 {
                remaining = match octet {
                    0..=0x7F => 1,
                    0xC0..=0xDF => 2,
                    0xE0..=0xEF => 3,
                    0xF0..=0xF7 => 4,
                    _ => return Err(YamlError::new(start, "the escaped bytes of the tag are not valid UTF-8")),
                };
            } else if octet & 0xC0 != 0x80 {
                return Err(YamlError::new(start, "the escaped bytes of the tag are not valid UTF-8"));
            }
            uri.push(octet);
            self.cursor.skip_many(3);
            remaining -= 1;
            if remaining == 0 {
                return Ok(());
            }
        }
    }
}
