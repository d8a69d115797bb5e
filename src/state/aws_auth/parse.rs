//! A section's text as the authenticator reads it (`ParseMap`, v0.7.8), not as one would like it to
//! be read: it must answer the same for every text, odd types, odd keys and broken parts included.

use std::ops::Range;

use crate::names::PARTITIONS;
use crate::yaml::{self, Decoded, DecodedNode, YamlDocument, YamlError};

use super::accounts::{self, AccountElement};
use super::entry::{Entry, EntryPrincipal, Section, SsoArnMatcher};
use super::finding::{Finding, FindingKind, IgnoredReason};
use super::go_json::{RawEntry, describe_value, is_null};

/// An entry that counts, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocatedEntry {
    pub(crate) entry: Entry,
    /// In the section's text, counted from 1.
    pub(crate) line: usize,
    /// Its bytes, from its first key to its last value.
    pub(crate) span: Range<usize>,
}

/// What the authenticator has after reading a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParsedSection {
    pub(crate) entries: Vec<LocatedEntry>,
    pub(crate) findings: Vec<Finding>,
}

/// The authenticator cannot read the section: none of its entries counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{section} line {line}, column {column}: {message}")]
pub(crate) struct SectionError {
    pub(crate) section: Section,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    /// The line itself, to be shown.
    pub(crate) source_line: String,
    /// What counts in spite of the error: under mapAccounts what came before it.
    pub(crate) partial_entries: Vec<Entry>,
}

/// Everything that is known of one element of the list, for reading and for comparing an edited
/// text with the one before.
#[derive(Debug, Clone)]
pub(super) struct ParsedElement {
    pub(super) line: usize,
    pub(super) span: Range<usize>,
    /// Why it does not count, or what it is.
    pub(super) entry: Result<Entry, IgnoredReason>,
    pub(super) findings: Vec<(usize, FindingKind)>,
    /// As JSON, to see that keys which nobody reads are still there.
    pub(super) json: serde_json::Value,
}

#[derive(Debug, Default)]
pub(super) struct ParsedList {
    /// The first document. `None` where the text holds nothing to parse.
    pub(super) document: Option<YamlDocument>,
    pub(super) elements: Vec<ParsedElement>,
    /// Where a second document begins.
    pub(super) extra_document_line: Option<usize>,
}

/// Reads a section.
pub(crate) fn parse_section(section: Section, text: &str) -> Result<ParsedSection, SectionError> {
    let elements = parse_list(section, text)?;
    let mut reading = ParsedSection::default();
    for element in elements.elements {
        let mut entry = None;
        match element.entry {
            Ok(found) => {
                entry = Some(reading.entries.len());
                reading.entries.push(LocatedEntry { entry: found, line: element.line, span: element.span });
            }
            Err(drop) => reading.findings.push(Finding {
                line: element.line,
                entry_index: entry,
                kind: FindingKind::EntryIgnored(drop),
            }),
        }
        let findings = element.findings.into_iter();
        reading.findings.extend(findings.map(|(line, kind)| Finding { line, entry_index: entry, kind }));
    }
    if let Some(line) = elements.extra_document_line {
        let kind = FindingKind::ExtraDocuments;
        let entry = None;
        reading.findings.push(Finding { line, entry_index: entry, kind });
    }
    Ok(reading)
}

/// Texts that the authenticator takes for an absent key.
pub(super) fn is_treated_as_absent(text: &str) -> bool {
    matches!(text.trim(), "" | "``" | "\"\"" | "''")
}

pub(super) fn parse_list(section: Section, text: &str) -> Result<ParsedList, SectionError> {
    if is_treated_as_absent(text) {
        return Ok(ParsedList::default());
    }
    let fail = |error: YamlError| to_section_error(section, text, error, Vec::new());
    let Some(document) = yaml::parse_first_document(text).map_err(fail)? else {
        return Ok(ParsedList::default());
    };
    let list = match section {
        Section::Roles | Section::Users => parse_mappings(section, &document).map_err(fail)?,
        Section::Accounts => parse_accounts(&document, section, text)?,
    };
    let more_documents = extra_document_line(text, &document);
    Ok(ParsedList { document: Some(document), elements: list, extra_document_line: more_documents })
}

fn parse_mappings(section: Section, document: &YamlDocument) -> Result<Vec<ParsedElement>, YamlError> {
    let root = document.decode()?;
    let json = root.to_json()?;
    let items = match &root.content {
        Decoded::Sequence(items) => items,
        _ if is_null(&root) => return Ok(Vec::new()),
        _ => return Err(document.root.error("a list of entries was expected")),
    };
    let json = match json {
        serde_json::Value::Array(json) => json,
        _ => Vec::new(),
    };
    let written = document.root.children();
    let both = items.iter().zip(written).zip(json);
    Ok(both
        .map(|((item, written), json)| {
            let mut findings = Vec::new();
            let outcome = parse_entry(section, item, &mut findings);
            for (line, _) in &mut findings {
                *line = (*line).max(written.line);
            }
            findings.sort_by_key(|(line, _)| *line);
            ParsedElement { line: written.line, span: written.span.clone(), entry: outcome, findings, json }
        })
        .collect())
}

