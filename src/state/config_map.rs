//! The ConfigMap kube-system/aws-auth as an object, its three texts kept byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::aws_auth::{Entry, EntryPrincipal, ParsedSection, Section, SectionError, parse_section};
use super::object::{ObjectError, deserialize_object};
use super::object_meta::{Labels, ObjectMeta, RawObjectMeta, metadata_to_json};
use crate::names::{ObjectKey, ObjectKind};

/// The ConfigMap as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AwsAuth {
    pub(crate) meta: ObjectMeta,
    pub(crate) data: BTreeMap<String, String>,
    /// Never read by the authenticator.
    pub(crate) binary_keys: BTreeSet<String>,
    pub(crate) immutable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfigMap {
    #[serde(default)]
    metadata: RawObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    immutable: Option<bool>,
}

impl AwsAuth {
    /// Reads the ConfigMap from the API server's JSON.
    ///
    /// # Errors
    /// What does not fit a ConfigMap.
    pub(crate) fn from_json(value: &Value) -> Result<Self, ObjectError> {
        let raw: RawConfigMap = deserialize_object(value)?;
        Ok(Self {
            meta: raw.metadata.into(),
            data: raw.data.unwrap_or_default(),
            binary_keys: raw.binary_data.unwrap_or_default().into_keys().collect(),
            immutable: raw.immutable.unwrap_or_default(),
        })
    }

    /// What the authenticator has of a section; an absent one is empty.
    ///
    /// # Errors
    /// A text that it cannot read, which empties the whole section.
    pub(crate) fn parse_section(&self, section: Section) -> Result<ParsedSection, SectionError> {
        parse_section(section, self.data.get(section.key()).map_or("", String::as_str))
    }
}

/// The body that creates the ConfigMap.
pub(crate) fn config_map_to_json(data: &BTreeMap<String, String>, annotations: &Labels) -> Value {
    let key = ObjectKey::aws_auth();
    json!({
        "apiVersion": ObjectKind::ConfigMap.api_version(),
        "kind": ObjectKind::ConfigMap.as_str(),
        "metadata": metadata_to_json(key.namespace(), key.name(), &Labels::new(), annotations),
        "data": data,
    })
}

/// What the authenticator compares of an entry: ARNs without regard to case, accounts exactly.
pub(crate) fn entry_key(entry: &Entry) -> String {
    match &entry.principal {
        EntryPrincipal::Role(arn) | EntryPrincipal::User(arn) => arn.to_lowercase(),
        EntryPrincipal::Account(id) => id.clone(),
        EntryPrincipal::Sso(sso) => {
            format!("sso:{}:{}:{}", sso.partition, sso.account_id, sso.permission_set_name).to_lowercase()
        }
    }
}

/// The principal as it stands in the text.
pub(crate) fn principal_text(entry: &Entry) -> String {
    match &entry.principal {
        EntryPrincipal::Role(text) | EntryPrincipal::User(text) | EntryPrincipal::Account(text) => text.clone(),
        EntryPrincipal::Sso(sso) => format!("sso {} in {}", sso.permission_set_name, sso.account_id),
    }
}
