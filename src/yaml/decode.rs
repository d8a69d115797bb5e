//! Resolves aliases, merge keys and YAML 1.1 scalars, as go-yaml v2 decodes a document into untyped
//! values (`decode.go`) and sigs.k8s.io/yaml converts its keys into strings. Every value keeps a
//! reference to the node that it was written as.

use std::collections::{BTreeMap, BTreeSet};

use super::error::YamlError;
use super::node::{ScalarStyle, YamlDocument, YamlMapping, YamlNode, YamlScalar, YamlValue};
use super::resolve::{ScalarValue, resolve_scalar};

/// The limit on the text that aliases repeat. go-yaml needs none, because it shares the strings that
/// are copied into JSON here.
const MAX_ALIASED_BYTES: usize = 64 << 20;
/// The limit on nesting, with aliases resolved. The limit of the parser does not count those.
const MAX_DEPTH: usize = 128;

/// A value and the node that it was written as. For an alias that is the anchored node.
#[derive(Debug, Clone)]
pub(crate) struct DecodedNode<'d> {
    pub(crate) node: &'d YamlNode,
    pub(crate) content: Decoded<'d>,
}

#[derive(Debug, Clone)]
pub(crate) enum Decoded<'d> {
    Scalar(ScalarValue<'d>),
    Sequence(Vec<DecodedNode<'d>>),
    /// Sorted by name without duplicates, as Go's encoding/json writes a map.
    Mapping(Vec<DecodedField<'d>>),
    /// A mapping with a key that JSON cannot represent. It is an error only if no later duplicate of its parent key
    /// replaces the mapping.
    Invalid(YamlError),
}

/// One key of a mapping, with the value that remains after duplicates and merges.
#[derive(Debug, Clone)]
pub(crate) struct DecodedField<'d> {
    pub(crate) name: String,
    pub(crate) key: &'d YamlNode,
    /// The node after the colon. It can be an alias.
    pub(crate) written_value: &'d YamlNode,
    pub(crate) value: DecodedNode<'d>,
    /// Whether the field comes from a `<<` merge key.
    pub(crate) merged: bool,
}

/// The anchored nodes of a document by the number of the anchor.
#[derive(Debug, Default)]
pub(crate) struct AnchorIndex<'d> {
    nodes: BTreeMap<usize, &'d YamlNode>,
}

impl<'d> AnchorIndex<'d> {
    pub(crate) fn from_document(document: &'d YamlDocument) -> Self {
        let mut nodes = BTreeMap::new();
        document.root.walk(&mut |node| {
            if let Some(anchor) = &node.anchor {
                nodes.insert(anchor.number, node);
            }
        });
        Self { nodes }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&'d YamlNode> {
        self.nodes.get(&number).copied()
    }
}

impl YamlDocument {
    /// Decodes the whole document.
    pub(crate) fn decode(&self) -> Result<DecodedNode<'_>, YamlError> {
        let anchors = AnchorIndex::from_document(self);
        let mut decoder = Decoder::new(&anchors);
        decoder.decode(&self.root)
    }
}

impl YamlNode {
    /// Returns the resolved value of a scalar. `None` for other nodes.
    pub(crate) fn scalar_value(&self) -> Option<Result<ScalarValue<'_>, YamlError>> {
        let YamlValue::Scalar(scalar) = &self.value else {
            return None;
        };
        let plain = scalar.style == ScalarStyle::Plain;
        let resolved = resolve_scalar(self.tag.as_deref(), plain, &scalar.text);
        Some(resolved.map_err(|message| self.error(message)))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError { line: self.line, column: self.column + 1, message: message.into() }
    }

    fn is_merge_key(&self) -> bool {
        let YamlValue::Scalar(YamlScalar { text, style }) = &self.value else {
            return false;
        };
        let merges = match self.tag.as_deref() {
            None => *style == ScalarStyle::Plain,
            Some(tag) => matches!(tag, "!" | "tag:yaml.org,2002:merge"),
        };
        text == "<<" && merges
    }
}

