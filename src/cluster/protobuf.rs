//! Lists in the API server's own binary form, which costs both sides a third of what JSON does.
//!
//! Field numbers are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery v0.36.3; they never
//! change. What access does not need (specs, most of what managed fields hold) is not named here and is skipped in reading.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use prost::bytes::Bytes;

use super::list::Page;
use crate::state::meta::{RawFields, RawManaged, RawMeta};
use crate::state::object::{RawAggregation, RawBinding, RawNamespace, RawRef, RawRole, RawSubject};
use crate::state::rbac::{Requirement, Rule, Selector};

/// Asks for it, and takes JSON from what stands before a server and knows nothing else.
pub(super) const ACCEPT: &str = "application/vnd.kubernetes.protobuf, application/json;q=0.9";
/// What every such answer begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The envelope.
#[derive(Message)]
struct Unknown {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

/// Answers of this form are read; JSON is left to others.
pub(super) fn content(body: &Bytes) -> Option<Result<Bytes, prost::DecodeError>> {
    let is_ours = body.starts_with(MAGIC);
    is_ours.then(|| Unknown::decode(body.slice(MAGIC.len()..)).map(|unknown| unknown.raw))
}

/// A page of a list. What it is of is read one by one, since all of it as it is sent takes more room than it comes to.
#[derive(Message)]
struct List {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    items: Vec<Bytes>,
}

#[derive(Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    r#continue: String,
}

/// `Status`, with which a failure is told.
#[derive(Message)]
pub(super) struct Failure {
    #[prost(string, tag = "3")]
    pub(super) message: String,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
}

#[derive(Message)]
struct Meta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Time>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    owner_references: Vec<Present>,
    #[prost(string, repeated, tag = "14")]
    finalizers: Vec<String>,
    #[prost(message, repeated, tag = "17")]
    managed_fields: Vec<Managed>,
}

/// Something that counts by being there.
#[derive(Message)]
struct Present {}

#[derive(Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Message)]
struct Managed {
    #[prost(string, optional, tag = "1")]
    manager: Option<String>,
    #[prost(message, optional, tag = "4")]
    time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    fields: Option<Fields>,
    #[prost(string, optional, tag = "8")]
    subresource: Option<String>,
}

/// JSON within the binary form.
#[derive(Message)]
struct Fields {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

/// A Role or a ClusterRole.
#[derive(Message)]
pub(super) struct Role {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Meta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<PolicyRule>,
    #[prost(message, optional, tag = "3")]
    aggregation_rule: Option<Aggregation>,
}

#[derive(Message)]
struct PolicyRule {
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
struct Aggregation {
    #[prost(message, repeated, tag = "1")]
    cluster_role_selectors: Vec<LabelSelector>,
}

#[derive(Message)]
struct LabelSelector {
    #[prost(btree_map = "string, string", tag = "1")]
    match_labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    match_expressions: Vec<Expression>,
}

#[derive(Message)]
struct Expression {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Message)]
pub(super) struct Binding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Meta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<Subject>,
    #[prost(message, optional, tag = "3")]
    role_ref: Option<RoleRef>,
}

#[derive(Message)]
struct Subject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

#[derive(Message)]
struct RoleRef {
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Message)]
pub(super) struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Meta>,
}

/// What a list is of, as it is sent.
pub(super) trait Sent: Sized {
    type Message: Message + Default + fmt::Debug + Into<Self>;
}

impl Sent for RawRole {
    type Message = Role;
}

impl Sent for RawBinding {
    type Message = Binding;
}

impl Sent for RawNamespace {
    type Message = Namespace;
}

/// Reads what [`content`] has found.
pub(super) fn page<T: Sent + 'static>(raw: Bytes) -> Result<Page<T>, prost::DecodeError> {
    let List { metadata, items } = List::decode(raw)?;
    let ListMeta { resource_version, r#continue } = metadata.unwrap_or_default();
    let items = items.into_iter().map(|item| T::Message::decode(item).map(Into::into));
    Ok(Page { items: Box::new(items), next: r#continue, moment: resource_version })
}

/// The binary form has `""` where JSON has nothing.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// As JSON has it, in whole seconds.
fn rfc3339(time: &Time) -> Option<String> {
    jiff::Timestamp::from_second(time.seconds).ok().map(|time| time.to_string())
}

impl From<Meta> for RawMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: filled(meta.namespace),
            uid: filled(meta.uid),
            resource_version: filled(meta.resource_version),
            labels: Some(meta.labels),
            annotations: Some(meta.annotations),
            deletion_timestamp: meta.deletion_timestamp.as_ref().and_then(rfc3339),
            finalizers: Some(meta.finalizers),
            owner_references: Some(meta.owner_references.iter().map(|_| serde::de::IgnoredAny).collect()),
            managed_fields: Some(meta.managed_fields.into_iter().map(Into::into).collect()),
        }
    }
}

impl Managed {
    fn held(&self) -> Option<RawFields> {
        serde_json::from_slice(&self.fields.as_ref()?.raw).ok()
    }
}

impl From<Managed> for RawManaged {
    fn from(managed: Managed) -> Self {
        Self {
            manager: managed.manager,
            time: managed.time.as_ref().and_then(rfc3339),
            subresource: managed.subresource,
            fields_v1: None,
        }
    }
}

impl From<Role> for RawRole {
    fn from(role: Role) -> Self {
        let metadata = role.metadata.unwrap_or_default();
        let aggregated = role.aggregation_rule.is_some();
        // Who holds the rules counts there alone; the many others are not read for it.
        let managed = if aggregated { metadata.managed_fields.as_slice() } else { &[] };
        let held: Vec<Option<RawFields>> = managed.iter().map(Managed::held).collect();
        let mut metadata = RawMeta::from(metadata);
        for (managed, held) in metadata.managed_fields.iter_mut().flatten().zip(held) {
            managed.fields_v1 = held;
        }
        Self {
            metadata,
            rules: Some(role.rules.into_iter().map(Into::into).collect()),
            aggregation_rule: role.aggregation_rule.map(|aggregation| RawAggregation {
                cluster_role_selectors: Some(aggregation.cluster_role_selectors.into_iter().map(Into::into).collect()),
            }),
        }
    }
}

impl From<PolicyRule> for Rule {
    fn from(rule: PolicyRule) -> Self {
        let PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
        Self { verbs, api_groups, resources, resource_names, non_resource_urls }
    }
}

impl From<LabelSelector> for Selector {
    fn from(selector: LabelSelector) -> Self {
        let LabelSelector { match_labels, match_expressions } = selector;
        Self { match_labels, match_expressions: match_expressions.into_iter().map(Into::into).collect() }
    }
}

impl From<Expression> for Requirement {
    fn from(expression: Expression) -> Self {
        let Expression { key, operator, values } = expression;
        Self { key, operator, values }
    }
}

impl From<Binding> for RawBinding {
    fn from(binding: Binding) -> Self {
        let RoleRef { kind, name } = binding.role_ref.unwrap_or_default();
        Self {
            metadata: binding.metadata.unwrap_or_default().into(),
            role_ref: RawRef { kind, name },
            subjects: Some(binding.subjects.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<Subject> for RawSubject {
    fn from(subject: Subject) -> Self {
        let Subject { kind, name, namespace } = subject;
        Self { kind, name, namespace: filled(namespace) }
    }
}

impl From<Namespace> for RawNamespace {
    fn from(namespace: Namespace) -> Self {
        Self { metadata: namespace.metadata.unwrap_or_default().into() }
    }
}
