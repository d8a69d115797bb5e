//! Diagnostics about the live aws-auth: entries that do not work as written, and problems that prevent a plan.

use std::collections::BTreeMap;

use super::super::PlanBuilder;
use super::LiveEntry;
use super::inactive_entries::inactive_warnings;
use crate::diagnostic::{Diagnostic, Excerpt, Severity, closest_match};
use crate::state::aws_auth::{Finding, FindingKind, ParsedSection, Section, SectionError};
use crate::state::config_map::{AwsAuth, principal_text};

/// Parses the sections as the authenticator does. Returns `None` if one cannot be parsed, which is an error if the
/// policy uses aws-auth and a warning otherwise.
pub(super) fn read_sections(
    builder: &mut PlanBuilder<'_>,
    auth: &AwsAuth,
    uses_aws_auth: bool,
) -> Option<BTreeMap<Section, ParsedSection>> {
    let mut sections = BTreeMap::new();
    let mut has_error = false;
    for section in Section::ALL {
        match auth.parse_section(section) {
            Ok(parsed) => {
                for finding in &parsed.findings {
                    builder.diagnostics.extend(finding_warning(section, &parsed, finding));
                }
                builder.diagnostics.extend(inactive_warnings(section, &parsed));
                sections.insert(section, parsed);
            }
            Err(error) => {
                let severity = if uses_aws_auth { Severity::Error } else { Severity::Warning };
                builder.diagnostics.push(Diagnostic { severity, ..unreadable_section(&error) });
                has_error = true;
            }
        }
    }
    builder.diagnostics.extend(auth.data.keys().filter_map(|key| misspelled_key(key)));
    (!has_error).then_some(sections)
}

/// Returns reasons why the ConfigMap or a section of it cannot be changed. They are errors if the plan changes it and
/// warnings otherwise.
pub(in crate::plan) fn check_writable(
    auth: &AwsAuth,
    is_written: bool,
    is_edited: impl Fn(Section) -> bool,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if auth.immutable {
        let problem = Diagnostic::error("aws-auth is immutable, so its entries cannot be changed")
            .with_note("`immutable: true` cannot be unset")
            .with_help(
                "delete and recreate aws-auth; until it is back, the principals in it cannot authenticate through it",
            );
        problems.push((problem, Section::ALL.into_iter().any(&is_edited)));
    }
    if auth.meta.deleting {
        let finalizers = auth.meta.finalizers.join(", ");
        let message = format!("aws-auth is being deleted and waits for its finalizers: {finalizers}");
        let problem = Diagnostic::error(message)
            .with_note("its entries work until it is deleted; after that no principal can authenticate through it")
            .with_help("plan again after it is deleted");
        problems.push((problem, is_written));
    }
    for section in Section::ALL.into_iter().filter(|section| auth.binary_keys.contains(section.key())) {
        let message = format!("aws-auth has `{section}` in binaryData, which the authenticator does not read");
        let problem = Diagnostic::error(message).with_help("move it to data by hand, or delete the key");
        problems.push((problem, is_edited(section)));
    }
    let with_severity = |(problem, blocks_plan)| {
        let severity = if blocks_plan { Severity::Error } else { Severity::Warning };
        Diagnostic { severity, ..problem }
    };
    problems.into_iter().map(with_severity).collect()
}

/// Returns a key such as `maproles` or `map_roles`, which the authenticator ignores silently.
fn misspelled_key(key: &str) -> Option<Diagnostic> {
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    let nearest = closest_match(&plain, Section::ALL.map(Section::key));
    let section = Section::ALL.into_iter().find(|section| section.key() == plain || nearest == Some(section.key()))?;
    let message = format!("aws-auth key `{key}` is ignored: the authenticator only reads `{section}`");
    let help = format!("move its entries to `{section}`, or delete the key");
    (section.key() != key).then(|| Diagnostic::warning(message).with_help(help))
}

/// Returns warnings about principals with several entries. `is_planned` tells for which principals the plan leaves one
/// entry: they need no warning.
pub(super) fn duplicate_warnings(
    live: &BTreeMap<String, Vec<LiveEntry<'_>>>,
    is_planned: impl Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    live.iter()
        .filter(|(key, entries)| entries.len() > 1 && !is_planned(key))
        .map(|(_, entries)| entries)
        .filter(|entries| entries.iter().all(|live| live.section != Section::Accounts))
        .flat_map(|entries| shadowed_warnings(entries).into_iter().chain(ambiguous_user_warning(entries)))
        .collect()
}

