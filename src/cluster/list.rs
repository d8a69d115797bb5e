//! Lists all objects of a kind, page by page, at one resourceVersion.
//!
//! All pages of a list have the resourceVersion of the first page: the API server answers them from the state at that
//! version. If that version has been compacted (status 410), the list starts again. Pages of different versions could
//! show a combination of objects that never existed.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::bytes::Bytes;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ClusterError;
use super::api_client::{Accepted, ApiClient, ApiRequest, ApiResponse, CONTENT_TYPE_JSON, check_kind, invalid};
use super::connection_log::ConnectionEvent;
use super::object_path::collection_path;
use super::protobuf::{self, ProtobufObject};
use super::response_body::ResponseSize;
use super::safe_errors::describe_json_error;
use crate::names::ObjectKind;
use crate::state::object_meta::AGGREGATION_CONTROLLER;

/// Objects per page. Nearly every cluster fits into one page, which saves sequential requests. The API server answers
/// it from its cache and needs about 20 MB for it.
const PAGE_SIZE: usize = 20_000;
/// How many times a list is started before it fails.
const MAX_STARTS: u32 = 4;

/// Objects per page after a page that was longer than the limit of a response.
const SMALL_PAGE_SIZE: usize = 400;
pub(super) const OBJECT_TOO_LARGE: &str = "it has an object that is larger than any that a cluster can store";

/// A page of a list.
pub(super) struct ListPage<T> {
    /// The items with their encoded length, decoded one by one to keep the memory use low.
    pub(super) items: Box<dyn Iterator<Item = Result<(T, usize), String>> + Send>,
    /// Empty on the last page.
    pub(super) continue_token: String,
    pub(super) resource_version: String,
    /// How many items follow on other pages, if the server says so.
    pub(super) remaining_items: i64,
}

/// Decodes a page in protobuf encoding that has at most this number of items.
type PageDecoder<T> = fn(Bytes, usize) -> Result<ListPage<T>, String>;

/// A type that the items of a list are decoded into.
pub(super) trait ListItem: DeserializeOwned + Send + 'static {
    /// The decoder for protobuf, or nothing if the list is requested as JSON.
    const PROTOBUF_DECODER: Option<PageDecoder<Self>>;
    /// An object counts with at least this many bytes towards the limit of an observation. It is about what a small one
    /// needs in memory.
    const MIN_BYTES: usize;
}

/// Whole objects, including the fields that the types of this crate do not have. Only JSON can be decoded this way.
impl ListItem for Value {
    const PROTOBUF_DECODER: Option<PageDecoder<Self>> = None;
    const MIN_BYTES: usize = 2048;
}

impl<T: ProtobufObject + DeserializeOwned + Send + 'static> ListItem for T {
    const PROTOBUF_DECODER: Option<PageDecoder<Self>> = Some(protobuf::decode_list);
    const MIN_BYTES: usize = 1024;
}

/// A page in JSON. Its items are not decoded yet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonListPage<'a> {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: JsonListMeta,
    #[serde(borrow, default)]
    items: Option<JsonItems<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonListMeta {
    r#continue: Option<String>,
    resource_version: Option<String>,
    remaining_item_count: Option<i64>,
}

/// The undecoded items, at most [`PAGE_SIZE`]. Go encodes an empty list as `null`.
struct JsonItems<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonItems<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonItemsVisitor(PhantomData))
    }
}

struct JsonItemsVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for JsonItemsVisitor<'a> {
    type Value = JsonItems<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(JsonItems(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<&RawValue>()? {
            if items.len() >= PAGE_SIZE {
                return Err(serde::de::Error::custom(too_many_items(PAGE_SIZE)));
            }
            if item.get().len() > protobuf::MAX_OBJECT_BYTES {
                return Err(serde::de::Error::custom(OBJECT_TOO_LARGE));
            }
            items.push(item);
        }
        Ok(JsonItems(items))
    }
}

pub(super) fn too_many_items(max: usize) -> String {
    format!("it has more than the {max} objects that were asked for")
}

/// Describes why a list is not valid. The messages of [`JsonItemsVisitor`] have no text of the server.
fn describe_list_error(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let own = [too_many_items(PAGE_SIZE), OBJECT_TOO_LARGE.to_owned()];
    own.into_iter().find(|own| message.starts_with(own)).unwrap_or_else(|| describe_json_error(error))
}

