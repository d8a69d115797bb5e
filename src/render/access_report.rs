//! The answer of `access`: everything that subjects are allowed to do. Subjects with the same access share a row.

use std::collections::BTreeMap;

use super::access_changes::granted_by_text;
use super::query_renderer::QueryRenderer;
use super::style::StyleClass;
use super::terminal_text::TerminalText;
use super::text_util::{escape_control, pluralize};
use crate::access::{AccessView, BoundGrants, SubjectQuery, identity_escalation_paths, paths_of_permissions};
use crate::plan::{AffectedSubject, AllowedRequests, EscalationSummary, GrantedBy};
use crate::policy::PolicyIndex;
use crate::report::{AccessRowJson, EscalationJson, PermissionJson, SubjectJson};

/// The number of lines of one row that are shown without `--full`.
const MAX_LINES: usize = 40;

/// The permissions and the privilege escalation paths that the subjects of a row have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct AccessSummary {
    allowed: Vec<AllowedRequests>,
    escalations: Vec<EscalationSummary>,
}

/// Subjects with the same access.
#[derive(Debug)]
pub(crate) struct AccessReportRow {
    subjects: Vec<AffectedSubject>,
    access: AccessSummary,
}

/// Returns the rows in the order of their first subjects.
pub(crate) fn build_rows(
    access: &AccessView<'_>,
    subjects: Vec<SubjectQuery>,
    policy_index: &PolicyIndex,
) -> Vec<AccessReportRow> {
    if subjects.len() > 1 {
        access.grants.build_index();
    }
    let mut rows: Vec<AccessReportRow> = Vec::new();
    // The subjects of one binding have the same permissions, which are computed once.
    let mut rows_by_grants: BTreeMap<(BoundGrants, Vec<EscalationSummary>), usize> = BTreeMap::new();
    let mut rows_by_access: BTreeMap<AccessSummary, usize> = BTreeMap::new();
    for subject in subjects {
        let authentication = access.authenticate(&subject);
        let bound = BoundGrants::for_authentication(access, &authentication);
        let of_identity = identity_escalation_paths(&authentication);
        let of_identity: Vec<_> = of_identity.iter().map(EscalationSummary::from_path).collect();
        let index = *rows_by_grants.entry((bound, of_identity)).or_insert_with_key(|(bound, of_identity)| {
            let permissions = bound.effective_permissions(access);
            let of_permissions = paths_of_permissions(&permissions);
            let of_permissions = of_permissions.iter().map(EscalationSummary::from_path);
            let summary = AccessSummary {
                allowed: permissions.merged_requests().iter().map(AllowedRequests::new).collect(),
                escalations: of_identity.iter().cloned().chain(of_permissions).collect(),
            };
            *rows_by_access.entry(summary).or_insert_with_key(|summary| {
                rows.push(AccessReportRow { subjects: Vec::new(), access: summary.clone() });
                rows.len() - 1
            })
        });
        if let Some(row) = rows.get_mut(index) {
            let name = policy_index.principal_name(&subject).map(str::to_owned);
            row.subjects.push(AffectedSubject { subject: subject.to_string(), name });
        }
    }
    rows
}

pub(crate) fn render_access_report(
    rows: &[AccessReportRow],
    hidden: usize,
    explain: bool,
    full: bool,
    renderer: &QueryRenderer<'_>,
) -> TerminalText {
    let mut out = TerminalText::default();
    for (number, AccessReportRow { subjects, access }) in rows.iter().enumerate() {
        if number > 0 {
            out.blank_line();
        }
        for AffectedSubject { subject, name } in subjects {
            let name = name.as_ref().map(|name| format!(" ({})", escape_control(name))).unwrap_or_default();
            let line = format!("{}{name}", escape_control(subject));
            out.line(&renderer.style.paint(StyleClass::Heading, &line));
        }
        if access.allowed.is_empty() {
            out.line("  no permissions");
        }
        let shown = if full { access.allowed.len() } else { MAX_LINES };
        for allowed in access.allowed.iter().take(shown) {
            out.append(&render_grant(allowed, explain, renderer));
        }
        if let Some(more) = access.allowed.len().checked_sub(shown).filter(|more| *more > 0) {
            out.line(&format!("  … and {} (use --full to show them)", pluralize(more, "more line")));
        }
        for escalation in &access.escalations {
            out.line(&format!("  ! {}: {}", escalation.name, escape_control(&escalation.path)));
        }
    }
    if hidden > 0 {
        out.blank_line();
        out.line(&format!("… and {} (use --full to show them)", pluralize(hidden, "system subject")));
    }
    out
}

fn render_grant(allowed: &AllowedRequests, explain: bool, renderer: &QueryRenderer<'_>) -> TerminalText {
    let AllowedRequests { summary, requests: _, granted_by } = allowed;
    let mut out = TerminalText::from_line(&format!("  {}", escape_control(summary)));
    for source in granted_by {
        let managed_by = match source {
            GrantedBy::Binding { binding, role } if explain => {
                format!("  binding {}, role {}", renderer.managed_by(binding), renderer.managed_by(role))
            }
            GrantedBy::Binding { .. } | GrantedBy::Group { .. } => String::new(),
        };
        out.line(&format!(
            "    via {}{}",
            granted_by_text(source),
            renderer.style.paint(StyleClass::Location, &escape_control(&managed_by))
        ));
    }
    out
}

pub(crate) fn access_report_json(cluster: &str, rows: &[AccessReportRow]) -> Vec<AccessRowJson> {
    let escalation_json = |subjects: &[AffectedSubject], summary: &EscalationSummary| {
        let subjects: Vec<&str> = subjects.iter().map(|affected| affected.subject.as_str()).collect();
        EscalationJson::new(cluster, &subjects, summary)
    };
    let row_json = |AccessReportRow { subjects, access }: &AccessReportRow| AccessRowJson {
        subjects: subjects.iter().map(SubjectJson::from).collect(),
        permissions: access.allowed.iter().map(PermissionJson::from).collect(),
        escalations: access.escalations.iter().map(|summary| escalation_json(subjects, summary)).collect(),
    };
    rows.iter().map(row_json).collect()
}
