//! The tree of a document with the place of every node, and nothing decided yet: what `yes` or `017`
//! means is [`super::decode`]'s answer, because editing needs the text as it was written.

use std::ops::Range;

pub(crate) use super::token::ScalarStyle;

/// One document of a text.
#[derive(Debug, Clone)]
pub(crate) struct YamlDocument {
    /// From its directives or `---`, if it has any, to its `...`, the next document or the end.
    pub(crate) span: Range<usize>,
    /// Where content may begin: behind `---`.
    pub(crate) body: Range<usize>,
    /// An empty document has an empty plain scalar.
    pub(crate) root: YamlNode,
}

#[derive(Debug, Clone)]
pub(crate) struct YamlNode {
    pub(crate) value: YamlValue,
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
pub(crate) enum YamlValue {
    Scalar(YamlScalar),
    Sequence(YamlSequence),
    Mapping(YamlMapping),
    /// Stands for the node that has this anchor.
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
    /// Where its `-` stands, in block style.
    pub(crate) dash: Option<usize>,
    pub(crate) node: YamlNode,
    /// Where the comma behind it stands, in flow style.
    pub(crate) comma: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct YamlMapping {
    pub(crate) flow: bool,
    pub(crate) pairs: Vec<MappingPair>,
}

#[derive(Debug, Clone)]
pub(crate) struct MappingPair {
    /// Where an explicit `?` stands.
    pub(crate) question_mark: Option<usize>,
    pub(crate) key: YamlNode,
    /// Where the `:` stands, if the value is not left out with it.
    pub(crate) colon: Option<usize>,
    pub(crate) value: YamlNode,
    pub(crate) comma: Option<usize>,
}

impl MappingPair {
    /// The bytes from key to value.
    pub(crate) fn span(&self) -> Range<usize> {
        let start = self.question_mark.unwrap_or(self.key.span.start);
        let colon = self.colon.map_or(0, |colon| colon + 1);
        start..self.key.span.end.max(colon).max(self.written_value_end())
    }

    /// An empty value has its place where the next token begins, which is no part of this pair.
    fn written_value_end(&self) -> usize {
        if self.value.span.is_empty() { 0 } else { self.value.span.end }
    }
}

impl YamlNode {
    /// Nothing is written here: the value of `key:` or of a lone dash.
    pub(crate) fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// The same node without what is below it.
    pub(crate) fn children(&self) -> Vec<&YamlNode> {
        match &self.value {
            YamlValue::Scalar(_) | YamlValue::Alias(_) => Vec::new(),
            YamlValue::Sequence(sequence) => sequence.items.iter().map(|item| &item.node).collect(),
            YamlValue::Mapping(mapping) => {
                let both = mapping.pairs.iter().flat_map(|pair| [&pair.key, &pair.value]);
                both.collect()
            }
        }
    }

    /// Calls `visit` with this node and all below it, in the order of the text.
    pub(crate) fn walk<'n>(&'n self, visit: &mut impl FnMut(&'n YamlNode)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }
}
