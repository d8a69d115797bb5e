//! Errors and warnings as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FormatVersion;
use super::access::EscalationJson;
use super::common::{LocationJson, SubjectJson};
use super::finding_id::{DiagnosticIds, FindingId};
use super::guard::FailedInvariantJson;
use crate::diagnostic::{Diagnostic, DiagnosticNote, Excerpt, NoteKind, Severity, SourceMap};
use crate::guard::{InvariantViolation, PolicyEscalation};

/// The output of `rolecall validate -o json`. Every other command with `-o json` prints it when it fails.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiagnosticsDocument {
    /// The version of the document format. It is raised when a script that reads the old format would be misled. Keys
    /// can be added without a new version: ignore the keys that you do not know.
    format_version: FormatVersion,
    /// The errors and warnings, in the order of the policy files. Those without a location come first.
    diagnostics: Vec<DiagnosticJson>,
    /// The privilege escalation paths that the policy grants by itself, whatever else its clusters contain. Left out if
    /// they were not computed: only `validate` does, of a valid policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalations: Option<Vec<PolicyEscalationJson>>,
}

impl DiagnosticsDocument {
    pub(crate) fn new(diagnostics: &[Diagnostic], sources: &SourceMap) -> Self {
        Self::from_json(DiagnosticJson::all(diagnostics, sources))
    }

    pub(crate) fn from_json(diagnostics: Vec<DiagnosticJson>) -> Self {
        Self { format_version: FormatVersion, diagnostics, escalations: None }
    }

    pub(crate) fn with_escalations(self, escalations: Vec<PolicyEscalationJson>) -> Self {
        Self { escalations: Some(escalations), ..self }
    }
}

/// A privilege escalation path that a policy grants, and who has it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PolicyEscalationJson {
    /// The path.
    #[serde(flatten)]
    pub(crate) escalation: EscalationJson,
    /// The subjects that have it, in any cluster of the policy.
    #[schemars(length(min = 1))]
    pub(crate) subjects: Vec<SubjectJson>,
    /// The policy line that grants it, or null if no single line does.
    pub(crate) location: Option<LocationJson>,
}

impl From<&PolicyEscalation> for PolicyEscalationJson {
    fn from(found: &PolicyEscalation) -> Self {
        let PolicyEscalation { summary, subjects, location } = found;
        let names: Vec<&str> = subjects.iter().map(|affected| affected.subject.as_str()).collect();
        Self {
            escalation: EscalationJson::new("", &names, summary),
            subjects: subjects.iter().map(SubjectJson::from).collect(),
            location: location.as_ref().map(LocationJson::from),
        }
    }
}

/// An error or a warning.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiagnosticJson {
    /// Identifies the same problem in other outputs and in later runs, also if lines of the policy were moved.
    #[serde(default)]
    pub(crate) id: FindingId,
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
    fn new(diagnostic: &Diagnostic, id: FindingId, sources: &SourceMap) -> Self {
        let Diagnostic { severity, lint, message, primary, secondary, excerpt, notes } = diagnostic;
        let location = |span| LocationJson::from(&sources.location(span));
        let related = secondary
            .iter()
            .map(|(span, label)| RelatedLocationJson { location: location(*span), label: label.clone() });
        Self {
            id,
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
        Self::all_of_cluster("", diagnostics, sources)
    }

    /// Returns violated invariants as errors, with the identifiers that they have in other documents.
    pub(crate) fn of_violations(violations: &[InvariantViolation], sources: &SourceMap) -> Vec<Self> {
        let to_json = |violation: &InvariantViolation| {
            Self::new(&violation.to_diagnostic(), FailedInvariantJson::new("", violation).id, sources)
        };
        violations.iter().map(to_json).collect()
    }

    /// Like [`Self::all`]. A diagnostic without a location has an identifier for this cluster.
    pub(crate) fn all_of_cluster(cluster: &str, diagnostics: &[Diagnostic], sources: &SourceMap) -> Vec<Self> {
        let mut ids = DiagnosticIds::of_cluster(cluster);
        let to_json = |diagnostic: &Diagnostic| Self::new(diagnostic, ids.next(diagnostic), sources);
        diagnostics.iter().map(to_json).collect()
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
    pub(crate) location: LocationJson,
    /// The text that the terminal shows at the location. It can be empty.
    pub(crate) label: String,
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

impl NoteKindJson {
    /// The name as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Because => "because",
            Self::Note => "note",
            Self::Help => "help",
        }
    }
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
