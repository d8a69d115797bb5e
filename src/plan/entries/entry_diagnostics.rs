//! What of the live aws-auth a person should know of, or has to mend before anything can be planned.

use std::collections::BTreeMap;

use super::super::PlanBuilder;
use super::LiveEntry;
use crate::diagnostic::{Diagnostic, Excerpt, Severity};
use crate::state::aws_auth::{Finding, FindingKind, ParsedSection, Section, SectionError};
use crate::state::config_map::{AwsAuth, principal_text};

/// What the authenticator has of each section; what it cannot read is refused where it matters to this policy.
pub(super) fn read_sections(
    draft: &mut PlanBuilder<'_>,
    auth: &AwsAuth,
    concerned: bool,
) -> Option<BTreeMap<Section, ParsedSection>> {
    let mut out = BTreeMap::new();
    let mut refused = false;
    for section in Section::ALL {
        match auth.parse_section(section) {
            Ok(reading) => {
                for finding in &reading.findings {
                    draft.diagnostics.extend(finding_warning(section, &reading, finding));
                }
                out.insert(section, reading);
            }
            Err(error) => {
                let mut found = unreadable_section(&error);
                if !concerned {
                    found.severity = Severity::Warning;
                }
                refused = true;
                draft.diagnostics.push(found);
            }
        }
    }
    let near = auth.data.keys().filter_map(|key| misspelled_key(key));
    draft.diagnostics.extend(near);
    (!refused).then_some(out)
}

/// Why no write can change the ConfigMap or a section of it: errors where the plan would.
pub(super) fn check_writable(auth: &AwsAuth, writes: bool, edited: impl Fn(Section) -> bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if auth.immutable {
        let why = "aws-auth is immutable: nothing can change its entries";
        let hint = "`immutable: true` cannot be taken back; deleting and creating aws-auth anew locks everybody out in between";
        found.push((Diagnostic::error(why).with_help(hint), Section::ALL.into_iter().any(&edited)));
    }
    if auth.meta.deleting {
        let finalizers = auth.meta.finalizers.join(", ");
        let why = format!("aws-auth is being deleted, and waits for its finalizers: {finalizers}");
        let hint = "its entries count until it is gone, and then nobody's do: plan again when it is";
        found.push((Diagnostic::error(why).with_help(hint), writes));
    }
    for section in Section::ALL.into_iter().filter(|section| auth.binary_keys.contains(section.key())) {
        let why = format!("aws-auth has `{section}` under binaryData, which the authenticator never reads");
        found.push((Diagnostic::error(why).with_help("move it to data by hand, or delete the key"), edited(section)));
    }
    let weighed = |(found, hinders)| {
        let severity = if hinders { Severity::Error } else { Severity::Warning };
        Diagnostic { severity, ..found }
    };
    found.into_iter().map(weighed).collect()
}

/// `maproles`: in silence nobody is mapped by it.
fn misspelled_key(key: &str) -> Option<Diagnostic> {
    let meant = Section::ALL.into_iter().find(|section| section.key().eq_ignore_ascii_case(key))?;
    let said = format!("aws-auth has the key `{key}`, which the authenticator ignores: it reads `{meant}` alone");
    (meant.key() != key).then(|| Diagnostic::warning(said))
}

/// Entries that do not count, or count by chance, because others have the same principal; not those of principals
/// of which the plan leaves one entry.
pub(super) fn duplicate_warnings(
    live: &BTreeMap<String, Vec<LiveEntry<'_>>>,
    settled: impl Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    let several = live.iter().filter(|(key, same)| same.len() > 1 && !settled(key)).map(|(_, same)| same);
    let mapped = several.filter(|same| same.iter().all(|live| live.section != Section::Accounts));
    mapped.flat_map(|same| shadowed_warnings(same).into_iter().chain(ambiguous_user_warning(same))).collect()
}

/// The last of mapRoles is in force; without one, of mapUsers the last of those that are spelled alike.
fn shadowed_warnings(same: &[LiveEntry<'_>]) -> Vec<Diagnostic> {
    let role = same.iter().rfind(|live| live.section == Section::Roles);
    let said = same.iter().filter_map(|live| {
        let entry = &live.located.entry;
        let winner = role.or_else(|| same.iter().rfind(|other| other.located.entry.principal == entry.principal))?;
        let (section, line, who) = (live.section, live.located.line, principal_text(entry));
        let beside = format!("line {} of {}", winner.located.line, winner.section);
        let wins = winner.section == section && winner.index == live.index;
        (!wins).then(|| format!("aws-auth {section}, line {line}: {who} does not count beside {beside}"))
    });
    said.map(Diagnostic::warning).collect()
}

/// Users are kept by their spelling, and compared without regard to case: Go's map decides at each login.
fn ambiguous_user_warning(same: &[LiveEntry<'_>]) -> Option<Diagnostic> {
    if same.iter().any(|live| live.section == Section::Roles) {
        return None;
    }
    let spellings: BTreeMap<String, usize> =
        same.iter().map(|live| (principal_text(&live.located.entry), live.located.line)).collect();
    let who = spellings.keys().next_back()?;
    let mut lines: Vec<usize> = spellings.values().copied().collect();
    lines.sort_unstable();
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    let lines = lines.join(" and ");
    let said = format!("aws-auth mapUsers, lines {lines}: {who} in several spellings, and which one counts is random");
    (spellings.len() > 1).then(|| Diagnostic::warning(said).with_help("leave one of them"))
}

fn unreadable_section(error: &SectionError) -> Diagnostic {
    let section = error.section;
    Diagnostic::error(format!("`{section}` of aws-auth cannot be read: {}", error.message))
        .with_excerpt(Excerpt {
            name: format!("kube-system/aws-auth {section}"),
            line: error.line,
            column: error.column,
            text: error.source_line.clone(),
        })
        .with_help(format!("the authenticator cannot read it either: no entry of {section} maps anybody now"))
        .with_help("mend this line by hand; rolecall never rewrites what it cannot read")
}

/// A surprise that somebody should know of; unknown keys and further documents are nobody's concern.
fn finding_warning(section: Section, reading: &ParsedSection, finding: &Finding) -> Option<Diagnostic> {
    let who = finding.entry_index.and_then(|at| reading.entries.get(at)).map(|found| principal_text(&found.entry));
    let who = who.unwrap_or_else(|| "the entry".to_owned());
    let said = match &finding.kind {
        FindingKind::EntryIgnored(_) => "this entry does not count: the authenticator drops it".to_owned(),
        FindingKind::UsernameEmpty { found: Some(stands) } => {
            format!("{who} has no username: `{stands}` is no text to the authenticator")
        }
        FindingKind::UsernameEmpty { found: None } => return None,
        FindingKind::GroupsNotAList { found: stands } => format!("{who} has no groups: `{stands}` is not a list"),
        FindingKind::GroupEmpty { found: stands, .. } => {
            format!("{who} has an empty group: `{stands}` is no text to the authenticator")
        }
        FindingKind::KeyOverridden { key, by } => format!("{who}: `{key}` does not count beside `{by}`"),
        FindingKind::ExtraDocuments => {
            "what follows `---` does not count: the authenticator reads the first document".to_owned()
        }
        FindingKind::FieldIgnored { .. }
        | FindingKind::UnknownKey { .. }
        | FindingKind::NonCanonicalKey { .. }
        | FindingKind::AccountEmpty => return None,
    };
    Some(Diagnostic::warning(format!("aws-auth {section}, line {}: {said}", finding.line)))
}
