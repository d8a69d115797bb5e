//! The text of a snapshot file: its documents, and the file with changed and added documents.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::yaml;

/// Reads a file. `None` if it is longer. It can be a pipe or a device, which have no length.
pub(super) fn read_up_to(path: &Path, max_bytes: u64) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        return Ok(None);
    }
    let invalid = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(bytes).map(Some).map_err(invalid)
}

/// Returns the length of a text.
pub(super) fn byte_count(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// A file of a snapshot, in memory.
pub(super) struct SnapshotFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) documents: Vec<SnapshotDocument>,
    /// Objects that were created, written after the documents. `None` if the object was deleted again.
    pub(super) appended: Vec<Option<Value>>,
}

/// A document of a file. The span is its content without separators and the comments before it.
pub(super) struct SnapshotDocument {
    pub(super) span: std::ops::Range<usize>,
    pub(super) value: Value,
    pub(super) changed: bool,
}

impl SnapshotFile {
    /// Returns the text of the file with its changed and added documents. Every other byte is unchanged.
    pub(super) fn render(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut copied = 0;
        for document in self.documents.iter().filter(|document| document.changed) {
            out.push_str(self.text.get(copied..document.span.start).unwrap_or_default());
            copied = document.span.end;
            if document.value.is_null() {
                continue;
            }
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(yaml::to_yaml(&remove_null_items(&document.value)).trim_end_matches('\n'));
        }
        out.push_str(self.text.get(copied..).unwrap_or_default());
        for value in self.appended.iter().flatten() {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            if !out.trim().is_empty() {
                out.push_str("---\n");
            }
            out.push_str(&yaml::to_yaml(value));
        }
        out
    }
}

/// Returns the byte offset of an item of a List.
pub(super) fn list_item_offset(root: &yaml::YamlNode, item: usize) -> Option<usize> {
    let yaml::YamlValue::Mapping(mapping) = &root.value else {
        return None;
    };
    let is_items =
        |node: &yaml::YamlNode| matches!(&node.value, yaml::YamlValue::Scalar(scalar) if scalar.text == "items");
    let pair = mapping.pairs.iter().find(|pair| is_items(&pair.key))?;
    pair.value.children().get(item).map(|node| node.span.start)
}

/// Returns the List without its deleted items. They are null until the file is written, so that the indices of the
/// others stay.
fn remove_null_items(value: &Value) -> Value {
    let mut out = value.clone();
    if let Some(items) = out.get_mut("items").and_then(Value::as_array_mut) {
        items.retain(|item| !item.is_null());
    }
    out
}

/// Adds `apiVersion` and `kind` to an item of a List. `kubectl get -o yaml` prints them for every item, but a List of the
/// API server has them only once.
pub(super) fn with_kind(item: Value, list: &Value) -> Value {
    let text = |field: &str| list.get(field).and_then(Value::as_str).unwrap_or_default();
    match (item, text("kind").strip_suffix("List")) {
        (Value::Object(map), Some(kind)) if !kind.is_empty() && !map.contains_key("kind") => {
            let mut out = serde_json::Map::new();
            out.insert("apiVersion".to_owned(), json!(text("apiVersion")));
            out.insert("kind".to_owned(), json!(kind));
            out.extend(map);
            Value::Object(out)
        }
        (item, _) => item,
    }
}
