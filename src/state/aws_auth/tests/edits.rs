//! Random edits of random texts, with the checks that every edit must pass.

use super::authenticator::AuthenticatorProcess;
use super::corpus::{self, TestRng};
use super::differential::parse_section_key;
use super::env_number;
use crate::state::aws_auth::preservation::lost_text;
use crate::state::aws_auth::{
    EditError, Entry, EntryEdit, EntryPrincipal, NewEntry, ParsedSection, Section, edit_section, parse_section,
};

/// Names that a YAML parser reads as another type or as syntax if they are not quoted.
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

/// Returns the entries that the edits must produce.
pub(crate) fn expected_entries(before: &ParsedSection, edits: &[EntryEdit]) -> Vec<Entry> {
    let mut entries: Vec<Option<Entry>> = before.entries.iter().map(|located| Some(located.entry.clone())).collect();
    for edit in edits {
        match edit {
            EntryEdit::Add(new) => entries.push(Some(new.clone())),
            EntryEdit::Change { index, entry } => entries[*index] = Some(entry.clone()),
            EntryEdit::Remove { index } => entries[*index] = None,
        }
    }
    entries.into_iter().flatten().collect()
}

fn random_entry(rng: &mut TestRng, section: Section) -> NewEntry {
    let arn = format!("arn:aws:iam::111122223333:x/{}", rng.pick(&["a", "b c", "é", "d'e\"f"]));
    let principal = match section {
        Section::Roles => EntryPrincipal::Role(arn),
        Section::Users => EntryPrincipal::User(arn),
        Section::Accounts => return account_entry("012345678901"),
    };
    let username = rng.pick(NAMES).to_owned();
    let groups = (0..rng.next_below(4)).map(|_| rng.pick(NAMES).to_owned()).collect();
    Entry { principal, username, groups }
}

fn account_entry(id: &str) -> NewEntry {
    Entry { principal: EntryPrincipal::Account(id.to_owned()), username: String::new(), groups: Vec::new() }
}

fn random_change(rng: &mut TestRng, entry: &Entry) -> NewEntry {
    let mut changed = entry.clone();
    if matches!(entry.principal, EntryPrincipal::Account(_)) {
        return changed;
    }
    if rng.one_in(2) {
        changed.username = rng.pick(NAMES).to_owned();
    }
    for _ in 0..rng.next_below(4) {
        let index = rng.next_below(changed.groups.len() + 1);
        if rng.one_in(2) && index < changed.groups.len() {
            changed.groups.remove(index);
        } else {
            changed.groups.insert(index, rng.pick(NAMES).to_owned());
        }
    }
    if rng.one_in(8)
        && let EntryPrincipal::Role(arn) | EntryPrincipal::User(arn) = &mut changed.principal
    {
        *arn = arn.to_ascii_uppercase();
    }
    changed
}

fn random_edits(rng: &mut TestRng, section: Section, parsed: &ParsedSection) -> Vec<EntryEdit> {
    let mut edits = Vec::new();
    for (index, located) in parsed.entries.iter().enumerate() {
        match rng.next_below(4) {
            0 => edits.push(EntryEdit::Remove { index }),
            1 => edits.push(EntryEdit::Change { index, entry: random_change(rng, &located.entry) }),
            _ => {}
        }
    }
    for _ in 0..rng.next_below(3) {
        edits.push(EntryEdit::Add(random_entry(rng, section)));
    }
    edits
}

/// Applies the edits and checks what must be true of every edit.
pub(crate) fn edit_and_verify(section: Section, text: &str, edits: &[EntryEdit]) -> Result<String, EditError> {
    let before = parse_section(section, text).unwrap();
    let edited = edit_section(section, Some(text), edits)?;
    let after = parse_section(section, &edited).unwrap();
    let entries: Vec<Entry> = after.entries.into_iter().map(|located| located.entry).collect();
    assert_eq!(entries, expected_entries(&before, edits), "{text:?}\n{edits:?}\n{edited:?}");
    if edits.is_empty() {
        assert_eq!(edited, text);
    }
    let lost = lost_text(text, &edited, &before, edits);
    assert!(lost.is_none(), "lost {lost:?}\n=== old\n{text:?}\n=== new\n{edited:?}\n{edits:#?}");
    Ok(edited)
}

