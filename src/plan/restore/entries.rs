//! Takes back the changes of single aws-auth entries and of the marks of their owner.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::entries::aws_auth_edit::AwsAuthEdit;
use super::super::entries::{SectionEdits, check_writable, edit_diagnostic, non_empty, unreadable_section};
use super::super::{Action, Change, ChangeTarget, FieldDiff, field_diff};
use super::aws_auth::ContentUndo;
use super::undo_value::{Undo, Versions, undo_list, undo_value};
use super::{left_alone, restore_change};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::state::aws_auth::{
    Entry, EntryEdit, EntryPrincipal, ParsedSection, Section, edit_section, parse_section, with_source_lines,
};
use crate::state::config_map::{AwsAuth, entry_key, principal_text};
use crate::state::entry_marks::{EntryMarks, EntryMarksError, entry_id};
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::WriteRequest;

/// The marks of one policy: entry ID to the hash of the content that the policy last wrote.
type Marks = BTreeMap<[u8; 8], [u8; 4]>;

pub(super) fn entry_change(
    action: Action,
    section: Section,
    entry: &Entry,
    from: Option<&Entry>,
    to: Option<&Entry>,
) -> Change {
    let target = ChangeTarget::Entry { section, principal: principal_text(entry) };
    restore_change(action, target, diff_entry(from, to))
}

fn diff_entry(from: Option<&Entry>, to: Option<&Entry>) -> Vec<FieldDiff> {
    let username = |entry: Option<&Entry>| entry.and_then(|entry| non_empty(&entry.username)).map(str::to_owned);
    let groups = |entry: Option<&Entry>| entry.map(|entry| entry.groups.clone()).unwrap_or_default();
    let username = field_diff::diff_scalar(&["username"], username(from).as_deref(), username(to).as_deref());
    username.into_iter().chain(field_diff::diff_set(&["groups"], &groups(from), &groups(to))).collect()
}

/// Returns whether two entries of one principal give it the same identity.
fn is_same_entry(a: &Entry, b: &Entry) -> bool {
    let groups = |entry: &Entry| entry.groups.iter().cloned().collect::<BTreeSet<String>>();
    a.username == b.username && groups(a) == groups(b)
}

/// The entries of one principal in one section, in their order.
type PrincipalEntries = Vec<Entry>;

fn are_same_entries(a: &PrincipalEntries, b: &PrincipalEntries) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_entry(a, b))
}

/// Returns the entries of each principal.
fn entries_by_key(parsed: &ParsedSection) -> BTreeMap<String, PrincipalEntries> {
    let mut entries: BTreeMap<String, PrincipalEntries> = BTreeMap::new();
    for located in &parsed.entries {
        entries.entry(entry_key(&located.entry)).or_default().push(located.entry.clone());
    }
    entries
}

/// A section that the writes changed.
struct SectionVersions {
    /// The text of the section. `None` if the ConfigMap does not have the key.
    texts: Versions<Option<String>>,
    entries: Versions<BTreeMap<String, PrincipalEntries>>,
    live: ParsedSection,
}

/// The restored entries of one principal in one section.
struct RestoredEntries {
    section: Section,
    key: String,
    entries: PrincipalEntries,
}

/// Takes back the changes of single entries.
pub(super) struct EntriesUndo<'a> {
    policy: &'a str,
    live: &'a AwsAuth,
    sections: BTreeMap<Section, SectionVersions>,
    marks: EntryMarks,
    mark_versions: Versions<Marks>,
    warnings: Vec<Diagnostic>,
    /// The principals whose entries and marks are left alone.
    left_alone: BTreeSet<String>,
}

impl<'a> EntriesUndo<'a> {
    pub(super) fn new(
        policy: &'a str,
        versions: &Versions<AwsAuth>,
        live: &'a AwsAuth,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut sections = BTreeMap::new();
        for section in Section::ALL {
            let mut texts = versions.map(|auth| auth.data.get(section.key()).cloned());
            // A ConfigMap that did not exist had no text.
            for text in texts.intermediate.iter_mut().chain([&mut texts.before, &mut texts.after]) {
                text.get_or_insert(None);
            }
            if texts.written().all(|text| text == texts.before.as_ref()) {
                continue;
            }
            let unreadable = |error| vec![unreadable_section(&error)];
            let parse = |text: &Option<String>| {
                parse_section(section, text.as_deref().unwrap_or_default()).map(|parsed| entries_by_key(&parsed))
            };
            let entries = texts.try_map(parse).map_err(unreadable)?;
            let live = live.parse_section(section).map_err(unreadable)?;
            sections.insert(section, SectionVersions { texts, entries, live });
        }
        let read = |auth: &AwsAuth| EntryMarks::from_annotations(&auth.meta.annotations);
        let unreadable = |error: EntryMarksError| {
            let error = Diagnostic::error(error.to_string());
            vec![
                error
                    .with_note("it records which policy owns which aws-auth entry")
                    .with_help("restore the annotation"),
            ]
        };
        let mark_versions = versions.try_map(|auth| Ok(read(auth)?.owned_by(policy))).map_err(unreadable)?;
        let marks = read(live).map_err(unreadable)?;
        Ok(Self { policy, live, sections, marks, mark_versions, warnings: Vec::new(), left_alone: BTreeSet::new() })
    }

