//! The parts of SARIF 2.1.0 that rolecall writes. `tests/it/sarif.rs` validates them against the official schema.
//!
//! Specification: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>. What code scanning of GitHub reads:
//! <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::terminal_text::escape_command_marks;
use crate::diagnostic::escape_text;
use crate::report::LocationJson;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A text in which foreign text is harmless.
///
/// A message of SARIF can have links, such as `[text](url)`, and placeholders in braces (section 3.11). Viewers show it in
/// web pages, so that invisible characters and those that change the direction of text are escaped too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct SarifText(String);

impl SarifText {
    pub(crate) fn new(text: &str) -> Self {
        let text = escape_command_marks(&escape_text(text)).replace("](", "] (");
        Self(text.replace('{', "{{").replace('}', "}}"))
    }

    /// Returns the texts as lines.
    pub(crate) fn lines(texts: impl IntoIterator<Item = Self>) -> Self {
        Self(texts.into_iter().map(|text| text.0).collect::<Vec<_>>().join("\n"))
    }
}

/// The path of a file as a relative or absolute URI (RFC 3986).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct SarifUri(String);

/// The characters of a path that stay as they are: those that are unreserved, and the slash.
const KEPT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl SarifUri {
    /// `path` has slashes on every system.
    pub(crate) fn from_path(path: &str) -> Self {
        let encoded = utf8_percent_encode(path, KEPT_IN_PATHS);
        let is_drive = path.get(1..3) == Some(":/");
        Self(match path {
            _ if path.starts_with('/') => format!("file://{encoded}"),
            _ if is_drive => format!("file:///{}", encoded.to_string().replacen("%3A", ":", 1)),
            _ => encoded.to_string(),
        })
    }
}

/// A log file with one run.
#[derive(Debug, Serialize)]
pub(crate) struct SarifLog {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [SarifRun; 1],
}

impl SarifLog {
    pub(crate) fn new(run: SarifRun) -> Self {
        Self { schema: SCHEMA, version: "2.1.0", runs: [run] }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SarifRun {
    pub(crate) tool: SarifTool,
    pub(crate) invocations: [SarifInvocation; 1],
    pub(crate) automation_details: AutomationDetails,
    /// How columns are counted.
    pub(crate) column_kind: ColumnKind,
    pub(crate) results: Vec<SarifResult>,
}

/// Tells apart the logs of the commands and policies of one repository.
#[derive(Debug, Serialize)]
pub(crate) struct AutomationDetails {
    pub(crate) id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ColumnKind {
    UnicodeCodePoints,
}

#[derive(Debug, Serialize)]
pub(crate) struct SarifTool {
    pub(crate) driver: SarifDriver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SarifDriver {
    pub(crate) name: &'static str,
    pub(crate) semantic_version: &'static str,
    pub(crate) rules: Vec<ReportingDescriptor>,
}

/// A rule that results refer to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportingDescriptor {
    pub(crate) id: String,
    pub(crate) short_description: SarifMessage,
    pub(crate) default_configuration: ReportingConfiguration,
    pub(crate) properties: RuleProperties,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReportingConfiguration {
    pub(crate) level: SarifLevel,
}

/// The properties that code scanning reads.
#[derive(Debug, Serialize)]
pub(crate) struct RuleProperties {
    pub(crate) tags: Vec<&'static str>,
    /// From 0.0 to 10.0: above 9.0 is critical, from 7.0 high, from 4.0 medium.
    #[serde(rename = "security-severity", skip_serializing_if = "Option::is_none")]
    pub(crate) security_severity: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SarifLevel {
    Note,
    Warning,
    Error,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct SarifMessage {
    pub(crate) text: SarifText,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SarifInvocation {
    pub(crate) execution_successful: bool,
    pub(crate) tool_execution_notifications: Vec<SarifNotification>,
}

/// An error without a place in the policy, such as that of a connection.
#[derive(Debug, Serialize)]
pub(crate) struct SarifNotification {
    pub(crate) level: SarifLevel,
    pub(crate) message: SarifMessage,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SarifResult {
    pub(crate) rule_id: String,
    pub(crate) rule_index: usize,
    pub(crate) level: SarifLevel,
    pub(crate) message: SarifMessage,
    pub(crate) locations: Vec<SarifLocation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) related_locations: Vec<SarifLocation>,
    pub(crate) fingerprints: BTreeMap<&'static str, String>,
    /// Code scanning compares only the value with the key `primaryLocationLineHash`.
    pub(crate) partial_fingerprints: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SarifLocation {
    /// The number by which a message refers to the location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<usize>,
    pub(crate) physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<SarifMessage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: SarifRegion,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: SarifUri,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRegion {
    start_line: usize,
    start_column: usize,
}

impl From<&LocationJson> for PhysicalLocation {
    fn from(location: &LocationJson) -> Self {
        let LocationJson { file, line, column } = location;
        Self {
            artifact_location: ArtifactLocation { uri: SarifUri::from_path(file) },
            region: SarifRegion { start_line: *line, start_column: *column },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_no_link_and_no_placeholder() {
        let text = SarifText::new("role [x](https://evil.example) {0} {{SessionName}}\n\u{202e}");
        assert_eq!(text.0, "role [x] (https://evil.example) {{0}} {{{{SessionName}}}}\\n\\u{{202e}}");
    }

    #[test]
    fn paths_are_uris() {
        for (path, uri) in [
            ("access/prod.toml", "access/prod.toml"),
            ("a b/é#1?.toml", "a%20b/%C3%A9%231%3F.toml"),
            ("/srv/access.toml", "file:///srv/access.toml"),
            ("C:/access.toml", "file:///C:/access.toml"),
        ] {
            assert_eq!(SarifUri::from_path(path).0, uri);
        }
    }
}
