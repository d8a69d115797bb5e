//! One entry of mapRoles or mapUsers as Go's encoding/json fills its struct: keys in sorted order and
//! whatever their case, a wrong type leaving the field as it was, a list being written over the one
//! before it element by element. The last sounds odd and shows when a key stands twice.

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

/// A Go slice: what lies behind its end is still there when it grows again.
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

/// Go compares keys by a folding of its own: `ſ` is an `s`, and the Kelvin sign a `k`.
pub(super) fn fold_key(key: &str) -> String {
    let one = |c: char| match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    key.chars().map(one).collect()
}

/// The text of a scalar that JSON would carry as a string.
pub(super) fn as_text<'v>(value: &'v DecodedNode<'_>) -> Option<&'v str> {
    match &value.content {
        Decoded::Scalar(ScalarValue::Text(text)) => Some(text),
        _ => None,
    }
}

pub(super) fn is_null(value: &DecodedNode<'_>) -> bool {
    matches!(value.content, Decoded::Scalar(ScalarValue::Null))
}

/// What stands in the text, for a message: a scalar as written, else its kind.
pub(super) fn describe_value(value: &DecodedNode<'_>) -> String {
    match (&value.node.value, &value.content) {
        (crate::yaml::YamlValue::Scalar(scalar), _) => scalar.text.clone(),
        (_, Decoded::Sequence(_)) => "a list".to_owned(),
        _ => "a mapping".to_owned(),
    }
}

impl RawEntry {
    /// `arn_key`: `rolearn` or `userarn`. Findings carry the line they are on.
    pub(super) fn from_fields(
        fields: &[DecodedField<'_>],
        arn_key: &str,
        found: &mut Vec<(usize, FindingKind)>,
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
                    raw.set_groups(field, found);
                    true
                }
                "userid" => {
                    set_text_or_report(&mut String::new(), field, "userid", found);
                    true
                }
                "sso" if arn_key == "rolearn" => {
                    raw.set_sso(field, found);
                    true
                }
                key if key == arn_key => {
                    set_text_or_report(&mut raw.arn, field, arn_key, found);
                    true
                }
                _ => false,
            };
            let line = field.key.line;
            let name = field.name.clone();
            if !known {
                found.push((line, FindingKind::UnknownKey { key: name }));
            } else if name != key {
                found.push((line, FindingKind::NonCanonicalKey { key: name, canonical: key }));
            }
        }
        report_overridden_keys(fields, found);
        raw.report_username(fields, found);
        raw
    }

    fn set_groups(&mut self, field: &DecodedField<'_>, found: &mut Vec<(usize, FindingKind)>) {
        let groups = &mut self.groups;
        let line = field.written_value.line;
        let items = match &field.value.content {
            Decoded::Sequence(items) => items,
            Decoded::Scalar(ScalarValue::Null) => {
                *groups = GoSlice::default();
                return;
            }
            _ => {
                let stands = describe_value(&field.value);
                found.push((line, FindingKind::GroupsNotAList { found: stands }));
                return;
            }
        };
        if items.is_empty() {
            *groups = GoSlice::default();
        }
        for (place, item) in items.iter().enumerate() {
            if groups.backing.len() <= place {
                groups.backing.push(String::new());
            }
            let Some(slot) = groups.backing.get_mut(place) else {
                continue;
            };
            if let Some(text) = as_text(item) {
                text.clone_into(slot);
            } else {
                let stands = describe_value(item);
                found.push((item.node.line, FindingKind::GroupEmpty { index: place, found: stands }));
            }
        }
        groups.length = items.len();
    }

    /// Anything but null makes the pattern exist, and with it a second principal.
    fn set_sso(&mut self, field: &DecodedField<'_>, found: &mut Vec<(usize, FindingKind)>) {
        if is_null(&field.value) {
            self.sso = None;
            return;
        }
        let sso = self.sso.get_or_insert_default();
        let Decoded::Mapping(inner) = &field.value.content else {
            let stands = describe_value(&field.value);
            let key = "sso".to_owned();
            found.push((field.written_value.line, FindingKind::FieldIgnored { key, found: stands }));
            return;
        };
        for field in inner {
            let slot = match fold_key(&field.name).as_str() {
                "permissionsetname" => &mut sso.permission_set_name,
                "accountid" => &mut sso.account_id,
                "partition" => &mut sso.partition,
                _ => continue,
            };
            let key = format!("sso.{}", field.name);
            set_text_or_report(slot, field, &key, found);
        }
    }

    fn report_username(&self, fields: &[DecodedField<'_>], found: &mut Vec<(usize, FindingKind)>) {
        if !self.username.is_empty() {
            return;
        }
        let last = fields.iter().rfind(|field| fold_key(&field.name) == "username");
        let line = last.map_or(0, |field| field.written_value.line);
        let stands = last.map(|field| describe_value(&field.value));
        found.push((line, FindingKind::UsernameEmpty { found: stands }));
    }
}

/// Null and wrong types leave what is there.
fn set_text_or_null(slot: &mut String, field: &DecodedField<'_>) -> bool {
    match as_text(&field.value) {
        Some(text) => {
            text.clone_into(slot);
            true
        }
        None => is_null(&field.value),
    }
}

fn set_text_or_report(slot: &mut String, field: &DecodedField<'_>, key: &str, found: &mut Vec<(usize, FindingKind)>) {
    if !set_text_or_null(slot, field) {
        let (key, stands) = (key.to_owned(), describe_value(&field.value));
        found.push((field.written_value.line, FindingKind::FieldIgnored { key, found: stands }));
    }
}

/// Of several spellings of one key the last in byte order decides.
fn report_overridden_keys(fields: &[DecodedField<'_>], found: &mut Vec<(usize, FindingKind)>) {
    for (place, field) in fields.iter().enumerate() {
        let mut later = fields.iter().skip(place + 1);
        let same = |other: &&DecodedField<'_>| fold_key(&other.name) == fold_key(&field.name);
        if let Some(winner) = later.rfind(same) {
            let (key, by) = (field.name.clone(), winner.name.clone());
            found.push((field.key.line, FindingKind::KeyOverridden { key, by }));
        }
    }
}
