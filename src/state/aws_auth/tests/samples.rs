//! Texts that people and tools have left in aws-auth, each through every edit. They stand in
//! `tests/aws_auth/nasty/<section>/<name>.yaml`, and beside them what the edits make of them, to be reviewed.

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
    let mut texts = Vec::new();
    for section in Section::ALL {
        let folder = folder().join("nasty").join(section.key());
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        texts.extend(paths.into_iter().map(|path| SampleSection {
            section,
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        }));
    }
    texts
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

/// Another username, the first of several groups gone, and one more at the end.
fn changed_entry(entry: &Entry) -> NewEntry {
    let mut to = entry.clone();
    to.username = "changed:{{SessionName}}".to_owned();
    if to.groups.len() > 1 {
        to.groups.remove(0);
    }
    to.groups.push("added".to_owned());
    to
}

/// Every edit that a text is put through, with its name.
fn edit_cases(section: Section, entries: &[Entry]) -> Vec<(String, Vec<EntryEdit>)> {
    let add = || EntryEdit::Add(added_entry(section));
    let change = |index: usize, entry: NewEntry| vec![EntryEdit::Change { index, entry }];
    let mut trials = vec![("add".to_owned(), vec![add()])];
    for (index, entry) in entries.iter().enumerate() {
        let at = |what: &str| format!("{what} {}", index + 1);
        if section != Section::Accounts {
            trials.push((at("change"), change(index, changed_entry(entry))));
            let username = changed_entry(entry).username;
            trials.push((at("rename"), change(index, Entry { username, ..entry.clone() })));
            let groups = changed_entry(entry).groups;
            trials.push((at("regroup"), change(index, Entry { groups, ..entry.clone() })));
            trials.push((at("ungroup"), change(index, Entry { groups: Vec::new(), ..entry.clone() })));
            let groups = entry.groups.iter().rev().cloned().collect();
            trials.push((at("reverse the groups of"), change(index, Entry { groups, ..entry.clone() })));
        }
        trials.push((at("remove"), vec![EntryEdit::Remove { index }]));
    }
    let removals = || (0..entries.len()).map(|index| EntryEdit::Remove { index });
    if let Some((last, rest)) = entries.split_last().filter(|(_, rest)| !rest.is_empty()) {
        let mut all = vec![EntryEdit::Remove { index: 0 }, add()];
        if section != Section::Accounts {
            all.push(EntryEdit::Change { index: rest.len(), entry: changed_entry(last) });
        }
        trials.push(("all three".to_owned(), all));
        let others = (0..rest.len()).map(|index| EntryEdit::Remove { index });
        trials.push(("remove all but the last".to_owned(), others.collect()));
    }
    if !entries.is_empty() {
        trials.push(("remove all".to_owned(), removals().collect()));
        trials.push(("replace all".to_owned(), removals().chain([add()]).collect()));
    }
    let changes_nothing =
        |edit: &EntryEdit| matches!(edit, EntryEdit::Change { index, entry } if *entry == entries[*index]);
    trials.retain(|(_, edits)| !edits.iter().any(changes_nothing));
    trials
}

/// For the others the diff says nothing new.
fn is_reviewed(trial: &str) -> bool {
    ["add", "change", "ungroup", "remove", "all three"].iter().any(|shown| {
        let rest = trial.strip_prefix(shown);
        rest.is_some_and(|rest| rest.is_empty() || rest == " all" || rest.trim().parse::<usize>().is_ok())
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the reviews are files")]
fn every_review_is_of_a_text() {
    for section in Section::ALL {
        let reviews = std::fs::read_dir(folder().join("edited").join(section.key())).unwrap();
        let mut reviews: Vec<_> = reviews.map(|entry| entry.unwrap().path()).collect();
        reviews.retain(|path| path.extension().is_some_and(|end| end == "snap"));
        reviews.sort();
        let names: Vec<_> = reviews.iter().map(|path| path.file_stem().unwrap().to_string_lossy()).collect();
        let texts = load_samples().into_iter().filter(|text| text.section == section);
        assert_eq!(names, texts.map(|text| text.name).collect::<Vec<_>>());
    }
}

#[test]
fn nasty_texts_keep_every_foreign_byte_through_every_edit_and_read_as_planned() {
    let texts = load_samples();
    assert!(texts.len() >= 40, "{}", texts.len());
    let mut authenticator = AuthenticatorProcess::start();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for SampleSection { section, name, text } in texts {
        let reading = parse_section(section, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let entries: Vec<Entry> = reading.entries.iter().map(|found| found.entry.clone()).collect();
        let mut review = String::new();
        for (trial, edits) in edit_cases(section, &entries) {
            let outcome = match edit_and_verify(section, &text, &edits) {
                Ok(edited) => {
                    let theirs = authenticator.parse_section(section, &edited).entries;
                    assert_eq!(theirs, expected_entries(&reading, &edits), "{name}: {trial}: {edited:?}");
                    diff(&text, &edited)
                }
                Err(error) => {
                    // What the editor writes and cannot read back is a fault of the editor.
                    assert!(!matches!(error, EditError::VerificationFailed { .. }), "{name}: {trial}: {error}");
                    format!("refused: {error}\n")
                }
            };
            if is_reviewed(&trial) {
                review.push_str(&format!("=== {trial}\n{outcome}"));
            }
        }
        settings.set_snapshot_path(folder().join("edited").join(section.key()));
        settings.bind(|| insta::assert_snapshot!(name.as_str(), review));
    }
}
