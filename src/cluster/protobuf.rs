//! Decodes lists in the protobuf encoding of the API server, which costs the server and this program a third of JSON.
//!
//! The field numbers are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery v0.36.3; they never
//! change. Fields that do not matter for access are not declared, so the decoder skips them.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use prost::bytes::{Buf as _, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::list::{ListPage, OBJECT_TOO_LARGE, too_many_items};
use crate::state::object::{RawAggregationRule, RawBinding, RawNamespace, RawRole, RawRoleRef, RawSubject};
use crate::state::object_meta::{RawFieldsV1, RawManagedFieldsEntry, RawObjectMeta};
use crate::state::rbac::{LabelSelector, LabelSelectorRequirement, Rule};

/// Requests protobuf, and accepts JSON in case a proxy only supports that.
pub(super) const ACCEPT_PROTOBUF: &str = "application/vnd.kubernetes.protobuf, application/json;q=0.9";
/// The first bytes of every response in protobuf encoding
/// (apimachinery, pkg/runtime/serializer/protobuf/protobuf.go, `protoEncodingPrefix`).
const MAGIC: &[u8] = b"k8s\0";

/// An object larger than this cannot be in a cluster: etcd stores at most 1.5 MiB for each by default.
pub(super) const MAX_OBJECT_BYTES: usize = 8 << 20;

/// The message `runtime.Unknown` that wraps every response.
#[derive(Message)]
struct ProtoUnknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<ProtoTypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Message)]
struct ProtoTypeMeta {
    #[prost(string, tag = "2")]
    kind: String,
}

/// A response in protobuf encoding.
pub(super) struct Envelope {
    /// The kind of the object, such as `RoleList`.
    pub(super) kind: String,
    /// The encoded object.
    pub(super) raw: Bytes,
}

/// Returns the content of a response in protobuf encoding, or nothing if the response has another encoding.
pub(super) fn decode_envelope(body: &Bytes) -> Option<Result<Envelope, prost::DecodeError>> {
    let is_protobuf = body.starts_with(MAGIC);
    is_protobuf.then(|| {
        let unknown = ProtoUnknown::decode(body.slice(MAGIC.len()..))?;
        Ok(Envelope { kind: unknown.type_meta.unwrap_or_default().kind, raw: unknown.raw })
    })
}

#[derive(Message)]
struct ProtoListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    r#continue: String,
    #[prost(int64, optional, tag = "4")]
    remaining_item_count: Option<i64>,
}

/// The message `Status` of an error response.
#[derive(Message)]
pub(super) struct ProtoStatus {
    #[prost(string, tag = "3")]
    pub(super) message: String,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
}

#[derive(Message)]
struct ProtoObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<ProtoTime>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    owner_references: Vec<ProtoOwnerReference>,
    #[prost(string, repeated, tag = "14")]
    finalizers: Vec<String>,
    #[prost(message, repeated, tag = "17")]
    managed_fields: Vec<ProtoManagedFieldsEntry>,
}

/// An owner reference. Only the number of owner references matters, so it has no fields.
#[derive(Message)]
struct ProtoOwnerReference {}

#[derive(Message)]
struct ProtoTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Message)]
struct ProtoManagedFieldsEntry {
    #[prost(string, optional, tag = "1")]
    manager: Option<String>,
    #[prost(message, optional, tag = "4")]
    time: Option<ProtoTime>,
    #[prost(message, optional, tag = "7")]
    fields: Option<ProtoFieldsV1>,
    #[prost(string, optional, tag = "8")]
    subresource: Option<String>,
}

