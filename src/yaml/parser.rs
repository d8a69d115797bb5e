//! Builds the trees of documents from tokens. It refuses what go-yaml v2's parser and composer
//! refuse. It parses one document at a time, so an invalid second document does not affect the first.

use std::collections::BTreeMap;

use super::cursor::TextPosition;
use super::error::YamlError;
use super::node::{
    Anchor, MappingPair, SequenceItem, YamlDocument, YamlMapping, YamlNode, YamlScalar, YamlSequence, YamlValue,
};
use super::scanner::Scanner;
use super::token::{ScalarStyle, Token, TokenKind};

/// The limit on nesting. go-yaml allows 10,000; this one is low enough that every function over the
/// tree can recurse, and far above the depth of any Kubernetes object.
const MAX_DEPTH: usize = 128;

pub(super) struct Parser<'t> {
    scanner: Scanner<'t>,
    tags: BTreeMap<String, String>,
    anchors: BTreeMap<String, usize>,
    anchor_count: usize,
    depth: usize,
    at_stream_start: bool,
}

/// The anchor and tag before a node's content, in either order.
struct NodeProperties {
    start: TextPosition,
    end: TextPosition,
    anchor: Option<Anchor>,
    tag: Option<String>,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, YamlError> {
        Ok(Self {
            scanner: Scanner::new(text)?,
            tags: BTreeMap::new(),
            anchors: BTreeMap::new(),
            anchor_count: 0,
            depth: 0,
            at_stream_start: true,
        })
    }

    /// Returns the next document; `None` at the end of the text.
    pub(super) fn parse_document(&mut self) -> Result<Option<YamlDocument>, YamlError> {
        let implicit = std::mem::take(&mut self.at_stream_start);
        while !implicit && self.is_next(&TokenKind::DocumentEnd)? {
            self.scanner.take()?;
        }
        let token = self.scanner.peek()?;
        let start = token.start;
        if token.kind == TokenKind::StreamEnd {
            return Ok(None);
        }
        let explicit = matches!(
            token.kind,
            TokenKind::VersionDirective { .. } | TokenKind::TagDirective { .. } | TokenKind::DocumentStart
        );
        self.anchors.clear();
        self.anchor_count = 0;
        let mut body = start.offset;
        let root = if implicit && !explicit {
            self.parse_directives()?;
            self.parse_node(true, false)?
        } else {
            self.parse_directives()?;
            let marker = self.scanner.take()?;
            if marker.kind != TokenKind::DocumentStart {
                return Err(YamlError::new(marker.start, "did not find expected `---`"));
            }
            body = marker.end.offset;
            let next = self.scanner.peek()?;
            if is_document_boundary(&next.kind) { empty_node(next.start) } else { self.parse_node(true, false)? }
        };
        let end = self.scanner.peek()?.start.offset;
        if self.is_next(&TokenKind::DocumentEnd)? {
            self.scanner.take()?;
        }
        Ok(Some(YamlDocument { span: start.offset..end, body: body..end, root }))
    }

    fn is_next(&mut self, kind: &TokenKind) -> Result<bool, YamlError> {
        Ok(self.scanner.peek()?.kind == *kind)
    }

    fn parse_directives(&mut self) -> Result<(), YamlError> {
        let mut version_seen = false;
        self.tags.clear();
        loop {
            let token = self.scanner.peek()?;
            let start = token.start;
            match token.kind.clone() {
                TokenKind::VersionDirective { .. } if version_seen => {
                    return Err(YamlError::new(start, "duplicate %YAML directive"));
                }
                TokenKind::VersionDirective { major: 1, minor: 1 } => version_seen = true,
                TokenKind::VersionDirective { major, minor } => {
                    let message = format!("YAML {major}.{minor} is not supported, only 1.1");
                    return Err(YamlError::new(start, message));
                }
                TokenKind::TagDirective { handle, prefix } => {
                    if self.tags.insert(handle, prefix).is_some() {
                        return Err(YamlError::new(start, "duplicate %TAG directive"));
                    }
                }
                _ => break,
            }
            self.scanner.take()?;
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            let tag = self.tags.entry(handle.to_owned());
            tag.or_insert_with(|| prefix.to_owned());
        }
        Ok(())
    }

