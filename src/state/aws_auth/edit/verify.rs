//! Verification of an edited section: the new text is parsed like the old one. Every element that was not edited must be
//! unchanged, and the edited ones must be exactly as requested.

use super::super::entry::{Entry, Section};
use super::super::finding::FindingKind;
use super::super::go_json::fold_key;
use super::super::parse::{ParsedElement, ParsedList, parse_list};
use super::{EditError, EditPlan, ElementEdit};

pub(super) fn verify_edit(
    section: Section,
    before: &ParsedList,
    plan: &EditPlan<'_>,
    edited: &str,
) -> Result<(), EditError> {
    let fail = |reason: String| Err(EditError::VerificationFailed { reason });
    let after = match parse_list(section, edited) {
        Ok(after) => after,
        Err(error) => return fail(error.to_string()),
    };
    let mut new_elements = after.elements.iter();
    let old_elements = before.elements.iter().zip(&plan.element_edits);
    for (old, edit) in old_elements.filter(|(_, edit)| **edit != ElementEdit::Remove) {
        let line = old.line;
        let Some(new) = new_elements.next() else {
            return fail(format!("the entry of line {line} is missing"));
        };
        let is_as_requested = match edit {
            ElementEdit::Change(entry) => new.entry.as_ref() == Ok(*entry) && has_same_other_fields(section, old, new),
            ElementEdit::Keep | ElementEdit::Remove => is_unchanged(old, new),
        };
        if !is_as_requested {
            return fail(format!("the entry of line {line} is not as requested"));
        }
    }
    for addition in &plan.additions {
        if !new_elements.next().is_some_and(|new| matches_addition(new, addition)) {
            return fail("an added entry is not as requested".to_owned());
        }
    }
    if new_elements.next().is_some() {
        return fail("there is an additional entry that was not requested".to_owned());
    }
    if before.extra_document_line.is_some() != after.extra_document_line.is_some() {
        return fail("the edit changed YAML documents other than the first".to_owned());
    }
    Ok(())
}

fn is_unchanged(old: &ParsedElement, new: &ParsedElement) -> bool {
    let kinds = |element: &ParsedElement| -> Vec<FindingKind> {
        element.findings.iter().map(|(_, kind)| kind.clone()).collect()
    };
    old.entry == new.entry && old.json == new.json && kinds(old) == kinds(new)
}

/// Returns whether every field other than principal, username and groups is unchanged.
fn has_same_other_fields(section: Section, old: &ParsedElement, new: &ParsedElement) -> bool {
    let other_fields = |element: &ParsedElement| {
        let mut json = element.json.clone();
        if let Some(map) = json.as_object_mut() {
            map.retain(|key, _| {
                let key = fold_key(key);
                key != "username" && key != "groups" && key != section.principal_key()
            });
        }
        json
    };
    other_fields(old) == other_fields(new)
}

/// Returns whether the new element is the requested entry, without any finding but that of a requested empty username.
fn matches_addition(new: &ParsedElement, requested: &Entry) -> bool {
    let has_expected_findings = new.findings.iter().all(|(_, kind)| match kind {
        FindingKind::UsernameEmpty { .. } => requested.username.is_empty(),
        _ => false,
    });
    new.entry.as_ref() == Ok(requested) && has_expected_findings
}
