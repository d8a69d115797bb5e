//! Fills one entry of mapRoles or mapUsers as Go's encoding/json fills its struct.
//!
//! encoding/json processes the keys in sorted order and matches them case-insensitively. A value of the wrong type leaves
//! the field unchanged. A list overwrites the elements of the previous list one by one, which matters when a key occurs in
//! several spellings.

use crate::yaml::{Decoded, DecodedField, DecodedNode, ScalarValue};

use super::entry::SsoArnMatcher;
use super::finding::FindingKind;

/// The struct before validation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawEntry {
    pub(super) arn: String,
    pub(super) sso: Option<SsoArnMatcher>,
    pub(super) username: String,
    pub(super) groups: GoSlice,
}

/// A Go slice. Elements after its end stay in the backing array and reappear when the slice grows again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GoSlice {
    backing: Vec<String>,
    length: usize,
}

impl GoSlice {
    pub(super) fn names(&self) -> Vec<String> {
        self.backing.iter().take(self.length).cloned().collect()
    }
}

/// Returns the form in which encoding/json compares keys. Besides ASCII case it folds `ſ` to `s` and the Kelvin sign to
/// `k`.
pub(super) fn fold_key(key: &str) -> String {
    let fold_char = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    key.chars().map(fold_char).collect()
}

/// Returns the text of a value that is a string in JSON.
pub(super) fn as_text<'v>(value: &'v DecodedNode<'_>) -> Option<&'v str> {
    match &value.content {
        Decoded::Scalar(ScalarValue::Text(text)) => Some(text),
        _ => None,
    }
}

pub(super) fn is_null(value: &DecodedNode<'_>) -> bool {
    matches!(value.content, Decoded::Scalar(ScalarValue::Null))
}

/// Returns the value for a message: a scalar as written, otherwise its type.
pub(super) fn describe_value(value: &DecodedNode<'_>) -> String {
    match (&value.node.value, &value.content) {
        (crate::yaml::YamlValue::Scalar(scalar), _) => scalar.text.clone(),
        (_, Decoded::Sequence(_)) => "a list".to_owned(),
        _ => "a mapping".to_owned(),
    }
}

impl RawEntry {
    /// Fills the struct. `arn_key` is `rolearn` or `userarn`. Adds findings with their lines to `findings`.
    pub(super) fn from_fields(
        fields: &[DecodedField<'_>],
        arn_key: &str,
        findings: &mut Vec<(usize, FindingKind)>,
    ) -> Self {
        let mut raw = Self::default();
        for field in fields {
            let key = fold_key(&field.name);
            let known = match key.as_str() {
                "username" => {
                    set_text_or_null(&mut raw.username, field);
                    true
                }
                "groups" => {
                    raw.set_groups(field, findings);
                    true
                }
                "userid" => {
                    set_text_or_report(&mut String::new(), field, "userid", findings);
                    true
                }
                "sso" if arn_key == "rolearn" => {
                    raw.set_sso(field, findings);
                    true
                }
                key if key == arn_key => {
                    set_text_or_report(&mut raw.arn, field, arn_key, findings);
                    true
                }
                _ => false,
            };
            let line = field.key.line;
            let name = field.name.clone();
            if !known {
                findings.push((line, FindingKind::UnknownKey { key: name }));
            } else if name != key {
                findings.push((line, FindingKind::NonCanonicalKey { key: name, canonical: key }));
            }
        }
        report_overridden_keys(fields, findings);
        raw.report_username(fields, findings);
        raw
    }

    fn set_groups(&mut self, field: &DecodedField<'_>, findings: &mut Vec<(usize, FindingKind)>) {
        let groups = &mut self.groups;
        let line = field.written_value.line;
        let items = match &field.value.content {
            Decoded::Sequence(items) => items,
            Decoded::Scalar(ScalarValue::Null) => {
                *groups = GoSlice::default();
                return;
            }
            _ => {
                findings.push((line, FindingKind::GroupsNotAList { found: describe_value(&field.value) }));
                return;
            }
        };
        if items.is_empty() {
            *groups = GoSlice::default();
        }
        for (index, item) in items.iter().enumerate() {
            if groups.backing.len() <= index {
                groups.backing.push(String::new());
            }
            let Some(group) = groups.backing.get_mut(index) else {
                continue;
            };
            if let Some(text) = as_text(item) {
                text.clone_into(group);
            } else {
                findings.push((item.node.line, FindingKind::GroupEmpty { index, found: describe_value(item) }));
            }
        }
        groups.length = items.len();
    }

    /// Any value but null sets the pattern, even one of the wrong type. With a `rolearn` the entry then has two
    /// principals.
    fn set_sso(&mut self, field: &DecodedField<'_>, findings: &mut Vec<(usize, FindingKind)>) {
        if is_null(&field.value) {
            self.sso = None;
            return;
        }
        let sso = self.sso.get_or_insert_default();
        let Decoded::Mapping(sso_fields) = &field.value.content else {
            let (key, found) = ("sso".to_owned(), describe_value(&field.value));
            findings.push((field.written_value.line, FindingKind::FieldIgnored { key, found }));
            return;
        };
        for field in sso_fields {
            let target = match fold_key(&field.name).as_str() {
                "permissionsetname" => &mut sso.permission_set_name,
                "accountid" => &mut sso.account_id,
                "partition" => &mut sso.partition,
                _ => continue,
            };
            let key = format!("sso.{}", field.name);
            set_text_or_report(target, field, &key, findings);
        }
    }

    fn report_username(&self, fields: &[DecodedField<'_>], findings: &mut Vec<(usize, FindingKind)>) {
        if !self.username.is_empty() {
            return;
        }
        let last = fields.iter().rfind(|field| fold_key(&field.name) == "username");
        let line = last.map_or(0, |field| field.written_value.line);
        let found = last.map(|field| describe_value(&field.value));
        findings.push((line, FindingKind::UsernameEmpty { found }));
    }
}

/// Returns a null or a value of the wrong type leaves the target unchanged. Returns false for a value of the wrong
/// type.
fn set_text_or_null(target: &mut String, field: &DecodedField<'_>) -> bool {
    match as_text(&field.value) {
        Some(text) => {
            text.clone_into(target);
            true
        }
        None => is_null(&field.value),
    }
}

fn set_text_or_report(
    target: &mut String,
    field: &DecodedField<'_>,
    key: &str,
    findings: &mut Vec<(usize, FindingKind)>,
) {
    if !set_text_or_null(target, field) {
        let (key, found) = (key.to_owned(), describe_value(&field.value));
        findings.push((field.written_value.line, FindingKind::FieldIgnored { key, found }));
    }
}

/// If a key occurs in several spellings, the last one in byte order overrides the others.
fn report_overridden_keys(fields: &[DecodedField<'_>], findings: &mut Vec<(usize, FindingKind)>) {
    for (index, field) in fields.iter().enumerate() {
        let mut later = fields.iter().skip(index + 1);
        let is_same_key = |other: &&DecodedField<'_>| fold_key(&other.name) == fold_key(&field.name);
        if let Some(winner) = later.rfind(is_same_key) {
            let (key, by) = (field.name.clone(), winner.name.clone());
            findings.push((field.key.line, FindingKind::KeyOverridden { key, by }));
        }
    }
}
