//! Tests of the room: what texts mean, where they break, and that what is written is read back.

mod anchors;
mod collections;
mod emit;
mod errors;
mod places;
mod quotes;
mod scalars;
mod streams;

use serde_json::Value as Json;

use super::documents;

/// The one document of a text, as JSON.
#[track_caller]
fn json(text: &str) -> Json {
    let documents = documents(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let [document] = documents.as_slice() else {
        panic!("{text:?} has {} documents", documents.len());
    };
    document.to_json().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Why a text is refused, by the parser or when it is decoded.
#[track_caller]
fn refusal(text: &str) -> String {
    let all = documents(text).and_then(|documents| {
        let values = documents.iter().map(super::Document::to_json);
        values.collect::<Result<Vec<_>, _>>()
    });
    match all {
        Ok(values) => panic!("{text:?} reads as {values:?}"),
        Err(error) => error.to_string(),
    }
}
