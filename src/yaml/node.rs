//! The tree of a document with the place of every node, and nothing decided yet: what `yes` or `017`
//! means is [`super::decode`]'s answer, because editing needs the text as it was written.

use std::ops::Range;

pub(crate) use super::token::ScalarStyle;

/// One document of a text.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// From its directives or `---`, if it has any, to its `...`, the next document or the end.
    pub(crate) span: Range<usize>,
    /// Where content may begin: behind `---`.
    pub(crate) body: Range<usize>,
    /// An empty document has an empty plain scalar.
    pub(crate) root: Node,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// In bytes, with tag and anchor, to the last byte of content. Empty where nothing is written.
    pub(crate) span: Range<usize>,
    /// Counts from 1.
    pub(crate) line: usize,
    /// Of the content's first character, counted from 0.
    pub(crate) column: usize,
    /// In full: `tag:yaml.org,2002:str`.
    pub(crate) tag: Option<String>,
    pub(crate) anchor: Option<Anchor>,
}

/// A name may be given twice in a document; the number tells the two apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) name: String,
    pub(crate) number: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Sequence),
    Mapping(Mapping),
    /// Stands for the node that has this anchor.
    Alias(Anchor),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// Unquoted, unescaped and unfolded.
    pub(crate) text: String,
    pub(crate) style: ScalarStyle,
}

#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    pub(crate) flow: bool,
    pub(crate) items: Vec<Item>,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Where its `-` stands, in block style.
    pub(crate) dash: Option<usize>,
    pub(crate) node: Node,
    /// Where the comma behind it stands, in flow style.
    pub(crate) comma: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) flow: bool,
    pub(crate) pairs: Vec<Pair>,
}

#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// Where an explicit `?` stands.
    pub(crate) question: Option<usize>,
    pub(crate) key: Node,
    /// Where the `:` stands, if the value is not left out with it.
    pub(crate) colon: Option<usize>,
    pub(crate) value: Node,
    pub(crate) comma: Option<usize>,
}

impl Pair {
    /// The bytes from key to value.
    pub(crate) fn span(&self) -> Range<usize> {
        let start = self.question.unwrap_or(self.key.span.start);
        let colon = self.colon.map_or(0, |colon| colon + 1);
        start..self.key.span.end.max(colon).max(self.written_value_end())
    }

    /// An empty value has its place where the next token begins, which is no part of this pair.
    fn written_value_end(&self) -> usize {
        if self.value.span.is_empty() { 0 } else { self.value.span.end }
    }
}

impl Node {
    /// Nothing is written here: the value of `key:` or of a lone dash.
    pub(crate) fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// The same node without what is below it.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match &self.value {
            Value::Scalar(_) | Value::Alias(_) => Vec::new(),
            Value::Sequence(sequence) => sequence.items.iter().map(|item| &item.node).collect(),
            Value::Mapping(mapping) => {
                let both = mapping.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]);
                both.collect()
            }
        }
    }

    /// Calls `visit` with this node and all below it, in the order of the text.
    pub(crate) fn walk<'n>(&'n self, visit: &mut impl FnMut(&'n Node)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }
}
