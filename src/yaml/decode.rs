//! What a tree says once aliases, merge keys and YAML 1.1 words are resolved, as go-yaml v2 decodes
//! it into untyped values (`decode.go`) and sigs.k8s.io/yaml turns its keys into strings. Every
//! value still knows the node it was written as.

use std::collections::{BTreeMap, BTreeSet};

use super::error::YamlError;
use super::node::{Document, Mapping, Node, Scalar, ScalarStyle, Value};
use super::resolve::{Meaning, resolve};

/// go-yaml has no such limit, as its texts are shared, while ours are copied into JSON.
const MOST_ALIASED_BYTES: usize = 64 << 20;
/// As deep as a text may nest, aliases counted in.
const DEEPEST: usize = 128;

/// A value and the node where it was written, behind aliases.
#[derive(Debug, Clone)]
pub(crate) struct Resolved<'d> {
    pub(crate) node: &'d Node,
    pub(crate) sense: Sense<'d>,
}

#[derive(Debug, Clone)]
pub(crate) enum Sense<'d> {
    One(Meaning<'d>),
    List(Vec<Resolved<'d>>),
    /// Sorted by name, each once, as in the JSON that Go makes of it.
    Fields(Vec<Field<'d>>),
    /// A mapping with a key that JSON cannot hold. It harms only where it counts in the end, not
    /// where the same key stands once more.
    Broken(YamlError),
}

/// One key of a mapping, with the value that stands in the end.
#[derive(Debug, Clone)]
pub(crate) struct Field<'d> {
    pub(crate) name: String,
    pub(crate) key: &'d Node,
    /// As it was written, before aliases.
    pub(crate) written: &'d Node,
    pub(crate) value: Resolved<'d>,
    /// It came through a `<<`.
    pub(crate) merged: bool,
}

/// The anchored nodes of a document, for looking up what an alias stands for.
#[derive(Debug, Default)]
pub(crate) struct Anchors<'d> {
    nodes: BTreeMap<usize, &'d Node>,
}

impl<'d> Anchors<'d> {
    pub(crate) fn of(document: &'d Document) -> Self {
        let mut nodes = BTreeMap::new();
        document.root.walk(&mut |node| {
            if let Some(anchor) = &node.anchor {
                nodes.insert(anchor.number, node);
            }
        });
        Self { nodes }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&'d Node> {
        self.nodes.get(&number).copied()
    }
}

impl Document {
    /// Resolves the whole document.
    pub(crate) fn resolve(&self) -> Result<Resolved<'_>, YamlError> {
        let anchors = Anchors::of(self);
        let mut decoder = Decoder::new(&anchors);
        decoder.decode(&self.root)
    }
}

impl Node {
    /// What a scalar means; `None` for anything else.
    pub(crate) fn meaning(&self) -> Option<Result<Meaning<'_>, YamlError>> {
        let Value::Scalar(scalar) = &self.value else {
            return None;
        };
        let plain = scalar.style == ScalarStyle::Plain;
        let meaning = resolve(self.tag.as_deref(), plain, &scalar.text);
        Some(meaning.map_err(|message| self.error(message)))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError { line: self.line, column: self.column + 1, message: message.into() }
    }

    fn is_merge_key(&self) -> bool {
        let Value::Scalar(Scalar { text, style }) = &self.value else {
            return false;
        };
        let merges = match self.tag.as_deref() {
            None => *style == ScalarStyle::Plain,
            Some(tag) => matches!(tag, "!" | "tag:yaml.org,2002:merge"),
        };
        text == "<<" && merges
    }
}

/// Counts as go-yaml counts, so that the same texts are refused as alias bombs.
pub(crate) struct Decoder<'a, 'd> {
    anchors: &'a Anchors<'d>,
    open_aliases: BTreeSet<usize>,
    decoded: u32,
    decoded_by_alias: u32,
    aliased_bytes: usize,
    depth: usize,
}

#[derive(Default)]
struct Building<'d> {
    fields: BTreeMap<String, Field<'d>>,
    broken: Option<YamlError>,
}

impl<'a, 'd> Decoder<'a, 'd> {
    pub(crate) fn new(anchors: &'a Anchors<'d>) -> Self {
        Self {
            anchors,
            open_aliases: BTreeSet::new(),
            // The document itself.
            decoded: 1,
            decoded_by_alias: 0,
            aliased_bytes: 0,
            depth: 0,
        }
    }