/// Adds an entry and removes it again. Returns both texts, or `None` if the text has no list or cannot be edited.
pub(crate) fn add_and_remove(section: Section, text: &str, new: &NewEntry) -> Option<(String, String)> {
    let index = parse_section(section, text).ok()?.entries.len();
    let added = edit_section(section, Some(text), &[EntryEdit::Add(new.clone())]).ok()?;
    let removed = edit_section(section, Some(&added), &[EntryEdit::Remove { index }]);
    Some((added.clone(), removed.unwrap_or_else(|error| panic!("{error}: {text:?} {added:?}"))))
}

#[test]
fn entry_that_is_added_and_removed_leaves_no_trace() {
    let seed = env_number("ROLECALL_SEED", 7);
    let mut rng = TestRng::new(seed);
    let known = corpus::ROLES.iter().map(|text| ("mapRoles", (*text).to_owned()));
    let known = known.chain(corpus::USERS.iter().map(|text| ("mapUsers", (*text).to_owned())));
    let known = known.chain(corpus::ACCOUNTS.iter().map(|text| ("mapAccounts", (*text).to_owned())));
    let spaced = [
        "- rolearn: a\n- rolearn: b",
        "[{\"rolearn\": \"a\"} ]",
        "[ {\"rolearn\": \"a\"} ]\n",
        "[{\"rolearn\": \"a\" } , \n ]",
        "[\n  {\"rolearn\": \"a\"}\n ]",
        "[\n  {\"rolearn\": \"a\"} ]",
        "[{\"rolearn\": \"a\"}\n]",
        "[{\"rolearn\": \"a\"}   \n]  ",
        "[{\"rolearn\": \"a\"},\n {\"rolearn\": \"b\"} ] ",
        "- {rolearn: a} \n- {rolearn: b }  ",
        "- rolearn: a\n  username: |\n   x",
        "- rolearn: a\r\n- rolearn: b # c",
        "[{\"rolearn\": \"a\"} # c\n ]",
        "- rolearn: a\n# end",
    ];
    let known: Vec<_> = known.chain(spaced.map(|text| ("mapRoles", text.to_owned()))).collect();
    let random = corpus::random_texts(seed).take(env_number("ROLECALL_TEXTS", 6_000));
    let (mut checked, mut different) = (0, Vec::new());
    for (key, text) in known.into_iter().chain(random) {
        let section = parse_section_key(key);
        // Without an entry, the text does not show which empty list it was.
        if parse_section(section, &text).map_or(true, |parsed| parsed.entries.is_empty()) {
            continue;
        }
        let Some((added, removed)) = add_and_remove(section, &text, &random_entry(&mut rng, section)) else {
            continue;
        };
        checked += 1;
        if removed != text {
            different.push(format!("{text:?}\n{added:?}\n{removed:?}"));
        }
    }
    eprintln!("checked {checked}");
    assert!(checked > 1_000, "{checked}");
    assert!(
        different.is_empty(),
        "{} of {checked}:\n{}",
        different.len(),
        different[..20.min(different.len())].join("\n\n")
    );
}

#[test]
fn random_edits_of_random_texts_have_the_requested_result_and_lose_no_text() {
    let mut authenticator = AuthenticatorProcess::start();
    let seed = env_number("ROLECALL_SEED", 5);
    let mut rng = TestRng::new(seed);
    let (mut edited, mut anchored, mut rejected) = (0, 0, Vec::new());
    let known = corpus::ROLES.iter().map(|text| ("mapRoles", (*text).to_owned()));
    let known: Vec<_> = known.cycle().take(4 * corpus::ROLES.len()).collect();
    let random = corpus::random_texts(seed).take(env_number("ROLECALL_TEXTS", 6_000));
    for (key, text) in known.into_iter().chain(random) {
        let section = parse_section_key(key);
        let Ok(parsed) = parse_section(section, &text) else {
            assert!(edit_section(section, Some(&text), &[]).is_err());
            continue;
        };
        let edits = random_edits(&mut rng, section, &parsed);
        match edit_and_verify(section, &text, &edits) {
            Ok(new_text) => {
                edited += 1;
                let entries = authenticator.parse_section(section, &new_text).entries;
                assert_eq!(entries, expected_entries(&parsed, &edits), "{text:?}\n{new_text:?}");
            }
            Err(EditError::AnchorInUse { .. } | EditError::EntryIsAlias { .. }) => anchored += 1,
            Err(error) => rejected.push(format!("{error}\n{text:?}\n{edits:?}\n")),
        }
    }
    let count = rejected.len();
    eprintln!("edited {edited}, rejected for anchors {anchored}, rejected for the layout {count}");
    assert!(count * 50 < edited, "{count} of {edited} rejected:\n{}", rejected[..12.min(count)].join("\n"));
}
