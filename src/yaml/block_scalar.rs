//! Literal (`|`) and folded (`>`) block scalars. Their token ends with the last line of content, so
//! that the edits of `state::aws_auth` keep the blank lines and comments that follow.

use super::cursor::TextPosition;
use super::error::YamlError;
use super::scanner::Scanner;
use super::token::{ScalarStyle, Token, TokenKind};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

impl Scanner<'_> {
    pub(super) fn scan_block_scalar(&mut self) -> Result<Token, YamlError> {
        let start = self.cursor.position;
        let literal = self.cursor.peek(0) == b'|';
        self.cursor.skip();
        let (chomping, increment) = self.scan_block_scalar_header(start)?;
        let mut end = self.cursor.position;
        self.finish_header_line(start)?;

        let mut indent = increment.map(|more| {
            let base = usize::try_from(self.indent).unwrap_or(0);
            base + more
        });
        let mut text = String::new();
        let mut line_break = String::new();
        let mut more_breaks = String::new();
        let mut blank_before = false;
        let mut last_break = self.scan_breaks(start, &mut indent, &mut more_breaks)?;
        while Some(self.cursor.position.column) == indent && !self.cursor.is_end() {
            let blank = self.cursor.is_blank(0);
            if !literal && !blank_before && !blank && line_break.starts_with('\n') {
                if more_breaks.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&line_break);
            }
            text.push_str(&more_breaks);
            line_break.clear();
            more_breaks.clear();
            blank_before = blank;
            while !self.cursor.is_break_or_end(0) {
                self.cursor.read(&mut text);
            }
            end = self.cursor.position;
            if self.cursor.is_break(0) {
                self.cursor.read_break(&mut line_break);
            }
            last_break = self.scan_breaks(start, &mut indent, &mut more_breaks)?;
        }
        if chomping != Chomping::Strip {
            text.push_str(&line_break);
        }
        if chomping == Chomping::Keep {
            text.push_str(&more_breaks);
            // `|+` makes the trailing blank lines content, so they belong to the token.
            end = last_break.unwrap_or(end);
        }
        let style = if literal { ScalarStyle::Literal } else { ScalarStyle::Folded };
        let kind = TokenKind::Scalar { text, style };
        Ok(Token { kind, start, end })
    }

    fn scan_block_scalar_header(&mut self, start: TextPosition) -> Result<(Chomping, Option<usize>), YamlError> {
        let mut chomping = None;
        let mut increment = None;
        for _ in 0..2 {
            match self.cursor.peek(0) {
                b'+' if chomping.is_none() => chomping = Some(Chomping::Keep),
                b'-' if chomping.is_none() => chomping = Some(Chomping::Strip),
                b'0' if increment.is_none() => {
                    return Err(YamlError::new(start, "the indentation indicator of a block scalar must be 1 to 9"));
                }
                digit @ b'1'..=b'9' if increment.is_none() => {
                    increment = Some(usize::from(digit - b'0'));
                }
                _ => break,
            }
            self.cursor.skip();
        }
        Ok((chomping.unwrap_or(Chomping::Clip), increment))
    }

    /// Skips indentation and blank lines, and sets `indent` from the first non-blank line if it is
    /// not known yet. Returns the position of the last line break that was skipped.
    fn scan_breaks(
        &mut self,
        start: TextPosition,
        indent: &mut Option<usize>,
        breaks: &mut String,
    ) -> Result<Option<TextPosition>, YamlError> {
        let mut deepest = 0;
        let mut last = None;
        loop {
            let inside = |column: usize| indent.is_none_or(|indent| column < indent);
            while inside(self.cursor.position.column) && self.cursor.peek(0) == b' ' {
                self.cursor.skip();
            }
            deepest = deepest.max(self.cursor.position.column);
            if inside(self.cursor.position.column) && self.cursor.peek(0) == b'\t' {
                let message = "block scalars must be indented with spaces, found a tab";
                return Err(YamlError::new(start, message));
            }
            if !self.cursor.is_break(0) {
                break;
            }
            last = Some(self.cursor.position);
            self.cursor.read_break(breaks);
        }
        if indent.is_none() {
            let minimum = usize::try_from(self.indent + 1).unwrap_or(0).max(1);
            *indent = Some(deepest.max(minimum));
        }
        Ok(last)
    }
}