    pub(crate) fn decode(&mut self, node: &'d Node) -> Result<Resolved<'d>, YamlError> {
        self.enter(node)?;
        let sense = match &node.value {
            Value::Alias(_) => {
                let resolved = self.follow(node, Self::decode)?;
                self.depth -= 1;
                return Ok(resolved);
            }
            Value::Scalar(_) => {
                let meaning = node.meaning().unwrap_or(Ok(Meaning::Null))?;
                if let (Meaning::Text(text), false) = (&meaning, self.open_aliases.is_empty()) {
                    self.aliased_bytes += text.len();
                }
                Sense::One(meaning)
            }
            Value::Sequence(sequence) => {
                let items = sequence.items.iter().map(|item| self.decode(&item.node));
                Sense::List(items.collect::<Result<_, _>>()?)
            }
            Value::Mapping(mapping) => {
                let mut building = Building::default();
                self.fill(mapping, &mut building, false)?;
                match building.broken {
                    Some(error) => Sense::Broken(error),
                    None => Sense::Fields(building.fields.into_values().collect()),
                }
            }
        };
        self.depth -= 1;
        Ok(Resolved { node, sense })
    }

    /// Every node passes here once, by go-yaml's `unmarshal`.
    pub(crate) fn enter(&mut self, node: &Node) -> Result<(), YamlError> {
        self.decoded += 1;
        self.depth += 1;
        if !self.open_aliases.is_empty() {
            self.decoded_by_alias += 1;
        }
        let share = f64::from(self.decoded_by_alias) / f64::from(self.decoded);
        let bomb = self.decoded_by_alias > 100 && self.decoded > 1000 && share > allowed_alias_share(self.decoded);
        if bomb || self.aliased_bytes > MOST_ALIASED_BYTES {
            return Err(node.error("the document repeats too much by aliases"));
        }
        if self.depth > DEEPEST {
            let message = format!("nested more than {DEEPEST} levels deep");
            return Err(node.error(message));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Decodes what an alias stands for.
    pub(crate) fn follow<T>(
        &mut self,
        alias: &'d Node,
        decode: impl FnOnce(&mut Self, &'d Node) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let (anchor, target) = self.target(alias)?;
        if !self.open_aliases.insert(alias.span.start) {
            let message = format!("the anchor `{anchor}` contains itself");
            return Err(alias.error(message));
        }
        let value = decode(self, target)?;
        self.open_aliases.remove(&alias.span.start);
        Ok(value)
    }

    fn target(&self, alias: &'d Node) -> Result<(&'d str, &'d Node), YamlError> {
        let Value::Alias(anchor) = &alias.value else {
            return Ok(("", alias));
        };
        let target = self.anchors.get(anchor.number);
        let target = target.ok_or_else(|| alias.error("unknown anchor"))?;
        Ok((&anchor.name, target))
    }

    /// Keys count in the order of the text: a `<<` beats what stands before it.
    fn fill(&mut self, mapping: &'d Mapping, building: &mut Building<'d>, merged: bool) -> Result<(), YamlError> {
        for pair in &mapping.pairs {
            if pair.key.is_merge_key() {
                self.merge(&pair.value, building)?;
                continue;
            }
            let name = self.key(&pair.key)?;
            let value = self.decode(&pair.value)?;
            let name = match name {
                Ok(name) => name,
                Err(error) => {
                    building.broken.get_or_insert(error);
                    continue;
                }
            };
            let field = Field { name: name.clone(), key: &pair.key, written: &pair.value, value, merged };
            building.fields.insert(name, field);
        }
        Ok(())
    }

    /// The inner error is one of turning the key into text, which Go does last.
    fn key(&mut self, key: &'d Node) -> Result<Result<String, YamlError>, YamlError> {
        let value = self.decode(key)?;
        Ok(match value.sense {
            Sense::One(Meaning::Text(text)) => Ok(text.into_owned()),
            Sense::One(Meaning::Int(number)) => Ok(number.to_string()),
            Sense::One(Meaning::Bool(truth)) => Ok(truth.to_string()),
            Sense::One(Meaning::Float(number)) => Ok(float_key(number)),
            Sense::One(Meaning::Null) => Err(key.error("a key may not be null")),
            Sense::One(Meaning::Uint(_)) => Err(key.error("a key may not be so large a number")),
            Sense::List(_) | Sense::Fields(_) | Sense::Broken(_) => {
                return Err(key.error("a key must be a scalar"));
            }
        })
    }

    fn merge(&mut self, value: &'d Node, building: &mut Building<'d>) -> Result<(), YamlError> {
        if let Value::Sequence(sequence) = &value.value {
            // Earlier mappings beat later ones.
            for item in sequence.items.iter().rev() {
                self.merge_one(&item.node, building)?;
            }
            return Ok(());
        }
        self.merge_one(value, building)
    }

    fn merge_one(&mut self, value: &'d Node, building: &mut Building<'d>) -> Result<(), YamlError> {
        let (_, target) = self.target(value)?;
        let Value::Mapping(mapping) = &target.value else {
            return Err(value.error("`<<` needs a mapping or a list of mappings"));
        };
        self.enter(value)?;
        if matches!(value.value, Value::Alias(_)) {
            self.follow(value, |decoder, target| {
                decoder.enter(target)?;
                decoder.fill(mapping, building, true)?;
                decoder.leave();
                Ok(())
            })?;
        } else {
            self.fill(mapping, building, true)?;
        }
        self.leave();
        Ok(())
    }
}

/// 99 % up to 400,000 nodes, falling to 10 % at 4,000,000.
fn allowed_alias_share(decoded: u32) -> f64 {
    const LOW: u32 = 400_000;
    const HIGH: u32 = 4_000_000;
    match decoded {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * (f64::from(decoded - LOW) / f64::from(HIGH - LOW)),
    }
}

/// Go's `FormatFloat(f, 'g', -1, 32)`, with YAML's words for what is no number.
fn float_key(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "sigs.k8s.io/yaml rounds so, too")]
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
