//! Text to tokens. The difficulty of YAML sits here: `a: b` shows that `a` is a key only at the
//! colon, so tokens wait in a queue until no earlier place can still turn out to be a key. Which
//! texts are refused follows go-yaml v2 (`scannerc.go`) to the letter, quirks included; it knows
//! nothing of documents or nodes.

use std::collections::{BTreeMap, VecDeque};

use super::cursor::{Cursor, Mark};
use super::error::YamlError;
use super::token::{Token, TokenKind};

/// A key without `?` must have its colon within so many characters, on one line (YAML 1.1).
const LONGEST_KEY: usize = 1024;

#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    /// At this column only a key can stand.
    required: bool,
    token: usize,
    mark: Mark,
}

pub(super) struct Scanner<'t> {
    pub(super) cursor: Cursor<'t>,
    tokens: VecDeque<Token>,
    /// How many tokens were taken from the queue.
    taken: usize,
    /// The column of the innermost block collection, -1 outside of all.
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) flow_depth: usize,
    pub(super) key_allowed: bool,
    /// One for each flow level, and one for the block context.
    keys: Vec<SimpleKey>,
    key_of_token: BTreeMap<usize, usize>,
    finished: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, YamlError> {
        Ok(Self {
            cursor: Cursor::new(text)?,
            tokens: VecDeque::new(),
            taken: 0,
            indent: -1,
            indents: Vec::new(),
            flow_depth: 0,
            key_allowed: true,
            keys: vec![SimpleKey::default()],
            key_of_token: BTreeMap::new(),
            finished: false,
        })
    }

    pub(super) fn peek(&mut self) -> Result<&Token, YamlError> {
        while self.needs_more()? {
            self.fetch_next()?;
        }
        let place = self.cursor.mark;
        self.tokens.front().ok_or_else(|| YamlError::at(place, "the text ends too early"))
    }

    pub(super) fn take(&mut self) -> Result<Token, YamlError> {
        self.peek()?;
        let place = self.cursor.mark;
        let token = self.tokens.pop_front();
        self.taken += 1;
        token.ok_or_else(|| YamlError::at(place, "the text ends too early"))
    }

    /// The first token waits while it may still turn out to be a key.
    fn needs_more(&mut self) -> Result<bool, YamlError> {
        if self.tokens.is_empty() {
            return Ok(!self.finished);
        }
        match self.key_of_token.get(&self.taken).copied() {
            None => Ok(false),
            Some(level) => self.key_is_valid(level),
        }
    }

    fn fetch_next(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        let mark = self.cursor.mark;
        self.close_blocks(isize::try_from(mark.column).unwrap_or(isize::MAX));
        let first = self.cursor.peek(0);
        let flow = self.flow_depth > 0;
        let gap_follows = self.cursor.is_gap_or_end(1);
        if self.cursor.is_end() {
            return self.fetch_end();
        }
        if mark.column == 0 && first == b'%' {
            self.leave_blocks()?;
            let token = self.scan_directive()?;
            self.tokens.push_back(token);
            return Ok(());
        }
        if self.cursor.is_document_marker() {
            self.leave_blocks()?;
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
                self.forget_key()?;
                self.key_allowed = true;
                self.push_indicator(TokenKind::FlowEntry, 1);
                Ok(())
            }
            b'-' if gap_follows => self.fetch_block_entry(),
            b'?' if flow || gap_follows => self.fetch_key(),
            b':' if flow || gap_follows => self.fetch_value(),
            b'*' | b'&' => {
                self.remember_key()?;
                self.key_allowed = false;
                let token = self.scan_anchor()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'!' => {
                self.remember_key()?;
                self.key_allowed = false;
                let token = self.scan_tag()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'|' | b'>' if !flow => {
                self.forget_key()?;
                self.key_allowed = true;
                let token = self.scan_block_scalar()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' | b'"' => {
                self.remember_key()?;
                self.key_allowed = false;
                let token = self.scan_quoted()?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ if self.starts_plain(first) => {
                self.remember_key()?;
                self.key_allowed = false;
                let token = self.scan_plain()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\t' => Err(self.error("a tab cannot indent YAML")),
            _ => Err(self.error("found a character that cannot start any token")),
        }
    }

    fn starts_plain(&self, first: u8) -> bool {
        match first {
            b'-' => !self.cursor.is_blank(1),
            b'?' | b':' => self.flow_depth == 0 && !self.cursor.is_gap_or_end(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@'
            | b'`' => false,
            _ => !self.cursor.is_gap_or_end(0),
        }
    }

    /// Tabs count as a gap only where no key may follow, else they would be indentation.
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
        YamlError::at(self.cursor.mark, message)
    }

    fn push_indicator(&mut self, kind: TokenKind, width: usize) {
        let start = self.cursor.mark;
        self.cursor.skip_many(width);
        let end = self.cursor.mark;
        self.tokens.push_back(Token { kind, start, end });
    }

    /// Puts a token before others that wait. `token` is its number; one that was already taken
    /// leaves the new one at the end, as in go-yaml, whose parser then refuses the text.
    fn insert(&mut self, token: Option<usize>, kind: TokenKind, mark: Mark) {
        let new = Token { kind, start: mark, end: mark };
        match token.and_then(|number| number.checked_sub(self.taken)) {
            Some(place) if place <= self.tokens.len() => self.tokens.insert(place, new),
            _ => self.tokens.push_back(new),
        }
    }

    fn key_is_valid(&mut self, level: usize) -> Result<bool, YamlError> {
        let here = self.cursor.mark;
        let Some(key) = self.keys.get_mut(level) else {
            return Ok(false);
        };
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < here.line || key.mark.chars + LONGEST_KEY < here.chars {
            if key.required {
                return Err(YamlError::at(key.mark, "could not find expected ':'"));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn remember_key(&mut self) -> Result<(), YamlError> {
        if !self.key_allowed {
            return Ok(());
        }
        let mark = self.cursor.mark;
        let column = isize::try_from(mark.column).unwrap_or(isize::MAX);
        let key = SimpleKey {
            possible: true,
            required: self.flow_depth == 0 && self.indent == column,
            token: self.taken + self.tokens.len(),
            mark,
        };
        self.forget_key()?;
        let level = self.keys.len().saturating_sub(1);
        if let Some(slot) = self.keys.last_mut() {
            *slot = key;
        }
        self.key_of_token.insert(key.token, level);
        Ok(())
    }

    fn forget_key(&mut self) -> Result<(), YamlError> {
        if let Some(key) = self.keys.last_mut()
            && key.possible
        {
            if key.required {
                return Err(YamlError::at(key.mark, "could not find expected ':'"));
            }
            key.possible = false;
            self.key_of_token.remove(&key.token);
        }
        Ok(())
    }

    fn open_block(&mut self, column: usize, token: Option<usize>, kind: TokenKind, mark: Mark) {
        let column = isize::try_from(column).unwrap_or(isize::MAX);
        if self.flow_depth == 0 && self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
            self.insert(token, kind, mark);
        }
    }

    fn close_blocks(&mut self, column: isize) {
        while self.flow_depth == 0 && self.indent > column {
            let mark = self.cursor.mark;
            self.insert(None, TokenKind::BlockEnd, mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn leave_blocks(&mut self) -> Result<(), YamlError> {
        self.close_blocks(-1);
        self.forget_key()?;
        self.key_allowed = false;
        Ok(())
    }

    fn fetch_end(&mut self) -> Result<(), YamlError> {
        // As if a line break stood here, so that no key still waits for its colon.
        if self.cursor.mark.column != 0 {
            self.cursor.mark.column = 0;
            self.cursor.mark.line += 1;
        }
        self.leave_blocks()?;
        self.finished = true;
        self.push_indicator(TokenKind::StreamEnd, 0);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.remember_key()?;
        self.keys.push(SimpleKey {
            token: self.taken + self.tokens.len(),
            mark: self.cursor.mark,
            ..SimpleKey::default()
        });
        self.flow_depth += 1;
        self.key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.forget_key()?;
        if self.flow_depth > 0 {
            self.flow_depth -= 1;
            // In `[]: x` this forgets the key that the bracket itself is: go-yaml does, too.
            if let Some(key) = self.keys.pop() {
                self.key_of_token.remove(&key.token);
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
            let mark = self.cursor.mark;
            self.open_block(mark.column, None, TokenKind::BlockSequenceStart, mark);
        }
        self.forget_key()?;
        self.key_allowed = true;
        self.push_indicator(TokenKind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), YamlError> {
        if self.flow_depth == 0 {
            if !self.key_allowed {
                return Err(self.error("mapping keys are not allowed here"));
            }
            let mark = self.cursor.mark;
            self.open_block(mark.column, None, TokenKind::BlockMappingStart, mark);
        }
        self.forget_key()?;
        self.key_allowed = self.flow_depth == 0;
        self.push_indicator(TokenKind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), YamlError> {
        let level = self.keys.len().saturating_sub(1);
        if self.key_is_valid(level)? {
            let key = self.keys.last().copied().unwrap_or_default();
            self.insert(Some(key.token), TokenKind::Key, key.mark);
            let kind = TokenKind::BlockMappingStart;
            self.open_block(key.mark.column, Some(key.token), kind, key.mark);
            if let Some(slot) = self.keys.last_mut() {
                slot.possible = false;
            }
            self.key_of_token.remove(&key.token);
            self.key_allowed = false;
        } else {
            if self.flow_depth == 0 {
                if !self.key_allowed {
                    return Err(self.error("mapping values are not allowed here"));
                }
                let mark = self.cursor.mark;
                self.open_block(mark.column, None, TokenKind::BlockMappingStart, mark);
            }
            self.key_allowed = self.flow_depth == 0;
        }
        self.push_indicator(TokenKind::Value, 1);
        Ok(())
    }
}
