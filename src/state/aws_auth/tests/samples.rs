//! Sample texts as people and tools write them, with every kind of edit. The samples are in
//! `tests/aws_auth/samples/<section>/<name>.yaml`, and reviewed diffs of their edits in
//! `tests/aws_auth/edited/<section>/<name>.snap`.

use std::path::{Path, PathBuf};

use super::authenticator::AuthenticatorProcess;
use super::diff::diff;
use super::edits::{edit_and_verify, expected_entries};
use crate::state::aws_auth::{EditError, Entry, EntryEdit, EntryPrincipal, NewEntry, Section, parse_section};

pub(crate) struct SampleSection {
    pub(crate) section: Section,
    pub(crate) name: String,
    pub(crate) text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws_auth")
}

#[expect(clippy::disallowed_methods, reason = "the texts are files, so that their bytes are what an editor shows")]
pub(crate) fn load_samples() -> Vec<SampleSection> {
    let mut samples = Vec::new();
    for section in Section::ALL {
        let folder = folder().join("samples").join(section.key());
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        samples.extend(paths.into_iter().map(|path| SampleSection {
            section,
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        }));
    }
    samples
}

fn added_entry(section: Section) -> NewEntry {
    let arn = |kind: &str| format!("arn:aws:iam::111122223333:{kind}/newcomer");
    let principal = match section {
        Section::Roles => EntryPrincipal::Role(arn("role")),
        Section::Users => EntryPrincipal::User(arn("user")),
        Section::Accounts => {
            let principal = EntryPrincipal::Account("999900001111".to_owned());
            return Entry { principal, username: String::new(), groups: Vec::new() };
        }
    };
    let groups = ["readers", "{{AccountID}}:on call"].map(str::to_owned).to_vec();
    Entry { principal, username: "{{SessionName}}".to_owned(), groups }
}

/// Returns a change of the username and of the groups: the first of several groups is removed and another one is added.
fn changed_entry(entry: &Entry) -> NewEntry {
    let mut changed = entry.clone();
    changed.username = "changed:{{SessionName}}".to_owned();
    if changed.groups.len() > 1 {
        changed.groups.remove(0);
    }
    changed.groups.push("added".to_owned());
    changed
}

/// Returns the edits to test with a sample, each with a name.
fn edit_cases(section: Section, entries: &[Entry]) -> Vec<(String, Vec<EntryEdit>)> {
    let add = || EntryEdit::Add(added_entry(section));
    let change = |index: usize, entry: NewEntry| vec![EntryEdit::Change { index, entry }];
    let mut cases = vec![("add".to_owned(), vec![add()])];
    for (index, entry) in entries.iter().enumerate() {
        let numbered = |name: &str| format!("{name} {}", index + 1);
        if section != Section::Accounts {
            cases.push((numbered("change"), change(index, changed_entry(entry))));
            let username = changed_entry(entry).username;
            cases.push((numbered("change username of"), change(index, Entry { username, ..entry.clone() })));
            let groups = changed_entry(entry).groups;
            cases.push((numbered("change groups of"), change(index, Entry { groups, ..entry.clone() })));
            let groups = Vec::new();
            cases.push((numbered("remove groups of"), change(index, Entry { groups, ..entry.clone() })));
            let groups = entry.groups.iter().rev().cloned().collect();
            cases.push((numbered("reverse groups of"), change(index, Entry { groups, ..entry.clone() })));
        }
        cases.push((numbered("remove"), vec![EntryEdit::Remove { index }]));
    }
    let removals = || (0..entries.len()).map(|index| EntryEdit::Remove { index });
    if let Some((last, others)) = entries.split_last().filter(|(_, others)| !others.is_empty()) {
        let mut edits = vec![EntryEdit::Remove { index: 0 }, add()];
        if section != Section::Accounts {
            edits.push(EntryEdit::Change { index: others.len(), entry: changed_entry(last) });
        }
        cases.push(("remove first, add, change last".to_owned(), edits));
        let removals = (0..others.len()).map(|index| EntryEdit::Remove { index });
        cases.push(("remove all but the last".to_owned(), removals.collect()));
    }
    if !entries.is_empty() {
        cases.push(("remove all".to_owned(), removals().collect()));
        cases.push(("replace all".to_owned(), removals().chain([add()]).collect()));
    }
    let changes_nothing =
        |edit: &EntryEdit| matches!(edit, EntryEdit::Change { index, entry } if *entry == entries[*index]);
    cases.retain(|(_, edits)| !edits.iter().any(changes_nothing));
    cases
}

/// Returns whether the diff of a case is in the snapshot. The diffs of the other cases would show nothing new.
fn is_reviewed(case: &str) -> bool {
    ["add", "change", "remove groups of", "remove", "remove first, add, change last"].iter().any(|reviewed| {
        let rest = case.strip_prefix(reviewed);
        rest.is_some_and(|rest| rest.is_empty() || rest == " all" || rest.trim().parse::<usize>().is_ok())
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the snapshots are files")]
fn every_snapshot_belongs_to_a_sample() {
    for section in Section::ALL {
        let snapshots = std::fs::read_dir(folder().join("edited").join(section.key())).unwrap();
        let mut snapshots: Vec<_> = snapshots.map(|entry| entry.unwrap().path()).collect();
        snapshots.retain(|path| path.extension().is_some_and(|end| end == "snap"));
        snapshots.sort();
        let names: Vec<_> = snapshots.iter().map(|path| path.file_stem().unwrap().to_string_lossy()).collect();
        let samples = load_samples().into_iter().filter(|sample| sample.section == section);
        assert_eq!(names, samples.map(|sample| sample.name).collect::<Vec<_>>());
    }
}

#[test]
fn edited_samples_keep_all_other_text_and_have_the_requested_entries() {
    let samples = load_samples();
    assert!(samples.len() >= 40, "{}", samples.len());
    let mut authenticator = AuthenticatorProcess::start();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for SampleSection { section, name, text } in samples {
        let parsed = parse_section(section, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let entries: Vec<Entry> = parsed.entries.iter().map(|located| located.entry.clone()).collect();
        let mut review = String::new();
        for (case, edits) in edit_cases(section, &entries) {
            let outcome = match edit_and_verify(section, &text, &edits) {
                Ok(edited) => {
                    let entries = authenticator.parse_section(section, &edited).entries;
                    assert_eq!(entries, expected_entries(&parsed, &edits), "{name}: {case}: {edited:?}");
                    diff(&text, &edited)
                }
                Err(error) => {
                    // A failed verification is a bug of the editor.
                    assert!(!matches!(error, EditError::VerificationFailed { .. }), "{name}: {case}: {error}");
                    format!("rejected: {error}\n")
                }
            };
            if is_reviewed(&case) {
                review.push_str(&format!("=== {case}\n{outcome}"));
            }
        }
        settings.set_snapshot_path(folder().join("edited").join(section.key()));
        settings.bind(|| insta::assert_snapshot!(name.as_str(), review));
    }
}
