//! The tree of a document with the position of every node. Scalars are kept as they were written,
//! because edits need the original text: [`super::decode`] resolves what `yes` or `017` mean.

use std::ops::Range;

pub(crate) use super::token::ScalarStyle;

/// One document of a text.
#[derive(Debug, Clone)]
pub(crate) struct YamlDocument {
    /// From its directives or `---`, if there are any, to its `...`, the next document or the end.
    pub(crate) span: Range<usize>,
    /// Where content can be: after `---`.
    pub(crate) body: Range<usize>,
    /// An empty document has an empty plain scalar.
    pub(crate) root: YamlNode,
}

#[derive(Debug, Clone)]
pub(crate) struct YamlNode {
    pub(crate) value: YamlValue,
    /// In bytes, from the tag or anchor to the end of the content. Empty if nothing is written.
    pub(crate) span: Range<usize>,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The column of the content's first character, counted from 0.
    pub(crate) column: usize,
    /// The full tag: `tag:yaml.org,2002:str`.
    pub(crate) tag: Option<String>,
    pub(crate) anchor: Option<Anchor>,
}

/// An anchor. A document can define a name twice; the number distinguishes the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) name: String,
    pub(crate) number: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum YamlValue {
    Scalar(YamlScalar),
    Sequence(YamlSequence),
    Mapping(YamlMapping),
    /// A reference to the node with this anchor.
    Alias(Anchor),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlScalar {
    /// Unquoted, unescaped and unfolded.
    pub(crate) text: String,
    pub(crate) style: ScalarStyle,
}

#[derive(Debug, Clone)]
pub(crate) struct YamlSequence {
    pub(crate) flow: bool,
    pub(crate) items: Vec<SequenceItem>,
}

#[derive(Debug, Clone)]
pub(crate) struct SequenceItem {
    /// The offset of its `-`, in block style.
    pub(crate) dash: Option<usize>,
    pub(crate) node: YamlNode,
    /// Byte offset of the comma that follows this item in a flow collection. `None` if no comma follows, or in block
    /// style.
    pub(crate) comma: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct YamlMapping {
    pub(crate) flow: bool,
    pub(crate) pairs: Vec<MappingPair>,
}

#[derive(Debug, Clone)]
pub(crate) struct MappingPair {
    /// The offset of an explicit `?`.
    pub(crate) question_mark: Option<usize>,
    pub(crate) key: YamlNode,
    /// The offset of the `:`. `None` if colon and value are left out.
    pub(crate) colon: Option<usize>,
    pub(crate) value: YamlNode,
    pub(crate) comma: Option<usize>,
}

impl MappingPair {
    /// Returns the bytes from key to value.
    pub(crate) fn span(&self) -> Range<usize> {
        let start = self.question_mark.unwrap_or(self.key.span.start);
        let colon = self.colon.map_or(0, |colon| colon + 1);
        start..self.key.span.end.max(colon).max(self.written_value_end())
    }

    /// Returns the byte offset where the value ends, or 0 if nothing is written for it: such a value has the position of
    /// the next token, which is not part of this pair.
    fn written_value_end(&self) -> usize {
        if self.value.span.is_empty() { 0 } else { self.value.span.end }
    }
}

impl YamlNode {
    /// Returns whether nothing is written for this node, such as the value of `key:` or of a lone dash.
    pub(crate) fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// Returns the direct children, in the order of the text.
    pub(crate) fn children(&self) -> Vec<&YamlNode> {
        match &self.value {
            YamlValue::Scalar(_) | YamlValue::Alias(_) => Vec::new(),
            YamlValue::Sequence(sequence) => sequence.items.iter().map(|item| &item.node).collect(),
            YamlValue::Mapping(mapping) => mapping.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect(),
        }
    }

    /// Calls `visit` for this node and all its descendants, in the order of the text.
    pub(crate) fn walk<'n>(&'n self, visit: &mut impl FnMut(&'n YamlNode)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }
}
