//! Tests of the YAML module: resolved values, error positions, spans, and that written YAML parses back.

mod anchors;
mod collections;
mod emit;
mod errors;
mod quotes;
mod scalars;
mod spans;
mod streams;

use serde_json::Value as Json;

use super::parse_documents;

/// Returns the only document of a text, as JSON.
#[track_caller]
fn parse_json(text: &str) -> Json {
    let documents = parse_documents(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let [document] = documents.as_slice() else {
        panic!("{text:?} has {} documents", documents.len());
    };
    document.to_json().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Returns the error of parsing or decoding a text.
#[track_caller]
fn parse_error(text: &str) -> String {
    let result = parse_documents(text).and_then(|documents| {
        let values = documents.iter().map(super::YamlDocument::to_json);
        values.collect::<Result<Vec<_>, _>>()
    });
    match result {
        Ok(values) => panic!("{text:?} parses as {values:?}"),
        Err(error) => error.to_string(),
    }
}