/// A field set, which is JSON inside the protobuf message.
#[derive(Message)]
struct ProtoFieldsV1 {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

/// A Role or a ClusterRole.
#[derive(Message)]
pub(super) struct ProtoRole {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ProtoObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<ProtoPolicyRule>,
    #[prost(message, optional, tag = "3")]
    aggregation_rule: Option<ProtoAggregationRule>,
}

#[derive(Message)]
struct ProtoPolicyRule {
    #[prost(string, repeated, tag = "1")]
    verbs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    api_groups: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    resources: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    non_resource_urls: Vec<String>,
}

#[derive(Message)]
struct ProtoAggregationRule {
    #[prost(message, repeated, tag = "1")]
    cluster_role_selectors: Vec<ProtoLabelSelector>,
}

#[derive(Message)]
struct ProtoLabelSelector {
    #[prost(btree_map = "string, string", tag = "1")]
    match_labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    match_expressions: Vec<ProtoLabelSelectorRequirement>,
}

#[derive(Message)]
struct ProtoLabelSelectorRequirement {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Message)]
pub(super) struct ProtoBinding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ProtoObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<ProtoSubject>,
    #[prost(message, optional, tag = "3")]
    role_ref: Option<ProtoRoleRef>,
}

#[derive(Message)]
struct ProtoSubject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

#[derive(Message)]
struct ProtoRoleRef {
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Message)]
pub(super) struct ProtoNamespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ProtoObjectMeta>,
}

/// A type that is converted from a protobuf message.
pub(super) trait ProtobufObject: Sized {
    type Message: Message + Default + fmt::Debug + Into<Self>;
}

impl ProtobufObject for RawRole {
    type Message = ProtoRole;
}

impl ProtobufObject for RawBinding {
    type Message = ProtoBinding;
}

impl ProtobufObject for RawNamespace {
    type Message = ProtoNamespace;
}

