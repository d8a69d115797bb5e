//! The write of aws-auth in several: any principal's entry can stay, be final, or stand in between for a while.
//!
//! Each text comes from the live one by the same splices; the last is the one that was planned, byte for byte.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::SectionEdits;
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, ParsedSection, Section, edit_section};
use crate::state::config_map::{AwsAuth, config_map_to_json, entry_key};
use crate::state::entry_marks::{EntryMarks, content_hash, entry_id};
use crate::state::object_meta::Labels;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::WriteRequest;

/// How an entry stands in one of the writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryVariant {
    Live,
    Final,
    Intermediate { username: String, groups: Vec<String> },
}

/// A principal whose entry changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrincipalEdit {
    pub(crate) key: String,
    pub(crate) before: Option<Entry>,
    pub(crate) after: Option<Entry>,
    edits: Vec<(Section, EntryEdit)>,
}

impl PrincipalEdit {
    /// Whether it can stand in between: one entry alone does.
    pub(crate) fn can_be_intermediate(&self) -> bool {
        self.edits.len() == 1
            && !matches!(self.any_entry().map(|entry| &entry.principal), Some(EntryPrincipal::Account(_)))
    }

    fn any_entry(&self) -> Option<&Entry> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// All that the write of aws-auth is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AwsAuthEdit {
    pub(crate) principal_edits: Vec<PrincipalEdit>,
    live: AwsAuth,
    exists: bool,
    policy: String,
    marks: EntryMarks,
    owned_after: BTreeMap<[u8; 8], [u8; 4]>,
    sections: Vec<Section>,
    /// Where it is not made of edits: all of it, at once.
    replacement: Option<AwsAuth>,
}

impl AwsAuthEdit {
    pub(crate) fn new(
        live: &AwsAuth,
        exists: bool,
        policy: &str,
        marks: &EntryMarks,
        kept: &BTreeMap<[u8; 8], [u8; 4]>,
        edits: &SectionEdits,
        readings: &BTreeMap<Section, ParsedSection>,
    ) -> Self {
        let mut slots: BTreeMap<String, PrincipalEdit> = BTreeMap::new();
        for (section, edits) in edits {
            let live = |index: &usize| Some(readings.get(section)?.entries.get(*index)?.entry.clone());
            for edit in edits {
                let (before, after) = match edit {
                    EntryEdit::Add(new) => (None, Some(new.clone())),
                    EntryEdit::Change { index, entry: to } => (live(index), Some(to.clone())),
                    EntryEdit::Remove { index } => (live(index), None),
                };
                let Some(key) = after.as_ref().or(before.as_ref()).map(entry_key) else {
                    continue;
                };
                let new = || PrincipalEdit { key: key.clone(), before: None, after: None, edits: Vec::new() };
                let slot = slots.entry(key.clone()).or_insert_with(new);
                slot.before = before.or_else(|| slot.before.take());
                slot.after = after.or_else(|| slot.after.take());
                slot.edits.push((*section, edit.clone()));
            }
        }
        Self {
            principal_edits: slots.into_values().collect(),
            live: live.clone(),
            exists,
            policy: policy.to_owned(),
            marks: marks.clone(),
            owned_after: kept.clone(),
            sections: edits.keys().copied().collect(),
            replacement: None,
        }
    }

    /// A write that is made as one, whatever it changes.
    pub(crate) fn from_replacement(live: Option<&AwsAuth>, to: AwsAuth) -> Self {
        let all = PrincipalEdit { key: String::new(), before: None, after: None, edits: Vec::new() };
        Self {
            principal_edits: vec![all],
            live: live.cloned().unwrap_or_default(),
            exists: live.is_some(),
            policy: String::new(),
            marks: EntryMarks::default(),
            owned_after: BTreeMap::new(),
            sections: Vec::new(),
            replacement: Some(to),
        }
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.live.parse_section(Section::Accounts).is_ok_and(|reading| !reading.entries.is_empty())
            || self.sections.contains(&Section::Accounts)
            || self.replacement.is_some()
    }

