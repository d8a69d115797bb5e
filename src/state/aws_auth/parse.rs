//! Parses a section exactly as the authenticator does (`ParseMap`, v0.7.8). The result must be the same for every text,
//! including values of wrong types, keys in other spellings and syntax errors.

use std::ops::Range;

use crate::names::PARTITIONS;
use crate::yaml::{self, Decoded, DecodedNode, YamlDocument, YamlError};

use super::accounts::{self, AccountElement};
use super::entry::{Entry, EntryPrincipal, Section, SsoArnMatcher};
use super::finding::{Finding, FindingKind, IgnoredReason};
use super::go_json::{RawEntry, describe_value, is_null};

/// An entry that takes effect, and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocatedEntry {
    pub(crate) entry: Entry,
    /// 1-based line number in the text of the section (`mapRoles`, `mapUsers` or `mapAccounts`).
    pub(crate) line: usize,
    /// Byte range from the first key to the last value.
    pub(crate) span: Range<usize>,
}

/// A section as the authenticator has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParsedSection {
    pub(crate) entries: Vec<LocatedEntry>,
    pub(crate) findings: Vec<Finding>,
}

/// The authenticator cannot parse the section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{section} line {line}, column {column}: {message}")]
pub(crate) struct SectionError {
    pub(crate) section: Section,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    /// The source line, for the message.
    pub(crate) source_line: String,
    /// The entries that take effect despite the error: under mapAccounts those before it, otherwise none.
    pub(crate) partial_entries: Vec<Entry>,
}

/// One element of the list, with everything that a comparison with the edited text needs.
#[derive(Debug, Clone)]
pub(super) struct ParsedElement {
    pub(super) line: usize,
    pub(super) span: Range<usize>,
    /// The entry, or why the element has no effect.
    pub(super) entry: Result<Entry, IgnoredReason>,
    pub(super) findings: Vec<(usize, FindingKind)>,
    /// The element as JSON. It shows whether keys that the authenticator does not read are unchanged.
    pub(super) json: serde_json::Value,
}

#[derive(Debug, Default)]
pub(super) struct ParsedList {
    /// The first document. `None` if the text contains no document.
    pub(super) document: Option<YamlDocument>,
    pub(super) elements: Vec<ParsedElement>,
    /// The line on which a second document begins.
    pub(super) extra_document_line: Option<usize>,
}

/// Parses a section.
///
/// # Errors
/// The authenticator cannot parse the text.
pub(crate) fn parse_section(section: Section, text: &str) -> Result<ParsedSection, SectionError> {
    let list = parse_list(section, text)?;
    let mut parsed = ParsedSection::default();
    for element in list.elements {
        let mut entry_index = None;
        match element.entry {
            Ok(entry) => {
                entry_index = Some(parsed.entries.len());
                parsed.entries.push(LocatedEntry { entry, line: element.line, span: element.span });
            }
            Err(reason) => {
                let kind = FindingKind::EntryIgnored(reason);
                parsed.findings.push(Finding { line: element.line, entry_index, kind });
            }
        }
        let findings = element.findings.into_iter();
        parsed.findings.extend(findings.map(|(line, kind)| Finding { line, entry_index, kind }));
    }
    if let Some(line) = list.extra_document_line {
        parsed.findings.push(Finding { line, entry_index: None, kind: FindingKind::ExtraDocuments });
    }
    Ok(parsed)
}

/// Returns whether the authenticator treats the text like an absent key.
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
    let elements = match section {
        Section::Roles | Section::Users => parse_mappings(section, &document).map_err(fail)?,
        Section::Accounts => parse_accounts(&document, section, text)?,
    };
    let extra_document_line = extra_document_line(text, &document);
    Ok(ParsedList { document: Some(document), elements, extra_document_line })
}

