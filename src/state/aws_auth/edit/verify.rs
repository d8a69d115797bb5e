//! The last word on an edit: the new text, read like the old one, must hold every element that was
//! not concerned as it was, and the others exactly as asked.

use super::super::entry::{Entry, Section};
use super::super::finding::Kind;
use super::super::go_json::fold;
use super::super::read::{Element, Elements, elements};
use super::{EditError, Fate, Wishes};

pub(super) fn check(section: Section, before: &Elements, wishes: &Wishes<'_>, edited: &str) -> Result<(), EditError> {
    let fail = |what: String| Err(EditError::ReadBack { what });
    let after = match elements(section, edited) {
        Ok(after) => after,
        Err(error) => return fail(error.to_string()),
    };
    let mut found = after.list.iter();
    let old = before.list.iter().zip(&wishes.fates);
    for (element, fate) in old.filter(|(_, fate)| **fate != Fate::Goes) {
        let line = element.line;
        let Some(now) = found.next() else {
            return fail(format!("the entry of line {line} is gone"));
        };
        let as_asked = match fate {
            Fate::Changes(to) => now.outcome.as_ref() == Ok(*to) && same_but_edited(section, element, now),
            Fate::Stays | Fate::Goes => is_same(element, now),
        };
        if !as_asked {
            return fail(format!("the entry of line {line} reads otherwise"));
        }
    }
    for add in &wishes.adds {
        if !found.next().is_some_and(|now| is_as_written(now, add)) {
            return fail("a new entry reads otherwise".to_owned());
        }
    }
    if found.next().is_some() {
        return fail("there is an entry that nobody asked for".to_owned());
    }
    if before.more_documents.is_some() != after.more_documents.is_some() {
        return fail("the documents behind the first read otherwise".to_owned());
    }
    Ok(())
}

fn is_same(old: &Element, new: &Element) -> bool {
    let kinds = |element: &Element| -> Vec<Kind> { element.findings.iter().map(|(_, kind)| kind.clone()).collect() };
    old.outcome == new.outcome && old.json == new.json && kinds(old) == kinds(new)
}

/// What nobody asked to change is as it was.
fn same_but_edited(section: Section, old: &Element, new: &Element) -> bool {
    let rest = |element: &Element| {
        let mut json = element.json.clone();
        if let Some(map) = json.as_object_mut() {
            map.retain(|key, _| {
                let key = fold(key);
                key != "username" && key != "groups" && key != section.principal_key()
            });
        }
        json
    };
    rest(old) == rest(new)
}

fn is_as_written(now: &Element, add: &Entry) -> bool {
    let surprises = now.findings.iter().filter(|(_, kind)| match kind {
        Kind::UsernameBlank { .. } => !add.username.is_empty(),
        _ => true,
    });
    now.outcome.as_ref() == Ok(add) && surprises.count() == 0
}
