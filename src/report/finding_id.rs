//! The stable identifiers of findings, by which a tool recognizes a finding that it has shown before.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, LintId};

/// The number of bytes of the hash that an identifier has.
const ID_BYTES: usize = 8;

/// Identifies a finding in all outputs and in later runs. It depends on what the finding is about, and not on the file, the
/// line or the order of the findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct FindingId(String);

impl FindingId {
    /// Returns the identifier of a finding that consists of these parts. `kind` separates findings of different kinds.
    pub(crate) fn new(kind: &str, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&kind).chain(parts) {
            // With its length before it, no part can continue in the next one.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// 16 hexadecimal digits. Empty in a plan that an earlier version saved.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives identifiers to the diagnostics of one list.
#[derive(Debug, Default)]
pub(super) struct DiagnosticIds<'a> {
    /// The cluster that diagnostics without a place in the policy are about.
    cluster: &'a str,
    /// How many diagnostics had the same content.
    seen: BTreeMap<FindingId, usize>,
}

impl<'a> DiagnosticIds<'a> {
    pub(super) fn of_cluster(cluster: &'a str) -> Self {
        Self { cluster, seen: BTreeMap::new() }
    }

    /// Two diagnostics with the same content, such as one for each rule of a role, are counted.
    pub(super) fn next(&mut self, diagnostic: &Diagnostic) -> FindingId {
        let Diagnostic { severity: _, lint, message, primary, secondary: _, excerpt, notes: _ } = diagnostic;
        let cluster = if primary.is_some() { "" } else { self.cluster };
        let excerpt = excerpt.as_ref().map(|excerpt| excerpt.text.as_str()).unwrap_or_default();
        let message = without_line_numbers(message);
        let lint = lint.map(LintId::name).unwrap_or_default();
        let content = FindingId::new("diagnostic", &[cluster, lint, &message, excerpt]);
        let number = self.seen.entry(content.clone()).and_modify(|number| *number += 1).or_default();
        if *number == 0 { content } else { FindingId::new("repeated", &[content.as_str(), &number.to_string()]) }
    }
}

/// Removes the numbers after the word `line`, which change when lines are moved.
fn without_line_numbers(message: &str) -> String {
    let mut parts = message.split("line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + "line " + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(FindingId::new("a", &["b", "c"]), FindingId::new("a", &["bc", ""]));
        assert_ne!(FindingId::new("a", &["b"]), FindingId::new("ab", &[""]));
        assert_eq!(FindingId::new("a", &["b"]).as_str().len(), 16);
    }

    #[test]
    fn moved_lines_keep_the_identifier_and_repeated_findings_have_their_own() {
        let at = |start| {
            Diagnostic::lint(LintId::UnknownVerb, "unknown verb `gett`")
                .primary_label(Span::new(0, &(start..start + 1)), "")
        };
        let ids = |diagnostics: &[Diagnostic]| -> Vec<FindingId> {
            let mut ids = DiagnosticIds::default();
            diagnostics.iter().map(|diagnostic| ids.next(diagnostic)).collect()
        };
        let first = ids(&[at(1), at(9)]);
        assert_ne!(first[0], first[1]);
        assert_eq!(first, ids(&[at(101), at(109)]));
        let in_line = |line| Diagnostic::warning(format!("syntax error in aws-auth, line {line}: x"));
        assert_eq!(ids(&[in_line(3)]), ids(&[in_line(14)]));
        let mut other_cluster = DiagnosticIds::of_cluster("staging");
        assert_ne!(ids(&[in_line(3)]), [other_cluster.next(&in_line(3))]);
        assert_eq!(ids(&[at(1)]), [other_cluster.next(&at(1))]);
    }
}
