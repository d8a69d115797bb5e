//! What is true of every text of aws-auth and every edit of it. [`crate::fuzz`] calls this with arbitrary texts.

use super::preservation::lost_text;
use super::{EditError, Entry, EntryEdit, EntryPrincipal, ParsedSection, Section, edit_section, parse_section};

/// The entries that are edited. More would make each text slower, and find nothing new.
const MAX_EDITED: usize = 3;
/// An error is one line about one place.
const MAX_ERROR_BYTES: usize = 1024;

/// Reads the text as each of the sections, and edits its entries.
///
/// # Errors
/// The property that does not hold.
pub(crate) fn check_section_text(text: &str) -> Result<(), String> {
    Section::ALL.into_iter().try_for_each(|section| {
        check_section(section, text).map_err(|broken| format!("{section}: {broken}\n=== text\n{text:?}"))
    })
}

fn check_section(section: Section, text: &str) -> Result<(), String> {
    let parsed = match parse_section(section, text) {
        Ok(parsed) => parsed,
        Err(error) if error.message.len() > MAX_ERROR_BYTES => return Err(format!("a long message: {error}")),
        // A text that cannot be read is not edited either.
        Err(_) => return edit_section(section, Some(text), &[]).map_or(Ok(()), |_| Err("it was edited".to_owned())),
    };
    if edit_section(section, Some(text), &[]).as_deref() != Ok(text) {
        return Err("no edit changes the text".to_owned());
    }
    for edits in edits(section, &parsed) {
        let broken = |what: String| format!("{what}\n=== edits\n{edits:?}");
        let edited = match edit_section(section, Some(text), &edits) {
            Ok(edited) => edited,
            Err(error @ EditError::VerificationFailed { .. }) => return Err(broken(error.to_string())),
            Err(_) => continue,
        };
        let after = parse_section(section, &edited).map_err(|error| broken(error.to_string()))?;
        if !after.entries.iter().map(|located| &located.entry).eq(&expected_entries(&parsed, &edits)) {
            return Err(broken(format!("other entries than requested: {edited:?}")));
        }
        if let Some(lost) = lost_text(text, &edited, &parsed, &edits) {
            return Err(broken(format!("lost {lost}\n=== edited\n{edited:?}")));
        }
        // Without an entry, the text does not show which empty list it was.
        if let ([EntryEdit::Add(_)], index @ 1..) = (edits.as_slice(), parsed.entries.len()) {
            let removed = edit_section(section, Some(&edited), &[EntryEdit::Remove { index }]);
            if removed.as_deref() != Ok(text) {
                return Err(broken(format!("an added and removed entry leaves a trace: {edited:?} {removed:?}")));
            }
        }
    }
    Ok(())
}

fn edits(section: Section, parsed: &ParsedSection) -> Vec<Vec<EntryEdit>> {
    let add = || EntryEdit::Add(new_entry(section));
    let mut out = vec![vec![add()]];
    for (index, located) in parsed.entries.iter().enumerate().take(MAX_EDITED) {
        out.push(vec![EntryEdit::Remove { index }]);
        if section != Section::Accounts {
            let mut entry = located.entry.clone();
            entry.username.push_str("!: x");
            out.push(vec![EntryEdit::Change { index, entry: entry.clone() }]);
            entry.groups.push("- added".to_owned());
            out.push(vec![EntryEdit::Change { index, entry: entry.clone() }]);
            entry.groups.remove(0);
            entry.username.clone_from(&located.entry.username);
            out.push(vec![EntryEdit::Change { index, entry: entry.clone() }, add()]);
            entry.groups.clear();
            out.push(vec![EntryEdit::Change { index, entry }]);
        }
    }
    if !parsed.entries.is_empty() {
        let removals = (0..parsed.entries.len()).map(|index| EntryEdit::Remove { index });
        out.push(removals.clone().collect());
        out.push(removals.skip(1).chain([add()]).collect());
    }
    out
}

fn new_entry(section: Section) -> Entry {
    let arn = |kind: &str| format!("arn:aws:iam::111122223333:{kind}/new");
    let principal = match section {
        Section::Roles => EntryPrincipal::Role(arn("role")),
        Section::Users => EntryPrincipal::User(arn("user")),
        Section::Accounts => {
            let principal = EntryPrincipal::Account("012345678901".to_owned());
            return Entry { principal, username: String::new(), groups: Vec::new() };
        }
    };
    Entry { principal, username: "{{SessionName}}".to_owned(), groups: vec!["# a".to_owned(), "b: c".to_owned()] }
}

fn expected_entries(before: &ParsedSection, edits: &[EntryEdit]) -> Vec<Entry> {
    let edit_of = |entry: usize| {
        edits.iter().find(|edit| match edit {
            EntryEdit::Change { index, .. } | EntryEdit::Remove { index } => *index == entry,
            EntryEdit::Add(_) => false,
        })
    };
    let kept = before.entries.iter().enumerate().filter_map(|(index, located)| match edit_of(index) {
        Some(EntryEdit::Change { entry, .. }) => Some(entry.clone()),
        Some(EntryEdit::Remove { .. }) => None,
        Some(EntryEdit::Add(_)) | None => Some(located.entry.clone()),
    });
    let added = edits.iter().filter_map(|edit| match edit {
        EntryEdit::Add(entry) => Some(entry.clone()),
        EntryEdit::Change { .. } | EntryEdit::Remove { .. } => None,
    });
    kept.chain(added).collect()
}
