//! All objects of a kind, page by page, as they were at one moment.
//!
//! The pages of a list carry the first page's resourceVersion: the server answers them from that moment. Where it
//! cannot any more (410, the moment was compacted away) the list starts over, because half of one moment and half of
//! another would show objects that never stood side by side.

use prost::bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ClusterError;
use super::connection::{Answer, Ask, Connection, JSON};
use super::live::collection;
use super::protobuf::{self, Sent};
use crate::names::ObjectKind;
use crate::state::meta::AGGREGATION;

/// Objects of a page. One page of nearly every cluster: the server answers it from its cache, and need not be asked twice
/// in a row; it holds some 20 MB for one.
const PAGE: usize = 20_000;
/// Times that a list may start over.
const STARTS: u32 = 4;

/// Items of a list, where the next ones begin, and the moment that they are of.
pub(super) struct Page<T> {
    /// Each is read when it is its turn.
    pub(super) items: Box<dyn Iterator<Item = Result<T, prost::DecodeError>> + Send>,
    pub(super) next: String,
    pub(super) moment: String,
}

/// Reads a page in the binary form.
type Binary<T> = fn(Bytes) -> Result<Page<T>, prost::DecodeError>;

/// What a list may be of.
pub(super) trait Listed: DeserializeOwned + Send + 'static {
    /// Reads the binary form, where one is read at all.
    const BINARY: Option<Binary<Self>>;
}

/// Whole objects, with fields that no type here names.
impl Listed for Value {
    const BINARY: Option<Binary<Self>> = None;
}

impl<T: Sent + DeserializeOwned + Send + 'static> Listed for T {
    const BINARY: Option<Binary<Self>> = Some(protobuf::page);
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct JsonPage<T> {
    #[serde(default)]
    metadata: JsonMeta,
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonMeta {
    r#continue: Option<String>,
    resource_version: Option<String>,
}

/// Reads a page in whichever form it came.
fn page<T: Listed>(answer: &Answer, what: &str) -> Result<Page<T>, ClusterError> {
    if let Some((read, raw)) = T::BINARY.zip(protobuf::content(&answer.bytes)) {
        return raw.and_then(read).map_err(|error| unreadable(what, &error));
    }
    let JsonPage { metadata, items } = answer.read(what)?;
    let JsonMeta { r#continue, resource_version } = metadata;
    let items = Box::new(items.into_iter().map(Ok));
    Ok(Page { items, next: r#continue.unwrap_or_default(), moment: resource_version.unwrap_or_default() })
}

fn unreadable(what: &str, error: &prost::DecodeError) -> ClusterError {
    ClusterError::Unreadable { what: what.to_owned(), why: error.to_string() }
}

fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// What is made of every object of the kind in the whole cluster.
pub(super) async fn list<T: Listed, U>(
    connection: &Connection,
    kind: ObjectKind,
    make: impl Fn(T) -> Result<Option<U>, ClusterError>,
) -> Result<Vec<U>, ClusterError> {
    let what = format!("list {}", kind.resource());
    let mut starts = 0;
    'start: loop {
        starts += 1;
        let mut made: Vec<U> = Vec::new();
        let mut from = String::new();
        let mut moment: Option<String> = None;
        let accept = if T::BINARY.is_some() { protobuf::ACCEPT } else { JSON };
        loop {
            // A plan is never made from a cache: without a resourceVersion the server answers what is stored now.
            let mut path = format!("{}?limit={PAGE}", collection(kind, None));
            if !from.is_empty() {
                path.push_str("&continue=");
                path.extend(percent_encoding::utf8_percent_encode(&from, percent_encoding::NON_ALPHANUMERIC));
            }
            let ask = Ask { method: "GET", path: &path, body: None, what: what.clone() };
            let answer = connection.send_accepting(&ask, accept).await?;
            if answer.status == 410 && starts < STARTS {
                continue 'start;
            }
            if !answer.is_success() {
                let why = answer.failure().message;
                return Err(match answer.status {
                    403 => ClusterError::Forbidden {
                        verb: "list".to_owned(),
                        resource: format!("{} in all namespaces", kind.resource()),
                        why,
                    },
                    status => ClusterError::Answer { status, what, why },
                });
            }
            let page: Page<T> = page(&answer, &what)?;
            let same_moment = moment.as_ref().is_none_or(|moment| *moment == page.moment);
            if !same_moment && starts < STARTS {
                continue 'start;
            }
            if !same_moment {
                let why = "its pages are of different moments, time after time".to_owned();
                return Err(ClusterError::Unreadable { what, why });
            }
            moment = Some(page.moment);
            for item in page.items {
                made.extend(make(item.map_err(|error| unreadable(&what, &error))?)?);
            }
            if page.next.is_empty() {
                return Ok(made);
            }
            from = page.next;
        }
    }
}

/// Of the history of the fields of an aggregated role: that another than the controller holds its rules.
fn holders_of_rules(history: Value) -> Option<Value> {
    let Value::Array(entries) = history else {
        return None;
    };
    let kept: Vec<Value> = entries
        .into_iter()
        .filter(|entry| entry.get("manager").and_then(Value::as_str) != Some(AGGREGATION))
        .filter_map(|mut entry| {
            let fields = entry.get_mut("fieldsV1")?;
            let rules = fields.get("f:rules")?.clone();
            *fields = json!({ "f:rules": rules });
            entry.as_object_mut()?.shift_remove("time");
            Some(entry)
        })
        .collect();
    (!kept.is_empty()).then_some(Value::Array(kept))
}

/// An object as a snapshot keeps it: with its kind, which lists leave out, and without the history of its fields.
pub(super) fn exported(kind: ObjectKind, object: Value) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("apiVersion".to_owned(), json!(kind.api_version()));
    out.insert("kind".to_owned(), json!(kind.word()));
    if let Value::Object(fields) = object {
        out.extend(fields.into_iter().filter(|(field, _)| field != "apiVersion" && field != "kind"));
    }
    let aggregated = out.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    if let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        let history = metadata.shift_remove("managedFields");
        metadata.shift_remove("selfLink");
        // It decides what the controller makes of the role, so the snapshot keeps that much.
        let kept = history.filter(|_| aggregated).and_then(holders_of_rules);
        metadata.extend(kept.map(|kept| ("managedFields".to_owned(), kept)));
    }
    // Of a namespace its name, labels and uid count here; its spec and status are nobody's access.
    if kind == ObjectKind::Namespace {
        out.shift_remove("spec");
        out.shift_remove("status");
    }
    Value::Object(out)
}
