//! Lists all objects of a kind, page by page, at one resourceVersion.
//!
//! All pages of a list have the resourceVersion of the first page: the API server answers them from the state at that
//! version. If that version has been compacted (status 410), the list starts again. Pages of different versions could
//! show a combination of objects that never existed.

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

/// Objects per page. Nearly every cluster fits into one page, which saves sequential requests. The API server answers
/// it from its cache and needs about 20 MB for it.
const PAGE_SIZE: usize = 20_000;
/// How many times a list is started before it fails.
const MAX_STARTS: u32 = 4;

/// A page of a list.
pub(super) struct ListPage<T> {
    /// The items, decoded one by one to keep the memory use low.
    pub(super) items: Box<dyn Iterator<Item = Result<T, prost::DecodeError>> + Send>,
    /// Empty on the last page.
    pub(super) continue_token: String,
    pub(super) resource_version: String,
}

/// Decodes a page in protobuf encoding.
type PageDecoder<T> = fn(Bytes) -> Result<ListPage<T>, prost::DecodeError>;

/// A type that the items of a list are decoded into.
pub(super) trait ListItem: DeserializeOwned + Send + 'static {
    /// The decoder for protobuf, or nothing if the list is requested as JSON.
    const PROTOBUF_DECODER: Option<PageDecoder<Self>>;
}

/// Whole objects, including the fields that the types of this crate do not have. Only JSON can be decoded this way.
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

/// Decodes a page from protobuf or JSON, whichever the server has sent.
fn decode_page<T: ListItem>(response: &ApiResponse, operation: &str) -> Result<ListPage<T>, ClusterError> {
    if let Some((decode, raw)) = T::PROTOBUF_DECODER.zip(protobuf::decode_envelope(&response.body)) {
        return raw.and_then(decode).map_err(|error| decode_error(operation, &error));
    }
    let JsonListPage { metadata, items } = response.parse_json(operation)?;
    let JsonListMeta { r#continue, resource_version } = metadata;
    let items = Box::new(items.into_iter().map(Ok));
    Ok(ListPage {
        items,
        continue_token: r#continue.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
    })
}

fn decode_error(operation: &str, error: &prost::DecodeError) -> ClusterError {
    ClusterError::InvalidResponse { what: operation.to_owned(), why: error.to_string() }
}

/// Go encodes an empty list as `null`.
fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// Lists every object of the kind in all namespaces, and converts each one.
pub(super) async fn list_all<T: ListItem, U>(
    client: &ApiClient,
    kind: ObjectKind,
    convert: impl Fn(T) -> Result<U, ClusterError>,
) -> Result<Vec<U>, ClusterError> {
    let operation = format!("list {}", kind.resource());
    let accept = if T::PROTOBUF_DECODER.is_some() { protobuf::ACCEPT_PROTOBUF } else { CONTENT_TYPE_JSON };
    let mut starts = 0;
    'start: loop {
        starts += 1;
        let mut objects: Vec<U> = Vec::new();
        let mut continue_token = String::new();
        let mut version: Option<String> = None;
        loop {
            // A list without a resourceVersion is never older than the storage (Kubernetes documentation, "Kubernetes
            // API Concepts", resource versions). A plan must not be made from an old cache.
            let mut path = format!("{}?limit={PAGE_SIZE}", collection_path(kind, None));
            if !continue_token.is_empty() {
                path.push_str("&continue=");
                path.extend(percent_encoding::utf8_percent_encode(&continue_token, percent_encoding::NON_ALPHANUMERIC));
            }
            let request = ApiRequest { method: "GET", path: &path, body: None, operation: operation.clone() };
            let response = client.send_accepting(&request, accept).await?;
            if response.status == 410 && starts < MAX_STARTS {
                continue 'start;
            }
            if !response.is_success() {
                let why = response.parse_status().message;
                return Err(match response.status {
                    403 => ClusterError::Forbidden {
                        verb: "list".to_owned(),
                        resource: if kind.is_namespaced() {
                            format!("{} in all namespaces", kind.resource())
                        } else {
                            kind.resource().to_owned()
                        },
                        why,
                    },
                    status => ClusterError::UnexpectedStatus { status, what: operation, why },
                });
            }
            let page: ListPage<T> = decode_page(&response, &operation)?;
            let same_version = version.as_ref().is_none_or(|version| *version == page.resource_version);
            if !same_version && starts < MAX_STARTS {
                continue 'start;
            }
            if !same_version {
                let why = "its pages have different resource versions".to_owned();
                return Err(ClusterError::InvalidResponse { what: operation, why });
            }
            version = Some(page.resource_version);
            for item in page.items {
                objects.push(convert(item.map_err(|error| decode_error(&operation, &error))?)?);
            }
            if page.continue_token.is_empty() {
                return Ok(objects);
            }
            continue_token = page.continue_token;
        }
    }
}

/// Reduces the `managedFields` of an aggregated role to the managers of its `rules` other than the aggregation
/// controller.
fn keep_rule_managers(managed_fields: Value) -> Option<Value> {
    let Value::Array(entries) = managed_fields else {
        return None;
    };
    let managers: Vec<Value> = entries
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
    (!managers.is_empty()).then_some(Value::Array(managers))
}

/// Returns the object as a snapshot file contains it: with its kind, which the items of a list do not have, and without
/// most of its `managedFields`.
pub(super) fn to_snapshot_object(kind: ObjectKind, object: Value) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("apiVersion".to_owned(), json!(kind.api_version()));
    out.insert("kind".to_owned(), json!(kind.as_str()));
    if let Value::Object(fields) = object {
        out.extend(fields.into_iter().filter(|(field, _)| field != "apiVersion" && field != "kind"));
    }
    let aggregated = out.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    if let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        let managed_fields = metadata.shift_remove("managedFields");
        metadata.shift_remove("selfLink");
        // The managers of the rules decide which rules the aggregation controller keeps.
        let rule_managers = managed_fields.filter(|_| aggregated).and_then(keep_rule_managers);
        metadata.extend(rule_managers.map(|managers| ("managedFields".to_owned(), managers)));
    }
    // Only the metadata of a namespace matters for access.
    if kind == ObjectKind::Namespace {
        out.shift_remove("spec");
        out.shift_remove("status");
    }
    Value::Object(out)
}
