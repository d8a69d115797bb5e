//! Edits of every kind on every text that can be thought of.

use super::authenticator::AuthenticatorProcess;
use super::corpus::{self, TestRng};
use super::differential::parse_section_key;
use super::env_number;
use super::preservation::lost_text;
use crate::state::aws_auth::{
    EditError, Entry, EntryEdit, EntryPrincipal, NewEntry, ParsedSection, Section, edit_section, parse_section,
};

/// Names that a YAML reader would like to take for something else.
pub(super) const NAMES: &[&str] = &[
    "admin",
    "system:masters",
    "{{SessionName}}",
    "system:node:{{EC2PrivateDNSName}}",
    "",
    " lead",
    "trail ",
    "it's",
    "say \"x\"",
    "a: b",
    "a:",
    "# c",
    "a #b",
    "y",
    "No",
    "017",
    "1e3",
    "~",
    "null",
    ".inf",
    "<<",
    "=",
    "-",
    "- x",
    "?",
    "[a]",
    "{a}",
    "a,b",
    "*a",
    "&a",
    "!t",
    "|",
    ">",
    "%x",
    "@x",
    "`x",
    "é",
    "😀",
    "a\nb",
    "a\r\nb",
    "\ttab",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{7f}",
    "\u{0}",
    "back\\slash",
    "2020-01-01",
    "---",
    "...",
    "{{",
    "a}",
    "/",
    "a/b@c.d+e=f",
];

pub(crate) fn expected_entries(reading: &ParsedSection, edits: &[EntryEdit]) -> Vec<Entry> {
    let mut entries: Vec<Option<Entry>> = reading.entries.iter().map(|found| Some(found.entry.clone())).collect();
    for edit in edits {
        match edit {
            EntryEdit::Add(new) => entries.push(Some(new.clone())),
            EntryEdit::Change { index, entry: to } => entries[*index] = Some(to.clone()),
            EntryEdit::Remove { index } => entries[*index] = None,
        }
    }
    entries.into_iter().flatten().collect()
}

fn random_entry(dice: &mut TestRng, section: Section) -> NewEntry {
    let arn = format!("arn:aws:iam::111122223333:x/{}", dice.pick(&["a", "b c", "é", "d'e\"f"]));
    let principal = match section {
        Section::Roles => EntryPrincipal::Role(arn),
        Section::Users => EntryPrincipal::User(arn),
        Section::Accounts => return account_entry("012345678901"),
    };
    let username = dice.pick(NAMES).to_owned();
    let groups = (0..dice.next_below(4)).map(|_| dice.pick(NAMES).to_owned()).collect();
    Entry { principal, username, groups }
}

fn account_entry(id: &str) -> NewEntry {
    Entry { principal: EntryPrincipal::Account(id.to_owned()), username: String::new(), groups: Vec::new() }
}

fn random_change(dice: &mut TestRng, entry: &Entry) -> NewEntry {
    let mut to = entry.clone();
    if matches!(entry.principal, EntryPrincipal::Account(_)) {
        return to;
    }
    if dice.one_in(2) {
        to.username = dice.pick(NAMES).to_owned();
    }
    for _ in 0..dice.next_below(4) {
        let place = dice.next_below(to.groups.len() + 1);
        if dice.one_in(2) && place < to.groups.len() {
            to.groups.remove(place);
        } else {
            to.groups.insert(place, dice.pick(NAMES).to_owned());
        }
    }
    if dice.one_in(8)
        && let EntryPrincipal::Role(arn) | EntryPrincipal::User(arn) = &mut to.principal
    {
        *arn = arn.to_ascii_uppercase();
    }
    to
}

fn random_edits(dice: &mut TestRng, section: Section, reading: &ParsedSection) -> Vec<EntryEdit> {
    let mut edits = Vec::new();
    for (index, found) in reading.entries.iter().enumerate() {
        match dice.next_below(4) {
            0 => edits.push(EntryEdit::Remove { index }),
            1 => edits.push(EntryEdit::Change { index, entry: random_change(dice, &found.entry) }),
            _ => {}
        }
    }
    for _ in 0..dice.next_below(3) {
        edits.push(EntryEdit::Add(random_entry(dice, section)));
    }
    edits
}

/// Makes the edits and checks what holds for all of them.
pub(crate) fn edit_and_verify(section: Section, text: &str, edits: &[EntryEdit]) -> Result<String, EditError> {
    let reading = parse_section(section, text).unwrap();
    let edited = edit_section(section, Some(text), edits)?;
    let after = parse_section(section, &edited).unwrap();
    let entries: Vec<Entry> = after.entries.into_iter().map(|found| found.entry).collect();
    assert_eq!(entries, expected_entries(&reading, edits), "{text:?}\n{edits:?}\n{edited:?}");
    if edits.is_empty() {
        assert_eq!(edited, text);
    }
    let lost = lost_text(text, &edited, &reading, edits);
    assert!(lost.is_none(), "lost {lost:?}\n=== old\n{text:?}\n=== new\n{edited:?}\n{edits:#?}");
    Ok(edited)
}

#[test]
fn random_edits_of_random_texts_do_as_asked_and_lose_nothing() {
    let mut authenticator = AuthenticatorProcess::start();
    let seed = env_number("ROLECALL_SEED", 5);
    let mut dice = TestRng::new(seed);
    let (mut edited, mut anchored, mut odd) = (0, 0, Vec::new());
    let known = corpus::ROLES.iter().map(|text| ("mapRoles", (*text).to_owned()));
    let known: Vec<_> = known.cycle().take(4 * corpus::ROLES.len()).collect();
    let made = corpus::random_texts(seed).take(env_number("ROLECALL_TEXTS", 6_000));
    for (key, text) in known.into_iter().chain(made) {
        let section = parse_section_key(key);
        let Ok(reading) = parse_section(section, &text) else {
            assert!(edit_section(section, Some(&text), &[]).is_err());
            continue;
        };
        let edits = random_edits(&mut dice, section, &reading);
        match edit_and_verify(section, &text, &edits) {
            Ok(new_text) => {
                edited += 1;
                let theirs = authenticator.parse_section(section, &new_text).entries;
                assert_eq!(theirs, expected_entries(&reading, &edits), "{text:?}\n{new_text:?}");
            }
            Err(EditError::AnchorInUse { .. } | EditError::EntryIsAlias { .. }) => anchored += 1,
            Err(error) => odd.push(format!("{error}\n{text:?}\n{edits:?}\n")),
        }
    }
    eprintln!("edited {edited}, refused for anchors {anchored}, refused for odd layout {}", odd.len());
    assert!(odd.len() * 50 < edited, "{} of {edited} refused:\n{}", odd.len(), odd[..12].join("\n"));
}
