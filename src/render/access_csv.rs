//! The access of a report as CSV, for access reviews: one line for each subject, role and namespace.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@` or a tab as a formula, which a name from a cluster could be
//! (owasp.org, CSV Injection). So each cell is a [`CsvCell`], which begins with `'` in this case.

use super::markdown_text::escape_foreign;
use crate::diagnostic::InternalError;
use crate::report::{
    AccessReportDocument, ClusterReportJson, IdentityJson, ManagedByJson, ReportBindingJson, ReportSubjectJson,
    SubjectAccessJson,
};

/// The names of the columns.
const COLUMNS: [&str; 12] = [
    "cluster",
    "subject",
    "name",
    "kind",
    "namespace",
    "role kind",
    "role",
    "binding",
    "via",
    "managed by",
    "usernames",
    "escalation",
];

/// A cell that no spreadsheet runs.
struct CsvCell(String);

impl CsvCell {
    fn new(text: &str) -> Self {
        let text = escape_foreign(text);
        // The unsafe characters are escaped, so a tab or a line break cannot be at the beginning.
        Self(if text.starts_with(['=', '+', '-', '@', '\'', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']) {
            format!("'{text}")
        } else {
            text
        })
    }
}

/// CSV in which foreign text is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CsvText(String);

impl CsvText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the access of all clusters.
///
/// # Errors
/// If the CSV cannot be written, which is a bug in rolecall.
pub(crate) fn render_access_csv(document: &AccessReportDocument) -> Result<CsvText, InternalError> {
    let mut lines = vec![COLUMNS.map(CsvCell::new)];
    for cluster in &document.clusters {
        for row in &cluster.access {
            for subject in &row.subjects {
                lines.extend(subject_lines(cluster, row, subject));
            }
        }
    }
    let cannot_write = |error: String| InternalError::new(format!("cannot write CSV: {error}"));
    // A cell that has the separator of another language's spreadsheet does not become two.
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    for line in &lines {
        let cells = line.iter().map(|cell| cell.0.as_bytes());
        writer.write_record(cells).map_err(|error| cannot_write(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| cannot_write(error.to_string()))?;
    String::from_utf8(bytes).map(CsvText).map_err(|error| cannot_write(error.to_string()))
}

fn subject_lines(
    cluster: &ClusterReportJson,
    row: &SubjectAccessJson,
    subject: &ReportSubjectJson,
) -> Vec<[CsvCell; 12]> {
    let ReportSubjectJson { subject, principal_name, kind, identities } = subject;
    let usernames: Vec<&str> =
        identities.iter().filter_map(|identity: &IdentityJson| identity.username.as_deref()).collect();
    let usernames = usernames.join(", ");
    let escalation = row.escalations.first().map_or("", |path| path.severity.name());
    let name = principal_name.as_deref().unwrap_or_default();
    let line = |namespace: &str, role_kind: &str, role: &str, binding: &str, via: &str, managed_by: &str| {
        [
            &cluster.cluster,
            subject,
            name,
            kind.label(),
            namespace,
            role_kind,
            role,
            binding,
            via,
            managed_by,
            &usernames,
            escalation,
        ]
        .map(CsvCell::new)
    };
    let mut lines = Vec::new();
    if row.is_in_system_masters {
        lines.push(line("*", "", "everything", "", "group:system:masters", ""));
    }
    for grant in &row.grants {
        let Some(ReportBindingJson { binding, role, role_exists, managed_by }) = cluster.bindings.get(grant.binding)
        else {
            continue;
        };
        let namespace = binding.namespace.as_deref().unwrap_or("*");
        let role_name = if *role_exists { role.name.clone() } else { format!("{} (does not exist)", role.name) };
        let managed_by = managed_by.as_ref().map(ManagedByJson::text).unwrap_or_default();
        let binding = format!("{} {}", binding.kind_name(), binding.path());
        lines.push(line(namespace, role.kind_name(), &role_name, &binding, &grant.via, &managed_by));
    }
    if lines.is_empty() {
        lines.push(line("", "", "", "", "", ""));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1"] {
            let cell = CsvCell::new(text).0;
            assert!(cell.starts_with(['\'', '\\']), "{text:?} is {cell:?}");
        }
        assert_eq!(CsvCell::new("arn:aws:iam::1:role/x").0, "arn:aws:iam::1:role/x");
        assert_eq!(CsvCell::new("*").0, "*");
    }
}
