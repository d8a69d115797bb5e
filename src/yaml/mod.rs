//! YAML as Kubernetes reads it: YAML 1.1 by go-yaml v2. Parsers of YAML 1.2 differ in what `yes`,
//! `017` or a brace mean.
//!
//! A text is parsed into a tree with the byte range of every node, so that other modules can edit the
//! text itself. [`to_yaml`] writes a value. This module depends on no other module of the crate and
//! knows no Kubernetes objects.

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

/// Parses all documents of a text.
pub(crate) fn parse_documents(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let mut parser = Parser::new(text)?;
    let mut documents = Vec::new();
    while let Some(document) = parser.parse_document()? {
        documents.push(document);
    }
    Ok(documents)
}

/// Parses only the first document; the text after it may be invalid. `None` if there is no document.
pub(crate) fn parse_first_document(text: &str) -> Result<Option<YamlDocument>, YamlError> {
    Parser::new(text)?.parse_document()
}

#[cfg(test)]
mod tests;