/// Decodes nodes and counts them as go-yaml v2 does, so that it refuses the same documents for
/// excessive aliasing (`decode.go`).
pub(crate) struct Decoder<'a, 'd> {
    anchors: &'a AnchorIndex<'d>,
    open_aliases: BTreeSet<usize>,
    decoded_count: u32,
    decoded_by_alias_count: u32,
    aliased_bytes: usize,
    depth: usize,
}

#[derive(Default)]
struct MappingBuilder<'d> {
    fields: BTreeMap<String, DecodedField<'d>>,
    error: Option<YamlError>,
}

impl<'a, 'd> Decoder<'a, 'd> {
    pub(crate) fn new(anchors: &'a AnchorIndex<'d>) -> Self {
        Self {
            anchors,
            open_aliases: BTreeSet::new(),
            // go-yaml counts the document node, too.
            decoded_count: 1,
            decoded_by_alias_count: 0,
            aliased_bytes: 0,
            depth: 0,
        }
    }

    pub(crate) fn decode(&mut self, node: &'d YamlNode) -> Result<DecodedNode<'d>, YamlError> {
        self.enter(node)?;
        let content = match &node.value {
            YamlValue::Alias(_) => {
                let resolved = self.follow_alias(node, Self::decode)?;
                self.depth -= 1;
                return Ok(resolved);
            }
            YamlValue::Scalar(_) => {
                let value = node.scalar_value().unwrap_or(Ok(ScalarValue::Null))?;
                if let (ScalarValue::Text(text), false) = (&value, self.open_aliases.is_empty()) {
                    self.aliased_bytes += text.len();
                }
                Decoded::Scalar(value)
            }
            YamlValue::Sequence(sequence) => {
                let items = sequence.items.iter().map(|item| self.decode(&item.node));
                Decoded::Sequence(items.collect::<Result<_, _>>()?)
            }
            YamlValue::Mapping(mapping) => {
                let mut builder = MappingBuilder::default();
                self.decode_pairs(mapping, &mut builder, false)?;
                match builder.error {
                    Some(error) => Decoded::Invalid(error),
                    None => Decoded::Mapping(builder.fields.into_values().collect()),
                }
            }
        };
        self.depth -= 1;
        Ok(DecodedNode { node, content })
    }

    /// Counts a node, as the start of go-yaml's `unmarshal` does. Call [`Self::leave`] after the node.
    pub(crate) fn enter(&mut self, node: &YamlNode) -> Result<(), YamlError> {
        self.decoded_count += 1;
        self.depth += 1;
        if !self.open_aliases.is_empty() {
            self.decoded_by_alias_count += 1;
        }
        let share = f64::from(self.decoded_by_alias_count) / f64::from(self.decoded_count);
        let excessive_aliasing = self.decoded_by_alias_count > 100
            && self.decoded_count > 1000
            && share > allowed_alias_share(self.decoded_count);
        if excessive_aliasing || self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(node.error("document contains excessive aliasing"));
        }
        if self.depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(node.error(message));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Calls `decode` with the node that the alias refers to. Refuses an alias inside its own anchor.
    pub(crate) fn follow_alias<T>(
        &mut self,
        alias: &'d YamlNode,
        decode: impl FnOnce(&mut Self, &'d YamlNode) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let (anchor, target) = self.alias_target(alias)?;
        if !self.open_aliases.insert(alias.span.start) {
            let message = format!("anchor `{anchor}` contains itself");
            return Err(alias.error(message));
        }
        let value = decode(self, target)?;
        self.open_aliases.remove(&alias.span.start);
        Ok(value)
    }

    fn alias_target(&self, alias: &'d YamlNode) -> Result<(&'d str, &'d YamlNode), YamlError> {
        let YamlValue::Alias(anchor) = &alias.value else {
            return Ok(("", alias));
        };
        let target = self.anchors.get(anchor.number);
        let target = target.ok_or_else(|| alias.error("unknown anchor"))?;
        Ok((&anchor.name, target))
    }

    /// Adds the pairs in the order of the text. A later key replaces an earlier one, so a `<<` replaces
    /// the keys before it and is overridden by the keys after it.
    fn decode_pairs(
        &mut self,
        mapping: &'d YamlMapping,
        builder: &mut MappingBuilder<'d>,
        merged: bool,
    ) -> Result<(), YamlError> {
        for pair in &mapping.pairs {
            if pair.key.is_merge_key() {
                self.decode_merge(&pair.value, builder)?;
                continue;
            }
            let name = self.decode_key(&pair.key)?;
            let value = self.decode(&pair.value)?;
            let name = match name {
                Ok(name) => name,
                Err(error) => {
                    builder.error.get_or_insert(error);
                    continue;
                }
            };
            let field = DecodedField { name: name.clone(), key: &pair.key, written_value: &pair.value, value, merged };
            builder.fields.insert(name, field);
        }
        Ok(())
    }

    /// Returns the name of a key. The inner error is a scalar that cannot become a string: sigs.k8s.io/yaml
    /// converts the keys last, so any other error in the document comes before it.
    fn decode_key(&mut self, key: &'d YamlNode) -> Result<Result<String, YamlError>, YamlError> {
        let value = self.decode(key)?;
        Ok(match value.content {
            Decoded::Scalar(ScalarValue::Text(text)) => Ok(text.into_owned()),
            Decoded::Scalar(ScalarValue::Int(number)) => Ok(number.to_string()),
            Decoded::Scalar(ScalarValue::Bool(boolean)) => Ok(boolean.to_string()),
            Decoded::Scalar(ScalarValue::Float(number)) => Ok(float_key(number)),
            Decoded::Scalar(ScalarValue::Null) => Err(key.error("a mapping key cannot be null")),
            Decoded::Scalar(ScalarValue::Uint(_)) => Err(key.error("a mapping key cannot be a number this large")),
            Decoded::Sequence(_) | Decoded::Mapping(_) | Decoded::Invalid(_) => {
                return Err(key.error("a mapping key must be a scalar"));
            }
        })
    }

    fn decode_merge(&mut self, value: &'d YamlNode, builder: &mut MappingBuilder<'d>) -> Result<(), YamlError> {
        if let YamlValue::Sequence(sequence) = &value.value {
            // Earlier mappings override later ones.
            for item in sequence.items.iter().rev() {
                self.decode_merge_source(&item.node, builder)?;
            }
            return Ok(());
        }
        self.decode_merge_source(value, builder)
    }

    fn decode_merge_source(&mut self, value: &'d YamlNode, builder: &mut MappingBuilder<'d>) -> Result<(), YamlError> {
        let (_, target) = self.alias_target(value)?;
        let YamlValue::Mapping(mapping) = &target.value else {
            return Err(value.error("the value of `<<` must be a mapping or a list of mappings"));
        };
        self.enter(value)?;
        if matches!(value.value, YamlValue::Alias(_)) {
            self.follow_alias(value, |decoder, target| {
                decoder.enter(target)?;
                decoder.decode_pairs(mapping, builder, true)?;
                decoder.leave();
                Ok(())
            })?;
        } else {
            self.decode_pairs(mapping, builder, true)?;
        }
        self.leave();
        Ok(())
    }
}

/// Returns the share of nodes that aliases may add: 99 % up to 400,000 nodes, falling to 10 % at 4,000,000
/// (go-yaml v2, `decode.go`, `allowedAliasRatio`).
fn allowed_alias_share(decoded: u32) -> f64 {
    const LOW: u32 = 400_000;
    const HIGH: u32 = 4_000_000;
    match decoded {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * (f64::from(decoded - LOW) / f64::from(HIGH - LOW)),
    }
}

/// Returns a float as a key: Go's `FormatFloat(f, 'g', -1, 32)`, with YAML's spelling of infinity and NaN.
fn float_key(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "sigs.k8s.io/yaml rounds to 32 bits, too")]
    let single = number as f32;
    if single.is_nan() {
        return ".nan".to_owned();
    }
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let shortest = format!("{single:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return format!("{single}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