    pub(super) fn into_content_undo(mut self) -> Result<ContentUndo, Vec<Diagnostic>> {
        let restored = self.restored_entries();
        let (edits, mut changes) = self.edits(&restored);
        let owned_after = self.owned_after();
        changes.extend(self.released_entries(&owned_after, &changes));
        let mut marks = self.marks.clone();
        marks.set_owned_entries(self.policy, owned_after.clone());
        let annotation = marks.to_annotation();
        let mut errors = Vec::new();
        let mut texts = BTreeMap::new();
        for (section, versions) in &self.sections {
            let old = self.live.data.get(section.key());
            let is_as_written = versions.texts.written().flatten().any(|written| written.as_ref() == old);
            let edits = edits.get(section).map(Vec::as_slice).unwrap_or_default();
            let live_keys = versions.live.entries.iter().map(|located| entry_key(&located.entry));
            let keys_before = versions.entries.before.iter().flatten().map(|(key, _)| key.clone());
            let is_left_alone = live_keys.chain(keys_before).any(|key| self.left_alone.contains(&key));
            let text = if is_as_written && !is_left_alone {
                // The text is restored byte for byte, with the comments and the order that it had.
                versions.texts.before.clone().flatten()
            } else if edits.is_empty() {
                continue;
            } else {
                match edit_section(*section, old.map(String::as_str), edits) {
                    Ok(text) => {
                        let before = versions.texts.before.as_ref().and_then(Option::as_deref).unwrap_or_default();
                        Some(with_earlier_lines(*section, text, edits, before))
                    }
                    Err(error) => {
                        errors.push(edit_diagnostic(*section, &error));
                        continue;
                    }
                }
            };
            if text.as_ref() != old {
                texts.insert(*section, text);
            }
        }
        let has_same_marks = annotation.as_ref() == self.live.meta.annotations.get(ENTRIES_ANNOTATION);
        if texts.is_empty() && has_same_marks && errors.is_empty() {
            return Ok(ContentUndo { write: None, changes: Vec::new(), warnings: self.warnings });
        }
        let writable = check_writable(self.live, true, |section| texts.contains_key(&section));
        errors.extend(writable.into_iter().filter(Diagnostic::is_error));
        if !errors.is_empty() {
            return Err(errors);
        }
        if changes.is_empty() {
            let mut change = restore_change(Action::Update, ChangeTarget::Object(ObjectKey::aws_auth()), Vec::new());
            let note =
                if texts.is_empty() { "only the marks of an owner change" } else { "only comments and layout change" };
            change.note = Some(note.to_owned());
            changes.push(change);
        }
        let mut patch = Map::new();
        patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES_ANNOTATION: annotation } }));
        let data: Map<String, Value> =
            texts.iter().map(|(section, text)| (section.key().to_owned(), json!(text))).collect();
        if !data.is_empty() {
            patch.insert("data".to_owned(), Value::Object(data));
        }
        let sections = self.sections.into_iter().map(|(section, versions)| (section, versions.live)).collect();
        let edit = AwsAuthEdit::new(self.live, true, self.policy, &self.marks, &owned_after, &edits, &sections)
            .map_err(|error| vec![error.into()])?
            .with_final_texts(texts);
        let write = WriteRequest::Patch(Value::Object(patch));
        Ok(ContentUndo { write: Some((write, edit)), changes, warnings: self.warnings })
    }

    /// Returns the entries of each principal that are set back. If the entries of a principal in one section were changed
    /// since, its entries in all sections are left alone.
    fn restored_entries(&mut self) -> Vec<RestoredEntries> {
        let mut restored = Vec::new();
        let mut warnings = Vec::new();
        for (section, versions) in &self.sections {
            let live = entries_by_key(&versions.live);
            let all = versions.entries.written().chain([versions.entries.before.as_ref()]);
            let keys: BTreeSet<&String> = all.flatten().flat_map(BTreeMap::keys).collect();
            for key in keys {
                let current = live.get(key).cloned().unwrap_or_default();
                let versions = versions.entries.map(|entries| entries.get(key).cloned().unwrap_or_default());
                match self.undo_principal(*section, key, &versions, &current) {
                    EntryUndo::Nothing => {}
                    EntryUndo::Set(entries) => {
                        restored.push(RestoredEntries { section: *section, key: key.clone(), entries });
                    }
                    EntryUndo::SetOne { entry, is_username_kept } => {
                        if is_username_kept {
                            let name = entry_name(*section, &entry);
                            let reason = "it was changed since the apply";
                            warnings.push(left_alone(&format!("`username` of {name}"), "restored", reason));
                        }
                        restored.push(RestoredEntries { section: *section, key: key.clone(), entries: vec![entry] });
                    }
                    EntryUndo::LeftAlone(warning) => {
                        warnings.push(warning);
                        self.left_alone.insert(key.clone());
                    }
                }
            }
        }
        self.warnings.extend(warnings);
        restored.retain(|restored| !self.left_alone.contains(&restored.key));
        restored
    }

    /// Takes back the change of the entries of one principal in one section.
    fn undo_principal(
        &self,
        section: Section,
        key: &str,
        versions: &Versions<PrincipalEntries>,
        current: &PrincipalEntries,
    ) -> EntryUndo {
        let empty = Vec::new();
        let (before, after) = (versions.before.as_ref().unwrap_or(&empty), versions.after.as_ref().unwrap_or(&empty));
        let undo = undo_value(versions, Some(current), are_same_entries);
        let Some(any) = before.iter().chain(after).chain(current).next() else {
            return EntryUndo::Nothing;
        };
        if undo == Undo::Nothing {
            return EntryUndo::Nothing;
        }
        let name = entry_name(section, any);
        let action = match (before.is_empty(), after.is_empty()) {
            (true, false) => "removed",
            (false, true) => "added again",
            (true, true) | (false, false) => "restored",
        };
        let id = entry_id(section, key);
        let is_left_alone = |reason: String| EntryUndo::LeftAlone(left_alone(&name, action, reason));
        if let Some(other) = self.marks.owner(id).filter(|owner| *owner != self.policy) {
            return is_left_alone(format!("policy `{other}` owns it since the apply"));
        }
        let was_owned = self.mark_versions.written().flatten().any(|marks| marks.contains_key(&id));
        if before.is_empty() && was_owned && self.marks.owner(id).is_none() {
            return is_left_alone(format!("policy `{}` no longer owns it", self.policy));
        }
        match (undo, before.as_slice(), after.as_slice(), current.as_slice()) {
            (Undo::Set(_), ..) => {
                let is_added = before.len() > current.len();
                if is_added && matches!(any.principal, EntryPrincipal::Sso(_)) {
                    return is_left_alone("rolecall does not write entries with an `sso` pattern".to_owned());
                }
                EntryUndo::Set(before.clone())
            }
            (_, [old], [new], [now]) => {
                let intermediate = &versions.intermediate;
                let latest_username = |list: &Option<PrincipalEntries>| Some(list.as_ref()?.last()?.username.clone());
                let usernames = Versions {
                    before: Some(old.username.clone()),
                    intermediate: intermediate.iter().map(latest_username).collect(),
                    after: Some(new.username.clone()),
                };
                let username = undo_value(&usernames, Some(&now.username), String::eq);
                let latest_groups = |list: &Option<PrincipalEntries>| Some(list.as_ref()?.last()?.groups.clone());
                let groups = Versions {
                    before: Some(old.groups.clone()),
                    intermediate: intermediate.iter().map(latest_groups).collect(),
                    after: Some(new.groups.clone()),
                };
                let entry = Entry {
                    principal: now.principal.clone(),
                    username: match &username {
                        Undo::Set(Some(username)) => username.clone(),
                        Undo::Set(None) | Undo::Nothing | Undo::Conflict => now.username.clone(),
                    },
                    groups: undo_list(&groups, &now.groups).unwrap_or_else(|| now.groups.clone()),
                };
                EntryUndo::SetOne { entry, is_username_kept: username == Undo::Conflict }
            }
            (_, _, _, []) => is_left_alone("it was removed since the apply".to_owned()),
            _ => is_left_alone("it was changed since the apply".to_owned()),
        }
    }

    /// Returns the edits of the live sections, and the changes that show them.
    fn edits(&self, restored: &[RestoredEntries]) -> (SectionEdits, Vec<Change>) {
        let mut edits = SectionEdits::new();
        let mut changes = Vec::new();
        for RestoredEntries { section, key, entries: wanted } in restored {
            let Some(versions) = self.sections.get(section) else {
                continue;
            };
            let live = versions.live.entries.iter().enumerate();
            let mut live = live.filter(|(_, located)| entry_key(&located.entry) == *key);
            let mut wanted = wanted.iter();
            loop {
                let (edit, change) = match (live.next(), wanted.next()) {
                    (None, None) => break,
                    (Some((_, located)), Some(to)) if is_same_entry(&located.entry, to) => continue,
                    (Some((index, located)), Some(to)) => {
                        let from = &located.entry;
                        let entry = Entry { principal: from.principal.clone(), ..to.clone() };
                        let change = entry_change(Action::Update, *section, from, Some(from), Some(to));
                        (EntryEdit::Change { index, entry }, change)
                    }
                    (Some((index, located)), None) => {
                        let from = &located.entry;
                        (EntryEdit::Remove { index }, entry_change(Action::Delete, *section, from, Some(from), None))
                    }
                    (None, Some(to)) => {
                        (EntryEdit::Add(to.clone()), entry_change(Action::Create, *section, to, None, Some(to)))
                    }
                };
                edits.entry(*section).or_default().push(edit);
                changes.push(change);
            }
        }
        (edits, changes)
    }

    /// Returns the entries that the policy owns after the restore. Marks of other policies are not changed.
    fn owned_after(&self) -> Marks {
        let mut owned = self.marks.owned_by(self.policy);
        let kept: BTreeSet<[u8; 8]> = self
            .left_alone
            .iter()
            .flat_map(|key| Section::ALL.into_iter().map(move |section| entry_id(section, key)))
            .collect();
        let all = self.mark_versions.written().chain([self.mark_versions.before.as_ref()]);
        let ids: BTreeSet<[u8; 8]> = all.flatten().flat_map(BTreeMap::keys).copied().collect();
        for id in ids.difference(&kept) {
            let mark = |marks: &Option<Marks>| marks.as_ref().and_then(|marks| marks.get(id)).copied();
            let versions = Versions {
                before: mark(&self.mark_versions.before),
                intermediate: self.mark_versions.intermediate.iter().map(mark).collect(),
                after: mark(&self.mark_versions.after),
            };
            // An entry that another policy owns by now keeps that owner.
            let is_taken = self.marks.owner(*id).is_some_and(|owner| owner != self.policy);
            match undo_value(&versions, owned.get(id), PartialEq::eq) {
                Undo::Set(Some(hash)) if !is_taken => drop(owned.insert(*id, hash)),
                Undo::Set(None) => drop(owned.remove(id)),
                Undo::Set(Some(_)) | Undo::Nothing | Undo::Conflict => {}
            }
        }
        owned
    }

    /// Returns a change for each entry that only loses its mark: the policy had adopted it.
    fn released_entries(&self, owned_after: &Marks, changes: &[Change]) -> Vec<Change> {
        let owned_before = self.marks.owned_by(self.policy);
        let mut released = Vec::new();
        for section in Section::ALL {
            let Ok(parsed) = self.live.parse_section(section) else {
                continue;
            };
            for located in &parsed.entries {
                let id = entry_id(section, &entry_key(&located.entry));
                let mut change =
                    entry_change(Action::Update, section, &located.entry, Some(&located.entry), Some(&located.entry));
                let is_shown = changes.iter().chain(&released).any(|shown| shown.target == change.target);
                if owned_before.contains_key(&id) && !owned_after.contains_key(&id) && !is_shown {
                    change.note = Some("will no longer be managed by this policy".to_owned());
                    released.push(change);
                }
            }
        }
        released
    }
}

