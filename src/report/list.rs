//! Kubernetes objects as a List, as `kubectl` prints and reads them.

use serde::Serialize;
use serde_json::Value;

/// A Kubernetes List. Its keys are those of Kubernetes, so it has no format version of its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectListDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [Value],
}

impl<'a> ObjectListDocument<'a> {
    pub(crate) fn new(items: &'a [Value]) -> Self {
        Self { api_version: "v1", kind: "List", items }
    }
}
