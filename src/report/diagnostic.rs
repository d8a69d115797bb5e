//! Errors and warnings as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FormatVersion;
use super::common::LocationJson;
use crate::diagnostic::{Diagnostic, DiagnosticNote, Excerpt, NoteKind, Severity, SourceMap};

/// The output of `rolecall validate -o json`. Every other command with `-o json` prints it when it fails.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiagnosticsDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// The errors and warnings, in the order of the policy files. Those without a location come first.
    diagnostics: Vec<DiagnosticJson>,
}

impl DiagnosticsDocument {
    pub(crate) fn new(diagnostics: &[Diagnostic], sources: &SourceMap) -> Self {
        Self { format_version: FormatVersion, diagnostics: DiagnosticJson::all(diagnostics, sources) }
    }
}

/// An error or a warning.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiagnosticJson {
    /// An error stops the command; a warning does not.
    pub(crate) severity: SeverityJson,
    /// The name by which `[lint]` of a policy allows or denies the warning, such as `unknown-verb`. Null if the policy
    /// cannot do that.
    pub(crate) lint: Option<String>,
    /// The problem, on one line, without the location.
    pub(crate) message: String,
    /// The location in the policy, or null if the diagnostic does not refer to a single location.
    pub(crate) location: Option<LocationJson>,
    /// Other locations in the policy that the diagnostic refers to.
    pub(crate) related: Vec<RelatedLocationJson>,
    /// The line of another source, such as aws-auth or a snapshot, that the diagnostic refers to, or null.
    pub(crate) excerpt: Option<ExcerptJson>,
    /// Evidence, context and advice, in the order in which the terminal shows them.
    pub(crate) notes: Vec<NoteJson>,
}

impl DiagnosticJson {
    pub(crate) fn new(diagnostic: &Diagnostic, sources: &SourceMap) -> Self {
        let Diagnostic { severity, lint, message, primary, secondary, excerpt, notes } = diagnostic;
        let location = |span| LocationJson::from(&sources.location(span));
        let related = secondary
            .iter()
            .map(|(span, label)| RelatedLocationJson { location: location(*span), label: label.clone() });
        Self {
            severity: (*severity).into(),
            lint: lint.map(|id| id.name().to_owned()),
            message: message.clone(),
            location: primary.as_ref().map(|(span, _)| location(*span)),
            related: related.collect(),
            excerpt: excerpt.as_ref().map(ExcerptJson::from),
            notes: notes.iter().map(NoteJson::from).collect(),
        }
    }

    pub(crate) fn all(diagnostics: &[Diagnostic], sources: &SourceMap) -> Vec<Self> {
        diagnostics.iter().map(|diagnostic| Self::new(diagnostic, sources)).collect()
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum SeverityJson {
    Error,
    Warning,
}

impl From<Severity> for SeverityJson {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

/// A location in the policy that belongs to a diagnostic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RelatedLocationJson {
    /// The location.
    location: LocationJson,
    /// The text that the terminal shows at the location. It can be empty.
    label: String,
}

/// A line of a text that is not a policy file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExcerptJson {
    /// The name of the text.
    name: String,
    /// The line, counted from 1.
    #[schemars(range(min = 1))]
    line: usize,
    /// The column in characters, counted from 1.
    #[schemars(range(min = 1))]
    column: usize,
    /// The text of the line.
    text: String,
}

impl From<&Excerpt> for ExcerptJson {
    fn from(excerpt: &Excerpt) -> Self {
        let Excerpt { name, line, column, text } = excerpt.clone();
        Self { name, line, column, text }
    }
}

/// One line of evidence or advice.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NoteJson {
    /// `because` is evidence, `note` is background, `help` is what to do.
    pub(crate) kind: NoteKindJson,
    /// The text, on one line.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum NoteKindJson {
    Because,
    Note,
    Help,
}

impl From<&DiagnosticNote> for NoteJson {
    fn from(note: &DiagnosticNote) -> Self {
        let kind = match note.kind {
            NoteKind::Because => NoteKindJson::Because,
            NoteKind::Note => NoteKindJson::Note,
            NoteKind::Help => NoteKindJson::Help,
        };
        Self { kind, text: note.text.clone() }
    }
}