fn parse_entry(
    section: Section,
    item: &DecodedNode<'_>,
    findings: &mut Vec<(usize, FindingKind)>,
) -> Result<Entry, IgnoredReason> {
    let Decoded::Mapping(fields) = &item.content else {
        let stands = describe_value(item);
        return Err(IgnoredReason::WrongType { found: stands });
    };
    let raw = RawEntry::from_fields(fields, section.principal_key(), findings);
    let groups = raw.groups.names();
    let principal = match (raw.arn.is_empty(), raw.sso) {
        (true, None) => return Err(IgnoredReason::MissingPrincipal),
        (false, Some(_)) => return Err(IgnoredReason::AmbiguousPrincipal),
        (true, Some(sso)) => EntryPrincipal::Sso(validate_sso(sso)?),
        (false, None) if section == Section::Users => EntryPrincipal::User(raw.arn),
        (false, None) => EntryPrincipal::Role(raw.arn),
    };
    Ok(Entry { principal, username: raw.username, groups })
}

/// `RoleMapping.Validate` (`pkg/config/mapper.go`).
fn validate_sso(sso: SsoArnMatcher) -> Result<SsoArnMatcher, IgnoredReason> {
    let stands = |text: &str| text.to_owned();
    let is_account = sso.account_id.len() == 12;
    if !is_account || !sso.account_id.bytes().all(|byte| byte.is_ascii_digit()) {
        let stands = stands(&sso.account_id);
        return Err(IgnoredReason::InvalidAccountId { found: stands });
    }
    let name = &sso.permission_set_name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
        let stands = stands(name);
        return Err(IgnoredReason::InvalidPermissionSetName { found: stands });
    }
    if !sso.partition.is_empty() && !PARTITIONS.contains(&sso.partition.as_str()) {
        let stands = stands(&sso.partition);
        return Err(IgnoredReason::UnknownPartition { found: stands });
    }
    Ok(sso)
}

fn parse_accounts(document: &YamlDocument, section: Section, text: &str) -> Result<Vec<ParsedElement>, SectionError> {
    let fail = |error, standing| to_section_error(section, text, error, standing);
    let accounts = accounts::decode_accounts(document).map_err(|error| fail(error, Vec::new()))?;
    let entry =
        |text: String| Entry { principal: EntryPrincipal::Account(text), username: String::new(), groups: Vec::new() };
    let written = document.root.children();
    if let Some(error) = accounts.error {
        let mut standing: Vec<Entry> = Vec::new();
        for account in accounts.items {
            if let AccountElement::Text { text, .. } = account {
                standing.push(entry(text));
            }
        }
        // Go had made room for all of them, and that room stays, filled with empty names.
        standing.resize_with(written.len(), || entry(String::new()));
        return Err(fail(error, standing));
    }
    let both = accounts.items.into_iter().zip(written);
    let elements = both.map(|(account, written)| {
        let mut findings = Vec::new();
        let (outcome, json) = match account {
            AccountElement::Text { text, null } => {
                if null || text.is_empty() {
                    findings.push((written.line, FindingKind::AccountEmpty));
                }
                (Ok(entry(text.clone())), text.into())
            }
            AccountElement::Ignored(stands) => {
                let stands = stands.to_owned();
                (Err(IgnoredReason::WrongType { found: stands }), serde_json::Value::Null)
            }
        };
        ParsedElement { line: written.line, span: written.span.clone(), entry: outcome, findings, json }
    });
    Ok(elements.collect())
}

/// The line of what follows the first document, if anything does.
fn extra_document_line(text: &str, document: &YamlDocument) -> Option<usize> {
    let rest = text.get(document.span.end..)?;
    let mut at = document.span.end;
    for line in rest.split_inclusive('\n') {
        let content = line.trim();
        if !(content.is_empty() || content.starts_with('#') || content == "...") {
            let before = text.get(..at)?;
            return Some(1 + before.matches('\n').count());
        }
        at += line.len();
    }
    None
}

fn to_section_error(section: Section, text: &str, error: YamlError, standing: Vec<Entry>) -> SectionError {
    let YamlError { line, column, message } = error;
    let source_line = text.lines().nth(line.saturating_sub(1));
    SectionError {
        section,
        line,
        column,
        message,
        source_line: source_line.unwrap_or_default().to_owned(),
        partial_entries: standing,
    }
}
