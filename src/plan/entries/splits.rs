//! The write of aws-auth in several: any principal's entry can stay, be final, or stand in between for a while.
//!
//! Each text comes from the live one by the same splices; the last is the one that was planned, byte for byte.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Edits;
use crate::state::aws_auth::{Edit, Entry, Principal, Reading, Section, edit};
use crate::state::entry_marks::{EntryMarks, content, id};
use crate::state::mapping::{AwsAuth, config_map_json, entry_key};
use crate::state::meta::Labels;
use crate::state::owner::ENTRIES;
use crate::state::write::Write;

/// How an entry stands in one of the writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    AsLive,
    Final,
    Between { username: String, groups: Vec<String> },
}

/// A principal whose entry changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    pub(crate) key: String,
    pub(crate) before: Option<Entry>,
    pub(crate) after: Option<Entry>,
    edits: Vec<(Section, Edit)>,
}

impl Slot {
    /// Whether it can stand in between: one entry alone does.
    pub(crate) fn is_single(&self) -> bool {
        self.edits.len() == 1 && !matches!(self.any().map(|entry| &entry.principal), Some(Principal::Account(_)))
    }

    fn any(&self) -> Option<&Entry> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// All that the write of aws-auth is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Splits {
    pub(crate) slots: Vec<Slot>,
    live: AwsAuth,
    exists: bool,
    policy: String,
    marks: EntryMarks,
    kept: BTreeMap<[u8; 8], [u8; 4]>,
    sections: Vec<Section>,
    /// Where it is not made of edits: all of it, at once.
    whole: Option<AwsAuth>,
}

impl Splits {
    pub(crate) fn new(
        live: &AwsAuth,
        exists: bool,
        policy: &str,
        marks: &EntryMarks,
        kept: &BTreeMap<[u8; 8], [u8; 4]>,
        edits: &Edits,
        readings: &BTreeMap<Section, Reading>,
    ) -> Self {
        let mut slots: BTreeMap<String, Slot> = BTreeMap::new();
        for (section, edits) in edits {
            let live = |index: &usize| Some(readings.get(section)?.entries.get(*index)?.entry.clone());
            for edit in edits {
                let (before, after) = match edit {
                    Edit::Add(new) => (None, Some(new.clone())),
                    Edit::Change { index, to } => (live(index), Some(to.clone())),
                    Edit::Remove { index } => (live(index), None),
                };
                let Some(key) = after.as_ref().or(before.as_ref()).map(entry_key) else {
                    continue;
                };
                let new = || Slot { key: key.clone(), before: None, after: None, edits: Vec::new() };
                let slot = slots.entry(key.clone()).or_insert_with(new);
                slot.before = before.or_else(|| slot.before.take());
                slot.after = after.or_else(|| slot.after.take());
                slot.edits.push((*section, edit.clone()));
            }
        }
        Self {
            slots: slots.into_values().collect(),
            live: live.clone(),
            exists,
            policy: policy.to_owned(),
            marks: marks.clone(),
            kept: kept.clone(),
            sections: edits.keys().copied().collect(),
            whole: None,
        }
    }

    /// A write that is made as one, whatever it changes.
    pub(crate) fn whole(live: Option<&AwsAuth>, to: AwsAuth) -> Self {
        let all = Slot { key: String::new(), before: None, after: None, edits: Vec::new() };
        Self {
            slots: vec![all],
            live: live.cloned().unwrap_or_default(),
            exists: live.is_some(),
            policy: String::new(),
            marks: EntryMarks::default(),
            kept: BTreeMap::new(),
            sections: Vec::new(),
            whole: Some(to),
        }
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.live.reading(Section::Accounts).is_ok_and(|reading| !reading.entries.is_empty())
            || self.sections.contains(&Section::Accounts)
            || self.whole.is_some()
    }

