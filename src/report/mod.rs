//! The JSON documents that rolecall prints and saves, as types of their own.
//!
//! Scripts, saved plans and the published schemas depend on these types. Their names and keys therefore change only
//! together with [`FORMAT_VERSION`], and no other type of the program has a say in them. The files
//! `schema/*.schema.json` are generated from the types; their doc comments become the descriptions there.

mod access;
mod answers;
mod backup;
mod change;
mod common;
mod diagnostic;
mod digest;
mod guard;
mod list;
mod permissions;
mod plan;
mod read;
mod requests;
mod step;
#[cfg(test)]
mod tests;
mod user_info;

pub(crate) use access::{EscalationJson, PermissionJson};
pub(crate) use answers::{
    AccessAnswerJson, AccessRowJson, AnswerContext, AnswerJson, AnswersDocument, CanAnswerJson, EscalationsAnswerJson,
    WhoCanAnswerJson,
};
pub(crate) use backup::{BACKUP_VERSION, BackupDocument};
pub(crate) use common::SubjectJson;
pub(crate) use diagnostic::{DiagnosticJson, DiagnosticsDocument};
pub(crate) use digest::digest;
#[cfg(test)]
pub(crate) use guard::GuardJson;
pub(crate) use list::ObjectListDocument;
pub(crate) use permissions::{CommandJson, MissingPermissionJson, PermissionsCheckJson, PermissionsDocument};
pub(crate) use plan::{ConnectionJson, EksClusterJson, PlanDocument, PlanJson};
#[cfg(test)]
pub(crate) use requests::RequestsJson;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
pub(crate) use user_info::{UserInfoJson, WhoamiClusterJson, WhoamiDocument};

/// Raised when a script that reads the old documents would be misled. A new key alone does not raise it.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// A document that serde cannot turn into JSON. It is a defect of rolecall.
#[derive(Debug, Error)]
#[error("internal error: a JSON document cannot be written: {0}")]
pub(crate) struct SerializeError(#[from] serde_json::Error);

/// A saved document whose content makes no sense, and why.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct InvalidDocument(String);

/// The document as indented JSON with a newline at the end.
///
/// # Errors
/// A document that serde cannot turn into JSON.
pub(crate) fn to_text(document: &impl Serialize) -> Result<String, SerializeError> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}

/// The document as a JSON value.
///
/// # Errors
/// A document that serde cannot turn into JSON.
pub(crate) fn to_value(document: &impl Serialize) -> Result<serde_json::Value, SerializeError> {
    Ok(serde_json::to_value(document)?)
}

/// The key `format-version`: always [`FORMAT_VERSION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormatVersion;

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(FORMAT_VERSION)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match u32::deserialize(input)? {
            FORMAT_VERSION => Ok(Self),
            other => Err(serde::de::Error::custom(format!("the format version is {other}, not {FORMAT_VERSION}"))),
        }
    }
}

impl schemars::JsonSchema for FormatVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FormatVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": FORMAT_VERSION })
    }
}