/// Decodes a list from the content that [`decode_envelope`] has returned. The items are decoded one by one, because all
/// decoded messages together need more memory than the objects that are made from them.
///
/// # Errors
/// If it is not valid, has more than `max_items` items, or one that is larger than any object.
pub(super) fn decode_list<T: ProtobufObject + 'static>(
    mut raw: Bytes,
    max_items: usize,
) -> Result<ListPage<T>, String> {
    let (mut metadata, mut items) = (ProtoListMeta::default(), Vec::new());
    while raw.has_remaining() {
        let (tag, wire_type) = decode_key(&mut raw).map_err(|error| error.to_string())?;
        if tag > 2 {
            skip_field(wire_type, tag, &mut raw, DecodeContext::default()).map_err(|error| error.to_string())?;
            continue;
        }
        let length = decode_varint(&mut raw).ok().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| wire_type == WireType::LengthDelimited && *length <= raw.remaining());
        let content = raw.split_to(length.ok_or("it ends within an object")?);
        if tag == 1 {
            metadata.merge(content).map_err(|error| error.to_string())?;
            continue;
        }
        if items.len() >= max_items {
            return Err(too_many_items(max_items));
        }
        if content.len() > MAX_OBJECT_BYTES {
            return Err(OBJECT_TOO_LARGE.to_owned());
        }
        items.push(content);
    }
    let ProtoListMeta { resource_version, r#continue, remaining_item_count } = metadata;
    let items = items.into_iter().map(|item| {
        let length = item.len();
        T::Message::decode(item).map(|message| (message.into(), length)).map_err(|error| error.to_string())
    });
    let remaining_items = remaining_item_count.unwrap_or_default();
    Ok(ListPage { items: Box::new(items), continue_token: r#continue, resource_version, remaining_items })
}

/// Protobuf has an empty string where JSON has no field.
fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Formats a time as in JSON, in whole seconds.
fn to_rfc3339(time: &ProtoTime) -> Option<String> {
    jiff::Timestamp::from_second(time.seconds).ok().map(|time| time.to_string())
}

impl From<ProtoObjectMeta> for RawObjectMeta {
    fn from(meta: ProtoObjectMeta) -> Self {
        Self {
            name: meta.name,
            namespace: non_empty(meta.namespace),
            uid: non_empty(meta.uid),
            resource_version: non_empty(meta.resource_version),
            labels: Some(meta.labels),
            annotations: Some(meta.annotations),
            deletion_timestamp: meta.deletion_timestamp.as_ref().and_then(to_rfc3339),
            finalizers: Some(meta.finalizers),
            owner_references: Some(meta.owner_references.iter().map(|_| serde::de::IgnoredAny).collect()),
            managed_fields: Some(meta.managed_fields.into_iter().map(Into::into).collect()),
        }
    }
}

impl ProtoManagedFieldsEntry {
    /// A field set that cannot be read may have the rules. The controller then never removes them, so the role counts as
    /// granting them.
    fn parse_fields(&self) -> Option<RawFieldsV1> {
        let fields = self.fields.as_ref()?;
        Some(serde_json::from_slice(&fields.raw).unwrap_or_else(|_| RawFieldsV1::with_rules()))
    }
}

impl From<ProtoManagedFieldsEntry> for RawManagedFieldsEntry {
    fn from(entry: ProtoManagedFieldsEntry) -> Self {
        Self {
            manager: entry.manager,
            time: entry.time.as_ref().and_then(to_rfc3339),
            subresource: entry.subresource,
            fields_v1: None,
        }
    }
}

impl From<ProtoRole> for RawRole {
    fn from(role: ProtoRole) -> Self {
        let metadata = role.metadata.unwrap_or_default();
        let aggregated = role.aggregation_rule.is_some();
        // The field sets show who manages the rules, which only matters for an aggregated role. Parsing them for the
        // many other roles would be slow.
        let managed_fields = if aggregated { metadata.managed_fields.as_slice() } else { &[] };
        let field_sets: Vec<Option<RawFieldsV1>> =
            managed_fields.iter().map(ProtoManagedFieldsEntry::parse_fields).collect();
        let mut metadata = RawObjectMeta::from(metadata);
        for (entry, field_set) in metadata.managed_fields.iter_mut().flatten().zip(field_sets) {
            entry.fields_v1 = field_set;
        }
        Self {
            metadata,
            rules: Some(role.rules.into_iter().map(Into::into).collect()),
            aggregation_rule: role.aggregation_rule.map(|aggregation| RawAggregationRule {
                cluster_role_selectors: Some(aggregation.cluster_role_selectors.into_iter().map(Into::into).collect()),
            }),
        }
    }
}

impl From<ProtoPolicyRule> for Rule {
    fn from(rule: ProtoPolicyRule) -> Self {
        let ProtoPolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
        Self { verbs, api_groups, resources, resource_names, non_resource_urls }
    }
}

impl From<ProtoLabelSelector> for LabelSelector {
    fn from(selector: ProtoLabelSelector) -> Self {
        let ProtoLabelSelector { match_labels, match_expressions } = selector;
        Self { match_labels, match_expressions: match_expressions.into_iter().map(Into::into).collect() }
    }
}

impl From<ProtoLabelSelectorRequirement> for LabelSelectorRequirement {
    fn from(requirement: ProtoLabelSelectorRequirement) -> Self {
        let ProtoLabelSelectorRequirement { key, operator, values } = requirement;
        Self { key, operator, values }
    }
}

impl From<ProtoBinding> for RawBinding {
    fn from(binding: ProtoBinding) -> Self {
        let ProtoRoleRef { kind, name } = binding.role_ref.unwrap_or_default();
        Self {
            metadata: binding.metadata.unwrap_or_default().into(),
            role_ref: RawRoleRef { kind, name },
            subjects: Some(binding.subjects.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<ProtoSubject> for RawSubject {
    fn from(subject: ProtoSubject) -> Self {
        let ProtoSubject { kind, name, namespace } = subject;
        Self { kind, name, namespace: non_empty(namespace) }
    }
}

impl From<ProtoNamespace> for RawNamespace {
    fn from(namespace: ProtoNamespace) -> Self {
        Self { metadata: namespace.metadata.unwrap_or_default().into() }
    }
}
