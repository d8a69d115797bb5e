//! The change of aws-auth split into several writes: in each write, every changed entry is as it is in the cluster, as
//! planned, or an intermediate of both.
//!
//! Every write edits the live text in the same way, so the last one is the planned text byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::SectionEdits;
use crate::diagnostic::InternalError;
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, ParsedSection, Section, edit_section};
use crate::state::config_map::{AwsAuth, config_map_to_json, entry_key};
use crate::state::entry_marks::{EntryMarks, content_hash, entry_id};
use crate::state::object_meta::Labels;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::WriteRequest;

/// The content of an entry in one of the writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryVariant {
    /// As it is in the cluster before the apply.
    Live,
    /// As planned.
    Final,
    Intermediate {
        username: String,
        groups: Vec<String>,
    },
}

/// The change of one principal's entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrincipalEdit {
    pub(crate) key: String,
    pub(crate) before: Option<Entry>,
    pub(crate) after: Option<Entry>,
    edits: Vec<(Section, EntryEdit)>,
}

impl PrincipalEdit {
    /// Returns whether the entry can have an intermediate content. Only a single entry of a role or user can.
    pub(crate) fn can_be_intermediate(&self) -> bool {
        self.edits.len() == 1
            && !matches!(self.any_entry().map(|entry| &entry.principal), Some(EntryPrincipal::Account(_)))
    }

    fn any_entry(&self) -> Option<&Entry> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// The planned change of aws-auth, from which each write is built.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AwsAuthEdit {
    pub(crate) principal_edits: Vec<PrincipalEdit>,
    live: AwsAuth,
    exists: bool,
    policy: String,
    marks: EntryMarks,
    owned_after: BTreeMap<[u8; 8], [u8; 4]>,
    sections: Vec<Section>,
    /// The new content if aws-auth is replaced as a whole, not edited entry by entry.
    replacement: Option<AwsAuth>,
    /// The planned texts that differ from the edited text, for example because a restored entry has its comments again. `None`
    /// removes the key.
    final_texts: BTreeMap<Section, Option<String>>,
}

impl AwsAuthEdit {
    /// # Errors
    /// If an edit names an entry that `sections` does not have.
    pub(crate) fn new(
        live: &AwsAuth,
        exists: bool,
        policy: &str,
        marks: &EntryMarks,
        owned_after: &BTreeMap<[u8; 8], [u8; 4]>,
        edits: &SectionEdits,
        sections: &BTreeMap<Section, ParsedSection>,
    ) -> Result<Self, InternalError> {
        let mut principal_edits: BTreeMap<String, PrincipalEdit> = BTreeMap::new();
        for (section, edits) in edits {
            let live = |index: &usize| Some(sections.get(section)?.entries.get(*index)?.entry.clone());
            for edit in edits {
                let (before, after) = match edit {
                    EntryEdit::Add(new) => (None, Some(new.clone())),
                    EntryEdit::Change { index, entry: to } => (live(index), Some(to.clone())),
                    EntryEdit::Remove { index } => (live(index), None),
                };
                let key = after.as_ref().or(before.as_ref()).map(entry_key);
                let key = key.ok_or_else(|| InternalError::new("an edit of aws-auth removes an unknown entry"))?;
                let new = || PrincipalEdit { key: key.clone(), before: None, after: None, edits: Vec::new() };
                let principal_edit = principal_edits.entry(key.clone()).or_insert_with(new);
                principal_edit.before = before.or_else(|| principal_edit.before.take());
                principal_edit.after = after.or_else(|| principal_edit.after.take());
                principal_edit.edits.push((*section, edit.clone()));
            }
        }
        Ok(Self {
            principal_edits: principal_edits.into_values().collect(),
            live: live.clone(),
            exists,
            policy: policy.to_owned(),
            marks: marks.clone(),
            owned_after: owned_after.clone(),
            sections: edits.keys().copied().collect(),
            replacement: None,
            final_texts: BTreeMap::new(),
        })
    }

    /// Sets the planned texts of sections. The other writes are edits of the live text.
    pub(crate) fn with_final_texts(mut self, texts: BTreeMap<Section, Option<String>>) -> Self {
        self.sections = texts.keys().chain(&self.sections).copied().collect::<BTreeSet<_>>().into_iter().collect();
        self.final_texts = texts;
        self
    }

