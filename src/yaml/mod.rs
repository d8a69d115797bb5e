//! YAML as Kubernetes reads it: YAML 1.1 by go-yaml v2, of which YAML 1.2 parsers differ in what
//! `yes`, `017` or a brace mean. A text becomes a tree with the bytes of every node, so that others
//! can edit the text itself; a value becomes pleasant YAML. This room knows no Kubernetes object.

mod block_scalar;
mod cursor;
mod decode;
mod emit;
mod error;
mod json;
mod node;
mod parser;
mod properties;
mod quote;
mod resolve;
mod scalar;
mod scanner;
mod token;

pub(crate) use decode::Decoder;
pub(crate) use decode::{AnchorIndex, Decoded, DecodedField, DecodedNode};
pub(crate) use emit::to_yaml;
pub(crate) use error::YamlError;
pub(crate) use node::{
    MappingPair, ScalarStyle, SequenceItem, YamlDocument, YamlMapping, YamlNode, YamlScalar, YamlSequence, YamlValue,
};
pub(crate) use quote::{double_quoted, is_plain_safe, quoted};
pub(crate) use resolve::ScalarValue;

use parser::Parser;

/// Reads all documents of a text.
pub(crate) fn parse_documents(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let mut parser = Parser::new(text)?;
    let mut documents = Vec::new();
    while let Some(document) = parser.parse_document()? {
        documents.push(document);
    }
    Ok(documents)
}

/// Reads the first document alone; what follows it may be broken. `None` where there is none.
pub(crate) fn parse_first_document(text: &str) -> Result<Option<YamlDocument>, YamlError> {
    Parser::new(text)?.parse_document()
}

#[cfg(test)]
mod tests;