/// Gives the entries that are added again the lines that they had before, with their comments.
fn with_earlier_lines(section: Section, mut text: String, edits: &[EntryEdit], before: &str) -> String {
    let added: Vec<&Entry> = edits
        .iter()
        .filter_map(|edit| match edit {
            EntryEdit::Add(entry) => Some(entry),
            EntryEdit::Change { .. } | EntryEdit::Remove { .. } => None,
        })
        .collect();
    let (Ok(parsed), Ok(earlier)) = (parse_section(section, &text), parse_section(section, before)) else {
        return text;
    };
    // Entries are added after all others, and replaced lines have the same entries.
    let first = parsed.entries.len().saturating_sub(added.len());
    for (number, entry) in added.into_iter().enumerate() {
        let source = earlier.entries.iter().position(|located| located.entry == *entry);
        let with_lines =
            source.and_then(|source| with_source_lines(section, (&text, first + number), (before, source)));
        text = with_lines.unwrap_or(text);
    }
    text
}

/// What taking back a change means for the entries of one principal in one section.
enum EntryUndo {
    Nothing,
    /// The entries as they were before the apply.
    Set(PrincipalEntries),
    /// The entry was changed since the apply, and only the values that the apply wrote are set back.
    SetOne {
        entry: Entry,
        is_username_kept: bool,
    },
    LeftAlone(Diagnostic),
}

/// `aws-auth role arn:aws:iam::…`.
fn entry_name(section: Section, entry: &Entry) -> String {
    let target = ChangeTarget::Entry { section, principal: principal_text(entry) };
    format!("{} {}", target.kind_label(), target.name())
}
