//! All that somebody may do, or everybody: those who may do the same stand together.

use std::collections::BTreeMap;

use super::access_changes::granted_by_text;
use super::query_renderer::QueryRenderer;
use super::style::StyleClass;
use super::text_util::{escape_control, pluralize};
use crate::access::{AccessView, SubjectQuery, escalation_paths};
use crate::names::reserved_prefix;
use crate::plan::{AffectedSubject, AllowedRequests, EscalationSummary, GrantedBy};
use crate::policy::PolicyIndex;
use crate::report::{AccessRowJson, EscalationJson, PermissionJson, SubjectJson};

/// Lines of one set of subjects shown before `--full` is needed.
const MAX_LINES: usize = 40;

/// What some may do alike, and their ways to more power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct AccessSummary {
    allowed: Vec<AllowedRequests>,
    escalations: Vec<EscalationSummary>,
}

/// Subjects that may do the same.
#[derive(Debug)]
pub(crate) struct AccessReportRow {
    subjects: Vec<AffectedSubject>,
    access: AccessSummary,
}

/// Whether somebody belongs to the cluster itself.
pub(crate) fn is_system_subject(who: &SubjectQuery) -> bool {
    match who {
        SubjectQuery::User(name) | SubjectQuery::Group(name) => reserved_prefix(name).is_some(),
        SubjectQuery::ServiceAccount { namespace, .. } => namespace == "kube-system",
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) => false,
    }
}

/// Of whom entries of aws-auth alone have the name, the principals' own rows say all.
pub(crate) fn has_own_row(access: &AccessView<'_>, who: &SubjectQuery) -> bool {
    match who {
        SubjectQuery::User(_) | SubjectQuery::Group(_) => {
            access.authenticate(who).identities().any(crate::access::Identity::is_in_system_masters)
                || !access.effective_rules(who).is_empty()
        }
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) | SubjectQuery::ServiceAccount { .. } => true,
    }
}

/// The rows of some subjects, in their order.
pub(crate) fn build_rows(
    access: &AccessView<'_>,
    whom: Vec<SubjectQuery>,
    known: &PolicyIndex,
) -> Vec<AccessReportRow> {
    if whom.len() > 1 {
        access.grants.build_index();
    }
    let mut rows: Vec<AccessReportRow> = Vec::new();
    let mut places: BTreeMap<AccessSummary, usize> = BTreeMap::new();
    for who in whom {
        let reach = AccessSummary {
            allowed: access.effective_permissions(&who).iter().map(AllowedRequests::new).collect(),
            escalations: escalation_paths(access, &who).iter().map(EscalationSummary::from_path).collect(),
        };
        let place = *places.entry(reach).or_insert_with_key(|reach| {
            rows.push(AccessReportRow { subjects: Vec::new(), access: reach.clone() });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(place) {
            let name = known.principal_name(&who).map(str::to_owned);
            row.subjects.push(AffectedSubject { subject: who.to_string(), name });
        }
    }
    rows
}

pub(crate) fn render_access_report(
    rows: &[AccessReportRow],
    hidden: usize,
    explain: bool,
    full: bool,
    view: &QueryRenderer<'_>,
) -> String {
    let mut out = String::new();
    for (number, AccessReportRow { subjects, access: reach }) in rows.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for AffectedSubject { subject: who, name } in subjects {
            let name = name.as_ref().map(|name| format!(" ({})", escape_control(name))).unwrap_or_default();
            let line = format!("{}{name}", escape_control(who));
            out.push_str(&format!("{}\n", view.style.paint(StyleClass::Heading, &line)));
        }
        if reach.allowed.is_empty() {
            out.push_str("  nothing\n");
        }
        let shown = if full { reach.allowed.len() } else { MAX_LINES };
        for allowed in reach.allowed.iter().take(shown) {
            out.push_str(&render_grant(allowed, explain, view));
        }
        if let Some(more) = reach.allowed.len().checked_sub(shown).filter(|more| *more > 0) {
            out.push_str(&format!("  … and {}, which --full shows\n", pluralize(more, "more line")));
        }
        for way in &reach.escalations {
            out.push_str(&format!("  ! {}: {}\n", way.name, escape_control(&way.path)));
        }
    }
    if hidden > 0 {
        out.push_str(&format!("\n… and {} of the cluster itself, which --full shows\n", pluralize(hidden, "subject")));
    }
    out
}

fn render_grant(allowed: &AllowedRequests, explain: bool, view: &QueryRenderer<'_>) -> String {
    let AllowedRequests { summary: what, requests: _, granted_by: by } = allowed;
    let mut out = format!("  {}\n", escape_control(what));
    for one in by {
        let place = match one {
            GrantedBy::Binding { binding, role } if explain => {
                format!("  binding {}, role {}", view.managed_by(binding), view.managed_by(role))
            }
            GrantedBy::Binding { .. } | GrantedBy::Group { .. } => String::new(),
        };
        out.push_str(&format!(
            "    by {}{}\n",
            granted_by_text(one),
            view.style.paint(StyleClass::Location, &escape_control(&place))
        ));
    }
    out
}

pub(crate) fn access_report_json(rows: &[AccessReportRow]) -> Vec<AccessRowJson> {
    let one = |AccessReportRow { subjects, access: reach }: &AccessReportRow| AccessRowJson {
        subjects: subjects.iter().map(SubjectJson::from).collect(),
        permissions: reach.allowed.iter().map(PermissionJson::from).collect(),
        escalations: reach.escalations.iter().map(EscalationJson::from).collect(),
    };
    rows.iter().map(one).collect()
}
