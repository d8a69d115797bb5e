//! The last word on an edit: the new text, read like the old one, must hold every element that was
//! not concerned as it was, and the others exactly as asked.

use super::super::entry::{Entry, Section};
use super::super::finding::FindingKind;
use super::super::go_json::fold_key;
use super::super::parse::{ParsedElement, ParsedList, parse_list};
use super::{EditError, EditPlan, ElementEdit};

pub(super) fn verify_edit(
    section: Section,
    before: &ParsedList,
    wishes: &EditPlan<'_>,
    edited: &str,
) -> Result<(), EditError> {
    let fail = |what: String| Err(EditError::VerificationFailed { what });
    let after = match parse_list(section, edited) {
        Ok(after) => after,
        Err(error) => return fail(error.to_string()),
    };
    let mut found = after.elements.iter();
    let old = before.elements.iter().zip(&wishes.element_edits);
    for (element, fate) in old.filter(|(_, fate)| **fate != ElementEdit::Remove) {
        let line = element.line;
        let Some(now) = found.next() else {
            return fail(format!("the entry of line {line} is gone"));
        };
        let as_asked = match fate {
            ElementEdit::Change(to) => now.entry.as_ref() == Ok(*to) && has_same_other_fields(section, element, now),
            ElementEdit::Keep | ElementEdit::Remove => is_unchanged(element, now),
        };
        if !as_asked {
            return fail(format!("the entry of line {line} reads otherwise"));
        }
    }
    for add in &wishes.additions {
        if !found.next().is_some_and(|now| matches_addition(now, add)) {
            return fail("a new entry reads otherwise".to_owned());
        }
    }
    if found.next().is_some() {
        return fail("there is an entry that nobody asked for".to_owned());
    }
    if before.extra_document_line.is_some() != after.extra_document_line.is_some() {
        return fail("the documents behind the first read otherwise".to_owned());
    }
    Ok(())
}

fn is_unchanged(old: &ParsedElement, new: &ParsedElement) -> bool {
    let kinds = |element: &ParsedElement| -> Vec<FindingKind> {
        element.findings.iter().map(|(_, kind)| kind.clone()).collect()
    };
    old.entry == new.entry && old.json == new.json && kinds(old) == kinds(new)
}

/// What nobody asked to change is as it was.
fn has_same_other_fields(section: Section, old: &ParsedElement, new: &ParsedElement) -> bool {
    let rest = |element: &ParsedElement| {
        let mut json = element.json.clone();
        if let Some(map) = json.as_object_mut() {
            map.retain(|key, _| {
                let key = fold_key(key);
                key != "username" && key != "groups" && key != section.principal_key()
            });
        }
        json
    };
    rest(old) == rest(new)
}

fn matches_addition(now: &ParsedElement, add: &Entry) -> bool {
    let surprises = now.findings.iter().filter(|(_, kind)| match kind {
        FindingKind::UsernameEmpty { .. } => !add.username.is_empty(),
        _ => true,
    });
    now.entry.as_ref() == Ok(add) && surprises.count() == 0
}
