//! The ConfigMap kube-system/aws-auth as an object, its three texts kept byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::aws_auth::{Entry, Principal, Reading, Section, SectionError, read};
use super::meta::{Labels, Meta, RawMeta, new_metadata};
use super::object::{ObjectFault, from_value};
use crate::names::{ObjectKey, ObjectKind};

/// The ConfigMap as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AwsAuth {
    pub(crate) meta: Meta,
    pub(crate) data: BTreeMap<String, String>,
    /// Never read by the authenticator.
    pub(crate) binary_keys: BTreeSet<String>,
    pub(crate) immutable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfigMap {
    #[serde(default)]
    metadata: RawMeta,
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
    pub(crate) fn from_json(value: &Value) -> Result<Self, ObjectFault> {
        let raw: RawConfigMap = from_value(value)?;
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
    pub(crate) fn reading(&self, section: Section) -> Result<Reading, SectionError> {
        read(section, self.data.get(section.key()).map_or("", String::as_str))
    }
}

/// The body that creates the ConfigMap.
pub(crate) fn config_map_json(data: &BTreeMap<String, String>, annotations: &Labels) -> Value {
    let key = ObjectKey::aws_auth();
    json!({
        "apiVersion": ObjectKind::ConfigMap.api_version(),
        "kind": ObjectKind::ConfigMap.word(),
        "metadata": new_metadata(key.namespace(), key.name(), &Labels::new(), annotations),
        "data": data,
    })
}

/// What the authenticator compares of an entry: ARNs without regard to case, accounts exactly.
pub(crate) fn entry_key(entry: &Entry) -> String {
    match &entry.principal {
        Principal::Role(arn) | Principal::User(arn) => arn.to_lowercase(),
        Principal::Account(id) => id.clone(),
        Principal::Sso(sso) => {
            format!("sso:{}:{}:{}", sso.partition, sso.account_id, sso.permission_set_name).to_lowercase()
        }
    }
}

/// The principal as it stands in the text.
pub(crate) fn principal_text(entry: &Entry) -> String {
    match &entry.principal {
        Principal::Role(text) | Principal::User(text) | Principal::Account(text) => text.clone(),
        Principal::Sso(sso) => format!("sso {} in {}", sso.permission_set_name, sso.account_id),
    }
}
