//! The ConfigMap kube-system/aws-auth. The texts of its sections are kept byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::aws_auth::{Entry, EntryPrincipal, ParsedSection, Section, SectionError, parse_section};
use super::object::{ObjectError, deserialize_object};
use super::object_meta::{Labels, ObjectMeta, RawObjectMeta, metadata_to_json};
use crate::names::{ObjectKey, ObjectKind};

/// The ConfigMap kube-system/aws-auth as the API server has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AwsAuth {
    pub(crate) meta: ObjectMeta,
    pub(crate) data: BTreeMap<String, String>,
    /// The keys of `binaryData`, which the authenticator never reads.
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
    /// Deserializes the ConfigMap from the API server's JSON.
    ///
    /// # Errors
    /// The JSON does not have the shape of a ConfigMap.
    pub(crate) fn from_json(value: &Value) -> Result<Self, ObjectError> {
        let raw: RawConfigMap = deserialize_object(value)?;
        Ok(Self {
            meta: raw.metadata.into(),
            data: raw.data.unwrap_or_default(),
            binary_keys: raw.binary_data.unwrap_or_default().into_keys().collect(),
            immutable: raw.immutable.unwrap_or_default(),
        })
    }

    /// Parses a section as the authenticator does. An absent section is empty.
    ///
    /// # Errors
    /// The authenticator cannot parse the text, so none of the section's entries takes effect.
    pub(crate) fn parse_section(&self, section: Section) -> Result<ParsedSection, SectionError> {
        parse_section(section, self.data.get(section.key()).map_or("", String::as_str))
    }
}

/// Returns the request body that creates the ConfigMap.
pub(crate) fn config_map_to_json(data: &BTreeMap<String, String>, annotations: &Labels) -> Value {
    let key = ObjectKey::aws_auth();
    json!({
        "apiVersion": ObjectKind::ConfigMap.api_version(),
        "kind": ObjectKind::ConfigMap.as_str(),
        "metadata": metadata_to_json(key.namespace(), key.name(), &Labels::new(), annotations),
        "data": data,
    })
}

/// Returns the key by which the authenticator finds an entry. It compares ARNs case-insensitively and accounts exactly.
pub(crate) fn entry_key(entry: &Entry) -> String {
    match &entry.principal {
        EntryPrincipal::Role(arn) | EntryPrincipal::User(arn) => arn.to_lowercase(),
        EntryPrincipal::Account(id) => id.clone(),
        EntryPrincipal::Sso(sso) => {
            format!("sso:{}:{}:{}", sso.partition, sso.account_id, sso.permission_set_name).to_lowercase()
        }
    }
}

/// Returns the principal of an entry as it is written in the section. An `sso` pattern is shown with its account.
pub(crate) fn principal_text(entry: &Entry) -> String {
    match &entry.principal {
        EntryPrincipal::Role(text) | EntryPrincipal::User(text) | EntryPrincipal::Account(text) => text.clone(),
        EntryPrincipal::Sso(sso) => format!("sso {} in {}", sso.permission_set_name, sso.account_id),
    }
}
