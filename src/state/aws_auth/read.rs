//! A section's text as the authenticator reads it (`ParseMap`, v0.7.8), not as one would like it to
//! be read: it must answer the same for every text, odd types, odd keys and broken parts included.

use std::ops::Range;

use crate::names::PARTITIONS;
use crate::yaml::{self, Document, Resolved, Sense, YamlError};

use super::accounts::{self, Account};
use super::entry::{Entry, Principal, Section, Sso};
use super::finding::{Drop, Finding, Kind};
use super::go_json::{Raw, is_null, stands};

/// An entry that counts, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    /// In the section's text, counted from 1.
    pub(crate) line: usize,
    /// Its bytes, from its first key to its last value.
    pub(crate) span: Range<usize>,
}

/// What the authenticator has after reading a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) entries: Vec<Found>,
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
    pub(crate) standing: Vec<Entry>,
}

/// Everything that is known of one element of the list, for reading and for comparing an edited
/// text with the one before.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) line: usize,
    pub(super) span: Range<usize>,
    /// Why it does not count, or what it is.
    pub(super) outcome: Result<Entry, Drop>,
    pub(super) findings: Vec<(usize, Kind)>,
    /// As JSON, to see that keys which nobody reads are still there.
    pub(super) json: serde_json::Value,
}

#[derive(Debug, Default)]
pub(super) struct Elements {
    /// The first document. `None` where the text holds nothing to parse.
    pub(super) document: Option<Document>,
    pub(super) list: Vec<Element>,
    /// Where a second document begins.
    pub(super) more_documents: Option<usize>,
}

/// Reads a section.
pub(crate) fn read(section: Section, text: &str) -> Result<Reading, SectionError> {
    let elements = elements(section, text)?;
    let mut reading = Reading::default();
    for element in elements.list {
        let mut entry = None;
        match element.outcome {
            Ok(found) => {
                entry = Some(reading.entries.len());
                reading.entries.push(Found { entry: found, line: element.line, span: element.span });
            }
            Err(drop) => reading.findings.push(Finding { line: element.line, entry, kind: Kind::Dropped(drop) }),
        }
        let findings = element.findings.into_iter();
        reading.findings.extend(findings.map(|(line, kind)| Finding { line, entry, kind }));
    }
    if let Some(line) = elements.more_documents {
        let kind = Kind::MoreDocuments;
        let entry = None;
        reading.findings.push(Finding { line, entry, kind });
    }
    Ok(reading)
}

/// Texts that the authenticator takes for an absent key.
pub(super) fn is_skippable(text: &str) -> bool {
    matches!(text.trim(), "" | "``" | "\"\"" | "''")
}

pub(super) fn elements(section: Section, text: &str) -> Result<Elements, SectionError> {
    if is_skippable(text) {
        return Ok(Elements::default());
    }
    let fail = |error: YamlError| section_error(section, text, error, Vec::new());
    let Some(document) = yaml::first_document(text).map_err(fail)? else {
        return Ok(Elements::default());
    };
    let list = match section {
        Section::Roles | Section::Users => mappings(section, &document).map_err(fail)?,
        Section::Accounts => account_list(&document, section, text)?,
    };
    let more_documents = second_document(text, &document);
    Ok(Elements { document: Some(document), list, more_documents })
}

fn mappings(section: Section, document: &Document) -> Result<Vec<Element>, YamlError> {
    let root = document.resolve()?;
    let json = root.to_json()?;
    let items = match &root.sense {
        Sense::List(items) => items,
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
            let outcome = entry_of(section, item, &mut findings);
            for (line, _) in &mut findings {
                *line = (*line).max(written.line);
            }
            findings.sort_by_key(|(line, _)| *line);
            Element { line: written.line, span: written.span.clone(), outcome, findings, json }
        })
        .collect())
}

fn entry_of(section: Section, item: &Resolved<'_>, findings: &mut Vec<(usize, Kind)>) -> Result<Entry, Drop> {
    let Sense::Fields(fields) = &item.sense else {
        let stands = stands(item);
        return Err(Drop::NotAnEntry { stands });
    };
    let raw = Raw::of(fields, section.principal_key(), findings);
    let groups = raw.groups.names();
    let principal = match (raw.arn.is_empty(), raw.sso) {
        (true, None) => return Err(Drop::NoPrincipal),
        (false, Some(_)) => return Err(Drop::TwoPrincipals),
        (true, Some(sso)) => Principal::Sso(checked(sso)?),
        (false, None) if section == Section::Users => Principal::User(raw.arn),
        (false, None) => Principal::Role(raw.arn),
    };
    Ok(Entry { principal, username: raw.username, groups })
}

/// `RoleMapping.Validate` (`pkg/config/mapper.go`).
fn checked(sso: Sso) -> Result<Sso, Drop> {
    let stands = |text: &str| text.to_owned();
    let is_account = sso.account_id.len() == 12;
    if !is_account || !sso.account_id.bytes().all(|byte| byte.is_ascii_digit()) {
        let stands = stands(&sso.account_id);
        return Err(Drop::AccountId { stands });
    }
    let name = &sso.permission_set_name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
        let stands = stands(name);
        return Err(Drop::PermissionSetName { stands });
    }
    if !sso.partition.is_empty() && !PARTITIONS.contains(&sso.partition.as_str()) {
        let stands = stands(&sso.partition);
        return Err(Drop::Partition { stands });
    }
    Ok(sso)
}

fn account_list(document: &Document, section: Section, text: &str) -> Result<Vec<Element>, SectionError> {
    let fail = |error, standing| section_error(section, text, error, standing);
    let accounts = accounts::decode(document).map_err(|error| fail(error, Vec::new()))?;
    let entry =
        |text: String| Entry { principal: Principal::Account(text), username: String::new(), groups: Vec::new() };
    let written = document.root.children();
    if let Some(error) = accounts.broken {
        let mut standing: Vec<Entry> = Vec::new();
        for account in accounts.items {
            if let Account::Text { text, .. } = account {
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
            Account::Text { text, null } => {
                if null || text.is_empty() {
                    findings.push((written.line, Kind::AccountBlank));
                }
                (Ok(entry(text.clone())), text.into())
            }
            Account::Dropped(stands) => {
                let stands = stands.to_owned();
                (Err(Drop::NotAnEntry { stands }), serde_json::Value::Null)
            }
        };
        Element { line: written.line, span: written.span.clone(), outcome, findings, json }
    });
    Ok(elements.collect())
}

/// The line of what follows the first document, if anything does.
fn second_document(text: &str, document: &Document) -> Option<usize> {
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

fn section_error(section: Section, text: &str, error: YamlError, standing: Vec<Entry>) -> SectionError {
    let YamlError { line, column, message } = error;
    let source_line = text.lines().nth(line.saturating_sub(1));
    SectionError { section, line, column, message, source_line: source_line.unwrap_or_default().to_owned(), standing }
}