    /// aws-auth with each entry as it stands; none where the text cannot be edited so.
    pub(crate) fn aws_auth_with(&self, standings: &[EntryVariant]) -> Option<AwsAuth> {
        if let Some(whole) = &self.replacement {
            let is_final = standings.iter().all(|standing| *standing == EntryVariant::Final);
            return Some(if is_final { whole } else { &self.live }.clone());
        }
        let mut edits: BTreeMap<Section, Vec<EntryEdit>> =
            self.sections.iter().map(|section| (*section, Vec::new())).collect();
        for (slot, standing) in self.principal_edits.iter().zip(standings) {
            for (section, edit) in &slot.edits {
                let made = match (standing, edit) {
                    (EntryVariant::Live, _) => continue,
                    (EntryVariant::Final, edit) => edit.clone(),
                    (EntryVariant::Intermediate { username, groups }, edit) => {
                        let principal = match edit {
                            EntryEdit::Add(new) | EntryEdit::Change { entry: new, .. } => new.principal.clone(),
                            EntryEdit::Remove { .. } => slot.before.as_ref()?.principal.clone(),
                        };
                        let entry = Entry { principal, username: username.clone(), groups: groups.clone() };
                        match edit {
                            EntryEdit::Add(_) => EntryEdit::Add(entry),
                            EntryEdit::Change { index, .. } | EntryEdit::Remove { index } => {
                                EntryEdit::Change { index: *index, entry }
                            }
                        }
                    }
                };
                edits.entry(*section).or_default().push(made);
            }
        }
        let mut auth = self.live.clone();
        for (section, edits) in edits {
            let old = self.live.data.get(section.key());
            if !edits.is_empty() {
                auth.data
                    .insert(section.key().to_owned(), edit_section(section, old.map(String::as_str), &edits).ok()?);
            }
        }
        match self.marks_with(standings).to_annotation() {
            Some(text) => auth.meta.annotations.insert(ENTRIES_ANNOTATION.to_owned(), text),
            None => auth.meta.annotations.remove(ENTRIES_ANNOTATION),
        };
        Some(auth)
    }

    /// What the policy owns then: so an apply that dies here loses nothing out of sight.
    fn marks_with(&self, standings: &[EntryVariant]) -> EntryMarks {
        let owned = self.marks.owned_by(&self.policy);
        let mut now = self.owned_after.clone();
        for (slot, standing) in self.principal_edits.iter().zip(standings) {
            for (section, _) in &slot.edits {
                let mark = entry_id(*section, &slot.key);
                match standing {
                    EntryVariant::Final => {}
                    EntryVariant::Live => match owned.get(&mark) {
                        Some(written) => drop(now.insert(mark, *written)),
                        None => drop(now.remove(&mark)),
                    },
                    EntryVariant::Intermediate { username, groups } => {
                        if owned.contains_key(&mark) || self.owned_after.contains_key(&mark) {
                            now.insert(mark, content_hash(username, groups));
                        }
                    }
                }
            }
        }
        let mut marks = self.marks.clone();
        marks.set_owned(&self.policy, now);
        marks
    }

    /// The write that brings aws-auth there.
    pub(crate) fn write_with(&self, standings: &[EntryVariant], is_first: bool) -> Option<WriteRequest> {
        let auth = self.aws_auth_with(standings)?;
        let marks = auth.meta.annotations.get(ENTRIES_ANNOTATION);
        let text = |section: &Section| (section.key().to_owned(), json!(auth.data.get(section.key())));
        if is_first && !self.exists {
            let data = auth.data.clone();
            let annotations: Labels =
                marks.map(|text| (ENTRIES_ANNOTATION.to_owned(), text.clone())).into_iter().collect();
            return Some(WriteRequest::Create(config_map_to_json(&data, &annotations)));
        }
        let mut patch = Map::new();
        patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES_ANNOTATION: marks } }));
        patch.insert("data".to_owned(), Value::Object(self.sections.iter().map(text).collect()));
        Some(WriteRequest::Patch(Value::Object(patch)))
    }
}

/// Whether a change of an entry takes nothing from anybody.
pub(crate) fn only_grants(slot: &PrincipalEdit) -> bool {
    slot.edits.len() == 1
        && match (&slot.before, &slot.after) {
            (None, Some(_)) => true,
            (Some(old), Some(new)) => {
                old.username == new.username && old.groups.iter().all(|group| new.groups.contains(group))
            }
            (_, None) => false,
        }
}

/// Whether a change of an entry gives nobody anything.
pub(crate) fn only_revokes(slot: &PrincipalEdit) -> bool {
    slot.edits.len() == 1
        && match (&slot.before, &slot.after) {
            (Some(_), None) => true,
            (Some(old), Some(new)) => {
                old.username == new.username && new.groups.iter().all(|group| old.groups.contains(group))
            }
            (None, _) => false,
        }
}
