//! Splits the text into tokens. Only the colon of `a: b` shows that `a` is a key, so tokens stay in
//! a queue while one of them can still become a key. It refuses exactly the texts that go-yaml v2
//! refuses (`scannerc.go`), quirks included. It knows no documents or nodes.

use std::collections::{BTreeMap, VecDeque};

use super::cursor::{Cursor, TextPosition};
use super::error::YamlError;
use super::token::{Token, TokenKind};

/// A key without `?` must be on one line, with its colon within this many characters (YAML 1.1).
const MAX_KEY_CHARS: usize = 1024;

/// A position where a key without `?` can start.
#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    /// Whether nothing but a key is valid at this column.
    required: bool,
    token_number: usize,
    position: TextPosition,
}

pub(super) struct Scanner<'t> {
    pub(super) cursor: Cursor<'t>,
    tokens: VecDeque<Token>,
    /// How many tokens were taken from the queue.
    taken_count: usize,
    /// The column of the innermost block collection, or -1 outside of all collections.
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) flow_depth: usize,
    pub(super) key_allowed: bool,
    /// One for the block context and one for each open flow collection.
    simple_keys: Vec<SimpleKey>,
    key_level_by_token: BTreeMap<usize, usize>,
    finished: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, YamlError> {
        Ok(Self {
            cursor: Cursor::new(text)?,
            tokens: VecDeque::new(),
            taken_count: 0,
            indent: -1,
            indents: Vec::new(),
            flow_depth: 0,
            key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            key_level_by_token: BTreeMap::new(),
            finished: false,
        })
    }

    pub(super) fn peek(&mut self) -> Result<&Token, YamlError> {
        while self.needs_more_tokens()? {
            self.fetch_next()?;
        }
        let position = self.cursor.position;
        self.tokens.front().ok_or_else(|| YamlError::new(position, "unexpected end of the text"))
    }

    pub(super) fn take(&mut self) -> Result<Token, YamlError> {
        self.peek()?;
        let position = self.cursor.position;
        let token = self.tokens.pop_front();
        self.taken_count += 1;
        token.ok_or_else(|| YamlError::new(position, "unexpected end of the text"))
    }

    /// Returns whether the first token is missing, or can still become a key.
    fn needs_more_tokens(&mut self) -> Result<bool, YamlError> {
        if self.tokens.is_empty() {
            return Ok(!self.finished);
        }
        match self.key_level_by_token.get(&self.taken_count).copied() {
            None => Ok(false),
            Some(level) => self.is_key_possible(level),
        }
    }

    fn fetch_next(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        let mark = self.cursor.position;
        self.close_blocks(isize::try_from(mark.column).unwrap_or(isize::MAX));
        let first = self.cursor.peek(0);
        let flow = self.flow_depth > 0;
        let whitespace_follows = self.cursor.is_whitespace_or_end(1);
        if self.cursor.is_end() {
            return self.fetch_end();
        }
        if mark.column == 0 && first == b'%' {
            self.close_all_blocks()?;
            let token = self.scan_directive()?;
            self.tokens.push_back(token);
            return Ok(());
        }
        if self.cursor.is_document_marker() {
            self.close_all_blocks()?;
            let kind = if first == b'-' { TokenKind::DocumentStart } else { TokenKind::DocumentEnd };
            self.push_indicator(kind, 3);
            return Ok(());
        }
        match first {
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.key_allowed = true;
                self.push_indicator(TokenKind::FlowEntry, 1);
                Ok(())
            }
            b'-' if whitespace_follows => self.fetch_block_entry(),
            b'?' if flow || whitespace_follows => self.fetch_key(),
            b':' if flow || whitespace_follows => self.fetch_value(),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.key_allowed = false;
                let token = self.scan_anchor()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'!' => {
                self.save_simple_key()?;
                self.key_allowed = false;
                let token = self.scan_tag()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'|' | b'>' if !flow => {
                self.remove_simple_key()?;
                self.key_allowed = true;
                let token = self.scan_block_scalar()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.key_allowed = false;
                let token = self.scan_quoted()?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ if self.can_start_plain_scalar(first) => {
                self.save_simple_key()?;
                self.key_allowed = false;
                let token = self.scan_plain()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\t' => Err(self.error("found a tab used for indentation; YAML requires spaces")),
            _ => Err(self.error("found a character that cannot start any token")),
        }
    }

    fn can_start_plain_scalar(&self, first: u8) -> bool {
        match first {
            b'-' => !self.cursor.is_blank(1),
            b'?' | b':' => self.flow_depth == 0 && !self.cursor.is_whitespace_or_end(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@'
            | b'`' => false,
            _ => !self.cursor.is_whitespace_or_end(0),
        }
    }

    /// Skips whitespace and comments. A tab counts as whitespace only where no key is allowed; elsewhere it
    /// would be indentation.
    fn skip_to_token(&mut self) {
        loop {
            while self.cursor.peek(0) == b' '
                || (self.cursor.peek(0) == b'\t' && (self.flow_depth > 0 || !self.key_allowed))
            {
                self.cursor.skip();
            }
            self.cursor.skip_comment();
            if !self.cursor.is_break(0) {
                return;
            }
            self.cursor.skip_break();
            if self.flow_depth == 0 {
                self.key_allowed = true;
            }
        }
    }

    pub(super) fn error(&self, message: &str) -> YamlError {
        YamlError::new(self.cursor.position, message)
    }

    fn push_indicator(&mut self, kind: TokenKind, width: usize) {
        let start = self.cursor.position;
        self.cursor.skip_many(width);
        let end = self.cursor.position;
        self.tokens.push_back(Token { kind, start, end });
    }

    /// Inserts a token without width before the queued token with the number `before`, or at the end.
    /// If that one was already taken, the new token is appended, as in go-yaml, whose parser then refuses the text.
    fn insert_token(&mut self, before: Option<usize>, kind: TokenKind, mark: TextPosition) {
        let token = Token { kind, start: mark, end: mark };
        match before.and_then(|number| number.checked_sub(self.taken_count)) {
            Some(index) if index <= self.tokens.len() => self.tokens.insert(index, token),
            _ => self.tokens.push_back(token),
        }
    }

    fn is_key_possible(&mut self, level: usize) -> Result<bool, YamlError> {
        let current = self.cursor.position;
        let Some(key) = self.simple_keys.get_mut(level) else {
            return Ok(false);
        };
        if !key.possible {
            return Ok(false);
        }
        if key.position.line < current.line || key.position.chars + MAX_KEY_CHARS < current.chars {
            if key.required {
                return Err(YamlError::new(key.position, "could not find expected ':'"));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_simple_key(&mut self) -> Result<(), YamlError> {
        if !self.key_allowed {
            return Ok(());
        }
        let mark = self.cursor.position;
        let column = isize::try_from(mark.column).unwrap_or(isize::MAX);
        let key = SimpleKey {
            possible: true,
            required: self.flow_depth == 0 && self.indent == column,
            token_number: self.taken_count + self.tokens.len(),
            position: mark,
        };
        self.remove_simple_key()?;
        let level = self.simple_keys.len().saturating_sub(1);
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        self.key_level_by_token.insert(key.token_number, level);
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), YamlError> {
        if let Some(key) = self.simple_keys.last_mut()
            && key.possible
        {
            if key.required {
                return Err(YamlError::new(key.position, "could not find expected ':'"));
            }
            key.possible = false;
            self.key_level_by_token.remove(&key.token_number);
        }
        Ok(())
    }

    fn open_block(&mut self, column: usize, before: Option<usize>, kind: TokenKind, mark: TextPosition) {
        let column = isize::try_from(column).unwrap_or(isize::MAX);
        if self.flow_depth == 0 && self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
            self.insert_token(before, kind, mark);
        }
    }

    fn close_blocks(&mut self, column: isize) {
        while self.flow_depth == 0 && self.indent > column {
            let mark = self.cursor.position;
            self.insert_token(None, TokenKind::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn close_all_blocks(&mut self) -> Result<(), YamlError> {
        self.close_blocks(-1);
        self.remove_simple_key()?;
        self.key_allowed = false;
        Ok(())
    }

    fn fetch_end(&mut self) -> Result<(), YamlError> {
        // Ends the line, so that no token can still become a key.
        if self.cursor.position.column != 0 {
            self.cursor.position.column = 0;
            self.cursor.position.line += 1;
        }
        self.close_all_blocks()?;
        self.finished = true;
        self.push_indicator(TokenKind::StreamEnd, 0);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey {
            token_number: self.taken_count + self.tokens.len(),
            position: self.cursor.position,
            ..SimpleKey::default()
        });
        self.flow_depth += 1;
        self.key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.remove_simple_key()?;
        if self.flow_depth > 0 {
            self.flow_depth -= 1;
            // In `[]: x` this also drops the key that starts at the bracket, as go-yaml does.
            if let Some(key) = self.simple_keys.pop() {
                self.key_level_by_token.remove(&key.token_number);
            }
        }
        self.key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), YamlError> {
        if self.flow_depth == 0 {
            if !self.key_allowed {
                return Err(self.error("block sequence entries are not allowed here"));
            }
            let mark = self.cursor.position;
            self.open_block(mark.column, None, TokenKind::BlockSequenceStart, mark);
        }
        self.remove_simple_key()?;
        self.key_allowed = true;
        self.push_indicator(TokenKind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), YamlError> {
        if self.flow_depth == 0 {
            if !self.key_allowed {
                return Err(self.error("mapping keys are not allowed here"));
            }
            let mark = self.cursor.position;
            self.open_block(mark.column, None, TokenKind::BlockMappingStart, mark);
        }
        self.remove_simple_key()?;
        self.key_allowed = self.flow_depth == 0;
        self.push_indicator(TokenKind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), YamlError> {
        let level = self.simple_keys.len().saturating_sub(1);
        if self.is_key_possible(level)? {
            let key = self.simple_keys.last().copied().unwrap_or_default();
            self.insert_token(Some(key.token_number), TokenKind::Key, key.position);
            let kind = TokenKind::BlockMappingStart;
            self.open_block(key.position.column, Some(key.token_number), kind, key.position);
            if let Some(last) = self.simple_keys.last_mut() {
                last.possible = false;
            }
            self.key_level_by_token.remove(&key.token_number);
            self.key_allowed = false;
        } else {
            if self.flow_depth == 0 {
                if !self.key_allowed {
                    return Err(self.error("mapping values are not allowed here"));
                }
                let mark = self.cursor.position;
                self.open_block(mark.column, None, TokenKind::BlockMappingStart, mark);
            }
            self.key_allowed = self.flow_depth == 0;
        }
        self.push_indicator(TokenKind::Value, 1);
        Ok(())
    }
}
