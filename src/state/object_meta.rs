//! The metadata of an object, as far as access and ownership depend on it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Labels or annotations.
pub(crate) type Labels = BTreeMap<String, String>;

/// A full copy of the object, written by `kubectl apply`. It is large and only shows that the object was applied.
pub(crate) const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Metadata of an object. A desired object has labels and annotations only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ObjectMeta {
    pub(crate) labels: Labels,
    /// Without [`LAST_APPLIED_ANNOTATION`].
    pub(crate) annotations: Labels,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// The object has a deletion timestamp and waits for its finalizers. Until then it still grants access.
    pub(crate) deleting: bool,
    pub(crate) finalizers: Vec<String>,
    pub(crate) has_owner_references: bool,
    pub(crate) kubectl_applied: bool,
    /// The last other writer since rolecall's own last write.
    pub(crate) last_writer: Option<ObjectWriter>,
    pub(crate) rules_manager: RulesManager,
}

/// The field manager of the `rules` of an aggregated role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum RulesManager {
    /// The aggregation controller, or no manager at all.
    #[default]
    AggregationController,
    /// Another manager. The controller overwrites such rules, but never empties them.
    Other,
}

impl ObjectMeta {
    /// Returns whether a manager other than the aggregation controller wrote the rules of this aggregated role.
    pub(crate) fn has_manual_rules(&self) -> bool {
        self.rules_manager == RulesManager::Other
    }
}

/// The field manager of rolecall's writes. It distinguishes them from other writes in managedFields.
pub(crate) const FIELD_MANAGER: &str = "rolecall";

/// The field manager of the controller that fills in the rules of aggregated roles.
pub(crate) const AGGREGATION_CONTROLLER: &str = "clusterrole-aggregation-controller";

/// Who wrote last, from managedFields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectWriter {
    pub(crate) manager: String,
    /// RFC 3339, as the API server wrote it.
    pub(crate) time: String,
}

/// Metadata as the API server sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawObjectMeta {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) labels: Option<Labels>,
    pub(crate) annotations: Option<Labels>,
    pub(crate) deletion_timestamp: Option<String>,
    pub(crate) finalizers: Option<Vec<String>>,
    pub(crate) owner_references: Option<Vec<serde::de::IgnoredAny>>,
    pub(crate) managed_fields: Option<Vec<RawManagedFieldsEntry>>,
}

/// One entry of `managedFields`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawManagedFieldsEntry {
    pub(crate) manager: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) fields_v1: Option<RawFieldsV1>,
}

/// The managed fields of an entry. Only the presence of `rules` is used.
#[derive(Debug, Deserialize)]
pub(crate) struct RawFieldsV1 {
    #[serde(rename = "f:rules")]
    rules: Option<serde::de::IgnoredAny>,
}

impl RawFieldsV1 {
    /// Returns a field set that has the rules.
    pub(crate) fn with_rules() -> Self {
        Self { rules: Some(serde::de::IgnoredAny) }
    }
}

impl From<RawObjectMeta> for ObjectMeta {
    fn from(raw: RawObjectMeta) -> Self {
        let RawObjectMeta {
            name: _,
            namespace: _,
            uid,
            resource_version,
            labels,
            annotations,
            deletion_timestamp,
            finalizers,
            owner_references,
            managed_fields,
        } = raw;
        let mut annotations = annotations.unwrap_or_default();
        let kubectl_applied = annotations.remove(LAST_APPLIED_ANNOTATION).is_some();
        let managed = managed_fields.unwrap_or_default();
        let manages_rules =
            |entry: &RawManagedFieldsEntry| entry.fields_v1.as_ref().is_some_and(|fields| fields.rules.is_some());
        let has_manual_rules = managed
            .iter()
            .any(|entry| entry.manager.as_deref() != Some(AGGREGATION_CONTROLLER) && manages_rules(entry));
        let writers: Vec<ObjectWriter> = managed
            .into_iter()
            .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
            .filter_map(|entry| Some(ObjectWriter { manager: entry.manager?, time: entry.time? }))
            .collect();
        Self {
            labels: labels.unwrap_or_default(),
            annotations,
            uid,
            resource_version,
            deleting: deletion_timestamp.is_some(),
            finalizers: finalizers.unwrap_or_default(),
            has_owner_references: owner_references.is_some_and(|owners| !owners.is_empty()),
            kubectl_applied,
            last_writer: last_other_writer(writers),
            rules_manager: if has_manual_rules { RulesManager::Other } else { RulesManager::AggregationController },
        }
    }
}

/// Returns the last writer other than rolecall. `None` if rolecall wrote after it.
///
/// The times in managedFields have a resolution of one second, so a write in the same second counts as later.
fn last_other_writer(writers: Vec<ObjectWriter>) -> Option<ObjectWriter> {
    let (own, others): (Vec<_>, Vec<_>) = writers.into_iter().partition(|writer| writer.manager == FIELD_MANAGER);
    let own_time = own.into_iter().map(|writer| writer.time).max().unwrap_or_default();
    others.into_iter().max_by(|a, b| a.time.cmp(&b.time)).filter(|last| last.time >= own_time)
}

/// Returns the `metadata` of a new object.
pub(crate) fn metadata_to_json(namespace: Option<&str>, name: &str, labels: &Labels, annotations: &Labels) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(map) = metadata.as_object_mut() {
        if let Some(namespace) = namespace {
            map.insert("namespace".to_owned(), json!(namespace));
        }
        if !labels.is_empty() {
            map.insert("labels".to_owned(), json!(labels));
        }
        if !annotations.is_empty() {
            map.insert("annotations".to_owned(), json!(annotations));
        }
    }
    metadata
}