    /// aws-auth with each entry as it stands; none where the text cannot be edited so.
    pub(crate) fn at(&self, standings: &[Standing]) -> Option<AwsAuth> {
        if let Some(whole) = &self.whole {
            let is_final = standings.iter().all(|standing| *standing == Standing::Final);
            return Some(if is_final { whole } else { &self.live }.clone());
        }
        let mut edits: BTreeMap<Section, Vec<Edit>> =
            self.sections.iter().map(|section| (*section, Vec::new())).collect();
        for (slot, standing) in self.slots.iter().zip(standings) {
            for (section, edit) in &slot.edits {
                let made = match (standing, edit) {
                    (Standing::AsLive, _) => continue,
                    (Standing::Final, edit) => edit.clone(),
                    (Standing::Between { username, groups }, edit) => {
                        let principal = match edit {
                            Edit::Add(new) | Edit::Change { to: new, .. } => new.principal.clone(),
                            Edit::Remove { .. } => slot.before.as_ref()?.principal.clone(),
                        };
                        let entry = Entry { principal, username: username.clone(), groups: groups.clone() };
                        match edit {
                            Edit::Add(_) => Edit::Add(entry),
                            Edit::Change { index, .. } | Edit::Remove { index } => {
                                Edit::Change { index: *index, to: entry }
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
                auth.data.insert(section.key().to_owned(), edit(section, old.map(String::as_str), &edits).ok()?);
            }
        }
        match self.marks_at(standings).to_annotation() {
            Some(text) => auth.meta.annotations.insert(ENTRIES.to_owned(), text),
            None => auth.meta.annotations.remove(ENTRIES),
        };
        Some(auth)
    }

    /// What the policy owns then: so an apply that dies here loses nothing out of sight.
    fn marks_at(&self, standings: &[Standing]) -> EntryMarks {
        let owned = self.marks.owned_by(&self.policy);
        let mut now = self.kept.clone();
        for (slot, standing) in self.slots.iter().zip(standings) {
            for (section, _) in &slot.edits {
                let mark = id(*section, &slot.key);
                match standing {
                    Standing::Final => {}
                    Standing::AsLive => match owned.get(&mark) {
                        Some(written) => drop(now.insert(mark, *written)),
                        None => drop(now.remove(&mark)),
                    },
                    Standing::Between { username, groups } => {
                        if owned.contains_key(&mark) || self.kept.contains_key(&mark) {
                            now.insert(mark, content(username, groups));
                        }
                    }
                }
            }
        }
        let mut marks = self.marks.clone();
        marks.set(&self.policy, now);
        marks
    }

    /// The write that brings aws-auth there.
    pub(crate) fn write(&self, standings: &[Standing], is_first: bool) -> Option<Write> {
        let auth = self.at(standings)?;
        let marks = auth.meta.annotations.get(ENTRIES);
        let text = |section: &Section| (section.key().to_owned(), json!(auth.data.get(section.key())));
        if is_first && !self.exists {
            let data = auth.data.clone();
            let annotations: Labels = marks.map(|text| (ENTRIES.to_owned(), text.clone())).into_iter().collect();
            return Some(Write::Create(config_map_json(&data, &annotations)));
        }
        let mut patch = Map::new();
        patch.insert("metadata".to_owned(), json!({ "annotations": { ENTRIES: marks } }));
        patch.insert("data".to_owned(), Value::Object(self.sections.iter().map(text).collect()));
        Some(Write::Patch(Value::Object(patch)))
    }
}

/// Whether a change of an entry takes nothing from anybody.
pub(crate) fn only_gives(slot: &Slot) -> bool {
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
pub(crate) fn only_takes(slot: &Slot) -> bool {
    slot.edits.len() == 1
        && match (&slot.before, &slot.after) {
            (Some(_), None) => true,
            (Some(old), Some(new)) => {
                old.username == new.username && new.groups.iter().all(|group| old.groups.contains(group))
            }
            (None, _) => false,
        }
}
