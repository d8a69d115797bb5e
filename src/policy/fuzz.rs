//! What is true of loading every policy. [`crate::fuzz`] calls this with arbitrary texts.

use super::load::{LoadResult, load_policy_in_chunks};

/// Small chunks, so that a short text has several.
const SMALL_CHUNK: usize = 48;

/// Loads a policy as a whole, and in small chunks.
///
/// # Errors
/// The two results differ.
pub(crate) fn check_chunks(text: &str) -> Result<(), String> {
    let load = |min_bytes| load_policy_in_chunks(vec![("rolecall.toml".to_owned(), text.to_owned())], min_bytes);
    let describe = |result: LoadResult| match result {
        Ok(loaded) => format!("{loaded:#?}"),
        Err((_, diagnostics)) => format!("{diagnostics:#?}"),
    };
    let (whole, chunks) = (describe(load(usize::MAX / 2)), describe(load(SMALL_CHUNK)));
    if whole == chunks { Ok(()) } else { Err(format!("as a whole: {whole}\nin chunks: {chunks}\n=== text\n{text}")) }
}
