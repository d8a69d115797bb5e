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
use super::api_client::{ApiClient, ApiRequest, ApiResponse, CONTENT_TYPE_JSON};
use super::live::collection_path;
use super::protobuf::{self, ProtobufObject};
use crate::names::ObjectKind;
use crate::state::object_meta::AGGREGATION_CONTROLLER;

/// Objects of a page. One page of nearly every cluster: the server answers it from its cache, and need not be asked twice
/// in a row; it holds some 20 MB for one.
const PAGE_SIZE: usize = 20_000;
/// Times that a list may start over.
const MAX_STARTS: u32 = 4;

/// Items of a list, where the next ones begin, and the moment that they are of.
pub(super) struct ListPage<T> {
    /// Each is read when it is its turn.
    pub(super) items: Box<dyn Iterator<Item = Result<T, prost::DecodeError>> + Send>,
    pub(super) continue_token: String,
    pub(super) resource_version: String,
}

/// Reads a page in the binary form.
type PageDecoder<T> = fn(Bytes) -> Result<ListPage<T>, prost::DecodeError>;

/// What a list may be of.
pub(super) trait ListItem: DeserializeOwned + Send + 'static {
    /// Reads the binary form, where one is read at all.
    const PROTOBUF_DECODER: Option<PageDecoder<Self>>;
}

/// Whole objects, with fields that no type here names.
impl ListItem for Value {
    const PROTOBUF_DECODER: Option<PageDecoder<Self>> = None;
}

impl<T: ProtobufObject + DeserializeOwned + Send + 'static> ListItem for T {
    const PROTOBUF_DECODER: Option<PageDecoder<Self>> = Some(protobuf::decode_list);
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct JsonListPage<T> {
    #[serde(default)]
    metadata: JsonListMeta,
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonListMeta {
    r#continue: Option<String>,
    resource_version: Option<String>,
}

/// Reads a page in whichever form it came.
fn decode_page<T: ListItem>(answer: &ApiResponse, what: &str) -> Result<ListPage<T>, ClusterError> {
    if let Some((read, raw)) = T::PROTOBUF_DECODER.zip(protobuf::decode_envelope(&answer.body)) {
        return raw.and_then(read).map_err(|error| decode_error(what, &error));
    }
    let JsonListPage { metadata, items } = answer.parse_json(what)?;
    let JsonListMeta { r#continue, resource_version } = metadata;
    let items = Box::new(items.into_iter().map(Ok));
    Ok(ListPage {
        items,
        continue_token: r#continue.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
    })
}

fn decode_error(what: &str, error: &prost::DecodeError) -> ClusterError {
    ClusterError::InvalidResponse { what: what.to_owned(), why: error.to_string() }
}

fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// What is made of every object of the kind in the whole cluster.
pub(super) async fn list_all<T: ListItem, U>(
    connection: &ApiClient,
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
        let accept = if T::PROTOBUF_DECODER.is_some() { protobuf::ACCEPT_PROTOBUF } else { CONTENT_TYPE_JSON };
        loop {
            // A plan is never made from a cache: without a resourceVersion the server answers what is stored now.
            let mut path = format!("{}?limit={PAGE_SIZE}", collection_path(kind, None));
            if !from.is_empty() {
                path.push_str("&continue=");
                path.extend(percent_encoding::utf8_percent_encode(&from, percent_encoding::NON_ALPHANUMERIC));
            }
            let ask = ApiRequest { method: "GET", path: &path, body: None, operation: what.clone() };
            let answer = connection.send_accepting(&ask, accept).await?;
            if answer.status == 410 && starts < MAX_STARTS {
                continue 'start;
            }
            if !answer.is_success() {
                let why = answer.parse_status().message;
                return Err(match answer.status {
                    403 => ClusterError::Forbidden {
                        verb: "list".to_owned(),
                        resource: format!("{} in all namespaces", kind.resource()),
                        why,
                    },
                    status => ClusterError::UnexpectedStatus { status, what, why },
                });
            }
            let page: ListPage<T> = decode_page(&answer, &what)?;
            let same_moment = moment.as_ref().is_none_or(|moment| *moment == page.resource_version);
            if !same_moment && starts < MAX_STARTS {
                continue 'start;
            }
            if !same_moment {
                let why = "its pages are of different moments, time after time".to_owned();
                return Err(ClusterError::InvalidResponse { what, why });
            }
            moment = Some(page.resource_version);
            for item in page.items {
                made.extend(make(item.map_err(|error| decode_error(&what, &error))?)?);
            }
            if page.continue_token.is_empty() {
                return Ok(made);
            }
            from = page.continue_token;
        }
    }
}

/// Of the history of the fields of an aggregated role: that another than the controller holds its rules.
fn keep_rule_managers(history: Value) -> Option<Value> {
    let Value::Array(entries) = history else {
        return None;
    };
    let kept: Vec<Value> = entries
        .into_iter()
        .filter(|entry| entry.get("manager").and_then(Value::as_str) != Some(AGGREGATION_CONTROLLER))
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
pub(super) fn to_snapshot_object(kind: ObjectKind, object: Value) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("apiVersion".to_owned(), json!(kind.api_version()));
    out.insert("kind".to_owned(), json!(kind.as_str()));
    if let Value::Object(fields) = object {
        out.extend(fields.into_iter().filter(|(field, _)| field != "apiVersion" && field != "kind"));
    }
    let aggregated = out.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    if let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        let history = metadata.shift_remove("managedFields");
        metadata.shift_remove("selfLink");
        // It decides what the controller makes of the role, so the snapshot keeps that much.
        let kept = history.filter(|_| aggregated).and_then(keep_rule_managers);
        metadata.extend(kept.map(|kept| ("managedFields".to_owned(), kept)));
    }
    // Of a namespace its name, labels and uid count here; its spec and status are nobody's access.
    if kind == ObjectKind::Namespace {
        out.shift_remove("spec");
        out.shift_remove("status");
    }
    Value::Object(out)
}