/// Returns warnings about entries of one principal that never match because another entry overrides them. The last
/// entry of mapRoles wins. If there is none, the last of the entries of mapUsers with the same spelling wins.
fn shadowed_warnings(entries: &[LiveEntry<'_>]) -> Vec<Diagnostic> {
    let last_role = entries.iter().rfind(|live| live.section == Section::Roles);
    let messages = entries.iter().filter_map(|live| {
        let LiveEntry { section, index, located } = live;
        let entry = &located.entry;
        let winner =
            last_role.or_else(|| entries.iter().rfind(|other| other.located.entry.principal == entry.principal))?;
        let is_winner = winner.section == *section && winner.index == *index;
        let winner = format!("line {} of {}", winner.located.line, winner.section);
        let (line, principal) = (located.line, principal_text(entry));
        (!is_winner).then(|| format!("aws-auth {section}, line {line}: {principal} never matches, {winner} wins"))
    });
    messages.map(Diagnostic::warning).collect()
}

/// Returns a warning about entries of one user that differ in case. The authenticator stores users by their spelling
/// and compares without regard to case while it iterates over a Go map, whose order is random.
fn ambiguous_user_warning(entries: &[LiveEntry<'_>]) -> Option<Diagnostic> {
    if entries.iter().any(|live| live.section == Section::Roles) {
        return None;
    }
    let spellings: BTreeMap<String, usize> =
        entries.iter().map(|live| (principal_text(&live.located.entry), live.located.line)).collect();
    let user = spellings.keys().next_back()?;
    let mut lines: Vec<usize> = spellings.values().copied().collect();
    lines.sort_unstable();
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    let message = format!("aws-auth mapUsers, lines {}: several entries match {user}", lines.join(" and "));
    (spellings.len() > 1).then(|| {
        Diagnostic::warning(message)
            .with_because("the ARNs differ only in letter case; which entry the authenticator uses is not defined")
            .with_help("keep only one of them")
    })
}

pub(in crate::plan) fn unreadable_section(error: &SectionError) -> Diagnostic {
    let section = error.section;
    let effect = if error.partial_entries.is_empty() {
        format!("the authenticator cannot parse `{section}` either, so none of its entries is in effect")
    } else {
        "the authenticator cannot parse `mapAccounts` either and uses only the accounts before this line".to_owned()
    };
    Diagnostic::error(format!("aws-auth `{section}` cannot be read: {}", error.message))
        .with_excerpt(Excerpt {
            name: format!("kube-system/aws-auth {section}"),
            line: error.line,
            column: error.column,
            text: error.source_line.clone(),
        })
        .with_note(effect)
        .with_help("fix it with `kubectl -n kube-system edit configmap aws-auth`; rolecall never changes a section that it cannot read")
}

/// Returns a warning about text that the authenticator reads differently than a user would expect. Findings without an
/// effect on access, such as unknown keys, give no warning.
fn finding_warning(section: Section, parsed: &ParsedSection, finding: &Finding) -> Option<Diagnostic> {
    let located = finding.entry_index.and_then(|index| parsed.entries.get(index));
    let entry = located.map_or_else(|| "the entry".to_owned(), |located| principal_text(&located.entry));
    let problem = match &finding.kind {
        FindingKind::UsernameEmpty { found: Some(value) } => {
            format!("{entry} has no username: `{value}` is not a string")
        }
        FindingKind::UsernameEmpty { found: None } => return None,
        FindingKind::GroupsNotAList { found: value } => format!("{entry} has no groups: `{value}` is not a list"),
        FindingKind::GroupEmpty { found: value, .. } => {
            format!("{entry} has an empty group: `{value}` is not a string")
        }
        FindingKind::KeyOverridden { key, by } => format!("{entry}: `{key}` is overridden by `{by}`"),
        FindingKind::ExtraDocuments => {
            "everything after `---` is ignored: the authenticator only reads the first document".to_owned()
        }
        // See `inactive_entries`.
        FindingKind::EntryIgnored(_)
        | FindingKind::FieldIgnored { .. }
        | FindingKind::UnknownKey { .. }
        | FindingKind::NonCanonicalKey { .. }
        | FindingKind::AccountEmpty => return None,
    };
    Some(Diagnostic::warning(format!("aws-auth {section}, line {}: {problem}", finding.line)))
}
