//! Tokens to the trees of documents. It refuses what go-yaml v2's parser and composer refuse, and
//! reads a document only when asked: what follows the first may be broken without harm to it.

use std::collections::BTreeMap;

use super::cursor::Mark;
use super::error::YamlError;
use super::node::{Anchor, Document, Item, Mapping, Node, Pair, Scalar, Sequence, Value};
use super::scanner::Scanner;
use super::token::{ScalarStyle, Token, TokenKind};

/// go-yaml allows 10,000. Nothing that Kubernetes reads comes near this, and every walk over the
/// tree may recurse on an ordinary stack.
const DEEPEST: usize = 128;

pub(super) struct Parser<'t> {
    scanner: Scanner<'t>,
    tags: BTreeMap<String, String>,
    anchors: BTreeMap<String, usize>,
    anchor_count: usize,
    depth: usize,
    first: bool,
}

/// Anchor and tag, which stand before a node's content in either order.
struct Properties {
    start: Mark,
    end: Mark,
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
            first: true,
        })
    }

    /// The next document; `None` at the end of the text.
    pub(super) fn document(&mut self) -> Result<Option<Document>, YamlError> {
        let implicit = std::mem::take(&mut self.first);
        while !implicit && self.next_is(&TokenKind::DocumentEnd)? {
            self.scanner.take()?;
        }
        let token = self.scanner.peek()?;
        let start = token.start;
        if token.kind == TokenKind::StreamEnd {
            return Ok(None);
        }
        let explicit =
            matches!(token.kind, TokenKind::Version { .. } | TokenKind::TagDirective { .. } | TokenKind::DocumentStart);
        self.anchors.clear();
        self.anchor_count = 0;
        let mut body = start.at;
        let root = if implicit && !explicit {
            self.read_directives()?;
            self.node(true, false)?
        } else {
            self.read_directives()?;
            let marker = self.scanner.take()?;
            if marker.kind != TokenKind::DocumentStart {
                return Err(YamlError::at(marker.start, "did not find expected `---`"));
            }
            body = marker.end.at;
            let next = self.scanner.peek()?;
            if is_document_edge(&next.kind) { empty(next.start) } else { self.node(true, false)? }
        };
        let end = self.scanner.peek()?.start.at;
        if self.next_is(&TokenKind::DocumentEnd)? {
            self.scanner.take()?;
        }
        Ok(Some(Document { span: start.at..end, body: body..end, root }))
    }

    fn next_is(&mut self, kind: &TokenKind) -> Result<bool, YamlError> {
        Ok(self.scanner.peek()?.kind == *kind)
    }

    fn read_directives(&mut self) -> Result<(), YamlError> {
        let mut version_seen = false;
        self.tags.clear();
        loop {
            let token = self.scanner.peek()?;
            let start = token.start;
            match token.kind.clone() {
                TokenKind::Version { .. } if version_seen => {
                    return Err(YamlError::at(start, "a second %YAML directive"));
                }
                TokenKind::Version { major: 1, minor: 1 } => version_seen = true,
                TokenKind::Version { major, minor } => {
                    let message = format!("YAML {major}.{minor} is not read, only 1.1");
                    return Err(YamlError::at(start, message));
                }
                TokenKind::TagDirective { handle, prefix } => {
                    if self.tags.insert(handle, prefix).is_some() {
                        return Err(YamlError::at(start, "a second %TAG directive for one handle"));
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

    /// `indentless`: the dashes of a mapping's value may stand in the column of its keys.
    fn node(&mut self, block: bool, indentless: bool) -> Result<Node, YamlError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let place = self.scanner.peek()?.start;
            let message = format!("nested more than {DEEPEST} levels deep");
            return Err(YamlError::at(place, message));
        }
        let node = self.node_here(block, indentless);
        self.depth -= 1;
        node
    }

    fn node_here(&mut self, block: bool, indentless: bool) -> Result<Node, YamlError> {
        let token = self.scanner.peek()?;
        let (start, end) = (token.start, token.end);
        if let TokenKind::Alias(name) = &token.kind {
            let name = name.clone();
            self.scanner.take()?;
            let Some(number) = self.anchors.get(&name).copied() else {
                return Err(YamlError::at(start, format!("unknown anchor `{name}`")));
            };
            return Ok(Node {
                value: Value::Alias(Anchor { name, number }),
                span: start.at..end.at,
                line: start.line + 1,
                column: start.column,
                tag: None,
                anchor: None,
            });
        }
        let properties = self.properties()?;
        let token = self.scanner.peek()?;
        let content = token.start;
        let (value, end) = match &token.kind {
            TokenKind::BlockEntry if indentless => self.block_sequence(true)?,
            TokenKind::Scalar { .. } => {
                let token = self.scanner.take()?;
                let end = token.end.at;
                (Value::Scalar(scalar_of(token)), end)
            }
            TokenKind::FlowSequenceStart => self.flow_sequence()?,
            TokenKind::FlowMappingStart => self.flow_mapping()?,
            TokenKind::BlockSequenceStart if block => self.block_sequence(false)?,
            TokenKind::BlockMappingStart if block => self.block_mapping()?,
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let nothing = empty(properties.end);
                let span = properties.start.at..properties.end.at;
                return Ok(Node { span, tag: properties.tag, anchor: properties.anchor, ..nothing });
            }
            _ => {
                let message = "did not find expected node content";
                return Err(YamlError::at(content, message));
            }
        };
        Ok(Node {
            value,
            span: properties.start.at..end,
            line: properties.start.line + 1,
            column: content.column,
            tag: properties.tag,
            anchor: properties.anchor,
        })
    }

    fn properties(&mut self) -> Result<Properties, YamlError> {
        let start = self.scanner.peek()?.start;
        let mut found = Properties { start, end: start, anchor: None, tag: None };
        for _ in 0..2 {
            match self.scanner.peek()?.kind.clone() {
                TokenKind::Anchor(name) if found.anchor.is_none() => {
                    // Known before the content is read: it may hold an alias of itself.
                    let number = self.anchor_count;
                    self.anchor_count += 1;
                    self.anchors.insert(name.clone(), number);
                    found.anchor = Some(Anchor { name, number });
                }
                TokenKind::Tag { handle, suffix } if found.tag.is_none() => {
                    let place = self.scanner.peek()?.start;
                    found.tag = Some(self.full_tag(place, &handle, suffix)?);
                }
                _ => break,
            }
            found.end = self.scanner.take()?.end;
        }
        // An empty tag counts as none.
        found.tag = found.tag.filter(|tag| !tag.is_empty());
        Ok(found)
    }

    fn full_tag(&self, place: Mark, handle: &str, suffix: String) -> Result<String, YamlError> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let prefix = self.tags.get(handle);
        let tag = prefix.map(|prefix| format!("{prefix}{suffix}"));
        tag.filter(|tag| !tag.is_empty())
            .ok_or_else(|| YamlError::at(place, format!("undefined tag handle `{handle}`")))
    }

    fn block_sequence(&mut self, indentless: bool) -> Result<(Value, usize), YamlError> {
        let start = self.scanner.peek()?.start;
        if !indentless {
            self.scanner.take()?;
        }
        let mut items: Vec<Item> = Vec::new();
        let mut end = start.at;
        while self.next_is(&TokenKind::BlockEntry)? {
            let dash = self.scanner.take()?;
            let next = &self.scanner.peek()?.kind;
            let nothing = matches!(next, TokenKind::BlockEntry | TokenKind::BlockEnd)
                || indentless && matches!(next, TokenKind::Key | TokenKind::Value);
            let node = if nothing { empty(dash.end) } else { self.node(true, false)? };
            end = node.span.end;
            items.push(Item { dash: Some(dash.start.at), node, comma: None });
        }
        if !indentless {
            let last = self.scanner.take()?;
            if last.kind != TokenKind::BlockEnd {
                return Err(YamlError::at(last.start, "did not find expected '-' indicator"));
            }
        }
        let flow = false;
        Ok((Value::Sequence(Sequence { flow, items }), end))
    }

    fn block_mapping(&mut self) -> Result<(Value, usize), YamlError> {
        let mut end = self.scanner.take()?.start.at;
        let mut pairs: Vec<Pair> = Vec::new();
        loop {
            let token = self.scanner.take()?;
            match token.kind {
                TokenKind::Key => {}
                TokenKind::BlockEnd => break,
                _ => return Err(YamlError::at(token.start, "did not find expected key")),
            }
            let key = if is_pair_edge(&self.scanner.peek()?.kind) { empty(token.end) } else { self.node(true, true)? };
            let mut colon = None;
            let value = if self.next_is(&TokenKind::Value)? {
                let indicator = self.scanner.take()?;
                colon = Some(indicator.start.at);
                if is_pair_edge(&self.scanner.peek()?.kind) { empty(indicator.end) } else { self.node(true, true)? }
            } else {
                empty(self.scanner.peek()?.start)
            };
            let pair = Pair { question: question_of(&token), key, colon, value, comma: None };
            end = pair.span().end;
            pairs.push(pair);
        }
        let flow = false;
        Ok((Value::Mapping(Mapping { flow, pairs }), end))
    }

    fn flow_sequence(&mut self) -> Result<(Value, usize), YamlError> {
        self.scanner.take()?;
        let mut items: Vec<Item> = Vec::new();
        while !self.next_is(&TokenKind::FlowSequenceEnd)? {
            if let Some(last) = items.last_mut() {
                let comma = self.scanner.take()?;
                if comma.kind != TokenKind::FlowEntry {
                    return Err(YamlError::at(comma.start, "did not find expected ',' or ']'"));
                }
                last.comma = Some(comma.start.at);
            }
            let node = match self.scanner.peek()?.kind {
                TokenKind::FlowSequenceEnd => break,
                TokenKind::Key => self.single_pair()?,
                _ => self.node(false, false)?,
            };
            let (dash, comma) = (None, None);
            items.push(Item { dash, node, comma });
        }
        let end = self.scanner.take()?.end.at;
        let flow = true;
        Ok((Value::Sequence(Sequence { flow, items }), end))
    }

    /// `[a: b]` holds a mapping of one pair.
    fn single_pair(&mut self) -> Result<Node, YamlError> {
        let indicator = self.scanner.take()?;
        let next = self.scanner.peek()?;
        let mut colon = None;
        let key = match next.kind {
            TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowSequenceEnd => {
                // go-yaml swallows the token that shows the key to be empty, whatever it is.
                let swallowed = self.scanner.take()?;
                empty(swallowed.end)
            }
            _ => self.node(false, false)?,
        };
        let mut next = self.scanner.peek()?;
        let mut place = next.start;
        if next.kind == TokenKind::Value {
            colon = Some(self.scanner.take()?.start.at);
            next = self.scanner.peek()?;
            place = next.start;
        }
        let absent = matches!(next.kind, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd);
        let value = if colon.is_some() && !absent { self.node(false, false)? } else { empty(place) };
        let pair = Pair { question: question_of(&indicator), key, colon, value, comma: None };
        Ok(Node {
            span: pair.span(),
            line: indicator.start.line + 1,
            column: indicator.start.column,
            tag: None,
            anchor: None,
            value: Value::Mapping(Mapping { flow: true, pairs: vec![pair] }),
        })
    }

    fn flow_mapping(&mut self) -> Result<(Value, usize), YamlError> {
        self.scanner.take()?;
        let mut pairs: Vec<Pair> = Vec::new();
        while !self.next_is(&TokenKind::FlowMappingEnd)? {
            if let Some(last) = pairs.last_mut() {
                let comma = self.scanner.take()?;
                if comma.kind != TokenKind::FlowEntry {
                    return Err(YamlError::at(comma.start, "did not find expected ',' or '}'"));
                }
                last.comma = Some(comma.start.at);
            }
            match self.scanner.peek()?.kind {
                TokenKind::FlowMappingEnd => break,
                TokenKind::Key => pairs.push(self.flow_pair()?),
                _ => {
                    let key = self.node(false, false)?;
                    let value = empty(self.scanner.peek()?.start);
                    pairs.push(Pair { question: None, key, colon: None, value, comma: None });
                }
            }
        }
        let end = self.scanner.take()?.end.at;
        let flow = true;
        Ok((Value::Mapping(Mapping { flow, pairs }), end))
    }

    fn flow_pair(&mut self) -> Result<Pair, YamlError> {
        let indicator = self.scanner.take()?;
        let next = self.scanner.peek()?;
        let place = next.start;
        let absent = |kind: &TokenKind| matches!(kind, TokenKind::FlowEntry | TokenKind::FlowMappingEnd);
        let key =
            if next.kind == TokenKind::Value || absent(&next.kind) { empty(place) } else { self.node(false, false)? };
        let mut colon = None;
        if self.next_is(&TokenKind::Value)? {
            colon = Some(self.scanner.take()?.start.at);
        }
        let next = self.scanner.peek()?;
        let value = if colon.is_none() || absent(&next.kind) { empty(next.start) } else { self.node(false, false)? };
        Ok(Pair { question: question_of(&indicator), key, colon, value, comma: None })
    }
}

fn empty(place: Mark) -> Node {
    Node {
        value: Value::Scalar(Scalar { text: String::new(), style: ScalarStyle::Plain }),
        span: place.at..place.at,
        line: place.line + 1,
        column: place.column,
        tag: None,
        anchor: None,
    }
}

fn scalar_of(token: Token) -> Scalar {
    match token.kind {
        TokenKind::Scalar { text, style } => Scalar { text, style },
        _ => Scalar { text: String::new(), style: ScalarStyle::Plain },
    }
}

/// The key token of `a: b` has no width; that of `? a` has.
fn question_of(key: &Token) -> Option<usize> {
    (key.end.at > key.start.at).then_some(key.start.at)
}

fn is_pair_edge(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd)
}

fn is_document_edge(kind: &TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Version { .. }
            | TokenKind::TagDirective { .. }
            | TokenKind::DocumentStart
            | TokenKind::DocumentEnd
            | TokenKind::StreamEnd
    )
}
