//! Tests of the room: what texts mean, where they break, and that what is written is read back.

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

/// The one document of a text, as JSON.
#[track_caller]
fn parse_json(text: &str) -> Json {
    let documents = parse_documents(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let [document] = documents.as_slice() else {
        panic!("{text:?} has {} documents", documents.len());
    };
    document.to_json().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Why a text is refused, by the parser or when it is decoded.
#[track_caller]
fn parse_error(text: &str) -> String {
    let all = parse_documents(text).and_then(|documents| {
        let values = documents.iter().map(super::YamlDocument::to_json);
        values.collect::<Result<Vec<_>, _>>()
    });
    match all {
        Ok(values) => panic!("{text:?} reads as {values:?}"),
        Err(error) => error.to_string(),
    }
}