/// Decodes a page from protobuf or JSON, whichever the server has sent, and passes on each item with its length.
///
/// # Errors
/// If the response is anything but the list that was asked for. An empty object or a Status would otherwise count as a
/// cluster without objects.
fn decode_page<T: ListItem>(
    response: &ApiResponse,
    kind: ObjectKind,
    operation: &str,
    mut each: impl FnMut(T, usize) -> Result<(), ClusterError>,
) -> Result<PageEnd, ClusterError> {
    let list_kind = format!("{}List", kind.as_str());
    let body = &response.body.bytes;
    if let Some((decode, envelope)) = T::PROTOBUF_DECODER.zip(protobuf::decode_envelope(body)) {
        let envelope = envelope.map_err(|error| invalid(operation, &error))?;
        check_kind(Some(&envelope.kind), &list_kind, operation)?;
        let page = decode(envelope.raw, PAGE_SIZE).map_err(|error| invalid(operation, &error))?;
        for item in page.items {
            let (item, length) = item.map_err(|error| invalid(operation, &error))?;
            each(item, length)?;
        }
        let (continue_token, resource_version) = (page.continue_token, page.resource_version);
        return PageEnd { continue_token, resource_version, remaining_items: page.remaining_items }.checked(operation);
    }
    let page: JsonListPage<'_> =
        serde_json::from_slice(body).map_err(|error| invalid(operation, &describe_list_error(&error)))?;
    check_kind(page.kind.as_deref(), &list_kind, operation)?;
    let JsonItems(items) = page.items.ok_or_else(|| invalid(operation, &"it has no `items`"))?;
    for item in items {
        let item_json = serde_json::from_str(item.get());
        each(item_json.map_err(|error| invalid(operation, &describe_list_error(&error)))?, item.get().len())?;
    }
    let JsonListMeta { r#continue, resource_version, remaining_item_count } = page.metadata;
    PageEnd {
        continue_token: r#continue.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
        remaining_items: remaining_item_count.unwrap_or_default(),
    }
    .checked(operation)
}

/// What follows a page.
struct PageEnd {
    continue_token: String,
    resource_version: String,
    remaining_items: i64,
}

impl PageEnd {
    /// # Errors
    /// If the list has no version, or says that objects are missing.
    fn checked(self, operation: &str) -> Result<Self, ClusterError> {
        if self.resource_version.is_empty() {
            return Err(invalid(operation, &"it has no `metadata.resourceVersion`"));
        }
        if self.continue_token.is_empty() && self.remaining_items > 0 {
            return Err(invalid(operation, &format!("{} objects are missing at its end", self.remaining_items)));
        }
        Ok(self)
    }
}

/// Lists every object of the kind in all namespaces, and converts each one.
pub(super) async fn list_all<T: ListItem, U>(
    client: &ApiClient,
    kind: ObjectKind,
    budget: &ListBudget,
    convert: impl Fn(T) -> Result<U, ClusterError>,
) -> Result<Vec<U>, ClusterError> {
    let operation = format!("list {}", kind.resource());
    let accept = if T::PROTOBUF_DECODER.is_some() { protobuf::ACCEPT_PROTOBUF } else { CONTENT_TYPE_JSON };
    let mut starts = 0;
    let mut page_size = PAGE_SIZE;
    'start: loop {
        starts += 1;
        let mut objects: Vec<U> = Vec::new();
        let mut spent = Spent::new(budget);
        let mut seen_tokens: BTreeSet<String> = BTreeSet::new();
        let mut continue_token = String::new();
        let mut version: Option<String> = None;
        loop {
            // A list without a resourceVersion is never older than the storage (Kubernetes documentation, "Kubernetes
            // API Concepts", resource versions). A plan must not be made from an old cache.
            let mut path = format!("{}?limit={page_size}", collection_path(kind, None));
            if !continue_token.is_empty() {
                path.push_str("&continue=");
                path.extend(percent_encoding::utf8_percent_encode(&continue_token, percent_encoding::NON_ALPHANUMERIC));
            }
            let request = ApiRequest { method: "GET", path: &path, body: None, operation: operation.clone() };
            let response = match client
                .send_accepting(&request, Accepted { content_type: accept, size: ResponseSize::List })
                .await
            {
                // The objects are large. Smaller pages have fewer of them.
                Err(ClusterError::ResponseTooLong { .. }) if page_size == PAGE_SIZE => {
                    page_size = SMALL_PAGE_SIZE;
                    continue 'start;
                }
                response => response?,
            };
            if response.status == 410 && starts < MAX_STARTS {
                continue 'start;
            }
            if !response.is_success() {
                return Err(list_error(kind, operation, &response));
            }
            let mut page: Vec<U> = Vec::new();
            let end = decode_page(&response, kind, &operation, |item: T, length| {
                spent.add(length.max(T::MIN_BYTES), &operation)?;
                page.push(convert(item)?);
                Ok(())
            })?;
            drop(response);
            let same_version = version.as_ref().is_none_or(|version| *version == end.resource_version);
            if !same_version && starts < MAX_STARTS {
                continue 'start;
            }
            if !same_version {
                return Err(invalid(&operation, &"its pages have different resource versions"));
            }
            version = Some(end.resource_version);
            let is_empty = page.is_empty();
            objects.append(&mut page);
            client.settings().log.send(&ConnectionEvent::PageListed {
                resource: kind.resource(),
                objects: objects.len(),
                remaining: usize::try_from(end.remaining_items).unwrap_or_default(),
            });
            if end.continue_token.is_empty() {
                spent.keep();
                return Ok(objects);
            }
            if is_empty || !seen_tokens.insert(end.continue_token.clone()) {
                return Err(invalid(&operation, &"its pages do not end: one repeats, or is empty"));
            }
            continue_token = end.continue_token;
        }
    }
}

fn list_error(kind: ObjectKind, operation: String, response: &ApiResponse) -> ClusterError {
    let why = response.parse_status().message;
    match response.status {
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
    }
}

/// The bytes that the lists of one observation may still have, together.
#[derive(Debug)]
pub(super) struct ListBudget {
    limit: usize,
    spent: AtomicUsize,
}

impl ListBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, spent: AtomicUsize::new(0) }
    }
}

/// What one list has spent. It is given back if the list starts again.
struct Spent<'a> {
    budget: &'a ListBudget,
    bytes: usize,
}

impl<'a> Spent<'a> {
    fn new(budget: &'a ListBudget) -> Self {
        Self { budget, bytes: 0 }
    }

    fn add(&mut self, bytes: usize, operation: &str) -> Result<(), ClusterError> {
        self.bytes += bytes;
        let total = self.budget.spent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total > self.budget.limit {
            return Err(ClusterError::ObservationTooLarge { what: operation.to_owned(), limit: self.budget.limit });
        }
        Ok(())
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Spent<'_> {
    fn drop(&mut self) {
        self.budget.spent.fetch_sub(self.bytes, Ordering::Relaxed);
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
