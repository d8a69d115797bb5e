//! Edits of every kind on every text that can be thought of.

use super::authenticator::Authenticator;
use super::corpus::{self, Dice};
use super::differential::section_of;
use super::foreign::lost;
use super::number;
use crate::state::aws_auth::{Edit, EditError, Entry, New, Principal, Reading, Section, edit, read};

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

pub(crate) fn expected(reading: &Reading, edits: &[Edit]) -> Vec<Entry> {
    let mut entries: Vec<Option<Entry>> = reading.entries.iter().map(|found| Some(found.entry.clone())).collect();
    for edit in edits {
        match edit {
            Edit::Add(new) => entries.push(Some(new.clone())),
            Edit::Change { index, to } => entries[*index] = Some(to.clone()),
            Edit::Remove { index } => entries[*index] = None,
        }
    }
    entries.into_iter().flatten().collect()
}

fn new(dice: &mut Dice, section: Section) -> New {
    let arn = format!("arn:aws:iam::111122223333:x/{}", dice.pick(&["a", "b c", "é", "d'e\"f"]));
    let principal = match section {
        Section::Roles => Principal::Role(arn),
        Section::Users => Principal::User(arn),
        Section::Accounts => return account("012345678901"),
    };
    let username = dice.pick(NAMES).to_owned();
    let groups = (0..dice.below(4)).map(|_| dice.pick(NAMES).to_owned()).collect();
    Entry { principal, username, groups }
}

fn account(id: &str) -> New {
    Entry { principal: Principal::Account(id.to_owned()), username: String::new(), groups: Vec::new() }
}

fn changed(dice: &mut Dice, entry: &Entry) -> New {
    let mut to = entry.clone();
    if matches!(entry.principal, Principal::Account(_)) {
        return to;
    }
    if dice.one_in(2) {
        to.username = dice.pick(NAMES).to_owned();
    }
    for _ in 0..dice.below(4) {
        let place = dice.below(to.groups.len() + 1);
        if dice.one_in(2) && place < to.groups.len() {
            to.groups.remove(place);
        } else {
            to.groups.insert(place, dice.pick(NAMES).to_owned());
        }
    }
    if dice.one_in(8)
        && let Principal::Role(arn) | Principal::User(arn) = &mut to.principal
    {
        *arn = arn.to_ascii_uppercase();
    }
    to
}

fn wishes(dice: &mut Dice, section: Section, reading: &Reading) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, found) in reading.entries.iter().enumerate() {
        match dice.below(4) {
            0 => edits.push(Edit::Remove { index }),
            1 => edits.push(Edit::Change { index, to: changed(dice, &found.entry) }),
            _ => {}
        }
    }
    for _ in 0..dice.below(3) {
        edits.push(Edit::Add(new(dice, section)));
    }
    edits
}

/// Makes the edits and checks what holds for all of them.
pub(crate) fn tried(section: Section, text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let reading = read(section, text).unwrap();
    let edited = edit(section, Some(text), edits)?;
    let after = read(section, &edited).unwrap();
    let entries: Vec<Entry> = after.entries.into_iter().map(|found| found.entry).collect();
    assert_eq!(entries, expected(&reading, edits), "{text:?}\n{edits:?}\n{edited:?}");
    if edits.is_empty() {
        assert_eq!(edited, text);
    }
    let lost = lost(text, &edited, &reading, edits);
    assert!(lost.is_none(), "lost {lost:?}\n=== old\n{text:?}\n=== new\n{edited:?}\n{edits:#?}");
    Ok(edited)
}

#[test]
fn random_edits_of_random_texts_do_as_asked_and_lose_nothing() {
    let mut authenticator = Authenticator::start();
    let seed = number("ROLECALL_SEED", 5);
    let mut dice = Dice::new(seed);
    let (mut edited, mut anchored, mut odd) = (0, 0, Vec::new());
    let known = corpus::ROLES.iter().map(|text| ("mapRoles", (*text).to_owned()));
    let known: Vec<_> = known.cycle().take(4 * corpus::ROLES.len()).collect();
    let made = corpus::texts(seed).take(number("ROLECALL_TEXTS", 6_000));
    for (key, text) in known.into_iter().chain(made) {
        let section = section_of(key);
        let Ok(reading) = read(section, &text) else {
            assert!(edit(section, Some(&text), &[]).is_err());
            continue;
        };
        let edits = wishes(&mut dice, section, &reading);
        match tried(section, &text, &edits) {
            Ok(new_text) => {
                edited += 1;
                let theirs = authenticator.read(section, &new_text).entries;
                assert_eq!(theirs, expected(&reading, &edits), "{text:?}\n{new_text:?}");
            }
            Err(EditError::AnchorInUse { .. } | EditError::EntryIsAlias { .. }) => anchored += 1,
            Err(error) => odd.push(format!("{error}\n{text:?}\n{edits:?}\n")),
        }
    }
    eprintln!("edited {edited}, refused for anchors {anchored}, refused for odd layout {}", odd.len());
    assert!(odd.len() * 50 < edited, "{} of {edited} refused:\n{}", odd.len(), odd[..12].join("\n"));
}