fn parse_mappings(section: Section, document: &YamlDocument) -> Result<Vec<ParsedElement>, YamlError> {
    let root = document.decode()?;
    let json = root.to_json()?;
    let items = match &root.content {
        Decoded::Sequence(items) => items,
        _ if is_null(&root) => return Ok(Vec::new()),
        _ => return Err(document.root.error("expected a list of entries")),
    };
    let json = match json {
        serde_json::Value::Array(json) => json,
        _ => Vec::new(),
    };
    let nodes = document.root.children();
    let elements = items.iter().zip(nodes).zip(json).map(|((item, node), json)| {
        let mut findings = Vec::new();
        let entry = parse_entry(section, item, &mut findings);
        // A merged key (`<<`) is on a line of another entry, and a missing key has line 0.
        for (line, _) in &mut findings {
            *line = (*line).max(node.line);
        }
        findings.sort_by_key(|(line, _)| *line);
        ParsedElement { line: node.line, span: node.span.clone(), entry, findings, json }
    });
    Ok(elements.collect())
}

fn parse_entry(
    section: Section,
    item: &DecodedNode<'_>,
    findings: &mut Vec<(usize, FindingKind)>,
) -> Result<Entry, IgnoredReason> {
    let Decoded::Mapping(fields) = &item.content else {
        return Err(IgnoredReason::WrongType { found: describe_value(item) });
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
    let is_account_id = sso.account_id.len() == 12 && sso.account_id.bytes().all(|byte| byte.is_ascii_digit());
    if !is_account_id {
        return Err(IgnoredReason::InvalidAccountId { found: sso.account_id });
    }
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let name = &sso.permission_set_name;
    if !(1..=32).contains(&name.len()) || !name.bytes().all(is_name_byte) {
        return Err(IgnoredReason::InvalidPermissionSetName { found: sso.permission_set_name });
    }
    if !sso.partition.is_empty() && !PARTITIONS.contains(&sso.partition.as_str()) {
        return Err(IgnoredReason::UnknownPartition { found: sso.partition });
    }
    Ok(sso)
}

fn parse_accounts(document: &YamlDocument, section: Section, text: &str) -> Result<Vec<ParsedElement>, SectionError> {
    let fail = |error, partial_entries| to_section_error(section, text, error, partial_entries);
    let accounts = accounts::decode_map_accounts(document).map_err(|error| fail(error, Vec::new()))?;
    let account_entry =
        |text: String| Entry { principal: EntryPrincipal::Account(text), username: String::new(), groups: Vec::new() };
    let nodes = document.root.children();
    if let Some(error) = accounts.error {
        let texts = accounts.items.into_iter().filter_map(|account| match account {
            AccountElement::Text { text, .. } => Some(text),
            AccountElement::Ignored(_) => None,
        });
        let mut partial_entries: Vec<Entry> = texts.map(account_entry).collect();
        // go-yaml allocates the slice for all elements first, so the elements after the error are empty strings.
        partial_entries.resize_with(nodes.len(), || account_entry(String::new()));
        return Err(fail(error, partial_entries));
    }
    let elements = accounts.items.into_iter().zip(nodes).map(|(account, node)| {
        let mut findings = Vec::new();
        let (entry, json) = match account {
            AccountElement::Text { text, null } => {
                if null || text.is_empty() {
                    findings.push((node.line, FindingKind::AccountEmpty));
                }
                (Ok(account_entry(text.clone())), text.into())
            }
            AccountElement::Ignored(found) => {
                (Err(IgnoredReason::WrongType { found: found.to_owned() }), serde_json::Value::Null)
            }
        };
        ParsedElement { line: node.line, span: node.span.clone(), entry, findings, json }
    });
    Ok(elements.collect())
}

/// Returns the line of the first content after the first document. `None` if only comments and `...` follow.
fn extra_document_line(text: &str, document: &YamlDocument) -> Option<usize> {
    let rest = text.get(document.span.end..)?;
    let mut offset = document.span.end;
    for line in rest.split_inclusive('\n') {
        let content = line.trim();
        if !(content.is_empty() || content.starts_with('#') || content == "...") {
            let before = text.get(..offset)?;
            return Some(1 + before.matches('\n').count());
        }
        offset += line.len();
    }
    None
}

fn to_section_error(section: Section, text: &str, error: YamlError, partial_entries: Vec<Entry>) -> SectionError {
    let YamlError { line, column, message } = error;
    let source_line = text.lines().nth(line.saturating_sub(1));
    SectionError {
        section,
        line,
        column,
        message,
        source_line: source_line.unwrap_or_default().to_owned(),
        partial_entries,
    }
}