    /// Returns a replacement of the whole content, which is always one write.
    pub(crate) fn from_replacement(live: Option<&AwsAuth>, to: AwsAuth) -> Self {
        let whole = PrincipalEdit { key: String::new(), before: None, after: None, edits: Vec::new() };
        Self {
            principal_edits: vec![whole],
            live: live.cloned().unwrap_or_default(),
            exists: live.is_some(),
            policy: String::new(),
            marks: EntryMarks::default(),
            owned_after: BTreeMap::new(),
            sections: Vec::new(),
            replacement: Some(to),
            final_texts: BTreeMap::new(),
        }
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.live.parse_section(Section::Accounts).is_ok_and(|parsed| !parsed.entries.is_empty())
            || self.sections.contains(&Section::Accounts)
            || self.replacement.is_some()
    }

    /// aws-auth with the given variant of each principal edit. `None` if the text cannot be edited in this way.
    pub(crate) fn aws_auth_with(&self, variants: &[EntryVariant]) -> Option<AwsAuth> {
        if let Some(replacement) = &self.replacement {
            let is_final = variants.iter().all(|variant| *variant == EntryVariant::Final);
            return Some(if is_final { replacement } else { &self.live }.clone());
        }
        let mut edits: BTreeMap<Section, Vec<EntryEdit>> =
            self.sections.iter().map(|section| (*section, Vec::new())).collect();
        for (principal_edit, variant) in self.principal_edits.iter().zip(variants) {
            for (section, edit) in &principal_edit.edits {
                let edit = match (variant, edit) {
                    (EntryVariant::Live, _) => continue,
                    (EntryVariant::Final, edit) => edit.clone(),
                    (EntryVariant::Intermediate { username, groups }, edit) => {
                        let principal = match edit {
                            EntryEdit::Add(new) | EntryEdit::Change { entry: new, .. } => new.principal.clone(),
                            EntryEdit::Remove { .. } => principal_edit.before.as_ref()?.principal.clone(),
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
                edits.entry(*section).or_default().push(edit);
            }
        }
        let mut auth = self.live.clone();
        let is_final = variants.iter().all(|variant| *variant == EntryVariant::Final);
        for (section, edits) in edits {
            let old = self.live.data.get(section.key());
            if is_final && let Some(text) = self.final_texts.get(&section) {
                match text {
                    Some(text) => drop(auth.data.insert(section.key().to_owned(), text.clone())),
                    None => drop(auth.data.remove(section.key())),
                }
            } else if !edits.is_empty() {
                let text = edit_section(section, old.map(String::as_str), &edits).ok()?;
                auth.data.insert(section.key().to_owned(), text);
            }
        }
        match self.marks_with(variants).to_annotation() {
            Some(text) => auth.meta.annotations.insert(ENTRIES_ANNOTATION.to_owned(), text),
            None => auth.meta.annotations.remove(ENTRIES_ANNOTATION),
        };
        Some(auth)
    }

    /// Returns the ownership marks after this write. They are correct after every write, so that an interrupted apply
    /// does not leave an entry of the policy unmarked.
    fn marks_with(&self, variants: &[EntryVariant]) -> EntryMarks {
        let owned_before = self.marks.owned_by(&self.policy);
        let mut owned = self.owned_after.clone();
        for (principal_edit, variant) in self.principal_edits.iter().zip(variants) {
            for (section, _) in &principal_edit.edits {
                let id = entry_id(*section, &principal_edit.key);
                match variant {
                    EntryVariant::Final => {}
                    EntryVariant::Live => match owned_before.get(&id) {
                        Some(written) => drop(owned.insert(id, *written)),
                        None => drop(owned.remove(&id)),
                    },
                    EntryVariant::Intermediate { username, groups } => {
                        if owned_before.contains_key(&id) || self.owned_after.contains_key(&id) {
                            owned.insert(id, content_hash(username, groups));
                        }
                    }
                }
            }
        }
        let mut marks = self.marks.clone();
        marks.set_owned_entries(&self.policy, owned);
        marks
    }

    /// Returns the write that sets each entry to the given variant, or `None` if the aws-auth text cannot be edited
    /// that way.
    pub(crate) fn write_with(&self, variants: &[EntryVariant], is_first: bool) -> Option<WriteRequest> {
        let auth = self.aws_auth_with(variants)?;
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
