//! The annotation on aws-auth that records which policy owns which entries, and the content it last wrote.
//!
//! An entry is identified by its section and its principal as the authenticator compares it, because other tools rewrite
//! the text of entries. The annotation stores hashes instead of ARNs: all annotations of an object together are limited to
//! 262,144 bytes, and thousands of ARNs would not fit.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::aws_auth::Section;
use super::object_meta::Labels;
use super::owner::ENTRIES_ANNOTATION;

/// The entries that each policy owns. Clusters store these values, so their hashes must never change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EntryMarks {
    /// Policy name to its owned entries: entry ID to the hash of the content that the policy last wrote.
    policies: BTreeMap<String, BTreeMap<[u8; 8], [u8; 4]>>,
}

fn truncated_hash<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    out
}

/// Returns the id of an entry. `key` is the entry's [`super::config_map::entry_key`].
pub(crate) fn entry_id(section: Section, key: &str) -> [u8; 8] {
    truncated_hash(&[section.key(), key])
}

/// Hash of an entry's username and groups. The order and repetition of groups do not matter.
pub(crate) fn content_hash(username: &str, groups: &[String]) -> [u8; 4] {
    let mut parts: Vec<&str> = groups.iter().map(String::as_str).collect();
    parts.sort_unstable();
    parts.dedup();
    parts.insert(0, username);
    truncated_hash(&parts)
}

/// The annotation was not written by rolecall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the annotation `{ENTRIES_ANNOTATION}` of aws-auth cannot be read")]
pub(crate) struct EntryMarksError;

fn parse_mark(mark: &str) -> Option<([u8; 8], [u8; 4])> {
    let bytes: [u8; 12] = URL_SAFE_NO_PAD.decode(mark).ok()?.try_into().ok()?;
    let (id, content) = bytes.split_first_chunk::<8>()?;
    Some((*id, content.try_into().ok()?))
}

impl EntryMarks {
    /// Reads the annotation. Without the annotation no entry is owned.
    ///
    /// # Errors
    /// The value was not written by rolecall. It must not be overwritten, as every policy would lose its entries.
    pub(crate) fn from_annotations(annotations: &Labels) -> Result<Self, EntryMarksError> {
        let Some(text) = annotations.get(ENTRIES_ANNOTATION) else {
            return Ok(Self::default());
        };
        let lists: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| EntryMarksError)?;
        let mut policies = BTreeMap::new();
        for (policy, list) in lists {
            let marks = list.split(' ').map(|mark| parse_mark(mark).ok_or(EntryMarksError));
            policies.insert(policy, marks.collect::<Result<_, _>>()?);
        }
        Ok(Self { policies })
    }

    /// Returns the value of the annotation. `None` if no entry is owned.
    pub(crate) fn to_annotation(&self) -> Option<String> {
        let lists: BTreeMap<&String, String> = self
            .policies
            .iter()
            .filter(|(_, marks)| !marks.is_empty())
            .map(|(policy, marks)| {
                let list: Vec<String> = marks
                    .iter()
                    .map(|(id, content)| URL_SAFE_NO_PAD.encode([&id[..], &content[..]].concat()))
                    .collect();
                (policy, list.join(" "))
            })
            .collect();
        (!lists.is_empty()).then(|| json!(lists).to_string())
    }

    /// Returns the policy that owns the entry.
    pub(crate) fn owner(&self, id: [u8; 8]) -> Option<&str> {
        self.policies.iter().find(|(_, marks)| marks.contains_key(&id)).map(|(policy, _)| policy.as_str())
    }

    /// Returns the entries that `policy` owns: entry ID to the hash of the content that the policy last wrote.
    pub(crate) fn owned_by(&self, policy: &str) -> BTreeMap<[u8; 8], [u8; 4]> {
        self.policies.get(policy).cloned().unwrap_or_default()
    }

    /// Replaces the entries that a policy owns.
    pub(crate) fn set_owned_entries(&mut self, policy: &str, marks: BTreeMap<[u8; 8], [u8; 4]>) {
        self.policies.insert(policy.to_owned(), marks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_marks_fit_and_survive_a_round_trip() {
        let mut marks = EntryMarks::default();
        let owned = (0..10_000).map(|n| (entry_id(Section::Roles, &n.to_string()), content_hash("u", &[]))).collect();
        marks.set_owned_entries("prod", owned);
        marks.set_owned_entries(
            "other",
            BTreeMap::from([(entry_id(Section::Users, "x"), content_hash("u", &["a".into()]))]),
        );
        let text = marks.to_annotation().unwrap();
        assert!(text.len() < super::super::validate::MAX_ANNOTATIONS_BYTES, "{}", text.len());
        let parsed = EntryMarks::from_annotations(&Labels::from([(ENTRIES_ANNOTATION.to_owned(), text)])).unwrap();
        assert_eq!(parsed, marks);
        assert_eq!(parsed.owner(entry_id(Section::Users, "x")), Some("other"));
        assert_eq!(parsed.owner(entry_id(Section::Roles, "x")), None);
    }

    #[test]
    fn foreign_annotation_is_an_error_and_missing_annotation_means_no_owner() {
        assert_eq!(EntryMarks::from_annotations(&Labels::new()), Ok(EntryMarks::default()));
        for text in ["", "prod", "[]", "{\"prod\": 1}", "{\"prod\": \"AAAA\"}", "{\"prod\": \"\"}"] {
            let annotations = Labels::from([(ENTRIES_ANNOTATION.to_owned(), text.to_owned())]);
            assert_eq!(EntryMarks::from_annotations(&annotations), Err(EntryMarksError), "{text}");
        }
    }

    #[test]
    fn content_hash_ignores_order_and_duplicates_of_groups() {
        let groups = |list: &[&str]| list.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        assert_eq!(content_hash("u", &groups(&["a", "b"])), content_hash("u", &groups(&["b", "a", "a"])));
        assert_ne!(content_hash("u", &groups(&["a"])), content_hash("u", &groups(&["b"])));
        assert_ne!(content_hash("a", &[]), content_hash("b", &[]));
    }
}
