//! The types of the JSON documents that rolecall prints and saves.
//!
//! Scripts and saved plans depend on the keys, so the keys change only together with [`FORMAT_VERSION`]. The types are
//! separate from those of the other modules, so that internal names can change freely. The files `schema/*.schema.json`
//! are generated from the types, and the doc comments become the descriptions there.

mod access;
mod access_report;
mod answers;
mod backup;
mod change;
mod cluster_report;
mod common;
mod diagnostic;
mod digest;
mod eks_clusters;
mod event;
mod explanation;
mod finding_id;
mod guard;
mod list;
mod managed_by;
mod migration;
mod permissions;
mod plan;
mod read;
mod requests;
mod step;
mod subject_filter;
mod test_run;
#[cfg(test)]
mod tests;
mod user_info;
mod who_can_answer;

pub(crate) use access::{
    AccessChangeJson, AccessSeverityJson, EscalationJson, GrantSourceJson, PermissionJson, PermissionSummaryJson,
};
#[cfg(test)]
pub(crate) use access_report::ReportGrantJson;
pub(crate) use access_report::{
    AccessReportDocument, ClusterReportJson, DriftReportJson, ExpiryJson, ReportBindingJson, ReportSubjectJson,
    SensitiveAccessJson, SensitiveHoldersJson, SubjectAccessJson, SubjectKindJson,
};
pub(crate) use answers::{
    AccessAnswerJson, AccessRowJson, AnswerContext, AnswerJson, AnswersDocument, CanAnswerJson, EscalationsAnswerJson,
    IdentityJson,
};
pub(crate) use backup::{BACKUP_VERSION, BackupContent, BackupDocument};
pub(crate) use change::{ActionJson, ChangeJson, DiffOpJson, DriftJson, FieldJson, TargetJson};
pub(crate) use cluster_report::ClusterReportInput;
pub(crate) use common::{LocationJson, ObjectJson, SectionJson, SubjectJson};
pub(crate) use diagnostic::{DiagnosticJson, DiagnosticsDocument, PolicyEscalationJson, SeverityJson};
pub(crate) use digest::{digest, is_digest};
pub(crate) use event::{
    AuthorJson, CallerJson, CheckStateJson, EventJson, EventRecord, LeaseStateJson, NoteLevelJson, PhaseJson, RunJson,
    VersionJson, WriteRecordJson, WriteResultJson,
};
pub(crate) use explanation::{ExplanationDocument, ExplanationJson, HeldRoleJson, is_master};
pub(crate) use finding_id::FindingId;
#[cfg(test)]
pub(crate) use guard::GuardJson;
pub(crate) use guard::{FailedInvariantJson, GuardFindingJson, InvariantJson, NotEvaluatedJson, ViolationJson};
pub(crate) use list::ObjectListDocument;
pub(crate) use managed_by::{EntryJson, ManagedByJson};
pub(crate) use migration::MigrationDocument;
pub(crate) use permissions::{CommandJson, MissingPermissionJson, PermissionsCheckJson, PermissionsDocument};
pub(crate) use plan::{ConnectionJson, EksClusterJson, PlanDocument, PlanJson};
#[cfg(test)]
pub(crate) use requests::RequestsJson;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::diagnostic::InternalError;
pub(crate) use eks_clusters::{ClusterScopeJson, ClustersDocument, ListedClusterJson};
pub(crate) use subject_filter::{has_own_row, is_system_subject};
pub(crate) use test_run::{TestDocument, TestResultJson, TestedClusterJson, TestedInvariantJson, TestedStateJson};
pub(crate) use user_info::{IamIdentityJson, MappedByJson, UserInfoJson, WhoamiClusterJson, WhoamiDocument};
pub(crate) use who_can_answer::{GrantLimitJson, WhoCanAnswerJson, WhoCanQuestion};

/// Raised when a script that reads the old documents would be misled. A new key alone does not raise it.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// serde cannot serialize a document, which is a bug in rolecall.
#[derive(Debug, Error)]
#[error("cannot serialize a JSON document: {0}")]
pub(crate) struct SerializeError(#[from] serde_json::Error);

impl From<SerializeError> for InternalError {
    fn from(error: SerializeError) -> Self {
        Self::new(error.to_string())
    }
}

/// Why the content of a saved document is invalid.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct InvalidDocument(String);

/// Returns the document as indented JSON with a newline at the end.
///
/// # Errors
/// If serde cannot serialize the document.
pub(crate) fn to_text(document: &impl Serialize) -> Result<String, SerializeError> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}

/// Returns the document as a JSON value.
///
/// # Errors
/// If serde cannot serialize the document.
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
            other => {
                Err(serde::de::Error::custom(format!("unsupported format version {other}, expected {FORMAT_VERSION}")))
            }
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