    /// `block`: block collections are allowed here. `indentless`: a sequence may have its dashes in the
    /// column of the mapping's keys.
    fn parse_node(&mut self, block: bool, indentless: bool) -> Result<YamlNode, YamlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let position = self.scanner.peek()?.start;
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(YamlError::new(position, message));
        }
        let node = self.parse_node_content(block, indentless);
        self.depth -= 1;
        node
    }

    fn parse_node_content(&mut self, block: bool, indentless: bool) -> Result<YamlNode, YamlError> {
        let token = self.scanner.peek()?;
        let (start, end) = (token.start, token.end);
        if let TokenKind::Alias(name) = &token.kind {
            let name = name.clone();
            self.scanner.take()?;
            let Some(number) = self.anchors.get(&name).copied() else {
                return Err(YamlError::new(start, format!("unknown anchor `{name}`")));
            };
            return Ok(YamlNode {
                value: YamlValue::Alias(Anchor { name, number }),
                span: start.offset..end.offset,
                line: start.line + 1,
                column: start.column,
                tag: None,
                anchor: None,
            });
        }
        let properties = self.parse_properties()?;
        let token = self.scanner.peek()?;
        let content = token.start;
        let (value, end) = match &token.kind {
            TokenKind::BlockEntry if indentless => self.parse_block_sequence(true)?,
            TokenKind::Scalar { .. } => {
                let token = self.scanner.take()?;
                let end = token.end.offset;
                (YamlValue::Scalar(into_scalar(token)), end)
            }
            TokenKind::FlowSequenceStart => self.parse_flow_sequence()?,
            TokenKind::FlowMappingStart => self.parse_flow_mapping()?,
            TokenKind::BlockSequenceStart if block => self.parse_block_sequence(false)?,
            TokenKind::BlockMappingStart if block => self.parse_block_mapping()?,
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let empty = empty_node(properties.end);
                let span = properties.start.offset..properties.end.offset;
                return Ok(YamlNode { span, tag: properties.tag, anchor: properties.anchor, ..empty });
            }
            _ => {
                let message = "did not find expected node content";
                return Err(YamlError::new(content, message));
            }
        };
        Ok(YamlNode {
            value,
            span: properties.start.offset..end,
            line: properties.start.line + 1,
            column: content.column,
            tag: properties.tag,
            anchor: properties.anchor,
        })
    }

    fn parse_properties(&mut self) -> Result<NodeProperties, YamlError> {
        let start = self.scanner.peek()?.start;
        let mut properties = NodeProperties { start, end: start, anchor: None, tag: None };
        for _ in 0..2 {
            match self.scanner.peek()?.kind.clone() {
                TokenKind::Anchor(name) if properties.anchor.is_none() => {
                    // Defined before the content is parsed, as in go-yaml: the content can have an alias to it.
                    let number = self.anchor_count;
                    self.anchor_count += 1;
                    self.anchors.insert(name.clone(), number);
                    properties.anchor = Some(Anchor { name, number });
                }
                TokenKind::Tag { handle, suffix } if properties.tag.is_none() => {
                    let position = self.scanner.peek()?.start;
                    properties.tag = Some(self.resolve_tag(position, &handle, suffix)?);
                }
                _ => break,
            }
            properties.end = self.scanner.take()?.end;
        }
        // go-yaml ignores an empty tag.
        properties.tag = properties.tag.filter(|tag| !tag.is_empty());
        Ok(properties)
    }

    fn resolve_tag(&self, position: TextPosition, handle: &str, suffix: String) -> Result<String, YamlError> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let prefix = self.tags.get(handle);
        let tag = prefix.map(|prefix| format!("{prefix}{suffix}"));
        tag.filter(|tag| !tag.is_empty())
            .ok_or_else(|| YamlError::new(position, format!("undefined tag handle `{handle}`")))
    }

    fn parse_block_sequence(&mut self, indentless: bool) -> Result<(YamlValue, usize), YamlError> {
        let start = self.scanner.peek()?.start;
        if !indentless {
            self.scanner.take()?;
        }
        let mut items: Vec<SequenceItem> = Vec::new();
        let mut end = start.offset;
        while self.is_next(&TokenKind::BlockEntry)? {
            let dash = self.scanner.take()?;
            let next = &self.scanner.peek()?.kind;
            let is_empty = matches!(next, TokenKind::BlockEntry | TokenKind::BlockEnd)
                || indentless && matches!(next, TokenKind::Key | TokenKind::Value);
            let node = if is_empty { empty_node(dash.end) } else { self.parse_node(true, false)? };
            end = node.span.end;
            items.push(SequenceItem { dash: Some(dash.start.offset), node, comma: None });
        }
        if !indentless {
            let last = self.scanner.take()?;
            if last.kind != TokenKind::BlockEnd {
                return Err(YamlError::new(last.start, "did not find expected '-' indicator"));
            }
        }
        let flow = false;
        Ok((YamlValue::Sequence(YamlSequence { flow, items }), end))
    }

    fn parse_block_mapping(&mut self) -> Result<(YamlValue, usize), YamlError> {
        let mut end = self.scanner.take()?.start.offset;
        let mut pairs: Vec<MappingPair> = Vec::new();
        loop {
            let token = self.scanner.take()?;
            match token.kind {
                TokenKind::Key => {}
                TokenKind::BlockEnd => break,
                _ => return Err(YamlError::new(token.start, "did not find expected key")),
            }
            let key = if is_pair_boundary(&self.scanner.peek()?.kind) {
                empty_node(token.end)
            } else {
                self.parse_node(true, true)?
            };
            let mut colon = None;
            let value = if self.is_next(&TokenKind::Value)? {
                let indicator = self.scanner.take()?;
                colon = Some(indicator.start.offset);
                if is_pair_boundary(&self.scanner.peek()?.kind) {
                    empty_node(indicator.end)
                } else {
                    self.parse_node(true, true)?
                }
            } else {
                empty_node(self.scanner.peek()?.start)
            };
            let pair = MappingPair { question_mark: question_mark_offset(&token), key, colon, value, comma: None };
            end = pair.span().end;
            pairs.push(pair);
        }
        let flow = false;
        Ok((YamlValue::Mapping(YamlMapping { flow, pairs }), end))
    }

    fn parse_flow_sequence(&mut self) -> Result<(YamlValue, usize), YamlError> {
        self.scanner.take()?;
        let mut items: Vec<SequenceItem> = Vec::new();
        while !self.is_next(&TokenKind::FlowSequenceEnd)? {
            if let Some(last) = items.last_mut() {
                let comma = self.scanner.take()?;
                if comma.kind != TokenKind::FlowEntry {
                    return Err(YamlError::new(comma.start, "did not find expected ',' or ']'"));
                }
                last.comma = Some(comma.start.offset);
            }
            let node = match self.scanner.peek()?.kind {
                TokenKind::FlowSequenceEnd => break,
                TokenKind::Key => self.parse_single_pair_mapping()?,
                _ => self.parse_node(false, false)?,
            };
            let (dash, comma) = (None, None);
            items.push(SequenceItem { dash, node, comma });
        }
        let end = self.scanner.take()?.end.offset;
        let flow = true;
        Ok((YamlValue::Sequence(YamlSequence { flow, items }), end))
    }

    /// Returns an item such as the one of `[a: b]`, which is a mapping with one pair.
    fn parse_single_pair_mapping(&mut self) -> Result<YamlNode, YamlError> {
        let indicator = self.scanner.take()?;
        let next = self.scanner.peek()?;
        let mut colon = None;
        let key = match next.kind {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd => {
                // go-yaml consumes the token that follows an empty key, whatever it is.
                let consumed = self.scanner.take()?;
                empty_node(consumed.end)
            }
            _ => self.parse_node(false, false)?,
        };
        let mut next = self.scanner.peek()?;
        let mut position = next.start;
        if next.kind == TokenKind::Value {
            colon = Some(self.scanner.take()?.start.offset);
            next = self.scanner.peek()?;
            position = next.start;
        }
        let absent = matches!(next.kind, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd);
        let value = if colon.is_some() && !absent { self.parse_node(false, false)? } else { empty_node(position) };
        let pair = MappingPair { question_mark: question_mark_offset(&indicator), key, colon, value, comma: None };
        Ok(YamlNode {
            span: pair.span(),
            line: indicator.start.line + 1,
            column: indicator.start.column,
            tag: None,
            anchor: None,
            value: YamlValue::Mapping(YamlMapping { flow: true, pairs: vec![pair] }),
        })
    }

    fn parse_flow_mapping(&mut self) -> Result<(YamlValue, usize), YamlError> {
        self.scanner.take()?;
        let mut pairs: Vec<MappingPair> = Vec::new();
        while !self.is_next(&TokenKind::FlowMappingEnd)? {
            if let Some(last) = pairs.last_mut() {
                let comma = self.scanner.take()?;
                if comma.kind != TokenKind::FlowEntry {
                    return Err(YamlError::new(comma.start, "did not find expected ',' or '}'"));
                }
                last.comma = Some(comma.start.offset);
            }
            match self.scanner.peek()?.kind {
                TokenKind::FlowMappingEnd => break,
                TokenKind::Key => pairs.push(self.parse_flow_pair()?),
                _ => {
                    let key = self.parse_node(false, false)?;
                    let value = empty_node(self.scanner.peek()?.start);
                    pairs.push(MappingPair { question_mark: None, key, colon: None, value, comma: None });
                }
            }
        }
        let end = self.scanner.take()?.end.offset;
        let flow = true;
        Ok((YamlValue::Mapping(YamlMapping { flow, pairs }), end))
    }

    fn parse_flow_pair(&mut self) -> Result<MappingPair, YamlError> {
        let indicator = self.scanner.take()?;
        let next = self.scanner.peek()?;
        let position = next.start;
        let absent = |kind: &TokenKind| matches!(kind, TokenKind::FlowEntry | TokenKind::FlowMappingEnd);
        let key = if next.kind == TokenKind::Value || absent(&next.kind) {
            empty_node(position)
        } else {
            self.parse_node(false, false)?
        };
        let mut colon = None;
        if self.is_next(&TokenKind::Value)? {
            colon = Some(self.scanner.take()?.start.offset);
        }
        let next = self.scanner.peek()?;
        let value =
            if colon.is_none() || absent(&next.kind) { empty_node(next.start) } else { self.parse_node(false, false)? };
        Ok(MappingPair { question_mark: question_mark_offset(&indicator), key, colon, value, comma: None })
    }
}

fn empty_node(position: TextPosition) -> YamlNode {
    YamlNode {
        value: YamlValue::Scalar(YamlScalar { text: String::new(), style: ScalarStyle::Plain }),
        span: position.offset..position.offset,
        line: position.line + 1,
        column: position.column,
        tag: None,
        anchor: None,
    }
}

fn into_scalar(token: Token) -> YamlScalar {
    match token.kind {
        TokenKind::Scalar { text, style } => YamlScalar { text, style },
        _ => YamlScalar { text: String::new(), style: ScalarStyle::Plain },
    }
}

/// Returns the offset of the `?` of an explicit key. The scanner inserts a token without width for other keys.
fn question_mark_offset(key: &Token) -> Option<usize> {
    (key.end.offset > key.start.offset).then_some(key.start.offset)
}

fn is_pair_boundary(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd)
}

fn is_document_boundary(kind: &TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::VersionDirective { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd
    )
}
